//! One run from its first to its last step; the body of the trainer's thread.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::base::files;
use crate::data::prefetch::Placed;
use crate::data::{BatchSource, Prefetch};
use crate::program::{Random, View};
use crate::tensor::{DType, Tensor};

use super::checkpoint::{self, Loaded, Progress};
use super::evaluate::{Scores, evaluate_with_samples};
use super::executables::Executables;
use super::metrics::{self, Collector, Task};
use super::optimizers::apply;
use super::outbox::Outbox;
use super::protocol::{EndReason, Metrics, TrainCommand, TrainEvent};
use super::run_log::{self, LogFile};
use super::settings::Settings;
use super::step::Phase;
use super::store::Store;
use super::trainer::Job;
use super::weights::Meter;

/// Metrics of a single step are left out where they would cost more than they tell (a vocabulary of classes per token).
const MAX_STEP_SCORES: usize = 1 << 20;

/// Held-out examples that a watched run tells of after each evaluation.
const N_SAMPLES: usize = 200;

/// Code of the log event whose message is the node that first produced a value that is not finite.
pub const NAN_ORIGIN: &str = "nan-origin";

/// How the message of the log event `resumed` begins; then come the seconds of the pause.
pub const RESUMED_AFTER: &str = "resumed after ";

/// What commands asked for and was not done yet.
#[derive(Clone, Copy, Debug, Default)]
struct Wishes {
    stop: Option<bool>,
    checkpoint: bool,
}

#[derive(Debug)]
pub(super) struct Run<'a> {
    name: String,
    settings: Settings,
    store: Store,
    executables: Executables,
    batches: Prefetch,
    /// Fetched for the estimate before the start, not yet used.
    first: Option<Placed>,
    validation: Option<Box<dyn BatchSource>>,
    task: Task,
    folder: Option<PathBuf>,
    inbox: &'a Receiver<TrainCommand>,
    outbox: &'a mut Outbox,
    progress: Progress,
    n_steps: u64,
    wishes: Wishes,
    started: Instant,
    /// Seconds of earlier parts of a resumed run.
    elapsed_before: f64,
    paused: Duration,
    /// Sums of gradients where several batches make a step.
    sums: Vec<Option<Tensor>>,
    /// The newest checkpoint of this run: its step, and where it lies.
    saved: Option<(u64, PathBuf)>,
    meter: Meter,
}

/// What a step's forward and backward passes gave.
struct Computed {
    loss: f64,
    norm: f64,
    /// Of each parameter's summed gradient.
    squared: Vec<Option<f64>>,
    /// Factor that turns summed gradients into their mean.
    mean: f64,
    n_examples: usize,
    metrics: Metrics,
    epoch: usize,
    epoch_ended: bool,
    next: (usize, usize),
}

impl<'a> Run<'a> {
    /// Builds the store, reads the checkpoint of a resumed run, prepares the first batch and announces the start.
    pub(super) fn prepare(
        mut job: Job,
        inbox: &'a Receiver<TrainCommand>,
        outbox: &'a mut Outbox,
    ) -> Result<Self, String> {
        let settings = job.settings;
        let mut store = Store::new(std::mem::take(&mut job.parameters), &settings.optimizer).map_err(|e| e.0)?;
        store.set_rates(&job.rates);
        // A checkpoint of the run itself, which is read below, knows better.
        if let Some(earlier) = &mut job.earlier {
            let slots = &mut earlier.slots;
            store.take_over(|slot, name| slots.remove(&(slot.to_owned(), name.to_owned())), earlier.updates);
        }
        let notes = std::mem::take(&mut job.notes);
        if store.is_empty() {
            return Err("nothing is trainable: choose constants to train (--trainable)".to_owned());
        }
        let n_steps = count_steps(&mut *job.train, &settings)?;
        let (progress, saved) = open_folder(job.folder.as_deref(), job.resume, &settings, &mut store, outbox)?;
        let batches = Prefetch::start(job.train, progress.epoch, progress.batch).map_err(|e| e.to_string())?;
        let mut run = Self {
            name: job.name,
            sums: vec![None; store.len()],
            executables: Executables::new(job.steps, job.engine),
            store,
            batches,
            first: None,
            validation: job.validation,
            task: job.task,
            folder: job.folder,
            inbox,
            outbox,
            n_steps,
            wishes: Wishes::default(),
            started: Instant::now(),
            elapsed_before: progress.elapsed_secs,
            paused: Duration::ZERO,
            saved,
            meter: Meter::default(),
            progress,
            settings,
        };
        let mut memory = run.store.memory_bytes();
        if run.progress.step < n_steps {
            let first = run.batches.next_batch().map_err(|e| e.to_string())?;
            memory += run.executables.prepare(Phase::Train, &first.batch.feeds)?;
            run.first = Some(first);
        }
        run.outbox.emit(TrainEvent::Start {
            run: run.name.clone(),
            trainable: run.store.len(),
            parameters: run.store.n_elements(),
            steps: n_steps,
            first_step: run.progress.step,
            memory_estimate_bytes: memory as u64,
        });
        if run.progress.step == 0 {
            for (code, message) in notes {
                run.outbox.emit(TrainEvent::Log { step: 0, code, message });
            }
        }
        run.started = Instant::now();
        Ok(run)
    }

