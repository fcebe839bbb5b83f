//! Spellings of ONNX ops: element-wise functions, comparisons, logic, element types.

use smallvec::smallvec;

use crate::graph::Attr;
use crate::lower::{Rule, Spelling};
use crate::ops::elementwise::{BinaryFn, BitCast, UnaryFn};
use crate::ops::make;
use crate::program::{Builder, Misfit, Value};
use crate::tensor::DType;

use super::common::{Spelled, number_of, one, rank, rows, type_of};

pub const RULES: &[Spelling] = rows! {
    "Abs" => |r| unary(r, UnaryFn::Abs);
    "Acos" => |r| unary(r, UnaryFn::Acos);
    "Acosh" => |r| unary(r, UnaryFn::Acosh);
    "Asin" => |r| unary(r, UnaryFn::Asin);
    "Asinh" => |r| unary(r, UnaryFn::Asinh);
    "Atan" => |r| unary(r, UnaryFn::Atan);
    "Atanh" => |r| unary(r, UnaryFn::Atanh);
    "Ceil" => |r| unary(r, UnaryFn::Ceil);
    "Cos" => |r| unary(r, UnaryFn::Cos);
    "Cosh" => |r| unary(r, UnaryFn::Cosh);
    "Erf" => |r| unary(r, UnaryFn::Erf);
    "Exp" => |r| unary(r, UnaryFn::Exp);
    "Floor" => |r| unary(r, UnaryFn::Floor);
    "Log" => |r| unary(r, UnaryFn::Log);
    "Neg" => |r| unary(r, UnaryFn::Neg);
    "Not" => |r| unary(r, UnaryFn::Not);
    "BitwiseNot" => |r| unary(r, UnaryFn::Not);
    "Reciprocal" => |r| unary(r, UnaryFn::Reciprocal);
    "Relu" => |r| unary(r, UnaryFn::Relu);
    "Round" => |r| unary(r, UnaryFn::Round);
    "Sigmoid" => |r| unary(r, UnaryFn::Sigmoid);
    "Sign" => |r| unary(r, UnaryFn::Sign);
    "Sin" => |r| unary(r, UnaryFn::Sin);
    "Sinh" => |r| unary(r, UnaryFn::Sinh);
    "Softplus" => |r| unary(r, UnaryFn::Softplus);
    "Softsign" => |r| unary(r, UnaryFn::Softsign);
    "Sqrt" => |r| unary(r, UnaryFn::Sqrt);
    "Tan" => |r| unary(r, UnaryFn::Tan);
    "Tanh" => |r| unary(r, UnaryFn::Tanh);
    "IsNaN" => |r| unary(r, UnaryFn::IsNan);
    "IsInf" => is_inf;
    "Add" => |r| binary(r, BinaryFn::Add);
    "Sub" => |r| binary(r, BinaryFn::Sub);
    "Mul" => |r| binary(r, BinaryFn::Mul);
    "Div" => |r| binary(r, BinaryFn::Div);
    "And" => |r| binary(r, BinaryFn::And);
    "Or" => |r| binary(r, BinaryFn::Or);
    "Xor" => |r| binary(r, BinaryFn::Xor);
    "BitwiseAnd" => |r| binary(r, BinaryFn::BitAnd);
    "BitwiseOr" => |r| binary(r, BinaryFn::BitOr);
    "BitwiseXor" => |r| binary(r, BinaryFn::BitXor);
    "BitShift" => bit_shift;
    "Less" => |r| binary(r, BinaryFn::Less);
    "LessOrEqual" => |r| binary(r, BinaryFn::LessEqual);
    "Greater" => |r| binary(r, BinaryFn::Greater);
    "GreaterOrEqual" => |r| binary(r, BinaryFn::GreaterEqual);
    "Equal" => equal;
    "Pow" => pow;
    "Mod" => |r| binary(r, if r.int_or("fmod", 0) == 0 { BinaryFn::FloorMod } else { BinaryFn::TruncMod });
    "Sum" => |r| variadic(r, BinaryFn::Add);
    "Max" => |r| variadic(r, BinaryFn::Maximum);
    "Min" => |r| variadic(r, BinaryFn::Minimum);
    "Mean" => mean;
    "Where" => select;
    "Clip" => clip;
    "Cast" => cast;
    "CastLike" => cast_like;
    "BitCast" => bit_cast;
    "Elu" => elu;
    "Celu" => celu;
    "Selu" => selu;
    "LeakyRelu" => leaky_relu;
    "ThresholdedRelu" => thresholded_relu;
    "PRelu" => p_relu;
    "HardSigmoid" => |r| { let x = r.input(0)?; let (a, b) = (r.float_or("alpha", 0.2), r.float_or("beta", 0.5)); one(hard_sigmoid(r.b, x, a, b)?) };
    "HardSwish" => hard_swish;
    "Mish" => mish;
    "Swish" => |r| { let alpha = r.float_or("alpha", 1.0); swish(r, alpha) };
    "Gelu" => |r| { let tanh = r.str_or("approximate", "none") == "tanh"; let x = r.input(0)?; one(gelu(r.b, x, tanh)?) };
    "Shrink" => shrink;
};

