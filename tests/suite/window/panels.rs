//! Flows through the window by accessible names, on a made-up model.

use egui::{Key, Modifiers};
use egui_kittest::kittest::{NodeT, Queryable};
use regraft::app::{App, Options};
use regraft::session::{EditStep, Selector, SitePolicy};
use regraft::ui::ctx::ThemeChoice;
use regraft::ui::run_view::RunState;
use regraft::ui::{Target, panels};

use super::{Window, model};

const SIZE: [f32; 2] = [1440.0, 900.0];

fn recipe(window: &mut Window) -> regraft::session::Recipe {
    window.app().open.as_ref().expect("a model is open").recipe().clone()
}

#[test]
fn the_welcome_page_offers_ways_to_start() {
    let mut window = Window::new([1100.0, 700.0], 1.0, ThemeChoice::Light, Options::default());
    assert!(window.has("Open a model…") && window.has("Try the demo"));
    assert!(window.has("Search or run a command"));
    window.harness.key_press(Key::F1);
    window.settle();
    assert!(window.has("Command palette"), "the list of shortcuts is shown");
}

#[test]
fn every_panel_draws_full_and_empty_in_both_sizes() {
    for size in [SIZE, [1100.0, 700.0]] {
        let mut window = Window::with_model(size, ThemeChoice::Dark);
        for panel in panels::ALL {
            regraft::app::layout::show(window.app().dock(), panel.id);
            window.settle();
        }
        window.app().run = Some(model::run());
        for panel in panels::ALL {
            regraft::app::layout::show(window.app().dock(), panel.id);
            window.settle();
        }
    }
}

#[test]
fn browsing_filtering_and_training_a_constant() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    let name = "bert/encoder/ones";
    window.harness.get_by_label("Filter").focus();
    window.harness.step();
    window.harness.get_by_label("Filter").type_text("ones");
    window.settle();
    assert!(window.has_containing("1 of "), "the footer counts what is shown");
    window.click(&format!("Train {name}"));
    assert!(recipe(&mut window).trainable.include.contains(&Selector::Name(name.to_owned())));
    window.click_first("Undo");
    assert!(!recipe(&mut window).trainable.include.contains(&Selector::Name(name.to_owned())));
    window.click_first("Redo");
    assert!(recipe(&mut window).trainable.include.contains(&Selector::Name(name.to_owned())));
    // A filter that is no filter says why and keeps the rows.
    window.harness.get_by_label("Filter").focus();
    window.harness.step();
    window.harness.get_by_label("Filter").type_text(" elements:many");
    window.settle();
    assert!(window.has_containing("must look like elements:>1000"));
}

#[test]
fn bulk_choices_are_stored_as_selectors() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Light);
    window.click("Choose what trains");
    window.click("Only biases (BitFit)");
    let chosen = recipe(&mut window).trainable.include;
    assert_eq!(chosen, [Selector::BitFit]);
}

#[test]
fn rows_select_and_the_inspector_follows() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    let name = "bert/embeddings/word_embeddings";
    window.click_first(name);
    assert_eq!(window.app().state.selection.focus(), Some(&Target::Node(name.to_owned())));
    assert!(window.has_containing("Suggested: rows are gathered by index"));
    window.harness.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::A);
    window.settle();
    assert!(window.app().state.selection.nodes().len() > 40);
    assert!(window.has("Train only the selection"));
}

#[test]
fn a_dropout_site_is_switched_and_removed() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    regraft::app::layout::show(window.app().dock(), "dropout");
    window.settle();
    let site = "bert/embeddings/dropout/mul:0".to_owned();
    window.click(&format!("Dropout of {site}"));
    window.click("Off");
    assert_eq!(recipe(&mut window).dropout.sites[&site], SitePolicy::Off);
    window.click(&format!("Remove {site}"));
    assert_eq!(recipe(&mut window).edits[0].step, EditStep::BypassDropout { output: site.clone() });
    window.click(&format!("Remove {site}"));
    assert!(!recipe(&mut window).edits[0].enabled, "switched off, not forgotten");
}

#[test]
fn a_blocked_gradient_is_cured_with_one_click() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    assert!(window.has_containing("blocks the gradient of 1 weight"));
    window.click_first("Pin keras_learning_phase to 0");
    assert_eq!(recipe(&mut window).pins["keras_learning_phase"], 0.0);
}

#[test]
fn settings_are_checked_and_reset() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Light);
    regraft::app::layout::show(window.app().dock(), "training");
    window.settle();
    window.harness.get_by_role_and_label(egui::accesskit::Role::CheckBox, "Shuffle").scroll_to_me();
    window.settle();
    window.harness.get_by_role_and_label(egui::accesskit::Role::CheckBox, "Shuffle").click();
    window.settle();
    assert_eq!(recipe(&mut window).settings["training.shuffle"], "false");
    window.click("Reset Shuffle");
    assert!(recipe(&mut window).settings.is_empty());
    assert!(!window.has("Seed"));
    window.click("Advanced settings");
    assert!(window.has("Seed"));
    assert!(window.has_containing("No data is chosen"), "what is missing is said beside the button");
}

