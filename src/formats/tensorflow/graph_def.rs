//! GraphDef (tensorflow/core/framework/graph.proto) → [`Graph`].
//!
//! Fields: 1 node, 2 library, 3 version (old), 4 versions. Nodes keep the place of their message in the file; tensor
//! bytes are not touched.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::base::Reporter;
use crate::formats::wire::{Scanner, WireError};
use crate::graph::{
    Attr, Constant, ConstantOrigin, Fact, Graph, Node, NodeId, NodeKey, NodeKind, Signature, ValueId, ValueKey,
};
use crate::lower::results;
use crate::tensor::{DType, PartialShape};

use super::dialect::TENSORFLOW;
use super::function_def::{RawFunction, read_library};
use super::node_def::{InputRef, RawNode, read_node};
use super::outputs;

/// A reference to a port beyond this is hostile.
const MAX_REFERENCED_PORT: usize = 1 << 16;
/// From this producer version on, a placeholder of shape `[]` really is a scalar (before, it meant "not known").
const SCALAR_PLACEHOLDERS: u64 = 24;

/// A graph as read, with what is not part of [`Graph`].
#[derive(Debug)]
pub struct ReadGraph {
    pub graph: Graph,
    /// GraphDef version of the program that wrote it; 0 where it does not say.
    pub producer: u64,
}

/// Reads a GraphDef that fills `range`.
pub fn read_graph(s: &mut Scanner<'_>, range: Range<u64>, report: &mut Reporter) -> Result<ReadGraph, WireError> {
    let mut nodes = Vec::new();
    let mut functions = Vec::new();
    let mut producer = 0;
    s.each_field(range, |s, field| {
        match field.number {
            1 => nodes.push(read_node(s, field.range()?)?),
            2 => read_library(s, field.range()?, &mut functions)?,
            3 => producer = producer.max(field.varint()?),
            4 => s.each_field(field.range()?, |_, f| {
                if f.number == 1 {
                    producer = f.varint()?;
                }
                Ok::<_, WireError>(())
            })?,
            _ => {}
        }
        Ok::<_, WireError>(())
    })?;
    let results: Results = functions.iter().map(|f| (f.name.clone(), f.results.clone())).collect();
    let mut graph = Resolver::new("", nodes, producer, &results, report).resolve();
    for function in functions {
        let name = function.name.clone();
        if graph.functions.contains_key(&name) {
            report.error("duplicate-function", "the library holds this function twice", Some(name.clone()));
        }
        graph.functions.insert(name, Arc::new(build_function(function, producer, &results, report)));
    }
    graph.signatures.push(default_signature(&graph));
    Ok(ReadGraph { graph, producer })
}

/// The names of each function's results: a node may call a function by its name as its op.
type Results = HashMap<String, Vec<String>>;

fn build_function(function: RawFunction, producer: u64, results: &Results, report: &mut Reporter) -> Graph {
    let prefix = format!("{}/", function.name);
    let mut resolver = Resolver::new(&prefix, function.nodes, producer, results, report);
    let inputs: Vec<ValueId> = function.args.iter().map(|(name, fact)| resolver.argument(name, fact.clone())).collect();
    resolver.create_nodes();
    let outputs = function.returns.iter().map(|text| resolver.value_at(text, "its results")).collect::<Vec<_>>();
    let mut graph = resolver.resolve();
    graph.inputs = inputs;
    // A result that nothing gives would shift the others: an empty node stands for it.
    graph.outputs =
        outputs.into_iter().enumerate().map(|(i, v)| v.unwrap_or_else(|| missing(&mut graph, &prefix, i))).collect();
    graph
}

fn missing(graph: &mut Graph, prefix: &str, index: usize) -> ValueId {
    let key = format!("{prefix}<missing result {index}>");
    let node = Node::new(NodeKey::new(&key), "<missing>", NodeKind::Op);
    let id = graph.push_node(node, vec![(ValueKey::new(format!("{key}:0")), Fact::unknown())]);
    graph.node(id).outputs[0]
}

