//! AttrValue (tensorflow/core/framework/attr_value.proto) as [`Attr`].

use std::ops::Range;

use crate::formats::wire::{Content, Field, Scanner, WireError};
use crate::graph::Attr;
use crate::tensor::DType;

use super::tensor_proto::{dtype_from_code, read_payload, read_shape};

/// Longer lists are kept as bytes: memory stays in proportion to the file.
const MAX_LIST: usize = 1 << 20;

/// One attribute value.
pub fn read_attr(s: &mut Scanner<'_>, range: Range<u64>) -> Result<Attr, WireError> {
    let mut out = None;
    s.each_field(range.clone(), |s, field| {
        if let Some(attr) = read_kind(s, &field)? {
            out = Some(attr);
        }
        Ok::<_, WireError>(())
    })?;
    match out {
        Some(attr) => Ok(attr),
        None => Ok(Attr::Opaque(s.read(&range)?)),
    }
}

fn read_kind(s: &mut Scanner<'_>, field: &Field) -> Result<Option<Attr>, WireError> {
    Ok(Some(match field.number {
        1 => read_list(s, field.range()?)?,
        2 => Attr::Bytes(s.read(&field.range()?)?),
        3 => Attr::Int(field.varint()? as i64),
        4 => Attr::Float(field.float()?),
        5 => Attr::Bool(field.varint()? != 0),
        6 => type_attr(field.varint()?),
        7 => match read_shape(s, field.range()?)? {
            Some(shape) => Attr::Shape(shape),
            None => Attr::Opaque(s.read(&field.range()?)?),
        },
        8 => match read_payload(s, field.range()?)? {
            Some(payload) => Attr::Tensor(payload),
            // A shape beyond any machine: the header alone says what is wrong.
            None => Attr::Opaque(Vec::new()),
        },
        10 => Attr::Function(function_name(s, field.range()?)?),
        _ => return Ok(None),
    }))
}

/// The name in a NameAttrList.
fn function_name(s: &mut Scanner<'_>, range: Range<u64>) -> Result<String, WireError> {
    let mut name = String::new();
    s.each_field(range, |s, field| {
        if field.number == 1 {
            name = s.text(&field.range()?)?;
        }
        Ok::<_, WireError>(())
    })?;
    Ok(name)
}

fn read_list(s: &mut Scanner<'_>, range: Range<u64>) -> Result<Attr, WireError> {
    let mut list = Vec::new();
    s.each_field(range.clone(), |s, field| {
        if list.len() >= MAX_LIST {
            return Ok(());
        }
        match (&field.content, field.number) {
            // Numbers come packed from proto3 writers.
            (Content::Bytes(r), 3 | 5 | 6) => {
                let mut at = r.start;
                while at < r.end && list.len() < MAX_LIST {
                    let v = s.varint(&mut at, r.end)?;
                    list.push(number_attr(field.number, v));
                }
            }
            (Content::Varint(v), 3 | 5 | 6) => list.push(number_attr(field.number, *v)),
            (Content::Bytes(r), 4) => {
                let bytes = s.read(r)?;
                let floats = bytes.as_chunks::<4>().0.iter().map(|c| Attr::Float(f32::from_le_bytes(*c)));
                list.extend(floats.take(MAX_LIST));
            }
            (_, 9) => list.push(Attr::Function(function_name(s, field.range()?)?)),
            _ => list.extend(read_kind(s, &field)?.filter(|_| field.number != 1)),
        }
        Ok::<_, WireError>(())
    })?;
    if list.len() >= MAX_LIST {
        return Ok(Attr::Opaque(s.read(&range)?));
    }
    Ok(Attr::List(list))
}

/// An element type; one that we have no name for (quantised types) keeps its wire bytes: field 6, its code.
fn type_attr(code: u64) -> Attr {
    match (dtype_from_code(code), u8::try_from(code)) {
        (DType::Unknown, Ok(code)) if code < 0x80 => Attr::Opaque(vec![TYPE_TAG, code]),
        (dtype, _) => Attr::Type(dtype),
    }
}

/// The code in an attribute of a type that has no name here.
pub fn unnamed_type(attr: &Attr) -> Option<u8> {
    match attr {
        Attr::Opaque(bytes) => match bytes[..] {
            [TYPE_TAG, code] => Some(code),
            _ => None,
        },
        _ => None,
    }
}

/// Field 6 as a varint.
const TYPE_TAG: u8 = 6 << 3;

fn number_attr(number: u32, v: u64) -> Attr {
    match number {
        5 => Attr::Bool(v != 0),
        6 => type_attr(v),
        _ => Attr::Int(v as i64),
    }
}
