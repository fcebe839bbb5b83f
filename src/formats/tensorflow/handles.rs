//! Library functions that take a variable's handle, rewritten to take its value: what loops and conditionals capture, once
//! the variables of a graph are constants.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use crate::formats::source::Bytes;
use crate::formats::wire::{self, Scanner, WireError};
use crate::graph::{Attr, Graph, Node, NodeId, ValueId};
use crate::lower::{Dialect, Structure};
use crate::tensor::{DType, Payload, Tensor};

use super::dialect::TENSORFLOW;
use super::encode;
use super::inline::plain_op;
use super::node_def::InputRef;
use super::tensor_proto::code_from_dtype;

/// Functions inside functions deeper than this are hostile.
const MAX_DEPTH: usize = 48;

/// What of a function's values are variables now, by type.
#[derive(Clone, Debug, Default, PartialEq)]
struct Carried {
    args: BTreeMap<usize, DType>,
    values: HashMap<ValueId, DType>,
}

/// The library of a graph whose variables are constants: the functions that its nodes still call.
#[derive(Debug, Default)]
pub struct Library {
    carried: HashMap<String, Carried>,
    reached: HashSet<String>,
}

impl Library {
    /// Follows variables into the functions that `live` nodes call, and corrects the types that these nodes state. An
    /// error says what cannot do without a handle.
    pub fn new(graph: &mut Graph, live: &[NodeId]) -> Result<Self, String> {
        let mut out = Self::default();
        for &id in live {
            let node = graph.node(id);
            if node.constant.is_some() {
                continue;
            }
            out.reach(graph, node, 0);
            let given = given_variables(graph, node);
            if given.iter().all(Option::is_none) || called(node).0.is_empty() {
                continue;
            }
            let results = out.call(graph, node, &given, 0)?;
            let attrs = typed_lists(node, &given, &results);
            graph.nodes[id.idx()].attrs.extend(attrs);
        }
        Ok(out)
    }

    pub fn is_empty(&self) -> bool {
        self.reached.is_empty()
    }

    fn reach(&mut self, graph: &Graph, node: &Node, depth: usize) {
        for name in node.attrs.values().flat_map(functions_in) {
            if depth < MAX_DEPTH && self.reached.insert(name.to_owned()) {
                let body = graph.functions.get(name);
                body.iter().flat_map(|b| &b.nodes).for_each(|n| self.reach(graph, n, depth + 1));
            }
        }
    }

    /// Notes that the functions of a node get variables; gives which results are variables.
    fn call(
        &mut self,
        graph: &Graph,
        node: &Node,
        given: &[Option<DType>],
        depth: usize,
    ) -> Result<Vec<Option<DType>>, String> {
        if depth >= MAX_DEPTH {
            return Err(format!("the functions behind {} are nested too deep", node.key));
        }
        let (names, first) = called(node);
        let args: BTreeMap<usize, DType> =
            given.iter().skip(first).enumerate().filter_map(|(i, d)| Some((i, (*d)?))).collect();
        let mut results = vec![None; node.outputs.len()];
        for name in names {
            let body = graph.functions.get(&name).ok_or_else(|| format!("the file has no function {name:?}"))?;
            let carried = self.body(graph, &name, body, &args, depth)?;
            for (result, v) in results.iter_mut().zip(&body.outputs) {
                *result = result.or(carried.values.get(v).copied());
            }
            self.carried.insert(name, carried);
        }
        Ok(results)
    }

