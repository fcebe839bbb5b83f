//! Spellings of TensorFlow ops: element-wise arithmetic, comparisons, casts.

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::elementwise::{Betainc, BinaryFn, PreventGradient, StopGradient, UnaryFn};
use crate::ops::make;
use crate::program::{Misfit, Value};

use super::rows;

use BinaryFn as B;
use UnaryFn as U;

pub const RULES: &[Spelling] = rows! {
    "Abs" => |r| one(r, U::Abs);
    "Neg" => |r| one(r, U::Neg);
    "Sign" => |r| one(r, U::Sign);
    "Square" => |r| one(r, U::Square);
    "Sqrt" => |r| one(r, U::Sqrt);
    "Rsqrt" => |r| one(r, U::Rsqrt);
    "Reciprocal" => |r| one(r, U::Reciprocal);
    "Inv" => |r| one(r, U::Reciprocal);
    "Exp" => |r| one(r, U::Exp);
    "Expm1" => |r| one(r, U::Expm1);
    "Log" => |r| one(r, U::Log);
    "Log1p" => |r| one(r, U::Log1p);
    "Sin" => |r| one(r, U::Sin);
    "Cos" => |r| one(r, U::Cos);
    "Tan" => |r| one(r, U::Tan);
    "Asin" => |r| one(r, U::Asin);
    "Acos" => |r| one(r, U::Acos);
    "Atan" => |r| one(r, U::Atan);
    "Sinh" => |r| one(r, U::Sinh);
    "Cosh" => |r| one(r, U::Cosh);
    "Tanh" => |r| one(r, U::Tanh);
    "Asinh" => |r| one(r, U::Asinh);
    "Acosh" => |r| one(r, U::Acosh);
    "Atanh" => |r| one(r, U::Atanh);
    "Sigmoid" => |r| one(r, U::Sigmoid);
    "Erf" => |r| one(r, U::Erf);
    "Erfc" => |r| one(r, U::Erfc);
    "Erfinv" => |r| one(r, U::Erfinv);
    "Ndtri" => ndtri;
    "Lgamma" => |r| one(r, U::Lgamma);
    "Digamma" => |r| one(r, U::Digamma);
    "Softplus" => |r| one(r, U::Softplus);
    "Softsign" => |r| one(r, U::Softsign);
    "Relu" => |r| one(r, U::Relu);
    "Relu6" => |r| one(r, U::Relu6);
    "Elu" => |r| one(r, U::Elu);
    "Selu" => |r| one(r, U::Selu);
    "LeakyRelu" => leaky_relu;
    "Floor" => |r| one(r, U::Floor);
    "Ceil" => |r| one(r, U::Ceil);
    "Round" => |r| one(r, U::Round);
    "Rint" => |r| one(r, U::Round);
    "IsNan" => |r| one(r, U::IsNan);
    "IsInf" => |r| one(r, U::IsInf);
    "IsFinite" => |r| one(r, U::IsFinite);
    "LogicalNot" => |r| one(r, U::Not);
    "Invert" => |r| one(r, U::Not);
    "StopGradient" => stop_gradient;
    "PreventGradient" => prevent_gradient;
    "DeepCopy" => |r| Ok(smallvec![r.input(0)?]);
    "Cast" => cast;
    "ZerosLike" => |r| filled_like(r, 0.0);
    "OnesLike" => |r| filled_like(r, 1.0);

    "Add" => |r| two(r, B::Add);
    "AddV2" => |r| two(r, B::Add);
    "Sub" => |r| two(r, B::Sub);
    "Mul" => |r| two(r, B::Mul);
    "RealDiv" => |r| two(r, B::Div);
    "Div" => |r| two(r, B::Div);
    "TruncateDiv" => |r| two(r, B::TruncDiv);
    "FloorDiv" => |r| two(r, B::FloorDiv);
    "FloorMod" => |r| two(r, B::FloorMod);
    "Mod" => |r| two(r, B::TruncMod);
    "TruncateMod" => |r| two(r, B::TruncMod);
    "DivNoNan" => |r| two(r, B::DivNoNan);
    "MulNoNan" => |r| two(r, B::MulNoNan);
    "Xdivy" => |r| two(r, B::Xdivy);
    "Xlogy" => |r| two(r, B::Xlogy);
    "Xlog1py" => |r| two(r, B::Xlog1py);
    "Pow" => |r| two(r, B::Pow);
    "Maximum" => |r| two(r, B::Maximum);
    "Minimum" => |r| two(r, B::Minimum);
    "SquaredDifference" => |r| two(r, B::SquaredDifference);
    "Atan2" => |r| two(r, B::Atan2);
    "Igamma" => |r| two(r, B::Igamma);
    "Igammac" => |r| two(r, B::Igammac);
    "IgammaGradA" => |r| two(r, B::IgammaSlope);
    "Zeta" => |r| two(r, B::Zeta);
    "Polygamma" => |r| two(r, B::Polygamma);
    "NextAfter" => |r| two(r, B::NextAfter);
    "Betainc" => betainc;
    "Less" => |r| two(r, B::Less);
    "LessEqual" => |r| two(r, B::LessEqual);
    "Greater" => |r| two(r, B::Greater);
    "GreaterEqual" => |r| two(r, B::GreaterEqual);
    "Equal" => |r| two(r, B::Equal);
    "NotEqual" => |r| two(r, B::NotEqual);
    "ApproximateEqual" => approximate_equal;
    "LogicalAnd" => |r| two(r, B::And);
    "LogicalOr" => |r| two(r, B::Or);
    "BitwiseAnd" => |r| two(r, B::BitAnd);
    "BitwiseOr" => |r| two(r, B::BitOr);
    "BitwiseXor" => |r| two(r, B::BitXor);
    "LeftShift" => |r| two(r, B::ShiftLeft);
    "RightShift" => |r| two(r, B::ShiftRight);

    "AddN" => add_n;
    "AccumulateNV2" => add_n;
    "ClipByValue" => clip_by_value;
    "Select" => select_v1;
    "SelectV2" => select_v2;

    // What TensorFlow's own gradient graphs are made of.
    "SqrtGrad" => |r| two(r, B::SqrtGradient);
    "RsqrtGrad" => |r| two(r, B::RsqrtGradient);
    "ReciprocalGrad" => |r| two(r, B::ReciprocalGradient);
    "InvGrad" => |r| two(r, B::ReciprocalGradient);
    "TanhGrad" => |r| two(r, B::TanhGradient);
    "SigmoidGrad" => |r| two(r, B::SigmoidGradient);
    "ReluGrad" => |r| swapped(r, B::ReluGradient);
    "Relu6Grad" => |r| swapped(r, B::Relu6Gradient);
    "EluGrad" => |r| swapped(r, B::EluGradient);
    "SeluGrad" => |r| swapped(r, B::SeluGradient);
    "SoftplusGrad" => softplus_grad;
    "SoftsignGrad" => softsign_grad;
    "LeakyReluGrad" => leaky_relu_grad;
};

