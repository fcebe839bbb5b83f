//! Writes a model by patching the original bytes: what did not change is copied, unknown fields included, so an export
//! without changes is byte-identical. Names are kept; tensors that change are written as raw data.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use crate::base::files;
use crate::formats::wire::{self, Field, Scanner, WireError};
use crate::formats::{Imported, Source, WriteError};
use crate::graph::patch::converted;
use crate::graph::{Attr, ConstantOrigin, Graph, GraphPatch, Node, NodeKey, NodeKind, ValueKey};
use crate::tensor::Tensor;

use super::encode;
use super::spill::Spill;

/// Bytes copied at once.
const COPY: usize = 1 << 20;
/// A protobuf message may not be longer.
const MAX_MESSAGE: u64 = (1 << 31) - (1 << 20);

/// Messages that hold what may change, from the outside in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Graph,
    Function,
    Node,
    Attribute,
}

/// Carries out `patch` on the file's bytes. The result lands under `path` only after it was read back. Files with
/// external values are copied beside it where it lies in another folder.
pub fn write(imported: &Imported, patch: &GraphPatch, path: &Path) -> Result<(), WriteError> {
    write_within(imported, patch, path, MAX_MESSAGE)
}

/// As [`write()`], with another limit for the model's own file; what does not fit goes to a file beside it.
pub fn write_within(imported: &Imported, patch: &GraphPatch, path: &Path, limit: u64) -> Result<(), WriteError> {
    if let Some(problem) = patch.problems(&imported.graph).into_iter().next() {
        return Err(WriteError::Patch(problem));
    }
    let mut changes = Changes::default();
    let mut finder = Finder { imported, patch, scanner: Scanner::new(&imported.source().bytes), out: &mut changes };
    finder.find_in(&imported.graph, "", &HashMap::new())?;
    finder.find_in_functions()?;
    copy_external(imported, path)?;
    let own = imported.source().bytes.len();
    let mut spill = None;
    if own.saturating_add(changes.grown) > limit {
        let taken = super::external_locations(imported.source())?;
        let value =
            |at: &u64| if let Some(Change::Value(t)) = changes.by_start.get(at) { Some((*at, t)) } else { None };
        let made = Spill::write(path, &taken, changes.initializers.keys().filter_map(value).collect())?;
        // What lies beside the model neither grows it nor stays in it.
        let gone = made.places.iter().map(|(at, (_, len))| {
            let old = changes.initializers.get(at).copied().unwrap_or(0);
            len.saturating_sub(old) + old
        });
        if (own + changes.grown).saturating_sub(gone.sum()) > limit {
            made.discard();
            return Err(WriteError::Patch("the tuned values make the file larger than 2 GB".into()));
        }
        spill = Some(made);
    }
    let added = Added::of(imported, patch);
    let write = |mut out: &mut dyn Write| -> Result<(), WriteError> {
        let source = imported.source();
        let scanner = Scanner::new(&source.bytes);
        let mut copier =
            Copier { out: &mut out, source, scanner, changes: &changes, added: &added, spill: spill.as_ref() };
        let all = copier.scanner.all();
        copier.message(all, Kind::Model, true)
    };
    let written = files::replace_checked(path, |out| write(out), |temp| check(imported, patch, temp));
    if let (Err(_), Some(spill)) = (&written, spill) {
        spill.discard();
    }
    written
}

/// What the main graph gets, as fields.
#[derive(Default)]
struct Added {
    /// Nodes that others read: they stand before all nodes of the file.
    first: Vec<u8>,
    /// Other nodes, initializers and declarations of outputs.
    last: Vec<u8>,
    /// New declarations of inputs, by name.
    inputs: HashMap<String, Vec<u8>>,
    /// Declared shapes of computed values hold no more.
    drops_shapes: bool,
}

