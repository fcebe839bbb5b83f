//! Proving the recipe, applying it to another model, and the runs that it led to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::Severity;
use crate::session::prove::{self, What};
use crate::session::transfer::{self, Transferred};
use crate::session::{Model, runs};
use crate::ui::ctx::{Proved, RunEntry};
use crate::ui::dialogs::Dialog;

use super::jobs::Outcome;
use super::{App, follow, layout};

/// Inputs of a proof.
const N_INPUTS: usize = 8;

/// A recipe that was matched with another model, until the user opens it.
#[derive(Debug)]
pub struct Matched {
    pub(super) model: Arc<Model>,
    pub(super) transferred: Transferred,
}

impl App {
    /// Runs the model with and without adjustments, in a job.
    pub(super) fn prove(&mut self, what: What) {
        let (Some(open), Some(held)) = (&mut self.open, &self.session) else { return };
        let (model, recipe) = (held.model.clone(), open.history.recipe().clone());
        open.proof = None;
        layout::show(&mut self.layout, "recipe");
        self.jobs.start("Proving the adjustments", move |cancel, progress| {
            let result = prove::prove(&model, &recipe, what, N_INPUTS, cancel, |f| progress.set(f));
            let result = result.map(Arc::new).map_err(|e| e.to_string());
            Outcome::Proved(Box::new(Proved { what, edits: recipe.edits.clone(), result }))
        });
    }

    pub(super) fn take_proved(&mut self, proved: Proved) {
        let words = match &proved.result {
            Ok(p) => format!(
                "Compared on {} {}: largest difference {}",
                p.n_inputs,
                p.inputs,
                crate::ui::text::number(p.largest(), 3)
            ),
            Err(e) => format!("The adjustments could not be compared: {e}"),
        };
        self.note(Severity::Info, words);
        if let Some(open) = &mut self.open {
            open.proof = Some(proved);
        }
    }

    /// Looks every decision up in another model, in a job.
    pub(super) fn apply_to(&mut self, path: PathBuf) {
        let Some(open) = &self.open else { return };
        let recipe = open.history.recipe().clone();
        self.jobs.start("Matching the recipe", move |_, _| {
            let matched = Model::open(&path).map_err(|e| e.to_string()).and_then(|model| {
                let model = Arc::new(model);
                let transferred = transfer::transfer(&recipe, &model).map_err(|e| e.to_string())?;
                Ok(Matched { model, transferred })
            });
            Outcome::Matched(Box::new(matched))
        });
    }

    pub(super) fn take_matched(&mut self, result: Result<Matched, String>) {
        match result {
            Ok(matched) => {
                let path = &matched.model.imported.path;
                let model = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
                self.state.dialog = Some(Dialog::Transferred { model, report: matched.transferred.report.clone() });
                self.matched = Some(matched);
            }
            Err(e) => self.say(Severity::Error, format!("The recipe could not be applied: {e}")),
        }
    }

    /// Reads the runs of this session from disk, in a job.
    pub(super) fn refresh_runs(&mut self) {
        let Some(open) = &self.open else { return };
        let folder = runs::folder_of(open.session_path.as_deref().unwrap_or(&open.path));
        // The newest request counts: one that is under way may have read before the last checkpoint was there.
        self.jobs.replace_quietly("Reading runs", move |_, _| {
            Outcome::Runs(runs::list(&folder).into_iter().map(follow::entry).collect())
        });
    }

    pub(super) fn take_runs(&mut self, entries: Vec<RunEntry>) {
        if let Some(open) = &mut self.open {
            open.set_runs(entries);
        }
    }

    /// Goes on with the newest run that has a checkpoint.
    pub(super) fn resume_last(&mut self) {
        let last = self.open.iter().flat_map(|o| o.runs.iter()).rfind(|r| r.can_resume);
        if let Some(folder) = last.map(|r| r.folder.clone()) {
            self.resume_run(folder, 0);
        }
    }

    fn is_in_use(&self, folder: &Path) -> bool {
        self.run.as_ref().is_some_and(|r| r.state.is_active() && r.folder.as_deref() == Some(folder))
    }

    pub(super) fn rename_run(&mut self, folder: &Path, name: &str) {
        if self.is_in_use(folder) {
            return self.say(Severity::Warning, "This run is in progress; rename it when it has ended.");
        }
        match runs::rename(folder, name) {
            Ok(new) => {
                if let Some(run) = self.run.as_mut().filter(|r| r.folder.as_deref() == Some(folder)) {
                    run.name = name.to_owned();
                    run.folder = Some(new.clone());
                }
                if let Some(training) = self.training.as_mut().filter(|t| t.folder == folder) {
                    training.folder = new;
                }
                self.refresh_runs();
            }
            Err(e) => self.say(Severity::Error, e.to_string()),
        }
    }

    pub(super) fn delete_run(&mut self, folder: &Path) {
        if self.is_in_use(folder) {
            return self.say(Severity::Warning, "This run is in progress; stop it first.");
        }
        match runs::delete(folder) {
            Ok(()) => {
                self.say(Severity::Info, format!("Deleted {}", folder.display()));
                self.refresh_runs();
            }
            Err(e) => self.say(Severity::Error, e.to_string()),
        }
    }
}
