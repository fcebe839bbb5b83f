//! Spellings of TensorFlow ops: resizing, colours, and moving space into depth or batch.

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::elementwise::BinaryFn;
use crate::ops::make;
use crate::ops::pool::Resize;
use crate::ops::pool::resample::{Filter, Shape};
use crate::ops::pool::resize::{Coordinates, Interpolation, Rounding, Sampling};
use crate::ops::sizes::{self, Size};
use crate::program::{Misfit, Value};
use crate::tensor::{DType, Tensor};

use super::conv::{from_last, to_last};

pub const RULES: &[Spelling] = &[
    Spelling { op: "ResizeNearestNeighbor", rule: resize_nearest },
    Spelling { op: "ResizeBilinear", rule: |r| resize_float(r, linear(r)) },
    Spelling { op: "ResizeBicubic", rule: |r| resize_float(r, cubic(r)) },
    Spelling { op: "ResizeArea", rule: |r| resize_float(r, area(r)) },
    Spelling { op: "ScaleAndTranslate", rule: scale_and_translate },
    Spelling { op: "SpaceToDepth", rule: space_to_depth },
    Spelling { op: "DepthToSpace", rule: depth_to_space },
    Spelling { op: "SpaceToBatchND", rule: space_to_batch },
    Spelling { op: "BatchToSpaceND", rule: batch_to_space },
    Spelling { op: "SpaceToBatch", rule: space_to_batch },
    Spelling { op: "BatchToSpace", rule: batch_to_space },
    Spelling { op: "HSVToRGB", rule: |r| colours(r, hsv_to_rgb) },
    Spelling { op: "RGBToHSV", rule: |r| colours(r, rgb_to_hsv) },
    Spelling { op: "AdjustContrastv2", rule: adjust_contrast },
    Spelling { op: "AdjustSaturation", rule: adjust_saturation },
    Spelling { op: "AdjustHue", rule: adjust_hue },
];

/// Height, then width; inputs images and size.
pub(super) fn resize(r: &mut Rule<'_, '_>, x: Value, how: [Sampling; 2]) -> Result<Value, Misfit> {
    let size = r.input(1)?;
    let mut y = x;
    for (i, sampling) in how.into_iter().enumerate() {
        let n = make::slice(r.b, size, &[i as i64], &[1])?;
        y = r.b.op(Resize(sampling), &[y, n])?;
    }
    Ok(y)
}

/// Both axes alike.
fn both(interpolation: Interpolation, coordinates: Coordinates) -> [Sampling; 2] {
    [1, 2].map(|axis| Sampling { axis, interpolation, coordinates, step: None })
}

/// `(align_corners, half_pixel_centers)`.
fn conventions(r: &Rule<'_, '_>) -> (bool, bool) {
    (r.bool_or("align_corners", false), r.bool_or("half_pixel_centers", false))
}

pub(super) fn nearest(r: &Rule<'_, '_>) -> [Sampling; 2] {
    let (rounding, coordinates) = match conventions(r) {
        (true, _) => (Rounding::HalfUp, Coordinates::AlignCorners),
        (_, true) => (Rounding::Floor, Coordinates::HalfPixelFloor),
        _ => (Rounding::Floor, Coordinates::Asymmetric),
    };
    both(Interpolation::Nearest(rounding), coordinates)
}

pub(super) fn linear(r: &Rule<'_, '_>) -> [Sampling; 2] {
    let coordinates = match conventions(r) {
        (true, _) => Coordinates::AlignCorners,
        (_, true) => Coordinates::HalfPixel,
        _ => Coordinates::Asymmetric,
    };
    both(Interpolation::Linear, coordinates)
}

/// TensorFlow's table has 1024 positions; with half-pixel centres Keys' a = −0.5 and renormalised borders, else −0.75.
pub(super) fn cubic(r: &Rule<'_, '_>) -> [Sampling; 2] {
    let (coordinates, a, exclude_outside) = match conventions(r) {
        (true, _) => (Coordinates::AlignCorners, -0.75, false),
        (_, true) => (Coordinates::HalfPixel, -0.5, true),
        _ => (Coordinates::Asymmetric, -0.75, false),
    };
    both(Interpolation::Cubic { a, exclude_outside, steps: 1024 }, coordinates)
}

fn area(r: &Rule<'_, '_>) -> [Sampling; 2] {
    let (corners, _) = conventions(r);
    both(Interpolation::Area, if corners { Coordinates::AlignCorners } else { Coordinates::Asymmetric })
}

fn resize_nearest(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (x, dtype, how) = (r.input(0)?, r.fact(0)?.dtype, nearest(r));
    let exact = if dtype.is_float() { x } else { make::cast(r.b, x, DType::F64)? };
    let y = resize(r, exact, how)?;
    Ok(smallvec![make::cast(r.b, y, dtype)?])
}

