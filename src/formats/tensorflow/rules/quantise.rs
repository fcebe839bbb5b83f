//! Spellings of TensorFlow ops: rounding to a grid and back, with straight-through gradients.

use smallvec::{SmallVec, smallvec};

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::control::GradientFrom;
use crate::ops::elementwise::{StopGradient, UnaryFn as U};
use crate::ops::make;
use crate::ops::reduce::ReduceFn;
use crate::program::{Misfit, Value};

use super::rows;

pub const RULES: &[Spelling] = rows! {
    "FakeQuantWithMinMaxArgs" => fake_quant;
    "FakeQuantWithMinMaxVars" => fake_quant;
    "FakeQuantWithMinMaxVarsPerChannel" => fake_quant;
    "FakeQuantWithMinMaxArgsGradient" => fake_quant_gradient;
    "FakeQuantWithMinMaxVarsGradient" => fake_quant_gradient;
    "FakeQuantWithMinMaxVarsPerChannelGradient" => fake_quant_gradient;
    "QuantizeAndDequantize" => quantize_and_dequantize;
    "QuantizeAndDequantizeV2" => quantize_and_dequantize;
    "QuantizeAndDequantizeV3" => quantize_and_dequantize;
    "QuantizeAndDequantizeV4" => quantize_and_dequantize;
};

fn num_bits(bits: i64) -> Result<u32, Misfit> {
    let sound = u32::try_from(bits).ok().filter(|b| (2..=30).contains(b));
    sound.ok_or_else(|| Misfit(format!("num_bits is {bits}, it must lie between 2 and 30")))
}

/// The range of a grid of 2^bits levels, moved so that zero is a level, and the distance of its levels.
struct Grid {
    low: Value,
    high: Value,
    scale: Value,
}

/// The ends are attributes, or inputs behind `x` (input `x`).
fn grid(r: &mut Rule<'_, '_>, x: usize) -> Result<Grid, Misfit> {
    let at = r.input(x)?;
    let (low, high) = if r.has_input(x + 1) {
        (r.input(x + 1)?, r.input(x + 2)?)
    } else {
        let (low, high) = (f64::from(r.float_or("min", -6.0)), f64::from(r.float_or("max", 6.0)));
        (make::scalar_like(r.b, at, low), make::scalar_like(r.b, at, high))
    };
    let narrow = r.bool_or("narrow_range", false);
    let bits = num_bits(r.int_or("num_bits", 8))?;
    let (q_low, q_high) = (if narrow { 1.0 } else { 0.0 }, f64::from((1u32 << bits) - 1));
    let b = &mut *r.b;

    let range = make::sub(b, high, low)?;
    let levels = make::scalar_like(b, at, q_high - q_low);
    let scale = make::div(b, range, levels)?;
    let zero_point = make::div(b, low, scale)?;
    let first = make::scalar_like(b, at, q_low);
    let zero_point = make::sub(b, first, zero_point)?;
    let zero_point = make::add_scalar(b, zero_point, 0.5)?;
    let zero_point = make::unary(b, U::Floor, zero_point)?;
    let (least, most) = (make::scalar_like(b, at, q_low), make::scalar_like(b, at, q_high));
    let zero_point = make::maximum(b, zero_point, least)?;
    let zero_point = make::minimum(b, zero_point, most)?;

    let mut ends = [(low, least), (high, most)];
    for (end, level) in &mut ends {
        let steps = make::sub(b, *level, zero_point)?;
        let nudged = make::mul(b, steps, scale)?;
        // The nudge itself is not differentiated.
        let shift = make::sub(b, nudged, *end)?;
        let shift = b.op(StopGradient, &[shift])?;
        *end = make::add(b, *end, shift)?;
    }
    Ok(Grid { low: ends[0].0, high: ends[1].0, scale })
}

fn clamp(r: &mut Rule<'_, '_>, x: Value, low: Value, high: Value) -> Result<Value, Misfit> {
    let x = make::minimum(r.b, x, high)?;
    make::maximum(r.b, x, low)
}

/// The gradient passes where x lies in the range, and goes to the range's end where it does not.
fn fake_quant(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let x = r.input(0)?;
    let Grid { low, high, scale } = grid(r, 0)?;
    let inside = clamp(r, x, low, high)?;
    let b = &mut *r.b;
    let steps = make::sub(b, inside, low)?;
    let steps = make::div(b, steps, scale)?;
    let steps = make::add_scalar(b, steps, 0.5)?;
    let steps = make::unary(b, U::Floor, steps)?;
    let rounded = make::mul(b, steps, scale)?;
    let rounded = make::add(b, rounded, low)?;
    let error = make::sub(b, rounded, inside)?;
    let error = b.op(StopGradient, &[error])?;
    Ok(smallvec![make::add(b, inside, error)?])
}

/// Inputs gradient, x, ends; outputs the gradients of x and, where the ends are inputs, of them.
fn fake_quant_gradient(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (g, x) = (r.input(0)?, r.input(1)?);
    let Grid { low, high, .. } = grid(r, 1)?;
    let (below, above) = (make::less(r.b, x, low)?, make::greater(r.b, x, high)?);
    let outside = make::or(r.b, below, above)?;
    let zero = make::scalar_like(r.b, g, 0.0);
    let mut outputs: Outputs = smallvec![make::select(r.b, outside, zero, g)?];
    if r.has_input(2) {
        let end = r.input(2)?;
        for beyond in [below, above] {
            let part = make::select(r.b, beyond, g, zero)?;
            outputs.push(make::sum_to(r.b, part, end)?);
        }
    }
    Ok(outputs)
}

