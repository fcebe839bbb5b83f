//! Ops of the family `norm`: softmax, normalisation, and the losses made of them; one file per op.

pub mod cross_entropy;
pub mod ctc;
pub mod log_softmax;
pub mod rows;
pub mod softmax;
pub mod statistic;

pub use cross_entropy::{SoftmaxCrossEntropy, SparseSoftmaxCrossEntropy};
pub use ctc::CtcLoss;
pub use log_softmax::{LogSoftmax, LogSoftmaxGradient};
pub use softmax::{Softmax, SoftmaxGradient};
pub use statistic::Statistic;

use crate::program::OpInfo;

/// The catalogue entries of this family.
pub const ALL: &[&OpInfo] = &[
    &softmax::INFO,
    &softmax::GRADIENT_INFO,
    &log_softmax::INFO,
    &log_softmax::GRADIENT_INFO,
    &cross_entropy::INFO,
    &cross_entropy::SPARSE_INFO,
    &statistic::INFO,
    &ctc::INFO,
];