impl Added {
    fn of(imported: &Imported, patch: &GraphPatch) -> Self {
        let mut out = Self { drops_shapes: !patch.shapes.is_empty(), ..Self::default() };
        for node in &patch.resolved_added() {
            let to = if node.is_early { &mut out.first } else { &mut out.last };
            match (&node.constant, node.outputs.first()) {
                (Some(tensor), Some((name, _))) => {
                    wire::put_bytes(&mut out.last, 5, &encode::tensor(name.as_str(), tensor));
                }
                _ => wire::put_bytes(to, 1, &encode::node(node)),
            }
        }
        let fact_of = |key: &ValueKey| {
            let added = patch.added.iter().flat_map(|n| &n.outputs).find(|(k, _)| k == key).map(|(_, f)| f.clone());
            let graph = &imported.graph;
            added.or_else(|| Some(graph.value(graph.value_named(key.as_str())?).fact.clone()))
        };
        for key in &patch.outputs {
            let key = patch.target(key);
            if let Some(fact) = fact_of(key) {
                wire::put_bytes(&mut out.last, 12, &encode::value_info(key.as_str(), &fact));
            }
        }
        for (key, shape) in &patch.shapes {
            if let Some(fact) = fact_of(key) {
                let fact = crate::tensor::Fact::new(fact.dtype, shape.clone());
                out.inputs.insert(key.as_str().to_owned(), encode::value_info(key.as_str(), &fact));
            }
        }
        out
    }

    fn is_empty(&self) -> bool {
        self.first.is_empty() && self.last.is_empty() && self.inputs.is_empty()
    }
}

/// The files that hold external values, to the same place beside the new model.
fn copy_external(imported: &Imported, path: &Path) -> Result<(), WriteError> {
    let locations = super::external_locations(imported.source())?;
    let (Some(from), false) = (imported.source().folder(), locations.is_empty()) else { return Ok(()) };
    let to = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    if matches!((files::canonical(from), files::canonical(to)), (Ok(a), Ok(b)) if a == b) {
        return Ok(());
    }
    for location in locations {
        let bytes = imported.source().sibling(&location)?;
        let target = to.join(&location);
        if let Some(folder) = target.parent() {
            files::create_dir_all(folder)?;
        }
        files::replace_with(&target, |out| {
            let mut at = 0;
            while at < bytes.len() {
                let end = (at + COPY as u64).min(bytes.len());
                out.write_all(&bytes.read(at, end)?)?;
                at = end;
            }
            Ok::<_, std::io::Error>(())
        })?;
    }
    Ok(())
}

/// Reads the new file back and compares it with what it should hold.
fn check(imported: &Imported, patch: &GraphPatch, temp: &Path) -> Result<(), WriteError> {
    let bad = |what: String| WriteError::ReadBack(what);
    let written = crate::formats::open(temp).map_err(|e| bad(e.to_string()))?;
    let expected = patch.apply(&imported.graph);
    if written.graph.nodes.len() != expected.nodes.len() {
        return Err(bad(format!("{} nodes instead of {}", written.graph.nodes.len(), expected.nodes.len())));
    }
    for node in expected.nodes.iter().filter(|n| n.span.is_some()) {
        let back = written.graph.node_named(node.key.as_str()).map(|id| written.graph.node(id));
        if back.is_none_or(|b| b.op != node.op || b.inputs.len() != node.inputs.len()) {
            return Err(bad(format!("the node {} in another form", node.key)));
        }
    }
    for key in patch.constants.keys() {
        let load = |g: &Graph| constant(g, key).map(|c| c.load().map_err(|e| bad(e.to_string()))).transpose();
        if load(&expected)? != load(&written.graph)? {
            return Err(bad(format!("the constant {key} with other values")));
        }
    }
    let errors = |m: &Imported| {
        let errors = m.diagnostics.iter().filter(|d| d.severity == crate::base::Severity::Error);
        errors.map(|d| d.message.clone()).collect::<Vec<_>>()
    };
    let before = errors(imported);
    match errors(&written).into_iter().find(|e| !before.contains(e)) {
        Some(new) => Err(bad(new)),
        None => Ok(()),
    }
}

