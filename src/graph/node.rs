//! Nodes and constants.

use indexmap::IndexMap;

use crate::tensor::Payload;

use super::{Attr, NodeId, NodeKey, Span, ValueId};

/// What a node is to a reader; most are `Op`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeKind {
    Op,
    /// Holds a [`Constant`] (Const node, ONNX initializer, checkpoint variable).
    Constant,
    /// Somebody outside must feed it (Placeholder, outputs of an input pipeline, ONNX graph input).
    Placeholder,
    /// An argument of the function or subgraph that this graph is.
    Argument,
}

/// Why a node is no part of the model itself but of the program that trained or saved it. Such nodes stay in the graph
/// and in what is written; they are not spelled, suggested or shown unless asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leftover {
    /// Applies updates, or holds what an optimizer remembers (slots, the step).
    Optimizer,
    Gradient,
    Saver,
    Summary,
    Initialiser,
    /// Data sets, readers and queues before the first placeholder.
    InputPipeline,
    /// Serves only a signature that was not chosen.
    OtherSignature,
}

impl Leftover {
    /// What a person calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Optimizer => "optimizer",
            Self::Gradient => "gradient",
            Self::Saver => "saver",
            Self::Summary => "summary",
            Self::Initialiser => "initialiser",
            Self::InputPipeline => "input pipeline",
            Self::OtherSignature => "other signature",
        }
    }
}

/// One node with everything that its file says about it.
#[derive(Clone, Debug)]
pub struct Node {
    pub key: NodeKey,
    /// The op in the file's own words, without dialect prefix: `FusedBatchNormV3`, `Conv`.
    pub op: String,
    /// The op's domain where the dialect has them (`com.microsoft`); empty for the default one.
    pub domain: String,
    /// Version of the op set that the node was written for; 0 where the dialect has none or it is not known.
    pub opset: i64,
    pub kind: NodeKind,
    /// Data inputs in order; `None` where an optional input is left out.
    pub inputs: Vec<Option<ValueId>>,
    /// Nodes that must run before, without a value passing.
    pub control_inputs: Vec<NodeId>,
    pub outputs: Vec<ValueId>,
    pub attrs: IndexMap<String, Attr>,
    pub device: String,
    pub constant: Option<Constant>,
    /// Where the node's message lies in the file.
    pub span: Option<Span>,
    /// Why it is no part of the model; `None` for what is.
    pub leftover: Option<Leftover>,
}

impl Node {
    pub fn new(key: NodeKey, op: impl Into<String>, kind: NodeKind) -> Self {
        Self {
            key,
            op: op.into(),
            domain: String::new(),
            opset: 0,
            kind,
            inputs: Vec::new(),
            control_inputs: Vec::new(),
            outputs: Vec::new(),
            attrs: IndexMap::new(),
            device: String::new(),
            constant: None,
            span: None,
            leftover: None,
        }
    }

    pub fn attr(&self, name: &str) -> Option<&Attr> {
        self.attrs.get(name)
    }

    /// Data inputs that are present.
    pub fn present_inputs(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.inputs.iter().flatten().copied()
    }
}

/// A payload and where it came from, so that training can pick it and export can write it back to the same place.
#[derive(Clone, Debug)]
pub struct Constant {
    pub payload: Payload,
    pub origin: ConstantOrigin,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ConstantOrigin {
    /// A Const node whose TensorProto lies in the node's span.
    ConstNode,
    /// An ONNX initializer.
    Initializer,
    /// A variable of a checkpoint, by its name there.
    Variable { name: String, trainable: Option<bool> },
}
