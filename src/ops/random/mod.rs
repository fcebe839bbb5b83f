//! Ops of the family `random`; one file per op. All draw from a counter-based generator, so that a run gives the same
//! numbers at any thread count and a mask can be drawn again instead of being stored.

pub mod dropout;
pub mod normal;
pub mod philox;
pub mod uniform;

pub use dropout::Dropout;
pub use normal::RandomNormal;
pub use uniform::{RandomUniform, RandomUniformInt};

use crate::program::{Misfit, OpInfo};
use crate::tensor::{DType, Fact, PartialShape};

/// The catalogue entries of this family.
pub const ALL: &[&OpInfo] = &[&uniform::INFO, &uniform::INT_INFO, &normal::INFO, &dropout::INFO];

/// The fact of a tensor whose shape is the value of `shape` (a vector of integers).
fn shape_fact(dtype: DType, shape: &Fact) -> Result<Fact, Misfit> {
    if shape.dtype != DType::Unknown && !shape.dtype.is_int() {
        return Err(Misfit(format!("a shape must be integers, found {}", shape.dtype)));
    }
    if shape.rank().is_some_and(|r| r > 1) {
        return Err(Misfit(format!("a shape must be a vector, found shape {}", shape.shape)));
    }
    let Some(ints) = shape.ints() else {
        let known_rank = if shape.rank() == Some(1) { shape.shape.dim(0) } else { None };
        return Ok(Fact::new(dtype, known_rank.map_or_else(PartialShape::unknown, PartialShape::of_rank)));
    };
    let dims: Option<Vec<usize>> = ints.iter().map(|&d| usize::try_from(d).ok()).collect();
    let dims = dims.ok_or_else(|| Misfit(format!("a shape must not be negative, found {ints:?}")))?;
    Ok(Fact::of_dims(dtype, &dims))
}
