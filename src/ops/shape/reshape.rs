//! `reshape`: the same elements under another shape; `expand_dims` and `squeeze` are written with it where the rank is
//! known and are ops of their own where it is not.

use std::sync::Arc;

use crate::ops::make;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{Fact, PartialShape, Tensor, shape};

use super::{data_flow, shape_operand};

pub static INFO: OpInfo = OpInfo {
    name: "reshape",
    family: "shape",
    summary: "The same elements in row-major order under another shape",
    formula: "inputs: x, shape; one entry of the shape may be -1 and takes what is left",
    examples,
};

/// Inputs: values, shape (integers, at most one -1).
#[derive(Clone, Debug)]
pub struct Reshape;

impl Op for Reshape {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        let (x, want) = (inputs[0], inputs[1]);
        Ok(vec![Fact::new(x.dtype, target_shape(x, want)?)])
    }

    fn kernel(&self, _inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        Ok(Kernel::alias())
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
        Ok(vec![Some(make::reshape_like(b, g, at.inputs[0])?), None])
    }
}

fn target_shape(x: &Fact, want: &Fact) -> Result<PartialShape, Misfit> {
    let Some(want_dims) = want.ints() else {
        // Only the length of the shape vector is known, hence the rank.
        return Ok(match want.shape.partial() {
            Some([Some(rank)]) => PartialShape::of_rank(*rank),
            Some([]) => PartialShape::of_rank(1),
            _ => PartialShape::unknown(),
        });
    };
    if want_dims.iter().any(|&d| d < -1) || want_dims.iter().filter(|&&d| d == -1).count() > 1 {
        return Err(Misfit(format!("{want_dims:?} is no shape")));
    }
    let given = || want_dims.iter().map(|&d| usize::try_from(d).ok());
    let Some(have) = x.dims() else { return Ok(PartialShape::from_partial(given())) };
    let total = shape::element_count(&have);
    let known = want_dims.iter().filter(|&&d| d >= 0).try_fold(1usize, |n, &d| n.checked_mul(d as usize));
    let (Some(total), Some(known)) = (total, known) else { return Err(Misfit::new("the shape is too large")) };
    if want_dims.contains(&-1) {
        if (known == 0 && total != 0) || (known != 0 && !total.is_multiple_of(known)) {
            return Err(Misfit(format!("{total} elements do not fill {want_dims:?}")));
        }
        let rest = total.checked_div(known).unwrap_or(0);
        return Ok(PartialShape::from_partial(given().map(|d| Some(d.unwrap_or(rest)))));
    }
    if known != total {
        return Err(Misfit(format!("{total} elements do not fill {want_dims:?}")));
    }
    Ok(PartialShape::from_partial(given()))
}

/// Inserts a dimension of 1 at `axis` of the result; an own op where the rank is not known.
pub fn expand_dims(b: &mut Builder, x: Value, axis: i64) -> Result<Value, Misfit> {
    let Some(dims) = b.fact(x).shape.partial().map(<[_]>::to_vec) else {
        return b.op(Regroup::Insert(vec![axis]), &[x]);
    };
    let at = shape::normalize_axis(axis, dims.len() + 1)
        .ok_or_else(|| Misfit(format!("axis {axis} is outside rank {}", dims.len() + 1)))?;
    let mut out = dims;
    out.insert(at, Some(1));
    regroup(b, x, &out, Regroup::Insert(vec![axis]))
}

/// Drops dimensions of 1: those at `axes`, or all.
pub fn squeeze(b: &mut Builder, x: Value, axes: Option<&[i64]>) -> Result<Value, Misfit> {
    let op = Regroup::Drop(axes.map(<[i64]>::to_vec));
    let Some(dims) = b.fact(x).shape.partial().map(<[_]>::to_vec) else { return b.op(op, &[x]) };
    let Some(dropped) = dropped(&dims, axes)? else { return b.op(op, &[x]) };
    let left: Vec<_> = (0..dims.len()).filter(|a| !dropped.contains(a)).map(|a| dims[a]).collect();
    regroup(b, x, &left, op)
}

