//! A TensorFlow 1 checkpoint: `PREFIX.meta` (the graph), `PREFIX.index` and `PREFIX.data-…` (its variables). Any of them,
//! or the `checkpoint` state file, opens all of them. Without a `.meta`, the graph may come from `graph.pbtxt`; checkpoints of
//! the first format (one table, no index) are read as well.

use std::sync::Arc;

use crate::base::Reporter;
use crate::formats::folders::tokenizer_beside;
use crate::formats::source::{Bytes, Source};
use crate::formats::wire::{Content, Scanner};
use crate::formats::{Assets, Format, OpenError, Read};
use crate::graph::{Graph, NodeId};

use super::bundle::{old, prefix_of, table};
use super::meta_graph::{self, MetaGraph};
use super::variables::{self, open_bundle};
use super::{dialect, graph_def, leftovers, locate, text, variables_write};

/// The graph that Estimators write beside their checkpoints, as text.
pub const TEXT_GRAPH: &str = "graph.pbtxt";

/// See the module doc.
pub const CHECKPOINT: Format = Format {
    name: "tensorflow-checkpoint",
    label: "TensorFlow checkpoint (.meta, .index, .data-…)",
    extensions: &["meta", "index", "ckpt"],
    detect: |source| prefix(source).is_some(),
    read,
    write: Some(variables_write::write),
};

/// The checkpoint's prefix, as far as the file tells.
fn prefix(source: &Source) -> Option<String> {
    let name = source.name.as_str();
    if name == "checkpoint" {
        let start = source.bytes.read(0, source.bytes.len().min(1 << 16)).ok()?;
        let prefix = locate::prefix_in_state(std::str::from_utf8(&start).ok()?)?;
        return Some(old::prefix_of(&prefix).to_owned());
    }
    if table::is_table(&source.bytes) || is_meta_graph(source) {
        return Some(prefix_of(name).unwrap_or_else(|| old::prefix_of(name)).to_owned());
    }
    let prefix = prefix_of(name).filter(|_| name.contains(".data-"))?;
    source.has_sibling(&format!("{prefix}.index")).then(|| prefix.to_owned())
}

/// A MetaGraphDef: a message 1, then a graph under 2 that begins with a node or a library.
fn is_meta_graph(source: &Source) -> bool {
    let mut s = Scanner::new(&source.bytes);
    let (mut at, end) = (0, source.bytes.len());
    let mut has_info = false;
    while let Ok(Some(field)) = s.field(&mut at, end) {
        match (field.number, &field.content) {
            // Information about the graph: its first field is a name or a list of ops, never an op's own name.
            (1, Content::Bytes(range)) => {
                let (mut inner, mut is_node) = (range.start, false);
                while let Ok(Some(f)) = s.field(&mut inner, range.end) {
                    is_node |= f.number == 3 && source.name.rsplit('.').next() != Some("meta");
                }
                if is_node || has_info {
                    return false;
                }
                has_info = true;
            }
            (2, Content::Bytes(range)) => {
                let mut inner = range.start;
                let first = s.field(&mut inner, range.end);
                return has_info && matches!(first, Ok(Some(f)) if matches!(f.number, 1 | 2) && f.range().is_ok());
            }
            _ => return false,
        }
    }
    false
}

fn read(source: &Source, report: &mut Reporter) -> Result<Read, OpenError> {
    let unsupported = |name: &str, what: String| OpenError::Unsupported { name: name.to_owned(), what };
    let prefix = prefix(source).unwrap_or_default();
    let meta_name = format!("{prefix}.meta");
    let is_meta = is_meta_graph(source);
    let bundle = match open_bundle(source, &prefix) {
        Ok(bundle) => Some(bundle),
        // A graph alone can be looked at.
        Err(e) if is_meta && !source.has_sibling(&format!("{prefix}.index")) => {
            report.warning("no-checkpoint", format!("variables have no values: {e}"), Some(meta_name.clone()));
            None
        }
        Err(e) => return Err(e),
    };
    let (meta, is_text) = match is_meta {
        true => (source.clone(), false),
        false => graph_beside(source, &meta_name, report)?,
    };
    let meta_name = meta.name.clone();
    let broken = |e| OpenError::Broken { name: meta_name.clone(), format: CHECKPOINT.label, source: e };
    let mut s = Scanner::new(&meta.bytes);
    let all = s.all();
    let head = match is_text {
        true => MetaGraph { graph: all, ..MetaGraph::default() },
        false => meta_graph::read(&mut s, all).map_err(broken)?,
    };
    if head.graph.is_empty() {
        return Err(unsupported(&meta_name, "it holds no graph".to_owned()));
    }
    let mut graph = graph_def::read_graph(&mut s, head.graph.clone(), report).map_err(broken)?;
    let variables = bundle.map(|b| Arc::new(variables::attach(&mut graph.graph, b, head.trainable.as_ref(), report)));
    finish(&mut graph.graph, &head, None);
    Ok(Read {
        producer: producer(&head, graph.producer),
        graph: graph.graph,
        graph_span: head.graph,
        dialect: &dialect::TENSORFLOW,
        converted: (!is_meta).then_some(meta),
        assets: Assets { tokenizer: tokenizer_beside(source), ..Assets::default() },
        variables,
        entry_points: Vec::new(),
    })
}

