//! Whole jobs through the window on the demo: by keyboard alone, proofs, other models, runs side by side, recovery.

use std::path::Path;

use egui::{Key, Modifiers};
use egui_kittest::kittest::Queryable;
use regraft::app::{App, Options};
use regraft::session::recipe::StandIn;
use regraft::ui::ctx::ThemeChoice;
use regraft::ui::run_view::RunState;

use super::{Window, model};

const SIZE: [f32; 2] = [1440.0, 900.0];

/// Steps until `is_there` holds.
pub fn wait_for(window: &mut Window, what: &str, is_there: impl Fn(&App) -> bool) {
    for _ in 0..3000 {
        window.harness.step();
        if is_there(window.app()) {
            return window.settle();
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let log: Vec<String> = window.app().log.iter().map(|l| l.text.clone()).collect();
    panic!("{what} did not come within a minute; the log: {log:#?}");
}

fn demo_window(folder: &Path) -> Window {
    let options = Options { open: Some(super::pictures::demo_session(folder)), ..Options::default() };
    let mut window = Window::new(SIZE, 1.0, ThemeChoice::Dark, options);
    wait_for(&mut window, "the demo", |app| app.open.is_some() && app.is_settled());
    window
}

fn press(window: &mut Window, modifiers: Modifiers, key: Key) {
    window.harness.key_press_modifiers(modifiers, key);
    window.settle();
}

/// Opens the palette, types, and takes the first row.
fn command(window: &mut Window, text: &str) {
    press(window, Modifiers::COMMAND, Key::P);
    window.harness.event(egui::Event::Text(text.to_owned()));
    window.settle();
    press(window, Modifiers::NONE, Key::Enter);
}

fn settled(app: &App) -> bool {
    app.is_settled() && app.open.as_ref().is_some_and(|o| !o.is_refreshing)
}

#[test]
fn everything_by_keyboard_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let session = super::pictures::demo_session(folder.path());
    let mut window = Window::new(SIZE, 1.0, ThemeChoice::Dark, Options::default());
    // Open: without a portal the path is typed.
    press(&mut window, Modifiers::COMMAND, Key::O);
    window.harness.event(egui::Event::Text(session.to_string_lossy().into_owned()));
    window.settle();
    press(&mut window, Modifiers::NONE, Key::Enter);
    wait_for(&mut window, "the model", |app| app.open.is_some() && settled(app));
    // Browse and filter.
    press(&mut window, Modifiers::COMMAND, Key::F);
    window.harness.event(egui::Event::Text("word_embeddings".to_owned()));
    window.settle();
    press(&mut window, Modifiers::NONE, Key::ArrowDown);
    let focus = window.app().state.selection.focus().expect("a row is selected").name().to_owned();
    assert!(focus.contains("word_embeddings"), "{focus}");
    // Freeze it, and make it trainable again.
    press(&mut window, Modifiers::COMMAND | Modifiers::SHIFT, Key::T);
    wait_for(&mut window, "the update", settled);
    let trains = |app: &mut App| {
        let open = app.open.as_ref().expect("open");
        open.overview.constants.iter().find(|c| c.name == focus).expect("there").trainable
    };
    assert!(!trains(window.app()));
    press(&mut window, Modifiers::NONE, Key::Escape);
    press(&mut window, Modifiers::COMMAND, Key::T);
    wait_for(&mut window, "the update", settled);
    assert!(trains(window.app()));
    // Bypass dropout.
    command(&mut window, "remove all dropout");
    wait_for(&mut window, "the bypass", settled);
    let open = window.app().open.as_ref().expect("open");
    assert!(open.overview.dropout.is_empty() && !open.recipe().edits.is_empty());
    // Train, watch, stop.
    command(&mut window, "show plots");
    press(&mut window, Modifiers::COMMAND, Key::Enter);
    wait_for(&mut window, "a first step", |app| app.run.as_ref().is_some_and(|r| r.step >= 2));
    assert!(window.has("Plot of Loss"));
    command(&mut window, "stop and keep");
    wait_for(&mut window, "the end", |app| {
        app.run.as_ref().is_some_and(|r| r.state == RunState::Stopped) && settled(app)
    });
    // What it says about held-out examples.
    command(&mut window, "show predictions");
    wait_for(&mut window, "predictions", |app| app.run.as_ref().is_some_and(|r| !r.predictions.is_empty()));
    // Export: Ctrl+E shows the panel, Tab reaches its button, Space presses it.
    press(&mut window, Modifiers::COMMAND, Key::E);
    focus_on(&mut window, "Export model");
    press(&mut window, Modifiers::NONE, Key::Space);
    wait_for(&mut window, "the export", |app| app.state.exported.is_some() && settled(app));
    let said = window.app().state.exported.clone().expect("just waited for").expect("it was written").said;
    assert!(said.contains("tuned constants") && said.contains("largest difference"), "{said}");
    // Undo everything.
    press(&mut window, Modifiers::NONE, Key::Escape);
    for _ in 0..6 {
        press(&mut window, Modifiers::COMMAND, Key::Z);
    }
    wait_for(&mut window, "the undo", settled);
    assert!(window.app().open.as_ref().is_some_and(|o| o.is_saved() && !o.overview.dropout.is_empty()));
}

/// Takes the path that is suggested where something is to be written.
fn accept_path(window: &mut Window) {
    wait_for(window, "the question where to", |app| app.state.dialog.is_some());
    press(window, Modifiers::NONE, Key::Enter);
}

/// Presses Tab until the control of this name has the keyboard.
fn focus_on(window: &mut Window, label: &str) {
    for _ in 0..400 {
        let is_there = window.harness.query_all_by_label(label).any(|n| n.is_focused());
        if is_there {
            return;
        }
        window.harness.key_press(Key::Tab);
        window.harness.step();
    }
    panic!("Tab never reached {label:?}");
}

#[test]
fn a_blocked_gradient_is_cured_from_the_palette() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Light);
    command(&mut window, "cure pin");
    assert_eq!(window.app().open.as_ref().expect("open").recipe().pins["keras_learning_phase"], 0.0);
}

