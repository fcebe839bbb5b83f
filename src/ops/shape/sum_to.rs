//! `sum_to`: sums a value down to the shape of another, undoing a broadcast: the gradient of broadcasting where shapes are
//! not known yet.

use std::sync::Arc;

use crate::ops::make;
use crate::ops::reduce::{ReduceFn, reduction_kernel};
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{Fact, Tensor};

use super::data_flow;

pub static INFO: OpInfo = OpInfo {
    name: "sum_to",
    family: "shape",
    summary: "Sums a value down to the shape of another",
    formula: "inputs: g, like; sums over the dimensions in which `like` was repeated to give the shape of g",
    examples,
};

/// Inputs: values, and one whose shape (not values) is read.
#[derive(Clone, Debug)]
pub struct SumTo;

impl Op for SumTo {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        Ok(vec![Fact::new(inputs[0].dtype, inputs[1].shape.clone())])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let known = || Misfit::new("the shape is not known");
        let (from, to) = (inputs[0].dims().ok_or_else(known)?, outputs[0].dims().ok_or_else(known)?);
        if from == to {
            return Ok(Kernel::alias());
        }
        let lead = from
            .len()
            .checked_sub(to.len())
            .ok_or_else(|| Misfit(format!("{:?} was not broadcast from {:?}", &from[..], &to[..])))?;
        let mut reduced = vec![false; from.len()];
        for a in 0..from.len() {
            reduced[a] = a < lead || (to[a - lead] == 1 && from[a] != 1);
            if !reduced[a] && to[a - lead] != from[a] {
                return Err(Misfit(format!("{:?} was not broadcast from {:?}", &from[..], &to[..])));
            }
        }
        reduction_kernel(ReduceFn::Sum, inputs[0].dtype, &from, &reduced)
    }

    fn flow(&self, input: usize, inputs: &[&Fact]) -> Flow {
        if input == 0 { data_flow(inputs[0]) } else { Flow::Zero("only the shape is read, not the values") }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(g) = out_grads[0] else { return Ok(vec![None, None]) };
        Ok(vec![Some(make::broadcast_like(b, g, at.inputs[0])?), None])
    }
}

fn examples() -> Vec<Example> {
    let g = Tensor::from_slice(&[2, 3], &[1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let case = |like: &[usize], want: &[f64]| Example {
        op: Arc::new(SumTo),
        inputs: vec![g.clone(), Tensor::zeros(g.dtype(), like)],
        outputs: Some(vec![Tensor::from_slice(like, want)]),
    };
    vec![case(&[3], &[5.0, 7.0, 9.0]), case(&[2, 1], &[6.0, 15.0]), case(&[], &[21.0])]
}
