//! Sigmoid cross-entropy of logits and targets between 0 and 1, for labels that do not exclude each other.

use crate::ops::make;
use crate::program::{Builder, Misfit, Value};

use super::{Labels, LossInfo, Operands};

pub const INFO: LossInfo = LossInfo {
    kind: "sigmoid-cross-entropy",
    label: "Sigmoid cross-entropy (logits)",
    help: "mean(max(x, 0) − x·z + log(1 + exp(−|x|))) over all labels z, as TensorFlow writes it.",
    labels: Labels::Targets,
    takes_options: true,
    build,
};

fn build(b: &mut Builder, x: &Operands<'_>) -> Result<Value, Misfit> {
    // max(x, 0) as (x + |x|) / 2, whose gradient at 0 is ½: scores start there where a new head starts at zeros.
    let size = make::abs(b, x.prediction)?;
    let both = make::add(b, x.prediction, size)?;
    let positive = make::mul_scalar(b, both, 0.5)?;
    let mut labels = x.labels;
    let smoothing = x.options.label_smoothing;
    if smoothing > 0.0 {
        labels = make::mul_scalar(b, labels, 1.0 - smoothing)?;
        labels = make::add_scalar(b, labels, smoothing / 2.0)?;
    }
    let product = make::mul(b, x.prediction, labels)?;
    let line = make::sub(b, positive, product)?;
    // log(1 + exp(−|x|)); the sum is between 1 and 2, so nothing is lost that the line above does not hide.
    let size = make::neg(b, size)?;
    let e = make::exp(b, size)?;
    let e = make::add_scalar(b, e, 1.0)?;
    let log = make::log(b, e)?;
    let loss = make::add(b, line, log)?;
    let dtype = b.fact(x.prediction).dtype;
    match x.options.weights(b, dtype) {
        None => Ok(loss),
        Some(of_classes) => make::mul(b, loss, of_classes),
    }
}
