//! Ops on square matrices in the last two axes: inverse, determinant, Cholesky factor, triangular systems, bands.
//! They are rarely hot: plain loops, one matrix after the other.

mod band;
mod cholesky;
mod determinant;
mod eigen;
mod inverse;
mod qr;
mod svd;
mod triangular;

pub use band::BandPart;
pub use cholesky::{Cholesky, gradient as cholesky_gradient};
pub use determinant::Determinant;
pub use eigen::SymmetricEigen;
pub use inverse::Inverse;
pub use qr::Qr;
pub use svd::Svd;
pub use triangular::TriangularSolve;

use crate::ops::index::Range;
use crate::ops::make;
use crate::ops::simd::Real;
use crate::program::{Builder, Misfit, OpInfo, Value};
use crate::tensor::{DType, Fact, Tensor};

/// The catalogue entries of this folder.
pub const ALL: &[&OpInfo] = &[
    &inverse::INFO,
    &determinant::INFO,
    &cholesky::INFO,
    &triangular::INFO,
    &band::INFO,
    &eigen::INFO,
    &qr::INFO,
    &svd::INFO,
];

/// Each matrix transposed.
pub fn swap_last(b: &mut Builder, x: Value) -> Result<Value, Misfit> {
    let rank = b.fact(x).rank().ok_or_else(|| Misfit::new("the number of axes must be known"))? as i64;
    if rank < 2 {
        return Err(Misfit(format!("expected matrices, found {rank} axes")));
    }
    let perm: Vec<i64> = (0..rank - 2).chain([rank - 1, rank - 2]).collect();
    make::transpose(b, x, &perm)
}

/// Row and column numbers `[n, 1]` and `[n]` of the square matrices of `x`.
fn positions(b: &mut Builder, x: Value) -> Result<(Value, Value), Misfit> {
    let shape = make::shape_of(b, x)?;
    let last = make::scalar(b, DType::I64, -1.0);
    let n = make::gather(b, shape, last, 0)?;
    let (zero, one) = (make::scalar(b, DType::I64, 0.0), make::scalar(b, DType::I64, 1.0));
    let columns = b.op(Range, &[zero, n, one])?;
    Ok((make::expand_dims(b, columns, -1)?, columns))
}

/// The identity `[n, n]` for the square matrices of `x`.
fn eye_like(b: &mut Builder, x: Value) -> Result<Value, Misfit> {
    let dtype = b.fact(x).dtype;
    let (rows, columns) = positions(b, x)?;
    let is_diagonal = make::equal(b, rows, columns)?;
    make::cast(b, is_diagonal, dtype)
}

/// `[n, n]`: 1 below the diagonal, a half on it, 0 above.
fn lower_with_half_diagonal(b: &mut Builder, x: Value) -> Result<Value, Misfit> {
    let dtype = b.fact(x).dtype;
    let (rows, columns) = positions(b, x)?;
    let (below, above) = (make::greater_equal(b, rows, columns)?, make::greater(b, rows, columns)?);
    let (below, above) = (make::cast(b, below, dtype)?, make::cast(b, above, dtype)?);
    let both = make::add(b, below, above)?;
    make::mul_scalar(b, both, 0.5)
}

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
