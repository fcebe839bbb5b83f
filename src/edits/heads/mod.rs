//! New heads, one file per kind: the nodes that compute predictions from a value of the graph, in the words of the file,
//! with constants that train. Adding a kind: its file, a `mod` line, and an entry in [`ALL`].

mod build;
mod classifier;
mod initial;
mod multi_label;
mod next_sentence;
mod regression;
mod token_classifier;

use serde::{Deserialize, Serialize};

use crate::graph::{Graph, GraphPatch, ValueKey};
use crate::lower::Dialect;
use crate::tensor::Fact;

pub use initial::Initializer;

/// What a person decides about a head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeadChoice {
    /// `classifier`, `token-classifier`, `regression`, `multi-label` or `next-sentence`.
    pub kind: String,
    /// The value that it reads; without it the pooled output or the last hidden state, where the graph has just one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Outputs: classes, labels or targets. `regression` has 1 unasked, `next-sentence` always 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
    /// What the names of its nodes start with.
    #[serde(default = "default_name")]
    pub name: String,
    /// Share that is dropped before the dense layer while training.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropout: f64,
    /// Where its weights start: `truncated-normal` (σ 0.02), `glorot`, `he` or `zeros`. Biases start at 0.
    #[serde(default)]
    pub initializer: Initializer,
    #[serde(default, skip_serializing_if = "is_seed_zero")]
    pub seed: u64,
}

fn default_name() -> String {
    "head".to_owned()
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde asks for
fn is_zero(v: &f64) -> bool {
    *v == 0.0
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde asks for
fn is_seed_zero(v: &u64) -> bool {
    *v == 0
}

impl HeadChoice {
    pub fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            at: None,
            classes: None,
            name: default_name(),
            dropout: 0.0,
            initializer: Initializer::default(),
            seed: 0,
        }
    }

    /// Name of the value that holds its scores.
    pub fn logits(&self) -> String {
        format!("{}/logits", self.name)
    }
}

/// One kind of head.
pub struct HeadInfo {
    /// Value of `--head`.
    pub kind: &'static str,
    pub label: &'static str,
    pub help: &'static str,
    /// The loss that it gets where none is chosen.
    pub loss: &'static str,
    /// Number of outputs where the choice names none.
    pub classes: Option<usize>,
    /// Whether it predicts for each position instead of each example.
    pub is_per_token: bool,
    build: fn(&mut build::Nodes<'_>, ValueKey, &Fact) -> Result<(), HeadError>,
}

impl std::fmt::Debug for HeadInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind)
    }
}

/// Every kind, in the order of the form.
pub const ALL: &[&HeadInfo] =
    &[&classifier::INFO, &token_classifier::INFO, &multi_label::INFO, &regression::INFO, &next_sentence::INFO];

pub fn find(kind: &str) -> Option<&'static HeadInfo> {
    ALL.iter().copied().find(|h| h.kind == kind)
}

/// Why a head cannot be grafted, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HeadError(pub String);

/// A grafted head: the patch, and the names of what it made.
#[derive(Clone, Debug)]
pub struct Grafted {
    pub patch: GraphPatch,
    pub logits: ValueKey,
    /// Weights and biases.
    pub constants: Vec<crate::graph::NodeKey>,
}

/// The patch that adds a head reading `at`, whose element type and shape (as far as they are known) are `fact`.
pub fn graft(
    graph: &Graph,
    dialect: &dyn Dialect,
    choice: &HeadChoice,
    at: &ValueKey,
    fact: &Fact,
) -> Result<Grafted, HeadError> {
    let info = find(&choice.kind).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|h| h.kind).collect();
        HeadError(format!("there is no head {:?}; there are {}", choice.kind, names.join(", ")))
    })?;
    if !fact.dtype.is_float() {
        return Err(HeadError(format!("a head needs a floating-point value, {at} is {}", fact.describe())));
    }
    let classes = choice.classes.or(info.classes).filter(|n| (1..=1 << 20).contains(n));
    let classes = classes.ok_or_else(|| {
        HeadError(format!(
            "a {} needs its number of outputs, from 1 to 1048576 (--classes N; training counts it in the data)",
            info.kind
        ))
    })?;
    if !(0.0..1.0).contains(&choice.dropout) {
        return Err(HeadError(format!("the head's dropout is {}; it must be from 0 to below 1", choice.dropout)));
    }
    let prefix = format!("{}/", choice.name);
    let is_taken = |name: &str| name == choice.name || name.starts_with(&prefix);
    if choice.name.is_empty() || graph.nodes.iter().any(|n| is_taken(n.key.as_str())) {
        return Err(HeadError(format!(
            "the graph already has nodes called {:?}; give the head another name",
            choice.name
        )));
    }
    let mut nodes = build::Nodes::new(graph, dialect, choice, classes, fact.dtype);
    (info.build)(&mut nodes, at.clone(), fact)?;
    nodes.finish()
}
