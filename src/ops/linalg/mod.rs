//! Ops of the family `linalg`; one file per op.

pub mod decompose;
pub mod einsum;
mod fourier;
pub mod gemm;
pub mod matmul;

pub use fourier::Fourier;
pub use matmul::MatMul;

use crate::program::{Misfit, OpInfo};
use crate::tensor::{DType, Dims, Fact};

/// The catalogue entries of this family.
pub const ALL: &[&OpInfo] = &[&matmul::INFO, &fourier::INFO];

/// The common element type of all inputs; one that is not known yet follows the others.
pub(crate) fn same_dtype(inputs: &[&Fact]) -> Result<DType, Misfit> {
    let mut found = DType::Unknown;
    for f in inputs {
        if found == DType::Unknown {
            found = f.dtype;
        } else if f.dtype != DType::Unknown && f.dtype != found {
            return Err(Misfit(format!("the element types differ: {found} and {}", f.dtype)));
        }
    }
    Ok(found)
}

/// The shape, which a kernel needs to be known.
pub(crate) fn dims(fact: &Fact) -> Result<Dims, Misfit> {
    fact.dims().ok_or_else(|| Misfit(format!("the shape {} is not fully known", fact.shape)))
}
