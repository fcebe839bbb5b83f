//! Weights by name: values of another file for the constants of the open graph, with a mapping that can be edited and a
//! report of what matched, what was missed, and what had another shape.
//!
//! Names match as they stand, by the mapping, or by convention: `bert.encoder.layer.0.output.dense.weight` of PyTorch is
//! `bert/encoder/layer_0/output/dense/kernel` of TensorFlow, transposed.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::base::Reporter;
use crate::formats::named;
use crate::graph::patch::converted;
use crate::graph::{Graph, NodeKey};
use crate::tensor::{DType, Payload, Tensor};

/// The marker of an array that is to be transposed, at the end of its name in a mapping.
pub const TRANSPOSED: &str = "^T";

/// An edit: load the arrays of a file into the constants of the same names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightsChoice {
    /// `.safetensors`, `.npz`, a checkpoint or another model; relative to the session file there.
    pub file: String,
    /// Constant → array, where names alone do not tell; `*` on both sides stands for the same text, `^T` at the end
    /// transposes, an empty array leaves the constant alone.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub map: IndexMap<String, String>,
}

/// One pair of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matched {
    pub constant: String,
    pub array: String,
    pub transposed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Misfit {
    pub constant: String,
    pub array: String,
    pub why: String,
}

/// What became of every weight and every array.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WeightsReport {
    pub matched: Vec<Matched>,
    /// Constants other than single numbers that no array matches.
    pub missed: Vec<String>,
    pub misfits: Vec<Misfit>,
    /// Arrays that no constant takes.
    pub unused: Vec<String>,
}

impl WeightsReport {
    /// The mapping that this report amounts to, to be edited and given back.
    pub fn map(&self) -> IndexMap<String, String> {
        let text = |array: &str, transposed: bool| format!("{array}{}", if transposed { TRANSPOSED } else { "" });
        let pairs = self.matched.iter().map(|m| (m.constant.clone(), text(&m.array, m.transposed)));
        pairs.chain(self.missed.iter().map(|c| (c.clone(), String::new()))).collect()
    }
}

/// A mapping as people write it: a JSON object, or lines `constant = array` with `#` before remarks.
pub fn parse_map(text: &str) -> Result<IndexMap<String, String>, String> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|e| format!("it is no object of texts: {e}"));
    }
    let mut out = IndexMap::new();
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.trim().starts_with('#')) {
        let (constant, array) =
            line.split_once('=').ok_or_else(|| format!("line {}: expected constant = array", i + 1))?;
        out.insert(constant.trim().to_owned(), array.trim().to_owned());
    }
    Ok(out)
}

/// Values for constants of `graph`, with the report. Fails only where the file cannot be read.
pub fn load(graph: &Graph, choice: &WeightsChoice) -> Result<(Vec<(NodeKey, Tensor)>, WeightsReport), String> {
    let arrays = named::read(Path::new(&choice.file)).map_err(|e| e.to_string())?.arrays;
    let report = find(graph, &arrays, &choice.map);
    let mut out = Vec::with_capacity(report.matched.len());
    for m in &report.matched {
        let (Some(id), Some(payload)) = (graph.node_named(&m.constant), arrays.get(&m.array)) else { continue };
        let Some(constant) = graph.constant(id) else { continue };
        let mut value = payload.load().map_err(|e| e.to_string())?;
        if m.transposed {
            value = transpose(&value);
        }
        let dtype = constant.payload.dtype;
        let value = converted(&value, dtype).ok_or_else(|| format!("{} cannot become {dtype}", m.array))?;
        out.push((graph.node(id).key.clone(), value));
    }
    Ok((out, report))
}

/// Says in a few lines what came of loading.
pub fn tell(choice: &WeightsChoice, report: &WeightsReport, reporter: &mut Reporter) {
    let list = |names: &[String]| {
        let some: Vec<&str> = names.iter().take(3).map(String::as_str).collect();
        format!("{}{}", some.join(", "), if names.len() > 3 { ", …" } else { "" })
    };
    let place = || Some(choice.file.clone());
    let (n, missed, unused) = (report.matched.len(), report.missed.len(), report.unused.len());
    reporter.info(
        "weights-loaded",
        format!("{n} constants take their values from it; {missed} have none there, {unused} arrays are not used"),
        place(),
    );
    for m in report.misfits.iter().take(5) {
        reporter.warning("weights-misfit", format!("{} does not take {}: {}", m.constant, m.array, m.why), place());
    }
    if n == 0 {
        let what = format!(
            "no array has the name of a constant; a mapping helps. Constants: {}. Arrays: {}",
            list(&report.missed),
            list(&report.unused)
        );
        reporter.warning("weights-unmatched", what, place());
    }
}

