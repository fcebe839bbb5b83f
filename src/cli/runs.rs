//! `regraft runs`: runs side by side, with the settings in which they differ, their results, and their curves.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::base::files;
use crate::session::runs::{self, RunRow};
use crate::session::{Recipe, run};
use crate::train::metrics;

use super::report;

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Folders of runs, folders that hold runs, or sessions whose runs are meant.
    #[arg(required = true)]
    pub runs: Vec<PathBuf>,
    /// Write all curves into one table: run, series, step, value (.csv).
    #[arg(long, value_name = "FILE")]
    pub curves: Option<PathBuf>,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let mut rows = Vec::new();
    for path in &args.runs {
        if run::is_run(path) {
            rows.push(runs::read(path)?);
        } else if files::is_dir(path) {
            rows.extend(runs::list(path));
        } else {
            rows.extend(runs::list(&runs::folder_of(path)));
        }
    }
    if rows.is_empty() {
        bail!("no runs there; `regraft train` writes them (--out DIR names the folder)");
    }
    if let Some(path) = &args.curves {
        let table = curves(&rows)?;
        files::replace(path, &table).with_context(|| format!("{} could not be written", path.display()))?;
    }
    let recipes: Vec<&Recipe> = rows.iter().map(|r| &r.recipe).collect();
    let differences = runs::differences(&recipes);
    if args.json {
        println!("{}", json(&rows, &differences));
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}", results(&rows));
    if !differences.is_empty() {
        let mut heads = vec!["setting"];
        heads.extend(rows.iter().map(|r| r.name.as_str()));
        let line = |(key, values): &(String, Vec<String>)| {
            std::iter::once(key.clone()).chain(values.iter().cloned()).collect::<Vec<String>>()
        };
        let lines: Vec<Vec<String>> = differences.iter().map(line).collect();
        println!("{}", report::table(&heads, &vec![false; heads.len()], &lines));
    }
    Ok(ExitCode::SUCCESS)
}

/// The best value of every validation series and the step that reached it.
fn best(row: &RunRow) -> BTreeMap<String, (u64, f64)> {
    let mut out = BTreeMap::new();
    for (series, points) in &row.log.series {
        let Some(name) = series.strip_prefix("validation/") else { continue };
        let higher = metrics::find(name).is_none_or(|m| m.higher_is_better);
        let better = |a: f64, b: f64| if higher { a > b } else { a < b };
        let found =
            points.iter().filter(|p| p.1.is_finite()).copied().reduce(|a, b| if better(b.1, a.1) { b } else { a });
        out.extend(found.map(|f| (name.to_owned(), f)));
    }
    out
}

/// Scores that are worth a column, where a run has them.
const SHOWN: &[&str] = &["loss", "accuracy", "f1", "entity_f1", "mse", "r2"];

fn results(rows: &[RunRow]) -> String {
    let all: Vec<BTreeMap<String, (u64, f64)>> = rows.iter().map(best).collect();
    let shown: Vec<&str> = SHOWN.iter().copied().filter(|m| all.iter().any(|b| b.contains_key(*m))).collect();
    let heads: Vec<String> = ["run", "ended", "steps", "seconds", "train loss"]
        .map(str::to_owned)
        .into_iter()
        .chain(shown.iter().map(|m| format!("best: {}", metrics::title(m))))
        .collect();
    let line = |(row, best): (&RunRow, &BTreeMap<String, (u64, f64)>)| {
        let ended = row.log.end.as_ref().map_or("running or killed".to_owned(), |e| word(&e.0));
        let mut cells = vec![
            row.name.clone(),
            ended,
            row.log.last_step.map_or(0, |s| s + 1).to_string(),
            format!("{:.1}", row.log.elapsed_secs),
            row.log.last("train/loss").map_or(String::new(), |l| format!("{l:.4}")),
        ];
        let cell = |m: &&str| best.get(*m).map_or(String::new(), |(step, v)| format!("{v:.4} at {step}"));
        cells.extend(shown.iter().map(cell));
        cells
    };
    let lines: Vec<Vec<String>> = rows.iter().zip(&all).map(line).collect();
    let right: Vec<bool> = (0..heads.len()).map(|i| i > 1).collect();
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    report::table(&heads, &right, &lines)
}

/// A reason as the log writes it.
fn word(reason: &crate::train::EndReason) -> String {
    serde_json::to_value(reason).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn json(rows: &[RunRow], differences: &[(String, Vec<String>)]) -> serde_json::Value {
    let run = |row: &RunRow| {
        let best: serde_json::Map<String, serde_json::Value> = best(row)
            .into_iter()
            .map(|(name, (step, value))| (name, serde_json::json!({ "step": step, "value": value })))
            .collect();
        serde_json::json!({
            "run": row.name,
            "folder": row.folder,
            "end": row.log.end.as_ref().map(|e| word(&e.0)),
            "steps": row.log.last_step.map_or(0, |s| s + 1),
            "elapsed_secs": row.log.elapsed_secs,
            "best": best,
            "series": row.log.series,
        })
    };
    let differences: serde_json::Map<String, serde_json::Value> =
        differences.iter().map(|(k, v)| (k.clone(), serde_json::json!(v))).collect();
    serde_json::json!({ "runs": rows.iter().map(run).collect::<Vec<_>>(), "differences": differences })
}

fn curves(rows: &[RunRow]) -> Result<Vec<u8>> {
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(["run", "series", "step", "value"])?;
    for row in rows {
        for (series, points) in &row.log.series {
            for (step, value) in points {
                out.write_record([&row.name, series, &step.to_string(), &value.to_string()])?;
            }
        }
    }
    out.into_inner().map_err(|e| anyhow::anyhow!("the table could not be made: {e}"))
}
