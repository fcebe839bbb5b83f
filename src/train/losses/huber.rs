//! Huber's loss (1964) with δ = 1: quadratic near the target, linear far from it.

use crate::ops::make;
use crate::program::{Builder, Misfit, Value};

use super::{Labels, LossInfo, Operands};

const DELTA: f64 = 1.0;

pub const INFO: LossInfo = LossInfo {
    kind: "huber",
    label: "Huber",
    help: "mean(½d² where |d| ≤ 1, else |d| − ½), d = x − y.",
    labels: Labels::Targets,
    takes_options: false,
    build,
};

fn build(b: &mut Builder, x: &Operands<'_>) -> Result<Value, Misfit> {
    let d = make::sub(b, x.prediction, x.labels)?;
    let size = make::abs(b, d)?;
    let delta = make::scalar_like(b, x.prediction, DELTA);
    // With q = min(|d|, δ) both branches are q·(|d| − ½q): no selection, and a gradient that is continuous.
    let q = make::minimum(b, size, delta)?;
    let half = make::mul_scalar(b, q, 0.5)?;
    let rest = make::sub(b, size, half)?;
    make::mul(b, q, rest)
}
