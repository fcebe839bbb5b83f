//! `regraft run`: computes outputs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::base::Reporter;
use crate::session::compute::{Ask, Mode};
use crate::session::{Understood, feeds};
use crate::tensor::{Tensor, io};

use super::model_args::ModelArgs;
use super::report::{self, Usage};

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Model file or folder, or session.
    pub model: PathBuf,
    #[command(flatten)]
    pub options: ModelArgs,
    /// Arrays to feed (.npz or .safetensors), by value name.
    #[arg(long)]
    pub inputs: Option<PathBuf>,
    /// Where the outputs go (.npz or .safetensors).
    #[arg(long)]
    pub outputs: Option<PathBuf>,
    /// Value to compute; repeatable. Without it: the signature's outputs, else every value that nothing reads.
    #[arg(long, value_name = "VALUE")]
    pub fetch: Vec<String>,
    /// eval or train.
    #[arg(long, default_value = "eval", value_parser = parse_mode)]
    pub mode: Mode,
    /// Seed of random draws.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Several jobs on one model: `[{"inputs": …, "fetch": […], "outputs": …}]`.
    #[arg(long, value_name = "JSON", conflicts_with_all = ["inputs", "outputs"])]
    pub batch_file: Option<PathBuf>,
}

fn parse_mode(text: &str) -> Result<Mode, String> {
    match text {
        "eval" => Ok(Mode::Eval),
        "train" => Ok(Mode::Train),
        _ => Err("expected eval or train".to_owned()),
    }
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    #[serde(default)]
    inputs: Option<PathBuf>,
    #[serde(default)]
    fetch: Vec<String>,
    outputs: PathBuf,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let session = args.options.open(&args.model)?;
    let understood = session.understand()?;
    report::diagnostics(&understood.diagnostics);
    if let Some(file) = &args.batch_file {
        return run_jobs(&read_jobs::<Job>(file)?, |job| {
            run_one(args, &understood, job.inputs.as_deref(), &job.fetch, Some(&job.outputs))
        });
    }
    run_one(args, &understood, args.inputs.as_deref(), &args.fetch, args.outputs.as_deref())?;
    Ok(ExitCode::SUCCESS)
}

fn run_one(
    args: &Args,
    understood: &Understood,
    inputs: Option<&Path>,
    fetch: &[String],
    outputs: Option<&Path>,
) -> Result<()> {
    let (fetches, labels) = understood.fetches(fetch)?;
    let ask = Ask {
        mode: args.mode,
        fetches,
        feeds: read_feeds(understood, inputs)?,
        threads: args.options.threads,
        seed: args.seed,
        ..Ask::default()
    };
    let computed = understood.compute(&ask)?;
    let named: Vec<(String, Tensor)> = labels.into_iter().zip(computed.outputs).collect();
    match outputs {
        Some(path) => write_arrays(path, &named)?,
        None => named.iter().for_each(|(name, t)| println!("{name}: {t:?}")),
    }
    Ok(())
}

/// The jobs of a `--batch-file`.
pub fn read_jobs<T: serde::de::DeserializeOwned>(file: &Path) -> Result<Vec<T>> {
    let text = crate::base::files::read_to_string(file)
        .with_context(|| format!("the batch file {} could not be read", file.display()))?;
    serde_json::from_str(&text).map_err(|e| Usage(format!("{} is not a list of jobs: {e}", file.display())).into())
}

/// Runs jobs one after another; a failing one is reported with its index and the rest go on.
pub fn run_jobs<T>(jobs: &[T], mut run: impl FnMut(&T) -> Result<()>) -> Result<ExitCode> {
    let mut failed = 0;
    for (i, job) in jobs.iter().enumerate() {
        if let Err(e) = run(job) {
            eprintln!("job {i}: {e:#}");
            failed += 1;
        }
    }
    if failed > 0 {
        bail!("{failed} of {} jobs failed", jobs.len());
    }
    Ok(ExitCode::SUCCESS)
}

/// Arrays of a file, resolved to values; what does not fit is a warning or an error.
pub fn read_feeds(understood: &Understood, path: Option<&Path>) -> Result<feeds::Feeds> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let arrays = io::read(path).with_context(|| format!("{} could not be read", path.display()))?;
    let mut reporter = Reporter::default();
    let resolved = feeds::resolve(&understood.names()?, arrays.into_iter().collect(), &mut reporter)?;
    report::diagnostics(reporter.diagnostics());
    Ok(resolved)
}

pub fn write_arrays(path: &Path, named: &[(String, Tensor)]) -> Result<()> {
    io::write(path, named.iter().map(|(n, t)| (n.as_str(), t)))
        .with_context(|| format!("{} could not be written", path.display()))
}
