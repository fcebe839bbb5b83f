//! Numbers per example: dense without an activation.

use crate::graph::ValueKey;
use crate::tensor::Fact;

use super::build::Nodes;
use super::{HeadError, HeadInfo};

pub const INFO: HeadInfo = HeadInfo {
    kind: "regression",
    label: "Regression",
    help: "x·W + b: one number per target.",
    loss: "mse",
    classes: Some(1),
    is_per_token: false,
    build,
};

fn build(nodes: &mut Nodes<'_>, at: ValueKey, fact: &Fact) -> Result<(), HeadError> {
    let (pooled, hidden) = nodes.pooled(at, fact)?;
    nodes.dense(pooled, hidden, 2).map(|_| ())
}
