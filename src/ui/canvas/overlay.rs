//! What lies over the picture: the legend, accessible names, tooltips, cures beside a blocked gradient, and what is shown
//! while there is no picture.

use egui::{
    Align2, FontId, Rect, Response, RichText, Role, Sense, Stroke, StrokeKind, Ui, UiBuilder, WidgetInfo, pos2, vec2,
};

use crate::ui::ctx::{Ctx, Open};
use crate::ui::selection::Target;
use crate::ui::theme::{self, icons, tokens};
use crate::ui::{text, widgets, words};

use super::draw::{Scene, Visible};
use super::layout::Item;
use super::path;
use super::shown::Fate;
use super::style::Legend;
use super::{CanvasState, Halt, busy_label};

/// Up to so many visible things each gets an accessible name of its own.
const MAX_NAMED: usize = 400;
/// A layout that takes longer than this, in seconds, can be cancelled.
const PATIENCE: f64 = 0.3;

/// A model without a single node.
pub(super) fn empty_ui(ui: &mut Ui, rect: Rect) {
    ui.scope_builder(UiBuilder::new().max_rect(rect), |ui| {
        widgets::empty_state(ui, icons::GRAPH, "Nothing to draw", "This file holds no nodes.");
    });
}

/// Before the first layout: it is on its way, was cancelled, or failed.
pub(super) fn waiting_ui(ui: &mut Ui, rect: Rect, state: &mut CanvasState) {
    let now = ui.input(|i| i.time);
    let room = Rect::from_center_size(rect.center(), vec2(300.0_f32.min(rect.width()), 90.0));
    ui.scope_builder(UiBuilder::new().max_rect(room), |ui| {
        ui.vertical_centered(|ui| match state.halt {
            None => {
                ui.spinner();
                ui.label("Laying out the graph");
                let is_long = state.job.as_ref().is_some_and(|j| now - j.started > PATIENCE);
                if is_long && widgets::text_button(ui, icons::CLOSE, "Cancel the layout").clicked() {
                    state.job = None;
                    state.halt = Some(Halt::Cancelled);
                }
                ui.ctx().request_repaint_after(std::time::Duration::from_millis(100));
            }
            Some(halt) => {
                ui.label(match halt {
                    Halt::Cancelled => "The layout was cancelled.",
                    Halt::Failed => "The layout ended by a bug; please report it with the model.",
                });
                if widgets::text_button(ui, icons::REDO, "Lay out again").clicked() {
                    state.halt = None;
                }
            }
        });
    });
}

/// A newer layout or a picture on its way, over the old picture.
pub(super) fn progress_ui(ui: &mut Ui, rect: Rect, state: &mut CanvasState) {
    let now = ui.input(|i| i.time);
    let is_long = state.job.as_ref().is_some_and(|j| now - j.started > PATIENCE);
    let words = match (is_long, state.picture.is_some(), state.halt) {
        (true, ..) => "Laying out…",
        (_, true, _) => "Drawing the picture…",
        (.., Some(_)) => "The layout was cancelled: this is the old one",
        _ => return,
    };
    let room = Rect::from_min_size(rect.min + vec2(10.0, 8.0), vec2((rect.width() - 20.0).max(60.0), 28.0));
    ui.scope_builder(UiBuilder::new().max_rect(room), |ui| {
        ui.horizontal(|ui| {
            if state.halt.is_some() {
                widgets::caption(ui, words);
                if widgets::text_button(ui, icons::REDO, "Lay out again").clicked() {
                    state.halt = None;
                }
                return;
            }
            busy_label(ui, words);
            if widgets::icon_button(ui, icons::CLOSE, "Cancel the layout").clicked() {
                state.picture = None;
                if state.job.take().is_some() {
                    // What is drawn stays, and so does its view.
                    match &state.laid {
                        Some(l) if state.shown.as_ref().is_some_and(|s| std::sync::Arc::ptr_eq(s, &l.shown)) => {
                            state.view = l.view.clone();
                        }
                        _ => state.halt = Some(Halt::Cancelled),
                    }
                }
            }
        });
    });
}

