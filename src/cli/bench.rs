//! `regraft bench`: times training steps, inference, and opening, in the interface of the peer benchmark.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::{Value as Json, json};

use crate::base::Reporter;
use crate::engine::{Engine, Workspace};
use crate::program::Random;
use crate::session::bench_plan::{self, Scope};
use crate::session::job::SessionSteps;
use crate::session::recipe::{Objective, SitePolicy};
use crate::session::{Session, Understood, feeds};
use crate::tensor::{DType, Tensor, io};
use crate::train::{Phase, Preset, Settings, Step, Store};

use super::model_args::ModelArgs;
use super::report::{self, Usage};

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Model file.
    pub path: Option<PathBuf>,
    /// Model file (the same, as the peer benchmark writes it).
    #[arg(long = "model", conflicts_with = "path")]
    pub model: Option<PathBuf>,
    #[command(flatten)]
    pub options: ModelArgs,
    /// train, infer or open.
    #[arg(long, default_value = "train")]
    pub mode: String,
    /// all, head (the classifier only) or last2 (two top layers, pooler, classifier).
    #[arg(long, default_value = "all")]
    pub train: String,
    #[arg(long, default_value_t = 8)]
    pub batch: usize,
    /// Length of the sequences.
    #[arg(long, default_value_t = 128)]
    pub seq: usize,
    /// Timed steps.
    #[arg(long, default_value_t = 5)]
    pub steps: usize,
    /// Untimed steps before them, the first included.
    #[arg(long, default_value_t = 2)]
    pub warmup: usize,
    #[arg(long, default_value = "adamw")]
    pub optimizer: String,
    /// Learning rate.
    #[arg(long, default_value_t = 1e-4)]
    pub lr: f64,
    /// STEM.ids.npy, .mask.npy, .segments.npy ([n, batch, seq]) and .labels.npy ([n, batch]).
    #[arg(long, value_name = "STEM")]
    pub data: Option<PathBuf>,
    /// Arrays with one more leading axis, the step, for models that are not BERT-shaped.
    #[arg(long, value_name = "FILE")]
    pub feeds: Option<PathBuf>,
    /// One JSON line.
    #[arg(long)]
    pub json: bool,
}

type Feeds = Vec<(String, Tensor)>;

pub fn run(args: &Args) -> Result<ExitCode> {
    let started = process_start();
    let path = args.path.as_ref().or(args.model.as_ref()).ok_or_else(|| Usage("name a model".to_owned()))?;
    let opened = Instant::now();
    let mut options = args.options.clone();
    if let Some(number) = options.dropout.as_deref().and_then(|d| d.parse::<f64>().ok()) {
        let policy = if number == 0.0 { SitePolicy::Off } else { SitePolicy::Rate(number) };
        options.dropout = Some(policy.to_string());
    }
    let mut session = options.open(path)?;
    let mut result = json!({
        "peer": "product", "model": path.file_stem().map(|s| s.to_string_lossy().trim_start_matches("bert_").to_owned()),
        "mode": args.mode, "train": args.train, "batch": args.batch, "seq": args.seq,
        "dropout": args.options.dropout.as_deref().and_then(|d| d.parse::<f64>().ok()).unwrap_or(0.0),
        "versions": {"product": env!("CARGO_PKG_VERSION")},
    });
    match args.mode.as_str() {
        "open" => {
            let understood = session.understand()?;
            let overview = understood.overview(&session)?;
            merge(
                &mut result,
                &json!({
                    "total_s": opened.elapsed().as_secs_f64(), "nodes": overview.nodes.len(), "maxrss_mb": peak_memory_mb(),
                }),
            );
        }
        "train" | "infer" => {
            let timed = timed_run(args, &mut session, opened, started)?;
            merge(&mut result, &timed);
        }
        other => bail!(Usage(format!("--mode {other}: expected train, infer or open"))),
    }
    if args.json {
        println!("{result}")
    } else {
        print!("{}", small_table(&result))
    }
    Ok(ExitCode::SUCCESS)
}

