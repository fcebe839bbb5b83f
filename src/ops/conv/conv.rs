//! Convolution (cross-correlation) of channels-last tensors over 1 to 3 spatial axes, with its two gradients.
//!
//! `y[b, o, c] = Σ_t Σ_i x[b, o·stride + t·dilation − pad, i] · w[t, i, c]`. The result is linear in `x` and in `w`, so the
//! gradients are the two other members of the same family, and each is differentiable again:
//! [`Conv`] `(x, w) → y`, [`ConvInput`] `(sizes of x, w, y) → x`, [`ConvFilter`] `(x, sizes of w, y) → w`.

use std::sync::Arc;

use smallvec::SmallVec;

use super::kernel::{self, Shape};
use super::window::{Geometry, Padding, Window};
use crate::ops::half::through_f32;
use crate::ops::linalg::{dims, same_dtype};
use crate::ops::make;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Fact, PartialShape, Tensor};
use crate::with_real;

pub static INFO: OpInfo = OpInfo {
    name: "conv",
    family: "conv",
    summary: "Convolution over 1 to 3 spatial axes, channels last",
    formula: "y[b, o, c] = Σ_t Σ_i x[b, o·stride + t·dilation − pad, i] · w[t, i, c]; with groups, channel c reads only the \
              inputs of its group. Depthwise convolution has as many groups as input channels.",
    examples,
};

pub static INPUT_INFO: OpInfo = OpInfo {
    name: "conv_input",
    family: "conv",
    summary: "Transposed convolution: gradient of conv for its input",
    formula: "x[b, s, i] = Σ y[b, o, c] · w[t, i, c] over all o, t with s = o·stride + t·dilation − pad.",
    examples: input_examples,
};

pub static FILTER_INFO: OpInfo = OpInfo {
    name: "conv_filter",
    family: "conv",
    summary: "Gradient of conv for its filter",
    formula: "w[t, i, c] = Σ_b Σ_o x[b, o·stride + t·dilation − pad, i] · y[b, o, c].",
    examples: filter_examples,
};

/// Inputs `x [batch, spatial.., in]`, `w [spatial.., in / groups, out]`; output `[batch, spatial.., out]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv {
    pub window: Window,
    pub groups: usize,
}

/// Inputs `sizes` (the shape of `x`, integers), `w`, `y`; output `x`, all shaped as in [`Conv`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvInput {
    pub window: Window,
    pub groups: usize,
}

/// Inputs `x`, `sizes` (the shape of `w`, integers), `y`; output `w`, all shaped as in [`Conv`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvFilter {
    pub window: Window,
    pub groups: usize,
}

/// The shape that a fact of integers spells.
fn spelled_shape(sizes: &Fact) -> Result<PartialShape, Misfit> {
    match sizes.ints() {
        Some(ints) => {
            let dims: Option<Vec<usize>> = ints.iter().map(|&d| usize::try_from(d).ok()).collect();
            dims.map(|d| PartialShape::from_dims(&d)).ok_or_else(|| Misfit(format!("a shape of {ints:?} is negative")))
        }
        None => match sizes.shape.dim(0) {
            Some(rank) if sizes.rank() == Some(1) => Ok(PartialShape::of_rank(rank)),
            _ => Ok(PartialShape::unknown()),
        },
    }
}

/// Spatial sizes and channels of a filter shape, checked against the groups.
fn filter_parts(
    w: &PartialShape,
    spatial: usize,
    groups: usize,
) -> Result<(SmallVec<[Option<usize>; 3]>, Option<usize>, Option<usize>), Misfit> {
    let Some(dims) = w.partial() else { return Ok((SmallVec::from_elem(None, spatial), None, None)) };
    let [sizes @ .., inputs, outputs] = dims else {
        return Err(Misfit(format!("a filter needs spatial, input and output axes, found {w}")));
    };
    if sizes.len() != spatial {
        return Err(Misfit(format!("a filter of shape {w} does not slide over {spatial} spatial axes")));
    }
    if groups == 0 || outputs.is_some_and(|o| o % groups != 0) {
        return Err(Misfit(format!("{groups} groups do not divide the filter's output channels ({w})")));
    }
    Ok((sizes.into(), *inputs, *outputs))
}

