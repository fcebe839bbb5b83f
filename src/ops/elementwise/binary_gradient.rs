//! Derivatives of the functions of two elements. Where a limit makes the plain formula undefined (a power of 0, the
//! exponent of a negative base) the formula follows TensorFlow: the safe branch gives 0.

use crate::ops::make::{self, binary, unary};
use crate::program::{Builder, Misfit, Site, Value};

use super::binary::BinaryFn;
use super::unary::UnaryFn;

/// The gradients of both operands of `f`, where wanted, in the operands' own shapes.
pub(super) fn vjp(
    f: BinaryFn,
    b: &mut Builder,
    at: &Site<'_>,
    g: Value,
    wanted: [bool; 2],
) -> Result<Vec<Option<Value>>, Misfit> {
    let mut out = vec![None, None];
    for (k, out) in out.iter_mut().enumerate() {
        if !wanted[k] {
            continue;
        }
        let full = if k == 0 { first(f, b, at, g)? } else { second(f, b, at, g)? };
        if let Some(full) = full {
            *out = Some(make::sum_to(b, full, at.inputs[k])?);
        }
    }
    Ok(out)
}

/// `g` times the derivative by the first operand, in the broadcast shape.
fn first(f: BinaryFn, b: &mut Builder, at: &Site<'_>, g: Value) -> Result<Option<Value>, Misfit> {
    use BinaryFn as F;
    let (x, y, out) = (at.inputs[0], at.inputs[1], at.outputs[0]);
    Ok(Some(match f {
        F::Add | F::Sub | F::FloorMod | F::TruncMod | F::NextAfter => g,
        F::Mul => make::mul(b, g, y)?,
        F::Div => make::div(b, g, y)?,
        F::Pow if b.fact(y).scalar().is_some_and(|e| e != 0.0) => constant_power(b, x, y, g)?,
        F::Pow => {
            // y x^(y-1), and 0 where y = 0 (where x^(-1) may be infinite).
            let one = make::scalar_like(b, y, 1.0);
            let lower = make::sub(b, y, one)?;
            let power = make::pow(b, x, lower)?;
            let slope = make::mul(b, y, power)?;
            let slope = where_zero_then_zero(b, y, slope)?;
            make::mul(b, g, slope)?
        }
        F::Maximum | F::Minimum => pick(b, f, x, y, g, true)?,
        F::SquaredDifference => twice_difference(b, x, y, g)?,
        F::DivNoNan => binary(b, F::DivNoNan, g, y)?,
        F::MulNoNan => binary(b, F::MulNoNan, g, y)?,
        F::Xlogy => {
            let log = make::log(b, y)?;
            let slope = where_zero_then_zero(b, x, log)?;
            make::mul(b, g, slope)?
        }
        F::Xlog1py => {
            let log = unary(b, UnaryFn::Log1p, y)?;
            let slope = where_zero_then_zero(b, x, log)?;
            make::mul(b, g, slope)?
        }
        F::Xdivy => {
            let inverse = make::reciprocal(b, y)?;
            let slope = where_zero_then_zero(b, x, inverse)?;
            make::mul(b, g, slope)?
        }
        F::Atan2 => {
            let n = norm_square(b, x, y)?;
            let r = make::div(b, y, n)?;
            make::mul(b, g, r)?
        }
        F::SqrtGradient => {
            // d(h/2y)/dy = -h/(2y²)
            let r = make::div(b, out, x)?;
            let r = make::mul(b, g, r)?;
            make::neg(b, r)?
        }
        F::RsqrtGradient => {
            let s = make::square(b, x)?;
            let r = make::mul(b, y, s)?;
            let r = make::mul_scalar(b, r, -1.5)?;
            make::mul(b, g, r)?
        }
        F::ReciprocalGradient => {
            let r = make::mul(b, x, y)?;
            let r = make::mul_scalar(b, r, -2.0)?;
            make::mul(b, g, r)?
        }
        F::TanhGradient => {
            let r = make::mul(b, x, y)?;
            let r = make::mul_scalar(b, r, -2.0)?;
            make::mul(b, g, r)?
        }
        F::SigmoidGradient => {
            let r = make::mul_scalar(b, x, -2.0)?;
            let r = make::add_scalar(b, r, 1.0)?;
            let r = make::mul(b, r, y)?;
            make::mul(b, g, r)?
        }
        F::ErfGradient => {
            let r = make::mul(b, x, out)?;
            let r = make::mul_scalar(b, r, -2.0)?;
            make::mul(b, g, r)?
        }
        F::Igamma | F::Igammac => {
            let slope = binary(b, F::IgammaSlope, x, y)?;
            let r = make::mul(b, g, slope)?;
            if f == F::Igammac { make::neg(b, r)? } else { r }
        }
        F::EluGradient | F::SeluGradient => {
            let below = negative(b, x)?;
            let zero = make::scalar_like(b, y, 0.0);
            let r = make::select(b, below, y, zero)?;
            make::mul(b, g, r)?
        }
        _ => return Ok(None),
    }))
}

