//! Spellings of `com.microsoft` ops that are seen less often: fusions of the optimizer, old copies of standard ops, the
//! positions of T5 and WavLM, images.
//!
//! Semantics: ONNX Runtime's ContribOperators.md.

use smallvec::smallvec;

use crate::lower::{Rule, Spelling};
use crate::ops::elementwise::UnaryFn;
use crate::ops::index::Range;
use crate::ops::make;
use crate::ops::norm::Softmax;
use crate::program::{Builder, Misfit, Value};
use crate::tensor::{DType, Tensor};

use super::common::{Spelled, axis_in, one, rank, strict_rows};
use super::conv::convolved;
use super::math::gelu;

pub const RULES: &[Spelling] = strict_rows! {
    "com.microsoft.GemmaRotaryEmbedding" => gemma_rotary;
    "com.microsoft.GroupNorm" => |r| group_norm(r, false);
    "com.microsoft.SkipGroupNorm" => |r| group_norm(r, true);
    "com.microsoft.FusedConv" => fused_conv;
    "com.microsoft.BiasSoftmax" => bias_softmax;
    "com.microsoft.GemmFastGelu" => gemm_fast_gelu;
    "com.microsoft.RelativePositionBias" => relative_position_bias;
    "com.microsoft.GatedRelativePositionBias" => gated_relative_position_bias;
    "com.microsoft.CDist" => distances;
    "com.microsoft.TorchEmbedding" => |r| { let (w, at) = (r.input(0)?, r.input(1)?); one(make::gather(r.b, w, at, 0)?) };
    "com.microsoft.ExpandDims" => expand_dims;
    "com.microsoft.ReduceSumInteger" => sum_of_integers;
    "com.microsoft.ComplexMul" => |r| complex_product(r, 1.0);
    "com.microsoft.ComplexMulConj" => |r| complex_product(r, -1.0);
};

/// Inputs: angles `[batch, steps, size]`, queries, turned queries, keys, turned keys. `q cos + q' sin` for both.
fn gemma_rotary(r: &mut Rule<'_, '_>) -> Spelled {
    let angles = r.input(0)?;
    let angles = make::expand_dims(r.b, angles, 1)?;
    let (cos, sin) = (make::unary(r.b, UnaryFn::Cos, angles)?, make::unary(r.b, UnaryFn::Sin, angles)?);
    let mut side = |i: usize| -> Result<Value, Misfit> {
        let (x, turned) = (r.input(i)?, r.input(i + 1)?);
        let dtype = r.b.fact(x).dtype;
        let (cos, sin) = (make::cast(r.b, cos, dtype)?, make::cast(r.b, sin, dtype)?);
        let (a, b) = (make::mul(r.b, x, cos)?, make::mul(r.b, turned, sin)?);
        make::add(r.b, a, b)
    };
    Ok(smallvec![side(1)?, side(3)?])
}

