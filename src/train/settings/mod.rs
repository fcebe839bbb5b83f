//! Every knob of training as data: the form, the session file and `--set KEY=VALUE` come from [`table::ALL`].
//!
//! A recipe holds only what differs from the defaults, as text; [`Settings::new`] checks it and gives typed values.

pub mod table;

use std::collections::BTreeMap;

use super::optimizers::{self, OptimizerInfo};
use super::schedules::{self, ScheduleInfo};

pub use table::{Kind, Setting};

/// A value that does not fit its key; the text names both and says what is expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingError(pub String);

/// What the values start from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// Nothing unasked: no clipping, constant rate, decay everywhere.
    #[default]
    Plain,
    /// What fine-tuning of a pretrained encoder usually takes.
    FineTune,
}

impl Preset {
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::FineTune => "fine-tune",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Plain, Self::FineTune].into_iter().find(|p| p.name() == name)
    }

    /// Where the preset differs from the table's defaults.
    pub fn values(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Plain => &[],
            Self::FineTune => &[
                ("optimizer.kind", "adamw"),
                ("optimizer.lr", "5e-5"),
                ("optimizer.weight_decay", "0.01"),
                ("optimizer.no_decay", "role:bias,role:norm-scale,role:norm-shift"),
                ("training.clip_global_norm", "1.0"),
                ("schedule.kind", "linear"),
                ("schedule.warmup_fraction", "0.1"),
            ],
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerSettings {
    pub info: &'static OptimizerInfo,
    pub lr: f64,
    pub momentum: f64,
    pub nesterov: bool,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub epsilon_hat: bool,
    pub weight_decay: f64,
    /// Factor on the rate for each layer further from the output.
    pub layer_decay: f64,
    /// Regexes over names, or `role:NAME`.
    pub no_decay: Vec<String>,
    /// Whether the state that the model's checkpoint holds is taken over.
    pub takes_over: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleSettings {
    pub info: &'static ScheduleInfo,
    pub warmup_steps: Option<u64>,
    pub warmup_fraction: f64,
    pub total_steps: Option<u64>,
    pub power: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TrainingSettings {
    pub batch: usize,
    pub epochs: usize,
    /// Overrides `epochs`.
    pub steps: Option<u64>,
    pub seed: u64,
    pub accumulate: usize,
    pub shuffle: bool,
    pub drop_last: bool,
    /// In steps; `None` at each epoch's end.
    pub eval_every: Option<u64>,
    pub checkpoint_every: Option<u64>,
    pub keep_checkpoints: usize,
    pub clip_global_norm: Option<f64>,
    /// Memory for the results of the frozen part; 0 keeps none.
    pub cache_bytes: usize,
    /// Evaluations without improvement before the run stops early.
    pub patience: Option<usize>,
    /// The metric that decides which checkpoint is best.
    pub best_metric: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    Auto,
    Longest,
    MaxLength,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DataSettings {
    pub padding: Padding,
    pub max_length: Option<usize>,
    /// Fraction of the training table that is kept for validation; 0 keeps none.
    pub split: f64,
    pub buckets: bool,
    /// Share of each text's tokens that are hidden for a masked-language-model loss; 0 hides none.
    pub mask_rate: f64,
    pub skip_bad_rows: bool,
    /// Column that says which split a row belongs to, and the value of the rows to evaluate on.
    pub split_column: String,
    pub split_value: String,
    /// `unit`, `signed`, `bytes` or `imagenet`.
    pub image_scale: String,
    pub image_bgr: bool,
    pub image_crop: bool,
}

/// All settings, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub optimizer: OptimizerSettings,
    pub schedule: ScheduleSettings,
    pub training: TrainingSettings,
    pub data: DataSettings,
}

impl Default for Settings {
    fn default() -> Self {
        // The table's own defaults fit the table; a test holds it to that.
        Self::new(Preset::Plain, []).expect("the defaults of the settings table are valid")
    }
}

impl Settings {
    /// The table's defaults, then those of the optimizer, then the preset's, then `pairs`.
    pub fn new<'a>(preset: Preset, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, SettingError> {
        let pairs: Vec<(&str, &str)> = pairs.into_iter().collect();
        let raw = effective(preset, &pairs)?;
        let get = |key: &str| raw.get(key).copied().unwrap_or_default();
        Ok(Self {
            optimizer: optimizer_settings(&get)?,
            schedule: ScheduleSettings {
                info: schedules::find(get("schedule.kind")).ok_or_else(|| SettingError("schedule.kind".into()))?,
                warmup_steps: optional(get("schedule.warmup_steps"))?,
                warmup_fraction: number(get("schedule.warmup_fraction"))?,
                total_steps: optional(get("schedule.total_steps"))?,
                power: number(get("schedule.power"))?,
            },
            training: training_settings(&get)?,
            data: data_settings(&get)?,
        })
    }

    /// Warm-up and total steps of a run of `n_steps`, as the schedule sees them.
    pub fn schedule_span(&self, n_steps: u64) -> (u64, u64) {
        let total = self.schedule.total_steps.unwrap_or(n_steps);
        let fraction = match (self.schedule.info.kind, self.schedule.warmup_fraction) {
            ("one-cycle", 0.0) => 0.3,
            (_, f) => f,
        };
        let warmup = self.schedule.warmup_steps.unwrap_or((fraction * total as f64).round() as u64);
        (warmup, total)
    }

    /// The learning rate of a step (from 0) at peak rate `peak` in a run of `n_steps`.
    pub fn rate(&self, peak: f64, step: u64, n_steps: u64) -> f64 {
        let (warmup_steps, total_steps) = self.schedule_span(n_steps);
        peak * self.schedule.info.factor(&schedules::Position {
            step,
            warmup_steps,
            total_steps,
            power: self.schedule.power,
        })
    }
}

/// The value of every key as text; this is also what a form shows.
pub fn effective<'a>(
    preset: Preset,
    pairs: &[(&'a str, &'a str)],
) -> Result<BTreeMap<&'static str, &'a str>, SettingError> {
    let mut raw: BTreeMap<&'static str, &str> = table::ALL.iter().map(|s| (s.key, s.default)).collect();
    let chosen = |key: &str| pairs.iter().rev().find(|(k, _)| *k == key).map(|(_, v)| *v);
    let preset_kind = preset.values().iter().find(|(k, _)| *k == "optimizer.kind").map(|(_, v)| *v);
    let kind = chosen("optimizer.kind").or(preset_kind).unwrap_or(raw["optimizer.kind"]);
    if let Some(info) = optimizers::find(kind) {
        for (name, value) in info.defaults {
            if let Some(setting) = table::ALL.iter().find(|s| s.key.strip_prefix("optimizer.") == Some(*name)) {
                raw.insert(setting.key, value);
            }
        }
    }
    for (key, value) in preset.values().iter().copied().chain(pairs.iter().copied()) {
        let setting = table::find(key).ok_or_else(|| unknown(key))?;
        setting.check(value)?;
        raw.insert(setting.key, value.trim());
    }
    Ok(raw)
}

fn unknown(key: &str) -> SettingError {
    let last = key.rsplit('.').next().unwrap_or(key);
    let near: Vec<&str> = table::ALL.iter().map(|s| s.key).filter(|k| k.rsplit('.').next() == Some(last)).collect();
    match near.as_slice() {
        [] => SettingError(format!("there is no setting '{key}' (`regraft train --help` lists them)")),
        some => SettingError(format!("there is no setting '{key}'; did you mean {}?", some.join(" or "))),
    }
}

fn optimizer_settings<'a>(get: &impl Fn(&str) -> &'a str) -> Result<OptimizerSettings, SettingError> {
    let list = |s: &str| s.split(',').map(str::trim).filter(|p| !p.is_empty()).map(str::to_owned).collect();
    Ok(OptimizerSettings {
        info: optimizers::find(get("optimizer.kind")).ok_or_else(|| SettingError("optimizer.kind".into()))?,
        lr: number(get("optimizer.lr"))?,
        momentum: number(get("optimizer.momentum"))?,
        nesterov: get("optimizer.nesterov") == "true",
        beta1: number(get("optimizer.beta1"))?,
        beta2: number(get("optimizer.beta2"))?,
        epsilon: number(get("optimizer.epsilon"))?,
        epsilon_hat: get("optimizer.epsilon_hat") == "true",
        weight_decay: number(get("optimizer.weight_decay"))?,
        layer_decay: number(get("optimizer.layer_decay"))?,
        no_decay: list(get("optimizer.no_decay")),
        takes_over: get("optimizer.state") == "file",
    })
}

