//! Spellings of TensorFlow ops: sparse tensors, which are three dense ones: coordinates `[n, rank]`, values `[n]`, shape.

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::elementwise::BinaryFn;
use crate::ops::index::{NonZero, ScatterFn, ScatterNd};
use crate::ops::make;
use crate::ops::reduce::{ReduceFn, SegmentFn, SegmentReduce, TopK};
use crate::program::{Misfit, Value};
use crate::tensor::DType;

use super::search::{strides_of, unravel};
use super::{arrays, rows};

pub const RULES: &[Spelling] = rows! {
    "SparseTensorDenseMatMul" => product;
    "SparseReshape" => reshape;
    "SparseFillEmptyRows" => fill_empty_rows;
    "SparseSegmentSumWithNumSegments" => |r| segment(r, SegmentFn::Sum, false);
    "SparseSegmentMeanWithNumSegments" => |r| segment(r, SegmentFn::Mean, false);
    "SparseSegmentSqrtNWithNumSegments" => |r| segment(r, SegmentFn::Sum, true);
};

/// One column of the coordinates, `[n]`.
fn column(r: &mut Rule<'_, '_>, at: Value, i: i64) -> Result<Value, Misfit> {
    let part = make::slice(r.b, at, &[0, i], &[-1, 1])?;
    make::reshape(r.b, part, &[-1])
}

/// Element `i` of a vector, a scalar.
fn element(r: &mut Rule<'_, '_>, v: Value, i: i64) -> Result<Value, Misfit> {
    let part = make::slice(r.b, v, &[i], &[1])?;
    make::reshape(r.b, part, &[])
}

fn segment_sum(r: &mut Rule<'_, '_>, x: Value, ids: Value, n: Value) -> Result<Value, Misfit> {
    r.b.op(SegmentReduce { f: SegmentFn::Sum, empty_is_zero: true }, &[x, ids, n])
}

/// Inputs coordinates, values, shape of a sparse matrix, a dense matrix: each entry adds its multiple of a row.
fn product(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (at, values, shape, mut dense) = (r.input(0)?, r.input(1)?, r.input(2)?, r.input(3)?);
    let (to, from) = if r.bool_or("adjoint_a", false) { (1, 0) } else { (0, 1) };
    if r.bool_or("adjoint_b", false) {
        dense = make::transpose(r.b, dense, &[1, 0])?;
    }
    let (to_row, from_row) = (column(r, at, to)?, column(r, at, from)?);
    let n = element(r, shape, to)?;
    let read = make::gather(r.b, dense, from_row, 0)?;
    let values = make::reshape(r.b, values, &[-1, 1])?;
    let shares = make::mul(r.b, read, values)?;
    Ok(smallvec![segment_sum(r, shares, to_row, n)?])
}

fn product_of(r: &mut Rule<'_, '_>, v: Value) -> Result<Value, Misfit> {
    let axes = r.ints_literal(&[0]);
    make::reduce(r.b, ReduceFn::Prod, v, axes, false)
}

/// Inputs coordinates, shape, new shape (one size may be -1); outputs the new coordinates and shape.
fn reshape(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (at, shape, wanted) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let strides = strides_of(r, shape)?;
    let flat = make::mul(r.b, at, strides)?;
    let flat = make::reduce_sum(r.b, flat, &[-1], false)?;
    let (all, zero) = (product_of(r, shape)?, make::scalar(r.b, DType::I64, 0.0));
    let one = make::scalar(r.b, DType::I64, 1.0);
    let is_open = make::less(r.b, wanted, zero)?;
    let stated = make::select(r.b, is_open, one, wanted)?;
    let stated = product_of(r, stated)?;
    let rest = make::binary(r.b, BinaryFn::FloorDiv, all, stated)?;
    let new = make::select(r.b, is_open, rest, wanted)?;
    Ok(smallvec![unravel(r, flat, new, false)?, new])
}

/// Inputs coordinates, values, shape, default. Rows without an entry get the default in column 0; entries come row by
/// row. Outputs coordinates, values, which rows were empty, where each entry went.
fn fill_empty_rows(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (at, values, shape, default) = (r.input(0)?, r.input(1)?, r.input(2)?, r.input(3)?);
    let rank = r.fact(0)?.shape.dim(1).ok_or_else(|| Misfit::new("the number of axes must be known"))?;
    let own_rows = column(r, at, 0)?;
    let n_rows = element(r, shape, 0)?;
    let ones = make::ones_like(r.b, own_rows)?;
    let count = segment_sum(r, ones, own_rows, n_rows)?;
    let zero = make::scalar(r.b, DType::I64, 0.0);
    let is_empty = make::equal(r.b, count, zero)?;
    let empty = r.b.op(NonZero, &[is_empty])?;
    let new_at = make::pad(r.b, empty, &[(0, 0), (0, rank as i64 - 1)])?;
    let empty_rows = make::reshape(r.b, empty, &[-1])?;
    let n_empty = make::shape_of(r.b, empty_rows)?;
    let new_values = make::broadcast_to(r.b, default, n_empty)?;
    let all_at = make::concat(r.b, &[at, new_at], 0)?;
    let all_values = make::concat(r.b, &[values, new_values], 0)?;
    let keys = make::concat(r.b, &[own_rows, empty_rows], 0)?;
    // Of equal rows the earlier entry stays first.
    let total = make::shape_of(r.b, keys)?;
    let total = make::reshape(r.b, total, &[])?;
    let sort = TopK { axis: -1, largest: false, to: DType::I64 };
    let order = r.b.op_n(std::sync::Arc::new(sort), &[keys, total])?[1];
    let out_at = make::gather(r.b, all_at, order, 0)?;
    let out_values = make::gather(r.b, all_values, order, 0)?;
    let places = arrays::range(r, total)?;
    let base = make::zeros_like(r.b, order)?;
    let column = make::reshape(r.b, order, &[-1, 1])?;
    let inverse = r.b.op(ScatterNd { f: ScatterFn::Update }, &[base, column, places])?;
    let n_own = make::shape_of(r.b, own_rows)?;
    let begin = r.ints_literal(&[0]);
    let inverse = r.b.op(crate::ops::shape::Slice, &[inverse, begin, n_own])?;
    Ok(smallvec![out_at, out_values, is_empty, inverse])
}

/// Inputs x, rows, segments, number of segments.
fn segment(r: &mut Rule<'_, '_>, f: SegmentFn, root: bool) -> Result<Outputs, Misfit> {
    let (x, positions, ids, n) = (r.input(0)?, r.input(1)?, r.input(2)?, r.input(3)?);
    let read = make::gather(r.b, x, positions, 0)?;
    let sum = r.b.op(SegmentReduce { f, empty_is_zero: true }, &[read, ids, n])?;
    if !root {
        return Ok(smallvec![sum]);
    }
    let ones = make::ones_like(r.b, read)?;
    let count = segment_sum(r, ones, ids, n)?;
    let scale = make::sqrt(r.b, count)?;
    Ok(smallvec![make::binary(r.b, BinaryFn::DivNoNan, sum, scale)?])
}
