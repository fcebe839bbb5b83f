//! `regraft tokenize`: shows what texts become.

use std::io::BufRead;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::json;

use crate::data::tokenizer::{Options, Text, Tokenizer};

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
    let options = Options { lower: args.lower, strip_accents, max_length: args.max_length };
    let tokenizer = Tokenizer::open(&args.tokenizer, &options)?;
    for (i, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line.with_context(|| format!("line {} could not be read", i + 1))?;
        let text = if args.json {
            match serde_json::from_str(&line).with_context(|| format!("line {} is not JSON", i + 1))? {
                Line::One(a) => Text { a, b: None },
                Line::Pair { a, b } => Text { a, b: Some(b) },
            }
        } else {
            Text { a: line, b: None }
        };
        let e = tokenizer.encode(&text).with_context(|| format!("line {}", i + 1))?;
        if args.json {
            println!(
                "{}",
                json!({"tokens": e.tokens, "input_ids": e.ids, "segment_ids": e.segments, "input_mask": e.mask})
            );
        } else {
            println!("{}", e.tokens.join(" "));
        }
    }
    Ok(ExitCode::SUCCESS)
}
