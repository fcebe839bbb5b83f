//! Logarithm of softmax along one axis, and its gradient: `y = x − max − ln Σ exp(x − max)`.

use std::sync::Arc;

use super::rows::{self, Rows};
use super::softmax::{elementwise_fact, ramp};
use crate::ops::half::through_f32;
use crate::ops::linalg::dims;
use crate::ops::make;
use crate::ops::simd::Real;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{Fact, Tensor};
use crate::{dispatch, with_real};

pub static INFO: OpInfo = OpInfo {
    name: "log_softmax",
    family: "norm",
    summary: "Logarithm of softmax along an axis",
    formula: "y = x − max x − ln Σ exp(x − max x). dx = g − exp(y) Σ g.",
    examples,
};

pub static GRADIENT_INFO: OpInfo = OpInfo {
    name: "log_softmax_gradient",
    family: "norm",
    summary: "Gradient of log_softmax from its result",
    formula: "dx = g − exp(y) Σ g along the axis.",
    examples: gradient_examples,
};

/// Input `x`, rank at least 1; output as `x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSoftmax {
    /// Negative axes count from the end.
    pub axis: i64,
}

/// Inputs `y` (the result of log_softmax) and `g` (its gradient), of equal shape; output: the gradient of `x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSoftmaxGradient {
    pub axis: i64,
}

dispatch! {
    fn forward[T: Real](n: usize, x: &[T], y: &mut [T]) {
        for (x, y) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)) {
            let top = rows::max(x);
            for (y, &x) in y.iter_mut().zip(x) {
                *y = (x - top).exp();
            }
            let log_sum = rows::sum(y).log();
            for (y, &x) in y.iter_mut().zip(x) {
                *y = (x - top) - log_sum;
            }
        }
    }

    fn backward[T: Real](n: usize, y: &[T], g: &[T], dx: &mut [T]) {
        for ((y, g), dx) in y.chunks_exact(n).zip(g.chunks_exact(n)).zip(dx.chunks_exact_mut(n)) {
            let total = rows::sum(g);
            for ((dx, &y), &g) in dx.iter_mut().zip(y).zip(g) {
                *dx = g - y.exp() * total;
            }
        }
    }
}

impl Op for LogSoftmax {
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
        Ok(vec![Some(b.op(LogSoftmaxGradient { axis: self.axis }, &[at.outputs[0], g])?)])
    }
}

impl Op for LogSoftmaxGradient {
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

    /// With the gradient `h` of `dx`: `dy = −h exp(y) Σ g`, `dg = h − Σ h exp(y)`.
    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(h) = out_grads[0] else { return Ok(vec![None, None]) };
        let (y, g) = (at.inputs[0], at.inputs[1]);
        let p = make::exp(b, y)?;
        let hp = make::mul(b, h, p)?;
        let dy = if wanted[0] {
            let total = make::reduce_sum(b, g, &[self.axis], true)?;
            let product = make::mul(b, hp, total)?;
            Some(make::neg(b, product)?)
        } else {
            None
        };
        let dg = if wanted[1] {
            let total = make::reduce_sum(b, hp, &[self.axis], true)?;
            Some(make::sub(b, h, total)?)
        } else {
            None
        };
        Ok(vec![dy, dg])
    }
}

fn examples() -> Vec<Example> {
    let case = |axis, x, y: Option<Tensor>| Example {
        op: Arc::new(LogSoftmax { axis }),
        inputs: vec![x],
        outputs: y.map(|y| vec![y]),
    };
    let half = -(2.0f64.ln());
    vec![
        case(-1, Tensor::from_slice(&[1, 2], &[5.0f64, 5.0]), Some(Tensor::from_slice(&[1, 2], &[half; 2]))),
        case(-1, Tensor::from_slice(&[2], &[1000.0f64, 0.0]), Some(Tensor::from_slice(&[2], &[0.0f64, -1000.0]))),
        case(-1, ramp(&[3, 19], -1.0, 0.3), None),
        case(1, ramp(&[2, 3, 4], -1.0, 0.3), None),
    ]
}

fn gradient_examples() -> Vec<Example> {
    let case = |axis, y, g| Example { op: Arc::new(LogSoftmaxGradient { axis }), inputs: vec![y, g], outputs: None };
    vec![
        case(-1, ramp(&[2, 5], -2.0, 0.1), ramp(&[2, 5], -1.0, 0.2)),
        case(0, ramp(&[3, 2], -2.0, 0.1), ramp(&[3, 2], 0.2, 0.3)),
    ]
}
