//! SavedModel folders of TensorFlow 1 and 2, and TF1-Hub modules: `saved_model.pb` with one or more meta graphs, and
//! `variables/variables.*` beside it; also in protobuf's text form (`saved_model.pbtxt`).
//!
//! SavedModel: 1 schema version, 2 meta_graphs. Which meta graph is opened: the one that is asked for (by a signature's
//! name, its tags, or `TAGS:SIGNATURE`), else the one for serving, else the one without tags, else the first; a message
//! names the others.

use std::path::PathBuf;
use std::sync::Arc;

use crate::base::{Reporter, files};
use crate::formats::folders::tokenizer_beside;
use crate::formats::source::{Bytes, Source};
use crate::formats::wire::{Content, Scanner, WireError};
use crate::formats::{Assets, EntryPoint, Format, OpenError, Read};

use super::checkpoint::{finish, producer};
use super::meta_graph::{self, MetaGraph, RawSignature};
use super::variables::{self, open_bundle};
use super::{dialect, graph_def, text, variables_write};

/// See the module doc.
pub const SAVED_MODEL: Format = Format {
    name: "tensorflow-saved-model",
    label: "TensorFlow SavedModel (folder with saved_model.pb)",
    extensions: &[],
    detect: |source| is_saved_model(source) || is_text(source),
    read,
    write: Some(variables_write::write),
};

/// Where the variables lie, relative to `saved_model.pb`.
pub const VARIABLES: &str = "variables/variables";
/// The name that TensorFlow gives to the signature that is meant where none is named.
const DEFAULT_SIGNATURE: &str = "serving_default";
/// What TF1-Hub calls it.
const HUB_SIGNATURE: &str = "default";

/// Whether a file is one: a version number, then messages 2 alone. ONNX begins alike, with its producer's name, but goes on with other numbers.
pub fn is_saved_model(source: &Source) -> bool {
    let mut s = Scanner::new(&source.bytes);
    let (mut at, end) = (0, source.bytes.len());
    // TensorFlow Hub's modules leave the version out.
    let is_like_one = match s.field(&mut at, end) {
        Ok(Some(f)) if f.number == 1 => matches!(f.content, Content::Varint(0..=16)),
        Ok(Some(f)) if f.number == 2 && is_meta_graph(&mut s, &f.content) => {
            at = 0;
            true
        }
        _ => false,
    };
    if !is_like_one {
        return false;
    }
    let mut graphs = 0;
    loop {
        match s.field(&mut at, end) {
            Ok(Some(f)) if f.number == 2 && matches!(f.content, Content::Bytes(_)) => graphs += 1,
            Ok(Some(_)) => return false,
            Ok(None) => return graphs > 0,
            // Cut off within a meta graph: its name tells.
            Err(_) => return source.name == "saved_model.pb",
        }
    }
}

/// Whether a message has collections, signatures, assets or objects; a graph's function library, which has the same
/// number there, has none.
fn is_meta_graph(s: &mut Scanner<'_>, content: &Content) -> bool {
    let Content::Bytes(range) = content else { return false };
    let mut at = range.start;
    while let Ok(Some(field)) = s.field(&mut at, range.end) {
        match field.number {
            1..=3 => {}
            4..=7 => return matches!(field.content, Content::Bytes(_)),
            _ => return false,
        }
    }
    false
}

/// Whether a file is one in protobuf's text form (`saved_model.pbtxt`).
fn is_text(source: &Source) -> bool {
    let start = source.bytes.read(0, source.bytes.len().min(4096));
    start.is_ok_and(|start| text::looks_like_saved_model(&start))
}

/// The same model in the binary form, and how many fields of the text are not known.
fn binary(source: &Source) -> Result<(Source, usize), OpenError> {
    let unsupported = |what: String| OpenError::Unsupported { name: source.name.clone(), what };
    let bytes = source.bytes.read(0, source.bytes.len()).map_err(|e| unsupported(e.to_string()))?;
    let (wire, n_unknown) = text::saved_model_to_wire(&bytes).map_err(|e| unsupported(e.to_string()))?;
    let mut out = source.clone();
    out.bytes = Bytes::from_memory(wire);
    Ok((out, n_unknown))
}

