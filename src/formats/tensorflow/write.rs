//! Writes a GraphDef by patching the original bytes: what did not change is copied, unknown fields included, so an export
//! without changes is byte-identical.

use std::collections::HashMap;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use crate::formats::wire::{self, Content, Field, Scanner, WireError};
use crate::formats::{Imported, Source, WriteError};
use crate::graph::patch::converted;
use crate::graph::{ConstantOrigin, Graph, GraphPatch, Node, NodeKey, ValueKey};
use crate::tensor::{PartialShape, Tensor};

use super::encode;
use super::meta_patch;
use super::node_def::InputRef;

/// Bytes copied at once.
const COPY: usize = 1 << 20;

/// Messages that hold nodes, from the outside in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    GraphDef,
    Library,
    Function,
}

/// Carries out `patch` on the file's bytes. The result lands under `path` only after it was read back.
pub fn write(imported: &Imported, patch: &GraphPatch, path: &Path) -> Result<(), WriteError> {
    if super::text_print::is_text(path) {
        return super::text_print::write(imported, patch, path);
    }
    let write = |out: &mut dyn Write| put_graph(imported, patch, out).map(|_| ());
    crate::base::files::replace_checked(path, |out| write(out), |temp| check(imported, patch, temp))
}

/// The graph's message with `patch` carried out, without the messages around it; false where it is as it was.
pub(super) fn put_graph(imported: &Imported, patch: &GraphPatch, mut out: &mut dyn Write) -> Result<bool, WriteError> {
    let changes = Changes::find(imported, patch)?;
    let mut copier =
        Copier { out: &mut out, source: imported.source(), scanner: Scanner::new(&imported.source().bytes) };
    copier.message(imported.graph_span(), Kind::GraphDef, &changes)?;
    for node in &patch.resolved_added() {
        let bytes = encode::node(node);
        let mut header = Vec::new();
        wire::put_header(&mut header, 1, bytes.len() as u64);
        copier.out.write_all(&header)?;
        copier.out.write_all(&bytes)?;
    }
    Ok(!changes.0.is_empty() || !patch.added.is_empty())
}

/// The whole file with `patch` carried out on its graph, which lies inside other messages; `None` where nothing changes.
pub(super) fn patched_file(imported: &Imported, patch: &GraphPatch) -> Result<Option<Vec<u8>>, WriteError> {
    let mut graph = Vec::new();
    if !put_graph(imported, patch, &mut graph)? {
        return Ok(None);
    }
    let mut s = Scanner::new(&imported.source().bytes);
    let all = s.all();
    let span = imported.graph_span();
    if span == all {
        return Ok(Some(graph));
    }
    Ok(Some(spliced(&mut s, all, &span, &graph, patch)?))
}

/// A message in which the field that fills `target`, at whatever depth, has other content; lengths around it fit again,
/// and what stands beside the graph speaks of the changed one.
fn spliced(
    s: &mut Scanner<'_>,
    message: Range<u64>,
    target: &Range<u64>,
    new: &[u8],
    patch: &GraphPatch,
) -> Result<Vec<u8>, WireError> {
    let mut out = Vec::with_capacity((message.end - message.start) as usize + new.len());
    let mut holds_target = false;
    s.each_field(message.clone(), |_, field| {
        holds_target |= matches!(&field.content, Content::Bytes(range) if range == target);
        Ok::<_, WireError>(())
    })?;
    s.each_field(message, |s, field| {
        match &field.content {
            Content::Bytes(range) if range == target => wire::put_bytes(&mut out, field.number, new),
            Content::Bytes(range) if range.start <= target.start && target.end <= range.end => {
                let inner = spliced(s, range.clone(), target, new, patch)?;
                wire::put_bytes(&mut out, field.number, &inner);
            }
            _ => match if holds_target { meta_patch::changed(s, &field, patch)? } else { None } {
                Some(bytes) => out.extend(bytes),
                None => out.extend(s.read(&field.span)?),
            },
        }
        Ok::<_, WireError>(())
    })?;
    Ok(out)
}

