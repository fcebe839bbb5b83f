//! Spellings of TensorFlow ops: shapes, slices, concatenation, padding, diagonals, blocks.

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::make;
use crate::ops::reduce::ReduceFn;
use crate::ops::shape::{
    BroadcastTo, Pad, PadMode, Reverse, ShapeOf, Slice, StridedMasks, StridedSlice, StridedSliceGradient, Tile,
    inverse_permutation,
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
    "Shape" => shape_of;
    "ShapeN" => shape_of;
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
    "Pad" => pad;
    "PadV2" => pad;
    "MirrorPad" => mirror_pad;
    "Tile" => tile;
    "Reverse" => reverse_v1;
    "ReverseV2" => reverse;
    "Roll" => roll;
    "InvertPermutation" => invert_permutation;
    "MatrixBandPart" => band_part;
    "MatrixDiag" => matrix_diag;
    "MatrixDiagV2" => matrix_diag;
    "MatrixDiagV3" => matrix_diag;
    "BatchMatrixDiag" => matrix_diag;
    "MatrixDiagPart" => matrix_diag_part;
    "MatrixDiagPartV2" => matrix_diag_part;
    "MatrixDiagPartV3" => matrix_diag_part;
    "BatchMatrixDiagPart" => matrix_diag_part;
    "MatrixSetDiag" => matrix_set_diag;
    "MatrixSetDiagV2" => matrix_set_diag;
    "MatrixSetDiagV3" => matrix_set_diag;
    "BatchMatrixSetDiag" => matrix_set_diag;
    "Diag" => diag;
    "DiagPart" => diag_part;
    "SpaceToDepth" => space_to_depth;
    "DepthToSpace" => depth_to_space;
    "SpaceToBatch" => space_to_batch;
    "SpaceToBatchND" => space_to_batch;
    "BatchToSpace" => batch_to_space;
    "BatchToSpaceND" => batch_to_space;
};

type Spelled = Result<Outputs, Misfit>;

fn reshape(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, shape) = (r.input(0)?, r.input(1)?);
    Ok(smallvec![r.b.op(crate::ops::shape::Reshape, &[x, shape])?])
}

/// A constant integer input.
fn constant(r: &Rule<'_, '_>, i: usize) -> Result<i64, Misfit> {
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

fn pad(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, paddings) = (r.input(0)?, r.input(1)?);
    let value = if r.has_input(2) { r.input(2)? } else { r.scalar_like(0, 0.0)? };
    Ok(smallvec![r.b.op(Pad { mode: PadMode::Constant }, &[x, paddings, value])?])
}

fn mirror_pad(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, paddings) = (r.input(0)?, r.input(1)?);
    let mode = match r.str_or("mode", "") {
        "REFLECT" => PadMode::Reflect,
        "SYMMETRIC" => PadMode::Symmetric,
        other => return Err(Misfit(format!("mode {other:?} is neither REFLECT nor SYMMETRIC"))),
    };
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
fn range(r: &mut Rule<'_, '_>, n: Value) -> Result<Value, Misfit> {
    let (zero, one) = (make::scalar(r.b, DType::I64, 0.0), make::scalar(r.b, DType::I64, 1.0));
    r.b.op(crate::ops::index::Range, &[zero, n, one])
}

fn invert_permutation(r: &mut Rule<'_, '_>) -> Spelled {
    let perm = r.input(0)?;
    Ok(smallvec![inverse_permutation(r.b, perm)?])
}

/// Column minus row for each position of an `m` by `n` matrix.
fn diagonals(r: &mut Rule<'_, '_>, m: Value, n: Value) -> Result<Value, Misfit> {
    let rows = range(r, m)?;
    let rows = make::expand_dims(r.b, rows, 1)?;
    let columns = range(r, n)?;
    make::sub(r.b, columns, rows)
}