#[test]
fn history_jumps() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    window.click("Choose what trains");
    window.click("Freeze all");
    window.click("Choose what trains");
    window.click("Train all float non-scalars");
    regraft::app::layout::show(window.app().dock(), "history");
    window.settle();
    window.click("Go to: Opened");
    assert_eq!(recipe(&mut window), regraft::session::Recipe::default());
    window.click("Go to: Train none");
    assert_eq!(recipe(&mut window).trainable.include, [Selector::None]);
}

#[test]
fn the_palette_finds_commands_and_nodes() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    window.harness.key_press_modifiers(Modifiers::COMMAND, Key::P);
    window.settle();
    let field = |w: &Window, text: &str| {
        w.harness.get_by_role_and_label(egui::accesskit::Role::TextInput, "Search or run a command").type_text(text)
    };
    field(&window, "light theme");
    window.settle();
    window.harness.key_press(Key::Enter);
    window.settle();
    assert_eq!(window.app().preferences.theme, ThemeChoice::Light);
    window.harness.key_press_modifiers(Modifiers::COMMAND, Key::P);
    window.settle();
    field(&window, "pooler kernel");
    window.settle();
    window.harness.key_press(Key::Enter);
    window.settle();
    let focus = window.app().state.selection.focus().cloned();
    assert!(focus.is_some_and(|f| f.name().contains("pooler/dense/kernel")));
}

#[test]
fn the_graph_unfolds_and_nodes_have_names() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    assert!(window.has("Graph canvas"));
    assert!(window.has_containing("Scope bert"));
    let before = window.harness.query_all_by_label_contains("Scope ").count();
    window.click("Fold all");
    let folded = window.harness.query_all_by_label_contains("Scope ").count();
    assert!(folded < before);
    window.click("Unfold one level");
    assert!(window.harness.query_all_by_label_contains("Scope ").count() > folded);
}

#[test]
fn a_run_shows_its_curves_and_controls() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    window.app().run = Some(model::run());
    regraft::app::layout::show(window.app().dock(), "plots");
    window.settle();
    assert!(window.has("Plot of Loss") && window.has("Plot of Accuracy"));
    assert!(window.has("Pause") && window.has("Stop and keep"));
    window.click("Log y");
    assert!(window.app().state.plots.is_log_y);
    window.click("Loss: Validation");
    let node = window.harness.get_by_label("Loss: Validation");
    assert!(node.accesskit_node().toggled().is_some());
}

#[test]
fn closing_during_a_run_asks() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Light);
    window.app().run = Some(model::run());
    let root = egui::ViewportId::ROOT;
    window.harness.input_mut().viewports.entry(root).or_default().events.push(egui::ViewportEvent::Close);
    window.settle();
    assert!(window.has("A run is in progress"));
    window.click("Cancel");
    assert!(!window.has("A run is in progress"));
}

/// Opens the demo through its button and waits until `is_there` holds.
fn wait_for(window: &mut Window, what: &str, is_there: impl Fn(&App) -> bool) {
    for _ in 0..3000 {
        window.harness.step();
        if is_there(window.app()) {
            return window.settle();
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("{what} did not come within a minute");
}

#[test]
fn the_demo_trains_is_stopped_and_exported() {
    let folder = tempfile::tempdir().expect("a folder for the demo");
    let options = Options { config_dir: Some(folder.path().to_owned()), ..Options::default() };
    let mut window = Window::new(SIZE, 1.0, ThemeChoice::Dark, options);
    window.click("Try the demo");
    wait_for(&mut window, "a first step", |app| app.run.as_ref().is_some_and(|r| r.step >= 2));
    assert!(window.has("Plot of Loss"));
    let open = window.app().open.as_ref().expect("the demo is open");
    assert!(open.overview.dropout.len() > 1, "its dropout is recognised");
    assert_eq!(open.gradients.as_ref().map(|g| g.reached), Some(open.overview.counts.trainable));
    window.click_first("Stop and keep");
    wait_for(&mut window, "the end", |app| app.run.as_ref().is_some_and(|r| !r.state.is_active()) && app.is_settled());
    assert_eq!(window.app().run.as_ref().map(|r| r.state), Some(RunState::Stopped));
    regraft::app::layout::show(window.app().dock(), "export");
    window.settle();
    window.click_first("Keep dropout nodes in the graph");
    window.harness.get_by_label("Export model").click();
    wait_for(&mut window, "the export", |app| app.state.exported.is_some());
    let written = window.app().state.exported.clone().expect("just waited for").expect("it was written");
    assert!(written.facts.iter().any(|(name, shown, _)| name == "Tensors changed" && shown != "0"), "{written:?}");
    assert!(window.has("WRITTEN") && window.has("Largest difference of outputs"));
    let said = written.said;
    assert!(said.contains("tuned constants"), "{said}");
    // Every decision can be taken back.
    window.click("Choose what trains");
    window.click("Freeze all");
    wait_for(&mut window, "the update", |app| app.open.as_ref().is_some_and(|o| !o.is_refreshing));
    assert_eq!(window.app().open.as_ref().map(|o| o.overview.counts.trainable), Some(0));
    window.click_first("Undo");
    wait_for(&mut window, "the update", |app| app.open.as_ref().is_some_and(|o| !o.is_refreshing));
    assert!(window.app().open.as_ref().is_some_and(|o| o.is_saved()));
}