fn check_channels(x: &PartialShape, inputs: Option<usize>, groups: usize) -> Result<(), Misfit> {
    let channels = x.partial().and_then(|d| d.last().copied().flatten());
    match (channels, inputs) {
        (Some(c), Some(i)) if i.checked_mul(groups) != Some(c) => {
            Err(Misfit(format!("the filter reads {i} channels in {groups} groups, the input {x} has {c}")))
        }
        _ => Ok(()),
    }
}

/// Concrete shapes for the kernels.
fn shape_of(window: &Window, groups: usize, x: &Fact, w: &Fact, y: &Fact) -> Result<Shape, Misfit> {
    let (x, w, y) = (dims(x)?, dims(w)?, dims(y)?);
    let spatial = window.rank();
    let (_, inputs, _) = filter_parts(&PartialShape::from_dims(&w), spatial, groups)?;
    check_channels(&PartialShape::from_dims(&x), inputs, groups)?;
    let geometry = Geometry::new(window, &x, &w[..spatial])?;
    let (cin, cout) = (x[spatial + 1], w[spatial + 1]);
    let mut expected = vec![x[0]];
    expected.extend(&geometry.output[geometry.output.len() - spatial..]);
    expected.push(cout);
    if expected[..] != y[..] {
        return Err(Misfit(format!("a result of shape {:?} does not fit, expected {expected:?}", &y[..])));
    }
    Ok(Shape { geometry, cin, cout, groups })
}

impl Op for Conv {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        let dtype = same_dtype(inputs)?;
        let (sizes, cin, cout) = filter_parts(&inputs[1].shape, self.window.rank(), self.groups)?;
        check_channels(&inputs[0].shape, cin, self.groups)?;
        Ok(vec![Fact::new(dtype, self.window.result_shape(&inputs[0].shape, &sizes, cout)?)])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let shape = shape_of(&self.window, self.groups, inputs[0], inputs[1], outputs[0])?;
        with_real!(inputs[0].dtype, T => Ok(kernel::forward::<T>(shape)))
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
        let Some(g) = out_grads[0] else { return Ok(vec![None, None]) };
        let (x, w) = (at.inputs[0], at.inputs[1]);
        Ok(vec![
            if wanted[0] { Some(input_gradient(b, &self.window, self.groups, x, w, g)?) } else { None },
            if wanted[1] { Some(filter_gradient(b, &self.window, self.groups, x, w, g)?) } else { None },
        ])
    }
}

/// The gradient for an input shaped like `x`.
fn input_gradient(
    b: &mut Builder,
    window: &Window,
    groups: usize,
    x: Value,
    w: Value,
    g: Value,
) -> Result<Value, Misfit> {
    let sizes = make::shape_of(b, x)?;
    b.op(ConvInput { window: window.clone(), groups }, &[sizes, w, g])
}

/// The gradient for a filter shaped like `w`.
fn filter_gradient(
    b: &mut Builder,
    window: &Window,
    groups: usize,
    x: Value,
    w: Value,
    g: Value,
) -> Result<Value, Misfit> {
    let sizes = make::shape_of(b, w)?;
    b.op(ConvFilter { window: window.clone(), groups }, &[x, sizes, g])
}

