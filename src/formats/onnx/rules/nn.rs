//! Spellings of ONNX ops: softmax, normalisation, losses.

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::make;
use crate::ops::norm::{LogSoftmax, Softmax, Statistic};
use crate::ops::reduce::ReduceFn;
use crate::program::{Builder, Misfit, Value};
use crate::tensor::{DType, Tensor};

use super::arrays::two_axes;
use super::common::{Spelled, along, axis_in, one, rank, rows};

pub const RULES: &[Spelling] = rows! {
    "Softmax" => softmax;
    "LogSoftmax" => log_softmax;
    "BatchNormalization" => batch_normalization;
    "InstanceNormalization" => instance_normalization;
    "LayerNormalization" => layer_normalization;
    "RMSNormalization" => rms_normalization;
    "SimplifiedLayerNormalization" => rms_normalization;
    "GroupNormalization" => group_normalization;
    "MeanVarianceNormalization" => mean_variance_normalization;
    "LRN" => local_response;
    "SoftmaxCrossEntropyLoss" => softmax_cross_entropy;
    "NegativeLogLikelihoodLoss" => negative_log_likelihood;
    "SwiGLU" => swi_glu;
};

/// Applies a function of one axis. Before opset 13 (for softmax and its kind) all axes from `axis` on count as one.
pub fn along_axis(
    r: &mut Rule<'_, '_>,
    x: Value,
    f: impl FnOnce(&mut Builder, Value, i64) -> Result<Value, Misfit>,
) -> Result<Value, Misfit> {
    if r.opset >= 13 {
        let axis = r.int_or("axis", -1);
        let axis = match r.b.fact(x).rank() {
            Some(n) => axis_in(axis, n)? as i64,
            None => axis,
        };
        return f(r.b, x, axis);
    }
    let n = rank(r.b, x)?;
    let axis = axis_in(r.int_or("axis", 1), n.max(1))?;
    if axis + 1 == n {
        return f(r.b, x, axis as i64);
    }
    let flat = two_axes(r.b, x, axis)?;
    let y = f(r.b, flat, 1)?;
    make::reshape_like(r.b, y, x)
}

fn softmax(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    one(along_axis(r, x, |b, x, axis| b.op(Softmax { axis }, &[x]))?)
}

fn log_softmax(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    one(along_axis(r, x, |b, x, axis| b.op(LogSoftmax { axis }, &[x]))?)
}

/// `(x - mean) · scale / √(variance + ε) + shift`.
fn normalise(b: &mut Builder, x: Value, mean: Value, variance: Value, epsilon: f64) -> Result<Value, Misfit> {
    let centred = make::sub(b, x, mean)?;
    let shifted = make::add_scalar(b, variance, epsilon)?;
    let inverse = make::rsqrt(b, shifted)?;
    make::mul(b, centred, inverse)
}

/// Mean and variance over axes, which stay as 1.
fn moments(b: &mut Builder, x: Value, axes: &[i64]) -> Result<(Value, Value), Misfit> {
    let mean = make::reduce_mean(b, x, axes, true)?;
    let centred = make::sub(b, x, mean)?;
    let squares = make::square(b, centred)?;
    Ok((mean, make::reduce_mean(b, squares, axes, true)?))
}