/// The file with the graph: `PREFIX.meta`, else the `graph.pbtxt` that an Estimator leaves beside its checkpoints, in
/// the binary form (then true).
fn graph_beside(source: &Source, meta_name: &str, report: &mut Reporter) -> Result<(Source, bool), OpenError> {
    let unsupported = |name: &str, what: String| OpenError::Unsupported { name: name.to_owned(), what };
    let mut out = source.clone();
    let missing = match source.companion(meta_name) {
        Ok(bytes) => {
            (out.name, out.bytes) = (meta_name.to_owned(), bytes);
            return Ok((out, false));
        }
        Err(e) => e,
    };
    if !source.has_sibling(TEXT_GRAPH) {
        let what = format!(
            "the checkpoint's graph is missing ({missing}): a checkpoint's weights alone cannot be opened as a model; put \
             its .meta file or its {TEXT_GRAPH} beside it, or load the weights into another model by name"
        );
        return Err(unsupported(meta_name, what));
    }
    let bytes = source.companion(TEXT_GRAPH).and_then(|b| b.read(0, b.len()));
    let bytes = bytes.map_err(|e| unsupported(TEXT_GRAPH, e.to_string()))?;
    let (wire, n_unknown) = text::to_wire(&bytes).map_err(|e| unsupported(TEXT_GRAPH, e.to_string()))?;
    report.info("graph-from-text", format!("there is no {meta_name}; the graph is that of {TEXT_GRAPH}"), None);
    if n_unknown > 0 {
        let what = format!("{n_unknown} fields of the text are not known and not kept");
        report.info("unknown-text-fields", what, Some(TEXT_GRAPH.to_owned()));
    }
    (out.name, out.bytes) = (TEXT_GRAPH.to_owned(), Bytes::from_memory(wire));
    Ok((out, true))
}

/// Leftovers and signatures, once variables have their values.
pub(super) fn finish(graph: &mut Graph, head: &MetaGraph, chosen: Option<&str>) {
    let signatures = meta_graph::resolve(&head.signatures, graph, chosen);
    let outputs = |all: &[crate::graph::Signature]| -> Vec<NodeId> {
        let values = all.iter().flat_map(|s| &s.outputs).filter_map(|(_, key)| graph.value_named(key.as_str()));
        values.map(|v| graph.value(v).producer).collect()
    };
    let (wanted, first, rest) = (outputs(&signatures), outputs(signatures.get(..1).unwrap_or_default()), {
        outputs(signatures.get(1..).unwrap_or_default())
    });
    leftovers::mark(graph, &wanted);
    // In TensorFlow 2 each signature is a function of its own; in TensorFlow 1 they share one graph.
    if head.has_objects {
        leftovers::mark_other_signatures(graph, &first, &rest);
    }
    graph.signatures = match signatures.is_empty() {
        true => vec![graph_def::default_signature(graph)],
        false => signatures,
    };
}

pub(super) fn producer(head: &MetaGraph, graph_version: u64) -> String {
    match (head.version.as_str(), graph_version) {
        ("" | "unknown", 0) => "TensorFlow (version not stated)".to_owned(),
        ("" | "unknown", v) => format!("TensorFlow (GraphDef version {v})"),
        (version, _) => format!("TensorFlow {version}"),
    }
}
