//! Draws what is visible of a layout: cards, boxes, dots at small scale, wires, chips, badges.

use egui::{
    Align2, Color32, CornerRadius, FontId, Painter, Pos2, Rect, Response, Sense, Shape, Stroke, StrokeKind, Ui, pos2,
    vec2,
};

use crate::ui::ctx::{Ctx, Open};
use crate::ui::selection::Target;
use crate::ui::theme::{self, icons, tokens};
use crate::ui::{UiState, text, widgets};

use super::color::{ColorMode, family};
use super::fold::{CHIP_HEIGHT, Item, Layout, MAX_CHIPS, Placed, Wire};
use super::{Camera, placed_of};

/// Below this zoom cards have no text, below the other they are dots and wires are straight.
const TEXT_ZOOM: f32 = 0.38;
const DETAIL_ZOOM: f32 = 0.2;
/// Up to so many visible things each gets an accessible name and a tooltip of its own.
const MAX_NAMED: usize = 400;

/// Everything that drawing one frame needs.
pub struct Scene<'a> {
    pub ctx: &'a Ctx<'a>,
    pub open: &'a Open,
    pub layout: &'a Layout,
    pub camera: Camera,
    pub rect: Rect,
    pub state: &'a UiState,
}

impl Scene<'_> {
    /// Draws, and says which placed thing is under the pointer.
    pub fn draw(&self, ui: &Ui, response: &Response) -> Option<usize> {
        let painter = ui.painter_at(self.rect);
        let visible: Vec<usize> =
            (0..self.layout.placed.len()).filter(|&i| self.screen(i).intersects(self.rect)).collect();
        let pointer = response.hover_pos().filter(|p| self.rect.contains(*p));
        let hit = pointer.and_then(|p| visible.iter().rev().copied().find(|&i| self.screen(i).contains(p)));
        let focus = self.state.selection.focus().and_then(|f| placed_of(self.open, self.layout, f));
        // Open boxes first, then wires on top of them, then cards.
        for &i in visible.iter().filter(|&&i| self.layout.placed[i].is_open) {
            self.open_box(&painter, i, focus == Some(i));
        }
        self.wires(&painter, focus, pointer.filter(|_| hit.is_none_or(|h| self.layout.placed[h].is_open)), ui);
        for &i in visible.iter().filter(|&&i| !self.layout.placed[i].is_open) {
            self.card(&painter, i, focus, hit == Some(i));
        }
        if visible.len() <= MAX_NAMED {
            self.names(ui, &visible);
        }
        if let Some(h) = hit {
            response.clone().on_hover_ui_at_pointer(|ui| self.tooltip(ui, h));
        }
        self.mini_map(&painter);
        hit
    }

    fn screen(&self, i: usize) -> Rect {
        let p = &self.layout.placed[i];
        let min = self.camera.to_screen(self.rect.center(), p.min);
        Rect::from_min_size(min, vec2(p.size[0], p.size[1]) * self.camera.zoom)
    }

    pub(super) fn point(&self, p: [f32; 2]) -> Pos2 {
        self.camera.to_screen(self.rect.center(), p)
    }

    /// Quantised, so that zooming does not fill the glyph atlas.
    fn font(&self, size: f32) -> f32 {
        (size * self.camera.zoom * 2.0).round() / 2.0
    }

    fn title(&self, item: Item) -> (String, String) {
        match item {
            Item::Node(n) => {
                let node = &self.open.overview.nodes[n];
                (node.op.clone(), text::last_part(&node.name).to_owned())
            }
            Item::Site(s) => {
                let rate = self.open.overview.dropout[s]
                    .rate
                    .map_or_else(|| "rate is fed".to_owned(), |r| format!("rate {}", text::number(r, 3)));
                ("Dropout".to_owned(), rate)
            }
            Item::Scope(s) => {
                let scope = &self.open.index.scopes.all[s];
                let t = scope.totals;
                let name = text::last_part(&scope.name).to_owned();
                (name, format!("{} · {} par.", text::plural(t.nodes, "node", "nodes"), text::count(t.parameters)))
            }
        }
    }

    pub(super) fn color(&self, p: &Placed) -> Color32 {
        let t = self.ctx.tokens;
        let o = &self.open.overview;
        match (self.state.canvas.color_mode, p.item) {
            (ColorMode::Kind, Item::Node(n)) => t.families[family(&o.nodes[n].op)],
            (ColorMode::Kind, Item::Site(_)) => t.families[7],
            (ColorMode::Kind, Item::Scope(_)) => t.stroke_strong,
            (ColorMode::Trainable, Item::Scope(s)) => {
                if self.open.index.scopes.all[s].totals.trainable > 0 {
                    t.trainable
                } else {
                    t.frozen
                }
            }
            (ColorMode::Trainable, _) => {
                if p.chips.iter().any(|&c| o.constants[c].trainable) {
                    t.trainable
                } else {
                    t.frozen
                }
            }
            (ColorMode::Gradient, Item::Node(n)) => match o.nodes[n].gradient.as_str() {
                "off-path" | "not-float" | "dead-branch" | "" => t.frozen,
                verdict => widgets::verdict_color(t, verdict),
            },
            (ColorMode::Gradient, _) => t.flows,
        }
    }

    fn open_box(&self, painter: &Painter, i: usize, is_focus: bool) {
        let t = self.ctx.tokens;
        let r = self.screen(i);
        let depth = std::iter::successors(self.layout.placed[i].parent, |&p| self.layout.placed[p].parent).count();
        let fill = if depth.is_multiple_of(2) { t.panel } else { tokens::mix(t.panel, t.raised, 0.8) };
        let stroke = if is_focus { Stroke::new(2.0, t.accent) } else { Stroke::new(1.0, t.stroke_subtle) };
        painter.rect(r, CornerRadius::same(6), fill, stroke, StrokeKind::Inside);
        if self.camera.zoom >= DETAIL_ZOOM {
            // The title keeps a readable size as long as the box is wide enough for it.
            let size = self.font(13.0).max(9.5);
            let (name, detail) = self.title(self.layout.placed[i].item);
            let clip = painter.with_clip_rect(r.shrink(6.0 * self.camera.zoom).intersect(self.rect));
            let at = r.min + vec2(10.0, 6.0) * self.camera.zoom;
            let drawn = clip.text(at, Align2::LEFT_TOP, name, FontId::new(size, theme::strong_family()), t.text);
            let detail_at = pos2(drawn.right() + 10.0 * self.camera.zoom, drawn.center().y);
            clip.text(detail_at, Align2::LEFT_CENTER, detail, FontId::proportional(size * 0.85), t.text_secondary);
        }
    }

    fn wires(&self, painter: &Painter, focus: Option<usize>, pointer: Option<Pos2>, ui: &Ui) {
        let t = self.ctx.tokens;
        let mut near: Option<(f32, &Wire)> = None;
        let mut shapes = Vec::new();
        let mut lit = Vec::new();
        for w in &self.layout.wires {
            let points: Vec<Pos2> = w.points.iter().map(|&p| self.point(p)).collect();
            if !Rect::from_points(&points).expand(8.0).intersects(self.rect) {
                continue;
            }
            if let Some(p) = pointer {
                let d = points.windows(2).map(|s| distance(p, s[0], s[1])).fold(f32::INFINITY, f32::min);
                if d < 6.0 && near.is_none_or(|(n, _)| d < n) {
                    near = Some((d, w));
                }
            }
            let is_lit = focus.is_some_and(|f| f == w.from || f == w.to);
            let stroke = if is_lit {
                Stroke::new(2.5 * self.camera.zoom.clamp(0.5, 1.0), t.accent)
            } else {
                Stroke::new((1.25 * self.camera.zoom).clamp(0.6, 1.5), tokens::mix(t.stroke_strong, t.text, 0.12))
            };
            let into = if is_lit { &mut lit } else { &mut shapes };
            self.wire(&points, stroke, into);
        }
        painter.extend(shapes);
        painter.extend(lit);
        if let Some((_, w)) = near {
            let name = |i: usize| self.title(self.layout.placed[i].item).0;
            let words = format!("{}  {}  {}\n{}", name(w.from), icons::FORWARD, name(w.to), w.label);
            egui::Tooltip::always_open(
                ui.ctx().clone(),
                ui.layer_id(),
                egui::Id::unique("wire"),
                egui::PopupAnchor::Pointer,
            )
            .show(|ui| {
                ui.label(words);
            });
        }
    }

    fn wire(&self, points: &[Pos2], stroke: Stroke, out: &mut Vec<Shape>) {
        for pair in points.windows(2) {
            let (a, b) = (pair[0], pair[1]);
            if self.camera.zoom < TEXT_ZOOM || (a.x - b.x).abs() < 1.0 {
                out.push(Shape::line_segment([a, b], stroke));
            } else {
                let bend = ((b.y - a.y) * 0.5).clamp(-60.0, 60.0);
                let curve = [a, a + vec2(0.0, bend), b - vec2(0.0, bend), b];
                out.push(
                    egui::epaint::CubicBezierShape::from_points_stroke(curve, false, Color32::TRANSPARENT, stroke)
                        .into(),
                );
            }
        }
        if self.camera.zoom >= TEXT_ZOOM
            && let [.., end] = points
        {
            let s = 4.0 * self.camera.zoom;
            let tip = vec![*end, *end + vec2(-s, -1.6 * s), *end + vec2(s, -1.6 * s)];
            out.push(Shape::convex_polygon(tip, stroke.color, Stroke::NONE));
        }
    }

    fn card(&self, painter: &Painter, i: usize, focus: Option<usize>, is_hovered: bool) {
        let t = self.ctx.tokens;
        let z = self.camera.zoom;
        let p = &self.layout.placed[i];
        let r = self.screen(i);
        let color = self.color(p);
        if z < DETAIL_ZOOM {
            painter.rect_filled(r, 1.0, tokens::mix(t.raised, color, 0.6));
            return;
        }
        let is_selected = focus == Some(i) || self.is_selected(p);
        let fill = match (is_selected, is_hovered) {
            (true, _) => t.selection(),
            (false, true) => t.hover(),
            _ => t.raised,
        };
        let is_ghost = matches!(p.item, Item::Site(_));
        let fill = if is_ghost && !is_selected { tokens::mix(t.window, t.raised, 0.5) } else { fill };
        let stroke = if is_selected { Stroke::new(2.0, t.accent) } else { Stroke::new(1.0, t.stroke_strong) };
        let corner = CornerRadius::same((6.0 * z).round() as u8);
        painter.rect(r, corner, fill, stroke, StrokeKind::Inside);
        let mut stripe = r.shrink2(vec2(1.0, 5.0 * z));
        stripe.set_width(3.0 * z);
        painter.rect_filled(stripe, 1.0, color);
        if is_ghost {
            hatch(&painter.with_clip_rect(r.shrink(2.0).intersect(self.rect)), r, t.stroke_subtle);
        }
        if z < TEXT_ZOOM {
            return;
        }
        let clip = painter.with_clip_rect(r.shrink(4.0 * z).intersect(self.rect));
        let (title, below) = self.title(p.item);
        let fits = |s: &str, size: f32| text::elide_middle(s, ((r.width() - 22.0 * z) / (size * z * 0.56)) as usize);
        let left = r.left() + 12.0 * z;
        clip.text(
            pos2(left, r.top() + 14.0 * z),
            Align2::LEFT_CENTER,
            fits(&title, 13.0),
            FontId::proportional(self.font(13.0)),
            t.text,
        );
        clip.text(
            pos2(left, r.top() + 30.0 * z),
            Align2::LEFT_CENTER,
            fits(&below, 11.0),
            FontId::proportional(self.font(11.0)),
            t.text_secondary,
        );
        match p.item {
            Item::Scope(s) => self.share(painter, r, s),
            Item::Node(n) => {
                self.chips(&clip, p, r);
                self.corner(&clip, r, n);
            }
            Item::Site(s) => {
                let site = &self.open.overview.dropout[s].output;
                let is_off = crate::ui::panels::is_bypassed(self.open, site);
                if is_off {
                    clip.line_segment(
                        [r.left_center() + vec2(8.0 * z, 0.0), r.right_center() - vec2(8.0 * z, 0.0)],
                        Stroke::new(1.5, t.bypassed),
                    );
                }
                clip.text(
                    r.right_top() + vec2(-6.0, 6.0) * z,
                    Align2::RIGHT_TOP,
                    icons::DROP,
                    FontId::proportional(self.font(14.0)),
                    t.text_secondary,
                );
            }
        }
    }

    fn is_selected(&self, p: &Placed) -> bool {
        let o = &self.open.overview;
        match p.item {
            Item::Node(n) => {
                self.state.selection.contains(&o.nodes[n].name)
                    || p.chips.iter().any(|&c| self.state.selection.contains(&o.constants[c].name))
            }
            Item::Site(s) => self.state.selection.focus() == Some(&Target::Site(o.dropout[s].output.clone())),
            Item::Scope(_) => false,
        }
    }

    /// The trainable share of a closed scope, at its bottom.
    fn share(&self, painter: &Painter, r: Rect, scope: usize) {
        let t = self.ctx.tokens;
        let totals = self.open.index.scopes.all[scope].totals;
        if totals.parameters == 0 {
            return;
        }
        let z = self.camera.zoom;
        let mut bar = Rect::from_min_max(
            pos2(r.left() + 12.0 * z, r.bottom() - 9.0 * z),
            pos2(r.right() - 10.0 * z, r.bottom() - 6.0 * z),
        );
        painter.rect_filled(bar, 1.0, tokens::mix(t.raised, t.text, 0.12));
        bar.set_width(bar.width() * (totals.trainable_parameters as f32 / totals.parameters as f32));
        painter.rect_filled(bar, 1.0, t.trainable);
    }

    fn chips(&self, clip: &Painter, p: &Placed, r: Rect) {
        let t = self.ctx.tokens;
        let z = self.camera.zoom;
        let mut y = r.top() + 44.0 * z;
        for &c in p.chips.iter().take(MAX_CHIPS) {
            let row = &self.open.overview.constants[c];
            let chip =
                Rect::from_min_size(pos2(r.left() + 10.0 * z, y), vec2(r.width() - 20.0 * z, (CHIP_HEIGHT - 2.0) * z));
            clip.rect_filled(chip, 3.0, tokens::mix(t.raised, t.text, 0.06));
            widgets::paint_dot(clip, chip.left_center() + vec2(8.0 * z, 0.0), 3.5 * z, row.trainable, t);
            let words = format!("{} {}", role_letter(&row.role), text::shape(row.shape.as_deref()));
            clip.text(
                chip.left_center() + vec2(16.0 * z, 0.0),
                Align2::LEFT_CENTER,
                words,
                theme::mono(self.font(10.5)),
                t.text_secondary,
            );
            y += CHIP_HEIGHT * z;
        }
        if p.chips.len() > MAX_CHIPS {
            let words = format!("and {} more", p.chips.len() - MAX_CHIPS);
            clip.text(
                pos2(r.left() + 12.0 * z, y + 8.0 * z),
                Align2::LEFT_CENTER,
                words,
                FontId::proportional(self.font(10.5)),
                t.text_secondary,
            );
        }
    }

    /// A mark for an op that cannot run, or a gradient that stops here.
    fn corner(&self, clip: &Painter, r: Rect, n: usize) {
        let t = self.ctx.tokens;
        let node = &self.open.overview.nodes[n];
        let is_blocker = self.open.gradients.as_ref().is_some_and(|g| g.blockers.iter().any(|b| b.node == node.name));
        let (mark, color) = match node.gradient.as_str() {
            _ if !node.supported => (icons::ERROR, t.error),
            _ if is_blocker => (icons::PROHIBIT, t.blocked),
            "blocked" => (icons::PROHIBIT, t.blocked),
            "zero" => ("0", t.zero),
            "stopped" => ("0", t.zero),
            _ => return,
        };
        let at = r.right_top() + vec2(-7.0, 7.0) * self.camera.zoom;
        clip.text(at, Align2::RIGHT_TOP, mark, FontId::proportional(self.font(12.0)), color);
    }

    /// Accessible names of what is visible, so that screen readers and tests find nodes.
    fn names(&self, ui: &Ui, visible: &[usize]) {
        for &i in visible {
            let item = self.layout.placed[i].item;
            let name = match item {
                Item::Node(n) => format!("Node {}", self.open.overview.nodes[n].name),
                Item::Site(s) => format!("Dropout {}", self.open.overview.dropout[s].output),
                Item::Scope(s) => format!("Scope {}", self.open.index.scopes.all[s].name),
            };
            let rect = self.screen(i).intersect(self.rect);
            let r = ui.interact(rect, ui.scope_id().with(("placed", item)), Sense::empty());
            r.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, &name));
        }
    }

    fn tooltip(&self, ui: &mut Ui, i: usize) {
        let o = &self.open.overview;
        match self.layout.placed[i].item {
            Item::Node(n) => {
                let node = &o.nodes[n];
                ui.label(egui::RichText::new(&node.name).monospace());
                for out in &node.outputs {
                    ui.label(format!("{} {}", out.dtype, text::shape(out.shape.as_deref())));
                }
                if let Some(why) = &node.unsupported_reason {
                    ui.colored_label(self.ctx.tokens.error, why);
                }
            }
            Item::Site(s) => {
                ui.label(egui::RichText::new(&o.dropout[s].output).monospace());
                ui.label(format!("{} nodes; double-click shows them", o.dropout[s].nodes.len()));
            }
            Item::Scope(s) => {
                ui.label(egui::RichText::new(&self.open.index.scopes.all[s].name).monospace());
                ui.label("Double-click opens or closes it");
            }
        }
    }
}

fn role_letter(role: &str) -> &'static str {
    match role {
        "matmul-weight" | "conv-filter" => "W",
        "embedding" => "E",
        "bias" | "norm-shift" => "b",
        "norm-scale" => "γ",
        _ => "c",
    }
}

fn distance(p: Pos2, a: Pos2, b: Pos2) -> f32 {
    let ab = b - a;
    let t = if ab.length_sq() > 0.0 { ((p - a).dot(ab) / ab.length_sq()).clamp(0.0, 1.0) } else { 0.0 };
    (p - (a + ab * t)).length()
}

/// Diagonal lines: something that the file has and training leaves out.
fn hatch(painter: &Painter, r: Rect, color: Color32) {
    let mut x = r.left() - r.height();
    while x < r.right() {
        painter.line_segment([pos2(x, r.bottom()), pos2(x + r.height(), r.top())], Stroke::new(1.0, color));
        x += 8.0;
    }
}
