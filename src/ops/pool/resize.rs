//! Resampling along one axis: nearest, linear or cubic, under the corner conventions of TensorFlow and ONNX.
//!
//! Every result element is a weighted sum of few input elements, so the op is a sparse matrix along its axis and its
//! gradient is the transposed matrix. Images are resized one axis after the other.

use std::sync::Arc;

use super::max::values;
use super::resample::Filter;
use crate::ops::half::through_f32;
use crate::ops::linalg::dims;
use crate::ops::make;
use crate::ops::simd::{Real, Shared, parallel};
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::shape::normalize_axis;
use crate::tensor::{Fact, PartialShape, Tensor};
use crate::with_real;

pub static INFO: OpInfo = OpInfo {
    name: "resize",
    family: "pool",
    summary: "Resamples along one axis",
    formula: "y[o] = Σ_j w_j x[i_j] with weights of the interpolation at the coordinate of o (TensorFlow image_resizer_state, \
              ONNX Resize).",
    examples,
};

pub static GRADIENT_INFO: OpInfo = OpInfo {
    name: "resize_gradient",
    family: "pool",
    summary: "Spreads the gradient of resize back along its axis",
    formula: "dx[i] = Σ_o w_o,i g[o].",
    examples: gradient_examples,
};

/// Where output element `o` lies on the input axis; `s` is input size / output size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coordinates {
    /// `o · s`.
    Asymmetric,
    /// `o · (in − 1) / (out − 1)`; for one output element as `Asymmetric`.
    AlignCorners,
    /// `(o + ½) · s − ½`.
    HalfPixel,
    /// As `HalfPixel`, but 0 for one output element.
    PytorchHalfPixel,
    /// `(o + ½) · s`.
    HalfPixelFloor,
}

/// How a coordinate between elements becomes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    Floor,
    Ceil,
    HalfDown,
    HalfUp,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Interpolation {
    Nearest(Rounding),
    Linear,
    /// Keys' cubic with parameter `a`. Elements outside the input repeat the border, or weigh nothing where
    /// `exclude_outside`. TensorFlow rounds the offset to `steps` (1024) positions; 0 = not at all.
    Cubic {
        a: f32,
        exclude_outside: bool,
        steps: u32,
    },
    /// The mean over what the output element covers.
    Area,
    /// A filter of `resample`, placed by scale and translation; the coordinates do not matter.
    Filter(Filter),
}

/// The largest size of an axis that is resampled.
const LARGEST: usize = 1 << 24;

/// Everything but the sizes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Negative axes count from the end.
    pub axis: i64,
    pub interpolation: Interpolation,
    pub coordinates: Coordinates,
    /// Input elements per output element where it is not the ratio of the sizes.
    pub step: Option<f32>,
}

/// Inputs `x`, `size` (an integer scalar or vector of one: the new size of the axis); output `x` with that size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resize(pub Sampling);

/// Inputs `size` (the axis of the input of [`Resize`]), `g` (the gradient of its result); output the gradient of `x`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResizeGradient(pub Sampling);

impl Sampling {
    /// The coordinate of output element `o`, in `f32` as the reference implementations compute it.
    fn coordinate(&self, o: usize, input: usize, output: usize) -> f32 {
        let ratio = self.step.unwrap_or(input as f32 / output as f32);
        let at = o as f32;
        match self.coordinates {
            Coordinates::AlignCorners if output > 1 => at * ((input as f32 - 1.0) / (output as f32 - 1.0)),
            Coordinates::AlignCorners | Coordinates::Asymmetric => at * ratio,
            Coordinates::PytorchHalfPixel if output == 1 => 0.0,
            Coordinates::PytorchHalfPixel | Coordinates::HalfPixel => (at + 0.5) * ratio - 0.5,
            Coordinates::HalfPixelFloor => (at + 0.5) * ratio,
        }
    }