    fn body(
        &mut self,
        graph: &Graph,
        name: &str,
        body: &Graph,
        args: &BTreeMap<usize, DType>,
        depth: usize,
    ) -> Result<Carried, String> {
        if let Some(known) = self.carried.get(name) {
            return match known.args == *args {
                true => Ok(known.clone()),
                false => Err(format!("the function {name} is called with different variables, which cannot be frozen")),
            };
        }
        let mut carried = Carried { args: args.clone(), values: HashMap::new() };
        carried.values.extend(args.iter().filter_map(|(i, d)| Some((*body.inputs.get(*i)?, *d))));
        // Bodies need not be in order: until nothing more follows.
        for _ in 0..=body.nodes.len() {
            let before = carried.values.len();
            for node in &body.nodes {
                let given: Vec<Option<DType>> =
                    node.inputs.iter().map(|v| carried.values.get(&(*v)?).copied()).collect();
                if given.iter().all(Option::is_none) {
                    continue;
                }
                let results = match TENSORFLOW.structure(node) {
                    Structure::Alias if node.op != "ReadVariableOp" => given.clone(),
                    Structure::Alias => continue,
                    _ if plain_op(&node.op).is_some() => continue,
                    _ if !called(node).0.is_empty() => self.call(graph, node, &given, depth + 1)?,
                    // The release of a copy that was never made.
                    _ if node.outputs.is_empty() && node.op == "DisableCopyOnRead" => continue,
                    _ => {
                        return Err(format!(
                            "{} ({}) needs a variable, which a frozen graph has not",
                            node.key, node.op
                        ));
                    }
                };
                let found = node.outputs.iter().zip(results).filter_map(|(v, d)| Some((*v, d?)));
                carried.values.extend(found);
            }
            if carried.values.len() == before {
                return Ok(carried);
            }
        }
        Ok(carried)
    }

    /// The library's field, with the functions that are still called; empty where there are none.
    pub fn bytes(&self, graph: &Graph, source: &Bytes, span: Range<u64>) -> Result<Vec<u8>, WireError> {
        let mut s = Scanner::new(source);
        let mut inner = Vec::new();
        s.each_field(span, |s, field| {
            if field.number != 2 {
                return Ok(());
            }
            s.each_field(field.range()?, |s, f| {
                if f.number != 1 {
                    return Ok(());
                }
                let name = function_name(s, f.range()?)?;
                if !self.reached.contains(&name) {
                    return Ok(());
                }
                match (self.carried.get(&name), graph.functions.get(&name)) {
                    (Some(carried), Some(body)) => {
                        let new = function(s, f.range()?, body, carried)?;
                        wire::put_bytes(&mut inner, 1, &new);
                    }
                    _ => inner.extend(s.read(&f.span)?),
                }
                Ok::<_, WireError>(())
            })
        })?;
        let mut out = Vec::new();
        if !inner.is_empty() {
            wire::put_bytes(&mut out, 2, &inner);
        }
        Ok(out)
    }
}

/// For each input of a calling node, the type of the variable that it gives where a handle is stated.
fn given_variables(graph: &Graph, node: &Node) -> Vec<Option<DType>> {
    let first = called(node).1;
    let stated = ["Tin", "T"].into_iter().find_map(|n| node.attr(n).and_then(Attr::as_list)).unwrap_or_default();
    let of = |(i, v): (usize, &Option<ValueId>)| {
        let is_handle = stated.get(i.checked_sub(first)?)?.as_type() == Some(DType::Resource);
        let dtype = graph.value((*v)?).fact.dtype;
        (is_handle && !matches!(dtype, DType::Resource | DType::Unknown)).then_some(dtype)
    };
    node.inputs.iter().enumerate().map(of).collect()
}

fn functions_in(attr: &Attr) -> Vec<&str> {
    match attr {
        Attr::Function(name) => vec![name],
        Attr::List(list) => list.iter().flat_map(functions_in).collect(),
        _ => Vec::new(),
    }
}

/// The functions that a node calls, and which input their first argument is.
fn called(node: &Node) -> (Vec<String>, usize) {
    match TENSORFLOW.structure(node) {
        Structure::Call { function } => (vec![function], 0),
        Structure::If { then_function, else_function } => (vec![then_function, else_function], 1),
        Structure::Case { functions } => (functions, 1),
        Structure::While { cond, body } => (vec![cond, body], 0),
        _ => (Vec::new(), 0),
    }
}

