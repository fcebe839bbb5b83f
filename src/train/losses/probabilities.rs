//! Cross-entropy of probabilities (the output of a softmax that is already there) and class indices.

use crate::ops::index::OneHot;
use crate::ops::make;
use crate::program::{Builder, Misfit, Value};
use crate::tensor::DType;

use super::{Labels, LossInfo, Operands};

/// Probabilities below it have no logarithm worth following (Keras' epsilon).
const SMALLEST: f64 = 1e-7;

pub const INFO: LossInfo = LossInfo {
    kind: "softmax-cross-entropy-from-probabilities",
    label: "Cross-entropy (probabilities)",
    help: "mean(−log clip(p[label], 1e-7, 1)) over label positions.",
    labels: Labels::Classes,
    takes_options: false,
    build,
};

fn build(b: &mut Builder, x: &Operands<'_>) -> Result<Value, Misfit> {
    let fact = b.fact(x.prediction);
    let rank = fact.rank().ok_or_else(|| Misfit::new("the rank of the probabilities is not known"))?;
    let depth = match fact.shape.dim(rank - 1) {
        Some(n) => make::scalar(b, DType::I64, n as f64),
        None => {
            let shape = make::shape_of(b, x.prediction)?;
            let last = make::slice(b, shape, &[rank as i64 - 1], &[1])?;
            make::reshape(b, last, &[])?
        }
    };
    let (on, off) = (make::scalar_like(b, x.prediction, 1.0), make::scalar_like(b, x.prediction, 0.0));
    let hot = b.op(OneHot { axis: -1, wrap: false }, &[x.labels, depth, on, off])?;
    let (least, most) = (make::scalar_like(b, x.prediction, SMALLEST), make::scalar_like(b, x.prediction, 1.0));
    let p = make::maximum(b, x.prediction, least)?;
    let p = make::minimum(b, p, most)?;
    let log = make::log(b, p)?;
    let picked = make::mul(b, hot, log)?;
    let sum = make::reduce_sum(b, picked, &[-1], false)?;
    make::neg(b, sum)
}
