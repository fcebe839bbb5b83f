//! The whole graph in a corner, with a frame around what is visible.

use egui::{Painter, Pos2, Rect, Stroke, StrokeKind, vec2};

use crate::ui::theme::tokens;

use super::draw::Scene;

impl Scene<'_> {
    /// Where the visible part lies in the whole; only where not all is visible.
    pub(super) fn mini_map(&self, painter: &Painter) {
        let t = self.ctx.tokens;
        let whole = Rect::from_min_size(
            self.point([0.0; 2]),
            vec2(self.layout.size[0], self.layout.size[1]) * self.camera.zoom,
        );
        if self.rect.contains_rect(whole) || self.rect.width() < 420.0 || self.rect.height() < 300.0 {
            return;
        }
        let scale = (130.0 / self.layout.size[0].max(1.0)).min(150.0 / self.layout.size[1].max(1.0));
        let size = vec2(self.layout.size[0], self.layout.size[1]) * scale;
        let map = Rect::from_min_size(
            self.rect.right_bottom() - size.max(vec2(16.0, 16.0)) - vec2(12.0, 12.0),
            size.max(vec2(16.0, 16.0)),
        );
        painter.rect(
            map.expand(4.0),
            4.0,
            tokens::faded(t.panel, 0.92),
            Stroke::new(1.0, t.stroke_subtle),
            StrokeKind::Outside,
        );
        for p in self.layout.placed.iter().filter(|p| p.parent.is_none() || !p.is_open).take(1500) {
            let r = Rect::from_min_size(
                map.min + vec2(p.min[0], p.min[1]) * scale,
                (vec2(p.size[0], p.size[1]) * scale).max(vec2(1.0, 1.0)),
            );
            painter.rect_filled(r, 0.0, if p.is_open { t.raised } else { tokens::mix(t.raised, self.color(p), 0.6) });
        }
        let to_map = |p: Pos2| {
            let w = self.camera.to_world(self.rect.center(), p);
            map.min + vec2(w[0], w[1]) * scale
        };
        let shown = Rect::from_two_pos(to_map(self.rect.min), to_map(self.rect.max)).intersect(map);
        painter.rect_stroke(shown, 1.0, Stroke::new(1.25, t.accent), StrokeKind::Inside);
    }
}
