//! Mean squared error.

use crate::ops::make;
use crate::program::{Builder, Misfit, Value};

use super::{Labels, LossInfo, Operands};

pub const INFO: LossInfo = LossInfo {
    kind: "mse",
    label: "Mean squared error",
    help: "mean((x − y)²).",
    labels: Labels::Targets,
    takes_options: false,
    build,
};

fn build(b: &mut Builder, x: &Operands<'_>) -> Result<Value, Misfit> {
    let d = make::sub(b, x.prediction, x.labels)?;
    make::square(b, d)
}
