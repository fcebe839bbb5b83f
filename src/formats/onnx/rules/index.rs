//! Spellings of ONNX ops: reading and writing at positions, counting up, choosing.

use smallvec::smallvec;

use crate::lower::{Rule, Spelling};
use crate::ops::index::{
    Gather, GatherElements, GatherNd, NonZero, OneHot, Range, ScatterElements, ScatterFn, ScatterNd, Unique,
};
use crate::ops::make;
use crate::ops::shape::Slice;
use crate::program::{Misfit, Value};
use crate::tensor::DType;

use super::arrays::two_axes;
use super::common::{Spelled, axis_in, one, rank, rows};

pub const RULES: &[Spelling] = rows! {
    "Gather" => gather;
    "GatherElements" => gather_elements;
    "GatherND" => gather_nd;
    "ScatterElements" => scatter_elements;
    "Scatter" => scatter_elements;
    "ScatterND" => scatter_nd;
    "TensorScatter" => tensor_scatter;
    "OneHot" => one_hot;
    "Range" => range;
    "NonZero" => non_zero;
    "Compress" => compress;
    "Unique" => unique;
};

fn gather(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, at) = (r.input(0)?, r.input(1)?);
    one(r.b.op(Gather { axis: r.int_or("axis", 0), batch_dims: 0 }, &[x, at])?)
}

fn gather_elements(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, at) = (r.input(0)?, r.input(1)?);
    one(r.b.op(GatherElements { axis: r.int_or("axis", 0) }, &[x, at])?)
}

/// With batch axes: one row of positions per batch entry, the entry's number in front of each.
fn gather_nd(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, at) = (r.input(0)?, r.input(1)?);
    let batch = usize::try_from(r.int_or("batch_dims", 0)).unwrap_or(0);
    if batch == 0 {
        return one(r.b.op(GatherNd, &[x, at])?);
    }
    let at = make::cast(r.b, at, DType::I64)?;
    let dims = r.b.fact(at).dims().ok_or_else(|| Misfit::new("the shape of the positions must be known"))?;
    if batch >= dims.len() {
        return Err(Misfit(format!("{batch} batch axes of positions of {} axes", dims.len())));
    }
    let lead: Vec<i64> = dims[..dims.len() - 1].iter().map(|&d| d as i64).chain([1]).collect();
    let mut parts = Vec::new();
    for (axis, &size) in dims[..batch].iter().enumerate() {
        let numbers: Vec<i64> = (0..size as i64).collect();
        let numbers = r.ints_literal(&numbers);
        let numbers = super::common::along(r.b, numbers, axis, dims.len())?;
        let lead = r.ints_literal(&lead);
        parts.push(make::broadcast_to(r.b, numbers, lead)?);
    }
    parts.push(at);
    let at = make::concat(r.b, &parts, -1)?;
    one(r.b.op(GatherNd, &[x, at])?)
}

fn scatter_fn(r: &Rule<'_, '_>) -> Result<ScatterFn, Misfit> {
    Ok(match r.str_or("reduction", "none") {
        "none" => ScatterFn::Update,
        "add" => ScatterFn::Add,
        "mul" => ScatterFn::Mul,
        "max" => ScatterFn::Max,
        "min" => ScatterFn::Min,
        other => return Err(Misfit(format!("unknown reduction {other:?}"))),
    })
}

fn scatter_elements(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, at, new) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let op = ScatterElements { axis: r.int_or("axis", 0), f: scatter_fn(r)? };
    one(r.b.op(op, &[x, at, new])?)
}

fn scatter_nd(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, at, new) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let op = ScatterNd { f: scatter_fn(r)? };
    one(r.b.op(op, &[x, at, new])?)
}

