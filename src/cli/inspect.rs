//! `regraft inspect`: what is in the file.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::session::overview::{ConstantRow, NodeRow, Overview};
use crate::session::query::{Query, Row};
use crate::session::{Session, changed, overview::ShapeRow, run};
use crate::tensor::Tensor;

use super::report::{self, Usage};

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Model file or folder, session, or folder of a run.
    pub model: PathBuf,
    /// Signature, meta-graph or tag set of a file that holds several.
    #[arg(long)]
    pub signature: Option<String>,
    /// One JSON document with everything.
    #[arg(long)]
    pub json: bool,
    /// Print the table of nodes.
    #[arg(long)]
    pub nodes: bool,
    /// Print the table of constants.
    #[arg(long)]
    pub constants: bool,
    /// Print the table of dropout sites.
    #[arg(long)]
    pub dropout: bool,
    /// Show only what the query matches, in the window's search language (`op:MatMul dtype:float32 -bias`). `changed:yes`
    /// needs a session or a run: it finds what edits touched and training moved.
    #[arg(long, allow_hyphen_values = true)]
    pub filter: Option<String>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let query = Query::parse(args.filter.as_deref().unwrap_or("")).map_err(Usage)?;
    let (session, tuned) = open(args)?;
    let changed = match query.asks_for_changes() {
        true if session.path().is_none() && !run::is_run(&args.model) => bail!(Usage(NOTHING_CHANGED.to_owned())),
        true => changed::changed(&session, &tuned)?,
        false => HashSet::new(),
    };
    let mut overview = session.understand()?.overview(&session)?;
    overview.nodes.retain(|n| query.matches(&node_query_row(n, &changed)));
    overview.constants.retain(|c| query.matches(&constant_query_row(c, &changed)));
    if args.json {
        println!("{}", serde_json::to_string_pretty(&overview)?);
        return Ok(ExitCode::SUCCESS);
    }
    report::diagnostics(&overview.diagnostics);
    let tables = args.nodes || args.constants || args.dropout;
    if !tables {
        print!("{}", summary(&overview));
    }
    if args.nodes || (!tables && args.filter.is_some()) {
        print!("{}", nodes_table(&overview.nodes));
    }
    if args.constants || (!tables && args.filter.is_some()) {
        print!("{}", constants_table(&overview.constants));
    }
    if args.dropout {
        print!("{}", dropout_table(&overview));
    }
    Ok(ExitCode::SUCCESS)
}

/// Why `changed:` means nothing for a model file.
const NOTHING_CHANGED: &str =
    "--filter changed: compares with the file, and this is the file itself; give a session or the folder of a run";

/// What is looked at, and the values that a run gave to constants.
fn open(args: &Args) -> Result<(Session, Vec<(String, Tensor)>)> {
    if run::is_run(&args.model) {
        let run = run::Run::open(&args.model, "last")?;
        let tuned = run.constants();
        return Ok((run.session, tuned));
    }
    Ok((Session::open_choosing(&args.model, args.signature.as_deref())?, Vec::new()))
}

fn first_shape(shape: &ShapeRow) -> Option<&[Option<usize>]> {
    shape.as_deref()
}

/// What the search language sees of a node.
fn node_query_row<'a>(n: &'a NodeRow, changed: &HashSet<String>) -> Row<'a> {
    let first = n.outputs.first();
    Row {
        name: &n.name,
        op: &n.op,
        dtype: first.map_or("", |o| &o.dtype),
        shape: first.and_then(|o| first_shape(&o.shape)),
        gradient: &n.gradient,
        changed: changed.contains(&n.name),
        ..Row::default()
    }
}

/// What the search language sees of a constant.
fn constant_query_row<'a>(c: &'a ConstantRow, changed: &HashSet<String>) -> Row<'a> {
    Row {
        name: &c.name,
        op: "Const",
        dtype: &c.dtype,
        shape: first_shape(&c.shape),
        elements: Some(c.elements),
        role: &c.role,
        trainable: c.trainable,
        gradient: &c.gradient,
        changed: changed.contains(&c.name),
    }
}

fn summary(o: &Overview) -> String {
    let mut out = format!("{}\n", o.file);
    out += &format!("  {} · {} · {}\n", o.format, o.producer, report::bytes(o.bytes));
    let c = &o.counts;
    out += &format!(
        "  {} nodes, {} constants ({} float), {} dropout sites\n",
        report::count(c.nodes),
        c.constants,
        c.float_constants,
        o.dropout.len()
    );
    if c.leftovers > 0 {
        out += &format!("  {} of the nodes are left over from training and saving\n", report::count(c.leftovers));
    }
    out += &format!(
        "  suggested to train: {} constants, {} parameters\n",
        c.suggested_trainable,
        report::count(c.suggested_parameters)
    );
    for s in &o.signatures {
        out += &format!("  signature {}: {} → {}\n", s.name, s.inputs.join(", "), s.outputs.join(", "));
    }
    if o.entry_points.len() > 1 {
        out += "  ways into the file (choose with --signature):\n";
    }
    for e in o.entry_points.iter().filter(|_| o.entry_points.len() > 1) {
        let marks = [(e.is_open, "open"), (e.is_default, "default")];
        let marks: Vec<&str> = marks.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
        let marks = if marks.is_empty() { String::new() } else { format!(" ({})", marks.join(", ")) };
        out += &format!("    {}: {} → {}{marks}\n", e.choice, e.inputs.join(", "), e.outputs.join(", "));
    }
    for p in &o.placeholders {
        out += &format!("  placeholder {} {} {}\n", p.name, p.dtype, report::shape(&p.shape));
    }
    let unsupported = o.nodes.iter().filter(|n| !n.supported).count();
    if unsupported > 0 {
        out += &format!("  {unsupported} nodes cannot be computed (see --nodes)\n");
    }
    out
}

fn nodes_table(nodes: &[NodeRow]) -> String {
    let rows: Vec<Vec<String>> = nodes
        .iter()
        .map(|n| {
            let outs: Vec<String> =
                n.outputs.iter().map(|o| format!("{} {}", o.dtype, report::shape(&o.shape))).collect();
            let state = if n.supported { n.gradient.clone() } else { "unsupported".to_owned() };
            vec![n.name.clone(), n.op.clone(), outs.join("; "), state]
        })
        .collect();
    report::table(&["name", "op", "outputs", "gradient"], &[false; 4], &rows)
}

fn constants_table(constants: &[ConstantRow]) -> String {
    let rows: Vec<Vec<String>> = constants
        .iter()
        .map(|c| {
            vec![
                c.name.clone(),
                c.dtype.clone(),
                report::shape(&c.shape),
                c.elements.to_string(),
                c.role.clone(),
                c.suggest.clone(),
                c.reason.clone(),
            ]
        })
        .collect();
    let right = [false, false, false, true, false, false, false];
    report::table(&["name", "dtype", "shape", "elements", "role", "suggest", "reason"], &right, &rows)
}

fn dropout_table(o: &Overview) -> String {
    let rows: Vec<Vec<String>> = o
        .dropout
        .iter()
        .map(|s| {
            vec![
                s.output.clone(),
                s.input.clone(),
                s.rate.map_or("fed".to_owned(), |r| format!("{r:.4}")),
                s.predicate.clone().unwrap_or_default(),
                s.variant.clone(),
            ]
        })
        .collect();
    report::table(&["output", "input", "rate", "predicate", "variant"], &[false, false, true, false, false], &rows)
}
