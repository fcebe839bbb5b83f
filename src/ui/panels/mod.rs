//! The registry of panels. A panel is one file here, one `mod` line, and one entry of [`ALL`]; menus, the palette, the
//! docking layout and the picture tests walk the list.

mod browser;
mod compare;
mod data;
mod dropout;
mod export;
mod gradients;
mod graph;
mod history;
mod inspector;
mod log;
mod plots;
mod predictions;
mod problems;
mod recipe;
mod training;

use egui::Ui;

use super::ctx::Ctx;
use super::state::UiState;
use super::theme::icons;

pub use browser::{BrowserState, Tab as BrowserTab};
pub use compare::{CompareState, picture_ui as compare_picture_ui};
pub use data::{DataState, READING as READING_DATA};
pub use export::suggested_export;
pub use gradients::GradientsState;
pub use inspector::InspectorState;
pub use plots::{PlotsState, curves, picture_ui as plots_picture_ui};
pub use predictions::PredictionsState;
pub use training::ESTIMATING;

/// Where a panel stands in the default layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dock {
    Left,
    Center,
    Right,
    Bottom,
}

/// What the shell knows of a panel.
#[derive(Debug)]
pub struct Panel {
    /// Stable, for saved layouts and `--panel`.
    pub id: &'static str,
    pub title: &'static str,
    pub icon: &'static str,
    pub help: &'static str,
    pub dock: Dock,
    pub ui: fn(&mut Ui, &Ctx<'_>, &mut UiState),
}

const fn panel(
    id: &'static str,
    title: &'static str,
    icon: &'static str,
    dock: Dock,
    help: &'static str,
    ui: fn(&mut Ui, &Ctx<'_>, &mut UiState),
) -> Panel {
    Panel { id, title, icon, help, dock, ui }
}

/// Every panel, in the order of the View menu.
pub const ALL: &[Panel] = &[
    panel("browser", "Browser", icons::LIST, Dock::Left, "Nodes, constants and scopes of the model", browser::ui),
    panel("graph", "Graph", icons::GRAPH, Dock::Center, "The model as a picture", graph::ui),
    panel("plots", "Plots", icons::PLOT, Dock::Center, "Curves of the run", plots::ui),
    panel("data", "Data", icons::DATA, Dock::Center, "Examples and how they become feeds", data::ui),
    panel(
        "predictions",
        "Predictions",
        icons::PREDICT,
        Dock::Center,
        "What the model says about held-out examples",
        predictions::ui,
    ),
    panel(
        "compare",
        "Compare",
        icons::STACK,
        Dock::Center,
        "Runs side by side: settings, curves, metrics",
        compare::ui,
    ),
    panel("export", "Export", icons::EXPORT, Dock::Center, "Writes the tuned model", export::ui),
    panel("inspector", "Inspector", icons::INFO, Dock::Right, "Everything about the selection", inspector::ui),
    panel("training", "Training", icons::SLIDERS, Dock::Right, "Settings of the next run", training::ui),
    panel("dropout", "Dropout", icons::DROP, Dock::Right, "Recognised dropout sites", dropout::ui),
    panel("recipe", "Recipe", icons::RECIPE, Dock::Right, "Every adjustment, in order", recipe::ui),
    panel("history", "History", icons::HISTORY, Dock::Right, "Every decision, with undo", history::ui),
    panel("problems", "Problems", icons::WARNING, Dock::Bottom, "What is wrong, with cures", problems::ui),
    panel(
        "gradients",
        "Gradients",
        icons::GAUGE,
        Dock::Bottom,
        "Where gradients arrive and where they stop",
        gradients::ui,
    ),
    panel("log", "Log", icons::LOG, Dock::Bottom, "What happened", log::ui),
];

/// The panel of an id.
pub fn named(id: &str) -> Option<&'static Panel> {
    ALL.iter().find(|p| p.id == id)
}

/// What a panel without a model shows.
fn no_model(ui: &mut Ui) {
    super::widgets::empty_state(
        ui,
        icons::CONSTANT,
        "No model is open",
        "Open one with Ctrl+O, or drop a file on the window.",
    );
}

pub use browser::{Listed, filter_id, matching_nodes, shown_names};
pub use dropout::is_bypassed;
