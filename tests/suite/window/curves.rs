//! Plots, the run's buttons and the predictions by their names: odd curves, earlier runs, what can be done with a run.

use egui_kittest::kittest::{NodeT, Queryable};
use regraft::app::Options;
use regraft::ui::ctx::ThemeChoice;
use regraft::ui::run_view::{Moment, RunState, RunView, Series};

use super::flows::wait_for;
use super::{Window, model, pictures};

const SIZE: [f32; 2] = [1440.0, 900.0];

fn show(window: &mut Window, panels: &[&str]) {
    for panel in panels {
        regraft::app::layout::show(window.app().dock(), panel);
    }
    window.settle();
}

fn series(values: &[f64]) -> Series {
    let mut s = Series::new("s");
    for (i, v) in values.iter().enumerate() {
        let x = i as f64;
        s.push(Moment { step: x, epoch: x / 10.0, seconds: x * 0.4, wall: x * 0.5 }, *v);
    }
    s
}

/// A run whose curves have one point, none, infinities, values without logarithms, an outlier at their start, a million
/// points.
pub fn odd() -> RunView {
    let mut run = RunView { name: "odd".to_owned(), state: RunState::Running, ..RunView::default() };
    run.loss = series(&[40.0, 0.9, 0.7, 0.0, 0.6, -0.2, 0.5, 0.45, 0.4, 0.38, 0.37, 0.36]);
    run.validation_loss = series(&[f64::NAN, 0.8, f64::INFINITY, 0.5]);
    run.metric("accuracy").1 = series(&[0.5]);
    run.metric("f1").1 = series(&[f64::NAN]);
    run.rate = series(&[5e-5; 12]);
    let many: Vec<f64> = (0..1_000_000).map(|i| 1.0 + (f64::from(i) * 1e-4).sin() * 0.5).collect();
    run.norm = series(&many);
    run
}

#[test]
fn odd_curves_are_drawn_and_what_is_left_out_is_said() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Light);
    window.app().run = Some(odd());
    show(&mut window, &["plots"]);
    assert!(window.has("2 values not finite left out"), "the validation loss");
    assert!(window.has("1 value not finite left out"), "F1");
    assert!(window.has("Plot of Accuracy") && window.has("Plot of F1") && window.has("Plot of Gradient norm"));
    pictures::write(&mut window, "panels/plots-odd-light");
    window.click("Log y");
    assert!(window.has("2 values not finite and 2 values without a logarithm left out"));
    window.click("Log x");
    pictures::write(&mut window, "panels/plots-odd-log-light");
    // Nothing at all yet.
    window.app().run = Some(RunView { name: "new".to_owned(), ..RunView::default() });
    window.settle();
    assert!(window.has("Plot of Loss") && !window.has_containing("left out"));
}

#[test]
fn a_run_is_stopped_from_its_own_buttons() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    window.app().run = Some(model::run());
    show(&mut window, &["plots", "training"]);
    for (state, actions) in [
        (RunState::Running, ["Pause", "Stop and keep", "Stop and discard…", "Checkpoint now"]),
        (RunState::Paused, ["Resume", "Stop and keep", "Stop and discard…", "Checkpoint now"]),
    ] {
        window.app().run.as_mut().expect("a run").state = state;
        window.settle();
        for label in actions {
            let buttons = window.harness.query_all_by_label(label);
            assert!(buttons.into_iter().any(|b| !b.accesskit_node().is_disabled()), "{label} while {state:?}");
        }
    }
    pictures::write(&mut window, "panels/training-running-dark");
}

