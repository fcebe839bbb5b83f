//! Spellings of TensorFlow ops: gather, scatter, one-hot, ranges, unique.

use crate::lower::Spelling;

pub const RULES: &[Spelling] = &[];
