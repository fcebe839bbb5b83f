//! What is to change in a graph: edits make patches, writers carry them out on the file's bytes, and
//! [`GraphPatch::apply`] shows the result as a graph that can be lowered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use indexmap::IndexMap;

use crate::tensor::{DType, Fact, PartialShape, Payload, Tensor};

use super::{Attr, Constant, ConstantOrigin, Graph, Node, NodeId, NodeKey, NodeKind, ValueId, ValueKey};

/// A change of a graph in terms of keys, so that it fits every import of the same file. Keys of library functions
/// (`function/name`) change the function.
#[derive(Clone, Debug, Default)]
pub struct GraphPatch {
    /// Every reader of the first value reads the second instead (chains are followed).
    pub redirects: IndexMap<ValueKey, ValueKey>,
    /// Nodes that disappear. Whoever waited for one does not wait any more.
    pub removed: BTreeSet<NodeKey>,
    /// `node → others` that it must wait for in addition.
    pub waits: BTreeMap<NodeKey, BTreeSet<NodeKey>>,
    /// New values of constants; same shape, converted to the type that the file has.
    pub constants: IndexMap<NodeKey, Tensor>,
    /// New nodes of the main graph.
    pub added: Vec<AddedNode>,
    /// Data inputs of single nodes of the main graph: `(node, position)` → what it reads instead.
    pub rewires: BTreeMap<(NodeKey, usize), ValueKey>,
    /// New shapes of placeholders. What the file says about the shapes of computed values counts no more then.
    pub shapes: IndexMap<ValueKey, PartialShape>,
    /// Values that become outputs of the model, besides those that it has.
    pub outputs: Vec<ValueKey>,
}

/// A node that a patch adds.
#[derive(Clone, Debug)]
pub struct AddedNode {
    pub key: NodeKey,
    pub op: String,
    pub domain: String,
    /// As [`Node::opset`].
    pub opset: i64,
    pub inputs: Vec<ValueKey>,
    pub attrs: IndexMap<String, Attr>,
    /// Outputs with what is known of them.
    pub outputs: Vec<(ValueKey, Fact)>,
    /// The value of a constant.
    pub constant: Option<Tensor>,
    /// Whether existing nodes read it, so that it must stand before them in formats that keep an order.
    pub is_early: bool,
}

impl GraphPatch {
    pub fn is_empty(&self) -> bool {
        self.redirects.is_empty()
            && self.removed.is_empty()
            && self.waits.is_empty()
            && self.constants.is_empty()
            && self.added.is_empty()
            && self.rewires.is_empty()
            && self.shapes.is_empty()
            && self.outputs.is_empty()
    }

    /// Carries out `next`, which was made for the graph that this patch leads to, as well.
    pub fn then(&mut self, next: Self) {
        for (from, to) in next.redirects {
            self.redirect(from, to);
        }
        for key in next.removed {
            let before = self.added.len();
            self.added.retain(|n| n.key != key);
            if self.added.len() == before {
                self.removed.insert(key);
            }
        }
        let is_gone = |key: &NodeKey| self.removed.contains(key);
        self.rewires.retain(|(node, _), _| !is_gone(node));
        self.waits.retain(|node, _| !is_gone(node));
        for (key, more) in next.waits {
            self.waits.entry(key).or_default().extend(more);
        }
        for (key, tensor) in next.constants {
            self.set_constant(key, tensor);
        }
        for ((node, port), value) in next.rewires {
            match self.added.iter_mut().find(|n| n.key == node).and_then(|n| n.inputs.get_mut(port)) {
                Some(input) => *input = value,
                None => {
                    self.rewires.insert((node, port), value);
                }
            }
        }
        self.added.extend(next.added);
        self.shapes.extend(next.shapes);
        self.outputs.extend(next.outputs);
    }