fn one(r: &mut Rule<'_, '_>, f: UnaryFn) -> Result<Outputs, Misfit> {
    let x = r.input(0)?;
    Ok(smallvec![make::unary(r.b, f, x)?])
}

fn two(r: &mut Rule<'_, '_>, f: BinaryFn) -> Result<Outputs, Misfit> {
    let (x, y) = (r.input(0)?, r.input(1)?);
    Ok(smallvec![make::binary(r.b, f, x, y)?])
}

/// TensorFlow's activation gradients take the gradient first.
fn swapped(r: &mut Rule<'_, '_>, f: BinaryFn) -> Result<Outputs, Misfit> {
    let (g, y) = (r.input(0)?, r.input(1)?);
    Ok(smallvec![make::binary(r.b, f, y, g)?])
}

fn stop_gradient(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let x = r.input(0)?;
    Ok(smallvec![r.b.op(StopGradient, &[x])?])
}

fn prevent_gradient(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let x = r.input(0)?;
    let message = r.str_or("message", "").to_owned();
    Ok(smallvec![r.b.op(PreventGradient { message }, &[x])?])
}

fn cast(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (x, to) = (r.input(0)?, r.type_attr("DstT")?);
    Ok(smallvec![make::cast(r.b, x, to)?])
}

fn filled_like(r: &mut Rule<'_, '_>, value: f64) -> Result<Outputs, Misfit> {
    let x = r.input(0)?;
    Ok(smallvec![make::filled_like(r.b, x, value)?])
}

