//! Writes the model: whose values, in which kind of file, with dropout or without, and what came out.

use std::path::{Path, PathBuf};

use egui::{RichText, Ui};

use crate::formats::targets::{self, Target, TargetKind};
use crate::session::EditStep;
use crate::ui::command::Command;
use crate::ui::ctx::{Ctx, ExportRequest, Open};
use crate::ui::state::UiState;
use crate::ui::theme::{self, icons};
use crate::ui::{text, widgets};

pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, state: &mut UiState) {
    let Some(open) = ctx.open else { return super::no_model(ui) };
    egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        ui.set_max_width(ui.available_width().min(560.0));
        widgets::section(ui, "WHAT", |ui| what_ui(ui, ctx, open, state));
        widgets::section(ui, "WHERE", |ui| where_ui(ui, ctx, open, state));
    });
}

fn what_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, state: &mut UiState) {
    values_ui(ui, open, state);
    if let Some(r) = ctx.run.filter(|r| r.state.is_active()) {
        widgets::note(ui, format!("{} is in progress: what counts is its last checkpoint.", r.name));
    }
    let enabled = |is: fn(&EditStep) -> bool| open.recipe().edits.iter().any(|e| e.enabled && is(&e.step));
    let n_edits = open.recipe().edits.iter().filter(|e| e.enabled).count();
    widgets::fact(ui, "Edits", &text::plural(n_edits, "adjustment", "adjustments"));
    widgets::fact(ui, "Dropout sites", &text::exact(open.overview.dropout.len()));
    if enabled(|s| matches!(s, EditStep::Lora(_))) {
        widgets::fact(ui, "Low-rank adapters", "merged into their weights");
    }
}

/// Draft of whose values are written: empty for the file's own, else the run's folder, `best` before it where meant.
const VALUES: &str = "export-values";
const BEST: &str = "best ";

/// A choice of values: what it is called, the draft that stands for it.
fn value_choices(open: &Open) -> Vec<(String, String)> {
    let mut out = vec![("As in the file".to_owned(), String::new())];
    for r in open.runs.iter().filter(|r| r.can_resume) {
        let folder = r.folder.to_string_lossy();
        out.push((format!("{}, last checkpoint", r.name), folder.clone().into_owned()));
        if r.has_best {
            out.push((format!("{}, best checkpoint", r.name), format!("{BEST}{folder}")));
        }
    }
    out
}

/// The chosen values among those that there are; without a choice the newest run's, whose tuning is the point of it.
fn chosen_values(choices: &[(String, String)], draft: Option<&String>) -> usize {
    let newest = || choices.iter().rposition(|(_, key)| !key.starts_with(BEST)).unwrap_or(0);
    draft.and_then(|d| choices.iter().position(|(_, key)| key == d)).unwrap_or_else(newest)
}

fn values_of(key: &str) -> Option<(PathBuf, bool)> {
    let (folder, is_best) = key.strip_prefix(BEST).map_or((key, false), |k| (k, true));
    (!folder.is_empty()).then(|| (PathBuf::from(folder), is_best))
}

fn values_ui(ui: &mut Ui, open: &Open, state: &mut UiState) {
    let choices = value_choices(open);
    let now = chosen_values(&choices, state.drafts.get(VALUES));
    if choices.len() == 1 {
        widgets::fact(ui, "Values", "as in the file; no run has a checkpoint");
        return;
    }
    ui.horizontal(|ui| {
        ui.label("Values");
        let combo = egui::ComboBox::from_id_salt(VALUES).width(220.0).selected_text(&choices[now].0);
        let r = combo.show_ui(ui, |ui| {
            for (i, (name, key)) in choices.iter().enumerate() {
                if ui.selectable_label(i == now, name).clicked() {
                    state.drafts.insert(VALUES.to_owned(), key.clone());
                }
            }
        });
        r.response.accessible_name("Values that are written");
    });
}

