//! Every decision of the user, small, cloneable and comparable. A session file is a recipe with references.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

pub use crate::autodiff::stand_in::StandIn;
use crate::graph::NodeKey;

use super::select::Selector;

/// The decisions; see the fields. Defaults are what the command line does unasked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "edit", rename_all = "kebab-case")]
pub enum EditStep {
    /// Every reader of the site's output reads its input instead; the site's nodes go.
    BypassDropout { output: String },
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    },
    /// A new head with its loss, grafted on a value.
    Head {
        head: String,
        at: String,
        classes: usize,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        loss: Option<String>,
    },
}

fn default_ignore_label() -> i64 {
    -100
}

/// Where examples come from and how columns become feeds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataChoice {
    /// Path of the training table or `.npz` of feeds, relative to the session file.
    pub train: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<String>,
    /// Columns that hold text (one, or two for pairs).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub text: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// Lower-casing where the tokenizer file does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lower: Option<bool>,
    /// Placeholder → feature (`input_ids`, `input_mask`, `segment_ids`, `label`, or a column).
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub map: IndexMap<String, String>,
    /// What metrics and predictions read where it cannot be guessed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logits: Option<String>,
}

macro_rules! serde_as_text {
    ($t:ty) => {
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
    };
}
pub(super) use serde_as_text;
serde_as_text!(SitePolicy);