impl Op for ConvInput {
    fn info(&self) -> &'static OpInfo {
        &INPUT_INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 3)?;
        let dtype = same_dtype(&inputs[1..])?;
        let x = spelled_shape(inputs[0])?;
        let (_, cin, _) = filter_parts(&inputs[1].shape, self.window.rank(), self.groups)?;
        check_channels(&x, cin, self.groups)?;
        let x = x
            .merge(&PartialShape::of_rank(self.window.rank() + 2))
            .ok_or_else(|| Misfit(format!("the sizes {x} do not have {} axes", self.window.rank() + 2)))?;
        Ok(vec![Fact::new(dtype, x)])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let shape = shape_of(&self.window, self.groups, outputs[0], inputs[1], inputs[2])?;
        with_real!(inputs[1].dtype, T => Ok(kernel::input::<T>(shape)))
    }

    fn flow(&self, input: usize, _inputs: &[&Fact]) -> Flow {
        if input == 0 { Flow::Zero("a shape carries no gradient") } else { Flow::Flows }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(h) = out_grads[0] else { return Ok(vec![None, None, None]) };
        let (w, y) = (at.inputs[1], at.inputs[2]);
        Ok(vec![
            None,
            if wanted[1] { Some(filter_gradient(b, &self.window, self.groups, h, w, y)?) } else { None },
            if wanted[2] {
                Some(b.op(Conv { window: self.window.clone(), groups: self.groups }, &[h, w])?)
            } else {
                None
            },
        ])
    }
}

impl Op for ConvFilter {
    fn info(&self) -> &'static OpInfo {
        &FILTER_INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 3)?;
        let dtype = same_dtype(&[inputs[0], inputs[2]])?;
        let w = spelled_shape(inputs[1])?;
        let (_, cin, _) = filter_parts(&w, self.window.rank(), self.groups)?;
        check_channels(&inputs[0].shape, cin, self.groups)?;
        Ok(vec![Fact::new(dtype, w)])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let shape = shape_of(&self.window, self.groups, inputs[0], outputs[0], inputs[2])?;
        with_real!(inputs[0].dtype, T => Ok(kernel::filter::<T>(shape)))
    }

    fn flow(&self, input: usize, _inputs: &[&Fact]) -> Flow {
        if input == 1 { Flow::Zero("a shape carries no gradient") } else { Flow::Flows }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(h) = out_grads[0] else { return Ok(vec![None, None, None]) };
        let (x, y) = (at.inputs[0], at.inputs[2]);
        Ok(vec![
            if wanted[0] { Some(input_gradient(b, &self.window, self.groups, x, h, y)?) } else { None },
            None,
            if wanted[2] {
                Some(b.op(Conv { window: self.window.clone(), groups: self.groups }, &[x, h])?)
            } else {
                None
            },
        ])
    }
}

fn values(shape: &[usize], step: f64) -> Tensor {
    let n = shape.iter().product::<usize>();
    Tensor::from_slice(shape, &(0..n).map(|i| ((i as f64 + 1.0) * step).sin()).collect::<Vec<_>>())
}

/// Windows and shapes that all three ops are tested on: `(window, groups, x, w)`.
fn cases() -> Vec<(Window, usize, Vec<usize>, Vec<usize>)> {
    let explicit = |p: &[(i64, i64)]| Padding::Explicit(p.into());
    let dilated = Window { dilations: SmallVec::from_slice(&[2, 1]), ..Window::new(&[1, 1], Padding::SameUpper) };
    vec![
        (Window::new(&[2], Padding::SameUpper), 1, vec![2, 5, 2], vec![3, 2, 3]),
        (Window::new(&[1, 1], Padding::Valid), 1, vec![1, 3, 4, 2], vec![1, 1, 2, 2]),
        (Window::new(&[1, 2], explicit(&[(1, 0), (0, 2)])), 2, vec![2, 3, 4, 4], vec![2, 3, 2, 2]),
        (dilated, 1, vec![1, 5, 3, 1], vec![2, 2, 1, 2]),
        (Window::new(&[2, 2], Padding::SameUpper), 2, vec![1, 4, 3, 2], vec![3, 3, 1, 4]),
        (Window::new(&[1, 1], Padding::SameLower), 3, vec![2, 3, 2, 3], vec![2, 2, 1, 3]),
        (Window::new(&[2, 1, 1], Padding::Valid), 1, vec![1, 4, 3, 2, 1], vec![2, 2, 2, 1, 2]),
    ]
}

