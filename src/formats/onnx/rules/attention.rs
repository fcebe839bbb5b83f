//! Spellings of ONNX ops: attention and rotary positions (opset 23 on).

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::index::{Gather, Range};
use crate::ops::linalg::MatMul;
use crate::ops::make;
use crate::ops::norm::Softmax;
use crate::ops::shape::{Pad, PadMode};
use crate::ops::sizes::{self, Size};
use crate::program::{Builder, Misfit, Value};
use crate::tensor::{DType, Tensor};

use super::arrays::{pick, stack};
use super::common::{Spelled, one, rank, rows, type_of};

pub const RULES: &[Spelling] = rows! {
    "Attention" => attention;
    "RotaryEmbedding" => |r| rotary(r, [0, 1, 2, 3]);
    "LinearAttention" => linear_attention;
};

/// `[batch, steps, heads · size]` → `[batch, heads, steps, size]`.
pub fn split_heads(b: &mut Builder, x: Value, heads: i64) -> Result<Value, Misfit> {
    let dims = sizes::sizes_of(b, x)?;
    let [batch, steps, hidden] = dims[..] else { return Err(Misfit::new("three axes were expected")) };
    let size = sizes::over(b, hidden, heads)?;
    let x = sizes::reshape(b, x, &[batch, steps, Size::Known(heads), size])?;
    make::transpose(b, x, &[0, 2, 1, 3])
}

/// `[batch, heads, steps, size]` → `[batch, steps, heads · size]`.
pub fn join_heads(b: &mut Builder, x: Value) -> Result<Value, Misfit> {
    let x = make::transpose(b, x, &[0, 2, 1, 3])?;
    let dims = sizes::sizes_of(b, x)?;
    let [batch, steps, heads, size] = dims[..] else { return Err(Misfit::new("four axes were expected")) };
    let hidden = sizes::times(b, heads, size)?;
    sizes::reshape(b, x, &[batch, steps, hidden])
}

/// Each head `times` times, one after the other.
pub fn repeat_heads(b: &mut Builder, x: Value, times: i64) -> Result<Value, Misfit> {
    if times == 1 {
        return Ok(x);
    }
    let dims = sizes::sizes_of(b, x)?;
    let [batch, heads, steps, size] = dims[..] else { return Err(Misfit::new("four axes were expected")) };
    let x = make::expand_dims(b, x, 2)?;
    let x = make::tile(b, x, &[1, 1, times, 1, 1])?;
    let heads = sizes::times(b, heads, Size::Known(times))?;
    sizes::reshape(b, x, &[batch, heads, steps, size])
}

/// An axis' size as an `int64` scalar.
fn size_of(b: &mut Builder, x: Value, axis: i64) -> Result<Value, Misfit> {
    let all = make::shape_of(b, x)?;
    let size = make::slice(b, all, &[axis], &[1])?;
    make::reshape(b, size, &[])
}

/// `0..n` along an axis of `[…]`.
fn counted(b: &mut Builder, n: Value, shape: &[i64]) -> Result<Value, Misfit> {
    let (zero, unit) = (make::scalar(b, DType::I64, 0.0), make::scalar(b, DType::I64, 1.0));
    let v = b.op(Range, &[zero, n, unit])?;
    make::reshape(b, v, shape)
}

/// 0 where the condition holds, else minus infinity.
fn bias_of(b: &mut Builder, allowed: Value, dtype: DType) -> Result<Value, Misfit> {
    let (zero, never) = (make::scalar(b, dtype, 0.0), make::scalar(b, dtype, f64::NEG_INFINITY));
    make::select(b, allowed, zero, never)
}

struct Masks {
    bias: Option<Value>,
    /// Whether a query may be left without any key.
    may_be_empty: bool,
}

