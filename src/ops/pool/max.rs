//! Largest element of each window, channels last; ties go to the first in row-major order of the window.

use std::sync::Arc;

use crate::ops::conv::{Geometry, Padding, Window};
use crate::ops::half::through_f32;
use crate::ops::linalg::{dims, same_dtype};
use crate::ops::simd::{Real, Shared, parallel};
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{Dims, Fact, Tensor};
use crate::with_real;

pub static INFO: OpInfo = OpInfo {
    name: "max_pool",
    family: "pool",
    summary: "Largest element of each window",
    formula: "y[b, o, c] = max_t x[b, o·stride + t·dilation − pad, c]; padding never wins. The gradient goes to the first \
              largest element.",
    examples,
};

pub static GRADIENT_INFO: OpInfo = OpInfo {
    name: "max_pool_gradient",
    family: "pool",
    summary: "Sends each window's gradient to its first largest element",
    formula: "dx[argmax of window o] += g[o].",
    examples: gradient_examples,
};

pub static PICK_INFO: OpInfo = OpInfo {
    name: "max_pool_pick",
    family: "pool",
    summary: "Reads another tensor where each window has its first largest element",
    formula: "y[o] = h[argmax of window o of x]; the derivative of max_pool_gradient.",
    examples: pick_examples,
};

pub static INDEX_INFO: OpInfo = OpInfo {
    name: "max_pool_index",
    family: "pool",
    summary: "Position of the first largest element of each window",
    formula: "i[b, o, c] = ((s₀ · n₁ + s₁) · n₂ + …) of the spatial coordinates s of the largest element.",
    examples: index_examples,
};

/// Input `x [batch, spatial.., channels]`; output `[batch, windows.., channels]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaxPool {
    pub size: Dims,
    pub window: Window,
}

/// Inputs `x`, `g` (shaped as the result of [`MaxPool`]); output as `x`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaxPoolGradient {
    pub size: Dims,
    pub window: Window,
}

/// Inputs `x`, `h` (shaped as `x`); output as the result of [`MaxPool`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaxPoolPick {
    pub size: Dims,
    pub window: Window,
}

/// Input `x`; output `int64`, shaped as the result of [`MaxPool`]: the flat spatial position within the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaxPoolIndex {
    pub size: Dims,
    pub window: Window,
}

/// The shape of the result of pooling `x`.
pub(super) fn pooled(x: &Fact, size: &Dims, window: &Window) -> Result<Fact, Misfit> {
    let sizes: Vec<Option<usize>> = size.iter().map(|&s| Some(s)).collect();
    let channels = x.rank().and_then(|r| x.shape.dim(r.checked_sub(1)?));
    Ok(Fact::new(x.dtype, window.result_shape(&x.shape, &sizes, channels)?))
}

/// For window `o` of one image: calls `f(channel, input position)` with the first largest element of each channel.
/// `best` is working memory of one entry a channel.
fn winners<T: Real>(
    g: &Geometry,
    channels: usize,
    x: &[T],
    o: usize,
    best: &mut [(T, usize)],
    mut f: impl FnMut(usize, usize, T),
) {
    best.fill((T::ZERO, usize::MAX));
    g.for_taps(o, |_, s| {
        for (b, &v) in best.iter_mut().zip(&x[s * channels..(s + 1) * channels]) {
            #[allow(clippy::eq_op)]
            let is_nan = v != v;
            #[allow(clippy::eq_op)] // a value that differs from itself is NaN, for any element type
            let found_number = b.0 == b.0;
            if b.1 == usize::MAX || v > b.0 || (is_nan && found_number) {
                *b = (v, s);
            }
        }
    });
    for (c, &(v, s)) in best.iter().enumerate() {
        if s != usize::MAX {
            f(c, s, v);
        }
    }
}

/// A kernel that writes, for each window and channel, a value of the winning position. `f(image, position, channel)`.
#[allow(unsafe_code)]
fn per_window<T: Real, U: Copy + Send + Sync + 'static>(
    g: &Geometry,
    channels: usize,
    x: &[T],
    out: Shared<U>,
    empty: U,
    f: impl Fn(usize, usize, usize, T) -> U + Sync,
) {
    let (per_image, image) = (g.output_positions(), g.input_positions() * channels);
    parallel(g.batch * per_image, g.taps() * channels, |range| {
        let mut best = vec![(T::ZERO, 0usize); channels];
        for p in range {
            let b = p / per_image;
            // SAFETY: each window belongs to one task and lies within the output.
            let out = unsafe { out.at(p * channels..(p + 1) * channels) };
            out.fill(empty);
            winners(g, channels, &x[b * image..][..image], p % per_image, &mut best, |c, s, v| out[c] = f(b, s, c, v));
        }
    });
}

