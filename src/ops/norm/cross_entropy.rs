//! Softmax cross-entropy of logits along the last axis, with label distributions or class indices. As TensorFlow defines
//! them, both give the loss and, as a second result, the gradient of the loss: `softmax(logits) − labels`.

use std::sync::Arc;

use super::rows;
use super::softmax::{SoftmaxGradient, ramp};
use super::{LogSoftmax, Softmax};
use crate::ops::half::through_f32;
use crate::ops::linalg::{dims, same_dtype};
use crate::ops::make;
use crate::ops::simd::{GRAIN, Real, Shared, parallel_grain};
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Fact, PartialShape, Tensor};
use crate::{dispatch, with_real};

pub static INFO: OpInfo = OpInfo {
    name: "softmax_cross_entropy",
    family: "norm",
    summary: "Cross-entropy between label distributions and softmax of logits",
    formula: "loss = −Σ labels · log_softmax(logits), backprop = softmax(logits) − labels (its gradient where labels sum \
              to 1).",
    examples,
};

pub static SPARSE_INFO: OpInfo = OpInfo {
    name: "sparse_softmax_cross_entropy",
    family: "norm",
    summary: "Cross-entropy between class indices and softmax of logits",
    formula: "loss = −log_softmax(logits)[label], backprop = softmax(logits) − onehot(label). \
              A label outside the classes gives NaN.",
    examples: sparse_examples,
};

/// Inputs `logits [.., n]`, `labels [.., n]` (rows are distributions); outputs `loss [..]`, `backprop [.., n]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoftmaxCrossEntropy;

/// Inputs `logits [.., n]`, `labels [..]` (integers); outputs `loss [..]`, `backprop [.., n]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SparseSoftmaxCrossEntropy;

/// The shape without its last axis.
fn without_last(shape: &PartialShape) -> Result<PartialShape, Misfit> {
    match shape.partial() {
        Some([lead @ .., _]) => Ok(PartialShape::from_partial(lead.iter().copied())),
        Some([]) => Err(Misfit::new("logits need a class axis, found a scalar")),
        None => Ok(PartialShape::unknown()),
    }
}

dispatch! {
    /// Fills `p` with `exp(x − max)`; gives `max` and the sum.
    fn exponentials[T: Real](x: &[T], p: &mut [T]) -> (T, T) {
        let top = rows::max(x);
        for (p, &x) in p.iter_mut().zip(x) {
            *p = (x - top).exp();
        }
        (top, rows::sum(p))
    }

    fn dense_row[T: Real](x: &[T], labels: &[T], p: &mut [T]) -> T {
        let top = rows::max(x);
        for (p, &x) in p.iter_mut().zip(x) {
            *p = (x - top).exp();
        }
        let total = rows::sum(p);
        let log_total = total.log();
        // labels · (log Σ − (x − max)), where a zero label silences an infinite logit
        for (i, p) in p.iter_mut().enumerate() {
            let term = log_total - (x[i] - top);
            *p = if labels[i] == T::ZERO { T::ZERO } else { labels[i] * term };
        }
        let loss = rows::sum(p);
        let scale = T::ONE / total;
        for (i, p) in p.iter_mut().enumerate() {
            *p = (x[i] - top).exp() * scale - labels[i];
        }
        loss
    }
}

/// Runs `f(row, loss, backprop row)` over all rows.
fn each_row<T: Real>(n: usize, loss: &mut [T], backprop: &mut [T], f: impl Fn(usize, &mut T, &mut [T]) + Sync) {
    let count = loss.len();
    let (loss, backprop) = (Shared::new(loss.as_mut_ptr()), Shared::new(backprop.as_mut_ptr()));
    parallel_grain(count, (GRAIN / 8).div_ceil(n.max(1)), |range| {
        for row in range {
            // SAFETY: each row belongs to one task and lies within both outputs.
            #[allow(unsafe_code)]
            let (loss, backprop) = unsafe { (loss.at(row..row + 1), backprop.at(row * n..(row + 1) * n)) };
            f(row, &mut loss[0], backprop);
        }
    });
}

