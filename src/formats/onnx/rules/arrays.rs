//! Spellings of ONNX ops: shapes, slices, concatenation, padding, and what only moves elements.

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::make;
use crate::ops::reduce::ReduceFn;
use crate::ops::shape::{
    BroadcastTo, Concat, Pad, PadMode, Regroup, Reshape, Reverse, ShapeOf, Slice, StridedMasks, StridedSlice, Tile,
    squeeze,
};
use crate::program::{Builder, Misfit, Value};
use crate::tensor::{DType, Tensor, shape};

use super::common::{Spelled, axis_in, ints_input, ints_of, known_ints, number_of, one, rank, rows, type_of};

pub const RULES: &[Spelling] = rows! {
    "Shape" => shape_of;
    "Size" => size;
    "Reshape" => reshape;
    "Flatten" => flatten;
    "Squeeze" => squeeze_axes;
    "Unsqueeze" => unsqueeze;
    "Transpose" => transpose;
    "Expand" => expand;
    "Tile" => tile;
    "Concat" => concat;
    "Split" => split;
    "Slice" => slice;
    "Pad" => pad;
    "ConstantOfShape" => constant_of_shape;
    "DepthToSpace" => depth_to_space;
    "SpaceToDepth" => space_to_depth;
    "CenterCropPad" => center_crop_pad;
    "ReverseSequence" => reverse_sequence;
    "Trilu" => trilu;
    "EyeLike" => eye_like;
};

/// The shape, or the part `start..end` of it (opset 15).
fn shape_of(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let all = r.b.op(ShapeOf { to: DType::I64 }, &[x])?;
    let (start, end) = (r.int_or("start", 0), r.int_or("end", i64::MAX));
    if (start, end) == (0, i64::MAX) {
        return one(all);
    }
    one(part(r.b, all, start, end)?)
}

/// Elements `start..end` of a vector, counted from the end where negative, cut off at its ends.
fn part(b: &mut Builder, v: Value, start: i64, end: i64) -> Result<Value, Misfit> {
    let (start, end, step) = (make::ints(b, &[start]), make::ints(b, &[end]), make::ints(b, &[1]));
    b.op(StridedSlice { masks: StridedMasks::default() }, &[v, start, end, step])
}

fn size(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let shape = r.b.op(ShapeOf { to: DType::I64 }, &[x])?;
    let axes = make::ints(r.b, &[0]);
    one(make::reduce(r.b, ReduceFn::Prod, shape, axes, false)?)
}

/// A size of 0 copies the input's (unless `allowzero`); opset 1 to 4 has the shape as an attribute.
fn reshape(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let given = match r.ints_attr("shape") {
        Some(shape) => r.ints_literal(&shape),
        None => {
            let shape = r.input(1)?;
            make::cast(r.b, shape, DType::I64)?
        }
    };
    if r.int_or("allowzero", 0) != 0 {
        return one(r.b.op(Reshape, &[x, given])?);
    }
    let shape = match known_ints(r.b, given) {
        Some(ints) if !ints.contains(&0) => r.ints_literal(&ints),
        Some(ints) => copied_sizes(r.b, x, &ints)?,
        None => copied_where_zero(r.b, x, given)?,
    };
    one(r.b.op(Reshape, &[x, shape])?)
}

fn copied_sizes(b: &mut Builder, x: Value, ints: &[i64]) -> Result<Value, Misfit> {
    let n = rank(b, x)?;
    let dims: Vec<Option<usize>> = b.fact(x).shape.partial().unwrap_or_default().to_vec();
    let mut all = None;
    let mut parts = Vec::new();
    for (i, &d) in ints.iter().enumerate() {
        let known = if d != 0 { Some(d) } else { dims.get(i).copied().flatten().map(|d| d as i64) };
        parts.push(match known {
            Some(d) => make::ints(b, &[d]),
            None if i >= n => return Err(Misfit(format!("the size of axis {i} is copied from a value of {n} axes"))),
            None => {
                let sizes = match all {
                    Some(s) => s,
                    None => *all.insert(b.op(ShapeOf { to: DType::I64 }, &[x])?),
                };
                make::slice(b, sizes, &[i as i64], &[1])?
            }
        });
    }
    let known: Option<Vec<i64>> = parts.iter().map(|&p| b.fact(p).ints()?.first().copied()).collect();
    match known {
        Some(ints) => Ok(make::ints(b, &ints)),
        None => make::concat(b, &parts, 0),
    }
}

