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
