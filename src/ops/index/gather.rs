//! `gather`: slices of a value at positions along an axis (embedding lookup), and its gradient, which adds slices up.

use std::sync::Arc;

use crate::ops::make;
use crate::ops::shape::copy::movable;
use crate::ops::shape::{data_flow, shape_operand};
use crate::ops::simd::{Shared, parallel, parallel_grain};
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Fact, PartialShape, Tensor, shape};

use super::{Combine, Indices, ScatterFn, byte_span, for_storage};

pub static INFO: OpInfo = OpInfo {
    name: "gather",
    family: "index",
    summary: "Slices of a value at positions along an axis (embedding lookup)",
    formula: "inputs: x, positions; y[b…, o…, p…, i…] = x[b…, o…, positions[b…, p…], i…] with `batch_dims` leading b",
    examples,
};

pub static GRADIENT: OpInfo = OpInfo {
    name: "gather_gradient",
    family: "index",
    summary: "Adds slices up at the positions that gather read",
    formula: "inputs: g, positions, shape of x; dense, zeros where nothing was read",
    examples: gradient_examples,
};

/// Inputs: values, positions (integers). The axis may be negative.
#[derive(Clone, Debug)]
pub struct Gather {
    pub axis: i64,
    pub batch_dims: usize,
}

/// Inputs: gradient of what was gathered, positions, shape of the source (integers).
#[derive(Clone, Debug)]
pub struct GatherGradient {
    pub axis: i64,
    pub batch_dims: usize,
}

/// Sizes of a gather: `[batch, outer, n, inner]` at `[batch, picks]`.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    batch: usize,
    outer: usize,
    n: usize,
    inner: usize,
    picks: usize,
}

impl Sizes {
    fn new(x: &[usize], positions: &[usize], axis: i64, batch_dims: usize) -> Result<Self, Misfit> {
        let axis = axis_of(axis, x.len(), batch_dims)?;
        let product = |d: &[usize]| d.iter().product();
        Ok(Self {
            batch: product(&x[..batch_dims]),
            outer: product(&x[batch_dims..axis]),
            n: x[axis],
            inner: product(&x[axis + 1..]),
            picks: product(positions.get(batch_dims..).unwrap_or_default()),
        })
    }

    fn rows(self) -> usize {
        self.batch * self.outer * self.picks
    }

    /// For row `r` of the output: its slice of the source, and the index of its position.
    fn locate(self, r: usize) -> (usize, usize) {
        let (pick, rest) = (r % self.picks, r / self.picks);
        let batch = rest / self.outer.max(1);
        (rest, batch * self.picks + pick)
    }
}

fn axis_of(axis: i64, rank: usize, batch_dims: usize) -> Result<usize, Misfit> {
    shape::normalize_axis(axis, rank)
        .filter(|&a| a >= batch_dims)
        .ok_or_else(|| Misfit(format!("axis {axis} is outside rank {rank} with {batch_dims} batch dimensions")))
}

