//! Spellings of TensorFlow ops: quantised tensors, computed as floating-point numbers that are whole (`float32`, and
//! `float64` for 32 bits). Gradients pass straight through the rounding.
//!
//! Formulas: tensorflow/core/kernels/quantize_op.cc, dequantize_op.cc, quantization_utils.h.

use smallvec::smallvec;

use crate::formats::tensorflow::attrs::unnamed_type;
use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::control::GradientFrom;
use crate::ops::elementwise::{StopGradient, UnaryFn as U};
use crate::ops::linalg::MatMul;
use crate::ops::make;
use crate::ops::reduce::ReduceFn;
use crate::program::{Builder, Misfit, Value};
use crate::tensor::DType;

use super::rows;

pub const RULES: &[Spelling] = rows! {
    "QuantizeV2" => quantize;
    "Dequantize" => dequantize;
    "QuantizedMatMul" => product;
    "QuantizedRelu" => |r| relu(r, None);
    "QuantizedRelu6" => |r| relu(r, Some(6.0));
    "QuantizedReshape" => reshape;
    "RequantizationRange" => |r| { let x = r.input(0)?; let e = used_range(r, x)?; Ok(smallvec![narrow(r.b, e.0)?, narrow(r.b, e.1)?]) };
    "Requantize" => requantize;
    "QuantizeDownAndShrinkRange" => shrink;
};

/// The whole numbers of a type.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Levels {
    lowest: f64,
    highest: f64,
    bits: i32,
}

impl Levels {
    fn is_signed(self) -> bool {
        self.lowest < 0.0
    }

    /// What numbers of this type are computed as.
    fn dtype(self) -> DType {
        if self.bits > 16 { DType::F64 } else { DType::F32 }
    }
}

/// The levels of the type that an attribute names (types.proto).
fn levels(r: &Rule<'_, '_>, attr: &str) -> Result<Levels, Misfit> {
    let of = |bits: i32, signed: bool| {
        let all = 2f64.powi(bits);
        let lowest = if signed { -all / 2.0 } else { 0.0 };
        Levels { lowest, highest: lowest + all - 1.0, bits }
    };
    let code = match r.attr(attr) {
        Some(attr) => unnamed_type(attr),
        // What TensorFlow leaves out of files because it is the default.
        None if attr == "Toutput" => Some(13),
        None => None,
    };
    match code {
        Some(11) => Ok(of(8, true)),
        Some(12) => Ok(of(8, false)),
        Some(13) => Ok(of(32, true)),
        Some(15) => Ok(of(16, true)),
        Some(16) => Ok(of(16, false)),
        _ => Err(Misfit(format!("attribute {attr} is no quantised type"))),
    }
}

fn wide(b: &mut Builder, x: Value) -> Result<Value, Misfit> {
    make::cast(b, x, DType::F64)
}

fn narrow(b: &mut Builder, x: Value) -> Result<Value, Misfit> {
    make::cast(b, x, DType::F32)
}

/// An input as `float64`, without a gradient: ends of ranges.
fn end(r: &mut Rule<'_, '_>, i: usize) -> Result<Value, Misfit> {
    let x = r.input(i)?;
    let x = wide(r.b, x)?;
    r.b.op(StopGradient, &[x])
}

fn number(b: &mut Builder, x: f64) -> Value {
    make::scalar(b, DType::F64, x)
}

fn clamp(b: &mut Builder, x: Value, low: Value, high: Value) -> Result<Value, Misfit> {
    let x = make::minimum(b, x, high)?;
    make::maximum(b, x, low)
}

/// Halves away from zero.
fn round_away(b: &mut Builder, x: Value) -> Result<Value, Misfit> {
    let (sign, size) = (make::sign(b, x)?, make::abs(b, x)?);
    let size = make::add_scalar(b, size, 0.5)?;
    let size = make::unary(b, U::Floor, size)?;
    make::mul(b, sign, size)
}

/// How real numbers and the levels of a range are told from each other in the mode MIN_FIRST (`FloatToQuantized`).
struct MinFirst {
    levels: Levels,
    /// Levels for each unit.
    scale: Value,
    /// The rounded level of the lower end, counted from zero.
    first: Value,
}

impl MinFirst {
    fn new(b: &mut Builder, levels: Levels, low: Value, high: Value) -> Result<Self, Misfit> {
        let steps = 2f64.powi(levels.bits);
        let range = make::sub(b, high, low)?;
        let range = make::mul_scalar(b, range, steps / (steps - 1.0))?;
        let steps = number(b, steps);
        let scale = make::div(b, steps, range)?;
        let first = make::mul(b, low, scale)?;
        let first = round_away(b, first)?;
        Ok(Self { levels, scale, first })
    }