/// Inputs x, and in the newer forms the ends and the number of bits. The grid is symmetric around zero and as wide as the
/// end that needs the larger steps asks for. The gradient passes straight, in V4 only inside the range; the ends get none,
/// as in TensorFlow.
fn quantize_and_dequantize(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let x = r.input(0)?;
    let is_given = r.bool_or("range_given", r.node.op == "QuantizeAndDequantizeV4");
    let bits = if r.has_input(3) { super::arrays::constant(r, 3)? } else { r.int_or("num_bits", 8) };
    let bits = num_bits(bits)?;
    let axis = r.int_or("axis", -1);
    let (low, high) = if is_given { given_range(r, x, axis)? } else { measured_range(r, x, axis)? };
    let range = (r.b.op(StopGradient, &[low])?, r.b.op(StopGradient, &[high])?);
    let most = f64::from(1u32 << (bits - 1));
    let (q_low, q_high) = match (r.bool_or("signed_input", true), r.bool_or("narrow_range", false)) {
        (true, true) => (1.0 - most, most - 1.0),
        (true, false) => (-most, most - 1.0),
        (false, narrow) => (if narrow { 1.0 } else { 0.0 }, 2.0 * most - 1.0),
    };
    let (step, low, high) = steps(r, [range.0, range.1], q_low, q_high)?;
    let mut q = x;
    if is_given {
        q = clamp(r, q, low, high)?;
    }
    // Nothing but zeros has steps of size zero.
    let q = make::binary(r.b, crate::ops::elementwise::BinaryFn::DivNoNan, q, step)?;
    let q = match r.str_or("round_mode", "HALF_TO_EVEN") {
        "HALF_UP" => {
            let q = make::add_scalar(r.b, q, 0.5)?;
            make::unary(r.b, U::Floor, q)?
        }
        "HALF_TO_EVEN" => make::unary(r.b, U::Round, q)?,
        other => return Err(Misfit(format!("unknown round_mode {other:?}"))),
    };
    let y = make::mul(r.b, q, step)?;
    let through = match r.node.op.as_str() {
        "QuantizeAndDequantizeV4" => clamp(r, x, range.0, range.1)?,
        _ => x,
    };
    Ok(smallvec![r.b.op(GradientFrom, &[y, through])?])
}

/// The size of a step, and the ends of the grid.
fn steps(r: &mut Rule<'_, '_>, ends: [Value; 2], q_low: f64, q_high: f64) -> Result<(Value, Value, Value), Misfit> {
    let mut sizes: SmallVec<[Value; 2]> = SmallVec::new();
    let zero = make::scalar_like(r.b, ends[0], 0.0);
    for (end, q) in ends.into_iter().zip([q_low, q_high]) {
        if q != 0.0 {
            let size = make::mul_scalar(r.b, end, 1.0 / q)?;
            // An end on the other side of zero does not count.
            sizes.push(make::maximum(r.b, size, zero)?);
        }
    }
    let mut step = sizes[0];
    if let Some(&other) = sizes.get(1) {
        step = make::maximum(r.b, step, other)?;
    }
    Ok((step, make::mul_scalar(r.b, step, q_low)?, make::mul_scalar(r.b, step, q_high)?))
}

/// A value for each entry along `axis`, shaped to broadcast over `x`.
fn along(r: &mut Rule<'_, '_>, v: Value, x: Value, axis: i64) -> Result<Value, Misfit> {
    if axis < 0 {
        return Ok(v);
    }
    let rank = r.b.fact(x).rank().ok_or_else(|| Misfit::new("the number of axes must be known"))?;
    let axis = usize::try_from(axis).ok().filter(|&a| a < rank);
    let axis = axis.ok_or_else(|| Misfit(format!("there is no such axis in a tensor of rank {rank}")))?;
    let mut shape = vec![1i64; rank];
    shape[axis] = -1;
    make::reshape(r.b, v, &shape)
}

fn given_range(r: &mut Rule<'_, '_>, x: Value, axis: i64) -> Result<(Value, Value), Misfit> {
    if !r.has_input(1) {
        let (low, high) = (f64::from(r.float_or("input_min", 0.0)), f64::from(r.float_or("input_max", 0.0)));
        return Ok((make::scalar_like(r.b, x, low), make::scalar_like(r.b, x, high)));
    }
    let (low, high) = (r.input(1)?, r.input(2)?);
    Ok((along(r, low, x, axis)?, along(r, high, x, axis)?))
}

fn measured_range(r: &mut Rule<'_, '_>, x: Value, axis: i64) -> Result<(Value, Value), Misfit> {
    let rank = r.b.fact(x).rank().ok_or_else(|| Misfit::new("the number of axes must be known"))? as i64;
    let axes: Vec<i64> = (0..rank).filter(|&a| a != axis).collect();
    let axes = r.ints_literal(&axes);
    Ok((make::reduce(r.b, ReduceFn::Min, x, axes, true)?, make::reduce(r.b, ReduceFn::Max, x, axes, true)?))
}
