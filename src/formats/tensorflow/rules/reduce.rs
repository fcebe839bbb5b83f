//! Spellings of TensorFlow ops: reductions, arg-max, top-k, cumulative sums.

use crate::lower::Spelling;

pub const RULES: &[Spelling] = &[];
