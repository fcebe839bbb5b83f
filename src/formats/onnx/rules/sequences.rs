//! Spellings of ONNX sequences. A sequence of equal tensors is one dense value `[n, …]`, also through loops and branches;
//! tensors of different shapes in one sequence are refused with a reason.

use crate::lower::{Rule, Spelling};
use crate::ops::control::EmptyStack;
use crate::ops::make;
use crate::ops::shape::Append;
use crate::ops::sizes::{self, Size};
use crate::program::{Builder, Misfit, Value};
use crate::tensor::{DType, PartialShape};

use super::arrays::stack;
use super::common::{Spelled, axis_in, ints_input, known_ints, one, rank, rows, type_of};

pub const RULES: &[Spelling] = rows! {
    "SequenceConstruct" => construct;
    "SequenceEmpty" => empty;
    "SequenceInsert" => insert;
    "SequenceErase" => erase;
    "SequenceAt" => at;
    "SequenceLength" => length;
    "SplitToSequence" => split;
    "ConcatFromSequence" => concat;
};

fn construct(r: &mut Rule<'_, '_>) -> Spelled {
    let parts = r.all_inputs()?;
    one(stack(r.b, &parts, 0)?)
}

fn empty(r: &mut Rule<'_, '_>) -> Spelled {
    let dtype = type_of(r, "dtype")?.unwrap_or(DType::F32);
    let none = make::scalar(r.b, DType::I64, 0.0);
    one(r.b.op(EmptyStack { dtype, element: PartialShape::unknown() }, &[none])?)
}

/// The number of entries, where it is known.
fn entries(b: &Builder, sequence: Value) -> Option<i64> {
    b.fact(sequence).shape.dim(0).map(|n| n as i64)
}

/// A position as a number from the start, where it is known; `None` where it is left out.
fn position(r: &Rule<'_, '_>, input: usize, n: Option<i64>) -> Result<Option<i64>, Misfit> {
    let Some(at) = ints_input(r, input)?.and_then(|v| v.first().copied()) else { return Ok(None) };
    match (at, n) {
        (at, _) if at >= 0 => Ok(Some(at)),
        (at, Some(n)) if at + n >= 0 => Ok(Some(at + n)),
        (at, Some(n)) => Err(Misfit(format!("position {at} in a sequence of {n}"))),
        (_, None) => Err(Misfit::new("the length of the sequence must be known")),
    }
}

/// Inputs: sequence, tensor, position (at the end where it is left out).
fn insert(r: &mut Rule<'_, '_>) -> Spelled {
    let (sequence, entry) = (r.input(0)?, r.input(1)?);
    let n = entries(r.b, sequence);
    let at = if r.has_input(2) { position(r, 2, n)? } else { None };
    match at {
        None => one(r.b.op(Append, &[sequence, entry])?),
        Some(at) if Some(at) == n => one(r.b.op(Append, &[sequence, entry])?),
        Some(at) => {
            let n = n.ok_or_else(|| Misfit::new("the length of the sequence must be known"))?;
            if at > n {
                return Err(Misfit(format!("position {at} in a sequence of {n}")));
            }
            let (before, after) = (rows_of(r, sequence, 0..at)?, rows_of(r, sequence, at..n)?);
            let own = make::expand_dims(r.b, entry, 0)?;
            one(make::concat(r.b, &[before, own, after], 0)?)
        }
    }
}

fn rows_of(r: &mut Rule<'_, '_>, sequence: Value, which: std::ops::Range<i64>) -> Result<Value, Misfit> {
    let rank = rank(r.b, sequence)?;
    let (mut begin, mut size) = (vec![0; rank], vec![-1; rank]);
    (begin[0], size[0]) = (which.start, which.end - which.start);
    make::slice(r.b, sequence, &begin, &size)
}

/// Inputs: sequence, position (the last where it is left out).
fn erase(r: &mut Rule<'_, '_>) -> Spelled {
    let sequence = r.input(0)?;
    let n = entries(r.b, sequence).ok_or_else(|| Misfit::new("the length of the sequence must be known"))?;
    let at = if r.has_input(1) { position(r, 1, Some(n))? } else { None }.unwrap_or(n - 1);
    if !(0..n).contains(&at) {
        return Err(Misfit(format!("position {at} in a sequence of {n}")));
    }
    let (before, after) = (rows_of(r, sequence, 0..at)?, rows_of(r, sequence, at + 1..n)?);
    one(make::concat(r.b, &[before, after], 0)?)
}

fn at(r: &mut Rule<'_, '_>) -> Spelled {
    let (sequence, position) = (r.input(0)?, r.input(1)?);
    one(make::gather(r.b, sequence, position, 0)?)
}

fn length(r: &mut Rule<'_, '_>) -> Spelled {
    let sequence = r.input(0)?;
    let shape = make::shape_of(r.b, sequence)?;
    let n = make::slice(r.b, shape, &[0], &[1])?;
    one(make::reshape(r.b, n, &[])?)
}

/// Inputs: tensor, sizes of the parts (a number, or one for each; 1 where left out, and then `keepdims` may drop the axis).
fn split(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let axis = axis_in(r.int_or("axis", 0), rank(r.b, x)?)?;
    let dims = sizes::sizes_of(r.b, x)?;
    let (mut each, mut drops_axis) = (1, r.int_or("keepdims", 1) == 0);
    if r.has_input(1) {
        let given = r.input(1)?;
        let parts = known_ints(r.b, given).ok_or_else(|| Misfit::new("input 1 must be constant integers"))?;
        let first = parts.first().copied().unwrap_or(0);
        if parts.iter().any(|&p| p != first) || first < 1 {
            return Err(Misfit(format!("parts of different sizes {parts:?} in one sequence are not supported")));
        }
        (each, drops_axis) = (first, false);
    }
    let count = sizes::over(r.b, dims[axis], each)?;
    let mut shape: Vec<Size> = dims.to_vec();
    shape.splice(axis..=axis, [count, Size::Known(each)]);
    let cut = sizes::reshape(r.b, x, &shape)?;
    let order: Vec<i64> = [axis].into_iter().chain((0..=dims.len()).filter(|&a| a != axis)).map(|a| a as i64).collect();
    let y = make::transpose(r.b, cut, &order)?;
    one(if drops_axis { crate::ops::shape::squeeze(r.b, y, Some(&[axis as i64 + 1]))? } else { y })
}

/// All entries along an axis that they have, or along a new one (`new_axis`).
fn concat(r: &mut Rule<'_, '_>) -> Spelled {
    let sequence = r.input(0)?;
    let dims = sizes::sizes_of(r.b, sequence)?;
    let is_new = r.int_or("new_axis", 0) != 0;
    let Some(own) = dims.len().checked_sub(1) else { return Err(Misfit::new("a scalar is no sequence")) };
    let axis = axis_in(r.int_or("axis", 0), if is_new { own + 1 } else { own })?;
    // The entries' number goes before that axis.
    let mut order: Vec<i64> = (1..=own as i64).collect();
    order.insert(axis, 0);
    let y = make::transpose(r.b, sequence, &order)?;
    if is_new {
        return one(y);
    }
    let mut shape: Vec<Size> = order.iter().map(|&a| dims[a as usize]).collect();
    let both = sizes::times(r.b, shape[axis], shape[axis + 1])?;
    shape.splice(axis..=axis + 1, [both]);
    one(sizes::reshape(r.b, y, &shape)?)
}
