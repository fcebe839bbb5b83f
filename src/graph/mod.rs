//! What a file says, immutable after import: nodes in the file's own words, every attribute kept.
//!
//! Reading order: [`key`] (names that edits refer to), [`attr`], [`node`], then [`Graph`] here. A graph knows nothing
//! about how it is run; `lower` turns it into a program.

pub mod attr;
pub mod key;
pub mod node;
pub mod patch;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use indexmap::IndexMap;

pub use crate::tensor::Fact;
pub use attr::Attr;
pub use key::{NodeKey, ValueKey};
pub use node::{Constant, ConstantOrigin, Leftover, Node, NodeKind};
pub use patch::{AddedNode, GraphPatch};

crate::typed_id!(
    /// A node of one [`Graph`].
    NodeId
);
crate::typed_id!(
    /// A value (wire) of one [`Graph`]: one output of one node.
    ValueId
);

/// One output of a node: its name in the file's own words and what the file says about it.
#[derive(Clone, Debug)]
pub struct GraphValue {
    /// `name:0` in TensorFlow, the tensor's name in ONNX.
    pub key: ValueKey,
    pub producer: NodeId,
    /// Index among the producer's outputs.
    pub port: usize,
    /// Element type and shape as far as the file states them.
    pub fact: Fact,
}

/// The graph of a file, of a function in its library, or of a subgraph attribute.
///
/// Every value has a producer: placeholders, function arguments, ONNX graph inputs and initializers are nodes too
/// (see [`NodeKind`]). Nodes stand in file order, which need not be topological.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub nodes: Vec<Node>,
    pub values: Vec<GraphValue>,
    /// Arguments of a function or subgraph, in order; empty for a main graph.
    pub inputs: Vec<ValueId>,
    /// Results of a function or subgraph, or the outputs that the file declares.
    pub outputs: Vec<ValueId>,
    /// Library functions by name (main graph only).
    pub functions: IndexMap<String, Arc<Graph>>,
    /// Named sets of inputs and outputs; the first is the default.
    pub signatures: Vec<Signature>,
    node_by_name: HashMap<String, NodeId>,
    value_by_name: HashMap<String, ValueId>,
}

/// A named entry point: alias → value, in the file's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signature {
    pub name: String,
    pub inputs: Vec<(String, ValueKey)>,
    pub outputs: Vec<(String, ValueKey)>,
}

impl Graph {
    /// Appends a node with its outputs; the last of equal names wins the lookup (readers report duplicates).
    pub fn push_node(&mut self, mut node: Node, outputs: Vec<(ValueKey, Fact)>) -> NodeId {
        let id = NodeId::new(self.nodes.len());
        for (port, (key, fact)) in outputs.into_iter().enumerate() {
            let value = ValueId::new(self.values.len());
            self.value_by_name.insert(key.as_str().to_owned(), value);
            self.values.push(GraphValue { key, producer: id, port, fact });
            node.outputs.push(value);
        }
        self.node_by_name.insert(node.key.as_str().to_owned(), id);
        self.nodes.push(node);
        id
    }

    /// Adds one more output to an existing node (formats whose output count shows only at its readers).
    pub fn push_output(&mut self, node: NodeId, key: ValueKey, fact: Fact) -> ValueId {
        let value = ValueId::new(self.values.len());
        self.value_by_name.insert(key.as_str().to_owned(), value);
        let port = self.nodes[node.idx()].outputs.len();
        self.values.push(GraphValue { key, producer: node, port, fact });
        self.nodes[node.idx()].outputs.push(value);
        value
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.idx()]
    }

    pub fn value(&self, id: ValueId) -> &GraphValue {
        &self.values[id.idx()]
    }

    pub fn node_named(&self, name: &str) -> Option<NodeId> {
        self.node_by_name.get(name).copied()
    }

    /// A value by name; `:0` may be left out or added.
    pub fn value_named(&self, name: &str) -> Option<ValueId> {
        let get = |n: &str| self.value_by_name.get(n).copied();
        get(name).or_else(|| get(&format!("{name}:0"))).or_else(|| get(name.strip_suffix(":0")?))
    }

    pub fn node_ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len()).map(NodeId::new)
    }

    pub fn value_ids(&self) -> impl Iterator<Item = ValueId> + use<> {
        (0..self.values.len()).map(ValueId::new)
    }

    /// For each value, the nodes that read it as data, in file order (a node that reads it twice appears twice).
    pub fn readers(&self) -> Vec<Vec<NodeId>> {
        let mut out = vec![Vec::new(); self.values.len()];
        for id in self.node_ids() {
            for v in self.node(id).inputs.iter().flatten() {
                out[v.idx()].push(id);
            }
        }
        out
    }

    /// The constant that a node holds, if it is one.
    pub fn constant(&self, id: NodeId) -> Option<&Constant> {
        self.node(id).constant.as_ref()
    }

    /// All constants of this graph (functions aside), in file order.
    pub fn constants(&self) -> impl Iterator<Item = (NodeId, &Constant)> {
        self.nodes.iter().enumerate().filter_map(|(i, n)| Some((NodeId::new(i), n.constant.as_ref()?)))
    }

    /// Values that a user is expected to feed, in file order.
    pub fn placeholders(&self) -> impl Iterator<Item = ValueId> + '_ {
        let is_fed = |n: &&Node| n.kind == NodeKind::Placeholder && n.leftover.is_none();
        self.nodes.iter().filter(is_fed).flat_map(|n| n.outputs.iter().copied())
    }
}

/// Where a node lies in its file, so that writers copy what did not change.
pub type Span = Range<u64>;
