//! Spellings of TensorFlow ops: softmax, losses, biases, normalisation.

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::make;
use crate::ops::norm::{CtcLoss, LogSoftmax, Softmax, SoftmaxCrossEntropy, SparseSoftmaxCrossEntropy, Statistic};
use crate::program::{Misfit, Value};
use crate::tensor::Tensor;
use crate::tensor::shape::broadcast_dims;

pub const RULES: &[Spelling] = &[
    Spelling { op: "Softmax", rule: softmax },
    Spelling { op: "LogSoftmax", rule: log_softmax },
    Spelling { op: "SoftmaxCrossEntropyWithLogits", rule: cross_entropy },
    Spelling { op: "SparseSoftmaxCrossEntropyWithLogits", rule: sparse_cross_entropy },
    Spelling { op: "BiasAdd", rule: bias_add },
    Spelling { op: "BiasAddV1", rule: bias_add },
    Spelling { op: "FusedBatchNorm", rule: fused_batch_norm },
    Spelling { op: "FusedBatchNormV2", rule: fused_batch_norm },
    Spelling { op: "FusedBatchNormV3", rule: fused_batch_norm },
    Spelling { op: "BatchNormWithGlobalNormalization", rule: batch_norm_old },
    Spelling { op: "LRN", rule: local_response },
    Spelling { op: "CTCLoss", rule: |r| ctc_loss(r, false) },
    Spelling { op: "CTCLossV2", rule: |r| ctc_loss(r, true) },
];

fn softmax(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let x = r.input(0)?;
    Ok(smallvec![r.b.op(Softmax { axis: -1 }, &[x])?])
}

fn log_softmax(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let x = r.input(0)?;
    Ok(smallvec![r.b.op(LogSoftmax { axis: -1 }, &[x])?])
}

fn cross_entropy(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (mut logits, mut labels) = (r.input(0)?, r.input(1)?);
    if let (Some(a), Some(b)) = (r.fact(0)?.dims(), r.fact(1)?.dims())
        && a != b
    {
        let both = broadcast_dims(&a, &b).ok_or_else(|| Misfit(format!("logits {a:?} and labels {b:?} do not fit")))?;
        let shape = r.ints_literal(&both.iter().map(|&d| d as i64).collect::<Vec<_>>());
        logits = make::broadcast_to(r.b, logits, shape)?;
        labels = make::broadcast_to(r.b, labels, shape)?;
    }
    r.b.op_n(std::sync::Arc::new(SoftmaxCrossEntropy), &[logits, labels])
}

fn sparse_cross_entropy(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (logits, labels) = (r.input(0)?, r.input(1)?);
    r.b.op_n(std::sync::Arc::new(SparseSoftmaxCrossEntropy), &[logits, labels])
}

/// Whether channels are the second axis instead of the last.
pub(super) fn channels_first(r: &Rule<'_, '_>) -> bool {
    r.str_or("data_format", "NHWC").starts_with("NC")
}

/// A vector of channels shaped so that it broadcasts over a tensor of `rank` axes.
pub(super) fn per_channel(r: &mut Rule<'_, '_>, v: Value, rank: usize) -> Result<Value, Misfit> {
    if !channels_first(r) || rank < 3 {
        return Ok(v);
    }
    let mut shape = vec![1i64; rank - 1];
    shape[0] = -1;
    make::reshape(r.b, v, &shape)
}

/// All axes but that of the channels.
pub(super) fn normalised_axes(r: &Rule<'_, '_>, rank: usize) -> Vec<i64> {
    let channels = if channels_first(r) && rank > 2 { 1 } else { rank as i64 - 1 };
    (0..rank as i64).filter(|&a| a != channels).collect()
}

fn bias_add(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (x, bias) = (r.input(0)?, r.input(1)?);
    let rank = r.fact(0)?.rank().unwrap_or(4);
    let bias = per_channel(r, bias, rank)?;
    Ok(smallvec![make::add(r.b, x, bias)?])
}

/// `(x − mean) · (scale / √(variance + ε)) + offset`, all per channel.
pub(super) fn normalise(
    r: &mut Rule<'_, '_>,
    x: Value,
    [scale, offset, mean, variance]: [Value; 4],
    rank: usize,
    epsilon: f64,
) -> Result<Value, Misfit> {
    let shifted = make::add_scalar(r.b, variance, epsilon)?;
    let inverse = make::rsqrt(r.b, shifted)?;
    let gain = make::mul(r.b, inverse, scale)?;
    let (mean, gain, offset) =
        (per_channel(r, mean, rank)?, per_channel(r, gain, rank)?, per_channel(r, offset, rank)?);
    let centred = make::sub(r.b, x, mean)?;
    let scaled = make::mul(r.b, centred, gain)?;
    make::add(r.b, scaled, offset)
}

