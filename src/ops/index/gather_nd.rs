//! `gather_nd`: slices at positions with several coordinates.

use std::sync::Arc;

use crate::ops::make;
use crate::ops::shape::copy::movable;
use crate::ops::shape::{data_flow, shape_operand};
use crate::ops::simd::{Shared, parallel};
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{Fact, PartialShape, Tensor, shape};

use super::{Indices, ScatterFn, ScatterNd, byte_span};

pub static INFO: OpInfo = OpInfo {
    name: "gather_nd",
    family: "index",
    summary: "Slices at positions with several coordinates",
    formula: "inputs: x, positions [p…, k]; y[p…, i…] = x[positions[p…], i…]",
    examples,
};

/// Inputs: values, positions (integers; the last dimension holds coordinates).
#[derive(Clone, Debug)]
pub struct GatherNd;

/// Element offset of a position's slice in a value of shape `dims`, whose slices have `inner` elements.
pub(super) fn slice_at(at: Indices<'_>, row: usize, depth: usize, dims: &[usize]) -> Option<usize> {
    let mut offset = 0;
    for (c, &d) in dims[..depth].iter().enumerate() {
        offset = offset * d + at.within(row * depth + c, d)?;
    }
    Some(offset)
}

impl Op for GatherNd {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        let (x, at) = (inputs[0], inputs[1]);
        Indices::check(at.dtype)?;
        let (Some(dims), Some(positions)) = (x.shape.partial(), at.shape.partial()) else {
            return Ok(vec![Fact::new(x.dtype, PartialShape::unknown())]);
        };
        let Some((depth, lead)) = positions.split_last() else {
            return Err(Misfit::new("positions need a dimension of coordinates"));
        };
        let Some(depth) = depth else { return Ok(vec![Fact::new(x.dtype, PartialShape::unknown())]) };
        if *depth > dims.len() {
            return Err(Misfit(format!("{depth} coordinates for rank {}", dims.len())));
        }
        let out = lead.iter().chain(&dims[*depth..]).copied();
        Ok(vec![Fact::new(x.dtype, PartialShape::from_partial(out))])
    }

    fn kernel(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let known = || Misfit::new("the shape is not known");
        movable(inputs[0].dtype)?;
        let (x, at) = (inputs[0].dims().ok_or_else(known)?, inputs[1].dims().ok_or_else(known)?);
        let depth = at.last().copied().unwrap_or(0);
        let rows: usize = at[..at.len() - 1].iter().product();
        let inner = shape::element_count(&x[depth..]).ok_or_else(known)?;
        let size = inputs[0].dtype.size();
        Ok(Kernel::compute(move |call| {
            let source = call.inputs[0].bytes();
            let at = Indices::of(&call.inputs[1]);
            let y = Shared::new(call.outputs[0].bytes().as_mut_ptr());
            parallel(rows, inner + depth, |range| {
                for r in range {
                    // SAFETY: each row of the output has one task.
                    #[allow(unsafe_code)]
                    let y = unsafe { y.at(byte_span(r * inner..(r + 1) * inner, size)) };
                    match slice_at(at, r, depth, &x) {
                        Some(k) => y.copy_from_slice(&source[byte_span(k * inner..(k + 1) * inner, size)]),
                        None => y.fill(0),
                    }
                }
            });
        }))
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
        let base = make::zeros_like(b, at.inputs[0])?;
        let dx = b.op(ScatterNd { f: ScatterFn::Add }, &[base, at.inputs[1], g])?;
        Ok(vec![Some(dx), None])
    }
}

fn examples() -> Vec<Example> {
    let x = Tensor::from_slice(&[2, 3], &[1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let case = |positions: Tensor, want: Tensor| Example {
        op: Arc::new(GatherNd),
        inputs: vec![x.clone(), positions],
        outputs: Some(vec![want]),
    };
    vec![
        case(Tensor::from_slice(&[2, 2], &[1i32, 2, 0, -2]), Tensor::from_slice(&[2], &[6.0f64, 2.0])),
        case(Tensor::from_slice(&[1, 1], &[1i64]), Tensor::from_slice(&[1, 3], &[4.0f64, 5.0, 6.0])),
    ]
}
