//! Ops of the family `shape`: moving elements without computing with them. One file per op; [`copy`] does the moving.

mod append;
mod broadcast_to;
mod concat;
pub mod copy;
mod entries;
mod pad;
mod reshape;
mod reverse;
mod shape_of;
mod slice;
mod strided_slice;
mod sum_to;
mod tile;
mod transpose;

use crate::program::{Flow, OpInfo};
use crate::tensor::Fact;

pub use append::Append;
pub use broadcast_to::BroadcastTo;
pub use concat::Concat;
pub use entries::Entries;
pub use pad::{Pad, PadGradient, PadMode};
pub use reshape::{Regroup, Reshape, expand_dims, squeeze};
pub use reverse::Reverse;
pub use shape_of::ShapeOf;
pub use slice::Slice;
pub use strided_slice::{StridedMasks, StridedSlice, StridedSliceGradient};
pub use sum_to::SumTo;
pub use tile::Tile;
pub use transpose::{Transpose, inverse as inverse_permutation};

/// The catalogue entries of this family.
pub const ALL: &[&OpInfo] = &[
    &reshape::INFO,
    &reshape::REGROUP,
    &transpose::INFO,
    &broadcast_to::INFO,
    &sum_to::INFO,
    &concat::INFO,
    &entries::INFO,
    &append::INFO,
    &slice::INFO,
    &strided_slice::INFO,
    &strided_slice::GRADIENT,
    &pad::INFO,
    &pad::GRADIENT,
    &tile::INFO,
    &reverse::INFO,
    &shape_of::INFO,
];

/// The gradient of elements that are moved: it moves back.
pub(crate) fn data_flow(x: &Fact) -> Flow {
    if x.dtype.is_exact() { Flow::Zero("integers and booleans have no gradient") } else { Flow::Flows }
}

/// Shapes, axes, positions: integers that steer.
pub(crate) fn shape_operand() -> Flow {
    Flow::Zero("it only says where elements go (a shape, an axis, a position)")
}