/// The result is always float32.
fn resize_float(r: &mut Rule<'_, '_>, how: [Sampling; 2]) -> Result<Outputs, Misfit> {
    let x = r.input(0)?;
    let x = make::cast(r.b, x, DType::F32)?;
    Ok(smallvec![resize(r, x, how)?])
}

/// Inputs images, size, scale, translation; the last two must be known.
fn scale_and_translate(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let shape = match r.str_or("kernel_type", "lanczos3") {
        "lanczos1" => Shape::Lanczos(1.0),
        "lanczos3" => Shape::Lanczos(3.0),
        "lanczos5" => Shape::Lanczos(5.0),
        "gaussian" => Shape::Gaussian,
        "box" => Shape::Box,
        "triangle" => Shape::Triangle,
        "keyscubic" => Shape::KeysCubic,
        "mitchellcubic" => Shape::MitchellCubic,
        other => return Err(Misfit(format!("unknown kernel_type {other:?}"))),
    };
    let antialias = r.bool_or("antialias", true);
    let pair = |i: usize| -> Result<[f32; 2], Misfit> {
        let known = r.fact(i)?.value.as_ref().and_then(Tensor::to_f64s);
        match known.as_deref() {
            Some(&[a, b]) => Ok([a as f32, b as f32]),
            _ => Err(Misfit(format!("input {i} must be two constant numbers"))),
        }
    };
    let (scale, shift) = (pair(2)?, pair(3)?);
    let how = [0, 1].map(|i| {
        let filter = Filter { shape, scale: scale[i], translation: shift[i], antialias };
        let interpolation = Interpolation::Filter(filter);
        Sampling { axis: i as i64 + 1, interpolation, coordinates: Coordinates::Asymmetric, step: None }
    });
    resize_float(r, how)
}

fn block_size(r: &Rule<'_, '_>) -> Result<i64, Misfit> {
    let n = r.int_or("block_size", 0);
    if (1..1 << 16).contains(&n) { Ok(n) } else { Err(Misfit(format!("a block_size of {n} is out of range"))) }
}

fn four(all: Vec<Size>) -> Result<[Size; 4], Misfit> {
    all.try_into().map_err(|all: Vec<Size>| Misfit(format!("expected four axes, found {}", all.len())))
}

fn space_to_depth(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (n, x) = (block_size(r)?, r.input(0)?);
    let x = to_last(r, x, 2)?;
    let [batch, height, width, depth] = four(sizes::sizes_of(r.b, x)?)?;
    let (rows, columns) = (sizes::over(r.b, height, n)?, sizes::over(r.b, width, n)?);
    let block = Size::Known(n);
    let split = sizes::reshape(r.b, x, &[batch, rows, block, columns, block, depth])?;
    let moved = make::transpose(r.b, split, &[0, 1, 3, 2, 4, 5])?;
    let deep = sizes::times(r.b, depth, Size::Known(n * n))?;
    let y = sizes::reshape(r.b, moved, &[batch, rows, columns, deep])?;
    Ok(smallvec![from_last(r, y, 2)?])
}

fn depth_to_space(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (n, x) = (block_size(r)?, r.input(0)?);
    let x = to_last(r, x, 2)?;
    let [batch, rows, columns, depth] = four(sizes::sizes_of(r.b, x)?)?;
    let (block, flat) = (Size::Known(n), sizes::over(r.b, depth, n * n)?);
    let split = sizes::reshape(r.b, x, &[batch, rows, columns, block, block, flat])?;
    let moved = make::transpose(r.b, split, &[0, 1, 3, 2, 4, 5])?;
    let (height, width) = (sizes::times(r.b, rows, block)?, sizes::times(r.b, columns, block)?);
    let y = sizes::reshape(r.b, moved, &[batch, height, width, flat])?;
    Ok(smallvec![from_last(r, y, 2)?])
}

/// Block shape and the pairs of paddings or crops. The older ops have one block size for two axes, as an attribute, and
/// the pairs as input 1.
fn blocks(r: &Rule<'_, '_>) -> Result<(Vec<i64>, Vec<(i64, i64)>), Misfit> {
    let (block, flat) = match r.attr("block_size") {
        Some(_) => (vec![block_size(r)?; 2], r.ints(1)?),
        None => (r.ints(1)?, r.ints(2)?),
    };
    let pairs: Vec<(i64, i64)> = flat.chunks_exact(2).map(|p| (p[0], p[1])).collect();
    let sound = block.iter().all(|b| (1..1 << 20).contains(b)) && pairs.iter().all(|p| p.0 >= 0 && p.1 >= 0);
    if !sound || pairs.len() != block.len() || pairs.len() * 2 != flat.len() {
        return Err(Misfit(format!("block shape {block:?} and pairs {flat:?} do not fit")));
    }
    Ok((block, pairs))
}

