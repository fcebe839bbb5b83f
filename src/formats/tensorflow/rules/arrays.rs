//! Spellings of TensorFlow ops: shapes, slices, concatenation, padding.

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::make;
use crate::ops::reduce::ReduceFn;
use crate::ops::shape::{
    BroadcastTo, Pad, PadGradient, PadMode, Reverse, ShapeOf, Slice, StridedMasks, StridedSlice, StridedSliceGradient,
    Tile, inverse_permutation,
};
use crate::program::{Misfit, Value};
use crate::tensor::{DType, Tensor, shape};

use super::dims::{self, Dim};
use super::rows;

pub const RULES: &[Spelling] = rows! {
    "Reshape" => reshape;
    "ExpandDims" => expand_dims;
    "Squeeze" => squeeze;
    "Transpose" => transpose;
    "ConjugateTranspose" => transpose;
    "BroadcastTo" => broadcast_to;
    "BroadcastArgs" => broadcast_args;
    "Fill" => fill;
    "Empty" => empty;
    "Shape" => shape_of;
    "ShapeN" => shape_of;
    "VariableShape" => shape_of;
    "Size" => size;
    "Rank" => rank;
    "Concat" => |r| concat(r, true);
    "ConcatV2" => |r| concat(r, false);
    "Pack" => pack;
    "ParallelConcat" => parallel_concat;
    "Unpack" => unpack;
    "Split" => split;
    "SplitV" => split_v;
    "Slice" => slice;
    "StridedSlice" => strided_slice;
    "StridedSliceGrad" => strided_slice_grad;
    "TensorStridedSliceUpdate" => strided_slice_update;
    "Pad" => pad;
    "PadV2" => pad;
    "MirrorPad" => mirror_pad;
    "MirrorPadGrad" => mirror_pad_grad;
    "Tile" => tile;
    "Reverse" => reverse_v1;
    "ReverseV2" => reverse;
    "Roll" => roll;
    "InvertPermutation" => invert_permutation;
};

type Spelled = Result<Outputs, Misfit>;

fn reshape(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, shape) = (r.input(0)?, r.input(1)?);
    Ok(smallvec![r.b.op(crate::ops::shape::Reshape, &[x, shape])?])
}

/// A constant integer input.
pub(super) fn constant(r: &Rule<'_, '_>, i: usize) -> Result<i64, Misfit> {
    r.ints(i)?.first().copied().ok_or_else(|| Misfit(format!("input {i} is empty")))
}

fn expand_dims(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, axis) = (r.input(0)?, constant(r, 1)?);
    Ok(smallvec![make::expand_dims(r.b, x, axis)?])
}

fn squeeze(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let axes = r.ints_attr("squeeze_dims").or_else(|| r.ints_attr("axis")).filter(|a| !a.is_empty());
    Ok(smallvec![crate::ops::shape::squeeze(r.b, x, axes.as_deref())?])
}

fn transpose(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, perm) = (r.input(0)?, r.input(1)?);
    Ok(smallvec![r.b.op(crate::ops::shape::Transpose, &[x, perm])?])
}

fn broadcast_to(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, shape) = (r.input(0)?, r.input(1)?);
    Ok(smallvec![r.b.op(BroadcastTo, &[x, shape])?])
}

/// The shape that two shapes broadcast to: the shorter gets leading ones, then whichever is not 1.
fn broadcast_args(r: &mut Rule<'_, '_>) -> Spelled {
    let mut shapes = [r.input(0)?, r.input(1)?];
    let length = |r: &Rule<'_, '_>, v| r.b.fact(v).shape.dim(0).ok_or_else(|| Misfit::new("the rank is not known"));
    let rank = length(r, shapes[0])?.max(length(r, shapes[1])?);
    for s in &mut shapes {
        let (n, dtype) = (length(r, *s)?, r.b.fact(*s).dtype);
        let ones = r.b.literal(Tensor::filled(dtype, &[rank - n], 1.0));
        *s = make::concat(r.b, &[ones, *s], 0)?;
    }
    let one = make::scalar_like(r.b, shapes[0], 1.0);
    let first_repeats = make::equal(r.b, shapes[0], one)?;
    Ok(smallvec![make::select(r.b, first_repeats, shapes[1], shapes[0])?])
}

