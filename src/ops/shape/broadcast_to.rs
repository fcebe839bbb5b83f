//! `broadcast_to`: repeats a value to a shape by the NumPy rule.

use std::sync::Arc;

use crate::ops::make;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{Fact, PartialShape, Tensor, shape};

use super::copy::{StridedCopy, copy_kernel, steps};
use super::{data_flow, shape_operand};

pub static INFO: OpInfo = OpInfo {
    name: "broadcast_to",
    family: "shape",
    summary: "Repeats a value to a shape by the NumPy rule",
    formula: "inputs: x, shape; dimensions of 1 and missing leading ones are repeated",
    examples,
};

/// Inputs: values, shape (integers).
#[derive(Clone, Debug)]
pub struct BroadcastTo;

impl Op for BroadcastTo {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        let (x, want) = (inputs[0], inputs[1]);
        let Some(dims) = want.ints() else {
            let shape = match want.shape.partial() {
                Some([Some(rank)]) => PartialShape::of_rank(*rank),
                _ => PartialShape::unknown(),
            };
            return Ok(vec![Fact::new(x.dtype, shape)]);
        };
        let dims: Option<Vec<usize>> = dims.iter().map(|&d| usize::try_from(d).ok()).collect();
        let dims = dims.ok_or_else(|| Misfit(format!("{:?} is no shape", want.ints().unwrap_or_default())))?;
        let out = PartialShape::from_dims(&dims);
        // The target must be what broadcasting gives: no dimension of the value may be larger.
        match shape::broadcast(&x.shape, &out) {
            Some(s) if out.merge(&s).is_some() => Ok(vec![Fact::new(x.dtype, out)]),
            _ => Err(Misfit(format!("shape {} does not broadcast to {out}", x.shape))),
        }
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let known = || Misfit::new("the shape is not known");
        let (from, out) = (inputs[0].dims().ok_or_else(known)?, outputs[0].dims().ok_or_else(known)?);
        if shape::element_count(&from) == shape::element_count(&out) {
            return Ok(Kernel::alias());
        }
        let lead = out.len() - from.len();
        let strides = steps(&from);
        let source: Vec<isize> =
            (0..out.len()).map(|a| if a < lead || from[a - lead] == 1 { 0 } else { strides[a - lead] }).collect();
        copy_kernel(StridedCopy::new(&out, &source, &steps(&out)), inputs[0].dtype)
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
        Ok(vec![Some(make::sum_to(b, g, at.inputs[0])?), None])
    }
}

fn examples() -> Vec<Example> {
    let x = Tensor::from_slice(&[2, 1], &[1.0f64, 2.0]);
    let shape = Tensor::from_slice(&[3], &[2i64, 2, 3]);
    let want = [1.0f64, 1.0, 1.0, 2.0, 2.0, 2.0].repeat(2);
    vec![Example {
        op: Arc::new(BroadcastTo),
        inputs: vec![x, shape],
        outputs: Some(vec![Tensor::from_slice(&[2, 2, 3], &want)]),
    }]
}
