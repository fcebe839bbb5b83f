//! A folder back as what it was: the same arrays under the same names, tuned ones replaced byte for byte, every other file
//! copied. The graph is not stored: it follows from the configuration. Where nodes were added (a head), their weights are
//! stored as further arrays under their own names, and the whole graph stands beside as a frozen [`GRAPH`].

use std::io::Write;
use std::path::Path;

use crate::base::files;
use crate::formats::source::Bytes;
use crate::formats::tensorflow::bundle::Bundle;
use crate::formats::tensorflow::bundle::write::Changes;
use crate::formats::tensorflow::freeze;
use crate::formats::{Imported, WriteError};
use crate::graph::patch::converted;
use crate::graph::{GraphPatch, NodeKey};
use crate::tensor::Tensor;
use crate::tensor::io::safetensors;

use super::arrays::{self, Shard};
use super::google;

/// Bytes copied at once.
const COPY: u64 = 1 << 20;
/// Companions up to this size are copied: vocabularies and settings, not weights of other frameworks.
const MAX_COMPANION: u64 = 64 << 20;
/// Endings of weights that would disagree with the tuned ones.
const OTHER_WEIGHTS: &[&str] =
    &["bin", "h5", "msgpack", "ot", "onnx", "safetensors", "pt", "pth", "ckpt", "tflite", "pb", "gguf"];

/// The whole graph, in a folder whose configuration does not describe all of it.
pub const GRAPH: &str = "model.pb";

/// The file that holds the whole graph of a written folder: where nodes were added, the frozen graph in it.
pub fn whole_graph(imported: &Imported, patch: &GraphPatch, path: &Path) -> Option<std::path::PathBuf> {
    let is_folder = imported.is_built() && files::is_dir(path);
    (is_folder && !patch.added.is_empty()).then(|| path.join(GRAPH)).filter(|p| files::exists(p))
}

/// The weights of added nodes, by name.
fn added_weights(patch: &GraphPatch) -> Vec<(String, Tensor)> {
    let weight = |n: crate::graph::patch::AddedNode| {
        let tensor = n.constant.filter(|t| t.dtype().is_float() && !t.shape().is_empty())?;
        Some((n.key.as_str().to_owned(), tensor))
    };
    patch.resolved_added().into_iter().filter_map(weight).collect()
}

fn put_graph(imported: &Imported, patch: &GraphPatch, to: &Path) -> Result<(), WriteError> {
    match patch.added.is_empty() {
        true => Ok(()),
        false => freeze::write(imported, patch, &to.join(GRAPH)),
    }
}

/// Writes a Hugging Face folder to `path`.
pub fn hugging_face(imported: &Imported, patch: &GraphPatch, path: &Path) -> Result<(), WriteError> {
    fits(imported, patch)?;
    let source = imported.source();
    let extra = added_weights(patch);
    let read = arrays::read(source).ok_or_else(|| WriteError::Patch("its weights are gone".into()))?;
    let folder = read.map_err(WriteError::Patch)?;
    let taken = extra.iter().find(|(name, _)| folder.arrays.contains_key(name));
    if let Some((name, _)) = taken {
        return Err(WriteError::Patch(format!("the folder has an array {name} already; give the head another name")));
    }
    let names: Vec<&str> = folder.shards.iter().map(|s| s.name.as_str()).chain([arrays::INDEX]).collect();
    let last = folder.shards.len().saturating_sub(1);
    let write = |to: &Path| -> Result<(), WriteError> {
        for (i, shard) in folder.shards.iter().enumerate() {
            let bytes = source.sibling(&shard.name)?;
            let target = to.join(&shard.name);
            let extra = if i == last { &extra[..] } else { &[] };
            files::replace_with(&target, |out| put_shard(shard, &bytes, (imported, patch), extra, out))?;
        }
        if source.has_sibling(arrays::INDEX) {
            let index = source.sibling(arrays::INDEX)?;
            match (folder.shards.get(last), extra.is_empty()) {
                (Some(shard), false) => put_index(&index, shard, &extra, &to.join(arrays::INDEX))?,
                _ => copy_file(&index, &to.join(arrays::INDEX))?,
            }
        }
        put_graph(imported, patch, to)?;
        copy_companions(imported, to, |name| names.contains(&name))
    };
    files::create_folder_checked(path, write, |temp| check(imported, patch, temp))
}

