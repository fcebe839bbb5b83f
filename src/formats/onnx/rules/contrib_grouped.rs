//! Spelling of ONNX Runtime's attention with shared keys and values (`com.microsoft.GroupQueryAttention`), as exported
//! decoders have it.

use smallvec::smallvec;

use crate::lower::{Rule, Spelling};
use crate::ops::index::{Gather, Range};
use crate::ops::linalg::MatMul;
use crate::ops::make;
use crate::ops::norm::Softmax;
use crate::ops::sizes::{self, Size};
use crate::program::{Builder, Misfit, Value};
use crate::tensor::DType;

use super::attention::{join_heads, repeat_heads, turn};
use super::common::{Spelled, strict_rows};

pub const RULES: &[Spelling] = strict_rows! {
    "com.microsoft.GroupQueryAttention" => grouped;
};

/// Inputs: q `[batch, steps, hidden]` (with k and v behind it where those are missing), k, v, past keys and values
/// `[batch, heads, past, size]`, lengths - 1, total length, cosines, sines, positions, bias, sinks. Each sequence has its
/// own past: the new steps come behind what its length says is valid, what the past holds behind that is not seen. Steps
/// behind a sequence's length are computed like any others. Outputs: result, present keys, present values.
fn grouped(r: &mut Rule<'_, '_>) -> Spelled {
    let (heads, shared) = (r.int_or("num_heads", 0), r.int_or("kv_num_heads", 0));
    if heads < 1 || shared < 1 || heads % shared != 0 {
        return Err(Misfit(format!("{heads} query heads for {shared} key heads")));
    }
    if r.int_or("causal", 1) == 0 {
        return Err(Misfit::new("attention to later steps (causal = 0) is not supported"));
    }
    let [mut q, mut k, v] = parts(r, heads, shared)?;
    let past = past_lengths(r, q)?;
    let is_interleaved = r.int_or("rotary_interleaved", 0) != 0;
    if r.int_or("do_rotary", 0) != 0 {
        (q, k) = rotated(r, q, k, past, is_interleaved)?;
    } else if r.has_input(9) {
        let _not_needed = r.input(9)?;
    }
    let turned = |b: &mut Builder, x: Value| make::transpose(b, x, &[0, 2, 1, 3]);
    let (q, mut k, mut v) = (turned(r.b, q)?, turned(r.b, k)?, turned(r.b, v)?);
    if r.has_input(3) && r.has_input(4) {
        let (past_k, past_v) = (r.input(3)?, r.input(4)?);
        (k, v) = (behind(r, past_k, k, past)?, behind(r, past_v, v, past)?);
    }
    let (all_k, all_v) = (repeat_heads(r.b, k, heads / shared)?, repeat_heads(r.b, v, heads / shared)?);
    let scores = scores(r, q, all_k, past)?;
    let weights = weights(r, scores, heads)?;
    let y = make::matmul(r.b, weights, all_v)?;
    Ok(smallvec![join_heads(r.b, y)?, k, v])
}

/// A softmax, perhaps with one more term in its sum: 1, or the exponential of a number that each head has.
fn weights(r: &mut Rule<'_, '_>, scores: Value, heads: i64) -> Result<Value, Misfit> {
    let is_smooth = r.int_or("smooth_softmax", 0) == 1;
    if !is_smooth && !r.has_input(11) {
        return r.b.op(Softmax { axis: -1 }, &[scores]);
    }
    let first = make::slice(r.b, scores, &[0, 0, 0, 0], &[-1, -1, -1, 1])?;
    let mut more = make::zeros_like(r.b, first)?;
    if r.has_input(11) {
        let sink = r.input(11)?;
        let sink = make::reshape(r.b, sink, &[1, heads, 1, 1])?;
        more = make::add(r.b, more, sink)?;
    }
    let all = make::concat(r.b, &[more, scores], 3)?;
    let all = r.b.op(Softmax { axis: -1 }, &[all])?;
    make::slice(r.b, all, &[0, 0, 0, 1], &[-1, -1, -1, -1])
}

/// Queries, keys and values `[batch, steps, heads, size]`.
fn parts(r: &mut Rule<'_, '_>, heads: i64, shared: i64) -> Result<[Value; 3], Misfit> {
    let q = r.input(0)?;
    let split = |b: &mut Builder, x: Value, n: i64| -> Result<Value, Misfit> {
        let dims = sizes::sizes_of(b, x)?;
        let [batch, steps, hidden] = dims[..] else { return Err(Misfit::new("three axes were expected")) };
        let size = sizes::over(b, hidden, n)?;
        sizes::reshape(b, x, &[batch, steps, Size::Known(n), size])
    };
    if r.has_input(1) && r.has_input(2) {
        let (k, v) = (r.input(1)?, r.input(2)?);
        return Ok([split(r.b, q, heads)?, split(r.b, k, shared)?, split(r.b, v, shared)?]);
    }
    let all = split(r.b, q, heads + 2 * shared)?;
    let mut from = 0;
    let mut next = |b: &mut Builder, n: i64| {
        let part = make::slice(b, all, &[0, 0, from, 0], &[-1, -1, n, -1]);
        from += n;
        part
    };
    Ok([next(r.b, heads)?, next(r.b, shared)?, next(r.b, shared)?])
}

