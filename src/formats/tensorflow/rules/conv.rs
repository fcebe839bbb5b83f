//! Spellings of TensorFlow ops: convolution and pooling. Our ops have channels last; `NCHW` graphs get transpositions
//! around them.

use smallvec::{SmallVec, smallvec};

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::conv::{Conv, ConvFilter, ConvInput, Padding, Window};
use crate::ops::make;
use crate::ops::pool::resize::{Coordinates, Interpolation, Sampling};
use crate::ops::pool::{AveragePool, AveragePoolGradient, MaxPool, MaxPoolGradient, MaxPoolIndex};
use crate::ops::shape::{Pad, PadMode, StridedMasks, StridedSlice};
use crate::program::{Misfit, Value};
use crate::tensor::{DType, Dims, Tensor};

use super::nn::channels_first;
use super::{arrays, image};

pub const RULES: &[Spelling] = &[
    Spelling { op: "Conv2D", rule: |r| conv(r, 2) },
    Spelling { op: "Conv3D", rule: |r| conv(r, 3) },
    Spelling { op: "DepthwiseConv2dNative", rule: depthwise },
    Spelling { op: "Conv2DBackpropInput", rule: |r| conv_input(r, 2) },
    Spelling { op: "Conv3DBackpropInputV2", rule: |r| conv_input(r, 3) },
    Spelling { op: "Conv2DBackpropFilter", rule: |r| conv_filter(r, 2) },
    Spelling { op: "Conv3DBackpropFilterV2", rule: |r| conv_filter(r, 3) },
    Spelling { op: "DepthwiseConv2dNativeBackpropInput", rule: depthwise_input },
    Spelling { op: "DepthwiseConv2dNativeBackpropFilter", rule: depthwise_filter_gradient },
    Spelling { op: "MaxPool", rule: |r| max_pool(r, 2) },
    Spelling { op: "MaxPoolV2", rule: |r| max_pool(r, 2) },
    Spelling { op: "MaxPool3D", rule: |r| max_pool(r, 3) },
    Spelling { op: "MaxPoolWithArgmax", rule: max_pool_with_argmax },
    Spelling { op: "MaxPoolGrad", rule: |r| max_pool_grad(r, 2) },
    Spelling { op: "MaxPoolGradV2", rule: |r| max_pool_grad(r, 2) },
    Spelling { op: "MaxPool3DGrad", rule: |r| max_pool_grad(r, 3) },
    Spelling { op: "AvgPool", rule: |r| average_pool(r, 2) },
    Spelling { op: "AvgPool3D", rule: |r| average_pool(r, 3) },
    Spelling { op: "AvgPoolGrad", rule: |r| average_pool_grad(r, 2) },
    Spelling { op: "AvgPool3DGrad", rule: |r| average_pool_grad(r, 3) },
    Spelling { op: "ExtractImagePatches", rule: |r| extract_patches(r, 2) },
    Spelling { op: "ExtractVolumePatches", rule: |r| extract_patches(r, 3) },
    Spelling { op: "FusedPadConv2D", rule: |r| pad_and_convolve(r, false) },
    Spelling { op: "FusedResizeAndPadConv2D", rule: |r| pad_and_convolve(r, true) },
    Spelling { op: "Dilation2D", rule: dilation },
];

/// An attribute with one number per axis, without batch and channels; where it is missing, ones.
fn spatial(r: &Rule<'_, '_>, name: &str, n: usize) -> Result<Dims, Misfit> {
    let Some(all) = r.ints_attr(name).filter(|a| !a.is_empty()) else { return Ok(Dims::from_elem(1, n)) };
    of_spatial(r, name, &all, n)
}

fn of_spatial(r: &Rule<'_, '_>, name: &str, all: &[i64], n: usize) -> Result<Dims, Misfit> {
    let wrong = || Misfit(format!("{name} {all:?} does not describe {n} spatial axes"));
    if all.len() != n + 2 {
        return Err(wrong());
    }
    let (first, others) = if channels_first(r) { (2, [0, 1]) } else { (1, [0, n + 1]) };
    if others.iter().any(|&o| all[o] != 1) {
        return Err(Misfit(format!("{name} {all:?} reaches over batch or channels, which is not supported")));
    }
    all[first..first + n].iter().map(|&v| usize::try_from(v).map_err(|_| wrong())).collect()
}

