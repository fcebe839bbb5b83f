//! Raw model → [`Graph`]: names become ids, initializers and Constant nodes become constants, subgraphs and functions
//! become library functions.
//!
//! A subgraph may read values of the graphs around it by name. Here every such value is an argument of the body and a
//! further input of the node that holds it, after those that the file lists; so dependencies are ordinary edges.
//! A model-local function is one library function for each set of attributes that it is called with.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

use crate::base::Reporter;
use crate::graph::{
    Attr, Constant, ConstantOrigin, Fact, Graph, Node, NodeId, NodeKey, NodeKind, Signature, ValueId, ValueKey,
};
use crate::tensor::{DType, PartialShape, Payload, Tensor};

use super::bodies;
use super::model::{Opsets, RawAttr, RawFunction, RawGraph, RawModel, RawNode, RawValue};
use super::tensor_proto::RawTensor;

/// The attribute under which a call of a model-local function names its body.
pub const BODY: &str = "@function";
/// The attribute that says how many inputs at the end are values that subgraphs capture.
pub const CAPTURED: &str = "@captured";
/// Calls of functions nested deeper than this are hostile.
const MAX_CALLS: usize = 24;
/// Nodes that all bodies together may have.
const MAX_BODY_NODES: usize = 1 << 20;

/// Builds the main graph with its library.
pub fn build(model: RawModel, report: &mut Reporter) -> Graph {
    let functions = model.functions.into_iter();
    let functions = functions.map(|f| ((f.domain.clone(), f.name.clone(), f.overload.clone()), Rc::new(f))).collect();
    let mut maker =
        Maker { functions, bodies: IndexMap::new(), instances: HashMap::new(), calls: Vec::new(), n_nodes: 0, report };
    let scope = Scope { prefix: String::new(), opsets: model.opsets, call: None };
    let mut graph = maker.graph(&model.graph, &scope, Arguments::Main);
    graph.functions = maker.bodies;
    let named = |v: ValueId| (graph.value(v).key.as_str().to_owned(), graph.value(v).key.clone());
    graph.signatures = vec![Signature {
        name: "default".into(),
        inputs: graph.placeholders().map(named).collect(),
        outputs: graph.outputs.iter().copied().map(named).collect(),
    }];
    graph
}

type FunctionName = (String, String, String);

struct Maker<'r> {
    functions: HashMap<FunctionName, Rc<RawFunction>>,
    bodies: IndexMap<String, Arc<Graph>>,
    /// Bodies of functions by name and attributes.
    instances: HashMap<(FunctionName, String), String>,
    /// Functions that are being built.
    calls: Vec<FunctionName>,
    n_nodes: usize,
    report: &'r mut Reporter,
}

/// What holds for all nodes of one graph.
struct Scope {
    /// What names of nodes and values start with.
    prefix: String,
    opsets: Opsets,
    /// In a function: attributes of the call, and inputs that the call leaves out.
    call: Option<Call>,
}

#[derive(Default)]
struct Call {
    attrs: HashMap<String, Attr>,
    absent: HashSet<String>,
}

enum Arguments {
    /// Inputs of the main graph are placeholders.
    Main,
    /// Inputs of a body, then the values that it reads from around it.
    Body { captured: Vec<String> },
}

/// Names that a graph reads and does not define, in order of first use.
fn free_names(raw: &RawGraph) -> IndexSet<String> {
    let mut defined: HashSet<&str> = raw.inputs.iter().map(|v| v.name.as_str()).collect();
    defined.extend(raw.initializers.iter().map(|t| t.name.as_str()));
    defined.extend(raw.nodes.iter().flat_map(|n| &n.outputs).map(String::as_str));
    let mut out = IndexSet::new();
    let mut note = |name: &str| {
        if !name.is_empty() && !defined.contains(name) {
            out.insert(name.to_owned());
        }
    };
    for node in &raw.nodes {
        node.inputs.iter().for_each(|n| note(n));
        captured_names(node).iter().for_each(|n| note(n));
    }
    raw.outputs.iter().for_each(|v| note(&v.name));
    out
}

