//! Problems with their cures: those of a model and its data, and those that a run shows.

mod model;
mod run;

use crate::base::Severity;
use crate::session::Change;
use crate::ui::command::{Action, Command};

pub use model::Known;
pub use run::of_run;

/// One line of the problems panel.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    pub severity: Severity,
    pub code: String,
    pub message: String,
    pub place: Option<String>,
    pub cures: Vec<Cure>,
}

/// What would help: most often a change of the recipe.
#[derive(Clone, Debug, PartialEq)]
pub struct Cure {
    pub label: String,
    pub command: Command,
}

impl Cure {
    pub fn change(label: impl Into<String>, change: Change) -> Self {
        Self { label: label.into(), command: Command::change(change) }
    }

    /// An action under its own name.
    pub fn action(action: Action) -> Self {
        Self { label: action.info().title.to_owned(), command: action.command() }
    }
}
