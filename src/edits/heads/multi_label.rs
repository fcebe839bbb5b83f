//! Any number of labels per example: one sigmoid for each.

use crate::graph::ValueKey;
use crate::tensor::Fact;

use super::build::Nodes;
use super::{HeadError, HeadInfo};

pub const INFO: HeadInfo = HeadInfo {
    kind: "multi-label",
    label: "Multi-label",
    help: "sigmoid(x·W + b): each label for itself.",
    loss: "sigmoid-cross-entropy",
    classes: None,
    is_per_token: false,
    build,
};

fn build(nodes: &mut Nodes<'_>, at: ValueKey, fact: &Fact) -> Result<(), HeadError> {
    let (pooled, hidden) = nodes.pooled(at, fact)?;
    let logits = nodes.dense(pooled, hidden, 2)?;
    nodes.sigmoid(&logits)
}
