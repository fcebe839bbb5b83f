//! The trainer: a thread that owns parameters, executables and data, and talks through [`super::protocol`] only.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::data::BatchSource;
use crate::engine::Engine;
use crate::tensor::Tensor;

use super::metrics::Task;
use super::outbox::{Outbox, Waker};
use super::protocol::{Delivery, EndReason, TrainCommand, TrainEvent};
use super::run::Run;
use super::settings::Settings;
use super::step::StepFactory;
use super::store::{Parameter, Rate, Store};

/// Events that may wait in the channel.
const CHANNEL: usize = 256;

/// The state of an earlier optimizer.
#[derive(Clone, Debug, Default)]
pub struct Earlier {
    /// By slot and parameter.
    pub slots: HashMap<(String, String), Tensor>,
    pub updates: u64,
}

/// Everything a run needs.
pub struct Job {
    /// Name of the run, for messages.
    pub name: String,
    pub steps: Box<dyn StepFactory>,
    /// The threads that steps and updates run on.
    pub engine: Engine,
    /// In the order in which [`super::Step::run`] gets them.
    pub parameters: Vec<Parameter>,
    /// Rates and decays of parameters that have their own, in the same order; empty where none has.
    pub rates: Vec<Rate>,
    /// What an optimizer left in the model's file, to go on from.
    pub earlier: Option<Earlier>,
    /// Said at the start of the run: code and message.
    pub notes: Vec<(String, String)>,
    pub train: Box<dyn BatchSource>,
    pub validation: Option<Box<dyn BatchSource>>,
    pub task: Task,
    pub settings: Settings,
    /// Where log and checkpoints go; `None` writes nothing.
    pub folder: Option<PathBuf>,
    /// Goes on from the folder's newest checkpoint (from the start if there is none).
    pub resume: bool,
    pub delivery: Delivery,
    pub waker: Option<Waker>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("name", &self.name)
            .field("parameters", &self.parameters.len())
            .field("folder", &self.folder)
            .field("resume", &self.resume)
            .finish_non_exhaustive()
    }
}

impl Job {
    /// A job without validation, metrics, folder or window.
    pub fn new(
        name: impl Into<String>,
        steps: Box<dyn StepFactory>,
        engine: Engine,
        parameters: Vec<Parameter>,
        train: Box<dyn BatchSource>,
        settings: Settings,
    ) -> Self {
        Self {
            name: name.into(),
            steps,
            engine,
            parameters,
            rates: Vec::new(),
            earlier: None,
            notes: Vec::new(),
            train,
            validation: None,
            task: Task::None,
            settings,
            folder: None,
            resume: false,
            delivery: Delivery::Every,
            waker: None,
        }
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    pub reason: EndReason,
    /// Why, for [`EndReason::Error`].
    pub message: Option<String>,
    /// Steps done.
    pub step: u64,
    /// The parameters as they are now; `None` where the run could not start or ended by a bug.
    pub store: Option<Store>,
}

/// A running trainer. Dropping it stops the run after its current step, keeping a checkpoint.
#[derive(Debug)]
pub struct Trainer {
    commands: Sender<TrainCommand>,
    events: Receiver<TrainEvent>,
    thread: Option<JoinHandle<Outcome>>,
}

impl Trainer {
    /// Starts the thread. Errors: the system cannot start one; everything else comes as an `end` event.
    pub fn start(job: Job) -> std::io::Result<Self> {
        let (commands, inbox) = bounded(64);
        let (sender, events) = bounded(CHANNEL);
        let thread = std::thread::Builder::new().name("trainer".to_owned()).spawn(move || body(job, inbox, sender))?;
        Ok(Self { commands, events, thread: Some(thread) })
    }

    /// Asks the trainer for something; false where it has ended or is drowned in commands.
    pub fn send(&self, command: TrainCommand) -> bool {
        self.commands.try_send(command).is_ok()
    }

    /// A door for other threads (a signal handler).
    pub fn commands(&self) -> Sender<TrainCommand> {
        self.commands.clone()
    }

    /// Events in order; the channel closes after `end`.
    pub fn events(&self) -> &Receiver<TrainEvent> {
        &self.events
    }

    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the end. Events that were not read are thrown away.
    pub fn join(mut self) -> Outcome {
        let gone = || Outcome { reason: EndReason::Error, message: None, step: 0, store: None };
        let Some(thread) = self.thread.take() else { return gone() };
        // With the receiver gone, the trainer cannot wait for a reader.
        let (_, nobody) = bounded(0);
        self.events = nobody;
        thread.join().unwrap_or_else(|_| gone())
    }
}

impl Drop for Trainer {
    fn drop(&mut self) {
        // A full queue holds a stop or will be read soon; a closed one has ended.
        let _ = self.commands.try_send(TrainCommand::Stop { keep: true });
    }
}

fn body(mut job: Job, inbox: Receiver<TrainCommand>, sender: Sender<TrainEvent>) -> Outcome {
    let mut outbox = Outbox::new(sender, job.delivery, job.waker.take());
    let (outcome, elapsed_secs) = guarded(job, &inbox, &mut outbox);
    outbox.emit(TrainEvent::End {
        reason: outcome.reason,
        step: outcome.step,
        elapsed_secs,
        message: outcome.message.clone(),
    });
    outbox.finish();
    outcome
}

fn failed(message: String) -> Outcome {
    Outcome { reason: EndReason::Error, message: Some(message), step: 0, store: None }
}

/// Runs the job; a panic becomes a message.
fn guarded(job: Job, inbox: &Receiver<TrainCommand>, outbox: &mut Outbox) -> (Outcome, f64) {
    // Nothing of what the closure touches is used after a panic but the outbox, whose queue is valid between calls.
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut run = match Run::prepare(job, inbox, outbox) {
            Ok(run) => run,
            Err(message) => return (failed(message), 0.0),
        };
        let (reason, message) = match run.go() {
            Ok(reason) => (reason, None),
            Err(message) => (EndReason::Error, Some(message)),
        };
        let elapsed = run.elapsed_secs();
        let (store, step) = run.into_store();
        (Outcome { reason, message, step, store: Some(store) }, elapsed)
    }));
    result.unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
        let what = what.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        tracing::error!("the trainer panicked: {what}");
        (failed(format!("a bug in the trainer ended the run ({what}); the last checkpoint is unharmed")), 0.0)
    })
}
