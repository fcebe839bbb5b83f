//! `slice`: a box of a value.

use std::sync::Arc;

use crate::ops::make;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Fact, PartialShape, Tensor};

use super::copy::{StridedCopy, copy_kernel, steps};
use super::pad::{Pad, PadMode};
use super::{data_flow, shape_operand};

pub static INFO: OpInfo = OpInfo {
    name: "slice",
    family: "shape",
    summary: "A box of a value",
    formula: "inputs: x, begin, size; a size of -1 reaches to the end",
    examples,
};

/// Inputs: values, begin, size (integers, one per dimension).
#[derive(Clone, Debug)]
pub struct Slice;

impl Op for Slice {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 3)?;
        let x = inputs[0];
        let (begin, size) = (inputs[1].ints(), inputs[2].ints());
        let rank = x.rank().or(inputs[1].shape.dim(0)).or(inputs[2].shape.dim(0));
        let Some(rank) = rank else { return Ok(vec![Fact::new(x.dtype, PartialShape::unknown())]) };
        if begin.as_ref().is_some_and(|v| v.len() != rank) || size.as_ref().is_some_and(|v| v.len() != rank) {
            return Err(Misfit(format!("begin and size need {rank} entries, one per dimension")));
        }
        let mut out = Vec::with_capacity(rank);
        for a in 0..rank {
            let (at, n) = (begin.as_ref().map(|v| v[a]), size.as_ref().map(|v| v[a]));
            out.push(extent(x.shape.dim(a), at, n).map_err(|m| Misfit(format!("dimension {a}: {m}")))?);
        }
        Ok(vec![Fact::new(x.dtype, PartialShape::from_partial(out))])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let known = || Misfit::new("the shape or position is not known");
        let from = inputs[0].dims().ok_or_else(known)?;
        let out = outputs[0].dims().ok_or_else(known)?;
        if from == out {
            return Ok(Kernel::alias());
        }
        let begin = inputs[1].ints().ok_or_else(known)?;
        let strides = steps(&from);
        let start = begin.iter().zip(&strides).map(|(&b, &s)| b as isize * s).sum();
        copy_kernel(StridedCopy::new(&out, &strides, &steps(&out)).from(start, 0), inputs[0].dtype)
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
        let Some(g) = out_grads[0] else { return Ok(vec![None, None, None]) };
        let known = (b.fact(at.inputs[0]).dims(), b.fact(at.inputs[1]).ints(), b.fact(at.outputs[0]).dims());
        let back = if let (Some(x), Some(begin), Some(y)) = known {
            let paddings: Vec<(i64, i64)> =
                (0..x.len()).map(|a| (begin[a], x[a] as i64 - begin[a] - y[a] as i64)).collect();
            make::pad(b, g, &paddings)?
        } else {
            let begin = make::cast(b, at.inputs[1], DType::I64)?;
            let whole = make::shape_of(b, at.inputs[0])?;
            let part = make::shape_of(b, g)?;
            let after = make::sub(b, whole, begin)?;
            let after = make::sub(b, after, part)?;
            let columns = [make::expand_dims(b, begin, 1)?, make::expand_dims(b, after, 1)?];
            let paddings = make::concat(b, &columns, 1)?;
            let zero = make::scalar_like(b, g, 0.0);
            b.op(Pad { mode: PadMode::Constant }, &[g, paddings, zero])?
        };
        Ok(vec![Some(back), None, None])
    }
}

/// The size of one dimension of the box, where known.
fn extent(whole: Option<usize>, begin: Option<i64>, size: Option<i64>) -> Result<Option<usize>, Misfit> {
    if begin.is_some_and(|b| b < 0) || size.is_some_and(|s| s < -1) {
        return Err(Misfit(format!("begin {begin:?} or size {size:?} is negative")));
    }
    if let (Some(w), Some(b)) = (whole, begin)
        && (b as u64 > w as u64 || size.is_some_and(|s| s >= 0 && b as u64 + s as u64 > w as u64))
    {
        return Err(Misfit(format!("begin {b} and size {} leave the {w} elements", size.unwrap_or(-1))));
    }
    Ok(match (whole, begin, size) {
        (_, _, Some(s)) if s >= 0 => usize::try_from(s).ok(),
        (Some(w), Some(b), Some(_)) => Some(w - b as usize),
        _ => None,
    })
}

fn examples() -> Vec<Example> {
    let x = Tensor::from_slice(&[2, 3], &[1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let case = |begin: [i32; 2], size: [i32; 2], want: Tensor| Example {
        op: Arc::new(Slice),
        inputs: vec![x.clone(), Tensor::from_slice(&[2], &begin), Tensor::from_slice(&[2], &size)],
        outputs: Some(vec![want]),
    };
    vec![
        case([0, 1], [2, -1], Tensor::from_slice(&[2, 2], &[2.0f64, 3.0, 5.0, 6.0])),
        case([1, 0], [1, 2], Tensor::from_slice(&[1, 2], &[4.0f64, 5.0])),
        case([2, 0], [0, 3], Tensor::zeros(DType::F64, &[0, 3])),
    ]
}
