//! `transpose`: dimensions in another order.

use std::sync::Arc;

use crate::ops::make;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Fact, PartialShape, Tensor, shape};

use super::copy::{StridedCopy, copy_kernel, steps};
use super::{data_flow, shape_operand};

pub static INFO: OpInfo = OpInfo {
    name: "transpose",
    family: "shape",
    summary: "Dimensions in another order",
    formula: "inputs: x, perm; dimension i of y is dimension perm[i] of x",
    examples,
};

/// Inputs: values, permutation (integers).
#[derive(Clone, Debug)]
pub struct Transpose;

fn permutation(perm: &Fact, rank: usize) -> Result<Option<Vec<usize>>, Misfit> {
    let Some(given) = perm.ints() else { return Ok(None) };
    let axes: Option<Vec<usize>> = given.iter().map(|&a| shape::normalize_axis(a, rank)).collect();
    let mut seen = vec![false; rank];
    match axes {
        Some(axes) if axes.len() == rank && axes.iter().all(|&a| !std::mem::replace(&mut seen[a], true)) => {
            Ok(Some(axes))
        }
        _ => Err(Misfit(format!("{given:?} is no permutation of {rank} dimensions"))),
    }
}

impl Op for Transpose {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        let (x, perm) = (inputs[0], inputs[1]);
        let rank = x.rank().or_else(|| perm.shape.dim(0));
        let shape = match (x.shape.partial(), rank) {
            (Some(dims), _) => match permutation(perm, dims.len())? {
                Some(axes) => PartialShape::from_partial(axes.iter().map(|&a| dims[a])),
                None => PartialShape::of_rank(dims.len()),
            },
            (None, Some(rank)) => PartialShape::of_rank(rank),
            (None, None) => PartialShape::unknown(),
        };
        Ok(vec![Fact::new(x.dtype, shape)])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let x = inputs[0];
        let dims = x.dims().ok_or_else(|| Misfit::new("the shape is not known"))?;
        let axes = permutation(inputs[1], dims.len())?.ok_or_else(|| Misfit::new("the permutation is not known"))?;
        // Only dimensions of 1 change places: the elements stay where they are.
        let real: Vec<usize> = axes.iter().copied().filter(|&a| dims[a] != 1).collect();
        if real.is_sorted() {
            return Ok(Kernel::alias());
        }
        let from = steps(&dims);
        let source: Vec<isize> = axes.iter().map(|&a| from[a]).collect();
        let out = outputs[0].dims().ok_or_else(|| Misfit::new("the shape is not known"))?;
        copy_kernel(StridedCopy::new(&out, &source, &steps(&out)), x.dtype)
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
        let perm = at.inputs[1];
        let back = match b.fact(perm).ints() {
            Some(given) => {
                let axes = permutation(b.fact(perm), given.len())?.unwrap_or_default();
                let mut back = vec![0i64; axes.len()];
                for (i, &a) in axes.iter().enumerate() {
                    back[a] = i as i64;
                }
                make::ints(b, &back)
            }
            None => inverse(b, perm)?,
        };
        Ok(vec![Some(b.op(Transpose, &[g, back])?), None])
    }
}

/// The inverse of a permutation that is known only when running: `y[perm[i]] = i`.
pub fn inverse(b: &mut Builder, perm: Value) -> Result<Value, Misfit> {
    use crate::ops::index::{Range, ScatterFn, ScatterNd};
    let n = make::shape_of(b, perm)?;
    let n = super::squeeze(b, n, Some(&[0]))?;
    let dtype = b.fact(perm).dtype;
    let n = make::cast(b, n, dtype)?;
    let (zero, one) = (make::scalar(b, dtype, 0.0), make::scalar(b, dtype, 1.0));
    let positions = b.op(Range, &[zero, n, one])?;
    let base = make::zeros_like(b, positions)?;
    let at = make::expand_dims(b, perm, -1)?;
    let at = make::cast(b, at, DType::I64)?;
    b.op(ScatterNd { f: ScatterFn::Update }, &[base, at, positions])
}

fn examples() -> Vec<Example> {
    let x: Vec<f64> = (0..24).map(f64::from).collect();
    let x = Tensor::from_slice(&[2, 3, 4], &x);
    let perm = Tensor::from_slice(&[3], &[2i32, 0, 1]);
    let want: Vec<f64> =
        (0..4).flat_map(|k| (0..2).flat_map(move |i| (0..3).map(move |j| f64::from(i * 12 + j * 4 + k)))).collect();
    vec![Example {
        op: Arc::new(Transpose),
        inputs: vec![x, perm],
        outputs: Some(vec![Tensor::from_slice(&[4, 2, 3], &want)]),
    }]
}
