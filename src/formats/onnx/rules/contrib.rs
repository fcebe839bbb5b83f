//! Spellings of ops that ONNX Runtime adds (`com.microsoft`): what its optimizer fuses and exporters write.
//!
//! Semantics: ONNX Runtime's ContribOperators.md.

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::linalg::MatMul;
use crate::ops::make;
use crate::ops::norm::Softmax;
use crate::program::{Builder, Misfit, Value};
use crate::tensor::DType;

use super::attention::{join_heads, rotary, split_heads};
use super::common::{Spelled, one, rank, strict_rows};
use super::math::gelu;
use super::nn::{layer_norm, rms_norm};

pub const RULES: &[Spelling] = strict_rows! {
    "com.microsoft.Gelu" => |r| { let x = r.input(0)?; one(gelu(r.b, x, false)?) };
    "com.microsoft.FastGelu" => |r| biased_gelu(r, true);
    "com.microsoft.BiasGelu" => |r| biased_gelu(r, false);
    "com.microsoft.QuickGelu" => |r| { let alpha = r.float_or("alpha", 1.702); super::math::swish(r, alpha) };
    "com.microsoft.LayerNormalization" => layer_normalization;
    "com.microsoft.SimplifiedLayerNormalization" => |r| simplified(r, false);
    "com.microsoft.SkipLayerNormalization" => skip_layer_normalization;
    "com.microsoft.SkipSimplifiedLayerNormalization" => |r| simplified(r, true);
    "com.microsoft.EmbedLayerNormalization" => embed_layer_normalization;
    "com.microsoft.Attention" => attention;
    "com.microsoft.MultiHeadAttention" => multi_head_attention;
    "com.microsoft.FusedMatMul" => fused_matmul;
    "com.microsoft.TransposeMatMul" => fused_matmul;
    "com.microsoft.FusedGemm" => fused_gemm;
    "com.microsoft.RotaryEmbedding" => |r| rotary(r, [0, 2, 3, 1]);
    "com.microsoft.BiasSplitGelu" => bias_split_gelu;
    "com.microsoft.BiasAdd" => bias_add;
};

fn biased_gelu(r: &mut Rule<'_, '_>, tanh: bool) -> Spelled {
    let mut x = r.input(0)?;
    if r.has_input(1) {
        let bias = r.input(1)?;
        x = make::add(r.b, x, bias)?;
    }
    one(gelu(r.b, x, tanh)?)
}

fn layer_normalization(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, scale) = (r.input(0)?, r.input(1)?);
    let shift = if r.has_input(2) { Some(r.input(2)?) } else { None };
    let (axis, epsilon) = (r.int_or("axis", -1), f64::from(r.float_or("epsilon", 1e-5)));
    Ok(layer_norm(r.b, x, scale, shift, axis, epsilon)?.into_iter().collect())
}

/// RMS normalisation, perhaps of a sum. Outputs: result, mean (unused), inverse deviation, sum.
fn simplified(r: &mut Rule<'_, '_>, skips: bool) -> Spelled {
    let mut x = r.input(0)?;
    let gain = if skips { 2 } else { 1 };
    if skips {
        let skip = r.input(1)?;
        x = make::add(r.b, x, skip)?;
        if r.has_input(3) {
            let bias = r.input(3)?;
            x = make::add(r.b, x, bias)?;
        }
    }
    let scale = r.input(gain)?;
    let (y, inverse) = rms_norm(r.b, x, &[-1], f64::from(r.float_or("epsilon", 1e-5)))?;
    let y = make::mul(r.b, y, scale)?;
    Ok(if skips { smallvec![y, inverse, inverse, x] } else { smallvec![y, inverse] })
}

/// Inputs x, skip, gain, shift, bias of the sum. Outputs: result, mean, inverse deviation, sum.
fn skip_layer_normalization(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, skip, gain) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let mut sum = make::add(r.b, x, skip)?;
    if r.has_input(4) {
        let bias = r.input(4)?;
        sum = make::add(r.b, sum, bias)?;
    }
    let shift = if r.has_input(3) { Some(r.input(3)?) } else { None };
    let [y, mean, inverse] = layer_norm(r.b, sum, gain, shift, -1, f64::from(r.float_or("epsilon", 1e-12)))?;
    Ok(smallvec![y, mean, inverse, sum])
}

