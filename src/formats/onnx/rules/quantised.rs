//! Spellings of ONNX ops: quantised arithmetic, emulated in floats. Integers up to 2^53 are exact in `float64`.

use smallvec::smallvec;

use crate::lower::{Rule, Spelling};
use crate::ops::control::GradientFrom;
use crate::ops::elementwise::{Binary, BinaryFn, Cast, UnaryFn};
use crate::ops::make;
use crate::program::{Builder, Instr, Misfit, Value};
use crate::tensor::DType;

use super::common::{Spelled, along, axis_in, one, rank, rows, type_of};
use super::conv::convolved;
use super::linalg::product;

pub const RULES: &[Spelling] = rows! {
    "QuantizeLinear" => quantize;
    "DequantizeLinear" => dequantize;
    "com.microsoft.QuantizeLinear" => quantize;
    "com.microsoft.DequantizeLinear" => dequantize;
    "DynamicQuantizeLinear" => dynamic_quantize;
    "QLinearMatMul" => q_matmul;
    "QLinearConv" => q_conv;
    "MatMulInteger" => matmul_integer;
    "ConvInteger" => conv_integer;
};

/// Smallest and largest value of an integer type.
fn limits(dtype: DType) -> Result<(f64, f64), Misfit> {
    Ok(match dtype {
        DType::U8 => (0.0, 255.0),
        DType::I8 => (-128.0, 127.0),
        DType::U16 => (0.0, 65535.0),
        DType::I16 => (-32768.0, 32767.0),
        DType::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
        other => return Err(Misfit(format!("{other} is no quantised type"))),
    })
}

/// Scale or zero point shaped as `x` needs it: one number, one per slice of an axis, or one per block along it.
fn spread(r: &mut Rule<'_, '_>, v: Value, x: Value) -> Result<Value, Misfit> {
    let n = rank(r.b, x)?;
    match rank(r.b, v)? {
        0 => Ok(v),
        1 if r.b.fact(v).shape.dim(0) == Some(1) => make::reshape(r.b, v, &[]),
        1 if n > 0 && r.int_or("block_size", 0) == 0 => {
            let axis = axis_in(r.int_or("axis", 1), n)?;
            along(r.b, v, axis, n)
        }
        _ => {
            let axis = axis_in(r.int_or("axis", 1), n)?;
            let block = r.int_or("block_size", 0).max(1);
            let size = r.b.fact(x).shape.dim(axis).ok_or_else(|| Misfit::new("the shape must be known"))? as i64;
            // Every number `block` times along the axis.
            let at: Vec<i64> = (0..size).map(|i| i / block).collect();
            let at = r.ints_literal(&at);
            make::gather(r.b, v, at, axis as i64)
        }
    }
}

/// `clip(round(x / scale) + zero)`.
pub(super) fn to_integers(
    b: &mut Builder,
    x: Value,
    scale: Value,
    zero: Option<Value>,
    to: DType,
) -> Result<Value, Misfit> {
    let (low, high) = limits(to)?;
    let y = make::div(b, x, scale)?;
    let y = make::cast(b, y, DType::F64)?;
    let rounded = make::unary(b, UnaryFn::Round, y)?;
    // Training with quantised values takes rounding for the identity (straight-through), within the range of the type.
    let mut y = b.op(GradientFrom, &[rounded, y])?;
    if let Some(zero) = zero {
        let zero = make::cast(b, zero, DType::F64)?;
        y = make::add(b, y, zero)?;
    }
    let (low, high) = (make::scalar(b, DType::F64, low), make::scalar(b, DType::F64, high));
    let y = make::maximum(b, y, low)?;
    let y = make::minimum(b, y, high)?;
    make::cast(b, y, to)
}

