//! Statistics of a constant over all its elements: one pass, in a job, whatever its size.

use crate::tensor::Tensor;

use super::ctx::Described;

const N_BINS: usize = 64;
const PICTURE: usize = 128;
const N_FIRST: usize = 4096;

/// Describes every element; `None` for strings and handles.
pub fn describe(tensor: &Tensor) -> Option<Described> {
    let values = tensor.to_f64s()?;
    let mut d = Described { elements: values.len(), min: f64::INFINITY, max: f64::NEG_INFINITY, ..Default::default() };
    // Welford 1962: one pass, stable.
    let mut squares = 0.0;
    for &v in &values {
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
    if d.finite > 0 {
        d.deviation = (squares / d.finite as f64).sqrt();
        d.histogram = histogram(&values, d.min, d.max);
    } else {
        (d.min, d.max) = (f64::NAN, f64::NAN);
    }
    let (rows, columns) = matrix(tensor.shape());
    (d.picture, d.picture_size) = picture(&values, rows, columns);
    d.columns = columns.max(1);
    d.first = values.into_iter().take(N_FIRST).collect();
    Some(d)
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

/// Rows and columns of the tensor seen as a matrix: all dimensions but the last are rows.
fn matrix(shape: &[usize]) -> (usize, usize) {
    match shape {
        [] => (1, 1),
        [n] => (1, *n),
        [rows @ .., columns] => (rows.iter().product(), *columns),
    }
}

/// Means of blocks, at most `PICTURE` on a side.
fn picture(values: &[f64], rows: usize, columns: usize) -> (Vec<f32>, [usize; 2]) {
    let (h, w) = (rows.min(PICTURE), columns.min(PICTURE));
    let mut sums = vec![0.0f64; h * w];
    let mut counts = vec![0u32; h * w];
    for (i, v) in values.iter().enumerate() {
        if v.is_finite() {
            let at = (i / columns * h / rows) * w + i % columns * w / columns;
            sums[at] += v;
            counts[at] += 1;
        }
    }
    let means = sums.iter().zip(&counts).map(|(s, &n)| if n == 0 { f32::NAN } else { (s / f64::from(n)) as f32 });
    (means.collect(), [h, w])
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
    }
}
