//! Spellings of TensorFlow ops: reductions, running totals, segments, positions of extremes.

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::make;
use crate::ops::reduce::{ArgReduce, Cumulative, CumulativeFn, ReduceFn, SegmentFn, SegmentReduce, TopK};
use crate::program::{Builder, Misfit, Value};
use crate::tensor::DType;

use super::rows;

pub const RULES: &[Spelling] = rows! {
    "Sum" => |r| reduce(r, ReduceFn::Sum);
    "Mean" => |r| reduce(r, ReduceFn::Mean);
    "Max" => |r| reduce(r, ReduceFn::Max);
    "Min" => |r| reduce(r, ReduceFn::Min);
    "Prod" => |r| reduce(r, ReduceFn::Prod);
    "All" => |r| reduce(r, ReduceFn::All);
    "Any" => |r| reduce(r, ReduceFn::Any);
    "EuclideanNorm" => euclidean_norm;
    "L2Loss" => l2_loss;
    "ArgMax" => |r| arg(r, true);
    "ArgMin" => |r| arg(r, false);
    "Cumsum" => |r| cumulative(r, CumulativeFn::Sum);
    "Cumprod" => |r| cumulative(r, CumulativeFn::Prod);
    "CumulativeLogsumexp" => |r| cumulative(r, CumulativeFn::LogSumExp);
    "TopK" => top_k;
    "TopKV2" => top_k;
    "NthElement" => nth_element;
    "InTopK" => in_top_k;
    "InTopKV2" => in_top_k;
    "SegmentSum" => |r| segment(r, SegmentFn::Sum);
    "SegmentMean" => |r| segment(r, SegmentFn::Mean);
    "SegmentMax" => |r| segment(r, SegmentFn::Max);
    "SegmentMin" => |r| segment(r, SegmentFn::Min);
    "SegmentProd" => |r| segment(r, SegmentFn::Prod);
    "UnsortedSegmentSum" => |r| unsorted_segment(r, SegmentFn::Sum);
    "UnsortedSegmentMax" => |r| unsorted_segment(r, SegmentFn::Max);
    "UnsortedSegmentMin" => |r| unsorted_segment(r, SegmentFn::Min);
    "UnsortedSegmentProd" => |r| unsorted_segment(r, SegmentFn::Prod);
    "SparseSegmentSum" => |r| sparse_segment(r, SegmentFn::Sum, false);
    "SparseSegmentMean" => |r| sparse_segment(r, SegmentFn::Mean, false);
    "SparseSegmentSqrtN" => |r| sparse_segment(r, SegmentFn::Sum, true);
    "Bincount" => bincount;
    "DenseBincount" => bincount;
};

fn keep_dims(r: &Rule<'_, '_>) -> bool {
    r.bool_or("keep_dims", r.bool_or("keepdims", false))
}

fn reduce(r: &mut Rule<'_, '_>, f: ReduceFn) -> Result<Outputs, Misfit> {
    let (x, axes, keep) = (r.input(0)?, r.input(1)?, keep_dims(r));
    Ok(smallvec![make::reduce(r.b, f, x, axes, keep)?])
}

fn euclidean_norm(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (x, axes, keep) = (r.input(0)?, r.input(1)?, keep_dims(r));
    let s = make::square(r.b, x)?;
    let s = make::reduce(r.b, ReduceFn::Sum, s, axes, keep)?;
    Ok(smallvec![make::sqrt(r.b, s)?])
}

fn l2_loss(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let x = r.input(0)?;
    let s = make::square(r.b, x)?;
    let s = make::sum_all(r.b, s)?;
    Ok(smallvec![make::mul_scalar(r.b, s, 0.5)?])
}

fn arg(r: &mut Rule<'_, '_>, largest: bool) -> Result<Outputs, Misfit> {
    let (x, axis) = (r.input(0)?, r.input(1)?);
    let to = r.type_attr("output_type").unwrap_or(DType::I64);
    Ok(smallvec![r.b.op(ArgReduce { largest, last: false, keep_dims: false, to }, &[x, axis])?])
}

fn cumulative(r: &mut Rule<'_, '_>, f: CumulativeFn) -> Result<Outputs, Misfit> {
    let (x, axis) = (r.input(0)?, r.input(1)?);
    let op = Cumulative { f, exclusive: r.bool_or("exclusive", false), reverse: r.bool_or("reverse", false) };
    Ok(smallvec![r.b.op(op, &[x, axis])?])
}