/// The numbers that [`to_integers`] made integers of, before that: where they become floats again at once, gradients pass.
fn before_integers(b: &Builder, x: Value) -> Option<Value> {
    let producer = |v: Value| b.program().producer(v).map(|(_, i)| i);
    let cast = producer(x).filter(|i| i.op_as::<Cast>().is_some())?;
    let least = producer(cast.inputs[0]).filter(|i| i.op_as::<Binary>().is_some_and(|f| f.f == BinaryFn::Minimum))?;
    let most = producer(least.inputs[0]).filter(|i| i.op_as::<Binary>().is_some_and(|f| f.f == BinaryFn::Maximum))?;
    let inner = producer(most.inputs[0])?;
    let is_rounded = |i: &Instr| i.op_as::<GradientFrom>().is_some();
    let is_ours = is_rounded(inner) || producer(*inner.inputs.first()?).is_some_and(is_rounded);
    is_ours.then_some(cast.inputs[0])
}

fn quantize(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, scale) = (r.input(0)?, r.input(1)?);
    let zero = if r.has_input(2) { Some(r.input(2)?) } else { None };
    let to = match zero {
        Some(z) => r.b.fact(z).dtype,
        None => type_of(r, "output_dtype")?.unwrap_or(DType::U8),
    };
    let precision = type_of(r, "precision")?;
    let wide = precision.unwrap_or(r.b.fact(scale).dtype);
    let scale = spread(r, scale, x)?;
    let scale = make::cast(r.b, scale, wide)?;
    let zero = zero.map(|z| spread(r, z, x)).transpose()?;
    let x = make::cast(r.b, x, wide)?;
    one(to_integers(r.b, x, scale, zero, to)?)
}

/// `(x - zero) · scale`.
fn dequantize(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, scale) = (r.input(0)?, r.input(1)?);
    let to = type_of(r, "output_dtype")?.unwrap_or(r.b.fact(scale).dtype);
    let scale = spread(r, scale, x)?;
    let scale = make::cast(r.b, scale, DType::F32)?;
    let numbers = before_integers(r.b, x).unwrap_or(x);
    let mut y = make::cast(r.b, numbers, DType::F32)?;
    if r.has_input(2) {
        let zero = r.input(2)?;
        let zero = spread(r, zero, x)?;
        let zero = make::cast(r.b, zero, DType::F32)?;
        y = make::sub(r.b, y, zero)?;
    }
    let y = make::mul(r.b, y, scale)?;
    one(make::cast(r.b, y, to)?)
}

/// Outputs: bytes, scale, zero point, from the range of the values and 0.
pub(super) fn dynamic_quantize(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let axes = make::all_axes(r.b, x)?;
    let zero = make::scalar_like(r.b, x, 0.0);
    let (top, low) = (
        make::reduce(r.b, crate::ops::reduce::ReduceFn::Max, x, axes, false)?,
        make::reduce(r.b, crate::ops::reduce::ReduceFn::Min, x, axes, false)?,
    );
    let (top, low) = (make::maximum(r.b, top, zero)?, make::minimum(r.b, low, zero)?);
    let range = make::sub(r.b, top, low)?;
    let scale = make::mul_scalar(r.b, range, 1.0 / 255.0)?;
    let is_flat = make::equal(r.b, range, zero)?;
    let unit = make::scalar_like(r.b, x, 1.0 / 255.0);
    let scale = make::select(r.b, is_flat, unit, scale)?;
    let start = make::div(r.b, low, scale)?;
    let start = make::neg(r.b, start)?;
    let most = make::scalar_like(r.b, x, 255.0);
    let start = make::maximum(r.b, start, zero)?;
    let start = make::minimum(r.b, start, most)?;
    let start = make::unary(r.b, UnaryFn::Round, start)?;
    let point = make::cast(r.b, start, DType::U8)?;
    let y = to_integers(r.b, x, scale, Some(point), DType::U8)?;
    Ok(smallvec![y, scale, point])
}

