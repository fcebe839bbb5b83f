//! Opening a large model until its graph is there to read, and statistics of its largest constant.

use std::path::PathBuf;
use std::time::Instant;

use regraft::app::{Options, layout};
use regraft::ui::Target;

use super::headless::Headless;
use super::{Row, Target as Wanted};

/// Times that it is opened; the first may read from disk.
const N: usize = 5;

pub fn run() -> Vec<Row> {
    let Some(path) = std::env::var_os("REGRAFT_BENCH_MODEL").map(PathBuf::from) else {
        println!("open: set REGRAFT_BENCH_MODEL to a large model");
        return Vec::new();
    };
    let (mut opened, mut described) = (Vec::new(), Vec::new());
    let mut what = String::new();
    for _ in 0..N {
        let started = Instant::now();
        let mut window = Headless::new(Options { open: Some(path.clone()), ..Options::default() });
        layout::show(window.app.dock(), "graph");
        if !window.until(|app| app.open.is_some() && app.state.canvas.size().0 > 0) {
            println!("open: {} did not open", path.display());
            return Vec::new();
        }
        window.frame(Vec::new());
        opened.push(started.elapsed().as_secs_f64() * 1e3);
        let Some(open) = &window.app.open else { continue };
        let Some(largest) = open.overview.constants.iter().max_by_key(|c| c.bytes) else { continue };
        let name = largest.name.clone();
        what = format!("{} elements", largest.elements);
        layout::show(window.app.dock(), "inspector");
        let started = Instant::now();
        window.app.state.selection.set(Target::Node(name.clone()));
        window.until(|app| app.open.as_ref().is_some_and(|o| o.described.contains_key(&name)));
        described.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let size = std::fs::metadata(&path).map_or(0, |m| m.len()) / 1_000_000;
    vec![
        Row::new(format!("open: {size} MB to the first readable frame"), "ms", opened, Wanted::AtMost(1000.0)),
        Row::new(format!("open: statistics of its largest constant, {what}"), "ms", described, Wanted::AtMost(1000.0)),
    ]
}