    /// Readers of `from` read `to`. Only this patch reads what it adds itself: there the change is carried out at once.
    fn redirect(&mut self, from: ValueKey, to: ValueKey) {
        if !self.added.iter().any(|n| n.outputs.iter().any(|(k, _)| *k == from)) {
            self.redirects.insert(from, to);
            return;
        }
        let inputs = self.added.iter_mut().flat_map(|n| &mut n.inputs);
        let others = self.rewires.values_mut().chain(self.redirects.values_mut()).chain(&mut self.outputs);
        inputs.chain(others).filter(|k| **k == from).for_each(|k| *k = to.clone());
    }

    /// A new value for a constant of the graph or for one that this patch adds.
    pub fn set_constant(&mut self, key: NodeKey, tensor: Tensor) {
        let added = self.added.iter_mut().find(|n| n.key == key).and_then(|n| n.constant.as_mut());
        match added {
            Some(old) if old.shape() == tensor.shape() => {
                let dtype = old.dtype();
                *old = converted(&tensor, dtype).unwrap_or(tensor);
            }
            _ => {
                self.constants.insert(key, tensor);
            }
        }
    }

    /// The added nodes as they are written: redirects hold for what they read, too.
    pub fn resolved_added(&self) -> Vec<AddedNode> {
        let resolve = |n: &AddedNode| AddedNode {
            inputs: n.inputs.iter().map(|k| self.target(k).clone()).collect(),
            ..n.clone()
        };
        self.added.iter().map(resolve).collect()
    }

    /// Where a reader of `key` reads from.
    pub fn target<'k>(&'k self, key: &'k ValueKey) -> &'k ValueKey {
        let mut at = key;
        for _ in 0..=self.redirects.len() {
            match self.redirects.get(at) {
                Some(next) => at = next,
                None => return at,
            }
        }
        // Redirects in a circle mean nothing.
        key
    }

    /// Parts that do not fit `graph`, in words.
    pub fn problems(&self, graph: &Graph) -> Vec<String> {
        let bodies = || std::iter::once(graph).chain(graph.functions.values().map(|f| &**f));
        let has_node = |k: &NodeKey| bodies().any(|g| g.node_named(k.as_str()).is_some());
        let adds = |k: &ValueKey| self.added.iter().any(|n| n.outputs.iter().any(|(o, _)| o == k));
        let has_value = |k: &ValueKey| bodies().any(|g| g.value_named(k.as_str()).is_some()) || adds(k);
        let mut out = Vec::new();
        for (from, to) in &self.redirects {
            out.extend([from, to].into_iter().filter(|k| !has_value(k)).map(|k| format!("there is no value {k}")));
        }
        out.extend(self.removed.iter().filter(|k| !has_node(k)).map(|k| format!("there is no node {k}")));
        let read = self.added.iter().flat_map(|n| &n.inputs).chain(self.rewires.values()).chain(&self.outputs);
        out.extend(read.chain(self.shapes.keys()).filter(|k| !has_value(k)).map(|k| format!("there is no value {k}")));
        out.extend(self.rewires.keys().filter(|(k, _)| !has_node(k)).map(|(k, _)| format!("there is no node {k}")));
        out.extend(
            self.added.iter().filter(|n| has_node(&n.key)).map(|n| format!("there is a node {} already", n.key)),
        );
        for (key, tensor) in &self.constants {
            match bodies().find_map(|g| g.constant(g.node_named(key.as_str())?)) {
                None => out.push(format!("there is no constant {key}")),
                Some(c) if c.payload.shape[..] != *tensor.shape() => out.push(format!(
                    "the constant {key} has shape {:?}, not {:?}",
                    &c.payload.shape[..],
                    tensor.shape()
                )),
                Some(_) => {}
            }
        }
        out
    }

