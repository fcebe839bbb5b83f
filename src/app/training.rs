//! The run in progress: preparing it in a job, reading its events between frames, telling it what the user asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::{CancelToken, Reporter, Severity, files};
use crate::session::recipe::DataChoice;
use crate::session::{Model, Recipe, Session, file, run, runs, tables, training};
use crate::train::metrics::Task;
use crate::train::protocol::Sample;
use crate::train::{Delivery, EndReason, Job, TrainCommand, TrainEvent, Trainer};
use crate::ui::Action;
use crate::ui::dialogs::{Dialog, LossForm, objective};
use crate::ui::run_view::{Prediction, RunState, RunView, sort_worst_first};

use super::App;
use super::follow::{self, Clock, Follower};
use super::jobs::Outcome;
use super::predictions;

/// Title of the job that comes before the first step.
pub(super) const PREPARING: &str = "Preparing the run";

/// A trainer at work and what the window needs to follow it.
#[derive(Debug)]
pub struct Training {
    trainer: Trainer,
    pub folder: PathBuf,
    epochs: usize,
    follower: Follower,
    data: Option<DataChoice>,
    /// What an earlier part of the run showed.
    before: Option<RunView>,
    /// It goes on with an earlier run, whose checkpoints stay.
    goes_on: bool,
    warnings: Vec<String>,
    has_samples: bool,
}

/// Which run to start.
enum Which {
    New {
        recipe: Arc<Recipe>,
        opened: PathBuf,
    },
    /// An earlier one, lengthened.
    Again {
        folder: PathBuf,
        more: usize,
    },
}

impl App {
    pub(super) fn start_training(&mut self) {
        let Some(open) = &self.open else { return };
        if open.recipe().data.is_none() {
            self.show_panel("data");
            self.say(Severity::Warning, "Pick data first: training needs examples.");
            return;
        }
        if objective::lacks_loss(open) {
            let form = LossForm::new(Some(open), None);
            self.state.dialog = Some(Dialog::ChooseLoss(form));
            return;
        }
        let opened = open.session_path.clone().unwrap_or_else(|| open.path.clone());
        let recipe = open.history.recipe().clone();
        self.prepare(Which::New { recipe, opened });
    }

    /// Goes on with a run of this session.
    pub(super) fn resume_run(&mut self, folder: PathBuf, more: usize) {
        if self.run.as_ref().is_some_and(|r| r.state.is_active()) {
            return self.say(Severity::Warning, "A run is in progress; stop it first.");
        }
        self.prepare(Which::Again { folder, more });
    }

    fn prepare(&mut self, which: Which) {
        let Some(held) = &self.session else { return };
        let model = held.model.clone();
        let (ctx, lag) = (self.jobs.context(), self.pace.lag());
        let waker = Arc::new(move || ctx.request_repaint_after(lag()));
        let threads = Some(self.preferences.threads).filter(|n| *n > 0);
        self.run = Some(RunView { name: "run".to_owned(), ..RunView::default() });
        self.jobs
            .start(PREPARING, move |cancel, _| Outcome::Started(Box::new(start(model, which, threads, waker, cancel))));
    }

    pub(super) fn take_started(&mut self, result: Result<Training, String>) {
        match result {
            Ok(mut training) => {
                let name =
                    training.folder.file_name().map_or_else(|| "run".to_owned(), |n| n.to_string_lossy().into_owned());
                self.note(Severity::Info, format!("Training into {}", training.folder.display()));
                for w in &training.warnings {
                    self.note(Severity::Warning, w.clone());
                }
                training.goes_on = training.before.is_some();
                let before = training.before.take().unwrap_or_default();
                let folder = Some(training.folder.clone());
                super::layout::show(&mut self.layout, "plots");
                self.run = Some(RunView { name, folder, total_epochs: training.epochs, ..before });
                self.training = Some(training);
                self.refresh_runs();
            }
            Err(e) => {
                self.run = None;
                self.say(Severity::Error, format!("Training could not start: {e}"));
            }
        }
    }

