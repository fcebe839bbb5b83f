//! Where the canvas looks: pan, zoom, and gliding there.

use egui::{Pos2, Rect, Vec2, pos2};

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

    /// The first look at a layout: as much as is readable, from its beginning.
    pub fn first(size: [f32; 2], canvas: Vec2, is_sideways: bool) -> Self {
        let mut camera = Self::fitting([0.0; 2], size, canvas, 1.0);
        if camera.zoom < 0.75 && is_sideways {
            camera.zoom = (canvas.y / (size[1] + 80.0)).clamp(0.6, 1.0);
            camera.center[0] = canvas.x / 2.0 / camera.zoom - 24.0;
        } else if camera.zoom < 0.75 {
            camera.zoom = (canvas.x / (size[0] + 80.0)).clamp(0.6, 1.0);
            camera.center[1] = canvas.y / 2.0 / camera.zoom - 24.0;
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
    fn a_glide_ends_at_its_goal() {
        let (from, to) = (Camera { center: [0.0; 2], zoom: 1.0 }, Camera { center: [9.0, 3.0], zoom: 0.5 });
        let goal = Goal { from, to, started: 5.0 };
        assert_eq!(goal.at(5.0, true), (from, false));
        assert_eq!(goal.at(5.0 + GLIDE, true), (to, true));
        assert_eq!(goal.at(5.0, false), (to, true));
    }
}
