//! `y = x`, unless somebody feeds `y`: an input of the graph with a default value (a learning phase, a keep probability).
//!
//! It hides the default's value from facts, so that nothing is decided by a default that may be fed. Specialising
//! replaces an output that is not fed by the input.

use std::sync::Arc;

use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{Fact, PartialShape, Tensor};

pub static INFO: OpInfo = OpInfo {
    name: "with_default",
    family: "control",
    summary: "an input of the graph with a default value",
    formula: "y = x where y is not fed",
    examples,
};

/// See the file's header. Any element type; `shape` is what may be fed.
#[derive(Clone, Debug, PartialEq)]
pub struct WithDefault {
    pub shape: PartialShape,
}

impl Op for WithDefault {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 1)?;
        Ok(vec![Fact::new(inputs[0].dtype, self.shape.clone())])
    }

    fn kernel(&self, _inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        Ok(Kernel::alias())
    }

    fn flow(&self, _input: usize, inputs: &[&Fact]) -> Flow {
        if inputs.iter().all(|f| f.dtype.is_float()) {
            Flow::Flows
        } else {
            Flow::Zero("integers and booleans have no derivative")
        }
    }

    fn vjp(
        &self,
        _b: &mut Builder,
        _at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        Ok(vec![out_grads.first().copied().flatten()])
    }
}

fn examples() -> Vec<Example> {
    let x = Tensor::from_slice(&[2], &[0.5f64, -1.0]);
    let op = Arc::new(WithDefault { shape: PartialShape::from_dims(&[2]) });
    vec![Example { op, inputs: vec![x.clone()], outputs: Some(vec![x]) }]
}
