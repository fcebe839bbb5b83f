//! Manners: questions have the keyboard, lists are in a sensible order, nothing depends on a mouse.

use egui::{Key, Modifiers};
use egui_kittest::kittest::Queryable;
use regraft::app::Options;
use regraft::ui::ctx::ThemeChoice;
use regraft::ui::dialogs::Dialog;

use super::{Window, model};

const SIZE: [f32; 2] = [1100.0, 700.0];

fn is_focused(window: &Window, label: &str) -> bool {
    window.harness.query_all_by_label(label).any(|n| n.is_focused())
}

#[test]
fn a_question_takes_the_keyboard_from_whatever_had_it() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    window.app().run = Some(model::run());
    // Somebody types into the filter while the window is asked to close.
    window.harness.key_press_modifiers(Modifiers::COMMAND, Key::F);
    window.settle();
    assert!(is_focused(&window, "Filter"));
    window.app().state.dialog = Some(Dialog::CloseDuringRun);
    window.settle();
    assert!(is_focused(&window, "Stop, keep and close"), "its first answer waits for Enter");
    for other in ["Close when it is done", "Cancel"] {
        window.harness.key_press(Key::Tab);
        window.settle();
        assert!(is_focused(&window, other), "Tab goes to {other}");
    }
    window.harness.key_press(Key::Escape);
    window.settle();
    assert!(window.app().state.dialog.is_none() && window.app().run.is_some());
}

#[test]
fn the_palette_begins_with_what_begins_a_session() {
    let mut window = Window::new(SIZE, 1.0, ThemeChoice::Light, Options::default());
    window.harness.key_press_modifiers(Modifiers::COMMAND, Key::P);
    window.settle();
    let top = |label: &str| {
        let tops = window.harness.query_all_by_label(label).map(|n| n.rect().top());
        tops.fold(f32::NEG_INFINITY, f32::max)
    };
    assert!(top("Open a model folder…") < top("Preferences…") && top("Preferences…") < top("Quit"));
}

#[test]
fn icons_of_a_row_stand_at_one_height() {
    let window = Window::with_model(SIZE, ThemeChoice::Light);
    let middle = |label: &str| window.harness.get_by_label(label).rect().center().y;
    for icon in ["Undo", "Redo"] {
        assert!((middle(icon) - middle("Search or run a command")).abs() < 1.5, "{icon}");
    }
}

/// Opens the palette, types, and takes the first row.
fn command(window: &mut Window, text: &str) {
    window.harness.key_press_modifiers(Modifiers::COMMAND, Key::P);
    window.settle();
    window.harness.event(egui::Event::Text(text.to_owned()));
    window.settle();
    window.harness.key_press(Key::Enter);
    window.settle();
}

#[test]
fn a_panel_that_is_asked_for_by_keyboard_takes_it() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    command(&mut window, "show data");
    assert!(is_focused(&window, "Data panel"));
    window.harness.key_press(Key::Tab);
    window.settle();
    assert!(is_focused(&window, "Pick a file…"), "Tab goes on inside the panel");
    command(&mut window, "show graph");
    assert!(is_focused(&window, "Graph canvas"));
    // With the mouse, nothing moves the keyboard.
    window.click("Export");
    assert!(!is_focused(&window, "Export panel"));
}

#[test]
fn training_without_data_leads_to_them() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Light);
    window.app().open.as_mut().expect("open").history.apply(&regraft::session::Change::SetData(None), None);
    window.settle();
    assert!(window.has("Pick data…"), "the form says what is missing and offers it");
    window.harness.key_press_modifiers(Modifiers::COMMAND, Key::Enter);
    window.settle();
    assert!(window.has("Path of the data") && is_focused(&window, "Data panel"));
}

#[test]
fn undo_works_while_a_check_box_has_the_keyboard() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    let name = "Train bert/embeddings/word_embeddings";
    let trains = |w: &mut Window| w.app().open.as_ref().expect("open").recipe().clone();
    let before = trains(&mut window);
    window.harness.get_by_label(name).focus();
    window.settle();
    window.harness.key_press(Key::Space);
    window.settle();
    assert_ne!(trains(&mut window), before);
    window.harness.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    window.settle();
    assert_eq!(trains(&mut window), before);
}

#[test]
fn problems_are_sentences() {
    let file =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/bert_nano_iterator_frozen/model.pb");
    let options = Options { open: Some(file), ..Options::default() };
    let mut window = Window::new(SIZE, 1.0, ThemeChoice::Light, options);
    super::flows::wait_for(&mut window, "the model", |app| app.open.is_some() && app.is_settled());
    regraft::app::layout::show(window.app().dock(), "problems");
    window.settle();
    assert!(window.has_containing("There is no rule for the op"));
}

#[test]
fn a_model_without_a_loss_gets_one() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/onnx_lstm/model.onnx");
    let options = Options { open: Some(file), ..Options::default() };
    let mut window = Window::new(SIZE, 1.0, ThemeChoice::Dark, options);
    let settled = |app: &regraft::app::App| {
        app.is_settled() && app.open.as_ref().is_some_and(|o| !o.is_refreshing && o.gradients.is_some())
    };
    super::flows::wait_for(&mut window, "the model", settled);
    assert!(window.has_containing("Nothing says what to minimise"));
    command(&mut window, "choose the loss");
    assert!(window.has("What training minimises"));
    window.harness.key_press(Key::Escape);
    window.settle();
    let data = regraft::session::recipe::DataChoice { train: "nowhere.tsv".to_owned(), ..Default::default() };
    let change = regraft::session::Change::SetData(Some(data));
    window.app().open.as_mut().expect("open").history.apply(&change, None);
    window.harness.key_press_modifiers(Modifiers::COMMAND, Key::Enter);
    window.settle();
    assert!(window.has("What training minimises"), "training asks for what is missing");
    // What the file calls its output stands there already; the way to the button is Tab.
    for _ in 0..12 {
        if is_focused(&window, "Minimise this") {
            break;
        }
        window.harness.key_press(Key::Tab);
        window.settle();
    }
    window.harness.key_press(Key::Space);
    super::flows::wait_for(&mut window, "the loss", settled);
    let open = window.app().open.as_ref().expect("open");
    assert!(matches!(open.recipe().objective, Some(regraft::session::recipe::Objective::Attached { .. })));
    assert!(!window.has_containing("Nothing says what to minimise"));
}

#[test]
fn whatever_has_the_keyboard_shows_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { open: Some(super::pictures::demo_session(folder.path())), ..Options::default() };
    let mut window = Window::new(SIZE, 1.0, ThemeChoice::Light, options);
    super::flows::wait_for(&mut window, "the data", |app| app.open.as_ref().is_some_and(|o| o.data.is_some()));
    command(&mut window, "show data");
    let header = "Validation, split and tokenizer";
    let has_ring = |window: &mut Window| {
        let rect = window.harness.get_by_label(header).rect();
        let picture = window.picture();
        let accent = regraft::ui::theme::tokens::LIGHT.accent;
        // Above the words, where the panel's own line does not run.
        let x = rect.left() as usize + 40;
        (rect.top() as usize - 5..rect.top() as usize + 2).any(|y| picture[(x, y)] == accent)
    };
    assert!(!has_ring(&mut window));
    window.harness.get_by_label(header).focus();
    window.settle();
    assert!(is_focused(&window, header) && has_ring(&mut window));
}