/// `g` times the derivative by the second operand, in the broadcast shape.
fn second(f: BinaryFn, b: &mut Builder, at: &Site<'_>, g: Value) -> Result<Option<Value>, Misfit> {
    use BinaryFn as F;
    let (x, y, out) = (at.inputs[0], at.inputs[1], at.outputs[0]);
    Ok(Some(match f {
        F::Add => g,
        F::Sub => make::neg(b, g)?,
        F::Mul => make::mul(b, g, x)?,
        F::Div => {
            let r = make::div(b, out, y)?;
            let r = make::mul(b, g, r)?;
            make::neg(b, r)?
        }
        F::FloorMod | F::TruncMod => {
            let whole = if f == F::FloorMod { F::FloorDiv } else { F::TruncDiv };
            let q = binary(b, whole, x, y)?;
            let r = make::mul(b, g, q)?;
            make::neg(b, r)?
        }
        F::Pow => {
            // x^y ln x, and 0 where x ≤ 0.
            let zero = make::scalar_like(b, x, 0.0);
            let positive = make::greater(b, x, zero)?;
            let one = make::scalar_like(b, x, 1.0);
            let safe = make::select(b, positive, x, one)?;
            let log = make::log(b, safe)?;
            let r = make::mul(b, out, log)?;
            let r = make::mul(b, g, r)?;
            let zero = make::scalar_like(b, r, 0.0);
            make::select(b, positive, r, zero)?
        }
        F::Maximum | F::Minimum => pick(b, f, x, y, g, false)?,
        F::SquaredDifference => {
            let d = twice_difference(b, x, y, g)?;
            make::neg(b, d)?
        }
        F::DivNoNan => {
            let r = binary(b, F::DivNoNan, out, y)?;
            let r = make::mul(b, g, r)?;
            make::neg(b, r)?
        }
        F::MulNoNan => binary(b, F::MulNoNan, x, g)?,
        F::Xlogy => {
            let r = binary(b, F::Xdivy, x, y)?;
            make::mul(b, g, r)?
        }
        F::Xlog1py => {
            let d = make::add_scalar(b, y, 1.0)?;
            let r = binary(b, F::Xdivy, x, d)?;
            make::mul(b, g, r)?
        }
        F::Xdivy => {
            let s = make::square(b, y)?;
            let r = binary(b, F::Xdivy, x, s)?;
            let r = make::mul(b, g, r)?;
            make::neg(b, r)?
        }
        F::Atan2 => {
            let n = norm_square(b, x, y)?;
            let r = make::div(b, x, n)?;
            let r = make::mul(b, g, r)?;
            make::neg(b, r)?
        }
        // Linear in the second operand.
        F::SqrtGradient
        | F::RsqrtGradient
        | F::ReciprocalGradient
        | F::TanhGradient
        | F::SigmoidGradient
        | F::ErfGradient
        | F::ReluGradient
        | F::Relu6Gradient
        | F::EluGradient
        | F::SeluGradient => binary(b, f, x, g)?,
        F::Polygamma => {
            let next = make::add_scalar(b, x, 1.0)?;
            let r = binary(b, F::Polygamma, next, y)?;
            make::mul(b, g, r)?
        }
        F::Zeta => {
            let next = make::add_scalar(b, x, 1.0)?;
            let r = binary(b, F::Zeta, next, y)?;
            let r = make::mul(b, x, r)?;
            let r = make::mul(b, g, r)?;
            make::neg(b, r)?
        }
        F::Igamma | F::Igammac => {
            let density = gamma_density(b, x, y)?;
            let r = make::mul(b, g, density)?;
            if f == F::Igammac { make::neg(b, r)? } else { r }
        }
        _ => return Ok(None),
    }))
}

/// `g e x^(e-1)` for one known exponent: what activation functions use, so without a detour.
fn constant_power(b: &mut Builder, x: Value, y: Value, g: Value) -> Result<Value, Misfit> {
    let e = b.fact(y).scalar().unwrap_or(1.0);
    let lower = match e {
        1.0 => return Ok(g),
        2.0 => x,
        _ => {
            let less = make::scalar_like(b, x, e - 1.0);
            make::pow(b, x, less)?
        }
    };
    let slope = make::mul_scalar(b, lower, e)?;
    make::mul(b, g, slope)
}

/// The gradient where this operand is the larger (smaller) one; at ties it goes to the first.
fn pick(b: &mut Builder, f: BinaryFn, x: Value, y: Value, g: Value, to_first: bool) -> Result<Value, Misfit> {
    let of_first = if f == BinaryFn::Maximum { make::greater_equal(b, x, y)? } else { make::less_equal(b, x, y)? };
    let zero = make::scalar_like(b, g, 0.0);
    if to_first { make::select(b, of_first, g, zero) } else { make::select(b, of_first, zero, g) }
}

fn twice_difference(b: &mut Builder, x: Value, y: Value, g: Value) -> Result<Value, Misfit> {
    let d = make::sub(b, x, y)?;
    let d = make::mul_scalar(b, d, 2.0)?;
    make::mul(b, g, d)
}

fn norm_square(b: &mut Builder, x: Value, y: Value) -> Result<Value, Misfit> {
    let (xx, yy) = (make::square(b, x)?, make::square(b, y)?);
    make::add(b, xx, yy)
}

fn negative(b: &mut Builder, x: Value) -> Result<Value, Misfit> {
    let zero = make::scalar_like(b, x, 0.0);
    make::less(b, x, zero)
}

/// `value`, but 0 where `at` is 0.
fn where_zero_then_zero(b: &mut Builder, at: Value, value: Value) -> Result<Value, Misfit> {
    let zero = make::scalar_like(b, at, 0.0);
    let is_zero = make::equal(b, at, zero)?;
    let zero = make::scalar_like(b, value, 0.0);
    make::select(b, is_zero, zero, value)
}

/// `e^(-x) x^(a-1) / Γ(a)`: the slope of P(a, x) by x.
fn gamma_density(b: &mut Builder, a: Value, x: Value) -> Result<Value, Misfit> {
    let log = make::log(b, x)?;
    let less_one = make::add_scalar(b, a, -1.0)?;
    let power = make::mul(b, less_one, log)?;
    let exponent = make::sub(b, power, x)?;
    let log_gamma = unary(b, UnaryFn::Lgamma, a)?;
    let exponent = make::sub(b, exponent, log_gamma)?;
    make::exp(b, exponent)
}
