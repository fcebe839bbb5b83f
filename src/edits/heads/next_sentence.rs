//! Whether the second text follows the first: BERT's pair task (Devlin et al. 2018), a classifier of two classes.

use crate::graph::ValueKey;
use crate::tensor::Fact;

use super::build::Nodes;
use super::{HeadError, HeadInfo};

pub const INFO: HeadInfo = HeadInfo {
    kind: "next-sentence",
    label: "Next sentence",
    help: "softmax(x·W + b) with two classes (follows, does not) for each pair of texts.",
    loss: "softmax-cross-entropy",
    classes: Some(2),
    is_per_token: false,
    build,
};

fn build(nodes: &mut Nodes<'_>, at: ValueKey, fact: &Fact) -> Result<(), HeadError> {
    if nodes.classes() != 2 {
        return Err(HeadError(format!("a next-sentence head has 2 classes, not {}", nodes.classes())));
    }
    let (pooled, hidden) = nodes.pooled(at, fact)?;
    let logits = nodes.dense(pooled, hidden, 2)?;
    nodes.softmax(&logits, 2)
}
