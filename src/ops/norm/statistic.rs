//! A statistic that normalisation uses in inference form: passes unchanged, is not trained.

use std::sync::Arc;

use crate::program::op::arity;
use crate::program::{Example, Flow, Kernel, Misfit, Op, OpInfo};
use crate::tensor::{Fact, Tensor};

pub static INFO: OpInfo = OpInfo {
    name: "statistic",
    family: "norm",
    summary: "Passes a running mean or variance on and stops its gradient",
    formula: "y = x; the gradient is defined as zero, as TensorFlow and PyTorch treat the statistics of batch normalisation \
              in inference form.",
    examples,
};

/// Input of any shape; output equal to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistic;

impl Op for Statistic {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 1)?;
        Ok(vec![inputs[0].clone()])
    }

    fn kernel(&self, _inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        Ok(Kernel::alias())
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        Flow::Stopped { exact: false, why: "running statistics of batch normalisation are not trained by gradient" }
    }
}

fn examples() -> Vec<Example> {
    let x = || Tensor::from_slice(&[2], &[0.5f64, 1.5]);
    vec![Example { op: Arc::new(Statistic), inputs: vec![x()], outputs: Some(vec![x()]) }]
}