/// As [`copied_sizes`] for a shape that is not known yet.
fn copied_where_zero(b: &mut Builder, x: Value, given: Value) -> Result<Value, Misfit> {
    let (Some(n), Some(m)) = (b.fact(x).rank(), b.fact(given).shape.dim(0)) else {
        return Err(Misfit::new("the number of axes must be known"));
    };
    let sizes = b.op(ShapeOf { to: DType::I64 }, &[x])?;
    let sizes = if n >= m {
        make::slice(b, sizes, &[0], &[m as i64])?
    } else {
        let rest = b.literal(Tensor::zeros(DType::I64, &[m - n]));
        make::concat(b, &[sizes, rest], 0)?
    };
    let zero = make::scalar(b, DType::I64, 0.0);
    let is_zero = make::equal(b, given, zero)?;
    make::select(b, is_zero, sizes, given)
}

/// Two axes: the product of those before `axis`, and of the others.
fn flatten(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, axis) = (r.input(0)?, r.int_or("axis", 1));
    let n = rank(r.b, x)?;
    let axis = if axis < 0 { axis + n as i64 } else { axis };
    let axis = usize::try_from(axis).ok().filter(|&a| a <= n).ok_or_else(|| Misfit(format!("axis {axis} of {n}")))?;
    one(two_axes(r.b, x, axis)?)
}

/// `x` as a matrix of the axes before `axis` and those from it on.
pub fn two_axes(b: &mut Builder, x: Value, axis: usize) -> Result<Value, Misfit> {
    let dims: Vec<Option<usize>> = b.fact(x).shape.partial().unwrap_or_default().to_vec();
    let product = |dims: &[Option<usize>]| dims.iter().try_fold(1usize, |n, d| n.checked_mul((*d)?));
    let sides = (product(&dims[..axis.min(dims.len())]), product(&dims[axis.min(dims.len())..]));
    let shape = match sides {
        (Some(a), Some(c)) => make::ints(b, &[a as i64, c as i64]),
        (Some(a), None) if a != 0 => make::ints(b, &[a as i64, -1]),
        (None, Some(c)) if c != 0 => make::ints(b, &[-1, c as i64]),
        _ => {
            let all = b.op(ShapeOf { to: DType::I64 }, &[x])?;
            let first = make::slice(b, all, &[0], &[axis as i64])?;
            let axes = make::ints(b, &[0]);
            let first = make::reduce(b, ReduceFn::Prod, first, axes, true)?;
            let rest = make::slice(b, all, &[axis as i64], &[-1])?;
            let rest = make::reduce(b, ReduceFn::Prod, rest, axes, true)?;
            make::concat(b, &[first, rest], 0)?
        }
    };
    make::reshape_to(b, x, shape)
}

fn squeeze_axes(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let axes = ints_of(r, "axes", 1)?;
    one(squeeze(r.b, x, axes.as_deref())?)
}

fn unsqueeze(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let mut axes = ints_of(r, "axes", 1)?.ok_or_else(|| Misfit::new("axes are missing"))?;
    let Some(n) = r.b.fact(x).rank() else { return one(r.b.op(Regroup::Insert(axes), &[x])?) };
    let total = n + axes.len();
    for axis in &mut axes {
        *axis = axis_in(*axis, total)? as i64;
    }
    axes.sort_unstable();
    one(axes.iter().try_fold(x, |x, &axis| make::expand_dims(r.b, x, axis))?)
}

fn transpose(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let perm = match r.ints_attr("perm") {
        Some(perm) => perm,
        None => (0..rank(r.b, x)? as i64).rev().collect(),
    };
    one(make::transpose(r.b, x, &perm)?)
}

/// Broadcasting in both directions: sizes of 1 in the shape keep the input's.
fn expand(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, shape) = (r.input(0)?, r.input(1)?);
    if let (Some(want), Some(have)) = (known_ints(r.b, shape), r.b.fact(x).dims()) {
        let want: Option<Vec<usize>> = want.iter().map(|&d| usize::try_from(d).ok()).collect();
        let both = want
            .and_then(|w| shape::broadcast_dims(&have, &w))
            .ok_or_else(|| Misfit::new("shapes do not broadcast"))?;
        let both = r.ints_literal(&both.iter().map(|&d| d as i64).collect::<Vec<_>>());
        return one(make::broadcast_to(r.b, x, both)?);
    }
    let want = make::cast(r.b, shape, DType::I64)?;
    let (n, m) = (rank(r.b, x)?, r.b.fact(want).shape.dim(0));
    let m = m.ok_or_else(|| Misfit::new("the number of axes must be known"))?;
    let have = r.b.op(ShapeOf { to: DType::I64 }, &[x])?;
    let lead = |b: &mut Builder, v, missing: usize| {
        let ones = b.literal(Tensor::filled(DType::I64, &[missing], 1.0));
        if missing == 0 { Ok(v) } else { make::concat(b, &[ones, v], 0) }
    };
    let have = lead(r.b, have, m.saturating_sub(n))?;
    let want = lead(r.b, want, n.saturating_sub(m))?;
    let ones = make::scalar(r.b, DType::I64, 1.0);
    let keeps = make::equal(r.b, want, ones)?;
    let both = make::select(r.b, keeps, have, want)?;
    one(r.b.op(BroadcastTo, &[x, both])?)
}

