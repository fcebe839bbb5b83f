//! `gather_elements` and `scatter_elements`: one position per element along an axis.

use std::sync::Arc;

use crate::ops::make;
use crate::ops::shape::copy::movable;
use crate::ops::shape::{data_flow, shape_operand};
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Dims, Fact, Tensor, shape};

use super::{Combine, Indices, ScatterFn, byte_span, for_storage};

pub static GATHER: OpInfo = OpInfo {
    name: "gather_elements",
    family: "index",
    summary: "One element per position along an axis",
    formula: "inputs: x, positions; y[…, j, …] = x[…, positions[…, j, …], …]",
    examples: gather_examples,
};

pub static SCATTER: OpInfo = OpInfo {
    name: "scatter_elements",
    family: "index",
    summary: "Writes or combines one element per position along an axis",
    formula: "inputs: base, positions, updates; y = base, then y[…, positions[…, j, …], …] ∘= updates[…, j, …]",
    examples: scatter_examples,
};

/// Inputs: values, positions (integers, of the values' rank).
#[derive(Clone, Debug)]
pub struct GatherElements {
    pub axis: i64,
}

/// Inputs: base values, positions (integers), updates of the positions' shape.
#[derive(Clone, Debug)]
pub struct ScatterElements {
    pub axis: i64,
    pub f: ScatterFn,
}

/// How a small array of positions lies in a larger value.
#[derive(Clone, Debug)]
struct Grid {
    at: Dims,
    strides: Dims,
    axis: usize,
    n: usize,
}

impl Grid {
    fn new(x: &[usize], at: &[usize], axis: i64) -> Result<Self, Misfit> {
        let axis = shape::normalize_axis(axis, x.len())
            .ok_or_else(|| Misfit(format!("axis {axis} is outside rank {}", x.len())))?;
        if at.len() != x.len() || (0..x.len()).any(|a| a != axis && at[a] > x[a]) {
            return Err(Misfit(format!("positions {at:?} in {x:?}")));
        }
        Ok(Self { at: at.into(), strides: shape::strides(x), axis, n: x[axis] })
    }

    /// Calls `f(index of the position, element of the value)`; the element is `None` where the position is outside.
    fn each(&self, at: Indices<'_>, mut f: impl FnMut(usize, Option<usize>)) {
        let rank = self.at.len();
        let mut index: Dims = Dims::from_elem(0, rank);
        for i in 0..at.len() {
            let rest: usize = (0..rank).filter(|&a| a != self.axis).map(|a| index[a] * self.strides[a]).sum();
            f(i, at.within(i, self.n).map(|k| rest + k * self.strides[self.axis]));
            for a in (0..rank).rev() {
                index[a] += 1;
                if index[a] < self.at[a] {
                    break;
                }
                index[a] = 0;
            }
        }
    }
}

fn check(x: &Fact, at: &Fact, axis: i64) -> Result<(), Misfit> {
    Indices::check(at.dtype)?;
    match (x.dims(), at.dims()) {
        (Some(x), Some(at)) => Grid::new(&x, &at, axis).map(|_| ()),
        _ => Ok(()),
    }
}