/// The number of earlier steps of each sequence, `[batch, 1]` or one number. The first call of a decoder has none: its new
/// steps are all that there are.
fn past_lengths(r: &mut Rule<'_, '_>, q: Value) -> Result<Value, Misfit> {
    let (lengths, total) = (r.input(5)?, r.input(6)?);
    if !r.has_input(3) {
        return Ok(make::scalar(r.b, DType::I64, 0.0));
    }
    let steps = size_of(r.b, q, 1)?;
    let lengths = make::cast(r.b, lengths, DType::I64)?;
    let lengths = make::reshape(r.b, lengths, &[-1, 1])?;
    let before = make::sub(r.b, lengths, steps)?;
    let before = make::add_scalar(r.b, before, 1.0)?;
    let total = make::cast(r.b, total, DType::I64)?;
    let total = make::reshape(r.b, total, &[])?;
    let is_first = make::less_equal(r.b, total, steps)?;
    let none = make::zeros_like(r.b, before)?;
    let before = make::select(r.b, is_first, none, before)?;
    make::maximum(r.b, before, none)
}

/// New entries `[batch, heads, steps, size]` behind the valid ones of each sequence's past, as many entries as the longer of
/// past and total length.
fn behind(r: &mut Rule<'_, '_>, past: Value, new: Value, valid: Value) -> Result<Value, Misfit> {
    let all = make::concat(r.b, &[past, new], 2)?;
    let (held, steps) = (size_of(r.b, past, 2)?, size_of(r.b, new, 2)?);
    let total = r.input(6)?;
    let total = make::cast(r.b, total, DType::I64)?;
    let total = make::reshape(r.b, total, &[])?;
    let longest = make::maximum(r.b, held, total)?;
    let at = counted(r.b, longest, &[1, -1])?;
    // Slot t holds entry t of the past, or entry t - valid of the new ones, which stand behind all of the past.
    let of_new = make::sub(r.b, at, valid)?;
    let last = make::add_scalar(r.b, steps, -1.0)?;
    let of_new = make::minimum(r.b, of_new, last)?;
    let of_new = make::add(r.b, of_new, held)?;
    let is_old = make::less(r.b, at, valid)?;
    let from = make::select(r.b, is_old, at, of_new)?;
    let zero = make::scalar(r.b, DType::I64, 0.0);
    let from = make::maximum(r.b, from, zero)?;
    let all = make::transpose(r.b, all, &[0, 2, 1, 3])?;
    let all = r.b.op(Gather { axis: 1, batch_dims: 1 }, &[all, from])?;
    make::transpose(r.b, all, &[0, 2, 1, 3])
}

fn size_of(b: &mut Builder, x: Value, axis: i64) -> Result<Value, Misfit> {
    let all = make::shape_of(b, x)?;
    let size = make::slice(b, all, &[axis], &[1])?;
    make::reshape(b, size, &[])
}

fn counted(b: &mut Builder, n: Value, shape: &[i64]) -> Result<Value, Misfit> {
    let (zero, one) = (make::scalar(b, DType::I64, 0.0), make::scalar(b, DType::I64, 1.0));
    let v = b.op(Range, &[zero, n, one])?;
    make::reshape(b, v, shape)
}

fn rotated(r: &mut Rule<'_, '_>, q: Value, k: Value, past: Value, interleaved: bool) -> Result<(Value, Value), Misfit> {
    let at = if r.has_input(9) {
        r.input(9)?
    } else {
        let steps = size_of(r.b, q, 1)?;
        let count = counted(r.b, steps, &[1, -1])?;
        make::add(r.b, count, past)?
    };
    let mut table = |i: usize| -> Result<Value, Misfit> {
        let all = r.input(i)?;
        let own = make::gather(r.b, all, at, 0)?;
        make::expand_dims(r.b, own, 2)
    };
    let (cos, sin) = (table(7)?, table(8)?);
    let half = r.b.fact(cos).shape.dim(3).ok_or_else(|| Misfit::new("the shape of the cosines must be known"))?;
    let size = 2 * half as i64;
    Ok((turn(r.b, q, cos, sin, interleaved, size)?, turn(r.b, k, cos, sin, interleaved, size)?))
}

/// Scaled products with what may not be seen far below everything else.
fn scores(r: &mut Rule<'_, '_>, q: Value, k: Value, past: Value) -> Result<Value, Misfit> {
    let dtype = r.b.fact(q).dtype;
    let size = r.b.fact(q).shape.dim(3).ok_or_else(|| Misfit::new("the size of a head must be known"))?;
    let scale = match f64::from(r.float_or("scale", 0.0)) {
        0.0 => 1.0 / (size as f64).sqrt(),
        given => given,
    };
    let mut scores = r.b.op(MatMul { transpose_a: false, transpose_b: true }, &[q, k])?;
    scores = make::mul_scalar(r.b, scores, scale)?;
    let cap = f64::from(r.float_or("softcap", 0.0));
    if cap > 0.0 {
        let inner = make::mul_scalar(r.b, scores, 1.0 / cap)?;
        let inner = make::tanh(r.b, inner)?;
        scores = make::mul_scalar(r.b, inner, cap)?;
    }
    if r.has_input(10) {
        let bias = r.input(10)?;
        scores = make::add(r.b, scores, bias)?;
    }
    let (n, m) = (size_of(r.b, q, 2)?, size_of(r.b, k, 2)?);
    let (query, key) = (counted(r.b, n, &[-1, 1])?, counted(r.b, m, &[1, -1])?);
    // [batch, 1, queries, 1], or without a batch where all sequences have the same past.
    let past = if r.b.fact(past).rank() == Some(0) { past } else { make::reshape(r.b, past, &[-1, 1, 1, 1])? };
    let at = make::add(r.b, query, past)?;
    let mut allowed = make::less_equal(r.b, key, at)?;
    let window = r.int_or("local_window_size", -1);
    if window > 0 {
        let first = make::add_scalar(r.b, at, 1.0 - window as f64)?;
        let near = make::greater_equal(r.b, key, first)?;
        allowed = make::and(r.b, allowed, near)?;
    }
    let never = make::scalar(r.b, dtype, f64::NEG_INFINITY);
    make::select(r.b, allowed, scores, never)
}
