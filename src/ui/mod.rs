//! Everything that draws. Panels read a [`ctx::Ctx`] and send [`command::Command`]s; they change nothing else but their
//! own scratch state in [`state::UiState`].
//!
//! Reading order: [`ctx`] (what is shown), [`command`] (what can be asked for), [`theme`], [`widgets`], [`panels`] (the
//! registry), [`canvas`] (layout and drawing of the graph), [`dialogs`].

pub mod background;
pub mod bulk;
pub mod canvas;
pub mod command;
pub mod ctx;
pub mod dialogs;
pub mod focus;
pub mod index;
pub mod menu;
pub mod offers;
pub mod panels;
pub mod preferences;
pub mod problems;
pub mod raster;
pub mod run_view;
#[cfg(test)]
pub mod sample;
pub mod selection;
pub mod series;
pub mod state;
pub mod text;
pub mod theme;
pub mod vector;
pub mod weights;
pub mod widgets;
pub mod words;

pub use command::{Action, Command, Sender};
pub use ctx::{Ctx, Open};
pub use selection::{How, Selection, Target};
pub use state::UiState;