/// Inputs x, scale, shift, mean, variance, per channel (axis 1). Statistics of the file do not train; in training mode
/// those of the batch are used, and the running ones are further outputs.
fn batch_normalization(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let n = rank(r.b, x)?;
    let [scale, shift, mean, variance] = [r.input(1)?, r.input(2)?, r.input(3)?, r.input(4)?];
    let epsilon = f64::from(r.float_or("epsilon", 1e-5));
    let momentum = f64::from(r.float_or("momentum", 0.9));
    let training = match r.opset {
        14.. => r.int_or("training_mode", 0) != 0,
        7..=13 => r.node.outputs.len() > 1 && r.opset < 9,
        _ => r.int_or("is_test", 0) == 0 && r.node.outputs.len() > 1,
    };
    let dtype = r.b.fact(x).dtype;
    let own = r.b.fact(mean).dtype;
    let channel = |b: &mut Builder, v: Value| -> Result<Value, Misfit> {
        let v = make::cast(b, v, dtype)?;
        along(b, v, 1, n)
    };
    let (scale, shift) = (channel(r.b, scale)?, channel(r.b, shift)?);
    if !training {
        let stopped = [r.b.op(Statistic, &[mean])?, r.b.op(Statistic, &[variance])?];
        let (m, v) = (channel(r.b, stopped[0])?, channel(r.b, stopped[1])?);
        // One factor per channel, so that nothing of the size of x is computed twice.
        let shifted = make::add_scalar(r.b, v, epsilon)?;
        let inverse = make::rsqrt(r.b, shifted)?;
        let gain = make::mul(r.b, inverse, scale)?;
        let centred = make::sub(r.b, x, m)?;
        let y = make::mul(r.b, centred, gain)?;
        let y = make::add(r.b, y, shift)?;
        let mut out: Outputs = smallvec![y, mean, variance, mean, variance];
        out.truncate(r.node.outputs.len().max(1));
        return Ok(out);
    }
    let axes: Vec<i64> = (0..n as i64).filter(|&a| a != 1).collect();
    let (m, v) = moments(r.b, x, &axes)?;
    let y = normalise(r.b, x, m, v, epsilon)?;
    let y = make::mul(r.b, y, scale)?;
    let y = make::add(r.b, y, shift)?;
    let mut running = |new: Value, old: Value| -> Result<Value, Misfit> {
        let new = make::reshape_like(r.b, new, old)?;
        let new = make::cast(r.b, new, own)?;
        let (old, new) = (make::mul_scalar(r.b, old, momentum)?, make::mul_scalar(r.b, new, 1.0 - momentum)?);
        make::add(r.b, old, new)
    };
    let (m2, v2) = (running(m, mean)?, running(v, variance)?);
    Ok(smallvec![y, m2, v2])
}

fn scaled(b: &mut Builder, y: Value, scale: Value, shift: Option<Value>) -> Result<Value, Misfit> {
    let y = make::mul(b, y, scale)?;
    match shift {
        Some(s) => make::add(b, y, s),
        None => Ok(y),
    }
}

fn instance_normalization(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, scale, shift) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let n = rank(r.b, x)?;
    let axes: Vec<i64> = (2..n as i64).collect();
    let (m, v) = moments(r.b, x, &axes)?;
    let y = normalise(r.b, x, m, v, f64::from(r.float_or("epsilon", 1e-5)))?;
    let (scale, shift) = (along(r.b, scale, 1, n)?, along(r.b, shift, 1, n)?);
    one(scaled(r.b, y, scale, Some(shift))?)
}

/// Half types compute in `float32` (`stash_type`).
pub fn layer_norm(
    b: &mut Builder,
    x: Value,
    scale: Value,
    shift: Option<Value>,
    first_axis: i64,
    epsilon: f64,
) -> Result<[Value; 3], Misfit> {
    let n = rank(b, x)?;
    let first = axis_in(first_axis, n)?;
    let axes: Vec<i64> = (first as i64..n as i64).collect();
    let dtype = b.fact(x).dtype;
    let stash = if dtype.is_half() { DType::F32 } else { dtype };
    let x = make::cast(b, x, stash)?;
    let (mean, variance) = moments(b, x, &axes)?;
    let shifted = make::add_scalar(b, variance, epsilon)?;
    let inverse = make::rsqrt(b, shifted)?;
    let centred = make::sub(b, x, mean)?;
    let y = make::mul(b, centred, inverse)?;
    let y = make::cast(b, y, dtype)?;
    Ok([scaled(b, y, scale, shift)?, mean, inverse])
}

fn layer_normalization(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, scale) = (r.input(0)?, r.input(1)?);
    let shift = if r.has_input(2) { Some(r.input(2)?) } else { None };
    let (axis, epsilon) = (r.int_or("axis", -1), f64::from(r.float_or("epsilon", 1e-5)));
    Ok(layer_norm(r.b, x, scale, shift, axis, epsilon)?.into_iter().collect())
}