/// The result shape of a case.
fn result_dims(window: &Window, groups: usize, x: &[usize], w: &[usize]) -> Vec<usize> {
    let op = Conv { window: window.clone(), groups };
    let facts = op.infer(&[&Fact::of_dims(DType::F64, x), &Fact::of_dims(DType::F64, w)]);
    facts.ok().and_then(|f| f[0].dims()).map(|d| d.to_vec()).unwrap_or_default()
}

fn sizes(shape: &[usize]) -> Tensor {
    Tensor::from_slice(&[shape.len()], &shape.iter().map(|&d| d as i32).collect::<Vec<_>>())
}

fn examples() -> Vec<Example> {
    let mut all: Vec<Example> = cases()
        .into_iter()
        .map(|(window, groups, x, w)| Example {
            op: Arc::new(Conv { window, groups }),
            inputs: vec![values(&x, 0.7), values(&w, 1.3)],
            outputs: None,
        })
        .collect();
    all.push(Example {
        op: Arc::new(Conv { window: Window::new(&[1], Padding::Valid), groups: 1 }),
        inputs: vec![
            Tensor::from_slice(&[1, 4, 1], &[1.0, 2.0, 4.0, 8.0]),
            Tensor::from_slice(&[2, 1, 1], &[1.0, -1.0]),
        ],
        outputs: Some(vec![Tensor::from_slice(&[1, 3, 1], &[-1.0, -2.0, -4.0])]),
    });
    all
}

fn input_examples() -> Vec<Example> {
    cases()
        .into_iter()
        .map(|(window, groups, x, w)| {
            let y = values(&result_dims(&window, groups, &x, &w), 0.9);
            let inputs = vec![sizes(&x), values(&w, 1.3), y];
            Example { op: Arc::new(ConvInput { window, groups }), inputs, outputs: None }
        })
        .collect()
}

fn filter_examples() -> Vec<Example> {
    cases()
        .into_iter()
        .map(|(window, groups, x, w)| {
            let y = values(&result_dims(&window, groups, &x, &w), 0.9);
            let inputs = vec![values(&x, 0.7), sizes(&w), y];
            Example { op: Arc::new(ConvFilter { window, groups }), inputs, outputs: None }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{Random, eval::eval};

    /// The definition, position by position.
    fn plain(window: &Window, groups: usize, x: &Tensor, w: &Tensor) -> Vec<f64> {
        let (xs, ws) = (x.shape(), w.shape());
        let spatial = window.rank();
        let g = Geometry::new(window, xs, &ws[..spatial]).unwrap();
        let (cin, per_group, cout) = (xs[spatial + 1], ws[spatial], ws[spatial + 1]);
        let (x, w) = (x.as_slice::<f64>(), w.as_slice::<f64>());
        let mut y = vec![0.0; g.batch * g.output_positions() * cout];
        for b in 0..g.batch {
            for o in 0..g.output_positions() {
                g.for_taps(o, |t, s| {
                    for c in 0..cout {
                        let group = c / (cout / groups);
                        for i in 0..per_group {
                            y[(b * g.output_positions() + o) * cout + c] += x
                                [(b * g.input_positions() + s) * cin + group * per_group + i]
                                * w[(t * per_group + i) * cout + c];
                        }
                    }
                });
            }
        }
        y
    }

    #[test]
    fn equals_the_definition() {
        for (window, groups, xs, ws) in cases() {
            let (x, w) = (values(&xs, 0.7), values(&ws, 1.3));
            let want = plain(&window, groups, &x, &w);
            let got = eval(&Conv { window: window.clone(), groups }, &[x, w], Random::default()).unwrap();
            for (g, w) in got[0].as_slice::<f64>().iter().zip(&want) {
                assert!((g - w).abs() < 1e-12, "{window:?} {groups}: {g} instead of {w}");
            }
        }
    }
}