    pub(super) fn elapsed_secs(&self) -> f64 {
        self.elapsed_before + self.started.elapsed().saturating_sub(self.paused).as_secs_f64()
    }

    pub(super) fn into_store(self) -> (Store, u64) {
        (self.store, self.progress.step)
    }

    /// Steps until the end; an error ends the run and leaves its checkpoints.
    pub(super) fn go(&mut self) -> Result<EndReason, String> {
        while self.progress.step < self.n_steps {
            self.obey();
            if let Some(keep) = self.wishes.stop {
                return Ok(self.stop(keep));
            }
            if std::mem::take(&mut self.wishes.checkpoint) {
                self.checkpoint(false);
            }
            let began = Instant::now();
            let rate = self.step_rate();
            let computed = self.compute()?;
            self.update(&computed, rate);
            self.report(&computed, rate, began.elapsed());
            self.progress.step += 1;
            (self.progress.epoch, self.progress.batch) = computed.next;
            if self.after_step(&computed)? {
                return Ok(EndReason::EarlyStop);
            }
        }
        if self.saved.as_ref().is_none_or(|(step, _)| *step != self.progress.step) {
            self.checkpoint(false);
        }
        self.check_saved()?;
        Ok(EndReason::Finished)
    }

    /// A run whose last state is on no disk has not ended well: its tuned values would be lost.
    fn check_saved(&self) -> Result<(), String> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let step = self.progress.step;
        match &self.saved {
            Some((saved, _)) if *saved == step => Ok(()),
            Some((saved, path)) => Err(format!(
                "all steps are done, but the state after step {step} could not be saved in {}; the newest checkpoint is \
                 that of step {saved} ({}). Free some space and go on from there with --resume",
                folder.display(),
                path.display()
            )),
            None => Err(format!(
                "all steps are done, but no checkpoint could be saved in {}; free some space and train again",
                folder.display()
            )),
        }
    }

    fn stop(&mut self, keep: bool) -> EndReason {
        if keep {
            self.checkpoint(false);
            EndReason::Stopped
        } else {
            EndReason::Discarded
        }
    }

    fn step_rate(&self) -> f64 {
        let peak = self.progress.lr.unwrap_or(self.settings.optimizer.lr);
        self.settings.rate(peak, self.progress.step, self.n_steps)
    }

    /// Reads commands; while paused, waits for them.
    fn obey(&mut self) {
        let mut paused_at: Option<Instant> = None;
        loop {
            let command = match paused_at {
                Some(_) if self.wishes.stop.is_none() => self.inbox.recv().ok(),
                _ => self.inbox.try_recv().ok(),
            };
            let Some(command) = command else { break };
            match command {
                TrainCommand::Pause if paused_at.is_none() => {
                    paused_at = Some(Instant::now());
                    self.note("paused", "paused".to_owned());
                }
                TrainCommand::Resume if paused_at.is_some() => {
                    let pause = paused_at.take().map(|t| t.elapsed()).unwrap_or_default();
                    self.paused += pause;
                    self.note("resumed", format!("{RESUMED_AFTER}{:.3} s", pause.as_secs_f64()));
                }
                TrainCommand::Pause | TrainCommand::Resume => {}
                TrainCommand::Stop { keep } => self.wishes.stop = Some(keep),
                TrainCommand::CheckpointNow if paused_at.is_some() => self.checkpoint(false),
                TrainCommand::CheckpointNow => self.wishes.checkpoint = true,
                TrainCommand::SetLearningRate(lr) if lr.is_finite() && lr >= 0.0 => {
                    self.progress.lr = Some(lr);
                    self.note("learning-rate", format!("{lr}"));
                }
                TrainCommand::SetLearningRate(lr) => {
                    self.note("learning-rate-refused", format!("{lr} is no learning rate"));
                }
            }
        }
        if let Some(t) = paused_at {
            self.paused += t.elapsed();
        }
    }

    fn note(&mut self, code: &str, message: String) {
        let step = self.progress.step;
        self.outbox.emit(TrainEvent::Log { step, code: code.to_owned(), message });
    }

    /// Forward and backward over the batches of one step; nothing is changed yet.
    fn compute(&mut self) -> Result<Computed, String> {
        let accumulate = self.settings.training.accumulate.max(1);
        let mut out = Computed {
            loss: 0.0,
            norm: 0.0,
            squared: Vec::new(),
            mean: 1.0,
            n_examples: 0,
            metrics: Metrics::new(),
            epoch: 0,
            epoch_ended: false,
            next: (0, 0),
        };
        let mut metrics = (self.task != Task::None).then(|| Collector::new(self.task.clone()));
        for micro in 0..accumulate {
            let placed = match self.first.take() {
                Some(p) => p,
                None => self.batches.next_batch().map_err(|e| e.to_string())?,
            };
            let random = self.random(micro);
            let loss = self.executables.run(Phase::Train, &placed.batch.feeds, self.store.values(), random)?;
            let weight = placed.batch.n_examples.max(1);
            if !loss.is_finite() {
                return Err(self.blame(&placed, random, "the loss", loss));
            }
            if let (Some(c), Some(l)) = (&mut metrics, &placed.batch.labels)
                && let Some(p) = self.executables.prediction()
                && p.len() <= MAX_STEP_SCORES
            {
                c.add(&p, l, placed.batch.n_examples);
            }
            out.epoch_ended = placed.index + 1 >= placed.n_batches;
            out.epoch = placed.epoch;
            out.next = if out.epoch_ended { (placed.epoch + 1, 0) } else { (placed.epoch, placed.index + 1) };
            out.loss += loss * weight as f64;
            out.n_examples += weight;
            if accumulate > 1 {
                add_gradients(&mut self.sums, &self.executables, self.store.values(), weight, micro == 0);
            }
            let last = micro + 1 == accumulate || out.epoch_ended;
            if last {
                out.mean = if accumulate > 1 { 1.0 / out.n_examples as f64 } else { 1.0 };
                out.squared = self.squared_norms();
                out.norm = out.squared.iter().flatten().sum::<f64>().sqrt() * out.mean;
                if !out.norm.is_finite() {
                    return Err(self.blame(&placed, random, "the gradient's norm", out.norm));
                }
                break;
            }
        }
        out.loss /= out.n_examples as f64;
        out.metrics = metrics.map(|c| metrics::for_step(&c.finish())).unwrap_or_default();
        Ok(out)
    }

    fn random(&self, micro: usize) -> Random {
        let per_step = self.settings.training.accumulate.max(1) as u64;
        Random { seed: self.settings.training.seed, step: self.progress.step.wrapping_mul(per_step) + micro as u64 }
    }

    /// The gradients (or their sums over accumulated batches) of the last backward pass.
    fn gradients(&self, n: usize) -> Vec<Option<View<'_>>> {
        if self.settings.training.accumulate > 1 {
            self.sums.iter().map(|t| t.as_ref().map(View::of)).collect()
        } else {
            (0..n).map(|i| self.executables.gradient(i)).collect()
        }
    }

    /// Sum of squares of each gradient, in the order of the parameters.
    fn squared_norms(&self) -> Vec<Option<f64>> {
        let views = self.gradients(self.store.len());
        self.executables.engine().install(|| views.iter().map(|v| v.map(apply::squared_norm)).collect())
    }

    /// Says which node first gave something that is not finite, and what to do.
    fn blame(&mut self, placed: &Placed, random: Random, what: &str, value: f64) -> String {
        let step_idx = self.progress.step;
        let origin = match self.executables.first_non_finite(&placed.batch.feeds, self.store.values(), random) {
            Some(found) => {
                if let Some(node) = found.node {
                    self.note(NAN_ORIGIN, node);
                }
                format!("first, {}", found.words)
            }
            None => "no single node could be named".to_owned(),
        };
        let rescue = match &self.saved {
            Some((step, path)) => format!("the checkpoint before step {step} is unharmed ({})", path.display()),
            None => "the parameters were not changed by this step".to_owned(),
        };
        format!(
            "{what} is {value} at step {step_idx}: {origin}. {rescue}. A smaller learning rate, a warm-up or clipping \
             (training.clip_global_norm) often cures this"
        )
    }

    fn update(&mut self, computed: &Computed, rate: f64) {
        let clip = match self.settings.training.clip_global_norm {
            Some(c) => c / computed.norm.max(c),
            None => 1.0,
        };
        let c = self.store.coefficients(&self.settings.optimizer, rate, computed.mean * clip);
        // Taken out for the call, because the views borrow the run.
        let mut store = std::mem::take(&mut self.store);
        let is_measured = self.outbox.merges() && self.meter.begin(store.names(), store.values());
        let views = self.gradients(store.len());
        self.executables.engine().install(|| store.update(&c, |i| views[i]));
        self.store = store;
        if is_measured {
            let rows = self.meter.finish(self.store.values(), &computed.squared, computed.mean);
            self.outbox.show(TrainEvent::Weights { step: self.progress.step, rows });
        }
    }

    fn report(&mut self, computed: &Computed, lr: f64, took: Duration) {
        self.outbox.emit(TrainEvent::Step {
            step: self.progress.step,
            epoch: computed.epoch,
            loss: computed.loss,
            lr,
            grad_norm: computed.norm,
            examples_per_sec: computed.n_examples as f64 / took.as_secs_f64().max(1e-9),
            metrics: computed.metrics.clone(),
        });
    }

    /// Evaluation and checkpoint where they are due; true where the run should stop early.
    fn after_step(&mut self, computed: &Computed) -> Result<bool, String> {
        let step = self.progress.step;
        let due = |every: Option<u64>, at_epoch: bool| match every {
            Some(n) => step.is_multiple_of(n),
            None => at_epoch && (computed.epoch_ended || step == self.n_steps),
        };
        let training = &self.settings.training;
        // A run whose length is given in steps has no epochs worth a checkpoint each.
        let mut save = due(training.checkpoint_every, training.steps.is_none());
        let evaluate = due(training.eval_every, true) && self.validation.is_some();
        let patience = training.patience;
        let mut best = false;
        if evaluate && let Some(improved) = self.evaluate(computed.epoch)? {
            best = improved;
            save |= improved;
        }
        if save {
            self.checkpoint(best);
        }
        Ok(evaluate && patience.is_some_and(|p| self.progress.without_improvement >= p))
    }

    /// Evaluates on the validation data; whether the watched metric improved. `None` where a stop came in between.
    fn evaluate(&mut self, epoch: usize) -> Result<Option<bool>, String> {
        let Some(mut source) = self.validation.take() else { return Ok(None) };
        let seed = self.settings.training.seed;
        let n_samples = if self.outbox.merges() { N_SAMPLES } else { 0 };
        let values = self.store.values();
        let result = evaluate_with_samples(&mut self.executables, values, &mut *source, &self.task, seed, n_samples);
        self.validation = Some(source);
        let (Scores { loss, report, curves }, samples) = result?;
        let watched = self.settings.training.best_metric.clone();
        let value = if watched == "loss" { Some(loss) } else { report.metrics.get(&watched).copied() };
        let higher = metrics::find(&watched).is_none_or(|m| m.higher_is_better);
        self.outbox.emit(TrainEvent::Eval {
            step: self.progress.step,
            epoch,
            split: "validation".to_owned(),
            loss,
            metrics: report.metrics,
            confusion: report.confusion,
        });
        let (classes, entities) = (report.classes, report.entities);
        if !samples.is_empty() || !curves.is_empty() || !classes.is_empty() {
            self.outbox.show(TrainEvent::Samples { step: self.progress.step, samples, curves, classes, entities });
        }
        let Some(value) = value else {
            self.note("no-such-metric", format!("'{watched}' is not measured in this run; the best is not tracked"));
            return Ok(Some(false));
        };
        let improved = self.progress.best.is_none_or(|b| if higher { value > b } else { value < b });
        if improved {
            self.progress.best = Some(value);
            self.progress.without_improvement = 0;
        } else {
            self.progress.without_improvement += 1;
        }
        Ok(Some(improved))
    }

    /// Writes a checkpoint; one that cannot be written is a warning, and the run goes on.
    fn checkpoint(&mut self, best: bool) {
        let Some(folder) = self.folder.clone() else { return };
        let step = self.progress.step;
        let path = checkpoint::path_of(&folder, step);
        let event = TrainEvent::Checkpoint { step, path: path.display().to_string(), best };
        self.progress.updates = self.store.updates();
        self.progress.elapsed_secs = self.elapsed_secs();
        // The length includes the event's own line, which is written after the file that it speaks of.
        let synced = self.outbox.log.as_mut().map_or(Ok(0), LogFile::sync);
        self.progress.log_len = synced.unwrap_or(0) + event.to_line().len() as u64 + 1;
        match checkpoint::save(&folder, &self.store, &self.progress, best) {
            Ok(path) => {
                self.saved = Some((step, path));
                self.outbox.emit(event);
                checkpoint::prune(&folder, self.settings.training.keep_checkpoints);
            }
            Err(message) => {
                tracing::warn!("{message}");
                self.note("checkpoint-failed", message);
            }
        }
    }
}

