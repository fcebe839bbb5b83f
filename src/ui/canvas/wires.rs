//! Wires: curves between cards, stubs where whole ones would cross everything, dashes for what edits took out.

use egui::{Align2, Color32, Painter, Pos2, Rect, Shape, Stroke, epaint::PathShape, pos2, vec2};

use crate::ui::selection::Target;
use crate::ui::theme::{self, tokens};

use super::draw::{SMALLEST_TEXT, Scene, Visible};
use super::layout::Wire;

/// Pieces of a curve between two bends.
const N_PIECES: usize = 8;
/// Length of a stub, in world units.
const STUB: f32 = 22.0;
const LABEL_ZOOM: f32 = 0.7;

impl Scene<'_> {
    pub(super) fn draw_wires(&self, painter: &Painter, visible: &Visible) {
        let mut shapes = Vec::new();
        let mut lit = Vec::new();
        for &i in &visible.wires {
            let i = i as usize;
            let w = &self.layout.wires[i];
            let points = self.wire_points(w);
            if !Rect::from_points(&points).expand(8.0).intersects(self.rect) {
                continue;
            }
            let stroke = self.wire_stroke(i);
            let is_lit = self.is_lit(i);
            let out = if is_lit { &mut lit } else { &mut shapes };
            if w.is_stub && !is_lit {
                stub(&points, self.camera.zoom, stroke, self.layout.is_sideways, out);
            } else {
                self.whole(w, &points, stroke, out);
            }
            if (self.has_labels || is_lit) && self.camera.zoom >= LABEL_ZOOM && self.motion.is_none() {
                self.label(painter, w, &points, &mut lit);
            }
        }
        painter.extend(shapes);
        painter.extend(lit);
    }

    pub(super) fn is_lit(&self, i: usize) -> bool {
        let w = &self.layout.wires[i];
        let is_way = self.look.way_wires.contains(&i);
        let touches = |p: Option<usize>| p.is_some_and(|p| p == w.from || p == w.to);
        let is_chosen = match self.look.edge_wires.is_empty() {
            true => self.look.way_wires.is_empty() && touches(self.look.focus),
            false => self.look.edge_wires.contains(&i),
        };
        is_way || self.hovered_wire == Some(i) || is_chosen
    }

    pub(super) fn wire_stroke(&self, i: usize) -> Stroke {
        let t = self.tokens;
        let w = &self.layout.wires[i];
        let z = self.camera.zoom;
        if self.is_lit(i) {
            return Stroke::new(2.5 * z.clamp(0.6, 1.0), t.accent);
        }
        let color = match (w.is_lost, w.is_gained) {
            (true, _) => t.bypassed,
            (_, true) => t.grafted,
            _ => tokens::mix(t.stroke_strong, t.text, 0.12),
        };
        let opacity = self.opacity(w.from).min(self.opacity(w.to));
        let fade = self.motion.map_or(1.0, |(_, progress)| progress);
        Stroke::new((1.25 * z).clamp(0.7, 1.5), tokens::faded(color, opacity * fade))
    }

    /// Ends and bends on the screen; while folding, straight between where the ends are now.
    pub(super) fn wire_points(&self, w: &Wire) -> Vec<Pos2> {
        if self.motion.is_some() {
            return vec![self.ports(w.from)[0], self.ports(w.to)[1]];
        }
        w.points.iter().map(|&p| self.point(p)).collect()
    }

    fn whole(&self, w: &Wire, points: &[Pos2], stroke: Stroke, out: &mut Vec<Shape>) {
        let is_sideways = self.layout.is_sideways;
        let line = curve(points, is_sideways);
        if w.is_lost {
            out.extend(Shape::dashed_line(&line, stroke, 5.0, 4.0));
        } else {
            out.push(PathShape::line(line, stroke).into());
        }
        if let [.., end] = points {
            out.push(arrow(*end, 4.0 * self.camera.zoom, stroke.color, is_sideways));
        }
    }

    /// The shape that flows, on the middle of the wire.
    fn label(&self, painter: &Painter, w: &Wire, points: &[Pos2], out: &mut Vec<Shape>) {
        let size = self.font(9.5).max(SMALLEST_TEXT + 0.5);
        let middle = points.len() / 2;
        let at = if points.len() % 2 == 1 {
            points[middle]
        } else {
            points[middle - 1] + (points[middle] - points[middle - 1]) / 2.0
        };
        if w.label.is_empty() || !self.rect.contains(at) {
            return;
        }
        let galley = painter.layout_no_wrap(w.label.clone(), theme::mono(size), self.tokens.text_secondary);
        let reach = points.first().zip(points.last()).map_or(0.0, |(a, b)| (b.x - a.x).abs());
        if self.layout.is_sideways && reach < galley.size().x + 12.0 {
            // It would run into what it joins.
            return;
        }
        let r = Align2::CENTER_CENTER.anchor_size(at, galley.size());
        out.push(Shape::rect_filled(r.expand2(vec2(3.0, 1.0)), 2.0, tokens::faded(self.tokens.panel, 0.9)));
        out.push(Shape::galley(r.min, galley, self.tokens.text_secondary));
    }

    /// A point of a wire where it can be clicked: its middle, or beside its beginning where only ends are drawn.
    pub fn grip(&self, i: usize) -> Option<Pos2> {
        let w = &self.layout.wires[i];
        let points = self.wire_points(w);
        let (first, last) = (*points.first()?, *points.last()?);
        if w.is_stub && !self.is_lit(i) {
            let d = STUB * self.camera.zoom / 2.0;
            return Some(first + if self.layout.is_sideways { vec2(d, 0.0) } else { vec2(0.0, d) });
        }
        let middle = points.len() / 2;
        match points.len() {
            1 => Some(first + (last - first) / 2.0),
            n if n % 2 == 1 => Some(points[middle]),
            _ => Some(points[middle - 1] + (points[middle] - points[middle - 1]) / 2.0),
        }
    }

    /// What an edge is in the selection: its values by name.
    pub fn edge(&self, i: usize) -> Option<Target> {
        let values = self.layout.wires[i].values.iter();
        Target::edge(values.filter_map(|f| f.row(&self.shown.overview)).map(|v| v.name.clone()).collect())
    }

    /// The wire nearest to a point, if one is near.
    pub fn wire_at(&self, at: Pos2) -> Option<usize> {
        let reach = 6.0 / self.camera.zoom;
        let [x, y] = self.camera.to_world(self.rect.center(), at);
        let near = self.layout.wire_grid.within([x - reach, y - reach], [x + reach, y + reach]);
        let distance = |i: usize| {
            let w = &self.layout.wires[i];
            let points = curve(&self.wire_points(w), self.layout.is_sideways);
            let ends = if w.is_stub { STUB * self.camera.zoom } else { f32::INFINITY };
            let (a, b) = (points.first().copied().unwrap_or(at), points.last().copied().unwrap_or(at));
            if a.distance(at).min(b.distance(at)) > ends {
                return f32::INFINITY;
            }
            points.windows(2).map(|s| distance(at, s[0], s[1])).fold(f32::INFINITY, f32::min)
        };
        let nearest = near.into_iter().map(|i| (distance(i as usize), i as usize)).min_by(|a, b| a.0.total_cmp(&b.0));
        nearest.filter(|(d, _)| *d < 6.0).map(|(_, i)| i)
    }
}

