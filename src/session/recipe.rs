//! Every decision of the user, small, cloneable and comparable. A session file is a recipe with references.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::autodiff::stand_in::StandIn;
use crate::edits::heads::HeadChoice;
use crate::graph::NodeKey;
use crate::train::losses::LossOptions;

use super::select::Selector;
use super::weights::WeightsChoice;

/// The decisions; see the fields. Defaults are what the command line does unasked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// Which entry point of a file that holds several; `None` is the file's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// Pinned shapes of placeholders: name → dimensions.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub shapes: IndexMap<String, Vec<usize>>,
    /// Placeholders pinned to a constant: name → number (booleans as 0 and 1).
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub pins: IndexMap<String, f64>,
    /// What would be exported differently from the file, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<EditEntry>,
    pub trainable: TrainableChoice,
    /// Parameters with their own learning rate and decay.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<ParameterGroup>,
    pub dropout: DropoutChoice,
    /// Gradient stand-ins: node name → what its gradient becomes.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub stand_ins: IndexMap<String, StandIn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<DataChoice>,
    /// Settings that differ from their defaults, by the keys of `--set` (`optimizer.lr`, `training.epochs`, …).
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub settings: IndexMap<String, String>,
}

impl Recipe {
    /// The stand-ins as differentiation takes them.
    pub fn stand_in_map(&self) -> HashMap<NodeKey, StandIn> {
        self.stand_ins.iter().map(|(node, s)| (NodeKey::new(node), *s)).collect()
    }
}

/// Which constants train: those that an `include` selector names and no `exclude` selector does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrainableChoice {
    pub include: Vec<Selector>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<Selector>,
}

impl Default for TrainableChoice {
    fn default() -> Self {
        Self { include: vec![Selector::Suggested], exclude: Vec::new() }
    }
}

/// One adjustment of the exported graph, which can be switched off and annotated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EditEntry {
    #[serde(flatten)]
    pub step: EditStep,
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub enabled: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde asks for
fn is_yes(b: &bool) -> bool {
    *b
}

/// What an edit does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "edit", rename_all = "kebab-case")]
pub enum EditStep {
    /// Every reader of the site's output reads its input instead; the site's nodes go.
    BypassDropout { output: String },
    /// Every reader of the node's output reads its first input of the same element type and shape; the node goes.
    Bypass { node: String },
    /// New nodes that compute predictions from a value, with weights of their own.
    GraftHead(HeadChoice),
    /// Sizes that the file fixes become free, in placeholders and in the constants that repeat them.
    Unbake(UnbakeChoice),
    /// Low-rank adapters beside matrix weights (Hu et al. 2021); exported merged into the weights.
    Lora(LoraChoice),
    /// Constants take the values of another file's arrays, by name.
    LoadWeights(WeightsChoice),
}

impl EditStep {
    /// What lists call it: the kind and what it is about.
    pub fn label(&self) -> (&'static str, String) {
        match self {
            Self::BypassDropout { output } => ("Remove dropout", output.clone()),
            Self::Bypass { node } => ("Bypass", node.clone()),
            Self::GraftHead(head) => {
                let at = head.at.as_deref().map(|at| format!(" on {at}")).unwrap_or_default();
                ("Graft head", format!("{} {}{at}", head.name, head.kind))
            }
            Self::Unbake(sizes) => ("Un-bake", sizes.words().join(" and ")),
            Self::Lora(lora) => {
                let weights: Vec<String> = lora.weights.iter().map(Selector::to_string).collect();
                ("LoRA", format!("rank {} on {}", lora.rank, weights.join(", ")))
            }
            Self::LoadWeights(weights) => ("Load weights", weights.file.clone()),
        }
    }
}

/// Which fixed sizes become free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnbakeChoice {
    /// Axis 0 of the placeholders.
    #[serde(default = "yes")]
    pub batch: bool,
    /// Axis 1 of the placeholders that have the common length there.
    #[serde(default = "yes")]
    pub length: bool,
}

impl UnbakeChoice {
    pub fn words(&self) -> Vec<&'static str> {
        [(self.batch, "batch"), (self.length, "length")].iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect()
    }
}

impl FromStr for UnbakeChoice {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let mut out = Self { batch: false, length: false };
        for word in s.split(',').map(str::trim) {
            match word {
                "batch" => out.batch = true,
                "length" => out.length = true,
                _ => {
                    return Err(format!("{word:?} is no size that can be un-baked: use batch, length or batch,length"));
                }
            }
        }
        Ok(out)
    }
}

/// Adapters: y = x·W + alpha / rank · dropout(x)·A·B, where A and B train and W does not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoraChoice {
    /// Which matrix weights get one.
    #[serde(default = "matmul_weights")]
    pub weights: Vec<Selector>,
    #[serde(default = "default_rank")]
    pub rank: usize,
    #[serde(default = "default_alpha")]
    pub alpha: f64,
    /// Share of the adapter's input that is dropped while training.
    #[serde(default)]
    pub dropout: f64,
    #[serde(default)]
    pub seed: u64,
}