fn constant<'g>(graph: &'g Graph, key: &NodeKey) -> Option<&'g crate::tensor::Payload> {
    let bodies = std::iter::once(graph).chain(graph.functions.values().map(|f| &**f));
    let mut found = bodies.filter_map(|g| g.constant(g.node_named(key.as_str())?));
    found.next().map(|c| &c.payload)
}

/// What happens to a message.
enum Change {
    Remove,
    /// A node reads other values: position → new name.
    Rename(HashMap<usize, String>),
    /// An initializer, or the value of a Constant node.
    Value(Tensor),
}

/// Changes by the position of the message, and names that go.
#[derive(Default)]
struct Changes {
    by_start: HashMap<u64, Change>,
    /// Initializers that change, which may lie beside the model: position of the message → its length now.
    initializers: HashMap<u64, u64>,
    /// By how many bytes changed values are longer than their messages were.
    grown: u64,
    /// Values that nothing computes any more: their declarations go as well.
    gone: HashSet<String>,
}

struct Finder<'a> {
    imported: &'a Imported,
    patch: &'a GraphPatch,
    scanner: Scanner<'a>,
    out: &'a mut Changes,
}

impl<'a> Finder<'a> {
    /// `outer` are the new names of values of the graphs around that nodes here may read.
    fn find_in(&mut self, graph: &Graph, prefix: &str, outer: &HashMap<String, String>) -> Result<(), WriteError> {
        let local = |key: &str| key.strip_prefix(prefix).unwrap_or(key).to_owned();
        let mut names = outer.clone();
        for value in &graph.values {
            if graph.node(value.producer).kind != NodeKind::Argument {
                names.remove(&local(value.key.as_str()));
            }
            if self.patch.redirects.contains_key(&value.key) {
                let to = self.patch.target(&value.key);
                names.insert(local(value.key.as_str()), local(to.as_str()));
            }
        }
        for node in &graph.nodes {
            if self.patch.removed.contains(&node.key) {
                self.out.gone.extend(node.outputs.iter().map(|v| local(graph.value(*v).key.as_str())));
                if let Some(span) = &node.span {
                    self.out.by_start.insert(span.start, Change::Remove);
                }
                continue;
            }
            self.node(node, &names)?;
            for attr in node.attrs.values() {
                let (Attr::Function(body), imported) = (attr, self.imported) else { continue };
                if body.starts_with(&format!("{}/", node.key))
                    && let Some(inner) = imported.graph.functions.get(body)
                {
                    self.find_in(inner, &format!("{body}/"), &names)?;
                }
            }
        }
        Ok(())
    }

    /// Bodies of model-local functions read nothing from outside.
    fn find_in_functions(&mut self) -> Result<(), WriteError> {
        let graph = self.imported.graph.clone();
        let bodies = || std::iter::once(&*graph).chain(graph.functions.values().map(|f| &**f));
        let called: HashSet<&str> =
            bodies().flat_map(|g| &g.nodes).filter_map(|n| n.attr(super::build::BODY)?.as_str()).collect();
        for (name, body) in graph.functions.iter().filter(|(n, _)| called.contains(n.as_str())) {
            self.find_in(body, &format!("{name}/"), &HashMap::new())?;
        }
        Ok(())
    }

    fn node(&mut self, node: &Node, names: &HashMap<String, String>) -> Result<(), WriteError> {
        let Some(span) = &node.span else { return Ok(()) };
        if let (Some(tensor), Some(constant)) = (self.patch.constants.get(&node.key), &node.constant) {
            let dtype = constant.payload.dtype;
            let refused = || WriteError::Patch(format!("the constant {} has a type that cannot be written", node.key));
            let tensor = converted(tensor, dtype).ok_or_else(refused)?;
            if !constant.payload.load().is_ok_and(|old| old == tensor) {
                let old = span.end - span.start;
                self.out.grown += (tensor.bytes().len() as u64).saturating_sub(old);
                if constant.origin == ConstantOrigin::Initializer {
                    self.out.initializers.insert(span.start, old);
                }
                self.out.by_start.insert(span.start, Change::Value(tensor));
            }
            return Ok(());
        }
        let rewired = |port: usize| self.patch.rewires.get(&(node.key.clone(), port));
        let is_rewired = (0..node.inputs.len()).any(|port| rewired(port).is_some());
        if (names.is_empty() && !is_rewired) || node.constant.is_some() {
            return Ok(());
        }
        let mut renames = HashMap::new();
        let mut port = 0;
        self.scanner.each_field(span.clone(), |s, field| {
            if field.number == 1 {
                let text = s.text(&field.range()?)?;
                let new = rewired(port).map(|k| k.as_str().to_owned()).or_else(|| names.get(&text).cloned());
                renames.extend(new.map(|new| (port, new)));
                port += 1;
            }
            Ok::<_, WireError>(())
        })?;
        if !renames.is_empty() {
            self.out.by_start.insert(span.start, Change::Rename(renames));
        }
        Ok(())
    }
}