fn read(source: &Source, report: &mut Reporter) -> Result<Read, OpenError> {
    if !is_text(source) {
        return read_binary(source, report);
    }
    let (binary, n_unknown) = binary(source)?;
    if n_unknown > 0 {
        let what = format!("{n_unknown} fields of the text are not known and not kept");
        report.info("unknown-text-fields", what, Some(source.name.clone()));
    }
    let read = read_binary(&binary, report)?;
    Ok(Read { converted: Some(binary), ..read })
}

fn read_binary(source: &Source, report: &mut Reporter) -> Result<Read, OpenError> {
    let broken = |e| OpenError::Broken { name: source.name.clone(), format: SAVED_MODEL.label, source: e };
    let unsupported = |what: String| OpenError::Unsupported { name: source.name.clone(), what };
    let mut s = Scanner::new(&source.bytes);
    let heads = heads(&mut s).map_err(broken)?;
    let (at, signature) = choose(&heads, source.choice.as_deref()).map_err(unsupported)?;
    let head = &heads[at];
    if head.graph.is_empty() {
        return Err(unsupported("it holds no graph".to_owned()));
    }
    if source.choice.is_none() {
        mention_others(&heads, at, signature.as_deref(), source, report);
    }
    let mut graph = graph_def::read_graph(&mut s, head.graph.clone(), report).map_err(broken)?;
    let has_variables = graph.graph.nodes.iter().any(|n| variables::is_variable(&n.op));
    let bundle = match open_bundle(source, VARIABLES) {
        Ok(bundle) => Some(bundle),
        Err(e) if source.has_sibling(&format!("{VARIABLES}.index")) || has_variables => return Err(e),
        // Nothing to restore: a model without variables.
        Err(_) => None,
    };
    let variables = bundle.map(|b| Arc::new(variables::attach(&mut graph.graph, b, head.trainable.as_ref(), report)));
    finish(&mut graph.graph, head, signature.as_deref());
    Ok(Read {
        producer: producer(head, graph.producer),
        graph: graph.graph,
        graph_span: head.graph.clone(),
        dialect: &dialect::TENSORFLOW,
        converted: None,
        assets: Assets { tokenizer: tokenizer(source), ..Assets::default() },
        variables,
        entry_points: entries(&heads, Some((at, signature.as_deref()))),
    })
}

/// All meta graphs, without their graphs.
fn heads(s: &mut Scanner<'_>) -> Result<Vec<MetaGraph>, WireError> {
    let mut out: Vec<MetaGraph> = Vec::new();
    let all = s.all();
    s.each_field(all, |s, field| {
        if field.number == 2 {
            out.push(meta_graph::read(s, field.range()?)?);
        }
        Ok::<_, WireError>(())
    })?;
    Ok(out)
}

/// Every meta graph with every signature, without reading a graph.
pub fn entry_points(source: &Source) -> Result<Vec<EntryPoint>, OpenError> {
    if is_text(source) {
        return entry_points(&binary(source)?.0);
    }
    let mut s = Scanner::new(&source.bytes);
    let broken = |e| OpenError::Broken { name: source.name.clone(), format: SAVED_MODEL.label, source: e };
    Ok(entries(&heads(&mut s).map_err(broken)?, None))
}

fn entries(heads: &[MetaGraph], open: Option<(usize, Option<&str>)>) -> Vec<EntryPoint> {
    let Ok((usual, default)) = choose(heads, None) else { return Vec::new() };
    let names = |pairs: &[(String, String)]| pairs.iter().map(|(alias, _)| alias.clone()).collect();
    let mut out = Vec::new();
    for (at, head) in heads.iter().enumerate() {
        let nameless = [RawSignature::default()];
        let signatures = if head.signatures.is_empty() { &nameless[..] } else { &head.signatures[..] };
        for s in signatures {
            let choice = match (heads.len(), s.name.as_str()) {
                (1, name) => name.to_owned(),
                (_, "") => tags(head),
                (_, name) => format!("{}:{name}", tags(head)),
            };
            let named = Some(s.name.as_str()).filter(|n| !n.is_empty());
            out.push(EntryPoint {
                choice,
                tags: head.tags.clone(),
                signature: s.name.clone(),
                inputs: names(&s.inputs),
                outputs: names(&s.outputs),
                is_default: at == usual && named == default.as_deref(),
                is_open: open == Some((at, named)),
            });
        }
    }
    out
}

