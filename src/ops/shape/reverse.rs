//! `reverse`: dimensions backwards.

use std::sync::Arc;

use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{Fact, Tensor, shape};

use super::copy::{StridedCopy, copy_kernel, steps};
use super::{data_flow, shape_operand};

pub static INFO: OpInfo = OpInfo {
    name: "reverse",
    family: "shape",
    summary: "Dimensions backwards",
    formula: "inputs: x, axes; y[i] = x[size - 1 - i] along each of the axes",
    examples,
};

/// Inputs: values, axes (integers).
#[derive(Clone, Debug)]
pub struct Reverse;

impl Op for Reverse {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        if let (Some(rank), Some(axes)) = (inputs[0].rank(), inputs[1].ints())
            && let Some(bad) = axes.iter().find(|&&a| shape::normalize_axis(a, rank).is_none())
        {
            return Err(Misfit(format!("axis {bad} is outside rank {rank}")));
        }
        Ok(vec![Fact::new(inputs[0].dtype, inputs[0].shape.clone())])
    }

    fn kernel(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let known = || Misfit::new("the shape or the axes are not known");
        let dims = inputs[0].dims().ok_or_else(known)?;
        let strides = steps(&dims);
        let (mut source, mut start) = (strides.clone(), 0);
        for axis in inputs[1].ints().ok_or_else(known)? {
            let a = shape::normalize_axis(axis, dims.len()).ok_or_else(known)?;
            if source[a] > 0 && dims[a] > 0 {
                source[a] = -strides[a];
                start += strides[a] * (dims[a] as isize - 1);
            }
        }
        copy_kernel(StridedCopy::new(&dims, &source, &strides).from(start, 0), inputs[0].dtype)
    }

    fn flow(&self, input: usize, inputs: &[&Fact]) -> Flow {
        if input == 0 { data_flow(inputs[0]) } else { shape_operand() }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(g) = out_grads[0] else { return Ok(vec![None, None]) };
        Ok(vec![Some(b.op(Reverse, &[g, at.inputs[1]])?), None])
    }
}

fn examples() -> Vec<Example> {
    let x = Tensor::from_slice(&[2, 3], &[1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let want = Tensor::from_slice(&[2, 3], &[3.0f64, 2.0, 1.0, 6.0, 5.0, 4.0]);
    vec![Example {
        op: Arc::new(Reverse),
        inputs: vec![x, Tensor::from_slice(&[1], &[-1i32])],
        outputs: Some(vec![want]),
    }]
}
