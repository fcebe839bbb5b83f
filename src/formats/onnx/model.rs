//! ModelProto and what it holds, before names are resolved. Field numbers: onnx/onnx.proto.

use std::collections::HashMap;
use std::ops::Range;

use crate::formats::wire::{Content, Field, Scanner, WireError};
use crate::graph::{Attr, Fact};
use crate::tensor::{DType, PartialShape};

use super::tensor_proto::{ExternalFiles, RawTensor, dtype_from_code, push_ints, read_sparse, read_tensor};

/// Subgraphs nested deeper than this are hostile.
const MAX_NESTING: usize = 24;

/// A model as it stands in the file.
#[derive(Debug, Default)]
pub struct RawModel {
    pub producer: String,
    pub graph: RawGraph,
    /// Where the graph's message lies, without tag and length.
    pub graph_span: Range<u64>,
    pub opsets: Opsets,
    pub functions: Vec<RawFunction>,
}

/// Version of each op set by domain; `ai.onnx` is the empty one.
pub type Opsets = HashMap<String, i64>;

#[derive(Debug, Default)]
pub struct RawGraph {
    pub name: String,
    pub nodes: Vec<RawNode>,
    pub initializers: Vec<RawTensor>,
    pub inputs: Vec<RawValue>,
    pub outputs: Vec<RawValue>,
    pub value_info: Vec<RawValue>,
}

/// A value's name and what the file says about it.
#[derive(Clone, Debug)]
pub struct RawValue {
    pub name: String,
    pub fact: Fact,
}

#[derive(Debug, Default)]
pub struct RawNode {
    pub name: String,
    pub op: String,
    pub domain: String,
    pub overload: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub attrs: Vec<(String, RawAttr)>,
    pub span: Range<u64>,
}

#[derive(Debug)]
pub enum RawAttr {
    Plain(Attr),
    /// A tensor that cannot be used, and why.
    Damaged(String),
    Graph(Box<RawGraph>),
    /// In a function: the attribute of that name of the calling node.
    Reference(String),
}

#[derive(Debug, Default)]
pub struct RawFunction {
    pub name: String,
    pub domain: String,
    pub overload: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    /// Defaults of attributes.
    pub defaults: Vec<(String, RawAttr)>,
    pub nodes: Vec<RawNode>,
    pub opsets: Opsets,
}

/// The reader's hands: bytes, and files beside them.
#[derive(Debug)]
pub struct Reader<'a> {
    pub files: ExternalFiles<'a>,
    depth: usize,
}

impl<'a> Reader<'a> {
    pub fn new(files: ExternalFiles<'a>) -> Self {
        Self { files, depth: 0 }
    }

    pub fn model(&mut self, s: &mut Scanner<'_>, range: Range<u64>) -> Result<RawModel, WireError> {
        let mut model = RawModel::default();
        let mut version = String::new();
        s.each_field(range, |s, field| {
            match field.number {
                2 => model.producer = s.text(&field.range()?)?,
                3 => version = s.text(&field.range()?)?,
                7 => {
                    model.graph_span = field.range()?;
                    model.graph = self.graph(s, field.range()?)?;
                }
                8 => opset(s, field.range()?, &mut model.opsets)?,
                25 => model.functions.push(self.function(s, field.range()?)?),
                _ => {}
            }
            Ok::<_, WireError>(())
        })?;
        if !version.is_empty() && !model.producer.is_empty() {
            model.producer = format!("{} {version}", model.producer);
        }
        Ok(model)
    }