    /// The level of a real number before it is rounded, and the level.
    fn level(&self, b: &mut Builder, x: Value) -> Result<(Value, Value), Misfit> {
        let scaled = make::mul(b, x, self.scale)?;
        let rounded = round_away(b, scaled)?;
        let (low, high) = (number(b, self.levels.lowest), number(b, self.levels.highest));
        let mut ends = Vec::new();
        for v in [scaled, rounded] {
            let v = make::sub(b, v, self.first)?;
            let v = make::add_scalar(b, v, self.levels.lowest)?;
            ends.push(clamp(b, v, low, high)?);
        }
        Ok((ends[0], ends[1]))
    }

    /// [`Self::level`] as requantising to 8 bits without sign has it: the distance from the lower end is rounded, not the
    /// number and the end each by itself.
    fn level_anew(&self, b: &mut Builder, x: Value, low: Value) -> Result<(Value, Value), Misfit> {
        if self.levels.bits != 8 || self.levels.is_signed() {
            return self.level(b, x);
        }
        let way = make::sub(b, x, low)?;
        let way = make::mul(b, way, self.scale)?;
        let rounded = round_away(b, way)?;
        let (first, last) = (number(b, self.levels.lowest), number(b, self.levels.highest));
        Ok((clamp(b, way, first, last)?, clamp(b, rounded, first, last)?))
    }

    fn real(&self, b: &mut Builder, level: Value) -> Result<Value, Misfit> {
        let steps = make::add_scalar(b, level, -self.levels.lowest)?;
        let steps = make::add(b, steps, self.first)?;
        make::div(b, steps, self.scale)
    }
}

/// Along `axis` of `x`, if it is one.
fn along(r: &mut Rule<'_, '_>, v: Value, x: Value, axis: i64) -> Result<Value, Misfit> {
    if axis < 0 {
        return make::reshape(r.b, v, &[]);
    }
    let rank = r.b.fact(x).rank().ok_or_else(|| Misfit::new("the number of axes must be known"))?;
    let axis = usize::try_from(axis).ok().filter(|&a| a < rank);
    let axis = axis.ok_or_else(|| Misfit(format!("there is no such axis in a tensor of rank {rank}")))?;
    let mut shape = vec![1i64; rank];
    shape[axis] = -1;
    make::reshape(r.b, v, &shape)
}

/// The ends that are used: around zero and not too close (`ensure_minimum_range`).
fn sound_range(r: &mut Rule<'_, '_>) -> Result<(Value, Value), Misfit> {
    let (low, high) = (end(r, 1)?, end(r, 2)?);
    let least = f64::from(r.float_or("ensure_minimum_range", 0.01));
    let b = &mut *r.b;
    let (zero, one) = (number(b, 0.0), number(b, 1.0));
    let (a, c) = (make::abs(b, low)?, make::abs(b, high)?);
    let size = make::maximum(b, a, c)?;
    let size = make::maximum(b, size, one)?;
    let gap = make::mul_scalar(b, size, least)?;
    let low = make::minimum(b, low, zero)?;
    let behind = make::add(b, low, gap)?;
    let high = make::maximum(b, high, behind)?;
    Ok((low, make::maximum(b, high, zero)?))
}

/// Levels for each unit in the mode SCALED: as many as fit on the side that needs the larger steps.
fn fitting_scale(b: &mut Builder, (lowest, highest): (f64, f64), low: Value, high: Value) -> Result<Value, Misfit> {
    let mut scale = number(b, f64::from(f32::MAX));
    for (level, end) in [(lowest, low), (highest, high)] {
        let side = make::mul_scalar(b, end, level)?;
        let (zero, one) = (number(b, 0.0), number(b, 1.0));
        let counts = make::greater(b, side, zero)?;
        let safe = make::select(b, counts, end, one)?;
        let level = number(b, level);
        let own = make::div(b, level, safe)?;
        let lower = make::minimum(b, scale, own)?;
        scale = make::select(b, counts, lower, scale)?;
    }
    Ok(scale)
}

