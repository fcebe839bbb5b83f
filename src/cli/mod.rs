//! The headless twin of the window: one file per command over the same session library.
//!
//! Results go to standard output, messages and progress to standard error; exit status 0 done, 1 failed, 2 wrong usage.

// First, and by macro: its macros take the place of the standard ones in all commands.
#[macro_use]
mod output;

pub mod bench;
pub mod check;
pub mod demo;
pub mod docs;
pub mod export;
pub mod grad;
pub mod inspect;
pub mod model_args;
pub mod report;
pub mod run;
pub mod runs;
pub mod score;
pub mod tokenize;
pub mod train;
pub mod weights;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Open a frozen or exported neural network, choose what trains, clean out dropout, explain gradients, fine-tune, and
/// write it back.
#[derive(Debug, Parser)]
#[command(name = "regraft", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Model or session to open in the window.
    pub file: Option<PathBuf>,
    /// More messages on standard error (twice for details).
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// What is in the file.
    Inspect(inspect::Args),
    /// Does gradient arrive everywhere it should, and if not, why.
    Check(check::Args),
    /// Compute outputs.
    Run(run::Args),
    /// Compute gradients.
    Grad(grad::Args),
    /// Train, on a table of texts or on arrays.
    Train(Box<train::TrainArgs>),
    /// Evaluate a run on labelled data.
    Eval(Box<score::EvalArgs>),
    /// Apply a tuned model to new data.
    Predict(Box<score::PredictArgs>),
    /// Compare runs: settings that differ, results, curves.
    Runs(runs::Args),
    /// Show what texts become.
    Tokenize(tokenize::Args),
    /// Write a model file.
    Export(export::Args),
    /// Which arrays of a file would go to which constants of a model.
    Weights(weights::Args),
    /// Time training steps, inference, or opening.
    Bench(bench::Args),
    /// Save a picture of the window.
    Screenshot(ScreenshotArgs),
    /// Print generated documentation.
    Docs(docs::Args),
    /// Write the demo session into a folder and open it, or train it here.
    Demo(demo::Args),
}

#[derive(Clone, Debug, clap::Args)]
pub struct ScreenshotArgs {
    /// Model or session to open.
    pub file: Option<PathBuf>,
    /// Where the picture goes (.png).
    #[arg(long)]
    pub to: PathBuf,
    /// Size of the window in points.
    #[arg(long, default_value = "1440x900")]
    pub size: String,
    /// dark or light.
    #[arg(long, default_value = "dark")]
    pub theme: String,
    /// Panel to bring to the front.
    #[arg(long)]
    pub panel: Option<String>,
    /// Node, constant or value to select; repeatable.
    #[arg(long)]
    pub select: Vec<String>,
    /// Pixels per point.
    #[arg(long, default_value_t = 1.0)]
    pub scale: f32,
}

/// What a headless command reports to the operating system, with the message already printed.
pub fn run(command: Command) -> ExitCode {
    let result = match command {
        Command::Inspect(a) => inspect::run(&a),
        Command::Check(a) => check::run(&a),
        Command::Run(a) => run::run(&a),
        Command::Grad(a) => grad::run(&a),
        Command::Train(a) => train::train(&a),
        Command::Eval(a) => score::eval(&a),
        Command::Predict(a) => score::predict(&a),
        Command::Runs(a) => runs::run(&a),
        Command::Tokenize(a) => tokenize::run(&a),
        Command::Export(a) => export::run(&a),
        Command::Weights(a) => weights::run(&a),
        Command::Bench(a) => bench::run(&a),
        Command::Docs(a) => docs::run(&a),
        Command::Demo(a) => demo::run(&a),
        Command::Screenshot(_) => Err(anyhow::anyhow!(
            "a screenshot needs the window: this program was built without it; build with the default features"
        )),
    };
    match result {
        Ok(code) => output::status(code),
        Err(e) => {
            report::error(&e);
            ExitCode::from(if e.is::<report::Usage>() { 2 } else { 1 })
        }
    }
}
