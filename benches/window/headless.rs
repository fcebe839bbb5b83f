//! The whole window on a context without a display, frame by frame.

use std::time::{Duration, Instant};

use egui::{Event, Pos2, RawInput, Rect, Vec2};
use regraft::app::{App, Options};
use regraft::ui::ctx::{Preferences, ThemeChoice};

pub const SIZE: Vec2 = Vec2::new(1440.0, 900.0);

/// What one frame took: time of this thread on a processor, and on the clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    pub cpu_ms: f64,
    pub wall_ms: f64,
    pub vertices: usize,
    /// When the next frame is wanted.
    pub next: Duration,
}

pub struct Headless {
    pub ctx: egui::Context,
    pub app: App,
    started: Instant,
}

impl Headless {
    pub fn new(options: Options) -> Self {
        let ctx = egui::Context::default();
        let preferences = Preferences { theme: ThemeChoice::Dark, ..Preferences::default() };
        let app = App::new(&ctx, Options { preferences, ..options });
        Self { ctx, app, started: Instant::now() }
    }

    /// Logic, panels and tessellation of one frame.
    pub fn frame(&mut self, events: Vec<Event>) -> Took {
        let input = RawInput {
            screen_rect: Some(Rect::from_min_size(Pos2::ZERO, SIZE)),
            time: Some(self.started.elapsed().as_secs_f64()),
            events,
            focused: true,
            ..RawInput::default()
        };
        let (wall, cpu) = (Instant::now(), thread_seconds());
        let app = &mut self.app;
        let mut output = self.ctx.run_ui(input, |ui| {
            app.logic(ui.ctx());
            app.ui(ui);
        });
        // Uploading glyphs is the graphics card's part.
        output.textures_delta.clear();
        let primitives = self.ctx.tessellate(output.shapes, output.pixels_per_point);
        let (cpu_ms, wall_ms) = ((thread_seconds() - cpu) * 1e3, wall.elapsed().as_secs_f64() * 1e3);
        let vertices = primitives.iter().map(|p| match &p.primitive {
            egui::epaint::Primitive::Mesh(m) => m.vertices.len(),
            egui::epaint::Primitive::Callback(_) => 0,
        });
        let next = output.viewport_output.get(&egui::ViewportId::ROOT).map_or(Duration::MAX, |v| v.repaint_delay);
        Took { cpu_ms, wall_ms, vertices: vertices.sum(), next }
    }

    /// Frames until `is_done`, or a minute has passed; whether it is done.
    pub fn until(&mut self, is_done: impl Fn(&App) -> bool) -> bool {
        let started = Instant::now();
        while !is_done(&self.app) {
            if started.elapsed() > Duration::from_secs(60) {
                return false;
            }
            self.frame(Vec::new());
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    pub fn press(&mut self, key: egui::Key, modifiers: egui::Modifiers) {
        let event = |pressed| Event::Key { key, physical_key: None, pressed, repeat: false, modifiers };
        self.frame(vec![event(true)]);
        self.frame(vec![event(false)]);
    }
}

/// Time that this thread has spent on a processor.
fn thread_seconds() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of this frame, which the call fills.
    #[allow(unsafe_code)]
    unsafe {
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut t);
    }
    t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
}
