//! `strided_slice`: NumPy's basic indexing `x[begin:end:stride, …, new axis, i]`, as TensorFlow encodes it in bit masks over
//! the entries of begin, end and strides. Its gradient writes back into zeros.

use std::sync::Arc;

use crate::ops::make;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Dims, Fact, PartialShape, Tensor};

use super::copy::{StridedCopy, copy_kernel, movable, steps};
use super::{data_flow, shape_operand};

pub static INFO: OpInfo = OpInfo {
    name: "strided_slice",
    family: "shape",
    summary: "NumPy's basic indexing with steps, new axes and dropped ones",
    formula: "inputs: x, begin, end, strides; bit i of a mask speaks about entry i (TensorFlow's StridedSlice)",
    examples,
};

pub static GRADIENT: OpInfo = OpInfo {
    name: "strided_slice_gradient",
    family: "shape",
    summary: "Writes values where strided_slice read them, zeros elsewhere",
    formula: "inputs: g, shape of x, begin, end, strides",
    examples: gradient_examples,
};

/// TensorFlow's five masks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StridedMasks {
    pub begin: u64,
    pub end: u64,
    pub ellipsis: u64,
    pub new_axis: u64,
    pub shrink: u64,
}

/// Inputs: values, begin, end, strides (integer vectors of equal length).
#[derive(Clone, Debug)]
pub struct StridedSlice {
    pub masks: StridedMasks,
}

/// Inputs: gradient of the slice, shape of what was sliced, begin, end, strides.
#[derive(Clone, Debug)]
pub struct StridedSliceGradient {
    pub masks: StridedMasks,
}

/// One dimension of the source: where reading starts, the step, how many (each where known); whether it stays.
#[derive(Clone, Copy, Debug)]
struct Part {
    start: Option<i64>,
    step: i64,
    count: Option<usize>,
    kept: bool,
}

/// What the masks and entries come to for a source of known rank.
struct Plan {
    parts: Vec<Part>,
    /// Output dimensions: a part by index, or a new one.
    out: Vec<Option<usize>>,
}

impl Plan {
    fn shape(&self) -> PartialShape {
        PartialShape::from_partial(self.out.iter().map(|o| o.map_or(Some(1), |p| self.parts[p].count)))
    }

    /// Start and strides in elements, per dimension of the source; `None` where something is unknown.
    fn placed(&self, dims: &[usize]) -> Option<(isize, Vec<isize>, Vec<usize>)> {
        let strides = steps(dims);
        let (mut start, mut by, mut counts) = (0, Vec::new(), Vec::new());
        for (p, &s) in self.parts.iter().zip(&strides) {
            counts.push(p.count?);
            by.push(p.step as isize * s);
            if p.count != Some(0) {
                start += p.start? as isize * s;
            }
        }
        Some((start, by, counts))
    }
}

fn bit(mask: u64, i: usize) -> bool {
    i < 64 && mask >> i & 1 == 1
}

impl StridedMasks {
    fn plan(
        &self,
        dims: &[Option<usize>],
        entries: usize,
        [begin, end, strides]: [Option<Vec<i64>>; 3],
    ) -> Result<Plan, Misfit> {
        for v in [&begin, &end, &strides].into_iter().flatten() {
            if v.len() != entries {
                return Err(Misfit(format!("begin, end and strides have {entries} and {} entries", v.len())));
            }
        }
        let is_ellipsis = |i: usize| bit(self.ellipsis, i);
        let uses = (0..entries).filter(|&i| !is_ellipsis(i) && !bit(self.new_axis, i)).count();
        let ellipses = (0..entries).filter(|&i| is_ellipsis(i)).count();
        if ellipses > 1 || uses > dims.len() {
            return Err(Misfit(format!("{uses} indices and {ellipses} ellipses for rank {}", dims.len())));
        }
        let mut skip = dims.len() - uses;
        let mut plan = Plan { parts: Vec::new(), out: Vec::new() };
        let whole = |plan: &mut Plan| {
            let count = dims[plan.parts.len()];
            plan.out.push(Some(plan.parts.len()));
            plan.parts.push(Part { start: Some(0), step: 1, count, kept: true });
        };
        for i in 0..entries {
            if is_ellipsis(i) {
                (0..std::mem::take(&mut skip)).for_each(|_| whole(&mut plan));
            } else if bit(self.new_axis, i) {
                plan.out.push(None);
            } else {
                let at = |v: &Option<Vec<i64>>| v.as_ref().map(|v| v[i]);
                let part = self.part(i, dims[plan.parts.len()], at(&begin), at(&end), at(&strides))?;
                if part.kept {
                    plan.out.push(Some(plan.parts.len()));
                }
                plan.parts.push(part);
            }
        }
        (0..skip).for_each(|_| whole(&mut plan));
        Ok(plan)
    }

