//! Derivatives of the functions of one element, written with other ops, so that they can be differentiated again.

use std::f64::consts::PI;

use crate::ops::make::{self, binary};
use crate::program::{Builder, Misfit, Value};

use super::binary::BinaryFn;
use super::unary::UnaryFn;

/// The gradient of `f` at input `x`, output `y`, for upstream gradient `g`.
pub(super) fn vjp(f: UnaryFn, b: &mut Builder, x: Value, y: Value, g: Value) -> Result<Option<Value>, Misfit> {
    use UnaryFn as U;
    Ok(Some(match f {
        U::Neg => make::neg(b, g)?,
        U::Abs => {
            let s = make::sign(b, x)?;
            make::mul(b, g, s)?
        }
        U::Square => {
            let twice = make::mul_scalar(b, x, 2.0)?;
            make::mul(b, g, twice)?
        }
        U::Sqrt => binary(b, BinaryFn::SqrtGradient, y, g)?,
        U::Rsqrt => binary(b, BinaryFn::RsqrtGradient, y, g)?,
        U::Reciprocal => binary(b, BinaryFn::ReciprocalGradient, y, g)?,
        U::Exp => make::mul(b, g, y)?,
        U::Expm1 => {
            let e = make::add_scalar(b, y, 1.0)?;
            make::mul(b, g, e)?
        }
        U::Log => make::div(b, g, x)?,
        U::Log1p => {
            let d = make::add_scalar(b, x, 1.0)?;
            make::div(b, g, d)?
        }
        U::Tanh => binary(b, BinaryFn::TanhGradient, y, g)?,
        U::Sigmoid => binary(b, BinaryFn::SigmoidGradient, y, g)?,
        U::Erf => binary(b, BinaryFn::ErfGradient, x, g)?,
        U::Erfc => {
            let e = binary(b, BinaryFn::ErfGradient, x, g)?;
            make::neg(b, e)?
        }
        U::Relu => binary(b, BinaryFn::ReluGradient, y, g)?,
        U::Relu6 => binary(b, BinaryFn::Relu6Gradient, y, g)?,
        U::Elu => binary(b, BinaryFn::EluGradient, y, g)?,
        U::Selu => binary(b, BinaryFn::SeluGradient, y, g)?,
        U::Softplus => {
            let s = make::sigmoid(b, x)?;
            make::mul(b, g, s)?
        }
        U::Softsign => {
            let a = make::abs(b, x)?;
            let d = make::add_scalar(b, a, 1.0)?;
            let d = make::square(b, d)?;
            make::div(b, g, d)?
        }
        _ => return rare(f, b, x, y, g),
    }))
}

/// Trigonometric, hyperbolic and special functions; `None` for those whose slope is zero.
fn rare(f: UnaryFn, b: &mut Builder, x: Value, y: Value, g: Value) -> Result<Option<Value>, Misfit> {
    use UnaryFn as U;
    let factor = match f {
        U::Sin => make::unary(b, U::Cos, x)?,
        U::Cos => {
            let s = make::unary(b, U::Sin, x)?;
            make::neg(b, s)?
        }
        U::Tan => {
            let s = make::square(b, y)?;
            make::add_scalar(b, s, 1.0)?
        }
        U::Sinh => make::unary(b, U::Cosh, x)?,
        U::Cosh => make::unary(b, U::Sinh, x)?,
        U::Asin | U::Acos => {
            let d = one_minus_square(b, x)?;
            let r = make::rsqrt(b, d)?;
            if f == U::Acos { make::neg(b, r)? } else { r }
        }
        U::Atan => {
            let s = make::square(b, x)?;
            let d = make::add_scalar(b, s, 1.0)?;
            make::reciprocal(b, d)?
        }
        U::Asinh => {
            let c = make::unary(b, U::Cosh, y)?;
            make::reciprocal(b, c)?
        }
        U::Acosh => {
            let s = make::unary(b, U::Sinh, y)?;
            make::reciprocal(b, s)?
        }
        U::Atanh => {
            let d = one_minus_square(b, x)?;
            make::reciprocal(b, d)?
        }
        U::Erfinv => {
            let s = make::square(b, y)?;
            let e = make::exp(b, s)?;
            make::mul_scalar(b, e, PI.sqrt() / 2.0)?
        }
        U::Lgamma => make::unary(b, U::Digamma, x)?,
        U::Digamma => {
            let one = make::scalar_like(b, x, 1.0);
            binary(b, BinaryFn::Polygamma, one, x)?
        }
        _ => match integrals(f, b, x, y)? {
            Some(factor) => factor,
            None => return Ok(None),
        },
    };
    make::mul(b, g, factor).map(Some)
}

