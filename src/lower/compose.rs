//! Nodes from neutral words, the opposite of spelling: the few ops that edits add to a graph, each in the words of its
//! format.

use crate::graph::{AddedNode, Fact, Graph, NodeKey, ValueKey};
use crate::tensor::{DType, PartialShape, Tensor};

use super::Dialect;

/// What a new node computes. Integer vectors hold dimensions, in the integer type that is named.
#[derive(Clone, Debug)]
pub enum NewOp {
    Constant(Tensor),
    /// Inputs x `[…, rows]`, W `[rows, columns]`, b `[columns]`: x·W + b over the last axis.
    Dense {
        rank: usize,
        rows: usize,
        columns: usize,
    },
    /// Position 0 of axis 1 of a value of rank 3, which then has rank 2.
    First,
    /// Over the last of `rank` axes.
    Softmax {
        rank: usize,
    },
    Sigmoid,
    /// Drops while training only.
    Dropout {
        rate: f64,
        seed: u64,
    },
    /// The size of one axis of the input, as a vector of one integer.
    Size {
        axis: usize,
        ints: DType,
        /// Element type of the input.
        of: DType,
    },
    /// Vectors of integers, one after the other.
    Join {
        ints: DType,
    },
    /// Element-wise product of two integer vectors.
    Product {
        ints: DType,
    },
    /// Inputs dimensions and a scalar: a tensor of that shape with that value everywhere.
    Fill {
        dtype: DType,
        ints: DType,
    },
    /// Input a vector of one integer n: 0, 1, … n − 1.
    Count {
        ints: DType,
    },
    /// Inputs x and dimensions: another shape.
    Reshape {
        dtype: DType,
        ints: DType,
    },
}

/// Where a new node stands and what it reads.
#[derive(Clone, Debug)]
pub struct NewNode<'a> {
    pub key: &'a str,
    pub op: NewOp,
    pub inputs: &'a [ValueKey],
    /// What is known of its output.
    pub fact: Fact,
    /// Version of the format's op set, where it has one.
    pub opset: i64,
    /// Existing nodes read what comes of it, so it stands before them in formats that keep an order.
    pub is_early: bool,
}

/// The nodes of a [`NewOp`], in order, and the value that it gives.
#[derive(Clone, Debug, Default)]
pub struct Composed {
    pub nodes: Vec<AddedNode>,
    pub output: Option<ValueKey>,
}

/// The newest version of the default op set that the graph's nodes state; 0 where the format has none.
pub fn opset(graph: &Graph, dialect: &dyn Dialect) -> i64 {
    let of_default = graph.nodes.iter().filter(|n| n.domain.is_empty() && n.opset > 0);
    of_default.map(|n| dialect.opset(graph, n)).max().unwrap_or(0)
}

/// Puts nodes together; formats differ in how they name outputs.
#[derive(Debug)]
pub struct Composer<'a> {
    new: &'a NewNode<'a>,
    name_output: fn(&str) -> String,
    constant_op: &'static str,
    nodes: Vec<AddedNode>,
}

impl<'a> Composer<'a> {
    pub fn new(new: &'a NewNode<'a>, constant_op: &'static str, name_output: fn(&str) -> String) -> Self {
        Self { new, name_output, constant_op, nodes: Vec::new() }
    }

    /// The name of a helper node.
    pub fn sub(&self, name: &str) -> String {
        format!("{}/{name}", self.new.key)
    }

    pub fn constant(&mut self, key: &str, tensor: Tensor) -> ValueKey {
        let fact = Fact::new(tensor.dtype(), PartialShape::from_dims(tensor.shape()));
        self.push(key, self.constant_op, Vec::new(), fact, Vec::new(), Some(tensor))
    }

    /// A node with one output.
    pub fn node(
        &mut self,
        key: &str,
        op: &str,
        inputs: &[&ValueKey],
        fact: Fact,
        attrs: Vec<(&str, crate::graph::Attr)>,
    ) -> ValueKey {
        self.push(key, op, inputs.iter().map(|k| (*k).clone()).collect(), fact, attrs, None)
    }

    fn push(
        &mut self,
        key: &str,
        op: &str,
        inputs: Vec<ValueKey>,
        fact: Fact,
        attrs: Vec<(&str, crate::graph::Attr)>,
        constant: Option<Tensor>,
    ) -> ValueKey {
        let output = ValueKey::new((self.name_output)(key));
        self.nodes.push(AddedNode {
            key: NodeKey::new(key),
            op: op.to_owned(),
            domain: String::new(),
            opset: self.new.opset,
            inputs,
            attrs: attrs.into_iter().map(|(n, a)| (n.to_owned(), a)).collect(),
            outputs: vec![(output.clone(), fact)],
            constant,
            is_early: self.new.is_early,
        });
        output
    }

    pub fn finish(self, output: ValueKey) -> Composed {
        Composed { nodes: self.nodes, output: Some(output) }
    }
}