#[test]
fn adjustments_are_proved_and_taken_to_another_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut window = demo_window(folder.path());
    command(&mut window, "remove all dropout");
    wait_for(&mut window, "the bypass", settled);
    regraft::app::layout::show(window.app().dock(), "recipe");
    window.settle();
    window.click("Prove the adjustments");
    wait_for(&mut window, "the proof", |app| app.open.as_ref().is_some_and(|o| o.proof.is_some()));
    assert!(window.has_containing("Same outputs on 8 rows of train.tsv: largest difference 0"));
    // Another file of the same model takes every decision.
    let other = folder.path().join("other.pb");
    std::fs::copy(folder.path().join("model.pb"), &other).expect("a copy");
    window.click("Apply to another model…");
    window.harness.event(egui::Event::Text(other.to_string_lossy().into_owned()));
    window.settle();
    press(&mut window, Modifiers::NONE, Key::Enter);
    wait_for(&mut window, "the report", |app| app.state.dialog.is_some() && app.is_settled());
    assert!(window.has_containing("Every decision applies."));
    window.click("Open it with this recipe");
    wait_for(&mut window, "the other model", |app| {
        app.open.as_ref().is_some_and(|o| o.path.ends_with("other.pb")) && settled(app)
    });
    let open = window.app().open.as_ref().expect("open");
    assert!(open.overview.dropout.is_empty() && !open.is_saved(), "the recipe came along, unsaved");
}

#[test]
fn a_head_is_grafted_and_adapters_are_added_by_their_forms() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut window = demo_window(folder.path());
    let before = window.app().open.as_ref().expect("open").overview.counts.constants;
    command(&mut window, "graft a head");
    assert!(window.has("On value"));
    window.click("Graft the head");
    wait_for(&mut window, "the head", settled);
    let open = window.app().open.as_ref().expect("open");
    assert!(matches!(&open.recipe().edits[0].step, regraft::session::EditStep::GraftHead(h) if h.classes == Some(4)));
    assert!(open.overview.counts.constants > before, "it brings weights of its own");
    assert!(matches!(open.recipe().objective, Some(regraft::session::Objective::Head { .. })), "its loss is minimised");
    assert!(open.gradients.as_ref().is_some_and(|g| g.reached > 0));
    command(&mut window, "low-rank adapters");
    window.click("Add adapters");
    wait_for(&mut window, "the adapters", settled);
    assert_eq!(window.app().open.as_ref().expect("open").recipe().edits.len(), 2);
    command(&mut window, "load weights by name");
    window.harness.event(egui::Event::Text(folder.path().join("model.pb").to_string_lossy().into_owned()));
    window.settle();
    window.click("Load weights");
    wait_for(&mut window, "the weights", settled);
    assert_eq!(window.app().open.as_ref().expect("open").recipe().edits.len(), 3);
}

