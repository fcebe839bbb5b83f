//! `regraft demo`: writes the demo session into a folder and opens it, or trains it here.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::session::{Session, demo, model::Model};

use super::train;

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Folder for the demo's files.
    #[arg(default_value = "regraft-demo")]
    pub folder: PathBuf,
    /// Train it in the terminal in place of opening the window.
    #[arg(long)]
    pub train: bool,
    /// With --train: one JSON line per event.
    #[arg(long, requires = "train")]
    pub json: bool,
}

/// Writes the demo and gives the path of its session file.
pub fn prepare(args: &Args) -> Result<PathBuf> {
    let path = demo::write(&args.folder)
        .with_context(|| format!("the demo could not be written into {}", args.folder.display()))?;
    if !crate::base::files::exists(&path) {
        let model = Arc::new(Model::open(&args.folder.join("model.pb"))?);
        Session::new(model, demo::recipe(&args.folder)).save_as(&path)?;
    }
    Ok(path)
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let session = prepare(args)?;
    if !args.train {
        eprintln!("the demo is in {}; open it with `regraft {}`", args.folder.display(), session.display());
        return Ok(ExitCode::SUCCESS);
    }
    train::train_session(&session, args.json, &args.folder.join("demo.runs").join("first"))
}
