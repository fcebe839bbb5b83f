//! `entries`: tensors kept side by side, each with its own shape: what a list is before anybody reads it. Readers that
//! know which entry they want take it from here; as one value it is the stack of its entries, which must then be alike.

use std::sync::Arc;

use crate::ops::index::Gather;
use crate::ops::make;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Fact, PartialShape, Tensor};

use super::copy::movable;
use super::data_flow;

pub static INFO: OpInfo = OpInfo {
    name: "entries",
    family: "shape",
    summary: "Tensors as the entries of a list",
    formula: "y [n, …] = the n inputs, one after the other; computed only where all of them have one shape",
    examples,
};

/// Inputs: the entries, at least one.
#[derive(Clone, Debug)]
pub struct Entries;

impl Op for Entries {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        let Some(first) = inputs.first() else { return Err(Misfit::new("a list without entries")) };
        let dtype = inputs.iter().map(|f| f.dtype).find(|d| *d != DType::Unknown).unwrap_or(DType::Unknown);
        if let Some(other) = inputs.iter().find(|f| f.dtype != dtype && f.dtype != DType::Unknown) {
            return Err(Misfit(format!("element types differ: {dtype} and {}", other.dtype)));
        }
        let element = inputs.iter().fold(first.shape.clone(), |all, f| all.join(&f.shape));
        let shape = match element.partial() {
            Some(dims) => PartialShape::from_partial(std::iter::once(Some(inputs.len())).chain(dims.iter().copied())),
            None => PartialShape::unknown(),
        };
        Ok(vec![Fact::new(dtype, shape)])
    }

    fn kernel(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(other) = inputs.iter().find(|f| f.shape != inputs[0].shape) {
            let first = &inputs[0].shape;
            return Err(Misfit(format!(
                "a list with entries of different shapes ({first} and {}) is read where one shape is needed",
                other.shape
            )));
        }
        movable(inputs[0].dtype)?;
        Ok(Kernel::compute(|call| {
            let out = call.outputs[0].bytes();
            let mut at = 0;
            for entry in call.inputs {
                let bytes = entry.bytes();
                out[at..at + bytes.len()].copy_from_slice(bytes);
                at += bytes.len();
            }
        }))
    }

    fn flow(&self, input: usize, inputs: &[&Fact]) -> Flow {
        data_flow(inputs[input])
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(g) = out_grads.first().copied().flatten() else { return Ok(vec![None; at.inputs.len()]) };
        let own = |b: &mut Builder, i: usize| {
            let index = make::scalar(b, DType::I64, i as f64);
            b.op(Gather { axis: 0, batch_dims: 0 }, &[g, index])
        };
        wanted.iter().enumerate().map(|(i, w)| if *w { own(b, i).map(Some) } else { Ok(None) }).collect()
    }
}

fn examples() -> Vec<Example> {
    let (a, b) = (Tensor::from_slice(&[2], &[1.0f64, 2.0]), Tensor::from_slice(&[2], &[5.0f64, 6.0]));
    let both = Tensor::from_slice(&[2, 2], &[1.0f64, 2.0, 5.0, 6.0]);
    vec![Example { op: Arc::new(Entries), inputs: vec![a, b], outputs: Some(vec![both]) }]
}