fn top_k(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let x = r.input(0)?;
    let k = if r.has_input(1) { r.input(1)? } else { make::scalar(r.b, DType::I32, r.int_or("k", 1) as f64) };
    let to = r.type_attr("index_type").unwrap_or(DType::I32);
    r.b.op_n(std::sync::Arc::new(TopK { axis: -1, largest: true, to }), &[x, k])
}

/// The last of the n + 1 smallest (largest).
fn nth_element(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (x, n) = (r.input(0)?, r.input(1)?);
    let k = make::add_scalar(r.b, n, 1.0)?;
    let op = TopK { axis: -1, largest: r.bool_or("reverse", false), to: DType::I32 };
    let best = r.b.op_n(std::sync::Arc::new(op), &[x, k])?;
    Ok(smallvec![make::gather(r.b, best[0], n, -1)?])
}

/// Whether fewer than k classes score higher than the target.
fn in_top_k(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (scores, targets) = (r.input(0)?, r.input(1)?);
    let k = if r.has_input(2) {
        let k = r.input(2)?;
        make::cast(r.b, k, DType::I32)?
    } else {
        make::scalar(r.b, DType::I32, r.int_or("k", 1) as f64)
    };
    let own = r.b.op(crate::ops::index::Gather { axis: 1, batch_dims: 1 }, &[scores, targets])?;
    let column = make::expand_dims(r.b, own, -1)?;
    let higher = make::greater(r.b, scores, column)?;
    let higher = make::cast(r.b, higher, DType::I32)?;
    let count = make::reduce_sum(r.b, higher, &[1], false)?;
    let fewer = make::less(r.b, count, k)?;
    let finite = make::unary(r.b, crate::ops::elementwise::UnaryFn::IsFinite, own)?;
    Ok(smallvec![make::and(r.b, fewer, finite)?])
}

/// One more than the largest segment id.
fn n_segments(b: &mut Builder, ids: Value) -> Result<Value, Misfit> {
    let axes = make::all_axes(b, ids)?;
    let last = make::reduce(b, ReduceFn::Max, ids, axes, false)?;
    make::add_scalar(b, last, 1.0)
}

fn segment(r: &mut Rule<'_, '_>, f: SegmentFn) -> Result<Outputs, Misfit> {
    let (x, ids) = (r.input(0)?, r.input(1)?);
    let n = n_segments(r.b, ids)?;
    Ok(smallvec![r.b.op(SegmentReduce { f, empty_is_zero: true }, &[x, ids, n])?])
}

fn unsorted_segment(r: &mut Rule<'_, '_>, f: SegmentFn) -> Result<Outputs, Misfit> {
    let inputs = [r.input(0)?, r.input(1)?, r.input(2)?];
    Ok(smallvec![r.b.op(SegmentReduce { f, empty_is_zero: false }, &inputs)?])
}

fn sparse_segment(r: &mut Rule<'_, '_>, f: SegmentFn, root: bool) -> Result<Outputs, Misfit> {
    let (x, positions, ids) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let rows = make::gather(r.b, x, positions, 0)?;
    let n = n_segments(r.b, ids)?;
    let sum = r.b.op(SegmentReduce { f, empty_is_zero: true }, &[rows, ids, n])?;
    if !root {
        return Ok(smallvec![sum]);
    }
    let ones = make::ones_like(r.b, rows)?;
    let count = r.b.op(SegmentReduce { f, empty_is_zero: true }, &[ones, ids, n])?;
    let scale = make::sqrt(r.b, count)?;
    Ok(smallvec![make::binary(r.b, crate::ops::elementwise::BinaryFn::DivNoNan, sum, scale)?])
}

/// How often each number occurs, or the sum of its weights.
fn bincount(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (x, size, weights) = (r.input(0)?, r.input(1)?, r.input(2)?);
    if r.b.fact(x).rank().is_some_and(|rank| rank > 1) && r.node.op == "DenseBincount" {
        return Err(Misfit::new("counting row by row is not supported"));
    }
    let binary = r.bool_or("binary_output", false);
    let b = &mut *r.b;
    let ids = make::reshape(b, x, &[-1])?;
    let unweighted = b.fact(weights).dims().is_some_and(|d| d.contains(&0));
    let rows = if unweighted || binary {
        let like = make::scalar_like(b, weights, 1.0);
        make::broadcast_like(b, like, ids)?
    } else {
        make::reshape(b, weights, &[-1])?
    };
    let f = if binary { SegmentFn::Max } else { SegmentFn::Sum };
    Ok(smallvec![b.op(SegmentReduce { f, empty_is_zero: true }, &[rows, ids, size])?])
}
