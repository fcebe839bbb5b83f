//! The pictures of the guide, taken along its way: a frozen BERT without a session, from opening it to the export. Drawn
//! and trained only where pictures are asked for (`UPDATE=1`); the same steps are driven by name in the flows.

use std::path::Path;

use regraft::app::{App, Options};
use regraft::session::{Change, demo};
use regraft::ui::ctx::ThemeChoice;
use regraft::ui::selection::Target;

use super::{Window, flows, pictures};

/// Panels that come to the front of their places, and the name of the picture.
fn show(window: &mut Window, panels: &[&str], name: &str) {
    for panel in panels {
        regraft::app::layout::show(window.app().dock(), panel);
    }
    window.settle();
    pictures::write(window, &format!("guide-{name}"));
}

fn is_ready(app: &App) -> bool {
    app.is_settled() && app.open.as_ref().is_some_and(|o| !o.is_refreshing)
}

#[test]
fn pictures_of_the_guide() {
    if !pictures::is_asked_for() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder for the demo");
    demo::write(folder.path()).expect("the demo can be written");
    let options = Options { open: Some(folder.path().join("model.pb")), ..Options::default() };
    let mut window = Window::new([1280.0, 860.0], 1.0, ThemeChoice::Light, options);
    flows::wait_for(&mut window, "the model", is_ready);
    let constant = kept(window.app());
    window.app().state.selection.set(Target::Node(constant));
    show(&mut window, &["browser", "graph", "inspector", "problems"], "open");
    show(&mut window, &["gradients"], "gradients");
    show(&mut window, &["dropout"], "dropout");
    choose(&mut window, &folder.path().join("train.tsv"));
    show(&mut window, &["data", "training"], "data");
    window.click_first("Start training");
    flows::wait_for(&mut window, "the end of training", |app| {
        app.run.as_ref().is_some_and(|r| r.total_steps > 0 && !r.state.is_active())
    });
    show(&mut window, &["plots"], "training");
    show(&mut window, &["predictions"], "predictions");
    show(&mut window, &["export"], "export");
}

/// A constant that looks like a weight and is none.
fn kept(app: &mut App) -> String {
    let open = app.open.as_ref().expect("the model is open");
    let mut kept = open.overview.constants.iter().filter(|c| c.suggest == "keep" && c.reason.contains("dropout"));
    kept.next().expect("the demo's keep_prob").name.clone()
}

/// What a person says before the first run: the texts, a share of them to evaluate on, and a rate for an untrained model.
fn choose(window: &mut Window, table: &Path) {
    for (key, value) in [("optimizer.lr", "1e-3"), ("training.epochs", "4"), ("data.split", "0.2")] {
        let set = Change::SetSetting { key: key.to_owned(), value: Some(value.to_owned()) };
        window.app().open.as_mut().expect("the model is open").history.apply(&set, None);
    }
    regraft::app::layout::show(window.app().dock(), "data");
    window.settle();
    window.click("Path of the data");
    window.harness.event(egui::Event::Text(table.to_string_lossy().into_owned()));
    window.settle();
    window.harness.key_press(egui::Key::Enter);
    flows::wait_for(window, "the data", |app| {
        is_ready(app) && app.open.as_ref().is_some_and(|o| o.data.as_ref().is_some_and(|d| !d.classes.is_empty()))
    });
}