fn fill(r: &mut Rule<'_, '_>) -> Spelled {
    let (shape, value) = (r.input(0)?, r.input(1)?);
    Ok(smallvec![r.b.op(BroadcastTo, &[value, shape])?])
}

/// Memory that the file promises to fill; zeros here.
fn empty(r: &mut Rule<'_, '_>) -> Spelled {
    let (shape, dtype) = (r.input(0)?, r.type_attr("dtype")?);
    let zero = make::scalar(r.b, dtype, 0.0);
    Ok(smallvec![r.b.op(BroadcastTo, &[zero, shape])?])
}

fn shape_of(r: &mut Rule<'_, '_>) -> Spelled {
    let to = r.type_attr("out_type").unwrap_or(DType::I32);
    r.all_inputs()?.into_iter().map(|x| r.b.op(ShapeOf { to }, &[x])).collect()
}

fn size(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, to) = (r.input(0)?, r.type_attr("out_type").unwrap_or(DType::I32));
    let shape = r.b.op(ShapeOf { to }, &[x])?;
    let axes = make::ints(r.b, &[0]);
    Ok(smallvec![make::reduce(r.b, ReduceFn::Prod, shape, axes, false)?])
}

fn rank(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let shape = r.b.op(ShapeOf { to: DType::I32 }, &[x])?;
    let rank = r.b.op(ShapeOf { to: DType::I32 }, &[shape])?;
    Ok(smallvec![make::reshape(r.b, rank, &[])?])
}

fn concat(r: &mut Rule<'_, '_>, axis_first: bool) -> Spelled {
    let mut parts = r.all_inputs()?;
    if parts.is_empty() {
        return Err(Misfit::new("no inputs"));
    }
    let at = if axis_first { 0 } else { parts.len() - 1 };
    let axis = constant(r, at)?;
    parts.remove(at);
    Ok(smallvec![make::concat(r.b, &parts, axis)?])
}

fn pack(r: &mut Rule<'_, '_>) -> Spelled {
    let axis = r.int_or("axis", 0);
    let parts: Vec<Value> =
        r.all_inputs()?.into_iter().map(|x| make::expand_dims(r.b, x, axis)).collect::<Result<_, _>>()?;
    Ok(smallvec![make::concat(r.b, &parts, axis)?])
}

fn parallel_concat(r: &mut Rule<'_, '_>) -> Spelled {
    let parts = r.all_inputs()?;
    Ok(smallvec![make::concat(r.b, &parts, 0)?])
}

fn unpack(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, axis) = (r.input(0)?, r.int_or("axis", 0));
    let axis = match r.b.fact(x).rank() {
        Some(rank) => shape::normalize_axis(axis, rank),
        None => usize::try_from(axis).ok(),
    };
    let axis = axis.ok_or_else(|| Misfit::new("the axis is outside the rank"))?;
    let leading = (1u64 << axis.min(62)) - 1;
    let masks = StridedMasks { begin: leading, end: leading, shrink: leading + 1, ..StridedMasks::default() };
    let mut out = Outputs::new();
    let steps = make::ints(r.b, &vec![1; axis + 1]);
    for i in 0..r.int_or("num", 0) {
        let (mut begin, mut end) = (vec![0; axis + 1], vec![0; axis + 1]);
        (begin[axis], end[axis]) = (i, i + 1);
        let (begin, end) = (make::ints(r.b, &begin), make::ints(r.b, &end));
        out.push(r.b.op(StridedSlice { masks }, &[x, begin, end, steps])?);
    }
    Ok(out)
}