/// Groups of channels (last, or second) of an image, perhaps of a sum, perhaps with x·sigmoid(x) behind it.
fn group_norm(r: &mut Rule<'_, '_>, skips: bool) -> Spelled {
    let (x, scale, shift) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let is_last = r.int_or("channels_last", 1) != 0;
    let to_second = |b: &mut Builder, v: Value| if is_last { make::transpose(b, v, &[0, 3, 1, 2]) } else { Ok(v) };
    let mut sum = x;
    if skips {
        let mut skip = r.input(3)?;
        if rank(r.b, skip)? == 2 {
            let to = if is_last { [1, 2] } else { [2, 3] };
            for axis in to {
                skip = make::expand_dims(r.b, skip, axis)?;
            }
        }
        sum = make::add(r.b, sum, skip)?;
        if r.has_input(4) {
            let bias = r.input(4)?;
            let bias = if is_last { bias } else { make::reshape(r.b, bias, &[-1, 1, 1])? };
            sum = make::add(r.b, sum, bias)?;
        }
    }
    let channels_second = to_second(r.b, sum)?;
    let dims = r.b.fact(channels_second).dims().filter(|d| d.len() == 4);
    let dims = dims.ok_or_else(|| Misfit::new("the shape of the image must be known"))?;
    let groups = r.int_or("groups", 0);
    if groups < 1 || dims[1] as i64 % groups != 0 {
        return Err(Misfit(format!("{} channels in {groups} groups", dims[1])));
    }
    let rows = make::reshape(r.b, channels_second, &[dims[0] as i64, groups, -1])?;
    let rows = make::cast(r.b, rows, DType::F32)?;
    let mean = make::reduce_mean(r.b, rows, &[2], true)?;
    let centred = make::sub(r.b, rows, mean)?;
    let square = make::square(r.b, centred)?;
    let variance = make::reduce_mean(r.b, square, &[2], true)?;
    let variance = make::add_scalar(r.b, variance, f64::from(r.float_or("epsilon", 1e-5)))?;
    let inverse = make::rsqrt(r.b, variance)?;
    let y = make::mul(r.b, centred, inverse)?;
    let y = make::reshape_like(r.b, y, channels_second)?;
    let of_channel = |b: &mut Builder, v: Value| -> Result<Value, Misfit> {
        let v = make::cast(b, v, DType::F32)?;
        make::reshape(b, v, &[-1, 1, 1])
    };
    let (scale, shift) = (of_channel(r.b, scale)?, of_channel(r.b, shift)?);
    let y = make::mul(r.b, y, scale)?;
    let mut y = make::add(r.b, y, shift)?;
    if r.int_or("activation", 0) == 1 {
        let gate = make::sigmoid(r.b, y)?;
        y = make::mul(r.b, y, gate)?;
    }
    let y = if is_last { make::transpose(r.b, y, &[0, 2, 3, 1])? } else { y };
    let y = make::cast(r.b, y, r.b.fact(x).dtype)?;
    Ok(if skips { smallvec![y, sum] } else { smallvec![y] })
}

/// An activation by name, with its parameters.
fn activated(r: &mut Rule<'_, '_>, x: Value) -> Result<Value, Misfit> {
    let name = r.str_or("activation", "").to_owned();
    let given = super::common::floats_attr(r, "activation_params").unwrap_or_default();
    let parameter = |i: usize, default: f64| given.get(i).copied().unwrap_or(default);
    match name.as_str() {
        "" => Ok(x),
        "Relu" => make::relu(r.b, x),
        "Tanh" => make::tanh(r.b, x),
        "Sigmoid" => make::sigmoid(r.b, x),
        "LeakyRelu" => {
            let below = make::mul_scalar(r.b, x, parameter(0, 0.01))?;
            let zero = make::scalar_like(r.b, x, 0.0);
            let is_above = make::greater_equal(r.b, x, zero)?;
            make::select(r.b, is_above, x, below)
        }
        "Clip" => {
            let (low, high) = (parameter(0, f64::from(f32::MIN)), parameter(1, f64::from(f32::MAX)));
            let (low, high) = (make::scalar_like(r.b, x, low), make::scalar_like(r.b, x, high));
            let x = make::maximum(r.b, x, low)?;
            make::minimum(r.b, x, high)
        }
        "HardSigmoid" => {
            let y = make::mul_scalar(r.b, x, parameter(0, 0.2))?;
            let y = make::add_scalar(r.b, y, parameter(1, 0.5))?;
            let (zero, unit) = (make::scalar_like(r.b, x, 0.0), make::scalar_like(r.b, x, 1.0));
            let y = make::maximum(r.b, y, zero)?;
            make::minimum(r.b, y, unit)
        }
        other => Err(Misfit(format!("unknown activation {other:?}"))),
    }
}

/// Inputs: x, filter, bias, what is added before the activation.
fn fused_conv(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, w) = (r.input(0)?, r.input(1)?);
    let mut y = convolved(r, x, w)?;
    if r.has_input(2) {
        let n = rank(r.b, y)?;
        let bias = r.input(2)?;
        let bias = super::common::along(r.b, bias, 1, n)?;
        y = make::add(r.b, y, bias)?;
    }
    if r.has_input(3) {
        let more = r.input(3)?;
        y = make::add(r.b, y, more)?;
    }
    one(activated(r, y)?)
}

