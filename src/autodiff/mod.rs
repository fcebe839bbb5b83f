//! Program → program with gradients (reverse mode), and the explanation of where a gradient arrives or ends.
//!
//! Reading order: [`differentiate`] (the walk), `control` (conditionals and loops), [`reach`] (verdicts without running
//! anything), [`cure`] (what helps), [`stand_in`] (gradients that a person puts in the place of a rule). Gradients are ordinary instructions
//! in the same program; each carries the origin of the instruction that it differentiates.

pub mod active;
mod control;
pub mod cure;
pub mod error;
pub mod node;
pub mod reach;
pub mod stand_in;
mod walk;

pub use cure::Cure;
pub use error::AutodiffError;
pub use reach::{ConstantVerdict, GradReport, NodeVerdict, Uncomputable, Verdict};
pub use stand_in::{StandIn, StandInError};
pub use walk::differentiate;