/// Parts of given sizes along an axis; `None` = what is left.
fn cut(r: &mut Rule<'_, '_>, x: Value, axis: i64, sizes: &[Option<Dim>]) -> Spelled {
    let rank = r.b.fact(x).rank().ok_or_else(|| Misfit::new("the rank is not known"))?;
    let axis = shape::normalize_axis(axis, rank).ok_or_else(|| Misfit::new("the axis is outside the rank"))?;
    let mut out = Outputs::new();
    let mut start = Dim::Known(0);
    for size in sizes {
        let along = |v: Dim, other: i64| -> Vec<Dim> {
            (0..rank).map(|a| if a == axis { v } else { Dim::Known(other) }).collect()
        };
        let begin = dims::vector(r.b, &along(start, 0))?;
        let count = dims::vector(r.b, &along(size.unwrap_or(Dim::Known(-1)), -1))?;
        out.push(r.b.op(Slice, &[x, begin, count])?);
        start = match (start, size) {
            (Dim::Value(_), Some(Dim::Known(n))) => start.plus(r.b, *n)?,
            (Dim::Known(s), Some(Dim::Known(n))) => Dim::Known(s + n),
            (Dim::Known(s), Some(size)) => size.plus(r.b, s)?,
            (Dim::Value(a), Some(Dim::Value(n))) => Dim::Value(make::add(r.b, a, *n)?),
            (s, None) => s,
        };
    }
    Ok(out)
}

fn split(r: &mut Rule<'_, '_>) -> Spelled {
    let (axis, x, n) = (constant(r, 0)?, r.input(1)?, r.int_or("num_split", 1));
    let all = dims::dims(r.b, x)?;
    let at = shape::normalize_axis(axis, all.len()).ok_or_else(|| Misfit::new("the axis is outside the rank"))?;
    let each = all[at].over(r.b, n)?;
    let n = usize::try_from(n).map_err(|_| Misfit::new("num_split is negative"))?;
    cut(r, x, axis, &vec![Some(each); n])
}

fn split_v(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, sizes, axis) = (r.input(0)?, r.ints(1)?, constant(r, 2)?);
    let open = sizes.iter().position(|&s| s < 0);
    let mut sizes: Vec<Option<Dim>> = sizes.iter().map(|&s| (s >= 0).then_some(Dim::Known(s))).collect();
    if let Some(i) = open
        && i + 1 < sizes.len()
    {
        // What the others leave.
        let all = dims::dims(r.b, x)?;
        let at = shape::normalize_axis(axis, all.len()).ok_or_else(|| Misfit::new("the axis is outside the rank"))?;
        let others: i64 = sizes.iter().filter_map(|s| if let Some(Dim::Known(n)) = s { Some(*n) } else { None }).sum();
        sizes[i] = Some(all[at].plus(r.b, -others)?);
    }
    cut(r, x, axis, &sizes)
}

fn slice(r: &mut Rule<'_, '_>) -> Spelled {
    let inputs = [r.input(0)?, r.input(1)?, r.input(2)?];
    Ok(smallvec![r.b.op(Slice, &inputs)?])
}

fn masks(r: &Rule<'_, '_>) -> StridedMasks {
    let mask = |name: &str| r.int_or(name, 0) as u64;
    StridedMasks {
        begin: mask("begin_mask"),
        end: mask("end_mask"),
        ellipsis: mask("ellipsis_mask"),
        new_axis: mask("new_axis_mask"),
        shrink: mask("shrink_axis_mask"),
    }
}

fn strided_slice(r: &mut Rule<'_, '_>) -> Spelled {
    let (masks, inputs) = (masks(r), [r.input(0)?, r.input(1)?, r.input(2)?, r.input(3)?]);
    Ok(smallvec![r.b.op(StridedSlice { masks }, &inputs)?])
}

fn strided_slice_grad(r: &mut Rule<'_, '_>) -> Spelled {
    let masks = masks(r);
    let inputs = [r.input(4)?, r.input(0)?, r.input(1)?, r.input(2)?, r.input(3)?];
    Ok(smallvec![r.b.op(StridedSliceGradient { masks }, &inputs)?])
}

