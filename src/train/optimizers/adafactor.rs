//! Adafactor (Shazeer & Stern, arXiv 1804.04235) without momentum: the second moment of a matrix is kept as one mean per row
//! and one per column. As Keras has it, with a relative step size.

use crate::ops::simd::{Real, Shared, parallel_grain};
use crate::tensor::Tensor;
use crate::train::settings::OptimizerSettings;

use super::apply::{CHUNK, chunked_sums};
use super::{Coefficients, OptimizerInfo, Whole, nothing};

/// ε1 and ε2 of the paper: added to squared gradients, and the least root mean square of the weights.
const SQUARE: f64 = 1e-30;
const LEAST: f64 = 1e-3;
/// d of the paper: an update whose root mean square is larger is scaled down to it.
const CLIP: f64 = 1.0;
/// How fast β2 goes to 1.
const POWER: f64 = 0.8;

pub const INFO: OptimizerInfo = OptimizerInfo {
    kind: "adafactor",
    label: "Adafactor",
    help: "β2 = 1 − t^−0.8; v from row and column means of g² + 1e-30; u = g / √v, scaled down to a root mean square of 1; \
           w ← w − max(1e-3, RMS(w)) · min(lr, 1/√t) · u, after w ← w − lr · weight_decay · w.",
    slots: &["row", "column"],
    settings: &["weight_decay", "no_decay"],
    defaults: &[("lr", "0.01"), ("weight_decay", "0")],
    coefficients,
    update_f32: nothing::<f32>,
    update_f64: nothing::<f64>,
    whole: Some(Whole { f32: update::<f32>, f64: update::<f64> }),
    scales_step_size: false,
    slot_dims,
};

fn coefficients(_s: &OptimizerSettings, lr: f64, t: u64) -> Coefficients {
    let t = t.max(1) as f64;
    let take = t.powf(-POWER);
    // The step size keeps 1/√t: the rate of a parameter's group is known only later.
    Coefficients { lr, step_size: 1.0 / t.sqrt(), beta2: 1.0 - take, one_minus_beta2: take, ..Coefficients::default() }
}

/// Means over the last axis and over the one before it; a vector keeps its squares, and no columns.
fn slot_dims(slot: usize, dims: &[usize]) -> Vec<usize> {
    match (slot, dims) {
        (0, [lead @ .., _, _]) => lead.iter().copied().chain([dims[dims.len() - 2]]).collect(),
        (_, [lead @ .., _, _]) => lead.iter().copied().chain([dims[dims.len() - 1]]).collect(),
        (0, _) => dims.to_vec(),
        _ => vec![0],
    }
}

fn update<T: Real>(c: &Coefficients, w: &mut [T], g: &[T], dims: &[usize], slots: &mut [Tensor]) {
    let [row, column, ..] = slots else { return };
    let (row, column) = (row.as_mut_slice::<T>(), column.as_mut_slice::<T>());
    let n = w.len().min(g.len());
    if n == 0 {
        return;
    }
    let scale = c.grad_scale;
    let (n_rows, n_columns) = match dims {
        [.., r, k] => (*r, *k),
        _ => (1, n),
    };
    let is_matrix = dims.len() >= 2;
    if is_matrix {
        track_matrix(c, g, (n_rows, n_columns), row, column);
    } else {
        for (v, &g) in row.iter_mut().zip(g) {
            let g = g.to_f64() * scale;
            *v = T::of(c.beta2 * v.to_f64() + c.one_minus_beta2 * (g * g + SQUARE));
        }
    }
    // The mean of the row means, one for each matrix.
    let per_matrix = n_rows * n_columns;
    let row_means: Vec<f64> = match is_matrix {
        true => row.chunks(n_rows).map(|r| r.iter().map(|v| v.to_f64()).sum::<f64>() / n_rows as f64).collect(),
        false => Vec::new(),
    };
    let (row, column) = (&*row, &*column);
    let step = |i: usize| -> f64 {
        let g = g[i].to_f64() * scale;
        if !is_matrix {
            return g / row[i].to_f64().sqrt();
        }
        let (matrix, r, k) = (i / per_matrix, i / n_columns, i % n_columns);
        let v = row[r].to_f64() / row_means[matrix] * column[matrix * n_columns + k].to_f64();
        g / v.sqrt()
    };
    let weights = &*w;
    let [of_weights, of_step] = chunked_sums(n, |range| {
        range.fold([0.0, 0.0], |[a, b], i| [a + weights[i].to_f64().powi(2), b + step(i).powi(2)])
    });
    let rms = |sum: f64| (sum / n as f64).sqrt();
    let rate = rms(of_weights).max(LEAST) * c.lr.min(c.step_size) / (rms(of_step) / CLIP).max(1.0);
    let keep = 1.0 - c.lr * c.decay;
    let shared = Shared::new(w.as_mut_ptr());
    parallel_grain(n, CHUNK, |range| {
        // SAFETY: ranges of different tasks are disjoint and lie within `w`, which outlives the call.
        #[allow(unsafe_code)]
        let w = unsafe { shared.at(range.clone()) };
        for (w, i) in w.iter_mut().zip(range) {
            *w = T::of(w.to_f64() * keep - rate * step(i));
        }
    });
}

/// Moves the means of rows and columns of each matrix towards those of the squared gradient.
fn track_matrix<T: Real>(
    c: &Coefficients,
    g: &[T],
    (n_rows, n_columns): (usize, usize),
    row: &mut [T],
    column: &mut [T],
) {
    let square = |g: T| (g.to_f64() * c.grad_scale).powi(2) + SQUARE;
    let track = |v: &mut T, mean: f64| *v = T::of(c.beta2 * v.to_f64() + c.one_minus_beta2 * mean);
    for (v, g) in row.iter_mut().zip(g.chunks(n_columns.max(1))) {
        track(v, g.iter().map(|&g| square(g)).sum::<f64>() / n_columns as f64);
    }
    let matrices = g.chunks(n_rows * n_columns);
    for (column, matrix) in column.chunks_mut(n_columns.max(1)).zip(matrices) {
        let mut sums = vec![0.0; n_columns];
        for g in matrix.chunks(n_columns) {
            sums.iter_mut().zip(g).for_each(|(s, &g)| *s += square(g));
        }
        column.iter_mut().zip(sums).for_each(|(v, s)| track(v, s / n_rows as f64));
    }
}
