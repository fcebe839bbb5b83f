//! Spellings of TensorFlow ops: sparse tensors put in order, added, joined, cut and reduced. Positions are compared as the
//! numbers that they have in a dense tensor.

use std::sync::Arc;

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::elementwise::{BinaryFn, StopGradient};
use crate::ops::index::{GatherNd, NonZero, Unique};
use crate::ops::make;
use crate::ops::reduce::{ReduceFn, SegmentFn, SegmentReduce, TopK};
use crate::program::{Misfit, Value};
use crate::tensor::DType;

use super::rows;
use super::search::{strides_of, unravel};

pub const RULES: &[Spelling] = rows! {
    "SparseReorder" => reorder;
    "SparseConcat" => concat;
    "SparseSlice" => slice;
    "SparseAdd" => add;
    "SparseDenseCwiseMul" => |r| with_dense(r, BinaryFn::Mul);
    "SparseDenseCwiseDiv" => |r| with_dense(r, BinaryFn::Div);
    "SparseReduceSum" => |r| reduce(r, SegmentFn::Sum);
    "SparseReduceMax" => |r| reduce(r, SegmentFn::Max);
    "SparseSoftmax" => softmax;
};

/// The number of each position `[n, rank]` in a dense tensor of that shape, `[n]`.
fn numbered(r: &mut Rule<'_, '_>, at: Value, shape: Value) -> Result<Value, Misfit> {
    let strides = strides_of(r, shape)?;
    let parts = make::mul(r.b, at, strides)?;
    make::reduce_sum(r.b, parts, &[-1], false)
}

fn product(r: &mut Rule<'_, '_>, sizes: Value) -> Result<Value, Misfit> {
    let axes = r.ints_literal(&[0]);
    make::reduce(r.b, ReduceFn::Prod, sizes, axes, false)
}

fn ordered(r: &mut Rule<'_, '_>, at: Value, values: Value, shape: Value) -> Result<(Value, Value), Misfit> {
    let keys = numbered(r, at, shape)?;
    let n = make::shape_of(r.b, keys)?;
    let n = make::reshape(r.b, n, &[])?;
    let sort = TopK { axis: -1, largest: false, to: DType::I64 };
    let order = r.b.op_n(Arc::new(sort), &[keys, n])?[1];
    Ok((make::gather(r.b, at, order, 0)?, make::gather(r.b, values, order, 0)?))
}

fn reorder(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (at, values, shape) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let (at, values) = ordered(r, at, values, shape)?;
    Ok(smallvec![at, values])
}

/// The number of axes, from the positions `[n, rank]`.
fn rank_of(r: &Rule<'_, '_>, input: usize) -> Result<i64, Misfit> {
    let rank = r.fact(input)?.shape.dim(1).filter(|&rank| rank >= 1);
    rank.map(|r| r as i64).ok_or_else(|| Misfit::new("the number of axes must be known"))
}

/// Inputs: all positions, all values, all shapes.
fn concat(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let n = r.inputs.len() / 3;
    if n == 0 || r.inputs.len() != 3 * n {
        return Err(Misfit(format!("{} inputs are no list of sparse tensors", r.inputs.len())));
    }
    let rank = rank_of(r, 0)?;
    let axis = r.int_or("concat_dim", 0);
    let axis = if axis < 0 { axis + rank } else { axis };
    if !(0..rank).contains(&axis) {
        return Err(Misfit(format!("concat_dim {axis} is outside rank {rank}")));
    }
    let is_axis: Vec<i64> = (0..rank).map(|a| i64::from(a == axis)).collect();
    let is_axis = r.ints_literal(&is_axis);
    let (mut all_at, mut all_values, mut shift) = (Vec::new(), Vec::new(), None);
    for i in 0..n {
        let (at, own) = (r.input(i)?, r.input(2 * n + i)?);
        all_at.push(match shift {
            None => at,
            Some(shift) => make::add(r.b, at, shift)?,
        });
        all_values.push(r.input(n + i)?);
        let own = make::mul(r.b, own, is_axis)?;
        shift = Some(match shift {
            None => own,
            Some(shift) => make::add(r.b, shift, own)?,
        });
    }
    let first = r.input(2 * n)?;
    let own = make::mul(r.b, first, is_axis)?;
    let others = make::sub(r.b, first, own)?;
    let shape = make::add(r.b, others, shift.unwrap_or(own))?;
    let (at, values) = (make::concat(r.b, &all_at, 0)?, make::concat(r.b, &all_values, 0)?);
    let (at, values) = ordered(r, at, values, shape)?;
    Ok(smallvec![at, values, shape])
}

