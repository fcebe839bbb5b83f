//! `regraft train`: runs on data sets and on arrays.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::base::{CancelToken, Reporter, files};
use crate::data::ArrayFeeds;
use crate::session::recipe::Recipe;
use crate::session::{Session, run, runs, tables, training};
use crate::train::{Delivery, EndReason, Job, TrainCommand, TrainEvent, Trainer};

use super::model_args::{ModelArgs, pair};
use super::report::{self, Usage};

#[derive(Clone, Debug, clap::Args)]
pub struct TrainArgs {
    /// Session, or model file or folder.
    pub model: PathBuf,
    #[command(flatten)]
    pub options: ModelArgs,
    #[command(flatten)]
    pub data: DataArgs,
    /// Arrays with one more leading axis, the step: step i feeds slice i (modulo its length).
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    pub feeds: Option<PathBuf>,
    /// Number of steps (default: the session's epochs).
    #[arg(long)]
    pub steps: Option<u64>,
    /// sgd, adam, adamw or bert-adamw.
    #[arg(long, value_name = "KIND")]
    pub optimizer: Option<String>,
    /// Go on with the optimizer state (moments, step count) that the model's checkpoint holds: optimizer.state=file.
    #[arg(long)]
    pub keep_optimizer_state: bool,
    /// A setting: optimizer.lr=1e-4, training.epochs=3, …; repeatable.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// Folder of the run: log, recipe and checkpoints.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Go on from the newest checkpoint of the run's folder.
    #[arg(long)]
    pub resume: bool,
    /// Train a run that has ended for so many epochs more (or steps, where its length is given in steps): MODEL is its
    /// folder.
    #[arg(long, value_name = "N", conflicts_with = "feeds")]
    pub extend: Option<usize>,
    /// Say what the run will take (memory, time from a probe of a few steps) and stop.
    #[arg(long)]
    pub estimate: bool,
    /// One JSON line per event.
    #[arg(long)]
    pub json: bool,
}

/// Where a table is and what its columns mean.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DataArgs {
    /// Examples: a table (.csv, .tsv, .jsonl), labelled sequences (.conll), arrays (.npz, .npy, IDX), or a folder with a
    /// folder of pictures per class.
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// Data of the same kind for the evaluation after each epoch.
    #[arg(long, value_name = "FILE", conflicts_with = "split")]
    pub validation: Option<PathBuf>,
    /// Fraction of the table that is kept for evaluation.
    #[arg(long, value_name = "FRACTION")]
    pub split: Option<f64>,
    /// Column with the text, or two for pairs: A or A,B.
    #[arg(long, value_name = "COLUMN[,COLUMN]")]
    pub text: Option<String>,
    /// Column with the label; several for numbers or marks: A,B; for arrays the name of an array or file.
    #[arg(long, value_name = "COLUMN")]
    pub label: Option<String>,
    /// The classes in their order, one a line (or a JSON list).
    #[arg(long, value_name = "FILE")]
    pub label_list: Option<PathBuf>,
    /// vocab.txt or tokenizer.json.
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// Lower-case texts (default: as the tokenizer says, else guessed from the vocabulary).
    #[arg(long)]
    pub lower: Option<bool>,
    /// Longest sequence in pieces.
    #[arg(long, value_name = "N")]
    pub max_length: Option<usize>,
    /// What a placeholder is fed with: PLACEHOLDER=FEATURE; repeatable.
    #[arg(long = "map", value_name = "PLACEHOLDER=FEATURE")]
    pub map: Vec<String>,
    /// What metrics and predictions read.
    #[arg(long, value_name = "VALUE")]
    pub logits: Option<String>,
}

