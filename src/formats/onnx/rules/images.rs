//! Spellings of ONNX ops: resizing, sampling at computed positions.

use crate::lower::{Rule, Spelling};
use crate::ops::elementwise::{BinaryFn, UnaryFn};
use crate::ops::index::Gather;
use crate::ops::make;
use crate::ops::pool::resize::{Coordinates, Interpolation, Resize, Rounding, Sampling};
use crate::program::{Builder, Misfit, Value};
use crate::tensor::{DType, Tensor};

use super::common::{Spelled, axis_in, floats_attr, ints_input, known, one, rank, rows};

pub const RULES: &[Spelling] = rows! {
    "Resize" => resize;
    "Upsample" => resize;
    "GridSample" => grid_sample;
    "AffineGrid" => affine_grid;
};

/// What is asked of one axis.
#[derive(Clone, Copy, Debug)]
struct Axis {
    axis: usize,
    input: usize,
    output: usize,
    scale: f64,
    /// Start and end of the region, as parts of the axis.
    region: (f64, f64),
}

/// Attributes that all axes share.
#[derive(Clone, Debug)]
struct Style {
    mode: String,
    coordinates: String,
    nearest: String,
    cubic: f64,
    exclude_outside: bool,
    antialias: bool,
}

fn numbers(r: &Rule<'_, '_>, i: usize) -> Result<Option<Vec<f64>>, Misfit> {
    if !r.has_input(i) {
        return Ok(None);
    }
    let v = r.input(i)?;
    let t = known(r.b, v).or_else(|| r.b.fact(v).value.clone());
    let numbers = t.and_then(|t| t.to_f64s()).ok_or_else(|| Misfit(format!("input {i} must be constant")))?;
    Ok((!numbers.is_empty()).then_some(numbers))
}

/// Inputs (opset 11 on): x, region, scales, sizes; before: x, scales; opset 7 and older: scales as an attribute.
fn resize(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let dims = r.b.fact(x).dims().ok_or_else(|| Misfit::new("the shape must be known"))?;
    let is_old = r.opset < 11 || r.node.op == "Upsample";
    let (scales, sizes, region) = match is_old {
        true => (floats_attr(r, "scales").or(numbers(r, 1)?), None, None),
        false => (numbers(r, 2)?, ints_input(r, 3)?.filter(|s| !s.is_empty()), numbers(r, 1)?),
    };
    let axes = match r.ints_attr("axes") {
        Some(axes) => axes.iter().map(|&a| axis_in(a, dims.len())).collect::<Result<Vec<_>, _>>()?,
        None => (0..dims.len()).collect(),
    };
    let old_coordinates = if is_old { "asymmetric" } else { "half_pixel" };
    let style = Style {
        mode: r.str_or("mode", "nearest").to_owned(),
        coordinates: r.str_or("coordinate_transformation_mode", old_coordinates).to_owned(),
        nearest: r.str_or("nearest_mode", if is_old { "floor" } else { "round_prefer_floor" }).to_owned(),
        cubic: f64::from(r.float_or("cubic_coeff_a", -0.75)),
        exclude_outside: r.int_or("exclude_outside", 0) != 0,
        antialias: r.int_or("antialias", 0) != 0,
    };
    let policy = r.str_or("keep_aspect_ratio_policy", "stretch").to_owned();
    let parts = spans(&dims, &axes, scales.as_deref(), sizes.as_deref(), region.as_deref(), &policy)?;
    let mut y = x;
    for part in &parts {
        y = resized(r.b, y, part, &style)?;
    }
    if style.coordinates == "tf_crop_and_resize" {
        y = extrapolated(r, y, &parts)?;
    }
    one(y)
}

