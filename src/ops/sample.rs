//! Reading between elements: linear or nearest interpolation at fractional positions, composed of other ops, so that
//! gradients reach both the values and the positions.

use crate::ops::elementwise::UnaryFn;
use crate::ops::index::Gather;
use crate::ops::make;
use crate::program::{Builder, Misfit, Value};
use crate::tensor::DType;

/// Elements of `x` (four axes, the first of length `n`) along `axis` at fractional positions `at [n, m]`, one row of positions for each `n`;
/// positions outside read the nearest element.
pub fn along(b: &mut Builder, x: Value, at: Value, axis: i64, size: usize, is_nearest: bool) -> Result<Value, Misfit> {
    let pick = |b: &mut Builder, at: Value| {
        let (zero, end) = (make::scalar_like(b, at, 0.0), make::scalar_like(b, at, size as f64 - 1.0));
        let at = make::maximum(b, at, zero)?;
        let at = make::minimum(b, at, end)?;
        let index = make::cast(b, at, DType::I64)?;
        b.op(Gather { axis, batch_dims: 1 }, &[x, index])
    };
    if is_nearest {
        // Halves go away from zero, and positions inside are not negative.
        let at = make::add_scalar(b, at, 0.5)?;
        let at = make::unary(b, UnaryFn::Floor, at)?;
        return pick(b, at);
    }
    let lower = make::unary(b, UnaryFn::Floor, at)?;
    let part = make::sub(b, at, lower)?;
    let upper = make::unary(b, UnaryFn::Ceil, at)?;
    let (first, second) = (pick(b, lower)?, pick(b, upper)?);
    let mut weight = part;
    // [n, m] beside [n, …, m, …]: the other axes of the image come before and behind.
    for _ in 1..axis {
        weight = make::expand_dims(b, weight, 1)?;
    }
    for _ in axis..3 {
        weight = make::expand_dims(b, weight, -1)?;
    }
    let difference = make::sub(b, second, first)?;
    let change = make::mul(b, difference, weight)?;
    make::add(b, first, change)
}
