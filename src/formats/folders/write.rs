//! A folder back as what it was: the same arrays under the same names, tuned ones replaced, every other file copied.

use std::path::Path;

use crate::formats::{Imported, WriteError};
use crate::graph::GraphPatch;

/// Writes a Hugging Face folder to `path`.
pub fn hugging_face(imported: &Imported, _patch: &GraphPatch, _path: &Path) -> Result<(), WriteError> {
    Err(WriteError::ReadOnly(imported.format))
}
