//! The graph panel: the canvas, or what to do where there is none.

use egui::Ui;

use crate::ui::ctx::Ctx;
use crate::ui::state::UiState;

pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, state: &mut UiState) {
    match ctx.open {
        Some(open) => crate::ui::canvas::ui(ui, ctx, open, state),
        None => super::no_model(ui),
    }
}