fn unary(r: &mut Rule<'_, '_>, f: UnaryFn) -> Spelled {
    let x = r.input(0)?;
    one(make::unary(r.b, f, x)?)
}

/// Before opset 7 the second operand is broadcast only where `broadcast` says so, from `axis` on.
fn operands(r: &mut Rule<'_, '_>) -> Result<(Value, Value), Misfit> {
    let (a, mut b) = (r.input(0)?, r.input(1)?);
    if r.opset < 7
        && r.int_or("broadcast", 0) != 0
        && let Some(axis) = r.attr("axis").and_then(Attr::as_int)
    {
        let (rank_a, rank_b) = (rank(r.b, a)?, rank(r.b, b)?);
        let axis = super::common::axis_in(axis, rank_a)?;
        for _ in 0..rank_a.saturating_sub(axis + rank_b) {
            b = make::expand_dims(r.b, b, -1)?;
        }
    }
    Ok((a, b))
}

fn binary(r: &mut Rule<'_, '_>, f: BinaryFn) -> Spelled {
    let (a, b) = operands(r)?;
    one(make::binary(r.b, f, a, b)?)
}

/// A shift by more bits than there are, or by a negative number of them, leaves nothing (the sign, to the right).
fn bit_shift(r: &mut Rule<'_, '_>) -> Spelled {
    let left = r.str_or("direction", "LEFT") == "LEFT";
    let (x, by) = operands(r)?;
    let bits = 8 * r.b.fact(x).dtype.size() as i64;
    let (zero, last) = (make::scalar_like(r.b, by, 0.0), make::scalar_like(r.b, by, bits as f64 - 1.0));
    let (least, most) = (make::maximum(r.b, by, zero)?, make::minimum(r.b, by, last)?);
    let (low, high) = (make::equal(r.b, least, by)?, make::equal(r.b, most, by)?);
    let is_inside = make::and(r.b, low, high)?;
    let safe = make::minimum(r.b, least, last)?;
    let shifted = make::binary(r.b, if left { BinaryFn::ShiftLeft } else { BinaryFn::ShiftRight }, x, safe)?;
    let gone = if left {
        make::zeros_like(r.b, shifted)?
    } else {
        let all = make::scalar_like(r.b, x, bits as f64 - 1.0);
        make::binary(r.b, BinaryFn::ShiftRight, x, all)?
    };
    let is_unsigned = matches!(r.b.fact(x).dtype, DType::U8 | DType::U16 | DType::U32 | DType::U64);
    let gone = if is_unsigned { make::zeros_like(r.b, shifted)? } else { gone };
    one(make::select(r.b, is_inside, shifted, gone)?)
}

fn equal(r: &mut Rule<'_, '_>) -> Spelled {
    let (mut a, mut b) = operands(r)?;
    if r.b.fact(a).dtype == DType::Bool {
        (a, b) = (make::cast(r.b, a, DType::U8)?, make::cast(r.b, b, DType::U8)?);
    }
    one(make::equal(r.b, a, b)?)
}

/// The exponent may have another type; the result has that of the base. Small whole exponents become products, whose
/// gradient is defined for negative bases as well.
fn pow(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, e) = operands(r)?;
    let (base, exponent) = (r.b.fact(x).dtype, r.b.fact(e).dtype);
    if base.is_float() && r.b.fact(e).rank() == Some(0) {
        match r.b.fact(e).scalar() {
            Some(1.0) => return one(x),
            Some(2.0) => return one(make::square(r.b, x)?),
            Some(3.0) => {
                let square = make::square(r.b, x)?;
                return one(make::mul(r.b, square, x)?);
            }
            Some(0.5) => return one(make::sqrt(r.b, x)?),
            _ => {}
        }
    }
    if base.is_int() && exponent.is_float() {
        let (x, e) = (make::cast(r.b, x, DType::F64)?, make::cast(r.b, e, DType::F64)?);
        let y = make::pow(r.b, x, e)?;
        return one(make::cast(r.b, y, base)?);
    }
    let e = make::cast(r.b, e, base)?;
    one(make::pow(r.b, x, e)?)
}