/// Accessible names of what is visible, so that screen readers and tests find nodes.
pub(super) fn names(ui: &Ui, scene: &Scene<'_>, visible: &Visible) {
    if visible.placed.len() > MAX_NAMED {
        return;
    }
    for &i in &visible.placed {
        let i = i as usize;
        let item = scene.layout.placed[i].item;
        let rect = scene.screen(i).intersect(scene.rect);
        let r = ui.interact(rect, ui.scope_id().with(("placed", item)), Sense::empty());
        r.widget_info(|| WidgetInfo::labeled(Role::Label, true, name(scene, i)));
    }
}

/// Accessible names of the edges in sight, each where a click selects it.
pub(super) fn edge_names(ui: &Ui, scene: &Scene<'_>, visible: &Visible) {
    if visible.wires.len() > MAX_NAMED || scene.camera.zoom < super::draw::CARD_ZOOM || scene.motion.is_some() {
        return;
    }
    for &i in &visible.wires {
        let w = &scene.layout.wires[i as usize];
        let Some(at) = scene.grip(i as usize).filter(|p| scene.rect.contains(*p)) else { continue };
        let end = |p: usize| scene.full_name(scene.layout.placed[p].item).to_owned();
        let id = ui.scope_id().with(("edge", scene.layout.placed[w.from].item, scene.layout.placed[w.to].item));
        let r = ui.interact(Rect::from_center_size(at, vec2(4.0, 4.0)), id, Sense::empty());
        r.widget_info(|| WidgetInfo::labeled(Role::Label, true, format!("Edge from {} to {}", end(w.from), end(w.to))));
    }
}

/// What a placed thing is called, with what the picture says about it.
fn name(scene: &Scene<'_>, i: usize) -> String {
    let item = scene.layout.placed[i].item;
    let kind = match item {
        Item::Node(_) => "Node",
        Item::Site(_) => "Dropout",
        Item::Scope(_) => "Scope",
    };
    let name = format!("{kind} {}", scene.full_name(item));
    let fate = match scene.styles.fate[i] {
        Fate::Added => ", added by an edit",
        Fate::Removed => ", removed by an edit",
        Fate::Rewired => ", rewired by an edit",
        Fate::Same => "",
    };
    let stop = if scene.look.stops.contains(&i) { ", the gradient stops here" } else { "" };
    let way = if scene.look.on_way.contains(&i) && stop.is_empty() { ", on the way of the gradient" } else { "" };
    format!("{name}{fate}{stop}{way}")
}

pub(super) fn tooltips(ui: &Ui, scene: &Scene<'_>, response: &Response) {
    if let Some(i) = scene.hovered_wire {
        let w = &scene.layout.wires[i];
        let end = |p: usize| scene.title(scene.layout.placed[p].item).0;
        let fate = if w.is_lost {
            "\nin the file only"
        } else if w.is_gained {
            "\nadded by an edit"
        } else {
            ""
        };
        let words = format!("{}  {}  {}\n{}{fate}", end(w.from), icons::FORWARD, end(w.to), w.label);
        let layer = ui.layer_id();
        egui::Tooltip::always_open(ui.ctx().clone(), layer, egui::Id::unique("wire"), egui::PopupAnchor::Pointer).show(
            |ui| {
                ui.label(words);
            },
        );
    } else if let Some(i) = scene.hovered.filter(|&i| !scene.layout.placed[i].is_open) {
        response.clone().on_hover_ui_at_pointer(|ui| tooltip(ui, scene, i));
    }
}

fn tooltip(ui: &mut Ui, scene: &Scene<'_>, i: usize) {
    let t = scene.tokens;
    let o = &scene.shown.overview;
    match scene.layout.placed[i].item {
        Item::Node(n) => {
            let node = &o.nodes[n];
            ui.label(RichText::new(&node.name).monospace());
            for out in &node.outputs {
                ui.label(format!("{} {}", out.dtype, text::shape(out.shape.as_deref())));
            }
            if let Some(why) = &node.unsupported_reason {
                ui.colored_label(t.error, why);
            }
        }
        Item::Site(s) => {
            ui.label(RichText::new(&o.dropout[s].output).monospace());
            ui.label(format!("{} nodes; double-click shows them", o.dropout[s].nodes.len()));
        }
        Item::Scope(s) => {
            let scope = &scene.shown.index.scopes.all[s];
            ui.label(RichText::new(&scope.name).monospace());
            let (all, trained) = (scope.totals.parameters, scope.totals.trainable_parameters);
            ui.label(format!("{} of {} parameters train", text::exact(trained), text::exact(all)));
            ui.label("Double-click opens or closes it");
        }
    }
    if let (Some(v), Legend::Scale { quantity, .. }) = (scene.styles.value[i], &scene.styles.legend) {
        ui.label(format!("{}: {}", quantity.words(), quantity.amount(v)));
    }
    match (scene.styles.fate[i], scene.styles.changed[i]) {
        (Fate::Added, _) => {
            ui.colored_label(t.grafted, "Added by an edit");
        }
        (Fate::Removed, _) => {
            ui.label("In the file; an edit takes it out of the export");
        }
        (Fate::Rewired, _) => {
            ui.colored_label(t.grafted, "Reads something else than in the file");
        }
        (Fate::Same, n) if n > 0 => {
            let words = format!("{} touched by edits", text::plural(n as usize, "node", "nodes"));
            ui.colored_label(t.grafted, words);
        }
        _ => {}
    }
}