/// Inputs Q, K, V, mask, past key, past value, valid lengths; outputs Y, present key and value, scores.
fn attention(r: &mut Rule<'_, '_>) -> Spelled {
    let given = r.input(0)?;
    let is_flat = rank(r.b, given)? == 3;
    let (q_heads, kv_heads) = (r.int_or("q_num_heads", 0), r.int_or("kv_num_heads", 0));
    let head = |r: &mut Rule<'_, '_>, i: usize, heads: i64| -> Result<Value, Misfit> {
        let v = r.input(i)?;
        if is_flat { split_heads(r.b, v, heads) } else { Ok(v) }
    };
    let (q, mut k, mut v) = (head(r, 0, q_heads)?, head(r, 1, kv_heads)?, head(r, 2, kv_heads)?);
    if r.has_input(4) && r.has_input(5) {
        let (past_k, past_v) = (r.input(4)?, r.input(5)?);
        k = make::concat(r.b, &[past_k, k], 2)?;
        v = make::concat(r.b, &[past_v, v], 2)?;
    }
    let (present_k, present_v) = (k, v);
    let masks = masks(r, q, k)?;
    if let (Some(q), Some(kv)) = (r.b.fact(q).shape.dim(1), r.b.fact(k).shape.dim(1))
        && kv > 0
        && q % kv == 0
    {
        (k, v) = (repeat_heads(r.b, k, (q / kv) as i64)?, repeat_heads(r.b, v, (q / kv) as i64)?);
    }
    let (scores, weights) = scores(r, q, k, &masks)?;
    let y = make::matmul(r.b, weights, v)?;
    let y = if is_flat { join_heads(r.b, y)? } else { y };
    Ok(smallvec![y, present_k, present_v, scores])
}

/// What is shown of the products (`qk_matmul_output_mode`), and the weights of the values.
fn scores(r: &mut Rule<'_, '_>, q: Value, k: Value, masks: &Masks) -> Result<(Value, Value), Misfit> {
    let dtype = r.b.fact(q).dtype;
    let size = r.b.fact(q).shape.dim(3).ok_or_else(|| Misfit::new("the size of a head must be known"))?;
    let scale = r.attr("scale").and_then(crate::graph::Attr::as_float).map_or(1.0 / (size as f64).sqrt(), f64::from);
    // Both sides carry the root of the scale, as the standard has it, so that half types do not overflow.
    let (q, k) = (make::mul_scalar(r.b, q, scale.sqrt())?, make::mul_scalar(r.b, k, scale.sqrt())?);
    let mut products = r.b.op(MatMul { transpose_a: false, transpose_b: true }, &[q, k])?;
    let mode = r.int_or("qk_matmul_output_mode", 0);
    let mut shown = products;
    let cap = f64::from(r.float_or("softcap", 0.0));
    if cap > 0.0 {
        let inner = make::mul_scalar(r.b, products, 1.0 / cap)?;
        let inner = make::tanh(r.b, inner)?;
        products = make::mul_scalar(r.b, inner, cap)?;
    }
    if mode == 1 {
        shown = products;
    }
    let mut empty = None;
    if let Some(mut bias) = masks.bias {
        if mode == 2 {
            shown = make::add(r.b, products, bias)?;
        }
        if masks.may_be_empty {
            // A query without any key gives zeros, not the NaN of a softmax over nothing.
            let best = make::reduce_max(r.b, bias, &[-1], true)?;
            let never = make::scalar(r.b, dtype, f64::NEG_INFINITY);
            let is_empty = make::equal(r.b, best, never)?;
            let zero = make::scalar(r.b, dtype, 0.0);
            bias = make::select(r.b, is_empty, zero, bias)?;
            empty = Some(is_empty);
        }
        products = make::add(r.b, products, bias)?;
    } else if mode == 2 {
        shown = products;
    }
    let precision = type_of(r, "softmax_precision")?.unwrap_or(dtype);
    let wide = make::cast(r.b, products, precision)?;
    let mut weights = r.b.op(Softmax { axis: -1 }, &[wide])?;
    if let Some(is_empty) = empty {
        let zero = make::scalar(r.b, precision, 0.0);
        weights = make::select(r.b, is_empty, zero, weights)?;
    }
    let weights = make::cast(r.b, weights, dtype)?;
    Ok((if mode == 3 { weights } else { shown }, weights))
}

