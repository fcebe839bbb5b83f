//! Nodes with subgraphs that the standard defines by other nodes: here they call a body that is made for them, of ordinary
//! nodes and of the file's own subgraphs. The node itself stays as the file has it.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::graph::{Attr, Fact, Graph, Node, NodeId, NodeKey, NodeKind, ValueId, ValueKey};
use crate::tensor::DType;

use super::build::{BODY, CAPTURED};

/// The attribute of a SequenceMap that says how many of its inputs are sequences; all others stand behind those.
pub const SEQUENCES: &str = "@sequences";
/// Inputs through which one looks for what makes a sequence.
const MAX_STEPS: usize = 64;

/// Ops whose results are sequences.
const MAKERS: [&str; 6] =
    ["SequenceConstruct", "SequenceEmpty", "SequenceInsert", "SequenceErase", "SplitToSequence", "SequenceMap"];

/// Makes the bodies of a node that has subgraphs, where it needs any.
pub fn make(graph: &mut Graph, id: NodeId, library: &mut IndexMap<String, Arc<Graph>>) {
    let node = graph.node(id);
    match (node.domain.as_str(), node.op.as_str()) {
        ("ai.onnx.preview", "FlexAttention") => flex_attention(graph, id, library),
        ("", "Scan") if (1..9).contains(&node.opset) => batched_scan(graph, id, library),
        ("", "SequenceMap") => sequences(graph, id),
        _ => {}
    }
}

fn function(node: &Node, name: &str) -> Option<String> {
    node.attr(name).and_then(Attr::as_str).map(str::to_owned)
}

fn n_captured(node: &Node) -> usize {
    node.attr(CAPTURED).and_then(Attr::as_int).and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
}

/// A body under construction.
struct Inside {
    graph: Graph,
    prefix: String,
    opset: i64,
}

impl Inside {
    fn new(owner: &Node, name: &str) -> Self {
        Self { graph: Graph::default(), prefix: format!("{}/{name}", owner.key), opset: owner.opset }
    }

    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }

    fn argument(&mut self, name: &str) -> ValueId {
        let key = self.key(name);
        let node = Node::new(NodeKey::new(key.as_str()), "Argument", NodeKind::Argument);
        let id = self.graph.push_node(node, vec![(ValueKey::new(key), Fact::unknown())]);
        let value = self.graph.node(id).outputs[0];
        self.graph.inputs.push(value);
        value
    }

    fn arguments(&mut self, name: &str, n: usize) -> Vec<ValueId> {
        (0..n).map(|i| self.argument(&format!("{name}{i}"))).collect()
    }

    /// A node with `n` outputs.
    fn node(&mut self, name: &str, op: (&str, &str), inputs: &[ValueId], attrs: &[(&str, Attr)], n: usize) -> NodeId {
        let key = self.key(name);
        let mut node = Node::new(NodeKey::new(key.as_str()), op.1, NodeKind::Op);
        op.0.clone_into(&mut node.domain);
        node.opset = self.opset;
        node.inputs = inputs.iter().copied().map(Some).collect();
        node.attrs = attrs.iter().map(|(k, a)| ((*k).to_owned(), a.clone())).collect();
        let outputs = (0..n).map(|i| (ValueKey::new(format!("{key}:{i}")), Fact::unknown())).collect();
        self.graph.push_node(node, outputs)
    }

    fn output(&self, node: NodeId) -> ValueId {
        self.graph.node(node).outputs[0]
    }

    fn finish(self, library: &mut IndexMap<String, Arc<Graph>>) -> String {
        library.insert(self.prefix.clone(), Arc::new(self.graph));
        self.prefix
    }
}

