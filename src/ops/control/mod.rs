//! Ops that compute nothing and only decide where gradients go.

mod gradient_from;

use crate::program::OpInfo;

pub use gradient_from::GradientFrom;

/// The ops of this family, for the catalogue.
pub const ALL: &[&OpInfo] = &[&gradient_from::INFO];
