//! Every adjustment of the exported graph in order, and the decisions that only training sees.

use egui::{RichText, Role, Ui, WidgetInfo};

use crate::session::prove::What;
use crate::session::{Change, Recipe};
use crate::ui::command::{Action, Command};
use crate::ui::ctx::{Ctx, Open, SettingGroup};
use crate::ui::state::UiState;
use crate::ui::theme::{self, icons};
use crate::ui::{text, widgets, words};

pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, state: &mut UiState) {
    let Some(open) = ctx.open else { return super::no_model(ui) };
    let recipe = open.recipe();
    ui.horizontal_wrapped(|ui| {
        if widgets::text_button(ui, icons::COPY, "Copy as JSON").clicked() {
            ctx.act(Action::CopyRecipe);
        }
        if widgets::text_button(ui, icons::RECIPE, "Paste")
            .on_hover_text("Takes the decisions of another session")
            .clicked()
        {
            ctx.act(Action::PasteRecipe);
        }
        let info = Action::ApplyRecipe.info();
        if widgets::text_button(ui, info.icon, info.title).on_hover_text(info.help).clicked() {
            ctx.act(Action::ApplyRecipe);
        }
    });
    egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        widgets::section(ui, "IN THE EXPORTED GRAPH", |ui| {
            if recipe.edits.is_empty() {
                widgets::note(ui, "Nothing is changed: the export equals the file but for tuned values.");
            }
            if !recipe.edits.is_empty() {
                proof_ui(ui, ctx, open);
                ui.add_space(theme::RELATED);
            }
            let rows: Vec<egui::Rect> = (0..recipe.edits.len())
                .map(|i| ui.scope(|ui| edit_ui(ui, ctx, recipe, i, state)).response.rect)
                .collect();
            drop_between(ui, ctx, &rows);
        });
        widgets::section(ui, "IN TRAINING", |ui| {
            for (label, value) in training_lines(recipe, &open.form) {
                widgets::fact(ui, &label, &value);
            }
        });
    });
}

/// Where the words of an adjustment begin, behind its grip and box; and the room of the two buttons that move it.
const INDENT: f32 = 42.0;
const MOVES_WIDTH: f32 = 76.0;

fn edit_ui(ui: &mut Ui, ctx: &Ctx<'_>, recipe: &Recipe, i: usize, state: &mut UiState) {
    let entry = &recipe.edits[i];
    let (kind, what) = entry.step.label();
    ui.horizontal(|ui| {
        grip_ui(ui, ctx, i);
        let mut on = entry.enabled;
        let r = ui.checkbox(&mut on, "");
        let name = format!("Adjustment {}: {} {what}", i + 1, kind.to_lowercase());
        r.widget_info(|| WidgetInfo::selected(Role::CheckBox, true, entry.enabled, &name));
        if r.changed() {
            ctx.change(Change::EnableEdit { index: i, enabled: on });
        }
        ui.label(kind);
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if widgets::icon_button(ui, icons::TRASH, &format!("Delete adjustment {}", i + 1)).clicked() {
                ctx.change(Change::RemoveEdit(i));
            }
            let is_busy = ctx.jobs.iter().any(|j| j.title == PROVING);
            let prove = format!("Prove that adjustment {} keeps the outputs", i + 1);
            if widgets::icon_button_enabled(ui, !is_busy, icons::PROVE, &prove).clicked() {
                ctx.send(Command::Prove(What::Only(i)));
            }
        });
    });
    ui.horizontal(|ui| {
        ui.add_space(INDENT);
        let left = egui::Layout::left_to_right(egui::Align::Center);
        let room = egui::vec2((ui.available_width() - MOVES_WIDTH).max(40.0), 24.0);
        ui.allocate_ui_with_layout(room, left, |ui| {
            ui.set_min_width(room.x);
            widgets::name_label_colored(ui, &what, ctx.tokens.text_secondary);
        });
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            move_ui(ui, ctx, i, recipe.edits.len() - 1);
        });
    });
    let key = format!("edit-note-{i}");
    let mut note = state.drafts.get(&key).cloned().unwrap_or_else(|| entry.note.clone());
    let edit = egui::TextEdit::singleline(&mut note)
        .hint_text(RichText::new("Note").color(ctx.tokens.text_secondary))
        .desired_width(f32::INFINITY)
        .frame(egui::Frame::NONE);
    let r = ui.horizontal(|ui| {
        ui.add_space(INDENT);
        ui.add(edit).accessible_name(format!("Note on adjustment {}", i + 1))
    });
    let r = r.inner;
    if r.changed() {
        state.drafts.insert(key.clone(), note.clone());
    }
    if r.lost_focus() {
        state.drafts.remove(&key);
        if note != entry.note {
            ctx.change(Change::NoteEdit { index: i, note });
        }
    }
    ui.add_space(theme::RELATED);
}

