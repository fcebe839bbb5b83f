//! Eigenvalues and eigenvectors of symmetric matrices.

use std::sync::Arc;

use super::{check_square, eye_like, positive, swap_last};
use crate::ops::half::through_f32;
use crate::ops::linalg::{MatMul, dims};
use crate::ops::make;
use crate::ops::simd::Real;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{Fact, PartialShape, Tensor};
use crate::with_real;

pub static INFO: OpInfo = OpInfo {
    name: "symmetric_eigen",
    family: "linalg",
    summary: "Eigenvalues (rising) and eigenvectors of symmetric matrices",
    formula: "X = V diag(e) Vᵀ by cyclic Jacobi rotations (Golub and Van Loan, 8.5); only the lower triangle of X is read, \
              the sign of each vector makes its largest element positive. With S = V (diag(gₑ) + F ∘ Vᵀ Gᵥ) Vᵀ and \
              F_ij = 1/(e_j - e_i), dX = the lower triangle of S + Sᵀ with half its diagonal (Giles 2008)",
    examples,
};

/// Input `x [.., n, n]`; outputs `e [.., n]`, `v [.., n, n]` with a vector in each column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SymmetricEigen;

/// Rotations until nothing is left beside the diagonal; the work is bounded by the number of sweeps.
const SWEEPS: usize = 60;

/// `a` (symmetric, overwritten) → eigenvalues on its diagonal, vectors in the columns of `v`.
fn jacobi(a: &mut [f64], v: &mut [f64], n: usize) {
    v.fill(0.0);
    (0..n).for_each(|i| v[i * n + i] = 1.0);
    let scale = a.iter().map(|x| x * x).sum::<f64>();
    for _ in 0..SWEEPS {
        let off: f64 = (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| a[i * n + j] * a[i * n + j]).sum();
        if off <= scale * 1e-32 || !off.is_finite() {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(a, v, n, p, q);
            }
        }
    }
}

/// Makes `a[p, q]` zero.
fn rotate(a: &mut [f64], v: &mut [f64], n: usize, p: usize, q: usize) {
    let off = a[p * n + q];
    if off == 0.0 {
        return;
    }
    let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * off);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    for k in 0..n {
        let (x, y) = (a[k * n + p], a[k * n + q]);
        (a[k * n + p], a[k * n + q]) = (c * x - s * y, s * x + c * y);
    }
    for k in 0..n {
        let (x, y) = (a[p * n + k], a[q * n + k]);
        (a[p * n + k], a[q * n + k]) = (c * x - s * y, s * x + c * y);
        let (x, y) = (v[k * n + p], v[k * n + q]);
        (v[k * n + p], v[k * n + q]) = (c * x - s * y, s * x + c * y);
    }
}

fn decompose<T: Real>(x: &[T], e: &mut [T], v: &mut [T], n: usize) {
    let mut a: Vec<f64> = (0..n * n)
        .map(|k| {
            let (i, j) = (k / n, k % n);
            x[i.max(j) * n + i.min(j)].to_f64()
        })
        .collect();
    let mut vectors = vec![0.0; n * n];
    jacobi(&mut a, &mut vectors, n);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[i * n + i].total_cmp(&a[j * n + j]));
    for (column, &from) in order.iter().enumerate() {
        e[column] = T::of(a[from * n + from]);
        let largest = (0..n).map(|k| vectors[k * n + from]).fold(0.0f64, |m, x| if x.abs() > m.abs() { x } else { m });
        let sign = if largest < 0.0 { -1.0 } else { 1.0 };
        (0..n).for_each(|k| v[k * n + column] = T::of(sign * vectors[k * n + from]));
    }
}

impl Op for SymmetricEigen {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 1)?;
        check_square(inputs[0])?;
        let values = match inputs[0].shape.partial() {
            Some([lead @ .., _, n]) => PartialShape::from_partial(lead.iter().copied().chain([*n])),
            _ => PartialShape::unknown(),
        };
        let dtype = inputs[0].dtype;
        Ok(vec![Fact::new(dtype, values), Fact::new(dtype, inputs[0].shape.clone())])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let n = dims(inputs[0])?.last().copied().unwrap_or(0).max(1);
        with_real!(inputs[0].dtype, T => Ok(Kernel::compute(move |call| {
            let x = call.input::<T>(0);
            let [e, v] = call.outputs else { return };
            let (e, v) = (e.slice::<T>(), v.slice::<T>());
            let matrices = x.chunks_exact(n * n).zip(v.chunks_exact_mut(n * n));
            matrices.zip(e.chunks_exact_mut(n)).for_each(|((x, v), e)| decompose(x, e, v, n));
        })))
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        Flow::Flows
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let (e, v) = (at.outputs[0], at.outputs[1]);
        let eye = eye_like(b, v)?;
        let mut inner = None;
        if let Some(g) = out_grads[0] {
            let row = make::expand_dims(b, g, -1)?;
            inner = Some(make::mul(b, row, eye)?);
        }
        if let Some(g) = out_grads[1] {
            let turned = b.op(MatMul { transpose_a: true, transpose_b: false }, &[v, g])?;
            let (columns, rows) = (make::expand_dims(b, e, -2)?, make::expand_dims(b, e, -1)?);
            let gap = make::sub(b, columns, rows)?;
            // Equal eigenvalues, as on the diagonal, add nothing.
            let share = make::binary(b, crate::ops::elementwise::BinaryFn::DivNoNan, turned, gap)?;
            inner = Some(match inner {
                Some(sum) => make::add(b, sum, share)?,
                None => share,
            });
        }
        let Some(inner) = inner else { return Ok(vec![None]) };
        let left = b.op(MatMul::default(), &[v, inner])?;
        let s = b.op(MatMul { transpose_a: false, transpose_b: true }, &[left, v])?;
        let mirrored = swap_last(b, s)?;
        let both = make::add(b, s, mirrored)?;
        let half = super::lower_with_half_diagonal(b, v)?;
        Ok(vec![Some(make::mul(b, both, half)?)])
    }
}

fn examples() -> Vec<Example> {
    let case = |x, y| Example { op: Arc::new(SymmetricEigen), inputs: vec![x], outputs: y };
    vec![
        case(
            Tensor::from_slice(&[2, 2], &[3.0, 9.0, 0.0, 1.0]),
            Some(vec![Tensor::from_slice(&[2], &[1.0, 3.0]), Tensor::from_slice(&[2, 2], &[0.0, 1.0, 1.0, 0.0])]),
        ),
        case(positive(2, 3), None),
    ]
}