fn spans(
    dims: &[usize],
    axes: &[usize],
    scales: Option<&[f64]>,
    sizes: Option<&[i64]>,
    region: Option<&[f64]>,
    policy: &str,
) -> Result<Vec<Axis>, Misfit> {
    let n = axes.len();
    let input = |i: usize| dims[axes[i]];
    let region_of = |i: usize| region.filter(|r| r.len() == 2 * n).map_or((0.0, 1.0), |r| (r[i], r[n + i]));
    let most = 1i64 << 31;
    let make = |i: usize, output: f64, scale: f64| {
        let sound = output >= 0.0 && output < most as f64 && scale > 0.0;
        let axis = Axis { axis: axes[i], input: input(i), output: output as usize, scale, region: region_of(i) };
        if sound { Ok(axis) } else { Err(Misfit(format!("a scale of {scale} for axis {}", axes[i]))) }
    };
    match (scales, sizes) {
        (Some(scales), None) if scales.len() == n => {
            (0..n).map(|i| make(i, (input(i) as f64 * scales[i]).floor(), scales[i])).collect()
        }
        (_, Some(sizes)) if sizes.len() == n => {
            let ratios = (0..n).map(|i| sizes[i] as f64 / input(i).max(1) as f64);
            let ratio = match policy {
                "not_larger" => Some(ratios.fold(f64::INFINITY, f64::min)),
                "not_smaller" => Some(ratios.fold(0.0, f64::max)),
                _ => None,
            };
            (0..n)
                .map(|i| match ratio {
                    Some(s) => make(i, (s * input(i) as f64 + 0.5).floor(), s),
                    None => make(i, sizes[i] as f64, sizes[i] as f64 / input(i).max(1) as f64),
                })
                .collect()
        }
        _ => Err(Misfit(format!("scales or sizes for {n} axes are missing"))),
    }
}

/// One axis: our own op where it knows the style, else a product with a matrix of weights.
fn resized(b: &mut Builder, x: Value, part: &Axis, style: &Style) -> Result<Value, Misfit> {
    let is_identity = part.input == part.output && part.scale == 1.0 && style.coordinates != "tf_crop_and_resize";
    if is_identity || part.input == 0 {
        return Ok(x);
    }
    let coordinates = match style.coordinates.as_str() {
        "asymmetric" => Some(Coordinates::Asymmetric),
        "align_corners" if part.output as f64 == part.scale * part.input as f64 => Some(Coordinates::AlignCorners),
        "half_pixel" => Some(Coordinates::HalfPixel),
        _ => None,
    };
    let interpolation = match style.mode.as_str() {
        "nearest" => Some(Interpolation::Nearest(match style.nearest.as_str() {
            "floor" => Rounding::Floor,
            "ceil" => Rounding::Ceil,
            "round_prefer_ceil" => Rounding::HalfUp,
            _ => Rounding::HalfDown,
        })),
        "linear" | "bilinear" if !style.antialias && !style.exclude_outside => Some(Interpolation::Linear),
        "cubic" if !style.antialias => {
            Some(Interpolation::Cubic { a: style.cubic as f32, exclude_outside: style.exclude_outside, steps: 0 })
        }
        _ => None,
    };
    if let (Some(coordinates), Some(interpolation)) = (coordinates, interpolation) {
        let size = make::ints(b, &[part.output as i64]);
        let step = Some((1.0 / part.scale) as f32);
        return b.op(Resize(Sampling { axis: part.axis as i64, interpolation, coordinates, step }), &[x, size]);
    }
    if part.input.saturating_mul(part.output) > 1 << 24 {
        return Err(Misfit(format!("{} to {} elements in this mode is too large", part.input, part.output)));
    }
    let mut weights = vec![0.0; part.input * part.output];
    for o in 0..part.output {
        for (i, w) in weights_at(o, part, style)? {
            weights[i * part.output + o] += w;
        }
    }
    let dtype = b.fact(x).dtype;
    let matrix = b.literal(Tensor::from_f64s(dtype, &[part.input, part.output], weights));
    let n = rank(b, x)?;
    if n == 1 {
        let y = make::reshape(b, x, &[1, -1])?;
        let y = make::matmul(b, y, matrix)?;
        return make::reshape(b, y, &[-1]);
    }
    let mut perm: Vec<i64> = (0..n as i64).collect();
    perm.swap(part.axis, n - 1);
    let y = make::transpose(b, x, &perm)?;
    let y = make::matmul(b, y, matrix)?;
    make::transpose(b, y, &perm)
}

/// Where output element `o` lies on the input axis.
fn coordinate(o: usize, part: &Axis, mode: &str) -> Result<f64, Misfit> {
    let (at, input) = (o as f64, part.input as f64);
    let length = part.scale * input;
    let half = (at + 0.5) / part.scale - 0.5;
    Ok(match mode {
        "align_corners" if length == 1.0 => 0.0,
        "align_corners" => at * (input - 1.0) / (length - 1.0),
        "asymmetric" => at / part.scale,
        "pytorch_half_pixel" if part.output == 1 => -0.5,
        "pytorch_half_pixel" | "half_pixel" => half,
        "half_pixel_symmetric" => input / 2.0 * (1.0 - part.output as f64 / length) + half,
        "tf_crop_and_resize" => {
            let (start, end) = part.region;
            let inside = if part.output == 1 {
                (end - start) * (input - 1.0) / 2.0
            } else {
                at * (end - start) * (input - 1.0) / (length - 1.0)
            };
            start * (input - 1.0) + inside
        }
        other => return Err(Misfit(format!("unknown coordinates {other:?}"))),
    })
}

