//! A graph of TensorFlow's words as a frozen GraphDef, whatever it was read from: variables become constants, reads of
//! them identities, and what only served training or saving is left out.

use std::io::Write;
use std::path::Path;

use crate::base::files;
use crate::formats::wire;
use crate::formats::{Imported, WriteError};
use crate::graph::{Graph, GraphPatch, Node, NodeId};
use crate::tensor::Payload;

use super::encode;
use super::handles::Library;
use super::inline;
use super::tensor_proto::code_from_dtype;

/// The GraphDef version of TensorFlow 2.15; readers accept all that are as old as their own or older.
const PRODUCER: u64 = 1645;
/// A protobuf message may not be longer.
const MAX_MESSAGE: u64 = (1 << 31) - (1 << 20);

/// Writes the imported graph with `patch` carried out as a frozen `.pb`. The result lands under `path` only after it was
/// read back.
pub fn write(imported: &Imported, patch: &GraphPatch, path: &Path) -> Result<(), WriteError> {
    let frozen = Frozen::new(imported, patch)?;
    files::replace_checked(path, |out| frozen.put(out), |temp| frozen.check(temp))
}

/// A graph without variables, and what of it is written.
#[derive(Debug)]
pub struct Frozen {
    graph: Graph,
    live: Vec<NodeId>,
    /// The library's fields as they stand in the file, where functions are still called.
    library: Vec<u8>,
}

impl Frozen {
    pub fn new(imported: &Imported, patch: &GraphPatch) -> Result<Self, WriteError> {
        if let Some(problem) = patch.problems(&imported.graph).into_iter().next() {
            return Err(WriteError::Patch(problem));
        }
        let mut graph = inline::without_variables(&patch.apply(&imported.graph)).map_err(WriteError::Patch)?;
        let live = live_nodes(&graph);
        let library = Library::new(&mut graph, &live).map_err(WriteError::Patch)?;
        if !library.is_empty() && patch.touches_functions(&imported.graph) {
            return Err(WriteError::Patch(
                "a function that a loop or conditional calls was changed; such graphs cannot be frozen yet".into(),
            ));
        }
        let library = library.bytes(&graph, &imported.source().bytes, imported.graph_span())?;
        let total: u64 = live.iter().map(|&n| graph.node(n)).map(size).sum();
        if total > MAX_MESSAGE {
            return Err(WriteError::Patch(
                "the frozen graph would be larger than 2 GB, the most that a .pb can hold".into(),
            ));
        }
        Ok(Self { graph, live, library })
    }

    pub fn put(&self, out: &mut dyn Write) -> Result<(), WriteError> {
        self.live.iter().try_for_each(|&id| put_node(out, &self.graph, id))?;
        out.write_all(&self.library)?;
        let mut versions = Vec::new();
        wire::put_number(&mut versions, 1, PRODUCER);
        let mut field = Vec::new();
        wire::put_bytes(&mut field, 4, &versions);
        Ok(out.write_all(&field)?)
    }

    /// Reads the new file back and compares it with what it should hold.
    pub fn check(&self, temp: &Path) -> Result<(), WriteError> {
        check(&self.graph, &self.live, temp)
    }
}

/// What the signatures' outputs (or the declared ones) need, in file order; everything where nothing is declared.
fn live_nodes(graph: &Graph) -> Vec<NodeId> {
    let ends = graph.signatures.first().map(|s| &s.outputs[..]).unwrap_or_default();
    let mut todo: Vec<NodeId> =
        ends.iter().filter_map(|(_, key)| Some(graph.value(graph.value_named(key.as_str())?).producer)).collect();
    if !todo.is_empty() {
        // Placeholders stay, so that the frozen graph takes the same feeds.
        todo.extend(graph.placeholders().map(|v| graph.value(v).producer));
    }
    let mut is_live = vec![todo.is_empty(); graph.nodes.len()];
    while let Some(id) = todo.pop() {
        if std::mem::replace(&mut is_live[id.idx()], true) {
            continue;
        }
        let node = graph.node(id);
        // A constant stands for itself: what initialised or guarded it is not needed.
        if node.constant.is_none() {
            todo.extend(node.present_inputs().map(|v| graph.value(v).producer));
            todo.extend(node.control_inputs.iter().filter(|n| graph.node(**n).leftover.is_none()));
        }
    }
    graph.node_ids().filter(|id| is_live[id.idx()]).collect()
}

fn size(node: &Node) -> u64 {
    node.constant.as_ref().map_or(512, |c| c.payload.byte_len() as u64 + 512)
}

