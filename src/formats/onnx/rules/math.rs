//! Element-wise functions, comparisons and logic.

use crate::lower::Spelling;

pub const RULES: &[Spelling] = &[];
