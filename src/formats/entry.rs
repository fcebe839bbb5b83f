//! The ways into a model: which meta graph and signature of a file that holds several.

use std::path::Path;

use serde::Serialize;

use super::tensorflow::saved_model;
use super::{Imported, OpenError, open};
use crate::graph::Signature;

/// One meta graph with one of its signatures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EntryPoint {
    /// What [`super::open_choosing`] and `--signature` take to open the model by this entry.
    pub choice: String,
    /// Tags of the meta graph (`serve`, `train`); empty where there are none or the format knows none.
    pub tags: Vec<String>,
    /// The signature's name; empty for a meta graph without one.
    pub signature: String,
    /// What the signature calls its inputs and outputs.
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    /// Whether it is the one that opens when nobody chooses.
    pub is_default: bool,
    /// Whether the model was opened by it.
    pub is_open: bool,
}

/// The entry points of a model file or folder, without reading any graph where the format allows it: a chooser can call
/// this before it opens the model (milliseconds even for large models). An opened model has the same list in
/// [`Imported::entry_points`].
pub fn entry_points(path: &Path) -> Result<Vec<EntryPoint>, OpenError> {
    let source = super::source_of(path, None)?;
    match (saved_model::SAVED_MODEL.detect)(&source) {
        true => saved_model::entry_points(&source),
        false => Ok(open(path)?.entry_points),
    }
}

/// The signatures of a format that knows no meta graphs, the first being the usual one.
pub(super) fn of_signatures(signatures: &[Signature], choice: Option<&str>) -> Vec<EntryPoint> {
    let names = |all: &[(String, crate::graph::ValueKey)]| all.iter().map(|(alias, _)| alias.clone()).collect();
    let chosen = choice.and_then(|c| signatures.iter().position(|s| s.name == c)).unwrap_or(0);
    let entry = |(i, s): (usize, &Signature)| EntryPoint {
        choice: s.name.clone(),
        tags: Vec::new(),
        signature: s.name.clone(),
        inputs: names(&s.inputs),
        outputs: names(&s.outputs),
        is_default: i == 0,
        is_open: i == chosen,
    };
    signatures.iter().enumerate().map(entry).collect()
}

impl EntryPoint {
    /// `serving_default, tagged serve`.
    pub fn words(&self) -> String {
        let name = if self.signature.is_empty() { "no signature" } else { &self.signature };
        match self.tags.is_empty() {
            true => name.to_owned(),
            false => format!("{name}, tagged {}", self.tags.join(",")),
        }
    }
}

impl Imported {
    /// Whether the file can be opened in more than one way.
    pub fn has_choice(&self) -> bool {
        self.entry_points.len() > 1
    }
}