    fn part(
        &self,
        i: usize,
        dim: Option<usize>,
        begin: Option<i64>,
        end: Option<i64>,
        step: Option<i64>,
    ) -> Result<Part, Misfit> {
        let dim = dim.map(|d| d as i64);
        if bit(self.shrink, i) {
            let start = match (begin, dim) {
                (Some(b), Some(d)) => {
                    let s = if b < 0 { b + d } else { b };
                    if s < 0 || s >= d {
                        return Err(Misfit(format!("index {b} of entry {i} is outside {d} elements")));
                    }
                    Some(s)
                }
                (Some(b), None) if b >= 0 => Some(b),
                _ => None,
            };
            return Ok(Part { start, step: 1, count: Some(1), kept: false });
        }
        let Some(step) = step else { return Ok(Part { start: None, step: 1, count: None, kept: true }) };
        if step == 0 {
            return Err(Misfit(format!("stride {i} is 0")));
        }
        let Some(d) = dim else {
            // A run from the front whose end does not depend on the size is still no certain count: the size may be less.
            return Ok(Part { start: None, step, count: None, kept: true });
        };
        // Forward runs live in 0..d, backward ones in -1..d-1.
        let (low, high) = if step > 0 { (0, d) } else { (-1, d - 1) };
        let clamp = |v: i64| (if v < 0 { v.saturating_add(d) } else { v }).clamp(low, high);
        let start = if bit(self.begin, i) { Some(if step > 0 { low } else { high }) } else { begin.map(clamp) };
        let stop = if bit(self.end, i) { Some(if step > 0 { high } else { low }) } else { end.map(clamp) };
        let count = match (start, stop) {
            (Some(a), Some(z)) => {
                let span = if step > 0 { z - a } else { a - z };
                Some(if span <= 0 { 0 } else { ((span - 1) / step.abs() + 1) as usize })
            }
            _ => None,
        };
        Ok(Part { start, step, count, kept: true })
    }

    /// From facts of begin, end, strides.
    fn plan_from(&self, dims: &[Option<usize>], facts: [&Fact; 3]) -> Result<Option<Plan>, Misfit> {
        let entries = facts.iter().find_map(|f| f.shape.dim(0));
        let Some(entries) = entries else { return Ok(None) };
        self.plan(dims, entries, facts.map(Fact::ints)).map(Some)
    }
}

impl Op for StridedSlice {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 4)?;
        let x = inputs[0];
        let shape = match x.shape.partial() {
            None => PartialShape::unknown(),
            Some(dims) => self
                .masks
                .plan_from(dims, [inputs[1], inputs[2], inputs[3]])?
                .map_or_else(PartialShape::unknown, |p| p.shape()),
        };
        Ok(vec![Fact::new(x.dtype, shape)])
    }

    fn kernel(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let known = || Misfit::new("the shape or position is not known");
        let dims = inputs[0].dims().ok_or_else(known)?;
        let partial: Vec<_> = dims.iter().map(|&d| Some(d)).collect();
        let plan = self.masks.plan_from(&partial, [inputs[1], inputs[2], inputs[3]])?.ok_or_else(known)?;
        let (start, by, counts) = plan.placed(&dims).ok_or_else(known)?;
        if counts == dims[..] && plan.parts.iter().all(|p| p.step == 1) {
            return Ok(Kernel::alias());
        }
        copy_kernel(StridedCopy::new(&counts, &by, &steps(&counts)).from(start, 0), inputs[0].dtype)
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
        let Some(g) = out_grads[0] else { return Ok(vec![None; 4]) };
        let shape = make::shape_of(b, at.inputs[0])?;
        let op = StridedSliceGradient { masks: self.masks };
        let back = b.op(op, &[g, shape, at.inputs[1], at.inputs[2], at.inputs[3]])?;
        Ok(vec![Some(back), None, None, None])
    }
}

