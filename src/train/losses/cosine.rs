//! Cosine distance along the last axis.

use crate::ops::make;
use crate::program::{Builder, Misfit, Value};

use super::{Labels, LossInfo, Operands};

/// Keeps the norm of a zero vector from dividing by zero (TensorFlow's l2_normalize).
const SMALLEST: f64 = 1e-12;

pub const INFO: LossInfo = LossInfo {
    kind: "cosine",
    label: "Cosine distance",
    help: "mean(1 − x·y / (|x| |y|)) over the last axis.",
    labels: Labels::Targets,
    takes_options: false,
    build,
};

fn build(b: &mut Builder, x: &Operands<'_>) -> Result<Value, Misfit> {
    let one = make::scalar_like(b, x.prediction, 1.0);
    let (a, c) = (unit(b, x.prediction)?, unit(b, x.labels)?);
    let product = make::mul(b, a, c)?;
    let cosine = make::reduce_sum(b, product, &[-1], false)?;
    make::sub(b, one, cosine)
}

fn unit(b: &mut Builder, v: Value) -> Result<Value, Misfit> {
    let squares = make::square(b, v)?;
    let sum = make::reduce_sum(b, squares, &[-1], true)?;
    let least = make::scalar_like(b, v, SMALLEST);
    let sum = make::maximum(b, sum, least)?;
    let inverse = make::rsqrt(b, sum)?;
    make::mul(b, v, inverse)
}