fn window(r: &Rule<'_, '_>, n: usize) -> Result<Window, Misfit> {
    let padding = match r.str_or("padding", "VALID") {
        "SAME" => Padding::SameUpper,
        "VALID" => Padding::Valid,
        "EXPLICIT" => {
            let all = r.ints_attr("explicit_paddings").unwrap_or_default();
            if all.len() != 2 * (n + 2) {
                return Err(Misfit(format!("explicit_paddings {all:?} does not describe {} axes", n + 2)));
            }
            let first = if channels_first(r) { 2 } else { 1 };
            Padding::Explicit((first..first + n).map(|a| (all[2 * a], all[2 * a + 1])).collect())
        }
        other => return Err(Misfit(format!("unknown padding {other:?}"))),
    };
    Ok(Window { strides: spatial(r, "strides", n)?, dilations: spatial(r, "dilations", n)?, padding, ceil: false })
}

/// `NC…` → `N…C` where the node says so.
pub(super) fn to_last(r: &mut Rule<'_, '_>, x: Value, n: usize) -> Result<Value, Misfit> {
    if !channels_first(r) {
        return Ok(x);
    }
    let perm: Vec<i64> = [0].into_iter().chain(2..n as i64 + 2).chain([1]).collect();
    make::transpose(r.b, x, &perm)
}

/// `N…C` → `NC…` where the node says so.
pub(super) fn from_last(r: &mut Rule<'_, '_>, y: Value, n: usize) -> Result<Value, Misfit> {
    if !channels_first(r) {
        return Ok(y);
    }
    let perm: Vec<i64> = [0, n as i64 + 1].into_iter().chain(1..=n as i64).collect();
    make::transpose(r.b, y, &perm)
}

/// The sizes of an input, reordered as the input itself would be.
fn sizes_to_last(r: &mut Rule<'_, '_>, sizes: Value, n: usize) -> Result<Value, Misfit> {
    if !channels_first(r) {
        return Ok(sizes);
    }
    let order: Vec<i64> = [0].into_iter().chain(2..n as i64 + 2).chain([1]).collect();
    let order = r.ints_literal(&order);
    make::gather(r.b, sizes, order, 0)
}

/// Groups: how often the filter's input channels fit into the tensor's.
fn groups(r: &Rule<'_, '_>, x: Value, filter: Value) -> usize {
    let (x, f) = (r.b.fact(x), r.b.fact(filter));
    let last = |rank: Option<usize>, back: usize| rank.and_then(|r| r.checked_sub(back));
    let cin = last(x.rank(), 1).and_then(|a| x.shape.dim(a));
    let per_group = last(f.rank(), 2).and_then(|a| f.shape.dim(a));
    match (cin, per_group) {
        (Some(c), Some(p)) if p > 0 && c % p == 0 && c > p => c / p,
        _ => 1,
    }
}

fn conv(r: &mut Rule<'_, '_>, n: usize) -> Result<Outputs, Misfit> {
    let window = window(r, n)?;
    let (x, w) = (r.input(0)?, r.input(1)?);
    let x = to_last(r, x, n)?;
    let groups = groups(r, x, w);
    let y = r.b.op(Conv { window, groups }, &[x, w])?;
    Ok(smallvec![from_last(r, y, n)?])
}

/// `[h, w, in, times]` → `[h, w, 1, in · times]` and the number of groups.
fn depthwise_filter(r: &mut Rule<'_, '_>, w: Value) -> Result<(Value, usize), Misfit> {
    let dims: SmallVec<[Option<usize>; 6]> = r.b.fact(w).shape.partial().unwrap_or_default().into();
    let [Some(h), Some(width), Some(cin), Some(times)] = dims[..] else {
        return Err(Misfit::new("the filter's shape must be known and have four axes"));
    };
    let shape = [h as i64, width as i64, 1, (cin * times) as i64];
    Ok((make::reshape(r.b, w, &shape)?, cin))
}