fn band_part(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, lower, upper) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let (m, n) = (dims::size_of(r.b, x, -2)?, dims::size_of(r.b, x, -1)?);
    let above = diagonals(r, m, n)?;
    let below = make::neg(r.b, above)?;
    let zero = make::scalar(r.b, DType::I64, 0.0);
    let mut inside = Vec::new();
    for (limit, distance) in [(lower, below), (upper, above)] {
        let limit = make::cast(r.b, limit, DType::I64)?;
        let open = make::less(r.b, limit, zero)?;
        let near = make::less_equal(r.b, distance, limit)?;
        inside.push(make::or(r.b, open, near)?);
    }
    let inside = make::and(r.b, inside[0], inside[1])?;
    let zero = make::scalar_like(r.b, x, 0.0);
    Ok(smallvec![make::select(r.b, inside, x, zero)?])
}

/// The offset of the one diagonal that is meant; bands of several are refused.
fn one_diagonal(r: &Rule<'_, '_>, input: usize) -> Result<i64, Misfit> {
    if !r.has_input(input) {
        return Ok(0);
    }
    match r.ints(input)?[..] {
        [k] => Ok(k),
        [a, z] if a == z => Ok(a),
        _ => Err(Misfit::new("a band of several diagonals is not supported")),
    }
}

fn matrix_diag(r: &mut Rule<'_, '_>) -> Spelled {
    let (d, k) = (r.input(0)?, one_diagonal(r, 1)?);
    for (input, name) in [(2, "num_rows"), (3, "num_cols")] {
        if r.has_input(input) && constant(r, input)? != -1 {
            return Err(Misfit(format!("{name} other than -1 is not supported")));
        }
    }
    let fill = if r.has_input(4) { r.input(4)? } else { make::scalar_like(r.b, d, 0.0) };
    Ok(smallvec![diagonal_matrix(r, d, k, fill)?])
}

/// Square matrices with `d` on diagonal `k`.
fn diagonal_matrix(r: &mut Rule<'_, '_>, d: Value, k: i64, fill: Value) -> Result<Value, Misfit> {
    let n = dims::size_of(r.b, d, -1)?;
    let side = make::add_scalar(r.b, n, k.abs() as f64)?;
    let offsets = diagonals(r, side, side)?;
    let want = make::scalar(r.b, DType::I64, k as f64);
    let hit = make::equal(r.b, offsets, want)?;
    let rank = r.b.fact(d).rank().ok_or_else(|| Misfit::new("the rank is not known"))?;
    // Row i of the result holds element i (k ≥ 0) or i + k (k < 0) of the diagonal.
    let mut paddings = vec![(0, 0); rank];
    paddings[rank - 1] = if k >= 0 { (0, k) } else { (-k, 0) };
    let padded = if k == 0 { d } else { make::pad(r.b, d, &paddings)? };
    let column = make::expand_dims(r.b, padded, -1)?;
    make::select(r.b, hit, column, fill)
}

fn matrix_diag_part(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, k) = (r.input(0)?, one_diagonal(r, 1)?);
    let (m, n) = (dims::size_of(r.b, x, -2)?, dims::size_of(r.b, x, -1)?);
    let offsets = diagonals(r, m, n)?;
    let want = make::scalar(r.b, DType::I64, k as f64);
    let hit = make::equal(r.b, offsets, want)?;
    let zero = make::scalar_like(r.b, x, 0.0);
    let only = make::select(r.b, hit, x, zero)?;
    // Each row holds at most one element of the diagonal: their sums are the elements, in rows max(0, -k) and on.
    let per_row = make::reduce_sum(r.b, only, &[-1], false)?;
    let first = (-k).max(0);
    let room = make::add_scalar(r.b, n, -(k.max(0) as f64))?;
    let rows = make::add_scalar(r.b, m, -(first as f64))?;
    let count = make::minimum(r.b, rows, room)?;
    let rank = r.b.fact(per_row).rank().ok_or_else(|| Misfit::new("the rank is not known"))?;
    let mut begin = vec![0; rank];
    begin[rank - 1] = first;
    let begin = make::ints(r.b, &begin);
    let whole = make::ints(r.b, &vec![-1; rank - 1]);
    let count = make::reshape(r.b, count, &[1])?;
    let size = make::concat(r.b, &[whole, count], 0)?;
    Ok(smallvec![r.b.op(Slice, &[per_row, begin, size])?])
}

