//! Computes equal things once: two instructions with the same op, attributes and operands become one. Random ops are never
//! merged (two sites are two draws), nor are constants of the graph; equal literals are.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::program::{Misfit, Op, Program, Value};

use super::Limits;
use super::rewrite::{Rewriter, Rewritten};

/// Literals up to this size are compared.
const LITERAL_BYTES: usize = 1024;

type Key = (&'static str, String, SmallVec<[Value; 4]>);

pub(super) fn run(program: &Program, limits: &Limits<'_>) -> Result<Rewritten, Misfit> {
    let mut r = Rewriter::new(program);
    merge_literals(program, limits, &mut r);
    let mut seen: BTreeMap<Key, SmallVec<[Value; 2]>> = BTreeMap::new();
    for instr in &program.instrs {
        let Some(op) = instr.op().filter(|op| !op.is_random()) else {
            r.copy(instr)?;
            continue;
        };
        let op: &dyn Op = &**op;
        let key = (op.info().name, format!("{op:?}"), r.inputs(instr)?);
        if let Some(outputs) = seen.get(&key) {
            for (&old, &new) in instr.outputs.iter().zip(outputs) {
                r.replace(old, new);
            }
            continue;
        }
        r.copy(instr)?;
        let outputs = instr.outputs.iter().map(|&v| r.get(v)).collect::<Result<_, _>>()?;
        seen.insert(key, outputs);
    }
    r.finish()
}

fn merge_literals(program: &Program, limits: &Limits<'_>, r: &mut Rewriter<'_>) {
    let mut seen: BTreeMap<(&'static str, Vec<usize>, Vec<u8>), Value> = BTreeMap::new();
    for c in &program.constants {
        if c.node.is_some() || limits.params.contains(&c.value) || !c.payload.is_loaded() {
            continue;
        }
        let Ok(tensor) = c.payload.load() else { continue };
        if tensor.strings().is_some() || tensor.bytes().len() > LITERAL_BYTES {
            continue;
        }
        let key = (tensor.dtype().name(), tensor.shape().to_vec(), tensor.bytes().to_vec());
        let Ok(new) = r.get(c.value) else { continue };
        let first = *seen.entry(key).or_insert(new);
        r.replace(c.value, first);
    }
}