#[test]
fn runs_are_compared_resumed_and_extended() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut window = demo_window(folder.path());
    let set = |key: &str, value: &str| regraft::session::Change::SetSetting {
        key: key.to_owned(),
        value: Some(value.to_owned()),
    };
    for rate in ["0.001", "0.01"] {
        for change in [set("optimizer.lr", rate), set("training.steps", "3")] {
            window.app().open.as_mut().expect("open").history.apply(&change, None);
        }
        window.click_first("Start training");
        wait_for(&mut window, "the end", |app| app.run.as_ref().is_some_and(|r| r.state == RunState::Finished));
    }
    wait_for(&mut window, "both runs with their checkpoints", |app| {
        app.open.as_ref().is_some_and(|o| o.runs.len() == 2 && o.runs.iter().all(|r| r.can_resume))
    });
    let run = window.app().run.as_ref().expect("a run");
    assert!(run.watch.step.is_some() && run.watch.weights.len() == run.trainable, "every weight was measured");
    assert!(run.predictions.iter().any(|p| !p.text.is_empty() && p.loss > 0.0), "examples came with the evaluation");
    regraft::app::layout::show(window.app().dock(), "compare");
    window.settle();
    // Everything that can be done with a run stands in its own row.
    let row = |w: &Window, label: &str| w.harness.get_by_label(label).rect().center().y;
    let at = row(&window, "Compare run-2");
    for label in ["Resume run-2", "Extend run-2 by 1 step", "Rename run-2", "Delete run-2"] {
        assert!((row(&window, label) - at).abs() < 4.0, "{label} stands in the row of its run");
    }
    assert!(!window.has("data.train"), "the same file does not differ");
    assert!(window.has("optimizer.lr") && window.has("Plot of validation/loss of all runs"));
    let before = window.app().run.as_ref().map(|r| r.loss.values.len()).expect("a run");
    window.click("Extend run-2 by 1 step");
    wait_for(&mut window, "the longer run", |app| {
        app.run.as_ref().is_some_and(|r| r.state == RunState::Finished && r.loss.values.len() > before)
    });
    let run = window.app().run.as_ref().expect("a run");
    assert_eq!((run.name.as_str(), run.loss.values.len()), ("run-2", before + 1), "its curve goes on");
    // How far each run moved a weight stands beside its values.
    let weight = "bert/embeddings/word_embeddings".to_owned();
    window.app().state.selection.set(regraft::ui::Target::Node(weight.clone()));
    wait_for(&mut window, "the changes", |app| {
        app.open.as_ref().is_some_and(|o| o.changes.get(&weight).is_some_and(|c| c.len() == 2))
    });
    let changes = window.app().open.as_ref().expect("open").changes[&weight].clone();
    assert!(changes.iter().all(|c| c.moved.as_ref().is_ok_and(|m| m.norm > 0.0)), "{changes:?}");
    // The curves came to the front when the run went on.
    regraft::app::layout::show(window.app().dock(), "compare");
    window.settle();
    window.click("Rename run-1");
    window.harness.get_by_label("Name").focus();
    press(&mut window, Modifiers::COMMAND, Key::A);
    window.harness.event(egui::Event::Text("slow".to_owned()));
    window.settle();
    window.click("Rename");
    wait_for(&mut window, "the new name", |app| {
        app.open.as_ref().is_some_and(|o| o.runs.iter().any(|r| r.name == "slow"))
    });
    window.click("Delete slow");
    window.click("Delete the run");
    wait_for(&mut window, "its end", |app| app.open.as_ref().is_some_and(|o| o.runs.len() == 1));
}

