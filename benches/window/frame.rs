//! Frames while a run sends events and a graph of 20,000 nodes is panned, near and far.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use egui::{Key, Modifiers, vec2};
use regraft::app::{Options, layout};
use regraft::session::{Change, History, Session, demo};
use regraft::ui::Open;

use super::headless::Headless;
use super::{Row, Target, graphs};

/// The demo's session with so many epochs that it outlasts any measurement.
pub fn endless_demo(folder: &Path) -> Option<std::path::PathBuf> {
    let path = demo::write(folder).ok()?;
    let model = regraft::session::Model::open(&folder.join("model.pb")).ok()?;
    let mut session = Session::new(Arc::new(model), demo::recipe(folder));
    for (key, value) in [("training.epochs", "100000"), ("training.checkpoint_every", "1000000")] {
        session.apply(&Change::SetSetting { key: key.to_owned(), value: Some(value.to_owned()) }, None);
    }
    session.save_as(&path).ok()?;
    Some(path)
}

/// A window in which the demo trains; `None` where it does not start.
pub fn training(folder: &Path) -> Option<Headless> {
    let options = Options { open: endless_demo(folder), ..Options::default() };
    let mut window = Headless::new(options);
    if !window.until(|app| app.open.is_some() && app.is_settled()) {
        return None;
    }
    window.press(Key::Enter, Modifiers::COMMAND);
    window.until(|app| app.run.as_ref().is_some_and(|r| r.step > 4)).then_some(window)
}

pub fn run() -> Vec<Row> {
    let folder = match tempfile::tempdir() {
        Ok(f) => f,
        Err(e) => {
            println!("frame: no folder for the demo: {e}");
            return Vec::new();
        }
    };
    let Some(mut window) = training(folder.path()) else {
        println!("frame: the demo did not start to train");
        return Vec::new();
    };
    let overview = Arc::new(graphs::bert(20_000));
    let n = overview.nodes.len();
    window.app.open = Some(Open::new(Path::new("made-up.pb"), overview, History::default()));
    layout::show(window.app.dock(), "graph");
    window.frame(Vec::new());
    if let Some(open) = window.app.open.take() {
        window.app.state.canvas.unfold_all(&open);
        window.app.open = Some(open);
    }
    window.until(|app| app.state.canvas.size().0 > n / 3 && !app.state.canvas.is_busy());
    let (cards, wires) = window.app.state.canvas.size();
    println!("frame: {n} nodes, {cards} cards and boxes, {wires} wires, all unfolded");
    let mut rows = Vec::new();
    let mut all = Vec::new();
    for (zoom, name) in [(0.0, "whole graph in sight"), (0.1, "far"), (0.3, "middle"), (0.6, "cards"), (1.0, "near")] {
        let before = window.app.run.as_ref().map_or(0, |r| r.step);
        window.app.state.canvas.set_zoom(zoom);
        if zoom == 0.0 {
            window.app.state.canvas.wants = regraft::ui::canvas::Wants::Fit;
            window.frame(Vec::new());
            window.until(|app| !app.state.canvas.is_busy());
        }
        for _ in 0..10 {
            window.frame(Vec::new());
        }
        let (mut cpu, mut wall, mut vertices) = (Vec::new(), Vec::new(), 0);
        for i in 0..300 {
            let way = if i / 50 % 2 == 0 { 1.0 } else { -1.0 };
            window.app.state.canvas.pan(vec2(3.0 * way, 11.0 * way));
            let took = window.frame(Vec::new());
            cpu.push(took.cpu_ms);
            wall.push(took.wall_ms);
            vertices = vertices.max(took.vertices);
            std::thread::sleep(Duration::from_millis(4));
        }
        let steps = window.app.run.as_ref().map_or(0, |r| r.step) - before;
        let what = format!("frame: {name}, {} k vertices, {steps} steps meanwhile", vertices / 1000);
        all.extend(&cpu);
        rows.push(Row::new(what, "ms", cpu, Target::AtMostWithTail(4.0, 8.0)));
        rows.push(Row::new(format!("       {name}, on the clock, trainer on all cores"), "ms", wall, Target::None));
    }
    rows.push(Row::new("frame: all of these", "ms", all, Target::AtMostWithTail(4.0, 8.0)));
    rows
}
