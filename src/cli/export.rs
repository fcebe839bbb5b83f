//! `regraft export`: writes a model file.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::base::Reporter;
use crate::session::export::{self, Export};
use crate::session::{Session, beside, run};

use super::model_args::ModelArgs;
use super::report::{self, Usage};

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Folder of a run, session, or model.
    pub source: PathBuf,
    #[command(flatten)]
    pub options: ModelArgs,
    /// Where it goes: the model's own format, or .safetensors / .npz for the weights alone.
    #[arg(long)]
    pub to: PathBuf,
    /// best, last, or a checkpoint's path.
    #[arg(long, default_value = "last")]
    pub checkpoint: String,
    /// remove or keep (default: remove from a run or a folder of weights, keep from a file).
    #[arg(long, value_name = "WHAT")]
    pub dropout_nodes: Option<String>,
    /// For .safetensors and .npz of a run: all weights, not only the tuned ones.
    #[arg(long)]
    pub all_weights: bool,
    /// Do not compare outputs of the written file with ours.
    #[arg(long)]
    pub no_verify: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let (session, constants, is_run): (Session, _, bool) = if run::is_run(&args.source) {
        let run = run::Run::open(&args.source, &args.checkpoint)?;
        let constants = run.constants();
        (run.session, constants, true)
    } else {
        (args.options.open(&args.source)?, Vec::new(), false)
    };
    let remove_dropout = match args.dropout_nodes.as_deref() {
        // A folder's configuration says what is dropped in training; a graph that is built from it is for use.
        None => is_run || session.model.imported.is_built(),
        Some("remove") => true,
        Some("keep") => false,
        Some(other) => bail!(Usage(format!("--dropout-nodes {other}: expected remove or keep"))),
    };
    let mut reporter = Reporter::default();
    let export =
        Export { session: &session, constants, remove_dropout, all_weights: args.all_weights, verify: !args.no_verify };
    let written = export::write(&export, &args.to, &mut reporter);
    report::diagnostics(reporter.diagnostics());
    let written = written?;
    let kind =
        if export::is_weights(&args.to) && (!is_run || args.all_weights) { "weights" } else { "tuned constants" };
    println!("{}: {} {kind}, {} nodes removed", args.to.display(), written.constants, written.nodes_removed);
    if let Some(run_folder) = is_run.then_some(&args.source) {
        let mut reporter = Reporter::default();
        let files = beside::write_for_run(run_folder, &session, &args.to, &mut reporter);
        report::diagnostics(reporter.diagnostics());
        for file in files? {
            println!("beside it: {}", file.display());
        }
    }
    if let Some(d) = written.largest_difference {
        println!("largest difference of the outputs after reading it back: {d:e}");
    }
    Ok(ExitCode::SUCCESS)
}