#[test]
fn closing_with_unsaved_decisions_asks_and_saves() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut window = demo_window(folder.path());
    window.app().open.as_mut().expect("open").history.apply(
        &regraft::session::Change::SetStandIn { node: "loss/logits".to_owned(), stand_in: Some(StandIn::Stop) },
        None,
    );
    let root = egui::ViewportId::ROOT;
    window.harness.input_mut().viewports.entry(root).or_default().events.push(egui::ViewportEvent::Close);
    window.settle();
    assert!(window.has("The decisions are not saved"));
    window.click("Save and close");
    assert!(window.app().open.as_ref().is_some_and(regraft::ui::Open::is_saved));
}

#[test]
fn unsaved_decisions_survive_a_crash() {
    let (folder, config) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let session = super::pictures::demo_session(folder.path());
    let options = || Options { config_dir: Some(config.path().to_owned()), ..Options::default() };
    let with_session = Options { open: Some(session), ..options() };
    let mut window = Window::new(SIZE, 1.0, ThemeChoice::Dark, with_session);
    wait_for(&mut window, "the demo", |app| app.open.is_some() && settled(app));
    window.click("Choose what trains");
    window.click("Freeze all");
    let recovery = config.path().join("recovery");
    let saved = |extension: &str| {
        let entries = std::fs::read_dir(&recovery).expect("the folder is there");
        let mut paths = entries.filter_map(|e| e.ok().map(|e| e.path()));
        // Files that are still being written have names of their own.
        paths.find(|p| {
            p.extension().is_some_and(|e| e == extension)
                && p.file_name().is_some_and(|n| !n.to_string_lossy().starts_with('.'))
        })
    };
    for _ in 0..600 {
        window.harness.step();
        if saved("json").is_some() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    // What a crash leaves: the files, and a lock that nobody holds.
    for extension in ["regraft", "json"] {
        let path = saved(extension).expect("decisions were written aside");
        let text = std::fs::read_to_string(&path).expect("readable");
        // Paths inside are relative, so the copy lies in the same folder.
        std::fs::write(recovery.join(format!("1-1.{extension}")), text).expect("writable");
    }
    drop(window);
    assert!(recovery.join("1-1.regraft").exists());
    assert_eq!(std::fs::read_dir(&recovery).expect("there").count(), 2, "a program that ends well leaves nothing");
    let mut window = Window::new(SIZE, 1.0, ThemeChoice::Dark, options());
    assert!(window.has_containing("Unsaved decisions for demo.regraft"));
    window.click("Recover");
    wait_for(&mut window, "the session", |app| app.open.is_some() && settled(app));
    let open = window.app().open.as_ref().expect("open");
    assert!(!open.is_saved() && open.overview.counts.trainable == 0);
    assert_eq!(open.title(), "demo.regraft", "it goes back to its own file");
    assert!(!recovery.join("1-1.regraft").exists());
}

#[test]
fn panels_close_and_come_back() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    assert!(window.has("Plots"));
    window.app().state.palette = None;
    let n = window.harness.query_all_by_label("Close").count();
    assert!(n >= 3, "the tabs in front have close marks");
    regraft::app::layout::show(window.app().dock(), "plots");
    window.settle();
    assert!(window.has("No run yet"));
    let closes = window.harness.query_all_by_label("Close").map(|n| n.rect().center().x).collect::<Vec<_>>();
    let middle = closes.iter().position(|x| (420.0..1060.0).contains(x)).expect("one above the plots");
    window.harness.query_all_by_label("Close").nth(middle).expect("there").click();
    window.settle();
    assert!(!window.has("No run yet"));
    command(&mut window, "show plots");
    assert!(window.has("No run yet"));
}

#[test]
fn a_part_of_a_constant_is_shown_and_saved() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut window = demo_window(folder.path());
    let name = "bert/embeddings/word_embeddings";
    window.app().state.selection.set(regraft::ui::Target::Node(name.to_owned()));
    wait_for(&mut window, "its values", |app| app.open.as_ref().is_some_and(|o| o.slice.is_some()));
    assert!(window.has("Heat map of the values") && window.has("Histogram of all values"));
    assert!(window.has("row") && window.has("column"));
    window.harness.get_by_label("Save as .npy or .csv…").scroll_to_me();
    window.settle();
    window.click("Save as .npy or .csv…");
    press(&mut window, Modifiers::NONE, Key::Enter);
    wait_for(&mut window, "the file", |_| folder.path().join("bert-embeddings-word_embeddings.npy").exists());
}

