//! A graph in which variables are plain constants: calls of library functions are replaced by their bodies, and ops that
//! read a variable through its handle by those that read a tensor.
//!
//! A call's node stays under its own name as an `Identity` (or `IdentityN`) of the results, so that whoever names its
//! outputs finds them. Nodes of a body are called `CALL/NAME`.

use std::collections::HashMap;

use indexmap::IndexMap;

use crate::graph::{Attr, Constant, ConstantOrigin, Fact, Graph, Node, NodeId, NodeKey, NodeKind, ValueId, ValueKey};
use crate::lower::{Dialect, Structure};
use crate::tensor::{DType, PartialShape, Payload, Tensor};

use super::dialect::TENSORFLOW;

/// Calls nested deeper than this are hostile.
const MAX_DEPTH: usize = 48;
/// Nodes that calls may add.
const MAX_ADDED: usize = 1 << 20;
/// How often types are handed on along chains of aliases.
const MAX_PASSES: usize = 32;

/// See the module doc; an error says which call cannot be replaced.
pub fn without_variables(graph: &Graph) -> Result<Graph, String> {
    let mut inliner = Inliner { main: graph, out: Graph::default(), bodies: Vec::new(), made: Vec::new() };
    inliner.expand(graph, "", String::new(), None, 0)?;
    inliner.connect();
    let mut out = inliner.out;
    out.signatures.clone_from(&graph.signatures);
    out.functions.clone_from(&graph.functions);
    settle_types(&mut out);
    Ok(out)
}

/// The main graph, or a function's body for one call.
struct Body<'g> {
    graph: &'g Graph,
    /// The calling body and node; `None` for the main graph.
    caller: Option<(usize, NodeId)>,
    nodes: Vec<Option<NodeId>>,
}

/// What a new node was made of.
enum Made {
    Copy {
        body: usize,
        node: NodeId,
    },
    /// Gives the results of a body that was put in place of a call.
    Call {
        body: usize,
        node: NodeId,
        callee: usize,
    },
    /// Has no inputs.
    Plain,
}

struct Inliner<'g> {
    main: &'g Graph,
    out: Graph,
    bodies: Vec<Body<'g>>,
    /// By new node.
    made: Vec<Made>,
}

impl<'g> Inliner<'g> {
    /// Makes the nodes of a body, still without inputs; gives the body's number.
    fn expand(
        &mut self,
        graph: &'g Graph,
        old_prefix: &str,
        new_prefix: String,
        caller: Option<(usize, NodeId)>,
        depth: usize,
    ) -> Result<usize, String> {
        let number = self.bodies.len();
        self.bodies.push(Body { graph, caller, nodes: vec![None; graph.nodes.len()] });
        for id in graph.node_ids() {
            let node = graph.node(id);
            if node.kind == NodeKind::Argument {
                continue;
            }
            let own = node.key.as_str();
            let key = format!("{new_prefix}{}", own.strip_prefix(old_prefix).unwrap_or(own));
            let called = match TENSORFLOW.structure(node) {
                Structure::Call { function } if node.leftover.is_none() => Some(function),
                _ => None,
            };
            let function = called.as_deref().and_then(|f| Some((f, self.main.functions.get(f)?)));
            let Some((name, function)) = function else {
                let copy = copied(node, &key);
                let new = self.push(copy, &key, facts(graph, node), Made::Copy { body: number, node: id });
                self.bodies[number].nodes[id.idx()] = Some(new);
                continue;
            };
            if depth >= MAX_DEPTH || self.out.nodes.len() > self.main.nodes.len() + MAX_ADDED {
                return Err(format!("the calls behind {} are nested too deep or are too many", node.key));
            }
            let caller = Some((number, id));
            let callee = self.expand(function, &format!("{name}/"), format!("{key}/"), caller, depth + 1)?;
            let made = Made::Call { body: number, node: id, callee };
            let new = self.push(results(node, &key), &key, facts(graph, node), made);
            self.bodies[number].nodes[id.idx()] = Some(new);
        }
        Ok(number)
    }

    fn push(&mut self, node: Node, key: &str, facts: Vec<Fact>, made: Made) -> NodeId {
        let outputs = facts.into_iter().enumerate().map(|(p, f)| (ValueKey::new(format!("{key}:{p}")), f)).collect();
        self.made.push(made);
        self.out.push_node(node, outputs)
    }

    fn connect(&mut self) {
        for new in 0..self.made.len() {
            let (inputs, control) = match &self.made[new] {
                Made::Plain => continue,
                Made::Copy { body, node } => {
                    let old = self.bodies[*body].graph.node(*node);
                    let inputs = old.inputs.iter().map(|v| self.value(*body, (*v)?, 0)).collect();
                    (inputs, self.control(*body, old))
                }
                Made::Call { body, node, callee } => {
                    let old = self.bodies[*body].graph.node(*node);
                    let results = &self.bodies[*callee].graph.outputs;
                    let inputs = results.iter().take(old.outputs.len()).map(|v| self.value(*callee, *v, 0)).collect();
                    (inputs, self.control(*body, old))
                }
            };
            self.out.nodes[new].inputs = inputs;
            self.out.nodes[new].control_inputs = control;
        }
        // Gathering from a tensor wants to be told the axis.
        let lacks_axis = |n: &usize| self.out.nodes[*n].op == "GatherV2" && self.out.nodes[*n].inputs.len() == 2;
        let gathers: Vec<usize> = (0..self.made.len()).filter(lacks_axis).collect();
        for at in gathers {
            let key = format!("{}/axis", self.out.nodes[at].key);
            let mut axis = Node::new(NodeKey::new(&key), "Const", NodeKind::Constant);
            let payload = Payload::from_tensor(Tensor::scalar(0i32));
            axis.constant = Some(Constant { payload, origin: ConstantOrigin::ConstNode });
            let fact = Fact::new(DType::I32, PartialShape::scalar());
            let id = self.push(axis, &key, vec![fact], Made::Plain);
            let value = self.out.node(id).outputs[0];
            self.out.nodes[at].inputs.push(Some(value));
        }
    }

