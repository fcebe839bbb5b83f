//! Softmax cross-entropy of logits and class indices.

use std::sync::Arc;

use crate::ops::norm::SparseSoftmaxCrossEntropy;
use crate::program::{Builder, Misfit, Value};

use super::{Labels, LossInfo, Operands};

pub const INFO: LossInfo = LossInfo {
    kind: "softmax-cross-entropy",
    label: "Softmax cross-entropy (logits)",
    help: "mean(−log softmax(logits)[label]) over label positions.",
    labels: Labels::Classes,
    build,
};

fn build(b: &mut Builder, x: &Operands) -> Result<Value, Misfit> {
    Ok(b.op_n(Arc::new(SparseSoftmaxCrossEntropy), &[x.prediction, x.labels])?[0])
}