/// Softmax of the axes from `axis` on of a sum. The bias lacks axes in the middle (inner broadcast) or at the front.
fn bias_softmax(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, bias) = (r.input(0)?, r.input(1)?);
    let n = rank(r.b, x)?;
    if axis_in(r.int_or("axis", 1), n)? + 1 != n {
        return Err(Misfit::new("a softmax over several axes is not supported"));
    }
    let is_inner = r.int_or("is_inner_broadcast", 1) != 0;
    if is_inner && rank(r.b, bias)? != n {
        return Err(Misfit::new("a bias with fewer axes is not supported"));
    }
    let sum = make::add(r.b, x, bias)?;
    one(r.b.op(Softmax { axis: -1 }, &[sum])?)
}

fn gemm_fast_gelu(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, w) = (r.input(0)?, r.input(1)?);
    let mut y = super::linalg::product(r.b, x, w)?;
    if r.has_input(2) {
        let bias = r.input(2)?;
        y = make::add(r.b, y, bias)?;
    }
    one(gelu(r.b, y, true)?)
}

/// T5's bias of the scores. Inputs: table `[buckets, heads]`, number of queries and of keys; result
/// `[1, heads, queries, keys]`. Near distances have a bucket each, far ones share logarithmic buckets.
fn relative_position_bias(r: &mut Rule<'_, '_>) -> Spelled {
    let (table, queries, keys) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let all = r.b.fact(table).shape.dim(0).ok_or_else(|| Misfit::new("the shape of the table must be known"))? as i64;
    let is_two_sided = r.int_or("is_bidirectional", 0) != 0;
    let farthest = r.int_or("max_distance", 128);
    let buckets = if is_two_sided { all / 2 } else { all };
    let near = buckets / 2;
    if near < 1 || farthest <= near {
        return Err(Misfit(format!("{all} buckets for distances up to {farthest}")));
    }
    let mut count = |n: Value, shape: &[i64]| -> Result<Value, Misfit> {
        let n = make::cast(r.b, n, DType::I64)?;
        let n = make::reshape(r.b, n, &[])?;
        let (zero, unit) = (make::scalar(r.b, DType::I64, 0.0), make::scalar(r.b, DType::I64, 1.0));
        let v = r.b.op(Range, &[zero, n, unit])?;
        make::reshape(r.b, v, shape)
    };
    let (query, key) = (count(queries, &[-1, 1])?, count(keys, &[1, -1])?);
    let back = make::sub(r.b, query, key)?;
    let zero = make::scalar(r.b, DType::I64, 0.0);
    let (distance, side) = if is_two_sided {
        let is_ahead = make::less(r.b, back, zero)?;
        let is_ahead = make::cast(r.b, is_ahead, DType::I64)?;
        (make::abs(r.b, back)?, make::mul_scalar(r.b, is_ahead, buckets as f64)?)
    } else {
        (make::maximum(r.b, back, zero)?, make::zeros_like(r.b, back)?)
    };
    let as_float = make::cast(r.b, distance, DType::F32)?;
    let least = make::scalar(r.b, DType::F32, 1.0);
    let as_float = make::maximum(r.b, as_float, least)?;
    let far = make::mul_scalar(r.b, as_float, 1.0 / near as f64)?;
    let far = make::log(r.b, far)?;
    let far = make::mul_scalar(r.b, far, 1.0 / (farthest as f64 / near as f64).ln())?;
    let far = make::mul_scalar(r.b, far, (buckets - near) as f64)?;
    let far = make::cast(r.b, far, DType::I64)?;
    let far = make::add_scalar(r.b, far, near as f64)?;
    let last = make::scalar(r.b, DType::I64, (buckets - 1) as f64);
    let far = make::minimum(r.b, far, last)?;
    let limit = make::scalar(r.b, DType::I64, near as f64);
    let is_near = make::less(r.b, distance, limit)?;
    let bucket = make::select(r.b, is_near, distance, far)?;
    let bucket = make::add(r.b, bucket, side)?;
    let bias = make::gather(r.b, table, bucket, 0)?;
    let bias = make::transpose(r.b, bias, &[2, 0, 1])?;
    one(make::expand_dims(r.b, bias, 0)?)
}

