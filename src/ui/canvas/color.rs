//! What the colours of cards say: the choice, its legend, and the family of an op.

use crate::ui::ctx::Open;
use crate::ui::run_view::RunView;
use crate::ui::text;

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
    /// Of a training step, from the last profile; before one, what the shapes say.
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
    pub fn quantity(self, open: &Open) -> Option<Quantity> {
        match self {
            Self::Norm => Some(Quantity::Norm),
            Self::Ratio => Some(Quantity::Ratio),
            Self::Time => Some(Quantity::Time),
            Self::Memory if open.times.is_some() => Some(Quantity::Memory),
            Self::Memory => Some(Quantity::OutputBytes),
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

/// A number that colours stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    Norm,
    Ratio,
    Time,
    /// Measured.
    Memory,
    /// Not measured: the shapes of the outputs.
    OutputBytes,
}

impl Quantity {
    pub fn words(self) -> &'static str {
        match self {
            Self::Norm => "Gradient norm",
            Self::Ratio => "Update / weight",
            Self::Time => "Share of the step",
            Self::Memory => "Memory in a step, as measured",
            Self::OutputBytes => "Memory of outputs, by their shapes",
        }
    }

    /// One of its numbers.
    pub fn amount(self, v: f64) -> String {
        match self {
            Self::Norm | Self::Ratio => text::number(v, 3),
            Self::Time => text::percent(v),
            Self::Memory | Self::OutputBytes => text::bytes(v as u64),
        }
    }

    /// What the legend does not say.
    pub fn help(self) -> &'static str {
        match self {
            Self::Norm => "Norm of the newest gradient of a weight; of a box, that of all its weights together",
            Self::Ratio => "Norm of the newest update over the norm of the weight; of a box, the largest inside",
            Self::Time => "Forward and backward, as last measured; a fused step counts for the last of its nodes",
            Self::Memory => "Results and scratch, forward and backward, as last measured; of a box, the sum",
            Self::OutputBytes => {
                "Not measured: sizes that the file leaves open count as one. Train > Measure time per node measures it"
            }
        }
    }
}

/// Roles of constants in the order of the series colours.
pub const ROLES: [&str; 7] =
    ["Matrix weight", "Filter", "Embedding", "Bias", "Norm scale", "Norm statistic", "Mask, scalar or shape"];

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
    "Linear algebra",
    "Convolution",
    "Normalisation",
    "Activation",
    "Shape",
    "Index",
    "Control",
    "Random",
    "Element-wise",
    "Input or output",
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
