//! The keyboard's ways through the window: stops of Tab, panels, menus, the palette, paths that are typed.

use std::path::Path;

use egui::{Key, Modifiers};
use egui_kittest::kittest::{NodeT, Queryable};
use regraft::app::Options;
use regraft::ui::ctx::ThemeChoice;
use regraft::ui::dialogs::Dialog;
use regraft::ui::run_view::RunState;

use super::{Window, model};

const SIZE: [f32; 2] = [1100.0, 700.0];

/// What has the keyboard, by its accessible name.
fn focused(window: &Window) -> Option<String> {
    let node = window.harness.query_all_by(|n| n.is_focused()).next()?;
    let name = node.accesskit_node().label().or_else(|| node.accesskit_node().value());
    Some(name.filter(|n| !n.is_empty()).unwrap_or_else(|| format!("nameless {:?}", node.accesskit_node().role())))
}

#[test]
fn the_keyboard_stops_only_where_it_can_act() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { open: Some(super::pictures::demo_session(folder.path())), ..Options::default() };
    let mut window = Window::new(SIZE, 1.0, ThemeChoice::Light, options);
    super::flows::wait_for(&mut window, "the data", |app| app.open.as_ref().is_some_and(|o| o.data.is_some()));
    let mut seen = std::collections::BTreeSet::new();
    for (key, modifiers, times) in [
        (Key::Tab, Modifiers::NONE, 70),
        (Key::Tab, Modifiers::SHIFT, 30),
        (Key::ArrowRight, Modifiers::NONE, 8),
        (Key::ArrowDown, Modifiers::NONE, 8),
    ] {
        for _ in 0..times {
            window.harness.key_press_modifiers(modifiers, key);
            // Passing on takes a frame for each control that is passed.
            let mut calm = 0;
            let mut last = None;
            for _ in 0..60 {
                window.harness.step();
                let now = window.harness.ctx.memory(|m| m.focused());
                calm = if now == last { calm + 1 } else { 0 };
                last = now;
                if calm > 2 {
                    break;
                }
            }
            if let Some(name) = focused(&window) {
                assert!(!name.starts_with("nameless"), "{key:?} led to a control without a name: {name}; saw {seen:?}");
                seen.insert(name);
            }
        }
    }
    for name in ["Filter", "Choose what trains", "Train", "Search or run a command", "Nodes"] {
        assert!(seen.contains(name), "{name} is a stop; saw {seen:?}");
    }
}

fn press(window: &mut Window, modifiers: Modifiers, key: Key) {
    window.harness.key_press_modifiers(modifiers, key);
    window.settle();
}

fn write(window: &mut Window, text: &str) {
    window.harness.event(egui::Event::Text(text.to_owned()));
    window.settle();
}

#[test]
fn f6_goes_from_panel_to_panel_and_back() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    let mut seen = Vec::new();
    for _ in 0..5 {
        press(&mut window, Modifiers::NONE, Key::F6);
        seen.push(focused(&window).expect("a panel has the keyboard"));
    }
    let wanted = ["Browser panel", "Graph canvas", "Inspector panel", "Training panel", "Problems panel"];
    assert_eq!(seen, wanted);
    press(&mut window, Modifiers::SHIFT, Key::F6);
    assert_eq!(focused(&window).as_deref(), Some("Training panel"));
    press(&mut window, Modifiers::NONE, Key::Tab);
    press(&mut window, Modifiers::NONE, Key::F6);
    assert_eq!(focused(&window).as_deref(), Some("Problems panel"), "also from a control inside");
}

#[test]
fn menus_are_walked_by_arrows_and_left_by_escape() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Light);
    press(&mut window, Modifiers::NONE, Key::F10);
    assert_eq!(focused(&window).as_deref(), Some("File"));
    press(&mut window, Modifiers::NONE, Key::Enter);
    assert!(window.has("Open a model folder…"));
    press(&mut window, Modifiers::NONE, Key::ArrowRight);
    assert!(window.has("Copy the recipe as JSON") && !window.has("Open a model folder…"), "the next menu is open");
    press(&mut window, Modifiers::NONE, Key::ArrowDown);
    let first = focused(&window).expect("an entry");
    press(&mut window, Modifiers::NONE, Key::ArrowLeft);
    assert!(window.has("Open a model folder…") && first != "Edit");
    press(&mut window, Modifiers::NONE, Key::Escape);
    assert_eq!(focused(&window).as_deref(), Some("File"));
    assert!(!window.has("Open a model folder…"));
}

#[test]
fn the_palette_says_why_something_cannot_be_done_now() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    press(&mut window, Modifiers::NONE, Key::F6);
    press(&mut window, Modifiers::COMMAND, Key::P);
    write(&mut window, "pause");
    let row = window.harness.get_by_label("Pause");
    assert!(row.accesskit_node().is_disabled());
    press(&mut window, Modifiers::NONE, Key::Enter);
    assert!(window.app().state.palette.is_some(), "nothing was done");
    press(&mut window, Modifiers::NONE, Key::Escape);
    assert!(window.app().state.palette.is_none());
    assert_eq!(focused(&window).as_deref(), Some("Browser panel"), "the keyboard is where it was");
}

