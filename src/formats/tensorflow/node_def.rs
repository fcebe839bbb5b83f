//! NodeDef (tensorflow/core/framework/node_def.proto), before its inputs are resolved.

use std::ops::Range;

use indexmap::IndexMap;

use crate::formats::wire::{Scanner, WireError};
use crate::graph::Attr;

use super::attrs::read_attr;

/// A node as it stands in the file.
#[derive(Debug, Default)]
pub struct RawNode {
    pub name: String,
    pub op: String,
    pub inputs: Vec<String>,
    pub device: String,
    pub attrs: IndexMap<String, Attr>,
    /// The node's message without its tag and length.
    pub span: Range<u64>,
}

pub fn read_node(s: &mut Scanner<'_>, span: Range<u64>) -> Result<RawNode, WireError> {
    let mut node = RawNode { span: span.clone(), ..RawNode::default() };
    s.each_field(span, |s, field| {
        match field.number {
            1 => node.name = s.text(&field.range()?)?,
            2 => node.op = s.text(&field.range()?)?,
            3 => node.inputs.push(s.text(&field.range()?)?),
            4 => node.device = s.text(&field.range()?)?,
            5 => {
                let (name, attr) = read_attr_entry(s, field.range()?)?;
                node.attrs.insert(name, attr);
            }
            // Debug information and whatever later versions add stay in the file's bytes.
            _ => {}
        }
        Ok::<_, WireError>(())
    })?;
    Ok(node)
}

/// One `map<string, AttrValue>` entry.
pub fn read_attr_entry(s: &mut Scanner<'_>, range: Range<u64>) -> Result<(String, Attr), WireError> {
    let (mut key, mut value) = (String::new(), Attr::Opaque(Vec::new()));
    s.each_field(range, |s, field| {
        match field.number {
            1 => key = s.text(&field.range()?)?,
            2 => value = read_attr(s, field.range()?)?,
            _ => {}
        }
        Ok::<_, WireError>(())
    })?;
    Ok((key, value))
}

/// What an entry of `NodeDef.input` refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputRef<'a> {
    /// `^name`: that node must have run.
    Control(&'a str),
    /// `name` or `name:port` in a graph.
    Port(&'a str, usize),
    /// `name:output:index` in a function body.
    Named(&'a str, &'a str, usize),
}

impl<'a> InputRef<'a> {
    pub fn parse(text: &'a str) -> Self {
        if let Some(name) = text.strip_prefix('^') {
            return Self::Control(name);
        }
        let Some((head, port)) = text.rsplit_once(':').and_then(|(h, p)| Some((h, p.parse().ok()?))) else {
            return Self::Port(text, 0);
        };
        match head.split_once(':') {
            Some((name, output)) => Self::Named(name, output, port),
            None => Self::Port(head, port),
        }
    }

    pub fn node(self) -> &'a str {
        match self {
            Self::Control(n) | Self::Port(n, _) | Self::Named(n, ..) => n,
        }
    }
}
