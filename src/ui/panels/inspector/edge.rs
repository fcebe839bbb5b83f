//! An edge: a value on its way from its producer to its readers; or several that are drawn as one.

use egui::Ui;

use crate::ui::command::Command;
use crate::ui::ctx::{Ctx, Open};
use crate::ui::selection::{How, Target};
use crate::ui::{text, widgets};

use super::{model_ui, node, title};

/// A value on its way from its producer to its readers.
pub(super) fn ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, name: &str) {
    let Some(i) = open.index.node_of_value(name) else { return model_ui(ui, open) };
    let producer = &open.overview.nodes[i];
    title(ui, "Edge", name);
    if let Some(out) = producer.outputs.iter().find(|o| o.name == name).or(producer.outputs.first()) {
        widgets::fact(ui, "Type", &out.dtype);
        widgets::fact(ui, "Shape", &text::shape(out.shape.as_deref()));
        if let Some(bytes) = node::bytes_of(out) {
            widgets::fact_with_exact(ui, "Memory", &text::bytes(bytes), Some(&text::exact(bytes as usize)));
        }
    }
    node::verdict_ui(ui, ctx, &producer.gradient);
    node::links(ui, ctx, open, "PRODUCED BY", &[i]);
    let bare = |n: &str| n.strip_suffix(":0").unwrap_or(n).to_owned();
    let reads = |&r: &usize| open.overview.nodes[r].inputs.iter().any(|input| bare(input) == bare(name));
    let readers: Vec<usize> = open.index.readers[i].iter().copied().filter(reads).collect();
    if readers.is_empty() {
        widgets::note(ui, "Nothing reads it.");
    }
    node::links(ui, ctx, open, "READ BY", &readers);
}

/// Several values between the same two boxes: what flows in all, and each of them.
pub(super) fn several_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, names: &[String]) {
    title(ui, "Edge", &format!("{} values", text::exact(names.len())));
    let row = |name: &String| {
        let node = &open.overview.nodes[open.index.node_of_value(name)?];
        node.outputs.iter().find(|o| o.name == *name).or(node.outputs.first())
    };
    match node::bytes_of_all(names.iter().map(row)) {
        Some(n) => widgets::fact_with_exact(ui, "Memory", &text::bytes(n), Some(&text::exact(n as usize))),
        None => widgets::fact(ui, "Memory", "depends on the batch"),
    };
    widgets::section(ui, "WHAT FLOWS", |ui| {
        for name in names.iter().take(node::MAX_LINKS) {
            if widgets::name_link(ui, name).clicked() {
                ctx.send(Command::Select(Target::Value(name.clone()), How::Replace));
            }
            if let Some(v) = row(name) {
                widgets::fact(ui, &v.dtype, &text::shape(v.shape.as_deref()));
            }
        }
        if names.len() > node::MAX_LINKS {
            widgets::caption(ui, format!("and {} more", names.len() - node::MAX_LINKS));
        }
    });
}
