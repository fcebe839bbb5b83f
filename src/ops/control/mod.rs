//! Ops that stand for control: where gradients go, and the lists that loops fill.

mod gradient_from;
pub mod pieces;
mod stack;

use crate::program::OpInfo;

pub use gradient_from::GradientFrom;
pub use stack::{EmptyStack, StackWrite};

/// The ops of this family, for the catalogue.
pub const ALL: &[&OpInfo] = &[&gradient_from::INFO, &stack::EMPTY, &stack::WRITE, &pieces::INFO];
