//! An order in which every node comes after what it reads; files promise none.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::graph::{Graph, NodeId};

use super::{Dialect, Structure};

/// Node order and each node's place in it.
#[derive(Debug)]
pub struct Order {
    pub nodes: Vec<NodeId>,
    pub position: Vec<usize>,
    /// Nodes that wait for themselves outside any loop frame; their inputs may come later.
    pub cyclic: Vec<NodeId>,
}

/// Topological order over data and control edges, as close to file order as that allows. Edges back into a loop (out of
/// NextIteration) do not count.
pub fn order(graph: &Graph, dialect: &dyn Dialect) -> Order {
    let n = graph.nodes.len();
    let is_back: Vec<bool> =
        graph.nodes.iter().map(|node| dialect.structure(node) == Structure::NextIteration).collect();
    let mut waiting = vec![0usize; n];
    let mut readers: Vec<Vec<u32>> = vec![Vec::new(); n];
    for (i, node) in graph.nodes.iter().enumerate() {
        let data = node.present_inputs().map(|v| graph.value(v).producer);
        for from in data.chain(node.control_inputs.iter().copied()).filter(|p| !is_back[p.idx()]) {
            readers[from.idx()].push(i as u32);
            waiting[i] += 1;
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> = (0..n).filter(|&i| waiting[i] == 0).map(Reverse).collect();
    let mut out = Order { nodes: Vec::with_capacity(n), position: vec![usize::MAX; n], cyclic: Vec::new() };
    let mut next_forced = 0;
    while out.nodes.len() < n {
        let Some(Reverse(i)) = ready.pop() else {
            // Only cycles and what hangs on them are left: take the first in file order as it is.
            while next_forced < n && (out.position[next_forced] != usize::MAX) {
                next_forced += 1;
            }
            if next_forced == n {
                break;
            }
            out.cyclic.push(NodeId::new(next_forced));
            ready.push(Reverse(next_forced));
            continue;
        };
        if out.position[i] != usize::MAX {
            continue;
        }
        out.position[i] = out.nodes.len();
        out.nodes.push(NodeId::new(i));
        for &r in &readers[i] {
            let r = r as usize;
            waiting[r] = waiting[r].saturating_sub(1);
            if waiting[r] == 0 && out.position[r] == usize::MAX {
                ready.push(Reverse(r));
            }
        }
    }
    out
}
