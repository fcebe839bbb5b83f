//! What is shown where no model is open: how to start.

use egui::{RichText, Ui, vec2};

use crate::ui::command::{Action, Command};
use crate::ui::ctx::Ctx;
use crate::ui::theme::{self, icons};
use crate::ui::{text, widgets};

pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>) {
    let t = ctx.tokens;
    egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        let width = 520.0f32.min(ui.available_width() - 32.0);
        let top = ((ui.available_height() - 440.0) / 2.5).max(16.0);
        ui.add_space(top);
        ui.vertical_centered(|ui| {
            ui.set_max_width(width);
            ui.label(RichText::new("Regraft").size(theme::WELCOME).family(theme::strong_family()));
            ui.label(
                RichText::new("Open a frozen network, choose what trains, tune it on your data, write it back.")
                    .color(t.text_secondary),
            );
            ui.add_space(theme::GROUPS);
            if let Some(job) = ctx.jobs.first() {
                ui.spinner();
                ui.label(if job.step.is_empty() { job.title.clone() } else { format!("{}: {}", job.title, job.step) });
                if widgets::text_button(ui, icons::CLOSE, "Cancel").clicked() {
                    ctx.send(Command::CancelJob(job.id));
                }
                ui.add_space(theme::RELATED);
            }
            if let Some(why) = ctx.opening_failed {
                ui.add(egui::Label::new(RichText::new(format!("{}  {why}", icons::ERROR)).color(t.error)).wrap());
                ui.add_space(theme::RELATED);
            }
            recoverable_ui(ui, ctx);
            start_ui(ui, ctx);
            drop_zone_ui(ui, ctx, width);
            recent_ui(ui, ctx, width);
        });
    });
}

/// What a crash left, above everything else.
fn recoverable_ui(ui: &mut Ui, ctx: &Ctx<'_>) {
    for r in ctx.recoverable {
        ui.allocate_ui(vec2(ui.available_width(), theme::BUTTON_HEIGHT), |ui| {
            ui.horizontal(|ui| {
                ui.label(RichText::new(icons::WARNING).color(ctx.tokens.warning));
                let words = format!("Unsaved decisions for {}, {}", text::elide_middle(&r.name, 36), r.when);
                ui.label(words);
                if widgets::text_button(ui, icons::HISTORY, "Recover").clicked() {
                    ctx.send(Command::Recover(r.path.clone()));
                }
                if widgets::text_button(ui, icons::TRASH, "Discard").clicked() {
                    ctx.send(Command::DiscardRecovery(r.path.clone()));
                }
            });
        });
    }
    if !ctx.recoverable.is_empty() {
        ui.add_space(theme::GROUPS);
    }
}

fn start_ui(ui: &mut Ui, ctx: &Ctx<'_>) {
    ui.allocate_ui(vec2(450.0, theme::BUTTON_HEIGHT + 8.0), |ui| {
        ui.horizontal_centered(|ui| {
            ui.spacing_mut().button_padding = vec2(16.0, 8.0);
            if widgets::primary_button(ui, icons::OPEN, "Open a model…", true).clicked() {
                ctx.act(Action::OpenFile);
            }
            let folder = widgets::text_button(ui, icons::FOLDER, "Open a folder…");
            if folder.on_hover_text(Action::OpenFolder.info().help).clicked() {
                ctx.act(Action::OpenFolder);
            }
            let demo = widgets::text_button(ui, icons::DEMO, "Try the demo");
            if demo.on_hover_text(Action::OpenDemo.info().help).clicked() {
                ctx.act(Action::OpenDemo);
            }
        });
    });
}

fn drop_zone_ui(ui: &mut Ui, ctx: &Ctx<'_>, width: f32) {
    let t = ctx.tokens;
    ui.add_space(theme::GROUPS);
    let is_over = ui.input(|i| !i.raw.hovered_files.is_empty());
    let (rect, _) = ui.allocate_exact_size(vec2(width, 84.0), egui::Sense::hover());
    let color = if is_over { t.accent } else { t.stroke_strong };
    let corners = [rect.left_top(), rect.right_top(), rect.right_bottom(), rect.left_bottom(), rect.left_top()];
    for side in corners.windows(2) {
        ui.painter().extend(egui::Shape::dashed_line(side, egui::Stroke::new(1.0, color), 6.0, 4.0));
    }
    let center = rect.center();
    let title = if is_over { "Drop it to open it" } else { "or drop a file anywhere" };
    let painter = ui.painter();
    painter.text(
        center - vec2(0.0, 12.0),
        egui::Align2::CENTER_CENTER,
        title,
        egui::FontId::proportional(theme::BODY),
        t.text,
    );
    let formats = "TensorFlow .pb, .meta, SavedModel folders · ONNX · BERT folders · sessions .regraft";
    painter.text(
        center + vec2(0.0, 12.0),
        egui::Align2::CENTER_CENTER,
        formats,
        egui::FontId::proportional(theme::CAPTION),
        t.text_secondary,
    );
}

fn recent_ui(ui: &mut Ui, ctx: &Ctx<'_>, width: f32) {
    if ctx.settings.recent.is_empty() {
        return;
    }
    ui.add_space(theme::GROUPS);
    ui.allocate_ui(vec2(width, 0.0), |ui| {
        ui.vertical(|ui| {
            widgets::caption(ui, "Recent");
            for path in ctx.settings.recent.iter().take(8) {
                let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
                let folder = path.parent().map_or_else(String::new, |p| p.to_string_lossy().into_owned());
                ui.horizontal(|ui| {
                    ui.spacing_mut().interact_size.y = theme::LIST_ROW_HEIGHT;
                    let room = width - 44.0;
                    let detail = RichText::new(text::elide_middle(&folder, 38))
                        .size(theme::CAPTION)
                        .color(ctx.tokens.text_secondary);
                    let b = egui::Button::new(format!("{}  {name}", icons::FILE))
                        .right_text(detail)
                        .frame_when_inactive(false);
                    let r = ui.add_sized([room, theme::LIST_ROW_HEIGHT], b);
                    r.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, format!("Open {name}")));
                    if r.on_hover_text(path.to_string_lossy()).clicked() {
                        ctx.send(Command::Open(path.clone()));
                    }
                    if widgets::icon_button(ui, icons::CLOSE, &format!("Forget {name}")).clicked() {
                        ctx.send(Command::ForgetRecent(path.clone()));
                    }
                });
            }
        });
    });
}
