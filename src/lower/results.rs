//! What a graph is there for.

use crate::graph::{Graph, NodeId};

use super::{Dialect, Structure};

/// Nodes that nothing reads and nothing waits for: what somebody may fetch or run. The loose ends of a conditional (the
/// other side of a predicate's Switch) are no results, and leftovers of training count for nothing.
pub fn results(graph: &Graph, dialect: &dyn Dialect) -> Vec<NodeId> {
    let mut is_used = vec![false; graph.nodes.len()];
    for node in graph.nodes.iter().filter(|n| n.leftover.is_none()) {
        node.present_inputs().for_each(|v| is_used[graph.value(v).producer.idx()] = true);
        node.control_inputs.iter().for_each(|n| is_used[n.idx()] = true);
    }
    graph.outputs.iter().for_each(|v| is_used[graph.value(*v).producer.idx()] = false);
    let is_result =
        |n: &NodeId| !is_used[n.idx()] && graph.node(*n).leftover.is_none() && !is_loose_end(graph, dialect, *n);
    graph.node_ids().filter(is_result).collect()
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
            (Structure::Switch | Structure::SwitchN, _) => return true,
            (Structure::Alias, Some(&Some(v))) => id = graph.value(v).producer,
            _ => return false,
        }
    }
    false
}
