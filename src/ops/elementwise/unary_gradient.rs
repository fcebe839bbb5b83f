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
        _ => return Ok(None),
    };
    make::mul(b, g, factor).map(Some)
}

fn one_minus_square(b: &mut Builder, x: Value) -> Result<Value, Misfit> {
    let s = make::square(b, x)?;
    let one = make::scalar_like(b, x, 1.0);
    make::sub(b, one, s)
}