pub fn train(args: &TrainArgs) -> Result<ExitCode> {
    let is_run = run::is_run(&args.model);
    if args.extend.is_some() && !is_run {
        bail!(Usage("--extend goes on with a run: name its folder".to_owned()));
    }
    let mut session =
        if is_run { run::Run::open(&args.model, "last")?.session } else { args.options.open(&args.model)? };
    let mut recipe = (**session.recipe()).clone();
    change(args, &mut recipe)?;
    if let Some(more) = args.extend {
        recipe = runs::extended(&recipe, more)?;
    }
    session.replace_recipe(recipe)?;
    if let Some(file) = &args.options.save_session {
        session.save_as(file)?;
    }
    let folder = match &args.out {
        Some(folder) => folder.clone(),
        None if is_run => args.model.clone(),
        None => run::default_folder(&session, &args.model),
    };
    let start = training::Start {
        folder: if args.estimate { None } else { Some(folder) },
        resume: args.resume || is_run,
        delivery: Delivery::Every,
        threads: args.options.threads,
        ..Default::default()
    };
    let mut reporter = Reporter::default();
    let job = match &args.feeds {
        Some(path) => training::on_arrays(&session, ArrayFeeds::open(path)?, start, &mut reporter),
        None if session.recipe().data.is_some() => tables::job(&session, start, &mut reporter),
        None => bail!(Usage("name the data: --feeds FILE, or --data FILE --text COLUMN --label COLUMN".to_owned())),
    };
    report::diagnostics(reporter.diagnostics());
    say(reporter.diagnostics());
    let job = job?;
    if args.estimate {
        return estimate(job, args.json);
    }
    follow(job, args.json)
}

/// What the data looks like: classes and lengths.
fn say(found: &[crate::base::Diagnostic]) {
    for d in found.iter().filter(|d| ["classes", "classes-counted", "lengths"].contains(&d.code.as_str())) {
        eprintln!("{}", d.message);
    }
}

