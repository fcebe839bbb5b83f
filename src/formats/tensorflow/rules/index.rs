//! Spellings of TensorFlow ops: gather, scatter, one-hot, ranges, unique, partitions.

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::index::{Gather, GatherNd, NonZero, OneHot, Range, ScatterFn, ScatterNd, SetDifference, Unique};
use crate::ops::make;
use crate::ops::reduce::ReduceFn;
use crate::ops::shape::ShapeOf;
use crate::program::{Misfit, Value};
use crate::tensor::{DType, shape};

use super::{dims, rows};

pub const RULES: &[Spelling] = rows! {
    "Gather" => gather_rows;
    "GatherV2" => gather;
    "ResourceGather" => gather_rows;
    "GatherNd" => gather_nd;
    "ResourceGatherNd" => gather_nd;
    "ScatterNd" => scatter_nd;
    "TensorScatterUpdate" => |r| tensor_scatter(r, ScatterFn::Update);
    "TensorScatterAdd" => |r| tensor_scatter(r, ScatterFn::Add);
    "TensorScatterSub" => |r| tensor_scatter(r, ScatterFn::Sub);
    "TensorScatterMax" => |r| tensor_scatter(r, ScatterFn::Max);
    "TensorScatterMin" => |r| tensor_scatter(r, ScatterFn::Min);
    "ScatterNdNonAliasingAdd" => |r| tensor_scatter(r, ScatterFn::Add);
    "SparseToDense" => sparse_to_dense;
    "OneHot" => one_hot;
    "Range" => range;
    "LinSpace" => lin_space;
    "Where" => non_zero;
    "Unique" => unique;
    "UniqueV2" => unique;
    "UniqueWithCounts" => unique;
    "UniqueWithCountsV2" => unique;
    "ListDiff" => list_diff;
    "DynamicPartition" => dynamic_partition;
    "DynamicStitch" => dynamic_stitch;
    "ParallelDynamicStitch" => dynamic_stitch;
    "ReverseSequence" => reverse_sequence;
};

type Spelled = Result<Outputs, Misfit>;

fn batch_dims(r: &Rule<'_, '_>) -> Result<usize, Misfit> {
    let given = r.int_or("batch_dims", 0);
    if given >= 0 {
        return Ok(given as usize);
    }
    let rank = r.fact(1)?.rank().ok_or_else(|| Misfit::new("negative batch_dims need a known rank"))?;
    usize::try_from(given + rank as i64).map_err(|_| Misfit(format!("batch_dims {given} for rank {rank}")))
}

fn gather_rows(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, at, batch_dims) = (r.input(0)?, r.input(1)?, batch_dims(r)?);
    Ok(smallvec![r.b.op(Gather { axis: batch_dims as i64, batch_dims }, &[x, at])?])
}

fn gather(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, at, axis, batch_dims) = (r.input(0)?, r.input(1)?, r.ints(2)?, batch_dims(r)?);
    let axis = axis.first().copied().ok_or_else(|| Misfit::new("the axis is empty"))?;
    Ok(smallvec![r.b.op(Gather { axis, batch_dims }, &[x, at])?])
}

fn gather_nd(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, at) = (r.input(0)?, r.input(1)?);
    Ok(smallvec![r.b.op(GatherNd, &[x, at])?])
}

fn scatter_nd(r: &mut Rule<'_, '_>) -> Spelled {
    let (at, updates, shape) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let zero = make::scalar_like(r.b, updates, 0.0);
    let base = make::broadcast_to(r.b, zero, shape)?;
    Ok(smallvec![r.b.op(ScatterNd { f: ScatterFn::Add }, &[base, at, updates])?])
}

fn tensor_scatter(r: &mut Rule<'_, '_>, f: ScatterFn) -> Spelled {
    let inputs = [r.input(0)?, r.input(1)?, r.input(2)?];
    Ok(smallvec![r.b.op(ScatterNd { f }, &inputs)?])
}