/// Inputs x and the ends of its range; outputs levels, and the range that they stand for.
fn quantize(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let levels = levels(r, "T")?;
    let (axis, mode) = (r.int_or("axis", -1), r.str_or("mode", "MIN_COMBINED").to_owned());
    let even = match r.str_or("round_mode", "HALF_AWAY_FROM_ZERO") {
        "HALF_AWAY_FROM_ZERO" => false,
        "HALF_TO_EVEN" if mode == "SCALED" => true,
        other => return Err(Misfit(format!("round_mode {other:?} in the mode {mode}"))),
    };
    let narrowed = r.bool_or("narrow_range", false);
    let (mut low, mut high) = sound_range(r)?;
    let x = r.input(0)?;
    let wide_x = wide(r.b, x)?;
    let (at_low, at_high) = (along(r, low, x, axis)?, along(r, high, x, axis)?);
    let (smooth, level) = match mode.as_str() {
        "MIN_FIRST" if axis < 0 => {
            let grid = MinFirst::new(r.b, levels, at_low, at_high)?;
            grid.level(r.b, wide_x)?
        }
        "MIN_COMBINED" => {
            let inside = clamp(r.b, wide_x, at_low, at_high)?;
            let (way, range) = (make::sub(r.b, inside, at_low)?, make::sub(r.b, at_high, at_low)?);
            let steps = number(r.b, levels.highest - levels.lowest);
            let scale = make::div(r.b, steps, range)?;
            let way = make::mul(r.b, way, scale)?;
            let half = if levels.is_signed() { 2f64.powi(levels.bits - 1) } else { 0.0 };
            let smooth = make::add_scalar(r.b, way, -half)?;
            (smooth, round_away(r.b, smooth)?)
        }
        "SCALED" => {
            let lowest = levels.lowest + f64::from(u8::from(narrowed));
            let scale = fitting_scale(r.b, (lowest, levels.highest), low, high)?;
            let (first, last) = (number(r.b, lowest), number(r.b, levels.highest));
            (low, high) = (make::div(r.b, first, scale)?, make::div(r.b, last, scale)?);
            let (at_low, at_high) = (along(r, low, x, axis)?, along(r, high, x, axis)?);
            let inside = clamp(r.b, wide_x, at_low, at_high)?;
            let scale = along(r, scale, x, axis)?;
            let smooth = make::mul(r.b, inside, scale)?;
            (smooth, if even { make::unary(r.b, U::Round, smooth)? } else { round_away(r.b, smooth)? })
        }
        other => return Err(Misfit(format!("the mode {other:?} with axis {axis} is not supported"))),
    };
    let y = r.b.op(GradientFrom, &[level, smooth])?;
    Ok(smallvec![make::cast(r.b, y, levels.dtype())?, narrow(r.b, low)?, narrow(r.b, high)?])
}

/// Inputs levels and the ends of their range.
fn dequantize(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let levels = levels(r, "T")?;
    let (axis, mode) = (r.int_or("axis", -1), r.str_or("mode", "MIN_COMBINED").to_owned());
    let to = r.type_attr("dtype").unwrap_or(DType::F32);
    let narrowed = r.bool_or("narrow_range", false);
    let (low, high) = (end(r, 1)?, end(r, 2)?);
    let x = r.input(0)?;
    let q = wide(r.b, x)?;
    let y = match mode.as_str() {
        "MIN_FIRST" if axis < 0 => {
            let (low, high) = (along(r, low, x, axis)?, along(r, high, x, axis)?);
            MinFirst::new(r.b, levels, low, high)?.real(r.b, q)?
        }
        "MIN_COMBINED" => {
            let half = if levels.is_signed() { 2f64.powi(levels.bits - 1) } else { 0.0 };
            let (low, high) = (along(r, low, x, axis)?, along(r, high, x, axis)?);
            let range = make::sub(r.b, high, low)?;
            let scale = make::mul_scalar(r.b, range, 1.0 / (levels.highest - levels.lowest))?;
            let q = make::add_scalar(r.b, q, half)?;
            let q = make::mul(r.b, q, scale)?;
            make::add(r.b, q, low)?
        }
        "SCALED" => {
            let lowest = levels.lowest + f64::from(u8::from(narrowed));
            let mut scale = make::mul_scalar(r.b, high, 1.0 / levels.highest)?;
            if levels.is_signed() {
                let other = make::mul_scalar(r.b, low, 1.0 / lowest)?;
                scale = make::maximum(r.b, scale, other)?;
            }
            let scale = along(r, scale, x, axis)?;
            make::mul(r.b, q, scale)?
        }
        other => return Err(Misfit(format!("the mode {other:?} with axis {axis} is not supported"))),
    };
    Ok(smallvec![make::cast(r.b, y, to)?])
}

/// The level that stands for zero.
fn zero_level(b: &mut Builder, levels: Levels, low: Value, high: Value) -> Result<Value, Misfit> {
    let grid = MinFirst::new(b, levels, low, high)?;
    let zero = make::neg(b, grid.first)?;
    make::add_scalar(b, zero, levels.lowest)
}

