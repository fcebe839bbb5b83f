//! A session: an imported model, a recipe of decisions, its history, and everything derived from them.
//!
//! Reading order: [`recipe`] (what a person decided), [`select`] (how constants are chosen), [`change`] (the only way a
//! recipe changes), [`history`] (undo and redo), [`query`] (the search language of the window and of `--filter`).

pub mod change;
pub mod history;
pub mod overview;
pub mod query;
pub mod recipe;
pub mod select;

pub use change::Change;
pub use history::History;
pub use overview::Overview;
pub use recipe::{DropoutChoice, EditEntry, EditStep, Objective, Recipe, SitePolicy, StandIn, TrainableChoice};
pub use select::Selector;
