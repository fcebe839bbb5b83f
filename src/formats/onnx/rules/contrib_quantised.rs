//! Spellings of ONNX Runtime's quantised ops (`com.microsoft`), emulated in floats: packed weights and products of bytes.

use crate::lower::{Rule, Spelling};
use crate::ops::elementwise::BinaryFn;
use crate::ops::make;
use crate::program::{Misfit, Value};
use crate::tensor::{DType, Tensor};

use super::arrays::stack;
use super::common::{Spelled, one, strict_rows};
use super::contrib::joint_attention;
use super::linalg::product;
use super::quantised::{dynamic_quantize, per_axis};

pub const RULES: &[Spelling] = strict_rows! {
    "com.microsoft.MatMulNBits" => matmul_n_bits;
    "com.microsoft.DynamicQuantizeMatMul" => dynamic_quantize_matmul;
    "com.microsoft.MatMulIntegerToFloat" => matmul_integer_to_float;
    "com.microsoft.QAttention" => q_attention;
};

/// The numbers of `bits` each in bytes `[.., n]`, the lowest first: `[.., n · 8 / bits]`.
fn unpacked(r: &mut Rule<'_, '_>, bytes: Value, bits: i64) -> Result<Value, Misfit> {
    if bits == 8 {
        return Ok(bytes);
    }
    let rank = r.b.fact(bytes).rank().ok_or_else(|| Misfit::new("the number of axes must be known"))? as i64;
    let byte = |r: &mut Rule<'_, '_>, value: i64| r.b.literal(Tensor::from_slice(&[], &[value as u8]));
    let mask = byte(r, (1 << bits) - 1);
    let mut parts = Vec::new();
    for i in 0..8 / bits {
        let by = byte(r, i * bits);
        let moved = make::binary(r.b, BinaryFn::ShiftRight, bytes, by)?;
        parts.push(make::binary(r.b, BinaryFn::BitAnd, moved, mask)?);
    }
    let all = stack(r.b, &parts, rank)?;
    let dims = r.b.fact(bytes).dims().ok_or_else(|| Misfit::new("the shape of packed weights must be known"))?;
    let mut shape: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
    if let Some(last) = shape.last_mut() {
        *last *= 8 / bits;
    }
    make::reshape(r.b, all, &shape)
}

/// Inputs: a `[.., K]`, weights `[N, blocks, bytes]`, scales `[N · blocks]`, zero points (packed, or as the scales), group
/// index, bias. `y = a Wᵀ + bias` with `W = (q - zero) · scale`.
fn matmul_n_bits(r: &mut Rule<'_, '_>) -> Spelled {
    let (a, packed, scales) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let (k, n) = (r.int_or("K", 0), r.int_or("N", 0));
    let (bits, block) = (r.int_or("bits", 4), r.int_or("block_size", 0));
    if !(matches!(bits, 2 | 4 | 8)
        && (16..1 << 20).contains(&block)
        && (1..1 << 31).contains(&k)
        && (1..1 << 31).contains(&n))
    {
        return Err(Misfit(format!("K {k}, N {n}, bits {bits}, block_size {block} are out of range")));
    }
    if r.int_or("weight_prepacked", 0) != 0 {
        return Err(Misfit::new("weights in the order of one device (weight_prepacked) are not supported"));
    }
    let blocks = (k + block - 1) / block;
    let dtype = r.b.fact(a).dtype;
    let codes = make::reshape(r.b, packed, &[n, blocks, block * bits / 8])?;
    let codes = unpacked(r, codes, bits)?;
    let codes = make::cast(r.b, codes, dtype)?;
    let scales = make::cast(r.b, scales, dtype)?;
    let scales = make::reshape(r.b, scales, &[n, blocks, 1])?;
    // Where columns name their group, each column takes its scale and zero point by that name.
    let group = match given(r, 4) {
        Some(group) => {
            let group = make::reshape(r.b, group, &[-1])?;
            let all =
                r.b.fact(group).shape.dim(0).ok_or_else(|| Misfit::new("the shape of g_idx must be known"))? as i64;
            if all != k && all != blocks * block {
                return Err(Misfit(format!("g_idx names the groups of {all} of {k} columns")));
            }
            Some(make::pad(r.b, group, &[(0, blocks * block - all)])?)
        }
        None => None,
    };
    let of_columns = |r: &mut Rule<'_, '_>, v: Value| match group {
        Some(group) => {
            let all = make::reshape(r.b, v, &[n, blocks])?;
            let own = make::gather(r.b, all, group, 1)?;
            make::reshape(r.b, own, &[n, blocks, block])
        }
        None => Ok(v),
    };
    let scales = of_columns(r, scales)?;
    let zero = if r.has_input(3) {
        let given = r.input(3)?;
        let zero = if r.b.fact(given).dtype == DType::U8 {
            // Each row of zero points begins with a new byte.
            let per_row = (blocks * bits + 7) / 8;
            let rows = make::reshape(r.b, given, &[n, per_row])?;
            let all = unpacked(r, rows, bits)?;
            make::slice(r.b, all, &[0, 0], &[n, blocks])?
        } else {
            given
        };
        let zero = make::cast(r.b, zero, dtype)?;
        let zero = make::reshape(r.b, zero, &[n, blocks, 1])?;
        of_columns(r, zero)?
    } else {
        make::scalar(r.b, dtype, f64::from(1 << (bits - 1)))
    };
    let centred = make::sub(r.b, codes, zero)?;
    let w = make::mul(r.b, centred, scales)?;
    let w = make::reshape(r.b, w, &[n, blocks * block])?;
    let w = make::slice(r.b, w, &[0, 0], &[n, k])?;
    let w = make::transpose(r.b, w, &[1, 0])?;
    let y = product(r.b, a, w)?;
    with_bias(r, y, 5)
}