fn sparse_to_dense(r: &mut Rule<'_, '_>) -> Spelled {
    let (at, shape, values, default) = (r.input(0)?, r.input(1)?, r.input(2)?, r.input(3)?);
    let base = make::broadcast_to(r.b, default, shape)?;
    // A scalar or a vector of positions speaks about a vector.
    let at = match r.b.fact(at).rank() {
        Some(0 | 1) => make::reshape(r.b, at, &[-1, 1])?,
        _ => at,
    };
    // One value may stand for all.
    let shape = make::shape_of(r.b, at)?;
    let n = make::slice(r.b, shape, &[0], &[1])?;
    let values = make::broadcast_to(r.b, values, n)?;
    Ok(smallvec![r.b.op(ScatterNd { f: ScatterFn::Update }, &[base, at, values])?])
}

fn one_hot(r: &mut Rule<'_, '_>) -> Spelled {
    let inputs = [r.input(0)?, r.input(1)?, r.input(2)?, r.input(3)?];
    let op = OneHot { axis: r.int_or("axis", -1), wrap: false };
    Ok(smallvec![r.b.op(op, &inputs)?])
}

fn range(r: &mut Rule<'_, '_>) -> Spelled {
    let inputs = [r.input(0)?, r.input(1)?, r.input(2)?];
    Ok(smallvec![r.b.op(Range, &inputs)?])
}

/// start + i (stop - start)/(n - 1)
fn lin_space(r: &mut Rule<'_, '_>) -> Spelled {
    let (start, stop, n) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let dtype = r.b.fact(start).dtype;
    let (zero, one) = (make::scalar_like(r.b, n, 0.0), make::scalar_like(r.b, n, 1.0));
    let steps = r.b.op(Range, &[zero, n, one])?;
    let steps = make::cast(r.b, steps, dtype)?;
    let gaps = make::sub(r.b, n, one)?;
    let gaps = make::maximum(r.b, gaps, one)?;
    let gaps = make::cast(r.b, gaps, dtype)?;
    let way = make::sub(r.b, stop, start)?;
    let step = make::div(r.b, way, gaps)?;
    let way = make::mul(r.b, steps, step)?;
    Ok(smallvec![make::add(r.b, way, start)?])
}

fn non_zero(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    Ok(smallvec![r.b.op(NonZero, &[x])?])
}

fn unique(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    if r.has_input(1) && r.fact(0)?.rank() != Some(1) {
        return Err(Misfit::new("only vectors are supported"));
    }
    let to = r.type_attr("out_idx").unwrap_or(DType::I32);
    let mut out = r.b.op_n(std::sync::Arc::new(Unique { sorted: false, to }), &[x])?;
    if !r.node.op.starts_with("UniqueWithCounts") {
        out.truncate(2);
    }
    Ok(out)
}

fn list_diff(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, y) = (r.input(0)?, r.input(1)?);
    let to = r.type_attr("out_idx").unwrap_or(DType::I32);
    r.b.op_n(std::sync::Arc::new(SetDifference { to }), &[x, y])
}

/// Rows by the partition that they belong to, in order.
fn dynamic_partition(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, parts) = (r.input(0)?, r.input(1)?);
    let lead = r.b.fact(parts).rank().ok_or_else(|| Misfit::new("the rank is not known"))?;
    let flat = make::reshape(r.b, parts, &[-1])?;
    let all = dims::dims(r.b, x)?;
    let rows = if lead == 1 {
        x
    } else {
        let count = dims::size_of(r.b, flat, 0)?;
        let count = make::reshape(r.b, count, &[1])?;
        let mut shape = vec![dims::Dim::Value(count)];
        shape.extend(&all[lead.min(all.len())..]);
        dims::reshape(r.b, x, &shape)?
    };
    let mut out = Outputs::new();
    for p in 0..r.int_or("num_partitions", 1) {
        let id = make::scalar_like(r.b, flat, p as f64);
        let mine = make::equal(r.b, flat, id)?;
        let at = r.b.op(NonZero, &[mine])?;
        let at = crate::ops::shape::squeeze(r.b, at, Some(&[1]))?;
        out.push(make::gather(r.b, rows, at, 0)?);
    }
    Ok(out)
}