    /// The graph after the change; what does not fit is left out. Unchanged functions are shared.
    pub fn apply(&self, graph: &Graph) -> Graph {
        let mut out = self.apply_body(graph, &self.added);
        for (name, function) in &graph.functions {
            let prefix = format!("{name}/");
            let changed =
                if self.touches(&prefix) { Arc::new(self.apply_body(function, &[])) } else { function.clone() };
            out.functions.insert(name.clone(), changed);
        }
        out.signatures.clone_from(&graph.signatures);
        for signature in &mut out.signatures {
            signature.inputs.retain(|(_, key)| out_has(graph, &self.removed, key));
            for (_, key) in &mut signature.outputs {
                *key = self.target(key).clone();
            }
            signature.outputs.retain(|(_, key)| out_has(graph, &self.removed, key));
            let alias = |k: &ValueKey| k.as_str().strip_suffix(":0").unwrap_or(k.as_str()).to_owned();
            signature.outputs.extend(self.outputs.iter().map(|k| (alias(k), self.target(k).clone())));
        }
        // Where the file declares its outputs, these are declared as well.
        if !out.outputs.is_empty() {
            let more: Vec<ValueId> = self.outputs.iter().filter_map(|k| self.new_value(&out, k)).collect();
            out.outputs.extend(more);
        }
        out
    }

    /// What is known of an old value in the new graph.
    fn fact(&self, key: &ValueKey, node: &Node, fact: &Fact) -> Fact {
        let shape = match self.shapes.get(key) {
            Some(shape) => shape.clone(),
            None if self.shapes.is_empty() || !matches!(node.kind, NodeKind::Op) => fact.shape.clone(),
            None => PartialShape::unknown(),
        };
        Fact { shape, ..fact.clone() }
    }

    /// Whether a library function changes.
    pub fn touches_functions(&self, graph: &Graph) -> bool {
        graph.functions.keys().any(|name| self.touches(&format!("{name}/")))
    }

    fn touches(&self, prefix: &str) -> bool {
        let values = self.redirects.keys().map(ValueKey::as_str);
        let nodes = self.removed.iter().chain(self.waits.keys()).chain(self.constants.keys()).map(NodeKey::as_str);
        values.chain(nodes).any(|k| k.starts_with(prefix))
    }

    fn apply_body(&self, graph: &Graph, added: &[AddedNode]) -> Graph {
        let mut out = Graph::default();
        let mut new_nodes: Vec<Option<NodeId>> = Vec::with_capacity(graph.nodes.len());
        for node in &graph.nodes {
            if self.removed.contains(&node.key) {
                new_nodes.push(None);
                continue;
            }
            let outputs = node.outputs.iter().map(|v| {
                let value = graph.value(*v);
                (value.key.clone(), self.fact(&value.key, node, &value.fact))
            });
            let outputs = outputs.collect();
            let mut copy = Node { inputs: Vec::new(), control_inputs: Vec::new(), outputs: Vec::new(), ..node.clone() };
            self.replace_constant(&mut copy);
            new_nodes.push(Some(out.push_node(copy, outputs)));
        }
        let first_added = out.nodes.len();
        for node in added {
            add_node(&mut out, node);
        }
        for (old, new) in graph.nodes.iter().zip(&new_nodes) {
            let Some(new) = new else { continue };
            let inputs = old.inputs.iter().enumerate().map(|(port, v)| {
                let own = self.rewires.get(&(old.key.clone(), port));
                self.new_value(&out, own.unwrap_or(&graph.value((*v)?).key))
            });
            let inputs = inputs.collect();
            let mut control: Vec<NodeId> = old.control_inputs.iter().filter_map(|n| new_nodes[n.idx()]).collect();
            for key in self.waits.get(&old.key).into_iter().flatten() {
                control.extend(out.node_named(key.as_str()).filter(|n| !control.contains(n)));
            }
            out.nodes[new.idx()].inputs = inputs;
            out.nodes[new.idx()].control_inputs = control;
        }
        for (i, node) in added.iter().enumerate() {
            out.nodes[first_added + i].inputs = node.inputs.iter().map(|k| self.new_value(&out, k)).collect();
        }
        let moved = |values: &[ValueId], out: &Graph| -> Vec<ValueId> {
            values.iter().filter_map(|v| self.new_value(out, &graph.value(*v).key)).collect()
        };
        (out.inputs, out.outputs) = (moved(&graph.inputs, &out), moved(&graph.outputs, &out));
        out
    }