/// Mask, causality, window and valid lengths as one bias.
fn masks(r: &mut Rule<'_, '_>, q: Value, k: Value) -> Result<Masks, Misfit> {
    let dtype = r.b.fact(q).dtype;
    let mut bias: Option<Value> = None;
    let mut may_be_empty = false;
    let plus = |b: &mut Builder, bias: Option<Value>, more: Value| match bias {
        Some(v) => make::add(b, v, more),
        None => Ok(more),
    };
    if r.has_input(3) {
        let mut mask = r.input(3)?;
        if r.b.fact(mask).dtype == DType::Bool {
            mask = bias_of(r.b, mask, dtype)?;
        }
        bias = Some(padded_mask(r.b, mask, k, dtype)?);
        may_be_empty = true;
    }
    let lengths = match r.has_input(6) {
        true => {
            let v = r.input(6)?;
            let v = make::cast(r.b, v, DType::I64)?;
            Some(make::reshape(r.b, v, &[-1, 1, 1, 1])?)
        }
        false => None,
    };
    let (causal, left, right) =
        (r.int_or("is_causal", 0) != 0, r.int_or("left_window_size", -1), r.int_or("right_window_size", -1));
    if causal || left >= 0 || right >= 0 {
        let (n, m) = (size_of(r.b, q, 2)?, size_of(r.b, k, 2)?);
        let (i, j) = (counted(r.b, n, &[-1, 1])?, counted(r.b, m, &[1, -1])?);
        // The position of a query among the keys.
        let at = if r.has_input(4) {
            let past = r.input(4)?;
            let past = size_of(r.b, past, 2)?;
            make::add(r.b, i, past)?
        } else if let Some(lengths) = lengths {
            may_be_empty = true;
            let before = make::sub(r.b, lengths, n)?;
            make::add(r.b, i, before)?
        } else {
            i
        };
        let distance = make::sub(r.b, at, j)?;
        let mut limit = |least: bool, bound: i64| -> Result<(), Misfit> {
            let bound = make::scalar(r.b, DType::I64, bound as f64);
            let allowed = if least {
                make::greater_equal(r.b, distance, bound)?
            } else {
                make::less_equal(r.b, distance, bound)?
            };
            let more = bias_of(r.b, allowed, dtype)?;
            bias = Some(plus(r.b, bias, more)?);
            Ok(())
        };
        if causal {
            limit(true, 0)?;
        }
        if left >= 0 {
            limit(false, left)?;
            may_be_empty = true;
        }
        if right >= 0 {
            limit(true, -right)?;
        }
    }
    if let Some(lengths) = lengths {
        let m = size_of(r.b, k, 2)?;
        let j = counted(r.b, m, &[1, 1, 1, -1])?;
        let allowed = make::less(r.b, j, lengths)?;
        let more = bias_of(r.b, allowed, dtype)?;
        bias = Some(plus(r.b, bias, more)?);
        may_be_empty = true;
    }
    Ok(Masks { bias, may_be_empty })
}

/// A mask that is shorter than the keys forbids the rest.
fn padded_mask(b: &mut Builder, mask: Value, k: Value, dtype: DType) -> Result<Value, Misfit> {
    let n = rank(b, mask)?;
    let last = b.fact(mask).shape.dim(n.saturating_sub(1));
    let (Some(have), Some(want)) = (last, b.fact(k).shape.dim(2)) else { return Ok(mask) };
    if have >= want {
        return Ok(mask);
    }
    let mut pads = vec![0i64; 2 * n];
    pads[2 * n - 1] = (want - have) as i64;
    let pads = b.literal(Tensor::from_slice(&[n, 2], &pads));
    let never = make::scalar(b, dtype, f64::NEG_INFINITY);
    b.op(Pad { mode: PadMode::Constant }, &[mask, pads, never])
}

