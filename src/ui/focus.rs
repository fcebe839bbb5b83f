//! Panels by keyboard: a panel that a command brings to the front takes the keyboard, so that Tab goes on inside it.

use egui::{Id, Rect, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo, vec2};

use super::UiState;
use super::panels::{self, Panel};
use super::theme::Tokens;

/// What has the keyboard while a panel as a whole has it.
fn anchor(panel: &str) -> Id {
    Id::unique(("panel-anchor", panel))
}

/// Whether no control has the keyboard: nothing at all, or a panel as a whole.
pub fn is_free(ctx: &egui::Context) -> bool {
    let focused = ctx.memory(egui::Memory::focused);
    focused.is_none_or(|id| panels::ALL.iter().any(|p| anchor(p.id) == id))
}

/// Gives the keyboard to a panel that was asked for by keyboard, and shows that it has it. It is a stop for Tab only as
/// long as it has the keyboard.
pub fn panel_ui(ui: &Ui, panel: &Panel, state: &mut UiState) {
    let id = anchor(panel.id);
    let is_wanted = state.wants_panel == Some(panel.id);
    let has = ui.memory(|m| m.has_focus(id));
    if !is_wanted && !has {
        return;
    }
    let area = ui.max_rect();
    let line = Rect::from_min_size(area.min, vec2(area.width(), 1.0));
    let response = ui.interact(line, id, Sense::focusable_noninteractive());
    response.widget_info(|| WidgetInfo::labeled(Role::Group, true, format!("{} panel", panel.title)));
    if is_wanted {
        state.wants_panel = None;
        response.request_focus();
    }
    if has {
        ring(ui, area.expand(4.0));
    }
}

/// A line around the control that has the keyboard, for those that show it too little themselves: headers that fold,
/// edges of columns, bars.
pub fn control_ui(ctx: &egui::Context) {
    let Some(id) = ctx.memory(egui::Memory::focused) else { return };
    let is_panel = panels::ALL.iter().any(|p| anchor(p.id) == id);
    let Some(response) = ctx.read_response(id).filter(|_| !is_panel) else { return };
    let stroke = Stroke::new(1.5, Tokens::of(&ctx.global_style().visuals).accent);
    let rect = response.interact_rect.expand(1.0);
    ctx.layer_painter(response.layer_id).rect_stroke(rect, 4.0, stroke, StrokeKind::Outside);
}

/// A line around what has the keyboard.
pub fn ring(ui: &Ui, rect: Rect) {
    let stroke = Stroke::new(1.5, Tokens::of(ui.visuals()).accent);
    ui.painter().rect_stroke(rect, 4.0, stroke, StrokeKind::Inside);
}
