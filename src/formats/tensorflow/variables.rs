//! Variables get their values: which tensor of a checkpoint belongs to which node.
//!
//! What the file's own restore ops do decides: `Assign(variable, RestoreV2:k)` names the tensor and the piece of it (a
//! partitioned variable), in the main graph or in the function that TensorFlow 2 restores with. Where they say nothing,
//! the variable's name does, or the name that the checkpoint keeps for its object.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::base::Reporter;
use crate::formats::source::{Bytes, Source};
use crate::formats::wire::Scanner;
use crate::graph::{Attr, Constant, ConstantOrigin, Fact, Graph, Node, NodeId, NodeKey, NodeKind};
use crate::lower::{Dialect, Structure};
use crate::tensor::{DType, PartialShape};

use super::bundle::slices::{Region, parse_spec, whole};
use super::bundle::{Bundle, Entry};
use super::dialect::TENSORFLOW;
use super::meta_graph;

/// Under this name a TensorFlow 2 checkpoint keeps its object graph.
const OBJECT_GRAPH: &str = "_CHECKPOINTABLE_OBJECT_GRAPH";
/// Alias steps that are followed at most.
const MAX_STEPS: usize = 32;

/// A checkpoint and which node holds what of it.
#[derive(Debug)]
pub struct Variables {
    pub bundle: Bundle,
    /// The variable's node → the tensor's name and the piece of it.
    pub places: HashMap<NodeKey, (String, Region)>,
}

pub fn is_variable(op: &str) -> bool {
    matches!(op, "VariableV2" | "Variable" | "VarHandleOp")
}

/// Tensor name and `shape_and_slices` entry.
type Saved = (String, String);

/// Gives every variable of the main graph its value. `trainable` are the names that the training program trained.
pub fn attach(
    graph: &mut Graph,
    bundle: Bundle,
    trainable: Option<&HashSet<String>>,
    report: &mut Reporter,
) -> Variables {
    let restored = restored(graph);
    let object_names = object_names(&bundle);
    let mut places = HashMap::new();
    let mut missing = Vec::new();
    for id in graph.node_ids().filter(|n| is_variable(&graph.node(*n).op)).collect::<Vec<_>>() {
        let node = graph.node(id);
        let found = match restored.get(&id) {
            Some((name, spec)) => bundle.get(name).map(|e| (e, parse_spec(spec))),
            None => own_names(node)
                .chain(own_names(node).filter_map(|n| object_names.get(n)).map(String::as_str))
                .find_map(|n| bundle.get(n))
                .map(|e| (e, None)),
        };
        let Some((entry, spec)) = found else {
            missing.push(node.key.as_str().to_owned());
            continue;
        };
        let region = match spec {
            Some((dims, region)) if dims == entry.shape => region,
            Some((dims, _)) => {
                let what =
                    format!("the graph restores it from a tensor {dims:?}, the checkpoint holds {:?}", entry.shape);
                report.error("variable-shape", what, Some(node.key.as_str().to_owned()));
                continue;
            }
            None => whole(&entry.shape),
        };
        if let Err(what) = fits(node, entry, &region) {
            report.error("variable-shape", what, Some(node.key.as_str().to_owned()));
            continue;
        }
        let Some(payload) = bundle.region_payload(entry, &region) else { continue };
        let is_trained = trainable.map(|t| own_names(node).any(|n| t.contains(n)) || t.contains(&entry.name));
        places.insert(node.key.clone(), (entry.name.clone(), region));
        let fact = Fact::new(payload.dtype, PartialShape::from_dims(&payload.shape));
        let origin = ConstantOrigin::Variable { name: entry.name.clone(), trainable: is_trained };
        if let Some(&out) = node.outputs.first() {
            graph.values[out.idx()].fact = fact;
        }
        let node = &mut graph.nodes[id.idx()];
        node.kind = NodeKind::Constant;
        node.constant = Some(Constant { payload, origin });
    }
    if let Some(first) = missing.first() {
        let what = format!("{} variables have no value in the checkpoint {}", missing.len(), bundle.prefix);
        report.warning("variable-without-value", what, Some(first.clone()));
    }
    Variables { bundle, places }
}

/// The names that a variable may be saved under when nothing restores it.
fn own_names(node: &Node) -> impl Iterator<Item = &str> {
    let shared = node.attr("shared_name").and_then(Attr::as_str).filter(|n| !n.is_empty());
    std::iter::once(node.key.as_str()).chain(shared)
}

