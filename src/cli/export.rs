//! `regraft export`: writes a model file.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::base::Reporter;
use crate::formats::targets::{self, TargetKind};
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
    /// Kind of file: own, frozen, text, saved-model, checkpoint, onnx, safetensors, npz (default: by the path's ending).
    #[arg(long, value_name = "KIND")]
    pub format: Option<String>,
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
    let to = target(args, &session)?;
    let mut reporter = Reporter::default();
    let export = Export {
        session: &session,
        constants,
        remove_dropout,
        all_weights: args.all_weights,
        merge_adapters: false,
        verify: !args.no_verify,
    };
    let written = export::write(&export, &to, &mut reporter);
    report::diagnostics(reporter.diagnostics());
    let written = written?;
    let kind = if export::is_weights(&to) && (!is_run || args.all_weights) { "weights" } else { "tuned constants" };
    println!("{}: {} {kind}, {} nodes removed", to.display(), written.constants, written.nodes_removed);
    if let Some(run_folder) = is_run.then_some(&args.source) {
        let mut reporter = Reporter::default();
        let files = beside::write_for_run(run_folder, &session, &to, &mut reporter);
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

/// Where it goes: the path as it is, or with the ending of the kind that was asked for.
fn target(args: &Args, session: &Session) -> Result<PathBuf> {
    let Some(name) = &args.format else { return Ok(args.to.clone()) };
    let Some(kind) = TargetKind::named(name) else {
        let known = TargetKind::ALL.map(TargetKind::name).join(", ");
        bail!(Usage(format!("--format {name}: expected one of {known}")));
    };
    let imported = &session.model.imported;
    let all = targets::all(imported);
    // The model's own kind is listed as such, under no name of its own.
    let target = all.iter().find(|t| t.kind == kind).or(all.first());
    match target.and_then(|t| t.why_not.as_ref()) {
        Some(why) => bail!("this model cannot be written as {name}: {why}"),
        None => Ok(target.map_or_else(|| args.to.clone(), |t| t.path(&args.to))),
    }
}
