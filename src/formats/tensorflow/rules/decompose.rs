//! Spellings of TensorFlow ops: determinants, inverses, linear systems and decompositions of matrices.

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::elementwise::UnaryFn;
use crate::ops::linalg::MatMul;
use crate::ops::linalg::decompose::{
    Cholesky, Determinant, Inverse, Qr, Svd, SymmetricEigen, TriangularSolve, cholesky_gradient, swap_last,
};
use crate::ops::make;
use crate::ops::reduce::ReduceFn;
use crate::program::{Builder, Misfit, Value};
use crate::tensor::Tensor;

use super::rows;

pub const RULES: &[Spelling] = rows! {
    "MatrixInverse" => inverse;
    "BatchMatrixInverse" => inverse;
    "MatrixSolve" => solve;
    "BatchMatrixSolve" => solve;
    "MatrixSolveLs" => least_squares;
    "BatchMatrixSolveLs" => least_squares;
    "MatrixTriangularSolve" => triangular_solve;
    "BatchMatrixTriangularSolve" => triangular_solve;
    "Cholesky" => cholesky;
    "BatchCholesky" => cholesky;
    "CholeskyGrad" => cholesky_grad;
    "BatchCholeskyGrad" => cholesky_grad;
    "MatrixDeterminant" => determinant;
    "BatchMatrixDeterminant" => determinant;
    "LogMatrixDeterminant" => log_determinant;
    "SelfAdjointEigV2" => eigen;
    "BatchSelfAdjointEigV2" => eigen;
    "Qr" => qr;
    "Svd" => svd;
    "BatchSvd" => svd;
};

fn inverse(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let x = r.input(0)?;
    let y = r.b.op(Inverse, &[x])?;
    Ok(smallvec![if r.bool_or("adjoint", false) { swap_last(r.b, y)? } else { y }])
}

fn solve(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (a, b) = (r.input(0)?, r.input(1)?);
    let inverse = r.b.op(Inverse, &[a])?;
    let op = MatMul { transpose_a: r.bool_or("adjoint", false), transpose_b: false };
    Ok(smallvec![r.b.op(op, &[inverse, b])?])
}

/// `(AᵀA + λI)⁻¹ Aᵀ B`, or `Aᵀ (AAᵀ + λI)⁻¹ B` where there are more columns than rows.
fn least_squares(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (a, b, lambda) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let fact = r.fact(0)?;
    let (dtype, dims) = (fact.dtype, fact.dims().filter(|d| d.len() >= 2));
    let dims = dims.ok_or_else(|| Misfit::new("the shape of the matrices must be known"))?;
    let (m, n) = (dims[dims.len() - 2], dims[dims.len() - 1]);
    let (is_tall, k) = (m >= n, m.min(n));
    if k > 1 << 12 {
        return Err(Misfit(format!("matrices of {m} × {n} are too large")));
    }
    let gram = r.b.op(MatMul { transpose_a: is_tall, transpose_b: !is_tall }, &[a, a])?;
    let eye = r.b.literal(Tensor::from_f64s(dtype, &[k, k], (0..k * k).map(|i| f64::from(u8::from(i / k == i % k)))));
    let lambda = make::cast(r.b, lambda, dtype)?;
    let ridge = make::mul(r.b, eye, lambda)?;
    let gram = make::add(r.b, gram, ridge)?;
    let inverse = r.b.op(Inverse, &[gram])?;
    let turned = MatMul { transpose_a: true, transpose_b: false };
    let y = match is_tall {
        true => {
            let right = r.b.op(turned, &[a, b])?;
            make::matmul(r.b, inverse, right)?
        }
        false => {
            let right = make::matmul(r.b, inverse, b)?;
            r.b.op(turned, &[a, right])?
        }
    };
    Ok(smallvec![y])
}

fn triangular_solve(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let op = TriangularSolve { lower: r.bool_or("lower", true), transpose: r.bool_or("adjoint", false) };
    let inputs = [r.input(0)?, r.input(1)?];
    Ok(smallvec![r.b.op(op, &inputs)?])
}

fn cholesky(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let x = r.input(0)?;
    Ok(smallvec![r.b.op(Cholesky, &[x])?])
}

fn cholesky_grad(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (l, g) = (r.input(0)?, r.input(1)?);
    Ok(smallvec![cholesky_gradient(r.b, l, g)?])
}

fn determinant(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let x = r.input(0)?;
    Ok(smallvec![r.b.op(Determinant, &[x])?])
}

/// The diagonal of square matrices, as a sum over the last axis of what is left of them.
fn diagonal(b: &mut Builder, x: Value) -> Result<Value, Misfit> {
    let n = b.fact(x).shape.partial().and_then(|d| d.last().copied().flatten());
    let n = n.filter(|&n| n <= 1 << 12).ok_or_else(|| Misfit::new("the size of the matrices must be known"))?;
    let dtype = b.fact(x).dtype;
    let eye = b.literal(Tensor::from_f64s(dtype, &[n, n], (0..n * n).map(|i| f64::from(u8::from(i / n == i % n)))));
    let only = make::mul(b, x, eye)?;
    make::reduce_sum(b, only, &[-1], false)
}

/// Outputs the sign, and the logarithm of the absolute value, which does not overflow: from the diagonal of R in X = Q R.
fn log_determinant(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let x = r.input(0)?;
    let factors = r.b.op_n(std::sync::Arc::new(Qr), &[x])?;
    let turn = r.b.op(Determinant, &[factors[0]])?;
    let turn = make::sign(r.b, turn)?;
    let diagonal = diagonal(r.b, factors[1])?;
    let signs = make::sign(r.b, diagonal)?;
    let axes = r.ints_literal(&[-1]);
    let sign = make::reduce(r.b, ReduceFn::Prod, signs, axes, false)?;
    let sign = make::mul(r.b, sign, turn)?;
    let sizes = make::unary(r.b, UnaryFn::Abs, diagonal)?;
    let logs = make::log(r.b, sizes)?;
    Ok(smallvec![sign, make::reduce_sum(r.b, logs, &[-1], false)?])
}

/// Values, and vectors where the node computes them.
fn eigen(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let x = r.input(0)?;
    let mut outputs = r.b.op_n(std::sync::Arc::new(SymmetricEigen), &[x])?;
    if !r.bool_or("compute_v", true) {
        outputs.truncate(1);
    }
    Ok(outputs)
}

/// Whether the node asks for more vectors than the smaller size of its matrices.
fn wants_full(r: &Rule<'_, '_>) -> Result<bool, Misfit> {
    let square = match r.fact(0)?.shape.partial() {
        Some([.., Some(m), Some(n)]) => m == n,
        _ => false,
    };
    Ok(r.bool_or("full_matrices", false) && !square)
}

fn qr(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    if wants_full(r)? {
        return Err(Misfit::new("full_matrices is supported for square matrices only"));
    }
    let x = r.input(0)?;
    r.b.op_n(std::sync::Arc::new(Qr), &[x])
}

fn svd(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let has_vectors = r.bool_or("compute_uv", true);
    if has_vectors && wants_full(r)? {
        return Err(Misfit::new("full_matrices is supported for square matrices only"));
    }
    let x = r.input(0)?;
    let mut outputs = r.b.op_n(std::sync::Arc::new(Svd), &[x])?;
    if !has_vectors {
        outputs.truncate(1);
    }
    Ok(outputs)
}
