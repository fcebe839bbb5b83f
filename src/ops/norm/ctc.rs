//! Connectionist temporal classification: the loss of a label sequence under all its alignments with the time steps, and
//! its gradient.

use std::sync::Arc;

use super::softmax::ramp;
use crate::ops::half::through_f32;
use crate::ops::linalg::dims;
use crate::ops::make;
use crate::ops::simd::Real;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value, View};
use crate::tensor::{DType, Fact, PartialShape, Tensor};
use crate::with_real;

pub static INFO: OpInfo = OpInfo {
    name: "ctc_loss",
    family: "norm",
    summary: "Loss of label sequences under all their alignments with time",
    formula: "loss = −ln Σ_paths Π_t softmax(x_t)[path_t] over the paths that give the labels once repeats and blanks are \
              removed (Graves et al. 2006). gradient = softmax(x_t) − (posterior of each class at t).",
    examples,
};

/// Inputs `x [time, batch, classes]` (logits), `indices [n, 2]` (batch, place), `values [n]` (classes), `lengths [batch]`;
/// outputs `loss [batch]`, `gradient [time, batch, classes]` (of the loss for `x`). Labels are a sparse matrix in
/// row-major order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CtcLoss {
    /// The blank is class 0 instead of the last one.
    pub blank_first: bool,
    /// Repeated labels become one before anything else.
    pub collapse_labels: bool,
    /// A class that stays for several steps counts once.
    pub merge_repeated: bool,
}

/// `ln(eᵃ + eᵇ)`.
fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

fn integers(v: &View<'_>) -> Vec<i64> {
    match v.dtype() {
        DType::I32 => v.slice::<i32>().iter().map(|&n| i64::from(n)).collect(),
        DType::I64 => v.slice::<i64>().to_vec(),
        _ => Vec::new(),
    }
}

impl CtcLoss {
    /// Blank, label, blank, label, …, blank.
    fn states(self, labels: &[usize], blank: usize) -> Vec<usize> {
        let mut out = vec![blank];
        let mut last = None;
        for &l in labels {
            if !(self.collapse_labels && last == Some(l)) {
                out.extend([l, blank]);
            }
            last = Some(l);
        }
        out
    }

    /// States from which state `s` is entered (forward) at the next step.
    fn enters(self, states: &[usize], blank: usize, from: usize, to: usize) -> bool {
        match to - from {
            0 => self.merge_repeated || states[to] == blank,
            1 => true,
            2 => states[to] != blank && !(self.merge_repeated && states[to] == states[from]),
            _ => false,
        }
    }

    /// Loss of one sequence from its log-probabilities `[time][class]`; fills the posterior `[time][class]`.
    fn sequence(self, log_p: &[Vec<f64>], labels: &[usize], blank: usize, posterior: &mut [Vec<f64>]) -> f64 {
        let (steps, states) = (log_p.len(), self.states(labels, blank));
        let n = states.len();
        if steps == 0 {
            return if n == 1 { 0.0 } else { f64::INFINITY };
        }
        let mut alpha = vec![vec![f64::NEG_INFINITY; n]; steps];
        for s in 0..n.min(2) {
            alpha[0][s] = log_p[0][states[s]];
        }
        for t in 1..steps {
            for to in 0..n {
                let sum = (to.saturating_sub(2)..=to)
                    .filter(|&from| self.enters(&states, blank, from, to))
                    .fold(f64::NEG_INFINITY, |sum, from| log_add(sum, alpha[t - 1][from]));
                alpha[t][to] = sum + log_p[t][states[to]];
            }
        }
        let mut beta = vec![f64::NEG_INFINITY; n];
        (n.saturating_sub(2)..n).for_each(|s| beta[s] = 0.0);
        let total = (0..n).fold(f64::NEG_INFINITY, |sum, s| log_add(sum, alpha[steps - 1][s] + beta[s]));
        if total == f64::NEG_INFINITY {
            return f64::INFINITY;
        }
        for t in (0..steps).rev() {
            for s in 0..n {
                posterior[t][states[s]] += (alpha[t][s] + beta[s] - total).exp();
            }
            if t > 0 {
                beta = (0..n)
                    .map(|from| {
                        (from..n.min(from + 3))
                            .filter(|&to| self.enters(&states, blank, from, to))
                            .fold(f64::NEG_INFINITY, |sum, to| log_add(sum, beta[to] + log_p[t][states[to]]))
                    })
                    .collect();
            }
        }
        -total
    }
}

fn log_softmax(x: impl Iterator<Item = f64> + Clone) -> Vec<f64> {
    let top = x.clone().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = x.clone().map(|v| (v - top).exp()).sum();
    x.map(|v| v - top - total.ln()).collect()
}

