//! Draws what is visible of a layout. Needs a painter and plain data only, so that the same code draws the window and
//! exported pictures; what the pointer does is found elsewhere.

use std::collections::{BTreeSet, HashSet};

use egui::{Align2, Color32, CornerRadius, FontId, Painter, Pos2, Rect, Stroke, StrokeKind, pos2, vec2};

use crate::ui::text;
use crate::ui::theme::{self, Tokens, tokens};

use super::camera::Camera;
use super::layout::{Item, Layout};
use super::motion::Motion;
use super::shown::Shown;
use super::style::Styles;

/// Below this zoom everything is drawn as plain quads in one mesh; cards have no words.
pub const CARD_ZOOM: f32 = 0.36;
/// Nothing is written smaller than this, in points.
pub const SMALLEST_TEXT: f32 = 7.0;
/// Boxes that are this large on the screen have a title at any zoom.
const TITLE_ROOM: [f32; 2] = [64.0, 18.0];

/// What the selection and the pointer ask to stand out. Indices are of placed things and wires.
#[derive(Clone, Debug, Default)]
pub struct Look {
    pub focus: Option<usize>,
    pub selected: HashSet<usize>,
    /// Selected constants, whose chips stand out.
    pub chips: HashSet<usize>,
    /// The way of a gradient.
    pub on_way: HashSet<usize>,
    pub way_wires: HashSet<usize>,
    /// Those of the selected edge.
    pub edge_wires: HashSet<usize>,
    /// Where it stops.
    pub stops: BTreeSet<usize>,
    /// Everything else is faded.
    pub kept: Option<Vec<bool>>,
}

/// Everything that drawing one frame needs.
pub struct Scene<'a> {
    pub tokens: &'static Tokens,
    pub shown: &'a Shown,
    pub layout: &'a Layout,
    pub styles: &'a Styles,
    pub look: &'a Look,
    pub hovered: Option<usize>,
    pub hovered_wire: Option<usize>,
    pub camera: Camera,
    pub rect: Rect,
    /// A fold on its way and how far it is.
    pub motion: Option<(&'a Motion, f32)>,
    /// Shapes are written on wires.
    pub has_labels: bool,
}

/// Placed things and wires in sight, ascending: parents come before what they hold.
#[derive(Clone, Debug, Default)]
pub struct Visible {
    pub placed: Vec<u32>,
    pub wires: Vec<u32>,
}

