//! `y = x₀`, whose gradient goes to the other inputs instead: what a stand-in gradient becomes.

use std::sync::Arc;

use crate::ops::make;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{Fact, Tensor};

pub static INFO: OpInfo = OpInfo {
    name: "gradient_from",
    family: "control",
    summary: "passes its first input on and sends the gradient to the others",
    formula: "y = x0; the gradient of y goes unchanged to x1, x2, … (summed over what was broadcast) and not to x0. \
              With one input it stops the gradient. The straight-through estimator of Bengio, Léonard and Courville (2013)",
    examples,
};

/// See the file's header. The element types of all inputs are equal; shapes of the others broadcast to that of the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientFrom;

impl Op for GradientFrom {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        let [value, others @ ..] = inputs else { return Err(Misfit::new("expected at least one input")) };
        match others.iter().find(|o| o.dtype != value.dtype) {
            Some(o) => Err(Misfit(format!("all inputs must be {}, found {}", value.dtype, o.dtype))),
            None => Ok(vec![Fact::new(value.dtype, value.shape.clone())]),
        }
    }

    fn kernel(&self, _inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        Ok(Kernel::alias())
    }

    fn flow(&self, input: usize, _inputs: &[&Fact]) -> Flow {
        match input {
            0 => Flow::Stopped { exact: false, why: "a stand-in replaces this gradient" },
            _ => Flow::Flows,
        }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let mut grads = vec![None; at.inputs.len()];
        let Some(g) = out_grads[0] else { return Ok(grads) };
        for (i, &x) in at.inputs.iter().enumerate().skip(1).filter(|(i, _)| wanted[*i]) {
            let same = b.fact(x).dims().is_some() && b.fact(x).dims() == b.fact(g).dims();
            grads[i] = Some(if same { g } else { make::sum_to(b, g, x)? });
        }
        Ok(grads)
    }
}

fn examples() -> Vec<Example> {
    let x = Tensor::from_slice(&[3], &[0.2f64, 1.7, -0.6]);
    vec![Example { op: Arc::new(GradientFrom), inputs: vec![x.clone()], outputs: Some(vec![x]) }]
}
