//! The op set: a small number of dialect-free, differentiable primitives, one file per op.
//!
//! Adding an op: its file in a family folder, a `mod` line there, and an entry in that family's `ALL`.
//! Ops never mention a dialect; `formats/*/rules` spell files into them.

pub mod control;
pub mod conv;
pub mod elementwise;
pub mod fused;
pub mod half;
pub mod index;
pub mod linalg;
pub mod make;
pub mod norm;
pub mod opaque;
pub mod pool;
pub mod random;
pub mod reduce;
pub mod sample;
pub mod shape;
pub mod simd;
pub mod sizes;
pub mod with_default;

use crate::program::OpInfo;

/// Every op, by family, in the order of the catalogue.
pub fn all() -> impl Iterator<Item = &'static OpInfo> {
    [
        elementwise::UNARY,
        elementwise::BINARY,
        elementwise::ALL,
        control::ALL,
        linalg::ALL,
        linalg::decompose::ALL,
        conv::ALL,
        pool::ALL,
        norm::ALL,
        reduce::REDUCTIONS,
        reduce::ALL,
        shape::ALL,
        index::ALL,
        random::ALL,
        fused::ALL,
        OTHERS,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// Ops of no family folder.
const OTHERS: &[&OpInfo] = &[&with_default::INFO, &opaque::INFO];
