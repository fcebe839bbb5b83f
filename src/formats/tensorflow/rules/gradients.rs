//! Spellings of TensorFlow ops: what TensorFlow's own gradient graphs are made of, as files hold it that were saved with
//! their training part.

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::make;
use crate::ops::pool::ResizeGradient;
use crate::ops::pool::resize::Sampling;
use crate::ops::random::gamma_slope;
use crate::ops::reduce::{SegmentFn, SegmentReduce};
use crate::program::{Misfit, Value};
use crate::tensor::{DType, Tensor};

use super::nn::{band_of_ones, channels_first, normalised_axes, per_channel};
use super::{image, rows};

pub const RULES: &[Spelling] = rows! {
    "BiasAddGrad" => bias_add;
    "ResizeNearestNeighborGrad" => |r| resize(r, image::nearest(r), true);
    "ResizeBilinearGrad" => |r| resize(r, image::linear(r), false);
    "ResizeBicubicGrad" => |r| resize(r, image::cubic(r), false);
    "LRNGrad" => local_response;
    "FusedBatchNormGrad" => batch_norm;
    "FusedBatchNormGradV2" => batch_norm;
    "FusedBatchNormGradV3" => batch_norm;
    "MaxPoolGradWithArgmax" => max_pool_with_argmax;
    "RandomGammaGrad" => |r| {
        let (a, x) = (r.input(0)?, r.input(1)?);
        Ok(smallvec![gamma_slope(r.b, a, x)?])
    };
};

/// The sum over everything but channels.
fn bias_add(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let g = r.input(0)?;
    let rank = r.fact(0)?.rank().ok_or_else(|| Misfit::new("the number of axes must be known"))?;
    let axes = normalised_axes(r, rank);
    Ok(smallvec![make::reduce_sum(r.b, g, &axes, false)?])
}

/// Inputs: gradient, and the size of the images before, or these images.
fn resize(r: &mut Rule<'_, '_>, how: [Sampling; 2], is_size: bool) -> Result<Outputs, Misfit> {
    let (g, given) = (r.input(0)?, r.input(1)?);
    let (size, first) = if is_size { (given, 0) } else { (make::shape_of(r.b, given)?, 1) };
    let mut dx = g;
    for (i, sampling) in how.into_iter().enumerate() {
        let n = make::slice(r.b, size, &[first + i as i64], &[1])?;
        dx = r.b.op(ResizeGradient(sampling), &[n, dx])?;
    }
    let to = if is_size { r.b.fact(g).dtype } else { r.b.fact(given).dtype };
    Ok(smallvec![make::cast(r.b, dx, to)?])
}

/// Inputs g, x, y of `y = x n^-beta` with `n = bias + alpha Σ x²`: `dx = g n^-beta - 2 alpha beta x Σ g y / n`.
fn local_response(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (g, x, y) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let (bias, alpha) = (f64::from(r.float_or("bias", 1.0)), f64::from(r.float_or("alpha", 1.0)));
    let beta = f64::from(r.float_or("beta", 0.5));
    let band = band_of_ones(r, 1)?;
    let squares = make::square(r.b, x)?;
    let sums = make::matmul(r.b, squares, band)?;
    let sums = make::mul_scalar(r.b, sums, alpha)?;
    let n = make::add_scalar(r.b, sums, bias)?;
    let exponent = make::scalar_like(r.b, x, -beta);
    let factor = make::pow(r.b, n, exponent)?;
    let direct = make::mul(r.b, g, factor)?;
    let shares = make::mul(r.b, g, y)?;
    let shares = make::div(r.b, shares, n)?;
    let around = make::matmul(r.b, shares, band)?;
    let around = make::mul(r.b, around, x)?;
    let around = make::mul_scalar(r.b, around, 2.0 * alpha * beta)?;
    Ok(smallvec![make::sub(r.b, direct, around)?])
}

