//! Writes the model: where, with dropout or without, and what came out.

use std::path::PathBuf;

use egui::{RichText, Ui};

use crate::ui::command::Command;
use crate::ui::ctx::{Ctx, ExportRequest, Open};
use crate::ui::state::UiState;
use crate::ui::theme::{self, icons};
use crate::ui::{text, widgets};

pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, state: &mut UiState) {
    let Some(open) = ctx.open else { return super::no_model(ui) };
    egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        ui.set_max_width(ui.available_width().min(560.0));
        widgets::section(ui, "WHAT", |ui| what_ui(ui, ctx, open));
        widgets::section(ui, "WHERE", |ui| where_ui(ui, ctx, open, state));
    });
}

fn what_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open) {
    let run = ctx.run.filter(|r| r.step > 0);
    match run {
        Some(r) => widgets::fact(ui, "Values", &format!("of {} at step {}", r.name, text::exact(r.step))),
        None => widgets::fact(ui, "Values", "as in the file; nothing was trained yet"),
    };
    let removed = open.recipe().edits.iter().filter(|e| e.enabled).count();
    widgets::fact(ui, "Edits", &text::plural(removed, "adjustment", "adjustments"));
    widgets::fact(ui, "Dropout sites", &text::exact(open.overview.dropout.len()));
    let adapters = |e: &&crate::session::EditEntry| e.enabled && matches!(e.step, crate::session::EditStep::Lora(_));
    if open.recipe().edits.iter().any(|e| adapters(&e)) {
        widgets::fact(ui, "Low-rank adapters", "merged into their weights");
    }
    let head = |e: &crate::session::EditEntry| e.enabled && matches!(e.step, crate::session::EditStep::GraftHead(_));
    if open.recipe().edits.iter().any(head) {
        widgets::fact(ui, "Grafted head", "included");
    }
}

fn where_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, state: &mut UiState) {
    let path_key = "export-path";
    let suggested = suggested_path(open);
    let mut path = state.drafts.get(path_key).cloned().unwrap_or(suggested);
    ui.horizontal(|ui| {
        let label = ui.label("File");
        let edit = egui::TextEdit::singleline(&mut path)
            .font(theme::mono(theme::BODY))
            .desired_width(ui.available_width() - 120.0);
        let r = ui.add(edit).labelled_by(label.id);
        if r.changed() {
            state.drafts.insert(path_key.to_owned(), path.clone());
        }
        if widgets::text_button(ui, icons::OPEN, "Choose…").clicked() {
            ctx.send(Command::PickExport);
        }
    });
    if let Some(new) = format_ui(ui, open, &path) {
        state.drafts.insert(path_key.to_owned(), new);
    }
    widgets::caption(
        ui,
        "The model's own format under its own kind of name; .pb freezes any TensorFlow source; .safetensors and .npz hold the weights alone.",
    );
    let mut keep = state.drafts.get("export-keep").is_some_and(|k| k == "true");
    if ui.checkbox(&mut keep, "Keep dropout nodes in the graph").changed() {
        state.drafts.insert("export-keep".to_owned(), keep.to_string());
    }
    let mut verify = state.drafts.get("export-verify").is_none_or(|v| v == "true");
    if ui.checkbox(&mut verify, "Read it back and compare outputs before it counts as done").changed() {
        state.drafts.insert("export-verify".to_owned(), verify.to_string());
    }
    ui.add_space(theme::RELATED);
    let is_busy = ctx.jobs.iter().any(|j| j.title.starts_with("Exporting"));
    ui.horizontal(|ui| {
        if widgets::primary_button(ui, icons::EXPORT, "Export model", !is_busy && !path.trim().is_empty()).clicked() {
            let to = PathBuf::from(path.trim());
            ctx.send(Command::Export(ExportRequest { to, keep_dropout: keep, verify }));
        }
        if is_busy {
            ui.spinner();
            ui.label("Exporting");
        }
    });
    if let Some(result) = state.drafts.get("export-result") {
        ui.add_space(theme::RELATED);
        ui.add(egui::Label::new(RichText::new(result)).wrap());
    }
}

/// Kinds of file that can be written, with what tells them apart; the first is the model's own.
fn kinds(open: &Open) -> Vec<(&'static str, String)> {
    let own = open.path.extension().map_or_else(String::new, |e| e.to_string_lossy().into_owned());
    let mut out = vec![("As the file", own.clone())];
    if open.overview.format.starts_with("tensorflow") && own != "pb" {
        out.push(("Frozen graph", "pb".to_owned()));
    }
    out.extend([("Weights, safetensors", "safetensors".to_owned()), ("Weights, NumPy", "npz".to_owned())]);
    out
}

/// Which kind of file is written; the path with its extension where another was chosen.
fn format_ui(ui: &mut Ui, open: &Open, path: &str) -> Option<String> {
    let mut new = None;
    let now = std::path::Path::new(path).extension().map_or_else(String::new, |e| e.to_string_lossy().into_owned());
    ui.horizontal_wrapped(|ui| {
        ui.label("Kind");
        for (name, extension) in kinds(open) {
            let is_on = now == extension;
            let r = ui.selectable_label(is_on, name);
            r.widget_info(|| egui::WidgetInfo::selected(egui::Role::RadioButton, true, is_on, name));
            if r.clicked() && !is_on {
                let changed = PathBuf::from(path).with_extension(&extension);
                new = Some(changed.to_string_lossy().into_owned());
            }
        }
    });
    new
}

/// Beside the model, with `-tuned` before its extension.
fn suggested_path(open: &Open) -> String {
    let stem = open.path.file_stem().map_or_else(|| "model".to_owned(), |s| s.to_string_lossy().into_owned());
    let extension = open.path.extension().map_or_else(|| "pb".to_owned(), |e| e.to_string_lossy().into_owned());
    open.path.with_file_name(format!("{stem}-tuned.{extension}")).to_string_lossy().into_owned()
}