/// What the subgraphs of a node read from around it.
fn captured_names(node: &RawNode) -> IndexSet<String> {
    let graphs = node.attrs.iter().filter_map(|(_, a)| match a {
        RawAttr::Graph(g) => Some(g),
        _ => None,
    });
    graphs.flat_map(|g| free_names(g)).collect()
}

impl Maker<'_> {
    fn graph(&mut self, raw: &RawGraph, scope: &Scope, arguments: Arguments) -> Graph {
        let is_main = matches!(arguments, Arguments::Main);
        let mut b = Body::new(scope, raw);
        let initialized: HashSet<&str> = raw.initializers.iter().map(|t| t.name.as_str()).collect();
        for input in raw.inputs.iter().filter(|i| !is_main || !initialized.contains(i.name.as_str())) {
            b.input(&input.name, &input.fact, is_main);
        }
        if let Arguments::Body { captured } = &arguments {
            captured.iter().for_each(|name| b.input(name, &Fact::unknown(), false));
        }
        raw.initializers.iter().for_each(|t| b.initializer(t, self.report));
        self.n_nodes += raw.nodes.len();
        if self.n_nodes > MAX_BODY_NODES && !is_main {
            self.report.error("too-many-nodes", "calls of functions multiply beyond any use", Some(b.place("")));
            return b.finish(raw, self.report);
        }
        let ids: Vec<NodeId> = raw.nodes.iter().map(|n| b.create(n, self.report)).collect();
        for (node, id) in raw.nodes.iter().zip(ids) {
            b.connect(node, id, self.report);
            self.attributes(&mut b, node, id);
            bodies::make(&mut b.graph, id, &mut self.bodies);
            self.call(&mut b, node, id);
        }
        b.finish(raw, self.report)
    }

    /// Attributes of a node; subgraphs become library functions and what they capture becomes inputs.
    fn attributes(&mut self, b: &mut Body<'_>, raw: &RawNode, id: NodeId) {
        let mut captured: Vec<String> = Vec::new();
        let formals = raw.attrs.iter().filter_map(|(_, a)| match a {
            RawAttr::Graph(g) => Some(g.inputs.len()),
            _ => None,
        });
        if let Some(n_formals) = formals.max() {
            let inputs = &mut b.graph.nodes[id.idx()].inputs;
            inputs.resize(inputs.len().max(n_formals), None);
            for name in captured_names(raw) {
                // A name that exists nowhere is reported where it is read.
                if let Some(&v) = b.names.get(name.as_str()) {
                    b.graph.nodes[id.idx()].inputs.push(Some(v));
                    captured.push(name);
                }
            }
            let n = Attr::Int(captured.len() as i64);
            b.graph.nodes[id.idx()].attrs.insert(CAPTURED.to_owned(), n);
        }
        for (name, attr) in &raw.attrs {
            let place = || Some(b.graph.node(id).key.as_str().to_owned());
            let attr = match attr {
                RawAttr::Plain(a) => a.clone(),
                RawAttr::Damaged(why) => {
                    self.report.error("bad-constant", why.clone(), place());
                    continue;
                }
                RawAttr::Reference(from) => {
                    match b.scope.call.as_ref().and_then(|c| c.attrs.get(from)) {
                        Some(a) => a.clone(),
                        // The caller leaves it out: the op's own default holds.
                        None => continue,
                    }
                }
                RawAttr::Graph(g) => {
                    let body = format!("{}/{name}", b.graph.node(id).key);
                    let call = b.scope.call.as_ref().map(|c| Call { attrs: c.attrs.clone(), absent: c.absent.clone() });
                    let scope = Scope { prefix: format!("{body}/"), opsets: b.scope.opsets.clone(), call };
                    let graph = self.graph(g, &scope, Arguments::Body { captured: captured.clone() });
                    self.bodies.insert(body.clone(), Arc::new(graph));
                    Attr::Function(body)
                }
            };
            b.graph.nodes[id.idx()].attrs.insert(name.clone(), attr);
        }
        if raw.op == "Constant" && raw.domain.is_empty() {
            b.constant(id, self.report);
        }
    }

    /// The body of a model-local function, where the node calls one.
    fn call(&mut self, b: &mut Body<'_>, raw: &RawNode, id: NodeId) {
        let name = (raw.domain.clone(), raw.op.clone(), raw.overload.clone());
        let Some(function) = self.functions.get(&name).cloned() else { return };
        if self.calls.contains(&name) || self.calls.len() >= MAX_CALLS {
            let place = Some(b.graph.node(id).key.as_str().to_owned());
            self.report.error("deep-calls", format!("the function {} calls itself", raw.op), place);
            return;
        }
        let mut attrs: HashMap<String, Attr> = HashMap::new();
        for (key, default) in &function.defaults {
            if let RawAttr::Plain(a) = default {
                attrs.insert(key.clone(), a.clone());
            }
        }
        let given = &b.graph.node(id).attrs;
        attrs.extend(given.iter().map(|(k, a)| (k.clone(), a.clone())));
        let is_given = |i: usize| raw.inputs.get(i).is_some_and(|n| !n.is_empty());
        let absent: HashSet<String> =
            function.inputs.iter().enumerate().filter(|(i, _)| !is_given(*i)).map(|(_, n)| n.clone()).collect();
        let mut sorted: Vec<(&String, &Attr)> = attrs.iter().collect();
        sorted.sort_by_key(|(k, _)| *k);
        let mut missing: Vec<&String> = absent.iter().collect();
        missing.sort();
        let key = (name.clone(), format!("{sorted:?} {missing:?} {:?}", b.scope.opsets.get("")));
        let body = match self.instances.get(&key) {
            Some(body) => body.clone(),
            None => {
                let label = if raw.domain.is_empty() { raw.op.clone() } else { format!("{}.{}", raw.domain, raw.op) };
                let n = self.instances.keys().filter(|(n, _)| *n == name).count();
                let body = if n == 0 { label } else { format!("{label}#{}", n + 1) };
                self.instances.insert(key, body.clone());
                self.calls.push(name);
                let graph = self.function(&function, &body, Call { attrs, absent }, &b.scope.opsets);
                self.calls.pop();
                self.bodies.insert(body.clone(), Arc::new(graph));
                body
            }
        };
        b.graph.nodes[id.idx()].attrs.insert(BODY.to_owned(), Attr::Function(body));
    }

    fn function(&mut self, f: &RawFunction, body: &str, call: Call, outer: &Opsets) -> Graph {
        let opsets = if f.opsets.is_empty() { outer.clone() } else { f.opsets.clone() };
        let scope = Scope { prefix: format!("{body}/"), opsets, call: Some(call) };
        let value = |name: &String| RawValue { name: name.clone(), fact: Fact::unknown() };
        // Nodes are read only; they stay with the function for its other instances.
        let raw = RawGraph {
            inputs: f.inputs.iter().map(value).collect(),
            outputs: f.outputs.iter().map(value).collect(),
            ..RawGraph::default()
        };
        let mut b = Body::new(&scope, &raw);
        raw.inputs.iter().for_each(|i| b.input(&i.name, &i.fact, false));
        self.n_nodes += f.nodes.len();
        if self.n_nodes > MAX_BODY_NODES {
            self.report.error("too-many-nodes", "calls of functions multiply beyond any use", Some(body.to_owned()));
            return b.finish(&raw, self.report);
        }
        let ids: Vec<NodeId> = f.nodes.iter().map(|n| b.create(n, self.report)).collect();
        for (node, id) in f.nodes.iter().zip(ids) {
            b.connect(node, id, self.report);
            self.attributes(&mut b, node, id);
            bodies::make(&mut b.graph, id, &mut self.bodies);
            self.call(&mut b, node, id);
        }
        b.finish(&raw, self.report)
    }
}