fn matrix_set_diag(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, d, k) = (r.input(0)?, r.input(1)?, one_diagonal(r, 2)?);
    if k != 0 {
        return Err(Misfit::new("only the main diagonal is supported"));
    }
    let (m, n) = (dims::size_of(r.b, x, -2)?, dims::size_of(r.b, x, -1)?);
    let wide = match (r.b.fact(m).scalar(), r.b.fact(n).scalar()) {
        (Some(m), Some(n)) => m <= n,
        _ => true,
    };
    let offsets = diagonals(r, m, n)?;
    let zero = make::scalar(r.b, DType::I64, 0.0);
    let hit = make::equal(r.b, offsets, zero)?;
    let d = make::expand_dims(r.b, d, if wide { -1 } else { -2 })?;
    Ok(smallvec![make::select(r.b, hit, d, x)?])
}

/// A diagonal tensor of twice the rank.
fn diag(r: &mut Rule<'_, '_>) -> Spelled {
    let d = r.input(0)?;
    let all = dims::dims(r.b, d)?;
    let flat = make::reshape(r.b, d, &[-1])?;
    let zero = make::scalar_like(r.b, d, 0.0);
    let matrix = diagonal_matrix(r, flat, 0, zero)?;
    let twice: Vec<Dim> = all.iter().chain(&all).copied().collect();
    Ok(smallvec![dims::reshape(r.b, matrix, &twice)?])
}

fn diag_part(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let all = dims::dims(r.b, x)?;
    let half = &all[..all.len() / 2];
    // The diagonal of an n by n matrix, as every (n + 1)th element.
    let flat = make::reshape(r.b, x, &[-1])?;
    let half_shape = dims::vector(r.b, half)?;
    let zero = make::ints(r.b, &[0]);
    let n = make::reduce(r.b, ReduceFn::Prod, half_shape, zero, true)?;
    let step = make::add_scalar(r.b, n, 1.0)?;
    let (begin, end) = (make::ints(r.b, &[0]), make::ints(r.b, &[0]));
    let masks = StridedMasks { begin: 1, end: 1, ..StridedMasks::default() };
    let d = r.b.op(StridedSlice { masks }, &[flat, begin, end, step])?;
    Ok(smallvec![dims::reshape(r.b, d, half)?])
}

/// Height, width and channels of an image tensor, by its layout.
fn image(r: &mut Rule<'_, '_>, x: Value) -> Result<(bool, [Dim; 4]), Misfit> {
    let last = match r.str_or("data_format", "NHWC") {
        "NHWC" => true,
        "NCHW" => false,
        other => return Err(Misfit(format!("layout {other} is not supported"))),
    };
    match dims::dims(r.b, x)?[..] {
        [n, h, w, c] if last => Ok((true, [n, h, w, c])),
        [n, c, h, w] => Ok((false, [n, h, w, c])),
        _ => Err(Misfit::new("four dimensions are expected")),
    }
}

fn space_to_depth(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, s) = (r.input(0)?, r.int_or("block_size", 2));
    let (last, [n, h, w, c]) = image(r, x)?;
    let (hs, ws, block) = (h.over(r.b, s)?, w.over(r.b, s)?, Dim::Known(s));
    let deep = c.times(r.b, s * s)?;
    let out = if last {
        let x = dims::reshape(r.b, x, &[n, hs, block, ws, block, c])?;
        let x = make::transpose(r.b, x, &[0, 1, 3, 2, 4, 5])?;
        dims::reshape(r.b, x, &[n, hs, ws, deep])?
    } else {
        let x = dims::reshape(r.b, x, &[n, c, hs, block, ws, block])?;
        let x = make::transpose(r.b, x, &[0, 3, 5, 1, 2, 4])?;
        dims::reshape(r.b, x, &[n, deep, hs, ws])?
    };
    Ok(smallvec![out])
}

fn depth_to_space(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, s) = (r.input(0)?, r.int_or("block_size", 2));
    let (last, [n, h, w, c]) = image(r, x)?;
    let (hs, ws, block) = (h.times(r.b, s)?, w.times(r.b, s)?, Dim::Known(s));
    let flat = c.over(r.b, s * s)?;
    let out = if last {
        let x = dims::reshape(r.b, x, &[n, h, w, block, block, flat])?;
        let x = make::transpose(r.b, x, &[0, 1, 3, 2, 4, 5])?;
        dims::reshape(r.b, x, &[n, hs, ws, flat])?
    } else {
        let x = dims::reshape(r.b, x, &[n, block, block, flat, h, w])?;
        let x = make::transpose(r.b, x, &[0, 3, 4, 1, 5, 2])?;
        dims::reshape(r.b, x, &[n, flat, hs, ws])?
    };
    Ok(smallvec![out])
}

