//! Writes the model: whose values, in which kind of file, with dropout or without, and what came out.

use std::path::{Path, PathBuf};

use egui::Ui;

use crate::base::Severity;
use crate::formats::targets::{self, Target, TargetKind};
use crate::session::EditStep;
use crate::ui::command::Command;
use crate::ui::ctx::{Ctx, ExportRequest, Exported, Open};
use crate::ui::state::UiState;
use crate::ui::theme::{self, icons};
use crate::ui::{text, widgets, words};

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
    let n_edits = open.recipe().edits.iter().filter(|e| e.enabled).count();
    widgets::fact(ui, "Edits", &text::plural(n_edits, "adjustment", "adjustments"));
    widgets::fact(ui, "Dropout sites", &text::exact(open.overview.dropout.len()));
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
                if widgets::choice(ui, i == now, name).clicked() {
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
    ui.add_space(theme::RELATED);
    let mut on = [false; OPTIONS.len()];
    for (is_on, o) in on.iter_mut().zip(options(open, target)) {
        *is_on = option_ui(ui, &o, state);
    }
    let has_head = open.recipe().edits.iter().any(|e| e.enabled && matches!(e.step, EditStep::GraftHead(_)));
    let [keep_dropout, with_heads, merge_adapters, all_weights, verify] = on;
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
            ctx.send(Command::Export(ExportRequest {
                to,
                values,
                keep_dropout,
                // Without a head there is none to leave out.
                with_heads: with_heads || !has_head,
                all_weights,
                merge_adapters,
                verify,
            }));
        }
        if is_busy {
            ui.spinner();
            ui.label("Exporting");
        }
    });
    if let Some(result) = &state.exported {
        ui.add_space(theme::RELATED);
        let shown = ui.scope(|ui| result_ui(ui, result)).response;
        if std::mem::take(&mut state.is_export_new) {
            shown.scroll_to_me(None);
        }
    }
}

/// What came of the last export.
fn result_ui(ui: &mut Ui, result: &Result<Exported, String>) {
    let line = |ui: &mut Ui, severity, words: &str| {
        widgets::message(ui, severity, &words::sentence(words, |_| false));
    };
    match result {
        Err(why) => line(ui, Severity::Error, &format!("Not exported: {why}")),
        Ok(e) => widgets::section(ui, "WRITTEN", |ui| {
            for (name, shown, exact) in &e.facts {
                widgets::fact_with_exact(ui, name, shown, Some(exact));
            }
            for note in &e.notes {
                line(ui, Severity::Warning, note);
            }
        }),
    }
}

/// A choice about what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ExportOption {
    /// Of its draft.
    key: &'static str,
    words: &'static str,
    default: bool,
    /// Why it cannot be chosen now; then `default` holds.
    why_not: Option<&'static str>,
}

/// Key and words of every choice, in the order of [`options`].
const OPTIONS: [(&str, &str); 5] = [
    ("export-keep", "Keep dropout nodes in the graph"),
    ("export-heads", "Include the grafted head"),
    ("export-merge", "Merge low-rank adapters into their weights"),
    ("export-all", "All weights, not only the tuned ones"),
    ("export-verify", "Read it back and compare outputs before it counts as done"),
];

/// The choices for a kind of file, with why some are none.
fn options(open: &Open, target: Option<&Target>) -> [ExportOption; OPTIONS.len()] {
    let has = |is: fn(&EditStep) -> bool| open.recipe().edits.iter().any(|e| e.enabled && is(&e.step));
    let is_weights = target.is_some_and(|t| matches!(t.kind, TargetKind::Safetensors | TargetKind::Npz));
    let first = |reasons: &[(bool, &'static str)]| reasons.iter().find(|(is, _)| *is).map(|(_, why)| *why);
    let no_nodes = (is_weights, "Weights alone have no nodes.");
    let keep = first(&[no_nodes, (open.overview.dropout.is_empty(), "The graph has no dropout.")]);
    let heads = first(&[
        (is_weights, "Weights of a grafted head are among the tuned ones."),
        (!has(|s| matches!(s, EditStep::GraftHead(_))), "No head was grafted."),
    ]);
    let has_adapters = has(|s| matches!(s, EditStep::Lora(_)));
    let merge = first(&[
        (!has_adapters, "There are no adapters."),
        (!is_weights, "A model has no place for adapters beside its weights."),
    ]);
    let all = first(&[(!is_weights, "A model holds all of its weights.")]);
    let verify = first(&[(is_weights, "Weights alone compute nothing.")]);
    let of = |i: usize, default, why_not| ExportOption { key: OPTIONS[i].0, words: OPTIONS[i].1, default, why_not };
    let has_head = has(|s| matches!(s, EditStep::GraftHead(_)));
    let merges = has_adapters && !is_weights;
    [
        of(0, false, keep),
        of(1, has_head, heads),
        of(2, merges, merge),
        of(3, !is_weights, all),
        of(4, !is_weights, verify),
    ]
}

/// A check box; grey with its reason where there is nothing to choose. Whether it is on.
fn option_ui(ui: &mut Ui, o: &ExportOption, state: &mut UiState) -> bool {
    let draft = state.drafts.get(o.key).map(|v| v == "true");
    let mut on = draft.filter(|_| o.why_not.is_none()).unwrap_or(o.default);
    let r = ui.add_enabled(o.why_not.is_none(), egui::Checkbox::new(&mut on, o.words));
    let changed = r.changed();
    if let Some(why) = o.why_not {
        r.on_disabled_hover_text(why);
    }
    if changed {
        state.drafts.insert(o.key.to_owned(), on.to_string());
    }
    on
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
    fn choices_that_are_none_say_why() {
        use crate::session::recipe::LoraChoice;
        let open = |steps: Vec<EditStep>| {
            let mut history = History::default();
            history.apply(&crate::session::Change::AddEdits(steps), None);
            Open::new(Path::new("m.pb"), std::sync::Arc::new(sample::overview()), history)
        };
        let plain = open(Vec::new());
        let (own, npz) = (target(TargetKind::Own, ".pb"), target(TargetKind::Npz, ".npz"));
        let can = |open: &Open, t: &Target| options(open, Some(t)).map(|o| o.why_not.is_none());
        let on = |open: &Open, t: &Target| options(open, Some(t)).map(|o| o.default);
        // Dropout, head, adapters, all weights, read back.
        assert_eq!(can(&plain, &own), [true, false, false, false, true]);
        assert_eq!(can(&plain, &npz), [false, false, false, true, false]);
        let head = crate::edits::heads::HeadChoice::new(crate::edits::heads::ALL[0].kind);
        let both = open(vec![EditStep::GraftHead(head), EditStep::Lora(LoraChoice::default())]);
        assert_eq!(can(&both, &own), [true, true, false, false, true]);
        assert_eq!(can(&both, &npz), [false, false, true, true, false]);
        assert_eq!(on(&both, &own), [false, true, true, true, true], "a model has its head and merged weights");
        assert_eq!(on(&both, &npz), [false, true, false, false, false], "of weights the tuned ones as they are");
        assert_eq!(
            options(&both, Some(&own))[2].why_not,
            Some("A model has no place for adapters beside its weights.")
        );
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