fn fold(r: &mut Rule<'_, '_>, f: BinaryFn) -> Result<Value, Misfit> {
    let all = r.all_inputs()?;
    let Some((&first, rest)) = all.split_first() else { return Err(Misfit::new("at least one input is needed")) };
    rest.iter().try_fold(first, |sum, &v| make::binary(r.b, f, sum, v))
}

fn variadic(r: &mut Rule<'_, '_>, f: BinaryFn) -> Spelled {
    one(fold(r, f)?)
}

fn mean(r: &mut Rule<'_, '_>) -> Spelled {
    let sum = fold(r, BinaryFn::Add)?;
    let n = r.inputs.len() as f64;
    one(make::mul_scalar(r.b, sum, 1.0 / n)?)
}

fn select(r: &mut Rule<'_, '_>) -> Spelled {
    let (c, a, b) = (r.input(0)?, r.input(1)?, r.input(2)?);
    one(make::select(r.b, c, a, b)?)
}

/// `min(max(x, low), high)`.
fn clip(r: &mut Rule<'_, '_>) -> Spelled {
    let mut x = r.input(0)?;
    if let Some(low) = number_of(r, "min", 1, x)? {
        x = make::maximum(r.b, x, low)?;
    }
    if let Some(high) = number_of(r, "max", 2, x)? {
        x = make::minimum(r.b, x, high)?;
    }
    one(x)
}

fn cast(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let to = type_of(r, "to")?.ok_or_else(|| Misfit::new("the attribute to (an element type) is missing"))?;
    cast_to(r, x, to)
}

fn bit_cast(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let to = type_of(r, "to")?.ok_or_else(|| Misfit::new("the attribute to (an element type) is missing"))?;
    one(r.b.op(BitCast { to }, &[x])?)
}

fn cast_like(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, to) = (r.input(0)?, r.fact(1)?.dtype);
    if to == DType::Unknown {
        return Err(Misfit::new("the element type to cast to is not known"));
    }
    cast_to(r, x, to)
}

fn cast_to(r: &mut Rule<'_, '_>, x: Value, to: DType) -> Spelled {
    if to == DType::String || r.b.fact(x).dtype == DType::String {
        return if r.b.fact(x).dtype == to { one(x) } else { Err(Misfit::new("texts are not converted")) };
    }
    one(make::cast(r.b, x, to)?)
}

fn is_inf(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let is_infinite = make::unary(r.b, UnaryFn::IsInf, x)?;
    let (negative, positive) = (r.int_or("detect_negative", 1) != 0, r.int_or("detect_positive", 1) != 0);
    if negative && positive {
        return one(is_infinite);
    }
    let zero = make::scalar_like(r.b, x, 0.0);
    let side = if positive { make::greater(r.b, x, zero)? } else { make::less(r.b, x, zero)? };
    let found = make::and(r.b, is_infinite, side)?;
    if negative || positive {
        return one(found);
    }
    let not = make::not(r.b, side)?;
    one(make::and(r.b, found, not)?)
}

/// `x` where `x > 0`, else `other(min(x, 0))`: the branch that is not taken stays finite, and so does its gradient.
fn piecewise(
    b: &mut Builder,
    x: Value,
    other: impl FnOnce(&mut Builder, Value) -> Result<Value, Misfit>,
) -> Result<Value, Misfit> {
    let zero = make::scalar_like(b, x, 0.0);
    let is_positive = make::greater(b, x, zero)?;
    let below = make::minimum(b, x, zero)?;
    let y = other(b, below)?;
    make::select(b, is_positive, x, y)
}

/// `alpha (e^(x / scale) - 1)`.
fn exponential(b: &mut Builder, x: Value, alpha: f64, scale: f64) -> Result<Value, Misfit> {
    let x = make::mul_scalar(b, x, 1.0 / scale)?;
    let y = make::unary(b, UnaryFn::Expm1, x)?;
    make::mul_scalar(b, y, alpha)
}

fn elu(r: &mut Rule<'_, '_>) -> Spelled {
    let alpha = f64::from(r.float_or("alpha", 1.0));
    if alpha == 1.0 {
        return unary(r, UnaryFn::Elu);
    }
    let x = r.input(0)?;
    one(piecewise(r.b, x, |b, x| exponential(b, x, alpha, 1.0))?)
}

fn celu(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, alpha) = (r.input(0)?, f64::from(r.float_or("alpha", 1.0)));
    one(piecewise(r.b, x, |b, x| exponential(b, x, alpha, alpha))?)
}