/// `(input element, weight)` of output element `o`.
fn weights_at(o: usize, part: &Axis, style: &Style) -> Result<Vec<(usize, f64)>, Misfit> {
    let at = coordinate(o, part, &style.coordinates)?;
    let last = part.input as i64 - 1;
    if style.mode == "nearest" {
        let i = match style.nearest.as_str() {
            "floor" => at.floor(),
            "ceil" => at.ceil(),
            "round_prefer_ceil" => (at + 0.5).floor(),
            _ => (at - 0.5).ceil(),
        };
        return Ok(vec![((i as i64).clamp(0, last) as usize, 1.0)]);
    }
    let (lower, a) = (at.floor(), style.cubic);
    // Wider windows take part where an antialiased image shrinks.
    let shrink = if style.antialias { part.scale.min(1.0) } else { 1.0 };
    let is_cubic = style.mode == "cubic";
    let reach = (if is_cubic { 2.0 } else { 1.0 } / shrink).ceil() as i64 + 1;
    let weight = |i: i64| {
        let d = ((i as f64 - at) * shrink).abs();
        match is_cubic {
            false => (1.0 - d).max(0.0),
            true if d <= 1.0 => ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0,
            true if d < 2.0 => ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a,
            true => 0.0,
        }
    };
    let all = (lower as i64 - reach..=lower as i64 + reach + 1).map(|i| (i, weight(i)));
    let kept: Vec<(i64, f64)> = all.filter(|(i, _)| !style.exclude_outside || (0..=last).contains(i)).collect();
    let total: f64 = kept.iter().map(|w| w.1).sum();
    let total = if total == 0.0 || !(style.antialias || style.exclude_outside) { 1.0 } else { total };
    Ok(kept.into_iter().map(|(i, w)| (i.clamp(0, last) as usize, w / total)).collect())
}

/// Elements whose position lies outside the image get a fixed value.
fn extrapolated(r: &mut Rule<'_, '_>, y: Value, parts: &[Axis]) -> Result<Value, Misfit> {
    let n = rank(r.b, y)?;
    let fill = make::scalar_like(r.b, y, f64::from(r.float_or("extrapolation_value", 0.0)));
    let mut y = y;
    for part in parts {
        let outside = (0..part.output)
            .map(|o| coordinate(o, part, "tf_crop_and_resize").map(|at| at < 0.0 || at > part.input as f64 - 1.0))
            .collect::<Result<Vec<bool>, _>>()?;
        if !outside.contains(&true) {
            continue;
        }
        let mask = r.b.literal(Tensor::from_bools(&[outside.len()], &outside));
        let mask = super::common::along(r.b, mask, part.axis, n)?;
        y = make::select(r.b, mask, fill, y)?;
    }
    Ok(y)
}

/// `theta · [x, y, (z,) 1]` on a regular grid over -1 to 1.
fn affine_grid(r: &mut Rule<'_, '_>) -> Spelled {
    let theta = r.input(0)?;
    let size = ints_input(r, 1)?.ok_or_else(|| Misfit::new("the size is missing"))?;
    let dtype = r.b.fact(theta).dtype;
    let align = r.int_or("align_corners", 0) != 0;
    let spatial: Vec<usize> = size.iter().skip(2).map(|&d| usize::try_from(d).unwrap_or(0)).collect();
    let d = spatial.len();
    let total = spatial.iter().try_fold(1usize, |n, &s| n.checked_mul(s)).filter(|&t| t <= 1 << 26);
    let total = total.ok_or_else(|| Misfit(format!("a grid of {spatial:?}")))?;
    let mut points = Vec::with_capacity(total * (d + 1));
    for i in 0..total {
        let mut rest = i;
        let mut own = vec![1.0; d + 1];
        for (k, &n) in spatial.iter().enumerate().rev() {
            let at = (rest % n) as f64;
            rest /= n;
            // The last axis is the first coordinate.
            own[d - 1 - k] = match align {
                true if n > 1 => -1.0 + 2.0 * at / (n as f64 - 1.0),
                true => 0.0,
                false => (2.0 * at + 1.0) / n as f64 - 1.0,
            };
        }
        points.extend(own);
    }
    let points = r.b.literal(Tensor::from_f64s(dtype, &[total, d + 1], points));
    let op = crate::ops::linalg::MatMul { transpose_a: false, transpose_b: true };
    let grid = r.b.op(op, &[points, theta])?;
    let mut shape = vec![size.first().copied().unwrap_or(1)];
    shape.extend(&size[2.min(size.len())..]);
    shape.push(d as i64);
    one(make::reshape(r.b, grid, &shape)?)
}

