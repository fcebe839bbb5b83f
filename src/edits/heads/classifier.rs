//! One class per example: dense on a pooled value, or on the first token of a sequence.

use crate::graph::ValueKey;
use crate::tensor::Fact;

use super::build::Nodes;
use super::{HeadError, HeadInfo};

pub const INFO: HeadInfo = HeadInfo {
    kind: "classifier",
    label: "Classifier",
    help: "softmax(x·W + b) for each example; x is [batch, hidden], or the first token of [batch, length, hidden].",
    loss: "softmax-cross-entropy",
    classes: None,
    is_per_token: false,
    build,
};

fn build(nodes: &mut Nodes<'_>, at: ValueKey, fact: &Fact) -> Result<(), HeadError> {
    let (pooled, hidden) = nodes.pooled(at, fact)?;
    let logits = nodes.dense(pooled, hidden, 2)?;
    nodes.softmax(&logits, 2)
}
