//! The settings table: key, label, help, kind with range, default, unit. The order is that of the form.

use super::SettingError;
use crate::train::{optimizers, schedules};

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A number within the bounds, both included.
    Float {
        min: f64,
        max: f64,
    },
    /// A whole number within the bounds; `optional` may be left empty (automatic).
    Int {
        min: u64,
        max: u64,
        optional: bool,
    },
    /// As `Float`, or empty.
    OptionalFloat {
        min: f64,
        max: f64,
    },
    Bool,
    /// One of several words.
    Choice(fn() -> Vec<&'static str>),
    /// Comma-separated regexes over names, or `role:NAME`.
    Patterns,
    Text,
}

/// One knob.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub key: &'static str,
    pub label: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    pub default: &'static str,
    /// Shown behind the value; may be empty.
    pub unit: &'static str,
    /// Folded away in the form.
    pub advanced: bool,
}

pub fn find(key: &str) -> Option<&'static Setting> {
    ALL.iter().find(|s| s.key == key)
}

const COUNT: Kind = Kind::Int { min: 1, max: 1 << 40, optional: false };
const MAYBE_COUNT: Kind = Kind::Int { min: 1, max: 1 << 40, optional: true };
const MAYBE_ZERO: Kind = Kind::Int { min: 0, max: 1 << 40, optional: true };
const UNIT: Kind = Kind::Float { min: 0.0, max: 1.0 };
const BETA: Kind = Kind::Float { min: 0.0, max: 0.999_999_999 };

const fn basic(
    key: &'static str,
    label: &'static str,
    default: &'static str,
    unit: &'static str,
    kind: Kind,
    help: &'static str,
) -> Setting {
    Setting { key, label, help, kind, default, unit, advanced: false }
}

const fn expert(
    key: &'static str,
    label: &'static str,
    default: &'static str,
    unit: &'static str,
    kind: Kind,
    help: &'static str,
) -> Setting {
    Setting { key, label, help, kind, default, unit, advanced: true }
}