/// How positions outside the image are read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Border {
    Zeros,
    Edge,
    Mirror { align: bool },
}

/// Samples `x [n, c, …]` at `grid [n, …, d]`, whose coordinates run from -1 to 1 with the last axis first.
fn grid_sample(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, grid) = (r.input(0)?, r.input(1)?);
    let dims = r.b.fact(x).dims().ok_or_else(|| Misfit::new("the shape must be known"))?;
    let out = r.b.fact(grid).dims().ok_or_else(|| Misfit::new("the shape must be known"))?;
    let align = r.int_or("align_corners", 0) != 0;
    let d = dims.len().saturating_sub(2);
    if d == 0 || out.len() < 2 || out.last() != Some(&d) {
        return Err(Misfit(format!("a grid {out:?} for an image {dims:?}")));
    }
    let border = match r.str_or("padding_mode", "zeros") {
        "zeros" => Border::Zeros,
        "border" => Border::Edge,
        "reflection" => Border::Mirror { align },
        other => return Err(Misfit(format!("unknown padding mode {other:?}"))),
    };
    let mode = r.str_or("mode", "linear").to_owned();
    let points: usize = out[1..out.len() - 1].iter().product();
    let (n, c) = (dims[0] as i64, dims[1] as i64);
    let area: usize = dims[2..].iter().product();
    // Image as [n, positions, c], so that one gather reads all channels.
    let image = make::reshape(r.b, x, &[n, c, area as i64])?;
    let image = make::transpose(r.b, image, &[0, 2, 1])?;
    let grid = make::reshape(r.b, grid, &[n, points as i64, d as i64])?;
    let mut taps: Vec<Vec<(Value, Option<Value>)>> = Vec::new();
    for k in 0..d {
        let size = dims[k + 2] as f64;
        let at = make::slice(r.b, grid, &[0, 0, (d - 1 - k) as i64], &[-1, -1, 1])?;
        let at = make::reshape(r.b, at, &[n, points as i64])?;
        // -1 and 1 are the centres of the corner elements, or their outer edges.
        let at = make::add_scalar(r.b, at, 1.0)?;
        let at = if align {
            make::mul_scalar(r.b, at, (size - 1.0) / 2.0)?
        } else {
            let at = make::mul_scalar(r.b, at, size / 2.0)?;
            make::add_scalar(r.b, at, -0.5)?
        };
        let at = if mode == "nearest" { at } else { settled(r.b, at, size, border)? };
        taps.push(axis_taps(r.b, at, &mode)?);
    }
    let y = sampled(r.b, image, &dims[2..], &taps, border)?;
    let y = make::transpose(r.b, y, &[0, 2, 1])?;
    let mut shape = vec![n, c];
    shape.extend(out[1..out.len() - 1].iter().map(|&v| v as i64));
    one(make::reshape(r.b, y, &shape)?)
}

/// A position that is moved into the image before it is split into elements and weights.
fn settled(b: &mut Builder, at: Value, size: f64, border: Border) -> Result<Value, Misfit> {
    match border {
        Border::Zeros => Ok(at),
        Border::Edge => {
            let (low, high) = (make::scalar_like(b, at, 0.0), make::scalar_like(b, at, size - 1.0));
            let at = make::maximum(b, at, low)?;
            make::minimum(b, at, high)
        }
        Border::Mirror { align } => mirrored(b, at, size, align),
    }
}

/// Reflects at the outer edges of the image (or at the centres of its corners).
fn mirrored(b: &mut Builder, at: Value, size: f64, align: bool) -> Result<Value, Misfit> {
    let (low, high) = if align { (0.0, size - 1.0) } else { (-0.5, size - 0.5) };
    let span = high - low;
    if span <= 0.0 {
        return make::mul_scalar(b, at, 0.0);
    }
    // A triangle wave: |((x - low) mod 2 span)| folded at span.
    let from = make::add_scalar(b, at, -low)?;
    let period = make::scalar_like(b, at, 2.0 * span);
    let part = make::binary(b, BinaryFn::FloorMod, from, period)?;
    let back = make::sub(b, period, part)?;
    let folded = make::minimum(b, part, back)?;
    make::add_scalar(b, folded, low)
}

