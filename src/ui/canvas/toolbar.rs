//! The row above the picture: back and forward, fit, folding, traces, colours, and what else can be switched.

use std::collections::BTreeSet;

use egui::Ui;

use crate::ui::command::Action;
use crate::ui::ctx::{Ctx, Open};
use crate::ui::theme::icons;
use crate::ui::{UiState, widgets};

use super::color::ColorMode;
use super::look::Trace;
use super::{CanvasState, Wants};

pub(super) fn ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, state: &mut UiState) {
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        if widgets::icon_button_enabled(ui, state.selection.can_go_back(), icons::BACK, "Back").clicked() {
            ctx.act(Action::SelectBack);
        }
        if widgets::icon_button_enabled(ui, state.selection.can_go_forward(), icons::FORWARD, "Forward").clicked() {
            ctx.act(Action::SelectForward);
        }
        let has_focus = state.selection.focus().is_some();
        let canvas = &mut state.canvas;
        if widgets::icon_button(ui, icons::FIT, "Fit the graph").clicked() {
            canvas.wants = Wants::Fit;
        }
        if widgets::icon_button_enabled(ui, has_focus, icons::FOCUS, "Zoom to the selection").clicked() {
            canvas.wants = Wants::ZoomToSelection;
        }
        if widgets::icon_button(ui, icons::PLUS, "Unfold one level").clicked() {
            unfold(open, canvas);
        }
        if widgets::icon_button(ui, icons::MINUS, "Fold all").clicked() {
            canvas.view.open = BTreeSet::from([0]);
            canvas.view.expanded_sites.clear();
            canvas.halt = None;
            canvas.wants = Wants::Fit;
        }
        if widgets::icon_button_enabled(ui, has_focus, icons::EYE, Action::RevealSelection.info().title).clicked() {
            canvas.wants = Wants::Reveal;
        }
        widgets::group_gap(ui);
        for (trace, icon, name) in [
            (Trace::Needs, icons::CARET_UP, "Trace what the selection needs"),
            (Trace::Feeds, icons::CARET_DOWN, "Trace what reads the selection"),
        ] {
            let is_on = canvas.trace == Some(trace);
            let button = egui::Button::selectable(is_on, egui::RichText::new(icon).size(16.0));
            let r = ui.add_enabled(has_focus, button.min_size(egui::vec2(26.0, 24.0)));
            if widgets::named(r, name).clicked() {
                canvas.trace = (!is_on).then_some(trace);
            }
        }
        let button = egui::Button::selectable(canvas.follows_filter, egui::RichText::new(icons::FILTER).size(16.0));
        if widgets::named(ui.add(button.min_size(egui::vec2(26.0, 24.0))), "Fade what the filter leaves out").clicked()
        {
            canvas.follows_filter = !canvas.follows_filter;
        }
        let info = Action::ToggleDirection.info();
        let button = egui::Button::selectable(ctx.settings.is_sideways, egui::RichText::new(icons::FORWARD).size(16.0));
        if widgets::named(ui.add(button.min_size(egui::vec2(26.0, 24.0))), info.title).clicked() {
            ctx.act(Action::ToggleDirection);
        }
        widgets::group_gap(ui);
        color_mode_ui(ui, &mut canvas.color_mode);
        more_ui(ui, ctx, open, canvas);
    });
}

fn color_mode_ui(ui: &mut Ui, mode: &mut ColorMode) {
    egui::ComboBox::from_id_salt("color-mode")
        .width(160.0)
        .selected_text(mode.title())
        .show_ui(ui, |ui| {
            for m in ColorMode::ALL {
                widgets::choose(ui, mode, m, m.title());
            }
        })
        .response
        .accessible_name("Colours of the graph");
}

fn more_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, canvas: &mut CanvasState) {
    let menu = ui.menu_button(egui::RichText::new(icons::SLIDERS).size(16.0), |ui| {
        ui.set_min_width(220.0);
        let mut has_shapes = ctx.settings.has_edge_shapes;
        if ui.checkbox(&mut has_shapes, Action::ToggleEdgeShapes.info().title).changed() {
            ctx.act(Action::ToggleEdgeShapes);
        }
        let mut shows = !canvas.hides_removed;
        ui.add_enabled_ui(open.with_removed.is_some(), |ui| {
            if ui.checkbox(&mut shows, "Show what edits removed").changed() {
                canvas.hides_removed = !shows;
            }
        });
        ui.separator();
        for action in [Action::SaveGraphPng, Action::SaveGraphSvg, Action::MeasureTimes] {
            let info = action.info();
            if widgets::text_button_enabled(ui, ctx.is_enabled(action), info.icon, info.title).clicked() {
                ctx.act(action);
                ui.close();
            }
        }
    });
    widgets::named(menu.response, "More about the graph");
}

/// Opens every closed scope that is shown.
fn unfold(open: &Open, canvas: &mut CanvasState) {
    let shown = canvas.shown.clone().unwrap_or_else(|| open.shown.clone());
    let scopes = &shown.index.scopes;
    let view = &mut canvas.view;
    let closed: Vec<usize> = (1..scopes.all.len())
        .filter(|s| !view.open.contains(s) && scopes.all[*s].parent.is_some_and(|p| p == 0 || view.open.contains(&p)))
        .collect();
    view.open.extend(closed);
    canvas.halt = None;
}