/// Every setting.
pub const ALL: &[Setting] = &[
    basic(
        "optimizer.kind",
        "Optimizer",
        "adamw",
        "",
        Kind::Choice(|| optimizers::ALL.iter().map(|o| o.kind).collect()),
        "The rule that turns gradients into updates.",
    ),
    basic(
        "optimizer.lr",
        "Learning rate",
        "1e-3",
        "",
        Kind::Float { min: 0.0, max: 1e6 },
        "Peak rate; the schedule scales it. Fine-tuning a pretrained encoder usually takes 2e-5 to 5e-5.",
    ),
    basic(
        "optimizer.weight_decay",
        "Weight decay",
        "0.01",
        "",
        Kind::Float { min: 0.0, max: 1e3 },
        "How strongly weights are pulled to zero (adamw, bert-adamw, lamb, adafactor).",
    ),
    expert(
        "optimizer.no_decay",
        "No decay for",
        "",
        "",
        Kind::Patterns,
        "Parameters that do not decay: regexes over names, or roles such as role:bias, separated by commas.",
    ),
    expert(
        "optimizer.layer_decay",
        "Layer-wise decay",
        "1",
        "",
        Kind::Float { min: 0.0, max: 1.0 },
        "Factor on the learning rate for each layer further from the output; 1: all layers learn alike.",
    ),
    expert(
        "optimizer.state",
        "Optimizer's memory",
        "new",
        "",
        Kind::Choice(|| vec!["new", "file"]),
        "new: moments and their like start at zero, as fine-tuning on other data wants it; file: those that the model's \
         checkpoint holds are taken over with their step count, as if training had never stopped.",
    ),
    expert("optimizer.beta1", "β1", "0.9", "", BETA, "Decay of the mean of gradients (Adam and its relatives)."),
    expert("optimizer.beta2", "β2", "0.999", "", BETA, "Decay of the mean of squared gradients."),
    expert(
        "optimizer.epsilon",
        "ε",
        "1e-8",
        "",
        Kind::Float { min: 0.0, max: 1.0 },
        "Added to the root of the mean of squares.",
    ),
    expert(
        "optimizer.epsilon_hat",
        "TensorFlow's ε",
        "false",
        "",
        Kind::Bool,
        "ε is added before the bias correction, as TensorFlow does (adam, adamw).",
    ),
    expert("optimizer.momentum", "Momentum", "0", "", BETA, "Share of the last update that is kept (sgd, rmsprop)."),
    expert("optimizer.nesterov", "Nesterov", "false", "", Kind::Bool, "Look-ahead form of momentum (sgd)."),
    basic(
        "schedule.kind",
        "Schedule",
        "constant",
        "",
        Kind::Choice(|| schedules::ALL.iter().map(|s| s.kind).collect()),
        "How the rate changes over the run.",
    ),
    expert(
        "schedule.warmup_steps",
        "Warm-up",
        "",
        "steps",
        MAYBE_ZERO,
        "Steps in which the rate rises from 0; empty: the fraction below.",
    ),
    basic(
        "schedule.warmup_fraction",
        "Warm-up",
        "0",
        "of all steps",
        UNIT,
        "Share of the run in which the rate rises.",
    ),
    expert(
        "schedule.total_steps",
        "Schedule length",
        "",
        "steps",
        MAYBE_COUNT,
        "The step at which the decay ends; empty: the run's own length.",
    ),
    expert("schedule.power", "Power", "1", "", Kind::Float { min: 0.0, max: 100.0 }, "Exponent of polynomial decay."),
    basic("training.epochs", "Epochs", "3", "", COUNT, "Passes over the training data."),
    expert("training.steps", "Steps", "", "", MAYBE_COUNT, "Length of the run in steps instead of epochs."),
    basic("training.batch", "Batch size", "16", "examples", COUNT, "Examples for one forward and backward pass."),
    expert(
        "training.accumulate",
        "Accumulate",
        "1",
        "batches",
        Kind::Int { min: 1, max: 1 << 20, optional: false },
        "Batches whose gradients are averaged for one update: a larger batch in the same memory.",
    ),
    basic(
        "training.clip_global_norm",
        "Clip gradients at",
        "",
        "",
        Kind::OptionalFloat { min: 0.0, max: 1e12 },
        "Gradients × c / max(global norm, c); empty or 0: no clipping.",
    ),
    expert(
        "training.seed",
        "Seed",
        "0",
        "",
        Kind::Int { min: 0, max: u64::MAX, optional: false },
        "Decides order, dropout and initial values.",
    ),
    expert("training.shuffle", "Shuffle", "true", "", Kind::Bool, "A new order of the examples in every epoch."),
    expert("training.drop_last", "Drop last", "false", "", Kind::Bool, "Leave out an epoch's last, incomplete batch."),
    expert(
        "training.cache_mb",
        "Keep frozen results",
        "1024",
        "MB",
        Kind::Int { min: 0, max: 1 << 24, optional: false },
        "Memory for what the frozen part before the first trainable weight gives for each example, so that later epochs \
         need not compute it; 0: off.",
    ),
    expert("training.eval_every", "Evaluate every", "", "steps", MAYBE_COUNT, "Empty: at each epoch's end."),
    expert("training.checkpoint_every", "Checkpoint every", "", "steps", MAYBE_COUNT, "Empty: at each epoch's end."),
    expert(
        "training.keep_checkpoints",
        "Keep",
        "2",
        "checkpoints",
        Kind::Int { min: 1, max: 1 << 20, optional: false },
        "How many of the newest checkpoints stay on disk, besides the best one.",
    ),
    expert(
        "training.patience",
        "Stop early after",
        "",
        "evaluations",
        MAYBE_COUNT,
        "Evaluations without improvement of the metric below; empty: never.",
    ),
    expert(
        "training.best_metric",
        "Best by",
        "loss",
        "",
        Kind::Text,
        "The validation metric that marks the best checkpoint: loss, accuracy, f1, …",
    ),
    expert(
        "data.padding",
        "Padding",
        "auto",
        "",
        Kind::Choice(|| vec!["auto", "longest", "max_length"]),
        "To the longest text of the batch (auto: where the graph allows) or to the maximal length.",
    ),
    basic(
        "data.max_length",
        "Maximal length",
        "",
        "tokens",
        MAYBE_COUNT,
        "Longer texts are cut; empty: chosen from the data and the graph.",
    ),
    basic(
        "data.split",
        "Validation share",
        "0",
        "of the rows",
        Kind::Float { min: 0.0, max: 0.9 },
        "Kept out of training, the same share of every class.",
    ),
    expert(
        "data.buckets",
        "Length buckets",
        "false",
        "",
        Kind::Bool,
        "Batches of texts of similar length: less padding.",
    ),
    expert(
        "data.mask_rate",
        "Hidden words",
        "0",
        "of the tokens",
        Kind::Float { min: 0.0, max: 0.9 },
        "Tokens hidden for the model to guess, anew in every epoch: a masked language model (BERT: 0.15), which needs no labels.",
    ),
    expert(
        "data.bad_rows",
        "Malformed rows",
        "stop",
        "",
        Kind::Choice(|| vec!["stop", "skip"]),
        "Stop with the line number, or skip and count them.",
    ),
    expert(
        "data.split_column",
        "Split column",
        "",
        "",
        Kind::Text,
        "Column that says which rows train and which are evaluated on (train, validation, test).",
    ),
    expert(
        "data.split_value",
        "Validation rows say",
        "",
        "",
        Kind::Text,
        "Value of the split column for rows to evaluate on; empty: validation, valid, val, dev or eval, else test.",
    ),
    expert(
        "data.image_scale",
        "Pixel values",
        "unit",
        "",
        Kind::Choice(|| crate::data::PixelScale::NAMES.to_vec()),
        "unit: 0 to 1; signed: −1 to 1; bytes: 0 to 255; imagenet: less its mean, over its deviation.",
    ),
    expert(
        "data.image_order",
        "Channel order",
        "rgb",
        "",
        Kind::Choice(|| vec!["rgb", "bgr"]),
        "Which colour comes first.",
    ),
    expert(
        "data.image_fit",
        "Picture fit",
        "stretch",
        "",
        Kind::Choice(|| vec!["stretch", "crop"]),
        "Stretch pictures to the model's size, or cut them around the middle.",
    ),
];

