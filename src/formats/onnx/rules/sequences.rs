//! Spellings of ONNX sequences. A sequence is one value: dense `[n, …]` where it grows in a loop or goes through a branch,
//! and the instruction that puts its entries together where those are known one by one; then they may have different
//! shapes, and who reads an entry reads the tensor itself.

use crate::lower::{Rule, Spelling};
use crate::ops::control::EmptyStack;
use crate::ops::make;
use crate::ops::opaque::Opaque;
use crate::ops::shape::{Append, Entries};
use crate::ops::sizes::{self, Size};
use crate::program::{Builder, Misfit, Value};
use crate::tensor::{DType, PartialShape, Tensor};

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
    "SequenceMap" => |_| Err(Misfit::new("tensors before sequences among its inputs are not supported"));
    "Optional" => |r| if r.has_input(0) { one(r.input(0)?) } else { Err(Misfit::new(EMPTY_OPTIONAL)) };
    "OptionalHasElement" => has_element;
    "OptionalGetElement" => |r| one(r.input(0)?);
};

const EMPTY_OPTIONAL: &str = "an optional without a value";

/// An optional is the value in it; an empty one is made by an Optional without input, or by leaving the input out.
fn has_element(r: &mut Rule<'_, '_>) -> Spelled {
    let is_there = match r.inputs.first().copied().flatten() {
        None => false,
        Some(v) => {
            let maker = r.b.program().producer(v).and_then(|(_, i)| i.op_as::<Opaque>());
            !maker.is_some_and(|o| o.op == "Optional" && o.reason == EMPTY_OPTIONAL)
        }
    };
    one(r.b.literal(Tensor::from_bools(&[], &[is_there])))
}

/// Entries that one split may make.
const MAX_PARTS: usize = 1 << 12;

fn construct(r: &mut Rule<'_, '_>) -> Spelled {
    let parts = r.all_inputs()?;
    one(r.b.op(Entries, &parts)?)
}

fn empty(r: &mut Rule<'_, '_>) -> Spelled {
    let dtype = type_of(r, "dtype")?.unwrap_or(DType::F32);
    let none = make::scalar(r.b, DType::I64, 0.0);
    one(r.b.op(EmptyStack { dtype, element: PartialShape::unknown() }, &[none])?)
}

/// The entries one by one, where the sequence is put together in sight.
fn parts_of(b: &Builder, sequence: Value) -> Option<Vec<Value>> {
    let mut behind = Vec::new();
    let mut at = sequence;
    loop {
        let (_, instr) = b.program().producer(at)?;
        if instr.op_as::<Entries>().is_some() {
            return Some(instr.inputs.iter().copied().chain(behind.into_iter().rev()).collect());
        }
        if instr.op_as::<EmptyStack>().is_some() && b.fact(instr.inputs[0]).ints() == Some(vec![0]) {
            behind.reverse();
            return Some(behind);
        }
        instr.op_as::<Append>()?;
        behind.push(instr.inputs[1]);
        at = instr.inputs[0];
    }
}

/// The number of entries, where it is known.
fn entries(b: &Builder, sequence: Value) -> Option<i64> {
    b.fact(sequence).shape.dim(0).map(|n| n as i64).or_else(|| Some(parts_of(b, sequence)?.len() as i64))
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
    if let (Some(at), Some(n)) = (at, n)
        && at > n
    {
        return Err(Misfit(format!("position {at} in a sequence of {n}")));
    }
    let is_last = at.is_none() || at == n;
    if let Some(mut parts) = parts_of(r.b, sequence).filter(|p| !is_last || !fits(r.b, p, entry)) {
        let at = at.and_then(|at| usize::try_from(at).ok()).map_or(parts.len(), |at| at.min(parts.len()));
        parts.insert(at, entry);
        return one(r.b.op(Entries, &parts)?);
    }
    match at {
        Some(at) if !is_last => {
            let n = n.ok_or_else(|| Misfit::new("the length of the sequence must be known"))?;
            let (before, after) = (rows_of(r, sequence, 0..at)?, rows_of(r, sequence, at..n)?);
            let own = make::expand_dims(r.b, entry, 0)?;
            one(make::concat(r.b, &[before, own, after], 0)?)
        }
        _ => one(r.b.op(Append, &[sequence, entry])?),
    }
}