macro_rules! common {
    ($info:ident) => {
        fn info(&self) -> &'static OpInfo {
            &$info
        }
    };
}

impl Op for MaxPool {
    common!(INFO);

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 1)?;
        Ok(vec![pooled(inputs[0], &self.size, &self.window)?])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let x = dims(inputs[0])?;
        let g = Geometry::new(&self.window, &x, &self.size)?;
        let channels = x[x.len() - 1];
        with_real!(inputs[0].dtype, T => Ok(Kernel::compute(move |call| {
            let x = call.input::<T>(0);
            let out = Shared::new(call.outputs[0].ptr::<T>());
            per_window(&g, channels, x, out, T::of(f64::NEG_INFINITY), |_, _, _, v| v);
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
        let op = MaxPoolGradient { size: self.size.clone(), window: self.window.clone() };
        Ok(vec![Some(b.op(op, &[at.inputs[0], g])?)])
    }
}

impl Op for MaxPoolGradient {
    common!(GRADIENT_INFO);

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        let y = pooled(inputs[0], &self.size, &self.window)?;
        if y.shape.merge(&inputs[1].shape).is_none() {
            return Err(Misfit(format!("a gradient of shape {} does not fit {}", inputs[1].shape, y.shape)));
        }
        Ok(vec![Fact::new(same_dtype(inputs)?, inputs[0].shape.clone())])
    }

    #[allow(unsafe_code)]
    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let x = dims(inputs[0])?;
        let geometry = Geometry::new(&self.window, &x, &self.size)?;
        let channels = x[x.len() - 1];
        with_real!(inputs[0].dtype, T => Ok(Kernel::compute(move |call| {
            let (x, g) = (call.input::<T>(0), call.input::<T>(1));
            let (per_image, image) = (geometry.output_positions(), geometry.input_positions() * channels);
            let out = Shared::new(call.outputs[0].ptr::<T>());
            // Windows overlap, so one task does a whole image.
            parallel(geometry.batch, usize::MAX, |range| {
                let mut best = vec![(T::ZERO, 0usize); channels];
                for b in range {
                    // SAFETY: each image belongs to one task and lies within the output.
                    let dx = unsafe { out.at(b * image..(b + 1) * image) };
                    dx.fill(T::ZERO);
                    for o in 0..per_image {
                        let g = &g[(b * per_image + o) * channels..][..channels];
                        winners(&geometry, channels, &x[b * image..][..image], o, &mut best, |c, s, _| {
                            dx[s * channels + c] += g[c];
                        });
                    }
                }
            });
        })))
    }

    fn flow(&self, input: usize, _inputs: &[&Fact]) -> Flow {
        if input == 0 { Flow::Zero("which element is largest is a step function") } else { Flow::Flows }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(h) = out_grads[0] else { return Ok(vec![None, None]) };
        let op = MaxPoolPick { size: self.size.clone(), window: self.window.clone() };
        Ok(vec![None, Some(b.op(op, &[at.inputs[0], h])?)])
    }
}

impl Op for MaxPoolPick {
    common!(PICK_INFO);

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        same_dtype(inputs)?;
        let shape = inputs[0]
            .shape
            .merge(&inputs[1].shape)
            .ok_or_else(|| Misfit(format!("the shapes differ: {} and {}", inputs[0].shape, inputs[1].shape)))?;
        Ok(vec![pooled(&Fact::new(inputs[0].dtype, shape), &self.size, &self.window)?])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let x = dims(inputs[0])?;
        let geometry = Geometry::new(&self.window, &x, &self.size)?;
        let channels = x[x.len() - 1];
        with_real!(inputs[0].dtype, T => Ok(Kernel::compute(move |call| {
            let (x, h) = (call.input::<T>(0), call.input::<T>(1));
            let out = Shared::new(call.outputs[0].ptr::<T>());
            let per_image = geometry.input_positions();
            per_window(&geometry, channels, x, out, T::ZERO, |b, s, c, _| h[(b * per_image + s) * channels + c]);
        })))
    }

    fn flow(&self, input: usize, _inputs: &[&Fact]) -> Flow {
        if input == 0 { Flow::Zero("which element is largest is a step function") } else { Flow::Flows }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(g) = out_grads[0] else { return Ok(vec![None, None]) };
        let op = MaxPoolGradient { size: self.size.clone(), window: self.window.clone() };
        Ok(vec![None, Some(b.op(op, &[at.inputs[0], g])?)])
    }
}

