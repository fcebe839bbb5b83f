//! What the colours of cards say: the choice, its legend, and the family of an op.

use crate::ui::ctx::Open;
use crate::ui::run_view::RunView;

/// What the colours of cards say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorMode {
    #[default]
    Kind,
    Role,
    Trainable,
    Gradient,
    /// Measured while a run goes on.
    Norm,
    Ratio,
    /// Share of a training step, from the last profile.
    Time,
    Memory,
}

impl ColorMode {
    pub const ALL: [Self; 8] =
        [Self::Kind, Self::Role, Self::Trainable, Self::Gradient, Self::Norm, Self::Ratio, Self::Time, Self::Memory];

    pub fn title(self) -> &'static str {
        match self {
            Self::Kind => "Colour by kind",
            Self::Role => "Colour by role",
            Self::Trainable => "Colour by what trains",
            Self::Gradient => "Colour by gradient",
            Self::Norm => "Colour by gradient norm",
            Self::Ratio => "Colour by update ratio",
            Self::Time => "Colour by time",
            Self::Memory => "Colour by memory",
        }
    }

    /// What the number of a card is, where the mode has numbers.
    pub fn quantity(self) -> Option<&'static str> {
        match self {
            Self::Norm => Some("gradient norm"),
            Self::Ratio => Some("update / weight"),
            Self::Time => Some("share of the step"),
            Self::Memory => Some("bytes of outputs"),
            _ => None,
        }
    }

    /// What to do where nothing was measured yet; `None` where there is something to show.
    pub fn missing(self, open: &Open, run: Option<&RunView>) -> Option<&'static str> {
        let has_weights = run.is_some_and(|r| !r.weights.is_empty());
        match self {
            Self::Norm | Self::Ratio if !has_weights => Some("Measured while a run goes on: start training"),
            Self::Time if open.times.is_none() => Some("Not measured yet: Train > Measure time per node"),
            _ => None,
        }
    }
}

/// Roles of constants in the order of the series colours.
pub const ROLES: [&str; 7] =
    ["matrix weight", "filter", "embedding", "bias", "norm scale", "norm statistic", "mask, scalar or shape"];

/// The colour of a role, as an index into [`ROLES`].
pub fn role(role: &str) -> Option<usize> {
    Some(match role {
        "matmul-weight" => 0,
        "conv-filter" => 1,
        "embedding" => 2,
        "bias" | "norm-shift" => 3,
        "norm-scale" => 4,
        "norm-statistic" => 5,
        "mask" | "scalar" | "shape" => 6,
        _ => return None,
    })
}

pub const FAMILIES: [&str; 10] = [
    "linear algebra",
    "convolution",
    "normalisation",
    "activation",
    "shape",
    "index",
    "control",
    "random",
    "element-wise",
    "input or output",
];

/// The family of an op in a file's own words, as an index into the family colours.
pub fn family(op: &str) -> usize {
    let has = |words: &[&str]| words.iter().any(|w| op.contains(w));
    if op.starts_with("Placeholder") || has(&["Const", "Iterator", "Variable"]) {
        9
    } else if has(&["MatMul", "Gemm", "Einsum"]) {
        0
    } else if has(&["Conv", "Pool"]) {
        1
    } else if has(&["Norm", "Softmax", "Rsqrt", "SquaredDifference"]) {
        2
    } else if has(&["Relu", "Gelu", "Tanh", "Erf", "Sigmoid", "Elu", "Selu", "Swish", "CrossEntropy"]) {
        3
    } else if has(&["Random", "Dropout", "Multinomial"]) {
        7
    } else if has(&[
        "Reshape",
        "Transpose",
        "Shape",
        "ExpandDims",
        "Squeeze",
        "Tile",
        "Fill",
        "Pack",
        "Concat",
        "Split",
        "Rank",
        "Size",
        "Flatten",
    ]) {
        4
    } else if has(&["Gather", "Slice", "OneHot", "Scatter", "Range", "Where", "ArgMax", "TopK"]) {
        5
    } else if has(&[
        "Switch",
        "Merge",
        "If",
        "While",
        "Enter",
        "Exit",
        "NextIteration",
        "LoopCond",
        "PartitionedCall",
        "NoOp",
        "Assert",
    ]) {
        6
    } else {
        8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ops_find_their_family() {
        for (op, want) in [
            ("MatMul", 0),
            ("Conv2D", 1),
            ("FusedBatchNormV3", 2),
            ("Relu", 3),
            ("Reshape", 4),
            ("GatherV2", 5),
            ("Merge", 6),
            ("RandomUniform", 7),
            ("AddV2", 8),
            ("Placeholder", 9),
        ] {
            assert_eq!(FAMILIES[family(op)], FAMILIES[want], "{op}");
        }
    }
}
