//! The graph from far away: plain quads in one mesh, so that 20,000 nodes cost no more than a few cards.

use egui::{Align2, Color32, FontId, Mesh, Painter, Pos2, Rect, Shape, pos2, vec2};

use crate::ui::text;
use crate::ui::theme::tokens;

use super::draw::{Scene, Visible};
use super::layout::Item;

/// Below this zoom wires are straight from end to end.
const BEND_ZOOM: f32 = 0.12;
/// Wires shorter than this, in points, would be a speck.
const SHORTEST: f32 = 2.0;
/// Cards narrower than this have no words.
const WORDS_WIDTH: f32 = 44.0;

impl Scene<'_> {
    pub(super) fn draw_far(&self, painter: &Painter, visible: &Visible) {
        let mut mesh = Mesh::default();
        for &i in visible.placed.iter().filter(|&&i| self.layout.placed[i as usize].is_open) {
            let i = i as usize;
            let r = self.screen(i).intersect(self.rect.expand(4.0));
            let frame = self.look.focus == Some(i);
            let stroke = if frame { self.tokens.accent } else { self.tokens.stroke_subtle };
            framed(&mut mesh, r, if frame { 2.0 } else { 1.0 }, stroke, self.box_fill(i));
        }
        for &i in &visible.wires {
            self.far_wire(&mut mesh, i as usize);
        }
        for &i in visible.placed.iter().filter(|&&i| !self.layout.placed[i as usize].is_open) {
            self.far_card(&mut mesh, i as usize);
        }
        painter.add(Shape::mesh(mesh));
        self.far_words(painter, visible);
    }

    fn far_wire(&self, mesh: &mut Mesh, i: usize) {
        let w = &self.layout.wires[i];
        let is_lit = self.is_lit(i);
        if w.is_stub && !is_lit {
            return;
        }
        let stroke = self.wire_stroke(i);
        let width = if is_lit { stroke.width.max(1.5) } else { 1.0 };
        // Thin lines without smoothing look heavier than smoothed ones.
        let color = if is_lit { stroke.color } else { tokens::faded(stroke.color, 0.7) };
        let reach = self.rect.expand(4.0);
        let mut piece = |a: Pos2, b: Pos2| {
            if is_lit || (a.x - b.x).abs() + (a.y - b.y).abs() >= SHORTEST {
                line(mesh, a, b, width, color, reach);
            }
        };
        if self.motion.is_some() || (self.camera.zoom < BEND_ZOOM && !is_lit) {
            let (a, b) = match self.motion {
                Some(_) => (self.ports(w.from)[0], self.ports(w.to)[1]),
                None => match (w.points.first(), w.points.last()) {
                    (Some(&a), Some(&b)) => (self.point(a), self.point(b)),
                    _ => return,
                },
            };
            return piece(a, b);
        }
        for pair in w.points.windows(2) {
            piece(self.point(pair[0]), self.point(pair[1]));
        }
    }

    fn far_card(&self, mesh: &mut Mesh, i: usize) {
        let t = self.tokens;
        let mut r = self.screen(i);
        // Never smaller than a pixel, or parts of the graph would vanish.
        if r.width() < 1.5 || r.height() < 1.5 {
            r = Rect::from_center_size(r.center(), r.size().max(vec2(1.5, 1.5)));
        }
        let opacity = self.opacity(i);
        let outline = self.outline(i);
        if self.camera.zoom < 0.2 {
            let color = tokens::mix(t.raised, self.styles.color[i], 0.6);
            match outline {
                Some(s) => framed(mesh, r.expand(1.0), s.width.min(2.0), s.color, color),
                None => mesh.add_colored_rect(r, tokens::faded(color, opacity)),
            }
            return;
        }
        let stroke = outline.map_or((1.0, t.stroke_strong), |s| (s.width, s.color));
        framed(mesh, r, stroke.0, tokens::faded(stroke.1, opacity), tokens::faded(t.raised, opacity));
        let stripe = Rect::from_min_size(r.min + vec2(1.0, 1.0), vec2(2.0, (r.height() - 2.0).max(1.0)));
        mesh.add_colored_rect(stripe, tokens::faded(self.styles.color[i], opacity));
    }

    /// Titles of large boxes, and names of closed scopes that have room for them.
    fn far_words(&self, painter: &Painter, visible: &Visible) {
        let t = self.tokens;
        for &i in &visible.placed {
            let i = i as usize;
            let p = &self.layout.placed[i];
            let r = self.screen(i);
            if p.is_open {
                self.box_title(painter, i, r);
            } else if matches!(p.item, Item::Scope(_)) && r.width() >= WORDS_WIDTH && r.height() >= 12.0 {
                let room = ((r.width() - 8.0) / 4.6) as usize;
                let words = text::elide_middle(&self.title(p.item).0, room);
                let clip = painter.with_clip_rect(r.intersect(self.rect));
                let at = pos2(r.left() + 5.0, r.center().y);
                clip.text(at, Align2::LEFT_CENTER, words, FontId::proportional(8.5), t.text);
            }
        }
    }
}

/// A rectangle with a frame, as two quads.
fn framed(mesh: &mut Mesh, r: Rect, width: f32, stroke: Color32, fill: Color32) {
    mesh.add_colored_rect(r, stroke);
    let inner = r.shrink(width);
    if inner.is_positive() {
        mesh.add_colored_rect(inner, fill);
    }
}

/// A straight line as a quad, cut to what can be seen: far ends may lie beyond what floats place exactly.
fn line(mesh: &mut Mesh, a: Pos2, b: Pos2, width: f32, color: Color32, reach: Rect) {
    if (a.x.max(b.x) < reach.left() || a.x.min(b.x) > reach.right())
        || (a.y.max(b.y) < reach.top() || a.y.min(b.y) > reach.bottom())
    {
        return;
    }
    let d = b - a;
    let length = d.length();
    if length < 1e-3 {
        return;
    }
    let n = vec2(-d.y, d.x) * (0.5 * width / length);
    let at = mesh.vertices.len() as u32;
    for p in [a + n, b + n, b - n, a - n] {
        mesh.colored_vertex(p, color);
    }
    mesh.add_triangle(at, at + 1, at + 2);
    mesh.add_triangle(at, at + 2, at + 3);
}
