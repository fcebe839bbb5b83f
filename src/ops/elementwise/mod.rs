//! Ops of the family `elementwise`: one value from each element, with NumPy broadcasting.
//!
//! Functions are rows of two tables ([`unary`], [`binary`]); [`driver`] runs them over any storage type.

mod bessel;
mod betainc;
mod binary;
mod binary_gradient;
mod binary_kernel;
mod bit_cast;
mod cast;
pub mod driver;
mod pairs;
mod select;
mod special;
mod stop;
pub(crate) mod stored;
mod unary;
mod unary_gradient;
mod unary_kernel;
pub(crate) mod walk;

use crate::program::OpInfo;

pub use betainc::Betainc;
pub use binary::{Binary, BinaryFn, INFOS as BINARY};
pub use bit_cast::BitCast;
pub use cast::Cast;
pub use pairs::ComplexPairs;
pub use select::Select;
pub use stop::{PreventGradient, StopGradient};
pub use unary::{INFOS as UNARY, Unary, UnaryFn};

/// The catalogue entries of this family besides the tables [`UNARY`] and [`BINARY`].
pub const ALL: &[&OpInfo] =
    &[&select::INFO, &betainc::INFO, &cast::INFO, &bit_cast::INFO, &pairs::INFO, &stop::STOP, &stop::PREVENT];
