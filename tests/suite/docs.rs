//! Generated pages equal what the registries say now. `UPDATE=1` rewrites them.

use std::fs;
use std::path::Path;

#[test]
fn the_page_of_ops_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/OPS.md");
    let page = regraft::cli::docs::ops_page();
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &page).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == page, "docs/OPS.md is not what `regraft docs ops` prints; rewrite it with UPDATE=1");
}

#[test]
fn the_page_of_formats_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/FORMATS.md");
    let page = regraft::cli::docs::formats::page();
    for format in regraft::formats::ALL {
        assert!(
            page.contains(&format!("| `{}` |", format.name)),
            "formats/about.rs says nothing about {}",
            format.name
        );
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == page, "docs/FORMATS.md is not what `regraft docs formats` prints; rewrite it with UPDATE=1");
}

#[test]
fn the_schema_of_sessions_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/session.schema.json");
    let schema = regraft::cli::docs::session_schema();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &schema).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == schema, "docs/session.schema.json is not what `regraft docs session` prints; UPDATE=1");
}

/// Every JSON example of the page reads as a session or as a recipe, its settings are valid, and every field of the
/// recipe and every setting is explained.
#[test]
fn the_page_of_sessions_is_true() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/SESSION.md")).unwrap();
    let examples: Vec<&str> = page.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 5, "{}", examples.len());
    for text in examples {
        let value: serde_json::Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}:\n{text}"));
        let recipe = if value.get("regraft").is_some() {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("example.regraft");
            fs::write(&file, text).unwrap();
            regraft::session::file::load(&file).unwrap_or_else(|e| panic!("{e}:\n{text}")).recipe
        } else {
            serde_json::from_value::<regraft::session::Recipe>(value).unwrap_or_else(|e| panic!("{e}:\n{text}"))
        };
        regraft::session::training::settings(&recipe).unwrap_or_else(|e| panic!("{e}:\n{text}"));
    }
    let schema: serde_json::Value = serde_json::from_str(&regraft::cli::docs::session_schema()).unwrap();
    let mut fields: Vec<String> = Vec::new();
    for part in ["Recipe", "DataChoice"] {
        let properties = schema["$defs"][part]["properties"].as_object().unwrap();
        fields.extend(properties.keys().cloned());
    }
    fields.extend(regraft::train::settings::table::ALL.iter().map(|s| s.key.to_owned()));
    let missing: Vec<&String> = fields.iter().filter(|f| !page.contains(&format!("`{f}`"))).collect();
    assert!(missing.is_empty(), "docs/SESSION.md says nothing about {missing:?}");
}

/// Most rows of the tables name what they lead to; the rest depends on attributes that cannot be made up.
#[test]
fn spellings_are_probed() {
    let page = regraft::cli::docs::ops_page();
    let rows = page.lines().filter(|l| l.starts_with("| `")).count();
    let open: Vec<&str> = page.lines().filter(|l| l.contains("as its attributes and operands say")).collect();
    assert!(rows > 600, "{rows}");
    assert!(open.len() * 12 < rows, "{} of {rows}: {open:#?}", open.len());
}

/// A rule refuses operands and attributes that do not belong to it; it never panics.
#[test]
fn no_rule_panics_on_a_made_up_node() {
    use regraft::cli::docs::probe::each_attempt;
    use regraft::formats::{onnx, tensorflow};
    use regraft::tensor::DType;

    let families = tensorflow::rules::FAMILIES.iter().chain(onnx::rules::FAMILIES);
    let panics: Vec<&str> = families
        .flat_map(|(_, rules)| rules.iter())
        .filter(|s| std::panic::catch_unwind(|| each_attempt(s, &[DType::F32], &mut |_| true)).is_err())
        .map(|s| s.op)
        .collect();
    assert!(panics.is_empty(), "{panics:?}");
}

/// `docs/TUNING.md` is written by hand; it must name everything that can be chosen, with the defaults of now.
#[test]
fn the_page_of_tuning_names_every_choice() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/TUNING.md");
    let page = fs::read_to_string(&path).unwrap();
    for s in regraft::train::settings::table::ALL {
        let default = if s.default.is_empty() { "–".to_owned() } else { format!("`{}`", s.default) };
        let row = format!("| `{}` | {default} | {} | ", s.key, s.unit);
        assert!(page.contains(&row), "docs/TUNING.md has no row {row}");
    }
    let heads = regraft::edits::heads::ALL.iter().map(|h| h.kind);
    let initializers = regraft::edits::heads::Initializer::ALL.map(|i| i.name());
    let optimizers = regraft::train::optimizers::ALL.iter().map(|o| o.kind);
    for word in heads.chain(initializers).chain(optimizers) {
        assert!(page.contains(&format!("`{word}`")), "docs/TUNING.md says nothing about {word}");
    }
}