impl Setting {
    /// Whether `text` may be this setting's value.
    pub fn check(&self, text: &str) -> Result<(), SettingError> {
        let text = text.trim();
        let wrong =
            |expected: String| Err(SettingError(format!("{} = '{text}' does not fit: expected {expected}", self.key)));
        let empty = text.is_empty() || text == "auto";
        match self.kind {
            Kind::OptionalFloat { .. } if empty => Ok(()),
            Kind::Float { min, max } | Kind::OptionalFloat { min, max } => match text.parse::<f64>() {
                Ok(v) if v >= min && v <= max => Ok(()),
                _ => wrong(format!("a number from {min} to {max}")),
            },
            Kind::Int { optional: true, .. } if empty => Ok(()),
            Kind::Int { min, max, .. } => match text.parse::<u64>() {
                Ok(v) if v >= min && v <= max => Ok(()),
                _ => wrong(format!("a whole number from {min} to {max}")),
            },
            Kind::Bool => match text {
                "true" | "false" => Ok(()),
                _ => wrong("true or false".to_owned()),
            },
            Kind::Choice(options) => {
                let options = options();
                if options.contains(&text) { Ok(()) } else { wrong(format!("one of {}", options.join(", "))) }
            }
            Kind::Patterns => {
                for pattern in text.split(',').map(str::trim).filter(|p| !p.starts_with("role:")) {
                    if let Err(e) = regex::Regex::new(pattern) {
                        return wrong(format!("regexes separated by commas ({e})"));
                    }
                }
                Ok(())
            }
            Kind::Text => Ok(()),
        }
    }
}
