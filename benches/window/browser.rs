//! A browser with 100,000 constants, scrolled.

use std::path::Path;
use std::sync::Arc;

use egui::{Event, Modifiers, MouseWheelUnit, TouchPhase, pos2, vec2};
use regraft::app::{Options, layout};
use regraft::session::History;
use regraft::ui::Open;

use super::headless::Headless;
use super::{Row, Target, graphs};

pub fn run() -> Vec<Row> {
    let overview = Arc::new(graphs::constants(100_000));
    let mut window = Headless::new(Options::default());
    window.app.open = Some(Open::new(Path::new("made-up.pb"), overview, History::default()));
    // The graph of so many constants is not what is measured.
    layout::show(window.app.dock(), "plots");
    layout::show(window.app.dock(), "browser");
    for _ in 0..10 {
        window.frame(Vec::new());
    }
    let mut cpu = Vec::new();
    for i in 0..400 {
        let scroll = Event::MouseWheel {
            unit: MouseWheelUnit::Point,
            delta: vec2(0.0, if i < 300 { -900.0 } else { 700.0 }),
            phase: TouchPhase::Move,
            modifiers: Modifiers::NONE,
            source: egui::MouseWheelSource::Unknown,
        };
        cpu.push(window.frame(vec![Event::PointerMoved(pos2(200.0, 450.0)), scroll]).cpu_ms);
    }
    vec![Row::new("browser: 100,000 rows, scrolled", "ms", cpu, Target::AtMostWithTail(4.0, 8.0))]
}
