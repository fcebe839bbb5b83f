//! MetaGraphDef (tensorflow/core/protobuf/meta_graph.proto): a graph with its saver, signatures and collections. A
//! checkpoint's `.meta` file is one; a SavedModel holds one or more.
//!
//! Fields: 1 meta_info_def (4 tags, 5 TensorFlow's version), 2 graph_def, 4 collection_def, 5 signature_def, 7
//! object_graph_def.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Range;

use crate::formats::wire::{Scanner, WireError};
use crate::graph::{Graph, Signature, ValueKey};

/// What a meta graph says besides its graph.
#[derive(Clone, Debug, Default)]
pub struct MetaGraph {
    /// The graph's message; empty where there is none.
    pub graph: Range<u64>,
    pub tags: Vec<String>,
    /// Version of the TensorFlow that wrote it.
    pub version: String,
    pub signatures: Vec<RawSignature>,
    /// Names of variables that the training program trained, without `:0`, or under which they are saved; `None` where it
    /// does not say.
    pub trainable: Option<HashSet<String>>,
    /// Whether it belongs to an object graph (TensorFlow 2).
    pub has_objects: bool,
}

/// A signature before its names are looked up in the graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawSignature {
    pub name: String,
    pub inputs: Vec<(String, String)>,
    pub outputs: Vec<(String, String)>,
}

/// Names of objects inside objects are followed up to this length.
const MAX_PATH: usize = 1024;
/// The signature that TensorFlow adds to run initialisation; nobody means it.
const INIT: &str = "__saved_model_init_op";

/// Reads a meta graph that fills `range`, but for its graph.
pub fn read(s: &mut Scanner<'_>, range: Range<u64>) -> Result<MetaGraph, WireError> {
    let mut out = MetaGraph::default();
    let mut collections = BTreeMap::new();
    let mut objects = None;
    s.each_field(range, |s, field| {
        match field.number {
            1 => s.each_field(field.range()?, |s, f| {
                match f.number {
                    4 => out.tags.push(s.text(&f.range()?)?),
                    5 => out.version = s.text(&f.range()?)?,
                    _ => {}
                }
                Ok::<_, WireError>(())
            })?,
            2 => out.graph = field.range()?,
            4 => {
                let (name, value) = map_entry(s, field.range()?)?;
                collections.insert(name, value);
            }
            5 => {
                let (name, value) = map_entry(s, field.range()?)?;
                if let Some(value) = value.filter(|_| name != INIT) {
                    out.signatures.push(signature(s, name, value)?);
                }
            }
            7 => objects = Some(field.range()?),
            _ => {}
        }
        Ok::<_, WireError>(())
    })?;
    // Maps come in any order; names decide, so that two runs agree.
    out.signatures.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(Some(range)) = collections.remove("trainable_variables") {
        out.trainable = Some(variable_names(s, range)?);
    }
    if let Some(range) = objects {
        out.has_objects = true;
        out.trainable = Some(trainable_objects(s, range)?).filter(|t| !t.is_empty());
    }
    Ok(out)
}

/// Key and value of a `map<string, message>` entry.
fn map_entry(s: &mut Scanner<'_>, range: Range<u64>) -> Result<(String, Option<Range<u64>>), WireError> {
    let (mut key, mut value) = (String::new(), None);
    s.each_field(range, |s, field| {
        match field.number {
            1 => key = s.text(&field.range()?)?,
            2 => value = Some(field.range()?),
            _ => {}
        }
        Ok::<_, WireError>(())
    })?;
    Ok((key, value))
}

/// SignatureDef: 1 inputs, 2 outputs, both maps to TensorInfo.
fn signature(s: &mut Scanner<'_>, name: String, range: Range<u64>) -> Result<RawSignature, WireError> {
    let mut out = RawSignature { name, ..RawSignature::default() };
    s.each_field(range, |s, field| {
        if !matches!(field.number, 1 | 2) {
            return Ok::<_, WireError>(());
        }
        let (alias, info) = map_entry(s, field.range()?)?;
        let mut tensor = String::new();
        if let Some(info) = info {
            s.each_field(info, |s, f| {
                if f.number == 1 {
                    tensor = s.text(&f.range()?)?;
                }
                Ok::<_, WireError>(())
            })?;
        }
        // Sparse and composite tensors have several names and are left to their own.
        if !tensor.is_empty() {
            if field.number == 1 { &mut out.inputs } else { &mut out.outputs }.push((alias, tensor));
        }
        Ok(())
    })?;
    out.inputs.sort();
    out.outputs.sort();
    Ok(out)
}

/// Names in a collection of VariableDef (1 variable_name) messages or of plain node names.
fn variable_names(s: &mut Scanner<'_>, range: Range<u64>) -> Result<HashSet<String>, WireError> {
    let mut out = HashSet::new();
    let bare = |n: String| n.strip_suffix(":0").map(str::to_owned).unwrap_or(n);
    s.each_field(range, |s, kind| {
        s.each_field(kind.range()?, |s, value| {
            match (kind.number, value.number) {
                (1, 1) => {
                    out.insert(bare(s.text(&value.range()?)?));
                }
                (2, 1) => s.each_field(value.range()?, |s, f| {
                    if f.number == 1 {
                        out.insert(bare(s.text(&f.range()?)?));
                    }
                    Ok::<_, WireError>(())
                })?,
                _ => {}
            }
            Ok::<_, WireError>(())
        })
    })?;
    Ok(out)
}