/// The lists of types that a calling node states, where they change.
fn typed_lists(node: &Node, given: &[Option<DType>], results: &[Option<DType>]) -> Vec<(String, Attr)> {
    let first = called(node).1;
    let with = |name: &str, types: &[Option<DType>]| {
        let mut list = node.attr(name)?.as_list()?.to_vec();
        for (attr, dtype) in list.iter_mut().zip(types) {
            if let Some(dtype) = dtype {
                *attr = Attr::Type(*dtype);
            }
        }
        Some((name.to_owned(), Attr::List(list)))
    };
    let inputs = given.get(first..).unwrap_or_default();
    [with("T", inputs), with("Tin", inputs), with("Tout", results)].into_iter().flatten().collect()
}

fn function_name(s: &mut Scanner<'_>, range: Range<u64>) -> Result<String, WireError> {
    let mut name = String::new();
    s.each_field(range, |s, field| {
        if field.number == 1 {
            s.each_field(field.range()?, |s, f| {
                if f.number == 1 {
                    name = s.text(&f.range()?)?;
                }
                Ok::<_, WireError>(())
            })?;
        }
        Ok::<_, WireError>(())
    })?;
    Ok(name)
}

/// A FunctionDef: 1 signature, 3 node_def, 4 ret; every other field as it was.
fn function(s: &mut Scanner<'_>, range: Range<u64>, body: &Graph, carried: &Carried) -> Result<Vec<u8>, WireError> {
    let nodes: HashMap<u64, &Node> = body.nodes.iter().filter_map(|n| Some((n.span.as_ref()?.start, n))).collect();
    let prefix = body.inputs.first().map_or("", |v| {
        let key = body.node(body.value(*v).producer).key.as_str();
        key.rsplit_once('/').map_or("", |(p, _)| p)
    });
    let own = |node: &Node| {
        let key = node.key.as_str();
        key.strip_prefix(prefix).and_then(|k| k.strip_prefix('/')).unwrap_or(key).to_owned()
    };
    // An Identity calls its result otherwise than what it replaces.
    let reads: HashSet<String> = body
        .nodes
        .iter()
        .filter(|n| n.op == "ReadVariableOp" && n.present_inputs().any(|v| carried.values.contains_key(&v)))
        .map(own)
        .collect();
    let renamed = |text: String| match InputRef::parse(&text) {
        InputRef::Named(name, _, index) if reads.contains(name) => format!("{name}:output:{index}"),
        _ => text,
    };
    let mut out = Vec::new();
    s.each_field(range, |s, field| {
        let new = match field.number {
            1 => signature(s, field.range()?, body, carried)?,
            3 => match nodes.get(&field.range()?.start) {
                Some(node) => {
                    let (message, axis) = body_node(s, field.range()?, node, carried, &renamed)?;
                    if let Some(axis) = axis {
                        wire::put_bytes(&mut out, 3, &axis);
                    }
                    message
                }
                None => s.read(&field.range()?)?,
            },
            4 => {
                let mut entry = Vec::new();
                s.each_field(field.range()?, |s, f| {
                    match f.number {
                        2 => wire::put_bytes(&mut entry, 2, renamed(s.text(&f.range()?)?).as_bytes()),
                        _ => entry.extend(s.read(&f.span)?),
                    }
                    Ok::<_, WireError>(())
                })?;
                entry
            }
            _ => {
                out.extend(s.read(&field.span)?);
                return Ok(());
            }
        };
        wire::put_bytes(&mut out, field.number, &new);
        Ok::<_, WireError>(())
    })?;
    Ok(out)
}