/// One graph while it is being built.
struct Body<'a> {
    graph: Graph,
    scope: &'a Scope,
    names: HashMap<String, ValueId>,
    facts: HashMap<&'a str, &'a Fact>,
}

impl<'a> Body<'a> {
    fn new(scope: &'a Scope, raw: &'a RawGraph) -> Self {
        let stated = raw.value_info.iter().chain(&raw.outputs).chain(&raw.inputs);
        let facts = stated.map(|v| (v.name.as_str(), &v.fact)).collect();
        Self { graph: Graph::default(), scope, names: HashMap::new(), facts }
    }

    fn place(&self, name: &str) -> String {
        format!("{}{name}", self.scope.prefix)
    }

    /// A node key that no other node has: the wanted name, or with a number.
    fn free_key(&self, wanted: &str) -> NodeKey {
        let wanted = self.place(wanted);
        if self.graph.node_named(&wanted).is_none() {
            return NodeKey::new(wanted);
        }
        let mut n = 2;
        while self.graph.node_named(&format!("{wanted}#{n}")).is_some() {
            n += 1;
        }
        NodeKey::new(format!("{wanted}#{n}"))
    }

    fn input(&mut self, name: &str, fact: &Fact, is_main: bool) {
        let (op, kind) = if is_main { ("Input", NodeKind::Placeholder) } else { ("Argument", NodeKind::Argument) };
        let node = Node::new(self.free_key(name), op, kind);
        let id = self.graph.push_node(node, vec![(ValueKey::new(self.place(name)), fact.clone())]);
        let value = self.graph.node(id).outputs[0];
        self.names.insert(name.to_owned(), value);
        if !is_main {
            self.graph.inputs.push(value);
        }
    }

