//! Spellings of ONNX ops: boxes in images.

use crate::lower::{Rule, Spelling};
use crate::ops::elementwise::{BinaryFn, UnaryFn};
use crate::ops::index::{Gather, NonMaxSuppression};
use crate::ops::reduce::ReduceFn;
use crate::ops::{make, sample};
use crate::program::{Builder, Misfit, Value};
use crate::tensor::{DType, Tensor};

use super::common::{Spelled, one, rows};

pub const RULES: &[Spelling] = rows! {
    "NonMaxSuppression" => non_max_suppression;
    "RoiAlign" => roi_align;
};

fn non_max_suppression(r: &mut Rule<'_, '_>) -> Spelled {
    let (boxes, scores) = (r.input(0)?, r.input(1)?);
    let or = |r: &mut Rule<'_, '_>, i: usize, dtype: DType, value: f64| {
        if r.has_input(i) { r.input(i) } else { Ok(make::scalar(r.b, dtype, value)) }
    };
    let most = or(r, 2, DType::I64, 0.0)?;
    let overlap = or(r, 3, DType::F32, 0.0)?;
    let least = or(r, 4, DType::F32, f64::NEG_INFINITY)?;
    let op = NonMaxSuppression { is_centered: r.int_or("center_point_box", 0) != 0, is_inclusive: false };
    one(r.b.op(op, &[boxes, scores, most, overlap, least])?)
}

/// Inputs: image [b, c, h, w], regions [n, 4] as x1, y1, x2, y2, image of each region. Each region is divided into bins
/// and each bin is the mean (or largest) of samples on a grid in it.
fn roi_align(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, regions, of_region) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let dims = r.b.fact(x).dims().filter(|d| d.len() == 4);
    let dims = dims.ok_or_else(|| Misfit::new("the shape of the image must be known"))?;
    let count = |name: &str, default: i64| {
        let n = r.int_or(name, default);
        if (1..1 << 12).contains(&n) { Ok(n) } else { Err(Misfit(format!("{name} is {n}, which is not supported"))) }
    };
    let (rows, columns, samples) = (count("output_height", 1)?, count("output_width", 1)?, count("sampling_ratio", 0)?);
    let fold = match r.str_or("mode", "avg") {
        "avg" => ReduceFn::Mean,
        "max" => ReduceFn::Max,
        other => return Err(Misfit(format!("unknown mode {other:?}"))),
    };
    let default = if r.opset < 16 { "output_half_pixel" } else { "half_pixel" };
    let is_exact = r.str_or("coordinate_transformation_mode", default) == "half_pixel";
    let regions = make::mul_scalar(r.b, regions, f64::from(r.float_or("spatial_scale", 1.0)))?;
    let regions = if is_exact { make::add_scalar(r.b, regions, -0.5)? } else { regions };
    let image = make::transpose(r.b, x, &[0, 2, 3, 1])?;
    if fold == ReduceFn::Max {
        let grid = Grid { bins: [rows, columns], samples, is_exact };
        return largest(r, image, regions, of_region, &grid);
    }
    let mut y = make::gather(r.b, image, of_region, 0)?;
    for (axis, bins, first) in [(1, rows, 1), (2, columns, 0)] {
        let size = dims[axis + 1];
        let at = positions(r.b, regions, first, bins, samples, is_exact)?;
        let counts = is_near(r.b, at, size)?;
        let counts = make::cast(r.b, counts, r.b.fact(y).dtype)?;
        let at = clamped(r.b, at, size)?;
        y = sample::along(r.b, y, at, axis as i64, size, false)?;
        let mut weight = make::expand_dims(r.b, counts, -1)?;
        weight = make::expand_dims(r.b, weight, if axis == 1 { -1 } else { 1 })?;
        y = make::mul(r.b, y, weight)?;
    }
    let split = make::reshape(r.b, y, &[-1, rows, samples, columns, samples, dims[1] as i64])?;
    let axes = make::ints(r.b, &[2, 4]);
    let y = make::reduce(r.b, fold, split, axes, false)?;
    one(make::transpose(r.b, y, &[0, 3, 1, 2])?)
}

struct Grid {
    bins: [i64; 2],
    samples: i64,
    is_exact: bool,
}

