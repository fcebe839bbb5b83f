//! The imported model: the file's graph and what belongs to the file alone. Never changes.

use std::path::Path;
use std::sync::Arc;

use crate::base::Diagnostic;
use crate::formats::{self, Imported};
use crate::graph::{Graph, Signature};

use super::error::SessionError;

#[derive(Debug)]
pub struct Model {
    pub imported: Imported,
}

impl Model {
    pub fn open(path: &Path) -> Result<Self, SessionError> {
        Self::open_choosing(path, None)
    }

    /// As [`Model::open`]; `choice` names a signature, meta graph or tag set of a file that holds several.
    pub fn open_choosing(path: &Path, choice: Option<&str>) -> Result<Self, SessionError> {
        Ok(Self { imported: formats::open_choosing(path, choice)? })
    }

    pub fn graph(&self) -> &Arc<Graph> {
        &self.imported.graph
    }

    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.imported.diagnostics
    }

    /// The signature that a recipe names, or the file's default.
    pub fn signature(&self, name: Option<&str>) -> Result<Option<&Signature>, SessionError> {
        let all = &self.graph().signatures;
        match name {
            // What was chosen when the file was opened stands first.
            None => Ok(all.first()),
            Some(n) if self.imported.source().choice.as_deref() == Some(n) && all.iter().all(|s| s.name != n) => {
                Ok(all.first())
            }
            Some(n) => all.iter().find(|s| s.name == n).map(Some).ok_or_else(|| {
                let names: Vec<&str> = all.iter().map(|s| s.name.as_str()).collect();
                SessionError::Choice(format!("there is no signature {n:?}; the file has {}", names.join(", ")))
            }),
        }
    }
}
