//! FunctionDefLibrary and FunctionDef (tensorflow/core/framework/function.proto).
//!
//! FunctionDef: 1 signature (OpDef), 3 node_def, 4 ret, 7 arg_attr. OpDef: 1 name, 2 input_arg, 3 output_arg. ArgDef: 1
//! name, 3 type.

use std::collections::HashMap;
use std::ops::Range;

use crate::formats::wire::{Scanner, WireError};
use crate::graph::Fact;
use crate::tensor::{DType, PartialShape};

use super::node_def::{RawNode, read_attr_entry, read_node};
use super::tensor_proto::dtype_from_code;

/// A function as it stands in the file.
#[derive(Debug, Default)]
pub struct RawFunction {
    pub name: String,
    pub args: Vec<(String, Fact)>,
    pub nodes: Vec<RawNode>,
    /// What the results are called.
    pub results: Vec<String>,
    /// What each result is, in the words of the body; empty where the file does not say.
    pub returns: Vec<String>,
}

pub fn read_library(s: &mut Scanner<'_>, range: Range<u64>, out: &mut Vec<RawFunction>) -> Result<(), WireError> {
    s.each_field(range, |s, field| {
        if field.number == 1 {
            out.push(read_function(s, field.range()?)?);
        }
        Ok(())
    })
}

fn read_function(s: &mut Scanner<'_>, range: Range<u64>) -> Result<RawFunction, WireError> {
    let mut function = RawFunction::default();
    let mut result_names = Vec::new();
    let mut returns = HashMap::new();
    let mut shapes: HashMap<usize, PartialShape> = HashMap::new();
    s.each_field(range, |s, field| {
        match field.number {
            1 => read_signature(s, field.range()?, &mut function, &mut result_names)?,
            3 => function.nodes.push(read_node(s, field.range()?)?),
            4 => {
                let (name, value) = read_text_entry(s, field.range()?)?;
                returns.insert(name, value);
            }
            7 => {
                let (index, shape) = read_arg_attr(s, field.range()?)?;
                shapes.extend(shape.map(|shape| (index, shape)));
            }
            _ => {}
        }
        Ok::<_, WireError>(())
    })?;
    for (i, (_, fact)) in function.args.iter_mut().enumerate() {
        fact.shape = shapes.remove(&i).unwrap_or_default();
    }
    function.returns = result_names.iter().map(|n| returns.remove(n).unwrap_or_default()).collect();
    function.results = result_names;
    Ok(function)
}

fn read_signature(
    s: &mut Scanner<'_>,
    range: Range<u64>,
    function: &mut RawFunction,
    result_names: &mut Vec<String>,
) -> Result<(), WireError> {
    s.each_field(range, |s, field| {
        match field.number {
            1 => function.name = s.text(&field.range()?)?,
            2 => {
                let (name, dtype) = read_arg(s, field.range()?)?;
                function.args.push((name, Fact::new(dtype, PartialShape::unknown())));
            }
            3 => result_names.push(read_arg(s, field.range()?)?.0),
            _ => {}
        }
        Ok(())
    })
}

fn read_arg(s: &mut Scanner<'_>, range: Range<u64>) -> Result<(String, DType), WireError> {
    let (mut name, mut dtype) = (String::new(), DType::Unknown);
    s.each_field(range, |s, field| {
        match field.number {
            1 => name = s.text(&field.range()?)?,
            3 => dtype = dtype_from_code(field.varint()?),
            _ => {}
        }
        Ok::<_, WireError>(())
    })?;
    Ok((name, dtype))
}

fn read_text_entry(s: &mut Scanner<'_>, range: Range<u64>) -> Result<(String, String), WireError> {
    let (mut key, mut value) = (String::new(), String::new());
    s.each_field(range, |s, field| {
        match field.number {
            1 => key = s.text(&field.range()?)?,
            2 => value = s.text(&field.range()?)?,
            _ => {}
        }
        Ok::<_, WireError>(())
    })?;
    Ok((key, value))
}

/// An entry of `map<uint32, ArgAttrs>`: the argument's index and the shape that its `_output_shapes` gives.
fn read_arg_attr(s: &mut Scanner<'_>, range: Range<u64>) -> Result<(usize, Option<PartialShape>), WireError> {
    let (mut index, mut shape) = (0, None);
    s.each_field(range, |s, field| {
        match field.number {
            1 => index = field.varint()? as usize,
            2 => s.each_field(field.range()?, |s, f| {
                if f.number == 1 {
                    let (name, attr) = read_attr_entry(s, f.range()?)?;
                    if name == "_output_shapes" {
                        shape = attr.as_list().and_then(|l| l.first()?.as_shape().cloned());
                    }
                }
                Ok::<_, WireError>(())
            })?,
            _ => {}
        }
        Ok::<_, WireError>(())
    })?;
    Ok((index, shape))
}
