//! Ops on square matrices in the last two axes: inverse, determinant, Cholesky factor, triangular systems, bands.
//! They are rarely hot: plain loops, one matrix after the other.

mod band;
mod cholesky;
mod determinant;
mod inverse;
mod triangular;

pub use band::BandPart;
pub use cholesky::Cholesky;
pub use determinant::Determinant;
pub use inverse::Inverse;
pub use triangular::TriangularSolve;

use crate::ops::simd::Real;
use crate::program::{Misfit, OpInfo};
use crate::tensor::{Fact, Tensor};

/// The catalogue entries of this folder.
pub const ALL: [&OpInfo; 5] = [&inverse::INFO, &determinant::INFO, &cholesky::INFO, &triangular::INFO, &band::INFO];

/// Checks that the last two axes are equal where they are known.
fn check_square(x: &Fact) -> Result<(), Misfit> {
    match x.shape.partial() {
        None => Ok(()),
        Some([.., a, b]) if a.is_none() || b.is_none() || a == b => Ok(()),
        Some(_) => Err(Misfit(format!("expected square matrices, found shape {}", x.shape))),
    }
}

/// LU decomposition with partial pivoting, in place: the unit lower factor below the diagonal, the upper one on and above
/// it. Gives the row order and the sign of the permutation; `None` where the matrix is singular.
fn lu<T: Real>(a: &mut [T], n: usize) -> Option<(Vec<usize>, bool)> {
    let mut order: Vec<usize> = (0..n).collect();
    let mut even = true;
    for k in 0..n {
        let pivot = (k..n).fold(k, |best, i| if a[i * n + k].abs() > a[best * n + k].abs() { i } else { best });
        if a[pivot * n + k] == T::ZERO {
            return None;
        }
        if pivot != k {
            (0..n).for_each(|j| a.swap(k * n + j, pivot * n + j));
            order.swap(k, pivot);
            even = !even;
        }
        for i in k + 1..n {
            let factor = a[i * n + k] / a[k * n + k];
            a[i * n + k] = factor;
            for j in k + 1..n {
                a[i * n + j] = a[i * n + j] - factor * a[k * n + j];
            }
        }
    }
    Some((order, even))
}

/// A well-conditioned symmetric test matrix, `batch` times.
fn positive(batch: usize, n: usize) -> Tensor {
    let value = |b: usize, i: usize, j: usize| {
        let (i, j) = (i.min(j), i.max(j));
        if i == j { 2.0 + 0.3 * i as f64 + 0.1 * b as f64 } else { ((i * 5 + j * 3 + b) as f64).sin() * 0.4 }
    };
    let all: Vec<f64> = (0..batch * n * n).map(|k| value(k / (n * n), k / n % n, k % n)).collect();
    Tensor::from_slice(&[batch, n, n], &all)
}