/// Reads the new file back and compares it with what it should hold.
pub(super) fn check(imported: &Imported, patch: &GraphPatch, temp: &Path) -> Result<(), WriteError> {
    let bad = |what: String| WriteError::ReadBack(what);
    // What was chosen out of a SavedModel stands alone in a checkpoint.
    let is_checkpoint = temp.extension().is_some_and(|e| e == "index");
    let choice = imported.source().choice.as_deref().filter(|_| !is_checkpoint);
    let written = crate::formats::open_choosing(temp, choice).map_err(|e| bad(e.to_string()))?;
    let expected = patch.apply(&imported.graph);
    if written.graph.nodes.len() != expected.nodes.len() {
        return Err(bad(format!("{} nodes instead of {}", written.graph.nodes.len(), expected.nodes.len())));
    }
    for (a, b) in expected.nodes.iter().zip(&written.graph.nodes) {
        if a.key != b.key || a.op != b.op || a.inputs.len() != b.inputs.len() {
            return Err(bad(format!("the node {} came back as {}", a.key, b.key)));
        }
    }
    for key in patch.constants.keys() {
        let load = |g: &Graph| constant(g, key).map(|(_, c)| c.load().map_err(|e| bad(e.to_string()))).transpose();
        if load(&expected)? != load(&written.graph)? {
            return Err(bad(format!("the constant {key} came back with other values")));
        }
    }
    let errors = |m: &Imported| {
        m.diagnostics
            .iter()
            .filter(|d| d.severity == crate::base::Severity::Error)
            .map(|d| d.message.clone())
            .collect::<Vec<_>>()
    };
    let before = errors(imported);
    match errors(&written).into_iter().find(|e| !before.contains(e)) {
        Some(new) => Err(bad(new)),
        None => Ok(()),
    }
}

fn constant<'g>(graph: &'g Graph, key: &NodeKey) -> Option<(&'g Node, &'g crate::tensor::Payload)> {
    let bodies = std::iter::once(graph).chain(graph.functions.values().map(|f| &**f));
    let mut found = bodies.filter_map(|g| Some(g.node(g.node_named(key.as_str())?)));
    found.find_map(|n| Some((n, &n.constant.as_ref()?.payload)))
}

/// What happens to a node's message.
enum Change {
    Remove,
    Rewrite(Box<Rewrite>),
}

#[derive(Default)]
struct Rewrite {
    inputs: Option<Vec<String>>,
    constant: Option<Tensor>,
    /// `_class` entries without nodes that are gone.
    classes: Option<Vec<Vec<u8>>>,
    /// Another shape of a placeholder.
    shape: Option<PartialShape>,
    /// Other shapes of the outputs of an input pipeline.
    list_shapes: Option<Vec<PartialShape>>,
    /// What the file says about the shapes of the outputs goes.
    drops_shapes: bool,
}

impl Rewrite {
    fn is_empty(&self) -> bool {
        let changes = [self.inputs.is_some(), self.constant.is_some(), self.classes.is_some(), self.shape.is_some()];
        !changes.contains(&true) && self.list_shapes.is_none() && !self.drops_shapes
    }
}

/// Changes by the position of the node's message.
#[derive(Default)]
struct Changes(HashMap<u64, Change>);

impl Changes {
    fn find(imported: &Imported, patch: &GraphPatch) -> Result<Self, WriteError> {
        let graph = &*imported.graph;
        if let Some(problem) = patch.problems(graph).into_iter().next() {
            return Err(WriteError::Patch(problem));
        }
        let mut out = Self::default();
        let mut scanner = Scanner::new(&imported.source().bytes);
        out.find_in(graph, "", patch, &mut scanner)?;
        for (name, function) in &graph.functions {
            out.find_in(function, &format!("{name}/"), patch, &mut scanner)?;
        }
        Ok(out)
    }

    fn find_in(
        &mut self,
        graph: &Graph,
        prefix: &str,
        patch: &GraphPatch,
        scanner: &mut Scanner<'_>,
    ) -> Result<(), WriteError> {
        let words = if prefix.is_empty() { HashMap::new() } else { function_words(graph, scanner)? };
        for node in &graph.nodes {
            let Some(span) = &node.span else { continue };
            if patch.removed.contains(&node.key) {
                self.0.insert(span.start, Change::Remove);
                continue;
            }
            let rewrite = Rewrite {
                inputs: new_inputs(graph, node, prefix, patch, scanner, &words)?,
                constant: new_constant(node, patch)?,
                classes: new_classes(node, prefix, patch),
                shape: node.outputs.first().and_then(|v| patch.shapes.get(&graph.value(*v).key)).cloned(),
                list_shapes: new_list_shapes(graph, node, patch),
                drops_shapes: !patch.shapes.is_empty() && node.attr("_output_shapes").is_some(),
            };
            if !rewrite.is_empty() {
                self.0.insert(span.start, Change::Rewrite(Box::new(rewrite)));
            }
        }
        Ok(())
    }

