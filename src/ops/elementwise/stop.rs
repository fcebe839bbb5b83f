//! Values that pass unchanged and whose gradient does not: on purpose, or because the file forbids it.

use crate::program::op::arity;
use crate::program::{Example, Flow, Kernel, Misfit, Op, OpInfo};
use crate::tensor::{Fact, Tensor};

pub static STOP: OpInfo = OpInfo {
    name: "stop_gradient",
    family: "elementwise",
    summary: "Passes values on and stops gradients",
    formula: "y = x; the gradient is defined as zero",
    examples: || {
        let x = Tensor::from_slice(&[3], &[0.5f64, -1.0, 2.0]);
        vec![Example { op: std::sync::Arc::new(StopGradient), inputs: vec![x.clone()], outputs: Some(vec![x]) }]
    },
};

pub static PREVENT: OpInfo = OpInfo {
    name: "prevent_gradient",
    family: "elementwise",
    summary: "Passes values on; the file forbids differentiating through it",
    formula: "y = x; asking for the gradient is an error with the file's own message",
    examples: || {
        let x = Tensor::from_slice(&[3], &[0.5f64, -1.0, 2.0]);
        let op = std::sync::Arc::new(PreventGradient { message: String::new() });
        vec![Example { op, inputs: vec![x.clone()], outputs: Some(vec![x]) }]
    },
};

/// See [`STOP`].
#[derive(Clone, Debug)]
pub struct StopGradient;

impl Op for StopGradient {
    fn info(&self) -> &'static OpInfo {
        &STOP
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 1)?;
        Ok(vec![inputs[0].clone()])
    }

    fn kernel(&self, _inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        Ok(Kernel::alias())
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        Flow::Stopped { exact: false, why: "the graph stops the gradient here on purpose" }
    }
}

/// See [`PREVENT`].
#[derive(Clone, Debug)]
pub struct PreventGradient {
    /// What the file says about it.
    pub message: String,
}

impl Op for PreventGradient {
    fn info(&self) -> &'static OpInfo {
        &PREVENT
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 1)?;
        Ok(vec![inputs[0].clone()])
    }

    fn kernel(&self, _inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        Ok(Kernel::alias())
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        let reason = if self.message.is_empty() { "no reason given" } else { &self.message };
        Flow::Blocked(format!("the graph forbids differentiating here: {reason}"))
    }
}
