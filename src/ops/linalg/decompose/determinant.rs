//! Determinant of square matrices.

use std::sync::Arc;

use super::{Inverse, check_square, lu, positive, swap_last};
use crate::ops::half::through_f32;
use crate::ops::linalg::dims;
use crate::ops::make;
use crate::ops::simd::Real;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{Fact, PartialShape, Tensor};
use crate::with_real;

pub static INFO: OpInfo = OpInfo {
    name: "determinant",
    family: "linalg",
    summary: "Determinant of each square matrix",
    formula: "y = det X by LU decomposition. dX = g · y · X⁻ᵀ, for regular X.",
    examples,
};

/// Input `x [.., n, n]`; output `[..]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Determinant;

fn determinant<T: Real>(x: &[T], n: usize) -> T {
    let mut factors = x.to_vec();
    match lu(&mut factors, n) {
        None => T::ZERO,
        Some((_, even)) => (0..n).fold(if even { T::ONE } else { -T::ONE }, |d, i| d * factors[i * n + i]),
    }
}

impl Op for Determinant {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 1)?;
        check_square(inputs[0])?;
        let shape = match inputs[0].shape.partial() {
            Some([lead @ .., _, _]) => PartialShape::from_partial(lead.iter().copied()),
            _ => PartialShape::unknown(),
        };
        Ok(vec![Fact::new(inputs[0].dtype, shape)])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let n = dims(inputs[0])?.last().copied().unwrap_or(0);
        with_real!(inputs[0].dtype, T => Ok(Kernel::compute(move |call| {
            let x = call.input::<T>(0);
            let y = call.output::<T>(0);
            y.iter_mut().enumerate().for_each(|(i, y)| *y = determinant(&x[i * n * n..(i + 1) * n * n], n));
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
        let inverse = b.op(Inverse, &[at.inputs[0]])?;
        let inverse = swap_last(b, inverse)?;
        let scale = make::mul(b, g, at.outputs[0])?;
        let scale = make::expand_dims(b, scale, -1)?;
        let scale = make::expand_dims(b, scale, -1)?;
        Ok(vec![Some(make::mul(b, inverse, scale)?)])
    }
}

fn examples() -> Vec<Example> {
    let case = |x, y| Example { op: Arc::new(Determinant), inputs: vec![x], outputs: y };
    vec![
        case(Tensor::from_slice(&[2, 2], &[0.0, 2.0, 4.0, 0.0]), Some(vec![Tensor::scalar(-8.0f64)])),
        case(positive(2, 3), None),
    ]
}