#[test]
fn a_run_is_discarded_only_after_a_question() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    window.app().run = Some(model::run());
    window.settle();
    window.click_first("Stop and discard…");
    assert_eq!(window.app().state.dialog, Some(Dialog::DiscardRun));
    // Behind the question no shortcut acts.
    press(&mut window, Modifiers::COMMAND, Key::P);
    assert!(window.app().state.palette.is_none());
    press(&mut window, Modifiers::NONE, Key::Escape);
    assert!(window.app().state.dialog.is_none() && window.app().run.is_some());
}

fn slashed(path: &Path) -> String {
    format!("{}{}", path.display(), std::path::MAIN_SEPARATOR)
}

#[test]
fn a_path_is_typed_with_the_help_of_its_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let inner = folder.path().join("models");
    std::fs::create_dir(&inner).expect("a folder");
    let session = super::pictures::demo_session(&inner);
    let mut window = Window::new(SIZE, 1.0, ThemeChoice::Dark, Options::default());
    press(&mut window, Modifiers::COMMAND, Key::O);
    // What stands there is marked: typing replaces it.
    write(&mut window, &format!("{}mod", slashed(folder.path())));
    press(&mut window, Modifiers::NONE, Key::Tab);
    let name = session.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(window.has(&name), "Tab went into the only folder");
    for _ in 0..8 {
        press(&mut window, Modifiers::NONE, Key::ArrowDown);
        let is_on = window.harness.get_by_label(&name).accesskit_node().toggled();
        if is_on == Some(egui::accesskit::Toggled::True) {
            break;
        }
    }
    press(&mut window, Modifiers::NONE, Key::Enter);
    super::flows::wait_for(&mut window, "the model", |app| app.open.is_some());
    // A file that is there is not replaced without a word.
    press(&mut window, Modifiers::COMMAND | Modifiers::SHIFT, Key::S);
    write(&mut window, &session.to_string_lossy());
    press(&mut window, Modifiers::NONE, Key::Enter);
    assert!(window.has("Replace") && window.app().state.dialog.is_some());
    window.click("Replace");
    assert!(window.app().state.dialog.is_none());
}

#[test]
fn a_discarded_run_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder for the demo");
    let options = Options { config_dir: Some(folder.path().to_owned()), ..Options::default() };
    let mut window = Window::new(SIZE, 1.0, ThemeChoice::Dark, options);
    window.click("Try the demo");
    super::flows::wait_for(&mut window, "a first step", |app| app.run.as_ref().is_some_and(|r| r.step >= 1));
    press(&mut window, Modifiers::NONE, Key::F8);
    super::flows::wait_for(&mut window, "the pause", |app| {
        app.run.as_ref().is_some_and(|r| r.state == RunState::Paused)
    });
    let run = window.app().run.as_ref().and_then(|r| r.folder.clone()).expect("its folder");
    assert!(run.exists());
    window.click_first("Stop and discard…");
    window.click("Discard");
    super::flows::wait_for(&mut window, "the end", |app| app.run.is_none() && app.is_settled());
    assert!(!run.exists() && !window.has("Stop and discard…"));
}

#[test]
fn open_sizes_and_stand_ins_are_set_in_the_inspector() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { open: Some(super::pictures::demo_session(folder.path())), ..Options::default() };
    let mut window = Window::new(SIZE, 1.0, ThemeChoice::Dark, options);
    super::flows::wait_for(&mut window, "the demo", |app| app.open.is_some() && app.is_settled());
    let show = |window: &mut Window, name: &str| {
        window.app().state.selection.set(regraft::ui::Target::Node(name.to_owned()));
        window.settle();
    };
    show(&mut window, "input_ids");
    let field = |window: &mut Window, text: &str| {
        window.harness.get_by_label("Shape of what is fed").focus();
        window.settle();
        press(window, Modifiers::COMMAND, Key::A);
        write(window, text);
        press(window, Modifiers::NONE, Key::Enter);
    };
    field(&mut window, "2 x 16 x 4");
    assert!(window.app().open.as_ref().expect("open").recipe().shapes.is_empty(), "its rank is known");
    field(&mut window, "2x16");
    let shapes = window.app().open.as_ref().expect("open").recipe().shapes.clone();
    assert_eq!(shapes.values().collect::<Vec<_>>(), [&vec![2, 16]]);
    super::flows::wait_for(&mut window, "the update", |app| app.open.as_ref().is_some_and(|o| !o.is_refreshing));
    // A node computes forwards as it does, and backwards as one says.
    let node = "bert/pooler/dense/MatMul";
    show(&mut window, node);
    window.click("Gradient of this node");
    window.click("stopped");
    let recipe = window.app().open.as_ref().expect("open").recipe().clone();
    assert_eq!(recipe.stand_ins.get(node), Some(&regraft::session::StandIn::Stop));
}

#[test]
fn a_list_that_folds_out_folds_in_when_a_choice_is_taken() {
    let mut window = Window::with_model([1440.0, 900.0], ThemeChoice::Dark);
    regraft::app::layout::show(window.app().dock(), "dropout");
    window.settle();
    let site = "Dropout of bert/embeddings/dropout/mul:0";
    for (label, key) in [(site, Key::Enter), ("Off", Key::Enter)] {
        assert!(window.has(label), "{label} is there");
        window.harness.get_by_label(label).focus();
        window.harness.step();
        window.harness.key_press(key);
        window.settle();
    }
    let recipe = window.app().open.as_ref().expect("a model is open").recipe().clone();
    assert_eq!(recipe.dropout.sites["bert/embeddings/dropout/mul:0"], regraft::session::SitePolicy::Off);
    assert!(!window.has("At an own rate"), "the list is folded in");
}
