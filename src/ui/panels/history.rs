//! Every decision so far; a click goes back or forward to it.

use egui::{RichText, Role, Ui, WidgetInfo};

use crate::ui::command::{Action, Command};
use crate::ui::ctx::Ctx;
use crate::ui::state::UiState;
use crate::ui::theme::{self, icons};
use crate::ui::widgets;

pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, _state: &mut UiState) {
    let Some(open) = ctx.open else { return super::no_model(ui) };
    ui.horizontal(|ui| {
        for action in [Action::Undo, Action::Redo] {
            let info = action.info();
            ui.add_enabled_ui(ctx.is_enabled(action), |ui| {
                if widgets::text_button(ui, info.icon, info.title).clicked() {
                    ctx.act(action);
                }
            });
        }
    });
    let labels: Vec<&str> = open.history.labels().collect();
    let cursor = open.history.cursor();
    let mut area = egui::ScrollArea::vertical().auto_shrink(false);
    // Where the history has moved on, its place stays in sight.
    let id = ui.scope_id().with("cursor");
    if ui.data_mut(|d| d.get_temp::<usize>(id)) != Some(cursor) {
        ui.data_mut(|d| d.insert_temp(id, cursor));
        let row = theme::LIST_ROW_HEIGHT + ui.spacing().item_spacing.y;
        area = area.vertical_scroll_offset(((cursor + 1) as f32 * row - ui.available_height() / 2.0).max(0.0));
    }
    area.show_rows(ui, theme::LIST_ROW_HEIGHT, labels.len(), |ui, range| {
        for i in range {
            let color = if i > cursor { ctx.tokens.text_secondary } else { ctx.tokens.text };
            let mark = if i == cursor { icons::CARET_RIGHT } else { "   " };
            let text = RichText::new(format!("{mark} {}", labels[i])).color(color);
            let r = widgets::list_row(ui, egui::Button::selectable(i == cursor, text).truncate());
            r.widget_info(|| WidgetInfo::selected(Role::Button, true, i == cursor, format!("Go to: {}", labels[i])));
            if r.clicked() {
                ctx.send(Command::Jump(i));
            }
        }
    });
}
