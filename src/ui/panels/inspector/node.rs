//! A node: what it is in the file's words and in ours, what it reads and who reads it, what it costs.

use egui::{RichText, Ui};

use crate::session::overview::ValueRow;
use crate::ui::command::{Action, Command};
use crate::ui::ctx::{Ctx, Open};
use crate::ui::selection::{How, Target};
use crate::ui::state::UiState;
use crate::ui::theme::icons;
use crate::ui::{text, widgets};

use super::{model_ui, title};

/// Names that a list shows.
pub(super) const MAX_LINKS: usize = 24;

pub(super) fn ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, name: &str, state: &mut UiState) {
    let Some(i) = open.index.node_of_value(name) else { return model_ui(ui, open) };
    let node = &open.overview.nodes[i];
    title(ui, "Node", &node.name);
    widgets::fact(ui, "Op", &node.op);
    let details = open.details.get(&node.name);
    if details.is_none() {
        ctx.send(Command::DescribeNode(node.name.clone()));
    }
    for c in details.iter().flat_map(|d| &d.computed_as) {
        widgets::note(ui, format!("{}: {}", c.name, c.summary)).on_hover_text(c.formula);
    }
    verdict_ui(ui, ctx, &node.gradient);
    if let Some(why) = &node.unsupported_reason {
        ui.add_space(4.0);
        ui.add(egui::Label::new(RichText::new(format!("Cannot be computed: {why}")).color(ctx.tokens.error)).wrap());
    }
    if let Some(b) = open.gradients.as_ref().and_then(|g| g.blockers.iter().find(|b| b.node == node.name)) {
        widgets::section(ui, "GRADIENT STOPS HERE", |ui| crate::ui::panels::gradients::blocker_ui(ui, ctx, b));
    }
    super::steer::ui(ui, ctx, open, node, state);
    widgets::section(ui, "OUTPUTS", |ui| {
        for out in &node.outputs {
            if widgets::name_link(ui, &out.name).clicked() {
                ctx.send(Command::Select(Target::Value(out.name.clone()), How::Replace));
            }
            widgets::fact(ui, &out.dtype, &text::shape(out.shape.as_deref()));
        }
    });
    if let Some(d) = details.filter(|d| !d.attributes.is_empty()) {
        widgets::section(ui, "ATTRIBUTES", |ui| {
            for (name, kind, value) in &d.attributes {
                widgets::typed_fact(ui, name, kind, value);
            }
        });
    }
    cost_ui(ui, ctx, open, &node.name, &node.outputs);
    links(ui, ctx, open, "INPUTS", &open.index.inputs[i]);
    links(ui, ctx, open, "READ BY", &open.index.readers[i]);
    if let Some(&s) = open.index.site_of.get(&i) {
        widgets::section(ui, "PART OF A DROPOUT SITE", |ui| {
            let site = &open.overview.dropout[s];
            if widgets::name_link(ui, &site.output).clicked() {
                ctx.send(Command::Select(Target::Site(site.output.clone()), How::Replace));
            }
        });
    }
}

pub(super) fn verdict_ui(ui: &mut Ui, ctx: &Ctx<'_>, verdict: &str) {
    ui.horizontal(|ui| {
        ui.label(RichText::new("Gradient").color(ctx.tokens.text_secondary));
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            widgets::verdict_badge(ui, verdict);
        });
    });
}

/// Time of the last profile and memory of the outputs, where their shapes are known.
fn cost_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, name: &str, outputs: &[ValueRow]) {
    widgets::section(ui, "COST", |ui| {
        match bytes_of_all(outputs.iter().map(Some)) {
            Some(n) => widgets::fact_with_exact(ui, "Memory of its outputs", &text::bytes(n), Some(&n.to_string())),
            None => widgets::fact(ui, "Memory of its outputs", "depends on the batch"),
        };
        let Some(times) = &open.times else {
            let info = Action::MeasureTimes.info();
            let enabled = ctx.is_enabled(Action::MeasureTimes);
            if widgets::text_button_enabled(ui, enabled, icons::GAUGE, info.title).on_hover_text(info.help).clicked() {
                ctx.act(Action::MeasureTimes);
            }
            return;
        };
        // A fused step counts for the last of its nodes.
        let Some(cost) = times.nodes.get(name) else {
            widgets::note(ui, "Nothing in the last profile: it is not run by itself, or part of another step.");
            return;
        };
        let share = text::percent(cost.seconds / times.total.max(1e-12));
        let words = format!("{} ms  ({share})", text::number(cost.seconds * 1e3, 3));
        let exact = format!("{} s of the {} s of one training step, as last measured", cost.seconds, times.total);
        widgets::fact_with_exact(ui, "Time in a step", &words, Some(&exact));
        let exact = format!("{} bytes of results and scratch, forward and backward, as last measured", cost.bytes);
        widgets::fact_with_exact(ui, "Memory in a step", &text::bytes(cost.bytes), Some(&exact));
    });
}

/// Bytes of a value whose shape is known.
pub(super) fn bytes_of(value: &ValueRow) -> Option<u64> {
    let size = crate::tensor::DType::from_name(&value.dtype)?.size() as u64;
    let dims: Option<Vec<u64>> = value.shape.as_ref()?.iter().map(|d| d.map(|d| d as u64)).collect();
    dims?.into_iter().try_fold(size, u64::checked_mul)
}

/// Of several values; `None` where one of them is not known.
pub(super) fn bytes_of_all<'a>(mut values: impl Iterator<Item = Option<&'a ValueRow>>) -> Option<u64> {
    values.try_fold(0, |sum: u64, v| sum.checked_add(bytes_of(v?)?))
}

pub(super) fn links(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, heading: &str, nodes: &[usize]) {
    if nodes.is_empty() {
        return;
    }
    widgets::section(ui, heading, |ui| {
        for &n in nodes.iter().take(MAX_LINKS) {
            let name = &open.overview.nodes[n].name;
            if widgets::name_link(ui, name).clicked() {
                ctx.send(Command::Select(Target::Node(name.clone()), How::Replace));
            }
        }
        if nodes.len() > MAX_LINKS {
            widgets::caption(ui, format!("and {} more", nodes.len() - MAX_LINKS));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_needs_a_whole_shape() {
        let value = |dims: &[Option<usize>]| ValueRow {
            dtype: "float32".to_owned(),
            shape: Some(dims.to_vec()),
            ..ValueRow::default()
        };
        assert_eq!(bytes_of(&value(&[Some(3), Some(4)])), Some(48));
        assert_eq!(bytes_of(&value(&[None, Some(4)])), None);
        let (a, b) = (value(&[Some(3)]), value(&[]));
        assert_eq!(bytes_of_all([Some(&a), Some(&b)].into_iter()), Some(16));
        assert_eq!(bytes_of_all([Some(&a), None].into_iter()), None);
        assert_eq!(bytes_of(&value(&[Some(usize::MAX), Some(4)])), None, "no overflow");
    }
}