fn space_to_batch(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (block, pads) = blocks(r)?;
    let x = r.input(0)?;
    let rank = r.fact(0)?.rank().ok_or_else(|| Misfit::new("the number of axes must be known"))?;
    let m = block.len();
    if rank < m + 1 {
        return Err(Misfit(format!("a tensor of rank {rank} has no {m} spatial axes")));
    }
    let mut paddings = vec![(0, 0); rank];
    paddings[1..=m].copy_from_slice(&pads);
    let x = if pads.iter().any(|&p| p != (0, 0)) { make::pad(r.b, x, &paddings)? } else { x };
    let all = sizes::sizes_of(r.b, x)?;
    let mut split = vec![all[0]];
    let mut result = vec![sizes::times(r.b, all[0], Size::Known(block.iter().product()))?];
    for (i, &b) in block.iter().enumerate() {
        let n = sizes::over(r.b, all[i + 1], b)?;
        split.extend([n, Size::Known(b)]);
        result.push(n);
    }
    split.extend(&all[m + 1..]);
    result.extend(&all[m + 1..]);
    let x = sizes::reshape(r.b, x, &split)?;
    let m = m as i64;
    let perm: Vec<i64> = (0..m)
        .map(|i| 2 * i + 2)
        .chain([0])
        .chain((0..m).map(|i| 2 * i + 1))
        .chain(2 * m + 1..rank as i64 + m)
        .collect();
    let x = make::transpose(r.b, x, &perm)?;
    Ok(smallvec![sizes::reshape(r.b, x, &result)?])
}

fn batch_to_space(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (block, crops) = blocks(r)?;
    let x = r.input(0)?;
    let all = sizes::sizes_of(r.b, x)?;
    let m = block.len();
    if all.len() < m + 1 {
        return Err(Misfit(format!("a tensor of rank {} has no {m} spatial axes", all.len())));
    }
    let batch = sizes::over(r.b, all[0], block.iter().product())?;
    let mut split: Vec<Size> = block.iter().map(|&b| Size::Known(b)).collect();
    split.push(batch);
    split.extend(&all[1..]);
    let x = sizes::reshape(r.b, x, &split)?;
    let k = m as i64;
    let perm: Vec<i64> =
        [k].into_iter().chain((0..k).flat_map(|i| [k + 1 + i, i])).chain(2 * k + 1..all.len() as i64 + k).collect();
    let x = make::transpose(r.b, x, &perm)?;
    let mut whole = vec![batch];
    for (i, &b) in block.iter().enumerate() {
        whole.push(sizes::times(r.b, all[i + 1], Size::Known(b))?);
    }
    whole.extend(&all[m + 1..]);
    let x = sizes::reshape(r.b, x, &whole)?;
    if crops.iter().all(|&c| c == (0, 0)) {
        return Ok(smallvec![x]);
    }
    let mut begin = vec![0i64; all.len()];
    for (i, &(before, after)) in crops.iter().enumerate() {
        begin[i + 1] = before;
        whole[i + 1] = sizes::plus(r.b, whole[i + 1], -(before + after))?;
    }
    let (begin, size) = (r.ints_literal(&begin), sizes::stack(r.b, &whole)?);
    Ok(smallvec![r.b.op(crate::ops::shape::Slice, &[x, begin, size])?])
}

fn colours(r: &mut Rule<'_, '_>, f: fn(&mut Rule<'_, '_>, Value) -> Result<Value, Misfit>) -> Result<Outputs, Misfit> {
    let x = r.input(0)?;
    Ok(smallvec![f(r, x)?])
}

/// One of the three channels, as an axis of size 1.
fn channel(r: &mut Rule<'_, '_>, x: Value, i: i64) -> Result<Value, Misfit> {
    let index = r.ints_literal(&[i]);
    make::gather(r.b, x, index, -1)
}

fn vector_like(r: &mut Rule<'_, '_>, x: Value, values: [f64; 3]) -> Value {
    let dtype = r.b.fact(x).dtype;
    r.b.literal(Tensor::from_f64s(dtype, &[3], values))
}

/// `v − v s · clip(min(k, 4 − k), 0, 1)` with `k = (6 h + n) mod 6`, n = 5, 3, 1 for red, green, blue.
fn hsv_to_rgb(r: &mut Rule<'_, '_>, x: Value) -> Result<Value, Misfit> {
    let (h, s, v) = (channel(r, x, 0)?, channel(r, x, 1)?, channel(r, x, 2)?);
    let offsets = vector_like(r, x, [5.0, 3.0, 1.0]);
    let h = make::mul_scalar(r.b, h, 6.0)?;
    let k = make::add(r.b, h, offsets)?;
    let six = make::scalar_like(r.b, x, 6.0);
    let k = make::binary(r.b, BinaryFn::FloorMod, k, six)?;
    let four = make::scalar_like(r.b, x, 4.0);
    let down = make::sub(r.b, four, k)?;
    let m = make::minimum(r.b, k, down)?;
    let m = clip(r, m, 0.0, 1.0)?;
    let chroma = make::mul(r.b, v, s)?;
    let less = make::mul(r.b, chroma, m)?;
    make::sub(r.b, v, less)
}