struct Copier<'a, W: Write> {
    out: &'a mut W,
    source: &'a Source,
    scanner: Scanner<'a>,
    changes: &'a Changes,
    added: &'a Added,
    spill: Option<&'a Spill>,
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
    fn message(&mut self, range: Range<u64>, kind: Kind, is_main: bool) -> Result<(), WriteError> {
        let mut unchanged = range.start..range.start;
        let mut at = range.start;
        if kind == Kind::Graph && is_main {
            self.out.write_all(&self.added.first)?;
        }
        while let Some(field) = self.scanner.field(&mut at, range.end)? {
            let Some(bytes) = self.changed(&field, kind, is_main)? else {
                unchanged.end = field.span.end;
                continue;
            };
            self.copy(unchanged)?;
            self.out.write_all(&bytes)?;
            unchanged = field.span.end..field.span.end;
        }
        self.copy(unchanged)?;
        if kind == Kind::Graph && is_main {
            self.out.write_all(&self.added.last)?;
        }
        Ok(())
    }

    /// The new bytes of a field; `None` where it stays, empty where it goes.
    fn changed(&mut self, field: &Field, kind: Kind, is_main: bool) -> Result<Option<Vec<u8>>, WriteError> {
        let inner = match (kind, field.number) {
            (Kind::Model, 7) | (Kind::Attribute, 6) => Kind::Graph,
            (Kind::Model, 25) => Kind::Function,
            (Kind::Graph, 1) | (Kind::Function, 7) => Kind::Node,
            (Kind::Node, 5) => Kind::Attribute,
            (Kind::Graph, 5 | 15) => return self.initializer(field),
            (Kind::Graph, 11..=13) => return self.declaration(field, is_main),
            _ => return Ok(None),
        };
        let range = field.range()?;
        let own = self.changes.by_start.get(&range.start).filter(|_| inner == Kind::Node);
        if matches!(own, Some(Change::Remove)) {
            return Ok(Some(Vec::new()));
        }
        let is_graph = inner == Kind::Graph;
        let appends = is_graph && is_main && kind == Kind::Model && !self.added.is_empty();
        let declares = is_graph && (!self.changes.gone.is_empty() || self.added.drops_shapes);
        if !(appends || declares || self.changes.by_start.keys().any(|p| range.contains(p))) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        match own {
            Some(Change::Value(tensor)) => bytes = constant_node(&mut self.scanner, range, tensor)?,
            Some(Change::Rename(names)) => {
                let (mut at, mut port) = (range.start, 0);
                while let Some(f) = self.scanner.field(&mut at, range.end)? {
                    if f.number == 1 {
                        let text = self.scanner.text(&f.range()?)?;
                        wire::put_bytes(&mut bytes, 1, names.get(&port).unwrap_or(&text).as_bytes());
                        port += 1;
                    } else {
                        match self.changed(&f, Kind::Node, false)? {
                            Some(new) => bytes.extend(new),
                            None => bytes.extend(self.scanner.read(&f.span)?),
                        }
                    }
                }
            }
            _ => {
                let mut nested = Copier {
                    out: &mut bytes,
                    source: self.source,
                    scanner: Scanner::new(&self.source.bytes),
                    changes: self.changes,
                    added: self.added,
                    spill: self.spill,
                };
                nested.message(range, inner, is_main && kind == Kind::Model)?;
            }
        }
        let mut out = Vec::with_capacity(bytes.len() + 8);
        wire::put_bytes(&mut out, field.number, &bytes);
        Ok(Some(out))
    }

    fn initializer(&mut self, field: &Field) -> Result<Option<Vec<u8>>, WriteError> {
        let range = field.range()?;
        match self.changes.by_start.get(&range.start) {
            None => Ok(None),
            Some(Change::Value(_)) if field.number == 15 => {
                Err(WriteError::Patch("a sparse tensor cannot be written with other values".into()))
            }
            Some(Change::Value(tensor)) => {
                let beside = match self.spill {
                    Some(spill) => spill.message(&mut self.scanner, range.clone())?,
                    None => None,
                };
                let bytes = match beside {
                    Some(bytes) => bytes,
                    None => encode::tensor_like(&mut self.scanner, range, tensor)?,
                };
                let mut out = Vec::with_capacity(bytes.len() + 8);
                wire::put_bytes(&mut out, 5, &bytes);
                Ok(Some(out))
            }
            Some(_) => Ok(Some(Vec::new())),
        }
    }

    /// Declarations of inputs and of values that are gone.
    /// Of other values the shapes go where inputs get new ones.
    fn declaration(&mut self, field: &Field, is_main: bool) -> Result<Option<Vec<u8>>, WriteError> {
        if self.changes.gone.is_empty() && !self.added.drops_shapes {
            return Ok(None);
        }
        let (mut name, mut code) = (String::new(), None);
        self.scanner.each_field(field.range()?, |s, f| {
            match f.number {
                1 => name = s.text(&f.range()?)?,
                2 => code = element_type(s, f.range()?)?,
                _ => {}
            }
            Ok::<_, WireError>(())
        })?;
        if self.changes.gone.contains(&name) && field.number != 12 {
            return Ok(Some(Vec::new()));
        }
        if !self.added.drops_shapes {
            return Ok(None);
        }
        let own = self.added.inputs.get(&name).filter(|_| is_main && field.number == 11);
        let bytes = match (field.number, own, code) {
            (11, Some(bytes), _) => bytes.clone(),
            (12, _, Some(code)) => encode::value_info_of(&name, code),
            (13, ..) => return Ok(Some(Vec::new())),
            _ => return Ok(None),
        };
        let mut out = Vec::with_capacity(bytes.len() + 8);
        wire::put_bytes(&mut out, field.number, &bytes);
        Ok(Some(out))
    }
}

