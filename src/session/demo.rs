//! The demo inside the program: a small frozen BERT with hard-coded dropout, a few hundred labelled German sentences, and
//! a session that trains the one on the other.

use std::io;
use std::path::{Path, PathBuf};

use crate::base::files;

use super::recipe::{DataChoice, Objective, Recipe};

const FILES: &[(&str, &[u8])] = &[
    ("model.pb", include_bytes!("../../assets/demo/model.pb")),
    ("train.tsv", include_bytes!("../../assets/demo/train.tsv")),
    ("test.tsv", include_bytes!("../../assets/demo/test.tsv")),
    ("vocab.txt", include_bytes!("../../assets/demo/vocab.txt")),
];

/// Name of the session file in the demo's folder.
pub const SESSION: &str = "demo.regraft";

/// What the demo in `folder` decides: data, objective, and settings for a small model that starts from random weights.
pub fn recipe(folder: &Path) -> Recipe {
    let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let settings = [
        ("optimizer.kind", "adamw"),
        ("optimizer.lr", "0.001"),
        ("schedule.kind", "linear"),
        ("schedule.warmup_fraction", "0.1"),
        ("training.clip_global_norm", "1.0"),
        ("training.batch", "16"),
        ("training.epochs", "8"),
        ("data.max_length", "32"),
    ];
    Recipe {
        objective: Some(Objective::Value { loss: "loss/loss".to_owned() }),
        data: Some(DataChoice {
            train: file("train.tsv"),
            validation: Some(file("test.tsv")),
            text: vec!["text".to_owned()],
            label: Some("label".to_owned()),
            tokenizer: Some(file("vocab.txt")),
            lower: Some(true),
            logits: Some("loss/logits".to_owned()),
            ..DataChoice::default()
        }),
        settings: settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..Recipe::default()
    }
}

/// Writes model, data and session into `folder`; files that are there already and differ are left alone and named.
pub fn write(folder: &Path) -> io::Result<PathBuf> {
    files::create_dir_all(folder)?;
    for (name, bytes) in FILES {
        let path = folder.join(name);
        if files::exists(&path) {
            if files::read(&path)? != *bytes {
                let why = format!("{} exists and is not the demo's; choose an empty folder", path.display());
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
            }
            continue;
        }
        files::replace(&path, bytes)?;
    }
    Ok(folder.join(SESSION))
}
