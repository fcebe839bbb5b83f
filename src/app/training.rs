//! The run in progress: preparing it in a job, reading its events between frames, telling it what the user asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::{Reporter, Severity};
use crate::data::Table;
use crate::session::{Session, run, tables, training};
use crate::train::{Delivery, EndReason, Job, TrainCommand, TrainEvent, Trainer};
use crate::ui::Action;
use crate::ui::run_view::{Mark, MarkKind, Moment, Prediction, RunState, RunView};

use super::App;
use super::jobs::Outcome;

/// A trainer at work and what the window needs to follow it.
#[derive(Debug)]
pub struct Training {
    trainer: Trainer,
    pub folder: PathBuf,
    epochs: usize,
    classes: Vec<String>,
    clock: Clock,
    warnings: Vec<String>,
}

/// Time since the start without pauses.
#[derive(Debug)]
struct Clock {
    started: Instant,
    paused_since: Option<Instant>,
    paused: Duration,
}

impl Clock {
    fn new() -> Self {
        Self { started: Instant::now(), paused_since: None, paused: Duration::ZERO }
    }

    fn pause(&mut self) {
        self.paused_since.get_or_insert_with(Instant::now);
    }

    fn resume(&mut self) {
        if let Some(since) = self.paused_since.take() {
            self.paused += since.elapsed();
        }
    }

    fn wall_secs(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    fn secs(&self) -> f64 {
        let now = self.paused_since.map_or(Duration::ZERO, |p| p.elapsed());
        (self.started.elapsed().saturating_sub(self.paused + now)).as_secs_f64()
    }
}

impl App {
    pub(super) fn start_training(&mut self) {
        let (Some(open), Some(held)) = (&self.open, &self.session) else { return };
        if open.recipe().data.is_none() {
            self.say(Severity::Warning, "Pick data first: a table in the Data tab.");
            return;
        }
        let (model, recipe) = (held.model.clone(), open.history.recipe().clone());
        let opened = open.session_path.clone().unwrap_or_else(|| open.path.clone());
        let classes = open.data.as_ref().map(|d| d.classes.iter().map(|c| c.0.clone()).collect()).unwrap_or_default();
        let ctx = self.jobs.context();
        self.run = Some(RunView { name: "run".to_owned(), ..RunView::default() });
        self.jobs.start("Preparing the run", move |_, _| {
            let session = Session::new(model, (*recipe).clone());
            Outcome::Started(Box::new(start(&session, &opened, classes, ctx)))
        });
    }

