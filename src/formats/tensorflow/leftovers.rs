//! Tells the model from what trained and saved it: optimizers, gradients, savers, summaries, initialisers and input
//! pipelines in a graph that was never frozen.
//!
//! What ops do decides, not what they are called: ops with such an effect first, then everything that only serves them.
//! Gradients alone are found by name, since nothing else sets them apart: TensorFlow calls them `SCOPE/X_grad/…` after the
//! forward node `X`, which must exist.

use std::collections::HashSet;

use crate::graph::{Graph, Leftover, Node, NodeId, NodeKind};
use crate::lower::{Dialect, Structure};

use super::dialect::TENSORFLOW;
use super::variables::is_variable;

/// Marks the leftovers of the main graph. What `wanted` (outputs of signatures) needs is never one.
pub fn mark(graph: &mut Graph, wanted: &[NodeId]) {
    let mut marks: Vec<Option<Leftover>> =
        graph.nodes.iter().map(|node| by_op(node).or_else(|| by_body(graph, node))).collect();
    let readers = readers(graph);
    mark_gradients(graph, &mut marks);
    mark_what_reads(graph, &readers, &mut marks);
    let needed = ancestors(graph, wanted);
    for (mark, is_needed) in marks.iter_mut().zip(&needed) {
        *mark = mark.filter(|_| !is_needed);
    }
    mark_what_serves(graph, &readers, &needed, &mut marks);
    for (node, mark) in graph.nodes.iter_mut().zip(marks) {
        node.leftover = mark;
    }
}

/// Marks what only signatures other than the chosen one need.
pub fn mark_other_signatures(graph: &mut Graph, chosen: &[NodeId], others: &[NodeId]) {
    let (needed, other) = (ancestors(graph, chosen), ancestors(graph, others));
    for (i, node) in graph.nodes.iter_mut().enumerate() {
        if other[i] && !needed[i] {
            node.leftover = Some(Leftover::OtherSignature);
        }
    }
}

/// Everything that some nodes depend on, themselves included.
pub fn ancestors(graph: &Graph, of: &[NodeId]) -> Vec<bool> {
    let mut out = vec![false; graph.nodes.len()];
    let mut left: Vec<NodeId> = of.to_vec();
    while let Some(id) = left.pop() {
        if std::mem::replace(&mut out[id.idx()], true) {
            continue;
        }
        let node = graph.node(id);
        left.extend(node.present_inputs().map(|v| graph.value(v).producer));
        left.extend(node.control_inputs.iter().copied());
    }
    out
}

fn by_op(node: &Node) -> Option<Leftover> {
    let op = node.op.as_str();
    let has = |names: &[&str]| names.contains(&op);
    if node.kind != NodeKind::Op {
        return None;
    }
    if has(&["SaveV2", "Save", "SaveSlices", "RestoreV2", "Restore", "RestoreSlice", "MergeV2Checkpoints"])
        || op.starts_with("ShardedFile")
    {
        return Some(Leftover::Saver);
    }
    if op.contains("Summary") {
        return Some(Leftover::Summary);
    }
    let applies = ["Apply", "ResourceApply", "SparseApply", "ResourceSparseApply", "ResourceScatter", "AssignAdd"];
    let updates = ["AssignSub", "AssignAddVariableOp", "AssignSubVariableOp", "CountUpTo", "ResourceCountUpTo"];
    let scatters = ["ScatterUpdate", "ScatterAdd", "ScatterSub", "ScatterMul", "ScatterDiv"];
    if applies.iter().any(|a| op.starts_with(a)) || has(&updates) || has(&scatters) {
        return Some(Leftover::Optimizer);
    }
    if has(&["Assign", "AssignVariableOp", "IsVariableInitialized", "VarIsInitializedOp", "LookupTableImportV2"])
        || op.starts_with("InitializeTable")
        || op.starts_with("ReportUninitialized")
    {
        return Some(Leftover::Initialiser);
    }
    let feeds_pipeline = ["Dataset", "Queue", "Reader"].iter().any(|part| op.contains(part));
    let is_iterator = op.contains("Iterator") && !op.starts_with("IteratorGetNext");
    (feeds_pipeline || is_iterator).then_some(Leftover::InputPipeline)
}

/// A call of the function that saves or restores.
fn by_body(graph: &Graph, node: &Node) -> Option<Leftover> {
    let Structure::Call { function } = TENSORFLOW.structure(node) else { return None };
    let body = graph.functions.get(&function)?;
    body.nodes.iter().any(|n| by_op(n) == Some(Leftover::Saver)).then_some(Leftover::Saver)
}

/// For each node, who reads it or waits for it.
fn readers(graph: &Graph) -> Vec<Vec<NodeId>> {
    let mut out = vec![Vec::new(); graph.nodes.len()];
    for id in graph.node_ids() {
        let node = graph.node(id);
        let data = node.present_inputs().map(|v| graph.value(v).producer);
        for from in data.chain(node.control_inputs.iter().copied()) {
            out[from.idx()].push(id);
        }
    }
    out
}

/// Scopes that hold `X_grad/…` for a node `X` of the graph are what `tf.gradients` made.
fn mark_gradients(graph: &Graph, marks: &mut [Option<Leftover>]) {
    let mut scopes: HashSet<&str> = HashSet::new();
    for node in &graph.nodes {
        let name = node.key.as_str();
        let is_whole = |at: &usize| matches!(name.as_bytes().get(at + "_grad".len()), None | Some(b'/'));
        for end in name.match_indices("_grad").map(|(i, _)| i).filter(is_whole) {
            let head = &name[..end];
            let splits = head.match_indices('/').map(|(i, _)| (&head[..i], &head[i + 1..]));
            scopes.extend(splits.filter(|(_, x)| graph.node_named(x).is_some()).map(|(scope, _)| scope));
        }
    }
    if scopes.is_empty() {
        return;
    }
    for (node, mark) in graph.nodes.iter().zip(marks) {
        let name = node.key.as_str();
        let is_inside = name.match_indices('/').any(|(i, _)| scopes.contains(&name[..i]));
        if is_inside && mark.is_none() && node.kind != NodeKind::Placeholder && !is_variable(&node.op) {
            *mark = Some(Leftover::Gradient);
        }
    }
}

