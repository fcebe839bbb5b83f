//! What a trainer asks for: batches by epoch and position, so that a run can resume anywhere with the same numbers.

use std::fmt::Debug;
use std::path::PathBuf;

use crate::tensor::Tensor;
use crate::tensor::io::ArrayError;

/// What can be wrong with data. Texts say where (path, line), what, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}", path.display())]
    Arrays { path: PathBuf, source: ArrayError },
    /// A row of a table; lines count from 1.
    #[error("{}, line {line}: {what}", path.display())]
    Row { path: PathBuf, line: u64, what: String },
    #[error("{}: {what}", path.display())]
    File { path: PathBuf, what: String },
    #[error("{0}")]
    Other(String),
}

/// Arrays for one step, by feed name, in a fixed order.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub feeds: Vec<(String, Tensor)>,
    /// Rows that count; rows beyond repeat others to fill a batch size that the graph fixes.
    pub n_examples: usize,
    /// Class indices or targets for metrics, with the rows of the batch; `None` where the data has none.
    pub labels: Option<Tensor>,
    /// Position of each row in the data set, for predictions; empty where rows have none.
    pub rows: Vec<usize>,
}

impl Batch {
    pub fn feed(&self, name: &str) -> Option<&Tensor> {
        self.feeds.iter().find(|(n, _)| n == name).map(|(_, t)| t)
    }
}

/// Batches as a pure function of epoch and position. Implementations may cache; they must not remember an order.
pub trait BatchSource: Debug + Send {
    /// Number of batches in an epoch.
    fn n_batches(&mut self, epoch: usize) -> Result<usize, DataError>;

    /// Batch `index` of an epoch, `index < n_batches(epoch)`.
    fn batch(&mut self, epoch: usize, index: usize) -> Result<Batch, DataError>;

    /// Examples in the whole set, where that is known; for messages.
    fn n_examples(&self) -> Option<usize> {
        None
    }
}