impl Op for CtcLoss {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 4)?;
        let x = inputs[0];
        if x.rank().is_some_and(|r| r != 3) {
            return Err(Misfit(format!("logits are [time, batch, classes], found {}", x.shape)));
        }
        if inputs[1..].iter().any(|f| !matches!(f.dtype, DType::I32 | DType::I64 | DType::Unknown)) {
            return Err(Misfit::new("labels and lengths are int32 or int64"));
        }
        let loss = PartialShape::from_partial([x.shape.dim(1)]);
        Ok(vec![Fact::new(x.dtype, loss), Fact::new(x.dtype, x.shape.clone())])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let x = dims(inputs[0])?;
        let (steps, batch, classes) = (x[0], x[1], x[2]);
        let op = *self;
        if classes == 0 {
            return Err(Misfit::new("there are no classes"));
        }
        with_real!(inputs[0].dtype, T => Ok(Kernel::compute(move |call| {
            let x = call.input::<T>(0);
            let (places, values, lengths) =
                (integers(&call.inputs[1]), integers(&call.inputs[2]), integers(&call.inputs[3]));
            let blank = if op.blank_first { 0 } else { classes - 1 };
            let [loss, gradient] = call.outputs else { return };
            let (loss, gradient) = (loss.slice::<T>(), gradient.slice::<T>());
            gradient.fill(T::ZERO);
            for b in 0..batch {
                let labels: Option<Vec<usize>> = places
                    .chunks_exact(2)
                    .zip(&values)
                    .filter(|(p, _)| p[0] == b as i64)
                    .map(|(_, &v)| usize::try_from(v).ok().filter(|&v| v < classes))
                    .collect();
                let length = lengths.get(b).map_or(0, |&l| l.clamp(0, steps as i64)) as usize;
                let Some(labels) = labels else {
                    loss[b] = T::of(f64::NAN);
                    continue;
                };
                let at = |t: usize| (t * batch + b) * classes;
                let log_p: Vec<Vec<f64>> = (0..length)
                    .map(|t| log_softmax(x[at(t)..at(t) + classes].iter().map(|v| v.to_f64())))
                    .collect();
                let mut posterior = vec![vec![0.0; classes]; length];
                let l = op.sequence(&log_p, &labels, blank, &mut posterior);
                loss[b] = T::of(l);
                if l.is_finite() {
                    for t in 0..length {
                        for c in 0..classes {
                            gradient[at(t) + c] = T::of(log_p[t][c].exp() - posterior[t][c]);
                        }
                    }
                }
            }
        })))
    }

    fn flow(&self, input: usize, _inputs: &[&Fact]) -> Flow {
        if input == 0 { Flow::Flows } else { Flow::Zero("labels and lengths carry no gradient") }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        if out_grads[1].is_some() {
            return Err(Misfit::new("the gradient of a CTC loss is not differentiated again"));
        }
        let Some(g) = out_grads[0] else { return Ok(vec![None; 4]) };
        let g = make::expand_dims(b, g, -1)?;
        Ok(vec![Some(make::mul(b, at.outputs[1], g)?), None, None, None])
    }
}

/// The loss alone, whose gradient the second output is.
fn examples() -> Vec<Example> {
    let half = 0.5f64.ln();
    let op = CtcLoss { blank_first: false, collapse_labels: false, merge_repeated: true };
    let ints = |shape: &[usize], v: &[i64]| Tensor::from_slice(shape, v);
    vec![
        // Two steps, two classes, one label: three of four equally likely paths give it.
        Example {
            op: Arc::new(op),
            inputs: vec![
                Tensor::from_slice(&[2, 1, 2], &[0.0f32; 4]),
                ints(&[1, 2], &[0, 0]),
                ints(&[1], &[0]),
                ints(&[1], &[2]),
            ],
            outputs: Some(vec![
                Tensor::from_slice(&[1], &[-(3.0f64.ln() + 2.0 * half) as f32]),
                Tensor::from_slice(&[2, 1, 2], &[-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0, 1.0 / 6.0f32]),
            ]),
        },
        Example {
            op: Arc::new(CtcLoss { blank_first: true, ..op }),
            inputs: vec![
                Tensor::from_f64s(DType::F32, &[4, 2, 3], ramp(&[4, 2, 3], -1.0, 0.3).to_f64s().unwrap_or_default()),
                ints(&[3, 2], &[0, 0, 0, 1, 1, 0]),
                ints(&[3], &[1, 1, 2]),
                ints(&[2], &[4, 3]),
            ],
            outputs: None,
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{Random, eval::eval};

    #[test]
    fn the_second_output_is_the_gradient_of_the_first() {
        for merge_repeated in [true, false] {
            let op = CtcLoss { blank_first: false, collapse_labels: false, merge_repeated };
            let x = ramp(&[5, 2, 4], -1.0, 0.3);
            let rest = [
                Tensor::from_slice(&[4, 2], &[0i64, 0, 0, 1, 0, 2, 1, 0]),
                Tensor::from_slice(&[4], &[1i32, 1, 0, 2]),
                Tensor::from_slice(&[2], &[5i32, 4]),
            ];
            let run = |x: &Tensor| {
                let inputs = [x.clone(), rest[0].clone(), rest[1].clone(), rest[2].clone()];
                eval(&op, &inputs, Random::default()).unwrap()
            };
            let gradient = run(&x)[1].clone();
            for k in 0..x.len() {
                let loss = |d: f64| {
                    let mut moved = x.clone();
                    moved.as_mut_slice::<f64>()[k] += d;
                    run(&moved)[0].as_slice::<f64>().iter().sum::<f64>()
                };
                let slope = (loss(1e-5) - loss(-1e-5)) / 2e-5;
                assert!((slope - gradient.as_slice::<f64>()[k]).abs() < 1e-8);
            }
        }
    }
}
