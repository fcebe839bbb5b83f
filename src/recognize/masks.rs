//! Constants that are structure rather than weights: all elements equal, or the two levels of an attention mask.

use crate::ops::elementwise::{Binary, BinaryFn, Cast, Select};
use crate::program::{Program, Value};
use crate::tensor::Payload;

use super::uses::behind;

/// Larger constants are not read to find out whether they are masks.
const MAX_READ_BYTES: usize = 64 << 20;
/// Numbers from here on down (or, subtracted, of this size and up) serve to switch positions off before a softmax.
const SWITCHED_OFF: f64 = -1e3;
const MAX_DEPTH: usize = 5;

/// Whether a value is made from integers or booleans (an input mask, a comparison), not from activations.
pub(super) fn is_from_integers(program: &Program, v: Value, depth: usize) -> bool {
    let v = behind(program, v);
    if !program.fact(v).dtype.is_float() {
        return true;
    }
    let Some((_, instr)) = program.producer(v).filter(|_| depth < MAX_DEPTH) else { return false };
    if instr.op_as::<Cast>().is_some() {
        return is_from_integers(program, instr.inputs[0], depth + 1);
    }
    let is_arithmetic = matches!(
        instr.op_as::<Binary>(),
        Some(Binary { f: BinaryFn::Mul | BinaryFn::Sub | BinaryFn::Add | BinaryFn::Div })
    ) || instr.op_as::<Select>().is_some();
    let mut any = false;
    let all = instr.inputs.iter().all(|&i| {
        let is_constant = matches!(program.def(behind(program, i)), crate::program::Def::Constant(_));
        any |= !is_constant;
        is_constant || is_from_integers(program, i, depth + 1)
    });
    is_arithmetic && any && all
}

/// All elements equal; stops at the first difference.
pub(super) fn is_uniform(payload: &Payload) -> bool {
    payload.all_equal().unwrap_or(false)
}

/// A table of sines or cosines by position, as rotary embeddings have it: all elements of position 0 are 0 or are the largest
/// of the table, those of later positions differ.
pub(super) fn is_rotation(payload: &Payload) -> bool {
    let axes: Vec<usize> = payload.shape.iter().copied().filter(|d| *d > 1).collect();
    let [steps, size] = axes[..] else { return false };
    if payload.byte_len() > MAX_READ_BYTES {
        return false;
    }
    let Some(values) = payload.load().ok().and_then(|t| t.to_f64s()) else { return false };
    let largest = values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let first = values[0];
    let is_start = values[..size].iter().all(|v| *v == first) && (first == 0.0 || first == largest);
    is_start && steps > 1 && values[size..].iter().any(|v| *v != values[size])
}

/// Exactly two levels, as a mask has them: 0 and 1, or 0 (or 1) and a number that switches off.
pub(super) fn is_two_level(payload: &Payload) -> bool {
    if payload.byte_len() > MAX_READ_BYTES {
        return false;
    }
    let Some(values) = payload.load().ok().and_then(|t| t.to_f64s()) else { return false };
    let mut levels: Vec<f64> = Vec::new();
    for v in values {
        if !levels.contains(&v) {
            levels.push(v);
            if levels.len() > 2 {
                return false;
            }
        }
    }
    levels.sort_by(f64::total_cmp);
    match levels[..] {
        [low, high] => {
            (low == 0.0 && high == 1.0)
                || (low <= SWITCHED_OFF && (high == 0.0 || high == 1.0))
                || (low == 0.0 && high >= -SWITCHED_OFF)
        }
        _ => false,
    }
}
