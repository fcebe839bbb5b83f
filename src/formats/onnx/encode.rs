//! ONNX messages from our types: tensors and new nodes.

use std::ops::Range;

use crate::formats::wire::{self, Scanner, WireError};
use crate::graph::{AddedNode, Attr};
use crate::tensor::{Fact, Tensor};

use super::tensor_proto::code_from_dtype;

/// Codes of AttributeProto.AttributeType.
const FLOAT: u64 = 1;
const INT: u64 = 2;
const STRING: u64 = 3;
const TENSOR: u64 = 4;
const FLOATS: u64 = 6;
const INTS: u64 = 7;

/// A TensorProto with the values in `raw_data`.
pub fn tensor(name: &str, tensor: &Tensor) -> Vec<u8> {
    let mut out = Vec::with_capacity(tensor.bytes().len() + 64);
    tensor.shape().iter().for_each(|&d| wire::put_number(&mut out, 1, d as u64));
    wire::put_number(&mut out, 2, code_from_dtype(tensor.dtype()));
    wire::put_bytes(&mut out, 8, name.as_bytes());
    wire::put_bytes(&mut out, 9, tensor.bytes());
    out
}

/// As [`tensor`], keeping every field of `old` that is not the value or its place in another file.
pub fn tensor_like(s: &mut Scanner<'_>, old: Range<u64>, new: &Tensor) -> Result<Vec<u8>, WireError> {
    let mut out = Vec::with_capacity(new.bytes().len() + 64);
    s.each_field(old, |s, field| {
        if !matches!(field.number, 4..=7 | 9..=11 | 13 | 14) {
            out.extend(s.read(&field.span)?);
        }
        Ok::<_, WireError>(())
    })?;
    wire::put_bytes(&mut out, 9, new.bytes());
    Ok(out)
}

/// The attribute `value` of a Constant node.
pub fn value_attribute(s: &mut Scanner<'_>, old: Option<Range<u64>>, new: &Tensor) -> Result<Vec<u8>, WireError> {
    let value = match old {
        Some(old) => tensor_like(s, old, new)?,
        None => tensor("", new),
    };
    let mut out = Vec::with_capacity(value.len() + 32);
    wire::put_bytes(&mut out, 1, b"value");
    wire::put_bytes(&mut out, 5, &value);
    wire::put_number(&mut out, 20, TENSOR);
    Ok(out)
}

/// A ValueInfoProto: name, element type, and the shape where its rank is known.
pub fn value_info(name: &str, fact: &Fact) -> Vec<u8> {
    let mut tensor_type = Vec::new();
    wire::put_number(&mut tensor_type, 1, code_from_dtype(fact.dtype));
    if let Some(dims) = fact.shape.partial() {
        let mut shape = Vec::new();
        for (axis, dim) in dims.iter().enumerate() {
            let mut message = Vec::new();
            match dim {
                Some(d) => wire::put_number(&mut message, 1, *d as u64),
                None => wire::put_bytes(&mut message, 2, format!("{name}_{axis}").as_bytes()),
            }
            wire::put_bytes(&mut shape, 1, &message);
        }
        wire::put_bytes(&mut tensor_type, 2, &shape);
    }
    let mut of_tensor = Vec::new();
    wire::put_bytes(&mut of_tensor, 1, &tensor_type);
    let mut out = Vec::new();
    wire::put_bytes(&mut out, 1, name.as_bytes());
    wire::put_bytes(&mut out, 2, &of_tensor);
    out
}

/// A ValueInfoProto of an element type's code, without a shape.
pub fn value_info_of(name: &str, code: u64) -> Vec<u8> {
    let mut tensor_type = Vec::new();
    wire::put_number(&mut tensor_type, 1, code);
    let (mut of_tensor, mut out) = (Vec::new(), Vec::new());
    wire::put_bytes(&mut of_tensor, 1, &tensor_type);
    wire::put_bytes(&mut out, 1, name.as_bytes());
    wire::put_bytes(&mut out, 2, &of_tensor);
    out
}

/// A NodeProto. Inputs and outputs carry the keys of their values as names.
pub fn node(node: &AddedNode) -> Vec<u8> {
    let mut out = Vec::new();
    node.inputs.iter().for_each(|k| wire::put_bytes(&mut out, 1, k.as_str().as_bytes()));
    node.outputs.iter().for_each(|(k, _)| wire::put_bytes(&mut out, 2, k.as_str().as_bytes()));
    wire::put_bytes(&mut out, 3, node.key.as_str().as_bytes());
    wire::put_bytes(&mut out, 4, node.op.as_bytes());
    for (name, value) in &node.attrs {
        if let Some(bytes) = attribute(name, value) {
            wire::put_bytes(&mut out, 5, &bytes);
        }
    }
    if !node.domain.is_empty() {
        wire::put_bytes(&mut out, 7, node.domain.as_bytes());
    }
    out
}

/// An AttributeProto of a kind that new nodes have.
fn attribute(name: &str, value: &Attr) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    wire::put_bytes(&mut out, 1, name.as_bytes());
    let put_float = |out: &mut Vec<u8>, number: u32, v: f32| {
        wire::put_varint(out, u64::from(number) << 3 | 5);
        out.extend_from_slice(&v.to_le_bytes());
    };
    let kind = match value {
        Attr::Float(v) => {
            put_float(&mut out, 2, *v);
            FLOAT
        }
        Attr::Int(v) => {
            wire::put_number(&mut out, 3, *v as u64);
            INT
        }
        Attr::Bool(v) => {
            wire::put_number(&mut out, 3, u64::from(*v));
            INT
        }
        Attr::Type(t) => {
            wire::put_number(&mut out, 3, code_from_dtype(*t));
            INT
        }
        Attr::Bytes(b) => {
            wire::put_bytes(&mut out, 4, b);
            STRING
        }
        Attr::List(list) => match value.as_ints() {
            Some(ints) => {
                ints.iter().for_each(|&v| wire::put_number(&mut out, 8, v as u64));
                INTS
            }
            None => {
                list.iter().filter_map(Attr::as_float).for_each(|v| put_float(&mut out, 7, v));
                FLOATS
            }
        },
        _ => return None,
    };
    wire::put_number(&mut out, 20, kind);
    Some(out)
}