fn clip(r: &mut Rule<'_, '_>, x: Value, low: f64, high: f64) -> Result<Value, Misfit> {
    let (low, high) = (make::scalar_like(r.b, x, low), make::scalar_like(r.b, x, high));
    let x = make::maximum(r.b, x, low)?;
    make::minimum(r.b, x, high)
}

fn rgb_to_hsv(r: &mut Rule<'_, '_>, x: Value) -> Result<Value, Misfit> {
    let (red, green, blue) = (channel(r, x, 0)?, channel(r, x, 1)?, channel(r, x, 2)?);
    let v = make::reduce_max(r.b, x, &[-1], true)?;
    let minus = make::neg(r.b, x)?;
    let minus_low = make::reduce_max(r.b, minus, &[-1], true)?;
    let range = make::add(r.b, v, minus_low)?;
    let (zero, one) = (make::scalar_like(r.b, x, 0.0), make::scalar_like(r.b, x, 1.0));
    let quotient = |r: &mut Rule<'_, '_>, a: Value, b: Value| -> Result<Value, Misfit> {
        let sound = make::greater(r.b, b, zero)?;
        let safe = make::select(r.b, sound, b, one)?;
        let q = make::div(r.b, a, safe)?;
        make::select(r.b, sound, q, zero)
    };
    let s = quotient(r, range, v)?;
    let mut sector = |a: Value, b: Value, turn: f64| -> Result<Value, Misfit> {
        let d = make::sub(r.b, a, b)?;
        let q = quotient(r, d, range)?;
        let q = make::mul_scalar(r.b, q, 1.0 / 6.0)?;
        make::add_scalar(r.b, q, turn)
    };
    let (from_red, from_green, from_blue) =
        (sector(green, blue, 0.0)?, sector(blue, red, 1.0 / 3.0)?, sector(red, green, 2.0 / 3.0)?);
    let is_green = make::equal(r.b, green, v)?;
    let h = make::select(r.b, is_green, from_green, from_blue)?;
    let is_red = make::equal(r.b, red, v)?;
    let h = make::select(r.b, is_red, from_red, h)?;
    let flat = make::less_equal(r.b, range, zero)?;
    let h = make::select(r.b, flat, zero, h)?;
    let below = make::less(r.b, h, zero)?;
    let wrapped = make::add(r.b, h, one)?;
    let h = make::select(r.b, below, wrapped, h)?;
    make::concat(r.b, &[h, s, v], -1)
}

/// `(x − mean) · factor + mean`, the mean over height and width.
fn adjust_contrast(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (x, factor) = (r.input(0)?, r.input(1)?);
    let mean = make::reduce_mean(r.b, x, &[-3, -2], true)?;
    let dtype = r.b.fact(x).dtype;
    let factor = make::cast(r.b, factor, dtype)?;
    let centred = make::sub(r.b, x, mean)?;
    let scaled = make::mul(r.b, centred, factor)?;
    Ok(smallvec![make::add(r.b, scaled, mean)?])
}

fn adjust_saturation(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (x, scale) = (r.input(0)?, r.input(1)?);
    let hsv = rgb_to_hsv(r, x)?;
    let (h, s, v) = (channel(r, hsv, 0)?, channel(r, hsv, 1)?, channel(r, hsv, 2)?);
    let dtype = r.b.fact(x).dtype;
    let scale = make::cast(r.b, scale, dtype)?;
    let s = make::mul(r.b, s, scale)?;
    let s = clip(r, s, 0.0, 1.0)?;
    let hsv = make::concat(r.b, &[h, s, v], -1)?;
    Ok(smallvec![hsv_to_rgb(r, hsv)?])
}

fn adjust_hue(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (x, delta) = (r.input(0)?, r.input(1)?);
    let hsv = rgb_to_hsv(r, x)?;
    let turn = {
        let dtype = r.b.fact(x).dtype;
        let delta = make::cast(r.b, delta, dtype)?;
        let only_hue = vector_like(r, x, [1.0, 0.0, 0.0]);
        make::mul(r.b, only_hue, delta)?
    };
    // The hue wraps around inside the conversion back.
    let hsv = make::add(r.b, hsv, turn)?;
    Ok(smallvec![hsv_to_rgb(r, hsv)?])
}
