//! What can fail in a session, with what to do about it.

use std::path::PathBuf;

use crate::autodiff::{Cure, Uncomputable};

/// See the module doc.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("{0}")]
    Open(#[from] crate::formats::OpenError),
    #[error("{path} could not be {what}: {why}")]
    File { path: PathBuf, what: &'static str, why: String },
    #[error("there is no value named {name:?} in this model{}", hint(.near))]
    NoValue { name: String, near: Vec<String> },
    #[error("{0}")]
    Choice(String),
    /// Nothing says what fills a placeholder.
    #[error("{why}")]
    Unfed { placeholder: String, why: String },
    /// The data tell more classes apart than the model has outputs.
    #[error("{why}")]
    TooManyClasses { classes: usize, why: String },
    #[error("{} ({}) cannot be computed: {}{}", .0.node, .0.op, .0.why, cures(&.0.cures))]
    Uncomputable(Box<Uncomputable>),
    #[error("{0}")]
    Specialise(#[from] crate::specialise::SpecialiseError),
    #[error("{0}")]
    Autodiff(#[from] crate::autodiff::AutodiffError),
    #[error("{0}")]
    StandIn(#[from] crate::autodiff::StandInError),
    #[error("{0}")]
    Engine(#[from] crate::engine::EngineError),
    #[error("{0}")]
    Misfit(#[from] crate::program::Misfit),
}

fn hint(near: &[String]) -> String {
    match near {
        [] => "; `regraft inspect --nodes` lists them".to_owned(),
        names => format!("; did you mean {}?", names.join(" or ")),
    }
}

fn cures(found: &[Cure]) -> String {
    let words: Vec<String> = found.iter().map(|c| c.option().unwrap_or_else(|| c.to_string())).collect();
    if words.is_empty() { String::new() } else { format!("; what helps: {}", words.join(", or ")) }
}
