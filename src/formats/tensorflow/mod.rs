//! TensorFlow's files. Reading order: [`graph_def`] (a frozen graph), [`node_def`], [`attrs`], [`tensor_proto`],
//! [`function_def`], [`outputs`] (what the op registry knows and the file does not), then [`dialect`] and [`rules`]
//! (ops into ours). Models whose weights lie beside them: [`meta_graph`], [`bundle`], [`variables`], [`leftovers`], then
//! [`checkpoint`] and [`saved_model`].

pub mod attrs;
pub mod bundle;
pub mod checkpoint;
mod compose;
pub mod dialect;
mod encode;
pub mod freeze;
pub mod function_def;
pub mod graph_def;
mod handles;
mod inline;
mod leftovers;
pub mod locate;
pub mod meta_graph;
mod meta_patch;
pub mod node_def;
pub mod outputs;
pub mod rules;
pub mod saved_model;
pub mod slots;
pub mod tensor_proto;
pub mod text;
mod text_meta;
pub mod text_print;
pub mod variables;
mod variables_write;
pub mod write;

use crate::base::Reporter;

use super::wire::{Content, Scanner};
use super::{Format, OpenError, Read, Source};

/// A GraphDef in protobuf's binary form.
pub const FROZEN: Format = Format {
    name: "tensorflow-graphdef",
    label: "TensorFlow graph (.pb)",
    extensions: &["pb", "graphdef"],
    detect: is_graph_def,
    read: read_frozen,
    write: Some(write::write),
};

/// A GraphDef in protobuf's text form; written back in the binary one.
pub const TEXT: Format = Format {
    name: "tensorflow-graphdef-text",
    label: "TensorFlow graph as text (.pbtxt)",
    extensions: &["pbtxt", "prototxt"],
    detect: |source| {
        source.bytes.read(0, source.bytes.len().min(4096)).is_ok_and(|start| text::looks_like_graph(&start))
    },
    read: read_text,
    write: Some(write::write),
};

/// Nodes (field 1, with a name or op text), a library (2), versions (3, 4), and nothing else at the start.
fn is_graph_def(source: &Source) -> bool {
    let mut s = Scanner::new(&source.bytes);
    let (mut at, end) = (0, source.bytes.len());
    for i in 0..4 {
        let Ok(field) = s.field(&mut at, end) else {
            // Cut off: a file that starts like a node is taken for a damaged graph.
            return i > 0 || s.read(&(0..1)).is_ok_and(|b| b == [0x0a]);
        };
        match field {
            None => return true,
            Some(f) => match (f.number, &f.content) {
                (1, Content::Bytes(range)) => {
                    let (mut inner, mut has_op) = (range.start, false);
                    while let Ok(Some(f)) = s.field(&mut inner, range.end) {
                        has_op |= f.number == 2 && matches!(&f.content, Content::Bytes(r) if is_identifier(&mut s, r));
                    }
                    return has_op;
                }
                (2 | 4 | 5, Content::Bytes(_)) | (3, Content::Varint(_)) => {}
                _ => return false,
            },
        }
    }
    true
}

/// An op's name: a short word of letters, digits, `_`, `>` and `.`.
fn is_identifier(s: &mut Scanner<'_>, range: &std::ops::Range<u64>) -> bool {
    let short = range.end - range.start <= 256;
    short
        && s.read(range)
            .is_ok_and(|b| !b.is_empty() && b.iter().all(|c| c.is_ascii_alphanumeric() || b"_>.".contains(c)))
}

fn read_text(source: &Source, report: &mut Reporter) -> Result<Read, OpenError> {
    let unsupported = |what: String| OpenError::Unsupported { name: source.name.clone(), what };
    let text = source.bytes.read(0, source.bytes.len()).map_err(|e| unsupported(e.to_string()))?;
    let (wire, n_unknown) = text::to_wire(&text).map_err(|e| unsupported(e.to_string()))?;
    if n_unknown > 0 {
        let what = format!("{n_unknown} fields of the text are not known and not kept");
        report.info("unknown-text-fields", what, Some(source.name.clone()));
    }
    let binary = Source::from_memory(source.name.clone(), wire, Default::default());
    let read = read_frozen(&binary, report)?;
    Ok(Read { converted: Some(binary), ..read })
}

fn read_frozen(source: &Source, report: &mut Reporter) -> Result<Read, OpenError> {
    let mut s = Scanner::new(&source.bytes);
    let all = s.all();
    let read = graph_def::read_graph(&mut s, all.clone(), report).map_err(|e| OpenError::Broken {
        name: source.name.clone(),
        format: FROZEN.label,
        source: e,
    })?;
    let producer = match read.producer {
        0 => "TensorFlow (version not stated)".to_owned(),
        v => format!("TensorFlow (GraphDef version {v})"),
    };
    Ok(Read {
        graph: read.graph,
        producer,
        graph_span: all,
        dialect: &dialect::TENSORFLOW,
        converted: None,
        assets: Default::default(),
        variables: None,
        entry_points: Vec::new(),
    })
}