    fn new_value(&self, out: &Graph, key: &ValueKey) -> Option<ValueId> {
        out.value_named(self.target(key).as_str())
    }

    fn replace_constant(&self, node: &mut Node) {
        let Some(tensor) = self.constants.get(&node.key) else { return };
        let Some(constant) = &mut node.constant else { return };
        if let Some(tensor) = converted(tensor, constant.payload.dtype)
            && constant.payload.shape[..] == *tensor.shape()
        {
            constant.payload = Payload::from_tensor(tensor);
        }
    }
}

/// Whether the producer of a value stays.
fn out_has(graph: &Graph, removed: &BTreeSet<NodeKey>, key: &ValueKey) -> bool {
    match graph.value_named(key.as_str()) {
        Some(v) => !removed.contains(&graph.node(graph.value(v).producer).key),
        None => true,
    }
}

fn add_node(out: &mut Graph, added: &AddedNode) {
    let mut node = Node::new(added.key.clone(), added.op.clone(), NodeKind::Op);
    node.domain.clone_from(&added.domain);
    node.attrs.clone_from(&added.attrs);
    node.opset = added.opset;
    let mut outputs = added.outputs.clone();
    if let Some(tensor) = &added.constant {
        node.kind = NodeKind::Constant;
        let payload = Payload::from_tensor(tensor.clone());
        let fact = Fact::new(tensor.dtype(), PartialShape::from_dims(tensor.shape()));
        outputs.iter_mut().take(1).for_each(|(_, f)| *f = fact.clone());
        node.constant = Some(Constant { payload, origin: ConstantOrigin::ConstNode });
    }
    out.push_node(node, outputs);
}

/// The same numbers in another element type; `None` where that is not a type of numbers.
pub fn converted(tensor: &Tensor, dtype: DType) -> Option<Tensor> {
    if tensor.dtype() == dtype {
        return Some(tensor.clone());
    }
    if !(dtype.is_float() || dtype.is_exact()) {
        return None;
    }
    Some(Tensor::from_f64s(dtype, tensor.shape(), tensor.to_f64s()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Graph {
        let mut g = Graph::default();
        let mut last = None;
        for name in ["a", "b", "c"] {
            let mut node = Node::new(NodeKey::new(name), "Op", NodeKind::Op);
            node.inputs = last.into_iter().map(Some).collect();
            let id = g.push_node(node, vec![(ValueKey::new(format!("{name}:0")), Fact::unknown())]);
            last = Some(g.node(id).outputs[0]);
        }
        g
    }

    #[test]
    fn a_bypassed_node_disappears() {
        let mut patch = GraphPatch::default();
        patch.redirects.insert(ValueKey::new("b:0"), ValueKey::new("a:0"));
        patch.removed.insert(NodeKey::new("b"));
        let after = patch.apply(&chain());
        assert_eq!(after.nodes.len(), 2);
        let read = after.nodes[1].inputs[0].unwrap();
        assert_eq!(after.value(read).key.as_str(), "a:0");
        assert!(patch.problems(&chain()).is_empty());
    }

    #[test]
    fn redirects_in_a_circle_change_nothing() {
        let mut patch = GraphPatch::default();
        patch.redirects.insert(ValueKey::new("a:0"), ValueKey::new("b:0"));
        patch.redirects.insert(ValueKey::new("b:0"), ValueKey::new("a:0"));
        assert_eq!(patch.target(&ValueKey::new("a:0")).as_str(), "a:0");
    }
}
