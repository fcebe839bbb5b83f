//! Dialogs that ask before something is lost, and pages of choices.

use std::path::{Path, PathBuf};

use egui::{RichText, Ui};

use crate::session::Selector;
use crate::session::transfer::{Fate, Line};
use crate::ui::bulk;
use crate::ui::command::{Action, Command};
use crate::ui::ctx::{Ctx, Preferences, ThemeChoice};
use crate::ui::theme::{self, icons};
use crate::ui::widgets;

use super::{Then, cancel, heading};

pub(super) fn preferences_ui(ui: &mut Ui, ctx: &Ctx<'_>) {
    heading(ui, "Preferences");
    let mut p: Preferences = ctx.settings.clone();
    egui::Grid::new("preferences").num_columns(2).spacing([24.0, 10.0]).show(ui, |ui| {
        ui.label("Theme");
        ui.horizontal(|ui| {
            for (choice, word) in
                [(ThemeChoice::System, "System"), (ThemeChoice::Light, "Light"), (ThemeChoice::Dark, "Dark")]
            {
                ui.radio_value(&mut p.theme, choice, word);
            }
        });
        ui.end_row();
        let label = ui.label("Size of everything");
        ui.add(egui::Slider::new(&mut p.zoom, 0.5..=3.0).step_by(0.1).fixed_decimals(1)).labelled_by(label.id);
        ui.end_row();
        ui.label("Motion");
        ui.checkbox(&mut p.has_motion, "Animate folding and panel changes");
        ui.end_row();
        ui.label("Graph");
        ui.vertical(|ui| {
            ui.checkbox(&mut p.is_sideways, "From left to right");
            ui.checkbox(&mut p.has_edge_shapes, "Shapes on all edges");
        });
        ui.end_row();
        let label = ui.label("Threads of runs");
        widgets::threads(ui, &mut p.threads).labelled_by(label.id);
        ui.end_row();
        ui.label("Recent files");
        ui.add_enabled_ui(!p.recent.is_empty(), |ui| {
            if widgets::text_button(ui, icons::TRASH, "Forget recent files").clicked() {
                p.recent.clear();
            }
        });
        ui.end_row();
    });
    if p != *ctx.settings {
        ctx.send(Command::SetPreferences(p));
    }
}

/// *Train the last N layers*, with what N covers.
pub(super) fn last_layers_ui(ui: &mut Ui, ctx: &Ctx<'_>, n: &mut usize) {
    heading(ui, "Train the last layers");
    let Some(open) = ctx.open else { return };
    let most = bulk::n_layers(&open.overview);
    *n = (*n).clamp(1, most.max(1));
    ui.horizontal(|ui| {
        let label = ui.label("Layers");
        ui.add(egui::DragValue::new(n).range(1..=most.max(1)).speed(0.1)).labelled_by(label.id);
        widgets::caption(ui, format!("of {most}, with everything after them"));
    });
    ui.add_space(4.0);
    let covered = bulk::covered(&open.overview, &[Selector::LastLayers(*n)]);
    ui.label(covered.words());
    ui.add_space(theme::GROUPS);
    ui.horizontal(|ui| {
        let words = format!("Train the last {}", if *n == 1 { "layer".to_owned() } else { format!("{n} layers") });
        if widgets::answer_button(ui, icons::STACK, &words, covered.constants > 0).clicked() {
            ctx.change(bulk::last_layers(*n));
            ctx.send(Command::CloseDialog);
        }
        cancel(ui, ctx);
    });
}

pub(super) fn unsaved_ui(ui: &mut Ui, ctx: &Ctx<'_>, then: &Then) {
    heading(ui, "The decisions are not saved");
    let name = ctx.open.map(crate::ui::Open::title).unwrap_or_default();
    let is_session = ctx.open.is_some_and(|o| o.session_path.is_some());
    let place = if is_session { "" } else { " Saving puts a session file beside the model." };
    ui.add(
        egui::Label::new(format!("What was chosen for {name} since it was last saved would be lost.{place}")).wrap(),
    );
    ui.add_space(theme::GROUPS);
    ui.horizontal(|ui| {
        let save = match then {
            Then::Quit | Then::CloseModel => "Save and close",
            Then::Open(_) | Then::OpenDemo => "Save and open",
        };
        if widgets::answer_button(ui, icons::SAVE, save, true).clicked() {
            ctx.send(Command::SaveAndProceed(then.clone()));
            ctx.send(Command::CloseDialog);
        }
        if widgets::text_button(ui, "", "Do not save").clicked() {
            ctx.send(Command::Proceed(then.clone()));
            ctx.send(Command::CloseDialog);
        }
        cancel(ui, ctx);
    });
}