/// The element type's code of a TypeProto of a tensor.
fn element_type(s: &mut Scanner<'_>, range: Range<u64>) -> Result<Option<u64>, WireError> {
    let mut code = None;
    s.each_field(range, |s, f| {
        if f.number == 1 {
            s.each_field(f.range()?, |_, f| {
                if f.number == 1 {
                    code = Some(f.varint()?);
                }
                Ok::<_, WireError>(())
            })?;
        }
        Ok::<_, WireError>(())
    })?;
    Ok(code)
}

/// A Constant node with another value; every other field as it was, in its place.
fn constant_node(s: &mut Scanner<'_>, range: Range<u64>, tensor: &Tensor) -> Result<Vec<u8>, WriteError> {
    let mut out = Vec::new();
    s.each_field(range, |s, field| {
        let mut value = None;
        if field.number == 5 {
            s.each_field(field.range()?, |s, f| {
                let is_value = f.number == 1 && s.text(&f.range()?)?.starts_with("value");
                if is_value || f.number == 5 {
                    value = Some(if f.number == 5 { Some(f.range()?) } else { value.clone().flatten() });
                }
                Ok::<_, WireError>(())
            })?;
        }
        match value {
            Some(old) => wire::put_bytes(&mut out, 5, &encode::value_attribute(s, old, tensor)?),
            None => out.extend(s.read(&field.span)?),
        }
        Ok::<_, WireError>(())
    })?;
    Ok(out)
}
