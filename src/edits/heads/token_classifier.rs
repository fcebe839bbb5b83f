//! One class per token: dense on every position of a sequence.

use crate::graph::ValueKey;
use crate::tensor::Fact;

use super::build::Nodes;
use super::{HeadError, HeadInfo};

pub const INFO: HeadInfo = HeadInfo {
    kind: "token-classifier",
    label: "Token classifier",
    help: "softmax(x·W + b) for each position of x [batch, length, hidden].",
    loss: "softmax-cross-entropy",
    classes: None,
    is_per_token: true,
    build,
};

fn build(nodes: &mut Nodes<'_>, at: ValueKey, fact: &Fact) -> Result<(), HeadError> {
    let (tokens, hidden) = nodes.sequence(at, fact)?;
    let logits = nodes.dense(tokens, hidden, 3)?;
    nodes.softmax(&logits, 3)
}
