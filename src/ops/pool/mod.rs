//! Ops of the family `pool`: windows reduced to one element, and resampling; one file per op.

pub mod average;
pub mod max;
pub mod resample;
pub mod resize;

pub use average::{AveragePool, AveragePoolGradient};
pub use max::{MaxPool, MaxPoolGradient, MaxPoolIndex, MaxPoolPick};
pub use resize::{Resize, ResizeGradient};

use crate::program::OpInfo;

/// The catalogue entries of this family.
pub const ALL: &[&OpInfo] = &[
    &max::INFO,
    &max::GRADIENT_INFO,
    &max::PICK_INFO,
    &max::INDEX_INFO,
    &average::INFO,
    &average::GRADIENT_INFO,
    &resize::INFO,
    &resize::GRADIENT_INFO,
];