/// What computes with gradients (clipping, an optimizer's own arithmetic) or with restored values.
fn mark_what_reads(graph: &Graph, readers: &[Vec<NodeId>], marks: &mut [Option<Leftover>]) {
    let spreads = |m: Option<Leftover>| matches!(m, Some(Leftover::Gradient | Leftover::Saver | Leftover::Summary));
    let mut left: Vec<NodeId> = graph.node_ids().filter(|n| spreads(marks[n.idx()])).collect();
    while let Some(id) = left.pop() {
        for &reader in &readers[id.idx()] {
            let node = graph.node(reader);
            let as_data = node.present_inputs().any(|v| graph.value(v).producer == id);
            if !as_data || node.kind == NodeKind::Placeholder {
                continue;
            }
            let mark = &mut marks[reader.idx()];
            // What assigns a value that was computed from gradients is an optimizer's step, a restored one a saver's.
            match (*mark, marks_kind(graph, id, node)) {
                (None, kind) => {
                    *mark = Some(kind);
                    left.push(reader);
                }
                (Some(Leftover::Initialiser), kind) => *mark = Some(kind),
                _ => {}
            }
        }
    }

    fn marks_kind(graph: &Graph, from: NodeId, reader: &Node) -> Leftover {
        let is_restored = graph.node(from).op == "RestoreV2";
        match (is_restored, reader.op.starts_with("Assign")) {
            (true, _) => Leftover::Saver,
            (_, true) => Leftover::Optimizer,
            _ => Leftover::Gradient,
        }
    }
}

/// What nothing but leftovers reads is one as well, back to the variables (slots) and constants.
fn mark_what_serves(graph: &Graph, readers: &[Vec<NodeId>], needed: &[bool], marks: &mut [Option<Leftover>]) {
    let depends_on_feed = descendants(graph, |n| n.kind == NodeKind::Placeholder);
    let computes = descendants(graph, |n| {
        n.kind == NodeKind::Placeholder
            || is_variable(&n.op)
            || ["Random", "Normal", "Multinomial"].iter().any(|r| n.op.contains(r))
    });
    let mut left: Vec<NodeId> = graph.node_ids().collect();
    while let Some(id) = left.pop() {
        let node = graph.node(id);
        if marks[id.idx()].is_some() || needed[id.idx()] {
            continue;
        }
        let kinds = readers[id.idx()].iter().map(|r| marks[r.idx()]);
        let all: Option<Vec<Leftover>> = kinds.collect();
        let kind = match all.as_deref() {
            // Nothing reads it: a result, unless it says the same every time (an optimizer's unused arithmetic), only reads
            // a variable or joins others' effects.
            Some([]) if !computes[id.idx()] && node.op != "NoOp" => Some(Leftover::Initialiser),
            Some([]) => without_readers(graph, node, marks),
            Some([first, rest @ ..]) => {
                let looks_on = |k: &Leftover| matches!(k, Leftover::Summary | Leftover::Gradient);
                // A loss that is only logged and differentiated is still what the model computes.
                let is_result = looks_on(first) && rest.iter().all(looks_on) && depends_on_feed[id.idx()];
                let strongest = rest.iter().chain([first]).find(|k| **k == Leftover::Optimizer).unwrap_or(first);
                (!is_result).then_some(*strongest)
            }
            None => None,
        };
        let Some(kind) = kind else { continue };
        marks[id.idx()] = Some(kind);
        left.extend(node.present_inputs().map(|v| graph.value(v).producer));
        left.extend(node.control_inputs.iter().copied());
    }
}

fn without_readers(graph: &Graph, node: &Node, marks: &[Option<Leftover>]) -> Option<Leftover> {
    let input = node.present_inputs().next().map(|v| graph.value(v).producer);
    match node.op.as_str() {
        "Identity" | "ReadVariableOp" if input.is_some_and(|n| is_variable(&graph.node(n).op)) => {
            Some(Leftover::Optimizer)
        }
        // The name of a file that was written.
        "Identity" => node.control_inputs.iter().find_map(|n| marks[n.idx()].filter(|m| *m == Leftover::Saver)),
        "NoOp" => {
            let kinds: Option<Vec<Leftover>> = node.control_inputs.iter().map(|n| marks[n.idx()]).collect();
            match kinds.as_deref() {
                Some([]) => Some(Leftover::Initialiser),
                Some(kinds) => kinds.first().copied(),
                None => None,
            }
        }
        op if is_variable(op) => Some(Leftover::Optimizer),
        _ => None,
    }
}

/// What is computed from certain nodes; waiting for one is not computing from it.
fn descendants(graph: &Graph, is_source: impl Fn(&Node) -> bool) -> Vec<bool> {
    let readers = graph.readers();
    let mut out = vec![false; graph.nodes.len()];
    let mut left: Vec<NodeId> = graph.node_ids().filter(|n| is_source(graph.node(*n))).collect();
    while let Some(id) = left.pop() {
        if !std::mem::replace(&mut out[id.idx()], true) {
            left.extend(graph.node(id).outputs.iter().flat_map(|v| &readers[v.idx()]));
        }
    }
    out
}
