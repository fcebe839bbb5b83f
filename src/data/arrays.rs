//! Feeds from arrays whose leading axis is the step: step i feeds slice i, modulo the array's length.

use std::path::Path;

use crate::tensor::io::{self, Arrays};
use crate::tensor::{DType, Tensor};

use super::source::{Batch, BatchSource, DataError};

/// See the module doc. An epoch is one pass over the longest array.
#[derive(Clone, Debug)]
pub struct ArrayFeeds {
    arrays: Arrays,
    n_steps: usize,
    labels: Option<String>,
}

impl ArrayFeeds {
    /// Errors: an array without a leading axis, or an empty one.
    pub fn new(arrays: Arrays) -> Result<Self, DataError> {
        let mut n_steps = 1;
        for (name, t) in &arrays {
            match t.shape().first() {
                Some(0) => return Err(DataError::Other(format!("feed '{name}' has no steps (its first axis is 0)"))),
                Some(&n) => n_steps = n_steps.max(n),
                None => {
                    return Err(DataError::Other(format!(
                        "feed '{name}' is a scalar; its first axis must be the step (use shape [steps])"
                    )));
                }
            }
            if t.dtype() == DType::String {
                return Err(DataError::Other(format!("feed '{name}' holds text, which arrays cannot feed")));
            }
        }
        Ok(Self { arrays, n_steps, labels: None })
    }

    /// Reads `.npz`, `.npy` or `.safetensors`.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let arrays = io::read(path).map_err(|source| DataError::Arrays { path: path.to_owned(), source })?;
        Self::new(arrays).map_err(|e| DataError::File { path: path.to_owned(), what: e.to_string() })
    }

    /// The array that metrics compare with.
    #[must_use]
    pub fn with_labels(mut self, name: Option<String>) -> Self {
        self.labels = name;
        self
    }

    /// Names in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.arrays.keys().map(String::as_str)
    }

    /// Renames, converts or drops feeds (`None`), once, before training.
    pub fn map(
        self,
        f: impl Fn(&str, Tensor) -> Result<Option<(String, Tensor)>, DataError>,
    ) -> Result<Self, DataError> {
        let mut arrays = Arrays::new();
        for (name, t) in self.arrays {
            if let Some((name, t)) = f(&name, t)? {
                arrays.insert(name, t);
            }
        }
        Ok(Self { labels: self.labels, ..Self::new(arrays)? })
    }

    /// The feeds of step `step`.
    pub fn slice(&self, step: usize) -> Vec<(String, Tensor)> {
        self.arrays.iter().map(|(name, t)| (name.clone(), row(t, step))).collect()
    }
}

/// Slice `index` (modulo the length) along the first axis.
fn row(t: &Tensor, index: usize) -> Tensor {
    let shape = &t.shape()[1..];
    let mut out = Tensor::zeros(t.dtype(), shape);
    let bytes = out.bytes().len();
    let at = (index % t.shape()[0]) * bytes;
    out.bytes_mut().copy_from_slice(&t.bytes()[at..at + bytes]);
    out
}

impl BatchSource for ArrayFeeds {
    fn n_batches(&mut self, _epoch: usize) -> Result<usize, DataError> {
        Ok(self.n_steps)
    }

    fn batch(&mut self, epoch: usize, index: usize) -> Result<Batch, DataError> {
        // Arrays of different lengths keep their own period over epochs.
        let feeds = self.slice(epoch * self.n_steps + index);
        let labels = self.labels.as_ref().and_then(|l| feeds.iter().find(|(n, _)| n == l)).map(|(_, t)| t.clone());
        let most = feeds.iter().filter_map(|(_, t)| t.shape().first().copied()).max();
        Ok(Batch { n_examples: most.unwrap_or(1), feeds, labels, rows: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_wrap_around() {
        let arrays = Arrays::from_iter([
            ("a".to_owned(), Tensor::from_slice(&[3, 2], &[1f32, 2., 3., 4., 5., 6.])),
            ("b".to_owned(), Tensor::from_slice(&[2], &[7i32, 8])),
        ]);
        let mut feeds = ArrayFeeds::new(arrays).unwrap();
        assert_eq!(feeds.n_batches(0).unwrap(), 3);
        let batch = feeds.batch(1, 0).unwrap();
        assert_eq!(batch.feed("a").unwrap(), &Tensor::from_slice(&[2], &[1f32, 2.]));
        assert_eq!(batch.feed("b").unwrap(), &Tensor::scalar(8i32));
        let scalar = Arrays::from_iter([("x".to_owned(), Tensor::scalar(1f32))]);
        assert!(ArrayFeeds::new(scalar).unwrap_err().to_string().contains("'x'"));
    }
}
