//! The frame around the panels and what it offers: entry points of a file, bulk choices, offers, dragging, the palette,
//! recent files, panels that split and close.

use std::path::Path;

use egui::{Event, Key, Modifiers, PointerButton, Pos2, vec2};
use egui_kittest::kittest::Queryable;
use regraft::app::Options;
use regraft::session::{EditStep, Selector};
use regraft::ui::Target;
use regraft::ui::ctx::{Preferences, ThemeChoice};

use super::flows::wait_for;
use super::{Window, model};

const SIZE: [f32; 2] = [1440.0, 900.0];

fn recipe(window: &mut Window) -> regraft::session::Recipe {
    window.app().open.as_ref().expect("a model is open").recipe().clone()
}

/// Opens the palette and types.
fn palette(window: &mut Window, text: &str) {
    window.harness.key_press_modifiers(Modifiers::COMMAND, Key::P);
    window.settle();
    window.harness.event(Event::Text(text.to_owned()));
    window.settle();
}

fn command(window: &mut Window, text: &str) {
    palette(window, text);
    window.harness.key_press(Key::Enter);
    window.settle();
}

/// A right click on what bears the name.
fn right_click(window: &mut Window, label: &str) {
    let node = window.harness.query_all_by_label(label).next();
    let at = node.unwrap_or_else(|| panic!("nothing is called {label:?}")).rect().center();
    click_at(window, at, PointerButton::Secondary);
}

fn click_at(window: &mut Window, at: Pos2, button: PointerButton) {
    window.harness.event(Event::PointerMoved(at));
    for pressed in [true, false] {
        window.harness.event(Event::PointerButton { pos: at, button, pressed, modifiers: Modifiers::NONE });
        window.harness.step();
    }
    window.settle();
}

#[test]
fn a_file_with_several_signatures_asks_which_is_meant() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/saved_model_tags/module");
    let options = Options { open: Some(file), ..Options::default() };
    let mut window = Window::new(SIZE, 1.0, ThemeChoice::Dark, options);
    wait_for(&mut window, "the model", |app| app.open.is_some() && app.is_settled());
    assert!(window.has("Which signature?"));
    let entries = window.app().open.as_ref().expect("open").entries.clone();
    assert!(entries.len() > 1 && entries.iter().filter(|e| e.is_default).count() == 1, "{entries:?}");
    let nodes = |w: &mut Window| w.app().open.as_ref().map_or(0, |o| o.overview.nodes.len());
    let before = nodes(&mut window);
    let usual = entries.iter().find(|e| e.is_default).expect("one is the default");
    let other = entries.iter().find(|e| e.tags != usual.tags).expect("another meta graph");
    window.click_first(&other.words());
    window.click("Use this signature");
    wait_for(&mut window, "the other graph", |app| {
        app.open.as_ref().is_some_and(|o| !o.is_refreshing) && app.is_settled()
    });
    assert_eq!(recipe(&mut window).signature.as_ref(), Some(&other.choice));
    assert_ne!(nodes(&mut window), before, "another meta graph has other nodes");
    // It is a decision like any other: it can be taken back, and asked for again.
    window.harness.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    wait_for(&mut window, "the first graph", |app| {
        app.open.as_ref().is_some_and(|o| !o.is_refreshing) && app.is_settled()
    });
    assert_eq!((recipe(&mut window).signature, nodes(&mut window)), (None, before));
    command(&mut window, "choose a signature");
    assert!(window.has("Which signature?"));
    window.click("Cancel");
    assert!(!window.has("Which signature?"));
}

#[test]
fn bulk_choices_say_what_they_cover_and_are_one_step() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { open: Some(super::pictures::demo_session(folder.path())), ..Options::default() };
    let mut window = Window::new(SIZE, 1.0, ThemeChoice::Light, options);
    let settled = |app: &regraft::app::App| app.is_settled() && app.open.as_ref().is_some_and(|o| !o.is_refreshing);
    wait_for(&mut window, "the demo", settled);
    let trains = |w: &mut Window| w.app().open.as_ref().map_or(0, |o| o.overview.counts.trainable);
    let all = trains(&mut window);
    window.click("Choose what trains");
    window.click("Train the last layers…");
    let words =
        regraft::ui::bulk::covered(&window.app().open.as_ref().expect("open").overview, &[Selector::LastLayers(2)]);
    assert!(window.has(&words.words()), "the dialog says {}", words.words());
    window.click("Train the last 2 layers");
    wait_for(&mut window, "the update", settled);
    assert_eq!(recipe(&mut window).trainable.include, [Selector::LastLayers(2)]);
    assert_eq!(trains(&mut window), words.constants, "what was said is what trains");
    command(&mut window, "train the last 1 layer");
    wait_for(&mut window, "the update", settled);
    assert_eq!(recipe(&mut window).trainable.include, [Selector::LastLayers(1)]);
    for _ in 0..2 {
        window.harness.key_press_modifiers(Modifiers::COMMAND, Key::Z);
        wait_for(&mut window, "the undo", settled);
    }
    assert_eq!(trains(&mut window), all);
    // Below the pooler stand all but its own weights and the head's.
    window.app().state.selection.set(Target::Scope("bert/pooler".to_owned()));
    let open = window.app().open.as_ref().expect("open");
    let below = regraft::ui::bulk::below(open, &Target::Scope("bert/pooler".to_owned()));
    let n_frozen = below.iter().filter(|&&c| open.overview.constants[c].trainable).count();
    assert!(n_frozen > 0 && n_frozen < all);
    command(&mut window, "freeze below here");
    wait_for(&mut window, "the update", settled);
    assert_eq!(recipe(&mut window).trainable.exclude, [Selector::Below("bert/pooler".to_owned())]);
    assert_eq!(trains(&mut window), all - n_frozen);
    // Ranges of what is in sight are read.
    wait_for(&mut window, "ranges", |app| app.open.as_ref().is_some_and(|o| o.ranges.values().any(Option::is_some)));
    assert!(window.has("Sort by Min") || window.has("Sort by Name"));
}