/// Inputs g, x, scale, mean, variance (of the batch in training, else the running ones); outputs the gradients of x, scale
/// and offset. The reserved outputs behind them are empty.
fn batch_norm(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (g, x, scale, mean, variance) = (r.input(0)?, r.input(1)?, r.input(2)?, r.input(3)?, r.input(4)?);
    let epsilon = f64::from(r.float_or("epsilon", 1e-4));
    let (from, inner) = (r.fact(1)?.dtype, r.fact(2)?.dtype);
    let rank = r.fact(1)?.rank().ok_or_else(|| Misfit::new("the number of axes must be known"))?;
    let (g, x) = (make::cast(r.b, g, inner)?, make::cast(r.b, x, inner)?);
    let axes = normalised_axes(r, rank);
    let shifted = make::add_scalar(r.b, variance, epsilon)?;
    let inverse = make::rsqrt(r.b, shifted)?;
    let (wide_mean, wide_inverse) = (per_channel(r, mean, rank)?, per_channel(r, inverse, rank)?);
    let centred = make::sub(r.b, x, wide_mean)?;
    let unit = make::mul(r.b, centred, wide_inverse)?;
    let product = make::mul(r.b, g, unit)?;
    let d_scale = make::reduce_sum(r.b, product, &axes, false)?;
    let d_offset = make::reduce_sum(r.b, g, &axes, false)?;
    let mut dx = g;
    if r.bool_or("is_training", true) {
        let mean_g = make::reduce_mean(r.b, g, &axes, true)?;
        let mean_product = make::reduce_mean(r.b, product, &axes, true)?;
        let along = make::mul(r.b, unit, mean_product)?;
        dx = make::sub(r.b, dx, mean_g)?;
        dx = make::sub(r.b, dx, along)?;
    }
    let gain = make::mul(r.b, scale, inverse)?;
    let gain = per_channel(r, gain, rank)?;
    let dx = make::mul(r.b, dx, gain)?;
    let none = r.b.literal(Tensor::zeros(inner, &[0]));
    Ok(smallvec![make::cast(r.b, dx, from)?, d_scale, d_offset, none, none])
}

/// Inputs x, gradient, flat positions of the largest elements, within each image or within the batch.
fn max_pool_with_argmax(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (x, g, at) = (r.input(0)?, r.input(1)?, r.input(2)?);
    if channels_first(r) {
        return Err(Misfit::new("positions are defined for channels last only"));
    }
    let shape = make::shape_of(r.b, x)?;
    let mut at = make::cast(r.b, at, DType::I64)?;
    if !r.bool_or("include_batch_in_index", false) {
        let images = images(r, shape)?;
        at = make::add(r.b, at, images)?;
    }
    let at = make::reshape(r.b, at, &[-1])?;
    let g = make::reshape(r.b, g, &[-1])?;
    let axes = r.ints_literal(&[0]);
    let all = make::reduce(r.b, crate::ops::reduce::ReduceFn::Prod, shape, axes, false)?;
    let sum = r.b.op(SegmentReduce { f: SegmentFn::Sum, empty_is_zero: true }, &[g, at, all])?;
    Ok(smallvec![make::reshape_to(r.b, sum, shape)?])
}

/// Where each image starts in the flat batch, `[batch, 1, 1, 1]`.
fn images(r: &mut Rule<'_, '_>, shape: Value) -> Result<Value, Misfit> {
    let batch = make::slice(r.b, shape, &[0], &[1])?;
    let batch = make::reshape(r.b, batch, &[])?;
    let image = make::slice(r.b, shape, &[1], &[3])?;
    let axes = r.ints_literal(&[0]);
    let size = make::reduce(r.b, crate::ops::reduce::ReduceFn::Prod, image, axes, false)?;
    let numbers = super::arrays::range(r, batch)?;
    let numbers = make::cast(r.b, numbers, DType::I64)?;
    let starts = make::mul(r.b, numbers, size)?;
    make::reshape(r.b, starts, &[-1, 1, 1, 1])
}
