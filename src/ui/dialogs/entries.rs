//! Which meta graph and signature of a file is meant, where it has several.

use egui::{RichText, Role, Ui, WidgetInfo};

use crate::formats::EntryPoint;
use crate::session::Change;
use crate::ui::command::Command;
use crate::ui::ctx::Ctx;
use crate::ui::theme::{self, icons};
use crate::ui::{text, widgets};

use super::{cancel, heading};

/// Names of inputs or outputs that are listed; of the rest there is a count.
const MAX_NAMES: usize = 4;

/// `marked` is the choice of the entry that is marked.
pub(super) fn ui(ui: &mut Ui, ctx: &Ctx<'_>, marked: &mut String) {
    heading(ui, "Which signature?");
    let Some(open) = ctx.open else { return };
    widgets::note(ui, "This file has several entry points. What is not chosen stays in the file untouched.");
    ui.add_space(theme::RELATED);
    egui::ScrollArea::vertical().max_height(320.0).show(ui, |ui| {
        for entry in open.entries.iter() {
            entry_ui(ui, ctx, entry, marked);
        }
    });
    ui.add_space(theme::GROUPS);
    ui.horizontal(|ui| {
        if widgets::answer_button(ui, icons::CHECK, "Use this signature", true).clicked() {
            let is_default = open.entries.iter().any(|e| e.is_default && e.choice == *marked);
            let choice = (!is_default).then(|| marked.clone());
            if open.recipe().signature != choice {
                ctx.change(Change::SetSignature(choice));
            }
            ctx.send(Command::CloseDialog);
        }
        cancel(ui, ctx);
    });
}

fn entry_ui(ui: &mut Ui, ctx: &Ctx<'_>, entry: &EntryPoint, marked: &mut String) {
    let is_on = *marked == entry.choice;
    let usual = if entry.is_default { ", the file's default" } else { "" };
    let words = format!("{}{usual}", entry.words());
    let r = ui.add(egui::RadioButton::new(is_on, &words));
    r.widget_info(|| WidgetInfo::selected(Role::RadioButton, true, is_on, &words));
    if r.clicked() {
        marked.clone_from(&entry.choice);
    }
    for (label, names) in [("in", &entry.inputs), ("out", &entry.outputs)] {
        if names.is_empty() {
            continue;
        }
        ui.horizontal(|ui| {
            ui.add_space(22.0);
            ui.label(RichText::new(label).size(theme::CAPTION).color(ctx.tokens.text_secondary));
            let mut shown = names.iter().take(MAX_NAMES).cloned().collect::<Vec<_>>().join(", ");
            if names.len() > MAX_NAMES {
                shown.push_str(&format!(" and {} more", text::exact(names.len() - MAX_NAMES)));
            }
            widgets::name_label_colored(ui, &shown, ctx.tokens.text_secondary).on_hover_text(names.join("\n"));
        });
    }
    ui.add_space(4.0);
}