impl Op for SoftmaxCrossEntropy {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        let dtype = same_dtype(inputs)?;
        let shape = inputs[0].shape.merge(&inputs[1].shape).ok_or_else(|| {
            Misfit(format!("logits {} and labels {} differ in shape", inputs[0].shape, inputs[1].shape))
        })?;
        Ok(vec![Fact::new(dtype, without_last(&shape)?), Fact::new(dtype, shape)])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let n = dims(inputs[0])?.last().copied().unwrap_or(0);
        with_real!(inputs[0].dtype, T => Ok(Kernel::compute(move |call| {
            let (x, labels) = (call.input::<T>(0), call.input::<T>(1));
            let [loss, backprop] = call.outputs else { return };
            let (loss, backprop) = (loss.slice::<T>(), backprop.slice::<T>());
            if n == 0 {
                return loss.fill(T::ZERO);
            }
            each_row(n, loss, backprop, |row, loss, backprop| {
                let at = row * n..(row + 1) * n;
                *loss = dense_row(&x[at.clone()], &labels[at], backprop);
            });
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
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let (logits, backprop) = (at.inputs[0], at.outputs[1]);
        let dx = if wanted[0] { logits_gradient(b, logits, backprop, out_grads)? } else { None };
        let mut dlabels = None;
        if wanted[1] {
            if let Some(g) = out_grads[0] {
                let log_p = b.op(LogSoftmax { axis: -1 }, &[logits])?;
                let minus = make::neg(b, log_p)?;
                let g = make::expand_dims(b, g, -1)?;
                dlabels = Some(make::mul(b, minus, g)?);
            }
            if let Some(g) = out_grads[1] {
                let minus = make::neg(b, g)?;
                dlabels = Some(match dlabels {
                    Some(d) => make::add(b, d, minus)?,
                    None => minus,
                });
            }
        }
        Ok(vec![dx, dlabels])
    }
}

/// From the gradients of loss and backprop (whose derivative is that of softmax).
fn logits_gradient(
    b: &mut Builder,
    logits: Value,
    backprop: Value,
    out_grads: &[Option<Value>],
) -> Result<Option<Value>, Misfit> {
    let mut dx = None;
    if let Some(g) = out_grads[0] {
        let g = make::expand_dims(b, g, -1)?;
        dx = Some(make::mul(b, backprop, g)?);
    }
    if let Some(g) = out_grads[1] {
        let p = b.op(Softmax { axis: -1 }, &[logits])?;
        let through = b.op(SoftmaxGradient { axis: -1 }, &[p, g])?;
        dx = Some(match dx {
            Some(d) => make::add(b, d, through)?,
            None => through,
        });
    }
    Ok(dx)
}

impl Op for SparseSoftmaxCrossEntropy {
    fn info(&self) -> &'static OpInfo {
        &SPARSE_INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        let lead = without_last(&inputs[0].shape)?;
        let lead = lead
            .merge(&inputs[1].shape)
            .ok_or_else(|| Misfit(format!("labels {} do not fit logits {}", inputs[1].shape, inputs[0].shape)))?;
        let full = match lead.partial() {
            Some(l) => PartialShape::from_partial(
                l.iter().copied().chain([inputs[0].rank().and_then(|r| inputs[0].shape.dim(r - 1))]),
            ),
            None => PartialShape::unknown(),
        };
        Ok(vec![Fact::new(inputs[0].dtype, lead), Fact::new(inputs[0].dtype, full)])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let n = dims(inputs[0])?.last().copied().unwrap_or(0);
        if !matches!(inputs[1].dtype, DType::I32 | DType::I64) {
            return Err(Misfit(format!("labels must be int32 or int64, found {}", inputs[1].dtype)));
        }
        with_real!(inputs[0].dtype, T => Ok(Kernel::compute(move |call| {
            let x = call.input::<T>(0);
            let labels = call.inputs[1];
            let label = |row: usize| match labels.dtype() {
                DType::I32 => usize::try_from(labels.slice::<i32>()[row]).ok(),
                _ => usize::try_from(labels.slice::<i64>()[row]).ok(),
            };
            let [loss, backprop] = call.outputs else { return };
            let (loss, backprop) = (loss.slice::<T>(), backprop.slice::<T>());
            if n == 0 {
                return loss.fill(T::of(f64::NAN));
            }
            each_row(n, loss, backprop, |row, loss, backprop| {
                let x = &x[row * n..(row + 1) * n];
                let Some(label) = label(row).filter(|&l| l < n) else {
                    *loss = T::of(f64::NAN);
                    return backprop.fill(*loss);
                };
                let (top, total) = exponentials(x, backprop);
                *loss = Real::log(total) - (x[label] - top);
                let scale = T::ONE / total;
                backprop.iter_mut().for_each(|p| *p *= scale);
                backprop[label] -= T::ONE;
            });
        })))
    }

    fn flow(&self, input: usize, _inputs: &[&Fact]) -> Flow {
        match input {
            0 => Flow::Flows,
            _ => Flow::Zero("class indices carry no gradient"),
        }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        Ok(vec![logits_gradient(b, at.inputs[0], at.outputs[1], out_grads)?, None])
    }
}

fn examples() -> Vec<Example> {
    let ln2 = 2.0f64.ln();
    vec![
        Example {
            op: Arc::new(SoftmaxCrossEntropy),
            inputs: vec![Tensor::from_slice(&[1, 2], &[3.0, 3.0]), Tensor::from_slice(&[1, 2], &[0.0, 1.0])],
            outputs: Some(vec![Tensor::from_slice(&[1], &[ln2]), Tensor::from_slice(&[1, 2], &[0.5, -0.5])]),
        },
        Example {
            op: Arc::new(SoftmaxCrossEntropy),
            inputs: vec![ramp(&[2, 3], -1.0, 0.4), Tensor::from_slice(&[2, 3], &[0.2, 0.3, 0.5, 0.7, 0.2, 0.1])],
            outputs: None,
        },
    ]
}

fn sparse_examples() -> Vec<Example> {
    let ln2 = 2.0f64.ln();
    vec![
        Example {
            op: Arc::new(SparseSoftmaxCrossEntropy),
            inputs: vec![Tensor::from_slice(&[1, 2], &[3.0, 3.0]), Tensor::from_slice(&[1], &[1i32])],
            outputs: Some(vec![Tensor::from_slice(&[1], &[ln2]), Tensor::from_slice(&[1, 2], &[0.5, -0.5])]),
        },
        Example {
            op: Arc::new(SparseSoftmaxCrossEntropy),
            inputs: vec![ramp(&[3, 4], -1.0, 0.4), Tensor::from_slice(&[3], &[3i64, 0, 1])],
            outputs: None,
        },
    ]
}
