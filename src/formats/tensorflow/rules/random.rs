//! Spellings of TensorFlow ops: random numbers.

use crate::lower::Spelling;

pub const RULES: &[Spelling] = &[];