fn training_settings<'a>(get: &impl Fn(&str) -> &'a str) -> Result<TrainingSettings, SettingError> {
    Ok(TrainingSettings {
        batch: number(get("training.batch"))?,
        epochs: number(get("training.epochs"))?,
        steps: optional(get("training.steps"))?,
        seed: number(get("training.seed"))?,
        accumulate: number(get("training.accumulate"))?,
        shuffle: get("training.shuffle") == "true",
        drop_last: get("training.drop_last") == "true",
        eval_every: optional(get("training.eval_every"))?,
        checkpoint_every: optional(get("training.checkpoint_every"))?,
        keep_checkpoints: number(get("training.keep_checkpoints"))?,
        cache_bytes: number::<usize>(get("training.cache_mb"))?.saturating_mul(1 << 20),
        clip_global_norm: optional::<f64>(get("training.clip_global_norm"))?.filter(|&c| c > 0.0),
        patience: optional(get("training.patience"))?,
        best_metric: get("training.best_metric").to_owned(),
    })
}

fn data_settings<'a>(get: &impl Fn(&str) -> &'a str) -> Result<DataSettings, SettingError> {
    Ok(DataSettings {
        padding: match get("data.padding") {
            "longest" => Padding::Longest,
            "max_length" => Padding::MaxLength,
            _ => Padding::Auto,
        },
        max_length: optional(get("data.max_length"))?,
        split: number(get("data.split"))?,
        buckets: get("data.buckets") == "true",
        mask_rate: number(get("data.mask_rate"))?,
        skip_bad_rows: get("data.bad_rows") == "skip",
        split_column: get("data.split_column").to_owned(),
        split_value: get("data.split_value").to_owned(),
        image_scale: get("data.image_scale").to_owned(),
        image_bgr: get("data.image_order") == "bgr",
        image_crop: get("data.image_fit") == "crop",
    })
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, SettingError> {
    text.parse().map_err(|_| SettingError(format!("'{text}' is not a number of the kind that is wanted here")))
}

fn optional<T: std::str::FromStr>(text: &str) -> Result<Option<T>, SettingError> {
    if text.is_empty() || text == "auto" { Ok(None) } else { number(text).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_fit_their_table() {
        for s in table::ALL {
            s.check(s.default).unwrap();
        }
        let plain = Settings::default();
        assert_eq!(plain.training.clip_global_norm, None);
        assert_eq!(plain.schedule.info.kind, "constant");
        assert_eq!(plain.rate(1.0, 0, 10), 1.0);
        for o in optimizers::ALL {
            Settings::new(Preset::FineTune, [("optimizer.kind", o.kind)]).unwrap();
            for key in o.settings {
                assert!(table::find(&format!("optimizer.{key}")).is_some(), "{key}");
            }
        }
        assert_eq!(Settings::new(Preset::Plain, [("optimizer.kind", "bert-adamw")]).unwrap().optimizer.epsilon, 1e-6);
        assert_eq!(Settings::new(Preset::Plain, [("optimizer.kind", "sgd")]).unwrap().optimizer.lr, 0.01);
    }

    #[test]
    fn wrong_values_name_the_key() {
        let fail = |k, v| Settings::new(Preset::Plain, [(k, v)]).unwrap_err().0;
        assert!(fail("optimizer.beta1", "1.5").contains("optimizer.beta1"));
        assert!(fail("optimizer.kind", "adan").contains("bert-adamw"));
        assert!(fail("training.lr", "1").contains("optimizer.lr"));
        assert!(fail("training.batch", "0").contains("training.batch"));
        assert!(fail("optimizer.no_decay", "(").contains("regex"));
    }

    #[test]
    fn warm_up_follows_the_run() {
        let s = Settings::new(Preset::FineTune, []).unwrap();
        assert_eq!(s.schedule_span(200), (20, 200));
        assert!((s.rate(1.0, 10, 200) - 0.5).abs() < 1e-12);
    }
}