    pub(super) fn take_started(&mut self, result: Result<Training, String>) {
        match result {
            Ok(training) => {
                let name =
                    training.folder.file_name().map_or_else(|| "run".to_owned(), |n| n.to_string_lossy().into_owned());
                self.note(Severity::Info, format!("Training into {}", training.folder.display()));
                for w in &training.warnings {
                    self.note(Severity::Warning, w.clone());
                }
                self.run = Some(RunView { name, total_epochs: training.epochs, ..RunView::default() });
                self.training = Some(training);
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
        let mut said = Vec::new();
        if let Some(run) = &mut self.run {
            for event in &events {
                follow(run, training, event, &mut said);
            }
        }
        let has_ended =
            matches!(events.last(), Some(TrainEvent::End { reason, .. }) if *reason != EndReason::Discarded);
        if has_ended {
            self.predict();
        }
        for (severity, text) in said {
            if severity == Severity::Info { self.note(severity, text) } else { self.say(severity, text) }
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

    /// What the tuned model says about the validation table, in a job.
    fn predict(&mut self) {
        let (Some(training), Some(open)) = (&self.training, &self.open) else { return };
        let Some(validation) = open.recipe().data.as_ref().and_then(|d| d.validation.clone()) else { return };
        let folder = training.folder.clone();
        self.jobs.start("Predicting", move |_, _| Outcome::Predicted(Box::new(predictions(&folder, &validation))));
    }

    pub(super) fn take_predicted(&mut self, result: Result<Vec<Prediction>, String>) {
        match (result, &mut self.run) {
            (Ok(predictions), Some(run)) => run.predictions = predictions,
            (Ok(_), None) => {}
            (Err(e), _) => self.note(Severity::Warning, format!("No predictions: {e}")),
        }
    }

    pub(super) fn set_learning_rate(&mut self, rate: f64) {
        if let Some(training) = &self.training {
            training.trainer.send(TrainCommand::SetLearningRate(rate));
        }
    }
}

fn start(session: &Session, opened: &Path, classes: Vec<String>, ctx: egui::Context) -> Result<Training, String> {
    let folder = run::default_folder(session, opened);
    let waker = Arc::new(move || ctx.request_repaint());
    let start = training::Start {
        folder: Some(folder.clone()),
        resume: false,
        delivery: Delivery::Merge,
        waker: Some(waker),
        threads: None,
    };
    let mut reporter = Reporter::default();
    let job = job(session, start, &mut reporter)?;
    let epochs = if job.settings.training.steps.is_some() { 0 } else { job.settings.training.epochs };
    let trainer = Trainer::start(job).map_err(|e| e.to_string())?;
    let warnings = reporter.diagnostics().iter().filter(|d| d.severity > Severity::Info).map(|d| d.message.clone());
    Ok(Training { trainer, folder, epochs, classes, clock: Clock::new(), warnings: warnings.collect() })
}

/// The run that the session's data and settings describe.
pub(super) fn job(session: &Session, start: training::Start, reporter: &mut Reporter) -> Result<Job, String> {
    tables::job(session, start, reporter).map_err(|e| e.to_string())
}

/// The validation table's rows with what the run's last checkpoint says about them.
fn predictions(folder: &Path, validation: &str) -> Result<Vec<Prediction>, String> {
    let run = run::Run::open(folder, "last").map_err(|e| e.to_string())?;
    let path = Path::new(validation);
    let said = tables::predict(&run, path, None, &mut Reporter::default()).map_err(|e| e.to_string())?;
    let table = Table::open(path, true).map_err(|e| e.to_string())?;
    let data = run.session.recipe().data.clone().unwrap_or_default();
    let column = |name: &str| table.columns().iter().position(|c| c == name);
    let texts: Vec<usize> = data.text.iter().filter_map(|c| column(c)).collect();
    let label = data.label.as_deref().and_then(column);
    let row = |(i, p): (usize, &tables::Prediction)| {
        let fields = table.row(i).map_err(|e| e.to_string())?;
        let field = |c: usize| fields.get(c).cloned().unwrap_or_default();
        Ok(Prediction {
            text: texts.iter().map(|&c| field(c)).collect::<Vec<_>>().join(" | "),
            label: label.map(field).unwrap_or_default(),
            predicted: p.label.clone(),
            probability: p.probabilities.get(&p.label).copied().unwrap_or(f64::NAN),
            loss: f64::NAN,
        })
    };
    said.iter().enumerate().map(row).collect()
}

/// One event into the curves and the state of the run.
fn follow(run: &mut RunView, training: &mut Training, event: &TrainEvent, said: &mut Vec<(Severity, String)>) {
    let at = |run: &RunView, step: u64, clock: &Clock| Moment {
        step: step as f64,
        epoch: epoch_of(step, run.total_steps, run.total_epochs),
        seconds: clock.secs(),
        wall: clock.wall_secs(),
    };
    match event {
        TrainEvent::Start { trainable, parameters, steps, memory_estimate_bytes, .. } => {
            training.clock = Clock::new();
            run.state = RunState::Running;
            run.total_steps = *steps as usize;
            run.trainable = *trainable;
            run.parameters = *parameters;
            run.memory_bytes = *memory_estimate_bytes;
        }
        TrainEvent::Step { step, epoch, loss, lr, grad_norm, examples_per_sec, metrics } => {
            let at = at(run, *step, &training.clock);
            if *epoch != run.epoch {
                run.marks.push(Mark { kind: MarkKind::Epoch, at, text: format!("epoch {}", epoch + 1) });
            }
            run.epoch = *epoch;
            run.step = *step as usize + 1;
            run.elapsed_secs = training.clock.secs();
            run.examples_per_sec = *examples_per_sec;
            run.learning_rate = *lr;
            run.loss.push(at, *loss);
            run.rate.push(at, *lr);
            run.norm.push(at, *grad_norm);
            run.speed.push(at, *examples_per_sec);
            for (name, value) in metrics {
                run.metric(name).0.push(at, *value);
            }
        }
        TrainEvent::Eval { step, loss, metrics, confusion, split, .. } => {
            let at = at(run, *step, &training.clock);
            run.validation_loss.push(at, *loss);
            for (name, value) in metrics {
                run.metric(name).1.push(at, *value);
            }
            if !confusion.is_empty() {
                run.confusion = Some(named_confusion(&training.classes, confusion));
            }
            let first = metrics.iter().next().map(|(n, v)| format!(", {n} {}", crate::ui::text::number(*v, 4)));
            let loss = crate::ui::text::number(*loss, 4);
            said.push((Severity::Info, format!("{split} after step {step}: loss {loss}{}", first.unwrap_or_default())));
        }
        TrainEvent::Checkpoint { step, path, best } => {
            let at = at(run, *step, &training.clock);
            let kind = if *best { MarkKind::BestCheckpoint } else { MarkKind::Checkpoint };
            run.marks.push(Mark {
                kind,
                at,
                text: if *best { "best checkpoint".to_owned() } else { "checkpoint".to_owned() },
            });
            said.push((Severity::Info, format!("Checkpoint {path}")));
        }
        TrainEvent::Weights { step, rows } => {
            run.watch.take(*step, rows);
            run.weights = Arc::new(rows.clone());
            run.weights_step = *step as usize;
        }
        // Their texts are read in a job.
        TrainEvent::Samples { .. } => {}
        TrainEvent::Log { step, code, message } => {
            let at = at(run, *step, &training.clock);
            match code.as_str() {
                "paused" => {
                    training.clock.pause();
                    run.state = RunState::Paused;
                    run.marks.push(Mark { kind: MarkKind::Pause, at, text: message.clone() });
                }
                "resumed" => {
                    training.clock.resume();
                    run.state = RunState::Running;
                }
                "learning-rate" => run.marks.push(Mark { kind: MarkKind::RateChange, at, text: message.clone() }),
                _ => {}
            }
            said.push((Severity::Info, message.clone()));
        }
        TrainEvent::End { reason, step, elapsed_secs, message } => {
            run.elapsed_secs = *elapsed_secs;
            run.message.clone_from(message);
            run.state = match reason {
                EndReason::Finished | EndReason::EarlyStop => RunState::Finished,
                EndReason::Stopped | EndReason::Discarded => RunState::Stopped,
                EndReason::Error => RunState::Failed,
            };
            let severity = if *reason == EndReason::Error { Severity::Error } else { Severity::Info };
            let why = message.as_ref().map(|m| format!(": {m}")).unwrap_or_default();
            said.push((severity, format!("Run {} after {step} steps{why}", run.state.title().to_lowercase())));
        }
    }
}

/// The position of a step in epochs, with its fraction.
fn epoch_of(step: u64, total_steps: usize, epochs: usize) -> f64 {
    if total_steps == 0 { 0.0 } else { step as f64 * epochs.max(1) as f64 / total_steps as f64 }
}

/// Counts with the names of their classes; numbers where names are not known.
fn named_confusion(classes: &[String], counts: &[Vec<u64>]) -> (Vec<String>, Vec<Vec<usize>>) {
    let name = |i: usize| classes.get(i).cloned().unwrap_or_else(|| i.to_string());
    let counts: Vec<Vec<usize>> = counts.iter().map(|row| row.iter().map(|&n| n as usize).collect()).collect();
    ((0..counts.len()).map(name).collect(), counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_placed_in_epochs() {
        assert_eq!(epoch_of(30, 60, 3), 1.5);
        assert_eq!(epoch_of(30, 0, 3), 0.0);
    }

    #[test]
    fn classes_without_names_are_numbers() {
        let (names, counts) = named_confusion(&["a".to_owned()], &[vec![1, 2], vec![3, 4]]);
        assert_eq!(names, ["a", "1"]);
        assert_eq!(counts[1], [3, 4]);
    }
}
