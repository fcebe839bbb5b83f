//! Inverse of square matrices.

use std::sync::Arc;

use super::{check_square, lu, positive};
use crate::ops::half::through_f32;
use crate::ops::linalg::{MatMul, dims};
use crate::ops::make;
use crate::ops::simd::Real;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{Fact, Tensor};
use crate::with_real;

pub static INFO: OpInfo = OpInfo {
    name: "inverse",
    family: "linalg",
    summary: "Inverse of each square matrix",
    formula: "Y = X⁻¹ by LU decomposition with partial pivoting; NaN where X is singular. dX = −Yᵀ G Yᵀ.",
    examples,
};

/// Input `x [.., n, n]`; output as `x`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inverse;

fn invert<T: Real>(x: &[T], y: &mut [T], n: usize) {
    let mut factors = x.to_vec();
    let Some((order, _)) = lu(&mut factors, n) else { return y.fill(T::of(f64::NAN)) };
    let mut column = vec![T::ZERO; n];
    for j in 0..n {
        for i in 0..n {
            let mut sum = if order[i] == j { T::ONE } else { T::ZERO };
            for k in 0..i {
                sum = sum - factors[i * n + k] * column[k];
            }
            column[i] = sum;
        }
        for i in (0..n).rev() {
            let mut sum = column[i];
            for k in i + 1..n {
                sum = sum - factors[i * n + k] * column[k];
            }
            column[i] = sum / factors[i * n + i];
        }
        (0..n).for_each(|i| y[i * n + j] = column[i]);
    }
}

impl Op for Inverse {
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
            x.chunks_exact(n * n).zip(y.chunks_exact_mut(n * n)).for_each(|(x, y)| invert(x, y, n));
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
        let y = at.outputs[0];
        let left = b.op(MatMul { transpose_a: true, transpose_b: false }, &[y, g])?;
        let both = b.op(MatMul { transpose_a: false, transpose_b: true }, &[left, y])?;
        Ok(vec![Some(make::neg(b, both)?)])
    }
}

fn examples() -> Vec<Example> {
    let case = |x, y| Example { op: Arc::new(Inverse), inputs: vec![x], outputs: y };
    vec![
        case(
            Tensor::from_slice(&[2, 2], &[0.0, 2.0, 4.0, 0.0]),
            Some(vec![Tensor::from_slice(&[2, 2], &[0.0, 0.25, 0.5, 0.0])]),
        ),
        case(positive(2, 3), None),
    ]
}