/// An object of a SavedModel: whom it holds under which name, and whether it is a trainable variable.
#[derive(Default)]
struct Object {
    children: Vec<(usize, String)>,
    is_trainable: bool,
}

/// SavedObjectGraph: 1 nodes, each with 1 children (1 node_id, 2 local_name) and perhaps a SavedVariable under 7 (3
/// trainable). Gives the names that trainable variables are saved under: the shortest way to them from the root, as
/// TensorFlow names them (tensorflow/python/checkpoint/graph_view.py).
fn trainable_objects(s: &mut Scanner<'_>, range: Range<u64>) -> Result<HashSet<String>, WireError> {
    let mut objects: Vec<Object> = Vec::new();
    s.each_field(range, |s, node| {
        if node.number != 1 {
            return Ok(());
        }
        let mut object = Object::default();
        s.each_field(node.range()?, |s, f| {
            match f.number {
                1 => object.children.push(child(s, f.range()?)?),
                7 => s.each_field(f.range()?, |_, v| {
                    if v.number == 3 {
                        object.is_trainable = v.varint()? != 0;
                    }
                    Ok::<_, WireError>(())
                })?,
                _ => {}
            }
            Ok::<_, WireError>(())
        })?;
        objects.push(object);
        Ok::<_, WireError>(())
    })?;
    let mut out = HashSet::new();
    let mut seen = vec![false; objects.len()];
    seen.iter_mut().take(1).for_each(|s| *s = true);
    let mut queue = VecDeque::from([(0, String::new())]);
    while let Some((id, path)) = queue.pop_front() {
        let Some(object) = objects.get(id) else { continue };
        if object.is_trainable {
            out.insert(format!("{path}/.ATTRIBUTES/VARIABLE_VALUE"));
        }
        // Long ways through many objects would take memory out of proportion.
        if path.len() > MAX_PATH {
            continue;
        }
        for (child, name) in &object.children {
            if seen.get_mut(*child).is_none_or(|s| std::mem::replace(s, true)) {
                continue;
            }
            let name = name.replace('.', "..").replace('/', ".S");
            queue.push_back((*child, if path.is_empty() { name } else { format!("{path}/{name}") }));
        }
    }
    Ok(out)
}

fn child(s: &mut Scanner<'_>, range: Range<u64>) -> Result<(usize, String), WireError> {
    let (mut id, mut name) = (0, String::new());
    s.each_field(range, |s, field| {
        match field.number {
            1 => id = usize::try_from(field.varint()?).unwrap_or(usize::MAX),
            2 => name = s.text(&field.range()?)?,
            _ => {}
        }
        Ok::<_, WireError>(())
    })?;
    Ok((id, name))
}

/// TrackableObjectGraph (what a TensorFlow 2 checkpoint keeps of its objects): a variable's own name → the name that its
/// tensor was saved under. 1 nodes → 2 attributes → 2 full_name, 3 checkpoint_key.
pub fn saved_names(s: &mut Scanner<'_>) -> Result<BTreeMap<String, String>, WireError> {
    let mut out = BTreeMap::new();
    let all = s.all();
    s.each_field(all, |s, node| {
        if node.number != 1 {
            return Ok(());
        }
        s.each_field(node.range()?, |s, attribute| {
            if attribute.number != 2 {
                return Ok(());
            }
            let (mut full, mut key) = (String::new(), String::new());
            s.each_field(attribute.range()?, |s, f| {
                match f.number {
                    2 => full = s.text(&f.range()?)?,
                    3 => key = s.text(&f.range()?)?,
                    _ => {}
                }
                Ok::<_, WireError>(())
            })?;
            if !full.is_empty() && !key.is_empty() {
                out.insert(full, key);
            }
            Ok::<_, WireError>(())
        })
    })?;
    Ok(out)
}

/// Signatures whose values the graph has, the chosen one first.
pub fn resolve(signatures: &[RawSignature], graph: &Graph, chosen: Option<&str>) -> Vec<Signature> {
    let keyed = |pairs: &[(String, String)]| -> Vec<(String, ValueKey)> {
        let find = |(alias, name): &(String, String)| {
            let value = graph.value_named(name)?;
            Some((alias.clone(), graph.value(value).key.clone()))
        };
        pairs.iter().filter_map(find).collect()
    };
    let resolved =
        |s: &RawSignature| Signature { name: s.name.clone(), inputs: keyed(&s.inputs), outputs: keyed(&s.outputs) };
    let mut out: Vec<Signature> = signatures.iter().map(resolved).collect();
    if let Some(at) = chosen.and_then(|c| out.iter().position(|s| s.name == c)) {
        out[..=at].rotate_right(1);
    }
    out
}