#[test]
fn earlier_runs_are_shown_resumed_and_extended_where_they_are_looked_at() {
    let folder = tempfile::tempdir().expect("a folder");
    let session = pictures::demo_session(folder.path());
    let options = || Options { open: Some(session.clone()), ..Options::default() };
    let set = |key: &str, value: &str| regraft::session::Change::SetSetting {
        key: key.to_owned(),
        value: Some(value.to_owned()),
    };
    let mut window = Window::new(SIZE, 1.0, ThemeChoice::Light, options());
    wait_for(&mut window, "the demo", |app| app.open.is_some() && app.is_settled());
    window.app().open.as_mut().expect("open").history.apply(&set("training.steps", "3"), None);
    window.click_first("Start training");
    wait_for(&mut window, "the end", |app| {
        app.run.as_ref().is_some_and(|r| r.state == RunState::Finished)
            && app.open.as_ref().is_some_and(|o| o.runs.iter().any(|r| r.can_resume))
    });
    let seen = window.app().run.as_ref().map(|r| (r.loss.values.clone(), r.marks.len())).expect("a run");
    drop(window);
    // In another window, later.
    let mut window = Window::new(SIZE, 1.0, ThemeChoice::Light, options());
    wait_for(&mut window, "the runs", |app| app.open.as_ref().is_some_and(|o| o.runs.len() == 1) && app.is_settled());
    show(&mut window, &["plots", "training"]);
    assert!(window.has("No run yet"));
    window.click("Show run-1");
    let run = window.app().run.as_ref().expect("an earlier run");
    assert_eq!((run.loss.values.clone(), run.marks.len(), run.state), (seen.0, seen.1, RunState::Finished));
    assert!(window.has("Plot of Loss"));
    assert!(!window.has("Resume the run"), "it came to its end");
    pictures::write(&mut window, "panels/plots-earlier-light");
    window.click("Extend the run by 1 step");
    wait_for(&mut window, "the longer run", |app| {
        app.run.as_ref().is_some_and(|r| r.state == RunState::Finished && r.loss.values.len() == 4)
    });
    let run = window.app().run.as_ref().expect("a run");
    for xs in [&run.loss.seconds, &run.loss.wall, &run.loss.epochs] {
        assert!(xs.windows(2).all(|w| w[0] <= w[1]), "time goes on: {xs:?}");
    }
}

#[test]
fn predictions_are_looked_at_by_example_and_by_class() {
    use regraft::train::metrics::{ClassRow, PrecisionRecall};
    let mut window = Window::with_model(SIZE, ThemeChoice::Light);
    let mut run = model::run();
    let curve = |class: usize, bend: f64| {
        let recall: Vec<f64> = (0..=100).rev().map(|i| f64::from(i) / 100.0).collect();
        let precision = recall.iter().map(|r| 1.0 - 0.4 * r.powf(bend)).collect();
        PrecisionRecall { class, recall, precision, average: 0.9 }
    };
    run.curves = vec![("bad".to_owned(), curve(0, 2.0)), ("good".to_owned(), curve(1, 6.0))];
    run.entities = vec![ClassRow { name: "PER".to_owned(), precision: 0.5, recall: 0.25, f1: 1.0 / 3.0, support: 8 }];
    let wrong = run.predictions.iter().filter(|p| !p.is_right()).count();
    window.app().run = Some(run);
    show(&mut window, &["predictions"]);
    assert!(wrong > 0 && window.has_containing(&format!("{wrong} of 24 wrong")));
    assert!(window.has("Wrong") && window.has("Right"));
    pictures::write(&mut window, "panels/predictions-examples-light");
    window.click("Only mistakes");
    assert!(window.has("Wrong") && !window.has("Right"));
    window.click("Show classes");
    assert!(!window.has("Only mistakes"));
    for label in ["PER CLASS", "PER TYPE OF ENTITY", "Confusion matrix: true class by row", "Precision against recall"]
    {
        assert!(window.has(label), "{label}");
    }
    assert!(window.has("89.5 %"), "precision of the first class, from its counts");
    pictures::write(&mut window, "panels/predictions-classes-light");
    // Several labels for one example: there is no confusion matrix, but a row for each label.
    let run = window.app().run.as_mut().expect("a run");
    run.confusion = None;
    run.entities.clear();
    run.classes = vec![ClassRow { name: "urgent".to_owned(), precision: 0.75, ..ClassRow::default() }];
    window.settle();
    assert!(window.has("urgent") && window.has("75.0 %") && !window.has("PER TYPE OF ENTITY"));
}

#[test]
fn a_plot_tells_what_is_under_the_pointer_and_is_zoomed_by_dragging() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Light);
    window.app().run = Some(model::run());
    show(&mut window, &["plots"]);
    let middle = window.harness.get_by_label("Plot of Loss").rect().center();
    window.harness.hover_at(middle);
    window.harness.run_steps(40);
    for words in ["Step ", "Train", "Validation"] {
        assert!(window.has_containing(words), "{words}");
    }
    assert!(window.has_containing(" · epoch "), "when it was");
    pictures::write(&mut window, "panels/plots-hover-light");
    window.harness.drag_at(middle);
    window.harness.step();
    for x in [20.0, 60.0, 120.0] {
        window.harness.hover_at(middle - egui::vec2(x, 0.0));
        window.harness.step();
    }
    window.harness.drop_at(middle - egui::vec2(120.0, 0.0));
    window.settle();
    assert!(!window.app().state.plots.is_following, "what was dragged stays");
    pictures::write(&mut window, "panels/plots-frozen-light");
    window.click("Follow");
    assert!(window.app().state.plots.is_following);
}
