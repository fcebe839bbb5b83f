//! Arrays by name, out of whatever holds some: `.safetensors` (also in shards), `.npz`, a checkpoint, or the constants of
//! another model. What a graph's weights can be loaded from.

use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::base::files;
use crate::graph::{Constant, ConstantOrigin};
use crate::tensor::{Payload, io};

use super::folders::{arrays, google};
use super::source::{Bytes, Source};
use super::tensorflow::bundle::{self, Bundle};
use super::{Imported, OpenError, open};

/// Arrays in the order of their file.
#[derive(Clone, Debug, Default)]
pub struct NamedArrays {
    pub arrays: IndexMap<String, Payload>,
    /// What they came from, in words.
    pub kind: &'static str,
}

/// Reads names, types and shapes; values are mapped or read when they are asked for, those of `.npz` at once.
pub fn read(path: &Path) -> Result<NamedArrays, OpenError> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let unsupported = |what: String| OpenError::Unsupported { name: name.clone(), what };
    let failed = |source| OpenError::Io { path: path.display().to_string(), source };
    if name.ends_with(".safetensors.index.json") {
        let source = Source::open(path).map_err(failed)?;
        let read = arrays::read_index(&source, &name).map_err(unsupported)?;
        return Ok(NamedArrays { arrays: read.arrays, kind: "safetensors shards" });
    }
    if let Some(prefix) = checkpoint_prefix(path) {
        let bundle = Bundle::open_path(&prefix).map_err(|e| unsupported(e.to_string()))?;
        let payload = |e: &bundle::Entry| Some((e.name.clone(), bundle.payload(&e.name)?));
        return Ok(NamedArrays { arrays: bundle.entries().iter().filter_map(payload).collect(), kind: "checkpoint" });
    }
    if !files::is_dir(path) {
        let bytes = Bytes::open(path).map_err(failed)?;
        let start = bytes.read(0, bytes.len().min(9)).map_err(failed)?;
        if start.starts_with(b"PK\x03\x04") {
            let mut zip = io::NpzReader::open(path).map_err(|e| unsupported(e.to_string()))?;
            let all = zip.read_all().map_err(|e| unsupported(e.to_string()))?;
            let arrays = all.into_iter().map(|(k, t)| (k, Payload::from_tensor(t))).collect();
            return Ok(NamedArrays { arrays, kind: "npz archive" });
        }
        if start.get(8) == Some(&b'{') {
            let layout = arrays::layout_of(&bytes).map_err(unsupported)?;
            return Ok(NamedArrays { arrays: arrays::payloads(&bytes, &layout), kind: "safetensors file" });
        }
    }
    let model = open(path)?;
    let graph = Arc::clone(&model.graph);
    // Single numbers of the graph's own arithmetic are no weights.
    let is_weight = |c: &Constant| !c.payload.shape.is_empty() || matches!(c.origin, ConstantOrigin::Variable { .. });
    let weights = graph.constants().filter(|(_, c)| is_weight(c));
    let arrays = weights.map(|(id, c)| (graph.node(id).key.as_str().to_owned(), c.payload.clone())).collect();
    Ok(NamedArrays { arrays, kind: "constants of another model" })
}

/// All arrays of a folder whose graph is built, also those that the graph does not read.
pub fn of_folder(imported: &Imported) -> Result<IndexMap<String, Payload>, OpenError> {
    let source = imported.source();
    let unsupported = |what: String| OpenError::Unsupported { name: source.name.clone(), what };
    if imported.format == google::GOOGLE.name {
        let bundle = google::checkpoint(source).map_err(unsupported)?;
        let payload = |e: &bundle::Entry| Some((e.name.clone(), bundle.payload(&e.name)?));
        return Ok(bundle.entries().iter().filter_map(payload).collect());
    }
    match arrays::read(source) {
        Some(read) => Ok(read.map_err(unsupported)?.arrays),
        None => Ok(IndexMap::new()),
    }
}

/// The prefix of a checkpoint that a path names: itself, its index, or one of its shards.
fn checkpoint_prefix(path: &Path) -> Option<std::path::PathBuf> {
    let name = path.file_name()?.to_str()?;
    let prefix = match bundle::prefix_of(name) {
        Some(prefix) if !name.ends_with(".meta") => prefix,
        _ => name,
    };
    let index = path.with_file_name(format!("{prefix}.index"));
    if files::exists(&index) {
        return Some(path.with_file_name(prefix));
    }
    // The first format has no index: its files are tables themselves.
    let is_old = bundle::old::is_file(path) && bundle::prefix_of(name).is_none();
    is_old.then(|| path.with_file_name(bundle::old::prefix_of(name)))
}
