//! Problems with their cures: those of a model and its data, and those that a run shows.

mod model;
mod run;

use crate::base::Severity;
use crate::session::Change;

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

/// A change that would help.
#[derive(Clone, Debug, PartialEq)]
pub struct Cure {
    pub label: String,
    pub change: Change,
}
