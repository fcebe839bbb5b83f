//! Ops of the family `pool`; one file per op.

use crate::program::OpInfo;

/// The catalogue entries of this family.
pub const ALL: &[&OpInfo] = &[];
