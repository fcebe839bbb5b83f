//! A node's attributes as the file states them.

use std::sync::Arc;

use crate::tensor::{DType, PartialShape, Payload};

use super::Graph;

/// One attribute value. Kinds that we do not interpret are kept as `Opaque`, so that nothing is lost.
#[derive(Clone, Debug)]
pub enum Attr {
    Bool(bool),
    Int(i64),
    Float(f32),
    /// Bytes: mostly text, but files do not promise UTF-8.
    Bytes(Vec<u8>),
    Type(DType),
    Shape(PartialShape),
    Tensor(Payload),
    /// The name of a library function.
    Function(String),
    /// A subgraph (ONNX control flow).
    Graph(Arc<Graph>),
    List(Vec<Attr>),
    /// Wire bytes of a kind that is not interpreted, or of a placeholder attribute.
    Opaque(Vec<u8>),
}

impl Attr {
    /// Whether it names a library function or holds a subgraph, alone or in a list.
    pub fn has_function(&self) -> bool {
        match self {
            Self::Function(_) | Self::Graph(_) => true,
            Self::List(items) => items.iter().any(Self::has_function),
            _ => false,
        }
    }

    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(v) => Some(*v),
            _ => None,
        }
    }

    pub fn as_float(&self) -> Option<f32> {
        match self {
            Self::Float(v) => Some(*v),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(v) => Some(*v),
            Self::Int(v) => Some(*v != 0),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Bytes(b) => std::str::from_utf8(b).ok(),
            Self::Function(s) => Some(s),
            _ => None,
        }
    }

    pub fn as_type(&self) -> Option<DType> {
        match self {
            Self::Type(t) => Some(*t),
            _ => None,
        }
    }

    pub fn as_shape(&self) -> Option<&PartialShape> {
        match self {
            Self::Shape(s) => Some(s),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Attr]> {
        match self {
            Self::List(l) => Some(l),
            _ => None,
        }
    }

    /// A list of integers.
    pub fn as_ints(&self) -> Option<Vec<i64>> {
        self.as_list()?.iter().map(Attr::as_int).collect()
    }
}
