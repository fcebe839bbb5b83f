//! Spellings of TensorFlow ops: shapes, slices, concatenation, padding.

use crate::lower::Spelling;

pub const RULES: &[Spelling] = &[];
