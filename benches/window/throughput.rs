//! What the window costs the trainer: the demo's steps per second with the window open and plots live, beside the same
//! run without a window.

use std::time::{Duration, Instant};

use regraft::app::layout;
use regraft::base::Reporter;
use regraft::session::{Session, tables, training};
use regraft::train::{Delivery, TrainCommand, TrainEvent, Trainer};

use super::frame::{endless_demo, training as window_training};
use super::{Row, Target};

/// How long each of them runs, and how often they take turns.
const SPAN: Duration = Duration::from_secs(8);
const TURNS: usize = 4;

pub fn run() -> Vec<Row> {
    let mut ratios = Vec::new();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let (Some(a), Some(b)) = (headless(), with_window()) else {
            println!("throughput: the demo did not train");
            return Vec::new();
        };
        without.push(a);
        with.push(b);
        ratios.push(b / a * 100.0);
    }
    vec![
        Row::new("throughput: the demo without a window", "/s", without, Target::None),
        Row::new("throughput: with the window open and plots live", "/s", with, Target::None),
        Row::new("throughput: with the window, of headless", "%", ratios, Target::AtLeast(98.0)),
    ]
}

/// Steps per second of a trainer whose events are only counted.
fn headless() -> Option<f64> {
    let folder = tempfile::tempdir().ok()?;
    let session = Session::open(&endless_demo(folder.path())?).ok()?;
    let start = training::Start {
        folder: Some(folder.path().join("run")),
        resume: false,
        delivery: Delivery::Merge,
        waker: None,
        threads: None,
    };
    let trainer = Trainer::start(tables::job(&session, start, &mut Reporter::default()).ok()?).ok()?;
    let mut first: Option<(u64, Instant)> = None;
    let rate = loop {
        let event = trainer.events().recv_timeout(Duration::from_secs(60)).ok()?;
        let TrainEvent::Step { step, .. } = event else { continue };
        match first {
            None if step >= 5 => first = Some((step, Instant::now())),
            Some((from, since)) if since.elapsed() >= SPAN => {
                break (step - from) as f64 / since.elapsed().as_secs_f64();
            }
            _ => {}
        }
    };
    trainer.send(TrainCommand::Stop { keep: false });
    trainer.join();
    Some(rate)
}

/// The same with frames drawn whenever the window asks for one.
fn with_window() -> Option<f64> {
    let folder = tempfile::tempdir().ok()?;
    let mut window = window_training(folder.path())?;
    layout::show(window.app.dock(), "plots");
    let (wake, woken) = crossbeam_channel::bounded(64);
    window.ctx.set_request_repaint_callback(move |info| {
        let _ = wake.try_send(info.delay);
    });
    let step = |w: &super::headless::Headless| w.app.run.as_ref().map_or(0, |r| r.step);
    let (from, since) = (step(&window), Instant::now());
    let mut next = Instant::now();
    while since.elapsed() < SPAN {
        // As a window does it: no more than 60 frames a second, and only where one was asked for.
        while let Ok(delay) = woken.recv_deadline(next) {
            next = next.min(Instant::now() + delay);
        }
        let drawn = Instant::now();
        let took = window.frame(Vec::new());
        let wait = took.next.clamp(Duration::from_millis(16), Duration::from_secs(1));
        next = drawn + wait;
    }
    let rate = (step(&window) - from) as f64 / since.elapsed().as_secs_f64();
    // The trainer ends its step and its checkpoint before the next turn.
    drop(window);
    std::thread::sleep(Duration::from_secs(2));
    Some(rate)
}
