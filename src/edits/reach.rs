//! Which nodes of a graph its results need, before and after a change.

use crate::graph::{Graph, GraphPatch, NodeId, ValueId};
use crate::lower::{Dialect, Structure};

/// Nodes that nothing reads and nothing waits for: what somebody may fetch or run. The loose ends of a conditional (the
/// other side of a predicate's Switch) are no results.
pub fn results(graph: &Graph, dialect: &dyn Dialect) -> Vec<NodeId> {
    let mut is_used = vec![false; graph.nodes.len()];
    for node in &graph.nodes {
        node.present_inputs().for_each(|v| is_used[graph.value(v).producer.idx()] = true);
        node.control_inputs.iter().for_each(|n| is_used[n.idx()] = true);
    }
    graph.outputs.iter().for_each(|v| is_used[graph.value(*v).producer.idx()] = false);
    graph.node_ids().filter(|n| !is_used[n.idx()] && !is_loose_end(graph, dialect, *n)).collect()
}

/// A Switch, or an alias of one, or a Merge of two such (which says that a conditional is over).
fn is_loose_end(graph: &Graph, dialect: &dyn Dialect, id: NodeId) -> bool {
    let node = graph.node(id);
    match dialect.structure(node) {
        Structure::Merge => node.present_inputs().all(|v| is_switched(graph, dialect, graph.value(v).producer)),
        _ => is_switched(graph, dialect, id),
    }
}

/// A Switch, or an alias of one.
fn is_switched(graph: &Graph, dialect: &dyn Dialect, mut id: NodeId) -> bool {
    for _ in 0..graph.nodes.len() {
        let node = graph.node(id);
        match (dialect.structure(node), node.inputs.first()) {
            (Structure::Switch, _) => return true,
            (Structure::Alias, Some(&Some(v))) => id = graph.value(v).producer,
            _ => return false,
        }
    }
    false
}

/// Everything that `from` needs as data or waits for, with the redirects of `patch` in force.
pub fn needed(graph: &Graph, patch: &GraphPatch, from: &[NodeId]) -> Vec<bool> {
    walk(graph, from, |id, todo| {
        let node = graph.node(id);
        todo.extend(node.present_inputs().map(|v| graph.value(target(graph, patch, v)).producer));
        todo.extend(node.control_inputs.iter().copied());
        for key in patch.waits.get(&node.key).into_iter().flatten() {
            todo.extend(graph.node_named(key.as_str()));
        }
    })
}

/// Everything that `from` reads as data, not beyond `stop`.
pub fn data_ancestors(graph: &Graph, from: &[NodeId], stop: impl Fn(NodeId) -> bool) -> Vec<bool> {
    walk(graph, from, |id, todo| {
        todo.extend(graph.node(id).present_inputs().map(|v| graph.value(v).producer).filter(|n| !stop(*n)));
    })
}

fn walk(graph: &Graph, from: &[NodeId], mut each: impl FnMut(NodeId, &mut Vec<NodeId>)) -> Vec<bool> {
    let mut seen = vec![false; graph.nodes.len()];
    let mut todo = from.to_vec();
    while let Some(id) = todo.pop() {
        if !std::mem::replace(&mut seen[id.idx()], true) {
            each(id, &mut todo);
        }
    }
    seen
}

/// What a reader of `v` reads after the change.
pub fn target(graph: &Graph, patch: &GraphPatch, v: ValueId) -> ValueId {
    if patch.redirects.is_empty() {
        return v;
    }
    let key = patch.target(&graph.value(v).key);
    graph.value_named(key.as_str()).unwrap_or(v)
}
