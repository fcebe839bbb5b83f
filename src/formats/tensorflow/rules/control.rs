//! Spellings of TensorFlow ops: what is left of control flow when the driver has structured it.

use crate::lower::Spelling;

pub const RULES: &[Spelling] = &[];