#[test]
fn a_run_is_estimated_and_groups_get_their_own_rate() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut window = demo_window(folder.path());
    regraft::app::layout::show(window.app().dock(), "training");
    window.settle();
    window.click("Estimate memory and time");
    wait_for(&mut window, "the estimate", |app| app.open.as_ref().is_some_and(|o| o.estimate.is_some()));
    let estimate = window.app().open.as_ref().and_then(|o| o.estimate.clone()).expect("just waited for");
    let estimate = estimate.result.expect("the demo can be trained");
    assert!(estimate.steps > 0 && estimate.memory_bytes > 0 && estimate.total_secs > 0.0);
    assert!(window.has("Time in all") && !window.has("Estimate memory and time"));
    assert!(!folder.path().join("demo.runs").exists(), "nothing is written");
    super::pictures::write(&mut window, "panels/training-estimate-dark");
    window.click("Advanced settings");
    window.harness.get_by_label("Heads learn faster").scroll_to_me();
    window.settle();
    window.click("Heads learn faster");
    wait_for(&mut window, "the group", settled);
    let open = window.app().open.as_ref().expect("open");
    assert_eq!(open.recipe().groups[0].lr_factor, Some(10.0));
    assert!(open.group_sizes[0].as_ref().is_ok_and(|(constants, parameters)| *constants > 0 && *parameters > 0));
    assert!(window.has("Estimate memory and time"), "it was for other decisions");
    window.harness.get_by_label("Members of group 1").scroll_to_me();
    window.settle();
    super::pictures::write(&mut window, "panels/training-groups-dark");
    window.harness.get_by_label("Remove group 1").scroll_to_me();
    window.settle();
    window.click("Remove group 1");
    wait_for(&mut window, "the group's end", settled);
    assert!(window.app().open.as_ref().expect("open").recipe().groups.is_empty());
}

#[test]
fn nodes_have_attributes_and_edges_have_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut window = demo_window(folder.path());
    let overview = window.app().open.as_ref().expect("open").overview.clone();
    let product = overview.nodes.iter().find(|n| n.op == "MatMul").expect("there is one");
    window.app().state.selection.set(regraft::ui::Target::Node(product.name.clone()));
    window.settle();
    assert!(window.has("transpose_a") && window.has("bool"), "name and type");
    assert!(window.has_containing("matmul: "));
    let output = product.outputs[0].name.clone();
    window.app().state.selection.set(regraft::ui::Target::Value(output));
    window.settle();
    assert!(window.has("Edge") && window.has("PRODUCED BY") && window.has("READ BY"));
}

#[test]
fn plots_are_saved_as_pictures_and_ill_weights_are_problems() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Light);
    let folder = tempfile::tempdir().expect("a folder");
    window.app().open.as_mut().expect("open").path = folder.path().join("bert.pb");
    window.app().run = Some(model::run());
    regraft::app::layout::show(window.app().dock(), "plots");
    window.settle();
    window.click("Save curves and plots");
    window.click("Loss as SVG");
    accept_path(&mut window);
    let svg = std::fs::read_to_string(folder.path().join("run-3-loss.svg")).expect("the picture");
    assert!(svg.contains("Validation") && svg.matches("<polyline").count() == 3);
    window.click("Save curves and plots");
    window.click("All plots as PNG");
    accept_path(&mut window);
    let png = folder.path().join("run-3-plots.png");
    wait_for(&mut window, "the picture", |_| png.exists());
    // A weight whose gradient is always zero is a problem with a cure.
    let name: std::sync::Arc<str> = "bert/pooler/dense/kernel".into();
    let row = |n| regraft::train::WeightRow {
        name: name.clone(),
        gradient_norm: Some(0.0),
        update_ratio: Some(0.0),
        zero_in_a_row: n,
    };
    let run = window.app().run.as_mut().expect("a run");
    for n in 1..=4 {
        run.watch.take(u64::from(n), &[row(n)]);
    }
    regraft::app::layout::show(window.app().dock(), "problems");
    window.settle();
    assert!(window.has_containing("gets a gradient of exactly zero"));
    command(&mut window, "cure freeze 1 weight");
    let frozen = window.app().open.as_ref().expect("open").recipe().trainable.exclude.clone();
    assert_eq!(frozen, [regraft::session::Selector::Name(name.to_string())]);
}

