//! A session: an imported model, a recipe of decisions, its history, and everything derived from them.
//!
//! Reading order: [`recipe`] (what a person decided), [`select`] (how constants are chosen), [`change`] (the only way a
//! recipe changes), [`history`] (undo and redo), [`understand`] (what follows without running), [`compute`] and [`job`]
//! (what runs), [`overview`] (the same as plain rows), [`file`](mod@file) (session files), [`query`] (the search language
//! of the window and of `--filter`).

pub mod adapters;
pub mod below;
pub mod bench_plan;
pub mod beside;
mod binary;
mod cached_step;
pub mod change;
pub mod changed;
pub mod classes;
pub mod compute;
mod continued;
pub mod demo;
pub mod diff;
pub mod edits;
pub mod error;
pub mod export;
pub mod feeds;
pub mod file;
pub mod heads;
pub mod history;
pub mod job;
mod kept;
pub mod lengths;
mod mapping;
pub mod model;
pub mod names;
pub mod objective;
pub mod overview;
pub mod plan;
pub mod prefix;
pub mod prove;
pub mod query;
pub mod recipe;
pub mod report_rows;
pub mod run;
pub mod runs;
pub mod scoring;
pub mod select;
#[allow(clippy::module_inception)] // the session itself, in the layer of that name
pub mod session;
pub mod shapes;
pub mod tables;
pub mod training;
pub mod transfer;
pub mod understand;
pub mod weights;
mod words;

pub use change::Change;
pub use diff::GraphDiff;
pub use error::SessionError;
pub use history::History;
pub use model::Model;
pub use overview::Overview;
pub use recipe::{
    DropoutChoice, EditEntry, EditStep, LoraChoice, Objective, ParameterGroup, Recipe, SitePolicy, StandIn,
    TrainableChoice, UnbakeChoice,
};
pub use select::Selector;
pub use session::Session;
pub use understand::Understood;
