//! `regraft weights`: which arrays of a file would go to which constants of a model.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::base::files;
use crate::formats::named;
use crate::session::{Session, weights};

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Model file or folder, or session.
    pub model: PathBuf,
    /// Arrays by name: .safetensors, .npz, a checkpoint, or another model.
    pub weights: PathBuf,
    /// Constant → array where names alone do not tell: a JSON object, or lines `constant = array`.
    #[arg(long = "map", value_name = "FILE")]
    pub map: Option<PathBuf>,
    /// Write the mapping that was found, to be edited and used with --weights-map.
    #[arg(long, value_name = "FILE")]
    pub save_map: Option<PathBuf>,
    /// One JSON document with everything.
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let session = Session::open(&args.model)?;
    let understood = session.understand()?;
    let map = args.map.as_deref().map(read_map).transpose()?.unwrap_or_default();
    let arrays = named::read(&args.weights)?;
    let report = weights::find(&understood.base.graph, &arrays.arrays, &map);
    if let Some(file) = &args.save_map {
        let mut text = serde_json::to_string_pretty(&report.map())?;
        text.push('\n');
        files::replace(file, text.as_bytes()).with_context(|| format!("{} could not be written", file.display()))?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} ({})", args.weights.display(), arrays.kind);
    println!("  matched: {}", report.matched.len());
    for m in &report.matched {
        println!("    {} ← {}{}", m.constant, m.array, if m.transposed { " (transposed)" } else { "" });
    }
    println!("  wrong shape or type: {}", report.misfits.len());
    for m in &report.misfits {
        println!("    {} ← {}: {}", m.constant, m.array, m.why);
    }
    println!("  constants without an array: {}", report.missed.len());
    report.missed.iter().for_each(|c| println!("    {c}"));
    println!("  arrays that are not used: {}", report.unused.len());
    report.unused.iter().for_each(|a| println!("    {a}"));
    Ok(ExitCode::SUCCESS)
}

/// The mapping in a file.
pub fn read_map(file: &std::path::Path) -> Result<indexmap::IndexMap<String, String>> {
    let text = files::read_to_string(file).with_context(|| format!("{} could not be read", file.display()))?;
    weights::parse_map(&text).map_err(|e| anyhow::anyhow!("{}: {e}", file.display()))
}