/// Moves an adjustment by keyboard or click, right to left: down, up.
fn move_ui(ui: &mut Ui, ctx: &Ctx<'_>, i: usize, last: usize) {
    let down = format!("Move adjustment {} down", i + 1);
    if widgets::icon_button_enabled(ui, i < last, icons::CARET_DOWN, &down).clicked() {
        ctx.change(Change::MoveEdit { from: i, to: i + 1 });
    }
    let up = format!("Move adjustment {} up", i + 1);
    if widgets::icon_button_enabled(ui, i > 0, icons::CARET_UP, &up).clicked() {
        ctx.change(Change::MoveEdit { from: i, to: i - 1 });
    }
}

/// The adjustment that is being dragged.
#[derive(Clone, Copy)]
struct Dragged(usize);

/// What an adjustment is dragged by; the arrows beside it do the same by keyboard.
fn grip_ui(ui: &mut Ui, ctx: &Ctx<'_>, i: usize) {
    let (rect, r) = ui.allocate_exact_size(egui::vec2(14.0, 18.0), egui::Sense::DRAG | egui::Sense::HOVER);
    let color = if r.hovered() || r.dragged() { ctx.tokens.text } else { ctx.tokens.text_secondary };
    let font = egui::FontId::proportional(16.0);
    ui.painter().text(rect.center(), egui::Align2::CENTER_CENTER, icons::GRIP, font, color);
    r.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("Drag adjustment {}", i + 1)));
    r.dnd_set_drag_payload(Dragged(i));
    r.on_hover_cursor(egui::CursorIcon::Grab).on_hover_text("Drag to reorder");
}

/// Where a dragged adjustment would go: a line between two rows; letting go moves it there.
fn drop_between(ui: &Ui, ctx: &Ctx<'_>, rows: &[egui::Rect]) {
    let Some(from) = egui::DragAndDrop::payload::<Dragged>(ui.ctx()).map(|d| d.0) else { return };
    let (Some(pointer), Some(first)) = (ui.input(|i| i.pointer.interact_pos()), rows.first()) else { return };
    let gap = rows.iter().filter(|r| r.center().y < pointer.y).count();
    let y = rows.get(gap).map_or_else(|| rows.last().map_or(first.bottom(), |r| r.bottom()), |r| r.top()) - 2.0;
    if let Some(dragged) = rows.get(from) {
        ui.painter().rect_filled(*dragged, 4.0, ctx.tokens.selection().gamma_multiply(0.5));
    }
    ui.painter().hline(first.x_range(), y, egui::Stroke::new(2.0, ctx.tokens.accent));
    ui.ctx().set_cursor_icon(egui::CursorIcon::Grabbing);
    if ui.input(|i| i.pointer.any_released()) {
        egui::DragAndDrop::clear_payload(ui.ctx());
        let to = destination(from, gap);
        if from != to && from < rows.len() {
            ctx.change(Change::MoveEdit { from, to });
        }
    }
}

/// The index that a row has after it was put into a gap (0 is above the first row).
fn destination(from: usize, gap: usize) -> usize {
    if gap > from { gap - 1 } else { gap }
}

/// Title of the job.
const PROVING: &str = "Proving the adjustments";

/// *Prove*, and what came of it.
fn proof_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open) {
    if let Some(job) = ctx.jobs.iter().find(|j| j.title == PROVING) {
        ui.add(egui::ProgressBar::new(job.fraction.unwrap_or(0.0)).desired_height(6.0).fill(ctx.tokens.accent))
            .accessible_name("Progress of the proof");
        if widgets::text_button(ui, icons::CLOSE, "Cancel the proof").clicked() {
            ctx.send(Command::CancelJob(job.id));
        }
        return;
    }
    let info = Action::Prove.info();
    if widgets::text_button(ui, info.icon, info.title).on_hover_text(info.help).clicked() {
        ctx.act(Action::Prove);
    }
    let Some(proved) = &open.proof else { return };
    if proved.edits != open.recipe().edits {
        widgets::note(ui, "The adjustments have changed since they were last proved.");
        return;
    }
    if let What::Only(i) = proved.what {
        widgets::caption(ui, format!("Adjustment {} alone:", i + 1));
    }
    match &proved.result {
        Err(e) => widgets::message(ui, crate::base::Severity::Error, &words::sentence(e, |_| false)),
        Ok(p) => proof_table_ui(ui, ctx, p),
    }
}

