//! Checks that indexing into a program cannot fail afterwards.
//!
//! Checked: every value's definition points back to it; inputs are defined before they are read; block arities; facts of
//! op outputs agree with what the op infers now. Not checked: numbers.

use super::{Def, InstrKind, Program, Value};

/// All findings, in words; empty means that the program is sound.
pub fn verify(program: &Program) -> Vec<String> {
    let mut found = Vec::new();
    let n = program.values.len();
    for (i, feed) in program.feeds.iter().enumerate() {
        if feed.value.idx() >= n || program.def(feed.value) != Def::Feed(i) {
            found.push(format!("feed {} ({}) does not own its value", i, feed.name));
        }
    }
    for (i, c) in program.constants.iter().enumerate() {
        if c.value.idx() >= n || program.def(c.value) != Def::Constant(i) {
            found.push(format!("constant {i} does not own its value"));
        }
    }
    for idx in 0..program.instrs.len() {
        verify_instr(program, idx, &mut found);
    }
    for v in &program.outputs {
        if v.idx() >= n {
            found.push(format!("output {v:?} does not exist"));
        }
    }
    found
}

fn verify_instr(program: &Program, idx: usize, found: &mut Vec<String>) {
    let instr = &program.instrs[idx];
    let at = || format!("instruction {idx} ({})", instr.name());
    let mut sound = true;
    for &v in &instr.inputs {
        let defined = v.idx() < program.values.len()
            && match program.def(v) {
                Def::Output { instr, .. } => instr < idx,
                Def::Feed(i) => i < program.feeds.len(),
                Def::Constant(i) => i < program.constants.len(),
            };
        if !defined {
            found.push(format!("{}: input {v:?} is not defined before", at()));
            sound = false;
        }
    }
    for (port, &v) in instr.outputs.iter().enumerate() {
        if v.idx() >= program.values.len() || program.def(v) != (Def::Output { instr: idx, port }) {
            found.push(format!("{}: output {port} is not its own", at()));
            sound = false;
        }
    }
    match &instr.kind {
        InstrKind::Op(_) if sound => verify_facts(program, idx, found),
        InstrKind::Op(_) => {}
        InstrKind::If(blocks) => {
            for block in [&blocks.then_block, &blocks.else_block] {
                check_block(block, instr.inputs.len().saturating_sub(1), instr.outputs.len(), &at(), found);
            }
        }
        InstrKind::Loop(blocks) => {
            check_block(&blocks.cond, instr.inputs.len(), 1, &at(), found);
            check_block(&blocks.body, instr.inputs.len(), blocks.n_state, &at(), found);
        }
    }
}

fn verify_facts(program: &Program, idx: usize, found: &mut Vec<String>) {
    let instr = &program.instrs[idx];
    let Some(op) = instr.op() else { return };
    match op.infer(&program.input_facts(instr)) {
        Err(m) => found.push(format!("instruction {idx} ({}): {m}", instr.name())),
        Ok(facts) => {
            if facts.len() != instr.outputs.len() {
                found.push(format!(
                    "instruction {idx} ({}): {} outputs, its op has {}",
                    instr.name(),
                    instr.outputs.len(),
                    facts.len()
                ));
            }
            for (fact, &v) in facts.iter().zip(&instr.outputs) {
                let have = program.fact(v);
                if have.dtype != fact.dtype || have.shape.merge(&fact.shape).is_none() {
                    found.push(format!(
                        "instruction {idx} ({}): {} stated, {} inferred",
                        instr.name(),
                        have.describe(),
                        fact.describe()
                    ));
                }
            }
        }
    }
}

fn check_block(block: &Program, n_inputs: usize, n_outputs: usize, at: &str, found: &mut Vec<String>) {
    if block.feeds.len() != n_inputs || block.outputs.len() != n_outputs {
        found.push(format!(
            "{at}: a block takes {} and gives {} values instead of {n_inputs} and {n_outputs}",
            block.feeds.len(),
            block.outputs.len()
        ));
    }
    found.extend(verify(block).into_iter().map(|f| format!("{at}: in a block: {f}")));
}

/// The values that a program's outputs need, as a flag per value.
pub fn live_values(program: &Program) -> Vec<bool> {
    needed_for(program, &program.outputs)
}

/// The values that some values are computed from, themselves included, as a flag per value.
pub fn needed_for(program: &Program, wanted: &[Value]) -> Vec<bool> {
    let mut live = vec![false; program.values.len()];
    let mut todo: Vec<Value> = wanted.to_vec();
    while let Some(v) = todo.pop() {
        if std::mem::replace(&mut live[v.idx()], true) {
            continue;
        }
        if let Some((_, instr)) = program.producer(v) {
            todo.extend(instr.inputs.iter().copied());
        }
    }
    live
}