    fn any_within(&self, range: &Range<u64>) -> bool {
        self.0.keys().any(|p| range.contains(p))
    }
}

/// The value to write, where it differs from what the file holds.
fn new_constant(node: &Node, patch: &GraphPatch) -> Result<Option<Tensor>, WriteError> {
    let (Some(tensor), Some(constant)) = (patch.constants.get(&node.key), &node.constant) else { return Ok(None) };
    if matches!(constant.origin, ConstantOrigin::Variable { .. }) {
        // Its value lies in the checkpoint.
        return Ok(None);
    }
    let dtype = constant.payload.dtype;
    let tensor = converted(tensor, dtype)
        .ok_or_else(|| WriteError::Patch(format!("the constant {} is {dtype}, which cannot be written", node.key)))?;
    let is_same = constant.payload.load().is_ok_and(|old| old == tensor);
    Ok((!is_same).then_some(tensor))
}

/// Shapes of all outputs of a node that states them as a list, where some of them change.
fn new_list_shapes(graph: &Graph, node: &Node, patch: &GraphPatch) -> Option<Vec<PartialShape>> {
    let stated = node.attr("output_shapes")?.as_list()?;
    let new = |port: usize| patch.shapes.get(&graph.value(*node.outputs.get(port)?).key);
    let changes = (0..stated.len()).any(|port| new(port).is_some());
    let shape = |(port, attr): (usize, &crate::graph::Attr)| {
        new(port).or_else(|| attr.as_shape()).cloned().unwrap_or_else(PartialShape::unknown)
    };
    changes.then(|| stated.iter().enumerate().map(shape).collect())
}

/// `loc:@name` entries that name a node that is gone would make TensorFlow refuse the graph.
fn new_classes(node: &Node, prefix: &str, patch: &GraphPatch) -> Option<Vec<Vec<u8>>> {
    let list = node.attr("_class")?.as_list()?;
    let is_gone = |text: &[u8]| {
        let name = text.strip_prefix(b"loc:@").and_then(|n| std::str::from_utf8(n).ok());
        name.is_some_and(|n| patch.removed.contains(&NodeKey::new(format!("{prefix}{n}"))))
    };
    let texts: Vec<&[u8]> = list
        .iter()
        .filter_map(|a| match a {
            crate::graph::Attr::Bytes(b) => Some(b.as_slice()),
            _ => None,
        })
        .collect();
    let kept: Vec<Vec<u8>> = texts.iter().filter(|t| !is_gone(t)).map(|t| t.to_vec()).collect();
    (kept.len() < texts.len()).then_some(kept)
}

/// How the readers of a function body spell its values (`node:output:0`).
fn function_words(graph: &Graph, scanner: &mut Scanner<'_>) -> Result<HashMap<ValueKey, String>, WireError> {
    let mut out = HashMap::new();
    for node in &graph.nodes {
        let texts = input_texts(node, scanner)?;
        let data = texts.into_iter().filter(|t| !t.starts_with('^'));
        for (text, v) in data.zip(&node.inputs) {
            if let Some(v) = v {
                out.insert(graph.value(*v).key.clone(), text);
            }
        }
    }
    for &v in &graph.inputs {
        let node = graph.node(graph.value(v).producer);
        let name = node.key.as_str().rsplit('/').next().unwrap_or_default();
        out.insert(graph.value(v).key.clone(), name.to_owned());
    }
    Ok(out)
}

fn input_texts(node: &Node, scanner: &mut Scanner<'_>) -> Result<Vec<String>, WireError> {
    let mut texts = Vec::new();
    let Some(span) = node.span.clone() else { return Ok(texts) };
    scanner.each_field(span, |s, field| {
        if field.number == 3 {
            texts.push(s.text(&field.range()?)?);
        }
        Ok::<_, WireError>(())
    })?;
    Ok(texts)
}