fn fits(node: &Node, entry: &Entry, region: &Region) -> Result<(), String> {
    let dims: Vec<usize> = region.iter().map(|r| r.1).collect();
    if let Some(declared) = node.attr("dtype").and_then(Attr::as_type)
        && declared != entry.dtype
        && declared != DType::Unknown
    {
        return Err(format!("it is declared as {declared}, the checkpoint holds {}", entry.dtype));
    }
    let Some(declared) = node.attr("shape").and_then(Attr::as_shape) else { return Ok(()) };
    match declared.merge(&PartialShape::from_dims(&dims)) {
        Some(_) => Ok(()),
        None => Err(format!("it is declared with the shape {declared}, the checkpoint holds {dims:?}")),
    }
}

/// What the file's restore ops assign to each variable of the main graph.
fn restored(graph: &Graph) -> HashMap<NodeId, Saved> {
    let mut out = HashMap::new();
    for (target, saved) in assignments(graph) {
        let target = through_aliases(graph, target);
        if is_variable(&graph.node(target).op) {
            out.entry(target).or_insert(saved);
        }
    }
    // Function → argument number → what it is restored from.
    let mut by_argument: HashMap<&str, BTreeMap<usize, Saved>> = HashMap::new();
    for (name, body) in &graph.functions {
        for (target, saved) in assignments(body) {
            let target = through_aliases(body, target);
            if let Some(i) = body.inputs.iter().position(|v| body.value(*v).producer == target) {
                by_argument.entry(name).or_default().entry(i).or_insert(saved);
            }
        }
    }
    for node in &graph.nodes {
        let Structure::Call { function } = TENSORFLOW.structure(node) else { continue };
        for (&i, saved) in by_argument.get(function.as_str()).into_iter().flatten() {
            if let Some(&Some(v)) = node.inputs.get(i) {
                let target = through_aliases(graph, graph.value(v).producer);
                out.entry(target).or_insert_with(|| saved.clone());
            }
        }
    }
    out
}

/// Node that is assigned to → what it is restored from, in one body.
fn assignments(graph: &Graph) -> Vec<(NodeId, Saved)> {
    let of = |node: &Node| {
        if !matches!(node.op.as_str(), "Assign" | "AssignVariableOp") {
            return None;
        }
        let (Some(&Some(target)), Some(&Some(mut value))) = (node.inputs.first(), node.inputs.get(1)) else {
            return None;
        };
        // What is restored may be renamed, reshaped or converted on its way.
        for _ in 0..MAX_STEPS {
            let producer = graph.node(graph.value(value).producer);
            if matches!(producer.op.as_str(), "RestoreV2" | "RestoreSlice" | "Restore") {
                return Some((graph.value(target).producer, saved(graph, producer, graph.value(value).port)?));
            }
            value = (*producer.inputs.first()?)?;
        }
        None
    };
    graph.nodes.iter().filter_map(of).collect()
}

/// Name and slice that output `port` of a RestoreV2 reads; its elders read one tensor each.
fn saved(graph: &Graph, restore: &Node, port: usize) -> Option<Saved> {
    let text = |input: usize| {
        let v = (*restore.inputs.get(input)?)?;
        let node = graph.node(through_aliases(graph, graph.value(v).producer));
        let tensor = node.constant.as_ref()?.payload.load().ok()?;
        String::from_utf8(tensor.strings()?.get(port)?.clone()).ok()
    };
    Some((text(1)?, text(2).unwrap_or_default()))
}

/// The node behind identities and reads.
pub fn through_aliases(graph: &Graph, mut id: NodeId) -> NodeId {
    for _ in 0..MAX_STEPS {
        let node = graph.node(id);
        match (TENSORFLOW.structure(node), node.inputs.first()) {
            (Structure::Alias, Some(&Some(v))) => id = graph.value(v).producer,
            _ => break,
        }
    }
    id
}

fn object_names(bundle: &Bundle) -> BTreeMap<String, String> {
    let text = bundle.payload(OBJECT_GRAPH).and_then(|p| p.load().ok());
    let Some(bytes) = text.and_then(|t| t.strings()?.first().cloned()) else { return BTreeMap::new() };
    let bytes = Bytes::from_memory(bytes);
    meta_graph::saved_names(&mut Scanner::new(&bytes)).unwrap_or_default()
}

/// Opens the checkpoint of a file that stands beside it.
pub fn open_bundle(source: &Source, prefix: &str) -> Result<Bundle, crate::formats::OpenError> {
    Bundle::open(source, prefix)
        .map_err(|e| crate::formats::OpenError::Unsupported { name: e.file.clone(), what: e.what.clone() })
}