impl Op for MaxPoolIndex {
    common!(INDEX_INFO);

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 1)?;
        let y = pooled(inputs[0], &self.size, &self.window)?;
        Ok(vec![Fact::new(crate::tensor::DType::I64, y.shape)])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let x = dims(inputs[0])?;
        let geometry = Geometry::new(&self.window, &x, &self.size)?;
        let channels = x[x.len() - 1];
        with_real!(inputs[0].dtype, T => Ok(Kernel::compute(move |call| {
            let x = call.input::<T>(0);
            let out = Shared::new(call.outputs[0].ptr::<i64>());
            per_window(&geometry, channels, x, out, 0i64, |_, s, _, _| s as i64);
        })))
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        Flow::Zero("positions carry no gradient")
    }
}

pub(super) fn values(shape: &[usize], step: f64) -> Tensor {
    let n = shape.iter().product::<usize>();
    Tensor::from_slice(shape, &(0..n).map(|i| ((i as f64 + 1.0) * step).sin()).collect::<Vec<_>>())
}

/// `(size, window, x)` that all pooling ops are tested on.
pub(super) fn cases() -> Vec<(Dims, Window, Vec<usize>)> {
    let ceil = Window { ceil: true, ..Window::new(&[2], Padding::Valid) };
    let explicit = Padding::Explicit([(1, 1), (0, 1)][..].into());
    vec![
        (Dims::from_slice(&[2, 2]), Window::new(&[2, 2], Padding::SameUpper), vec![2, 3, 5, 2]),
        (Dims::from_slice(&[3, 2]), Window::new(&[1, 2], Padding::Valid), vec![1, 4, 5, 1]),
        (Dims::from_slice(&[2]), ceil, vec![2, 6, 3]),
        (Dims::from_slice(&[3, 2]), Window::new(&[2, 1], explicit), vec![1, 3, 3, 2]),
        (Dims::from_slice(&[2, 2, 2]), Window::new(&[1, 2, 2], Padding::SameUpper), vec![1, 2, 3, 3, 2]),
    ]
}

/// The result shape of a case.
pub(super) fn result_dims(size: &Dims, window: &Window, x: &[usize]) -> Vec<usize> {
    let fact = pooled(&Fact::of_dims(crate::tensor::DType::F64, x), size, window);
    fact.ok().and_then(|f| f.dims()).map(|d| d.to_vec()).unwrap_or_default()
}

fn examples() -> Vec<Example> {
    let mut all: Vec<Example> = cases()
        .into_iter()
        .map(|(size, window, x)| Example {
            op: Arc::new(MaxPool { size, window }),
            inputs: vec![values(&x, 0.7)],
            outputs: None,
        })
        .collect();
    all.push(Example {
        op: Arc::new(MaxPool { size: Dims::from_slice(&[2]), window: Window::new(&[2], Padding::SameUpper) }),
        inputs: vec![Tensor::from_slice(&[1, 3, 1], &[-3.0, -1.0, -2.0])],
        outputs: Some(vec![Tensor::from_slice(&[1, 2, 1], &[-1.0, -2.0])]),
    });
    all
}

fn gradient_examples() -> Vec<Example> {
    let mut all: Vec<Example> = cases()
        .into_iter()
        .map(|(size, window, x)| {
            let g = values(&result_dims(&size, &window, &x), 0.9);
            Example { op: Arc::new(MaxPoolGradient { size, window }), inputs: vec![values(&x, 0.7), g], outputs: None }
        })
        .collect();
    all.push(Example {
        op: Arc::new(MaxPoolGradient { size: Dims::from_slice(&[3]), window: Window::new(&[1], Padding::Valid) }),
        inputs: vec![
            Tensor::from_slice(&[1, 4, 1], &[1.0, 2.0, 2.0, 2.0]),
            Tensor::from_slice(&[1, 2, 1], &[5.0, 7.0]),
        ],
        outputs: Some(vec![Tensor::from_slice(&[1, 4, 1], &[0.0, 12.0, 0.0, 0.0])]),
    });
    all
}

fn pick_examples() -> Vec<Example> {
    cases()
        .into_iter()
        .map(|(size, window, x)| Example {
            op: Arc::new(MaxPoolPick { size, window }),
            inputs: vec![values(&x, 0.7), values(&x, 0.4)],
            outputs: None,
        })
        .collect()
}

fn index_examples() -> Vec<Example> {
    vec![Example {
        op: Arc::new(MaxPoolIndex { size: Dims::from_slice(&[2]), window: Window::new(&[2], Padding::Valid) }),
        inputs: vec![Tensor::from_slice(&[1, 4, 1], &[1.0, 2.0, 9.0, 3.0])],
        outputs: Some(vec![Tensor::from_slice(&[1, 2, 1], &[1i64, 2])]),
    }]
}