/// A reshape where at most one dimension is unknown, else the op itself.
fn regroup(b: &mut Builder, x: Value, dims: &[Option<usize>], op: Regroup) -> Result<Value, Misfit> {
    let has_zero = dims.contains(&Some(0));
    match dims.iter().filter(|d| d.is_none()).count() {
        0 => make::reshape(b, x, &dims.iter().map(|d| d.unwrap_or(1) as i64).collect::<Vec<_>>()),
        1 if !has_zero => make::reshape(b, x, &dims.iter().map(|d| d.map_or(-1, |d| d as i64)).collect::<Vec<_>>()),
        _ => b.op(op, &[x]),
    }
}

/// The axes to drop; `None` where that depends on dimensions that are not known.
fn dropped(dims: &[Option<usize>], axes: Option<&[i64]>) -> Result<Option<Vec<usize>>, Misfit> {
    let Some(axes) = axes else {
        if dims.iter().any(Option::is_none) {
            return Ok(None);
        }
        return Ok(Some((0..dims.len()).filter(|&a| dims[a] == Some(1)).collect()));
    };
    let mut out = Vec::new();
    for &axis in axes {
        let a = shape::normalize_axis(axis, dims.len())
            .ok_or_else(|| Misfit(format!("axis {axis} is outside rank {}", dims.len())))?;
        if dims[a].is_some_and(|d| d != 1) {
            return Err(Misfit(format!("dimension {a} is {} and cannot be dropped", dims[a].unwrap_or(0))));
        }
        out.push(a);
    }
    Ok(Some(out))
}

pub static REGROUP: OpInfo = OpInfo {
    name: "regroup",
    family: "shape",
    summary: "Inserts or drops dimensions of 1 where the shape is not known yet",
    formula: "the same elements; becomes a reshape as soon as shapes are known",
    examples: || {
        let x = Tensor::from_slice(&[1, 3, 1], &[1.0f64, 2.0, 3.0]);
        vec![
            Example {
                op: Arc::new(Regroup::Drop(None)),
                inputs: vec![x.clone()],
                outputs: Some(vec![x.reshaped(&[3])]),
            },
            Example {
                op: Arc::new(Regroup::Insert(vec![-1])),
                inputs: vec![x.clone()],
                outputs: Some(vec![x.reshaped(&[1, 3, 1, 1])]),
            },
        ]
    },
};

/// See [`REGROUP`].
#[derive(Clone, Debug)]
pub enum Regroup {
    /// Positions in the result; negative ones count from its end.
    Insert(Vec<i64>),
    /// Positions in the input, or every dimension of 1.
    Drop(Option<Vec<i64>>),
}

impl Op for Regroup {
    fn info(&self) -> &'static OpInfo {
        &REGROUP
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 1)?;
        let x = inputs[0];
        let Some(dims) = x.shape.partial() else { return Ok(vec![Fact::new(x.dtype, PartialShape::unknown())]) };
        let out = match self {
            Self::Insert(axes) => {
                let mut out = dims.to_vec();
                for &axis in axes {
                    let at = shape::normalize_axis(axis, out.len() + 1)
                        .ok_or_else(|| Misfit(format!("axis {axis} is outside rank {}", out.len() + 1)))?;
                    out.insert(at, Some(1));
                }
                PartialShape::from_partial(out)
            }
            Self::Drop(axes) => match dropped(dims, axes.as_deref())? {
                None => PartialShape::unknown(),
                Some(gone) => {
                    PartialShape::from_partial((0..dims.len()).filter(|a| !gone.contains(a)).map(|a| dims[a]))
                }
            },
        };
        Ok(vec![Fact::new(x.dtype, out)])
    }

    fn kernel(&self, _inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        Ok(Kernel::alias())
    }

    fn flow(&self, _input: usize, inputs: &[&Fact]) -> Flow {
        data_flow(inputs[0])
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(g) = out_grads[0] else { return Ok(vec![None]) };
        Ok(vec![Some(make::reshape_like(b, g, at.inputs[0])?)])
    }
}

fn examples() -> Vec<Example> {
    let x = Tensor::from_slice(&[2, 3], &[1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let shape = Tensor::from_slice(&[2], &[3i32, -1]);
    let want = x.reshaped(&[3, 2]);
    vec![Example { op: Arc::new(Reshape), inputs: vec![x, shape], outputs: Some(vec![want]) }]
}
