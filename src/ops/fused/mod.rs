//! Ops that passes make after autodiff: several instructions in one pass over memory. None has a gradient rule.

mod micro;
mod product;
pub mod rows;
mod rows_run;

use crate::program::OpInfo;

pub use micro::{Binary as RowBinary, Fold as RowFold, Unary as RowUnary};
pub use product::{Product, Strided};
pub use rows::Rows;

/// The catalogue entries of this family.
pub const ALL: &[&OpInfo] = &[&rows::INFO, &product::INFO];