impl Op for Gather {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        let (x, positions) = (inputs[0], inputs[1]);
        Indices::check(positions.dtype)?;
        let (Some(dims), Some(at)) = (x.shape.partial(), positions.shape.partial()) else {
            return Ok(vec![Fact::new(x.dtype, PartialShape::unknown())]);
        };
        let axis = axis_of(self.axis, dims.len(), self.batch_dims)?;
        if at.len() < self.batch_dims {
            return Err(Misfit(format!("positions {} lack {} batch dimensions", positions.shape, self.batch_dims)));
        }
        let mut out = Vec::with_capacity(dims.len() + at.len());
        for b in 0..self.batch_dims {
            match (dims[b], at[b]) {
                (Some(x), Some(y)) if x != y => {
                    return Err(Misfit(format!("batch dimension {b} differs: {x} and {y}")));
                }
                (x, y) => out.push(x.or(y)),
            }
        }
        out.extend(&dims[self.batch_dims..axis]);
        out.extend(&at[self.batch_dims..]);
        out.extend(&dims[axis + 1..]);
        Ok(vec![Fact::new(x.dtype, PartialShape::from_partial(out))])
    }

    fn kernel(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let known = || Misfit::new("the shape is not known");
        movable(inputs[0].dtype)?;
        let (x, at) = (inputs[0].dims().ok_or_else(known)?, inputs[1].dims().ok_or_else(known)?);
        let s = Sizes::new(&x, &at, self.axis, self.batch_dims)?;
        let size = inputs[0].dtype.size();
        let width = s.inner * size;
        Ok(Kernel::compute(move |call| {
            let x = call.inputs[0].bytes();
            let at = Indices::of(&call.inputs[1]);
            let y = Shared::new(call.outputs[0].bytes().as_mut_ptr());
            parallel(s.rows(), s.inner.div_ceil(2), |range| {
                for r in range {
                    let (slice, position) = s.locate(r);
                    // SAFETY: each row of the output has one task.
                    #[allow(unsafe_code)]
                    let y = unsafe { y.at(r * width..(r + 1) * width) };
                    match at.within(position, s.n) {
                        Some(k) => {
                            let from = (slice * s.n + k) * s.inner;
                            y.copy_from_slice(&x[byte_span(from..from + s.inner, size)]);
                        }
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
        let shape = make::shape_of(b, at.inputs[0])?;
        let op = GatherGradient { axis: self.axis, batch_dims: self.batch_dims };
        Ok(vec![Some(b.op(op, &[g, at.inputs[1], shape])?), None])
    }
}

impl Op for GatherGradient {
    fn info(&self) -> &'static OpInfo {
        &GRADIENT
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 3)?;
        Indices::check(inputs[1].dtype)?;
        let shape = match (inputs[2].ints(), inputs[2].shape.dim(0)) {
            (Some(dims), _) => PartialShape::from_partial(dims.iter().map(|&d| usize::try_from(d).ok())),
            (None, Some(rank)) => PartialShape::of_rank(rank),
            _ => PartialShape::unknown(),
        };
        Ok(vec![Fact::new(inputs[0].dtype, shape)])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let known = || Misfit::new("the shape is not known");
        let (out, at) = (outputs[0].dims().ok_or_else(known)?, inputs[1].dims().ok_or_else(known)?);
        let s = Sizes::new(&out, &at, self.axis, self.batch_dims)?;
        if inputs[0].dims().ok_or_else(known)?.iter().product::<usize>() != s.rows() * s.inner {
            return Err(Misfit(format!("a gradient {} for positions {}", inputs[0].shape, inputs[1].shape)));
        }
        for_storage!(inputs[0].dtype, T => add_up::<T>(s))
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
        let Some(g) = out_grads[0] else { return Ok(vec![None; 3]) };
        let op = Gather { axis: self.axis, batch_dims: self.batch_dims };
        Ok(vec![Some(b.op(op, &[g, at.inputs[1]])?), None, None])
    }
}

/// Columns are split among tasks, so that rows which meet are added in the same order at any thread count.
fn add_up<T: Combine>(s: Sizes) -> Kernel {
    Kernel::compute(move |call| {
        let g = call.input::<T>(0);
        let at = Indices::of(&call.inputs[1]);
        let rows = s.rows();
        let bytes = call.outputs[0].bytes().len();
        let zeros = Shared::new(call.outputs[0].bytes().as_mut_ptr());
        // SAFETY: disjoint ranges of the output.
        #[allow(unsafe_code)]
        parallel_grain(bytes, 1 << 20, |range| unsafe { zeros.at(range) }.fill(0));
        let y = Shared::new(call.outputs[0].ptr::<T>());
        parallel(s.inner, rows, |columns| {
            for r in 0..rows {
                let (slice, position) = s.locate(r);
                let Some(k) = at.within(position, s.n) else { continue };
                let to = (slice * s.n + k) * s.inner;
                // SAFETY: each task writes its own columns.
                #[allow(unsafe_code)]
                let y = unsafe { y.at(to + columns.start..to + columns.end) };
                let from = r * s.inner;
                for (y, &v) in y.iter_mut().zip(&g[from + columns.start..from + columns.end]) {
                    *y = y.combine(ScatterFn::Add, v);
                }
            }
        });
    })
}

fn examples() -> Vec<Example> {
    let x = Tensor::from_slice(&[3, 2], &[1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let case = |axis, batch_dims, positions: Tensor, want: Tensor| Example {
        op: Arc::new(Gather { axis, batch_dims }),
        inputs: vec![x.clone(), positions],
        outputs: Some(vec![want]),
    };
    vec![
        case(0, 0, Tensor::from_slice(&[2, 1], &[2i32, 0]), Tensor::from_slice(&[2, 1, 2], &[5.0f64, 6.0, 1.0, 2.0])),
        case(-1, 0, Tensor::scalar(1i64), Tensor::from_slice(&[3], &[2.0f64, 4.0, 6.0])),
        case(1, 1, Tensor::from_slice(&[3], &[1i32, 1, 0]), Tensor::from_slice(&[3], &[2.0f64, 4.0, 5.0])),
    ]
}

fn gradient_examples() -> Vec<Example> {
    let g = Tensor::from_slice(&[3, 2], &[1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let positions = Tensor::from_slice(&[3], &[1i32, 0, 1]);
    let shape = Tensor::from_slice(&[2], &[3i64, 2]);
    let want = Tensor::from_slice(&[3, 2], &[3.0f64, 4.0, 6.0, 8.0, 0.0, 0.0]);
    debug_assert_eq!(want.dtype(), DType::F64);
    vec![Example {
        op: Arc::new(GatherGradient { axis: 0, batch_dims: 0 }),
        inputs: vec![g, positions, shape],
        outputs: Some(vec![want]),
    }]
}
