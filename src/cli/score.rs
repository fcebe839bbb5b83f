//! `regraft eval` and `regraft predict`: what a run, or a model file with its list of labels, is worth.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::base::{Reporter, files};
use crate::session::recipe::Recipe;
use crate::session::tables::{self, Evaluation, Subject};
use crate::session::{Session, beside, run};
use crate::train::metrics::title;

use super::model_args::ModelArgs;
use super::report;
use super::train::{DataArgs, describe_data};

#[derive(Clone, Debug, clap::Args)]
pub struct EvalArgs {
    /// Folder of a run, a session, or a model file.
    pub run: PathBuf,
    #[command(flatten)]
    pub options: ModelArgs,
    /// Labelled data (without it the run's own validation data), and what its columns mean.
    #[command(flatten)]
    pub data: DataArgs,
    /// best, last, or a checkpoint's path.
    #[arg(long, default_value = "last")]
    pub checkpoint: String,
    /// How many of the worst mistakes are shown.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub worst: usize,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub struct PredictArgs {
    /// Folder of a run, a session, or a model file.
    pub run: PathBuf,
    #[command(flatten)]
    pub options: ModelArgs,
    /// New examples, and what their columns mean.
    #[command(flatten)]
    pub data: DataArgs,
    /// best, last, or a checkpoint's path.
    #[arg(long, default_value = "last")]
    pub checkpoint: String,
    /// Where predictions go (.csv); without it standard output.
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
    /// One JSON line per row.
    #[arg(long)]
    pub json: bool,
}

/// A run, or a session of a model file.
enum Opened {
    Run(Box<run::Run>),
    Model(Box<Session>),
}

impl Opened {
    fn subject(&self) -> Subject<'_> {
        match self {
            Self::Run(run) => Subject::from(&**run),
            Self::Model(session) => Subject::from(&**session),
        }
    }
}

/// Opens what is named; a model file brings the session that `export` wrote beside it.
fn open(path: &Path, checkpoint: &str, options: &ModelArgs, data: &DataArgs) -> Result<Opened> {
    if run::is_run(path) {
        let mut run = run::Run::open(path, checkpoint)?;
        let mut recipe = (**run.session.recipe()).clone();
        describe(data, &mut recipe)?;
        run.session.replace_recipe(recipe)?;
        return Ok(Opened::Run(Box::new(run)));
    }
    let session = beside::session_of(path).unwrap_or_else(|| path.to_owned());
    let mut session = options.open(&session)?;
    let mut recipe = (**session.recipe()).clone();
    beside::complete(path, recipe.data.get_or_insert_default());
    describe(data, &mut recipe)?;
    session.replace_recipe(recipe)?;
    Ok(Opened::Model(Box::new(session)))
}

fn describe(data: &DataArgs, recipe: &mut Recipe) -> Result<()> {
    if let Some(n) = data.max_length {
        recipe.settings.insert("data.max_length".to_owned(), n.to_string());
    }
    describe_data(data, recipe)
}

pub fn eval(args: &EvalArgs) -> Result<ExitCode> {
    let opened = open(&args.run, &args.checkpoint, &args.options, &args.data)?;
    let mut reporter = Reporter::default();
    let data = args.data.data.as_deref();
    let found = tables::evaluate(opened.subject(), data, args.worst, args.options.threads, &mut reporter);
    report::diagnostics(reporter.diagnostics());
    let found = found?;
    if args.json {
        println!("{}", serde_json::to_string(&found)?);
    } else {
        print(&found);
    }
    Ok(ExitCode::SUCCESS)
}

/// Classes beyond which tables of classes are left to `--json`.
const MAX_SHOWN: usize = 40;

fn print(found: &Evaluation) {
    if let Some(loss) = found.loss {
        println!("{} {loss:.6}", title("loss"));
    }
    for (name, value) in &found.metrics {
        println!("{} {value:.6}", title(name));
    }
    for (head, table) in [("class", &found.classes), ("entity", &found.entities)] {
        if table.is_empty() || table.len() > MAX_SHOWN {
            continue;
        }
        let number = |v: f64| format!("{v:.4}");
        let row = |c: &crate::train::metrics::ClassRow| {
            vec![c.name.clone(), number(c.precision), number(c.recall), number(c.f1), c.support.to_string()]
        };
        let rows: Vec<_> = table.iter().map(row).collect();
        let right = [false, true, true, true, true];
        println!("\n{}", report::table(&[head, "precision", "recall", "f1", "examples"], &right, &rows));
    }
    if !found.confusion.is_empty() && found.confusion.len() <= MAX_SHOWN / 2 {
        let name = |i: usize| found.classes.get(i).map_or_else(|| i.to_string(), |c| c.name.clone());
        let names: Vec<String> = (0..found.confusion.len()).map(name).collect();
        let mut heads = vec!["true \\ predicted"];
        heads.extend(names.iter().map(String::as_str));
        let line = |(i, r): (usize, &Vec<u64>)| {
            std::iter::once(name(i)).chain(r.iter().map(u64::to_string)).collect::<Vec<String>>()
        };
        let rows: Vec<_> = found.confusion.iter().enumerate().map(line).collect();
        let right: Vec<bool> = (0..heads.len()).map(|i| i > 0).collect();
        println!("{}", report::table(&heads, &right, &rows));
    }
    if !found.worst.is_empty() {
        let line = |m: &tables::Mistake| {
            let text: String = m.text.chars().take(80).collect();
            vec![m.line.to_string(), m.label.clone(), m.predicted.clone(), format!("{:.4}", m.score), text]
        };
        let rows: Vec<_> = found.worst.iter().map(line).collect();
        let heads = ["line", "label", "predicted", "score", "text"];
        println!("{}", report::table(&heads, &[true, false, false, true, false], &rows));
    }
}

pub fn predict(args: &PredictArgs) -> Result<ExitCode> {
    let opened = open(&args.run, &args.checkpoint, &args.options, &args.data)?;
    let Some(data) = &args.data.data else {
        anyhow::bail!(report::Usage("name the new examples with --data FILE".to_owned()))
    };
    let mut reporter = Reporter::default();
    let rows = tables::predict(opened.subject(), data, args.options.threads, &mut reporter);
    report::diagnostics(reporter.diagnostics());
    let rows = rows?;
    if args.json {
        for row in &rows {
            println!("{}", serde_json::to_string(row)?);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let table = tables::to_csv(&rows)?;
    match &args.to {
        Some(path) => files::replace(path, table.as_bytes())
            .with_context(|| format!("{} could not be written", path.display()))?,
        None => print!("{table}"),
    }
    Ok(ExitCode::SUCCESS)
}
