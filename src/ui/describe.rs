//! Statistics of a constant over all its elements, and parts of it for a look: in jobs, whatever its size. Elements are
//! converted piece by piece, so that a mapped tensor of gigabytes costs no gigabytes of numbers.

use crate::tensor::Tensor;

use super::ctx::{Described, SliceAt, Sliced, ValueRange};

const N_BINS: usize = 64;
const PICTURE: usize = 128;
const N_FIRST: usize = 4096;
/// Elements that are converted at a time.
const PIECE: usize = 1 << 16;
/// The window of values that the inspector lists.
const GRID_ROWS: usize = 12;
const GRID_COLUMNS: usize = 12;

/// Calls `each` with the numbers of elements `range`, piece by piece, and the index of the first; `None` for strings and
/// handles.
fn pieces(tensor: &Tensor, range: std::ops::Range<usize>, mut each: impl FnMut(usize, &[f64])) -> Option<()> {
    if tensor.strings().is_some() {
        return None;
    }
    let size = tensor.bytes().len().checked_div(tensor.len()).unwrap_or(0);
    if size * tensor.len() != tensor.bytes().len() || size == 0 {
        // Packed types, and nothing at all.
        let all = tensor.to_f64s()?;
        each(range.start, all.get(range)?);
        return Some(());
    }
    let mut at = range.start;
    while at < range.end {
        let n = (range.end - at).min(PIECE);
        let bytes = tensor.bytes().get(at * size..(at + n) * size)?;
        each(at, &Tensor::from_bytes(tensor.dtype(), &[n], bytes)?.to_f64s()?);
        at += n;
    }
    Some(())
}

/// Describes every element; `None` for strings and handles.
pub fn describe(tensor: &Tensor) -> Option<Described> {
    let n = tensor.len();
    let mut d = Described { elements: n, min: f64::INFINITY, max: f64::NEG_INFINITY, ..Default::default() };
    let (rows, columns) = matrix(tensor.shape());
    let mut picture = Picture::new(rows, columns);
    // Welford 1962: one pass, stable.
    let mut squares = 0.0;
    pieces(tensor, 0..n, |start, values| {
        for &v in values {
            if v.is_nan() {
                d.nan += 1;
            } else if v.is_infinite() {
                d.infinite += 1;
            } else {
                d.finite += 1;
                d.zeros += usize::from(v == 0.0);
                d.min = d.min.min(v);
                d.max = d.max.max(v);
                let delta = v - d.mean;
                d.mean += delta / d.finite as f64;
                squares += delta * (v - d.mean);
            }
        }
        picture.add(start, values);
        if d.first.len() < N_FIRST {
            d.first.extend(values.iter().take(N_FIRST - d.first.len()));
        }
    })?;
    if d.finite > 0 {
        d.deviation = (squares / d.finite as f64).sqrt();
        d.histogram = histogram(tensor, d.min, d.max)?;
    } else {
        (d.min, d.max) = (f64::NAN, f64::NAN);
    }
    (d.picture, d.picture_size) = picture.finish();
    d.columns = columns.max(1);
    Some(d)
}

/// Least, greatest and mean of the finite elements; `None` for strings, handles, and where no element is finite.
pub fn range(tensor: &Tensor) -> Option<ValueRange> {
    let (mut min, mut max, mut sum, mut n) = (f64::INFINITY, f64::NEG_INFINITY, 0.0, 0usize);
    pieces(tensor, 0..tensor.len(), |_, values| {
        for &v in values.iter().filter(|v| v.is_finite()) {
            (min, max) = (min.min(v), max.max(v));
            sum += v;
            n += 1;
        }
    })?;
    (n > 0).then(|| ValueRange { min, max, mean: sum / n as f64 })
}

fn histogram(tensor: &Tensor, min: f64, max: f64) -> Option<Vec<usize>> {
    let n = if min == max { 1 } else { N_BINS };
    let mut bins = vec![0; n];
    let scale = if max > min { n as f64 / (max - min) } else { 0.0 };
    pieces(tensor, 0..tensor.len(), |_, values| {
        for v in values.iter().filter(|v| v.is_finite()) {
            bins[(((v - min) * scale) as usize).min(n - 1)] += 1;
        }
    })?;
    Some(bins)
}

/// Rows and columns of the tensor seen as a matrix: all dimensions but the last are rows.
fn matrix(shape: &[usize]) -> (usize, usize) {
    match shape {
        [] => (1, 1),
        [n] => (1, *n),
        [rows @ .., columns] => (rows.iter().product(), *columns),
    }
}

/// One matrix of a tensor (the last two dimensions at the given indices of the others): a picture of all of it, and a
/// window of its values. Indices beyond the shape are moved inside; `None` for strings, handles and empty tensors.
pub fn slice(tensor: &Tensor, at: &SliceAt) -> Option<Sliced> {
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

    fn add(&mut self, start: usize, values: &[f64]) {
        let [h, w] = self.size;
        let (mut row, mut column) = (start / self.columns.max(1), start % self.columns.max(1));
        let mut line = row * h / self.rows.max(1) * w;
        for v in values {
            if v.is_finite() {
                let at = line + column * w / self.columns;
                self.sums[at] += v;
                self.counts[at] += 1;
            }
            column += 1;
            if column == self.columns {
                column = 0;
                row += 1;
                line = row * h / self.rows * w;
            }
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
        assert_eq!(d.picture_size, [2, 3]);
        assert_eq!(d.picture[..5], [1.0, 2.0, 3.0, 4.0, 0.0]);
        assert_eq!(d.columns, 3);
    }

    #[test]
    fn constant_empty_and_large_tensors_are_fine() {
        let d = describe(&Tensor::from_slice(&[3], &[7i32, 7, 7])).unwrap();
        assert_eq!(d.histogram, [3]);
        let d = describe(&Tensor::from_slice::<f32>(&[0, 4], &[])).unwrap();
        assert!(d.min.is_nan() && d.histogram.is_empty());
        let d = describe(&Tensor::from_slice(&[300, 500], &vec![1.0f32; 150_000])).unwrap();
        assert_eq!(d.picture_size, [128, 128]);
        assert!(d.picture.iter().all(|&v| v == 1.0));
        assert!(describe(&Tensor::from_strings(&[1], vec![b"a".to_vec()])).is_none());
    }

    #[test]
    fn pieces_join_without_a_seam() {
        let n = PIECE + 1000;
        let values: Vec<f32> = (0..n).map(|i| i as f32).collect();
        let d = describe(&Tensor::from_slice(&[n], &values)).unwrap();
        assert_eq!((d.finite, d.min, d.max), (n, 0.0, (n - 1) as f64));
        assert!((d.mean - (n - 1) as f64 / 2.0).abs() < 1e-6);
        assert_eq!(d.histogram.iter().sum::<usize>(), n);
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
