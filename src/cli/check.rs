//! `regraft check`: does gradient arrive everywhere it should, and if not, why.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value as Json, json};

use crate::autodiff::{Cure, NodeVerdict, Verdict};
use crate::session::Understood;

use super::model_args::ModelArgs;
use super::report;

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Model file or folder, or session.
    pub model: PathBuf,
    #[command(flatten)]
    pub options: ModelArgs,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let session = args.options.open(&args.model)?;
    let understood = session.understand()?;
    report::diagnostics(&understood.diagnostics);
    let grad = understood.report();
    let reached = grad.constants.iter().filter(|c| c.verdict == Verdict::Flows).count();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&document(&understood, reached))?);
    } else {
        print!("{}", text(&understood, reached));
    }
    let all = reached == grad.constants.len() && grad.uncomputable.is_empty();
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn document(understood: &Understood, reached: usize) -> Json {
    let grad = understood.report();
    let constants: Vec<Json> = grad
        .constants
        .iter()
        .map(|c| {
            json!({
                "name": c.name, "verdict": c.verdict.name(), "benign": c.verdict == Verdict::Stopped { benign: true }, "why": c.why,
                "path": grad.path(c).iter().map(|n| n.as_str()).collect::<Vec<_>>(), "cure": c.cures.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        })
        .collect();
    let nodes: Vec<Json> = grad
        .nodes
        .values()
        .map(|n| {
            json!({
                "name": n.node.as_str(), "verdict": n.verdict.name(), "benign": n.verdict == Verdict::Stopped { benign: true }, "why": n.why,
                "blocks": n.blocks,
                "cure": n.cures.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "loss": understood.objective.name, "trainable": grad.constants.len(), "reached": reached,
        "constants": constants, "nodes": nodes,
        "uncomputable": grad.uncomputable.iter().map(|u| json!({
            "name": u.node.as_str(), "op": u.op, "why": u.why,
            "cure": u.cures.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}

fn text(understood: &Understood, reached: usize) -> String {
    let grad = understood.report();
    let mut out = format!("objective: {}\n", understood.objective.name);
    out += &format!("gradient reaches {reached} of {} trainable constants\n", grad.constants.len());
    for u in &grad.uncomputable {
        out += &format!("\n{} ({}) cannot be computed: {}\n", u.node, u.op, u.why);
        out += &cures(&u.cures);
    }
    let is_told = |n: &NodeVerdict| grad.uncomputable.iter().any(|u| u.node == n.node);
    for n in grad.blockers() {
        out += &format!("\n{} {} — {} weights behind it\n", n.node, n.verdict.name(), n.blocks.len());
        if let Some(why) = &n.why {
            out += &format!("  {why}\n");
        }
        if !is_told(n) {
            out += &cures(&n.cures);
        }
    }
    for c in grad.constants.iter().filter(|c| c.verdict != Verdict::Flows) {
        out += &format!("\n{}: {}\n", c.name, c.verdict.name());
        if let Some(why) = &c.why {
            out += &format!("  {why}\n");
        }
        let path = grad.path(c);
        if !path.is_empty() {
            out += &format!("  path: {}\n", path.iter().map(|n| n.as_str()).collect::<Vec<_>>().join(" → "));
        }
    }
    out
}

/// A line per cure, with the option that applies it.
fn cures(found: &[Cure]) -> String {
    let line = |c: &Cure| match c.option() {
        Some(option) => format!("  cure: {c} ({option})\n"),
        None => format!("  cure: {c}\n"),
    };
    found.iter().map(line).collect()
}