/// Turns pairs of elements by angles that grow with the position. `inputs` are the places of x, cosines, sines, positions.
pub fn rotary(r: &mut Rule<'_, '_>, inputs: [usize; 4]) -> Spelled {
    let given = r.input(inputs[0])?;
    let (mut cos, mut sin) = (r.input(inputs[1])?, r.input(inputs[2])?);
    let is_flat = rank(r.b, given)? == 3;
    // As [batch, steps, heads, size].
    let x = if is_flat {
        let heads = r.int_or("num_heads", 0);
        let dims = sizes::sizes_of(r.b, given)?;
        let (heads, size) = if heads > 0 {
            (Size::Known(heads), sizes::over(r.b, dims[2], heads)?)
        } else {
            // Without a number of heads, the tables say how large one is.
            let half = r.b.fact(cos).shape.partial().and_then(|d| d.last().copied().flatten());
            let size = half.ok_or_else(|| Misfit::new("num_heads is missing"))? as i64 * 2;
            (sizes::over(r.b, dims[2], size)?, Size::Known(size))
        };
        sizes::reshape(r.b, given, &[dims[0], dims[1], heads, size])?
    } else {
        make::transpose(r.b, given, &[0, 2, 1, 3])?
    };
    let size = r.b.fact(x).shape.dim(3).ok_or_else(|| Misfit::new("the size of a head must be known"))? as i64;
    let turned_size = match r.int_or("rotary_embedding_dim", 0) {
        0 => size,
        n => n,
    };
    if r.has_input(inputs[3]) {
        let mut at = r.input(inputs[3])?;
        if rank(r.b, at)? < 2 {
            // One offset for all: positions count from it.
            let steps = size_of(r.b, x, 1)?;
            let count = counted(r.b, steps, &[1, -1])?;
            let offset = make::cast(r.b, at, DType::I64)?;
            let offset = make::reshape(r.b, offset, &[1, 1])?;
            at = make::add(r.b, count, offset)?;
        }
        cos = r.b.op(Gather { axis: 0, batch_dims: 0 }, &[cos, at])?;
        sin = r.b.op(Gather { axis: 0, batch_dims: 0 }, &[sin, at])?;
    }
    let (cos, sin) = (make::expand_dims(r.b, cos, 2)?, make::expand_dims(r.b, sin, 2)?);
    let interleaved = r.int_or("interleaved", 0) != 0;
    let y = turn(r.b, x, cos, sin, interleaved, turned_size)?;
    one(if is_flat { make::reshape_like(r.b, y, given)? } else { make::transpose(r.b, y, &[0, 2, 1, 3])? })
}

/// `x [batch, steps, heads, size]` with pairs of its first `turned_size` elements turned: neighbours where `interleaved`,
/// else one from each half. Cosines and sines broadcast to `[batch, steps, 1, turned_size / 2]`.
pub(super) fn turn(
    b: &mut Builder,
    x: Value,
    cos: Value,
    sin: Value,
    interleaved: bool,
    turned_size: i64,
) -> Result<Value, Misfit> {
    let size = b.fact(x).shape.dim(3).ok_or_else(|| Misfit::new("the size of a head must be known"))? as i64;
    if !(0..=size).contains(&turned_size) {
        return Err(Misfit(format!("{turned_size} of {size} elements cannot be turned")));
    }
    let part = make::slice(b, x, &[0, 0, 0, 0], &[-1, -1, -1, turned_size])?;
    let half = turned_size / 2;
    let dims = sizes::sizes_of(b, part)?;
    let (left, right) = if interleaved {
        let pairs = sizes::reshape(b, part, &[dims[0], dims[1], dims[2], Size::Known(half), Size::Known(2)])?;
        (pick(b, pairs, 4, 0)?, pick(b, pairs, 4, 1)?)
    } else {
        (make::slice(b, part, &[0; 4], &[-1, -1, -1, half])?, make::slice(b, part, &[0, 0, 0, half], &[-1; 4])?)
    };
    let (ca, sb) = (make::mul(b, cos, left)?, make::mul(b, sin, right)?);
    let (sa, cb) = (make::mul(b, sin, left)?, make::mul(b, cos, right)?);
    let (real, imaginary) = (make::sub(b, ca, sb)?, make::add(b, sa, cb)?);
    let mut y = if interleaved {
        let pairs = stack(b, &[real, imaginary], 4)?;
        sizes::reshape(b, pairs, &dims)?
    } else {
        make::concat(b, &[real, imaginary], -1)?
    };
    if turned_size < size {
        let rest = make::slice(b, x, &[0, 0, 0, turned_size], &[-1; 4])?;
        y = make::concat(b, &[y, rest], -1)?;
    }
    Ok(y)
}

