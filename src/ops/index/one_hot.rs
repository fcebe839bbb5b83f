//! `one_hot`: a new dimension in which one element stands out.

use std::sync::Arc;

use crate::ops::make;
use crate::ops::shape::copy::movable;
use crate::ops::shape::{data_flow, shape_operand};
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Fact, PartialShape, Tensor, shape};

use super::{Indices, byte_span};

pub static INFO: OpInfo = OpInfo {
    name: "one_hot",
    family: "index",
    summary: "A new dimension in which one element stands out",
    formula: "inputs: positions, depth, on, off; y[…, k, …] = on where k is the position, else off; positions outside give off",
    examples,
};

/// Inputs: positions (integers), depth (integer scalar), value on, value off (scalars).
#[derive(Clone, Debug)]
pub struct OneHot {
    /// Where the new dimension stands in the result; negative counts from its end.
    pub axis: i64,
    /// Negative positions count from the end (else they are outside).
    pub wrap: bool,
}

impl Op for OneHot {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 4)?;
        let (at, on, off) = (inputs[0], inputs[2], inputs[3]);
        Indices::check(at.dtype)?;
        if on.dtype != off.dtype && on.dtype != DType::Unknown && off.dtype != DType::Unknown {
            return Err(Misfit(format!("element types differ: {} and {}", on.dtype, off.dtype)));
        }
        let depth = inputs[1].ints().and_then(|v| v.first().copied());
        if depth.is_some_and(|d| d < 0) {
            return Err(Misfit::new("the depth is negative"));
        }
        let Some(dims) = at.shape.partial() else { return Ok(vec![Fact::new(on.dtype, PartialShape::unknown())]) };
        let axis = shape::normalize_axis(self.axis, dims.len() + 1)
            .ok_or_else(|| Misfit(format!("axis {} is outside rank {}", self.axis, dims.len() + 1)))?;
        let mut out = dims.to_vec();
        out.insert(axis, depth.and_then(|d| usize::try_from(d).ok()));
        Ok(vec![Fact::new(on.dtype, PartialShape::from_partial(out))])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let known = || Misfit::new("the shape is not known");
        movable(outputs[0].dtype)?;
        if inputs[2].dims().is_none_or(|d| d.iter().product::<usize>() != 1)
            || inputs[3].dims().is_none_or(|d| d.iter().product::<usize>() != 1)
        {
            return Err(Misfit::new("the values on and off must be scalars"));
        }
        let out = outputs[0].dims().ok_or_else(known)?;
        let axis = shape::normalize_axis(self.axis, out.len()).ok_or_else(known)?;
        let (depth, inner) = (out[axis], out[axis + 1..].iter().product::<usize>());
        let (size, wrap) = (outputs[0].dtype.size(), self.wrap);
        Ok(Kernel::compute(move |call| {
            let at = Indices::of(&call.inputs[0]);
            let (on, off) = (call.inputs[2].bytes(), call.inputs[3].bytes());
            let y = call.outputs[0].bytes();
            y.chunks_exact_mut(size).for_each(|y| y.copy_from_slice(off));
            for i in 0..at.len() {
                if !wrap && at.get(i) < 0 {
                    continue;
                }
                let Some(k) = at.within(i, depth) else { continue };
                let to = (i / inner * depth + k) * inner + i % inner;
                y[byte_span(to..to + 1, size)].copy_from_slice(on);
            }
        }))
    }

    fn flow(&self, input: usize, inputs: &[&Fact]) -> Flow {
        if input < 2 { shape_operand() } else { data_flow(inputs[input]) }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(g) = out_grads[0] else { return Ok(vec![None; 4]) };
        let mut out = vec![None; 4];
        for k in [2, 3] {
            if wanted[k] {
                let (hit, miss) = if k == 2 { (1.0, 0.0) } else { (0.0, 1.0) };
                let (hit, miss) = (make::scalar_like(b, g, hit), make::scalar_like(b, g, miss));
                let mask = b.op(self.clone(), &[at.inputs[0], at.inputs[1], hit, miss])?;
                let mine = make::mul(b, g, mask)?;
                let sum = make::sum_all(b, mine)?;
                out[k] = Some(make::reshape_like(b, sum, at.inputs[k])?);
            }
        }
        Ok(out)
    }
}

fn examples() -> Vec<Example> {
    let positions = Tensor::from_slice(&[3], &[1i32, -1, 0]);
    let case = |axis, wrap, dims: &[usize], want: &[f64]| Example {
        op: Arc::new(OneHot { axis, wrap }),
        inputs: vec![positions.clone(), Tensor::scalar(2i32), Tensor::scalar(5.0f64), Tensor::scalar(0.5f64)],
        outputs: Some(vec![Tensor::from_slice(dims, want)]),
    };
    vec![
        case(-1, false, &[3, 2], &[0.5, 5.0, 0.5, 0.5, 5.0, 0.5]),
        case(0, true, &[2, 3], &[0.5, 0.5, 5.0, 5.0, 5.0, 0.5]),
    ]
}