/// Writes a folder with configuration, vocabulary and checkpoint; or, for a path that ends in `.ckpt`, the checkpoint
/// alone under that prefix.
pub fn google(imported: &Imported, patch: &GraphPatch, path: &Path) -> Result<(), WriteError> {
    fits(imported, patch)?;
    let bundle = google::checkpoint(imported.source()).map_err(WriteError::Patch)?;
    let mut changes = Changes::default();
    for (key, tensor) in &patch.constants {
        let Some(entry) = bundle.get(key.as_str()) else { continue };
        changes.set_whole(&bundle, entry, &fitting(key, tensor, entry.dtype)?)?;
    }
    for (name, tensor) in added_weights(patch) {
        changes.add(&bundle, name, tensor)?;
    }
    if path.extension().is_some_and(|e| e == "ckpt") {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut names = bundle.file_names(&name);
        names.rotate_left(1);
        let write = |to: &Path| put_checkpoint(&bundle, &changes, to, &name);
        return files::place_checked(folder, &names, write, |to| {
            check_checkpoint(&bundle, imported, patch, &to.join(&name))
        });
    }
    let write = |to: &Path| -> Result<(), WriteError> {
        put_checkpoint(&bundle, &changes, to, &bundle.prefix)?;
        put_graph(imported, patch, to)?;
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
    let extra = added_weights(patch);
    let expected = old.entries().len() + extra.len();
    if new.entries().len() != expected {
        return Err(bad(format!("{} variables instead of {expected}", new.entries().len())));
    }
    // Loading compares checksums.
    for entry in new.entries() {
        new.payload(&entry.name).map(|p| p.load()).transpose().map_err(|e| bad(e.to_string()))?;
    }
    for (name, tensor) in &extra {
        if new.payload(name).and_then(|p| p.load().ok()).as_ref() != Some(tensor) {
            return Err(bad(format!("{name} with other values")));
        }
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

fn fits(imported: &Imported, patch: &GraphPatch) -> Result<(), WriteError> {
    match patch.problems(&imported.graph).into_iter().next() {
        Some(problem) => Err(WriteError::Patch(problem)),
        None => Ok(()),
    }
}

/// A tuned value in the type that is stored.
fn fitting(key: &NodeKey, tensor: &Tensor, dtype: crate::tensor::DType) -> Result<Tensor, WriteError> {
    let fitted = converted(tensor, dtype);
    fitted.ok_or_else(|| WriteError::Patch(format!("{key} is stored as {dtype}, which cannot be written")))
}

/// A file of arrays with its header as it was: types, shapes and places do not change. Further arrays stand behind all
/// others, and in the header.
fn put_shard(
    shard: &Shard,
    bytes: &Bytes,
    (imported, patch): (&Imported, &GraphPatch),
    extra: &[(String, Tensor)],
    out: &mut dyn Write,
) -> Result<(), WriteError> {
    let mut at = match extra.is_empty() {
        true => 0,
        false => put_header(bytes, extra, out)?,
    };
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
    copy(bytes, at, bytes.len(), out)?;
    extra.iter().try_for_each(|(_, tensor)| Ok(out.write_all(tensor.bytes())?))
}

/// The header with further arrays; gives where the values begin in the old file.
fn put_header(bytes: &Bytes, extra: &[(String, Tensor)], out: &mut dyn Write) -> Result<u64, WriteError> {
    let damaged = || WriteError::Patch("the header of its weights is damaged".into());
    let len: [u8; 8] = bytes.read(0, 8)?.try_into().map_err(|_| damaged())?;
    let start = u64::from_le_bytes(len).checked_add(8).filter(|end| *end <= bytes.len()).ok_or_else(damaged)?;
    let header: serde_json::Value = serde_json::from_slice(&bytes.read(8, start)?).map_err(|_| damaged())?;
    let serde_json::Value::Object(mut header) = header else { return Err(damaged()) };
    let mut at = bytes.len() - start;
    for (name, tensor) in extra {
        let dtype = safetensors::to_safetensors(tensor.dtype()).ok_or_else(damaged)?;
        let end = at + tensor.bytes().len() as u64;
        let entry = serde_json::json!({"dtype": dtype, "shape": tensor.shape(), "data_offsets": [at, end]});
        header.insert(name.clone(), entry);
        at = end;
    }
    let mut text = serde_json::Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    out.write_all(&(text.len() as u64).to_le_bytes())?;
    out.write_all(&text)?;
    Ok(start)
}

/// The list of shards with further arrays, which stand in `shard`.
fn put_index(index: &Bytes, shard: &Shard, extra: &[(String, Tensor)], to: &Path) -> Result<(), WriteError> {
    let damaged = || WriteError::Patch(format!("{} is damaged", arrays::INDEX));
    let text = index.read(0, index.len())?;
    let mut json: serde_json::Value = serde_json::from_slice(&text).map_err(|_| damaged())?;
    let map = json.get_mut("weight_map").and_then(serde_json::Value::as_object_mut).ok_or_else(damaged)?;
    map.extend(extra.iter().map(|(name, _)| (name.clone(), shard.name.clone().into())));
    let more: u64 = extra.iter().map(|(_, t)| t.bytes().len() as u64).sum();
    if let Some(total) = json.pointer_mut("/metadata/total_size")
        && let Some(old) = total.as_u64()
    {
        *total = (old + more).into();
    }
    Ok(files::replace(to, format!("{json:#}\n").as_bytes())?)
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
    let extra = added_weights(patch);
    if let Some((first, _)) = extra.first() {
        let arrays = crate::formats::named::of_folder(&written).map_err(|e| bad(e.to_string()))?;
        for (name, tensor) in &extra {
            let got = arrays.get(name).and_then(|p| p.load().ok());
            if got.as_ref() != Some(tensor) {
                return Err(bad(format!("{name} with other values (the head of {first})")));
            }
        }
    }
    for (key, tensor) in &patch.constants {
        if extra.iter().any(|(name, _)| name == key.as_str()) {
            continue;
        }
        let constant = written.graph.node_named(key.as_str()).and_then(|id| written.graph.constant(id));
        let Some(constant) = constant else { return Err(bad(format!("nothing under the name {key}"))) };
        let got = constant.payload.load().map_err(|e| bad(e.to_string()))?;
        if got != fitting(key, tensor, constant.payload.dtype)? {
            return Err(bad(format!("{key} with other values")));
        }
    }
    Ok(())
}