    /// Everything that the trainer said since the last frame.
    pub(super) fn take_training_events(&mut self) {
        let Some(training) = &mut self.training else { return };
        let events: Vec<TrainEvent> = training.trainer.events().try_iter().collect();
        if events.is_empty() {
            return;
        }
        if let Some(run) = &mut self.run {
            for event in &events {
                training.follower.follow(run, event);
            }
        }
        let said = std::mem::take(&mut training.follower.said);
        let samples = events.iter().rev().find_map(|e| match e {
            TrainEvent::Samples { samples, .. } if !samples.is_empty() => Some(samples.clone()),
            _ => None,
        });
        training.has_samples |= samples.is_some();
        let (has_samples, end) = (training.has_samples, events.last().cloned());
        if let Some(samples) = samples {
            self.read_samples(samples);
        }
        if let Some(TrainEvent::End { reason, .. }) = end {
            if !has_samples && reason != EndReason::Discarded {
                self.predict();
            }
            if reason == EndReason::Discarded {
                self.forget_run();
            }
            self.refresh_runs();
        }
        for (severity, text) in said {
            if severity == Severity::Info { self.note(severity, text) } else { self.say(severity, text) }
        }
    }

    /// A new run that was discarded leaves nothing behind: no curves, no folder. One that went on with an earlier run
    /// falls back to that one's last checkpoint.
    fn forget_run(&mut self) {
        let Some(training) = self.training.take_if(|t| !t.goes_on) else { return };
        let folder = training.folder.clone();
        drop(training);
        self.run = None;
        match runs::delete(&folder) {
            Ok(()) => self.say(Severity::Info, "The run was discarded."),
            Err(e) => self.say(Severity::Warning, format!("The run was discarded, but its folder remains: {e}")),
        }
    }

    pub(super) fn tell_trainer(&mut self, action: Action) {
        let Some(training) = &self.training else { return };
        let command = match action {
            Action::Pause => TrainCommand::Pause,
            Action::Resume => TrainCommand::Resume,
            Action::StopAndKeep => TrainCommand::Stop { keep: true },
            Action::StopAndDiscard => TrainCommand::Stop { keep: false },
            Action::SaveCheckpoint => TrainCommand::CheckpointNow,
            _ => return,
        };
        let is_taken = training.trainer.send(command);
        if is_taken
            && matches!(command, TrainCommand::Stop { .. })
            && let Some(run) = &mut self.run
        {
            run.state = RunState::Stopping;
        }
        if !is_taken {
            self.say(Severity::Warning, "The run has already ended.");
        }
    }

    /// The examples of an evaluation with their texts, read in a job.
    fn read_samples(&mut self, samples: Vec<Sample>) {
        let Some(training) = &self.training else { return };
        let (Some(data), classes) = (training.data.clone(), training.follower.classes.clone()) else { return };
        let Some(model) = self.session.as_ref().map(|s| s.model.clone()) else { return };
        // The newest samples count.
        self.jobs.replace_quietly("Reading examples", move |_, _| {
            Outcome::Predicted(Box::new(predictions::of_samples(&model, &data, &classes, &samples)))
        });
    }

    /// What the tuned model says about the validation table, in a job.
    fn predict(&mut self) {
        let (Some(training), Some(open)) = (&self.training, &self.open) else { return };
        let Some(validation) = open.recipe().data.as_ref().and_then(|d| d.validation.clone()) else { return };
        let folder = training.folder.clone();
        self.jobs
            .start("Predicting", move |_, _| Outcome::Predicted(Box::new(predictions::of_run(&folder, &validation))));
    }

    pub(super) fn take_predicted(&mut self, result: Result<Vec<Prediction>, String>) {
        match (result, &mut self.run) {
            (Ok(mut predictions), Some(run)) => {
                sort_worst_first(&mut predictions);
                run.predictions = predictions;
            }
            (Ok(_), None) => {}
            (Err(e), _) => self.note(Severity::Warning, format!("No predictions: {e}")),
        }
    }

    /// Shows the curves of an earlier run of this session.
    pub(super) fn show_run(&mut self, folder: &Path) {
        if self.run.as_ref().is_some_and(|r| r.state.is_active()) {
            return self.say(Severity::Warning, "A run is in progress; its curves are shown until it ends.");
        }
        let entry = self.open.as_ref().and_then(|o| o.runs.iter().find(|r| r.folder == folder));
        if let Some(entry) = entry {
            let settings = training::settings(&entry.recipe).ok();
            let epochs = settings.map_or(0, |s| if s.training.steps.is_some() { 0 } else { s.training.epochs });
            self.run = Some(RunView { state: entry.state, ..follow::view_of(entry, epochs) });
            self.show_panel("plots");
        }
    }

    pub(super) fn set_learning_rate(&mut self, rate: f64) {
        if let Some(training) = &self.training {
            training.trainer.send(TrainCommand::SetLearningRate(rate));
        }
    }
}

/// Wakes the window when there is something to read.
type Waker = Arc<dyn Fn() + Send + Sync>;

