//! What the colours of cards say: the choice, its legend, and the family of an op.

use egui::{Color32, Sense, Ui, vec2};

use crate::ui::ctx::Ctx;
use crate::ui::widgets;

/// What the colours of cards say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorMode {
    #[default]
    Kind,
    Trainable,
    Gradient,
}

impl ColorMode {
    const ALL: [Self; 3] = [Self::Kind, Self::Trainable, Self::Gradient];

    fn title(self) -> &'static str {
        match self {
            Self::Kind => "Colour by kind",
            Self::Trainable => "Colour by what trains",
            Self::Gradient => "Colour by gradient",
        }
    }
}

/// The choice of colours with its legend.
pub fn color_mode_ui(ui: &mut Ui, ctx: &Ctx<'_>, mode: &mut ColorMode) {
    egui::ComboBox::from_id_salt("color-mode")
        .width(150.0)
        .selected_text(mode.title())
        .show_ui(ui, |ui| {
            for m in ColorMode::ALL {
                ui.selectable_value(mode, m, m.title());
            }
        })
        .response
        .accessible_name("Colours of the graph");
    let t = ctx.tokens;
    let entries: Vec<(&str, Color32)> = match mode {
        ColorMode::Kind => FAMILIES.iter().enumerate().map(|(i, f)| (*f, t.families[i])).collect(),
        ColorMode::Trainable => vec![("trains", t.trainable), ("frozen", t.frozen)],
        ColorMode::Gradient => {
            vec![("flows", t.flows), ("zero or stopped", t.zero), ("blocked", t.blocked), ("off path", t.frozen)]
        }
    };
    let room = ui.available_width();
    let mut used = 0.0;
    for (name, color) in entries {
        used += name.chars().count() as f32 * 6.0 + 24.0;
        if used > room {
            break;
        }
        let (rect, _) = ui.allocate_exact_size(vec2(8.0, 8.0), Sense::hover());
        ui.painter().rect_filled(rect, 2.0, color);
        ui.spacing_mut().item_spacing.x = 4.0;
        widgets::caption(ui, name);
        ui.add_space(4.0);
    }
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
