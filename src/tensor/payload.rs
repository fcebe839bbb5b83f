//! A constant's value that may still lie in a file: element type and shape are known at once, bytes on demand.

use std::fmt::Debug;
use std::sync::Arc;

use super::{DType, Dims, Tensor};

/// Why a payload could not be loaded, with the place in words.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct PayloadError(pub String);

/// A value that a format can fetch later. Implementations live in `formats`.
pub trait LazyTensor: Debug + Send + Sync {
    /// Loads (or maps) the whole value.
    fn load(&self) -> Result<Tensor, PayloadError>;

    /// Whether every element equals the first; stops reading at the first difference.
    fn all_equal(&self) -> Result<bool, PayloadError> {
        Ok(self.load()?.all_equal())
    }
}

/// Element type, shape, and where the bytes are.
#[derive(Clone, Debug)]
pub struct Payload {
    pub dtype: DType,
    pub shape: Dims,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Memory(Tensor),
    Lazy(Arc<dyn LazyTensor>),
}

impl Payload {
    pub fn from_tensor(tensor: Tensor) -> Self {
        Self { dtype: tensor.dtype(), shape: tensor.shape().into(), source: Source::Memory(tensor) }
    }

    pub fn lazy(dtype: DType, shape: &[usize], source: Arc<dyn LazyTensor>) -> Self {
        Self { dtype, shape: shape.into(), source: Source::Lazy(source) }
    }

    /// The value; loads it where it is not in memory.
    pub fn load(&self) -> Result<Tensor, PayloadError> {
        match &self.source {
            Source::Memory(t) => Ok(t.clone()),
            Source::Lazy(l) => {
                let t = l.load()?;
                if t.dtype() != self.dtype || t.shape() != &self.shape[..] {
                    return Err(PayloadError(format!(
                        "expected {} {:?}, the file holds {} {:?}",
                        self.dtype,
                        &self.shape[..],
                        t.dtype(),
                        t.shape()
                    )));
                }
                Ok(t)
            }
        }
    }

    pub fn all_equal(&self) -> Result<bool, PayloadError> {
        match &self.source {
            Source::Memory(t) => Ok(t.all_equal()),
            Source::Lazy(l) => l.all_equal(),
        }
    }

    pub fn is_loaded(&self) -> bool {
        matches!(self.source, Source::Memory(_))
    }

    /// Whether both are the same value in the same place: nothing is read. Equal values elsewhere are not the same.
    pub fn is_same(&self, other: &Self) -> bool {
        let is_same_place = match (&self.source, &other.source) {
            (Source::Memory(a), Source::Memory(b)) => std::ptr::eq(a.bytes().as_ptr(), b.bytes().as_ptr()),
            (Source::Lazy(a), Source::Lazy(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        is_same_place && self.dtype == other.dtype && self.shape == other.shape
    }

    pub fn element_count(&self) -> usize {
        super::shape::element_count(&self.shape).unwrap_or(usize::MAX)
    }

    pub fn byte_len(&self) -> usize {
        self.element_count().saturating_mul(self.dtype.size())
    }
}