fn selu(r: &mut Rule<'_, '_>) -> Spelled {
    let old = r.opset < 6;
    let alpha = f64::from(r.float_or("alpha", if old { 1.6732 } else { 1.673_263_2 }));
    let gamma = f64::from(r.float_or("gamma", if old { 1.0507 } else { 1.050_701 }));
    let x = r.input(0)?;
    let y = piecewise(r.b, x, |b, x| exponential(b, x, alpha, 1.0))?;
    one(make::mul_scalar(r.b, y, gamma)?)
}

fn leaky_relu(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, alpha) = (r.input(0)?, f64::from(r.float_or("alpha", 0.01)));
    one(piecewise(r.b, x, |b, x| make::mul_scalar(b, x, alpha))?)
}

fn thresholded_relu(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, alpha) = (r.input(0)?, f64::from(r.float_or("alpha", 1.0)));
    let (bound, zero) = (make::scalar_like(r.b, x, alpha), make::scalar_like(r.b, x, 0.0));
    let above = make::greater(r.b, x, bound)?;
    one(make::select(r.b, above, x, zero)?)
}

/// Before opset 7 a vector of slopes belongs to the channels (axis 1).
fn p_relu(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, mut slope) = (r.input(0)?, r.input(1)?);
    if r.opset < 7 && r.b.fact(slope).rank() == Some(1) && rank(r.b, x)? > 1 {
        let n = rank(r.b, x)?;
        slope = super::common::along(r.b, slope, 1, n)?;
    }
    let zero = make::scalar_like(r.b, x, 0.0);
    let is_positive = make::greater_equal(r.b, x, zero)?;
    let scaled = make::mul(r.b, x, slope)?;
    one(make::select(r.b, is_positive, x, scaled)?)
}

/// `max(0, min(1, alpha x + beta))`.
pub fn hard_sigmoid(b: &mut Builder, x: Value, alpha: f32, beta: f32) -> Result<Value, Misfit> {
    let y = make::mul_scalar(b, x, f64::from(alpha))?;
    let y = make::add_scalar(b, y, f64::from(beta))?;
    let (zero, top) = (make::scalar_like(b, x, 0.0), make::scalar_like(b, x, 1.0));
    let y = make::minimum(b, y, top)?;
    make::maximum(b, y, zero)
}

fn hard_swish(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let gate = hard_sigmoid(r.b, x, 1.0 / 6.0, 0.5)?;
    one(make::mul(r.b, x, gate)?)
}

fn mish(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let y = make::unary(r.b, UnaryFn::Softplus, x)?;
    let y = make::tanh(r.b, y)?;
    one(make::mul(r.b, x, y)?)
}

/// `x · sigmoid(alpha x)`.
pub fn swish(r: &mut Rule<'_, '_>, alpha: f32) -> Spelled {
    let x = r.input(0)?;
    let scaled = if alpha == 1.0 { x } else { make::mul_scalar(r.b, x, f64::from(alpha))? };
    let gate = make::sigmoid(r.b, scaled)?;
    one(make::mul(r.b, x, gate)?)
}

/// `x · Φ(x)`, or its tanh approximation (Hendrycks and Gimpel 2016).
pub fn gelu(b: &mut Builder, x: Value, tanh: bool) -> Result<Value, Misfit> {
    let inner = if tanh {
        let square = make::square(b, x)?;
        let cube = make::mul(b, square, x)?;
        let cube = make::mul_scalar(b, cube, 0.044_715)?;
        let sum = make::add(b, x, cube)?;
        let sum = make::mul_scalar(b, sum, (2.0 / std::f64::consts::PI).sqrt())?;
        make::tanh(b, sum)?
    } else {
        let scaled = make::mul_scalar(b, x, std::f64::consts::FRAC_1_SQRT_2)?;
        make::erf(b, scaled)?
    };
    let gate = make::add_scalar(b, inner, 1.0)?;
    let half = make::mul_scalar(b, x, 0.5)?;
    make::mul(b, half, gate)
}

/// `x + bias` below `-lambd`, `x - bias` above `lambd`, else 0.
fn shrink(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let (lambda, bias) = (f64::from(r.float_or("lambd", 0.5)), f64::from(r.float_or("bias", 0.0)));
    let (low, high) = (make::scalar_like(r.b, x, -lambda), make::scalar_like(r.b, x, lambda));
    let (below, above) = (make::less(r.b, x, low)?, make::greater(r.b, x, high)?);
    let (up, down) = (make::add_scalar(r.b, x, bias)?, make::add_scalar(r.b, x, -bias)?);
    let zero = make::scalar_like(r.b, x, 0.0);
    let y = make::select(r.b, above, down, zero)?;
    let y = make::select(r.b, below, up, y)?;
    Ok(smallvec![y])
}