/// Scores, the file's change of them, softmax, the file's change of the probabilities, values.
fn flex_attention(graph: &mut Graph, id: NodeId, library: &mut IndexMap<String, Arc<Graph>>) {
    const DOMAIN: &str = "ai.onnx.preview";
    let node = graph.node(id);
    let mut inside = Inside::new(node, "attention");
    let of_node: Vec<(&str, Attr)> = ["scale", "softmax_precision"]
        .into_iter()
        .filter_map(|name| node.attr(name).map(|a| (name, a.clone())))
        .collect();
    let own = inside.arguments("input", 3);
    let captured = inside.arguments("captured", n_captured(node));
    let change = |inside: &mut Inside, name: &str, v: ValueId| match function(node, name) {
        Some(body) => {
            let inputs: Vec<ValueId> = std::iter::once(v).chain(captured.iter().copied()).collect();
            let call = inside.node(name, (DOMAIN, "FlexChange"), &inputs, &[(BODY, Attr::Function(body))], 1);
            inside.output(call)
        }
        None => v,
    };
    let scores = inside.node("scores", (DOMAIN, "FlexScores"), &own[..2], &of_node, 1);
    let scores = inside.output(scores);
    let scores = change(&mut inside, "score_mod", scores);
    let weights = inside.node("probabilities", (DOMAIN, "FlexProbabilities"), &[scores], &[], 1);
    let weights = inside.output(weights);
    let weights = change(&mut inside, "prob_mod", weights);
    let result = inside.node("values", (DOMAIN, "FlexValues"), &[weights, own[2]], &[], 1);
    let result = inside.output(result);
    inside.graph.outputs.push(result);
    let body = inside.finish(library);
    graph.nodes[id.idx()].attrs.insert(BODY.to_owned(), Attr::Function(body));
}

/// Opset 8 scans each element of a batch (axis 0) on its own, over axis 1: a scan over the batch of scans. Lengths of the
/// sequences (input 0) are not supported; such a node stays as it is.
fn batched_scan(graph: &mut Graph, id: NodeId, library: &mut IndexMap<String, Arc<Graph>>) {
    let node = graph.node(id);
    let Some(body) = function(node, "body") else { return };
    let n_captured = n_captured(node);
    let n_scanned =
        node.attr("num_scan_inputs").and_then(Attr::as_int).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let n_own = node.inputs.len().saturating_sub(n_captured).saturating_sub(1);
    if node.inputs.first().is_none_or(Option::is_some) || n_scanned == 0 || n_scanned > n_own {
        return;
    }
    let n_results = node.outputs.len();
    let scan = |body: String, n_scanned: usize| {
        vec![
            ("body", Attr::Function(body)),
            ("num_scan_inputs", Attr::Int(n_scanned as i64)),
            (CAPTURED, Attr::Int(n_captured as i64)),
        ]
    };
    let mut one = Inside::new(node, "one");
    one.opset = 9;
    let arguments = one.arguments("input", n_own + n_captured);
    let mut attrs = scan(body, n_scanned);
    if let Some(directions) = node.attr("directions") {
        attrs.push(("scan_input_directions", directions.clone()));
    }
    let of_one = one.node("scan", ("", "Scan"), &arguments, &attrs, n_results);
    one.graph.outputs = one.graph.node(of_one).outputs.clone();
    let one = one.finish(library);
    let mut all = Inside::new(node, "batch");
    all.opset = 9;
    let _lengths = all.argument("lengths");
    let arguments = all.arguments("input", n_own + n_captured);
    let of_all = all.node("scan", ("", "Scan"), &arguments, &scan(one, n_own), n_results);
    all.graph.outputs = all.graph.node(of_all).outputs.clone();
    let all = all.finish(library);
    graph.nodes[id.idx()].attrs.insert(BODY.to_owned(), Attr::Function(all));
}

/// Notes how many inputs of a SequenceMap are sequences, unless tensors stand between them.
fn sequences(graph: &mut Graph, id: NodeId) {
    let node = graph.node(id);
    let own = &node.inputs[..node.inputs.len().saturating_sub(n_captured(node))];
    let is_one: Vec<bool> =
        own.iter().enumerate().map(|(i, v)| i == 0 || v.is_some_and(|v| is_sequence(graph, v))).collect();
    let n = is_one.iter().take_while(|s| **s).count();
    if n > 0 && !is_one[n..].contains(&true) {
        graph.nodes[id.idx()].attrs.insert(SEQUENCES.to_owned(), Attr::Int(n as i64));
    }
}

fn is_sequence(graph: &Graph, v: ValueId) -> bool {
    let mut at = v;
    for _ in 0..MAX_STEPS {
        let value = graph.value(at);
        if value.fact.dtype == DType::Variant {
            return true;
        }
        let node = graph.node(value.producer);
        if node.domain.is_empty() && MAKERS.contains(&node.op.as_str()) {
            return true;
        }
        match (node.op.as_str(), node.inputs.first()) {
            ("Identity", Some(Some(from))) => at = *from,
            _ => return false,
        }
    }
    false
}
