//! Element types, shapes, tensors and lazily loaded payloads. Knows no graph and no file format.

pub mod dtype;
pub mod fact;
pub mod io;
pub mod payload;
pub mod shape;
mod value;

pub use dtype::{DType, Element};
pub use fact::Fact;
pub use payload::{LazyTensor, Payload, PayloadError};
pub use shape::{Dims, PartialShape};
pub use value::{SharedBytes, Tensor};
