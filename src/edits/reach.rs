//! Which nodes of a graph its results need, before and after a change.

use crate::graph::{Graph, GraphPatch, NodeId, ValueId};

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