/// Integers without their zero point, as `float64`. A vector of zero points belongs to `axis`.
fn centred(r: &mut Rule<'_, '_>, x: usize, zero: usize, axis: i64) -> Result<Value, Misfit> {
    let x = r.input(x)?;
    let wide = make::cast(r.b, x, DType::F64)?;
    if !r.has_input(zero) {
        return Ok(wide);
    }
    let zero = r.input(zero)?;
    let zero = per_axis(r.b, zero, x, axis)?;
    let zero = make::cast(r.b, zero, DType::F64)?;
    make::sub(r.b, wide, zero)
}

pub(super) fn per_axis(b: &mut Builder, v: Value, x: Value, axis: i64) -> Result<Value, Misfit> {
    let n = rank(b, x)?;
    match b.fact(v).rank() {
        Some(1) if b.fact(v).shape.dim(0) == Some(1) => make::reshape(b, v, &[]),
        Some(1) => {
            let axis = axis_in(axis, n)?;
            along(b, v, axis, n)
        }
        _ => Ok(v),
    }
}

/// Exact sums of integers as `float64`, then another scale.
fn rescaled(r: &mut Rule<'_, '_>, sum: Value, scales: [Value; 3], zero: usize, to: DType) -> Spelled {
    let [a, b, y] = scales;
    let (a, b) = (make::cast(r.b, a, DType::F64)?, make::cast(r.b, b, DType::F64)?);
    let factor = make::mul(r.b, a, b)?;
    let y = make::cast(r.b, y, DType::F64)?;
    let scaled = make::mul(r.b, sum, factor)?;
    let zero = if r.has_input(zero) { Some(r.input(zero)?) } else { None };
    one(to_integers(r.b, scaled, y, zero, to)?)
}

/// Inputs: a, its scale and zero point; b, the same; scale and zero point of the result.
fn q_matmul(r: &mut Rule<'_, '_>) -> Spelled {
    let (a, b) = (centred(r, 0, 2, -2)?, centred(r, 3, 5, -1)?);
    let (a_value, b_value) = (r.input(0)?, r.input(3)?);
    let sum = product(r.b, a, b)?;
    let scale_a = {
        let v = r.input(1)?;
        per_axis(r.b, v, a_value, -2)?
    };
    let scale_b = {
        let v = r.input(4)?;
        per_axis(r.b, v, b_value, -1)?
    };
    let scale_y = r.input(6)?;
    let to = if r.has_input(7) { r.fact(7)?.dtype } else { r.fact(0)?.dtype };
    rescaled(r, sum, [scale_a, scale_b, scale_y], 7, to)
}

/// As [`q_matmul`], with a bias in units of both scales as the last input.
fn q_conv(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, w) = (centred(r, 0, 2, 1)?, centred(r, 3, 5, 0)?);
    let mut sum = convolved(r, x, w)?;
    let n = rank(r.b, sum)?;
    if r.has_input(8) {
        let bias = r.input(8)?;
        let bias = make::cast(r.b, bias, DType::F64)?;
        let bias = along(r.b, bias, 1, n)?;
        sum = make::add(r.b, sum, bias)?;
    }
    let channel = |r: &mut Rule<'_, '_>, i: usize| -> Result<Value, Misfit> {
        let v = r.input(i)?;
        per_axis(r.b, v, sum, 1)
    };
    let scales = [channel(r, 1)?, channel(r, 4)?, channel(r, 6)?];
    let to = if r.has_input(7) { r.fact(7)?.dtype } else { r.fact(0)?.dtype };
    rescaled(r, sum, scales, 7, to)
}

fn matmul_integer(r: &mut Rule<'_, '_>) -> Spelled {
    let (a, b) = (centred(r, 0, 2, -2)?, centred(r, 1, 3, -1)?);
    let sum = product(r.b, a, b)?;
    one(make::cast(r.b, sum, DType::I32)?)
}

fn conv_integer(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, w) = (centred(r, 0, 2, 1)?, centred(r, 1, 3, 0)?);
    let sum = convolved(r, x, w)?;
    one(make::cast(r.b, sum, DType::I32)?)
}