/// Inputs: ids, segments, word, position and segment tables, gain, shift, mask, positions.
/// Outputs: result, number of valid tokens, sum.
fn embed_layer_normalization(r: &mut Rule<'_, '_>) -> Spelled {
    let (ids, words, places) = (r.input(0)?, r.input(2)?, r.input(3)?);
    let mut sum = make::gather(r.b, words, ids, 0)?;
    let place = if r.has_input(8) {
        let at = r.input(8)?;
        make::gather(r.b, places, at, 0)?
    } else {
        let sizes = make::shape_of(r.b, ids)?;
        let steps = make::slice(r.b, sizes, &[1], &[1])?;
        let all = r.ints_literal(&[-1]);
        let size = make::concat(r.b, &[steps, all], 0)?;
        let begin = r.ints_literal(&[0, 0]);
        r.b.op(crate::ops::shape::Slice, &[places, begin, size])?
    };
    sum = make::add(r.b, sum, place)?;
    if r.has_input(1) && r.has_input(4) {
        let (segments, table) = (r.input(1)?, r.input(4)?);
        let own = make::gather(r.b, table, segments, 0)?;
        sum = make::add(r.b, sum, own)?;
    }
    let (gain, shift) = (r.input(5)?, r.input(6)?);
    let [y, ..] = layer_norm(r.b, sum, gain, Some(shift), -1, f64::from(r.float_or("epsilon", 1e-12)))?;
    let valid = if r.has_input(7) {
        let mask = r.input(7)?;
        let counts = make::reduce_sum(r.b, mask, &[1], false)?;
        make::cast(r.b, counts, DType::I32)?
    } else {
        let zeros = make::zeros_like(r.b, ids)?;
        let zeros = make::reduce_sum(r.b, zeros, &[1], false)?;
        make::cast(r.b, zeros, DType::I32)?
    };
    Ok(smallvec![y, valid, sum])
}

/// What a mask of `rank` axes adds to the scores `[batch, heads, queries, keys]`.
fn mask_bias(r: &mut Rule<'_, '_>, mask: Value, scores: Value, filter: f64) -> Result<Value, Misfit> {
    let dtype = r.b.fact(scores).dtype;
    let n = rank(r.b, mask)?;
    let allowed = if n == 1 {
        // The end of the valid keys of each sequence; then perhaps the beginning of each.
        let batch = r.b.fact(scores).shape.dim(0).zip(r.b.fact(mask).shape.dim(0));
        let (batch, count) = batch.ok_or_else(|| Misfit::new("the shapes of mask and scores must be known"))?;
        let (mask, starts) = match count {
            c if c == batch => (mask, None),
            c if c == 2 * batch => {
                let half = batch as i64;
                (make::slice(r.b, mask, &[0], &[half])?, Some(make::slice(r.b, mask, &[half], &[half])?))
            }
            c => return Err(Misfit(format!("a mask of {c} numbers for {batch} sequences is not supported"))),
        };
        let sizes = make::shape_of(r.b, scores)?;
        let keys = make::slice(r.b, sizes, &[3], &[1])?;
        let keys = make::reshape(r.b, keys, &[])?;
        let (zero, unit) = (make::scalar(r.b, DType::I64, 0.0), make::scalar(r.b, DType::I64, 1.0));
        let at = r.b.op(crate::ops::index::Range, &[zero, keys, unit])?;
        let at = make::reshape(r.b, at, &[1, 1, 1, -1])?;
        let ends = make::cast(r.b, mask, DType::I64)?;
        let ends = make::reshape(r.b, ends, &[-1, 1, 1, 1])?;
        let mut inside = make::less(r.b, at, ends)?;
        if let Some(starts) = starts {
            let starts = make::cast(r.b, starts, DType::I64)?;
            let starts = make::reshape(r.b, starts, &[-1, 1, 1, 1])?;
            let begun = make::greater_equal(r.b, at, starts)?;
            inside = make::and(r.b, inside, begun)?;
        }
        make::cast(r.b, inside, dtype)?
    } else {
        let mut mask = make::cast(r.b, mask, dtype)?;
        for _ in 0..4usize.saturating_sub(n) {
            mask = make::expand_dims(r.b, mask, 1)?;
        }
        mask
    };
    let masked = make::neg(r.b, allowed)?;
    let masked = make::add_scalar(r.b, masked, 1.0)?;
    make::mul_scalar(r.b, masked, filter)
}

struct Heads {
    q: Value,
    k: Value,
    v: Value,
}

