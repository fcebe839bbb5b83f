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

/// Batches of an epoch as lists of rows; a pure function of rows, options and epoch.
#[derive(Clone, Debug)]
pub(super) struct Order {
    rows: Vec<usize>,
    batch: usize,
    drop_last: bool,
    shuffle: bool,
    buckets: bool,
    seed: u64,
    /// The epoch that was asked for last.
    made: Option<(usize, Vec<Vec<usize>>)>,
}

impl Order {
    pub(super) fn new(rows: Vec<usize>, options: &BatchOptions) -> Self {
        let BatchOptions { drop_last, shuffle, buckets, seed, .. } = *options;
        Self { rows, batch: options.batch.max(1), drop_last, shuffle, buckets, seed, made: None }
    }

    pub(super) fn rows(&self) -> &[usize] {
        &self.rows
    }

    pub(super) fn n_batches(&self) -> usize {
        if self.drop_last { self.rows.len() / self.batch } else { self.rows.len().div_ceil(self.batch) }
    }

    /// Without shuffling all epochs are alike.
    fn key(&self, epoch: usize) -> usize {
        if self.shuffle { epoch } else { 0 }
    }

    pub(super) fn stale(&self, epoch: usize) -> bool {
        self.made.as_ref().is_none_or(|(e, _)| *e != self.key(epoch))
    }

    pub(super) fn wants_lengths(&self) -> bool {
        self.buckets
    }

    /// Makes an epoch's order; `lengths` by row where buckets are wanted.
    pub(super) fn make(&mut self, epoch: usize, lengths: &[usize]) {
        let epoch = self.key(epoch);
        let mut rows = self.rows.clone();
        let mut numbers = Numbers::new(self.seed, epoch as u64);
        if self.shuffle {
            numbers.shuffle(&mut rows);
        }
        if self.buckets {
            // Sorted within windows only, so that batches still mix and the order still changes with the epoch.
            let length = |row: &usize| std::cmp::Reverse(lengths.get(*row).copied().unwrap_or(0));
            rows.chunks_mut(self.batch * 50).for_each(|w| w.sort_by_key(length));
        }
        let mut batches: Vec<Vec<usize>> = rows.chunks(self.batch).map(<[usize]>::to_vec).collect();
        let last = batches.pop_if(|b| b.len() < self.batch);
        if self.buckets && self.shuffle {
            numbers.shuffle(&mut batches);
        }
        batches.extend(last.filter(|_| !self.drop_last));
        self.made = Some((epoch, batches));
    }

    pub(super) fn batch(&self, index: usize) -> Option<&[usize]> {
        Some(self.made.as_ref()?.1.get(index)?)
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
