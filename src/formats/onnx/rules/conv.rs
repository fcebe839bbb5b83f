//! Spellings of ONNX ops: convolution and pooling. Our ops have channels last; ONNX has them second, so there are
//! transpositions around.

use smallvec::{SmallVec, smallvec};

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::conv::{Conv, ConvInput, Padding, Window};
use crate::ops::make;
use crate::ops::pool::{AveragePool, MaxPool, MaxPoolIndex};
use crate::ops::reduce::ReduceFn;
use crate::program::{Builder, Misfit, Value};
use crate::tensor::{DType, Dims};

use super::common::{Spelled, along, ints_input, one, rank, rows};
use super::nn::spatial_mean;

pub const RULES: &[Spelling] = rows! {
    "Conv" => conv;
    "ConvTranspose" => conv_transpose;
    "CausalConvWithState" => causal_conv;
    "MaxPool" => max_pool;
    "AveragePool" => average_pool;
    "LpPool" => lp_pool;
    "GlobalAveragePool" => |r| spatial_mean(r, ReduceFn::Mean);
    "GlobalMaxPool" => |r| spatial_mean(r, ReduceFn::Max);
    "GlobalLpPool" => global_lp_pool;
    "MaxUnpool" => max_unpool;
    "Col2Im" => col2im;
};

/// One number per spatial axis; ones where the attribute is missing.
fn spatial(r: &Rule<'_, '_>, name: &str, n: usize) -> Result<Dims, Misfit> {
    let Some(all) = r.ints_attr(name).filter(|a| !a.is_empty()) else { return Ok(Dims::from_elem(1, n)) };
    let wrong = || Misfit(format!("{name} {all:?} does not describe {n} spatial axes"));
    if all.len() != n {
        return Err(wrong());
    }
    all.iter().map(|&v| usize::try_from(v).ok().filter(|&v| v > 0)).collect::<Option<Dims>>().ok_or_else(wrong)
}

/// `[before…, after…]` as pairs.
fn pads(r: &Rule<'_, '_>, n: usize) -> Result<SmallVec<[(i64, i64); 3]>, Misfit> {
    let all = r.ints_attr("pads").unwrap_or_else(|| vec![0; 2 * n]);
    if all.len() != 2 * n {
        return Err(Misfit(format!("pads {all:?} do not describe {n} spatial axes")));
    }
    Ok((0..n).map(|i| (all[i], all[n + i])).collect())
}

fn window(r: &Rule<'_, '_>, n: usize) -> Result<Window, Misfit> {
    let padding = match r.str_or("auto_pad", "NOTSET") {
        "SAME_UPPER" => Padding::SameUpper,
        "SAME_LOWER" => Padding::SameLower,
        "VALID" => Padding::Valid,
        _ => Padding::Explicit(pads(r, n)?),
    };
    let ceil = r.int_or("ceil_mode", 0) != 0;
    Ok(Window { strides: spatial(r, "strides", n)?, dilations: spatial(r, "dilations", n)?, padding, ceil })
}

/// `NC…` → `N…C`.
pub fn to_last(b: &mut Builder, x: Value, n: usize) -> Result<Value, Misfit> {
    let perm: Vec<i64> = [0].into_iter().chain(2..n as i64 + 2).chain([1]).collect();
    make::transpose(b, x, &perm)
}

/// `N…C` → `NC…`.
pub fn to_second(b: &mut Builder, y: Value, n: usize) -> Result<Value, Misfit> {
    let perm: Vec<i64> = [0, n as i64 + 1].into_iter().chain(1..=n as i64).collect();
    make::transpose(b, y, &perm)
}

/// The number of spatial axes.
fn spatial_axes(r: &Rule<'_, '_>, i: usize) -> Result<usize, Misfit> {
    let v = r.input(i)?;
    rank(r.b, v)?.checked_sub(2).filter(|&n| n > 0).ok_or_else(|| Misfit::new("there are no spatial axes"))
}

