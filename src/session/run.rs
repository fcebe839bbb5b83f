//! Runs on disk: a folder with the recipe that was trained, its log and its checkpoints.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::files;
use crate::tensor::Tensor;
use crate::train::checkpoint::{self, Loaded};

use super::error::SessionError;
use super::file;
use super::model::Model;
use super::session::Session;
use super::training::RECIPE;
use super::understand::Understood;

/// An opened run: the session that was trained, and the parameters of one checkpoint.
#[derive(Debug)]
pub struct Run {
    pub folder: PathBuf,
    pub session: Session,
    pub checkpoint: Loaded,
}

/// Whether a path is a run's folder.
pub fn is_run(path: &Path) -> bool {
    files::exists(&path.join(RECIPE))
}

/// Where a run goes if nobody says: `<session>.runs/run-N`, or `run-N` in a folder beside the model.
pub fn default_folder(session: &Session, opened: &Path) -> PathBuf {
    let base = session.path().unwrap_or(opened).with_extension("runs");
    let free = |n: &usize| !files::exists(&base.join(format!("run-{n}")));
    base.join(format!("run-{}", (1..).find(free).unwrap_or(1)))
}

/// As [`default_folder`], and makes it, so that no other run takes the same.
///
/// Errors: the folder cannot be made.
pub fn claim_folder(session: &Session, opened: &Path) -> Result<PathBuf, SessionError> {
    let mut folder = default_folder(session, opened);
    let make = |folder: &Path| {
        folder.parent().map_or(Ok(()), files::create_dir_all)?;
        files::create_dir(folder)
    };
    let mut made = make(&folder);
    // Others may take a free name between the look and the making, but not for ever.
    for _ in 0..100 {
        if !made.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::AlreadyExists) {
            break;
        }
        folder = default_folder(session, opened);
        made = make(&folder);
    }
    match made {
        Ok(()) => Ok(folder),
        Err(e) => Err(SessionError::File { path: folder, what: "made for a run", why: e.to_string() }),
    }
}

impl Run {
    /// `which` is `best`, `last`, or a checkpoint's path.
    pub fn open(folder: &Path, which: &str) -> Result<Self, SessionError> {
        let fail = |why: String| SessionError::File { path: folder.to_owned(), what: "opened as a run", why };
        if !is_run(folder) {
            return Err(fail(format!("it holds no {RECIPE}; name the folder that `regraft train --out` wrote")));
        }
        let path = match which {
            "last" => checkpoint::newest(folder).map_err(|e| fail(e.to_string()))?,
            "best" => checkpoint::best(folder).or(checkpoint::newest(folder).map_err(|e| fail(e.to_string()))?),
            path => Some(PathBuf::from(path)),
        };
        let path = path.ok_or_else(|| fail("it has no checkpoint yet".to_owned()))?;
        let checkpoint = Loaded::read(&path).map_err(fail)?;
        let saved = file::load(&folder.join(RECIPE))?;
        let model = Arc::new(Model::open_choosing(&saved.model_path, saved.recipe.signature.as_deref())?);
        file::check_model(&saved, &model)?;
        Ok(Self { folder: folder.to_owned(), session: Session::new(model, saved.recipe), checkpoint })
    }

    /// The parameters in the order of [`Understood::trainable`].
    pub fn parameters(&self, understood: &Understood) -> Result<Vec<Tensor>, SessionError> {
        let tuned = self.constants();
        let find = |name: &str| {
            tuned.iter().find(|(n, _)| n == name).map(|(_, t)| t.clone()).ok_or_else(|| SessionError::File {
                path: self.folder.clone(),
                what: "opened as a run",
                why: format!("the checkpoint has no {name}, which the recipe trains"),
            })
        };
        understood.trainable.iter().map(|t| find(t.node.as_str())).collect()
    }

    /// The tuned constants by name.
    pub fn constants(&self) -> Vec<(String, Tensor)> {
        self.checkpoint.parameters().map(|(name, t)| (name.to_owned(), t.clone())).collect()
    }
}
