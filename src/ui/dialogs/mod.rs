//! What stands in front of everything: the command palette and the few questions that the program asks.

mod entries;
mod graft;
pub mod objective;
mod palette;
mod path;
mod questions;

use egui::{Id, Modal, RichText, Ui};

pub use graft::{HeadForm, LoraForm, WeightsForm};
pub use objective::LossForm;
pub use palette::{PaletteState, ui as palette_ui};
pub use path::{PathForm, PathUse};

use super::command::{Action, Command};
use super::ctx::Ctx;
use super::menu::Menu;
use super::theme::{self, icons};
use super::widgets;

/// A question or page in front of the window.
#[derive(Clone, Debug, PartialEq)]
pub enum Dialog {
    About,
    Shortcuts,
    /// The window was asked to close while a run is in progress.
    CloseDuringRun,
    /// A path to type: where the desktop shows no file chooser, or where typing is wanted.
    TypePath(PathForm),
    Error {
        title: String,
        text: String,
    },
    Preferences,
    /// Which way into the file is open; holds what is marked.
    ChooseEntry(String),
    /// How many of the last layers train.
    LastLayers(usize),
    GraftHead(HeadForm),
    ChooseLoss(LossForm),
    Lora(LoraForm),
    LoadWeights(WeightsForm),
    /// Decisions are not saved, and `then` would lose them.
    Unsaved(Then),
    /// What became of a recipe on another model.
    Transferred {
        model: String,
        report: Vec<crate::session::transfer::Line>,
    },
    /// Whether the run in progress ends without a trace.
    DiscardRun,
    DeleteRun {
        name: String,
        folder: std::path::PathBuf,
    },
    RenameRun {
        name: String,
        folder: std::path::PathBuf,
    },
}

/// What waits for an answer about unsaved decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    Quit,
    CloseModel,
    Open(std::path::PathBuf),
    OpenDemo,
}

/// Shows the dialog; its buttons send commands.
pub fn dialog_ui(ui: &mut Ui, ctx: &Ctx<'_>, dialog: &mut Dialog) {
    take_keyboard(ui.ctx());
    let frame = egui::Frame::popup(ui.style()).inner_margin(16);
    let modal = Modal::new(Id::unique("dialog")).frame(frame).show(ui.ctx(), |ui| {
        ui.set_max_width(460.0);
        ui.set_min_width(340.0);
        match dialog {
            Dialog::About => about_ui(ui),
            Dialog::Shortcuts => shortcuts_ui(ui, ctx),
            Dialog::CloseDuringRun => close_ui(ui, ctx),
            Dialog::TypePath(form) => path::ui(ui, ctx, form),
            Dialog::Error { title, text } => {
                heading(ui, title);
                ui.add(egui::Label::new(text.as_str()).wrap());
            }
            Dialog::GraftHead(form) => graft::head_ui(ui, ctx, form),
            Dialog::ChooseLoss(form) => objective::ui(ui, ctx, form),
            Dialog::Lora(form) => graft::lora_ui(ui, ctx, form),
            Dialog::LoadWeights(form) => graft::weights_ui(ui, ctx, form),
            Dialog::ChooseEntry(choice) => entries::ui(ui, ctx, choice),
            Dialog::LastLayers(n) => questions::last_layers_ui(ui, ctx, n),
            Dialog::Preferences => questions::preferences_ui(ui, ctx),
            Dialog::Unsaved(then) => questions::unsaved_ui(ui, ctx, then),
            Dialog::Transferred { model, report } => questions::transferred_ui(ui, ctx, model, report),
            Dialog::DiscardRun => questions::discard_run_ui(ui, ctx),
            Dialog::DeleteRun { name, folder } => questions::delete_run_ui(ui, ctx, name, folder),
            Dialog::RenameRun { name, folder } => questions::rename_run_ui(ui, ctx, name, folder),
        }
        let is_question =
            !matches!(dialog, Dialog::About | Dialog::Shortcuts | Dialog::Error { .. } | Dialog::Preferences);
        if !is_question {
            ui.add_space(theme::GROUPS);
            let close = widgets::text_button(ui, "", "Close");
            if ui.memory(|m| m.focused().is_none()) {
                close.request_focus();
            }
            if close.clicked() {
                ctx.send(Command::CloseDialog);
            }
        }
    });
    if modal.should_close() {
        ctx.send(Command::CloseDialog);
    }
}