/// `x / √(mean x² + ε) · scale`.
pub fn rms_norm(b: &mut Builder, x: Value, axes: &[i64], epsilon: f64) -> Result<(Value, Value), Misfit> {
    let dtype = b.fact(x).dtype;
    let x = make::cast(b, x, if dtype.is_half() { DType::F32 } else { dtype })?;
    let squares = make::square(b, x)?;
    let mean = make::reduce_mean(b, squares, axes, true)?;
    let shifted = make::add_scalar(b, mean, epsilon)?;
    let inverse = make::rsqrt(b, shifted)?;
    let y = make::mul(b, x, inverse)?;
    Ok((make::cast(b, y, dtype)?, inverse))
}

fn rms_normalization(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, scale) = (r.input(0)?, r.input(1)?);
    let n = rank(r.b, x)?;
    let first = axis_in(r.int_or("axis", -1), n)?;
    let axes: Vec<i64> = (first as i64..n as i64).collect();
    let (y, inverse) = rms_norm(r.b, x, &axes, f64::from(r.float_or("epsilon", 1e-5)))?;
    Ok(smallvec![make::mul(r.b, y, scale)?, inverse])
}

/// Scale and shift per channel (opset 21) or per group (opset 18).
fn group_normalization(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, scale, shift) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let groups = r.int_or("num_groups", 1).max(1);
    let n = rank(r.b, x)?;
    let dtype = r.b.fact(x).dtype;
    let stash = if dtype.is_half() { DType::F32 } else { dtype };
    let given = make::cast(r.b, x, stash)?;
    let batch = r.b.fact(x).shape.dim(0).map_or(0, |d| d as i64);
    // A batch that is not known is the size that is left over, the elements of a group then stay to be named.
    let grouped = if batch > 0 {
        make::reshape(r.b, given, &[batch, groups, -1])?
    } else {
        let dims = r.b.fact(x).shape.partial().unwrap_or_default();
        let rest = dims.iter().skip(1).try_fold(1usize, |n, d| n.checked_mul((*d)?));
        let rest = rest.ok_or_else(|| Misfit::new("channels and image size must be known"))? as i64;
        make::reshape(r.b, given, &[-1, groups, rest / groups])?
    };
    let (m, v) = moments(r.b, grouped, &[2])?;
    let y = normalise(r.b, grouped, m, v, f64::from(r.float_or("epsilon", 1e-5)))?;
    if r.opset < 21 {
        let (scale, shift) = (make::cast(r.b, scale, stash)?, make::cast(r.b, shift, stash)?);
        let (scale, shift) = (along(r.b, scale, 1, 3)?, along(r.b, shift, 1, 3)?);
        let y = scaled(r.b, y, scale, Some(shift))?;
        let y = make::reshape_like(r.b, y, x)?;
        return one(make::cast(r.b, y, dtype)?);
    }
    let y = make::reshape_like(r.b, y, x)?;
    let y = make::cast(r.b, y, dtype)?;
    let (scale, shift) = (along(r.b, scale, 1, n)?, along(r.b, shift, 1, n)?);
    one(scaled(r.b, y, scale, Some(shift))?)
}

/// `(x - mean) / (deviation + 1e-9)`.
fn mean_variance_normalization(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let axes = r.ints_attr("axes").unwrap_or_else(|| vec![0, 2, 3]);
    let (m, v) = moments(r.b, x, &axes)?;
    let deviation = make::sqrt(r.b, v)?;
    let below = make::add_scalar(r.b, deviation, 1e-9)?;
    let centred = make::sub(r.b, x, m)?;
    one(make::div(r.b, centred, below)?)
}

/// `x / (bias + alpha / size · Σ x²)^beta`, the sum over `size` neighbouring channels (axis 1), written as a product with
/// a band matrix of ones.
fn local_response(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let size = usize::try_from(r.int_or("size", 1)).unwrap_or(1).max(1);
    let (alpha, beta, bias) = (r.float_or("alpha", 1e-4), r.float_or("beta", 0.75), r.float_or("bias", 1.0));
    let dtype = r.b.fact(x).dtype;
    let n = r.b.fact(x).shape.dim(1).filter(|&n| n <= 1 << 13);
    let n = n.ok_or_else(|| Misfit::new("the number of channels must be known"))?;
    let (before, after) = ((size - 1) / 2, size / 2);
    let inside = |i: usize| {
        let (to, from) = (i / n, i % n);
        from + before >= to && from <= to + after
    };
    let band = (0..n * n).map(|i| if inside(i) { 1.0 } else { 0.0 });
    let band = r.b.literal(Tensor::from_f64s(dtype, &[n, n], band));
    let squares = make::square(r.b, x)?;
    // [n, c, …] as [n, c, rest], so that the matrix multiplies the channels.
    let axes = rank(r.b, x)?;
    let flat = if axes == 3 { squares } else { channels_and_rest(r.b, squares)? };
    let sums = make::matmul(r.b, band, flat)?;
    let sums = make::reshape_like(r.b, sums, x)?;
    let scaled = make::mul_scalar(r.b, sums, f64::from(alpha) / size as f64)?;
    let base = make::add_scalar(r.b, scaled, f64::from(bias))?;
    let exponent = make::scalar(r.b, dtype, -f64::from(beta));
    let factor = make::pow(r.b, base, exponent)?;
    one(make::mul(r.b, x, factor)?)
}

