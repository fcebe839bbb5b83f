//! Which rows make which batch: shuffled by seed and epoch, bucketed by length, the last one short, dropped or filled up.

use super::shuffle::Numbers;
use super::source::DataError;

/// How long the texts of a batch become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PadTo {
    /// The longest text of the batch, rounded up to a multiple (so that few different lengths occur).
    Longest {
        multiple: usize,
    },
    Length(usize),
}

/// How rows become batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchOptions {
    pub batch: usize,
    /// The graph fixes the batch size: a short last batch is filled up with rows that do not count.
    pub fixed_batch: bool,
    pub drop_last: bool,
    pub shuffle: bool,
    pub seed: u64,
    pub max_length: usize,
    pub pad: PadTo,
    /// Batches of similar length (needs every text's length, so all are tokenized at the start).
    pub buckets: bool,
}

impl PadTo {
    /// The common length of texts of which the longest has `longest` tokens.
    pub fn length(self, longest: usize, max_length: usize) -> usize {
        match self {
            Self::Length(n) => n,
            Self::Longest { multiple } => longest.next_multiple_of(multiple.max(1)).min(max_length).max(longest),
        }
    }
}

/// Batches of an epoch as lists of rows; a pure function of rows, options and epoch. Rows are kept as 32-bit numbers, so
/// that a million of them cost a few megabytes.
#[derive(Clone, Debug)]
pub(super) struct Order {
    rows: Vec<u32>,
    batch: usize,
    drop_last: bool,
    shuffle: bool,
    buckets: bool,
    seed: u64,
    /// The epoch that was asked for last.
    made: Option<Made>,
}

#[derive(Clone, Debug)]
struct Made {
    epoch: usize,
    rows: Vec<u32>,
    /// Which slice of `rows` each batch is; empty where they stand in order.
    batches: Vec<u32>,
}

impl Order {
    pub(super) fn new(rows: Vec<usize>, options: &BatchOptions) -> Self {
        let BatchOptions { drop_last, shuffle, buckets, seed, .. } = *options;
        let rows = rows.into_iter().map(|r| r as u32).collect();
        Self { rows, batch: options.batch.max(1), drop_last, shuffle, buckets, seed, made: None }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The rows in the order of the file.
    pub(super) fn rows(&self) -> impl Iterator<Item = usize> + '_ {
        self.rows.iter().map(|&r| r as usize)
    }

    pub(super) fn n_batches(&self) -> usize {
        if self.drop_last { self.rows.len() / self.batch } else { self.rows.len().div_ceil(self.batch) }
    }

    /// Without shuffling all epochs are alike.
    fn key(&self, epoch: usize) -> usize {
        if self.shuffle { epoch } else { 0 }
    }

    pub(super) fn stale(&self, epoch: usize) -> bool {
        self.made.as_ref().is_none_or(|m| m.epoch != self.key(epoch))
    }

    pub(super) fn wants_lengths(&self) -> bool {
        self.buckets
    }

    /// Makes an epoch's order; `lengths` by row where buckets are wanted.
    pub(super) fn make(&mut self, epoch: usize, lengths: &[u32]) {
        let epoch = self.key(epoch);
        let mut rows = self.rows.clone();
        let mut numbers = Numbers::new(self.seed, epoch as u64);
        if self.shuffle {
            numbers.shuffle(&mut rows);
        }
        let mut batches = Vec::new();
        if self.buckets {
            // Sorted within windows only, so that batches still mix and the order still changes with the epoch.
            let length = |row: &u32| std::cmp::Reverse(lengths.get(*row as usize).copied().unwrap_or(0));
            rows.chunks_mut(self.batch * 50).for_each(|w| w.sort_by_key(length));
            if self.shuffle {
                // The last, short batch stays last.
                batches = (0..(rows.len() / self.batch) as u32).collect();
                numbers.shuffle(&mut batches);
            }
        }
        self.made = Some(Made { epoch, rows, batches });
    }

    pub(super) fn batch(&self, index: usize) -> Option<Vec<usize>> {
        let made = self.made.as_ref()?;
        if index >= self.n_batches() {
            return None;
        }
        let slice = made.batches.get(index).map_or(index, |&b| b as usize);
        let start = slice * self.batch;
        let end = (start + self.batch).min(made.rows.len());
        Some(made.rows.get(start..end)?.iter().map(|&r| r as usize).collect())
    }
}

/// Where the graph fixes the batch size, rows that do not count repeat the first ones.
pub(super) fn fill_up(rows: &mut Vec<usize>, options: &BatchOptions) {
    if options.fixed_batch && !rows.is_empty() {
        *rows = rows.iter().copied().cycle().take(options.batch).collect();
    }
}

pub(super) fn no_batch(epoch: usize, index: usize) -> DataError {
    DataError::Other(format!("there is no batch {index} in epoch {epoch}"))
}
