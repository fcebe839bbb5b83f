//! A GraphDef as text (`.pbtxt`): the tables of [`super::text`], read the other way.
//!
//! Fields that are not in the tables have no name and are left out.

use std::io::Write;
use std::path::Path;

use crate::base::files;
use crate::formats::source::Bytes;
use crate::formats::wire::{Content, Scanner, WireError};
use crate::formats::{Imported, WriteError};
use crate::graph::GraphPatch;

use super::text::{Field, GRAPH, Kind, TYPES};
use super::{freeze, write};

/// Messages deeper than this are hostile.
const MAX_DEPTH: usize = 64;

/// Whether a path asks for text.
pub fn is_text(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("pbtxt") || e.eq_ignore_ascii_case("prototxt"))
}

/// Writes the graph with `patch` carried out as text; variables become constants. The result lands under `path` only
/// after it was read back.
pub fn write(imported: &Imported, patch: &GraphPatch, path: &Path) -> Result<(), WriteError> {
    let mut graph = Vec::new();
    let is_plain = [super::FROZEN.name, super::TEXT.name].contains(&imported.format);
    if is_plain {
        write::put_graph(imported, patch, &mut graph)?;
        let put = |out: &mut dyn Write| print(&graph, out);
        return files::replace_checked(path, |out| put(out), |temp| write::check(imported, patch, temp));
    }
    let frozen = freeze::Frozen::new(imported, patch)?;
    frozen.put(&mut graph)?;
    let put = |out: &mut dyn Write| print(&graph, out);
    files::replace_checked(path, |out| put(out), |temp| frozen.check(temp))
}

/// Writes the graph with `patch` carried out as text, its variables as they are.
pub(super) fn put_text(imported: &Imported, patch: &GraphPatch, path: &Path) -> Result<(), WriteError> {
    let mut graph = Vec::new();
    write::put_graph(imported, patch, &mut graph)?;
    files::replace_with(path, |out| print(&graph, out))
}

/// The text of a GraphDef's bytes.
fn print(graph: &[u8], out: &mut dyn Write) -> Result<(), WriteError> {
    let bytes = Bytes::from_memory(graph.to_vec());
    let mut s = Scanner::new(&bytes);
    let all = s.all();
    let mut at = all.start;
    while let Some(field) = s.field(&mut at, all.end)? {
        // One top-level field at a time, so that the text is never in memory as a whole.
        let mut text = String::new();
        put_field(&mut s, &field, GRAPH, 0, &mut text)?;
        out.write_all(text.as_bytes())?;
    }
    Ok(())
}

fn put_message(
    s: &mut Scanner<'_>,
    range: std::ops::Range<u64>,
    fields: &[Field],
    depth: usize,
    out: &mut String,
) -> Result<(), WireError> {
    if depth > MAX_DEPTH {
        return Err(WireError { what: "messages nested too deep", offset: range.start });
    }
    let mut at = range.start;
    while let Some(field) = s.field(&mut at, range.end)? {
        put_field(s, &field, fields, depth, out)?;
    }
    Ok(())
}

fn put_field(
    s: &mut Scanner<'_>,
    field: &crate::formats::wire::Field,
    fields: &[Field],
    depth: usize,
    out: &mut String,
) -> Result<(), WireError> {
    let Some((name, _, kind)) = fields.iter().find(|(_, number, _)| *number == field.number) else { return Ok(()) };
    let pad = "  ".repeat(depth);
    let line = |out: &mut String, value: &str| {
        out.push_str(&pad);
        out.push_str(name);
        out.push_str(": ");
        out.push_str(value);
        out.push('\n');
    };
    let is_unsigned = *name == "uint64_val";
    match (kind, &field.content) {
        (Kind::Message(inner), Content::Bytes(range)) => {
            out.push_str(&format!("{pad}{name} {{\n"));
            put_message(s, range.clone(), inner(), depth + 1, out)?;
            out.push_str(&format!("{pad}}}\n"));
        }
        (Kind::Bytes, Content::Bytes(range)) => {
            let text = escaped(&s.read(range)?);
            line(out, &format!("\"{text}\""));
        }
        (Kind::Float, Content::Fixed32(bits)) => {
            line(out, &float(f64::from(f32::from_bits(*bits)), f32::from_bits(*bits).to_string()))
        }
        (Kind::Double, Content::Fixed64(bits)) => {
            line(out, &float(f64::from_bits(*bits), f64::from_bits(*bits).to_string()))
        }
        (Kind::Float, Content::Bytes(range)) => {
            for c in s.read(range)?.as_chunks::<4>().0 {
                let v = f32::from_le_bytes(*c);
                line(out, &float(f64::from(v), v.to_string()));
            }
        }
        (Kind::Double, Content::Bytes(range)) => {
            for c in s.read(range)?.as_chunks::<8>().0 {
                let v = f64::from_le_bytes(*c);
                line(out, &float(v, v.to_string()));
            }
        }
        (Kind::Number | Kind::Boolean | Kind::Type | Kind::Word(_) | Kind::ZigZag, Content::Varint(v)) => {
            line(out, &scalar(kind, *v, is_unsigned))
        }
        (Kind::Number | Kind::Boolean | Kind::Type | Kind::Word(_) | Kind::ZigZag, Content::Bytes(range)) => {
            let mut at = range.start;
            while at < range.end {
                let v = s.varint(&mut at, range.end)?;
                line(out, &scalar(kind, v, is_unsigned));
            }
        }
        // Of another kind than the table says: nothing that TensorFlow would read either.
        _ => {}
    }
    Ok(())
}

fn scalar(kind: &Kind, v: u64, is_unsigned: bool) -> String {
    match kind {
        Kind::Boolean => (v != 0).to_string(),
        Kind::Type => {
            let known = usize::try_from(v % 100).ok().and_then(|c| TYPES.get(c)).filter(|_| v < 200);
            let suffix = if v >= 100 { "_REF" } else { "" };
            known.map_or_else(|| v.to_string(), |name| format!("DT_{name}{suffix}"))
        }
        Kind::Word(words) => {
            let word = words.iter().find(|(_, code)| *code == v);
            word.map_or_else(|| v.to_string(), |(word, _)| (*word).to_owned())
        }
        Kind::ZigZag => ((v >> 1) as i64 ^ -((v & 1) as i64)).to_string(),
        _ if is_unsigned => v.to_string(),
        _ => (v as i64).to_string(),
    }
}

/// Numbers in the words of protobuf's text form.
fn float(value: f64, text: String) -> String {
    match value {
        v if v.is_nan() => "nan".into(),
        v if v.is_infinite() => if v > 0.0 { "inf" } else { "-inf" }.into(),
        _ => text,
    }
}

fn escaped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &b in bytes {
        match b {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            0x20..=0x7e => out.push(char::from(b)),
            b => out.push_str(&format!("\\{b:03o}")),
        }
    }
    out
}
