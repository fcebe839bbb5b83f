//! What to keep between two groups and what to compute again. A later group (usually of the backward pass) reads matrices that
//! an earlier one made; often fewer bytes need to stay in memory when it recomputes some of them. The cheapest choice is a
//! minimum cut between the earlier group's operands and the values that the later one needs.

use std::collections::BTreeMap;

use crate::program::{Program, Value};

/// Saving one of these costs nothing: it stays anyway.
pub(super) const FREE: u64 = 0;

/// The cheapest set of values from which `wanted` can be computed inside `members` (an earlier group, in program order).
/// `cost(value)` is what keeping a value costs. Returns the members to compute again, in program order.
pub(super) fn recompute(
    program: &Program,
    members: &[usize],
    wanted: &[Value],
    cost: &dyn Fn(Value) -> u64,
) -> Vec<usize> {
    let mut graph = Graph::default();
    let mut todo: Vec<Value> = wanted.to_vec();
    for &w in wanted {
        let (_, out) = graph.value(w, cost);
        graph.edge(out, SINK, INFINITE);
    }
    let mut seen: Vec<Value> = Vec::new();
    while let Some(v) = todo.pop() {
        if seen.contains(&v) {
            continue;
        }
        seen.push(v);
        let (inner, _) = graph.value(v, cost);
        match program.producer(v).filter(|(i, _)| members.binary_search(i).is_ok()) {
            None => graph.edge(SOURCE, inner, INFINITE),
            Some((_, instr)) => {
                for &x in &instr.inputs {
                    let (_, out) = graph.value(x, cost);
                    graph.edge(out, inner, INFINITE);
                    todo.push(x);
                }
            }
        }
    }
    graph.saturate();
    // From the sink back: values on the sink's side are computed again, the cut ones are kept.
    let sink_side = graph.reaches_sink();
    let mut again: Vec<usize> = seen
        .iter()
        .filter(|&&v| sink_side[graph.nodes[&v].0])
        .filter_map(|&v| program.producer(v).map(|(i, _)| i))
        .filter(|i| members.binary_search(i).is_ok())
        .collect();
    again.sort_unstable();
    again.dedup();
    again
}

const SOURCE: usize = 0;
const SINK: usize = 1;
const INFINITE: u64 = u64::MAX / 4;

struct Edge {
    to: usize,
    left: u64,
}

/// A flow network: each value is an edge whose capacity is its cost.
struct Graph {
    /// Edge `i ^ 1` is the reverse of edge `i`.
    edges: Vec<Edge>,
    from: Vec<Vec<usize>>,
    nodes: BTreeMap<Value, (usize, usize)>,
}

impl Default for Graph {
    fn default() -> Self {
        Self { edges: Vec::new(), from: vec![Vec::new(), Vec::new()], nodes: BTreeMap::new() }
    }
}

impl Graph {
    fn value(&mut self, v: Value, cost: &dyn Fn(Value) -> u64) -> (usize, usize) {
        if let Some(&pair) = self.nodes.get(&v) {
            return pair;
        }
        let pair = (self.from.len(), self.from.len() + 1);
        self.from.push(Vec::new());
        self.from.push(Vec::new());
        self.nodes.insert(v, pair);
        // One more than the bytes, so that of two equal choices the one with fewer values wins.
        self.edge(pair.0, pair.1, cost(v).saturating_add(1).min(INFINITE));
        pair
    }

    fn edge(&mut self, a: usize, b: usize, capacity: u64) {
        self.from[a].push(self.edges.len());
        self.edges.push(Edge { to: b, left: capacity });
        self.from[b].push(self.edges.len());
        self.edges.push(Edge { to: a, left: 0 });
    }

    /// Shortest augmenting paths (Edmonds and Karp 1972); groups have tens of values.
    fn saturate(&mut self) {
        while let Some(path) = self.path() {
            let flow = path.iter().map(|&e| self.edges[e].left).min().unwrap_or(0);
            if flow == 0 {
                return;
            }
            for e in path {
                self.edges[e].left -= flow;
                self.edges[e ^ 1].left = self.edges[e ^ 1].left.saturating_add(flow);
            }
        }
    }

    fn path(&self) -> Option<Vec<usize>> {
        let mut by: Vec<Option<usize>> = vec![None; self.from.len()];
        let mut queue = std::collections::VecDeque::from([SOURCE]);
        while let Some(n) = queue.pop_front() {
            for &e in &self.from[n] {
                let to = self.edges[e].to;
                if self.edges[e].left > 0 && to != SOURCE && by[to].is_none() {
                    by[to] = Some(e);
                    queue.push_back(to);
                }
            }
        }
        let mut path = Vec::new();
        let mut at = SINK;
        while at != SOURCE {
            let e = by[at]?;
            path.push(e);
            at = self.edges[e ^ 1].to;
        }
        Some(path)
    }

    /// Nodes from which the sink can still be reached: the side of the cut that is computed again, as small as possible.
    fn reaches_sink(&self) -> Vec<bool> {
        let mut side = vec![false; self.from.len()];
        side[SINK] = true;
        let mut todo = vec![SINK];
        while let Some(n) = todo.pop() {
            for &e in &self.from[n] {
                // The reverse edge leads into `n`.
                let (into, source) = (e ^ 1, self.edges[e].to);
                if self.edges[into].left > 0 && !side[source] {
                    side[source] = true;
                    todo.push(source);
                }
            }
        }
        side
    }
}