/// The input list of a node where it changes.
fn new_inputs(
    graph: &Graph,
    node: &Node,
    prefix: &str,
    patch: &GraphPatch,
    scanner: &mut Scanner<'_>,
    words: &HashMap<ValueKey, String>,
) -> Result<Option<Vec<String>>, WriteError> {
    let reads_changed = |v| patch.redirects.contains_key(&graph.value(v).key);
    let waits_removed = node.control_inputs.iter().any(|n| patch.removed.contains(&graph.node(*n).key));
    let waits_more = patch.waits.get(&node.key);
    let rewired = |port: usize| patch.rewires.get(&(node.key.clone(), port));
    let is_rewired = (0..node.inputs.len()).any(|port| rewired(port).is_some());
    if !node.present_inputs().any(reads_changed) && !waits_removed && waits_more.is_none() && !is_rewired {
        return Ok(None);
    }
    let mut out = Vec::new();
    let mut data = node.inputs.iter().enumerate();
    for text in input_texts(node, scanner)? {
        if let InputRef::Control(name) = InputRef::parse(&text) {
            if !patch.removed.contains(&NodeKey::new(format!("{prefix}{name}"))) {
                out.push(text);
            }
            continue;
        }
        let (port, value) = data.next().map_or((usize::MAX, None), |(i, v)| (i, *v));
        let redirected = value.map(|v| &graph.value(v).key).filter(|k| patch.redirects.contains_key(*k));
        out.push(match rewired(port).or(redirected) {
            None => text,
            Some(key) => input_text(patch.target(key), prefix, words)?,
        });
    }
    for key in waits_more.into_iter().flatten() {
        let text = format!("^{}", key.as_str().strip_prefix(prefix).unwrap_or(key.as_str()));
        if !out.contains(&text) {
            out.push(text);
        }
    }
    Ok(Some(out))
}

/// How an input names a value: `name`, `name:1`, or a function's own words.
fn input_text(key: &ValueKey, prefix: &str, words: &HashMap<ValueKey, String>) -> Result<String, WriteError> {
    if prefix.is_empty() {
        return Ok(key.as_str().strip_suffix(":0").unwrap_or(key.as_str()).to_owned());
    }
    let missing = || WriteError::Patch(format!("nothing in the function says how {key} is called there"));
    words.get(key).cloned().ok_or_else(missing)
}

struct Copier<'a, W: Write> {
    out: &'a mut W,
    source: &'a Source,
    scanner: Scanner<'a>,
}

impl<W: Write> Copier<'_, W> {
    fn copy(&mut self, range: Range<u64>) -> Result<(), WriteError> {
        let mut at = range.start;
        while at < range.end {
            let end = (at + COPY as u64).min(range.end);
            self.out.write_all(&self.source.bytes.read(at, end)?)?;
            at = end;
        }
        Ok(())
    }

    /// Copies a message field by field; runs of unchanged fields in one piece.
    fn message(&mut self, range: Range<u64>, kind: Kind, changes: &Changes) -> Result<(), WriteError> {
        let mut unchanged = range.start..range.start;
        let mut at = range.start;
        while let Some(field) = self.scanner.field(&mut at, range.end)? {
            let Some(bytes) = self.changed(&field, kind, changes)? else {
                unchanged.end = field.span.end;
                continue;
            };
            self.copy(unchanged)?;
            self.out.write_all(&bytes)?;
            unchanged = field.span.end..field.span.end;
        }
        self.copy(unchanged)
    }

    /// The new bytes of a field; `None` where it stays, empty where it goes.
    fn changed(&mut self, field: &Field, kind: Kind, changes: &Changes) -> Result<Option<Vec<u8>>, WriteError> {
        let inner = match (kind, field.number) {
            (Kind::GraphDef, 1) | (Kind::Function, 3) => {
                let range = field.range()?;
                return match changes.0.get(&range.start) {
                    None => Ok(None),
                    Some(Change::Remove) => Ok(Some(Vec::new())),
                    Some(Change::Rewrite(rewrite)) => {
                        let bytes = rewrite_node(&mut self.scanner, range, rewrite)?;
                        let mut out = Vec::with_capacity(bytes.len() + 8);
                        wire::put_bytes(&mut out, field.number, &bytes);
                        Ok(Some(out))
                    }
                };
            }
            (Kind::GraphDef, 2) => Kind::Library,
            (Kind::Library, 1) => Kind::Function,
            _ => return Ok(None),
        };
        let range = field.range()?;
        if !changes.any_within(&range) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let mut nested = Copier { out: &mut bytes, source: self.source, scanner: Scanner::new(&self.source.bytes) };
        nested.message(range, inner, changes)?;
        let mut out = Vec::with_capacity(bytes.len() + 8);
        wire::put_bytes(&mut out, field.number, &bytes);
        Ok(Some(out))
    }
}