impl Op for GatherElements {
    fn info(&self) -> &'static OpInfo {
        &GATHER
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        check(inputs[0], inputs[1], self.axis)?;
        Ok(vec![Fact::new(inputs[0].dtype, inputs[1].shape.clone())])
    }

    fn kernel(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let known = || Misfit::new("the shape is not known");
        movable(inputs[0].dtype)?;
        let grid = Grid::new(&inputs[0].dims().ok_or_else(known)?, &inputs[1].dims().ok_or_else(known)?, self.axis)?;
        let size = inputs[0].dtype.size();
        Ok(Kernel::compute(move |call| {
            let x = call.inputs[0].bytes();
            let at = Indices::of(&call.inputs[1]);
            let y = call.outputs[0].bytes();
            grid.each(at, |i, element| {
                let y = &mut y[byte_span(i..i + 1, size)];
                match element {
                    Some(e) => y.copy_from_slice(&x[byte_span(e..e + 1, size)]),
                    None => y.fill(0),
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
        let op = ScatterElements { axis: self.axis, f: ScatterFn::Add };
        Ok(vec![Some(b.op(op, &[base, at.inputs[1], g])?), None])
    }
}

impl Op for ScatterElements {
    fn info(&self) -> &'static OpInfo {
        &SCATTER
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 3)?;
        let (base, at, updates) = (inputs[0], inputs[1], inputs[2]);
        check(base, at, self.axis)?;
        if base.dtype != updates.dtype && base.dtype != DType::Unknown && updates.dtype != DType::Unknown {
            return Err(Misfit(format!("element types differ: {} and {}", base.dtype, updates.dtype)));
        }
        if at.shape.merge(&updates.shape).is_none() {
            return Err(Misfit(format!("updates {} for positions {}", updates.shape, at.shape)));
        }
        Ok(vec![Fact::new(base.dtype, base.shape.clone())])
    }

    fn kernel(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let known = || Misfit::new("the shape is not known");
        let grid = Grid::new(&inputs[0].dims().ok_or_else(known)?, &inputs[1].dims().ok_or_else(known)?, self.axis)?;
        let f = self.f;
        for_storage!(inputs[0].dtype, T => scatter::<T>(grid, f))
    }

    fn flow(&self, input: usize, inputs: &[&Fact]) -> Flow {
        match (input, self.f) {
            (1, _) => shape_operand(),
            (_, ScatterFn::Mul | ScatterFn::Max | ScatterFn::Min) if !inputs[0].dtype.is_exact() => {
                Flow::Blocked(format!("scattering elements with {:?} has no gradient rule", self.f))
            }
            _ => data_flow(inputs[0]),
        }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(g) = out_grads[0] else { return Ok(vec![None; 3]) };
        let mut out = vec![None; 3];
        let picked = b.op(GatherElements { axis: self.axis }, &[g, at.inputs[1]])?;
        match self.f {
            ScatterFn::Update => {
                if wanted[0] {
                    let zeros = make::zeros_like(b, at.inputs[2])?;
                    out[0] = Some(b.op(self.clone(), &[g, at.inputs[1], zeros])?);
                }
                out[2] = Some(picked);
            }
            ScatterFn::Add => {
                out[0] = Some(g);
                out[2] = Some(picked);
            }
            ScatterFn::Sub => {
                out[0] = Some(g);
                out[2] = Some(make::neg(b, picked)?);
            }
            ScatterFn::Mul | ScatterFn::Max | ScatterFn::Min => {}
        }
        Ok(out)
    }
}

fn scatter<T: Combine>(grid: Grid, f: ScatterFn) -> Kernel {
    Kernel::compute(move |call| {
        if !call.aliased(0, 0) {
            let base = call.inputs[0].bytes();
            call.outputs[0].bytes().copy_from_slice(base);
        }
        let at = Indices::of(&call.inputs[1]);
        let updates = call.input::<T>(2);
        let y = call.output::<T>(0);
        grid.each(at, |i, element| {
            if let Some(e) = element {
                y[e] = y[e].combine(f, updates[i]);
            }
        });
    })
    .in_place(&[(0, 0)])
}

fn gather_examples() -> Vec<Example> {
    let x = Tensor::from_slice(&[2, 3], &[1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0]);
    vec![Example {
        op: Arc::new(GatherElements { axis: 1 }),
        inputs: vec![x, Tensor::from_slice(&[2, 2], &[2i64, 0, 1, 1])],
        outputs: Some(vec![Tensor::from_slice(&[2, 2], &[3.0f64, 1.0, 5.0, 5.0])]),
    }]
}

fn scatter_examples() -> Vec<Example> {
    let base = Tensor::from_slice(&[2, 3], &[1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let positions = Tensor::from_slice(&[2, 2], &[2i64, 0, 1, 0]);
    let updates = Tensor::from_slice(&[2, 2], &[10.0f64, 20.0, 30.0, 40.0]);
    let case = |f, want: &[f64]| Example {
        op: Arc::new(ScatterElements { axis: 1, f }),
        inputs: vec![base.clone(), positions.clone(), updates.clone()],
        outputs: Some(vec![Tensor::from_slice(&[2, 3], want)]),
    };
    vec![
        case(ScatterFn::Update, &[20.0, 2.0, 10.0, 40.0, 30.0, 6.0]),
        case(ScatterFn::Add, &[21.0, 2.0, 13.0, 44.0, 35.0, 6.0]),
        case(ScatterFn::Mul, &[20.0, 2.0, 30.0, 160.0, 150.0, 6.0]),
    ]
}
