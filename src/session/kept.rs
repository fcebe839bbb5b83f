//! What the frozen part of a model gave for each example. Examples are told by the content of the feeds that it depends on, so
//! nothing here knows data sets or epochs.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::tensor::Tensor;

/// Lengths at which a text is computed where padding changes nothing: its own, rounded up to a multiple of this.
const MULTIPLE: usize = 8;
/// Numbers with another padding count as equal below this, relative to the largest.
const SAME: f64 = 1e-4;

/// What was seen of one frontier.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nature {
    /// Whether rows do not depend on what stands beside them, to the last bit.
    pub is_by_row: Option<bool>,
    /// Whether padding changes nothing but the order of sums.
    pub ignores_padding: Option<bool>,
}

/// Results by example, of all frontiers, shapes and phases of a run.
#[derive(Debug, Default)]
pub struct Kept {
    entries: HashMap<Row, Vec<Tensor>>,
    natures: HashMap<u64, Nature>,
    bytes: usize,
    /// No more is kept beyond this.
    limit: usize,
}

impl Kept {
    pub fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    pub fn nature(&mut self, frontier: u64) -> &mut Nature {
        self.natures.entry(frontier).or_default()
    }

    pub fn find(&self, row: &Row) -> Option<&[Tensor]> {
        self.entries.get(row).map(Vec::as_slice)
    }

    pub fn keep(&mut self, row: Row, values: &[Tensor]) {
        let bytes: usize = values.iter().map(|t| t.bytes().len() + 128).sum();
        if self.bytes + bytes <= self.limit && self.entries.insert(row, values.to_vec()).is_none() {
            self.bytes += bytes;
        }
    }
}

/// An example of a batch: a hash of its content without padding and of the frontier, and the length that it is computed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub key: u128,
    pub length: usize,
}

/// The examples of a batch.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Each with the length of the batch (0 where the feeds have no common one).
    pub rows: Vec<Row>,
    /// The length of each by itself, where the feeds are texts that can be made shorter.
    pub own_lengths: Option<Vec<usize>>,
}

/// Rows of the feeds that the frozen part depends on. Columns at the end where all integer feeds are 0 are padding.
pub fn rows(feeds: &[&Tensor], frontier: u64) -> Rows {
    let n = feeds.first().and_then(|t| t.shape().first().copied()).unwrap_or(0);
    let is_sequence = |t: &Tensor| t.shape().len() == 2 && t.dtype().is_exact();
    let lengths: Vec<usize> = feeds.iter().filter(|t| is_sequence(t)).map(|t| t.shape()[1]).collect();
    let common = lengths.first().copied().filter(|l| lengths.iter().all(|o| o == l));
    let can_shrink = common.is_some() && feeds.iter().all(|t| is_sequence(t) || t.shape().len() == 1);
    let mut out = Rows { rows: Vec::with_capacity(n), own_lengths: can_shrink.then(Vec::new) };
    for i in 0..n {
        let mut used = 0;
        for t in feeds.iter().filter(|t| is_sequence(t) && common.is_some()) {
            let last = row_of(t, i).chunks_exact(t.dtype().size()).rposition(|c| c.iter().any(|b| *b != 0));
            used = used.max(last.map_or(0, |p| p + 1));
        }
        let mut halves = [DefaultHasher::new(), DefaultHasher::new()];
        1u8.hash(&mut halves[1]);
        for half in &mut halves {
            frontier.hash(half);
        }
        for t in feeds {
            let row = row_of(t, i);
            let row = if is_sequence(t) && common.is_some() { &row[..used * t.dtype().size()] } else { row };
            for half in &mut halves {
                (t.dtype() as u8, row.len()).hash(half);
                half.write(row);
            }
        }
        let key = u128::from(halves[0].finish()) << 64 | u128::from(halves[1].finish());
        let length = common.unwrap_or(0);
        out.rows.push(Row { key, length });
        if let Some(own) = &mut out.own_lengths {
            own.push(used.max(1).next_multiple_of(MULTIPLE).min(length));
        }
    }
    out
}

fn row_of(t: &Tensor, i: usize) -> &[u8] {
    let size = t.shape()[1..].iter().product::<usize>() * t.dtype().size();
    &t.bytes()[i * size..(i + 1) * size]
}

/// Some rows of a feed, sequences cut to `length`.
pub fn cut(t: &Tensor, rows: &[usize], length: usize) -> Option<Tensor> {
    let mut dims = t.shape().to_vec();
    *dims.first_mut()? = rows.len();
    let is_sequence = dims.len() == 2 && length < dims[1];
    if is_sequence {
        dims[1] = length;
    }
    let size = dims[1..].iter().product::<usize>() * t.dtype().size();
    let bytes: Vec<u8> = rows.iter().flat_map(|&i| &row_of(t, i)[..size]).copied().collect();
    Tensor::from_bytes(t.dtype(), &dims, &bytes)
}

/// Whether two results of a row are the same but for rounding.
pub fn is_close(a: &[Tensor], b: &[Tensor]) -> bool {
    let close = |a: &Tensor, b: &Tensor| {
        let (Some(a), Some(b)) = (a.to_f64s(), b.to_f64s()) else { return false };
        let largest = a.iter().fold(0.0f64, |m, v| m.max(v.abs())).max(1e-6);
        a.len() == b.len() && a.iter().zip(&b).all(|(x, y)| (x - y).abs() <= SAME * largest)
    };
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.shape() == b.shape() && close(a, b))
}