/// Placeholders in, results out.
pub fn default_signature(graph: &Graph) -> Signature {
    let keyed = |v: ValueId| {
        let key = graph.value(v).key.clone();
        let alias = key.as_str().strip_suffix(":0").unwrap_or(key.as_str()).to_owned();
        (alias, key)
    };
    let results = results(graph, &TENSORFLOW).into_iter().map(|n| graph.node(n));
    let outputs = results.filter(|n| n.kind == NodeKind::Op).filter_map(|n| n.outputs.first().copied()).map(keyed);
    let outputs = outputs.collect();
    Signature { name: "default".into(), inputs: graph.placeholders().map(keyed).collect(), outputs }
}

/// Turns names into ids.
struct Resolver<'a> {
    graph: Graph,
    prefix: &'a str,
    raw: Vec<RawNode>,
    ids: Vec<NodeId>,
    by_name: HashMap<String, usize>,
    arguments: HashMap<String, ValueId>,
    producer: u64,
    results: &'a Results,
    report: &'a mut Reporter,
    is_created: bool,
}

/// The outputs of a node, which may be a call of a function of the library.
fn ports<'r>(results: &'r Results, op: &str, attrs: &indexmap::IndexMap<String, Attr>) -> outputs::Ports<'r> {
    match results.get(op) {
        Some(names) => names.iter().map(|n| (n.as_str(), 1)).collect(),
        None => outputs::ports(op, attrs),
    }
}

impl<'a> Resolver<'a> {
    fn new(prefix: &'a str, raw: Vec<RawNode>, producer: u64, results: &'a Results, report: &'a mut Reporter) -> Self {
        let mut by_name = HashMap::with_capacity(raw.len());
        for (i, node) in raw.iter().enumerate() {
            if node.name.is_empty() {
                let what = format!("node {i} (op {}) has no name", node.op);
                report.warning("unnamed-node", what, None);
            }
            if by_name.insert(node.name.clone(), i).is_some() {
                let place = format!("{prefix}{}", node.name);
                report.error("duplicate-node", "two nodes have this name; readers get the later one", Some(place));
            }
        }
        Self {
            graph: Graph::default(),
            prefix,
            raw,
            ids: Vec::new(),
            by_name,
            arguments: HashMap::new(),
            producer,
            results,
            report,
            is_created: false,
        }
    }

    fn argument(&mut self, name: &str, fact: Fact) -> ValueId {
        let key = format!("{}{name}", self.prefix);
        let node = Node::new(NodeKey::new(&key), "_Arg", NodeKind::Argument);
        let id = self.graph.push_node(node, vec![(ValueKey::new(format!("{key}:0")), fact)]);
        let value = self.graph.node(id).outputs[0];
        self.arguments.insert(name.to_owned(), value);
        value
    }

    /// Nodes with their outputs, still without inputs.
    fn create_nodes(&mut self) {
        if std::mem::replace(&mut self.is_created, true) {
            return;
        }
        let n_ports = self.count_ports();
        for (i, n_ports) in n_ports.into_iter().enumerate() {
            let (node, facts) = self.create_node(i, n_ports);
            let name = node.key.as_str().to_owned();
            let outputs = facts.into_iter().enumerate().map(|(p, f)| (ValueKey::new(format!("{name}:{p}")), f));
            let id = self.graph.push_node(node, outputs.collect());
            self.ids.push(id);
        }
    }

    /// Outputs that the op has by itself, or as many as somebody reads.
    fn count_ports(&mut self) -> Vec<usize> {
        let own = |n: &RawNode| ports(self.results, &n.op, &n.attrs).iter().map(|(_, c)| c).sum::<usize>();
        let mut counts: Vec<usize> = self.raw.iter().map(own).collect();
        for node in &self.raw {
            for text in &node.inputs {
                let reference = InputRef::parse(text);
                let Some(&i) = self.by_name.get(reference.node()) else { continue };
                let port = match reference {
                    InputRef::Control(_) => continue,
                    InputRef::Port(_, p) => p,
                    InputRef::Named(_, name, p) => {
                        outputs::port_of(&ports(self.results, &self.raw[i].op, &self.raw[i].attrs), name, p)
                    }
                };
                if port < MAX_REFERENCED_PORT {
                    counts[i] = counts[i].max(port + 1);
                }
            }
        }
        counts
    }