/// A vocabulary among the assets, else beside the model.
fn tokenizer(source: &Source) -> Option<PathBuf> {
    let assets = files::list(&source.folder()?.join("assets")).unwrap_or_default();
    let is_vocabulary = |path: &PathBuf| {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        name.ends_with("vocab.txt") || name == "tokenizer.json"
    };
    assets.into_iter().find(is_vocabulary).or_else(|| tokenizer_beside(source))
}

fn tags(head: &MetaGraph) -> String {
    head.tags.join(",")
}

fn tags_in_words(head: &MetaGraph) -> String {
    if head.tags.is_empty() { "without tags".to_owned() } else { format!("tagged {}", tags(head)) }
}

/// The meta graph and its default signature.
fn choose(heads: &[MetaGraph], choice: Option<&str>) -> Result<(usize, Option<String>), String> {
    if heads.is_empty() {
        return Err("it holds no meta graph".to_owned());
    }
    let usual = usual(heads);
    let default = |at: usize| default_signature(&heads[at].signatures);
    let Some(choice) = choice else { return Ok((usual, default(usual))) };
    let has = |at: usize, name: &str| heads[at].signatures.iter().any(|s| s.name == name);
    // The usual meta graph is asked first, then the others in file order.
    let order = || std::iter::once(usual).chain(0..heads.len());
    if let Some(at) = order().find(|&at| has(at, choice)) {
        return Ok((at, Some(choice.to_owned())));
    }
    if let Some(at) = order().find(|&at| tags(&heads[at]) == choice) {
        return Ok((at, default(at)));
    }
    if let Some((wanted, name)) = choice.split_once(':')
        && let Some(at) = order().find(|&at| tags(&heads[at]) == wanted && has(at, name))
    {
        return Ok((at, Some(name.to_owned())));
    }
    let describe = |h: &MetaGraph| {
        let names: Vec<&str> = h.signatures.iter().map(|s| s.name.as_str()).collect();
        format!("{} ({})", names.join(", "), tags_in_words(h))
    };
    let known: Vec<String> = heads.iter().map(describe).collect();
    Err(format!("there is no signature or tag set {choice:?}; the file has {}", known.join("; ")))
}

/// For serving, else without tags, else the first.
fn usual(heads: &[MetaGraph]) -> usize {
    let serves = |h: &MetaGraph| h.tags.iter().any(|t| t == "serve");
    let plain = |h: &MetaGraph| h.tags.len() == 1 && serves(h);
    let position = |is: &dyn Fn(&MetaGraph) -> bool| heads.iter().position(is);
    position(&plain).or_else(|| position(&serves)).or_else(|| position(&|h| h.tags.is_empty())).unwrap_or(0)
}

/// The usual name, else the only one, else the first of those with outputs.
fn default_signature(signatures: &[RawSignature]) -> Option<String> {
    let named = |name: &str| signatures.iter().find(|s| s.name == name);
    let found = named(DEFAULT_SIGNATURE).or_else(|| named(HUB_SIGNATURE));
    let found = found.or_else(|| signatures.iter().find(|s| !s.outputs.is_empty())).or(signatures.first());
    found.map(|s| s.name.clone())
}

fn mention_others(heads: &[MetaGraph], at: usize, signature: Option<&str>, source: &Source, report: &mut Reporter) {
    let other = |s: &&RawSignature| Some(s.name.as_str()) != signature;
    let mut others: Vec<String> =
        heads[at].signatures.iter().filter(other).map(|s| format!("signature {}", s.name)).collect();
    let graphs = heads.iter().enumerate().filter(|(i, _)| *i != at);
    others.extend(graphs.map(|(_, h)| format!("the meta graph {}", tags_in_words(h))));
    if !others.is_empty() {
        let what = format!(
            "opened with {} of the meta graph {}; the file also has {} (choose with --signature, or in the File menu of the window)",
            signature.map_or("no signature".to_owned(), |s| format!("signature {s}")),
            tags_in_words(&heads[at]),
            others.join(", ")
        );
        report.warning("other-signatures", what, Some(source.name.clone()));
    }
}
