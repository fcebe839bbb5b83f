//! What the trainer says, into the curves and the state of the run; and logs of earlier runs into the same form.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::{Severity, files};
use crate::session::runs::RunRow;
use crate::train::run::{NAN_ORIGIN, RESUMED_AFTER};
use crate::train::{EndReason, RunLog, TrainEvent};
use crate::ui::ctx::RunEntry;
use crate::ui::run_view::{Mark, MarkKind, RunState, RunView};
use crate::ui::series::{Moment, Series};

/// Time since the start, with and without pauses.
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    paused_since: Option<Instant>,
    paused: Duration,
    /// Seconds of earlier parts of a resumed run, without and with pauses.
    before: (f64, f64),
}

impl Clock {
    pub(super) fn new(before: (f64, f64)) -> Self {
        Self { started: Instant::now(), paused_since: None, paused: Duration::ZERO, before }
    }

    fn pause(&mut self) {
        self.paused_since.get_or_insert_with(Instant::now);
    }

    fn resume(&mut self) {
        if let Some(since) = self.paused_since.take() {
            self.paused += since.elapsed();
        }
    }

    fn secs(&self) -> f64 {
        let now = self.paused_since.map_or(Duration::ZERO, |p| p.elapsed());
        self.before.0 + self.started.elapsed().saturating_sub(self.paused + now).as_secs_f64()
    }

    fn wall_secs(&self) -> f64 {
        self.before.1 + self.started.elapsed().as_secs_f64()
    }
}

/// What is needed besides the events.
#[derive(Debug)]
pub(super) struct Follower {
    pub clock: Clock,
    /// Names of the classes, for the confusion matrix.
    pub classes: Vec<String>,
    /// What the log should say.
    pub said: Vec<(Severity, String)>,
    /// When memory was last looked at.
    pub measured: Option<Instant>,
}

/// Memory moves slowly, and asking for it takes a system call.
const MEMORY_EVERY: Duration = Duration::from_secs(1);

impl Follower {
    fn at(&self, run: &RunView, step: u64) -> Moment {
        Moment {
            step: step as f64,
            epoch: epoch_of(step, run.total_steps, run.total_epochs),
            seconds: self.clock.secs(),
            wall: self.clock.wall_secs(),
        }
    }

    fn mark(&self, run: &mut RunView, kind: MarkKind, step: u64, text: impl Into<String>) {
        let at = self.at(run, step);
        add_mark(&mut run.marks, Mark { kind, at, text: text.into() });
    }

    /// One event into the curves and the state of the run.
    pub(super) fn follow(&mut self, run: &mut RunView, event: &TrainEvent) {
        match event {
            TrainEvent::Start { trainable, parameters, steps, memory_estimate_bytes, first_step, .. } => {
                self.clock = Clock::new(self.clock.before);
                run.state = RunState::Running;
                run.total_steps = *steps as usize;
                run.step = *first_step as usize;
                run.trainable = *trainable;
                run.parameters = *parameters;
                run.memory_bytes = *memory_estimate_bytes;
            }
            TrainEvent::Step { .. } => self.step(run, event),
            TrainEvent::Eval { step, loss, metrics, confusion, split, .. } => {
                let at = self.at(run, *step);
                run.validation_loss.push(at, *loss);
                for (name, value) in metrics {
                    run.metric(name).1.push(at, *value);
                }
                if !confusion.is_empty() {
                    run.confusion = Some(named_confusion(&self.classes, confusion));
                }
                let first = metrics
                    .iter()
                    .next()
                    .map(|(n, v)| format!(", {} {}", crate::train::metrics::title(n), crate::ui::text::number(*v, 4)));
                let loss = crate::ui::text::number(*loss, 4);
                let words = format!("{split} after step {step}: loss {loss}{}", first.unwrap_or_default());
                self.said.push((Severity::Info, words));
            }
            TrainEvent::Checkpoint { step, path, best } => {
                let (kind, words) = checkpoint_mark(*best);
                self.mark(run, kind, *step, words);
                self.said.push((Severity::Info, format!("Checkpoint {path}")));
            }
            TrainEvent::Weights { step, rows } => {
                run.watch.take(*step, rows);
                run.weights = Arc::new(rows.clone());
                run.weights_step = *step as usize;
            }
            // Their texts are read in a job.
            TrainEvent::Samples { curves, classes, entities, .. } => {
                run.classes.clone_from(classes);
                run.entities.clone_from(entities);
                let name = |c: usize| self.classes.get(c).cloned().unwrap_or_else(|| c.to_string());
                run.curves = curves.iter().map(|c| (name(c.class), c.clone())).collect();
            }
            TrainEvent::Log { step, code, message } => self.note(run, *step, code, message),
            TrainEvent::End { reason, step, elapsed_secs, message } => {
                run.elapsed_secs = *elapsed_secs;
                run.message.clone_from(message);
                run.state = state_of(*reason);
                let severity = if *reason == EndReason::Error { Severity::Error } else { Severity::Info };
                let why = message.as_ref().map(|m| format!(": {m}")).unwrap_or_default();
                self.said.push((severity, format!("Run {} after {step} steps{why}", run.state.title().to_lowercase())));
            }
        }
    }

