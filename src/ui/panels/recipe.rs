//! Every adjustment of the exported graph in order, and the decisions that only training sees.

use egui::{RichText, Role, Ui, WidgetInfo};

use crate::session::{Change, Recipe};
use crate::ui::command::Action;
use crate::ui::ctx::Ctx;
use crate::ui::state::UiState;
use crate::ui::theme::{self, icons};
use crate::ui::{text, widgets};

pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, state: &mut UiState) {
    let Some(open) = ctx.open else { return super::no_model(ui) };
    let recipe = open.recipe();
    ui.horizontal(|ui| {
        if widgets::text_button(ui, icons::COPY, "Copy as JSON").clicked() {
            ctx.act(Action::CopyRecipe);
        }
        if widgets::text_button(ui, icons::RECIPE, "Paste")
            .on_hover_text("Takes the decisions of another session")
            .clicked()
        {
            ctx.act(Action::PasteRecipe);
        }
    });
    egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        widgets::section(ui, "IN THE EXPORTED GRAPH", |ui| {
            if recipe.edits.is_empty() {
                widgets::note(ui, "Nothing is changed: the export equals the file but for tuned values.");
            }
            for i in 0..recipe.edits.len() {
                edit_ui(ui, ctx, recipe, i, state);
            }
        });
        widgets::section(ui, "IN TRAINING", |ui| {
            for (label, value) in training_lines(recipe) {
                widgets::fact(ui, &label, &value);
            }
        });
    });
}

fn edit_ui(ui: &mut Ui, ctx: &Ctx<'_>, recipe: &Recipe, i: usize, state: &mut UiState) {
    let entry = &recipe.edits[i];
    let (kind, what) = entry.step.label();
    ui.horizontal(|ui| {
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
            let last = recipe.edits.len() - 1;
            if widgets::icon_button_enabled(ui, i < last, icons::CARET_DOWN, &format!("Move adjustment {} down", i + 1))
                .clicked()
            {
                ctx.change(Change::MoveEdit { from: i, to: i + 1 });
            }
            if widgets::icon_button_enabled(ui, i > 0, icons::CARET_UP, &format!("Move adjustment {} up", i + 1))
                .clicked()
            {
                ctx.change(Change::MoveEdit { from: i, to: i - 1 });
            }
            widgets::name_label_colored(ui, &what, ctx.tokens.text_secondary);
        });
    });
    let key = format!("edit-note-{i}");
    let mut note = state.drafts.get(&key).cloned().unwrap_or_else(|| entry.note.clone());
    let edit = egui::TextEdit::singleline(&mut note)
        .hint_text(RichText::new("Note").color(ctx.tokens.text_disabled))
        .desired_width(f32::INFINITY)
        .frame(egui::Frame::NONE);
    let r = ui.add(edit).accessible_name(format!("Note on adjustment {}", i + 1));
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

/// The decisions that only training sees, as label and value.
fn training_lines(recipe: &Recipe) -> Vec<(String, String)> {
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
        out.push((key.clone(), value.clone()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_decision_has_a_line() {
        let mut r = Recipe::default();
        assert_eq!(training_lines(&r).len(), 2);
        r.pins.insert("phase".to_owned(), 0.0);
        r.settings.insert("optimizer.lr".to_owned(), "1e-4".to_owned());
        let lines = training_lines(&r);
        assert!(lines.contains(&("optimizer.lr".to_owned(), "1e-4".to_owned())));
        assert!(lines.contains(&("Pin phase".to_owned(), "0".to_owned())));
    }
}
