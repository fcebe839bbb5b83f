//! `append`: one more entry behind those collected so far, as loops collect their results.

use std::sync::Arc;

use crate::ops::index::Gather;
use crate::ops::make;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Fact, PartialShape, Tensor};

use super::copy::movable;
use super::{ShapeOf, Slice, data_flow};

pub static INFO: OpInfo = OpInfo {
    name: "append",
    family: "shape",
    summary: "One more entry behind those collected so far",
    formula: "inputs: collected [n, …], entry […]; y [n + 1, …]. A collection without elements may have any shape",
    examples,
};

/// Inputs: what was collected, the new entry.
#[derive(Clone, Debug)]
pub struct Append;

impl Op for Append {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        let (all, entry) = (inputs[0], inputs[1]);
        if all.dtype != entry.dtype && all.dtype != DType::Unknown && entry.dtype != DType::Unknown {
            return Err(Misfit(format!("element types differ: {} and {}", all.dtype, entry.dtype)));
        }
        let dtype = if entry.dtype == DType::Unknown { all.dtype } else { entry.dtype };
        let Some(entry) = entry.shape.partial() else { return Ok(vec![Fact::new(dtype, PartialShape::unknown())]) };
        let collected = all.shape.partial();
        // A first dimension of 0 is the start; what else the shape says does not matter then.
        let n = collected.and_then(|d| d.first().copied().flatten());
        if let (Some(n), Some(d)) = (n, collected)
            && n > 0
            && (d.len() != entry.len() + 1
                || d[1..].iter().zip(entry).any(|(a, b)| a.is_some() && b.is_some() && a != b))
        {
            return Err(Misfit(format!("an entry {} behind {}", inputs[1].shape, all.shape)));
        }
        let dims = std::iter::once(n.map(|n| n + 1)).chain(entry.iter().copied());
        Ok(vec![Fact::new(dtype, PartialShape::from_partial(dims))])
    }

    fn kernel(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        movable(inputs[1].dtype)?;
        Ok(Kernel::compute(|call| {
            let (all, entry) = (call.inputs[0].bytes(), call.inputs[1].bytes());
            let out = call.outputs[0].bytes();
            let n = out.len() - entry.len();
            out[..n].copy_from_slice(&all[..n]);
            out[n..].copy_from_slice(entry);
        }))
    }

    fn flow(&self, _input: usize, inputs: &[&Fact]) -> Flow {
        data_flow(inputs[1])
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(g) = out_grads.first().copied().flatten() else { return Ok(vec![None, None]) };
        let rank = b.fact(g).rank().ok_or_else(|| Misfit::new("the rank of what is collected is not known"))?;
        let sizes = b.op(ShapeOf { to: DType::I64 }, &[at.inputs[0]])?;
        let n = make::slice(b, sizes, &[0], &[1])?;
        let mut grads = vec![None, None];
        if wanted[0] {
            let begin = make::ints(b, &vec![0; rank]);
            let rest = make::ints(b, &vec![-1; rank - 1]);
            let size = make::concat(b, &[n, rest], 0)?;
            let first = b.op(Slice, &[g, begin, size])?;
            grads[0] = Some(make::reshape_like(b, first, at.inputs[0])?);
        }
        if wanted[1] {
            let n = make::reshape(b, n, &[])?;
            grads[1] = Some(b.op(Gather { axis: 0, batch_dims: 0 }, &[g, n])?);
        }
        Ok(grads)
    }
}

fn examples() -> Vec<Example> {
    let all = Tensor::from_slice(&[2, 2], &[1.0f64, 2.0, 3.0, 4.0]);
    let entry = Tensor::from_slice(&[2], &[5.0f64, 6.0]);
    let both = Tensor::from_slice(&[3, 2], &[1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let start = Tensor::zeros(DType::F64, &[0, 2]);
    vec![
        Example { op: Arc::new(Append), inputs: vec![all, entry.clone()], outputs: Some(vec![both]) },
        Example {
            op: Arc::new(Append),
            inputs: vec![start, entry.clone()],
            outputs: Some(vec![entry.reshaped(&[1, 2])]),
        },
    ]
}