fn matmul_weights() -> Vec<Selector> {
    vec![Selector::Role("matmul-weight".to_owned())]
}

fn default_rank() -> usize {
    8
}

fn default_alpha() -> f64 {
    16.0
}

impl Default for LoraChoice {
    fn default() -> Self {
        Self { weights: matmul_weights(), rank: default_rank(), alpha: default_alpha(), dropout: 0.0, seed: 0 }
    }
}

/// Parameters with a rate and a decay of their own; the first group that names a parameter has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParameterGroup {
    pub select: Vec<Selector>,
    /// Peak learning rate; the run's own where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// Factor on the learning rate, besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr_factor: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
}

/// What happens at a recognised dropout site.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum SitePolicy {
    /// Active in training at the file's rate, absent in evaluation.
    #[default]
    Train,
    /// Active in training at this rate, absent in evaluation.
    Rate(f64),
    Off,
    /// The graph exactly as it stands, in both modes.
    AsInFile,
}

impl fmt::Display for SitePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Train => f.write_str("train"),
            Self::Rate(r) => write!(f, "rate={r}"),
            Self::Off => f.write_str("off"),
            Self::AsInFile => f.write_str("as-in-file"),
        }
    }
}

impl FromStr for SitePolicy {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "train" => Ok(Self::Train),
            "off" => Ok(Self::Off),
            "as-in-file" => Ok(Self::AsInFile),
            _ => s
                .strip_prefix("rate=")
                .and_then(|r| r.parse::<f64>().ok())
                .filter(|r| (0.0..1.0).contains(r))
                .map(Self::Rate)
                .ok_or_else(|| {
                    format!("{s:?} is not a dropout policy: use train, off, as-in-file or rate=R with 0 ≤ R < 1")
                }),
        }
    }
}

/// Dropout policy for all sites, with exceptions by the site's output name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DropoutChoice {
    pub default: SitePolicy,
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub sites: IndexMap<String, SitePolicy>,
}

impl DropoutChoice {
    /// What happens at the site with this output (`:0` may be left out).
    pub fn policy(&self, output: &str) -> SitePolicy {
        let bare = |n: &str| n.strip_suffix(":0").unwrap_or(n).to_owned();
        let own = self.sites.iter().find(|(name, _)| bare(name) == bare(output));
        own.map_or(self.default, |(_, policy)| *policy)
    }
}

/// What training minimises.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Objective {
    /// A scalar that is in the graph.
    Value { loss: String },
    /// A loss put on an existing output; `labels` becomes a placeholder that feeds fill.
    Attached {
        loss: String,
        on: String,
        labels: String,
        #[serde(default = "default_ignore_label")]
        ignore_label: i64,
        #[serde(default, skip_serializing_if = "is_default")]
        options: LossOptions,
    },
    /// The loss of a grafted head (an edit of the recipe). Without any objective, the newest head has its usual loss.
    Head {
        /// The head's name.
        #[serde(default = "default_head")]
        head: String,
        /// The kind of loss, where the usual one is not wanted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        loss: Option<String>,
        /// Name of the placeholder for the labels; `<head>/labels` unasked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        labels: Option<String>,
        #[serde(default = "default_ignore_label")]
        ignore_label: i64,
        #[serde(default, skip_serializing_if = "is_default")]
        options: LossOptions,
    },
}

fn default_head() -> String {
    "head".to_owned()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Labels with this value count for nothing, where nothing else is said.
pub const IGNORE_LABEL: i64 = -100;

fn default_ignore_label() -> i64 {
    IGNORE_LABEL
}

/// Where examples come from and how columns become feeds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DataChoice {
    /// Path of the training data (table, labelled sequences, arrays, image folder), relative to the session file.
    pub train: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<String>,
    /// File with the classes in their order, one a line; without it they are counted in the training data and sorted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// Columns that hold text (one, or two for pairs).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub text: Vec<String>,
    /// Column with the label, several separated by commas (numbers, or marks of 0 and 1), or the name of an array.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// Lower-casing where the tokenizer file does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lower: Option<bool>,
    /// Placeholder → feature (`input_ids`, `input_mask`, `segment_ids`, `image`, `label`, or a column or array).
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub map: IndexMap<String, String>,
    /// What metrics and predictions read where it cannot be guessed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logits: Option<String>,
}

impl DataChoice {
    /// Every path that it names.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let others = [&mut self.validation, &mut self.labels, &mut self.tokenizer];
        std::iter::once(&mut self.train).chain(others.into_iter().flatten())
    }
}

macro_rules! serde_as_text {
    ($t:ty, $help:literal) => {
        impl Serialize for $t {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $t {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $t {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($t).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "description": $help })
            }
        }
    };
}
pub(super) use serde_as_text;
serde_as_text!(SitePolicy, "train, off, as-in-file, or rate=R with 0 ≤ R < 1");