#[test]
fn the_comparison_is_saved_as_table_and_pictures() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Light);
    let folder = tempfile::tempdir().expect("a folder");
    let open = window.app().open.as_mut().expect("open");
    open.path = folder.path().join("bert.pb");
    open.set_runs(["run-1", "run-2"].map(model::entry).to_vec());
    regraft::app::layout::show(window.app().dock(), "compare");
    window.settle();
    for (what, file) in [
        ("All curves of these runs as CSV", "runs.csv"),
        ("This plot as SVG", "runs-validation-loss.svg"),
        ("This plot as PNG", "runs.png"),
    ] {
        window.click("Save the comparison");
        window.click(what);
        accept_path(&mut window);
        wait_for(&mut window, what, |_| folder.path().join(file).exists());
    }
    let svg = std::fs::read_to_string(folder.path().join("runs-validation-loss.svg")).expect("the picture");
    assert!(svg.contains("run-1") && svg.matches("<polyline").count() == 2);
    let png = image::open(folder.path().join("runs.png")).expect("a picture").into_rgb8();
    let colours: std::collections::HashSet<[u8; 3]> = png.pixels().map(|p| p.0).collect();
    assert!(colours.len() > 20, "lines and words are on it");
}

#[test]
fn another_example_shows_its_own_arrays() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut window = demo_window(folder.path());
    regraft::app::layout::show(window.app().dock(), "data");
    wait_for(&mut window, "the data", |app| app.open.as_ref().is_some_and(|o| o.data.is_some()));
    let data = |app: &App| app.open.as_ref().and_then(|o| o.data.clone()).expect("there are data");
    let first = data(window.app());
    assert!(first.example == 0 && first.n_examples > 2);
    window.click("The next example");
    wait_for(&mut window, "the second example", |app| data(app).example == 1);
    let second = data(window.app());
    assert!(second.mapping != first.mapping && second.mapping.len() == first.mapping.len());
    window.click("The example before");
    wait_for(&mut window, "the first example", |app| data(app).mapping == first.mapping);
}

#[test]
fn kinds_of_files_are_offered_with_what_they_need() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    window.app().open.as_mut().expect("open").set_runs(["run-1", "run-2"].map(model::entry).to_vec());
    regraft::app::layout::show(window.app().dock(), "export");
    window.settle();
    use egui_kittest::kittest::NodeT;
    assert!(window.harness.get_by_label("ONNX").accesskit_node().is_disabled(), "out of reach");
    assert!(window.has("Keep dropout nodes in the graph") && window.has("Values that are written"));
    let is_off = |w: &Window, label: &str| w.harness.get_by_label(label).accesskit_node().is_disabled();
    let (keep, head, merge, all) = (
        "Keep dropout nodes in the graph",
        "Include the grafted head",
        "Merge low-rank adapters into their weights",
        "All weights, not only the tuned ones",
    );
    assert!(!is_off(&window, keep) && is_off(&window, head) && is_off(&window, merge) && is_off(&window, all));
    // Why one is none stands in its tooltip.
    window.harness.get_by_label(head).hover();
    window.harness.run_steps(40);
    assert!(window.has("No head was grafted."));
    window.click("Weights, NumPy");
    assert!(window.app().state.drafts["export-path"].ends_with("-tuned.npz"));
    assert!(!is_off(&window, all) && is_off(&window, keep));
    window.click("Frozen graph (as the file)");
    assert!(window.app().state.drafts["export-path"].ends_with("-tuned.pb"));
    // A path typed by hand asks for its kind too.
    window.app().state.drafts.insert("export-path".to_owned(), "tuned.onnx".to_owned());
    window.settle();
    assert!(window.has("Its ops are those of TensorFlow."));
    assert!(window.harness.get_by_label("Export model").accesskit_node().is_disabled());
}

#[test]
fn what_is_blocked_is_frozen_by_its_button() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Light);
    let open = window.app().open.as_ref().expect("open");
    let blocked = open.gradients.as_ref().expect("there is a report").blockers[0].blocks[0].clone();
    regraft::app::layout::show(window.app().dock(), "gradients");
    window.settle();
    window.click_first("Train without what it blocks");
    let frozen = window.app().open.as_ref().expect("open").recipe().trainable.exclude.clone();
    assert_eq!(frozen, [regraft::session::Selector::Name(blocked)]);
}