/// Steps of the whole run.
pub(super) fn count_steps(source: &mut dyn BatchSource, settings: &Settings) -> Result<u64, String> {
    if let Some(steps) = settings.training.steps {
        return Ok(steps);
    }
    let accumulate = settings.training.accumulate.max(1);
    let mut steps = 0;
    for epoch in 0..settings.training.epochs {
        let batches = source.n_batches(epoch).map_err(|e| e.to_string())?;
        if batches == 0 {
            return Err("the training data has no batches (fewer examples than one batch with drop_last?)".to_owned());
        }
        steps += batches.div_ceil(accumulate) as u64;
    }
    Ok(steps)
}

/// Opens the run's folder: log, and for a resumed run the newest checkpoint.
fn open_folder(
    folder: Option<&std::path::Path>,
    resume: bool,
    settings: &Settings,
    store: &mut Store,
    outbox: &mut Outbox,
) -> Result<(Progress, Option<(u64, PathBuf)>), String> {
    let mut progress = Progress { seed: settings.training.seed, ..Progress::default() };
    let Some(folder) = folder else { return Ok((progress, None)) };
    let io = |e: std::io::Error| format!("cannot use the run folder {}: {e}", folder.display());
    files::create_dir_all(folder).map_err(io)?;
    let mut saved = None;
    if resume {
        if let Some(path) = checkpoint::newest(folder).map_err(io)? {
            let loaded = Loaded::read(&path)?;
            progress = loaded.restore(store).map_err(|e| format!("cannot resume from {}: {e}", path.display()))?;
            if progress.seed != settings.training.seed {
                return Err(format!(
                    "cannot resume: the run was started with seed {}, not {} (set training.seed={0})",
                    progress.seed, settings.training.seed
                ));
            }
            // A run that stopped early and is extended gets its patience back.
            if settings.training.patience.is_some_and(|p| progress.without_improvement >= p) {
                progress.without_improvement = 0;
            }
            saved = Some((progress.step, path));
        }
    } else if run_log::holds_run(folder) {
        return Err(format!(
            "{} already holds a run: resume it (--resume) or choose another folder (--out)",
            folder.display()
        ));
    }
    outbox.log = Some(LogFile::open(folder, progress.log_len).map_err(io)?);
    Ok((progress, saved))
}

/// `sums[i] += weight · gradient[i]`, from zero where `fresh`.
fn add_gradients(sums: &mut [Option<Tensor>], made: &Executables, values: &[Tensor], weight: usize, fresh: bool) {
    for (i, sum) in sums.iter_mut().enumerate() {
        let dtype = if values[i].dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        if fresh && let Some(t) = sum {
            t.bytes_mut().fill(0);
        }
        if let Some(g) = made.gradient(i) {
            let sum = sum.get_or_insert_with(|| Tensor::zeros(dtype, values[i].shape()));
            apply::accumulate(sum, g, weight as f64);
        }
    }
}
