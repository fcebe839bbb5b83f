//! The trainer's only door: commands in, events out, both bounded. Events serialize to the lines that `--json` prints.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::metrics::{ClassRow, PrecisionRecall};
use super::weights::WeightRow;

/// What the trainer can be told while it runs. It obeys between steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TrainCommand {
    Pause,
    Resume,
    /// Ends the run; `keep` writes a checkpoint first.
    Stop {
        keep: bool,
    },
    /// Replaces the schedule's peak rate from the next step on; recorded in log and checkpoint.
    SetLearningRate(f64),
    CheckpointNow,
}

/// Scalars by name, in the order in which they are shown.
pub type Metrics = IndexMap<String, f64>;

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    Finished,
    /// Stopped on request; a checkpoint was written.
    Stopped,
    /// Stopped on request without a checkpoint.
    Discarded,
    /// The watched metric did not improve for the set number of evaluations.
    EarlyStop,
    Error,
}

/// What happens in a run, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum TrainEvent {
    Start {
        run: String,
        /// Number of parameter tensors, and of their elements.
        trainable: usize,
        parameters: usize,
        /// Steps of the whole run.
        steps: u64,
        /// The step that comes first: not 0 in a resumed run.
        #[serde(default, skip_serializing_if = "is_zero")]
        first_step: u64,
        memory_estimate_bytes: u64,
    },
    /// One step, or several that were merged because nobody read them in time (then sums and means over them).
    Step {
        step: u64,
        epoch: usize,
        /// Of this step's batch before the update.
        #[serde(with = "nullable")]
        loss: f64,
        lr: f64,
        #[serde(with = "nullable")]
        grad_norm: f64,
        examples_per_sec: f64,
        metrics: Metrics,
    },
    Eval {
        /// Steps done before this evaluation.
        step: u64,
        epoch: usize,
        split: String,
        #[serde(with = "nullable")]
        loss: f64,
        metrics: Metrics,
        /// Rows are true classes, columns predicted ones.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        confusion: Vec<Vec<u64>>,
    },
    Checkpoint {
        step: u64,
        path: String,
        best: bool,
    },
    /// The held-out examples of an evaluation that cost most, worst first; only for a reader that merges, in no log.
    #[serde(skip)]
    Samples {
        step: u64,
        samples: Vec<Sample>,
        /// Precision against recall of each class.
        curves: Vec<PrecisionRecall>,
        /// Precision, recall and F1 of each class or label, and of each type of entity.
        classes: Vec<ClassRow>,
        entities: Vec<ClassRow>,
    },
    /// Anything else worth keeping: `code` is `paused`, `resumed`, `learning-rate`, or a warning's code.
    Log {
        step: u64,
        code: String,
        message: String,
    },
    /// What happens to each weight, now and then; only for a reader that merges (the window), in no log.
    #[serde(skip)]
    Weights {
        step: u64,
        rows: Vec<WeightRow>,
    },
    End {
        reason: EndReason,
        step: u64,
        elapsed_secs: f64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
}

/// What the model says about one held-out example.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Position in the data set.
    pub row: usize,
    pub truth: Said,
    pub said: Said,
    /// Of what was said; of several positions the geometric mean; NaN for numbers.
    pub probability: f64,
    /// What the example costs: negative logarithm of the true class's probability (of several positions the mean), mean
    /// cross-entropy of labels, mean squared error of numbers.
    pub loss: f64,
}

/// What is true of an example, or said about it.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    Class(usize),
    /// Those labels that apply.
    Labels(Vec<usize>),
    Numbers(Vec<f64>),
    /// A class at every position that has a label.
    Tags(Vec<usize>),
    /// An entry of the vocabulary for every hidden word.
    Words(Vec<usize>),
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde asks for
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// NaN and infinities are `null` in JSON.
mod nullable {
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde asks for
    pub(super) fn serialize<S: Serializer>(v: &f64, s: S) -> Result<S::Ok, S::Error> {
        if v.is_finite() { s.serialize_f64(*v) } else { s.serialize_none() }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
        Ok(Option::<f64>::deserialize(d)?.unwrap_or(f64::NAN))
    }
}

impl TrainEvent {
    /// One JSON line without its line feed.
    pub fn to_line(&self) -> String {
        // Plain data with text keys always serializes.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The step that the event belongs to.
    pub fn step(&self) -> u64 {
        match self {
            Self::Start { first_step, .. } => *first_step,
            Self::Step { step, .. }
            | Self::Eval { step, .. }
            | Self::Checkpoint { step, .. }
            | Self::Samples { step, .. }
            | Self::Log { step, .. }
            | Self::Weights { step, .. }
            | Self::End { step, .. } => *step,
        }
    }
}

/// What happens to step events when nobody reads them in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// They are merged; the trainer never waits for a reader (the window).
    #[default]
    Merge,
    /// The trainer waits (the command line, whose output must hold every step).
    Every,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_the_contract() {
        let e = TrainEvent::Step {
            step: 0,
            epoch: 0,
            loss: 0.5,
            lr: 0.00005,
            grad_norm: f64::NAN,
            examples_per_sec: 0.0,
            metrics: Metrics::from_iter([("accuracy".to_owned(), 0.5)]),
        };
        assert_eq!(
            e.to_line(),
            r#"{"event":"step","step":0,"epoch":0,"loss":0.5,"lr":0.00005,"grad_norm":null,"examples_per_sec":0.0,"metrics":{"accuracy":0.5}}"#
        );
        let back: TrainEvent = serde_json::from_str(&e.to_line()).unwrap();
        assert_eq!(back.to_line(), e.to_line());
        let end = TrainEvent::End { reason: EndReason::Finished, step: 20, elapsed_secs: 1.2, message: None };
        assert_eq!(end.to_line(), r#"{"event":"end","reason":"finished","step":20,"elapsed_secs":1.2}"#);
    }
}
