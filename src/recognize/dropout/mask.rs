//! Keep-or-drop masks: from a sampler of uniform numbers to the ones and zeros (or booleans) that it becomes.

use crate::ops::elementwise::{Binary, BinaryFn, Cast, PreventGradient, StopGradient, Unary, UnaryFn};
use crate::ops::random::RandomUniform;
use crate::ops::shape::{BroadcastTo, Reshape};
use crate::program::{Instr, Program, Value};

use super::scalar::{Scalar, Scalars};

/// A mask that is 1 (or true) with probability `keep`.
#[derive(Clone, Debug)]
pub(super) struct Mask {
    pub(super) sampler: Value,
    pub(super) value: Value,
    pub(super) keep: Scalar,
    pub(super) is_floor: bool,
    /// The threshold is computed (1 − rate) rather than stated.
    pub(super) is_computed: bool,
}

/// All masks that a sampler's numbers become.
pub(super) fn masks_from(program: &Program, scalars: &Scalars<'_>, sampler: usize) -> Vec<Mask> {
    let instr = &program.instrs[sampler];
    if instr.op_as::<RandomUniform>().is_none() {
        return Vec::new();
    }
    let sampler = instr.outputs[0];
    let mut masks = Vec::new();
    let mut uniforms = vec![(sampler, 0.0, 1.0)];
    while let Some((u, low, high)) = uniforms.pop() {
        for &r in &scalars.readers[u.idx()] {
            let reader = &program.instrs[r];
            if let Some(next) = shifted(scalars, reader, u, low, high) {
                uniforms.push(next);
            }
            let first = threshold(program, scalars, reader, u, low, high);
            masks.extend(first.into_iter().map(|(value, keep, is_floor, is_computed)| Mask {
                sampler,
                value,
                keep,
                is_floor,
                is_computed,
            }));
        }
    }
    let mut i = 0;
    while i < masks.len() {
        let more = same_mask(program, scalars, &masks[i]);
        masks.extend(more);
        i += 1;
    }
    masks
}

/// `u · c`, `u + c` or `u − c` with constants: uniform in another interval.
fn shifted(scalars: &Scalars<'_>, reader: &Instr, u: Value, low: f64, high: f64) -> Option<(Value, f64, f64)> {
    let f = reader.op_as::<Binary>()?.f;
    let (a, b) = (reader.inputs[0], reader.inputs[1]);
    let other = if a == u { b } else { a };
    let c = scalars.read(other)?.exact()?;
    let out = reader.outputs[0];
    match f {
        BinaryFn::Add => Some((out, low + c, high + c)),
        BinaryFn::Sub if a == u => Some((out, low - c, high - c)),
        BinaryFn::Mul if c > 0.0 => Some((out, low * c, high * c)),
        BinaryFn::Div if a == u && c > 0.0 => Some((out, low / c, high / c)),
        _ => None,
    }
}

/// The comparison or rounding that turns uniform numbers into a mask: value, probability, form.
fn threshold(
    program: &Program,
    scalars: &Scalars<'_>,
    reader: &Instr,
    u: Value,
    low: f64,
    high: f64,
) -> Option<(Value, Scalar, bool, bool)> {
    let out = *reader.outputs.first()?;
    if let Some(Unary { f: UnaryFn::Floor }) = reader.op_as::<Unary>() {
        // Rounded down to 0 or 1: the interval has length 1 and contains 1.
        let fits = (high - low - 1.0).abs() < 1e-6 && (-1e-6..=1.0 + 1e-6).contains(&low);
        return fits.then(|| (out, Scalar::constant(high - 1.0), true, is_computed_sum(program, u)));
    }
    let f = reader.op_as::<Binary>()?.f;
    let (a, b) = (reader.inputs[0], reader.inputs[1]);
    let is_first = a == u;
    let limit_value = if is_first { b } else { a };
    let limit = scalars.read(limit_value)?;
    let is_computed = program.producer(limit_value).is_some();
    if f == BinaryFn::Add && limit.source.is_some() && low == 0.0 && high == 1.0 {
        // u + keep with a fed keep: rounded down by its reader.
        let floor = scalars.readers[out.idx()]
            .iter()
            .map(|&r| &program.instrs[r])
            .find(|r| matches!(r.op_as::<Unary>(), Some(Unary { f: UnaryFn::Floor })))?;
        return Some((floor.outputs[0], limit, true, is_computed));
    }
    let above = match f {
        BinaryFn::GreaterEqual | BinaryFn::Greater => is_first,
        BinaryFn::LessEqual | BinaryFn::Less => !is_first,
        _ => return None,
    };
    // P(u ≥ limit) = (high − limit) / (high − low)
    let span = high - low;
    let above_share = limit.affine(-1.0 / span, high / span);
    let keep = if above { above_share } else { above_share.affine(-1.0, 1.0) };
    Some((out, keep, false, is_computed))
}

fn is_computed_sum(program: &Program, u: Value) -> bool {
    program.producer(u).is_some_and(|(_, add)| {
        add.inputs.iter().any(|&v| {
            program.producer(v).is_some_and(|(_, i)| matches!(i.op_as::<Binary>(), Some(Binary { f: BinaryFn::Sub })))
                && program.fact(v).rank() == Some(0)
        })
    })
}

/// The same mask, or its complement, in another form: another type or shape.
fn same_mask(program: &Program, scalars: &Scalars<'_>, mask: &Mask) -> Vec<Mask> {
    let mut found = Vec::new();
    for &r in &scalars.readers[mask.value.idx()] {
        let reader = &program.instrs[r];
        let Some(&out) = reader.outputs.first() else { continue };
        let passes = reader.op_as::<Cast>().is_some()
            || reader.op_as::<StopGradient>().is_some()
            || reader.op_as::<PreventGradient>().is_some()
            || (reader.op_as::<Reshape>().is_some() || reader.op_as::<BroadcastTo>().is_some())
                && reader.inputs[0] == mask.value;
        let is_not = matches!(reader.op_as::<Unary>(), Some(Unary { f: UnaryFn::Not }));
        let one_minus = matches!(reader.op_as::<Binary>(), Some(Binary { f: BinaryFn::Sub }))
            && reader.inputs[1] == mask.value
            && scalars.read(reader.inputs[0]).and_then(|s| s.exact()) == Some(1.0);
        if passes {
            found.push(Mask { value: out, ..mask.clone() });
        } else if is_not || one_minus {
            found.push(Mask { value: out, keep: mask.keep.affine(-1.0, 1.0), ..mask.clone() });
        }
    }
    found
}