fn proof_table_ui(ui: &mut Ui, ctx: &Ctx<'_>, p: &crate::session::prove::Proof) {
    let (icon, color) =
        if p.largest() == 0.0 { (icons::DONE, ctx.tokens.flows) } else { (icons::WARNING, ctx.tokens.warning) };
    ui.horizontal_wrapped(|ui| {
        ui.label(RichText::new(icon).color(color));
        ui.label(proof_words(p));
    });
    for o in &p.outputs {
        let value = if o.is_gone { "no longer there".to_owned() } else { text::number(o.largest, 3) };
        let exact = format!("largest value of the original {}, largest difference {}", o.magnitude, o.largest);
        widgets::fact_with_exact(ui, &text::elide_middle(&o.name, 28), &value, Some(&exact));
    }
}

/// `Same outputs on 8 rows of train.tsv: largest difference 0`.
fn proof_words(p: &crate::session::prove::Proof) -> String {
    let same = if p.largest() == 0.0 { "Same outputs" } else { "Outputs" };
    format!("{same} on {} {}: largest difference {}", p.n_inputs, p.inputs, text::number(p.largest(), 3))
}

/// The decisions that only training sees, as label and value.
fn training_lines(recipe: &Recipe, form: &[SettingGroup]) -> Vec<(String, String)> {
    let list = |s: &[crate::session::Selector]| s.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut out = vec![("Trains".to_owned(), list(&recipe.trainable.include))];
    if !recipe.trainable.exclude.is_empty() {
        out.push(("But not".to_owned(), list(&recipe.trainable.exclude)));
    }
    out.push(("Dropout".to_owned(), recipe.dropout.default.to_string()));
    for (site, policy) in &recipe.dropout.sites {
        out.push((text::elide_middle(site, 24), policy.to_string()));
    }
    for (name, value) in &recipe.pins {
        out.push((format!("Pin {}", text::elide_middle(name, 20)), text::number(*value, 6)));
    }
    for (name, dims) in &recipe.shapes {
        let dims: Vec<Option<usize>> = dims.iter().copied().map(Some).collect();
        out.push((format!("Shape of {}", text::elide_middle(name, 16)), text::shape(Some(&dims))));
    }
    for (node, stand_in) in &recipe.stand_ins {
        out.push((format!("Gradient at {}", text::elide_middle(node, 16)), format!("{stand_in:?}").to_lowercase()));
    }
    for (key, value) in &recipe.settings {
        let known = form.iter().flat_map(|g| &g.settings).find(|s| s.key == *key);
        out.push((known.map_or_else(|| key.clone(), |s| s.label.clone()), value.clone()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_says_on_what() {
        use crate::session::prove::{OutputDifference, Proof};
        let output = |largest| OutputDifference { name: "logits".to_owned(), largest, ..OutputDifference::default() };
        let mut p = Proof { inputs: "random inputs".to_owned(), n_inputs: 8, outputs: vec![output(0.0)] };
        assert_eq!(proof_words(&p), "Same outputs on 8 random inputs: largest difference 0");
        p.outputs.push(output(1.5e-7));
        assert_eq!(proof_words(&p), "Outputs on 8 random inputs: largest difference 1.5e-7");
    }

    #[test]
    fn a_dragged_row_lands_where_the_line_was() {
        let moved = |from: usize, gap: usize| {
            let mut rows = vec!['a', 'b', 'c'];
            let row = rows.remove(from);
            rows.insert(destination(from, gap), row);
            rows.into_iter().collect::<String>()
        };
        assert_eq!((moved(0, 3), moved(0, 2)), ("bca".to_owned(), "bac".to_owned()));
        assert_eq!((moved(2, 0), moved(1, 1), moved(1, 2)), ("cab".to_owned(), "abc".to_owned(), "abc".to_owned()));
    }

    #[test]
    fn every_decision_has_a_line() {
        let mut r = Recipe::default();
        assert_eq!(training_lines(&r, &[]).len(), 2);
        r.pins.insert("phase".to_owned(), 0.0);
        r.settings.insert("optimizer.lr".to_owned(), "1e-4".to_owned());
        let lines = training_lines(&r, &[]);
        assert!(lines.contains(&("optimizer.lr".to_owned(), "1e-4".to_owned())));
        assert!(lines.contains(&("Pin phase".to_owned(), "0".to_owned())));
    }
}
