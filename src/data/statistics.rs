//! Statistics of a constant over all its elements, and parts of it for a look: in jobs, whatever its size. Elements are
//! converted piece by piece, so that a mapped tensor of gigabytes costs no gigabytes of numbers.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

use crate::tensor::Tensor;

const N_BINS: usize = 64;
const PICTURE: usize = 128;
/// Elements that are converted at a time.
const PIECE: usize = 1 << 16;
/// The window of values that the inspector lists.
const GRID_ROWS: usize = 12;
const GRID_COLUMNS: usize = 12;

/// What the values of a constant look like.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Described {
    pub elements: usize,
    pub finite: usize,
    pub nan: usize,
    pub infinite: usize,
    pub zeros: usize,
    pub min: f64,
    pub max: f64,
    pub mean: f64,
    pub deviation: f64,
    /// Counts of equal-width bins from `min` to `max`, finite values only.
    pub histogram: Vec<usize>,
}

/// What the table of constants says about values, over all finite elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueRange {
    pub min: f64,
    pub max: f64,
    pub mean: f64,
}

/// Which matrix of a constant, and from where on its values are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SliceAt {
    pub name: String,
    /// One index per dimension before the last two.
    pub leading: Vec<usize>,
    pub row: usize,
    pub column: usize,
}

/// A matrix of a constant: a reduced picture of all of it, and a window of its values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sliced {
    pub at: SliceAt,
    pub rows: usize,
    pub columns: usize,
    pub picture: Vec<f32>,
    pub picture_size: [usize; 2],
    /// Row-major from `at.row` and `at.column` on, `grid_columns` wide.
    pub grid: Vec<f64>,
    pub grid_columns: usize,
}

/// The tensor with every element in bytes of its own: packed types are converted once. `None` for strings and handles.
fn unpacked(tensor: &Tensor) -> Option<Cow<'_, Tensor>> {
    if tensor.strings().is_some() {
        return None;
    }
    let size = tensor.bytes().len().checked_div(tensor.len()).unwrap_or(0);
    if size * tensor.len() == tensor.bytes().len() && size > 0 {
        return Some(Cow::Borrowed(tensor));
    }
    Some(Cow::Owned(Tensor::from_slice(tensor.shape(), &tensor.to_f64s()?)))
}

/// The numbers of elements `range` of an unpacked tensor; `None` where it has none.
fn numbers(tensor: &Tensor, range: Range<usize>) -> Option<Vec<f64>> {
    let size = tensor.bytes().len().checked_div(tensor.len()).unwrap_or(0);
    let bytes = tensor.bytes().get(range.start * size..range.end * size)?;
    Tensor::from_bytes(tensor.dtype(), &[range.len()], bytes)?.to_f64s()
}

/// Calls `each` with the numbers of elements `range`, piece by piece, and the index of the first.
fn pieces(tensor: &Tensor, range: Range<usize>, mut each: impl FnMut(usize, &[f64])) -> Option<()> {
    let mut at = range.start;
    while at < range.end {
        let end = range.end.min(at + PIECE);
        each(at, &numbers(tensor, at..end)?);
        at = end;
    }
    Some(())
}

/// Results of `work` on each of `n` pieces, in their order, on all cores: the results depend on the pieces alone, never on
/// the threads.
fn each_piece<R: Send>(n: usize, work: impl Fn(usize) -> Option<R> + Sync + Send) -> Option<Vec<R>> {
    (0..n).into_par_iter().map(work).collect()
}

/// What one pass over a piece finds.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    finite: usize,
    nan: usize,
    infinite: usize,
    zeros: usize,
    min: f64,
    max: f64,
    mean: f64,
    /// Sum of squared deviations from the mean.
    squares: f64,
}

impl Moments {
    fn of(values: &[f64]) -> Self {
        let mut m = Self { min: f64::INFINITY, max: f64::NEG_INFINITY, ..Self::default() };
        let mut sum = 0.0;
        for &v in values {
            if v.is_finite() {
                m.finite += 1;
                m.zeros += usize::from(v == 0.0);
                m.min = m.min.min(v);
                m.max = m.max.max(v);
                sum += v;
            } else if v.is_nan() {
                m.nan += 1;
            } else {
                m.infinite += 1;
            }
        }
        m.mean = if m.finite > 0 { sum / m.finite as f64 } else { 0.0 };
        m.squares = values.iter().filter(|v| v.is_finite()).map(|v| (v - m.mean) * (v - m.mean)).sum();
        m
    }

