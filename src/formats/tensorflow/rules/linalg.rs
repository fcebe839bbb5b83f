//! Spellings of TensorFlow ops: matrix products.

use crate::lower::Spelling;

pub const RULES: &[Spelling] = &[];