/// Elements that a position reads along one axis, and their weights (`None` = 1).
fn axis_taps(b: &mut Builder, at: Value, mode: &str) -> Result<Vec<(Value, Option<Value>)>, Misfit> {
    if mode == "nearest" {
        return Ok(vec![(make::unary(b, UnaryFn::Round, at)?, None)]);
    }
    let lower = make::unary(b, UnaryFn::Floor, at)?;
    let part = make::sub(b, at, lower)?;
    if mode != "cubic" && mode != "bicubic" {
        let upper = make::add_scalar(b, lower, 1.0)?;
        let rest = make::neg(b, part)?;
        let rest = make::add_scalar(b, rest, 1.0)?;
        return Ok(vec![(lower, Some(rest)), (upper, Some(part))]);
    }
    let a = -0.75;
    let mut taps = Vec::new();
    for k in -1i64..=2 {
        let index = make::add_scalar(b, lower, k as f64)?;
        // Distance from the position: part - k, without its sign.
        let distance = make::add_scalar(b, part, -k as f64)?;
        let distance = if k > 0 { make::neg(b, distance)? } else { distance };
        // Near elements: ((a + 2) d - (a + 3)) d² + 1; far ones: ((a d - 5 a) d + 8 a) d - 4 a.
        let coefficients =
            if k == 0 || k == 1 { [a + 2.0, -(a + 3.0), 0.0, 1.0] } else { [a, -5.0 * a, 8.0 * a, -4.0 * a] };
        let mut weight = make::mul_scalar(b, distance, coefficients[0])?;
        for c in &coefficients[1..3] {
            weight = make::add_scalar(b, weight, *c)?;
            weight = make::mul(b, weight, distance)?;
        }
        taps.push((index, Some(make::add_scalar(b, weight, coefficients[3])?)));
    }
    Ok(taps)
}

/// The weighted sum over all combinations of taps; `image [n, positions, c]`, result `[n, points, c]`.
fn sampled(
    b: &mut Builder,
    image: Value,
    dims: &[usize],
    taps: &[Vec<(Value, Option<Value>)>],
    border: Border,
) -> Result<Value, Misfit> {
    let dtype = b.fact(image).dtype;
    let counts: Vec<usize> = taps.iter().map(Vec::len).collect();
    let total: usize = counts.iter().product();
    let mut sum: Option<Value> = None;
    for choice in 0..total {
        let mut rest = choice;
        let (mut position, mut weight): (Option<Value>, Option<Value>) = (None, None);
        for (k, own) in taps.iter().enumerate() {
            let (index, w) = own[rest % counts[k]];
            rest /= counts[k];
            let size = dims[k] as f64;
            let mut index = index;
            if let Border::Mirror { align } = border {
                index = mirrored(b, index, size, align)?;
                index = make::unary(b, UnaryFn::Round, index)?;
            }
            let (low, high) = (make::scalar_like(b, index, 0.0), make::scalar_like(b, index, size - 1.0));
            let inside_low = make::maximum(b, index, low)?;
            let inside = make::minimum(b, inside_low, high)?;
            let mut w = w;
            if border == Border::Zeros {
                let is_inside = make::equal(b, inside, index)?;
                let counts = make::cast(b, is_inside, dtype)?;
                w = Some(match w {
                    Some(w) => make::mul(b, w, counts)?,
                    None => counts,
                });
            }
            let whole = make::cast(b, inside, DType::I64)?;
            position = Some(match position {
                Some(p) => {
                    let p = make::mul_scalar(b, p, size)?;
                    make::add(b, p, whole)?
                }
                None => whole,
            });
            weight = match (weight, w) {
                (Some(a), Some(c)) => Some(make::mul(b, a, c)?),
                (a, c) => a.or(c),
            };
        }
        let Some(position) = position else { continue };
        let mut part = b.op(Gather { axis: 1, batch_dims: 1 }, &[image, position])?;
        if let Some(w) = weight {
            let w = make::cast(b, w, dtype)?;
            let w = make::expand_dims(b, w, 2)?;
            part = make::mul(b, part, w)?;
        }
        sum = Some(match sum {
            Some(s) => make::add(b, s, part)?,
            None => part,
        });
    }
    sum.ok_or_else(|| Misfit::new("nothing is sampled"))
}