/// Block sizes and `(before, after)` pairs of the spatial dimensions.
fn blocks(r: &Rule<'_, '_>) -> Result<(Vec<i64>, Vec<(i64, i64)>), Misfit> {
    let (blocks, borders) = if r.node.op.ends_with("ND") {
        (r.ints(1)?, r.ints(2)?)
    } else {
        (vec![r.int_or("block_size", 2); 2], r.ints(1)?)
    };
    if borders.len() != 2 * blocks.len() || blocks.iter().any(|&b| b < 1) {
        return Err(Misfit(format!("blocks {blocks:?} with borders {borders:?}")));
    }
    Ok((blocks, borders.chunks_exact(2).map(|p| (p[0], p[1])).collect()))
}

fn space_to_batch(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let (blocks, borders) = blocks(r)?;
    let m = blocks.len();
    let rank = r.b.fact(x).rank().filter(|&rank| rank > m).ok_or_else(|| Misfit::new("the rank does not fit"))?;
    let mut paddings = vec![(0, 0); rank];
    paddings[1..=m].copy_from_slice(&borders);
    let x = make::pad(r.b, x, &paddings)?;
    let all = dims::dims(r.b, x)?;
    // [n, h/b, b, …, rest] → [b…, n, h/b…, rest]
    let (mut split, mut merged) = (vec![all[0]], Vec::new());
    for (i, &block) in blocks.iter().enumerate() {
        let cells = all[1 + i].over(r.b, block)?;
        split.extend([cells, Dim::Known(block)]);
        merged.push(cells);
    }
    split.extend(&all[1 + m..]);
    let x = dims::reshape(r.b, x, &split)?;
    let inner = (0..m as i64).map(|i| 2 * i + 2);
    let cells = (0..m as i64).map(|i| 2 * i + 1);
    let rest = (2 * m + 1..split.len()).map(|a| a as i64);
    let perm: Vec<i64> = inner.chain([0]).chain(cells).chain(rest).collect();
    let x = make::transpose(r.b, x, &perm)?;
    let batch = all[0].times(r.b, blocks.iter().product())?;
    let out: Vec<Dim> = [batch].into_iter().chain(merged).chain(all[1 + m..].iter().copied()).collect();
    Ok(smallvec![dims::reshape(r.b, x, &out)?])
}

fn batch_to_space(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let (blocks, crops) = blocks(r)?;
    let m = blocks.len();
    let all = dims::dims(r.b, x)?;
    if all.len() <= m {
        return Err(Misfit::new("the rank does not fit"));
    }
    // [b…, n, h…, rest] → [n, h, b, …, rest]
    let batch = all[0].over(r.b, blocks.iter().product())?;
    let split: Vec<Dim> =
        blocks.iter().map(|&b| Dim::Known(b)).chain([batch]).chain(all[1..].iter().copied()).collect();
    let x = dims::reshape(r.b, x, &split)?;
    let mut perm = vec![m as i64];
    (0..m as i64).for_each(|i| perm.extend([m as i64 + 1 + i, i]));
    perm.extend((2 * m + 1..split.len()).map(|a| a as i64));
    let x = make::transpose(r.b, x, &perm)?;
    let mut out = vec![batch];
    for (i, &block) in blocks.iter().enumerate() {
        out.push(all[1 + i].times(r.b, block)?);
    }
    out.extend(&all[1 + m..]);
    let x = dims::reshape(r.b, x, &out)?;
    let mut borders = vec![(0, 0); out.len()];
    for (border, crop) in borders[1..].iter_mut().zip(&crops) {
        *border = (-crop.0, -crop.1);
    }
    if crops.iter().all(|c| *c == (0, 0)) {
        return Ok(smallvec![x]);
    }
    Ok(smallvec![make::pad(r.b, x, &borders)?])
}