    fn control(&self, body: usize, old: &Node) -> Vec<NodeId> {
        old.control_inputs.iter().filter_map(|n| self.bodies[body].nodes[n.idx()]).collect()
    }

    /// The new value that stands for a value of a body: an argument is what its call was given.
    fn value(&self, body: usize, v: ValueId, depth: usize) -> Option<ValueId> {
        let Body { graph, caller, nodes } = &self.bodies[body];
        if let (Some(i), Some((outer, call))) = (graph.inputs.iter().position(|a| *a == v), caller) {
            let given = (*self.bodies[*outer].graph.node(*call).inputs.get(i)?)?;
            return (depth <= MAX_DEPTH).then(|| self.value(*outer, given, depth + 1)).flatten();
        }
        let value = graph.value(v);
        let new = nodes[value.producer.idx()]?;
        self.out.node(new).outputs.get(value.port).copied()
    }
}

fn facts(graph: &Graph, node: &Node) -> Vec<Fact> {
    node.outputs.iter().map(|v| graph.value(*v).fact.clone()).collect()
}

/// Attribute of a handle's op → that of the tensor's op.
pub type Renames = &'static [(&'static str, &'static str)];

/// What reads a tensor as the op reads a variable through its handle.
pub fn plain_op(op: &str) -> Option<(&'static str, Renames)> {
    Some(match op {
        "ReadVariableOp" => ("Identity", &[("dtype", "T")]),
        "ResourceGather" => {
            ("GatherV2", &[("dtype", "Tparams"), ("Tindices", "Tindices"), ("batch_dims", "batch_dims")])
        }
        "ResourceGatherNd" => ("GatherNd", &[("dtype", "Tparams"), ("Tindices", "Tindices")]),
        "VariableShape" => ("Shape", &[("out_type", "out_type")]),
        _ => return None,
    })
}

/// A node under another name, in words without handles.
fn copied(node: &Node, key: &str) -> Node {
    let mut out = Node {
        key: NodeKey::new(key),
        inputs: Vec::new(),
        control_inputs: Vec::new(),
        outputs: Vec::new(),
        ..node.clone()
    };
    let Some((op, renamed)) = plain_op(&node.op) else { return out };
    let attr = |(from, to): &(&str, &str)| Some(((*to).to_owned(), node.attr(from)?.clone()));
    let mut attrs: IndexMap<String, Attr> = renamed.iter().filter_map(attr).collect();
    match op {
        "GatherV2" => drop(attrs.insert("Taxis".to_owned(), Attr::Type(DType::I32))),
        // Its type is that of the variable, which the node does not say.
        "Shape" => drop(attrs.insert("T".to_owned(), Attr::Type(DType::Resource))),
        _ => {}
    }
    (out.op, out.attrs) = (op.to_owned(), attrs);
    out
}

/// What stands in place of a call.
fn results(node: &Node, key: &str) -> Node {
    let types: Vec<Attr> = node.attr("Tout").and_then(Attr::as_list).map(<[_]>::to_vec).unwrap_or_default();
    let op = match node.outputs.len() {
        0 => "NoOp",
        1 => "Identity",
        _ => "IdentityN",
    };
    let mut out = Node::new(NodeKey::new(key), op, NodeKind::Op);
    match types.as_slice() {
        [only] if op == "Identity" => drop(out.attrs.insert("T".to_owned(), only.clone())),
        all if op == "IdentityN" => drop(out.attrs.insert("T".to_owned(), Attr::List(all.to_vec()))),
        _ => {}
    }
    out.leftover = node.leftover;
    out
}

/// Ops that hand on a handle now hand on the variable's value: their type follows from what they read.
fn settle_types(graph: &mut Graph) {
    let mut changed: HashMap<usize, DType> = HashMap::new();
    for _ in 0..MAX_PASSES {
        changed.clear();
        for (i, node) in graph.nodes.iter().enumerate() {
            if node.attr("T").and_then(Attr::as_type) != Some(DType::Resource) || node.constant.is_some() {
                continue;
            }
            let read = node.inputs.iter().flatten().map(|v| graph.value(*v).fact.dtype);
            let known = read.into_iter().find(|d| !matches!(d, DType::Resource | DType::Unknown));
            changed.extend(known.map(|d| (i, d)));
        }
        if changed.is_empty() {
            return;
        }
        for (&i, &dtype) in &changed {
            graph.nodes[i].attrs.insert("T".to_owned(), Attr::Type(dtype));
            if graph.nodes[i].op != "Shape" {
                for v in graph.nodes[i].outputs.clone() {
                    let fact = &mut graph.values[v.idx()].fact;
                    if fact.dtype == DType::Resource {
                        fact.dtype = dtype;
                    }
                }
            }
        }
    }
}