/// Softmax attention over `[batch, heads, steps, size]`; the result is joined.
fn attend(r: &mut Rule<'_, '_>, h: &Heads, mask: Option<usize>, bias: Option<usize>) -> Result<Value, Misfit> {
    let size = r.b.fact(h.q).shape.dim(3).ok_or_else(|| Misfit::new("the size of a head must be known"))?;
    let scale = match f64::from(r.float_or("scale", 0.0)) {
        0.0 => 1.0 / (size as f64).sqrt(),
        s => s,
    };
    let mut scores = r.b.op(MatMul { transpose_a: false, transpose_b: true }, &[h.q, h.k])?;
    scores = make::mul_scalar(r.b, scores, scale)?;
    let filter = f64::from(r.float_or("mask_filter_value", -10000.0));
    if let Some(i) = mask.filter(|&i| r.has_input(i)) {
        let mask = r.input(i)?;
        let more = mask_bias(r, mask, scores, filter)?;
        scores = make::add(r.b, scores, more)?;
    }
    if r.int_or("unidirectional", 0) != 0 {
        let dtype = r.b.fact(scores).dtype;
        let sizes = make::shape_of(r.b, scores)?;
        let (zero, unit) = (make::scalar(r.b, DType::I64, 0.0), make::scalar(r.b, DType::I64, 1.0));
        let mut count = |axis: i64, shape: &[i64]| -> Result<(Value, Value), Misfit> {
            let n = make::slice(r.b, sizes, &[axis], &[1])?;
            let n = make::reshape(r.b, n, &[])?;
            let v = r.b.op(crate::ops::index::Range, &[zero, n, unit])?;
            Ok((make::reshape(r.b, v, shape)?, n))
        };
        let ((query, queries), (key, keys)) = (count(2, &[-1, 1])?, count(3, &[1, -1])?);
        let past = make::sub(r.b, keys, queries)?;
        let at = make::add(r.b, query, past)?;
        let later = make::greater(r.b, key, at)?;
        let later = make::cast(r.b, later, dtype)?;
        let more = make::mul_scalar(r.b, later, filter)?;
        scores = make::add(r.b, scores, more)?;
    }
    if let Some(i) = bias.filter(|&i| r.has_input(i)) {
        let more = r.input(i)?;
        scores = make::add(r.b, scores, more)?;
    }
    let weights = r.b.op(Softmax { axis: -1 }, &[scores])?;
    let y = make::matmul(r.b, weights, h.v)?;
    join_heads(r.b, y)
}

/// Inputs: x `[batch, steps, hidden]`, weights of q, k and v side by side, their bias, mask, past `[2, batch, heads, …]`,
/// bias of the scores. Outputs: result, present keys and values.
fn attention(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, w) = (r.input(0)?, r.input(1)?);
    let mut all = make::matmul(r.b, x, w)?;
    if r.has_input(2) {
        let bias = r.input(2)?;
        all = make::add(r.b, all, bias)?;
    }
    let total = r.b.fact(w).shape.dim(1).ok_or_else(|| Misfit::new("the shape of the weights must be known"))? as i64;
    joint_attention(r, all, total, [3, 4, 5])
}

/// Attention of queries, keys and values that lie side by side in `total` columns. `inputs`: the places of mask, past and
/// bias of the scores.
pub(super) fn joint_attention(r: &mut Rule<'_, '_>, all: Value, total: i64, inputs: [usize; 3]) -> Spelled {
    let heads = r.int_or("num_heads", 0);
    if heads < 1 {
        return Err(Misfit::new("num_heads is missing"));
    }
    let sizes = r.ints_attr("qkv_hidden_sizes").filter(|s| s.len() == 3).unwrap_or_else(|| vec![total / 3; 3]);
    let mut part = |i: usize| -> Result<Value, Misfit> {
        let begin: i64 = sizes[..i].iter().sum();
        let v = make::slice(r.b, all, &[0, 0, begin], &[-1, -1, sizes[i]])?;
        split_heads(r.b, v, heads)
    };
    let mut h = Heads { q: part(0)?, k: part(1)?, v: part(2)? };
    if r.has_input(inputs[1]) {
        let past = r.input(inputs[1])?;
        let (k, v) = (super::arrays::pick(r.b, past, 0, 0)?, super::arrays::pick(r.b, past, 0, 1)?);
        h.k = make::concat(r.b, &[k, h.k], 2)?;
        h.v = make::concat(r.b, &[v, h.v], 2)?;
    }
    let y = attend(r, &h, Some(inputs[0]), Some(inputs[2]))?;
    if r.node.outputs.len() < 2 {
        return one(y);
    }
    let out: Outputs = smallvec![y, super::arrays::stack(r.b, &[h.k, h.v], 0)?];
    Ok(out)
}

/// Inputs: q, k, v `[batch, steps, hidden]` (k and v may already be split, or packed: `[batch, steps, heads, 2 or 3, size]`
/// in the first of them), bias, mask of keys, bias of the scores, past keys and values. Outputs: result, present keys,
/// present values.
fn multi_head_attention(r: &mut Rule<'_, '_>) -> Spelled {
    let heads = r.int_or("num_heads", 0);
    if heads < 1 {
        return Err(Misfit::new("num_heads is missing"));
    }
    let q = r.input(0)?;
    let mut h = if rank(r.b, q)? == 5 {
        let [q, k, v] = [0, 1, 2].map(|i| packed(r, q, i));
        Heads { q: q?, k: k?, v: v? }
    } else {
        let k = r.input(1)?;
        if rank(r.b, k)? == 5 {
            if r.has_input(3) {
                return Err(Misfit::new("a bias beside packed keys and values is not supported"));
            }
            let [k, v] = [0, 1].map(|i| packed(r, k, i));
            Heads { q: split_heads(r.b, q, heads)?, k: k?, v: v? }
        } else {
            separate(r, heads)?
        }
    };
    if r.has_input(6) && r.has_input(7) {
        let (k, v) = (r.input(6)?, r.input(7)?);
        h.k = make::concat(r.b, &[k, h.k], 2)?;
        h.v = make::concat(r.b, &[v, h.v], 2)?;
    }
    let y = attend(r, &h, Some(4), Some(5))?;
    Ok(smallvec![y, h.k, h.v])
}