/// One NodeDef as field 1 of the GraphDef.
fn put_node(out: &mut dyn Write, graph: &Graph, id: NodeId) -> Result<(), WriteError> {
    let node = graph.node(id);
    let mut message = Vec::new();
    wire::put_bytes(&mut message, 1, node.key.as_str().as_bytes());
    let op = if node.constant.is_some() { "Const" } else { node.op.as_str() };
    wire::put_bytes(&mut message, 2, op.as_bytes());
    if let Some(constant) = &node.constant {
        wire::put_bytes(&mut message, 4, node.device.as_bytes());
        return put_constant(out, message, node, &constant.payload);
    }
    for v in node.present_inputs() {
        let key = graph.value(v).key.as_str();
        wire::put_bytes(&mut message, 3, key.strip_suffix(":0").unwrap_or(key).as_bytes());
    }
    for n in node.control_inputs.iter().filter(|n| graph.node(**n).leftover.is_none()) {
        wire::put_bytes(&mut message, 3, format!("^{}", graph.node(*n).key).as_bytes());
    }
    wire::put_bytes(&mut message, 4, node.device.as_bytes());
    for (name, value) in &node.attrs {
        if name == "_class" {
            // Colocation with a node that may be gone would make TensorFlow refuse the graph.
            continue;
        }
        encode::put_attr(&mut message, name, &encode::attr(value));
    }
    let mut header = Vec::new();
    wire::put_header(&mut header, 1, message.len() as u64);
    out.write_all(&header)?;
    Ok(out.write_all(&message)?)
}

/// A Const node; large values are streamed behind the lengths that they will have.
fn put_constant(out: &mut dyn Write, mut message: Vec<u8>, node: &Node, payload: &Payload) -> Result<(), WriteError> {
    let value = payload.load().map_err(|e| WriteError::Patch(format!("{} could not be read: {e}", node.key)))?;
    let mut dtype = Vec::new();
    wire::put_number(&mut dtype, 6, code_from_dtype(value.dtype()));
    encode::put_attr(&mut message, "dtype", &dtype);
    if value.strings().is_some() {
        let mut attr = Vec::new();
        wire::put_bytes(&mut attr, 8, &encode::tensor(&value));
        encode::put_attr(&mut message, "value", &attr);
        let mut field = Vec::new();
        wire::put_bytes(&mut field, 1, &message);
        return Ok(out.write_all(&field)?);
    }
    // From the inside out: what stands before the bytes in each message that encloses them.
    let content = value.bytes();
    let mut tensor = encode::tensor_header(&value);
    wire::put_header(&mut tensor, 4, content.len() as u64);
    let mut attr = Vec::new();
    wire::put_header(&mut attr, 8, (tensor.len() + content.len()) as u64);
    attr.extend(tensor);
    let mut entry = Vec::new();
    wire::put_bytes(&mut entry, 1, b"value");
    wire::put_header(&mut entry, 2, (attr.len() + content.len()) as u64);
    entry.extend(attr);
    wire::put_header(&mut message, 5, (entry.len() + content.len()) as u64);
    message.extend(entry);
    let mut header = Vec::new();
    wire::put_header(&mut header, 1, (message.len() + content.len()) as u64);
    out.write_all(&header)?;
    out.write_all(&message)?;
    Ok(out.write_all(content)?)
}

/// Reads the new file back and compares it with what it should hold.
fn check(graph: &Graph, live: &[NodeId], temp: &Path) -> Result<(), WriteError> {
    let bad = |what: String| WriteError::ReadBack(what);
    let written = crate::formats::open(temp).map_err(|e| bad(e.to_string()))?;
    if written.graph.nodes.len() != live.len() {
        return Err(bad(format!("{} nodes instead of {}", written.graph.nodes.len(), live.len())));
    }
    for (&id, new) in live.iter().zip(&written.graph.nodes) {
        let old = graph.node(id);
        let n_inputs = if old.constant.is_some() { 0 } else { old.present_inputs().count() };
        if old.key != new.key || new.present_inputs().count() != n_inputs {
            return Err(bad(format!("the node {} in another form", old.key)));
        }
        let (Some(a), Some(b)) = (&old.constant, &new.constant) else { continue };
        let load = |p: &Payload| p.load().map_err(|e| bad(e.to_string()));
        if load(&a.payload)? != load(&b.payload)? {
            return Err(bad(format!("the constant {} with other values", old.key)));
        }
    }
    let error = written.diagnostics.iter().find(|d| d.severity == crate::base::Severity::Error);
    error.map_or(Ok(()), |d| Err(bad(d.message.clone())))
}
