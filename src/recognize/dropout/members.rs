//! The nodes that only serve a site: what would be left without a reader if it were bypassed.

use std::collections::HashSet;

use smallvec::SmallVec;

use crate::graph::NodeKey;
use crate::program::{InstrKind, Program, Value};

/// Nodes between `input` and `output`, blocks included, in program order; constants of their own among them.
pub(super) fn of(program: &Program, readers: &[SmallVec<[usize; 4]>], input: Value, output: Value) -> Vec<NodeKey> {
    let Some((last, _)) = program.producer(output) else { return Vec::new() };
    let mut inside: HashSet<usize> = HashSet::from([last]);
    let mut nodes: Vec<NodeKey> = Vec::new();
    let outputs: HashSet<Value> = program.outputs.iter().copied().collect();
    // Readers come after what they read, so one walk backwards sees every reader first.
    for idx in (0..last).rev() {
        let instr = &program.instrs[idx];
        let only_inside = instr
            .outputs
            .iter()
            .all(|&v| v != input && !outputs.contains(&v) && readers[v.idx()].iter().all(|r| inside.contains(r)));
        let is_read = instr.outputs.iter().any(|v| !readers[v.idx()].is_empty());
        if only_inside && is_read {
            inside.insert(idx);
        }
    }
    for constant in &program.constants {
        let reads = &readers[constant.value.idx()];
        let of_site = !reads.is_empty() && reads.iter().all(|r| inside.contains(r));
        if of_site && constant.value != input && !outputs.contains(&constant.value) {
            nodes.extend(constant.node.clone());
        }
    }
    let mut in_order: Vec<usize> = inside.into_iter().collect();
    in_order.sort_unstable();
    for idx in in_order {
        let instr = &program.instrs[idx];
        nodes.extend(instr.origin.clone());
        if let InstrKind::If(blocks) = &instr.kind {
            for block in [&blocks.then_block, &blocks.else_block] {
                nodes.extend(block.constants.iter().filter_map(|c| c.node.clone()));
                nodes.extend(block.instrs.iter().filter_map(|i| i.origin.clone()));
            }
        }
    }
    let mut seen = HashSet::new();
    nodes.into_iter().filter(|n| seen.insert(n.clone())).collect()
}
