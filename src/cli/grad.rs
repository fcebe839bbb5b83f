//! `regraft grad`: gradients of a loss with respect to the trainable constants, or vector-Jacobian products of any
//! values with respect to any values.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;

use crate::base::Reporter;
use crate::session::compute::{Ask, Gradients, Mode};
use crate::session::{Understood, feeds};
use crate::tensor::{Tensor, io};

use super::model_args::ModelArgs;
use super::report::{self, Usage};
use super::run::{read_feeds, read_jobs, run_jobs, write_arrays};

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Model file or folder, or session.
    pub model: PathBuf,
    #[command(flatten)]
    pub options: ModelArgs,
    /// Arrays to feed (.npz or .safetensors), by value name.
    #[arg(long)]
    pub inputs: Option<PathBuf>,
    /// Where the gradients go (.npz or .safetensors), keyed by constant.
    #[arg(long)]
    pub outputs: Option<PathBuf>,
    /// Value to differentiate, in place of the loss; repeatable.
    #[arg(long = "of", value_name = "VALUE")]
    pub of: Vec<String>,
    /// Gradients that arrive at the values of `--of`, by their names.
    #[arg(long, value_name = "FILE")]
    pub upstream: Option<PathBuf>,
    /// Value to differentiate with respect to, in place of the trainable constants; repeatable.
    #[arg(long, value_name = "VALUE")]
    pub wrt: Vec<String>,
    /// Seed of random draws.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Several jobs on one model: `[{"inputs": …, "of": […], "upstream": …, "wrt": […], "outputs": …}]`.
    #[arg(long, value_name = "JSON", conflicts_with_all = ["inputs", "outputs", "of", "wrt", "upstream"])]
    pub batch_file: Option<PathBuf>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Job {
    inputs: Option<PathBuf>,
    of: Vec<String>,
    upstream: Option<PathBuf>,
    wrt: Vec<String>,
    outputs: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let session = args.options.open(&args.model)?;
    let understood = session.understand()?;
    report::diagnostics(&understood.diagnostics);
    if let Some(file) = &args.batch_file {
        return run_jobs(&read_jobs::<Job>(file)?, |job| run_one(args, &understood, job));
    }
    let job = Job {
        inputs: args.inputs.clone(),
        of: args.of.clone(),
        upstream: args.upstream.clone(),
        wrt: args.wrt.clone(),
        outputs: args.outputs.clone(),
    };
    run_one(args, &understood, &job)?;
    Ok(ExitCode::SUCCESS)
}

fn run_one(args: &Args, understood: &Understood, job: &Job) -> Result<()> {
    if job.of.is_empty() && !understood.objective.is_chosen {
        eprintln!("objective: {}", understood.objective.name);
    }
    let gradients = gradients(understood, job)?;
    let keys: Vec<String> = gradients.wrt.iter().map(|(name, _)| name.clone()).collect();
    let ask = Ask {
        mode: Mode::Train,
        feeds: read_feeds(understood, job.inputs.as_deref())?,
        gradients: Some(gradients),
        threads: args.options.threads,
        seed: args.seed,
        ..Ask::default()
    };
    let computed = understood.compute(&ask)?;
    if let Some(loss) = computed.loss {
        println!("loss: {loss}");
    }
    let mut named: Vec<(String, Tensor)> = Vec::new();
    for (i, (name, gradient)) in keys.into_iter().zip(computed.gradients).enumerate() {
        let why = computed.blocked.iter().find(|(b, _)| *b == i).map(|(_, why)| why);
        match (gradient, why) {
            (Some(g), _) => named.push((name, g)),
            (None, Some(why)) => eprintln!("note: no gradient reaches {name}; it is left out: {why}"),
            (None, None) => eprintln!("note: no gradient reaches {name}; it is left out"),
        }
    }
    match &job.outputs {
        Some(path) => write_arrays(path, &named),
        None => {
            named.iter().for_each(|(name, t)| println!("{name}: {t:?}"));
            Ok(())
        }
    }
}

fn gradients(understood: &Understood, job: &Job) -> Result<Gradients> {
    let names = understood.names()?;
    let mut out = Gradients::default();
    if job.wrt.is_empty() {
        out.wrt = understood.trainable.iter().map(|t| (t.node.as_str().to_owned(), t.value)).collect();
    } else {
        for name in &job.wrt {
            out.wrt.push((name.clone(), names.value(name)?));
        }
    }
    if job.of.is_empty() {
        out.of = understood.objective.values.iter().map(|&v| (v, None)).collect();
        return Ok(out);
    }
    let upstream = read_upstream(job.upstream.as_deref())?;
    for name in &job.of {
        let value = names.value(name)?;
        let gradient = find_array(&upstream, name).cloned();
        if job.upstream.is_some() && gradient.is_none() {
            return Err(Usage(format!("the upstream file has no array for {name}")).into());
        }
        let mut reporter = Reporter::default();
        let gradient = match gradient {
            Some(g) => Some(feeds::fit(name, g, names.program.fact(value), &mut reporter)?),
            None => None,
        };
        out.of.push((value, gradient));
    }
    Ok(out)
}

fn read_upstream(path: Option<&Path>) -> Result<Vec<(String, Tensor)>> {
    match path {
        Some(p) => Ok(io::read(p)?.into_iter().collect()),
        None => Ok(Vec::new()),
    }
}

fn find_array<'a>(arrays: &'a [(String, Tensor)], name: &str) -> Option<&'a Tensor> {
    let bare = |n: &'a str| n.strip_suffix(":0").unwrap_or(n);
    let want = name.strip_suffix(":0").unwrap_or(name);
    arrays.iter().find(|(n, _)| n == name || bare(n) == want).map(|(_, t)| t)
}