fn groups(r: &Rule<'_, '_>) -> Result<usize, Misfit> {
    usize::try_from(r.int_or("group", 1)).ok().filter(|&g| g > 0).ok_or_else(|| Misfit::new("group must be at least 1"))
}

/// Filters `[out, in / groups, …]` → `[…, in / groups, out]`.
fn filter_last(b: &mut Builder, w: Value, n: usize) -> Result<Value, Misfit> {
    let perm: Vec<i64> = (2..n as i64 + 2).chain([1, 0]).collect();
    make::transpose(b, w, &perm)
}

fn with_bias(r: &mut Rule<'_, '_>, y: Value, n: usize) -> Result<Value, Misfit> {
    if !r.has_input(2) {
        return Ok(y);
    }
    let bias = r.input(2)?;
    let bias = along(r.b, bias, 1, n + 2)?;
    make::add(r.b, y, bias)
}

fn conv(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, w) = (r.input(0)?, r.input(1)?);
    let y = convolved(r, x, w)?;
    let n = spatial_axes(r, 0)?;
    one(with_bias(r, y, n)?)
}

/// The convolution without its bias, channels second.
pub fn convolved(r: &mut Rule<'_, '_>, x: Value, w: Value) -> Result<Value, Misfit> {
    let n = spatial_axes(r, 0)?;
    let (window, groups) = (window(r, n)?, groups(r)?);
    let (x, w) = (to_last(r.b, x, n)?, filter_last(r.b, w, n)?);
    let y = r.b.op(Conv { window, groups }, &[x, w])?;
    to_second(r.b, y, n)
}

/// The adjoint of a convolution. Sizes: `stride · (in - 1) + output_padding + reach - pads`.
fn conv_transpose(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, w) = (r.input(0)?, r.input(1)?);
    let n = spatial_axes(r, 0)?;
    let (mut window, groups) = (window(r, n)?, groups(r)?);
    let size = |v: Value, axis: usize| {
        let d = r.b.fact(v).shape.dim(axis);
        d.map(|d| d as i64).ok_or_else(|| Misfit::new("the spatial sizes must be known"))
    };
    let extra = r.ints_attr("output_padding").unwrap_or_else(|| vec![0; n]);
    let wanted = r.ints_attr("output_shape");
    let mut explicit: SmallVec<[(i64, i64); 3]> = SmallVec::new();
    let mut sizes = Vec::new();
    for a in 0..n {
        let stride = window.strides[a] as i64;
        let input = size(x, a + 2)?;
        let reach = (size(w, a + 2)? - 1) * window.dilations[a] as i64 + 1;
        let full = stride * (input - 1) + extra.get(a).copied().unwrap_or(0) + reach;
        let lower = window.padding == Padding::SameLower;
        let target = match (&wanted, &window.padding) {
            (Some(w), _) => w.get(w.len().saturating_sub(n) + a).copied(),
            (None, Padding::SameUpper | Padding::SameLower) => Some(input * stride),
            _ => None,
        };
        let pair = match (target, &window.padding) {
            (Some(target), _) => {
                let total = (full - target).max(0);
                // The odd one goes after the image, or before it for SAME_LOWER.
                let less = total / 2;
                if lower { (total - less, less) } else { (less, total - less) }
            }
            (None, Padding::Explicit(p)) => p[a],
            _ => (0, 0),
        };
        sizes.push(target.unwrap_or(full - pair.0 - pair.1));
        explicit.push(pair);
    }
    // The forward convolution reads `out + pads`; what lies beyond the last window is padding that nobody reads.
    for (a, pair) in explicit.iter_mut().enumerate() {
        let reach = (size(w, a + 2)? - 1) * window.dilations[a] as i64 + 1;
        let used = (size(x, a + 2)? - 1) * window.strides[a] as i64 + reach;
        pair.1 = used - sizes[a] - pair.0;
        if pair.1 < 0 {
            // Whole further windows would fit: the forward form would have more results than there are inputs.
            pair.1 = pair.1.max(1 - window.strides[a] as i64);
        }
    }
    window.padding = Padding::Explicit(explicit);
    let per_group = size(w, 1)?;
    let channels = per_group * groups as i64;
    // Filters are [in, out / groups, …]: those of the forward convolution from out to in.
    let x_last = to_last(r.b, x, n)?;
    let batch = make::shape_of(r.b, x)?;
    let batch = make::slice(r.b, batch, &[0], &[1])?;
    let rest: Vec<i64> = sizes.iter().copied().chain([channels]).collect();
    let rest = r.ints_literal(&rest);
    let shape = match r.b.fact(batch).ints() {
        Some(b) => {
            let mut all = b;
            all.extend(sizes.iter().copied().chain([channels]));
            r.ints_literal(&all)
        }
        None => make::concat(r.b, &[batch, rest], 0)?,
    };
    let perm: Vec<i64> = (2..n as i64 + 2).chain([1, 0]).collect();
    let w_last = make::transpose(r.b, w, &perm)?;
    let y = r.b.op(ConvInput { window, groups }, &[shape, w_last, x_last])?;
    let y = to_second(r.b, y, n)?;
    one(with_bias(r, y, n)?)
}

