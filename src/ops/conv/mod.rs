//! Ops of the family `conv`; one file per op.

#[allow(clippy::module_inception)]
pub mod conv;
mod depthwise;
mod kernel;
pub mod window;

pub use conv::{Conv, ConvFilter, ConvInput};
pub use window::{Geometry, Padding, Window};

use crate::program::OpInfo;

/// The catalogue entries of this family.
pub const ALL: &[&OpInfo] = &[&conv::INFO, &conv::INPUT_INFO, &conv::FILTER_INFO];
