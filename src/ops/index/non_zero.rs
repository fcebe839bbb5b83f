//! `non_zero`: where a value is not zero. How many such places there are shows only when running.

use std::sync::Arc;

use crate::program::op::arity;
use crate::program::{Example, Flow, Kernel, Misfit, Op, OpInfo};
use crate::tensor::{DType, Fact, PartialShape, Tensor, shape};

pub static INFO: OpInfo = OpInfo {
    name: "non_zero",
    family: "index",
    summary: "The positions of all elements that are not zero",
    formula: "[n, rank] coordinates in row-major order",
    examples,
};

/// Input: values of any type.
#[derive(Clone, Debug)]
pub struct NonZero;

impl Op for NonZero {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 1)?;
        let n = inputs[0].value.as_ref().and_then(Tensor::to_f64s).map(|v| v.iter().filter(|v| **v != 0.0).count());
        Ok(vec![Fact::new(DType::I64, PartialShape::from_partial([n, inputs[0].rank()]))])
    }

    fn kernel(&self, _inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        Ok(Kernel::host(|inputs| {
            let x = &inputs[0];
            let values = x.to_f64s().ok_or_else(|| Misfit(format!("not defined for {}", x.dtype())))?;
            let strides = shape::strides(x.shape());
            let mut out = Vec::new();
            let hits = values.iter().enumerate().filter(|(_, v)| **v != 0.0);
            let mut n = 0;
            for (i, _) in hits {
                n += 1;
                out.extend(strides.iter().zip(x.shape()).map(|(s, d)| (i / s % d) as i64));
            }
            Ok(vec![Tensor::from_slice(&[n, x.rank()], &out)])
        }))
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        Flow::Zero("a position is an integer: it does not change with small changes of the values")
    }
}

fn examples() -> Vec<Example> {
    let x = Tensor::from_bools(&[2, 2], &[false, true, true, true]);
    vec![Example {
        op: Arc::new(NonZero),
        inputs: vec![x],
        outputs: Some(vec![Tensor::from_slice(&[3, 2], &[0i64, 1, 1, 0, 1, 1])]),
    }]
}