/// A depthwise convolution over time with the steps before as state: inputs x `[n, c, t]`, filter, bias, past state.
fn causal_conv(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, w) = (r.input(0)?, r.input(1)?);
    let n = spatial_axes(r, 0)?;
    let reach = r.b.fact(w).shape.dim(n + 1).ok_or_else(|| Misfit::new("the filter's size must be known"))?;
    let channels = r.b.fact(x).shape.dim(1).ok_or_else(|| Misfit::new("the number of channels must be known"))?;
    let keep = reach.saturating_sub(1) as i64;
    let padded = if r.has_input(3) {
        let past = r.input(3)?;
        make::concat(r.b, &[past, x], -1)?
    } else {
        let mut pads = vec![(0, 0); n + 2];
        pads[n + 1] = (keep, 0);
        make::pad(r.b, x, &pads)?
    };
    let window = Window::new(&vec![1; n], Padding::Valid);
    let (x_last, w_last) = (to_last(r.b, padded, n)?, filter_last(r.b, w, n)?);
    let y = r.b.op(Conv { window, groups: channels }, &[x_last, w_last])?;
    let y = to_second(r.b, y, n)?;
    let mut y = with_bias(r, y, n)?;
    if matches!(r.str_or("activation", "none"), "silu" | "swish") {
        let gate = make::sigmoid(r.b, y)?;
        y = make::mul(r.b, y, gate)?;
    }
    // The last steps are the state of the next call.
    let axis = rank(r.b, padded)? - 1;
    let total = r.b.fact(padded).shape.dim(axis).ok_or_else(|| Misfit::new("the number of steps must be known"))?;
    let (mut begin, size) = (vec![0; n + 2], vec![-1; n + 2]);
    begin[axis] = total as i64 - keep;
    let state = make::slice(r.b, padded, &begin, &size)?;
    Ok(smallvec![y, state])
}

fn kernel_size(r: &Rule<'_, '_>, n: usize) -> Result<Dims, Misfit> {
    if r.attr("kernel_shape").is_none() {
        return Err(Misfit::new("the attribute kernel_shape is missing"));
    }
    spatial(r, "kernel_shape", n)
}

fn max_pool(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let n = spatial_axes(r, 0)?;
    let (window, size) = (window(r, n)?, kernel_size(r, n)?);
    let dtype = r.b.fact(x).dtype;
    let given = if dtype.is_float() { x } else { make::cast(r.b, x, DType::F32)? };
    let last = to_last(r.b, given, n)?;
    let y = r.b.op(MaxPool { size: size.clone(), window: window.clone() }, &[last])?;
    let y = to_second(r.b, y, n)?;
    let y = make::cast(r.b, y, dtype)?;
    if r.node.outputs.len() < 2 {
        return one(y);
    }
    let at = r.b.op(MaxPoolIndex { size, window }, &[last])?;
    let at = to_second(r.b, at, n)?;
    Ok(smallvec![y, flat_positions(r, x, at, n)?])
}