fn where_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, state: &mut UiState) {
    let path_key = "export-path";
    let mut path = state.drafts.get(path_key).cloned().unwrap_or_else(|| suggested_export(open));
    if let Some(new) = kinds_ui(ui, open, &path) {
        path.clone_from(&new);
        state.drafts.insert(path_key.to_owned(), new);
    }
    ui.add_space(theme::RELATED);
    ui.horizontal(|ui| {
        let label = ui.label("Path");
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
    let target = chosen(&open.targets, Path::new(&path));
    let is_weights = target.is_some_and(|t| matches!(t.kind, TargetKind::Safetensors | TargetKind::Npz));
    let mut flag = |ui: &mut Ui, key: &str, words: &str, default: bool| {
        let mut on = state.drafts.get(key).map_or(default, |v| v == "true");
        if ui.checkbox(&mut on, words).changed() {
            state.drafts.insert(key.to_owned(), on.to_string());
        }
        on
    };
    let (mut keep_dropout, mut with_heads, mut all_weights, mut verify) = (false, true, false, true);
    let has_head = open.recipe().edits.iter().any(|e| e.enabled && matches!(e.step, EditStep::GraftHead(_)));
    if is_weights {
        all_weights = flag(ui, "export-all", "All weights, not only the tuned ones", false);
    } else {
        keep_dropout = flag(ui, "export-keep", "Keep dropout nodes in the graph", false);
        if has_head {
            with_heads = flag(ui, "export-heads", "Include the grafted head", true);
        }
        verify = flag(ui, "export-verify", "Read it back and compare outputs before it counts as done", true);
    }
    let why_not = target.and_then(|t| t.why_not.as_ref());
    if let Some(why) = why_not {
        widgets::message(ui, crate::base::Severity::Warning, why);
    }
    ui.add_space(theme::RELATED);
    let is_busy = ctx.jobs.iter().any(|j| j.title.starts_with("Exporting"));
    let can = !is_busy && !path.trim().is_empty() && why_not.is_none();
    ui.horizontal(|ui| {
        if widgets::primary_button(ui, icons::EXPORT, "Export model", can).clicked() {
            let choices = value_choices(open);
            let values = values_of(&choices[chosen_values(&choices, state.drafts.get(VALUES))].1);
            let to = PathBuf::from(path.trim());
            ctx.send(Command::Export(ExportRequest { to, values, keep_dropout, with_heads, all_weights, verify }));
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

/// Every kind of file as a button; those out of reach are grey and say why. The path with another kind's ending where one
/// was chosen.
fn kinds_ui(ui: &mut Ui, open: &Open, path: &str) -> Option<String> {
    let path = Path::new(path.trim());
    let now = chosen(&open.targets, path).map(|t| t.kind);
    let mut new = None;
    ui.horizontal_wrapped(|ui| {
        for target in open.targets.iter() {
            let is_on = now == Some(target.kind);
            let can = target.why_not.is_none();
            let r = ui.add_enabled(can, egui::Button::selectable(is_on, &target.label));
            r.widget_info(|| egui::WidgetInfo::selected(egui::Role::RadioButton, can, is_on, &target.label));
            let r = match &target.why_not {
                Some(why) => r.on_disabled_hover_text(why),
                None if target.ending.is_empty() => r.on_hover_text("A folder"),
                None => r.on_hover_text(format!("A path that ends in {}", target.ending)),
            };
            if r.clicked() && !is_on {
                new = Some(target.path(path).to_string_lossy().into_owned());
            }
        }
    });
    new
}

/// The kind that a path stands for: by its ending, else the model's own.
fn chosen<'a>(targets: &'a [Target], path: &Path) -> Option<&'a Target> {
    let kind = targets::of_path(path);
    let by_kind = kind.and_then(|k| targets.iter().find(|t| t.kind == k));
    by_kind.or_else(|| targets.iter().find(|t| t.kind == TargetKind::Own))
}

/// Beside the model, with `-tuned` in its name, in its own kind.
pub fn suggested_export(open: &Open) -> String {
    let stem = open.path.file_stem().map_or_else(|| "model".to_owned(), |s| s.to_string_lossy().into_owned());
    let ending = open.targets.first().map_or_else(String::new, |t| t.ending.clone());
    open.path.with_file_name(format!("{stem}-tuned{ending}")).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::History;
    use crate::ui::ctx::RunEntry;
    use crate::ui::sample;

    fn target(kind: TargetKind, ending: &str) -> Target {
        Target { kind, label: String::new(), ending: ending.to_owned(), why_not: None }
    }

    #[test]
    fn the_path_and_the_kind_follow_each_other() {
        let targets = [target(TargetKind::Own, ".pb"), target(TargetKind::Npz, ".npz")];
        let kind = |path: &str| chosen(&targets, Path::new(path)).map(|t| t.kind);
        assert_eq!(kind("a/b.npz"), Some(TargetKind::Npz));
        assert_eq!(kind("a/b.pb"), Some(TargetKind::Own), "its own kind is listed as such");
        assert_eq!(kind("a/folder"), Some(TargetKind::Own));
        assert_eq!(targets[1].path(Path::new("a/b.v2.pb")), Path::new("a/b.v2.npz"));
        assert_eq!(target(TargetKind::Own, "").path(Path::new("a/b.ckpt")), Path::new("a/b"));
    }

    #[test]
    fn the_newest_run_is_written_unless_another_is_chosen() {
        let mut open = Open::new(Path::new("m.pb"), std::sync::Arc::new(sample::overview()), History::default());
        assert_eq!(value_choices(&open).len(), 1);
        let run = |name: &str, can_resume, has_best| RunEntry {
            name: name.to_owned(),
            folder: name.into(),
            can_resume,
            has_best,
            ..RunEntry::default()
        };
        open.set_runs(vec![run("a", true, false), run("b", true, true), run("c", false, false)]);
        let choices = value_choices(&open);
        assert_eq!(choices.len(), 4, "the file, a, b, and b's best");
        assert_eq!(values_of(&choices[chosen_values(&choices, None)].1), Some(("b".into(), false)));
        let best = choices[3].1.clone();
        assert_eq!(values_of(&choices[chosen_values(&choices, Some(&best))].1), Some(("b".into(), true)));
        assert_eq!(values_of(&choices[chosen_values(&choices, Some(&String::new()))].1), None);
        // A run that was deleted is no choice.
        assert_eq!(chosen_values(&choices, Some(&"gone".to_owned())), 2);
    }
}
