//! `complex_pairs`: complex numbers of a file as pairs of real ones along a new last axis, which is what they are computed as.

use std::sync::Arc;

use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Fact, PartialShape, Tensor};

pub static INFO: OpInfo = OpInfo {
    name: "complex_pairs",
    family: "elementwise",
    summary: "Complex numbers as pairs of real ones along a new last axis; pairs stay what they are",
    formula: "y[.., 0] = Re x, y[.., 1] = Im x",
    examples,
};

/// Input of a complex type `[..]`, output `[.., 2]` of the real type. A floating-point input is pairs already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ComplexPairs;

/// The type of each half.
fn half_of(dtype: DType) -> Option<DType> {
    match dtype {
        DType::C64 => Some(DType::F32),
        DType::C128 => Some(DType::F64),
        _ => None,
    }
}

impl Op for ComplexPairs {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 1)?;
        let x = inputs[0];
        if x.dtype.is_float() || x.dtype == DType::Unknown {
            return Ok(vec![Fact::new(x.dtype, x.shape.clone())]);
        }
        let half = half_of(x.dtype).ok_or_else(|| Misfit(format!("{} are no complex numbers", x.dtype)))?;
        let shape = match x.shape.partial() {
            Some(dims) => PartialShape::from_partial(dims.iter().copied().chain([Some(2)])),
            None => PartialShape::unknown(),
        };
        Ok(vec![Fact::new(half, shape)])
    }

    fn kernel(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if inputs[0].dtype.is_float() {
            return Ok(Kernel::alias());
        }
        // A complex number lies in memory as its parts, one behind the other.
        Ok(Kernel::compute(|call| {
            let from = call.inputs[0].bytes();
            call.outputs[0].bytes().copy_from_slice(from);
        }))
    }

    fn flow(&self, _input: usize, inputs: &[&Fact]) -> Flow {
        match half_of(inputs[0].dtype) {
            None => Flow::Flows,
            Some(_) => Flow::Blocked("constants and inputs of a complex type are computed with, not trained".into()),
        }
    }

    fn vjp(
        &self,
        _b: &mut Builder,
        _at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        Ok(vec![out_grads[0]])
    }
}

fn examples() -> Vec<Example> {
    let pairs = Tensor::from_slice(&[2, 2], &[1.0f64, -2.0, 0.5, 3.0]);
    vec![Example { op: Arc::new(ComplexPairs), inputs: vec![pairs.clone()], outputs: Some(vec![pairs]) }]
}