/// Positions within one image → positions in the whole tensor, which ONNX wants; `storage_order` 1 counts columns first.
fn flat_positions(r: &mut Rule<'_, '_>, x: Value, at: Value, n: usize) -> Result<Value, Misfit> {
    let dims = r.b.fact(x).dims().ok_or_else(|| Misfit::new("the shape must be known"))?;
    let area: usize = dims[2..].iter().product();
    let mut at = at;
    if r.int_or("storage_order", 0) != 0 {
        // Row-major position → column-major: reverse the digits.
        let mut rest = at;
        let mut position: Option<Value> = None;
        let mut scale: usize = area;
        for &d in dims[2..].iter().rev() {
            scale /= d.max(1);
            let size = make::scalar(r.b, DType::I64, d as f64);
            let digit = make::binary(r.b, crate::ops::elementwise::BinaryFn::FloorMod, rest, size)?;
            rest = make::binary(r.b, crate::ops::elementwise::BinaryFn::FloorDiv, rest, size)?;
            let part = make::mul_scalar(r.b, digit, scale as f64)?;
            position = Some(match position {
                Some(p) => make::add(r.b, p, part)?,
                None => part,
            });
        }
        at = position.unwrap_or(at);
    }
    let images: Vec<i64> = (0..(dims[0] * dims[1]) as i64).map(|i| i * area as i64).collect();
    let images = r.ints_literal(&images);
    let mut shape = vec![dims[0] as i64, dims[1] as i64];
    shape.resize(n + 2, 1);
    let images = make::reshape(r.b, images, &shape)?;
    make::add(r.b, at, images)
}

fn average_pool(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    one(averaged(r, x)?)
}

fn averaged(r: &mut Rule<'_, '_>, x: Value) -> Result<Value, Misfit> {
    let n = spatial_axes(r, 0)?;
    let op = AveragePool {
        size: kernel_size(r, n)?,
        window: window(r, n)?,
        count_padding: r.int_or("count_include_pad", 0) != 0,
    };
    let x = to_last(r.b, x, n)?;
    let y = r.b.op(op, &[x])?;
    to_second(r.b, y, n)
}

/// `(Σ |x|^p)^(1/p)` over windows: an average of powers, times the number of elements.
fn lp_pool(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let n = spatial_axes(r, 0)?;
    let p = r.int_or("p", 2) as f64;
    let size = kernel_size(r, n)?;
    let powers = power(r.b, x, p)?;
    let last = to_last(r.b, powers, n)?;
    let op = AveragePool { size: size.clone(), window: window(r, n)?, count_padding: true };
    let y = r.b.op(op, &[last])?;
    let y = to_second(r.b, y, n)?;
    let y = make::mul_scalar(r.b, y, size.iter().product::<usize>() as f64)?;
    one(root(r.b, y, p)?)
}

/// `|x|^p`.
fn power(b: &mut Builder, x: Value, p: f64) -> Result<Value, Misfit> {
    if p == 2.0 {
        return make::square(b, x);
    }
    let size = make::abs(b, x)?;
    if p == 1.0 {
        return Ok(size);
    }
    let p = make::scalar_like(b, x, p);
    make::pow(b, size, p)
}

/// `y^(1/p)`.
fn root(b: &mut Builder, y: Value, p: f64) -> Result<Value, Misfit> {
    if p == 2.0 {
        return make::sqrt(b, y);
    }
    let e = make::scalar_like(b, y, 1.0 / p);
    if p == 1.0 { Ok(y) } else { make::pow(b, y, e) }
}

fn global_lp_pool(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let p = r.int_or("p", 2) as f64;
    let axes: Vec<i64> = (2..rank(r.b, x)? as i64).collect();
    let powers = power(r.b, x, p)?;
    let sum = make::reduce_sum(r.b, powers, &axes, true)?;
    one(root(r.b, sum, p)?)
}

