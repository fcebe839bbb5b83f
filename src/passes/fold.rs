//! Computes what is constant: values that facts already know, and ops on constants alone. Before the trainable set is final
//! only integers and booleans; afterwards also floats that are frozen.

use crate::program::eval::eval;
use crate::program::{Def, Instr, Misfit, Program, Random, Value};
use crate::tensor::Tensor;

use super::Limits;
use super::rewrite::{Rewriter, Rewritten};

/// A folded value may be this large, or as large as all its operands together.
const FOLDED_BYTES: usize = 64 * 1024;

pub(super) fn run(program: &Program, limits: &Limits<'_>) -> Result<Rewritten, Misfit> {
    let mut r = Rewriter::new(program);
    let mut frozen = vec![true; program.values.len()];
    for instr in &program.instrs {
        for v in &instr.outputs {
            frozen[v.idx()] = false;
        }
    }
    for feed in &program.feeds {
        frozen[feed.value.idx()] = false;
    }
    for p in limits.params {
        frozen[p.idx()] = false;
    }
    for instr in &program.instrs {
        match folded(&r, instr, limits, &frozen) {
            Some(tensors) => {
                for (&v, tensor) in instr.outputs.iter().zip(tensors) {
                    frozen[v.idx()] = true;
                    let new = r.builder(instr).literal(tensor);
                    r.replace(v, new);
                }
            }
            None => r.copy(instr)?,
        }
    }
    r.finish()
}

fn folded(r: &Rewriter<'_>, instr: &Instr, limits: &Limits<'_>, frozen: &[bool]) -> Option<Vec<Tensor>> {
    let op = instr.op()?;
    if op.is_random() {
        return None;
    }
    let facts: Vec<_> = instr.outputs.iter().map(|&v| r.old().fact(v)).collect();
    if facts.iter().any(|f| !(f.dtype.is_exact() || (limits.final_form && f.dtype.is_float()))) {
        return None;
    }
    // Only shape rules state values, and shapes are integers; a float fact may be that of a trainable constant.
    if facts.iter().all(|f| f.dtype.is_exact())
        && let Some(known) = facts.iter().map(|f| f.value.clone()).collect::<Option<Vec<_>>>()
    {
        return Some(known);
    }
    if instr.inputs.is_empty() || !instr.inputs.iter().all(|v| frozen[v.idx()]) {
        return None;
    }
    let size = |bytes: Option<usize>| bytes.unwrap_or(usize::MAX);
    let produced: usize = facts
        .iter()
        .map(|f| size(f.dims().map(|d| d.iter().product::<usize>().saturating_mul(f.dtype.size()))))
        .fold(0, usize::saturating_add);
    let inputs: Vec<Value> = instr.inputs.iter().map(|&v| r.get(v)).collect::<Result<_, _>>().ok()?;
    let consumed: usize = inputs.iter().map(|&v| constant_bytes(r.new_program(), v)).sum();
    if produced > FOLDED_BYTES.max(consumed) {
        return None;
    }
    let tensors: Option<Vec<Tensor>> = inputs.iter().map(|&v| constant(r.new_program(), v)).collect();
    // An op that cannot be computed here says so when it runs.
    eval(&**op, &tensors?, Random::default()).ok()
}

fn constant_bytes(program: &Program, v: Value) -> usize {
    match program.def(v) {
        Def::Constant(i) => program.constants[i].payload.byte_len(),
        _ => 0,
    }
}

fn constant(program: &Program, v: Value) -> Option<Tensor> {
    match program.def(v) {
        Def::Constant(i) => program.constants[i].payload.load().ok(),
        _ => None,
    }
}