    fn step(&mut self, run: &mut RunView, event: &TrainEvent) {
        let TrainEvent::Step { step, epoch, loss, lr, grad_norm, examples_per_sec, metrics } = event else { return };
        let at = self.at(run, *step);
        if *epoch != run.epoch {
            run.marks.push(Mark { kind: MarkKind::Epoch, at, text: format!("epoch {}", epoch + 1) });
        }
        run.epoch = *epoch;
        run.step = *step as usize + 1;
        run.elapsed_secs = self.clock.secs();
        run.examples_per_sec = *examples_per_sec;
        run.learning_rate = *lr;
        run.loss.push(at, *loss);
        run.rate.push(at, *lr);
        run.norm.push(at, *grad_norm);
        run.speed.push(at, *examples_per_sec);
        if self.measured.is_none_or(|t| t.elapsed() >= MEMORY_EVERY) {
            self.measured = Some(Instant::now());
            if let Some(bytes) = files::resident_bytes() {
                run.memory.push(at, bytes as f64);
            }
        }
        for (name, value) in metrics {
            run.metric(name).0.push(at, *value);
        }
    }

    fn note(&mut self, run: &mut RunView, step: u64, code: &str, message: &str) {
        match code {
            "paused" => {
                self.clock.pause();
                run.state = RunState::Paused;
                self.mark(run, MarkKind::Pause, step, message);
            }
            "resumed" => {
                self.clock.resume();
                run.state = RunState::Running;
            }
            "learning-rate" => self.mark(run, MarkKind::RateChange, step, rate_words(message)),
            NAN_ORIGIN => run.watch.nan_origin = Some(message.to_owned()),
            _ => {}
        }
        self.said.push((Severity::Info, message.to_owned()));
    }
}

const BEST_WORDS: &str = "best checkpoint";
const CHECKPOINT_WORDS: &str = "checkpoint";

fn checkpoint_mark(best: bool) -> (MarkKind, &'static str) {
    if best { (MarkKind::BestCheckpoint, BEST_WORDS) } else { (MarkKind::Checkpoint, CHECKPOINT_WORDS) }
}

fn rate_words(rate: &str) -> String {
    format!("learning rate {rate}")
}

/// Adds a marker; of the checkpoints that were the best so far only the newest still is.
fn add_mark(marks: &mut Vec<Mark>, mark: Mark) {
    if mark.kind == MarkKind::BestCheckpoint {
        for old in marks.iter_mut().filter(|m| m.kind == MarkKind::BestCheckpoint) {
            (old.kind, old.text) = (MarkKind::Checkpoint, CHECKPOINT_WORDS.to_owned());
        }
    }
    marks.push(mark);
}

