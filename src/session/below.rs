//! What lies below a place of the graph: the constants from which its inputs are computed. Freezing them ends the backward
//! pass there, as lower layers are frozen in transfer learning (Yosinski et al. 2014).
//!
//! Works on numbered nodes, so that the session's graph and the window's rows share it.

use std::collections::HashSet;

use crate::graph::{Graph, NodeId};

/// A graph by numbers.
pub struct Net<'a> {
    pub n: usize,
    /// Producers of what a node reads.
    pub inputs: &'a dyn Fn(usize) -> Vec<usize>,
    pub is_constant: &'a dyn Fn(usize) -> bool,
}

impl Net<'_> {
    /// The constants below `here`, ascending. What `here` reads itself, directly or passed on by nodes with a single
    /// input, is its own and not below; a constant as `here` means those that read it.
    pub fn below(&self, here: &[usize]) -> Vec<usize> {
        let here = self.with_readers(here);
        let mut own: HashSet<usize> = HashSet::new();
        let mut todo = Vec::new();
        for &n in &here {
            for source in (self.inputs)(n) {
                match self.passed_on(source) {
                    Some(constant) => own.extend([constant]),
                    None if !here.contains(&source) => todo.push(source),
                    None => {}
                }
            }
        }
        let mut seen = vec![false; self.n];
        let mut out = Vec::new();
        while let Some(n) = todo.pop() {
            if here.contains(&n) || std::mem::replace(&mut seen[n], true) {
                continue;
            }
            if (self.is_constant)(n) && !own.contains(&n) {
                out.push(n);
            }
            todo.extend((self.inputs)(n));
        }
        out.sort_unstable();
        out
    }

    /// A constant stands for the nodes that read it.
    fn with_readers(&self, here: &[usize]) -> HashSet<usize> {
        let (constants, mut out): (HashSet<usize>, HashSet<usize>) = here.iter().partition(|&&n| (self.is_constant)(n));
        if !constants.is_empty() {
            let reads = |n: usize| {
                (self.inputs)(n).into_iter().any(|s| self.passed_on(s).is_some_and(|c| constants.contains(&c)))
            };
            out.extend((0..self.n).filter(|&n| self.passed_on(n).is_none() && reads(n)));
        }
        out
    }

    /// The constant that a node holds, or passes on alone.
    fn passed_on(&self, mut node: usize) -> Option<usize> {
        // Chains are short; a cycle would never end.
        for _ in 0..8 {
            if (self.is_constant)(node) {
                return Some(node);
            }
            let [one] = (self.inputs)(node)[..] else { return None };
            node = one;
        }
        None
    }
}

/// Names of the constants below a node or a name scope of a graph; `None` where there is neither.
pub(super) fn names(graph: &Graph, place: &str) -> Option<HashSet<String>> {
    let bare = place.trim_end_matches('/');
    let node = graph.node_named(bare).or_else(|| Some(graph.value(graph.value_named(bare)?).producer));
    let here: Vec<usize> = match node {
        Some(n) => vec![n.idx()],
        None => {
            let inside = |k: &str| k.strip_prefix(bare).is_some_and(|r| r.starts_with('/'));
            let nodes = graph.nodes.iter().enumerate();
            nodes.filter(|(_, n)| inside(n.key.as_str()) && n.constant.is_none()).map(|(i, _)| i).collect()
        }
    };
    if here.is_empty() {
        return None;
    }
    let inputs =
        |n: usize| -> Vec<usize> { graph.nodes[n].present_inputs().map(|v| graph.value(v).producer.idx()).collect() };
    let is_constant = |n: usize| graph.constant(NodeId::new(n)).is_some();
    let net = Net { n: graph.nodes.len(), inputs: &inputs, is_constant: &is_constant };
    Some(net.below(&here).into_iter().map(|n| graph.nodes[n].key.as_str().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0 input, 1 w1, 2 read w1, 3 mm1 ← 0 2, 4 w2, 5 mm2 ← 3 4, 6 b, 7 add ← 5 6.
    fn below(here: &[usize]) -> Vec<usize> {
        let edges: [&[usize]; 8] = [&[], &[], &[1], &[0, 2], &[], &[3, 4], &[], &[5, 6]];
        let inputs = |n: usize| edges[n].to_vec();
        let is_constant = |n: usize| [1, 4, 6].contains(&n);
        Net { n: 8, inputs: &inputs, is_constant: &is_constant }.below(here)
    }

    #[test]
    fn what_feeds_a_place_is_below_and_what_it_reads_itself_is_not() {
        assert_eq!(below(&[7]), [1, 4]);
        assert_eq!(below(&[5]), [1]);
        assert!(below(&[3]).is_empty());
        // A constant stands for its reader, a scope for all of its nodes.
        assert_eq!(below(&[4]), [1]);
        assert_eq!(below(&[5, 7]), [1]);
        assert!(below(&[0]).is_empty());
    }
}
