//! Spellings of TensorFlow ops: convolution, pooling, normalisation, softmax, losses, activations.

use crate::lower::Spelling;

pub const RULES: &[Spelling] = &[];
