//! Where the canvas looks: pan, zoom, and gliding there.

use egui::{Pos2, Rect, Vec2, pos2};

use super::layout::Layout;

pub const ZOOM_RANGE: std::ops::RangeInclusive<f32> = 0.0005..=2.5;
/// Seconds that a glide takes.
pub const GLIDE: f64 = 0.16;

/// Screen = (world - center) × zoom + middle of the canvas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Camera {
    pub center: [f32; 2],
    pub zoom: f32,
}

/// Where the camera is going.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    pub from: Camera,
    pub to: Camera,
    pub started: f64,
}

impl Goal {
    /// Where the camera is at a time; `true` when it has arrived.
    pub fn at(&self, now: f64, has_motion: bool) -> (Camera, bool) {
        let t = if has_motion { progress(now, self.started) } else { 1.0 };
        let mix = |a: f32, b: f32| a + (b - a) * t;
        let (a, b) = (self.from, self.to);
        let center = [mix(a.center[0], b.center[0]), mix(a.center[1], b.center[1])];
        (Camera { center, zoom: mix(a.zoom, b.zoom) }, t >= 1.0)
    }
}

/// 0 to 1 with an ease-out, over [`GLIDE`].
pub fn progress(now: f64, started: f64) -> f32 {
    let t = ((now - started) / GLIDE).clamp(0.0, 1.0) as f32;
    1.0 - (1.0 - t).powi(3)
}

impl Camera {
    pub fn to_screen(self, middle: Pos2, p: [f32; 2]) -> Pos2 {
        pos2((p[0] - self.center[0]) * self.zoom + middle.x, (p[1] - self.center[1]) * self.zoom + middle.y)
    }

    pub fn to_world(self, middle: Pos2, p: Pos2) -> [f32; 2] {
        [(p.x - middle.x) / self.zoom + self.center[0], (p.y - middle.y) / self.zoom + self.center[1]]
    }

    /// Shows a world rectangle with a margin.
    pub fn fitting(min: [f32; 2], size: [f32; 2], canvas: Vec2, max_zoom: f32) -> Self {
        let zoom = (canvas.x / (size[0] + 80.0)).min(canvas.y / (size[1] + 80.0)).min(max_zoom);
        Self {
            center: [min[0] + size[0] / 2.0, min[1] + size[1] / 2.0],
            zoom: zoom.clamp(*ZOOM_RANGE.start(), *ZOOM_RANGE.end()),
        }
    }

    /// The first look at a layout: as much as is readable, from its beginning, and across it where most begins.
    pub fn first(layout: &Layout, canvas: Vec2) -> Self {
        let mut camera = Self::fitting([0.0; 2], layout.size, canvas, 1.0);
        if camera.zoom >= 0.75 {
            return camera;
        }
        let canvas = [canvas.x, canvas.y];
        // Along the edges, and across them.
        let (along, across) = if layout.is_sideways { (0, 1) } else { (1, 0) };
        camera.zoom = (canvas[across] / (layout.size[across] + 80.0)).clamp(0.6, 1.0);
        let [seen, wide] = [along, across].map(|k| canvas[k] / camera.zoom);
        camera.center[along] = seen / 2.0 - 24.0;
        if wide < layout.size[across] {
            let begin = layout.placed.iter().filter(|p| !p.is_open && p.min[along] < seen - 48.0);
            let spans = begin.map(|p| (p.min[across], p.min[across] + p.size[across])).collect();
            camera.center[across] = fullest(spans, wide - 48.0).unwrap_or(layout.size[across] / 2.0);
        }
        camera
    }

    /// Zooms by a factor and keeps what is under `pointer` there.
    pub fn zoom_at(&mut self, rect: Rect, pointer: Pos2, factor: f32) {
        let fixed = self.to_world(rect.center(), pointer);
        self.zoom = (self.zoom * factor).clamp(*ZOOM_RANGE.start(), *ZOOM_RANGE.end());
        let moved = self.to_world(rect.center(), pointer);
        self.center = [self.center[0] + fixed[0] - moved[0], self.center[1] + fixed[1] - moved[1]];
    }

    pub fn pan(&mut self, d: Vec2) {
        self.center = [self.center[0] - d.x / self.zoom, self.center[1] - d.y / self.zoom];
    }
}

/// The middle of the window of a width that holds most of the spans whole.
fn fullest(mut spans: Vec<(f32, f32)>, width: f32) -> Option<f32> {
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    let window = |&(from, _): &(f32, f32)| {
        let inside: Vec<_> = spans.iter().filter(|s| s.0 >= from && s.1 <= from + width).collect();
        let to = inside.iter().map(|s| s.1).fold(from, f32::max);
        (inside.len(), (from + to) / 2.0)
    };
    // Of a very wide beginning some windows are enough.
    let step = spans.len().div_ceil(256).max(1);
    // The first of equals.
    spans.iter().step_by(step).map(window).reduce(|best, w| if w.0 > best.0 { w } else { best }).map(|w| w.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use egui::vec2;

    #[test]
    fn zooming_keeps_what_is_under_the_pointer() {
        let rect = Rect::from_min_size(pos2(100.0, 50.0), vec2(800.0, 600.0));
        let mut camera = Camera { center: [10.0, 20.0], zoom: 0.7 };
        let pointer = pos2(300.0, 400.0);
        let before = camera.to_world(rect.center(), pointer);
        camera.zoom_at(rect, pointer, 1.8);
        let after = camera.to_world(rect.center(), pointer);
        assert!((0..2).all(|k| (before[k] - after[k]).abs() < 1e-3));
        assert!((camera.zoom - 1.26).abs() < 1e-5);
        camera.zoom_at(rect, pointer, 1e-9);
        assert_eq!(camera.zoom, *ZOOM_RANGE.start());
    }

    #[test]
    fn the_first_look_goes_where_most_begins() {
        assert_eq!(fullest(vec![(0.0, 10.0), (500.0, 510.0), (520.0, 530.0), (540.0, 560.0)], 100.0), Some(530.0));
        assert_eq!(fullest(vec![(0.0, 10.0)], 100.0), Some(5.0));
        assert_eq!(fullest(Vec::new(), 100.0), None);
    }

    #[test]
    fn a_glide_ends_at_its_goal() {
        let (from, to) = (Camera { center: [0.0; 2], zoom: 1.0 }, Camera { center: [9.0, 3.0], zoom: 0.5 });
        let goal = Goal { from, to, started: 5.0 };
        assert_eq!(goal.at(5.0, true), (from, false));
        assert_eq!(goal.at(5.0 + GLIDE, true), (to, true));
        assert_eq!(goal.at(5.0, false), (to, true));
    }
}
