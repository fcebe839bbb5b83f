//! `shape_of`: the shape of a value, as a value.

use std::sync::Arc;

use crate::program::op::arity;
use crate::program::{Example, Flow, Kernel, Misfit, Op, OpInfo};
use crate::tensor::{DType, Fact, PartialShape, Tensor};

pub static INFO: OpInfo = OpInfo {
    name: "shape_of",
    family: "shape",
    summary: "The shape of a value as a vector of integers",
    formula: "y[i] = size of dimension i",
    examples,
};

/// See [`INFO`]; `to` is the element type of the result.
#[derive(Clone, Debug)]
pub struct ShapeOf {
    pub to: DType,
}

impl Op for ShapeOf {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 1)?;
        if !self.to.is_int() {
            return Err(Misfit(format!("a shape cannot be {}", self.to)));
        }
        let shape = PartialShape::from_partial([inputs[0].rank()]);
        let value = inputs[0].dims().map(|d| Tensor::from_f64s(self.to, &[d.len()], d.iter().map(|&d| d as f64)));
        Ok(vec![Fact { value, ..Fact::new(self.to, shape) }])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let dims = inputs[0].dims().ok_or_else(|| Misfit::new("the shape is not known"))?;
        let to = outputs[0].dtype;
        let value = Tensor::from_f64s(to, &[dims.len()], dims.iter().map(|&d| d as f64));
        Ok(Kernel::compute(move |call| call.outputs[0].bytes().copy_from_slice(value.bytes())))
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        Flow::Zero("only the shape is read, not the values")
    }
}

fn examples() -> Vec<Example> {
    let x = Tensor::zeros(DType::F64, &[4, 0, 2]);
    vec![Example {
        op: Arc::new(ShapeOf { to: DType::I32 }),
        inputs: vec![x],
        outputs: Some(vec![Tensor::from_slice(&[3], &[4i32, 0, 2])]),
    }]
}
