//! A folder back as what it was: the same arrays under the same names, tuned ones replaced byte for byte, every other file
//! copied. The graph is not stored: it follows from the configuration, so only changes of values can be written.

use std::io::Write;
use std::path::Path;

use crate::base::files;
use crate::formats::source::Bytes;
use crate::formats::tensorflow::bundle::Bundle;
use crate::formats::tensorflow::bundle::write::Changes;
use crate::formats::{Imported, WriteError};
use crate::graph::patch::converted;
use crate::graph::{GraphPatch, NodeKey};
use crate::tensor::Tensor;

use super::arrays::{self, Shard};
use super::google;

/// Bytes copied at once.
const COPY: u64 = 1 << 20;
/// Companions up to this size are copied: vocabularies and settings, not weights of other frameworks.
const MAX_COMPANION: u64 = 64 << 20;
/// Endings of weights that would disagree with the tuned ones.
const OTHER_WEIGHTS: &[&str] =
    &["bin", "h5", "msgpack", "ot", "onnx", "safetensors", "pt", "pth", "ckpt", "tflite", "pb", "gguf"];

/// Writes a Hugging Face folder to `path`.
pub fn hugging_face(imported: &Imported, patch: &GraphPatch, path: &Path) -> Result<(), WriteError> {
    values_only(imported, patch)?;
    let source = imported.source();
    let read = arrays::read(source).ok_or_else(|| WriteError::Patch("its weights are gone".into()))?;
    let folder = read.map_err(WriteError::Patch)?;
    let names: Vec<&str> = folder.shards.iter().map(|s| s.name.as_str()).chain([arrays::INDEX]).collect();
    let write = |to: &Path| -> Result<(), WriteError> {
        for shard in &folder.shards {
            let bytes = source.sibling(&shard.name)?;
            let target = to.join(&shard.name);
            files::replace_with(&target, |out| put_shard(shard, &bytes, imported, patch, out))?;
        }
        if source.has_sibling(arrays::INDEX) {
            copy_file(&source.sibling(arrays::INDEX)?, &to.join(arrays::INDEX))?;
        }
        copy_companions(imported, to, |name| names.contains(&name))
    };
    files::create_folder_checked(path, write, |temp| check(imported, patch, temp))
}

/// Writes a folder with configuration, vocabulary and checkpoint; or, for a path that ends in `.ckpt`, the checkpoint
/// alone under that prefix.
pub fn google(imported: &Imported, patch: &GraphPatch, path: &Path) -> Result<(), WriteError> {
    values_only(imported, patch)?;
    let bundle = google::checkpoint(imported.source()).map_err(WriteError::Patch)?;
    let mut changes = Changes::default();
    for (key, tensor) in &patch.constants {
        let Some(entry) = bundle.get(key.as_str()) else { continue };
        changes.set_whole(&bundle, entry, &fitting(key, tensor, entry.dtype)?)?;
    }
    if path.extension().is_some_and(|e| e == "ckpt") {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        put_checkpoint(&bundle, &changes, folder, &name)?;
        return check_checkpoint(&bundle, imported, patch, path);
    }
    let write = |to: &Path| -> Result<(), WriteError> {
        put_checkpoint(&bundle, &changes, to, &bundle.prefix)?;
        let own = bundle.file_names(&bundle.prefix);
        // The old graph of a release is for training on other machines, and its names are those of the variables still.
        copy_companions(imported, to, |name| own.iter().any(|n| n == name))
    };
    files::create_folder_checked(path, write, |temp| check(imported, patch, temp))
}

/// Index last: where it is missing, nobody takes the shards for a checkpoint.
fn put_checkpoint(bundle: &Bundle, changes: &Changes, folder: &Path, prefix: &str) -> Result<(), WriteError> {
    let names = bundle.file_names(prefix);
    for (nth, name) in names.iter().skip(1).enumerate() {
        files::replace_with(&folder.join(name), |out| bundle.write_shard(nth, changes, out))?;
    }
    files::replace_with(&folder.join(&names[0]), |out| bundle.write_index(changes, out))
}

fn check_checkpoint(old: &Bundle, imported: &Imported, patch: &GraphPatch, prefix: &Path) -> Result<(), WriteError> {
    let bad = WriteError::ReadBack;
    let new = Bundle::open_path(prefix).map_err(|e| bad(e.to_string()))?;
    if new.entries().len() != old.entries().len() {
        return Err(bad(format!("{} variables instead of {}", new.entries().len(), old.entries().len())));
    }
    for (key, tensor) in &patch.constants {
        let Some(payload) = new.payload(key.as_str()) else { continue };
        let got = payload.load().map_err(|e| bad(e.to_string()))?;
        if got != fitting(key, tensor, payload.dtype)? {
            return Err(bad(format!("{key} of {} with other values", imported.format)));
        }
    }
    Ok(())
}