/// `x` with a slice replaced.
fn strided_slice_update(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, masks) = (r.input(0)?, masks(r));
    let (at, new) = ([r.input(1)?, r.input(2)?, r.input(3)?], r.input(4)?);
    let slice = r.b.op(StridedSlice { masks }, &[x, at[0], at[1], at[2]])?;
    let new = make::broadcast_like(r.b, new, slice)?;
    let shape = make::shape_of(r.b, x)?;
    let placed = r.b.op(StridedSliceGradient { masks }, &[new, shape, at[0], at[1], at[2]])?;
    let ones = make::ones_like(r.b, slice)?;
    let mask = r.b.op(StridedSliceGradient { masks }, &[ones, shape, at[0], at[1], at[2]])?;
    let mask = make::cast(r.b, mask, DType::Bool)?;
    Ok(smallvec![make::select(r.b, mask, placed, x)?])
}

fn pad(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, paddings) = (r.input(0)?, r.input(1)?);
    let value = if r.has_input(2) { r.input(2)? } else { r.scalar_like(0, 0.0)? };
    Ok(smallvec![r.b.op(Pad { mode: PadMode::Constant }, &[x, paddings, value])?])
}

pub(super) fn mirror_mode(r: &Rule<'_, '_>) -> Result<PadMode, Misfit> {
    match r.str_or("mode", "") {
        "REFLECT" => Ok(PadMode::Reflect),
        "SYMMETRIC" => Ok(PadMode::Symmetric),
        other => Err(Misfit(format!("mode {other:?} is neither REFLECT nor SYMMETRIC"))),
    }
}

fn mirror_pad_grad(r: &mut Rule<'_, '_>) -> Spelled {
    let (g, paddings, mode) = (r.input(0)?, r.input(1)?, mirror_mode(r)?);
    Ok(smallvec![r.b.op(PadGradient { mode }, &[g, paddings])?])
}

fn mirror_pad(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, paddings, mode) = (r.input(0)?, r.input(1)?, mirror_mode(r)?);
    let value = r.scalar_like(0, 0.0)?;
    Ok(smallvec![r.b.op(Pad { mode }, &[x, paddings, value])?])
}

fn tile(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, repeats) = (r.input(0)?, r.input(1)?);
    Ok(smallvec![r.b.op(Tile, &[x, repeats])?])
}

fn reverse(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, axes) = (r.input(0)?, r.input(1)?);
    Ok(smallvec![r.b.op(Reverse, &[x, axes])?])
}

/// The old form: one flag per dimension.
fn reverse_v1(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, flags) = (r.input(0)?, r.ints(1)?);
    let axes: Vec<i64> = (0..flags.len()).filter(|&a| flags[a] != 0).map(|a| a as i64).collect();
    let axes = make::ints(r.b, &axes);
    Ok(smallvec![r.b.op(Reverse, &[x, axes])?])
}

/// Position i of the result reads position (i - shift) mod size.
fn roll(r: &mut Rule<'_, '_>) -> Spelled {
    let (mut x, shifts, axes) = (r.input(0)?, r.input(1)?, r.ints(2)?);
    let shifts = make::cast(r.b, shifts, DType::I64)?;
    let shifts = make::reshape(r.b, shifts, &[-1])?;
    for (i, &axis) in axes.iter().enumerate() {
        let shift = make::slice(r.b, shifts, &[i as i64], &[1])?;
        let n = dims::size_of(r.b, x, axis)?;
        let at = range(r, n)?;
        let at = make::sub(r.b, at, shift)?;
        let at = make::binary(r.b, crate::ops::elementwise::BinaryFn::FloorMod, at, n)?;
        x = make::gather(r.b, x, at, axis)?;
    }
    Ok(smallvec![x])
}

/// `0..n` as `int64`.
pub(super) fn range(r: &mut Rule<'_, '_>, n: Value) -> Result<Value, Misfit> {
    let (zero, one) = (make::scalar(r.b, DType::I64, 0.0), make::scalar(r.b, DType::I64, 1.0));
    r.b.op(crate::ops::index::Range, &[zero, n, one])
}

fn invert_permutation(r: &mut Rule<'_, '_>) -> Spelled {
    let perm = r.input(0)?;
    Ok(smallvec![inverse_permutation(r.b, perm)?])
}