/// Opset 1 repeats one axis: inputs are then the number of tiles and the axis.
fn tile(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    if r.opset < 6 {
        let (tiles, axis) = (ints_input(r, 1)?.unwrap_or_default(), ints_input(r, 2)?.unwrap_or_default());
        let n = rank(r.b, x)?;
        let mut repeats = vec![1i64; n];
        if let (Some(&t), Some(&a)) = (tiles.first(), axis.first()) {
            repeats[axis_in(a, n)?] = t;
        }
        return one(make::tile(r.b, x, &repeats)?);
    }
    let repeats = r.input(1)?;
    one(r.b.op(Tile, &[x, repeats])?)
}

fn concat(r: &mut Rule<'_, '_>) -> Spelled {
    let parts = r.all_inputs()?;
    let axis = r.int_or("axis", if r.opset < 4 { 1 } else { 0 });
    match parts[..] {
        [x] => one(x),
        _ => one(r.b.op(Concat { axis }, &parts)?),
    }
}

/// Sizes from `split`, or equal ones, the last of which may be smaller (`num_outputs`).
fn split(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let n = rank(r.b, x)?;
    let axis = axis_in(r.int_or("axis", 0), n)?;
    let count = r.node.outputs.len().max(1);
    let sizes = match ints_of(r, "split", 1)? {
        Some(sizes) => sizes,
        None => {
            let total =
                r.b.fact(x).shape.dim(axis).ok_or_else(|| Misfit::new("the size to split must be known"))? as i64;
            let n = r.int_or("num_outputs", count as i64).max(1);
            let each = (total + n - 1) / n;
            (0..n).map(|i| each.min((total - i * each).max(0))).collect()
        }
    };
    let mut start = 0;
    let mut out = Outputs::new();
    for size in sizes {
        let (mut begin, mut sizes) = (vec![0; n], vec![-1; n]);
        (begin[axis], sizes[axis]) = (start, size);
        out.push(make::slice(r.b, x, &begin, &sizes)?);
        start += size;
    }
    Ok(out)
}

/// Starts, ends, axes and steps as attributes (opset 1 to 9) or inputs.
fn slice(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let n = r.b.fact(x).rank();
    let bound = |r: &mut Rule<'_, '_>, name: &str, input: usize| -> Result<Value, Misfit> {
        if let Some(ints) = r.ints_attr(name) {
            return Ok(r.ints_literal(&ints));
        }
        let v = r.input(input)?;
        match known_ints(r.b, v) {
            Some(ints) => Ok(r.ints_literal(&ints)),
            None => make::cast(r.b, v, DType::I64),
        }
    };
    let (starts, ends) = (bound(r, "starts", 1)?, bound(r, "ends", 2)?);
    let count = r.b.fact(starts).shape.dim(0).ok_or_else(|| Misfit::new("the number of sliced axes must be known"))?;
    let axes = ints_of(r, "axes", 3)?.unwrap_or_else(|| (0..count as i64).collect());
    let steps = ints_input(r, 4)?.unwrap_or_else(|| vec![1; count]);
    if axes.len() != count || steps.len() != count {
        return Err(Misfit(format!("{count} starts, {} axes and {} steps", axes.len(), steps.len())));
    }
    let axes = axes.iter().map(|&a| match (n, usize::try_from(a)) {
        (Some(n), _) => axis_in(a, n),
        (None, Ok(a)) if a < 64 => Ok(a),
        (None, _) => Err(Misfit::new("the number of axes must be known")),
    });
    let axes = axes.collect::<Result<Vec<usize>, _>>()?;
    let width = axes.iter().max().map_or(0, |&a| a + 1);
    // Every axis up to the last one: those not named are taken whole.
    let mut order = vec![None; width];
    axes.iter().enumerate().for_each(|(i, &a)| order[a] = Some(i));
    let whole: u64 =
        order.iter().enumerate().filter(|(_, o)| o.is_none()).fold(0, |m, (a, _)| m | 1 << (a as u64).min(63));
    let spread = |r: &mut Rule<'_, '_>, v: Value| -> Result<Value, Misfit> {
        if let Some(ints) = r.b.fact(v).ints() {
            if ints.len() != count {
                return Err(Misfit(format!("{count} starts and {} ends", ints.len())));
            }
            let all: Vec<i64> = order.iter().map(|o| o.map_or(0, |i| ints[i])).collect();
            return Ok(r.ints_literal(&all));
        }
        let picks = r.ints_literal(&order.iter().map(|o| o.unwrap_or(0) as i64).collect::<Vec<_>>());
        make::gather(r.b, v, picks, 0)
    };
    let (begin, end) = (spread(r, starts)?, spread(r, ends)?);
    let steps: Vec<i64> = order.iter().map(|o| o.map_or(1, |i| steps[i])).collect();
    let steps = r.ints_literal(&steps);
    let masks = StridedMasks { begin: whole, end: whole, ..StridedMasks::default() };
    one(r.b.op(StridedSlice { masks }, &[x, begin, end, steps])?)
}