    /// Chan, Golub and LeVeque 1983: moments of parts into those of the whole.
    fn join(self, other: Self) -> Self {
        let (a, b) = (self.finite as f64, other.finite as f64);
        let n = (a + b).max(1.0);
        let delta = other.mean - self.mean;
        Self {
            finite: self.finite + other.finite,
            nan: self.nan + other.nan,
            infinite: self.infinite + other.infinite,
            zeros: self.zeros + other.zeros,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            mean: self.mean + delta * b / n,
            squares: self.squares + other.squares + delta * delta * a * b / n,
        }
    }
}

/// Describes every element; `None` for strings and handles.
pub fn describe(tensor: &Tensor) -> Option<Described> {
    let tensor = &*unpacked(tensor)?;
    let n = tensor.len();
    let m = moments(tensor)?;
    let mut d = Described {
        elements: n,
        finite: m.finite,
        nan: m.nan,
        infinite: m.infinite,
        zeros: m.zeros,
        min: m.min,
        max: m.max,
        mean: m.mean,
        ..Described::default()
    };
    if d.finite > 0 {
        d.deviation = (m.squares / d.finite as f64).sqrt();
        let one = |i| Some(histogram(&numbers(tensor, piece(tensor, i))?, d.min, d.max));
        let counts = each_piece(n.div_ceil(PIECE), one)?;
        let add = |mut a: Vec<usize>, b: Vec<usize>| {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
            a
        };
        d.histogram = counts.into_iter().reduce(add).unwrap_or_default();
    } else {
        (d.min, d.max) = (f64::NAN, f64::NAN);
    }
    Some(d)
}

/// Least, greatest and mean of the finite elements; `None` for strings, handles, and where no element is finite.
pub fn range(tensor: &Tensor) -> Option<ValueRange> {
    let m = moments(&*unpacked(tensor)?)?;
    (m.finite > 0).then_some(ValueRange { min: m.min, max: m.max, mean: m.mean })
}

/// Of every element of an unpacked tensor.
fn moments(tensor: &Tensor) -> Option<Moments> {
    let parts = each_piece(tensor.len().div_ceil(PIECE), |i| Some(Moments::of(&numbers(tensor, piece(tensor, i))?)))?;
    let empty = Moments { min: f64::INFINITY, max: f64::NEG_INFINITY, ..Moments::default() };
    Some(parts.into_iter().fold(empty, Moments::join))
}

/// The elements of a piece.
fn piece(tensor: &Tensor, i: usize) -> Range<usize> {
    i * PIECE..tensor.len().min((i + 1) * PIECE)
}

fn histogram(values: &[f64], min: f64, max: f64) -> Vec<usize> {
    let n = if min == max { 1 } else { N_BINS };
    let mut bins = vec![0; n];
    let scale = if max > min { n as f64 / (max - min) } else { 0.0 };
    for v in values.iter().filter(|v| v.is_finite()) {
        bins[(((v - min) * scale) as usize).min(n - 1)] += 1;
    }
    bins
}

/// How far values moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moved {
    /// Euclidean norm of the change.
    pub norm: f64,
    /// The same over the norm before; `None` for what was zero.
    pub relative: Option<f64>,
    /// Largest change of a single element.
    pub largest: f64,
}

/// Compares all elements of two tensors; `None` where their shapes differ, or for strings and handles.
pub fn moved(before: &Tensor, after: &Tensor) -> Option<Moved> {
    if before.shape() != after.shape() {
        return None;
    }
    let (before, after) = (&*unpacked(before)?, &*unpacked(after)?);
    let parts = each_piece(before.len().div_ceil(PIECE), |i| {
        let (a, b) = (numbers(before, piece(before, i))?, numbers(after, piece(after, i))?);
        let mut out = (0.0, 0.0, 0.0f64);
        for (a, b) in a.iter().zip(&b) {
            let d = b - a;
            out = (out.0 + d * d, out.1 + a * a, out.2.max(d.abs()));
        }
        Some(out)
    })?;
    let all = parts.into_iter().fold((0.0, 0.0, 0.0f64), |a, b| (a.0 + b.0, a.1 + b.1, a.2.max(b.2)));
    let norm = all.0.sqrt();
    Some(Moved { norm, relative: (all.1 > 0.0).then(|| norm / all.1.sqrt()), largest: all.2 })
}

