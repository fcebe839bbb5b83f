//! `tile`: repeats a whole value along its dimensions.

use std::sync::Arc;

use crate::ops::make;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Fact, PartialShape, Tensor, shape};

use super::copy::{StridedCopy, copy_kernel, steps};
use super::{data_flow, shape_operand};

pub static INFO: OpInfo = OpInfo {
    name: "tile",
    family: "shape",
    summary: "Repeats a value along its dimensions",
    formula: "inputs: x, repeats; y[i] = x[i mod size]",
    examples,
};

/// Inputs: values, repeats (integers, one per dimension).
#[derive(Clone, Debug)]
pub struct Tile;

fn repeats(fact: &Fact, rank: usize) -> Result<Option<Vec<usize>>, Misfit> {
    let Some(given) = fact.ints() else { return Ok(None) };
    let counts: Option<Vec<usize>> = given.iter().map(|&r| usize::try_from(r).ok()).collect();
    match counts {
        Some(r) if r.len() == rank => Ok(Some(r)),
        _ => Err(Misfit(format!("{given:?} is no list of {rank} repeats"))),
    }
}

impl Op for Tile {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        let x = inputs[0];
        let Some(rank) = x.rank().or(inputs[1].shape.dim(0)) else {
            return Ok(vec![Fact::new(x.dtype, PartialShape::unknown())]);
        };
        let shape = match repeats(inputs[1], rank)? {
            None => PartialShape::of_rank(rank),
            Some(r) => PartialShape::from_partial((0..rank).map(|a| x.shape.dim(a).and_then(|d| d.checked_mul(r[a])))),
        };
        Ok(vec![Fact::new(x.dtype, shape)])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let known = || Misfit::new("the shape or the repeats are not known");
        let (from, out) = (inputs[0].dims().ok_or_else(known)?, outputs[0].dims().ok_or_else(known)?);
        if from == out {
            return Ok(Kernel::alias());
        }
        let r = repeats(inputs[1], from.len())?.ok_or_else(known)?;
        // Each dimension as (repeat, position), the repeat standing still in the source.
        let strides = steps(&from);
        let (mut dims, mut source) = (Vec::new(), Vec::new());
        for a in 0..from.len() {
            dims.extend([r[a], from[a]]);
            source.extend([0, strides[a]]);
        }
        copy_kernel(StridedCopy::new(&dims, &source, &steps(&dims)), inputs[0].dtype)
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
        let x = at.inputs[0];
        let rank = b.fact(x).rank().or(b.fact(at.inputs[1]).shape.dim(0));
        let rank = rank.ok_or_else(|| Misfit::new("the rank is not known, so that the gradient cannot be folded"))?;
        let split = match (b.fact(x).dims(), repeats(b.fact(at.inputs[1]), rank)?) {
            (Some(dims), Some(r)) => {
                let split: Vec<i64> = (0..rank).flat_map(|a| [r[a] as i64, dims[a] as i64]).collect();
                make::ints(b, &split)
            }
            _ => {
                let (r, dims) = (make::cast(b, at.inputs[1], DType::I64)?, make::shape_of(b, x)?);
                let columns = [make::expand_dims(b, r, 1)?, make::expand_dims(b, dims, 1)?];
                let rows = make::concat(b, &columns, 1)?;
                make::reshape(b, rows, &[2 * rank as i64])?
            }
        };
        let split = make::reshape_to(b, g, split)?;
        let axes: Vec<i64> = (0..rank as i64).map(|a| 2 * a).collect();
        let summed = make::reduce_sum(b, split, &axes, false)?;
        Ok(vec![Some(make::reshape_like(b, summed, x)?), None])
    }
}

fn examples() -> Vec<Example> {
    let x = Tensor::from_slice(&[2, 2], &[1.0f64, 2.0, 3.0, 4.0]);
    let want = [1.0f64, 2.0, 1.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0, 4.0, 3.0, 4.0].repeat(2);
    debug_assert_eq!(shape::element_count(&[4, 6]), Some(want.len()));
    vec![Example {
        op: Arc::new(Tile),
        inputs: vec![x, Tensor::from_slice(&[2], &[2i32, 3])],
        outputs: Some(vec![Tensor::from_slice(&[4, 6], &want)]),
    }]
}