/// WavLM's: inputs queries `[batch, steps, hidden]`, their bias, bias of the scores `[1, heads, steps, steps]`, a matrix
/// `[size, 8]` and its bias, one factor per head. The scores' bias times a gate of each query.
fn gated_relative_position_bias(r: &mut Rule<'_, '_>) -> Spelled {
    let heads = r.int_or("num_heads", 0);
    if heads < 1 {
        return Err(Misfit::new("num_heads is missing"));
    }
    let (q, bias, positions) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let (w, w_bias, factor) = (r.input(3)?, r.input(4)?, r.input(5)?);
    let q = make::add(r.b, q, bias)?;
    let q = super::attention::split_heads(r.b, q, heads)?;
    let gates = make::matmul(r.b, q, w)?;
    let gates = make::add(r.b, gates, w_bias)?;
    let mut gate = |start: i64| -> Result<Value, Misfit> {
        let half = make::slice(r.b, gates, &[0, 0, 0, start], &[-1, -1, -1, 4])?;
        let sum = make::reduce_sum(r.b, half, &[-1], true)?;
        make::sigmoid(r.b, sum)
    };
    let (update, reset) = (gate(0)?, gate(4)?);
    let factor = make::reshape(r.b, factor, &[1, heads, 1, 1])?;
    let inner = make::mul(r.b, reset, factor)?;
    let inner = make::add_scalar(r.b, inner, -1.0)?;
    let inner = make::mul(r.b, update, inner)?;
    let gate = make::add_scalar(r.b, inner, 2.0)?;
    one(make::mul(r.b, gate, positions)?)
}

/// Distances between the rows of two matrices.
fn distances(r: &mut Rule<'_, '_>) -> Spelled {
    let (a, b) = (r.input(0)?, r.input(1)?);
    let is_root = match r.str_or("metric", "sqeuclidean") {
        "sqeuclidean" => false,
        "euclidean" => true,
        other => return Err(Misfit(format!("unknown metric {other:?}"))),
    };
    let a = make::expand_dims(r.b, a, 1)?;
    let difference = make::sub(r.b, a, b)?;
    let square = make::square(r.b, difference)?;
    let sum = make::reduce_sum(r.b, square, &[2], false)?;
    one(if is_root { make::sqrt(r.b, sum)? } else { sum })
}

fn expand_dims(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let axis = super::common::ints_input(r, 1)?.and_then(|v| v.first().copied());
    one(make::expand_dims(r.b, x, axis.ok_or_else(|| Misfit::new("the axis is missing"))?)?)
}

fn sum_of_integers(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let axes = r.ints_attr("axes").ok_or_else(|| Misfit::new("axes are missing"))?;
    let x = make::cast(r.b, x, DType::I32)?;
    one(make::reduce_sum(r.b, x, &axes, r.int_or("keepdims", 0) != 0)?)
}

/// Products of complex numbers, parts side by side in the last axis; `sign` -1 takes the conjugate of the second.
fn complex_product(r: &mut Rule<'_, '_>, sign: f64) -> Spelled {
    let (x, y) = (r.input(0)?, r.input(1)?);
    let part = |r: &mut Rule<'_, '_>, v: Value, i: i64| -> Result<Value, Misfit> {
        let at = r.b.literal(Tensor::from_slice(&[1], &[i]));
        make::gather(r.b, v, at, -1)
    };
    let (a, b, c) = (part(r, x, 0)?, part(r, x, 1)?, part(r, y, 0)?);
    let d = part(r, y, 1)?;
    let d = make::mul_scalar(r.b, d, sign)?;
    let mut term = |u: Value, v: Value| make::mul(r.b, u, v);
    let (ac, bd, ad, bc) = (term(a, c)?, term(b, d)?, term(a, d)?, term(b, c)?);
    let (real, imaginary) = (make::sub(r.b, ac, bd)?, make::add(r.b, ad, bc)?);
    one(make::concat(r.b, &[real, imaginary], -1)?)
}