fn with_bias(r: &mut Rule<'_, '_>, y: Value, input: usize) -> Spelled {
    if !r.has_input(input) {
        return one(y);
    }
    let bias = r.input(input)?;
    one(make::add(r.b, y, bias)?)
}

/// `(x - zero) · scale` as floats; a vector of them belongs to `axis`.
fn real(r: &mut Rule<'_, '_>, x: Value, scale: Value, zero: Option<Value>, axis: i64) -> Result<Value, Misfit> {
    let to = r.b.fact(scale).dtype;
    let mut y = make::cast(r.b, x, to)?;
    if let Some(zero) = zero {
        let zero = per_axis(r.b, zero, x, axis)?;
        let zero = make::cast(r.b, zero, to)?;
        y = make::sub(r.b, y, zero)?;
    }
    let scale = per_axis(r.b, scale, x, axis)?;
    make::mul(r.b, y, scale)
}

fn given(r: &Rule<'_, '_>, i: usize) -> Option<Value> {
    if r.has_input(i) { r.input(i).ok() } else { None }
}

/// Inputs: a (rounded to bytes by its own range), b, its scale and zero point, bias.
fn dynamic_quantize_matmul(r: &mut Rule<'_, '_>) -> Spelled {
    let (b, scale) = (r.input(1)?, r.input(2)?);
    let parts = dynamic_quantize(r)?;
    let a = real(r, parts[0], parts[1], Some(parts[2]), -1)?;
    let w = real(r, b, scale, given(r, 3), -1)?;
    let y = product(r.b, a, w)?;
    with_bias(r, y, 4)
}

/// Inputs: a, b, their scales, their zero points, bias.
fn matmul_integer_to_float(r: &mut Rule<'_, '_>) -> Spelled {
    let (a, b, scale_a, scale_b) = (r.input(0)?, r.input(1)?, r.input(2)?, r.input(3)?);
    let a = real(r, a, scale_a, given(r, 4), -2)?;
    let w = real(r, b, scale_b, given(r, 5), -1)?;
    let y = product(r.b, a, w)?;
    with_bias(r, y, 6)
}

/// Inputs: x, weights, bias, their two scales, mask, their two zero points, past. Outputs as those of `Attention`.
fn q_attention(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, w, bias) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let total = r.b.fact(w).shape.dim(1).ok_or_else(|| Misfit::new("the shape of the weights must be known"))? as i64;
    let (scale_x, scale_w) = (r.input(3)?, r.input(4)?);
    let x = real(r, x, scale_x, given(r, 6), -1)?;
    let w = real(r, w, scale_w, given(r, 7), -1)?;
    let all = make::matmul(r.b, x, w)?;
    let all = make::add(r.b, all, bias)?;
    // There is no bias of the scores: no node has as many inputs.
    joint_attention(r, all, total, [5, 8, usize::MAX])
}