/// `y/x`, and at 0 what it tends to.
fn over_x(b: &mut Builder, y: Value, x: Value, limit: f64) -> Result<Value, Misfit> {
    let zero = make::scalar_like(b, x, 0.0);
    let is_zero = make::equal(b, x, zero)?;
    let limit = make::scalar_like(b, x, limit);
    let one = make::scalar_like(b, x, 1.0);
    let safe = make::select(b, is_zero, one, x)?;
    let ratio = make::div(b, y, safe)?;
    make::select(b, is_zero, limit, ratio)
}

/// Slopes of Bessel functions (Abramowitz & Stegun 9.1.28, 9.6.27, 9.6.26) and of functions that are integrals.
fn integrals(f: UnaryFn, b: &mut Builder, x: Value, y: Value) -> Result<Option<Value>, Misfit> {
    use UnaryFn as U;
    let factor = match f {
        U::BesselI0 => make::unary(b, U::BesselI1, x)?,
        U::BesselJ0 | U::BesselY0 | U::BesselK0 => {
            let next = match f {
                U::BesselJ0 => U::BesselJ1,
                U::BesselY0 => U::BesselY1,
                _ => U::BesselK1,
            };
            let next = make::unary(b, next, x)?;
            make::neg(b, next)?
        }
        U::BesselI0e | U::BesselI1e => {
            let (other, ratio) = match f {
                U::BesselI0e => (make::unary(b, U::BesselI1e, x)?, None),
                _ => (make::unary(b, U::BesselI0e, x)?, Some(over_x(b, y, x, 0.5)?)),
            };
            let sign = make::sign(b, x)?;
            let fall = make::mul(b, sign, y)?;
            let slope = make::sub(b, other, fall)?;
            match ratio {
                Some(ratio) => make::sub(b, slope, ratio)?,
                None => slope,
            }
        }
        U::BesselI1 | U::BesselJ1 | U::BesselY1 => {
            let before = match f {
                U::BesselI1 => U::BesselI0,
                U::BesselJ1 => U::BesselJ0,
                _ => U::BesselY0,
            };
            let (before, ratio) = (make::unary(b, before, x)?, over_x(b, y, x, 0.5)?);
            make::sub(b, before, ratio)?
        }
        U::BesselK1 => {
            let (before, ratio) = (make::unary(b, U::BesselK0, x)?, make::div(b, y, x)?);
            let sum = make::add(b, before, ratio)?;
            make::neg(b, sum)?
        }
        U::BesselK0e => {
            let next = make::unary(b, U::BesselK1e, x)?;
            make::sub(b, y, next)?
        }
        U::BesselK1e => {
            let (before, ratio) = (make::unary(b, U::BesselK0e, x)?, make::div(b, y, x)?);
            let rest = make::sub(b, y, ratio)?;
            make::sub(b, rest, before)?
        }
        U::Dawson => {
            let p = make::mul(b, x, y)?;
            let p = make::mul_scalar(b, p, -2.0)?;
            make::add_scalar(b, p, 1.0)?
        }
        U::Expint => {
            let e = make::exp(b, x)?;
            make::div(b, e, x)?
        }
        U::Spence => {
            let one = make::scalar_like(b, x, 1.0);
            let rest = make::sub(b, one, x)?;
            let log = make::log(b, x)?;
            over_x(b, log, rest, -1.0)?
        }
        U::FresnelSin | U::FresnelCos => {
            let t = make::square(b, x)?;
            let t = make::mul_scalar(b, t, PI / 2.0)?;
            make::unary(b, if f == U::FresnelSin { U::Sin } else { U::Cos }, t)?
        }
        _ => return Ok(None),
    };
    Ok(Some(factor))
}

fn one_minus_square(b: &mut Builder, x: Value) -> Result<Value, Misfit> {
    let s = make::square(b, x)?;
    let one = make::scalar_like(b, x, 1.0);
    make::sub(b, one, s)
}