/// What a start that was cancelled says; nobody reads it.
const CANCELLED: &str = "it was cancelled";

fn start(
    model: Arc<Model>,
    which: Which,
    threads: Option<usize>,
    waker: Waker,
    cancel: &CancelToken,
) -> Result<Training, String> {
    if cancel.is_cancelled() {
        return Err(CANCELLED.to_owned());
    }
    let (session, folder, before, resume) = match which {
        Which::New { recipe, opened } => {
            let session = Session::new(model, (*recipe).clone());
            let folder = run::claim_folder(&session, &opened).map_err(|e| e.to_string())?;
            (session, folder, None, false)
        }
        Which::Again { folder, more } => {
            let row = runs::read(&folder).map_err(|e| e.to_string())?;
            let loaded = file::load(&folder.join(training::RECIPE)).map_err(|e| e.to_string())?;
            file::check_model(&loaded, &model).map_err(|e| e.to_string())?;
            let recipe = runs::extended(&row.recipe, more).map_err(|e| e.to_string())?;
            (Session::new(model, recipe), folder, Some(follow::entry(row)), true)
        }
    };
    let start = training::Start {
        folder: Some(folder.clone()),
        resume,
        delivery: Delivery::Merge,
        waker: Some(waker),
        threads,
    };
    let mut reporter = Reporter::default();
    let data = session.recipe().data.clone();
    let job = match job(&session, start, &mut reporter) {
        Ok(job) if !cancel.is_cancelled() => job,
        other => {
            if !resume {
                // Nothing but the recipe is in its folder yet.
                files::remove_dir_all(&folder).map_err(|e| e.to_string())?;
            }
            return Err(other.err().unwrap_or_else(|| CANCELLED.to_owned()));
        }
    };
    let epochs = if job.settings.training.steps.is_some() { 0 } else { job.settings.training.epochs };
    let classes = match &job.task {
        Task::Classes { names, .. } | Task::MultiLabel { names } => names.clone(),
        _ => Vec::new(),
    };
    let trainer = Trainer::start(job).map_err(|e| e.to_string())?;
    if cancel.is_cancelled() {
        trainer.send(TrainCommand::Stop { keep: false });
        trainer.join();
        if !resume {
            files::remove_dir_all(&folder).map_err(|e| e.to_string())?;
        }
        return Err(CANCELLED.to_owned());
    }
    let warnings = reporter.diagnostics().iter().filter(|d| d.severity > Severity::Info).map(|d| d.message.clone());
    let clock = Clock::new(before.as_ref().map_or((0.0, 0.0), follow::seconds_of));
    Ok(Training {
        trainer,
        folder,
        epochs,
        follower: Follower { clock, classes, said: Vec::new(), measured: None },
        data,
        before: before.map(|e| follow::view_of(&e, epochs)),
        goes_on: false,
        warnings: warnings.collect(),
        has_samples: false,
    })
}

/// The run that the session's data and settings describe.
pub(super) fn job(session: &Session, start: training::Start, reporter: &mut Reporter) -> Result<Job, String> {
    tables::job(session, start, reporter).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::demo;

    #[test]
    fn runs_that_start_together_get_folders_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let opened = demo::write(dir.path()).unwrap();
        let model = Arc::new(Model::open(&dir.path().join("model.pb")).unwrap());
        let session = Session::new(model, demo::recipe(dir.path()));
        let claimed: Vec<PathBuf> = std::thread::scope(|s| {
            let all: Vec<_> = (0..4).map(|_| s.spawn(|| run::claim_folder(&session, &opened).unwrap())).collect();
            all.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let different: std::collections::BTreeSet<&PathBuf> = claimed.iter().collect();
        assert_eq!(different.len(), 4, "{claimed:?}");
    }

    #[test]
    fn a_start_that_is_cancelled_leaves_no_folder() {
        let dir = tempfile::tempdir().unwrap();
        let opened = demo::write(dir.path()).unwrap();
        let model = Arc::new(Model::open(&dir.path().join("model.pb")).unwrap());
        let recipe = Arc::new(demo::recipe(dir.path()));
        let cancel = CancelToken::default();
        cancel.cancel();
        let which = Which::New { recipe, opened: opened.clone() };
        assert!(start(model, which, Some(1), Arc::new(|| {}), &cancel).is_err());
        let runs = opened.with_extension("runs");
        assert!(files::list(&runs).map_or(true, |l| l.is_empty()), "no folder of a run");
    }
}