/// A folder holds values alone. Nodes that were taken out are those of dropout, which the configuration describes.
fn values_only(imported: &Imported, patch: &GraphPatch) -> Result<(), WriteError> {
    if let Some(problem) = patch.problems(&imported.graph).into_iter().next() {
        return Err(WriteError::Patch(problem));
    }
    match patch.added.first() {
        Some(node) => Err(WriteError::Patch(format!(
            "a folder of weights cannot hold the new node {}; export to a .pb, which holds the graph as well",
            node.key
        ))),
        None => Ok(()),
    }
}

/// A tuned value in the type that is stored.
fn fitting(key: &NodeKey, tensor: &Tensor, dtype: crate::tensor::DType) -> Result<Tensor, WriteError> {
    let fitted = converted(tensor, dtype);
    fitted.ok_or_else(|| WriteError::Patch(format!("{key} is stored as {dtype}, which cannot be written")))
}

/// A file of arrays with its header as it was: types, shapes and places do not change.
fn put_shard(
    shard: &Shard,
    bytes: &Bytes,
    imported: &Imported,
    patch: &GraphPatch,
    out: &mut dyn Write,
) -> Result<(), WriteError> {
    let mut at = 0;
    let mut entries: Vec<_> = shard.layout.entries.iter().collect();
    entries.sort_by_key(|(_, e)| e.offset);
    for (name, entry) in entries {
        let key = NodeKey::new(name);
        let Some(tensor) = tied(imported, patch, &key) else { continue };
        let tensor = fitting(&key, tensor, entry.dtype)?;
        copy(bytes, at, entry.offset, out)?;
        out.write_all(tensor.bytes())?;
        at = entry.offset + tensor.bytes().len() as u64;
    }
    copy(bytes, at, bytes.len(), out)
}

/// The new value of a stored array: its own, or that of the array which it repeats (tied word embeddings that were
/// stored twice).
fn tied<'p>(imported: &Imported, patch: &'p GraphPatch, key: &NodeKey) -> Option<&'p Tensor> {
    if let Some(own) = patch.constants.get(key) {
        return Some(own);
    }
    let is_read = imported.graph.node_named(key.as_str()).is_some();
    let word_table = |k: &&NodeKey| k.as_str().ends_with("word_embeddings.weight");
    if is_read || !super::hugging_face::repeats_words(key.as_str()) {
        return None;
    }
    patch.constants.keys().find(word_table).and_then(|k| patch.constants.get(k))
}

fn copy(bytes: &Bytes, start: u64, end: u64, out: &mut dyn Write) -> Result<(), WriteError> {
    let mut at = start;
    while at < end {
        let stop = (at + COPY).min(end);
        out.write_all(&bytes.read(at, stop)?)?;
        at = stop;
    }
    Ok(())
}

fn copy_file(bytes: &Bytes, to: &Path) -> Result<(), WriteError> {
    files::replace_with(to, |out| copy(bytes, 0, bytes.len(), out))
}

/// The other files of the folder, and those one level below it (pooling settings and the like).
fn copy_companions(imported: &Imported, to: &Path, is_written: impl Fn(&str) -> bool) -> Result<(), WriteError> {
    let Some(folder) = imported.source().folder() else { return Ok(()) };
    for path in files::list(folder)? {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') || is_written(&name) {
            continue;
        }
        if files::is_dir(&path) {
            let inner: Vec<_> = files::list(&path)?.into_iter().filter(|p| !files::is_dir(p) && is_small(p)).collect();
            if inner.iter().any(|p| p.file_name().is_some_and(|n| n == "config.json")) {
                files::create_dir_all(&to.join(&name))?;
                for file in inner {
                    copy_file(&Bytes::open(&file)?, &to.join(&name).join(file.file_name().unwrap_or_default()))?;
                }
            }
            continue;
        }
        let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        if is_small(&path) && !OTHER_WEIGHTS.contains(&ending.as_str()) {
            copy_file(&Bytes::open(&path)?, &to.join(&name))?;
        }
    }
    Ok(())
}

fn is_small(path: &Path) -> bool {
    files::len(path).is_ok_and(|n| n <= MAX_COMPANION)
}

/// Reads the new folder back and compares it with what it should hold.
fn check(imported: &Imported, patch: &GraphPatch, temp: &Path) -> Result<(), WriteError> {
    let bad = WriteError::ReadBack;
    let written = crate::formats::open(temp).map_err(|e| bad(e.to_string()))?;
    if written.format != imported.format || written.graph.nodes.len() != imported.graph.nodes.len() {
        return Err(bad(format!("a {} of {} nodes", written.format, written.graph.nodes.len())));
    }
    for (old, new) in imported.graph.nodes.iter().zip(&written.graph.nodes) {
        if old.key != new.key {
            return Err(bad(format!("the node {} as {}", old.key, new.key)));
        }
    }
    for (key, tensor) in &patch.constants {
        let constant = written.graph.node_named(key.as_str()).and_then(|id| written.graph.constant(id));
        let Some(constant) = constant else { return Err(bad(format!("nothing under the name {key}"))) };
        let got = constant.payload.load().map_err(|e| bad(e.to_string()))?;
        if got != fitting(key, tensor, constant.payload.dtype)? {
            return Err(bad(format!("{key} with other values")));
        }
    }
    Ok(())
}
