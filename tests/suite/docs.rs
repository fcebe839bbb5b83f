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