/// A state `S [keys, values]` per head, read by queries: `S ← e^g S + k ⊗ v'`, `y = scale · qᵀ S`, where the delta rules
/// write `v' = β (v - Sᵀ k)`.
fn linear_attention(r: &mut Rule<'_, '_>) -> Spelled {
    let (q_heads, kv_heads) = (r.int_or("q_num_heads", 0), r.int_or("kv_num_heads", 0));
    if q_heads < 1 || kv_heads < 1 || q_heads % kv_heads != 0 {
        return Err(Misfit(format!("{q_heads} query heads for {kv_heads} key heads")));
    }
    let given = r.input(0)?;
    let dtype = r.b.fact(given).dtype;
    let heads = |r: &mut Rule<'_, '_>, i: usize, n: i64| -> Result<Value, Misfit> {
        let v = r.input(i)?;
        let v = split_heads(r.b, v, n)?;
        make::cast(r.b, v, DType::F32)
    };
    let (q, k, v) = (heads(r, 0, q_heads)?, heads(r, 1, kv_heads)?, heads(r, 2, kv_heads)?);
    let decay = match r.has_input(4) {
        true => Some({
            let d = heads(r, 4, kv_heads)?;
            make::exp(r.b, d)?
        }),
        false => None,
    };
    let beta = match r.has_input(5) {
        true => {
            let raw = r.input(5)?;
            let n = r.b.fact(raw).shape.dim(2).ok_or_else(|| Misfit::new("the shape must be known"))? as i64;
            Some(heads(r, 5, n)?)
        }
        false => None,
    };
    let dims = |r: &Rule<'_, '_>, v: Value| r.b.fact(v).dims().ok_or_else(|| Misfit::new("the shape must be known"));
    let (k_dims, v_dims) = (dims(r, k)?, dims(r, v)?);
    let steps = k_dims[2];
    if steps > 4096 {
        return Err(Misfit(format!("{steps} steps are too many to unroll")));
    }
    let mut state = match r.has_input(3) {
        true => {
            let s = r.input(3)?;
            make::cast(r.b, s, DType::F32)?
        }
        false => r.b.literal(Tensor::zeros(DType::F32, &[k_dims[0], k_dims[1], k_dims[3], v_dims[3]])),
    };
    let state_type = if r.has_input(3) { r.fact(3)?.dtype } else { dtype };
    let scale = match f64::from(r.float_or("scale", 0.0)) {
        0.0 => 1.0 / (k_dims[3] as f64).sqrt(),
        s => s,
    };
    let mut out = Vec::new();
    for t in 0..steps as i64 {
        // Slices keep their axis of one step: rows [.., 1, size].
        let row = |b: &mut Builder, v: Value| make::slice(b, v, &[0, 0, t, 0], &[-1, -1, 1, -1]);
        let column = |b: &mut Builder, v: Value| make::transpose(b, v, &[0, 1, 3, 2]);
        let (q_t, k_t, mut v_t) = (row(r.b, q)?, row(r.b, k)?, row(r.b, v)?);
        let k_column = column(r.b, k_t)?;
        if let Some(decay) = decay {
            let g = row(r.b, decay)?;
            let g = column(r.b, g)?;
            state = make::mul(r.b, state, g)?;
        }
        if let Some(beta) = beta {
            let known = make::matmul(r.b, k_t, state)?;
            let change = make::sub(r.b, v_t, known)?;
            let beta = row(r.b, beta)?;
            v_t = make::mul(r.b, beta, change)?;
        }
        let written = make::mul(r.b, k_column, v_t)?;
        state = make::add(r.b, state, written)?;
        let read = repeat_heads(r.b, state, q_heads / kv_heads)?;
        let y = make::matmul(r.b, q_t, read)?;
        out.push(make::mul_scalar(r.b, y, scale)?);
    }
    let y = make::concat(r.b, &out, 2)?;
    let y = join_heads(r.b, y)?;
    let out: Outputs = smallvec![make::cast(r.b, y, dtype)?, make::cast(r.b, state, state_type)?];
    Ok(out)
}