/// Whether an entry is known to have the shape that the others have.
fn fits(b: &Builder, parts: &[Value], entry: Value) -> bool {
    let shape = &b.fact(entry).shape;
    parts.last().is_none_or(|&p| b.fact(p).shape == *shape && shape.is_known())
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
    if let Some(mut parts) = parts_of(r.b, sequence).filter(|p| p.len() > 1) {
        parts.remove(at as usize);
        return one(r.b.op(Entries, &parts)?);
    }
    let (before, after) = (rows_of(r, sequence, 0..at)?, rows_of(r, sequence, at + 1..n)?);
    one(make::concat(r.b, &[before, after], 0)?)
}

fn at(r: &mut Rule<'_, '_>) -> Spelled {
    let (sequence, wanted) = (r.input(0)?, r.input(1)?);
    if let (Some(parts), true) = (parts_of(r.b, sequence), known_ints(r.b, wanted).is_some()) {
        let at = position(r, 1, Some(parts.len() as i64))?.and_then(|at| usize::try_from(at).ok());
        let entry = at.and_then(|at| parts.get(at).copied());
        return one(entry.ok_or_else(|| Misfit(format!("no such position in a sequence of {}", parts.len())))?);
    }
    one(make::gather(r.b, sequence, wanted, 0)?)
}

fn length(r: &mut Rule<'_, '_>) -> Spelled {
    let sequence = r.input(0)?;
    if let Some(parts) = parts_of(r.b, sequence) {
        return one(make::scalar(r.b, DType::I64, parts.len() as f64));
    }
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
        let is_list = r.b.fact(given).rank() != Some(0);
        if is_list && (parts.iter().any(|&p| p != first) || first < 1) {
            return split_unequally(r, x, axis, &parts);
        }
        if let (false, Size::Known(n), true) = (is_list, dims[axis], first > 0)
            && n % first != 0
        {
            if n / first >= MAX_PARTS as i64 {
                return Err(Misfit(format!("{n} elements in parts of {first}")));
            }
            let parts: Vec<i64> = (0..(n + first - 1) / first).map(|i| first.min(n - i * first)).collect();
            return split_unequally(r, x, axis, &parts);
        }
        if first < 1 {
            return Err(Misfit(format!("parts of size {first}")));
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

/// Parts of the given sizes, each of which keeps the axis.
fn split_unequally(r: &mut Rule<'_, '_>, x: Value, axis: usize, parts: &[i64]) -> Spelled {
    let rank = rank(r.b, x)?;
    if parts.is_empty() || parts.len() > MAX_PARTS || parts.iter().any(|&p| p < 0) {
        return Err(Misfit(format!("{} parts in one sequence", parts.len())));
    }
    let mut out = Vec::with_capacity(parts.len());
    let mut from = 0i64;
    for &part in parts {
        let (mut begin, mut size) = (vec![0; rank], vec![-1; rank]);
        (begin[axis], size[axis]) = (from, part);
        out.push(make::slice(r.b, x, &begin, &size)?);
        from = from.checked_add(part).ok_or_else(|| Misfit::new("the parts are larger than any tensor"))?;
    }
    one(r.b.op(Entries, &out)?)
}

/// All entries along an axis that they have, or along a new one (`new_axis`).
fn concat(r: &mut Rule<'_, '_>) -> Spelled {
    let sequence = r.input(0)?;
    let is_new = r.int_or("new_axis", 0) != 0;
    if let Some(parts) = parts_of(r.b, sequence).filter(|p| !p.is_empty()) {
        let axis = r.int_or("axis", 0);
        return one(if is_new { stack(r.b, &parts, axis)? } else { make::concat(r.b, &parts, axis)? });
    }
    let dims = sizes::sizes_of(r.b, sequence)?;
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