/// The largest of all samples' corners, each times its weight in the interpolation (so the standard has it).
fn largest(r: &mut Rule<'_, '_>, image: Value, regions: Value, of_region: Value, grid: &Grid) -> Spelled {
    let dims = r.b.fact(image).dims().ok_or_else(|| Misfit::new("the shape of the image must be known"))?;
    let all = make::gather(r.b, image, of_region, 0)?;
    let mut sides = Vec::new();
    for (axis, first) in [(1, 1), (2, 0)] {
        let at = positions(r.b, regions, first, grid.bins[axis - 1], grid.samples, grid.is_exact)?;
        let counts = is_near(r.b, at, dims[axis])?;
        let at = clamped(r.b, at, dims[axis])?;
        let counts = make::cast(r.b, counts, r.b.fact(at).dtype)?;
        let lower = make::unary(r.b, UnaryFn::Floor, at)?;
        let after = make::sub(r.b, at, lower)?;
        let before = make::neg(r.b, after)?;
        let before = make::add_scalar(r.b, before, 1.0)?;
        let upper = make::add_scalar(r.b, lower, 1.0)?;
        let upper = clamped(r.b, upper, dims[axis])?;
        let mut own = Vec::new();
        for (at, weight) in [(lower, before), (upper, after)] {
            let weight = make::mul(r.b, weight, counts)?;
            own.push((make::cast(r.b, at, DType::I64)?, weight));
        }
        sides.push(own);
    }
    let mut best: Option<Value> = None;
    for &(row, row_weight) in &sides[0] {
        for &(column, column_weight) in &sides[1] {
            let corner = r.b.op(Gather { axis: 1, batch_dims: 1 }, &[all, row])?;
            let corner = r.b.op(Gather { axis: 2, batch_dims: 1 }, &[corner, column])?;
            let (rows, columns) = (make::expand_dims(r.b, row_weight, 2)?, make::expand_dims(r.b, column_weight, 1)?);
            let weight = make::mul(r.b, rows, columns)?;
            let weight = make::cast(r.b, weight, r.b.fact(corner).dtype)?;
            let weight = make::expand_dims(r.b, weight, 3)?;
            let value = make::mul(r.b, corner, weight)?;
            best = Some(match best {
                Some(b) => make::maximum(r.b, b, value)?,
                None => value,
            });
        }
    }
    let Some(best) = best else { return Err(Misfit::new("no corners")) };
    let ([rows, columns], samples) = (grid.bins, grid.samples);
    let split = make::reshape(r.b, best, &[-1, rows, samples, columns, samples, dims[3] as i64])?;
    let axes = make::ints(r.b, &[2, 4]);
    let y = make::reduce(r.b, ReduceFn::Max, split, axes, false)?;
    one(make::transpose(r.b, y, &[0, 3, 1, 2])?)
}

/// Positions [regions, bins · samples] in elements along one axis.
fn positions(
    b: &mut Builder,
    regions: Value,
    first: i64,
    bins: i64,
    samples: i64,
    is_exact: bool,
) -> Result<Value, Misfit> {
    let from = make::slice(b, regions, &[0, first], &[-1, 1])?;
    let to = make::slice(b, regions, &[0, first + 2], &[-1, 1])?;
    let mut span = make::sub(b, to, from)?;
    if !is_exact {
        let least = make::scalar_like(b, span, 1.0);
        span = make::maximum(b, span, least)?;
    }
    let part = |k: i64| (k as f64 + 0.5) / (samples * bins) as f64;
    let dtype = b.fact(span).dtype;
    let n = usize::try_from(bins * samples).unwrap_or(0);
    let parts = b.literal(Tensor::from_f64s(dtype, &[1, n], (0..bins * samples).map(part)));
    let offset = make::mul(b, span, parts)?;
    make::add(b, from, offset)
}

/// Samples further than one element outside the image are zero.
fn is_near(b: &mut Builder, at: Value, size: usize) -> Result<Value, Misfit> {
    let (low, high) = (make::scalar_like(b, at, -1.0), make::scalar_like(b, at, size as f64));
    let above = make::binary(b, BinaryFn::GreaterEqual, at, low)?;
    let below = make::less_equal(b, at, high)?;
    make::binary(b, BinaryFn::And, above, below)
}

fn clamped(b: &mut Builder, at: Value, size: usize) -> Result<Value, Misfit> {
    let (low, high) = (make::scalar_like(b, at, 0.0), make::scalar_like(b, at, size as f64 - 1.0));
    let at = make::maximum(b, at, low)?;
    make::minimum(b, at, high)
}