/// Rows interleaved: each index says where its row goes; later ones win.
fn dynamic_stitch(r: &mut Rule<'_, '_>) -> Spelled {
    let inputs = r.all_inputs()?;
    let n = inputs.len() / 2;
    if n == 0 || inputs.len() != 2 * n {
        return Err(Misfit(format!("{} inputs instead of pairs", inputs.len())));
    }
    let (mut at, mut rows) = (Vec::new(), Vec::new());
    let mut tail = Vec::new();
    for (&index, &data) in inputs[..n].iter().zip(&inputs[n..]) {
        let lead = r.b.fact(index).rank().ok_or_else(|| Misfit::new("the rank is not known"))?;
        let all = dims::dims(r.b, data)?;
        tail = all[lead.min(all.len())..].to_vec();
        let flat = make::reshape(r.b, index, &[-1])?;
        let count = dims::size_of(r.b, flat, 0)?;
        let count = make::reshape(r.b, count, &[1])?;
        let mut shape = vec![dims::Dim::Value(count)];
        shape.extend(&tail);
        rows.push(dims::reshape(r.b, data, &shape)?);
        at.push(flat);
    }
    let at = make::concat(r.b, &at, 0)?;
    let rows = make::concat(r.b, &rows, 0)?;
    let zero = make::ints(r.b, &[0]);
    let last = make::reduce(r.b, ReduceFn::Max, at, zero, true)?;
    let count = make::add_scalar(r.b, last, 1.0)?;
    let count = make::cast(r.b, count, DType::I64)?;
    let mut shape = vec![dims::Dim::Value(count)];
    shape.extend(tail);
    let shape = dims::vector(r.b, &shape)?;
    let zero = make::scalar_like(r.b, rows, 0.0);
    let base = make::broadcast_to(r.b, zero, shape)?;
    let at = make::expand_dims(r.b, at, -1)?;
    Ok(smallvec![r.b.op(ScatterNd { f: ScatterFn::Update }, &[base, at, rows])?])
}

/// The first `length` steps of each sequence backwards, the rest as they are.
fn reverse_sequence(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, lengths) = (r.input(0)?, r.input(1)?);
    let rank = r.b.fact(x).rank().ok_or_else(|| Misfit::new("the rank is not known"))?;
    let axis = |name: &str| {
        shape::normalize_axis(r.int_or(name, 0), rank).ok_or_else(|| Misfit(format!("{name} is outside rank {rank}")))
    };
    let (seq, batch) = (axis("seq_dim")?, axis("batch_dim")?);
    if seq == batch {
        return Err(Misfit::new("the sequence and the batch are the same dimension"));
    }
    // Batch first, steps second.
    let order: Vec<usize> = [batch, seq].into_iter().chain((0..rank).filter(|a| *a != batch && *a != seq)).collect();
    let mut back = vec![0i64; rank];
    order.iter().enumerate().for_each(|(i, &a)| back[a] = i as i64);
    let order: Vec<i64> = order.iter().map(|&a| a as i64).collect();
    let moved = make::transpose(r.b, x, &order)?;
    let at = reversed_positions(r, moved, lengths)?;
    let y = r.b.op(Gather { axis: 1, batch_dims: 1 }, &[moved, at])?;
    Ok(smallvec![make::transpose(r.b, y, &back)?])
}

/// `[batch, steps]`: length - 1 - t where t < length, else t.
fn reversed_positions(r: &mut Rule<'_, '_>, moved: Value, lengths: Value) -> Result<Value, Misfit> {
    let shape = r.b.op(ShapeOf { to: DType::I64 }, &[moved])?;
    let steps = make::slice(r.b, shape, &[1], &[1])?;
    let steps = make::reshape(r.b, steps, &[])?;
    let (zero, one) = (make::scalar(r.b, DType::I64, 0.0), make::scalar(r.b, DType::I64, 1.0));
    let t = r.b.op(Range, &[zero, steps, one])?;
    let lengths = make::cast(r.b, lengths, DType::I64)?;
    let lengths = make::expand_dims(r.b, lengths, -1)?;
    let last = make::sub(r.b, lengths, one)?;
    let mirrored = make::sub(r.b, last, t)?;
    let inside = make::less(r.b, t, lengths)?;
    make::select(r.b, inside, mirrored, t)
}
