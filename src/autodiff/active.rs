//! Which values depend on the targets through derivatives: only those are walked backwards.

use smallvec::SmallVec;

use crate::program::{Flow, Instr, InstrKind, LoopBlocks, Program, Value};

/// A flag per value: a change of a target changes it, and every step between has a derivative (or lacks a rule).
pub fn active_values(program: &Program, targets: &[Value]) -> Vec<bool> {
    let mut active = vec![false; program.values.len()];
    for v in targets {
        active[v.idx()] = true;
    }
    for instr in &program.instrs {
        if !instr.inputs.iter().any(|v| active[v.idx()]) {
            continue;
        }
        for (v, is_active) in instr.outputs.iter().zip(active_outputs(program, instr, &active)) {
            if is_active && program.fact(*v).dtype.is_float() {
                active[v.idx()] = true;
            }
        }
    }
    active
}

/// Whether the gradient of an op's output could reach input `i`: by a rule, or lost for want of one.
pub fn passes(program: &Program, instr: &Instr, i: usize) -> bool {
    let Some(op) = instr.op() else { return true };
    let facts = program.input_facts(instr);
    facts[i].dtype.is_float() && matches!(op.flow(i, &facts), Flow::Flows | Flow::Blocked(_))
}

fn active_outputs(program: &Program, instr: &Instr, active: &[bool]) -> SmallVec<[bool; 4]> {
    match &instr.kind {
        InstrKind::Op(_) => {
            let any = instr.inputs.iter().enumerate().any(|(i, v)| active[v.idx()] && passes(program, instr, i));
            SmallVec::from_elem(any, instr.outputs.len())
        }
        InstrKind::If(blocks) => {
            let inputs: Vec<bool> = instr.inputs.iter().skip(1).map(|v| active[v.idx()]).collect();
            let then = active_block_outputs(&blocks.then_block, &inputs);
            let other = active_block_outputs(&blocks.else_block, &inputs);
            then.iter().zip(&other).map(|(a, b)| *a || *b).collect()
        }
        InstrKind::Loop(blocks) => {
            let inputs: Vec<bool> = instr.inputs.iter().map(|v| active[v.idx()]).collect();
            loop_states(blocks, &inputs).into_iter().collect()
        }
    }
}

/// Activity of a block's outputs from that of its feeds.
pub fn active_block_outputs(block: &Program, inputs: &[bool]) -> Vec<bool> {
    let targets: Vec<Value> = block.feeds.iter().zip(inputs).filter(|(_, a)| **a).map(|(f, _)| f.value).collect();
    let active = active_values(block, &targets);
    block.outputs.iter().map(|v| active[v.idx()]).collect()
}

/// Activity of a loop's carried state, to its fixed point.
pub fn loop_states(blocks: &LoopBlocks, inputs: &[bool]) -> Vec<bool> {
    let mut flags = inputs.to_vec();
    loop {
        let outputs = active_block_outputs(&blocks.body, &flags);
        let mut grew = false;
        for (flag, out) in flags.iter_mut().zip(outputs) {
            grew |= out && !*flag;
            *flag |= out;
        }
        if !grew {
            flags.truncate(blocks.n_state);
            return flags;
        }
    }
}

/// Names on the way from a target to `to`, first the target; for messages.
pub fn path_to(program: &Program, active: &[bool], to: Value) -> Vec<String> {
    let mut names = vec![program.describe(to)];
    let mut at = to;
    while let Some((_, instr)) = program.producer(at) {
        let next = instr.inputs.iter().enumerate().find(|(i, v)| active[v.idx()] && passes(program, instr, *i));
        let Some((_, &v)) = next else { break };
        at = v;
        names.push(program.describe(at));
    }
    names.dedup();
    names.reverse();
    names
}