    fn initializer(&mut self, tensor: &RawTensor, report: &mut Reporter) {
        let mut node = Node::new(self.free_key(&tensor.name), "Initializer", NodeKind::Constant);
        node.span = Some(tensor.span.clone());
        if self.names.contains_key(&tensor.name) {
            let what = "two values have this name; readers get the later one";
            report.error("duplicate-value", what, Some(self.place(&tensor.name)));
        }
        let fact = match &tensor.value {
            Ok(payload) => {
                node.constant = Some(Constant { payload: payload.clone(), origin: ConstantOrigin::Initializer });
                Fact::new(payload.dtype, PartialShape::from_dims(&payload.shape))
            }
            Err(why) => {
                report.error("bad-constant", why.clone(), Some(self.place(&tensor.name)));
                Fact::unknown()
            }
        };
        let id = self.graph.push_node(node, vec![(ValueKey::new(self.place(&tensor.name)), fact)]);
        self.names.insert(tensor.name.clone(), self.graph.node(id).outputs[0]);
    }

    /// A node with its outputs, still without inputs and attributes.
    fn create(&mut self, raw: &RawNode, report: &mut Reporter) -> NodeId {
        let first = raw.outputs.iter().find(|o| !o.is_empty()).map_or("", String::as_str);
        let is_constant = raw.op == "Constant" && raw.domain.is_empty();
        // A constant is known by the tensor's name, as initializers are; so are nodes without a name.
        let wanted = match (is_constant || raw.name.is_empty(), first) {
            (false, _) => raw.name.clone(),
            (true, "") => format!("{}_without_outputs", raw.op),
            (true, first) => first.to_owned(),
        };
        let mut node = Node::new(self.free_key(&wanted), raw.op.clone(), NodeKind::Op);
        node.domain.clone_from(&raw.domain);
        node.opset = self.scope.opsets.get(&raw.domain).copied().unwrap_or(1);
        node.span = Some(raw.span.clone());
        let key = node.key.clone();
        let outputs = raw.outputs.iter().enumerate().map(|(port, name)| {
            if name.is_empty() {
                return (ValueKey::new(format!("{key}:<unused {port}>")), Fact::unknown());
            }
            let fact = self.facts.get(name.as_str()).map_or_else(Fact::unknown, |f| (*f).clone());
            (ValueKey::new(self.place(name)), fact)
        });
        let outputs = outputs.collect();
        let id = self.graph.push_node(node, outputs);
        for (name, &v) in raw.outputs.iter().zip(&self.graph.node(id).outputs) {
            if !name.is_empty() && self.names.insert(name.clone(), v).is_some() {
                let what = "two values have this name; readers get the later one";
                report.error("duplicate-value", what, Some(format!("{}{name}", self.scope.prefix)));
            }
        }
        id
    }