/// Writes pooled values back to the positions that `MaxPool` gave; the rest is 0.
fn max_unpool(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, at) = (r.input(0)?, r.input(1)?);
    let dims = r.b.fact(x).dims().ok_or_else(|| Misfit::new("the shape must be known"))?;
    let n = spatial_axes(r, 0)?;
    let (size, strides, pads) = (kernel_size(r, n)?, spatial(r, "strides", n)?, pads(r, n)?);
    // Positions count in the image that was pooled, as its size follows from the window.
    let pooled: Vec<i64> =
        (0..n).map(|a| (dims[a + 2] as i64 - 1) * strides[a] as i64 - pads[a].0 - pads[a].1 + size[a] as i64).collect();
    let mut image = vec![dims[0] as i64, dims[1] as i64];
    image.extend(&pooled);
    let total: i64 = image.iter().product();
    let zeros = make::scalar_like(r.b, x, 0.0);
    let flat = r.ints_literal(&[total]);
    let zeros = make::broadcast_to(r.b, zeros, flat)?;
    let (x, at) = (make::reshape(r.b, x, &[-1])?, make::reshape(r.b, at, &[-1])?);
    let op = crate::ops::index::ScatterElements { axis: 0, f: crate::ops::index::ScatterFn::Update };
    let y = r.b.op(op, &[zeros, at, x])?;
    let y = make::reshape(r.b, y, &image)?;
    let Some(wanted) = ints_input(r, 2)? else { return one(y) };
    let pads: Vec<(i64, i64)> = image.iter().zip(&wanted).map(|(have, want)| (0, (want - have).max(0))).collect();
    one(make::pad(r.b, y, &pads)?)
}

/// Sums columns of patches `[n, c · patch, L]` into images: the adjoint of unfolding, which is the convolution with one
/// filter per patch element.
fn col2im(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let (Some(image), Some(block)) = (ints_input(r, 1)?, ints_input(r, 2)?) else {
        return Err(Misfit::new("image and block sizes are missing"));
    };
    let n = image.len();
    let window = window(r, n)?;
    let dims = r.b.fact(x).dims().ok_or_else(|| Misfit::new("the shape must be known"))?;
    let patch: i64 = block.iter().product();
    let [batch, rows, _] = dims[..] else { return Err(Misfit::new("three axes were expected")) };
    if patch < 1 || rows as i64 % patch != 0 || block.len() != n {
        return Err(Misfit(format!("{rows} rows of patches of {block:?}")));
    }
    let channels = rows as i64 / patch;
    // Every image channel is an image of its own; filter k is 1 at patch element k.
    let counts = (0..n).map(|a| {
        let input = usize::try_from(image[a]).map_err(|_| Misfit::new("an image size is negative"))?;
        let size = usize::try_from(block[a]).map_err(|_| Misfit::new("a block size is negative"))?;
        Ok(window.along(a, input, size)?.0 as i64)
    });
    let counts = counts.collect::<Result<Vec<i64>, Misfit>>()?;
    let images = batch as i64 * channels;
    let mut shape = vec![images, patch];
    shape.extend(&counts);
    let y = make::reshape(r.b, x, &shape)?;
    let y = to_last(r.b, y, n)?;
    let identity = (0..patch * patch).map(|i| if i / patch == i % patch { 1.0 } else { 0.0 });
    let dtype = r.b.fact(x).dtype;
    let mut filter: Vec<usize> = block.iter().map(|&b| b as usize).collect();
    filter.extend([1, patch as usize]);
    let filter = r.b.literal(crate::tensor::Tensor::from_f64s(dtype, &filter, identity));
    let mut sizes = vec![images];
    sizes.extend(&image);
    sizes.push(1);
    let sizes = r.ints_literal(&sizes);
    let y = r.b.op(ConvInput { window, groups: 1 }, &[sizes, filter, y])?;
    let mut out = vec![batch as i64, channels];
    out.extend(&image);
    let out: Outputs = smallvec![make::reshape(r.b, y, &out)?];
    Ok(out)
}