    fn graph(&mut self, s: &mut Scanner<'_>, range: Range<u64>) -> Result<RawGraph, WireError> {
        if self.depth >= MAX_NESTING {
            return Err(WireError { what: "subgraphs are nested too deep", offset: range.start });
        }
        self.depth += 1;
        let mut graph = RawGraph::default();
        s.each_field(range, |s, field| {
            match field.number {
                1 => graph.nodes.push(self.node(s, field.range()?)?),
                2 => graph.name = s.text(&field.range()?)?,
                5 => graph.initializers.push(read_tensor(s, field.range()?, &mut self.files)?),
                11 => graph.inputs.push(value_info(s, field.range()?)?),
                12 => graph.outputs.push(value_info(s, field.range()?)?),
                13 => graph.value_info.push(value_info(s, field.range()?)?),
                15 => graph.initializers.push(read_sparse(s, field.range()?, &mut self.files)?),
                _ => {}
            }
            Ok::<_, WireError>(())
        })?;
        self.depth -= 1;
        Ok(graph)
    }

    fn node(&mut self, s: &mut Scanner<'_>, span: Range<u64>) -> Result<RawNode, WireError> {
        let mut node = RawNode { span: span.clone(), ..RawNode::default() };
        s.each_field(span, |s, field| {
            match field.number {
                1 => node.inputs.push(s.text(&field.range()?)?),
                2 => node.outputs.push(s.text(&field.range()?)?),
                3 => node.name = s.text(&field.range()?)?,
                4 => node.op = s.text(&field.range()?)?,
                5 => node.attrs.push(self.attribute(s, field.range()?)?),
                7 => node.domain = domain(s.text(&field.range()?)?),
                8 => node.overload = s.text(&field.range()?)?,
                _ => {}
            }
            Ok::<_, WireError>(())
        })?;
        Ok(node)
    }

    fn function(&mut self, s: &mut Scanner<'_>, range: Range<u64>) -> Result<RawFunction, WireError> {
        let mut f = RawFunction::default();
        s.each_field(range, |s, field| {
            match field.number {
                1 => f.name = s.text(&field.range()?)?,
                4 => f.inputs.push(s.text(&field.range()?)?),
                5 => f.outputs.push(s.text(&field.range()?)?),
                7 => f.nodes.push(self.node(s, field.range()?)?),
                9 => opset(s, field.range()?, &mut f.opsets)?,
                10 => f.domain = domain(s.text(&field.range()?)?),
                11 => f.defaults.push(self.attribute(s, field.range()?)?),
                13 => f.overload = s.text(&field.range()?)?,
                _ => {}
            }
            Ok::<_, WireError>(())
        })?;
        Ok(f)
    }

    /// One AttributeProto. The type field is optional in old files, so what is there decides.
    fn attribute(&mut self, s: &mut Scanner<'_>, range: Range<u64>) -> Result<(String, RawAttr), WireError> {
        let (mut name, mut kind, mut list) = (String::new(), None, Vec::new());
        let mut single: Option<RawAttr> = None;
        s.each_field(range.clone(), |s, field| {
            let plain = |a: Attr| Some(RawAttr::Plain(a));
            match field.number {
                1 => name = s.text(&field.range()?)?,
                2 => single = plain(Attr::Float(field.float()?)),
                3 => single = plain(Attr::Int(field.varint()? as i64)),
                4 => single = plain(Attr::Bytes(s.read(&field.range()?)?)),
                5 => single = Some(self.tensor(s, field.range()?, false)?),
                22 => single = Some(self.tensor(s, field.range()?, true)?),
                6 => single = Some(RawAttr::Graph(Box::new(self.graph(s, field.range()?)?))),
                14 => single = plain(Attr::Opaque(s.read(&field.range()?)?)),
                21 => single = Some(RawAttr::Reference(s.text(&field.range()?)?)),
                20 => kind = Some(field.varint()?),
                7..=10 => self.list(s, &field, &mut list)?,
                _ => {}
            }
            Ok::<_, WireError>(())
        })?;
        let attr = match single {
            // Writers may state defaults of all fields; the type then says which one counts.
            Some(attr) if !matches!(kind, Some(6..=9)) => attr,
            _ => match kind {
                Some(1) => RawAttr::Plain(Attr::Float(0.0)),
                Some(2) => RawAttr::Plain(Attr::Int(0)),
                Some(3) => RawAttr::Plain(Attr::Bytes(Vec::new())),
                _ => RawAttr::Plain(Attr::List(list)),
            },
        };
        Ok((name, attr))
    }

