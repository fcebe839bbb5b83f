//! What happened, newest last.

use egui::{RichText, Ui};

use crate::base::Severity;
use crate::ui::ctx::Ctx;
use crate::ui::state::UiState;
use crate::ui::theme::{self, icons};
use crate::ui::widgets;

pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, _state: &mut UiState) {
    if ctx.log.is_empty() {
        return widgets::empty_state(
            ui,
            icons::LOG,
            "Nothing happened yet",
            "What is opened, trained and written is listed here.",
        );
    }
    let area = egui::ScrollArea::vertical().auto_shrink(false).stick_to_bottom(true);
    area.show_rows(ui, theme::ROW_HEIGHT, ctx.log.len(), |ui, range| {
        for line in &ctx.log[range] {
            ui.horizontal(|ui| {
                ui.set_height(theme::ROW_HEIGHT - 4.0);
                ui.label(RichText::new(&line.time).monospace().color(ctx.tokens.text_secondary));
                let color = match line.severity {
                    Severity::Error => ctx.tokens.error,
                    Severity::Warning => ctx.tokens.ink(ctx.tokens.warning, ctx.tokens.panel),
                    Severity::Info => ctx.tokens.text,
                };
                // Not by colour alone.
                if line.severity > Severity::Info {
                    widgets::severity_mark(ui, line.severity);
                }
                ui.add(
                    egui::Label::new(RichText::new(&line.text).color(color)).truncate().show_tooltip_when_elided(false),
                )
                .on_hover_text(&line.text);
            });
        }
    });
}
