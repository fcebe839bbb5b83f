//! A few pictures with content in both themes, written to `screenshots/` when `UPDATE=1`; else only drawn.

use regraft::app::screenshot::save_png;
use regraft::ui::ctx::ThemeChoice;

use super::{Window, model};

fn folder() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("screenshots")
}

fn take(window: &mut Window, name: &str) {
    let picture = window.picture();
    let mut colours: Vec<_> = picture.pixels.iter().map(egui::Color32::to_tuple).collect();
    colours.sort_unstable();
    colours.dedup();
    assert!(colours.len() > 50, "{name} shows more than a plain ground");
    if std::env::var_os("UPDATE").is_some_and(|v| v == "1") {
        std::fs::create_dir_all(folder()).expect("screenshots/ can be made");
        save_png(&picture, &folder().join(format!("{name}.png"))).expect("the picture can be written");
    }
}

#[test]
fn browser_graph_and_inspector_in_both_themes() {
    for (theme, word) in [(ThemeChoice::Dark, "dark"), (ThemeChoice::Light, "light")] {
        let mut window = Window::with_model([1440.0, 900.0], theme);
        window.click_first("bert/embeddings/word_embeddings");
        take(&mut window, &format!("browser-{word}"));
    }
}

#[test]
fn training_in_both_themes() {
    for (theme, word) in [(ThemeChoice::Dark, "dark"), (ThemeChoice::Light, "light")] {
        let mut window = Window::with_model([1440.0, 900.0], theme);
        window.app().run = Some(model::run());
        for panel in ["plots", "training", "gradients"] {
            regraft::app::layout::show(window.app().dock(), panel);
        }
        window.settle();
        take(&mut window, &format!("training-{word}"));
    }
}

#[test]
fn gradients_and_dropout_in_a_small_window() {
    let mut window = Window::with_model([1100.0, 700.0], ThemeChoice::Light);
    for panel in ["gradients", "dropout", "data"] {
        regraft::app::layout::show(window.app().dock(), panel);
    }
    window.settle();
    take(&mut window, "gradients-light");
}
