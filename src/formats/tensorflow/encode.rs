//! TensorFlow messages from our types: constants and new nodes.

use std::ops::Range;

use crate::formats::wire::{self, Scanner, WireError};
use crate::graph::{AddedNode, Attr};
use crate::tensor::{PartialShape, Tensor};

use super::attrs::unnamed_type;
use super::tensor_proto::code_from_dtype;

/// A TensorProto with the values in `tensor_content`.
pub fn tensor(tensor: &Tensor) -> Vec<u8> {
    let mut out = Vec::with_capacity(tensor.bytes().len() + 64);
    wire::put_number(&mut out, 1, code_from_dtype(tensor.dtype()));
    wire::put_bytes(&mut out, 2, &shape(&PartialShape::from_dims(tensor.shape())));
    put_values(&mut out, tensor);
    out
}

/// Type and shape of a TensorProto: what stands before its values.
pub fn tensor_header(tensor: &Tensor) -> Vec<u8> {
    let mut out = Vec::new();
    wire::put_number(&mut out, 1, code_from_dtype(tensor.dtype()));
    wire::put_bytes(&mut out, 2, &shape(&PartialShape::from_dims(tensor.shape())));
    out
}

/// As [`tensor`], keeping every field of `old` that is not the value.
pub fn tensor_like(s: &mut Scanner<'_>, old: Option<Range<u64>>, new: &Tensor) -> Result<Vec<u8>, WireError> {
    let Some(old) = old else { return Ok(tensor(new)) };
    let mut out = Vec::with_capacity(new.bytes().len() + 64);
    s.each_field(old, |s, field| {
        // 4 is tensor_content, 5 to 18 are the value lists of the element types.
        if !(4..=18).contains(&field.number) {
            out.extend(s.read(&field.span)?);
        }
        Ok::<_, WireError>(())
    })?;
    put_values(&mut out, new);
    Ok(out)
}

fn put_values(out: &mut Vec<u8>, tensor: &Tensor) {
    match tensor.strings() {
        Some(texts) => texts.iter().for_each(|t| wire::put_bytes(out, 8, t)),
        None => wire::put_bytes(out, 4, tensor.bytes()),
    }
}

/// A TensorShapeProto.
pub fn shape(shape: &PartialShape) -> Vec<u8> {
    let mut out = Vec::new();
    match shape.partial() {
        None => wire::put_number(&mut out, 3, 1),
        Some(dims) => {
            for dim in dims {
                let mut message = Vec::new();
                wire::put_number(&mut message, 1, dim.map_or(u64::MAX, |d| d as u64));
                wire::put_bytes(&mut out, 2, &message);
            }
        }
    }
    out
}

/// A NodeDef.
pub fn node(node: &AddedNode) -> Vec<u8> {
    let mut out = Vec::new();
    wire::put_bytes(&mut out, 1, node.key.as_str().as_bytes());
    wire::put_bytes(&mut out, 2, node.op.as_bytes());
    for input in &node.inputs {
        let text = input.as_str().strip_suffix(":0").unwrap_or(input.as_str());
        wire::put_bytes(&mut out, 3, text.as_bytes());
    }
    for (name, value) in &node.attrs {
        put_attr(&mut out, name, &attr(value));
    }
    if let Some(value) = &node.constant {
        let mut dtype = Vec::new();
        wire::put_number(&mut dtype, 6, code_from_dtype(value.dtype()));
        put_attr(&mut out, "dtype", &dtype);
        let mut message = Vec::new();
        wire::put_bytes(&mut message, 8, &tensor(value));
        put_attr(&mut out, "value", &message);
    }
    out
}

pub fn put_attr(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    let mut entry = Vec::new();
    wire::put_bytes(&mut entry, 1, name.as_bytes());
    wire::put_bytes(&mut entry, 2, value);
    wire::put_bytes(out, 5, &entry);
}

/// An AttrValue.
pub fn attr(value: &Attr) -> Vec<u8> {
    let mut out = Vec::new();
    match value {
        Attr::List(list) => {
            let mut message = Vec::new();
            list.iter().for_each(|v| put_kind(&mut message, v, 9));
            wire::put_bytes(&mut out, 1, &message);
        }
        Attr::Opaque(bytes) => out.extend_from_slice(bytes),
        single => put_kind(&mut out, single, 10),
    }
    out
}

/// One value under the field number that AttrValue and its lists share; functions have one of their own in each.
fn put_kind(out: &mut Vec<u8>, value: &Attr, function: u32) {
    match value {
        Attr::Bytes(b) => wire::put_bytes(out, 2, b),
        Attr::Int(i) => wire::put_number(out, 3, *i as u64),
        Attr::Float(f) => {
            wire::put_varint(out, 4 << 3 | 5);
            out.extend_from_slice(&f.to_le_bytes());
        }
        Attr::Bool(b) => wire::put_number(out, 5, u64::from(*b)),
        Attr::Type(t) => wire::put_number(out, 6, code_from_dtype(*t)),
        Attr::Shape(s) => wire::put_bytes(out, 7, &shape(s)),
        Attr::Tensor(payload) => {
            if let Ok(t) = payload.load() {
                wire::put_bytes(out, 8, &tensor(&t));
            }
        }
        Attr::Function(name) => {
            let mut message = Vec::new();
            wire::put_bytes(&mut message, 1, name.as_bytes());
            wire::put_bytes(out, function, &message);
        }
        // An element type by the code that it came with.
        Attr::Opaque(bytes) if unnamed_type(value).is_some() => out.extend_from_slice(bytes),
        // Lists of lists and subgraphs do not exist in TensorFlow.
        Attr::List(_) | Attr::Graph(_) | Attr::Opaque(_) => {}
    }
}
