//! Cholesky factor of symmetric positive definite matrices.

use std::sync::Arc;

use super::{Inverse, check_square, lower_with_half_diagonal, positive, swap_last};
use crate::ops::half::through_f32;
use crate::ops::linalg::{MatMul, dims};
use crate::ops::make;
use crate::ops::simd::Real;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{Fact, Tensor};
use crate::with_real;

pub static INFO: OpInfo = OpInfo {
    name: "cholesky",
    family: "linalg",
    summary: "Lower triangular factor L of X = L Lᵀ",
    formula: "L Lᵀ = (X + Xᵀ) / 2; NaN where that is not positive definite. dX = (S + Sᵀ) / 2 with S = L⁻ᵀ Φ(Lᵀ G) L⁻¹ and \
              Φ the lower triangle with half its diagonal (Murray 2016, arXiv 1602.07527).",
    examples,
};

/// Input `x [.., n, n]`, symmetric; output as `x`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cholesky;

fn factor<T: Real>(x: &[T], l: &mut [T], n: usize) {
    l.fill(T::ZERO);
    let half = T::of(0.5);
    for i in 0..n {
        for j in 0..=i {
            let mut sum = (x[i * n + j] + x[j * n + i]) * half;
            for k in 0..j {
                sum = sum - l[i * n + k] * l[j * n + k];
            }
            l[i * n + j] = if i == j { sum.sqrt() } else { sum / l[j * n + j] };
        }
    }
}

impl Op for Cholesky {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 1)?;
        check_square(inputs[0])?;
        Ok(vec![Fact::new(inputs[0].dtype, inputs[0].shape.clone())])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let n = dims(inputs[0])?.last().copied().unwrap_or(0).max(1);
        with_real!(inputs[0].dtype, T => Ok(Kernel::compute(move |call| {
            let x = call.input::<T>(0);
            let y = call.output::<T>(0);
            x.chunks_exact(n * n).zip(y.chunks_exact_mut(n * n)).for_each(|(x, y)| factor(x, y, n));
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
        let Some(g) = out_grads[0] else { return Ok(vec![None]) };
        Ok(vec![Some(gradient(b, at.outputs[0], g)?)])
    }
}

/// The gradient of the matrix from its factor `l` and that factor's gradient.
pub fn gradient(b: &mut Builder, l: Value, g: Value) -> Result<Value, Misfit> {
    let phi = lower_with_half_diagonal(b, l)?;
    let middle = b.op(MatMul { transpose_a: true, transpose_b: false }, &[l, g])?;
    let middle = make::mul(b, middle, phi)?;
    let inverse = b.op(Inverse, &[l])?;
    let left = b.op(MatMul { transpose_a: true, transpose_b: false }, &[inverse, middle])?;
    let s = b.op(MatMul::default(), &[left, inverse])?;
    let mirrored = swap_last(b, s)?;
    let both = make::add(b, s, mirrored)?;
    make::mul_scalar(b, both, 0.5)
}

fn examples() -> Vec<Example> {
    let case = |x, y| Example { op: Arc::new(Cholesky), inputs: vec![x], outputs: y };
    vec![
        case(
            Tensor::from_slice(&[2, 2], &[4.0, 2.0, 2.0, 5.0]),
            Some(vec![Tensor::from_slice(&[2, 2], &[2.0, 0.0, 1.0, 2.0])]),
        ),
        case(positive(2, 3), None),
    ]
}
