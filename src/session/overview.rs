//! What a model is, as plain data: one row per node, constant, placeholder and dropout site. `inspect --json` prints it,
//! the window's tables show it.

use serde::Serialize;

use crate::base::Diagnostic;
use crate::formats::EntryPoint;

use super::select::Candidate;

/// Unknown dimensions are `None`; a shape of unknown rank is `None` as a whole.
pub type ShapeRow = Option<Vec<Option<usize>>>;

#[derive(Clone, Debug, Default, Serialize)]
pub struct Overview {
    pub file: String,
    pub format: String,
    pub producer: String,
    pub bytes: u64,
    pub signatures: Vec<SignatureRow>,
    /// The ways into the file: meta graphs with their signatures, as `--signature` takes them.
    pub entry_points: Vec<EntryPoint>,
    pub nodes: Vec<NodeRow>,
    pub constants: Vec<ConstantRow>,
    pub placeholders: Vec<ValueRow>,
    pub dropout: Vec<SiteRow>,
    pub counts: Counts,
    pub functions: Vec<FunctionRow>,
    pub diagnostics: Vec<Diagnostic>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct SignatureRow {
    pub name: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ValueRow {
    pub name: String,
    pub dtype: String,
    pub shape: ShapeRow,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct NodeRow {
    pub name: String,
    pub op: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<ValueRow>,
    /// Whether it can be computed.
    pub supported: bool,
    /// Why not, where it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsupported_reason: Option<String>,
    /// `check`'s verdict.
    pub gradient: String,
    /// Why it is no part of the model itself (`saver`, `optimizer`, …).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leftover: Option<&'static str>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct ConstantRow {
    pub name: String,
    pub dtype: String,
    pub shape: ShapeRow,
    pub elements: usize,
    pub bytes: usize,
    /// `train` or `keep`.
    pub suggest: String,
    pub role: String,
    pub reason: String,
    /// Whether the recipe trains it.
    pub trainable: bool,
    /// `check`'s verdict.
    pub gradient: String,
    /// How many layers it is away from the output, for choices by layer: 0 behind the last one, 1 in the last.
    #[serde(skip)]
    pub from_top: Option<usize>,
    /// Whether it belongs to a head.
    #[serde(skip)]
    pub is_head: bool,
}

impl ConstantRow {
    /// What selectors look at.
    pub fn candidate(&self) -> Candidate<'_> {
        Candidate {
            name: &self.name,
            is_float: self.dtype.contains("float") || self.dtype == "half",
            elements: self.elements,
            role: &self.role,
            suggested: self.suggest == "train",
            from_top: self.from_top,
            is_head: self.is_head,
        }
    }
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct SiteRow {
    pub output: String,
    pub input: String,
    /// Probability of dropping; `None` where it is fed or computed.
    pub rate: Option<f64>,
    pub variant: String,
    pub predicate: Option<String>,
    pub nodes: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct FunctionRow {
    pub name: String,
    pub nodes: usize,
    pub constants: Vec<ConstantRow>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub nodes: usize,
    pub constants: usize,
    pub float_constants: usize,
    pub suggested_trainable: usize,
    pub suggested_parameters: usize,
    pub trainable: usize,
    pub trainable_parameters: usize,
    /// Nodes that are left over from training and saving; among `nodes`.
    pub leftovers: usize,
}