/// Inputs positions, values, shape, where the part begins, its size.
fn slice(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (at, values, shape, begin, size) = (r.input(0)?, r.input(1)?, r.input(2)?, r.input(3)?, r.input(4)?);
    let end = make::add(r.b, begin, size)?;
    let (above, below) = (make::greater_equal(r.b, at, begin)?, make::less(r.b, at, end)?);
    let inside = make::and(r.b, above, below)?;
    let axes = r.ints_literal(&[1]);
    let inside = make::reduce(r.b, ReduceFn::All, inside, axes, false)?;
    let kept = r.b.op(NonZero, &[inside])?;
    let kept = make::reshape(r.b, kept, &[-1])?;
    let at = make::gather(r.b, at, kept, 0)?;
    let at = make::sub(r.b, at, begin)?;
    let left = make::sub(r.b, shape, begin)?;
    let zero = make::scalar(r.b, DType::I64, 0.0);
    let new = make::minimum(r.b, size, left)?;
    let new = make::maximum(r.b, new, zero)?;
    Ok(smallvec![at, make::gather(r.b, values, kept, 0)?, new])
}

/// Inputs positions, values and shape of both, and a threshold, which must be 0.
fn add(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    if r.fact(6)?.scalar() != Some(0.0) {
        return Err(Misfit::new("leaving out small sums (thresh above 0) is not supported"));
    }
    let shape = r.input(2)?;
    let (at, other) = (r.input(0)?, r.input(3)?);
    let at = make::concat(r.b, &[at, other], 0)?;
    let (values, other) = (r.input(1)?, r.input(4)?);
    let values = make::concat(r.b, &[values, other], 0)?;
    let keys = numbered(r, at, shape)?;
    let found = r.b.op_n(Arc::new(Unique { sorted: true, to: DType::I64 }), &[keys])?;
    let n = make::shape_of(r.b, found[0])?;
    let n = make::reshape(r.b, n, &[])?;
    let sums = r.b.op(SegmentReduce { f: SegmentFn::Sum, empty_is_zero: true }, &[values, found[1], n])?;
    Ok(smallvec![unravel(r, found[0], shape, false)?, sums, shape])
}

/// Inputs positions, values, shape, a dense tensor that is broadcast to it; output the new values.
fn with_dense(r: &mut Rule<'_, '_>, f: BinaryFn) -> Result<Outputs, Misfit> {
    let (at, values, shape, dense) = (r.input(0)?, r.input(1)?, r.input(2)?, r.input(3)?);
    let dense = make::broadcast_to(r.b, dense, shape)?;
    let read = r.b.op(GatherNd, &[dense, at])?;
    Ok(smallvec![make::binary(r.b, f, values, read)?])
}

/// Inputs positions, values, shape, axes; only what is there is reduced, nothing gives 0.
fn reduce(r: &mut Rule<'_, '_>, f: SegmentFn) -> Result<Outputs, Misfit> {
    let (at, values, shape) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let (rank, axes) = (rank_of(r, 0)?, r.ints(3)?);
    if axes.iter().any(|a| !(-rank..rank).contains(a)) {
        return Err(Misfit(format!("axes {axes:?} are outside rank {rank}")));
    }
    let is_reduced = |axis: &i64| axes.is_empty() || axes.iter().any(|a| (a + rank) % rank == *axis);
    let kept: Vec<i64> = (0..rank).filter(|a| !is_reduced(a)).collect();
    let kept_axes = r.ints_literal(&kept);
    let sizes = make::gather(r.b, shape, kept_axes, 0)?;
    let groups = product(r, sizes)?;
    let own = make::gather(r.b, at, kept_axes, 1)?;
    let ids = numbered(r, own, sizes)?;
    let y = r.b.op(SegmentReduce { f, empty_is_zero: true }, &[values, ids, groups])?;
    let new = if r.bool_or("keep_dims", false) {
        let mask: Vec<i64> = (0..rank).map(|a| i64::from(is_reduced(&a))).collect();
        let (mask, one) = (r.ints_literal(&mask), r.ints_literal(&[1]));
        let is_one = make::equal(r.b, mask, one)?;
        make::select(r.b, is_one, one, shape)?
    } else {
        sizes
    };
    Ok(smallvec![make::reshape_to(r.b, y, new)?])
}

/// Inputs positions, values, shape; over what is there in each innermost row.
fn softmax(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (at, values, shape) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let rank = rank_of(r, 0)?;
    let own = make::slice(r.b, at, &[0, 0], &[-1, rank - 1])?;
    let sizes = make::slice(r.b, shape, &[0], &[rank - 1])?;
    let groups = product(r, sizes)?;
    let ids = numbered(r, own, sizes)?;
    let most = r.b.op(SegmentReduce { f: SegmentFn::Max, empty_is_zero: true }, &[values, ids, groups])?;
    let most = r.b.op(StopGradient, &[most])?;
    let most = make::gather(r.b, most, ids, 0)?;
    let e = make::sub(r.b, values, most)?;
    let e = make::exp(r.b, e)?;
    let sums = r.b.op(SegmentReduce { f: SegmentFn::Sum, empty_is_zero: true }, &[e, ids, groups])?;
    let sums = make::gather(r.b, sums, ids, 0)?;
    Ok(smallvec![make::div(r.b, e, sums)?])
}
