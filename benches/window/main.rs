//! How fast the window is, without a display: frames, layouts, opening, tables, and what it costs the trainer.
//!
//! `cargo bench --bench window` runs all parts, `cargo bench --bench window -- frame layout` some. `open` needs a large
//! model: `REGRAFT_BENCH_MODEL=bert_base.pb`. Nothing here asserts; a table with targets is printed.

#![allow(clippy::print_stdout)] // a benchmark prints

mod browser;
mod frame;
mod graphs;
mod headless;
mod layout;
mod open;
mod throughput;

/// Measurements of one thing beside what it should be.
pub struct Row {
    pub what: String,
    pub unit: &'static str,
    pub values: Vec<f64>,
    pub target: Target,
}

/// What a median (and a 99th percentile) should be.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    None,
    AtMost(f64),
    AtMostWithTail(f64, f64),
    AtLeast(f64),
}

impl Row {
    pub fn new(what: impl Into<String>, unit: &'static str, values: Vec<f64>, target: Target) -> Self {
        Self { what: what.into(), unit, values, target }
    }
}

fn percentile(values: &[f64], p: f64) -> f64 {
    let mut v = values.to_vec();
    v.sort_by(f64::total_cmp);
    let at = (p * (v.len().saturating_sub(1)) as f64).round() as usize;
    v.get(at).copied().unwrap_or(f64::NAN)
}

fn print(row: &Row) {
    let (median, p99) = (percentile(&row.values, 0.5), percentile(&row.values, 0.99));
    let (holds, wanted) = match row.target {
        Target::None => (None, "–".to_owned()),
        Target::AtMost(m) => (Some(median <= m), format!("≤ {m}")),
        Target::AtMostWithTail(m, tail) => (Some(median <= m && p99 <= tail), format!("≤ {m}, p99 ≤ {tail}")),
        Target::AtLeast(m) => (Some(median >= m), format!("≥ {m}")),
    };
    let word = holds.map_or("    ", |h| if h { "pass" } else { "FAIL" });
    println!(
        "{word}  {:<62} median {median:>9.3} {unit:<3} p99 {p99:>9.3} {unit:<3} n {:>5}  target {wanted} {unit}",
        row.what,
        row.values.len(),
        unit = row.unit
    );
}

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let parts: [(&str, fn() -> Vec<Row>); 5] = [
        ("layout", layout::run),
        ("frame", frame::run),
        ("browser", browser::run),
        ("open", open::run),
        ("throughput", throughput::run),
    ];
    for (name, run) in parts {
        if asked.is_empty() || asked.iter().any(|a| a == name) {
            run().iter().for_each(print);
        }
    }
}
