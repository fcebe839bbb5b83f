//! Models whose variables lie in a checkpoint, back into the same files: the graph is patched where it stands, the
//! variables' bundle gets the tuned values, everything else is copied byte for byte.

use std::path::{Path, PathBuf};

use crate::base::files;
use crate::formats::source::Bytes;
use crate::formats::wire::{Scanner, WireError};
use crate::formats::{Imported, WriteError};
use crate::graph::GraphPatch;
use crate::graph::patch::converted;

use super::bundle::write::{Changes, copy};
use super::bundle::{Bundle, prefix_of};
use super::checkpoint::TEXT_GRAPH;
use super::saved_model::{SAVED_MODEL, VARIABLES};
use super::text_print;
use super::variables::Variables;
use super::write::{check, patched_file};

/// Folders below a SavedModel's own are copied down to this depth.
const MAX_DEPTH: usize = 8;
const MODEL: &str = "saved_model.pb";
/// The same in protobuf's text form, which is written in the binary one.
const TEXT_MODEL: &str = "saved_model.pbtxt";

/// Writes a checkpoint (`PREFIX.meta`, `.index`, `.data-…` and the `checkpoint` state file) or a SavedModel folder,
/// whichever the model was read from; a SavedModel also as a checkpoint, where `path` ends in `.ckpt` or
/// one of a checkpoint's endings. The result lands under `path` only after it was read back.
pub fn write(imported: &Imported, patch: &GraphPatch, path: &Path) -> Result<(), WriteError> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let wants_checkpoint = name.contains(".ckpt") || prefix_of(&name).is_some();
    let is_model = name == MODEL || name == TEXT_MODEL;
    match imported.format == SAVED_MODEL.name && !wants_checkpoint {
        true => saved_model(imported, patch, if is_model { parent(path) } else { path }),
        false => checkpoint(imported, patch, path),
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The new values of variables as changes of the bundle.
fn changes(variables: &Variables, imported: &Imported, patch: &GraphPatch) -> Result<Changes, WriteError> {
    let mut out = Changes::default();
    for (key, tensor) in &patch.constants {
        let Some((name, region)) = variables.places.get(key) else { continue };
        let Some(entry) = variables.bundle.get(name) else { continue };
        let what = || WriteError::Patch(format!("the variable {key} is {}, which cannot be written", entry.dtype));
        let tensor = converted(tensor, entry.dtype).ok_or_else(what)?;
        let node = imported.graph.node_named(key.as_str());
        let old = node.and_then(|n| imported.graph.constant(n)).and_then(|c| c.payload.load().ok());
        if old.as_ref() != Some(&tensor) {
            out.set(&variables.bundle, entry, region, &tensor)?;
        }
    }
    Ok(out)
}

/// Index last: where it is missing, nobody takes the shards for a checkpoint.
fn put_bundle(bundle: &Bundle, changes: &Changes, folder: &Path, prefix: &str) -> Result<(), WriteError> {
    let names = bundle.file_names(prefix);
    for (nth, name) in names.iter().skip(1).enumerate() {
        files::replace_with(&folder.join(name), |out| bundle.write_shard(nth, changes, out))?;
    }
    match names.first() {
        Some(index) => files::replace_with(&folder.join(index), |out| bundle.write_index(changes, out)),
        None => Ok(()),
    }
}

/// The meta graph of a SavedModel as a checkpoint's `.meta`: the message is the same.
fn put_meta_graph(imported: &Imported, patch: &GraphPatch, path: &Path) -> Result<(), WriteError> {
    let source = &imported.source().bytes;
    let span = imported.graph_span();
    let holds = |range: &std::ops::Range<u64>| range.start <= span.start && span.end <= range.end;
    let nth = meta_graphs(source)?.iter().position(holds);
    let nth = nth.ok_or_else(|| WriteError::Patch("its meta graph cannot be found any more".into()))?;
    let patched = patched_file(imported, patch)?.map(Bytes::from_memory);
    let bytes = patched.as_ref().unwrap_or(source);
    let range = meta_graphs(bytes)?.into_iter().nth(nth);
    let range = range.ok_or_else(|| WriteError::Patch("its meta graph is lost in the change".into()))?;
    files::replace_with(path, |out| copy(bytes, range.start, range.end, out))
}

/// Where the meta graphs of a SavedModel lie: fields 2.
fn meta_graphs(bytes: &Bytes) -> Result<Vec<std::ops::Range<u64>>, WriteError> {
    let mut s = Scanner::new(bytes);
    let (all, mut out) = (s.all(), Vec::new());
    s.each_field(all, |_, field| {
        if field.number == 2 {
            out.push(field.range()?);
        }
        Ok::<_, WireError>(())
    })?;
    Ok(out)
}

fn put_graph_file(imported: &Imported, patch: &GraphPatch, path: &Path) -> Result<(), WriteError> {
    let bytes = &imported.source().bytes;
    match patched_file(imported, patch)? {
        Some(new) => Ok(files::replace(path, &new)?),
        None => files::replace_with(path, |out| copy(bytes, 0, bytes.len(), out)),
    }
}

fn checkpoint(imported: &Imported, patch: &GraphPatch, path: &Path) -> Result<(), WriteError> {
    let variables = imported.variables();
    let variables =
        variables.ok_or_else(|| WriteError::Patch("its checkpoint is missing; there are no values".into()))?;
    let bundle = &variables.bundle;
    let text = path.to_string_lossy();
    let is_saved_model = imported.format == SAVED_MODEL.name;
    // A folder keeps the prefix that the checkpoint has.
    let (folder, prefix) = if files::is_dir(path) || text.ends_with(['/', '\\']) {
        (path.to_path_buf(), bundle.prefix.clone())
    } else {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        (parent(path).to_path_buf(), prefix_of(&name).unwrap_or(&name).to_owned())
    };
    let is_open = |name: &str| {
        let theirs = imported.source().folder().map(|f| f.join(name));
        let (a, b) = (files::canonical(&folder.join(name)), theirs.map(|p| files::canonical(&p)));
        matches!((a, b), (Ok(a), Some(Ok(b))) if a == b)
    };
    if prefix == bundle.prefix && is_open(&format!("{prefix}.index")) {
        return Err(WriteError::SameFile(folder.join(&prefix).display().to_string()));
    }
    let changes = changes(variables, imported, patch)?;
    // A graph that came as text goes back as text; everything else that a .meta holds would be made up.
    let is_text = imported.source().name == TEXT_GRAPH;
    let graph_name = if is_text { TEXT_GRAPH.to_owned() } else { format!("{prefix}.meta") };
    let write = |to: &Path| -> Result<(), WriteError> {
        put_bundle(bundle, &changes, to, &prefix)?;
        let graph = to.join(&graph_name);
        match (is_text, is_saved_model) {
            (true, _) => text_print::put_text(imported, patch, &graph)?,
            (_, true) => put_meta_graph(imported, patch, &graph)?,
            _ => put_graph_file(imported, patch, &graph)?,
        }
        let name = prefix.replace('\\', "\\\\").replace('"', "\\\"");
        let state = format!("model_checkpoint_path: \"{name}\"\nall_model_checkpoint_paths: \"{name}\"\n");
        Ok(files::replace(&to.join("checkpoint"), state.as_bytes())?)
    };
    let mut names = bundle.file_names(&prefix);
    names.rotate_left(1);
    names.insert(0, graph_name.clone());
    names.push("checkpoint".to_owned());
    let read_back = |temp: &Path| {
        check(imported, patch, &temp.join(format!("{prefix}.index")))?;
        verify(&Bundle::open_path(&temp.join(&prefix)), bundle)
    };
    files::place_checked(&folder, &names, write, read_back)
}

fn saved_model(imported: &Imported, patch: &GraphPatch, path: &Path) -> Result<(), WriteError> {
    let gone = || WriteError::Patch("it was not read from a folder".into());
    let from = imported.source().folder().ok_or_else(gone)?.to_path_buf();
    if matches!((files::canonical(path), files::canonical(&from)), (Ok(a), Ok(b)) if a == b) {
        return Err(WriteError::SameFile(path.display().to_string()));
    }
    if files::canonical(parent(path)).is_ok_and(|p| files::canonical(&from).is_ok_and(|f| p.starts_with(f))) {
        return Err(WriteError::Patch("the new folder lies inside the one that is open; choose another place".into()));
    }
    let write = |to: &Path| -> Result<(), WriteError> {
        let skip: Vec<PathBuf> = match imported.variables() {
            Some(v) => v.bundle.file_names(VARIABLES).iter().map(|n| from.join(n)).collect(),
            None => Vec::new(),
        };
        copy_folder(&from, to, &skip, 0)?;
        put_graph_file(imported, patch, &to.join(MODEL))?;
        if let Some(variables) = imported.variables() {
            let changes = changes(variables, imported, patch)?;
            files::create_dir_all(&to.join("variables"))?;
            put_bundle(&variables.bundle, &changes, to, VARIABLES)?;
        }
        Ok(())
    };
    let read_back = |temp: &Path| {
        check(imported, patch, temp)?;
        match imported.variables() {
            Some(v) => verify(&Bundle::open_path(&temp.join(VARIABLES)), &v.bundle),
            None => Ok(()),
        }
    };
    files::create_folder_checked(path, write, read_back)
}

/// Every file but those that are written anew.
fn copy_folder(from: &Path, to: &Path, skip: &[PathBuf], depth: usize) -> Result<(), WriteError> {
    if depth > MAX_DEPTH {
        return Err(WriteError::Patch(format!("{} has too many folders inside each other", from.display())));
    }
    for path in files::list(from)? {
        let name = path.file_name().unwrap_or_default();
        let target = to.join(name);
        if skip.contains(&path)
            || name.to_string_lossy().starts_with(".regraft-")
            || (depth == 0 && (name == MODEL || name == TEXT_MODEL))
        {
            continue;
        }
        if files::is_dir(&path) {
            files::create_dir_all(&target)?;
            copy_folder(&path, &target, skip, depth + 1)?;
        } else {
            let bytes = Bytes::open(&path)?;
            files::replace_with(&target, |out| copy(&bytes, 0, bytes.len(), out))?;
        }
    }
    Ok(())
}

/// Reads every tensor of the new bundle, which compares its checksum, and compares the list with the old one's.
fn verify(new: &Result<Bundle, super::bundle::BundleError>, old: &Bundle) -> Result<(), WriteError> {
    let bad = WriteError::ReadBack;
    let new = new.as_ref().map_err(|e| bad(e.to_string()))?;
    if new.entries().len() != old.entries().len() {
        return Err(bad(format!("{} variables instead of {}", new.entries().len(), old.entries().len())));
    }
    for entry in new.entries().iter().filter(|e| e.dtype.size() > 0 || e.dtype == crate::tensor::DType::String) {
        if let Some(payload) = new.payload(&entry.name) {
            payload.load().map_err(|e| bad(e.to_string()))?;
        }
    }
    Ok(())
}
