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