/// What the run will take.
fn estimate(job: Job, json: bool) -> Result<ExitCode> {
    let e = crate::train::estimate::estimate(job, &CancelToken::default(), &|_| {}).map_err(anyhow::Error::msg)?;
    if json {
        println!("{}", serde_json::to_string(&e)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} constants, {} parameters train", e.trainable, report::count(e.parameters));
    println!("{} steps, {:.3} s each, {:.1} s for an evaluation", e.steps, e.step_secs, e.eval_secs);
    println!("about {} of memory, {} in all", report::bytes(e.memory_bytes), duration(e.total_secs));
    Ok(ExitCode::SUCCESS)
}

/// `1 h 05 min`, `12 min`, `40 s`.
fn duration(secs: f64) -> String {
    let s = secs.max(0.0).round() as u64;
    match s {
        0..=119 => format!("{s} s"),
        120..=7199 => format!("{} min", s / 60),
        _ => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
    }
}

/// Trains a saved session into `folder`, going on where an earlier run stopped.
pub fn train_session(path: &Path, json: bool, folder: &Path) -> Result<ExitCode> {
    let session = Session::open(path)?;
    let start = training::Start {
        folder: Some(folder.to_owned()),
        resume: files::exists(&folder.join(training::RECIPE)),
        delivery: Delivery::Every,
        ..Default::default()
    };
    let mut reporter = Reporter::default();
    let job = tables::job(&session, start, &mut reporter);
    report::diagnostics(reporter.diagnostics());
    follow(job?, json)
}

fn change(args: &TrainArgs, recipe: &mut Recipe) -> Result<()> {
    let mut set = |key: &str, value: String| recipe.settings.insert(key.to_owned(), value);
    if let Some(kind) = &args.optimizer {
        set("optimizer.kind", kind.clone());
    }
    if let Some(steps) = args.steps {
        set("training.steps", steps.to_string());
    }
    if let Some(n) = args.data.max_length {
        set("data.max_length", n.to_string());
    }
    if let Some(f) = args.data.split {
        set("data.split", f.to_string());
    }
    if args.keep_optimizer_state {
        set("optimizer.state", "file".to_owned());
    }
    for s in &args.settings {
        let (key, value) = pair("--set", s)?;
        set(key, value.to_owned());
    }
    if args.data.data.is_some() {
        for (key, value) in crate::train::Preset::FineTune.values() {
            recipe.settings.entry((*key).to_owned()).or_insert_with(|| (*value).to_owned());
        }
    }
    training::settings(recipe)?;
    choose_data(&args.data, recipe)
}

fn choose_data(args: &DataArgs, recipe: &mut Recipe) -> Result<()> {
    let text = |p: &PathBuf| p.to_string_lossy().into_owned();
    let Some(path) = &args.data else { return Ok(()) };
    recipe.data.get_or_insert_default().train = text(path);
    describe_data(args, recipe)
}

/// What the options say about columns, tokenizer and predictions.
pub fn describe_data(args: &DataArgs, recipe: &mut Recipe) -> Result<()> {
    let text = |p: &PathBuf| p.to_string_lossy().into_owned();
    let mut data = recipe.data.clone().unwrap_or_default();
    data.labels = args.label_list.as_ref().map(text).or(data.labels);
    data.validation = args.validation.as_ref().map(text).or(data.validation);
    if let Some(columns) = &args.text {
        data.text = columns.split(',').map(|c| c.trim().to_owned()).collect();
    }
    data.label = args.label.clone().or(data.label);
    data.tokenizer = args.tokenizer.as_ref().map(text).or(data.tokenizer);
    data.lower = args.lower.or(data.lower);
    data.logits = args.logits.clone().or(data.logits);
    for m in &args.map {
        let (placeholder, feature) = pair("--map", m)?;
        data.map.insert(placeholder.to_owned(), feature.to_owned());
    }
    recipe.data = Some(data);
    Ok(())
}

/// Runs a job to its end, printing its events. Ctrl+C keeps a checkpoint and ends with 130; a second one ends at once.
fn follow(job: Job, json: bool) -> Result<ExitCode> {
    let folder = job.folder.clone();
    let trainer = Trainer::start(job).context("the trainer thread could not be started")?;
    let commands = trainer.commands();
    let interrupted = std::sync::atomic::AtomicBool::new(false);
    let handled = ctrlc::set_handler(move || {
        if interrupted.swap(true, std::sync::atomic::Ordering::SeqCst) {
            std::process::exit(130);
        }
        // A full queue is read after the running step; a closed one means that the run has ended.
        let _ = commands.try_send(TrainCommand::Stop { keep: true });
    });
    if handled.is_err() {
        tracing::warn!("Ctrl+C cannot be caught here; it ends the program at once");
    }
    let mut lines = Lines::default();
    let mut end = None;
    for event in trainer.events() {
        if json {
            println!("{}", event.to_line());
        } else {
            lines.print(&event);
        }
        if let TrainEvent::End { reason, message, .. } = &event {
            end = Some((*reason, message.clone()));
        }
    }
    trainer.join();
    match end {
        Some((EndReason::Stopped, _)) => Ok(ExitCode::from(130)),
        Some((EndReason::Error, message)) => bail!(message.unwrap_or_else(|| "the run failed".to_owned())),
        None => bail!("the run ended without a word"),
        Some(_) => {
            if let (Some(folder), false) = (folder, json) {
                eprintln!("the run is in {}", folder.display());
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Readable lines: a step now and then, every evaluation and checkpoint.
#[derive(Default)]
struct Lines {
    last: Option<std::time::Instant>,
}

impl Lines {
    fn print(&mut self, event: &TrainEvent) {
        match event {
            TrainEvent::Start { trainable, parameters, steps, .. } => {
                println!("training {trainable} constants, {} parameters, {steps} steps", report::count(*parameters));
            }
            TrainEvent::Step { step, epoch, loss, lr, examples_per_sec, .. } => {
                if self.last.is_some_and(|t| t.elapsed().as_millis() < 500) {
                    return;
                }
                self.last = Some(std::time::Instant::now());
                println!("epoch {epoch} step {step}: loss {loss:.4}, lr {lr:.2e}, {examples_per_sec:.0} examples/s");
            }
            TrainEvent::Eval { epoch, split, loss, metrics, .. } => {
                let shown = ["accuracy", "f1", "entity_f1", "mse"]
                    .iter()
                    .filter_map(|m| Some(format!(", {} {:.4}", crate::train::metrics::title(m), metrics.get(*m)?)));
                println!("epoch {epoch} {split}: loss {loss:.4}{}", shown.collect::<String>());
            }
            TrainEvent::Checkpoint { path, .. } => tracing::info!("checkpoint {path}"),
            TrainEvent::Samples { .. } => {}
            TrainEvent::Log { message, .. } => eprintln!("note: {message}"),
            TrainEvent::Weights { .. } => {}
            TrainEvent::End { step, elapsed_secs, .. } => println!("ended after {step} steps, {elapsed_secs:.1} s"),
        }
    }
}