/// What the colours mean, in the lower left corner; always there.
pub(super) fn legend(ui: &Ui, scene: &Scene<'_>, open: &Open) {
    let mut lines: Vec<(String, Option<egui::Color32>)> = Vec::new();
    let mut scale = None;
    match &scene.styles.legend {
        Legend::Words(words) => lines.extend(words.iter().map(|(w, c)| ((*w).to_owned(), Some(*c)))),
        Legend::Missing(why) => lines.push(((*why).to_owned(), None)),
        Legend::Scale { quantity, low, high, is_cut } => {
            let below = if *is_cut { "≤ " } else { "" };
            let words = format!("{}: {below}{} to {}", quantity.words(), quantity.amount(*low), quantity.amount(*high));
            lines.push((words, None));
            scale = Some(quantity);
        }
    }
    let [added, removed, rewired] = scene.shown.counts();
    if added + removed + rewired > 0 {
        lines.push((format!("Beside the file: {added} added, {removed} removed, {rewired} rewired"), None));
    } else if open.recipe().edits.iter().any(|e| e.enabled) && open.is_refreshing {
        lines.push(("Edits are being applied".to_owned(), None));
    }
    let spoken = lines.iter().map(|(w, _)| w.as_str()).collect::<Vec<_>>().join(", ");
    let r = paint_legend(ui, scene, &lines, scale.is_some());
    let response = ui.interact(r, ui.scope_id().with("legend"), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, format!("Legend: {spoken}")));
    if let Some(quantity) = scale {
        response.on_hover_text(quantity.help());
    }
}

/// Swatches in as many columns as fit, a line of words each where there is no swatch.
fn paint_legend(ui: &Ui, scene: &Scene<'_>, lines: &[(String, Option<egui::Color32>)], has_scale: bool) -> Rect {
    let t = scene.tokens;
    let painter = ui.painter_at(scene.rect);
    let font = FontId::proportional(theme::CAPTION);
    let galleys: Vec<_> =
        lines.iter().map(|(w, c)| (painter.layout_no_wrap(w.clone(), font.clone(), t.text_secondary), *c)).collect();
    let width = |with: bool| {
        galleys.iter().filter(|(_, c)| c.is_some() == with).map(|(g, _)| g.size().x).fold(0.0_f32, f32::max)
    };
    let n_swatches = galleys.iter().filter(|(_, c)| c.is_some()).count();
    let column = width(true) + 20.0;
    // Room for the mini-map at the right.
    let room = (scene.rect.width() - 40.0).max(120.0) * 0.66;
    let n_columns = ((room / column.max(1.0)) as usize).clamp(1, n_swatches.div_ceil(2).max(1));
    let n_rows = n_swatches.div_ceil(n_columns);
    let row = 15.0;
    let n_lines = n_rows + (galleys.len() - n_swatches);
    let size = vec2(
        (column * n_columns.min(n_swatches.max(1)) as f32 * f32::from(u8::from(n_swatches > 0))).max(width(false)),
        n_lines as f32 * row + if has_scale { 10.0 } else { 0.0 },
    );
    let r = Rect::from_min_size(scene.rect.left_bottom() + vec2(12.0, -12.0 - size.y), size).expand(5.0);
    painter.rect(r, 4.0, t.panel, Stroke::new(1.0, t.stroke_subtle), StrokeKind::Outside);
    let at = r.min + vec2(5.0, 5.0);
    let (mut swatch, mut line) = (0, n_rows);
    for (galley, color) in galleys {
        let p = match color {
            Some(color) => {
                let p = at + vec2((swatch / n_rows.max(1)) as f32 * column, (swatch % n_rows.max(1)) as f32 * row);
                let square = Rect::from_min_size(p + vec2(0.0, 3.0), vec2(8.0, 8.0));
                painter.rect_filled(square, 2.0, color);
                swatch += 1;
                p + vec2(13.0, 0.0)
            }
            None => {
                line += 1;
                at + vec2(0.0, (line - 1) as f32 * row)
            }
        };
        painter.galley(p, galley, t.text_secondary);
    }
    if has_scale {
        let bar = Rect::from_min_max(pos2(r.left() + 5.0, r.bottom() - 12.0), pos2(r.right() - 5.0, r.bottom() - 5.0));
        for k in 0..32 {
            let x = |k: usize| bar.left() + bar.width() * k as f32 / 32.0;
            let piece = Rect::from_x_y_ranges(x(k)..=x(k + 1), bar.y_range());
            painter.rect_filled(piece, 0.0, tokens::viridis(k as f32 / 31.0));
        }
    }
    r
}