/// Paddings as `[all before, all after]`, perhaps for some axes only (opset 18); before opset 11 an attribute.
fn pad(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let mode = match r.str_or("mode", "constant") {
        "constant" => PadMode::Constant,
        "reflect" => PadMode::Reflect,
        "edge" => PadMode::Edge,
        "wrap" => PadMode::Wrap,
        other => return Err(Misfit(format!("unknown mode {other:?}"))),
    };
    let fill = match number_of(r, "value", 2, x)? {
        Some(v) => v,
        None => make::scalar_like(r.b, x, 0.0),
    };
    let old = r.ints_attr("pads").or_else(|| r.ints_attr("paddings"));
    let known = match old {
        Some(pads) => Some(pads),
        None => known_ints(r.b, r.input(1)?),
    };
    let n = rank(r.b, x)?;
    let axes = match ints_input(r, 3)? {
        Some(axes) => axes.iter().map(|&a| axis_in(a, n)).collect::<Result<Vec<_>, _>>()?,
        None => (0..n).collect(),
    };
    let Some(known) = known else {
        if axes.len() != n {
            return Err(Misfit::new("paddings of some axes must be constant integers"));
        }
        // `[before…, after…]` to one row per axis.
        let pads = r.input(1)?;
        let pads = make::reshape(r.b, pads, &[2, n as i64])?;
        let pads = make::transpose(r.b, pads, &[1, 0])?;
        return one(r.b.op(Pad { mode }, &[x, pads, fill])?);
    };
    if known.len() != 2 * axes.len() {
        return Err(Misfit(format!("{} paddings for {} axes", known.len(), axes.len())));
    }
    let mut rows = vec![[0i64; 2]; n];
    axes.iter().enumerate().for_each(|(i, &a)| rows[a] = [known[i], known[axes.len() + i]]);
    // Negative paddings cut off.
    let cut = |v: i64| (-v).max(0);
    let mut x = x;
    if rows.iter().flatten().any(|&v| v < 0) {
        let dims = r.b.fact(x).dims().ok_or_else(|| Misfit::new("the shape must be known to cut off"))?;
        let begin: Vec<i64> = rows.iter().map(|p| cut(p[0])).collect();
        let size: Vec<i64> = rows.iter().zip(&dims).map(|(p, &d)| (d as i64 - cut(p[0]) - cut(p[1])).max(0)).collect();
        x = make::slice(r.b, x, &begin, &size)?;
        rows.iter_mut().flatten().for_each(|v| *v = (*v).max(0));
    }
    let flat: Vec<i64> = rows.iter().flatten().copied().collect();
    let rows = r.b.literal(Tensor::from_slice(&[n, 2], &flat));
    one(r.b.op(Pad { mode }, &[x, rows, fill])?)
}

fn constant_of_shape(r: &mut Rule<'_, '_>) -> Spelled {
    let shape = r.input(0)?;
    let value = match r.attr("value") {
        Some(crate::graph::Attr::Tensor(p)) => p.load().map_err(|e| Misfit(e.0))?.reshaped_scalar()?,
        _ => Tensor::scalar(0f32),
    };
    let value = r.b.literal(value);
    let shape = match known_ints(r.b, shape) {
        Some(ints) => r.ints_literal(&ints),
        None => shape,
    };
    one(r.b.op(BroadcastTo, &[value, shape])?)
}