fn state_of(reason: EndReason) -> RunState {
    match reason {
        EndReason::Finished | EndReason::EarlyStop => RunState::Finished,
        EndReason::Stopped | EndReason::Discarded => RunState::Stopped,
        EndReason::Error => RunState::Failed,
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

/// When the steps of a log ended. A log holds no times but that of its end, and throughputs: a step takes as long as its
/// throughput says, and all of them together what the end says. Pauses are in its notes.
#[derive(Debug, Default)]
struct Times {
    /// (step, seconds at its end), ascending.
    ends: Vec<(u64, f64)>,
    /// (step before which it was, seconds), ascending.
    pauses: Vec<(u64, f64)>,
}

impl Times {
    /// `batch` is what a step reads, for logs without an end.
    fn new(log: &RunLog, batch: f64) -> Self {
        let mut sum = 0.0;
        let speeds = log.series.get("train/examples_per_sec").map_or(&[][..], Vec::as_slice);
        let mut ends: Vec<(u64, f64)> = Vec::with_capacity(speeds.len());
        for &(step, speed) in speeds {
            sum += if speed > 0.0 && speed.is_finite() { 1.0 / speed } else { 0.0 };
            ends.push((step, sum));
        }
        let scale = if log.elapsed_secs > 0.0 && sum > 0.0 { log.elapsed_secs / sum } else { batch };
        ends.iter_mut().for_each(|(_, s)| *s *= scale);
        let pause = |(step, code, message): &(u64, String, String)| {
            let secs = message.strip_prefix(RESUMED_AFTER).filter(|_| code == "resumed")?;
            Some((*step, secs.trim_end_matches(" s").parse().ok()?))
        };
        Self { ends, pauses: log.notes.iter().filter_map(pause).collect() }
    }

    /// Seconds without and with pauses.
    fn at(&self, step: u64) -> (f64, f64) {
        let i = self.ends.partition_point(|(s, _)| *s < step);
        let seconds = self.ends.get(i).or(self.ends.last()).map_or(0.0, |e| e.1);
        let paused: f64 = self.pauses.iter().filter(|(s, _)| *s <= step).map(|p| p.1).sum();
        (seconds, seconds + paused)
    }
}

/// When a step of a log was.
fn moment(log: &RunLog, times: &Times, step: u64) -> Moment {
    let last = log.last_step.unwrap_or(0).max(1) as f64;
    let per_epoch = match log.epochs.as_slice() {
        [a, b, ..] => (b - a).max(1) as f64,
        _ => last + 1.0,
    };
    let begun = log.epochs.partition_point(|e| *e <= step).saturating_sub(1);
    let start = log.epochs.get(begun).copied().unwrap_or(0);
    let (seconds, wall) = times.at(step);
    let epoch = begun as f64 + (step - start.min(step)) as f64 / per_epoch;
    Moment { step: step as f64, epoch, seconds, wall }
}

/// A curve of a log.
fn series_of(log: &RunLog, times: &Times, name: &str, points: &[(u64, f64)]) -> Series {
    let mut out = Series::new(name);
    for &(step, value) in points {
        out.push(moment(log, times, step), value);
    }
    out
}

/// The markers of a log, in the order of their steps.
fn marks_of(log: &RunLog, times: &Times) -> Vec<Mark> {
    let epochs = log.epochs.iter().enumerate().skip(1);
    let epochs = epochs.map(|(i, step)| (*step, MarkKind::Epoch, format!("epoch {}", i + 1)));
    let checkpoints = log.checkpoints.iter().map(|(step, _, best)| {
        let (kind, words) = checkpoint_mark(*best);
        (*step, kind, words.to_owned())
    });
    let notes = log.notes.iter().filter_map(|(step, code, message)| match code.as_str() {
        "paused" => Some((*step, MarkKind::Pause, message.clone())),
        "learning-rate" => Some((*step, MarkKind::RateChange, rate_words(message))),
        _ => None,
    });
    let mut all: Vec<(u64, MarkKind, String)> = checkpoints.chain(notes).chain(epochs).collect();
    all.sort_by_key(|m| m.0);
    let mut out = Vec::with_capacity(all.len());
    for (step, kind, text) in all {
        add_mark(&mut out, Mark { kind, at: moment(log, times, step), text });
    }
    out
}

/// A run on disk as the window compares it.
pub(super) fn entry(row: RunRow) -> RunEntry {
    let log = &row.log;
    let batch = crate::session::training::settings(&row.recipe).map_or(1.0, |s| s.training.batch as f64);
    let times = Times::new(log, batch);
    RunEntry {
        state: log.end.as_ref().map_or(RunState::Stopped, |(reason, _)| state_of(*reason)),
        steps: log.last_step.map_or(0, |s| s as usize + 1),
        total_steps: log.total_steps as usize,
        elapsed_secs: log.elapsed_secs,
        parameters: log.parameters,
        curves: log.series.iter().map(|(name, points)| series_of(log, &times, name, points)).collect(),
        marks: marks_of(log, &times),
        confusion: log.confusion.as_ref().map(|(_, counts)| counts.clone()).unwrap_or_default(),
        name: row.name,
        folder: row.folder,
        can_resume: row.can_resume,
        has_best: row.has_best,
        tuned: row.tuned,
        classes: row.classes,
        recipe: row.recipe,
    }
}

/// Seconds of a run so far, without and with pauses.
pub(super) fn seconds_of(entry: &RunEntry) -> (f64, f64) {
    let lasts = entry.curves.iter().filter_map(|c| c.wall.last().copied());
    (entry.elapsed_secs, lasts.fold(entry.elapsed_secs, f64::max))
}

/// What a run showed when it ended, to look at or to go on from.
pub(super) fn view_of(entry: &RunEntry, total_epochs: usize) -> RunView {
    let mut run = RunView {
        name: entry.name.clone(),
        marks: entry.marks.clone(),
        confusion: (!entry.confusion.is_empty()).then(|| named_confusion(&entry.classes, &entry.confusion)),
        folder: Some(entry.folder.clone()),
        step: entry.steps,
        total_steps: entry.total_steps,
        total_epochs,
        elapsed_secs: entry.elapsed_secs,
        parameters: entry.parameters,
        ..RunView::default()
    };
    for curve in &entry.curves {
        match curve.name.split_once('/') {
            Some(("train", "loss")) => run.loss = curve.clone(),
            Some(("train", "lr")) => run.rate = curve.clone(),
            Some(("train", "grad_norm")) => run.norm = curve.clone(),
            Some(("train", "examples_per_sec")) => run.speed = curve.clone(),
            Some(("train", name)) => run.metric(name).0 = curve.clone().named(name),
            Some((_, "loss")) => run.validation_loss = curve.clone(),
            Some((_, name)) => run.metric(name).1 = curve.clone().named(name),
            None => {}
        }
    }
    run
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::protocol::Metrics;

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

    fn step(step: u64, epoch: usize, loss: f64) -> TrainEvent {
        let metrics = Metrics::from_iter([("accuracy".to_owned(), 0.5)]);
        TrainEvent::Step { step, epoch, loss, lr: 0.1, grad_norm: 1.0, examples_per_sec: 8.0, metrics }
    }

    #[test]
    fn a_log_becomes_the_curves_that_were_seen() {
        let mut log = RunLog::default();
        for i in 0..6 {
            log.push(&step(i, i as usize / 3, 6.0 - i as f64));
        }
        log.push(&TrainEvent::End { reason: EndReason::Stopped, step: 6, elapsed_secs: 10.0, message: None });
        let e = entry(RunRow { name: "run-1".to_owned(), log, ..RunRow::default() });
        assert_eq!((e.steps, e.state), (6, RunState::Stopped));
        let kinds: Vec<(MarkKind, f64)> = e.marks.iter().map(|m| (m.kind, m.at.step)).collect();
        assert_eq!(kinds, [(MarkKind::Epoch, 3.0)]);
        let loss = e.curve("train/loss").unwrap();
        assert_eq!(loss.values, [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]);
        assert_eq!(loss.epochs[4], 1.0 + 1.0 / 3.0);
        assert!((loss.seconds[5] - 10.0).abs() < 1e-9);
        let run = view_of(&e, 2);
        assert_eq!(run.loss.values.len(), 6);
        assert_eq!(run.metrics[0].0.name, "accuracy");
    }

    #[test]
    fn times_of_a_log_follow_its_throughput_and_its_pauses() {
        let mut log = RunLog::default();
        for (i, speed) in [10.0, 10.0, 5.0, 5.0].into_iter().enumerate() {
            let mut event = step(i as u64, 0, 1.0);
            if let TrainEvent::Step { examples_per_sec, .. } = &mut event {
                *examples_per_sec = speed;
            }
            log.push(&event);
        }
        let resumed = TrainEvent::Log { step: 2, code: "resumed".to_owned(), message: format!("{RESUMED_AFTER}7.5 s") };
        log.push(&resumed);
        log.push(&TrainEvent::End { reason: EndReason::Stopped, step: 4, elapsed_secs: 12.0, message: None });
        let e = entry(RunRow { name: "run-1".to_owned(), log, ..RunRow::default() });
        let loss = e.curve("train/loss").unwrap();
        let close = |a: &[f64], b: [f64; 4]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(close(&loss.seconds, [2.0, 4.0, 8.0, 12.0]), "{:?}", loss.seconds);
        assert!(close(&loss.wall, [2.0, 4.0, 15.5, 19.5]), "{:?}", loss.wall);
        // A resumed run goes on where both clocks stood, so that no point lies before the last.
        assert_eq!(seconds_of(&e), (12.0, 19.5));
        let clock = Clock::new(seconds_of(&e));
        assert!(clock.secs() >= 12.0 && clock.wall_secs() >= 19.5);
    }

    #[test]
    fn markers_of_a_log_are_those_that_were_seen() {
        let checkpoint = |step, best| TrainEvent::Checkpoint { step, path: format!("c{step}"), best };
        let note = |step, code: &str, message: &str| TrainEvent::Log {
            step,
            code: code.to_owned(),
            message: message.to_owned(),
        };
        let events = [
            step(0, 0, 3.0),
            note(1, "learning-rate", "0.5"),
            step(1, 0, 2.0),
            checkpoint(2, true),
            step(2, 1, 1.0),
            note(3, "paused", "paused"),
            step(3, 1, 0.5),
            checkpoint(4, true),
        ];
        let mut log = RunLog::default();
        let mut run = RunView { total_steps: 4, total_epochs: 2, ..RunView::default() };
        let mut f = Follower { clock: Clock::new((0.0, 0.0)), classes: Vec::new(), said: Vec::new(), measured: None };
        for e in &events {
            log.push(e);
            f.follow(&mut run, e);
        }
        let kinds = |marks: &[Mark]| marks.iter().map(|m| (m.kind, m.at.step, m.text.clone())).collect::<Vec<_>>();
        let e = entry(RunRow { name: "run-1".to_owned(), log, ..RunRow::default() });
        let seen = kinds(&run.marks);
        assert_eq!(kinds(&e.marks), seen);
        let stars: Vec<f64> = seen.iter().filter(|m| m.0 == MarkKind::BestCheckpoint).map(|m| m.1).collect();
        assert_eq!(stars, [4.0], "the best so far is starred, not those that it beat");
        assert!(seen.contains(&(MarkKind::RateChange, 1.0, "learning rate 0.5".to_owned())));
    }

    #[test]
    fn the_node_where_numbers_went_wrong_is_kept() {
        let mut run = RunView::default();
        let mut f = Follower { clock: Clock::new((0.0, 0.0)), classes: Vec::new(), said: Vec::new(), measured: None };
        f.follow(&mut run, &TrainEvent::Log { step: 3, code: NAN_ORIGIN.to_owned(), message: "bert/Log".to_owned() });
        assert_eq!(run.watch.nan_origin.as_deref(), Some("bert/Log"));
        f.follow(&mut run, &step(3, 1, 0.5));
        assert_eq!((run.step, run.marks.len()), (4, 1));
    }
}
