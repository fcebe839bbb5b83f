//! Mean absolute error.

use crate::ops::make;
use crate::program::{Builder, Misfit, Value};

use super::{Labels, LossInfo, Operands};

pub const INFO: LossInfo = LossInfo {
    kind: "mae",
    label: "Mean absolute error",
    help: "mean(|x − y|); the gradient at 0 is 0.",
    labels: Labels::Targets,
    takes_options: false,
    build,
};

fn build(b: &mut Builder, x: &Operands<'_>) -> Result<Value, Misfit> {
    let d = make::sub(b, x.prediction, x.labels)?;
    make::abs(b, d)
}