    /// `(input element, weight)` of output element `o`; the same element may come twice.
    fn weights(&self, o: usize, input: usize, output: usize) -> Vec<(usize, f32)> {
        let at = self.coordinate(o, input, output);
        let last = input as i64 - 1;
        let bound = |i: i64| i.clamp(0, last) as usize;
        match self.interpolation {
            Interpolation::Nearest(rounding) => {
                let i = match rounding {
                    Rounding::Floor => at.floor(),
                    Rounding::Ceil => at.ceil(),
                    Rounding::HalfDown => (at - 0.5).ceil(),
                    Rounding::HalfUp => (at + 0.5).floor(),
                };
                vec![(bound(i as i64), 1.0)]
            }
            Interpolation::Linear => {
                let lower = at.floor();
                let part = at - lower;
                vec![(bound(lower as i64), 1.0 - part), (bound(lower as i64 + 1), part)]
            }
            Interpolation::Area => self.area(o, input, output),
            Interpolation::Filter(filter) => filter.weights(o, input),
            Interpolation::Cubic { a, exclude_outside, steps } => {
                let lower = at.floor();
                let mut part = at - lower;
                if steps > 0 {
                    part = (part * steps as f32).round_ties_even() / steps as f32;
                }
                let near = |x: f32| ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
                let far = |x: f32| ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a;
                let weights = [far(part + 1.0), near(part), near(1.0 - part), far(2.0 - part)];
                let first = lower as i64 - 1;
                let mut all: Vec<(usize, f32)> = (0..4)
                    .map(|j| {
                        let i = first + j as i64;
                        let outside = bound(i) as i64 != i;
                        (bound(i), if exclude_outside && outside { 0.0 } else { weights[j] })
                    })
                    .collect();
                if exclude_outside {
                    let total: f32 = all.iter().map(|w| w.1).sum();
                    all.iter_mut().for_each(|w| w.1 /= if total == 0.0 { 1.0 } else { total });
                }
                all
            }
        }
    }

    /// Shares of the input elements between the coordinates of `o` and `o + 1` (TensorFlow's resize_area_op).
    fn area(&self, o: usize, input: usize, output: usize) -> Vec<(usize, f32)> {
        let scale = match self.coordinates {
            Coordinates::AlignCorners if output > 1 => (input as f32 - 1.0) / (output as f32 - 1.0),
            _ => input as f32 / output as f32,
        };
        let (from, to) = (o as f32 * scale, (o + 1) as f32 * scale);
        let last = input as i64 - 1;
        (from.floor() as i64..(to.ceil() as i64).min(from.floor() as i64 + input as i64 + 2))
            .map(|i| {
                let (start, end) = (i as f32, i as f32 + 1.0);
                let share = match (start < from, end > to) {
                    (true, true) => scale,
                    (true, false) => end - from,
                    (false, true) => to - start,
                    (false, false) => 1.0,
                };
                (i.clamp(0, last) as usize, share / scale)
            })
            .collect()
    }

    /// The whole matrix, a list of `(input, weight)` for each output.
    fn matrix(&self, input: usize, output: usize) -> Vec<Vec<(usize, f32)>> {
        if input == 0 {
            return vec![Vec::new(); output];
        }
        (0..output).map(|o| self.weights(o, input, output)).collect()
    }

    /// A fact with another size of the axis.
    fn resized(&self, x: &Fact, size: &Fact) -> Result<Fact, Misfit> {
        let Some(dims) = x.shape.partial() else { return Ok(Fact::new(x.dtype, PartialShape::unknown())) };
        let axis = self.axis_of(dims.len())?;
        let new = match size.ints().as_deref() {
            Some([n]) => {
                let sound = usize::try_from(*n).ok().filter(|n| *n <= LARGEST);
                Some(sound.ok_or_else(|| Misfit(format!("a size of {n} is out of range (0 to {LARGEST})")))?)
            }
            Some(other) => return Err(Misfit(format!("expected one size, found {other:?}"))),
            None => None,
        };
        let shape = dims.iter().enumerate().map(|(i, &d)| if i == axis { new } else { d });
        Ok(Fact::new(x.dtype, PartialShape::from_partial(shape)))
    }

    fn axis_of(&self, rank: usize) -> Result<usize, Misfit> {
        normalize_axis(self.axis, rank)
            .ok_or_else(|| Misfit(format!("axis {} does not exist in a tensor of rank {rank}", self.axis)))
    }
}

/// `y[outer, o, inner] = Σ w x[outer, i, inner]` with the rows of `matrix`.
#[allow(unsafe_code)]
fn apply<T: Real>(matrix: &[Vec<(usize, f32)>], x: &[T], y: Shared<T>, outer: usize, input: usize, inner: usize) {
    let output = matrix.len();
    parallel(outer * output, inner * 4, |range| {
        for row in range {
            let x = &x[row / output * input * inner..][..input * inner];
            // SAFETY: each row of the output belongs to one task and lies within the output.
            let y = unsafe { y.at(row * inner..(row + 1) * inner) };
            y.fill(T::ZERO);
            for &(i, w) in &matrix[row % output] {
                let w = T::of(f64::from(w));
                y.iter_mut().zip(&x[i * inner..]).for_each(|(y, &x)| *y += w * x);
            }
        }
    });
}

/// The kernel that multiplies operand `operand` with `matrix` along the axis.
fn kernel<T: Real>(matrix: Vec<Vec<(usize, f32)>>, operand: usize, shape: &[usize], axis: usize) -> Kernel {
    let (outer, input) = (shape[..axis].iter().product(), shape[axis]);
    let inner = shape[axis + 1..].iter().product();
    Kernel::compute(move |call| {
        let x = call.input::<T>(operand);
        apply(&matrix, x, Shared::new(call.outputs[0].ptr::<T>()), outer, input, inner);
    })
}

