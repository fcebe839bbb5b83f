//! Arrays of `.safetensors` files as payloads that are mapped when they are asked for; one file or several shards.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;

use crate::formats::source::{Bytes, Source};
use crate::tensor::io::safetensors::{self, Layout};
use crate::tensor::{DType, LazyTensor, Payload, PayloadError, Tensor};

/// The usual name of the one file, and of the list of shards.
pub const FILE: &str = "model.safetensors";
pub const INDEX: &str = "model.safetensors.index.json";
/// No published model has more; each is a file to open.
const MAX_SHARDS: usize = 4096;

/// One file of arrays.
#[derive(Debug)]
pub struct Shard {
    pub name: String,
    pub layout: Layout,
}

/// All arrays of a folder, with the files that they lie in.
#[derive(Debug)]
pub struct FolderArrays {
    pub arrays: IndexMap<String, Payload>,
    pub shards: Vec<Shard>,
    /// Of all files together.
    pub bytes: u64,
}

/// The arrays beside `source`. `None` where there is neither file nor index.
pub fn read(source: &Source) -> Option<Result<FolderArrays, String>> {
    if source.has_sibling(INDEX) {
        return Some(read_index(source, INDEX));
    }
    if !source.has_sibling(FILE) {
        return None;
    }
    let mut out = FolderArrays { arrays: IndexMap::new(), shards: Vec::new(), bytes: 0 };
    Some(add(source, FILE, &mut out).map(|()| out))
}

/// The payloads of one file's bytes.
pub fn payloads(bytes: &Bytes, layout: &Layout) -> IndexMap<String, Payload> {
    let payload = |(name, e): (&String, &safetensors::Entry)| {
        let stored = Stored {
            bytes: bytes.clone(),
            dtype: e.dtype,
            shape: e.shape.clone(),
            offset: e.offset,
            name: name.clone(),
        };
        (name.clone(), Payload::lazy(e.dtype, &e.shape, Arc::new(stored)))
    };
    layout.entries.iter().map(payload).collect()
}

/// The header of a file's bytes.
pub fn layout_of(bytes: &Bytes) -> Result<Layout, String> {
    safetensors::layout(bytes.len(), |buf, at| bytes.read_exact_at(buf, at)).map_err(|e| e.to_string())
}

fn add(source: &Source, name: &str, out: &mut FolderArrays) -> Result<(), String> {
    let bytes = source.sibling(name).map_err(|e| format!("{name} could not be opened: {e}"))?;
    let layout = layout_of(&bytes).map_err(|e| format!("{name}: {e}"))?;
    out.bytes += bytes.len();
    out.arrays.extend(payloads(&bytes, &layout));
    out.shards.push(Shard { name: name.to_owned(), layout });
    Ok(())
}

/// The files that the `weight_map` of `index` (beside `source`) names, in the order of their first mention.
pub fn read_index(source: &Source, index: &str) -> Result<FolderArrays, String> {
    let bytes = source.sibling(index).map_err(|e| format!("{index} could not be opened: {e}"))?;
    let text = bytes.read(0, bytes.len()).map_err(|e| format!("{index} could not be read: {e}"))?;
    let json: Value = serde_json::from_slice(&text).map_err(|e| format!("{index} is not JSON: {e}"))?;
    let map = json.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| format!("{index} has no \"weight_map\""))?;
    let mut files: Vec<&str> = Vec::new();
    let mut seen: HashMap<&str, ()> = HashMap::new();
    for (name, file) in map {
        let file = file.as_str().ok_or_else(|| format!("{index} names no file for {name}"))?;
        if seen.insert(file, ()).is_none() {
            files.push(file);
        }
    }
    if files.len() > MAX_SHARDS {
        return Err(format!("{index} names {} files; at most {MAX_SHARDS} are opened", files.len()));
    }
    let mut out = FolderArrays { arrays: IndexMap::new(), shards: Vec::new(), bytes: 0 };
    files.into_iter().try_for_each(|file| add(source, file, &mut out))?;
    match map.keys().find(|name| !out.arrays.contains_key(*name)) {
        Some(name) => Err(format!("{index} names {name}, which is in none of its files")),
        None => Ok(out),
    }
}

/// An array that lies in a file.
struct Stored {
    bytes: Bytes,
    dtype: DType,
    shape: Vec<usize>,
    offset: u64,
    name: String,
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {:?} at byte {}", self.name, self.dtype, self.shape, self.offset)
    }
}

impl LazyTensor for Stored {
    fn load(&self) -> Result<Tensor, PayloadError> {
        let loaded = self.bytes.tensor_at(self.dtype, &self.shape, self.offset);
        loaded.map_err(|e| PayloadError(format!("{} could not be loaded: {e}", self.name)))
    }
}