fn depthwise(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let window = window(r, 2)?;
    let (x, w) = (r.input(0)?, r.input(1)?);
    let x = to_last(r, x, 2)?;
    let (w, groups) = depthwise_filter(r, w)?;
    let y = r.b.op(Conv { window, groups }, &[x, w])?;
    Ok(smallvec![from_last(r, y, 2)?])
}

/// The result of a 2-D convolution node, depthwise where its op says so.
pub(super) fn convolve(r: &mut Rule<'_, '_>) -> Result<Value, Misfit> {
    let outputs = if r.node.op.contains("Depthwise") { depthwise(r)? } else { conv(r, 2)? };
    Ok(outputs[0])
}

/// Inputs sizes, filter, gradient.
fn conv_input(r: &mut Rule<'_, '_>, n: usize) -> Result<Outputs, Misfit> {
    let window = window(r, n)?;
    let (sizes, w, y) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let (sizes, y) = (sizes_to_last(r, sizes, n)?, to_last(r, y, n)?);
    let cin = r.b.fact(sizes).ints().and_then(|s| usize::try_from(*s.last()?).ok());
    let per_group = r.b.fact(w).rank().and_then(|k| r.b.fact(w).shape.dim(k.checked_sub(2)?));
    let groups = match (cin, per_group) {
        (Some(c), Some(p)) if p > 0 && c % p == 0 && c > p => c / p,
        _ => 1,
    };
    let x = r.b.op(ConvInput { window, groups }, &[sizes, w, y])?;
    Ok(smallvec![from_last(r, x, n)?])
}

fn depthwise_input(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let window = window(r, 2)?;
    let (sizes, w, y) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let (sizes, y) = (sizes_to_last(r, sizes, 2)?, to_last(r, y, 2)?);
    let (w, groups) = depthwise_filter(r, w)?;
    let x = r.b.op(ConvInput { window, groups }, &[sizes, w, y])?;
    Ok(smallvec![from_last(r, x, 2)?])
}

/// Inputs x, filter sizes, gradient.
fn conv_filter(r: &mut Rule<'_, '_>, n: usize) -> Result<Outputs, Misfit> {
    let window = window(r, n)?;
    let (x, sizes, y) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let (x, y) = (to_last(r, x, n)?, to_last(r, y, n)?);
    Ok(smallvec![r.b.op(ConvFilter { window, groups: 1 }, &[x, sizes, y])?])
}

fn depthwise_filter_gradient(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let window = window(r, 2)?;
    let (x, y, sizes) = (r.input(0)?, r.input(2)?, r.ints(1)?);
    let (x, y) = (to_last(r, x, 2)?, to_last(r, y, 2)?);
    let [h, w, cin, times] = sizes[..] else { return Err(Misfit(format!("{sizes:?} is not a filter shape"))) };
    let groups = usize::try_from(cin).map_err(|_| Misfit(format!("{sizes:?} is not a filter shape")))?;
    let flat = r.ints_literal(&[h, w, 1, cin.saturating_mul(times)]);
    let dw = r.b.op(ConvFilter { window, groups }, &[x, flat, y])?;
    Ok(smallvec![make::reshape(r.b, dw, &[h, w, cin, times])?])
}

/// Window sizes: an attribute, or in the second versions an input; the strides likewise.
fn pool_window(r: &Rule<'_, '_>, n: usize) -> Result<(Dims, Window), Misfit> {
    let mut window = window(r, n)?;
    let first = match r.node.op.as_str() {
        "MaxPoolV2" => 1,
        "MaxPoolGradV2" => 3,
        _ => return Ok((spatial(r, "ksize", n)?, window)),
    };
    let (size, strides) = (r.ints(first)?, r.ints(first + 1)?);
    window.strides = of_spatial(r, "strides", &strides, n)?;
    Ok((of_spatial(r, "ksize", &size, n)?, window))
}

fn max_pool(r: &mut Rule<'_, '_>, n: usize) -> Result<Outputs, Misfit> {
    let (size, window) = pool_window(r, n)?;
    let x = r.input(0)?;
    let x = to_last(r, x, n)?;
    let y = r.b.op(MaxPool { size, window }, &[x])?;
    Ok(smallvec![from_last(r, y, n)?])
}