/// Which array goes to which constant.
pub fn find(graph: &Graph, arrays: &IndexMap<String, Payload>, map: &IndexMap<String, String>) -> WeightsReport {
    let lookup = Lookup::new(arrays, map);
    let mut report = WeightsReport::default();
    let mut used: HashSet<&str> = HashSet::new();
    for (id, constant) in graph.constants().filter(|(_, c)| c.payload.dtype.is_float()) {
        let name = graph.node(id).key.as_str();
        let Some((array, transposed)) = lookup.array(name) else {
            if !constant.payload.shape.is_empty() && !lookup.is_left_alone(name) {
                report.missed.push(name.to_owned());
            }
            continue;
        };
        used.insert(array);
        let Some(payload) = arrays.get(array) else {
            let why = "the file has no array of this name".to_owned();
            report.misfits.push(Misfit { constant: name.to_owned(), array: array.to_owned(), why });
            continue;
        };
        match misfit(&constant.payload, payload, transposed) {
            None => report.matched.push(Matched { constant: name.to_owned(), array: array.to_owned(), transposed }),
            Some(why) => report.misfits.push(Misfit { constant: name.to_owned(), array: array.to_owned(), why }),
        }
    }
    report.unused = arrays.keys().filter(|a| !used.contains(a.as_str())).cloned().collect();
    report
}

fn misfit(constant: &Payload, array: &Payload, transposed: bool) -> Option<String> {
    let mut shape = array.shape.to_vec();
    if transposed {
        shape.reverse();
    }
    if shape != constant.shape[..] {
        let turned = if transposed { " (transposed)" } else { "" };
        return Some(format!("its shape is {shape:?}{turned}, {:?} is needed", &constant.shape[..]));
    }
    let is_number = |d: DType| d.is_float() || d.is_exact();
    (!is_number(array.dtype)).then(|| format!("it holds {}", array.dtype))
}

/// Arrays by their names in several spellings.
struct Lookup<'a> {
    arrays: &'a IndexMap<String, Payload>,
    map: &'a IndexMap<String, String>,
    /// Canonical name → array; `None` where two arrays share it.
    canonical: HashMap<String, Option<&'a str>>,
    /// The same without its first part, for names under another prefix.
    shortened: HashMap<String, Option<&'a str>>,
}

impl<'a> Lookup<'a> {
    fn new(arrays: &'a IndexMap<String, Payload>, map: &'a IndexMap<String, String>) -> Self {
        let (mut canonical, mut shortened) = (HashMap::new(), HashMap::new());
        let add = |to: &mut HashMap<String, Option<&'a str>>, key: String, name: &'a str| {
            to.entry(key).and_modify(|v| *v = None).or_insert(Some(name));
        };
        for name in arrays.keys() {
            let key = canonical_name(name);
            if let Some((_, rest)) = key.split_once('/') {
                add(&mut shortened, rest.to_owned(), name);
            }
            add(&mut canonical, key, name);
        }
        Self { arrays, map, canonical, shortened }
    }

    /// Whether the mapping says that a constant takes nothing.
    fn is_left_alone(&self, constant: &str) -> bool {
        self.map.iter().any(|(from, to)| to.is_empty() && wildcard(from, constant).is_some())
    }

    /// The array of a constant, and whether it is transposed.
    fn array<'s>(&'s self, constant: &'s str) -> Option<(&'s str, bool)>
    where
        'a: 's,
    {
        if let Some((to, rest)) = self.map.iter().find_map(|(from, to)| Some((to, wildcard(from, constant)?))) {
            if to.is_empty() {
                return None;
            }
            let (to, transposed) = match to.strip_suffix(TRANSPOSED) {
                Some(name) => (name, true),
                None => (to.as_str(), false),
            };
            let name = to.replacen('*', rest, 1);
            let found = self.arrays.get_key_value(&name).map(|(k, _)| k.as_str());
            return Some((found.unwrap_or(to), transposed));
        }
        let bare = constant.strip_suffix(":0").unwrap_or(constant);
        let exact = [constant.to_owned(), bare.to_owned(), format!("{bare}:0")];
        if let Some((k, _)) = exact.iter().find_map(|n| self.arrays.get_key_value(n)) {
            return Some((k, false));
        }
        let key = canonical_name(constant);
        let with_prefix = |k: &str| self.shortened.get(k).copied().flatten();
        let found = self.canonical.get(&key).copied().flatten();
        let found = found.or_else(|| with_prefix(&key)).or_else(|| {
            let (_, rest) = key.split_once('/')?;
            self.canonical.get(rest).copied().flatten()
        })?;
        Some((found, turns(constant, found)))
    }
}

