//! Mean of each window, channels last. Elements outside the input count only where `count_padding` says so.

use std::sync::Arc;

use super::max::{cases, pooled, result_dims, values};
use crate::ops::conv::{Geometry, Padding, Window};
use crate::ops::half::through_f32;
use crate::ops::linalg::dims;
use crate::ops::make;
use crate::ops::simd::{Real, Shared, parallel};
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{Dims, Fact, PartialShape, Tensor};
use crate::with_real;

pub static INFO: OpInfo = OpInfo {
    name: "average_pool",
    family: "pool",
    summary: "Mean of each window",
    formula: "y[b, o, c] = Σ_t x[b, o·stride + t·dilation − pad, c] / n[o], n counting the elements inside the input (or all \
              that lie inside the padded input).",
    examples,
};

pub static GRADIENT_INFO: OpInfo = OpInfo {
    name: "average_pool_gradient",
    family: "pool",
    summary: "Spreads each window's gradient evenly over its elements",
    formula: "dx[s] = Σ g[o] / n[o] over the windows o that read s.",
    examples: gradient_examples,
};

/// Input `x [batch, spatial.., channels]`; output `[batch, windows.., channels]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AveragePool {
    pub size: Dims,
    pub window: Window,
    /// Padding counts as zeros (ONNX `count_include_pad`); TensorFlow never counts it.
    pub count_padding: bool,
}

/// Inputs `sizes` (the shape of `x`, integers), `g`; output the gradient of `x`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AveragePoolGradient {
    pub size: Dims,
    pub window: Window,
    pub count_padding: bool,
}

/// 1 / (number of counted elements) of each window of an image.
fn weights(g: &Geometry, window: &Window, count_padding: bool) -> Vec<f64> {
    let after = |axis: usize| match &window.padding {
        Padding::Explicit(p) => {
            let skip = g.input.len() - p.len();
            axis.checked_sub(skip).map_or(0, |a| p[a].1)
        }
        // SAME pads exactly as far as the last window reaches.
        _ => i64::MAX / 2,
    };
    (0..g.output_positions())
        .map(|o| {
            let coordinates = Geometry::coordinates(&g.output, o);
            let n: usize = (0..coordinates.len())
                .map(|axis| {
                    let counted = |tap: &usize| {
                        let at = (coordinates[axis] * g.strides[axis] + tap * g.dilations[axis]) as i64;
                        let inside = g.source(axis, coordinates[axis], *tap).is_some();
                        let padded = at < g.input[axis] as i64 + g.before[axis].saturating_add(after(axis));
                        inside || (count_padding && padded)
                    };
                    (0..g.size[axis]).filter(counted).count()
                })
                .product();
            if n == 0 { 0.0 } else { 1.0 / n as f64 }
        })
        .collect()
}