/// A NodeDef with other inputs, another value, or fewer classes; every other field as it was, in its place.
fn rewrite_node(s: &mut Scanner<'_>, range: Range<u64>, rewrite: &Rewrite) -> Result<Vec<u8>, WriteError> {
    let mut out = Vec::new();
    let mut inputs = rewrite.inputs.as_deref();
    s.each_field(range, |s, field| {
        match field.number {
            3 if rewrite.inputs.is_some() => put_inputs(&mut out, inputs.take()),
            5 => match attr_entry(s, &field, rewrite)? {
                Some(entry) => out.extend(entry),
                None => out.extend(s.read(&field.span)?),
            },
            _ => out.extend(s.read(&field.span)?),
        }
        Ok::<_, WireError>(())
    })?;
    // A node that had no inputs and waits for something now.
    put_inputs(&mut out, inputs);
    Ok(out)
}

fn put_inputs(out: &mut Vec<u8>, inputs: Option<&[String]>) {
    for text in inputs.unwrap_or_default() {
        wire::put_bytes(out, 3, text.as_bytes());
    }
}

/// The new bytes of an attribute entry (empty where it goes); `None` where it stays.
fn attr_entry(s: &mut Scanner<'_>, field: &Field, rewrite: &Rewrite) -> Result<Option<Vec<u8>>, WireError> {
    let (mut key, mut value) = (String::new(), None);
    s.each_field(field.range()?, |s, f| {
        match f.number {
            1 => key = s.text(&f.range()?)?,
            2 => value = Some(f.range()?),
            _ => {}
        }
        Ok::<_, WireError>(())
    })?;
    let new = match (key.as_str(), &rewrite.constant, &rewrite.classes) {
        ("value", Some(tensor), _) => {
            let mut attr = Vec::new();
            let proto = match value {
                Some(value) => tensor_message(s, value)?,
                None => None,
            };
            wire::put_bytes(&mut attr, 8, &encode::tensor_like(s, proto, tensor)?);
            attr
        }
        ("_output_shapes", ..) if rewrite.drops_shapes => return Ok(Some(Vec::new())),
        ("output_shapes", ..) if rewrite.list_shapes.is_some() => {
            let mut list = Vec::new();
            rewrite.list_shapes.iter().flatten().for_each(|s| wire::put_bytes(&mut list, 7, &encode::shape(s)));
            let mut attr = Vec::new();
            wire::put_bytes(&mut attr, 1, &list);
            attr
        }
        ("shape", ..) if rewrite.shape.is_some() => {
            let mut attr = Vec::new();
            rewrite.shape.iter().for_each(|s| wire::put_bytes(&mut attr, 7, &encode::shape(s)));
            attr
        }
        ("_class", _, Some(kept)) if kept.is_empty() => return Ok(Some(Vec::new())),
        ("_class", _, Some(kept)) => {
            let mut list = Vec::new();
            kept.iter().for_each(|text| wire::put_bytes(&mut list, 2, text));
            let mut attr = Vec::new();
            wire::put_bytes(&mut attr, 1, &list);
            attr
        }
        _ => return Ok(None),
    };
    let mut entry = Vec::with_capacity(new.len() + 32);
    wire::put_bytes(&mut entry, 1, key.as_bytes());
    wire::put_bytes(&mut entry, 2, &new);
    let mut out = Vec::with_capacity(entry.len() + 8);
    wire::put_bytes(&mut out, 5, &entry);
    Ok(Some(out))
}

/// Where the TensorProto of an AttrValue lies.
fn tensor_message(s: &mut Scanner<'_>, attr: Range<u64>) -> Result<Option<Range<u64>>, WireError> {
    let mut out = None;
    s.each_field(attr, |_, f| {
        if f.number == 8 {
            out = Some(f.range()?);
        }
        Ok::<_, WireError>(())
    })?;
    Ok(out)
}
