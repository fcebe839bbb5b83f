//! Pictures of the window on the demo, in both themes, written to `screenshots/` when `UPDATE=1`; else only drawn.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use regraft::app::Options;
use regraft::app::screenshot::save_png;
use regraft::session::{Model, Session, demo};
use regraft::ui::ctx::ThemeChoice;

use super::{Window, model};

/// Draws the window; more than a plain ground must be there.
fn draw(window: &mut Window, name: &str) -> egui::ColorImage {
    let picture = window.picture();
    let mut colours: Vec<_> = picture.pixels.iter().map(egui::Color32::to_tuple).collect();
    colours.sort_unstable();
    colours.dedup();
    assert!(colours.len() > 50, "{name} shows more than a plain ground");
    picture
}

pub fn write(window: &mut Window, name: &str) {
    let picture = draw(window, name);
    if is_asked_for() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("screenshots").join(format!("{name}.png"));
        std::fs::create_dir_all(path.parent().unwrap_or(&path)).expect("screenshots/ can be made");
        save_png(&picture, &path).expect("the picture can be written");
    }
}

/// Whether pictures are to be written: `UPDATE=1`.
pub fn is_asked_for() -> bool {
    std::env::var_os("UPDATE").is_some_and(|v| v == "1")
}

/// The demo's session in a folder.
pub fn demo_session(folder: &Path) -> PathBuf {
    let path = demo::write(folder).expect("the demo can be written");
    let model = Model::open(&folder.join("model.pb")).expect("the demo's model can be opened");
    Session::new(Arc::new(model), demo::recipe(folder)).save_as(&path).expect("the session can be saved");
    path
}

#[test]
fn the_demo_in_both_themes() {
    let folder = tempfile::tempdir().expect("a folder for the demo");
    let session = demo_session(folder.path());
    for (theme, word) in [(ThemeChoice::Dark, "dark"), (ThemeChoice::Light, "light")] {
        let select = vec!["bert/embeddings/word_embeddings".to_owned()];
        let options = Options { open: Some(session.clone()), select, ..Options::default() };
        let mut window = Window::new([1440.0, 900.0], 1.0, theme, options);
        window.settle();
        write(&mut window, &format!("browser-{word}"));
    }
}

/// `1100x700` or `1100x700@2`, width and height in points: the size of the pictures of panels, by the variable `SIZE`.
fn size_asked_for() -> ([f32; 2], f32) {
    let text = std::env::var("SIZE").unwrap_or_default();
    let (size, scale) = text.split_once('@').unwrap_or((&text, "1"));
    let parsed = size.split_once('x').and_then(|(w, h)| Some([w.parse().ok()?, h.parse().ok()?]));
    (parsed.unwrap_or([1100.0, 700.0]), scale.parse().unwrap_or(1.0))
}

/// Every panel with real content in both themes.
#[test]
fn every_panel_in_both_themes() {
    let folder = tempfile::tempdir().expect("a folder for the demo");
    let session = demo_session(folder.path());
    for (theme, word) in [(ThemeChoice::Light, "light"), (ThemeChoice::Dark, "dark")] {
        let options = Options { open: Some(session.clone()), ..Options::default() };
        let (size, scale) = size_asked_for();
        let mut window = Window::new(size, scale, theme, options);
        window.settle();
        window.app().run = Some(model::run());
        let runs = ["run-1", "run-2"].map(model::entry).to_vec();
        window.app().open.as_mut().expect("the demo is open").set_runs(runs);
        for panel in regraft::ui::panels::ALL {
            regraft::app::layout::show(window.app().dock(), panel.id);
            window.settle();
            // Drawing takes the processor a while; the controls were walked by name already.
            if is_asked_for() {
                write(&mut window, &format!("panels/{}-{word}", panel.id));
            }
        }
    }
}

/// The few that are committed; those of every panel go to `screenshots/panels/`, which git ignores.
const SHOWN: &[&str] = &["gradients-dark", "gradients-light", "training-dark", "training-light", "compare-light"];

/// Trains the demo to its end, so it only runs where pictures are asked for: `UPDATE=1`.
#[test]
fn training_and_what_follows_from_it() {
    if !is_asked_for() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder for the demo");
    let session = demo_session(folder.path());
    for (theme, word) in [(ThemeChoice::Light, "light"), (ThemeChoice::Dark, "dark")] {
        let options = Options { open: Some(session.clone()), ..Options::default() };
        let mut window = Window::new([1440.0, 900.0], 1.0, theme, options);
        window.settle();
        let set =
            regraft::session::Change::SetSetting { key: "training.epochs".to_owned(), value: Some("4".to_owned()) };
        window.app().open.as_mut().expect("the demo is open").history.apply(&set, None);
        window.click_first("Start training");
        for _ in 0..60_000 {
            window.harness.step();
            if window.app().run.as_ref().is_some_and(|r| r.total_steps > 0 && !r.state.is_active()) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        for (name, panels) in [
            ("training", &["plots", "training", "gradients"][..]),
            ("gradients", &["graph", "gradients"]),
            ("compare", &["compare", "log"]),
            ("predictions", &["predictions", "problems"]),
        ] {
            for panel in panels {
                regraft::app::layout::show(window.app().dock(), panel);
            }
            window.settle();
            let name = format!("{name}-{word}");
            if SHOWN.contains(&name.as_str()) {
                write(&mut window, &name);
            }
        }
    }
}

/// On a made-up run, so this one is not for showing.
#[test]
fn curves_are_drawn_in_both_themes_and_at_twice_the_scale() {
    for (theme, scale) in [(ThemeChoice::Dark, 1.0), (ThemeChoice::Light, 2.0)] {
        let mut window = Window::new([1100.0, 700.0], scale, theme, Options::default());
        window.app().open = Some(model::open());
        window.app().run = Some(model::run());
        for panel in ["plots", "training", "gradients"] {
            regraft::app::layout::show(window.app().dock(), panel);
        }
        window.settle();
        draw(&mut window, "the curves");
    }
}