/// What the `*` of a pattern stands for in `name`; the empty text for a plain name that is the same.
fn wildcard<'n>(pattern: &str, name: &'n str) -> Option<&'n str> {
    match pattern.split_once('*') {
        None => (pattern == name).then_some(""),
        Some((start, end)) => {
            let rest = name.strip_prefix(start)?;
            rest.strip_suffix(end)
        }
    }
}

/// A name without the differences between frameworks: separators, indices, and the words for weight and bias.
fn canonical_name(name: &str) -> String {
    let name = name.strip_suffix(":0").unwrap_or(name);
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split(['.', '/']) {
        match part.rsplit_once('_') {
            Some((word, index)) if !index.is_empty() && index.bytes().all(|c| c.is_ascii_digit()) => {
                parts.extend([word, index]);
            }
            _ => parts.push(part),
        }
    }
    match parts.last().copied() {
        Some("weight" | "kernel" | "gamma") if parts.len() > 1 => {
            parts.pop();
        }
        Some("beta") => {
            parts.pop();
            parts.push("bias");
        }
        _ => {}
    }
    parts.join("/")
}

/// Whether two names of the same thing belong to frameworks that store a product's matrix the other way around.
fn turns(a: &str, b: &str) -> bool {
    let last = |n: &str| n.strip_suffix(":0").unwrap_or(n).rsplit(['.', '/']).next().unwrap_or(n).to_owned();
    matches!((last(a).as_str(), last(b).as_str()), ("kernel", "weight") | ("weight", "kernel"))
}

/// The transposed matrix, byte for byte.
fn transpose(matrix: &Tensor) -> Tensor {
    let [rows, columns] = *matrix.shape() else { return matrix.clone() };
    let size = matrix.dtype().size();
    let mut out = Tensor::zeros(matrix.dtype(), &[columns, rows]);
    let from = matrix.bytes();
    for (i, to) in out.bytes_mut().chunks_exact_mut(size.max(1)).enumerate() {
        let at = ((i % rows) * columns + i / rows) * size;
        to.copy_from_slice(&from[at..at + size]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_frameworks_are_the_same() {
        for (a, b, turned) in [
            ("bert/encoder/layer_0/output/dense/kernel", "bert.encoder.layer.0.output.dense.weight", true),
            ("bert/encoder/layer_11/output/LayerNorm/gamma:0", "bert.encoder.layer.11.output.LayerNorm.weight", false),
            ("bert/embeddings/word_embeddings", "bert.embeddings.word_embeddings.weight", false),
            ("bert/pooler/dense/bias", "bert.pooler.dense.bias", false),
            ("x/LayerNorm/beta", "x.LayerNorm.bias", false),
        ] {
            assert_eq!(canonical_name(a), canonical_name(b));
            assert_eq!(turns(a, b), turned, "{a}");
        }
        assert_ne!(canonical_name("a.weight"), canonical_name("a.bias"));
    }

    #[test]
    fn wildcards_and_maps() {
        assert_eq!(wildcard("bert/*/kernel", "bert/pooler/dense/kernel"), Some("pooler/dense"));
        assert_eq!(wildcard("bert/*", "cls/x"), None);
        assert_eq!(wildcard("a", "a"), Some(""));
        let map = parse_map("# remark\na = b^T\n c/* = d.*\n").unwrap();
        assert_eq!(map["a"], "b^T");
        assert_eq!(map["c/*"], "d.*");
        assert!(parse_map("nonsense").unwrap_err().contains("line 1"));
        assert_eq!(parse_map(r#"{"a": "b"}"#).unwrap()["a"], "b");
    }

    #[test]
    fn a_transposed_matrix() {
        let m = Tensor::from_slice(&[2, 3], &[1f32, 2., 3., 4., 5., 6.]);
        assert_eq!(transpose(&m), Tensor::from_slice(&[3, 2], &[1f32, 4., 2., 5., 3., 6.]));
    }
}