/// The quantile of the normal distribution: √2 erf⁻¹(2p - 1).
fn ndtri(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let p = r.input(0)?;
    let y = make::mul_scalar(r.b, p, 2.0)?;
    let y = make::add_scalar(r.b, y, -1.0)?;
    let x = make::unary(r.b, U::Erfinv, y)?;
    Ok(smallvec![make::mul_scalar(r.b, x, std::f64::consts::SQRT_2)?])
}

fn is_positive(r: &mut Rule<'_, '_>, x: Value) -> Result<Value, Misfit> {
    let zero = make::scalar_like(r.b, x, 0.0);
    make::greater(r.b, x, zero)
}

fn leaky_relu(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (x, alpha) = (r.input(0)?, f64::from(r.float_or("alpha", 0.2)));
    let positive = is_positive(r, x)?;
    let low = make::mul_scalar(r.b, x, alpha)?;
    Ok(smallvec![make::select(r.b, positive, x, low)?])
}

fn leaky_relu_grad(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (g, x, alpha) = (r.input(0)?, r.input(1)?, f64::from(r.float_or("alpha", 0.2)));
    let positive = is_positive(r, x)?;
    let low = make::mul_scalar(r.b, g, alpha)?;
    Ok(smallvec![make::select(r.b, positive, g, low)?])
}

fn softplus_grad(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (g, x) = (r.input(0)?, r.input(1)?);
    let s = make::sigmoid(r.b, x)?;
    Ok(smallvec![make::mul(r.b, g, s)?])
}

fn softsign_grad(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (g, x) = (r.input(0)?, r.input(1)?);
    let a = make::abs(r.b, x)?;
    let d = make::add_scalar(r.b, a, 1.0)?;
    let d = make::square(r.b, d)?;
    Ok(smallvec![make::div(r.b, g, d)?])
}

fn betainc(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let inputs = [r.input(0)?, r.input(1)?, r.input(2)?];
    Ok(smallvec![r.b.op(Betainc, &inputs)?])
}

fn approximate_equal(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (x, y, tolerance) = (r.input(0)?, r.input(1)?, f64::from(r.float_or("tolerance", 1e-5)));
    let d = make::sub(r.b, x, y)?;
    let d = make::abs(r.b, d)?;
    let limit = make::scalar_like(r.b, d, tolerance);
    Ok(smallvec![make::less(r.b, d, limit)?])
}

fn add_n(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let parts = r.all_inputs()?;
    let (first, rest) = parts.split_first().ok_or_else(|| Misfit::new("no inputs"))?;
    let sum = rest.iter().try_fold(*first, |sum, &x| make::add(r.b, sum, x))?;
    Ok(smallvec![sum])
}

fn clip_by_value(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (x, low, high) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let y = make::minimum(r.b, x, high)?;
    Ok(smallvec![make::maximum(r.b, y, low)?])
}

/// The old form: a vector condition chooses whole rows.
fn select_v1(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (mut c, x, y) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let rank = r.b.fact(x).rank().or(r.b.fact(y).rank());
    if let (Some(1), Some(rank)) = (r.b.fact(c).rank(), rank) {
        for _ in 1..rank {
            c = make::expand_dims(r.b, c, -1)?;
        }
    }
    Ok(smallvec![make::select(r.b, c, x, y)?])
}

fn select_v2(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (c, x, y) = (r.input(0)?, r.input(1)?, r.input(2)?);
    Ok(smallvec![make::select(r.b, c, x, y)?])
}