/// The second output counts channels too: `(position · channels) + channel`, and the batch where the node says so.
fn max_pool_with_argmax(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (size, window) = pool_window(r, 2)?;
    let x = r.input(0)?;
    let y = r.b.op(MaxPool { size: size.clone(), window: window.clone() }, &[x])?;
    let Some(dims) = r.fact(0)?.dims().filter(|d| d.len() == 4) else { return Ok(smallvec![y]) };
    let positions = r.b.op(MaxPoolIndex { size, window }, &[x])?;
    let scaled = make::mul_scalar(r.b, positions, dims[3] as f64)?;
    let channel: Vec<i64> = (0..dims[3] as i64).collect();
    let channel = r.ints_literal(&channel);
    let mut flat = make::add(r.b, scaled, channel)?;
    if r.bool_or("include_batch_in_index", false) {
        let image = (dims[1] * dims[2] * dims[3]) as i64;
        let starts: Vec<i64> = (0..dims[0] as i64).map(|b| b * image).collect();
        let starts = r.b.literal(Tensor::from_slice(&[dims[0], 1, 1, 1], &starts));
        flat = make::add(r.b, flat, starts)?;
    }
    let to = r.type_attr("Targmax").unwrap_or(DType::I64);
    Ok(smallvec![y, make::cast(r.b, flat, to)?])
}

/// Inputs x, y, gradient.
fn max_pool_grad(r: &mut Rule<'_, '_>, n: usize) -> Result<Outputs, Misfit> {
    let (size, window) = pool_window(r, n)?;
    let (x, g) = (r.input(0)?, r.input(2)?);
    let (x, g) = (to_last(r, x, n)?, to_last(r, g, n)?);
    let dx = r.b.op(MaxPoolGradient { size, window }, &[x, g])?;
    Ok(smallvec![from_last(r, dx, n)?])
}

fn average_pool(r: &mut Rule<'_, '_>, n: usize) -> Result<Outputs, Misfit> {
    let (size, window) = pool_window(r, n)?;
    let x = r.input(0)?;
    let x = to_last(r, x, n)?;
    let y = r.b.op(AveragePool { size, window, count_padding: false }, &[x])?;
    Ok(smallvec![from_last(r, y, n)?])
}

/// Inputs sizes, gradient.
fn average_pool_grad(r: &mut Rule<'_, '_>, n: usize) -> Result<Outputs, Misfit> {
    let (size, window) = pool_window(r, n)?;
    let (sizes, g) = (r.input(0)?, r.input(1)?);
    let (sizes, g) = (sizes_to_last(r, sizes, n)?, to_last(r, g, n)?);
    let dx = r.b.op(AveragePoolGradient { size, window, count_padding: false }, &[sizes, g])?;
    Ok(smallvec![from_last(r, dx, n)?])
}

/// What each window reads, laid out in channels: a convolution with the identity.
fn extract_patches(r: &mut Rule<'_, '_>, axes: usize) -> Result<Outputs, Misfit> {
    let (size, strides) = (spatial(r, "ksizes", axes)?, spatial(r, "strides", axes)?);
    let rates = spatial(r, "rates", axes)?;
    let x = r.input(0)?;
    let fact = r.fact(0)?;
    let dtype = fact.dtype;
    let channels = fact.shape.dim(axes + 1).ok_or_else(|| Misfit::new("the number of channels must be known"))?;
    let n = size.iter().try_fold(channels, |n, &s| n.checked_mul(s)).filter(|&n| n <= 1 << 11);
    let n = n.ok_or_else(|| Misfit(format!("windows of {:?} on {channels} channels are too large", &size[..])))?;
    let identity = (0..n * n).map(|i| if i / n == i % n { 1.0 } else { 0.0 });
    let shape: Dims = size.iter().copied().chain([channels, n]).collect();
    let filter = r.b.literal(Tensor::from_f64s(dtype, &shape, identity));
    let padding = if r.str_or("padding", "VALID") == "SAME" { Padding::SameUpper } else { Padding::Valid };
    let window = Window { strides, dilations: rates, padding, ceil: false };
    Ok(smallvec![r.b.op(Conv { window, groups: 1 }, &[x, filter])?])
}