/// A tensor of one element as a scalar.
trait Scalar {
    fn reshaped_scalar(&self) -> Result<Tensor, Misfit>;
}

impl Scalar for Tensor {
    fn reshaped_scalar(&self) -> Result<Tensor, Misfit> {
        if self.len() == 1 {
            Ok(self.reshaped(&[]))
        } else {
            Err(Misfit(format!("a value of {} elements", self.len())))
        }
    }
}

/// `[n, c, h, w]` as numbers; the first may be unknown (-1).
fn image(r: &Rule<'_, '_>, x: Value) -> Result<[i64; 4], Misfit> {
    let dims = r.b.fact(x).shape.partial().unwrap_or_default();
    let [n, Some(c), Some(h), Some(w)] = *dims else {
        return Err(Misfit::new("channels, height and width must be known"));
    };
    Ok([n.map_or(-1, |n| n as i64), c as i64, h as i64, w as i64])
}

fn depth_to_space(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let ([n, c, h, w], s) = (image(r, x)?, r.int_or("blocksize", 1));
    if s < 1 || c % (s * s) != 0 {
        return Err(Misfit(format!("{c} channels in blocks of {s}")));
    }
    let c = c / (s * s);
    let (dims, perm) = match r.str_or("mode", "DCR") {
        "CRD" => ([n, c, s, s, h, w], [0, 1, 4, 2, 5, 3]),
        _ => ([n, s, s, c, h, w], [0, 3, 4, 1, 5, 2]),
    };
    let y = make::reshape(r.b, x, &dims)?;
    let y = make::transpose(r.b, y, &perm)?;
    one(make::reshape(r.b, y, &[n, c, h * s, w * s])?)
}

fn space_to_depth(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let ([n, c, h, w], s) = (image(r, x)?, r.int_or("blocksize", 1));
    if s < 1 || h % s != 0 || w % s != 0 {
        return Err(Misfit(format!("{h} x {w} in blocks of {s}")));
    }
    let crd = r.str_or("mode", "DCR") == "CRD";
    let y = make::reshape(r.b, x, &[n, c, h / s, s, w / s, s])?;
    let y = make::transpose(r.b, y, if crd { &[0, 1, 3, 5, 2, 4] } else { &[0, 3, 5, 1, 2, 4] })?;
    one(make::reshape(r.b, y, &[n, c * s * s, h / s, w / s])?)
}

/// Cuts or pads around the centre of the given axes.
fn center_crop_pad(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let dims = r.b.fact(x).dims().ok_or_else(|| Misfit::new("the shape must be known"))?;
    let want = ints_input(r, 1)?.ok_or_else(|| Misfit::new("the shape is missing"))?;
    let axes = r.ints_attr("axes").unwrap_or_else(|| (0..dims.len() as i64).collect());
    if want.len() != axes.len() {
        return Err(Misfit(format!("{} sizes for {} axes", want.len(), axes.len())));
    }
    let (mut begin, mut size) = (vec![0i64; dims.len()], dims.iter().map(|&d| d as i64).collect::<Vec<_>>());
    let mut pads = vec![(0i64, 0i64); dims.len()];
    for (&axis, &want) in axes.iter().zip(&want) {
        let a = axis_in(axis, dims.len())?;
        let have = size[a];
        if want < have {
            (begin[a], size[a]) = ((have - want) / 2, want);
        } else {
            let before = (want - have) / 2;
            pads[a] = (before, want - have - before);
        }
    }
    let y = make::slice(r.b, x, &begin, &size)?;
    one(make::pad(r.b, y, &pads)?)
}

/// The first `len[b]` steps of each batch entry in reverse order, by reading at computed positions.
fn reverse_sequence(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, lengths) = (r.input(0)?, r.input(1)?);
    let (time, batch) = (r.int_or("time_axis", 0), r.int_or("batch_axis", 1));
    one(reversed_sequences(r.b, x, lengths, time, batch)?)
}