    fn create_node(&mut self, i: usize, n_ports: usize) -> (Node, Vec<Fact>) {
        let raw = &mut self.raw[i];
        let key = NodeKey::new(format!("{}{}", self.prefix, raw.name));
        let attrs = std::mem::take(&mut raw.attrs);
        let mut node = Node::new(key, raw.op.clone(), NodeKind::Op);
        let mut facts: Vec<Fact> = (0..n_ports).map(|p| outputs::declared_fact(&raw.op, &attrs, p)).collect();
        if raw.op == "Const" {
            constant(&mut node, &attrs, &mut facts, self.report);
        } else if outputs::is_placeholder(&raw.op) {
            node.kind = NodeKind::Placeholder;
            for (port, fact) in facts.iter_mut().enumerate() {
                let declared = outputs::placeholder_shape(&attrs, port);
                let is_old_scalar = self.producer < SCALAR_PLACEHOLDERS && raw.op == "Placeholder";
                if let Some(shape) = declared.filter(|s| !(is_old_scalar && s.rank() == Some(0))) {
                    fact.shape = fact.shape.merge(shape).unwrap_or_else(|| shape.clone());
                }
            }
        }
        node.device = std::mem::take(&mut raw.device);
        node.attrs = attrs;
        node.span = Some(raw.span.clone());
        (node, facts)
    }

    fn resolve(mut self) -> Graph {
        self.create_nodes();
        for i in 0..self.raw.len() {
            let texts = std::mem::take(&mut self.raw[i].inputs);
            let place = format!("{}{}", self.prefix, self.raw[i].name);
            let (mut inputs, mut control) = (Vec::new(), Vec::new());
            for text in &texts {
                match InputRef::parse(text) {
                    InputRef::Control(name) => match self.by_name.get(name) {
                        Some(&j) => control.push(self.ids[j]),
                        // Arguments of a function may be waited for as well.
                        None if self.arguments.contains_key(name) => {}
                        None => self.report.warning(
                            "missing-control-input",
                            format!("it waits for {name}, which is not in the file"),
                            Some(place.clone()),
                        ),
                    },
                    _ => inputs.push(self.value_at(text, &place)),
                }
            }
            let node = &mut self.graph.nodes[self.ids[i].idx()];
            node.inputs = inputs;
            node.control_inputs = control;
        }
        self.graph
    }

    /// The value that a data reference names; reported where there is none.
    fn value_at(&mut self, text: &str, place: &str) -> Option<ValueId> {
        let reference = InputRef::parse(text);
        let name = reference.node();
        let found = match (self.by_name.get(name), reference) {
            (Some(&i), InputRef::Port(_, port)) => self.port(i, port),
            (Some(&i), InputRef::Named(_, output, index)) => {
                let node = self.graph.node(self.ids[i]);
                self.port(i, outputs::port_of(&ports(self.results, &node.op, &node.attrs), output, index))
            }
            (None, InputRef::Port(_, 0)) => self.arguments.get(name).copied(),
            _ => None,
        };
        if found.is_none() {
            let what = format!("its input {text} is not in the file");
            self.report.error("missing-input", what, Some(place.to_owned()));
        }
        found
    }

    fn port(&self, i: usize, port: usize) -> Option<ValueId> {
        self.graph.node(*self.ids.get(i)?).outputs.get(port).copied()
    }
}

/// Takes the value of a Const node out of its attributes' reach.
fn constant(node: &mut Node, attrs: &indexmap::IndexMap<String, Attr>, facts: &mut [Fact], report: &mut Reporter) {
    let place = || Some(node.key.as_str().to_owned());
    let Some(Attr::Tensor(payload)) = attrs.get("value") else {
        let what = "it is a constant without a value, or its shape is larger than any memory";
        report.error("bad-constant", what, place());
        return;
    };
    if let Some(declared) = attrs.get("dtype").and_then(Attr::as_type)
        && declared != payload.dtype
        && declared != DType::Unknown
    {
        let what = format!("it declares {declared} and holds {}", payload.dtype);
        report.warning("constant-type", what, place());
    }
    if let Some(fact) = facts.first_mut() {
        *fact = Fact::new(payload.dtype, PartialShape::from_dims(&payload.shape));
    }
    node.kind = NodeKind::Constant;
    node.constant = Some(Constant { payload: payload.clone(), origin: ConstantOrigin::ConstNode });
}
