//! A band of matrices, zero elsewhere: triangles, diagonals.

use std::sync::Arc;

use super::positive;
use crate::ops::linalg::dims;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value, View};
use crate::tensor::{DType, Fact, Tensor};

pub static INFO: OpInfo = OpInfo {
    name: "band_part",
    family: "linalg",
    summary: "Keeps a band around the diagonal of each matrix",
    formula: "y[i, j] = x[i, j] where (lower < 0 or i − j ≤ lower) and (upper < 0 or j − i ≤ upper), else 0.",
    examples,
};

/// Inputs `x [.., m, n]`, `lower`, `upper` (integer scalars; negative = everything on that side); output as `x`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BandPart;

fn scalar(v: &View<'_>) -> i64 {
    match v.dtype() {
        DType::I32 => v.slice::<i32>().first().map_or(-1, |&n| i64::from(n)),
        DType::I64 => v.slice::<i64>().first().copied().unwrap_or(-1),
        _ => -1,
    }
}

impl Op for BandPart {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 3)?;
        if inputs[0].rank().is_some_and(|r| r < 2) {
            return Err(Misfit(format!("expected matrices, found shape {}", inputs[0].shape)));
        }
        if inputs[1..].iter().any(|f| !matches!(f.dtype, DType::I32 | DType::I64 | DType::Unknown)) {
            return Err(Misfit::new("the widths of a band are int32 or int64"));
        }
        Ok(vec![Fact::new(inputs[0].dtype, inputs[0].shape.clone())])
    }

    fn kernel(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let x = dims(inputs[0])?;
        let (m, n) = (x[x.len() - 2].max(1), x[x.len() - 1].max(1));
        let size = inputs[0].dtype.size();
        if size == 0 {
            return Err(Misfit(format!("there are no bands of {}", inputs[0].dtype)));
        }
        Ok(Kernel::compute(move |call| {
            let (lower, upper) = (scalar(&call.inputs[1]), scalar(&call.inputs[2]));
            let x = call.inputs[0].bytes();
            let y = call.outputs[0].bytes();
            y.fill(0);
            for (row, (x, y)) in x.chunks_exact(n * size).zip(y.chunks_exact_mut(n * size)).enumerate() {
                let i = (row % m) as i64;
                let first = if lower < 0 { 0 } else { i.saturating_sub(lower).clamp(0, n as i64) } as usize;
                let end =
                    if upper < 0 { n } else { i.saturating_add(upper).saturating_add(1).clamp(0, n as i64) as usize };
                if first < end {
                    y[first * size..end * size].copy_from_slice(&x[first * size..end * size]);
                }
            }
        }))
    }

    fn flow(&self, input: usize, inputs: &[&Fact]) -> Flow {
        match input {
            0 if inputs[0].dtype.is_exact() => Flow::Zero("integers and booleans have no gradient"),
            0 => Flow::Flows,
            _ => Flow::Zero("the width of a band carries no gradient"),
        }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(g) = out_grads[0] else { return Ok(vec![None, None, None]) };
        Ok(vec![Some(b.op(*self, &[g, at.inputs[1], at.inputs[2]])?), None, None])
    }
}

fn examples() -> Vec<Example> {
    let case = |x, lower: i64, upper: i64, y| Example {
        op: Arc::new(BandPart),
        inputs: vec![x, Tensor::scalar(lower), Tensor::scalar(upper)],
        outputs: y,
    };
    let x = || Tensor::from_slice(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    vec![
        case(x(), 0, -1, Some(vec![Tensor::from_slice(&[2, 3], &[1.0, 2.0, 3.0, 0.0, 5.0, 6.0])])),
        case(x(), -1, 0, Some(vec![Tensor::from_slice(&[2, 3], &[1.0, 0.0, 0.0, 4.0, 5.0, 0.0])])),
        case(positive(2, 4), 1, 0, None),
    ]
}