pub(super) fn transferred_ui(ui: &mut Ui, ctx: &Ctx<'_>, model: &str, report: &[Line]) {
    heading(ui, &format!("The recipe on {model}"));
    let dropped = report.iter().filter(|l| matches!(l.fate, Fate::Dropped(_))).count();
    let words = match dropped {
        0 => "Every decision applies.".to_owned(),
        n => format!("{} of {} decisions do not apply there and are left out.", n, report.len()),
    };
    widgets::note(ui, words);
    ui.add_space(theme::RELATED);
    egui::ScrollArea::vertical().max_height(320.0).show(ui, |ui| {
        ui.set_min_width(420.0);
        for line in report {
            ui.horizontal_wrapped(|ui| {
                let (icon, color) = match line.fate {
                    Fate::Dropped(_) => (icons::CLOSE, ctx.tokens.error),
                    Fate::Renamed(_) => (icons::CARET_RIGHT, ctx.tokens.warning),
                    Fate::Taken | Fate::Matches(_) => (icons::CHECK, ctx.tokens.flows),
                };
                ui.label(RichText::new(icon).color(color));
                ui.label(&line.decision);
                ui.label(RichText::new(line.fate.to_string()).color(ctx.tokens.text_secondary));
            });
        }
    });
    ui.add_space(theme::GROUPS);
    ui.horizontal(|ui| {
        if widgets::answer_button(ui, icons::OPEN, "Open it with this recipe", true).clicked() {
            ctx.send(Command::OpenTransferred);
            ctx.send(Command::CloseDialog);
        }
        cancel(ui, ctx);
    });
}

pub(super) fn discard_run_ui(ui: &mut Ui, ctx: &Ctx<'_>) {
    heading(ui, "Stop and discard the run?");
    let words =
        "What it learned is forgotten, with its curves; this cannot be undone. Stop and keep leaves a checkpoint.";
    ui.add(egui::Label::new(words).wrap());
    ui.add_space(theme::GROUPS);
    ui.horizontal(|ui| {
        if widgets::answer_button(ui, icons::STOP, "Stop and keep", true).clicked() {
            ctx.act(Action::StopAndKeep);
            ctx.send(Command::CloseDialog);
        }
        if widgets::text_button(ui, icons::TRASH, "Discard").clicked() {
            ctx.send(Command::DiscardRun);
            ctx.send(Command::CloseDialog);
        }
        cancel(ui, ctx);
    });
}

pub(super) fn delete_run_ui(ui: &mut Ui, ctx: &Ctx<'_>, name: &str, folder: &Path) {
    heading(ui, &format!("Delete {name}?"));
    ui.add(egui::Label::new("Its log and its checkpoints go; this cannot be undone.").wrap());
    widgets::caption(ui, folder.to_string_lossy());
    ui.add_space(theme::GROUPS);
    ui.horizontal(|ui| {
        if widgets::primary_button(ui, icons::TRASH, "Delete the run", true).clicked() {
            ctx.send(Command::DeleteRun(folder.to_owned()));
            ctx.send(Command::CloseDialog);
        }
        cancel(ui, ctx);
    });
}

pub(super) fn rename_run_ui(ui: &mut Ui, ctx: &Ctx<'_>, name: &mut String, folder: &Path) {
    heading(ui, "Rename the run");
    let label = ui.label("Name");
    let r = ui.add(egui::TextEdit::singleline(name).desired_width(f32::INFINITY)).labelled_by(label.id);
    let is_entered = r.lost_focus() && ui.input(|i| i.key_pressed(egui::Key::Enter));
    if !is_entered && !r.has_focus() && ui.memory(|m| m.focused().is_none()) {
        r.request_focus();
    }
    ui.add_space(theme::GROUPS);
    ui.horizontal(|ui| {
        let is_clicked = widgets::primary_button(ui, "", "Rename", !name.trim().is_empty()).clicked();
        if (is_clicked || is_entered) && !name.trim().is_empty() {
            ctx.send(Command::RenameRun { folder: PathBuf::from(folder), name: name.trim().to_owned() });
            ctx.send(Command::CloseDialog);
        }
        cancel(ui, ctx);
    });
}