/// Inputs x, scale, offset, mean, variance; outputs y, mean, variance, and what TensorFlow reserves for its own gradient.
/// In inference form the statistics enter through a stopped gradient, as TensorFlow treats them.
fn fused_batch_norm(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (given, scale, offset) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let epsilon = f64::from(r.float_or("epsilon", 1e-4));
    let rank = r.fact(0)?.rank().unwrap_or(4);
    let (from, inner) = (r.fact(0)?.dtype, r.fact(1)?.dtype);
    let x = make::cast(r.b, given, inner)?;
    if !r.bool_or("is_training", true) {
        let (mean, variance) = (r.input(3)?, r.input(4)?);
        let stopped = (r.b.op(Statistic, &[mean])?, r.b.op(Statistic, &[variance])?);
        let y = normalise(r, x, [scale, offset, stopped.0, stopped.1], rank, epsilon)?;
        let y = make::cast(r.b, y, from)?;
        let zero = make::scalar_like(r.b, mean, 0.0);
        return Ok(smallvec![y, mean, variance, mean, variance, zero]);
    }
    let axes = normalised_axes(r, rank);
    let batch_mean = make::reduce_mean(r.b, x, &axes, false)?;
    let shaped_mean = per_channel(r, batch_mean, rank)?;
    let centred = make::sub(r.b, x, shaped_mean)?;
    let squares = make::square(r.b, centred)?;
    let batch_variance = make::reduce_mean(r.b, squares, &axes, false)?;
    let y = normalise(r, x, [scale, offset, batch_mean, batch_variance], rank, epsilon)?;
    let y = make::cast(r.b, y, from)?;
    let unbiased = unbiased(r, x, batch_mean, batch_variance)?;
    let (mean, variance) = (running(r, 3, batch_mean)?, running(r, 4, unbiased)?);
    let zero = make::scalar_like(r.b, batch_mean, 0.0);
    Ok(smallvec![y, mean, variance, batch_mean, batch_variance, zero])
}

/// Bessel's correction: `variance · n / max(n − 1, 1)` with n the elements of one channel.
fn unbiased(r: &mut Rule<'_, '_>, x: Value, mean: Value, variance: Value) -> Result<Value, Misfit> {
    let count = |r: &mut Rule<'_, '_>, v: Value| -> Result<Value, Misfit> {
        let shape = make::shape_of(r.b, v)?;
        let dtype = r.b.fact(variance).dtype;
        let shape = make::cast(r.b, shape, dtype)?;
        let axes = r.ints_literal(&[0]);
        make::reduce(r.b, crate::ops::reduce::ReduceFn::Prod, shape, axes, false)
    };
    let (all, channels) = (count(r, x)?, count(r, mean)?);
    let n = make::div(r.b, all, channels)?;
    let less = make::add_scalar(r.b, n, -1.0)?;
    let one = make::scalar_like(r.b, n, 1.0);
    let less = make::maximum(r.b, less, one)?;
    let factor = make::div(r.b, n, less)?;
    make::mul(r.b, variance, factor)
}

/// The running statistic of `FusedBatchNormV3` with `exponential_avg_factor`: `(1 − f) · old + f · new`; else `new`.
fn running(r: &mut Rule<'_, '_>, input: usize, new: Value) -> Result<Value, Misfit> {
    let factor = f64::from(r.float_or("exponential_avg_factor", 1.0));
    if factor == 1.0 || !r.has_input(input) {
        return Ok(new);
    }
    let old = r.input(input)?;
    let old = make::mul_scalar(r.b, old, 1.0 - factor)?;
    let new = make::mul_scalar(r.b, new, factor)?;
    make::add(r.b, old, new)
}

/// The first batch normalisation of TensorFlow: inputs t, m, v, beta, gamma.
fn batch_norm_old(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let [x, mean, variance, beta, mut gamma] = [r.input(0)?, r.input(1)?, r.input(2)?, r.input(3)?, r.input(4)?];
    if !r.bool_or("scale_after_normalization", true) {
        gamma = make::ones_like(r.b, gamma)?;
    }
    let epsilon = f64::from(r.float_or("variance_epsilon", 1e-3));
    let rank = r.fact(0)?.rank().unwrap_or(4);
    Ok(smallvec![normalise(r, x, [gamma, beta, mean, variance], rank, epsilon)?])
}

/// `x · (bias + alpha · Σ x²)^−beta`, the sum over `2 · depth_radius + 1` neighbouring channels (the last axis), written
/// as a product with a band matrix of ones.
fn local_response(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let x = r.input(0)?;
    let (bias, alpha, beta) = (r.float_or("bias", 1.0), r.float_or("alpha", 1.0), r.float_or("beta", 0.5));
    let dtype = r.fact(0)?.dtype;
    let band = band_of_ones(r, 0)?;
    let squares = make::square(r.b, x)?;
    let sums = make::matmul(r.b, squares, band)?;
    let scaled = make::mul_scalar(r.b, sums, f64::from(alpha))?;
    let base = make::add_scalar(r.b, scaled, f64::from(bias))?;
    let exponent = make::scalar(r.b, dtype, -f64::from(beta));
    let factor = make::pow(r.b, base, exponent)?;
    Ok(smallvec![make::mul(r.b, x, factor)?])
}

/// `[channels, channels]` with ones up to `depth_radius` beside the diagonal, for the channels of input `i`.
pub(super) fn band_of_ones(r: &mut Rule<'_, '_>, i: usize) -> Result<Value, Misfit> {
    let radius = usize::try_from(r.int_or("depth_radius", 5)).map_err(|_| Misfit::new("depth_radius is negative"))?;
    let fact = r.fact(i)?;
    let dtype = fact.dtype;
    let channels = fact.shape.partial().and_then(|d| d.last().copied().flatten());
    let n = channels.filter(|&n| n <= 1 << 13).ok_or_else(|| Misfit::new("the number of channels must be known"))?;
    let band = (0..n * n).map(|i| if (i / n).abs_diff(i % n) <= radius { 1.0 } else { 0.0 });
    Ok(r.b.literal(Tensor::from_f64s(dtype, &[n, n], band)))
}

/// Inputs logits, label indices, label values, lengths.
fn ctc_loss(r: &mut Rule<'_, '_>, blank_first: bool) -> Result<Outputs, Misfit> {
    let op = CtcLoss {
        blank_first,
        collapse_labels: r.bool_or("preprocess_collapse_repeated", false),
        merge_repeated: r.bool_or("ctc_merge_repeated", true),
    };
    let inputs = r.all_inputs()?;
    r.b.op_n(std::sync::Arc::new(op), &inputs)
}