impl Op for AveragePool {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 1)?;
        Ok(vec![pooled(inputs[0], &self.size, &self.window)?])
    }

    #[allow(unsafe_code)]
    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let x = dims(inputs[0])?;
        let g = Geometry::new(&self.window, &x, &self.size)?;
        let weights = weights(&g, &self.window, self.count_padding);
        let channels = x[x.len() - 1];
        with_real!(inputs[0].dtype, T => Ok(Kernel::compute(move |call| {
            let x = call.input::<T>(0);
            let (per_image, image) = (g.output_positions(), g.input_positions() * channels);
            let y = Shared::new(call.outputs[0].ptr::<T>());
            parallel(g.batch * per_image, g.taps() * channels, |range| {
                for p in range {
                    let x = &x[p / per_image * image..][..image];
                    // SAFETY: each window belongs to one task and lies within the output.
                    let y = unsafe { y.at(p * channels..(p + 1) * channels) };
                    y.fill(T::ZERO);
                    g.for_taps(p % per_image, |_, s| {
                        y.iter_mut().zip(&x[s * channels..]).for_each(|(y, &x)| *y += x);
                    });
                    let weight = T::of(weights[p % per_image]);
                    y.iter_mut().for_each(|y| *y *= weight);
                }
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
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(g) = out_grads[0] else { return Ok(vec![None]) };
        let sizes = make::shape_of(b, at.inputs[0])?;
        let op = AveragePoolGradient {
            size: self.size.clone(),
            window: self.window.clone(),
            count_padding: self.count_padding,
        };
        Ok(vec![Some(b.op(op, &[sizes, g])?)])
    }
}

impl Op for AveragePoolGradient {
    fn info(&self) -> &'static OpInfo {
        &GRADIENT_INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        let rank = self.size.len() + 2;
        let Some(sizes) = inputs[0].ints() else {
            return Ok(vec![Fact::new(inputs[1].dtype, PartialShape::of_rank(rank))]);
        };
        let x: Option<Dims> = sizes.iter().map(|&d| usize::try_from(d).ok()).collect();
        let x = x.filter(|x| x.len() == rank).ok_or_else(|| Misfit(format!("{sizes:?} is not an input shape")))?;
        let x = Fact::of_dims(inputs[1].dtype, &x);
        let y = pooled(&x, &self.size, &self.window)?;
        if y.shape.merge(&inputs[1].shape).is_none() {
            return Err(Misfit(format!("a gradient of shape {} does not fit {}", inputs[1].shape, y.shape)));
        }
        Ok(vec![x])
    }

    #[allow(unsafe_code)]
    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let x = dims(outputs[0])?;
        let geometry = Geometry::new(&self.window, &x, &self.size)?;
        let weights = weights(&geometry, &self.window, self.count_padding);
        let channels = x[x.len() - 1];
        with_real!(inputs[1].dtype, T => Ok(Kernel::compute(move |call| {
            let g = call.input::<T>(1);
            let (per_input, image) = (geometry.input_positions(), geometry.output_positions() * channels);
            let dx = Shared::new(call.outputs[0].ptr::<T>());
            parallel(geometry.batch * per_input, geometry.taps() * channels, |range| {
                for p in range {
                    let g = &g[p / per_input * image..][..image];
                    // SAFETY: each input position belongs to one task and lies within the output.
                    let dx = unsafe { dx.at(p * channels..(p + 1) * channels) };
                    dx.fill(T::ZERO);
                    geometry.for_readers(p % per_input, |_, o| {
                        let weight = T::of(weights[o]);
                        dx.iter_mut().zip(&g[o * channels..]).for_each(|(d, &g)| *d += g * weight);
                    });
                }
            });
        })))
    }

    fn flow(&self, input: usize, _inputs: &[&Fact]) -> Flow {
        if input == 0 { Flow::Zero("a shape carries no gradient") } else { Flow::Flows }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        _at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(h) = out_grads[0] else { return Ok(vec![None, None]) };
        let op =
            AveragePool { size: self.size.clone(), window: self.window.clone(), count_padding: self.count_padding };
        Ok(vec![None, Some(b.op(op, &[h])?)])
    }
}

fn examples() -> Vec<Example> {
    let mut all: Vec<Example> = cases()
        .into_iter()
        .enumerate()
        .map(|(i, (size, window, x))| Example {
            op: Arc::new(AveragePool { size, window, count_padding: i % 2 == 1 }),
            inputs: vec![values(&x, 0.7)],
            outputs: None,
        })
        .collect();
    for (count_padding, last) in [(false, 4.0), (true, 2.0)] {
        let window = Window::new(&[2], Padding::SameUpper);
        all.push(Example {
            op: Arc::new(AveragePool { size: Dims::from_slice(&[2]), window, count_padding }),
            inputs: vec![Tensor::from_slice(&[1, 3, 1], &[1.0, 3.0, 4.0])],
            outputs: Some(vec![Tensor::from_slice(&[1, 2, 1], &[2.0, last])]),
        });
    }
    all
}

fn gradient_examples() -> Vec<Example> {
    cases()
        .into_iter()
        .map(|(size, window, x)| {
            let g = values(&result_dims(&size, &window, &x), 0.9);
            let sizes = Tensor::from_slice(&[x.len()], &x.iter().map(|&d| d as i32).collect::<Vec<_>>());
            let op = AveragePoolGradient { size, window, count_padding: false };
            Example { op: Arc::new(op), inputs: vec![sizes, g], outputs: None }
        })
        .collect()
}