/// `[n, c, …]` as `[n, c, rest]`.
fn channels_and_rest(b: &mut Builder, x: Value) -> Result<Value, Misfit> {
    let sizes = make::shape_of(b, x)?;
    let lead = make::slice(b, sizes, &[0], &[2])?;
    let rest = make::ints(b, &[-1]);
    let shape = make::concat(b, &[lead, rest], 0)?;
    make::reshape_to(b, x, shape)
}

/// Outputs: loss, log of the probabilities.
fn softmax_cross_entropy(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let log = r.b.op(LogSoftmax { axis: 1 }, &[x])?;
    let loss = likelihood(r, log)?;
    Ok(smallvec![loss, log])
}

fn negative_log_likelihood(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    one(likelihood(r, x)?)
}

/// `-Σ w[t] · x[t] / Σ w[t]` with classes on axis 1; positions of `ignore_index` weigh nothing.
fn likelihood(r: &mut Rule<'_, '_>, x: Value) -> Result<Value, Misfit> {
    let target = r.input(1)?;
    let dtype = r.b.fact(x).dtype;
    let mut target = make::cast(r.b, target, DType::I64)?;
    let mut counts = None;
    if let Some(ignored) = r.attr("ignore_index").and_then(crate::graph::Attr::as_int) {
        let ignored = make::scalar(r.b, DType::I64, ignored as f64);
        let keeps = make::not_equal(r.b, target, ignored)?;
        let zero = make::scalar(r.b, DType::I64, 0.0);
        target = make::select(r.b, keeps, target, zero)?;
        counts = Some(make::cast(r.b, keeps, dtype)?);
    }
    let at = make::expand_dims(r.b, target, 1)?;
    let picked = r.b.op(crate::ops::index::GatherElements { axis: 1 }, &[x, at])?;
    let picked = crate::ops::shape::squeeze(r.b, picked, Some(&[1]))?;
    let mut loss = make::neg(r.b, picked)?;
    let mut weights = counts;
    if r.has_input(2) {
        let per_class = r.input(2)?;
        let own = make::gather(r.b, per_class, target, 0)?;
        weights = Some(match counts {
            Some(c) => make::mul(r.b, own, c)?,
            None => own,
        });
    }
    if let Some(w) = weights {
        loss = make::mul(r.b, loss, w)?;
    }
    match (r.str_or("reduction", "mean"), weights) {
        ("none", _) => Ok(loss),
        ("sum", _) => make::sum_all(r.b, loss),
        (_, None) => make::mean_all(r.b, loss),
        (_, Some(w)) => {
            let (sum, weight) = (make::sum_all(r.b, loss)?, make::sum_all(r.b, w)?);
            make::div(r.b, sum, weight)
        }
    }
}

/// `swish(gate) · value`, the gate with `alpha`.
fn swi_glu(r: &mut Rule<'_, '_>) -> Spelled {
    let alpha = r.float_or("alpha", 1.0);
    let gated = super::math::swish(r, alpha)?;
    let value = r.input(1)?;
    one(make::mul(r.b, gated[0], value)?)
}

/// The mean over all axes from 2 on, kept as 1.
pub fn spatial_mean(r: &mut Rule<'_, '_>, f: ReduceFn) -> Spelled {
    let x = r.input(0)?;
    let axes: Vec<i64> = (2..rank(r.b, x)? as i64).collect();
    let axes = r.ints_literal(&axes);
    one(make::reduce(r.b, f, x, axes, true)?)
}
