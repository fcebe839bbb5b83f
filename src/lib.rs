//! Regraft opens a neural network that somebody froze, exported or checkpointed, shows every node and constant, lets a
//! person choose what becomes trainable, cleans out hard-coded dropout, explains where and why a gradient stops,
//! fine-tunes, and writes the tuned model back into its own format.
//!
//! Layers, from the bottom up (arrows point one way; `tests/suite/architecture.rs` enforces it):
//! [`base`], [`tensor`], [`graph`], [`program`], [`ops`], [`lower`], [`formats`], [`recognize`], [`specialise`],
//! [`autodiff`], [`passes`], [`engine`], [`data`], [`edits`], [`train`], [`session`], [`cli`], and with the feature
//! `gui` also `ui` and `app`.
//!
//! How failures are shown: fatal for the operation → a typed error; worth telling and going on → a
//! [`base::Diagnostic`]; a bug → an error log, never a crash of the window.

pub mod autodiff;
pub mod base;
pub mod cli;
pub mod data;
pub mod edits;
pub mod engine;
pub mod formats;
pub mod graph;
pub mod lower;
pub mod ops;
pub mod passes;
pub mod program;
pub mod recognize;
pub mod session;
pub mod specialise;
pub mod tensor;
pub mod train;

#[cfg(feature = "gui")]
pub mod app;
#[cfg(feature = "gui")]
pub mod ui;
