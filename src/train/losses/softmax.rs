//! Softmax cross-entropy of logits and class indices.

use std::sync::Arc;

use crate::ops::make;
use crate::ops::norm::{LogSoftmax, SparseSoftmaxCrossEntropy};
use crate::program::{Builder, Misfit, Value};

use super::{Labels, LossInfo, Operands};

pub const INFO: LossInfo = LossInfo {
    kind: "softmax-cross-entropy",
    label: "Softmax cross-entropy (logits)",
    help: "mean(−log softmax(logits)[label]) over label positions.",
    labels: Labels::Classes,
    takes_options: true,
    build,
};

fn build(b: &mut Builder, x: &Operands<'_>) -> Result<Value, Misfit> {
    let dtype = b.fact(x.prediction).dtype;
    let hit = b.op_n(Arc::new(SparseSoftmaxCrossEntropy), &[x.prediction, x.labels])?[0];
    let of_classes = x.options.weights(b, dtype);
    let hit = match of_classes {
        None => hit,
        Some(of_classes) => {
            let picked = make::gather(b, of_classes, x.labels, 0)?;
            make::mul(b, hit, picked)?
        }
    };
    let smoothing = x.options.label_smoothing;
    if smoothing == 0.0 {
        return Ok(hit);
    }
    // (1 − ε)·w_y·(−log p_y) + ε/C · Σ_c w_c·(−log p_c), as PyTorch's cross_entropy.
    let log = b.op(LogSoftmax { axis: -1 }, &[x.prediction])?;
    let log = match of_classes {
        None => log,
        Some(of_classes) => make::mul(b, log, of_classes)?,
    };
    let spread = make::reduce_mean(b, log, &[-1], false)?;
    let (hit, spread) = (make::mul_scalar(b, hit, 1.0 - smoothing)?, make::mul_scalar(b, spread, -smoothing)?);
    make::add(b, hit, spread)
}