    fn tensor(&mut self, s: &mut Scanner<'_>, range: Range<u64>, is_sparse: bool) -> Result<RawAttr, WireError> {
        let read = if is_sparse { read_sparse } else { read_tensor };
        Ok(match read(s, range, &mut self.files)?.value {
            Ok(payload) => RawAttr::Plain(Attr::Tensor(payload)),
            Err(why) => RawAttr::Damaged(why),
        })
    }

    fn list(&mut self, s: &mut Scanner<'_>, field: &Field, list: &mut Vec<Attr>) -> Result<(), WireError> {
        match (field.number, &field.content) {
            (7, Content::Bytes(r)) => {
                let bytes = s.read(r)?;
                list.extend(bytes.as_chunks::<4>().0.iter().map(|c| Attr::Float(f32::from_le_bytes(*c))));
            }
            (7, _) => list.push(Attr::Float(field.float()?)),
            (8, _) => {
                let mut ints = Vec::new();
                push_ints(s, field, &mut ints)?;
                list.extend(ints.into_iter().map(Attr::Int));
            }
            (9, _) => list.push(Attr::Bytes(s.read(&field.range()?)?)),
            _ => {
                if let RawAttr::Plain(t) = self.tensor(s, field.range()?, false)? {
                    list.push(t);
                }
            }
        }
        Ok(())
    }
}

/// `ai.onnx` and the empty text name the same domain.
fn domain(name: String) -> String {
    if name == "ai.onnx" { String::new() } else { name }
}

fn opset(s: &mut Scanner<'_>, range: Range<u64>, out: &mut Opsets) -> Result<(), WireError> {
    let (mut name, mut version) = (String::new(), 0);
    s.each_field(range, |s, field| {
        match field.number {
            1 => name = s.text(&field.range()?)?,
            2 => version = field.varint()? as i64,
            _ => {}
        }
        Ok::<_, WireError>(())
    })?;
    out.insert(domain(name), version);
    Ok(())
}

/// A ValueInfoProto.
fn value_info(s: &mut Scanner<'_>, range: Range<u64>) -> Result<RawValue, WireError> {
    let mut out = RawValue { name: String::new(), fact: Fact::unknown() };
    s.each_field(range, |s, field| {
        match field.number {
            1 => out.name = s.text(&field.range()?)?,
            2 => out.fact = type_fact(s, field.range()?)?,
            _ => {}
        }
        Ok::<_, WireError>(())
    })?;
    Ok(out)
}

/// A TypeProto; sequences, maps and optional values are `Variant`.
fn type_fact(s: &mut Scanner<'_>, range: Range<u64>) -> Result<Fact, WireError> {
    let mut fact = Fact::unknown();
    s.each_field(range, |s, field| {
        match field.number {
            1 => s.each_field(field.range()?, |s, f| {
                match f.number {
                    1 => fact.dtype = dtype_from_code(f.varint()?),
                    2 => fact.shape = shape(s, f.range()?)?,
                    _ => {}
                }
                Ok::<_, WireError>(())
            })?,
            4 | 5 | 8 | 9 => fact.dtype = DType::Variant,
            _ => {}
        }
        Ok::<_, WireError>(())
    })?;
    Ok(fact)
}

/// A TensorShapeProto; named and negative dimensions are not known.
fn shape(s: &mut Scanner<'_>, range: Range<u64>) -> Result<PartialShape, WireError> {
    let mut dims: Vec<Option<usize>> = Vec::new();
    s.each_field(range, |s, field| {
        if field.number == 1 {
            let mut dim = None;
            s.each_field(field.range()?, |_, f| {
                if f.number == 1 {
                    dim = usize::try_from(f.varint()? as i64).ok();
                }
                Ok::<_, WireError>(())
            })?;
            dims.push(dim);
        }
        Ok::<_, WireError>(())
    })?;
    Ok(PartialShape::from_partial(dims))
}