fn timed_run(args: &Args, session: &mut Session, opened: Instant, started: f64) -> Result<Json> {
    let engine = Engine::new(args.options.threads.unwrap_or(0))?;
    let training = args.mode == "train";
    let batches = batches(args, session)?;
    let understood = Arc::new(prepare(args, session, training)?);
    let batches = fitted(&understood, batches)?;
    let open_s = opened.elapsed().as_secs_f64();
    let built = Instant::now();
    let (phase, mut factory) = if training {
        (Phase::Train, SessionSteps::new(understood.clone(), None)?)
    } else {
        let logits = bench_plan::logits(&understood)?;
        (Phase::Eval, SessionSteps::inference(understood.clone(), Some(logits)))
    };
    let settings = settings(args)?;
    let mut store = Store::new(understood.parameters()?, &settings.optimizer)?;
    let mut step = factory.make_step(phase, &batches[0])?;
    let build_s = built.elapsed().as_secs_f64();
    let (mut losses, mut times, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    let (mut first, mut to_first) = (0.0, 0.0);
    let mut space = Workspace::new();
    for i in 0..args.warmup.max(1) + args.steps {
        let (wall, used) = (Instant::now(), cpu_seconds());
        let feeds = &batches[i % batches.len()];
        let random = Random { seed: 0, step: i as u64 };
        let loss = engine.install(|| step.run(&mut space, feeds, store.values(), random))?;
        if training {
            losses.push(loss);
            let c = store.coefficients(&settings.optimizer, args.lr, 1.0);
            engine.install(|| store.update(&c, |p| step.gradient(&space, p)));
        }
        if i == 0 {
            first = wall.elapsed().as_secs_f64();
            to_first = now() - started;
        }
        if i >= args.warmup.max(1) {
            times.push(wall.elapsed().as_secs_f64());
            cpu.push(cpu_seconds() - used);
        }
    }
    let median = median(&times);
    let flops = step.flops() as f64;
    let breakdown: Vec<Json> = engine
        .install(|| step.profile(&mut space, &batches[0], store.values()))?
        .into_iter()
        .map(|(kind, share)| json!({"kind": kind, "share": share}))
        .collect();
    Ok(json!({
        "threads": engine.threads(), "phases_s": {"open": open_s, "build": build_s}, "first_step_s": first,
        "time_to_first_step_s": to_first, "step_s": times, "step_cpu_s": cpu, "losses": losses,
        "maxrss_mb": peak_memory_mb(), "plan_ms": build_s * 1e3, "gflops": flops / median / 1e9,
        "memory_estimate_bytes": step.memory_bytes() + store.memory_bytes(), "breakdown": breakdown,
    }))
}

/// The batches under the program's names and in its element types; arrays that nothing reads are left out.
fn fitted(understood: &Understood, batches: Vec<Feeds>) -> Result<Vec<Feeds>> {
    let names = understood.names()?;
    let one = |feeds: Feeds| -> Result<Feeds> {
        let mut out = Vec::new();
        for (name, tensor) in feeds {
            if let Some(value) = names.find(&name) {
                let fact = understood.program.fact(value);
                let tensor = feeds::fit(&name, tensor, fact, &mut Reporter::default())?;
                out.push((understood.program.describe(value), tensor));
            }
        }
        Ok(out)
    };
    batches.into_iter().map(one).collect()
}

/// Trainable set and objective of the asked scope.
fn prepare(args: &Args, session: &mut Session, training: bool) -> Result<Understood> {
    let understood = session.understand()?;
    if !training {
        return Ok(understood);
    }
    let scope: Scope = args.train.parse().map_err(Usage)?;
    let mut recipe = (**session.recipe()).clone();
    if args.options.trainable.is_empty() {
        recipe.trainable = bench_plan::trainable(&understood, scope);
    }
    if recipe.objective.is_none() && !bench_plan::has_own_loss(&understood) {
        let logits = bench_plan::logits(&understood)?;
        recipe.objective = Some(Objective::Attached {
            loss: "softmax-cross-entropy".to_owned(),
            on: understood.program.describe(logits),
            labels: bench_plan::LABELS.to_owned(),
            ignore_label: -100,
            options: Default::default(),
        });
    }
    session.replace_recipe(recipe)?;
    Ok(session.understand()?)
}

fn settings(args: &Args) -> Result<Settings> {
    let pairs = [("optimizer.kind", args.optimizer.clone()), ("optimizer.lr", args.lr.to_string())];
    Ok(Settings::new(Preset::Plain, pairs.iter().map(|(k, v)| (*k, v.as_str())))?)
}

/// The batches to walk in turn: from `--feeds`, `--data`, or random ids for every integer placeholder of rank 2.
fn batches(args: &Args, session: &Session) -> Result<Vec<Feeds>> {
    if let Some(path) = &args.feeds {
        let arrays = io::read(path).with_context(|| format!("{} could not be read", path.display()))?;
        return bench_plan::slices(arrays.into_iter().collect()).map_err(|e| Usage(e).into());
    }
    let understood = session.understand()?;
    let names = bench_plan::bert_inputs(&understood)?;
    let labels = bench_plan::LABELS;
    if let Some(stem) = &args.data {
        let load = |suffix: &str| -> Result<Tensor> {
            let path = PathBuf::from(format!("{}.{suffix}.npy", stem.display()));
            io::npy::read(&path).with_context(|| format!("{} could not be read", path.display()))
        };
        let arrays = vec![
            (names.ids, load("ids")?),
            (names.mask, load("mask")?),
            (names.segments, load("segments")?),
            (labels.to_owned(), load("labels")?),
        ];
        return bench_plan::slices(arrays).map_err(|e| Usage(e).into());
    }
    let (b, s) = (args.batch, args.seq);
    let fill = |f: &dyn Fn(usize) -> f64, n: usize, dims: &[usize]| Tensor::from_f64s(DType::I32, dims, (0..n).map(f));
    Ok(vec![vec![
        (names.ids, fill(&|i| ((i * 7919) % names.vocabulary) as f64, b * s, &[b, s])),
        (names.mask, fill(&|_| 1.0, b * s, &[b, s])),
        (names.segments, fill(&|_| 0.0, b * s, &[b, s])),
        (labels.to_owned(), fill(&|i| (i % 2) as f64, b, &[b])),
    ]])
}

fn merge(into: &mut Json, from: &Json) {
    if let (Some(a), Some(b)) = (into.as_object_mut(), from.as_object()) {
        a.extend(b.iter().map(|(k, v)| (k.clone(), v.clone())));
    }
}

fn small_table(result: &Json) -> String {
    let number = |k: &str| result.get(k).and_then(Json::as_f64);
    let mut rows = Vec::new();
    if let Some(times) = result.get("step_s").and_then(Json::as_array) {
        let times: Vec<f64> = times.iter().filter_map(Json::as_f64).collect();
        rows.push(vec!["median step".to_owned(), format!("{:.1} ms", median(&times) * 1e3)]);
    }
    for (key, label, unit) in [
        ("total_s", "opening", "s"),
        ("first_step_s", "first step", "s"),
        ("plan_ms", "planning", "ms"),
        ("gflops", "speed", "GFLOP/s"),
        ("maxrss_mb", "peak memory", "MiB"),
    ] {
        if let Some(v) = number(key) {
            rows.push(vec![label.to_owned(), format!("{v:.2} {unit}")]);
        }
    }
    for b in result.get("breakdown").and_then(Json::as_array).into_iter().flatten().take(8) {
        let share = b["share"].as_f64().unwrap_or(0.0);
        rows.push(vec![format!("  {}", b["kind"].as_str().unwrap_or("")), format!("{:.1} %", share * 100.0)]);
    }
    report::table(&["", "value"], &[false, true], &rows)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// When the process was started, as the caller says (`BENCH_T0`), else now.
fn process_start() -> f64 {
    std::env::var("BENCH_T0").ok().and_then(|t| t.parse().ok()).unwrap_or_else(now)
}

/// Processor time of this process so far; 0 where the platform does not say.
fn cpu_seconds() -> f64 {
    crate::base::usage::cpu_seconds().unwrap_or(0.0)
}

/// Largest resident memory so far in MiB; 0 where the platform does not say.
fn peak_memory_mb() -> f64 {
    crate::base::usage::peak_resident_bytes().map_or(0.0, |b| b as f64 / (1024.0 * 1024.0))
}
