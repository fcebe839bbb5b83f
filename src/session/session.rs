//! The session: what is open, what was decided, where it is saved.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::Diagnostic;

use super::change::Change;
use super::error::SessionError;
use super::file;
use super::history::History;
use super::model::Model;
use super::recipe::Recipe;
use super::understand::{Base, Understood};

/// An imported model with a recipe and its history. The model never changes; everything shown is derived from both.
#[derive(Debug)]
pub struct Session {
    pub model: Arc<Model>,
    history: History,
    path: Option<PathBuf>,
    saved: Arc<Recipe>,
    /// What was found out while opening: files that are not what they were.
    pub notes: Vec<Diagnostic>,
    /// The newest spelled graph, reused while the edits stay the same.
    base: Mutex<Option<Arc<Base>>>,
}

impl Session {
    /// Opens a model file or folder, or a session file with the model that it names.
    pub fn open(path: &Path) -> Result<Self, SessionError> {
        Self::open_choosing(path, None)
    }

    /// As [`Session::open`]; `choice` names a signature, meta graph or tag set of a file that holds several and goes into
    /// the recipe.
    pub fn open_choosing(path: &Path, choice: Option<&str>) -> Result<Self, SessionError> {
        if file::is_session(path) {
            let mut saved = file::load(path)?;
            if choice.is_some() {
                saved.recipe.signature = choice.map(str::to_owned);
            }
            let model = Arc::new(Model::open_choosing(&saved.model_path, saved.recipe.signature.as_deref())?);
            file::check_model(&saved, &model)?;
            let mut session = Self::new(model, saved.recipe);
            session.notes = saved.changed;
            session.path = Some(path.to_owned());
            return Ok(session);
        }
        let recipe = Recipe { signature: choice.map(str::to_owned), ..Recipe::default() };
        Ok(Self::new(Arc::new(Model::open_choosing(path, choice)?), recipe))
    }

    pub fn new(model: Arc<Model>, recipe: Recipe) -> Self {
        let history = History::new(recipe);
        Self { saved: history.recipe().clone(), model, history, path: None, notes: Vec::new(), base: Mutex::new(None) }
    }

    pub fn recipe(&self) -> &Arc<Recipe> {
        self.history.recipe()
    }

    pub fn history(&self) -> &History {
        &self.history
    }

    /// Where the session is saved, if it is.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    pub fn is_changed(&self) -> bool {
        *self.saved != **self.recipe()
    }

    /// The only way to change the recipe; false where nothing changes.
    pub fn apply(&mut self, change: &Change, gesture: Option<u64>) -> bool {
        self.history.apply(change, gesture)
    }

    pub fn undo(&mut self) -> bool {
        self.history.undo()
    }

    pub fn redo(&mut self) -> bool {
        self.history.redo()
    }

    pub fn jump(&mut self, index: usize) -> bool {
        self.history.jump(index)
    }

    /// Starts over with another recipe, without an undo step (command-line options on top of a file).
    pub fn replace_recipe(&mut self, recipe: Recipe) -> Result<(), SessionError> {
        self.history = History::new(recipe);
        Ok(())
    }

    pub fn save_as(&mut self, path: &Path) -> Result<(), SessionError> {
        file::save(path, &self.model, self.recipe())?;
        self.path = Some(path.to_owned());
        self.saved = self.recipe().clone();
        Ok(())
    }

    /// Everything derived from the model and the current recipe. Pure; run it in a job where the window must not wait.
    pub fn understand(&self) -> Result<Understood, SessionError> {
        Understood::new(self.base()?, self.recipe().clone())
    }

    fn base(&self) -> Result<Arc<Base>, SessionError> {
        let mut cached = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        let recipe = self.recipe();
        if let Some(base) = cached.as_ref().filter(|b| b.serves(recipe)) {
            return Ok(base.clone());
        }
        let base = Arc::new(Base::new(self.model.clone(), recipe)?);
        *cached = Some(base.clone());
        Ok(base)
    }
}