/// One matrix of a tensor (the last two dimensions at the given indices of the others): a picture of all of it, and a
/// window of its values. Indices beyond the shape are moved inside; `None` for strings, handles and empty tensors.
pub fn slice(tensor: &Tensor, at: &SliceAt) -> Option<Sliced> {
    let tensor = &*unpacked(tensor)?;
    let shape = tensor.shape();
    let (leading, rows, columns) = match shape {
        [] => (&[][..], 1, 1),
        [n] => (&[][..], 1, *n),
        [leading @ .., rows, columns] => (leading, *rows, *columns),
    };
    if tensor.is_empty() {
        return None;
    }
    let mut at = at.clone();
    at.leading.resize(leading.len(), 0);
    let mut index = 0;
    for (i, &d) in at.leading.iter_mut().zip(leading) {
        *i = (*i).min(d - 1);
        index = index * d + *i;
    }
    at.row = at.row.min(rows - 1);
    at.column = at.column.min(columns - 1);
    let start = index * rows * columns;
    let mut picture = Picture::new(rows, columns);
    pieces(tensor, start..start + rows * columns, |at, values| picture.add(at - start, values))?;
    let (picture, picture_size) = picture.finish();
    let grid_columns = GRID_COLUMNS.min(columns - at.column);
    let mut grid = Vec::new();
    for row in at.row..(at.row + GRID_ROWS).min(rows) {
        let first = start + row * columns + at.column;
        pieces(tensor, first..first + grid_columns, |_, values| grid.extend(values))?;
    }
    Some(Sliced { at, rows, columns, picture, picture_size, grid, grid_columns })
}

/// Means of blocks of a matrix, at most `PICTURE` on a side.
struct Picture {
    rows: usize,
    columns: usize,
    size: [usize; 2],
    sums: Vec<f64>,
    counts: Vec<u32>,
}

impl Picture {
    fn new(rows: usize, columns: usize) -> Self {
        let size = [rows.min(PICTURE), columns.min(PICTURE)];
        let n = size[0] * size[1];
        Self { rows, columns, size, sums: vec![0.0; n], counts: vec![0; n] }
    }

    /// Takes elements from `start` on, which are whole rows but for the first and last.
    fn add(&mut self, start: usize, values: &[f64]) {
        let [h, w] = self.size;
        let (mut at, mut values) = (start, values);
        while !values.is_empty() {
            let (row, column) = (at / self.columns.max(1), at % self.columns.max(1));
            let (run, rest) = values.split_at((self.columns - column).min(values.len()));
            let line = row * h / self.rows.max(1) * w;
            self.add_run(line, column, run);
            at += run.len();
            values = rest;
        }
    }

    /// Part of one row: the columns of one block lie side by side.
    fn add_run(&mut self, line: usize, column: usize, mut run: &[f64]) {
        let w = self.size[1];
        let mut column = column;
        while !run.is_empty() {
            let block = column * w / self.columns;
            let end = ((block + 1) * self.columns).div_ceil(w);
            let (own, rest) = run.split_at((end - column).min(run.len()));
            for v in own.iter().filter(|v| v.is_finite()) {
                self.sums[line + block] += v;
                self.counts[line + block] += 1;
            }
            column = end;
            run = rest;
        }
    }