/// Inputs images, for `resized` their new size, paddings, filter.
fn pad_and_convolve(r: &mut Rule<'_, '_>, resized: bool) -> Result<Outputs, Misfit> {
    let mut x = r.input(0)?;
    if resized {
        let corners = r.bool_or("resize_align_corners", false);
        let coordinates = if corners { Coordinates::AlignCorners } else { Coordinates::Asymmetric };
        let along = |axis| Sampling { axis, interpolation: Interpolation::Linear, coordinates, step: None };
        x = image::resize(r, x, [1, 2].map(along))?;
    }
    let first = usize::from(resized) + 1;
    let (paddings, filter, mode) = (r.input(first)?, r.input(first + 1)?, arrays::mirror_mode(r)?);
    let zero = make::scalar_like(r.b, x, 0.0);
    let padded = r.b.op(Pad { mode }, &[x, paddings, zero])?;
    let window = window(r, 2)?;
    let groups = groups(r, padded, filter);
    Ok(smallvec![r.b.op(Conv { window, groups }, &[padded, filter])?])
}

/// The largest of `x + filter` in each window; what lies outside does not count. One shifted, strided view for each
/// element of the filter.
fn dilation(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (x, filter) = (r.input(0)?, r.input(1)?);
    let shapes = (r.fact(0)?.dims(), r.fact(1)?.dims());
    let (Some([_, height, width, _]), Some([rows, columns, _])) = (shapes.0.as_deref(), shapes.1.as_deref()) else {
        return Err(Misfit::new("the shapes of images [n, h, w, c] and filter [h, w, c] must be known"));
    };
    let (strides, rates) = (spatial(r, "strides", 2)?, spatial(r, "rates", 2)?);
    if rows * columns > 1 << 10 || rows * columns == 0 {
        return Err(Misfit(format!("a filter of {rows} × {columns} is out of range")));
    }
    let padding = if r.str_or("padding", "VALID") == "SAME" { Padding::SameUpper } else { Padding::Valid };
    let window = Window { strides: strides.clone(), dilations: rates.clone(), padding, ceil: false };
    window.check(2)?;
    let sizes = [(*height, *rows), (*width, *columns)];
    let (mut counts, mut paddings) = ([0i64; 2], vec![0i64; 8]);
    for (axis, (n, k)) in sizes.into_iter().enumerate() {
        let (count, before) = window.along(axis, n, k)?;
        let reach = (count as i64 - 1) * strides[axis] as i64 + (k as i64 - 1) * rates[axis] as i64 + 1;
        counts[axis] = count as i64;
        paddings[2 * axis + 2] = before;
        paddings[2 * axis + 3] = (reach - before - n as i64).max(0);
    }
    let paddings = r.b.literal(Tensor::from_slice(&[4, 2], &paddings));
    let lowest = make::scalar_like(r.b, x, f64::NEG_INFINITY);
    let padded = r.b.op(Pad { mode: PadMode::Constant }, &[x, paddings, lowest])?;
    let (sy, sx) = (strides[0] as i64, strides[1] as i64);
    let step = r.ints_literal(&[1, sy, sx, 1]);
    // Batch and channels to their ends.
    let masks = StridedMasks { end: 0b1001, ..StridedMasks::default() };
    let mut best = None;
    for (row, column) in (0..*rows as i64).flat_map(|y| (0..*columns as i64).map(move |x| (y, x))) {
        let from = [row * rates[0] as i64, column * rates[1] as i64];
        let begin = r.ints_literal(&[0, from[0], from[1], 0]);
        let end = r.ints_literal(&[0, from[0] + (counts[0] - 1) * sy + 1, from[1] + (counts[1] - 1) * sx + 1, 0]);
        let seen = r.b.op(StridedSlice { masks }, &[padded, begin, end, step])?;
        let weight = make::slice(r.b, filter, &[row, column, 0], &[1, 1, -1])?;
        let weight = make::reshape(r.b, weight, &[-1])?;
        let sum = make::add(r.b, seen, weight)?;
        best = Some(match best {
            None => sum,
            Some(best) => make::maximum(r.b, best, sum)?,
        });
    }
    Ok(best.into_iter().collect())
}