/// An OpDef whose handle arguments (2) and results (3) have the types of the values.
fn signature(s: &mut Scanner<'_>, range: Range<u64>, body: &Graph, carried: &Carried) -> Result<Vec<u8>, WireError> {
    let (mut out, mut n_args, mut n_results) = (Vec::new(), 0, 0);
    s.each_field(range, |s, field| {
        let dtype = match field.number {
            2 => {
                n_args += 1;
                carried.args.get(&(n_args - 1)).copied()
            }
            3 => {
                n_results += 1;
                body.outputs.get(n_results - 1).and_then(|v| carried.values.get(v)).copied()
            }
            _ => None,
        };
        let Some(dtype) = dtype else {
            out.extend(s.read(&field.span)?);
            return Ok(());
        };
        let mut arg = Vec::new();
        s.each_field(field.range()?, |s, f| {
            match f.number {
                3 => wire::put_number(&mut arg, 3, code_from_dtype(dtype)),
                // What it once was a handle of.
                7 => {}
                _ => arg.extend(s.read(&f.span)?),
            }
            Ok::<_, WireError>(())
        })?;
        wire::put_bytes(&mut out, field.number, &arg);
        Ok::<_, WireError>(())
    })?;
    Ok(out)
}

/// A NodeDef of a body in words without handles, and the axis that a gathering node needs besides.
fn body_node(
    s: &mut Scanner<'_>,
    range: Range<u64>,
    node: &Node,
    carried: &Carried,
    renamed: &dyn Fn(String) -> String,
) -> Result<(Vec<u8>, Option<Vec<u8>>), WireError> {
    let given: Vec<Option<DType>> = node.inputs.iter().map(|v| carried.values.get(&(*v)?).copied()).collect();
    let first = given.iter().flatten().next().copied();
    let plain = plain_op(&node.op).filter(|_| first.is_some());
    let (mut name, mut inputs, mut rest) = (String::new(), Vec::new(), Vec::new());
    s.each_field(range, |s, field| {
        match field.number {
            1 => name = s.text(&field.range()?)?,
            2 => {}
            3 => inputs.push(renamed(s.text(&field.range()?)?)),
            5 if first.is_some() => {}
            _ => rest.extend(s.read(&field.span)?),
        }
        Ok::<_, WireError>(())
    })?;
    let mut axis = None;
    let mut attrs = node.attrs.clone();
    let mut op = node.op.clone();
    if let (Some((new, renames)), Some(dtype)) = (plain, first) {
        attrs = renames.iter().filter_map(|(a, b)| Some(((*b).to_owned(), node.attr(a)?.clone()))).collect();
        op = new.to_owned();
        match new {
            "GatherV2" => {
                attrs.insert("Taxis".to_owned(), Attr::Type(DType::I32));
                let at = inputs.iter().position(|i| i.starts_with('^')).unwrap_or(inputs.len());
                inputs.insert(at, format!("{name}/axis:output:0"));
                axis = Some(axis_node(&format!("{name}/axis")));
            }
            "Shape" => drop(attrs.insert("T".to_owned(), Attr::Type(dtype))),
            _ => {}
        }
    } else if let Some(dtype) = first {
        attrs.extend(typed_lists(node, &given, &given_results(node, carried)));
        if node.attr("T").and_then(Attr::as_type) == Some(DType::Resource) {
            attrs.insert("T".to_owned(), Attr::Type(dtype));
        }
    }
    let mut out = Vec::new();
    wire::put_bytes(&mut out, 1, name.as_bytes());
    wire::put_bytes(&mut out, 2, op.as_bytes());
    inputs.iter().for_each(|i| wire::put_bytes(&mut out, 3, i.as_bytes()));
    out.extend(rest);
    if first.is_some() {
        attrs.iter().for_each(|(name, value)| encode::put_attr(&mut out, name, &encode::attr(value)));
    }
    Ok((out, axis))
}

fn given_results(node: &Node, carried: &Carried) -> Vec<Option<DType>> {
    node.outputs.iter().map(|v| carried.values.get(v).copied()).collect()
}

fn axis_node(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    wire::put_bytes(&mut out, 1, name.as_bytes());
    wire::put_bytes(&mut out, 2, b"Const");
    encode::put_attr(&mut out, "dtype", &encode::attr(&Attr::Type(DType::I32)));
    let zero = Payload::from_tensor(Tensor::scalar(0i32));
    encode::put_attr(&mut out, "value", &encode::attr(&Attr::Tensor(zero)));
    out
}