    fn finish(self) -> (Vec<f32>, [usize; 2]) {
        let mean = |(s, &n): (&f64, &u32)| if n == 0 { f32::NAN } else { (s / f64::from(n)) as f32 };
        (self.sums.iter().zip(&self.counts).map(mean).collect(), self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_cover_every_element() {
        let d = describe(&Tensor::from_slice(&[2, 3], &[1.0f32, 2.0, 3.0, 4.0, 0.0, f32::NAN])).unwrap();
        assert_eq!((d.elements, d.finite, d.nan, d.zeros), (6, 5, 1, 1));
        assert_eq!((d.min, d.max, d.mean), (0.0, 4.0, 2.0));
        assert!((d.deviation - 2.0f64.sqrt()).abs() < 1e-12);
        assert_eq!(d.histogram.iter().sum::<usize>(), 5);
    }

    #[test]
    fn constant_empty_and_large_tensors_are_fine() {
        let d = describe(&Tensor::from_slice(&[3], &[7i32, 7, 7])).unwrap();
        assert_eq!(d.histogram, [3]);
        let d = describe(&Tensor::from_slice::<f32>(&[0, 4], &[])).unwrap();
        assert!(d.min.is_nan() && d.histogram.is_empty());
        let large = Tensor::from_slice(&[300, 500], &vec![1.0f32; 150_000]);
        let s = slice(&large, &SliceAt::default()).unwrap();
        assert_eq!(s.picture_size, [128, 128]);
        assert!(s.picture.iter().all(|&v| v == 1.0));
        assert!(describe(&Tensor::from_strings(&[1], vec![b"a".to_vec()])).is_none());
    }

    #[test]
    fn pieces_join_without_a_seam() {
        let n = PIECE + 1000;
        let values: Vec<f32> = (0..n).map(|i| i as f32).collect();
        let d = describe(&Tensor::from_slice(&[n], &values)).unwrap();
        assert_eq!((d.finite, d.min, d.max), (n, 0.0, (n - 1) as f64));
        assert!((d.mean - (n - 1) as f64 / 2.0).abs() < 1e-6);
        assert!((d.deviation - ((n * n - 1) as f64 / 12.0).sqrt()).abs() < 1e-6, "of the numbers from 0 to n - 1");
        assert_eq!(d.histogram.iter().sum::<usize>(), n);
        // Rows that pieces cut, in blocks of unequal width.
        let (rows, columns) = (700, 150);
        let values: Vec<f32> = (0..rows * columns).map(|i| (i % columns) as f32).collect();
        let s = slice(&Tensor::from_slice(&[rows, columns], &values), &SliceAt::default()).unwrap();
        let block = |j: usize| {
            let own: Vec<usize> = (0..columns).filter(|c| c * 128 / columns == j).collect();
            own.iter().sum::<usize>() as f32 / own.len() as f32
        };
        let expected: Vec<f32> = (0..128).map(block).collect();
        assert!(s.picture.chunks(128).all(|line| line == expected));
    }

    #[test]
    fn a_change_is_measured_over_every_element() {
        let n = PIECE + 3;
        let mut values = vec![3.0f32; n];
        let before = Tensor::from_slice(&[n], &values);
        values[0] = 0.0;
        values[n - 1] = 7.0;
        let m = moved(&before, &Tensor::from_slice(&[n], &values)).unwrap();
        assert_eq!((m.norm, m.largest), (5.0, 4.0));
        assert!((m.relative.unwrap() - 5.0 / (9.0 * n as f64).sqrt()).abs() < 1e-12);
        assert!(moved(&before, &Tensor::from_slice(&[1], &[1.0f32])).is_none());
    }

    #[test]
    fn a_slice_is_the_matrix_that_was_asked_for() {
        let values: Vec<i32> = (0..2 * 3 * 20 * 30).collect();
        let t = Tensor::from_slice(&[2, 3, 20, 30], &values);
        let at = SliceAt { name: "w".to_owned(), leading: vec![1, 2], row: 10, column: 25 };
        let s = slice(&t, &at).unwrap();
        let start = (3 + 2) * 600;
        assert_eq!((s.rows, s.columns, s.picture_size), (20, 30, [20, 30]));
        assert_eq!(s.picture[31], (start + 31) as f32);
        assert_eq!(s.grid[0], f64::from(start + 10 * 30 + 25));
        assert_eq!((s.grid_columns, s.grid.len()), (5, 5 * 10), "up to the borders");
        let far = slice(&t, &SliceAt { leading: vec![9], row: 99, ..SliceAt::default() }).unwrap();
        assert_eq!((far.at.leading.as_slice(), far.at.row), (&[1, 0][..], 19), "moved inside");
        assert_eq!(slice(&Tensor::from_slice(&[], &[4.0f32]), &at).unwrap().grid, [4.0]);
        assert!(slice(&Tensor::from_slice::<f32>(&[0, 2], &[]), &at).is_none());
    }
}