/// Writes `update` into a cache from `write_indices[b]` on, along an axis; circular where asked for.
fn tensor_scatter(r: &mut Rule<'_, '_>) -> Spelled {
    let (past, new) = (r.input(0)?, r.input(1)?);
    let dims = r.b.fact(past).dims().ok_or_else(|| Misfit::new("the shape must be known"))?;
    let update = r.b.fact(new).dims().ok_or_else(|| Misfit::new("the shape must be known"))?;
    let axis = axis_in(r.int_or("axis", -2), dims.len())?;
    let n = update.len();
    if n != dims.len() {
        return Err(Misfit(format!("an update {update:?} for a cache {dims:?}")));
    }
    let steps: Vec<i64> = (0..update[axis] as i64).collect();
    let steps = r.ints_literal(&steps);
    let mut at = super::common::along(r.b, steps, axis, n)?;
    if r.has_input(2) {
        let start = r.input(2)?;
        let start = make::cast(r.b, start, DType::I64)?;
        let start = super::common::along(r.b, start, 0, n)?;
        at = make::add(r.b, at, start)?;
    }
    if r.str_or("mode", "linear") == "circular" {
        let size = make::scalar(r.b, DType::I64, dims[axis] as f64);
        at = make::binary(r.b, crate::ops::elementwise::BinaryFn::FloorMod, at, size)?;
    }
    let shape = r.ints_literal(&update.iter().map(|&d| d as i64).collect::<Vec<_>>());
    let at = make::broadcast_to(r.b, at, shape)?;
    one(r.b.op(ScatterElements { axis: axis as i64, f: ScatterFn::Update }, &[past, at, new])?)
}

/// Values are `[off, on]`.
fn one_hot(r: &mut Rule<'_, '_>) -> Spelled {
    let (at, depth, values) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let at = if r.b.fact(at).dtype.is_int() { at } else { make::cast(r.b, at, DType::I64)? };
    let depth = make::cast(r.b, depth, DType::I64)?;
    let depth = make::reshape(r.b, depth, &[])?;
    let mut value = |i: i64| -> Result<Value, Misfit> {
        let (begin, size) = (make::ints(r.b, &[i]), make::ints(r.b, &[1]));
        let v = r.b.op(Slice, &[values, begin, size])?;
        make::reshape(r.b, v, &[])
    };
    let (off, on) = (value(0)?, value(1)?);
    one(r.b.op(OneHot { axis: r.int_or("axis", -1), wrap: true }, &[at, depth, on, off])?)
}

fn range(r: &mut Rule<'_, '_>) -> Spelled {
    let mut bounds = r.all_inputs()?;
    for v in &mut bounds {
        *v = make::reshape(r.b, *v, &[])?;
    }
    one(r.b.op(Range, &bounds)?)
}

/// One column per element that is not 0: our rows, transposed.
fn non_zero(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let rows = r.b.op(NonZero, &[x])?;
    one(make::transpose(r.b, rows, &[1, 0])?)
}

/// The entries along an axis (or of all elements in a row) where the condition holds.
fn compress(r: &mut Rule<'_, '_>) -> Spelled {
    let (mut x, mut keep) = (r.input(0)?, r.input(1)?);
    let axis = match r.attr("axis").and_then(crate::graph::Attr::as_int) {
        Some(axis) => axis_in(axis, rank(r.b, x)?)?,
        None => {
            x = make::reshape(r.b, x, &[-1])?;
            0
        }
    };
    // The condition may be shorter than the axis.
    let dims = r.b.fact(x).shape.dim(axis);
    if let (Some(n), Some(m)) = (dims, r.b.fact(keep).shape.dim(0))
        && m > n
    {
        keep = make::slice(r.b, keep, &[0], &[n as i64])?;
    }
    let at = r.b.op(NonZero, &[keep])?;
    let at = make::reshape(r.b, at, &[-1])?;
    one(make::gather(r.b, x, at, axis as i64)?)
}

/// Outputs: distinct entries, first positions, index of each entry's own, counts. Along an axis, entries are slices.
fn unique(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let sorted = r.int_or("sorted", 1) != 0;
    let op = Unique { sorted, to: DType::I64 };
    let Some(axis) = r.attr("axis").and_then(crate::graph::Attr::as_int) else {
        let flat = make::reshape(r.b, x, &[-1])?;
        let out = r.b.op_n(std::sync::Arc::new(op), &[flat])?;
        let [values, index, counts, first] = out[..] else { return Err(Misfit::new("four outputs were expected")) };
        return Ok(smallvec![values, first, index, counts]);
    };
    let n = rank(r.b, x)?;
    let axis = axis_in(axis, n)?;
    let mut perm: Vec<i64> = (0..n as i64).filter(|&a| a != axis as i64).collect();
    perm.insert(0, axis as i64);
    let front = make::transpose(r.b, x, &perm)?;
    let rows = two_axes(r.b, front, 1)?;
    let out = r.b.op_n(std::sync::Arc::new(crate::ops::index::UniqueRows { sorted }), &[rows])?;
    let [first, index, counts] = out[..] else { return Err(Misfit::new("three outputs were expected")) };
    let values = make::gather(r.b, x, first, axis as i64)?;
    Ok(smallvec![values, first, index, counts])
}