impl Op for StridedSliceGradient {
    fn info(&self) -> &'static OpInfo {
        &GRADIENT
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 5)?;
        let shape = match (inputs[1].ints(), inputs[1].shape.dim(0)) {
            (Some(dims), _) => PartialShape::from_partial(dims.iter().map(|&d| usize::try_from(d).ok())),
            (None, Some(rank)) => PartialShape::of_rank(rank),
            _ => PartialShape::unknown(),
        };
        if let Some(dims) = shape.partial()
            && let Some(plan) = self.masks.plan_from(dims, [inputs[2], inputs[3], inputs[4]])?
            && plan.shape().merge(&inputs[0].shape).is_none()
        {
            return Err(Misfit(format!("gradient {} for a slice {}", inputs[0].shape, plan.shape())));
        }
        Ok(vec![Fact::new(inputs[0].dtype, shape)])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let known = || Misfit::new("the shape or position is not known");
        let dtype = inputs[0].dtype;
        movable(dtype)?;
        let dims: Dims = outputs[0].dims().ok_or_else(known)?;
        let partial: Vec<_> = dims.iter().map(|&d| Some(d)).collect();
        let plan = self.masks.plan_from(&partial, [inputs[2], inputs[3], inputs[4]])?.ok_or_else(known)?;
        let (start, by, counts) = plan.placed(&dims).ok_or_else(known)?;
        let copy = StridedCopy::new(&counts, &steps(&counts), &by).from(0, start);
        Ok(Kernel::compute(move |call| {
            call.outputs[0].bytes().fill(0);
            let source = call.inputs[0];
            copy.run(&source, &mut call.outputs[0], dtype);
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
        let Some(g) = out_grads[0] else { return Ok(vec![None; 5]) };
        let op = StridedSlice { masks: self.masks };
        let back = b.op(op, &[g, at.inputs[2], at.inputs[3], at.inputs[4]])?;
        Ok(vec![Some(back), None, None, None, None])
    }
}

fn three(begin: &[i32], end: &[i32], strides: &[i32]) -> [Tensor; 3] {
    [begin, end, strides].map(|v| Tensor::from_slice(&[v.len()], v))
}

fn examples() -> Vec<Example> {
    let values: Vec<f64> = (0..12).map(f64::from).collect();
    let x = Tensor::from_slice(&[3, 4], &values);
    let case = |masks: StridedMasks, [b, e, s]: [Tensor; 3], want: Tensor| Example {
        op: Arc::new(StridedSlice { masks }),
        inputs: vec![x.clone(), b, e, s],
        outputs: Some(vec![want]),
    };
    let none = StridedMasks::default();
    vec![
        case(none, three(&[0, 1], &[3, 4], &[2, 2]), Tensor::from_slice(&[2, 2], &[1.0f64, 3.0, 9.0, 11.0])),
        case(
            StridedMasks { begin: 1, end: 1, ..none },
            three(&[0], &[0], &[-2]),
            Tensor::from_slice(&[2, 4], &[8.0f64, 9.0, 10.0, 11.0, 0.0, 1.0, 2.0, 3.0]),
        ),
        case(
            StridedMasks { ellipsis: 1, new_axis: 2, shrink: 4, ..none },
            three(&[0, 0, -1], &[0, 0, 0], &[1, 1, 1]),
            Tensor::from_slice(&[3, 1], &[3.0f64, 7.0, 11.0]),
        ),
        case(none, three(&[2], &[1], &[1]), Tensor::zeros(DType::F64, &[0, 4])),
    ]
}

fn gradient_examples() -> Vec<Example> {
    let [b, e, s] = three(&[3], &[0], &[-2]);
    let g = Tensor::from_slice(&[2], &[5.0f64, 7.0]);
    vec![Example {
        op: Arc::new(StridedSliceGradient { masks: StridedMasks::default() }),
        inputs: vec![g, Tensor::from_slice(&[1], &[4i64]), b, e, s],
        outputs: Some(vec![Tensor::from_slice(&[4], &[0.0f64, 7.0, 0.0, 5.0])]),
    }]
}