#[test]
fn a_right_click_offers_what_can_be_done() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    right_click(&mut window, "bert/embeddings/word_embeddings");
    for offer in ["Train the selection", "Freeze the selection", "Freeze below here", "Copy its name"] {
        assert!(window.has(offer), "{offer}");
    }
    window.harness.key_press(Key::Escape);
    window.settle();
    window.click("Scopes");
    right_click(&mut window, "bert");
    window.click("Freeze everything inside");
    assert_eq!(recipe(&mut window).trainable.exclude, [Selector::inside("bert")]);
}

#[test]
fn adjustments_are_dragged_into_another_order() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Light);
    let sites: Vec<String> = model::overview().dropout.iter().take(3).map(|s| s.output.clone()).collect();
    let steps = sites.iter().map(|s| EditStep::BypassDropout { output: s.clone() }).collect();
    let change = regraft::session::Change::AddEdits(steps);
    window.app().open.as_mut().expect("open").history.apply(&change, None);
    regraft::app::layout::show(window.app().dock(), "recipe");
    window.settle();
    let center = |w: &Window, label: &str| w.harness.get_by_label(label).rect().center();
    let (from, to) = (center(&window, "Drag adjustment 1"), center(&window, "Drag adjustment 3") + vec2(0.0, 40.0));
    window.harness.drag_at(from);
    window.harness.step();
    for t in [0.3, 0.7, 1.0] {
        window.harness.hover_at(from + (to - from) * t);
        window.harness.step();
    }
    window.harness.drop_at(to);
    window.settle();
    let order: Vec<String> = recipe(&mut window)
        .edits
        .iter()
        .map(|e| match &e.step {
            EditStep::BypassDropout { output } => output.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(order, [sites[1].clone(), sites[2].clone(), sites[0].clone()]);
}

#[test]
fn the_palette_speaks_the_query_language_and_knows_recent_files() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    command(&mut window, "op:GatherV2 scope:bert/embeddings");
    assert_eq!(window.app().state.selection.focus().map(Target::name), Some("bert/embeddings/GatherV2"));
    let folder = tempfile::tempdir().expect("a folder");
    let session = super::pictures::demo_session(folder.path());
    let preferences = Preferences { recent: vec![session], ..Preferences::default() };
    let options = Options { preferences, ..Options::default() };
    let mut window = Window::new(SIZE, 1.0, ThemeChoice::Dark, options);
    assert!(window.has("Open demo.regraft"), "on the welcome page");
    command(&mut window, "open recent demo");
    wait_for(&mut window, "the demo", |app| app.open.is_some() && app.is_settled());
}

#[test]
fn panels_split_off_and_close_by_the_palette() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    command(&mut window, "split plots off");
    assert!(window.has("No run yet") && window.has("Graph canvas"), "both are in sight");
    command(&mut window, "close plots");
    assert!(!window.has("No run yet") && window.has("Graph canvas"));
    command(&mut window, "reset the layout");
    assert!(window.has("Plots"));
}

#[test]
fn what_edits_changed_is_found_by_the_filter() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { open: Some(super::pictures::demo_session(folder.path())), ..Options::default() };
    let mut window = Window::new(SIZE, 1.0, ThemeChoice::Dark, options);
    let settled = |app: &regraft::app::App| app.is_settled() && app.open.as_ref().is_some_and(|o| !o.is_refreshing);
    wait_for(&mut window, "the demo", settled);
    window.click_first("Nodes");
    window.app().state.browser.filter = "changed:yes".to_owned();
    window.settle();
    assert!(window.has_containing("0 of "));
    command(&mut window, "remove all dropout");
    wait_for(&mut window, "the edit", settled);
    let open = window.app().open.as_ref().expect("open");
    let [added, _, rewired] = open.shown.counts();
    assert!(rewired > 0);
    assert!(window.has_containing(&format!("{} of ", added + rewired)));
}