    fn connect(&mut self, raw: &RawNode, id: NodeId, report: &mut Reporter) {
        let absent = self.scope.call.as_ref().map(|c| &c.absent);
        for name in &raw.inputs {
            let is_left_out = name.is_empty() || absent.is_some_and(|a| a.contains(name));
            let value = self.names.get(name).copied().filter(|_| !is_left_out);
            if value.is_none() && !is_left_out {
                let place = self.graph.node(id).key.as_str().to_owned();
                report.error("missing-input", format!("its input {name} is not in the file"), Some(place));
            }
            self.graph.nodes[id.idx()].inputs.push(value);
        }
        // Trailing optional inputs may be stated as empty: that says nothing.
        let inputs = &mut self.graph.nodes[id.idx()].inputs;
        let has_body = raw.attrs.iter().any(|(_, a)| matches!(a, RawAttr::Graph(_)));
        while !has_body && inputs.last() == Some(&None) {
            inputs.pop();
        }
    }

    /// Takes the value of a Constant node out of its attributes.
    fn constant(&mut self, id: NodeId, report: &mut Reporter) {
        let node = &mut self.graph.nodes[id.idx()];
        let floats = |a: &Attr| a.as_list()?.iter().map(Attr::as_float).collect::<Option<Vec<f32>>>();
        let texts = |a: &Attr| -> Option<Vec<Vec<u8>>> {
            let one = |a: &Attr| if let Attr::Bytes(b) = a { Some(b.clone()) } else { None };
            a.as_list()?.iter().map(one).collect()
        };
        let tensor = node.attrs.iter().find_map(|(name, attr)| match (name.as_str(), attr) {
            ("value" | "sparse_value", Attr::Tensor(p)) => Some(p.clone()),
            ("value_float", Attr::Float(v)) => Some(Payload::from_tensor(Tensor::scalar(*v))),
            ("value_int", Attr::Int(v)) => Some(Payload::from_tensor(Tensor::scalar(*v))),
            ("value_string", Attr::Bytes(b)) => Some(Payload::from_tensor(Tensor::from_strings(&[], vec![b.clone()]))),
            ("value_floats", a) => floats(a).map(|v| Payload::from_tensor(Tensor::from_slice(&[v.len()], &v))),
            ("value_ints", a) => a.as_ints().map(|v| Payload::from_tensor(Tensor::from_slice(&[v.len()], &v))),
            ("value_strings", a) => texts(a).map(|v| Payload::from_tensor(Tensor::from_strings(&[v.len()], v))),
            _ => None,
        });
        let (Some(payload), Some(&out)) = (tensor, node.outputs.first()) else {
            let place = Some(node.key.as_str().to_owned());
            report.error("bad-constant", "it is a constant without a value", place);
            return;
        };
        let fact = Fact::new(payload.dtype, PartialShape::from_dims(&payload.shape));
        node.kind = NodeKind::Constant;
        node.constant = Some(Constant { payload, origin: ConstantOrigin::ConstNode });
        self.graph.values[out.idx()].fact = fact;
    }

    fn finish(mut self, raw: &RawGraph, report: &mut Reporter) -> Graph {
        let outputs: Vec<Option<ValueId>> = raw.outputs.iter().map(|o| self.names.get(&o.name).copied()).collect();
        for (output, value) in raw.outputs.iter().zip(outputs) {
            let value = value.unwrap_or_else(|| {
                let what = "it is declared as an output, and nothing computes it";
                report.error("missing-output", what, Some(self.place(&output.name)));
                // A result that nothing gives would shift the others: an empty node stands for it.
                let node = Node::new(self.free_key(&output.name), "<missing>", NodeKind::Op);
                let key = ValueKey::new(self.place(&output.name));
                let id = self.graph.push_node(node, vec![(key, output.fact.clone())]);
                self.graph.node(id).outputs[0]
            });
            self.graph.outputs.push(value);
        }
        for value in &mut self.graph.values {
            // A declared scalar shape without a type says nothing.
            if value.fact.dtype == DType::Unknown {
                value.fact.shape = PartialShape::unknown();
            }
        }
        self.graph
    }
}