impl Scene<'_> {
    pub fn visible(&self) -> Visible {
        if self.motion.is_some() {
            let placed =
                (0..self.layout.placed.len() as u32).filter(|&i| self.screen(i as usize).intersects(self.rect));
            return Visible { placed: placed.collect(), wires: (0..self.layout.wires.len() as u32).collect() };
        }
        let margin = 8.0 / self.camera.zoom;
        let a = self.camera.to_world(self.rect.center(), self.rect.min);
        let b = self.camera.to_world(self.rect.center(), self.rect.max);
        let (min, max) = ([a[0] - margin, a[1] - margin], [b[0] + margin, b[1] + margin]);
        Visible { placed: self.layout.grid.within(min, max), wires: self.layout.wire_grid.within(min, max) }
    }

    pub fn draw(&self, painter: &Painter, visible: &Visible) {
        if self.camera.zoom < CARD_ZOOM {
            self.draw_far(painter, visible);
        } else {
            // Open boxes first, then wires on top of them, then cards.
            for &i in visible.placed.iter().filter(|&&i| self.layout.placed[i as usize].is_open) {
                self.open_box(painter, i as usize);
            }
            self.draw_wires(painter, visible);
            for &i in visible.placed.iter().filter(|&&i| !self.layout.placed[i as usize].is_open) {
                self.card(painter, i as usize);
            }
        }
        for &i in &self.look.stops {
            self.stop_bar(painter, i);
        }
    }

    /// Where a placed thing is on the screen now.
    pub fn screen(&self, i: usize) -> Rect {
        let (min, size) = match self.motion {
            Some((motion, t)) => motion.place(i, t),
            None => (self.layout.placed[i].min, self.layout.placed[i].size),
        };
        Rect::from_min_size(self.point(min), vec2(size[0], size[1]) * self.camera.zoom)
    }

    /// Where wires leave a placed thing, and where they arrive.
    pub(super) fn ports(&self, i: usize) -> [Pos2; 2] {
        let r = self.screen(i);
        if self.layout.is_sideways { [r.right_center(), r.left_center()] } else { [r.center_bottom(), r.center_top()] }
    }

    pub fn point(&self, p: [f32; 2]) -> Pos2 {
        self.camera.to_screen(self.rect.center(), p)
    }

    /// Quantised, so that zooming does not fill the glyph atlas.
    pub(super) fn font(&self, size: f32) -> f32 {
        (size * self.camera.zoom * 2.0).round() / 2.0
    }

    /// 1, or less for what a trace leaves out.
    pub(super) fn opacity(&self, i: usize) -> f32 {
        match &self.look.kept {
            Some(kept) if !kept.get(i).copied().unwrap_or(true) => 0.25,
            _ => 1.0,
        }
    }

    /// The whole name of a thing in the file's own words.
    pub fn full_name(&self, item: Item) -> &str {
        match item {
            Item::Node(n) => &self.shown.overview.nodes[n].name,
            Item::Site(s) => &self.shown.overview.dropout[s].output,
            Item::Scope(s) => &self.shown.index.scopes.all[s].name,
        }
    }

    /// The topmost thing under a point.
    pub fn hit(&self, visible: &Visible, at: Pos2) -> Option<usize> {
        visible.placed.iter().rev().map(|&i| i as usize).find(|&i| self.screen(i).contains(at))
    }

    /// What a card says: two lines.
    pub fn title(&self, item: Item) -> (String, String) {
        match item {
            Item::Node(n) => {
                let node = &self.shown.overview.nodes[n];
                (node.op.clone(), text::last_part(&node.name).to_owned())
            }
            Item::Site(s) => {
                let rate = self.shown.overview.dropout[s].rate;
                let rate = rate.map_or_else(|| "rate is fed".to_owned(), |r| format!("rate {}", text::number(r, 3)));
                ("Dropout".to_owned(), rate)
            }
            Item::Scope(s) => {
                let scope = &self.shown.index.scopes.all[s];
                let t = scope.totals;
                let name = text::last_part(&scope.name).to_owned();
                (name, format!("{} · {} par.", text::plural(t.nodes, "node", "nodes"), text::count(t.parameters)))
            }
        }
    }

    /// The outline that selection, a way or an edit gives, if one does.
    pub(super) fn outline(&self, i: usize) -> Option<Stroke> {
        use super::shown::Fate;
        let t = self.tokens;
        if self.look.stops.contains(&i) {
            return Some(Stroke::new(2.5, t.blocked));
        }
        if self.look.focus == Some(i) || self.look.selected.contains(&i) {
            return Some(Stroke::new(2.0, t.accent));
        }
        if self.look.on_way.contains(&i) {
            return Some(Stroke::new(1.5, t.accent));
        }
        match self.styles.fate[i] {
            Fate::Added => Some(Stroke::new(2.0, t.grafted)),
            Fate::Removed => Some(Stroke::new(1.0, t.bypassed)),
            _ => None,
        }
    }

    fn open_box(&self, painter: &Painter, i: usize) {
        let t = self.tokens;
        let r = self.screen(i);
        let stroke = match self.outline(i) {
            // A way through a box need not frame all of it.
            Some(s) if self.look.focus == Some(i) || !self.look.on_way.contains(&i) => s,
            _ => Stroke::new(1.0, t.stroke_subtle),
        };
        painter.rect(r, CornerRadius::same(6), self.box_fill(i), stroke, StrokeKind::Inside);
        self.box_title(painter, i, r);
        self.paint_fold_mark(&painter.with_clip_rect(self.rect), i);
    }

    pub(super) fn box_fill(&self, i: usize) -> Color32 {
        let t = self.tokens;
        let depth = self.layout.holders(i).count() - 1;
        if depth.is_multiple_of(2) { t.panel } else { tokens::mix(t.panel, t.raised, 0.8) }
    }

    /// The title keeps a readable size as long as the box is large enough for it.
    pub(super) fn box_title(&self, painter: &Painter, i: usize, r: Rect) {
        let z = self.camera.zoom;
        let size = self.font(13.0).clamp(9.5, 26.0);
        if r.width() < TITLE_ROOM[0] || r.height() < TITLE_ROOM[1] {
            return;
        }
        let t = self.tokens;
        let (name, detail) = self.title(self.layout.placed[i].item);
        let pad = (6.0 * z).max(2.0);
        let clip = painter.with_clip_rect(r.shrink(pad).intersect(self.rect));
        // A box that begins left of the view keeps its title in sight.
        let left = (r.left() + 10.0 * z.max(0.4)).max(self.rect.left() + 6.0).min(r.right());
        let right = self.fold_mark(i).map_or(r.right() - pad, |m| m.left() - 4.0);
        let room = ((right - left) / (size * 0.58)) as usize;
        let at = pos2(left, r.top() + pad);
        let font = FontId::new(size, theme::strong_family());
        let drawn = clip.text(at, Align2::LEFT_TOP, text::elide_middle(&name, room.max(4)), font, t.text);
        let detail_size = (size * 0.85).max(SMALLEST_TEXT + 1.0);
        let detail_width = detail.chars().count() as f32 * detail_size * 0.52;
        let detail_at = pos2(drawn.right() + 10.0 * z.max(0.6), drawn.center().y);
        // Half a number would be a wrong one.
        if detail_at.x + detail_width < right {
            clip.text(detail_at, Align2::LEFT_CENTER, detail, FontId::proportional(detail_size), t.text_secondary);
        }
    }

    /// A bar across the edge at which a gradient stops.
    fn stop_bar(&self, painter: &Painter, i: usize) {
        let r = self.screen(i);
        let thick = (4.0 * self.camera.zoom).max(2.5);
        let gap = 3.0 * self.camera.zoom.max(0.5);
        let bar = if self.layout.is_sideways {
            let half = (r.height() * 0.28).clamp(4.0, 60.0);
            Rect::from_center_size(pos2(r.left() - gap, r.center().y), vec2(thick, half * 2.0))
        } else {
            let half = (r.width() * 0.28).clamp(4.0, 60.0);
            Rect::from_center_size(pos2(r.center().x, r.top() - gap), vec2(half * 2.0, thick))
        };
        painter.rect_filled(bar, 1.0, self.tokens.blocked);
    }
}
