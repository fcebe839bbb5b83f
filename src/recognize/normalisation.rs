//! Which slot of a normalisation a constant stands in: `γ · (x − mean) / √(variance + ε) + β` in any arrangement.
//!
//! Layer normalisation computes mean and variance; batch normalisation in inference form has them as constants.

use crate::ops::elementwise::{Binary, BinaryFn, Unary, UnaryFn};
use crate::program::{Program, Value};

use super::uses::{Index, Use, behind};

/// A slot of a normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Scale,
    Shift,
    Mean,
    Variance,
}

/// How far an inverse deviation may be from the constant that it meets.
const MAX_DEPTH: usize = 5;

/// The slot that a use is, if it is one.
pub(super) fn slot(index: &Index<'_>, at: &Use) -> Option<Slot> {
    let program = index.programs[at.program];
    let instr = index.instr(at);
    let f = instr.op_as::<Binary>()?.f;
    let other = instr.inputs[1 - at.operand.min(1)];
    let out = instr.outputs[0];
    match f {
        BinaryFn::Add if leads_to_root(index, at.program, out) && is_single(program, other) => Some(Slot::Variance),
        BinaryFn::Mul if has_inverse_deviation(program, other, 0) => {
            Some(if is_only_subtracted(index, at.program, out) { Slot::Mean } else { Slot::Scale })
        }
        BinaryFn::Sub if at.operand == 1 && is_then_normalised(index, at.program, out) => Some(Slot::Mean),
        BinaryFn::Add if has_inverse_deviation(program, other, 0) => Some(Slot::Shift),
        BinaryFn::Sub if at.operand == 0 && has_inverse_deviation(program, other, 0) => Some(Slot::Shift),
        _ => None,
    }
}

/// Whether what a scale or shift leads to meets another factor with several elements after nothing but additions of
/// constants.
pub(super) fn is_scaled_again(index: &Index<'_>, at: &Use) -> bool {
    let Some(&out) = index.instr(at).outputs.first() else { return false };
    let mut level = vec![(at.program, out)];
    for _ in 0..3 {
        let mut next = Vec::new();
        for (program, v) in level {
            for u in index.uses(program, v) {
                let (p, instr) = (index.programs[u.program], index.instr(&u));
                let Some(f) = instr.op_as::<Binary>().map(|b| b.f) else { continue };
                let other = instr.inputs[1 - u.operand.min(1)];
                if !super::uses::is_constant(p, other, 0) {
                    continue;
                }
                match f {
                    BinaryFn::Mul if !is_single(p, other) => return true,
                    BinaryFn::Add | BinaryFn::Sub => next.push((u.program, instr.outputs[0])),
                    _ => {}
                }
            }
        }
        level = next;
    }
    false
}

/// Whether a value is a product with `1/√…` (not through matrix products or other functions).
pub(super) fn has_inverse_deviation(program: &Program, v: Value, depth: usize) -> bool {
    let v = behind(program, v);
    let Some((_, instr)) = program.producer(v).filter(|_| depth < MAX_DEPTH) else { return false };
    if let Some(op) = instr.op_as::<Unary>() {
        let of_root = |v: Value| is_root(program, v);
        return op.f == UnaryFn::Rsqrt || op.f == UnaryFn::Reciprocal && of_root(instr.inputs[0]);
    }
    let Some(op) = instr.op_as::<Binary>() else { return false };
    let deeper = |i: usize| has_inverse_deviation(program, instr.inputs[i], depth + 1);
    match op.f {
        BinaryFn::Div => is_root(program, instr.inputs[1]) || deeper(0),
        BinaryFn::Mul | BinaryFn::Add | BinaryFn::Sub => deeper(0) || deeper(1),
        _ => false,
    }
}

fn is_root(program: &Program, v: Value) -> bool {
    let found = program.producer(behind(program, v));
    found.is_some_and(|(_, i)| matches!(i.op_as::<Unary>(), Some(Unary { f: UnaryFn::Sqrt })))
}

fn leads_to_root(index: &Index<'_>, program: usize, v: Value) -> bool {
    index
        .uses(program, v)
        .iter()
        .any(|u| matches!(index.instr(u).op_as::<Unary>(), Some(Unary { f: UnaryFn::Sqrt | UnaryFn::Rsqrt })))
}

fn is_only_subtracted(index: &Index<'_>, program: usize, v: Value) -> bool {
    let uses = index.uses(program, v);
    !uses.is_empty()
        && uses
            .iter()
            .all(|u| u.operand == 1 && matches!(index.instr(u).op_as::<Binary>(), Some(Binary { f: BinaryFn::Sub })))
}

fn is_then_normalised(index: &Index<'_>, program: usize, v: Value) -> bool {
    index.uses(program, v).iter().any(|u| {
        let instr = index.instr(u);
        let other = || instr.inputs[1 - u.operand.min(1)];
        match instr.op_as::<Binary>().map(|b| b.f) {
            Some(BinaryFn::Mul) => has_inverse_deviation(index.programs[u.program], other(), 0),
            Some(BinaryFn::Div) => u.operand == 0 && is_root(index.programs[u.program], other()),
            _ => false,
        }
    })
}

fn is_single(program: &Program, v: Value) -> bool {
    let fact = program.fact(v);
    fact.dims().is_some_and(|d| d.iter().product::<usize>() == 1)
}