/// Leaves and arrives along the graph's direction; straight where it hardly moves across it.
fn curve(points: &[Pos2], is_sideways: bool) -> Vec<Pos2> {
    let mut out = Vec::with_capacity(points.len() * N_PIECES);
    out.extend(points.first());
    for pair in points.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        let d = b - a;
        if (if is_sideways { d.y } else { d.x }).abs() >= 1.0 {
            let bend = if is_sideways {
                vec2((d.x * 0.5).clamp(-60.0, 60.0), 0.0)
            } else {
                vec2(0.0, (d.y * 0.5).clamp(-60.0, 60.0))
            };
            let (c, d) = (a + bend, b - bend);
            for k in 1..N_PIECES {
                let t = k as f32 / N_PIECES as f32;
                let u = 1.0 - t;
                let mix = |f: fn(Pos2) -> f32| {
                    u * u * u * f(a) + 3.0 * u * u * t * f(c) + 3.0 * u * t * t * f(d) + t * t * t * f(b)
                };
                out.push(pos2(mix(|p| p.x), mix(|p| p.y)));
            }
        }
        out.push(b);
    }
    out
}

fn arrow(end: Pos2, s: f32, color: Color32, is_sideways: bool) -> Shape {
    let tip = if is_sideways {
        vec![end, end + vec2(-1.6 * s, s), end + vec2(-1.6 * s, -s)]
    } else {
        vec![end, end + vec2(-s, -1.6 * s), end + vec2(s, -1.6 * s)]
    };
    Shape::convex_polygon(tip, color, Stroke::NONE)
}

/// Only the two ends, each with a small ring that says: it goes on.
fn stub(points: &[Pos2], zoom: f32, stroke: Stroke, is_sideways: bool, out: &mut Vec<Shape>) {
    let [start, .., end] = points else { return };
    let length = if is_sideways { vec2(STUB * zoom, 0.0) } else { vec2(0.0, STUB * zoom) };
    let ring = 3.0 * zoom;
    for (from, to) in [(*start, *start + length), (*end, *end - length)] {
        out.push(Shape::line_segment([from, to], stroke));
        out.push(Shape::circle_stroke(to, ring, stroke));
    }
    out.push(arrow(*end, 4.0 * zoom, stroke.color, is_sideways));
}

fn distance(p: Pos2, a: Pos2, b: Pos2) -> f32 {
    let ab = b - a;
    let t = if ab.length_sq() > 0.0 { ((p - a).dot(ab) / ab.length_sq()).clamp(0.0, 1.0) } else { 0.0 };
    (p - (a + ab * t)).length()
}
