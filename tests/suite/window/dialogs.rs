//! Every dialog and the welcome page in both themes in a small window: their words are whole and inside. With `UPDATE=1`
//! they are drawn to `screenshots/states/dialogs/`.

use egui::epaint::Shape;
use egui::{Key, Modifiers, Rect};
use egui_kittest::kittest::Queryable;
use regraft::app::Options;
use regraft::session::transfer::{Fate, Line};
use regraft::ui::Action;
use regraft::ui::ctx::{Preferences, ThemeChoice};
use regraft::ui::dialogs::{Dialog, Then};
use regraft::ui::menu::Menu;

use super::Window;
use super::pictures::{demo_session, is_asked_for, write};
use super::states::words_in;

const SIZE: [f32; 2] = [1100.0, 700.0];
const THEMES: [(ThemeChoice, &str); 2] = [(ThemeChoice::Light, "light"), (ThemeChoice::Dark, "dark")];

/// What the palette finds under these words opens a dialog.
const ACTIONS: &[(&str, &str)] = &[
    ("about", "About Regraft"),
    ("shortcuts", "Keyboard shortcuts"),
    ("preferences", "Preferences"),
    ("graft", "Graft a head"),
    ("loss", "Choose the loss"),
    ("lora", "LoRA"),
    ("weights", "Load weights"),
    ("layers", "Train the last layers"),
    ("save-as", "Save the session as"),
];

/// Dialogs that something else than a command brings.
fn questions() -> Vec<(&'static str, Dialog)> {
    let line = |decision: &str, fate| Line { decision: decision.to_owned(), fate };
    let report = vec![
        line("Train bert/encoder/layer_0/attention/self/query/kernel", Fate::Taken),
        line("Pin keras_learning_phase to 0", Fate::Dropped("the model has no such placeholder".to_owned())),
    ];
    let name = "a run with a long name of its own".to_owned();
    let folder = std::path::PathBuf::from("runs/a run with a long name of its own");
    let text = "Cannot open models/bert.pb: byte 4,213 is no field of a graph. Is it a frozen graph? A checkpoint is a folder.";
    vec![
        ("close-during-run", Dialog::CloseDuringRun),
        ("unsaved", Dialog::Unsaved(Then::Quit)),
        ("transferred", Dialog::Transferred { model: "bert_large.pb".to_owned(), report }),
        ("delete-run", Dialog::DeleteRun { name: name.clone(), folder: folder.clone() }),
        ("rename-run", Dialog::RenameRun { name, folder }),
        ("error", Dialog::Error { title: "The model could not be opened".to_owned(), text: text.to_owned() }),
    ]
}

/// Words of what lies above the shade that a dialog lays on everything else.
fn check(window: &mut Window, name: &str) {
    let screen = Rect::from_min_size(egui::Pos2::ZERO, SIZE.into());
    let shapes = &window.harness.output().shapes;
    let is_shade = |s: &Shape| matches!(s, Shape::Rect(r) if r.rect.contains_rect(screen) && r.fill.a() < 255);
    let shade = shapes.iter().rposition(|s| is_shade(&s.shape)).unwrap_or_else(|| panic!("{name} opens no dialog"));
    let words = words_in(&shapes[shade + 1..], screen);
    assert!(words.len() > 1, "{name} says something");
    for w in &words {
        assert!(screen.contains_rect(w.rect), "{name}: {:?} leaves the window", w.text);
        assert!(w.rect.right() <= w.clip.right() + 1.0, "{name}: {:?} is cut", w.text);
    }
    if is_asked_for() {
        write(window, &format!("states/dialogs/{name}"));
    }
}

#[test]
fn every_dialog_shows_all_its_words() {
    let folder = tempfile::tempdir().expect("a folder for the demo");
    let session = demo_session(folder.path());
    for (theme, word) in THEMES {
        let options = Options { open: Some(session.clone()), ..Options::default() };
        let mut window = Window::new(SIZE, 1.0, theme, options);
        window.settle();
        for (name, words) in ACTIONS {
            window.harness.key_press_modifiers(Modifiers::COMMAND, Key::P);
            window.settle();
            let field = egui::accesskit::Role::TextInput;
            window.harness.get_by_role_and_label(field, "Search or run a command").type_text(words);
            window.settle();
            window.harness.key_press(Key::Enter);
            window.settle();
            check(&mut window, &format!("{name}-{word}"));
            window.app().state.dialog = None;
            window.settle();
        }
        for (name, dialog) in questions() {
            window.app().state.dialog = Some(dialog);
            window.settle();
            check(&mut window, &format!("{name}-{word}"));
        }
    }
}

#[test]
fn the_welcome_page_new_used_and_after_a_failure() {
    let folder = tempfile::tempdir().expect("a folder");
    let broken = folder.path().join("not-a-model.pb");
    std::fs::write(&broken, b"this is no graph").expect("the file can be written");
    let recent: Vec<_> =
        ["bert_mini.regraft", "a/rather/long/path/to/a/model/with/a/long/name/frozen_inference_graph.pb"]
            .iter()
            .map(|p| folder.path().join(p))
            .collect();
    for (theme, word) in THEMES {
        let used = Preferences { recent: recent.clone(), ..Preferences::default() };
        for (name, options) in [
            ("new", Options::default()),
            ("used", Options { preferences: used.clone(), ..Options::default() }),
            ("failed", Options { open: Some(broken.clone()), preferences: used, ..Options::default() }),
        ] {
            let mut window = Window::new(SIZE, 1.0, theme, options);
            window.settle();
            let screen = Rect::from_min_size(egui::Pos2::ZERO, SIZE.into());
            for w in words_in(&window.harness.output().shapes, screen) {
                assert!(w.rect.right() <= w.clip.right() + 1.0, "{name}: {:?} is cut", w.text);
            }
            if is_asked_for() {
                write(&mut window, &format!("states/dialogs/welcome-{name}-{word}"));
            }
        }
    }
}

#[test]
fn every_menu_has_room_for_its_entries() {
    let folder = tempfile::tempdir().expect("a folder for the demo");
    let session = demo_session(folder.path());
    for (theme, word) in THEMES {
        let options = Options { open: Some(session.clone()), ..Options::default() };
        let mut window = Window::new(SIZE, 1.0, theme, options);
        for menu in Menu::ALL {
            window.click_first(menu.title());
            let entries: Vec<Action> = Action::ALL.iter().copied().filter(|a| a.info().menu == menu).collect();
            for action in entries {
                let title = action.info().title;
                let nodes = window.harness.query_all_by_label(title);
                let screen = Rect::from_min_size(egui::Pos2::ZERO, SIZE.into());
                assert!(nodes.into_iter().any(|n| screen.contains_rect(n.rect())), "{title} has no room in its menu");
            }
            if is_asked_for() {
                write(&mut window, &format!("states/dialogs/menu-{}-{word}", menu.title().to_lowercase()));
            }
            window.harness.key_press(Key::Escape);
            window.settle();
        }
    }
}
