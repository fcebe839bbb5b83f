//! Spellings of TensorFlow ops: element-wise arithmetic, comparisons, casts.

use crate::lower::Spelling;

pub const RULES: &[Spelling] = &[];