/// Widths of the box with cures.
const LEAST_CURES: f32 = 240.0;
const MOST_CURES: f32 = 270.0;

/// Why the gradient of what is selected stops, and what can be done, beside where it stops.
pub(super) fn cures_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, scene: &Scene<'_>, focus: Option<&Target>) {
    let (Some(focus), Some(gradients)) = (focus, &open.gradients) else { return };
    let Some(&stop) = scene.look.stops.iter().next() else { return };
    let Some(blocker) = path::blocker(gradients, focus.name()) else { return };
    let card = scene.screen(stop);
    // As wide as the larger side has room for, so that it stands beside what it is about.
    let right = card.right() + 14.0;
    let side = (scene.rect.right() - right).max(card.left() - 14.0 - scene.rect.left()) - 9.0;
    let wide = if side >= LEAST_CURES { side.min(MOST_CURES) } else { MOST_CURES.min(scene.rect.width() - 16.0) };
    let size = vec2(wide, 60.0 + 30.0 * blocker.cures.len() as f32);
    if !card.intersects(scene.rect) || size.x < 120.0 {
        return;
    }
    let x = if right + size.x < scene.rect.right() { right } else { card.left() - 14.0 - size.x };
    let x = x.clamp(scene.rect.left() + 8.0, (scene.rect.right() - size.x - 8.0).max(scene.rect.left() + 8.0));
    // Where neither side has room for it, it goes below, so that it never hides what it is about.
    let is_beside = right + size.x < scene.rect.right() || card.left() - 14.0 - size.x > scene.rect.left();
    let top = if is_beside { card.top() } else { card.bottom() + 10.0 };
    let y = top.clamp(scene.rect.top() + 8.0, (scene.rect.bottom() - size.y - 40.0).max(scene.rect.top() + 8.0));
    let t = ctx.tokens;
    let room = Rect::from_min_size(pos2(x, y), size);
    ui.scope_builder(UiBuilder::new().max_rect(room), |ui| {
        egui::Frame::new().fill(t.panel).stroke(Stroke::new(1.0, t.blocked)).corner_radius(6).inner_margin(8).show(
            ui,
            |ui| {
                ui.set_width(size.x - 18.0);
                let words = format!("The gradient stops at {}", blocker.op);
                ui.label(RichText::new(words).family(theme::strong_family()).color(t.blocked));
                widgets::caption(ui, words::sentence(&blocker.why, |w| open.index.node_of_value(w).is_some()));
                for cure in &blocker.cures {
                    if widgets::text_button(ui, icons::LIGHTNING, &cure.label).clicked() {
                        ctx.send(cure.command.clone());
                    }
                }
            },
        );
    });
    if !is_beside {
        return;
    }
    let anchor = if room.left() > card.right() { Align2::RIGHT_TOP } else { Align2::LEFT_TOP };
    let from = anchor.pos_in_rect(&card) + vec2(0.0, 10.0);
    let to = pos2(if room.left() > card.right() { room.left() } else { room.right() }, from.y.max(room.top() + 10.0));
    if !room.contains(from) {
        ui.painter_at(scene.rect).line_segment([from, to], Stroke::new(1.0, t.blocked));
    }
}