/// In the first frame of a dialog, whatever had the keyboard behind it loses it; the dialog's own control takes it.
fn take_keyboard(ctx: &egui::Context) {
    let (id, now) = (Id::unique("dialog-shown"), ctx.cumulative_pass_nr());
    let last = ctx.data_mut(|d| {
        let last = d.get_temp::<u64>(id);
        d.insert_temp(id, now);
        last
    });
    if last.is_none_or(|last| last + 1 < now)
        && let Some(focused) = ctx.memory(egui::Memory::focused)
    {
        ctx.memory_mut(|m| m.surrender_focus(focused));
    }
}

fn cancel(ui: &mut Ui, ctx: &Ctx<'_>) {
    if widgets::text_button(ui, "", "Cancel").clicked() {
        ctx.send(Command::CloseDialog);
    }
}

fn heading(ui: &mut Ui, text: &str) {
    ui.heading(text);
    ui.add_space(theme::RELATED);
}

fn about_ui(ui: &mut Ui) {
    heading(ui, &format!("Regraft {}", env!("CARGO_PKG_VERSION")));
    ui.label("Opens a frozen neural network, lets you choose what trains, cleans out hard-coded dropout, explains gradients, fine-tunes, and writes the tuned model back.");
    ui.add_space(theme::RELATED);
    widgets::note(ui, "MIT OR Apache-2.0. Fonts: Inter and JetBrains Mono (OFL 1.1), Phosphor icons (MIT).");
}

/// Keys of the lists and of the graph, which are no commands.
const KEYS: &[(&str, &str)] = &[
    ("Walk the rows; with Shift, add them", "Up, Down, Page up, Page down"),
    ("Next and previous match of the filter", "F3, Shift+F3"),
    ("Train or freeze the selected rows", "Space"),
    ("Graph: along its wires, and sideways", "Arrows"),
    ("Graph: unfold or fold the selection", "Enter, +, -"),
    ("Graph: switch the selected dropout", "Space"),
    ("Next and previous control", "Tab, Shift+Tab"),
    ("Next and previous panel", "F6, Shift+F6"),
    ("Menus", "F10, then arrows"),
    ("Close what is open", "Esc"),
];

fn shortcuts_ui(ui: &mut Ui, ctx: &Ctx<'_>) {
    heading(ui, "Keyboard shortcuts");
    egui::ScrollArea::vertical().max_height(420.0).auto_shrink([false, true]).show(ui, |ui| {
        egui::Grid::new("shortcuts").num_columns(2).spacing([24.0, 4.0]).show(ui, |ui| {
            let egui = ui.ctx().clone();
            let mut row = |title: &str, keys: &str| {
                ui.label(title);
                ui.label(RichText::new(keys).monospace().color(ctx.tokens.text_secondary));
                ui.end_row();
            };
            for menu in Menu::ALL {
                for info in Action::ALL.iter().map(|a| a.info()).filter(|i| i.menu == menu) {
                    if let Some(s) = info.shortcut {
                        row(info.title, &egui.format_shortcut(&s).replace("Comma", ","));
                    }
                }
            }
            for (title, keys) in KEYS {
                row(title, keys);
            }
        });
    });
}

fn close_ui(ui: &mut Ui, ctx: &Ctx<'_>) {
    heading(ui, "A run is in progress");
    ui.label("Stopping keeps what was learned so far in a checkpoint, from which the run can be resumed.");
    ui.add_space(theme::GROUPS);
    ui.horizontal(|ui| {
        if widgets::answer_button(ui, icons::STOP, "Stop, keep and close", true).clicked() {
            ctx.act(Action::StopAndKeep);
            ctx.send(Command::CloseWhenDone);
        }
        if widgets::text_button(ui, "", "Close when it is done").clicked() {
            ctx.send(Command::CloseWhenDone);
            ctx.send(Command::CloseDialog);
        }
        if widgets::text_button(ui, "", "Cancel").clicked() {
            ctx.send(Command::CloseDialog);
        }
    });
}