/// Part `i` of `[batch, steps, heads, parts, size]` as `[batch, heads, steps, size]`.
fn packed(r: &mut Rule<'_, '_>, all: Value, i: i64) -> Result<Value, Misfit> {
    let part = super::arrays::pick(r.b, all, 3, i)?;
    make::transpose(r.b, part, &[0, 2, 1, 3])
}

/// `x [batch, steps, hidden]` plus its part of the joint bias, which begins at `start`.
fn with_bias(r: &mut Rule<'_, '_>, x: Value, start: i64) -> Result<Value, Misfit> {
    if !r.has_input(3) {
        return Ok(x);
    }
    let size = r.b.fact(x).shape.dim(2).ok_or_else(|| Misfit::new("hidden sizes must be known"))? as i64;
    let bias = r.input(3)?;
    let own = make::slice(r.b, bias, &[start], &[size])?;
    make::add(r.b, x, own)
}

fn separate(r: &mut Rule<'_, '_>, heads: i64) -> Result<Heads, Misfit> {
    let mut start = 0;
    let mut side = |r: &mut Rule<'_, '_>, i: usize| -> Result<Value, Misfit> {
        let v = r.input(i)?;
        if rank(r.b, v)? == 4 {
            // Keys and values of another sequence come split; the bias is that of the queries alone.
            return Ok(v);
        }
        let size = r.b.fact(v).shape.dim(2).ok_or_else(|| Misfit::new("hidden sizes must be known"))? as i64;
        let v = with_bias(r, v, start)?;
        start += size;
        split_heads(r.b, v, heads)
    };
    Ok(Heads { q: side(r, 0)?, k: side(r, 1)?, v: side(r, 2)? })
}

/// `alpha · A' B'`.
fn fused_matmul(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, y) = (r.input(0)?, r.input(1)?);
    if r.int_or("transBatchA", 0) != 0 || r.int_or("transBatchB", 0) != 0 {
        return Err(Misfit::new("batch axes in another order are not supported"));
    }
    let op = MatMul { transpose_a: r.int_or("transA", 0) != 0, transpose_b: r.int_or("transB", 0) != 0 };
    let plain = op == MatMul::default();
    let out = if plain { super::linalg::product(r.b, x, y)? } else { r.b.op(op, &[x, y])? };
    one(match r.float_or("alpha", 1.0) {
        1.0 => out,
        alpha => make::mul_scalar(r.b, out, f64::from(alpha))?,
    })
}

/// A Gemm with an activation.
fn fused_gemm(r: &mut Rule<'_, '_>) -> Spelled {
    let out = super::linalg::gemm(r)?[0];
    let activation = r.str_or("activation", "").to_owned();
    one(match activation.as_str() {
        "" => out,
        "Relu" => make::relu(r.b, out)?,
        "Tanh" => make::tanh(r.b, out)?,
        "Sigmoid" => make::sigmoid(r.b, out)?,
        other => return Err(Misfit(format!("unknown activation {other:?}"))),
    })
}

/// `left · gelu(right)` of the halves of `x + bias`.
fn bias_split_gelu(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, bias) = (r.input(0)?, r.input(1)?);
    let sum = make::add(r.b, x, bias)?;
    let n = rank(r.b, sum)?;
    let Some(last) = n.checked_sub(1) else { return Err(Misfit::new("expected at least one axis")) };
    let size = r.b.fact(sum).shape.dim(last).ok_or_else(|| Misfit::new("the hidden size must be known"))? as i64;
    let half = |b: &mut Builder, start: i64| {
        let (mut begin, mut sizes) = (vec![0; n], vec![-1; n]);
        (begin[n - 1], sizes[n - 1]) = (start, size / 2);
        make::slice(b, sum, &begin, &sizes)
    };
    let (left, right) = (half(r.b, 0)?, half(r.b, size / 2)?);
    let gate = gelu(r.b, right, false)?;
    one(make::mul(r.b, left, gate)?)
}

/// Inputs x, bias, residual.
fn bias_add(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, bias, skip) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let y = make::add(r.b, x, bias)?;
    one(make::add(r.b, y, skip)?)
}
