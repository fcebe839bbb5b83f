//! Softmax along one axis, and its gradient: `y = exp(x − max) / Σ exp(x − max)`.

use std::sync::Arc;

use super::rows::{self, Rows};
use crate::ops::half::through_f32;
use crate::ops::linalg::{dims, same_dtype};
use crate::ops::make;
use crate::ops::simd::Real;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{Fact, Tensor};
use crate::{dispatch, with_real};

pub static INFO: OpInfo = OpInfo {
    name: "softmax",
    family: "norm",
    summary: "Exponentials along an axis, scaled to sum 1",
    formula: "y = exp(x − max x) / Σ exp(x − max x). dx = y · (g − Σ g y).",
    examples,
};

pub static GRADIENT_INFO: OpInfo = OpInfo {
    name: "softmax_gradient",
    family: "norm",
    summary: "Gradient of softmax from its result",
    formula: "dx = y · (g − Σ g y) along the axis.",
    examples: gradient_examples,
};

/// Input `x`, rank at least 1; output as `x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Softmax {
    /// Negative axes count from the end.
    pub axis: i64,
}

/// Inputs `y` (the result of softmax) and `g` (its gradient), of equal shape; output: the gradient of `x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftmaxGradient {
    pub axis: i64,
}

/// The common fact of operands of equal shape that have `axis`.
pub(super) fn elementwise_fact(inputs: &[&Fact], axis: i64) -> Result<Vec<Fact>, Misfit> {
    let dtype = same_dtype(inputs)?;
    let mut shape = inputs[0].shape.clone();
    for f in &inputs[1..] {
        shape = shape
            .merge(&f.shape)
            .ok_or_else(|| Misfit(format!("the shapes differ: {} and {}", inputs[0].shape, f.shape)))?;
    }
    if let Some(rank) = shape.rank() {
        rows::check_axis(axis, rank)?;
    }
    Ok(vec![Fact::new(dtype, shape)])
}

dispatch! {
    /// Rows of length `n`.
    fn forward[T: Real](n: usize, x: &[T], y: &mut [T]) {
        for (x, y) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)) {
            let top = rows::max(x);
            for (y, &x) in y.iter_mut().zip(x) {
                *y = (x - top).exp();
            }
            let scale = T::ONE / rows::sum(y);
            for y in y.iter_mut() {
                *y *= scale;
            }
        }
    }

    fn backward[T: Real](n: usize, y: &[T], g: &[T], dx: &mut [T]) {
        for ((y, g), dx) in y.chunks_exact(n).zip(g.chunks_exact(n)).zip(dx.chunks_exact_mut(n)) {
            let inner = rows::dot(y, g);
            for ((dx, &y), &g) in dx.iter_mut().zip(y).zip(g) {
                *dx = y * (g - inner);
            }
        }
    }
}

impl Op for Softmax {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 1)?;
        elementwise_fact(inputs, self.axis)
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let rows = Rows::new(&dims(inputs[0])?, self.axis)?;
        with_real!(inputs[0].dtype, T => Ok(Kernel::compute(move |call| {
            let x = call.input::<T>(0);
            rows.map([x], call.output::<T>(0), |[x], y| forward(rows.n, x, y));
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
        Ok(vec![Some(b.op(SoftmaxGradient { axis: self.axis }, &[at.outputs[0], g])?)])
    }
}

impl Op for SoftmaxGradient {
    fn info(&self) -> &'static OpInfo {
        &GRADIENT_INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        elementwise_fact(inputs, self.axis)
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let rows = Rows::new(&dims(inputs[0])?, self.axis)?;
        with_real!(inputs[0].dtype, T => Ok(Kernel::compute(move |call| {
            let (y, g) = (call.input::<T>(0), call.input::<T>(1));
            rows.map([y, g], call.output::<T>(0), |[y, g], dx| backward(rows.n, y, g, dx));
        })))
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        Flow::Flows
    }

    /// With the gradient `h` of `dx`: `dy = h (g − Σ g y) − g Σ h y`, `dg = y (h − Σ h y)`.
    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(h) = out_grads[0] else { return Ok(vec![None, None]) };
        let (y, g) = (at.inputs[0], at.inputs[1]);
        let dy = if wanted[0] {
            let hy = make::mul(b, h, y)?;
            let sum_hy = make::reduce_sum(b, hy, &[self.axis], true)?;
            let gy = make::mul(b, g, y)?;
            let sum_gy = make::reduce_sum(b, gy, &[self.axis], true)?;
            let centred = make::sub(b, g, sum_gy)?;
            let left = make::mul(b, h, centred)?;
            let right = make::mul(b, g, sum_hy)?;
            Some(make::sub(b, left, right)?)
        } else {
            None
        };
        let dg = if wanted[1] { Some(b.op(*self, &[y, h])?) } else { None };
        Ok(vec![dy, dg])
    }
}

pub(super) fn ramp(shape: &[usize], from: f64, step: f64) -> Tensor {
    let n = shape.iter().product::<usize>();
    Tensor::from_slice(shape, &(0..n).map(|i| from + step * ((i * 7) % 11) as f64).collect::<Vec<_>>())
}

fn examples() -> Vec<Example> {
    let case = |axis, x, y: Option<Tensor>| Example {
        op: Arc::new(Softmax { axis }),
        inputs: vec![x],
        outputs: y.map(|y| vec![y]),
    };
    let third = 1.0 / 3.0;
    vec![
        case(-1, Tensor::from_slice(&[2, 3], &[0.0f64; 6]), Some(Tensor::from_slice(&[2, 3], &[third; 6]))),
        case(-1, Tensor::from_slice(&[2], &[1000.0f64, 0.0]), Some(Tensor::from_slice(&[2], &[1.0f64, 0.0]))),
        case(-1, ramp(&[3, 19], -1.0, 0.3), None),
        case(1, ramp(&[2, 3, 4], -1.0, 0.3), None),
        case(0, ramp(&[5], -1.0, 0.3), None),
    ]
}

fn gradient_examples() -> Vec<Example> {
    let case = |axis, y, g| Example { op: Arc::new(SoftmaxGradient { axis }), inputs: vec![y, g], outputs: None };
    vec![
        case(-1, ramp(&[2, 5], 0.1, 0.05), ramp(&[2, 5], -1.0, 0.2)),
        case(0, ramp(&[3, 2], 0.1, 0.1), ramp(&[3, 2], 0.2, 0.3)),
    ]
}
