//! Ops of the family `reduce`: many elements to one, running totals, positions of extremes.

mod arg_reduce;
mod cumulative;
#[allow(clippy::module_inception)]
mod reduce;
mod reduce_kernel;
mod segment;
mod top_k;

use crate::program::OpInfo;

pub use arg_reduce::ArgReduce;
pub use cumulative::{Cumulative, CumulativeFn};
pub use reduce::{INFOS as REDUCTIONS, Reduce, ReduceFn};
pub use reduce_kernel::kernel as reduction_kernel;
pub use segment::{SegmentFn, SegmentReduce};
pub use top_k::TopK;

/// The catalogue entries of this family besides the table [`REDUCTIONS`].
pub const ALL: &[&OpInfo] = &[&arg_reduce::INFO, &top_k::INFO, &cumulative::INFO, &segment::INFO];