/// Inputs a, b, then the ends of both; output levels of 32 bits with their range.
fn product(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (of_a, of_b, out) = (levels(r, "T1")?, levels(r, "T2")?, levels(r, "Toutput")?);
    let op = MatMul { transpose_a: r.bool_or("transpose_a", false), transpose_b: r.bool_or("transpose_b", false) };
    let (mut operands, mut step) = (Vec::new(), number(r.b, 1.0));
    for (i, levels) in [of_a, of_b].into_iter().enumerate() {
        let (low, high) = (end(r, 2 + 2 * i)?, end(r, 3 + 2 * i)?);
        let zero = zero_level(r.b, levels, low, high)?;
        let x = r.input(i)?;
        let x = wide(r.b, x)?;
        operands.push(make::sub(r.b, x, zero)?);
        let range = make::sub(r.b, high, low)?;
        let own = make::mul_scalar(r.b, range, 1.0 / (levels.highest - levels.lowest))?;
        step = make::mul(r.b, step, own)?;
    }
    let y = r.b.op(op, &operands)?;
    let y = make::cast(r.b, y, out.dtype())?;
    let (low, high) = (make::mul_scalar(r.b, step, out.lowest)?, make::mul_scalar(r.b, step, out.highest)?);
    Ok(smallvec![y, narrow(r.b, low)?, narrow(r.b, high)?])
}

fn relu(r: &mut Rule<'_, '_>, top: Option<f64>) -> Result<Outputs, Misfit> {
    let levels = levels(r, "Tinput")?;
    let (low, high) = (end(r, 1)?, end(r, 2)?);
    let x = r.input(0)?;
    let mut y = wide(r.b, x)?;
    let grid = MinFirst::new(r.b, levels, low, high)?;
    let zero = number(r.b, 0.0);
    let zero = grid.level(r.b, zero)?.1;
    y = make::maximum(r.b, y, zero)?;
    if let Some(top) = top {
        let top = number(r.b, top);
        let top = grid.level(r.b, top)?.1;
        y = make::minimum(r.b, y, top)?;
    }
    let y = make::cast(r.b, y, levels.dtype())?;
    Ok(smallvec![y, r.input(1)?, r.input(2)?])
}

fn reshape(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (x, shape) = (r.input(0)?, r.input(1)?);
    Ok(smallvec![make::reshape_to(r.b, x, shape)?, r.input(2)?, r.input(3)?])
}

/// The real numbers that the least and the largest level in `x` stand for; the lower one is not above 0.
fn used_range(r: &mut Rule<'_, '_>, x: Value) -> Result<(Value, Value), Misfit> {
    let (levels, low, high) = (levels(r, "Tinput")?, end(r, 1)?, end(r, 2)?);
    let x = wide(r.b, x)?;
    let x = r.b.op(StopGradient, &[x])?;
    let grid = MinFirst::new(r.b, levels, low, high)?;
    let axes = make::all_axes(r.b, x)?;
    let least = make::reduce(r.b, ReduceFn::Min, x, axes, false)?;
    let most = make::reduce(r.b, ReduceFn::Max, x, axes, false)?;
    let (least, most) = (grid.real(r.b, least)?, grid.real(r.b, most)?);
    let zero = number(r.b, 0.0);
    Ok((make::minimum(r.b, least, zero)?, most))
}

/// Levels of one range as those of another.
fn moved(r: &mut Rule<'_, '_>, low: Value, high: Value) -> Result<Outputs, Misfit> {
    let (from, to) = (levels(r, "Tinput")?, levels(r, "out_type")?);
    let (old_low, old_high) = (end(r, 1)?, end(r, 2)?);
    let x = r.input(0)?;
    let x = wide(r.b, x)?;
    let x = MinFirst::new(r.b, from, old_low, old_high)?.real(r.b, x)?;
    let grid = MinFirst::new(r.b, to, low, high)?;
    let (smooth, level) = grid.level_anew(r.b, x, low)?;
    let y = r.b.op(GradientFrom, &[level, smooth])?;
    Ok(smallvec![make::cast(r.b, y, to.dtype())?, narrow(r.b, low)?, narrow(r.b, high)?])
}

fn requantize(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (low, high) = (end(r, 3)?, end(r, 4)?);
    moved(r, low, high)
}

fn shrink(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let x = r.input(0)?;
    let (low, high) = used_range(r, x)?;
    moved(r, low, high)
}
