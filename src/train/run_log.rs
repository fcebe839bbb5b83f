//! The record of a run: an append-only `log.jsonl` of its events, and series in memory for plots.

use std::io::Write;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use crate::base::files::{self, File};

use super::protocol::{EndReason, TrainEvent};

/// One curve: points in order of steps.
pub type Series = Vec<(u64, f64)>;

/// What plots and tables read.
#[derive(Clone, Debug, Default)]
pub struct RunLog {
    /// `train/loss`, `train/lr`, `train/grad_norm`, `train/accuracy`, `validation/loss`, … in order of appearance.
    pub series: IndexMap<String, Series>,
    /// Seconds since the start at the steps that have a throughput.
    pub total_steps: u64,
    pub trainable: usize,
    pub parameters: usize,
    pub memory_estimate_bytes: u64,
    pub last_step: Option<u64>,
    pub epoch: usize,
    /// Steps at which an epoch began.
    pub epochs: Vec<u64>,
    /// (step, path, best).
    pub checkpoints: Vec<(u64, String, bool)>,
    /// (step, code, message): pauses, rate changes, warnings.
    pub notes: Vec<(u64, String, String)>,
    /// The newest confusion matrix and its step.
    pub confusion: Option<(u64, Vec<Vec<u64>>)>,
    pub end: Option<(EndReason, Option<String>)>,
    pub elapsed_secs: f64,
}

impl RunLog {
    /// Reads a log; a last line that a crash cut off is left out.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        let mut log = Self::default();
        for line in String::from_utf8_lossy(&files::read(path)?).lines() {
            if let Ok(event) = serde_json::from_str::<TrainEvent>(line) {
                log.push(&event);
            }
        }
        Ok(log)
    }

    pub fn push(&mut self, event: &TrainEvent) {
        match event {
            TrainEvent::Start { trainable, parameters, steps, memory_estimate_bytes, .. } => {
                self.total_steps = *steps;
                self.trainable = *trainable;
                self.parameters = *parameters;
                self.memory_estimate_bytes = *memory_estimate_bytes;
                self.end = None;
            }
            TrainEvent::Step { step, epoch, loss, lr, grad_norm, examples_per_sec, metrics } => {
                if self.last_step.is_none() || *epoch != self.epoch {
                    self.epochs.push(*step);
                    self.epoch = *epoch;
                }
                self.last_step = Some(*step);
                for (name, value) in
                    [("loss", *loss), ("lr", *lr), ("grad_norm", *grad_norm), ("examples_per_sec", *examples_per_sec)]
                {
                    self.point("train", name, *step, value);
                }
                metrics.iter().for_each(|(name, value)| self.point("train", name, *step, *value));
            }
            TrainEvent::Eval { step, split, loss, metrics, confusion, .. } => {
                self.point(split, "loss", *step, *loss);
                metrics.iter().for_each(|(name, value)| self.point(split, name, *step, *value));
                if !confusion.is_empty() {
                    self.confusion = Some((*step, confusion.clone()));
                }
            }
            TrainEvent::Samples { .. } => {}
            TrainEvent::Checkpoint { step, path, best } => self.checkpoints.push((*step, path.clone(), *best)),
            TrainEvent::Log { step, code, message } => self.notes.push((*step, code.clone(), message.clone())),
            TrainEvent::Weights { .. } => {}
            TrainEvent::End { reason, elapsed_secs, message, .. } => {
                self.end = Some((*reason, message.clone()));
                self.elapsed_secs = *elapsed_secs;
            }
        }
    }

    fn point(&mut self, split: &str, name: &str, step: u64, value: f64) {
        self.series.entry(format!("{split}/{name}")).or_default().push((step, value));
    }

    /// The newest value of a series.
    pub fn last(&self, series: &str) -> Option<f64> {
        self.series.get(series)?.last().map(|p| p.1)
    }
}

/// Appends events to `log.jsonl`, whole lines at a time.
#[derive(Debug)]
pub struct LogFile {
    file: File,
    path: PathBuf,
    len: u64,
}

/// Name of the log inside a run's folder.
pub const LOG_NAME: &str = "log.jsonl";

impl LogFile {
    /// Opens (creating it) the log of a run folder and cuts it to `keep` bytes: what a checkpoint has seen.
    pub fn open(folder: &Path, keep: u64) -> std::io::Result<Self> {
        let path = folder.join(LOG_NAME);
        let file = files::append(&path)?;
        let mut seen = files::read(&path)?;
        seen.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        // A crash can cut the last line off; whole lines stay.
        let len = seen.iter().rposition(|b| *b == b'\n').map_or(0, |i| i as u64 + 1);
        files::truncate(&path, len)?;
        Ok(Self { file, path, len })
    }

    /// Errors name the path in words that the caller can show.
    pub fn append(&mut self, event: &TrainEvent) -> Result<(), String> {
        let mut line = event.to_line();
        line.push('\n');
        self.file.write_all(line.as_bytes()).map_err(|e| format!("cannot write {}: {e}", self.path.display()))?;
        self.len += line.len() as u64;
        Ok(())
    }

    /// Makes everything appended so far durable and gives its length.
    pub fn sync(&mut self) -> Result<u64, String> {
        self.file.sync_data().map_err(|e| format!("cannot write {}: {e}", self.path.display()))?;
        Ok(self.len)
    }
}

/// Whether a folder already holds a run.
pub fn holds_run(folder: &Path) -> bool {
    files::exists(&folder.join(LOG_NAME))
}
