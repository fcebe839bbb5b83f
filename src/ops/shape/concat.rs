//! `concat`: values one after the other along an axis.

use std::sync::Arc;

use crate::ops::make;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Fact, PartialShape, Tensor, shape};

use super::copy::{StridedCopy, movable, steps};
use super::{data_flow, shape_of::ShapeOf, slice::Slice};

pub static INFO: OpInfo = OpInfo {
    name: "concat",
    family: "shape",
    summary: "Values one after the other along an axis",
    formula: "any number of inputs of one rank that agree in all other dimensions",
    examples,
};

/// See [`INFO`]; a negative axis counts from the end.
#[derive(Clone, Debug)]
pub struct Concat {
    pub axis: i64,
}

impl Op for Concat {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        let Some(first) = inputs.first() else { return Err(Misfit::new("at least one input is needed")) };
        let dtype = inputs.iter().map(|f| f.dtype).find(|d| *d != DType::Unknown).unwrap_or(first.dtype);
        if let Some(other) = inputs.iter().find(|f| f.dtype != dtype && f.dtype != DType::Unknown) {
            return Err(Misfit(format!("element types differ: {dtype} and {}", other.dtype)));
        }
        let Some(rank) = inputs.iter().find_map(|f| f.rank()) else {
            return Ok(vec![Fact::new(dtype, PartialShape::unknown())]);
        };
        let axis = shape::normalize_axis(self.axis, rank)
            .ok_or_else(|| Misfit(format!("axis {} is outside rank {rank}", self.axis)))?;
        let mut out = vec![None; rank];
        let mut total = Some(0usize);
        for fact in inputs {
            let Some(dims) = fact.shape.partial() else {
                total = None;
                continue;
            };
            if dims.len() != rank {
                return Err(Misfit(format!("ranks differ: {rank} and {}", dims.len())));
            }
            for a in (0..rank).filter(|&a| a != axis) {
                match (out[a], dims[a]) {
                    (Some(x), Some(y)) if x != y => {
                        return Err(Misfit(format!("dimension {a} differs: {x} and {y}")));
                    }
                    (None, d) => out[a] = d,
                    _ => {}
                }
            }
            total = total.and_then(|t| t.checked_add(dims[axis]?));
        }
        out[axis] = total;
        Ok(vec![Fact::new(dtype, PartialShape::from_partial(out))])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let known = || Misfit::new("the shape is not known");
        let dtype = outputs[0].dtype;
        movable(dtype)?;
        let out = outputs[0].dims().ok_or_else(known)?;
        let axis = shape::normalize_axis(self.axis, out.len()).ok_or_else(known)?;
        let target = steps(&out);
        let mut at = 0;
        let mut copies = Vec::with_capacity(inputs.len());
        for fact in inputs {
            let dims = fact.dims().ok_or_else(known)?;
            copies.push(StridedCopy::new(&dims, &steps(&dims), &target).from(0, at * target[axis]));
            at += dims[axis] as isize;
        }
        Ok(Kernel::compute(move |call| {
            for (copy, source) in copies.iter().zip(call.inputs) {
                copy.run(source, &mut call.outputs[0], dtype);
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
        let n = at.inputs.len();
        let Some(g) = out_grads[0] else { return Ok(vec![None; n]) };
        let rank = at.inputs.iter().chain([&g]).find_map(|&v| b.fact(v).rank());
        let rank = rank.ok_or_else(|| Misfit::new("the rank is not known, so that the gradient cannot be cut"))?;
        let axis = shape::normalize_axis(self.axis, rank)
            .ok_or_else(|| Misfit(format!("axis {} is outside rank {rank}", self.axis)))?;
        let sizes: Option<Vec<usize>> = at.inputs.iter().map(|&v| b.fact(v).shape.dim(axis)).collect();
        let mut out = vec![None; n];
        match sizes {
            Some(sizes) => {
                let mut start = 0;
                for (k, size) in sizes.into_iter().enumerate() {
                    if wanted[k] {
                        let (mut begin, mut count) = (vec![0i64; rank], vec![-1i64; rank]);
                        begin[axis] = start;
                        count[axis] = size as i64;
                        out[k] = Some(make::slice(b, g, &begin, &count)?);
                    }
                    start += size as i64;
                }
            }
            None => self.cut_dynamically(b, at, g, (axis, rank), wanted, &mut out)?,
        }
        Ok(out)
    }
}

impl Concat {
    /// Positions are sums of shapes that are known only when running.
    fn cut_dynamically(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        g: Value,
        (axis, rank): (usize, usize),
        wanted: &[bool],
        out: &mut [Option<Value>],
    ) -> Result<(), Misfit> {
        // Everything but the axis starts at 0.
        let mask: Vec<i64> = (0..rank).map(|a| i64::from(a == axis)).collect();
        let mask = make::ints(b, &mask);
        let mut begin = make::ints(b, &vec![0; rank]);
        for k in 0..at.inputs.len() {
            let size = b.op(ShapeOf { to: DType::I64 }, &[at.inputs[k]])?;
            if wanted[k] {
                out[k] = Some(b.op(Slice, &[g, begin, size])?);
            }
            let step = make::mul(b, size, mask)?;
            begin = make::add(b, begin, step)?;
        }
        Ok(())
    }
}

fn examples() -> Vec<Example> {
    let a = Tensor::from_slice(&[2, 1], &[1.0f64, 2.0]);
    let b = Tensor::from_slice(&[2, 2], &[3.0f64, 4.0, 5.0, 6.0]);
    let want = Tensor::from_slice(&[2, 3], &[1.0f64, 3.0, 4.0, 2.0, 5.0, 6.0]);
    vec![Example { op: Arc::new(Concat { axis: -1 }), inputs: vec![a, b], outputs: Some(vec![want]) }]
}
