//! Is the architecture intact? Layers, fences for outside crates, module headers, file lengths, registries.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each layer may import besides `base`; `*` stands for every layer above it in this list.
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("tensor", &[]),
    ("graph", &["tensor"]),
    ("program", &["tensor", "graph"]),
    ("ops", &["tensor", "program", "graph"]),
    ("lower", &["tensor", "graph", "program", "ops"]),
    ("formats", &["tensor", "graph", "program", "ops", "lower"]),
    ("recognize", &["tensor", "graph", "program", "ops"]),
    ("specialise", &["tensor", "graph", "program", "ops", "recognize"]),
    ("autodiff", &["tensor", "graph", "program", "ops"]),
    ("passes", &["tensor", "graph", "program", "ops"]),
    ("engine", &["tensor", "graph", "program", "ops", "passes"]),
    ("data", &["tensor"]),
    ("edits", &["tensor", "graph", "program", "ops", "lower", "recognize"]),
    ("train", &["*"]),
    ("session", &["*"]),
    ("cli", &["*"]),
    ("ui", &["*"]),
    ("app", &["*"]),
];

/// Layers that even `*` does not reach.
const NEVER: &[(&str, &[&str])] =
    &[("train", &["formats", "edits", "lower"]), ("session", &[]), ("cli", &["ui", "app"]), ("ui", &["cli"])];

/// Outside crates that only some layers may name.
const FENCES: &[(&str, &[&str])] = &[
    ("egui", &["ui", "app"]),
    ("eframe", &["app"]),
    ("egui_plot", &["ui"]),
    ("egui_tiles", &["ui", "app"]),
    ("egui_extras", &["ui"]),
    ("rfd", &["app"]),
    ("prost", &["formats"]),
    ("anyhow", &["app", "cli", "main"]),
    ("gemm", &["ops", "engine"]),
    ("rayon", &["ops", "engine", "data", "train"]),
    ("std::fs", &["base"]),
];

/// Files over 600 lines, each with its reason. May only shrink.
const LONG_FILES: &[&str] = &[];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push(path);
            }
        }
    }
    out.sort();
    out
}

/// `src/ops/linalg/matmul.rs` → `ops`; `src/main.rs` → `main`.
fn layer(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// Code without comments and without the file's test module.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    text[..end].lines().map(|l| l.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

fn mentions(code: &str, path: &str) -> bool {
    code.match_indices(path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + path.len()..].chars().next();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
            && !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// Without that feature the crate falls back to AVX2 on processors with AVX-512, silently and much slower.
#[test]
fn matrix_products_are_built_with_their_avx512_path() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let line = manifest.lines().find(|l| l.starts_with("gemm ")).unwrap();
    assert!(line.contains("\"x86-v4\"") && !line.contains("default-features = false"), "{line}");
}

#[test]
fn layers_point_one_way() {
    let order: BTreeMap<&str, usize> = LAYERS.iter().enumerate().map(|(i, (n, _))| (*n, i)).collect();
    let mut wrong = Vec::new();
    for path in rust_files(&root().join("src")) {
        let from = layer(&path);
        let Some((_, allowed)) = LAYERS.iter().find(|(n, _)| *n == from) else { continue };
        let never = NEVER.iter().find(|(n, _)| *n == from).map_or(&[][..], |(_, l)| *l);
        let code = code(&fs::read_to_string(&path).unwrap());
        for (to, _) in LAYERS {
            if *to == from || *to == "base" || !mentions(&code, &format!("crate::{to}")) {
                continue;
            }
            let ok = if allowed.contains(&"*") { order[to] < order[from.as_str()] } else { allowed.contains(to) };
            if !ok || never.contains(to) {
                wrong.push(format!("{} imports {to}", path.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(wrong.is_empty(), "layers:\n{}", wrong.join("\n"));
}

#[test]
fn every_folder_is_a_layer() {
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && fs::read_dir(&path).unwrap().next().is_some() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert!(LAYERS.iter().any(|(n, _)| *n == name), "src/{name} is in no layer");
        }
    }
}

#[test]
fn outside_crates_stay_behind_their_fences() {
    let mut wrong = Vec::new();
    for path in rust_files(&root().join("src")) {
        let from = layer(&path);
        let code = code(&fs::read_to_string(&path).unwrap());
        for (name, allowed) in FENCES {
            let named = mentions(&code, &format!("{name}::")) || code.contains(&format!("{name}::"));
            if named && !allowed.contains(&from.as_str()) {
                let used = code.match_indices(&format!("{name}::")).any(|(at, _)| {
                    !code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
                });
                if used {
                    wrong.push(format!("{} uses {name}", path.strip_prefix(root()).unwrap().display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "fences:\n{}", wrong.join("\n"));
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "benches"] {
        let folder = root().join(folder);
        if !folder.exists() {
            continue;
        }
        for path in rust_files(&folder) {
            let text = fs::read_to_string(&path).unwrap();
            let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            let lines = text.lines().count();
            if lines > 600 && !LONG_FILES.contains(&name.as_str()) {
                wrong.push(format!("{name} has {lines} lines (at most 600)"));
            }
            if !text.starts_with("//!") {
                wrong.push(format!("{name} does not begin with a //! sentence"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A file that no `mod` line names is dead: nothing compiles it.
#[test]
fn every_file_is_part_of_the_crate() {
    let files = rust_files(&root().join("src"));
    let mut wrong = Vec::new();
    for path in &files {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let folder = path.parent().unwrap();
        if stem == "main" || stem == "lib" {
            continue;
        }
        let (name, parent) = if stem == "mod" {
            (folder.file_name().unwrap().to_string_lossy().into_owned(), folder.parent().unwrap())
        } else {
            (stem, folder)
        };
        let parents = [parent.join("mod.rs"), parent.with_extension("rs"), parent.join("lib.rs")];
        let declared =
            parents.iter().filter_map(|p| fs::read_to_string(p).ok()).any(|t| t.contains(&format!("mod {name};")));
        if !declared {
            wrong.push(path.strip_prefix(root()).unwrap().display().to_string());
        }
    }
    assert!(wrong.is_empty(), "no mod line names:\n{}", wrong.join("\n"));
}

#[test]
fn op_names_are_unique_and_documented() {
    let mut seen = BTreeMap::new();
    for info in regraft::ops::all() {
        assert!(seen.insert(info.name, info.family).is_none(), "two ops are named {}", info.name);
        assert!(!info.summary.is_empty() && !info.formula.is_empty(), "{} lacks its help", info.name);
        assert!(
            root().join("src/ops").join(info.family).is_dir(),
            "{} names no folder of ops: {}",
            info.name,
            info.family
        );
    }
}
