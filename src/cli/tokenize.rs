//! `regraft tokenize`: shows what texts become.

use std::io::BufRead;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::json;

use crate::data::tokenizer::{Tokenizer, TokenizerOptions};

use super::report::Usage;

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// vocab.txt or tokenizer.json.
    pub tokenizer: PathBuf,
    /// Lower-case the text (default: as the tokenizer says, else guessed from the vocabulary).
    #[arg(long)]
    pub lower: Option<bool>,
    /// auto, true or false.
    #[arg(long, default_value = "auto")]
    pub strip_accents: String,
    /// Cut to this many pieces, special ones included.
    #[arg(long)]
    pub max_length: Option<usize>,
    /// Lines are JSON (a string, or {"a": …, "b": …}), and so is the output.
    #[arg(long)]
    pub json: bool,
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Line {
    One(String),
    Pair { a: String, b: String },
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let strip_accents = match args.strip_accents.as_str() {
        "auto" => None,
        "true" => Some(true),
        "false" => Some(false),
        other => return Err(Usage(format!("--strip-accents {other}: expected auto, true or false")).into()),
    };
    let tokenizer = Tokenizer::open(&args.tokenizer, TokenizerOptions { lower: args.lower, strip_accents })?;
    if let Some(note) = &tokenizer.note {
        eprintln!("note: {note}");
    }
    for (i, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line.with_context(|| format!("line {} could not be read", i + 1))?;
        let (a, b) = if args.json {
            match serde_json::from_str(&line).with_context(|| format!("line {} is not JSON", i + 1))? {
                Line::One(a) => (a, None),
                Line::Pair { a, b } => (a, Some(b)),
            }
        } else {
            (line, None)
        };
        let e = tokenizer.encode(&a, b.as_deref(), args.max_length).with_context(|| format!("line {}", i + 1))?;
        if args.json {
            println!(
                "{}",
                json!({
                    "tokens": e.tokens, "input_ids": e.input_ids, "segment_ids": e.segment_ids, "input_mask": e.input_mask,
                })
            );
        } else {
            println!("{}", e.tokens.join(" "));
        }
    }
    Ok(ExitCode::SUCCESS)
}
