//! Spellings of ONNX Runtime's quantised element-wise ops (`com.microsoft.QLinear…`): out of the integers, the op in
//! floats, back into integers.

use crate::lower::{Rule, Spelling};
use crate::ops::make;
use crate::ops::norm::Softmax;
use crate::ops::reduce::ReduceFn;
use crate::program::{Misfit, Value};
use crate::tensor::DType;

use super::common::{Spelled, along, one, rank, strict_rows};
use super::quantised::to_integers;

pub const RULES: &[Spelling] = strict_rows! {
    "com.microsoft.QLinearAdd" => |r| two(r, make::add);
    "com.microsoft.QLinearMul" => |r| two(r, make::mul);
    "com.microsoft.QLinearSigmoid" => |r| { let x = real(r, 0, 1, 2)?; let y = make::sigmoid(r.b, x)?; whole(r, y, 3, 4, 0) };
    "com.microsoft.QLinearLeakyRelu" => leaky_relu;
    "com.microsoft.QLinearSoftmax" => softmax;
    "com.microsoft.QLinearGlobalAveragePool" => global_average;
    "com.microsoft.QLinearConcat" => concat;
    "com.microsoft.QLinearWhere" => choose;
    "com.microsoft.QGemm" => gemm;
};

/// `(x - zero) · scale`; the inputs' numbers are given.
fn real(r: &mut Rule<'_, '_>, x: usize, scale: usize, zero: usize) -> Result<Value, Misfit> {
    let (x, scale) = (r.input(x)?, r.input(scale)?);
    let scale = number(r, scale)?;
    let mut y = make::cast(r.b, x, DType::F32)?;
    if r.has_input(zero) {
        let zero = r.input(zero)?;
        let zero = number(r, zero)?;
        let zero = make::cast(r.b, zero, DType::F32)?;
        y = make::sub(r.b, y, zero)?;
    }
    make::mul(r.b, y, scale)
}

/// A scale or zero point of a whole tensor.
fn number(r: &mut Rule<'_, '_>, v: Value) -> Result<Value, Misfit> {
    make::reshape(r.b, v, &[])
}

/// Integers of the type of the zero point, else of input `like`.
fn whole(r: &mut Rule<'_, '_>, y: Value, scale: usize, zero: usize, like: usize) -> Spelled {
    let scale = r.input(scale)?;
    let scale = number(r, scale)?;
    let zero = if r.has_input(zero) { Some(r.input(zero)?) } else { None };
    let to = match zero {
        Some(z) => r.b.fact(z).dtype,
        None => r.fact(like)?.dtype,
    };
    let zero = zero.map(|z| number(r, z)).transpose()?;
    one(to_integers(r.b, y, scale, zero, to)?)
}

type Join = fn(&mut crate::program::Builder, Value, Value) -> Result<Value, Misfit>;

/// Inputs: a, its scale and zero point; b, the same; scale and zero point of the result.
fn two(r: &mut Rule<'_, '_>, f: Join) -> Spelled {
    let (a, b) = (real(r, 0, 1, 2)?, real(r, 3, 4, 5)?);
    let y = f(r.b, a, b)?;
    whole(r, y, 6, 7, 0)
}

fn leaky_relu(r: &mut Rule<'_, '_>) -> Spelled {
    let x = real(r, 0, 1, 2)?;
    let below = make::mul_scalar(r.b, x, f64::from(r.float_or("alpha", 0.01)))?;
    let zero = make::scalar_like(r.b, x, 0.0);
    let is_above = make::greater_equal(r.b, x, zero)?;
    let y = make::select(r.b, is_above, x, below)?;
    whole(r, y, 3, 4, 0)
}

/// Before opset 13 a softmax takes all axes from its own on as one.
fn softmax(r: &mut Rule<'_, '_>) -> Spelled {
    let x = real(r, 0, 1, 2)?;
    let n = rank(r.b, x)?;
    let opset = r.int_or("opset", 13);
    let axis = r.int_or("axis", if opset < 13 { 1 } else { -1 });
    if opset < 13 && axis != -1 && axis + 1 != n as i64 {
        return Err(Misfit::new("a softmax over several axes is not supported"));
    }
    let y = r.b.op(Softmax { axis }, &[x])?;
    whole(r, y, 3, 4, 0)
}

fn global_average(r: &mut Rule<'_, '_>) -> Spelled {
    let x = real(r, 0, 1, 2)?;
    let n = rank(r.b, x)? as i64;
    let axes: Vec<i64> = if r.int_or("channels_last", 0) != 0 { (1..n - 1).collect() } else { (2..n).collect() };
    let axes = make::ints(r.b, &axes);
    let y = make::reduce(r.b, ReduceFn::Mean, x, axes, true)?;
    whole(r, y, 3, 4, 0)
}

/// Inputs: scale and zero point of the result, then each part with its own.
fn concat(r: &mut Rule<'_, '_>) -> Spelled {
    if r.inputs.len() < 5 || r.inputs.len() % 3 != 2 {
        return Err(Misfit(format!("{} inputs are no parts with scale and zero point", r.inputs.len())));
    }
    let parts = (2..r.inputs.len()).step_by(3).map(|i| real(r, i, i + 1, i + 2)).collect::<Result<Vec<_>, _>>()?;
    let y = make::concat(r.b, &parts, r.int_or("axis", 0))?;
    whole(r, y, 0, 1, 2)
}

fn choose(r: &mut Rule<'_, '_>) -> Spelled {
    let which = r.input(0)?;
    let (a, b) = (real(r, 1, 2, 3)?, real(r, 4, 5, 6)?);
    let y = make::select(r.b, which, a, b)?;
    whole(r, y, 7, 8, 1)
}

/// Inputs: a, scale, zero; b, scales, zeros (of its columns); bias in units of both scales; scale and zero of the result,
/// which is of floats where those are missing.
fn gemm(r: &mut Rule<'_, '_>) -> Spelled {
    let a = real(r, 0, 1, 2)?;
    let (w, scale, zero) = (r.input(3)?, r.input(4)?, r.input(5)?);
    let transpose_b = r.int_or("transB", 0) != 0;
    let columns = if transpose_b { 0 } else { 1 };
    let mut each = |v: Value| if r.b.fact(v).rank() == Some(1) { along(r.b, v, columns, 2) } else { Ok(v) };
    let (scale_w, zero) = (each(scale)?, each(zero)?);
    let zero = make::cast(r.b, zero, DType::F32)?;
    let w = make::cast(r.b, w, DType::F32)?;
    let w = make::sub(r.b, w, zero)?;
    let w = make::mul(r.b, w, scale_w)?;
    let op = crate::ops::linalg::MatMul { transpose_a: r.int_or("transA", 0) != 0, transpose_b };
    let mut y = r.b.op(op, &[a, w])?;
    if r.has_input(6) {
        let (bias, scale_a) = (r.input(6)?, r.input(1)?);
        let bias = make::cast(r.b, bias, DType::F32)?;
        let scale_a = number(r, scale_a)?;
        let unit = make::mul(r.b, scale, scale_a)?;
        let bias = make::mul(r.b, bias, unit)?;
        y = make::add(r.b, y, bias)?;
    }
    let y = make::mul_scalar(r.b, y, f64::from(r.float_or("alpha", 1.0)))?;
    if r.has_input(7) { whole(r, y, 7, 8, 0) } else { one(y) }
}
