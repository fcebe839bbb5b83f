//! Tuned values beside the model: protobuf messages end at 2 GB, so where a model would grow beyond that, its tuned
//! initializers are written as external data.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::base::files;
use crate::formats::WriteError;
use crate::formats::wire::{self, Scanner, WireError};
use crate::tensor::Tensor;

/// Where values start in the file beside; a multiple that suits every element type and memory maps of vectors.
const ALIGN: u64 = 64;
/// Smaller values stay in the model.
const MIN_BYTES: usize = 1024;

/// A file beside the model and what lies where in it.
#[derive(Debug)]
pub struct Spill {
    /// Its name, as the model's messages say it.
    pub location: String,
    /// Position of an initializer's message in the original file → offset and length.
    pub places: HashMap<u64, (u64, u64)>,
    path: PathBuf,
}

impl Spill {
    /// Writes the values of `tensors` (by the position of their messages) into a new file beside `model`.
    pub fn write(model: &Path, taken: &[String], mut tensors: Vec<(u64, &Tensor)>) -> Result<Self, WriteError> {
        tensors.retain(|(_, t)| t.bytes().len() >= MIN_BYTES);
        tensors.sort_by_key(|(at, _)| *at);
        let stem = model.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let name = |i: usize| if i == 0 { format!("{stem}.data") } else { format!("{stem}.{i}.data") };
        let free = |n: &String| !taken.contains(n) && !files::exists(&model.with_file_name(n));
        let location = (0..=taken.len() + 64).map(name).find(free);
        let location = location.ok_or_else(|| WriteError::Patch(format!("{stem}.data and its like are taken")))?;
        let path = model.with_file_name(&location);
        let mut places = HashMap::new();
        files::replace_with(&path, |out| {
            let mut at = 0u64;
            for (message, tensor) in &tensors {
                let start = at.next_multiple_of(ALIGN);
                out.write_all(&vec![0; (start - at) as usize])?;
                out.write_all(tensor.bytes())?;
                at = start + tensor.bytes().len() as u64;
                places.insert(*message, (start, tensor.bytes().len() as u64));
            }
            Ok::<_, std::io::Error>(())
        })?;
        Ok(Self { location, places, path })
    }

    /// Takes the file away again, because the model was not written.
    pub fn discard(self) {
        // What cannot be removed does no harm: no model names it.
        let _ = files::remove_file(&self.path);
    }

    /// An initializer's message whose values lie in the file: every field of `old` but the value, then its place.
    pub fn message(&self, s: &mut Scanner<'_>, old: std::ops::Range<u64>) -> Result<Option<Vec<u8>>, WireError> {
        let Some((offset, length)) = self.places.get(&old.start).copied() else { return Ok(None) };
        let mut out = Vec::new();
        s.each_field(old, |s, field| {
            if !matches!(field.number, 4..=7 | 9..=11 | 13 | 14) {
                out.extend(s.read(&field.span)?);
            }
            Ok::<_, WireError>(())
        })?;
        let entries =
            [("location", self.location.clone()), ("offset", offset.to_string()), ("length", length.to_string())];
        for (key, value) in entries {
            let mut entry = Vec::new();
            wire::put_bytes(&mut entry, 1, key.as_bytes());
            wire::put_bytes(&mut entry, 2, value.as_bytes());
            wire::put_bytes(&mut out, 13, &entry);
        }
        wire::put_number(&mut out, 14, 1);
        Ok(Some(out))
    }
}