impl Op for Resize {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        Ok(vec![self.0.resized(inputs[0], inputs[1])?])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let (x, y) = (dims(inputs[0])?, dims(outputs[0])?);
        let axis = self.0.axis_of(x.len())?;
        let matrix = self.0.matrix(x[axis], y[axis]);
        with_real!(inputs[0].dtype, T => Ok(kernel::<T>(matrix, 0, &x, axis)))
    }

    fn flow(&self, input: usize, _inputs: &[&Fact]) -> Flow {
        if input == 0 { Flow::Flows } else { Flow::Zero("a size carries no gradient") }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(g) = out_grads[0] else { return Ok(vec![None, None]) };
        let x = at.inputs[0];
        let rank = b.fact(x).rank().ok_or_else(|| Misfit::new("the rank must be known"))?;
        let axis = self.0.axis_of(rank)?;
        let shape = make::shape_of(b, x)?;
        let size = make::slice(b, shape, &[axis as i64], &[1])?;
        Ok(vec![Some(b.op(ResizeGradient(self.0), &[size, g])?), None])
    }
}

impl Op for ResizeGradient {
    fn info(&self) -> &'static OpInfo {
        &GRADIENT_INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        Ok(vec![self.0.resized(inputs[1], inputs[0])?])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let (g, x) = (dims(inputs[1])?, dims(outputs[0])?);
        let axis = self.0.axis_of(x.len())?;
        let mut transposed = vec![Vec::new(); x[axis]];
        for (o, row) in self.0.matrix(x[axis], g[axis]).into_iter().enumerate() {
            for (i, w) in row {
                transposed[i].push((o, w));
            }
        }
        with_real!(inputs[1].dtype, T => Ok(kernel::<T>(transposed, 1, &g, axis)))
    }

    fn flow(&self, input: usize, _inputs: &[&Fact]) -> Flow {
        if input == 1 { Flow::Flows } else { Flow::Zero("a size carries no gradient") }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(h) = out_grads[0] else { return Ok(vec![None, None]) };
        let g = at.inputs[1];
        let rank = b.fact(g).rank().ok_or_else(|| Misfit::new("the rank must be known"))?;
        let axis = self.0.axis_of(rank)?;
        let shape = make::shape_of(b, g)?;
        let size = make::slice(b, shape, &[axis as i64], &[1])?;
        Ok(vec![None, Some(b.op(Resize(self.0), &[h, size])?)])
    }
}

fn samplings() -> Vec<Sampling> {
    let cubic = |a, exclude_outside, steps| Interpolation::Cubic { a, exclude_outside, steps };
    [
        (Interpolation::Nearest(Rounding::Floor), Coordinates::Asymmetric),
        (Interpolation::Nearest(Rounding::HalfUp), Coordinates::AlignCorners),
        (Interpolation::Nearest(Rounding::Floor), Coordinates::HalfPixelFloor),
        (Interpolation::Linear, Coordinates::Asymmetric),
        (Interpolation::Linear, Coordinates::AlignCorners),
        (Interpolation::Linear, Coordinates::HalfPixel),
        (cubic(-0.75, false, 1024), Coordinates::Asymmetric),
        (cubic(-0.5, true, 0), Coordinates::PytorchHalfPixel),
        (Interpolation::Area, Coordinates::Asymmetric),
        (Interpolation::Filter(Filter::example()), Coordinates::Asymmetric),
    ]
    .map(|(interpolation, coordinates)| Sampling { axis: 1, interpolation, coordinates, step: None })
    .into()
}

fn examples() -> Vec<Example> {
    let mut all: Vec<Example> = samplings()
        .into_iter()
        .zip([5i32, 3, 7, 2, 6, 4, 5, 7, 3, 5])
        .map(|(s, size)| Example {
            op: Arc::new(Resize(s)),
            inputs: vec![values(&[2, 4, 3], 0.7), Tensor::scalar(size)],
            outputs: None,
        })
        .collect();
    let halves =
        Sampling { axis: 0, interpolation: Interpolation::Linear, coordinates: Coordinates::Asymmetric, step: None };
    all.push(Example {
        op: Arc::new(Resize(halves)),
        inputs: vec![Tensor::from_slice(&[2], &[1.0, 3.0]), Tensor::from_slice(&[1], &[4i64])],
        outputs: Some(vec![Tensor::from_slice(&[4], &[1.0, 2.0, 3.0, 3.0])]),
    });
    all
}

fn gradient_examples() -> Vec<Example> {
    samplings()
        .into_iter()
        .map(|s| Example {
            op: Arc::new(ResizeGradient(s)),
            inputs: vec![Tensor::scalar(4i32), values(&[2, 5, 3], 0.7)],
            outputs: None,
        })
        .collect()
}
