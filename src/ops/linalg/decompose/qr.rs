//! QR decomposition: an orthogonal and an upper triangular factor.

use std::sync::Arc;

use super::{Inverse, swap_last};
use crate::ops::half::through_f32;
use crate::ops::linalg::{MatMul, dims};
use crate::ops::make;
use crate::ops::simd::Real;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{Fact, PartialShape, Tensor};
use crate::with_real;

pub static INFO: OpInfo = OpInfo {
    name: "qr",
    family: "linalg",
    summary: "Orthogonal and upper triangular factor of each matrix",
    formula: "X = Q R by Householder reflections, Q [.., m, k], R [.., k, n] with k = min(m, n); the sign of R's diagonal is \
              opposite to that of the column it came from. For m ≥ n: dX = (G_q + Q copyltu(M)) R⁻ᵀ with M = R G_rᵀ - G_qᵀ Q, \
              copyltu the lower triangle mirrored (Walter and Lehmann 2018)",
    examples,
};

/// Input `x [.., m, n]`; outputs `q [.., m, k]`, `r [.., k, n]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Qr;

/// `a [m, n]` in place becomes `r`; gives the reflectors, each of `m` elements.
fn reflect(a: &mut [f64], m: usize, n: usize) -> Vec<Option<Vec<f64>>> {
    (0..m.min(n))
        .map(|k| {
            let tail: f64 = (k + 1..m).map(|i| a[i * n + k] * a[i * n + k]).sum();
            if tail == 0.0 {
                return None;
            }
            let head = a[k * n + k];
            let length = (head * head + tail).sqrt();
            let beta = if head >= 0.0 { -length } else { length };
            let mut v = vec![0.0; m];
            v[k] = head - beta;
            (k + 1..m).for_each(|i| v[i] = a[i * n + k]);
            let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
            v.iter_mut().for_each(|x| *x /= norm);
            apply(&v, a, m, n);
            Some(v)
        })
        .collect()
}

/// `a - 2 v vᵀ a`.
fn apply(v: &[f64], a: &mut [f64], m: usize, n: usize) {
    for j in 0..n {
        let along: f64 = (0..m).map(|i| v[i] * a[i * n + j]).sum();
        (0..m).for_each(|i| a[i * n + j] -= 2.0 * v[i] * along);
    }
}

fn decompose<T: Real>(x: &[T], q: &mut [T], r: &mut [T], m: usize, n: usize) {
    let k = m.min(n);
    let mut a: Vec<f64> = x.iter().map(|x| x.to_f64()).collect();
    let reflectors = reflect(&mut a, m, n);
    let mut first = vec![0.0; m * k];
    (0..k).for_each(|i| first[i * k + i] = 1.0);
    reflectors.iter().rev().flatten().for_each(|v| apply(v, &mut first, m, k));
    q.iter_mut().zip(&first).for_each(|(q, f)| *q = T::of(*f));
    for (i, row) in r.chunks_exact_mut(n.max(1)).enumerate() {
        row.iter_mut().enumerate().for_each(|(j, r)| *r = if j >= i { T::of(a[i * n + j]) } else { T::ZERO });
    }
}

impl Op for Qr {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 1)?;
        let dtype = inputs[0].dtype;
        let Some(dims) = inputs[0].shape.partial() else {
            return Ok(vec![Fact::new(dtype, PartialShape::unknown()), Fact::new(dtype, PartialShape::unknown())]);
        };
        let [lead @ .., m, n] = dims else {
            return Err(Misfit(format!("expected matrices, found shape {}", inputs[0].shape)));
        };
        let k = m.zip(*n).map(|(m, n)| m.min(n));
        let of = |a, b| Fact::new(dtype, PartialShape::from_partial(lead.iter().copied().chain([a, b])));
        Ok(vec![of(*m, k), of(k, *n)])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let shape = dims(inputs[0])?;
        let (m, n) = (shape[shape.len() - 2], shape[shape.len() - 1]);
        let k = m.min(n);
        with_real!(inputs[0].dtype, T => Ok(Kernel::compute(move |call| {
            let x = call.input::<T>(0);
            let [q, r] = call.outputs else { return };
            let (q, r) = (q.slice::<T>(), r.slice::<T>());
            if k > 0 {
                let factors = q.chunks_exact_mut(m * k).zip(r.chunks_exact_mut(k * n));
                x.chunks_exact(m * n).zip(factors).for_each(|(x, (q, r))| decompose(x, q, r, m, n));
            }
        })))
    }

    fn flow(&self, _input: usize, inputs: &[&Fact]) -> Flow {
        match inputs[0].shape.partial() {
            Some([.., Some(m), Some(n)]) if m < n => {
                Flow::Blocked("the derivative of QR of a matrix with more columns than rows has no rule here".into())
            }
            _ => Flow::Flows,
        }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let (q, r) = (at.outputs[0], at.outputs[1]);
        if out_grads.iter().all(Option::is_none) {
            return Ok(vec![None]);
        }
        let grad = |b: &mut Builder, i: usize| match out_grads[i] {
            Some(g) => Ok(g),
            None => make::zeros_like(b, at.outputs[i]),
        };
        let (gq, gr) = (grad(b, 0)?, grad(b, 1)?);
        let of_r = b.op(MatMul { transpose_a: false, transpose_b: true }, &[r, gr])?;
        let of_q = b.op(MatMul { transpose_a: true, transpose_b: false }, &[gq, q])?;
        let m = make::sub(b, of_r, of_q)?;
        // copyltu(M) = L + Lᵀ with L the lower triangle with half its diagonal.
        let half = super::lower_with_half_diagonal(b, m)?;
        let lower = make::mul(b, m, half)?;
        let mirrored = swap_last(b, lower)?;
        let mirrored = make::add(b, lower, mirrored)?;
        let turned = b.op(MatMul::default(), &[q, mirrored])?;
        let sum = make::add(b, gq, turned)?;
        let inverse = b.op(Inverse, &[r])?;
        Ok(vec![Some(b.op(MatMul { transpose_a: false, transpose_b: true }, &[sum, inverse])?)])
    }
}

fn examples() -> Vec<Example> {
    let case = |x, y| Example { op: Arc::new(Qr), inputs: vec![x], outputs: y };
    vec![
        case(
            Tensor::from_slice(&[2, 2], &[3.0, 1.0, 4.0, 2.0]),
            Some(vec![
                Tensor::from_slice(&[2, 2], &[-0.6, -0.8, -0.8, 0.6]),
                Tensor::from_slice(&[2, 2], &[-5.0, -2.2, 0.0, 0.4]),
            ]),
        ),
        case(super::positive(2, 3), None),
        case(Tensor::from_slice(&[3, 2], &[1.0, 0.5, -0.7, 2.0, 0.3, 0.9]), None),
    ]
}
