//! ONNX files. Reading order: [`model`] (messages), [`tensor_proto`] (values), [`build`] (a graph of them), then
//! [`dialect`] and [`rules`] (ops into ours), [`mod@write`] (back into the file).

mod bodies;
pub mod build;
mod compose;
pub mod dialect;
mod encode;
pub mod model;
pub mod narrow;
pub mod rules;
mod spill;
pub mod tensor_proto;
pub mod write;

use crate::base::Reporter;

use super::wire::{Content, Scanner, WireError};
use super::{Format, OpenError, Read, Source};

/// A ModelProto.
pub const ONNX: Format = Format {
    name: "onnx",
    label: "ONNX model (.onnx)",
    extensions: &["onnx"],
    detect: is_model,
    read,
    write: Some(write::write),
};

/// Only fields that a ModelProto has, of their kinds, and a graph (7) or an op set (8) among them.
fn is_model(source: &Source) -> bool {
    let mut s = Scanner::new(&source.bytes);
    let (mut at, end, mut has_model) = (0, source.bytes.len(), false);
    loop {
        // A file that was cut off is still recognised by what it begins with, and as the last resort by its name.
        let Ok(Some(field)) = s.field(&mut at, end) else { return has_model || source.name.ends_with(".onnx") };
        match (field.number, &field.content) {
            (7 | 8, Content::Bytes(_)) => has_model = true,
            (1 | 5, Content::Varint(_)) | (2 | 3 | 4 | 6 | 14 | 20 | 25 | 26, Content::Bytes(_)) => {}
            _ => return false,
        }
        if at >= end {
            return has_model;
        }
    }
}

fn read(source: &Source, report: &mut Reporter) -> Result<Read, OpenError> {
    let mut s = Scanner::new(&source.bytes);
    let all = s.all();
    let mut reader = model::Reader::new(tensor_proto::ExternalFiles::new(source));
    let model = reader.model(&mut s, all).map_err(|e| OpenError::Broken {
        name: source.name.clone(),
        format: ONNX.label,
        source: e,
    })?;
    if model.graph_span.is_empty() {
        let what = "it is an ONNX file without a graph".to_owned();
        return Err(OpenError::Unsupported { name: source.name.clone(), what });
    }
    let producer = if model.producer.is_empty() { "not stated".to_owned() } else { model.producer.clone() };
    let graph_span = model.graph_span.clone();
    Ok(Read {
        graph: build::build(model, report),
        producer,
        graph_span,
        dialect: &dialect::ONNX,
        converted: None,
        assets: Default::default(),
        variables: None,
        entry_points: Vec::new(),
    })
}

/// The files beside a model that hold values of it, in alphabetical order.
fn external_locations(source: &Source) -> Result<Vec<String>, WireError> {
    let mut s = Scanner::new(&source.bytes);
    let all = s.all();
    let mut reader = model::Reader::new(tensor_proto::ExternalFiles::new(source));
    reader.model(&mut s, all)?;
    Ok(reader.files.locations())
}