/// See [`reverse_sequence`]; axes are 0 and 1 in either order.
pub fn reversed_sequences(b: &mut Builder, x: Value, lengths: Value, time: i64, batch: i64) -> Result<Value, Misfit> {
    if !matches!((time, batch), (0, 1) | (1, 0)) {
        return Err(Misfit(format!("time axis {time} and batch axis {batch}")));
    }
    let n = rank(b, x)? as i64;
    let swap: Vec<i64> = [1, 0].into_iter().chain(2..n).collect();
    // Batch first: position t of entry b reads `t < len ? len - 1 - t : t`.
    let x = if batch == 0 { x } else { make::transpose(b, x, &swap)? };
    let sizes = make::shape_of(b, x)?;
    let steps = make::slice(b, sizes, &[1], &[1])?;
    let steps = make::reshape(b, steps, &[])?;
    let (zero, unit) = (make::scalar(b, DType::I64, 0.0), make::scalar(b, DType::I64, 1.0));
    let t = b.op(crate::ops::index::Range, &[zero, steps, unit])?;
    let t = make::reshape(b, t, &[1, -1])?;
    let lengths = make::cast(b, lengths, DType::I64)?;
    let lengths = make::reshape(b, lengths, &[-1, 1])?;
    let last = make::sub(b, lengths, unit)?;
    let mirrored = make::sub(b, last, t)?;
    let inside = make::less(b, t, lengths)?;
    let at = make::select(b, inside, mirrored, t)?;
    let y = b.op(crate::ops::index::Gather { axis: 1, batch_dims: 1 }, &[x, at])?;
    if batch == 0 { Ok(y) } else { make::transpose(b, y, &swap) }
}

/// Whether column - row is at least (at most) `k`, as a mask of the last two axes of `x`.
fn triangle(b: &mut Builder, x: Value, k: Value, upper: bool) -> Result<Value, Misfit> {
    let n = rank(b, x)? as i64;
    let sizes = make::shape_of(b, x)?;
    let (zero, unit) = (make::scalar(b, DType::I64, 0.0), make::scalar(b, DType::I64, 1.0));
    let mut count = |axis: i64, shape: &[i64]| -> Result<Value, Misfit> {
        let size = make::slice(b, sizes, &[axis], &[1])?;
        let size = make::reshape(b, size, &[])?;
        let v = b.op(crate::ops::index::Range, &[zero, size, unit])?;
        make::reshape(b, v, shape)
    };
    let (row, column) = (count(n - 2, &[-1, 1])?, count(n - 1, &[1, -1])?);
    let offset = make::sub(b, column, row)?;
    if upper { make::greater_equal(b, offset, k) } else { make::less_equal(b, offset, k) }
}

fn trilu(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let k = match r.has_input(1) {
        true => {
            let k = r.input(1)?;
            make::reshape(r.b, k, &[])?
        }
        false => make::scalar(r.b, DType::I64, 0.0),
    };
    let upper = r.int_or("upper", 1) != 0;
    let mask = triangle(r.b, x, k, upper)?;
    let zero = make::scalar_like(r.b, x, 0.0);
    one(make::select(r.b, mask, x, zero)?)
}

fn eye_like(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let dtype = type_of(r, "dtype")?.unwrap_or(r.b.fact(x).dtype);
    let k = make::scalar(r.b, DType::I64, r.int_or("k", 0) as f64);
    let above = triangle(r.b, x, k, true)?;
    let below = triangle(r.b, x, k, false)?;
    let mask = make::and(r.b, above, below)?;
    one(make::cast(r.b, mask, dtype)?)
}

/// Reverses whole axes.
pub fn reversed(b: &mut Builder, x: Value, axes: &[i64]) -> Result<Value, Misfit> {
    let axes = make::ints(b, axes);
    b.op(Reverse, &[x, axes])
}

/// One index along an axis, which goes away.
pub fn pick(b: &mut Builder, x: Value, axis: usize, index: i64) -> Result<Value, Misfit> {
    let n = rank(b, x)?;
    if axis >= n {
        return Err(Misfit(format!("axis {axis} of a value with {n} axes")));
    }
    let (mut begin, mut size) = (vec![0; n], vec![-1; n]);
    (begin[axis], size[axis]) = (index, 1);
    let (begin, size) = (make::ints(b, &begin), make::ints(b, &size));
    let part = b.op(Slice, &[x, begin, size])?;
    squeeze(b, part, Some(&[axis as i64]))
}

/// Several values, each of one more axis, side by side.
pub fn stack(b: &mut Builder, parts: &[Value], axis: i64) -> Result<Value, Misfit> {
    let parts = parts.iter().map(|&p| make::expand_dims(b, p, axis)).collect::<Result<Vec<_>, _>>()?;
    let out: Outputs = smallvec![make::concat(b, &parts, axis)?];
    Ok(out[0])
}
