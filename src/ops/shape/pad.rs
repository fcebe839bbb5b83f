//! `pad`: grows every dimension at both ends with a value, or with a mirror image of the content.

use std::sync::Arc;

use half::{bf16, f16};

use crate::ops::make;
use crate::ops::simd::Real;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Dims, Element, Fact, PartialShape, Tensor, shape};

use super::copy::{StridedCopy, movable, steps};
use super::{data_flow, shape_operand, slice::Slice};

pub static INFO: OpInfo = OpInfo {
    name: "pad",
    family: "shape",
    summary: "Grows dimensions at both ends with a value or a mirror image",
    formula: "inputs: x, paddings [rank, 2], value; reflect leaves the edge out of the image, symmetric repeats it; \
              negative paddings of the constant mode crop",
    examples,
};

pub static GRADIENT: OpInfo = OpInfo {
    name: "pad_gradient",
    family: "shape",
    summary: "Folds mirrored borders back: the gradient of a mirroring pad",
    formula: "inputs: g, paddings; each element of x receives the sum of g over its images",
    examples: gradient_examples,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PadMode {
    Constant,
    /// Mirror at the middle of the edge element.
    Reflect,
    /// Mirror at the outer side of the edge element.
    Symmetric,
    /// Repeat the edge element.
    Edge,
    /// Continue from the other end.
    Wrap,
}

/// Inputs: values, paddings `[rank, 2]` (integers), fill value (scalar, read by the constant mode only).
#[derive(Clone, Debug)]
pub struct Pad {
    pub mode: PadMode,
}

/// Inputs: gradient of the padded value, paddings.
#[derive(Clone, Debug)]
pub struct PadGradient {
    pub mode: PadMode,
}

fn pairs(paddings: &Fact, rank: usize) -> Result<Option<Vec<(i64, i64)>>, Misfit> {
    let Some(flat) = paddings.ints() else { return Ok(None) };
    if flat.len() != 2 * rank {
        return Err(Misfit(format!("{} padding entries for rank {rank}", flat.len())));
    }
    Ok(Some(flat.chunks_exact(2).map(|p| (p[0], p[1])).collect()))
}

impl PadMode {
    /// Which element of a dimension of `n` stands at padded position `at - before`; the position is outside `0..n`.
    fn source(self, at: i64, n: i64) -> i64 {
        match self {
            Self::Constant => at,
            Self::Edge => at.clamp(0, n - 1),
            Self::Wrap => at.rem_euclid(n),
            Self::Reflect => {
                let period = (2 * (n - 1)).max(1);
                let k = at.rem_euclid(period);
                if n == 1 { 0 } else { k.min(period - k) }
            }
            Self::Symmetric => {
                let k = at.rem_euclid(2 * n);
                k.min(2 * n - 1 - k)
            }
        }
    }

    fn check(self, n: usize, before: i64, after: i64) -> Result<(), Misfit> {
        let limit = match self {
            Self::Constant => {
                return if n as i64 + before.min(0) + after.min(0) < 0 {
                    Err(Misfit(format!("cropping {n} elements by {before} and {after}")))
                } else {
                    Ok(())
                };
            }
            Self::Reflect => n as i64 - 1,
            Self::Symmetric => n as i64,
            Self::Edge | Self::Wrap if n > 0 => i64::MAX,
            Self::Edge | Self::Wrap => 0,
        };
        if before < 0 || after < 0 || before > limit || after > limit {
            return Err(Misfit(format!("paddings {before} and {after} of {n} elements; {self:?} allows 0 to {limit}")));
        }
        Ok(())
    }
}

impl Op for Pad {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 3)?;
        let (x, paddings) = (inputs[0], inputs[1]);
        let Some(rank) = x.rank().or(paddings.shape.dim(0)) else {
            return Ok(vec![Fact::new(x.dtype, PartialShape::unknown())]);
        };
        let Some(pairs) = pairs(paddings, rank)? else {
            return Ok(vec![Fact::new(x.dtype, PartialShape::of_rank(rank))]);
        };
        let mut out = Vec::with_capacity(rank);
        for (a, &(before, after)) in pairs.iter().enumerate() {
            let Some(n) = x.shape.dim(a) else {
                out.push(None);
                continue;
            };
            self.mode.check(n, before, after)?;
            let size = (n as i64).checked_add(before).and_then(|s| s.checked_add(after));
            out.push(Some(size.and_then(|s| usize::try_from(s).ok()).ok_or_else(|| Misfit::new("too large"))?));
        }
        Ok(vec![Fact::new(x.dtype, PartialShape::from_partial(out))])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let known = || Misfit::new("the shape or padding is not known");
        let dtype = inputs[0].dtype;
        movable(dtype)?;
        let from = inputs[0].dims().ok_or_else(known)?;
        let out = outputs[0].dims().ok_or_else(known)?;
        let pairs = pairs(inputs[1], from.len())?.ok_or_else(known)?;
        if from == out && pairs.iter().all(|p| *p == (0, 0)) {
            return Ok(Kernel::alias());
        }
        if self.mode == PadMode::Constant {
            return Ok(constant_kernel(dtype, &from, &out, &pairs));
        }
        let sources = mirror_table(self.mode, &from, &out, &pairs);
        let size = dtype.size();
        Ok(Kernel::compute(move |call| {
            let x = call.inputs[0].bytes();
            let y = call.outputs[0].bytes();
            for (y, &at) in y.chunks_exact_mut(size).zip(&sources) {
                y.copy_from_slice(&x[at * size..(at + 1) * size]);
            }
        }))
    }

    fn flow(&self, input: usize, inputs: &[&Fact]) -> Flow {
        match input {
            0 => data_flow(inputs[0]),
            1 => shape_operand(),
            _ if self.mode == PadMode::Constant => data_flow(inputs[2]),
            _ => Flow::Zero("the fill value is not read in this mode"),
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
        if self.mode != PadMode::Constant {
            out[0] = Some(b.op(PadGradient { mode: self.mode }, &[g, at.inputs[1]])?);
            return Ok(out);
        }
        if wanted[0] || wanted[2] {
            let inner = unpad(b, g, at.inputs[0], at.inputs[1])?;
            out[0] = Some(inner);
            if wanted[2] {
                // What is not inside went to the fill value.
                let (all, inside) = (make::sum_all(b, g)?, make::sum_all(b, inner)?);
                let border = make::sub(b, all, inside)?;
                out[2] = Some(make::reshape_like(b, border, at.inputs[2])?);
            }
        }
        Ok(out)
    }
}

/// Cuts the padding off again (and pads with zeros what was cropped).
fn unpad(b: &mut Builder, g: Value, x: Value, paddings: Value) -> Result<Value, Misfit> {
    if let Some(flat) = b.fact(paddings).ints() {
        if flat.iter().any(|&p| p < 0) {
            let back: Vec<(i64, i64)> = flat.chunks_exact(2).map(|p| (-p[0], -p[1])).collect();
            return make::pad(b, g, &back);
        }
        let begin: Vec<i64> = flat.chunks_exact(2).map(|p| p[0]).collect();
        let (begin, size) = (make::ints(b, &begin), make::shape_of(b, x)?);
        return b.op(Slice, &[g, begin, size]);
    }
    let wide = make::cast(b, paddings, DType::I64)?;
    let column = make::slice(b, wide, &[0, 0], &[-1, 1])?;
    let begin = make::reshape(b, column, &[-1])?;
    let size = make::shape_of(b, x)?;
    b.op(Slice, &[g, begin, size])
}

fn constant_kernel(dtype: DType, from: &Dims, out: &Dims, pairs: &[(i64, i64)]) -> Kernel {
    let (source, target) = (steps(from), steps(out));
    let (mut read, mut write, mut dims) = (0, 0, Vec::new());
    for (a, &(before, after)) in pairs.iter().enumerate() {
        // Negative paddings crop: start reading further in.
        read += (-before).max(0) as isize * source[a];
        write += before.max(0) as isize * target[a];
        dims.push((from[a] as i64 + before.min(0) + after.min(0)).max(0) as usize);
    }
    let copy = StridedCopy::new(&dims, &source, &target).from(read, write);
    let size = dtype.size();
    Kernel::compute(move |call| {
        let fill = call.inputs[2].bytes();
        let y = call.outputs[0].bytes();
        if fill.iter().all(|&v| v == 0) || fill.len() < size {
            y.fill(0);
        } else {
            y.chunks_exact_mut(size).for_each(|y| y.copy_from_slice(&fill[..size]));
        }
        let x = call.inputs[0];
        copy.run(&x, &mut call.outputs[0], dtype);
    })
}

/// For each output element, the input element that it shows.
fn mirror_table(mode: PadMode, from: &Dims, out: &Dims, pairs: &[(i64, i64)]) -> Vec<usize> {
    let mut table = vec![0usize];
    let strides = shape::strides(from);
    for a in 0..out.len() {
        let along: Vec<usize> =
            (0..out[a] as i64).map(|i| mode.source(i - pairs[a].0, from[a] as i64) as usize * strides[a]).collect();
        table = table.iter().flat_map(|&base| along.iter().map(move |&s| base + s)).collect();
    }
    table
}

impl Op for PadGradient {
    fn info(&self) -> &'static OpInfo {
        &GRADIENT
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        let (g, paddings) = (inputs[0], inputs[1]);
        let Some(rank) = g.rank().or(paddings.shape.dim(0)) else {
            return Ok(vec![Fact::new(g.dtype, PartialShape::unknown())]);
        };
        let Some(pairs) = pairs(paddings, rank)? else {
            return Ok(vec![Fact::new(g.dtype, PartialShape::of_rank(rank))]);
        };
        let mut out = Vec::with_capacity(rank);
        for (a, &(before, after)) in pairs.iter().enumerate() {
            let Some(n) = g.shape.dim(a) else {
                out.push(None);
                continue;
            };
            let inner = (n as i64).saturating_sub(before).saturating_sub(after);
            let inner = usize::try_from(inner).map_err(|_| Misfit(format!("{n} elements hold no such padding")))?;
            self.mode.check(inner, before, after)?;
            out.push(Some(inner));
        }
        Ok(vec![Fact::new(g.dtype, PartialShape::from_partial(out))])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let known = || Misfit::new("the shape or padding is not known");
        let padded = inputs[0].dims().ok_or_else(known)?;
        let inner = outputs[0].dims().ok_or_else(known)?;
        let pairs = pairs(inputs[1], padded.len())?.ok_or_else(known)?;
        let table = mirror_table(self.mode, &inner, &padded, &pairs);
        match inputs[0].dtype {
            DType::F32 => Ok(fold::<f32>(table, |s, v| s + v)),
            DType::F64 => Ok(fold::<f64>(table, |s, v| s + v)),
            DType::F16 => Ok(fold::<f16>(table, |s, v| f16::from_f32(s.to_f32() + v.to_f32()))),
            DType::BF16 => Ok(fold::<bf16>(table, |s, v| bf16::from_f32(s.to_f32() + v.to_f32()))),
            d => Err(Misfit(format!("not defined for {d}"))),
        }
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
        let Some(g) = out_grads[0] else { return Ok(vec![None; 2]) };
        let fill = make::scalar_like(b, g, 0.0);
        Ok(vec![Some(b.op(Pad { mode: self.mode }, &[g, at.inputs[1], fill])?), None])
    }
}

fn fold<T: Element + Copy>(table: Vec<usize>, add: fn(T, T) -> T) -> Kernel {
    Kernel::compute(move |call| {
        let g = call.input::<T>(0);
        call.outputs[0].bytes().fill(0);
        let y = call.output::<T>(0);
        for (&at, &v) in table.iter().zip(g) {
            y[at] = add(y[at], v);
        }
    })
}

fn examples() -> Vec<Example> {
    let x = Tensor::from_slice(&[3], &[1.0f64, 2.0, 3.0]);
    let case = |mode, before: i32, after: i32, want: &[f64]| Example {
        op: Arc::new(Pad { mode }),
        inputs: vec![x.clone(), Tensor::from_slice(&[1, 2], &[before, after]), Tensor::scalar(f64::of(9.0))],
        outputs: Some(vec![Tensor::from_slice(&[want.len()], want)]),
    };
    vec![
        case(PadMode::Constant, 1, 2, &[9.0, 1.0, 2.0, 3.0, 9.0, 9.0]),
        case(PadMode::Constant, -1, 1, &[2.0, 3.0, 9.0]),
        case(PadMode::Reflect, 2, 1, &[3.0, 2.0, 1.0, 2.0, 3.0, 2.0]),
        case(PadMode::Symmetric, 2, 1, &[2.0, 1.0, 1.0, 2.0, 3.0, 3.0]),
        case(PadMode::Edge, 2, 1, &[1.0, 1.0, 1.0, 2.0, 3.0, 3.0]),
        case(PadMode::Wrap, 1, 2, &[3.0, 1.0, 2.0, 3.0, 1.0, 2.0]),
    ]
}

fn gradient_examples() -> Vec<Example> {
    let g = Tensor::from_slice(&[5], &[1.0f64, 2.0, 4.0, 8.0, 16.0]);
    let paddings = Tensor::from_slice(&[1, 2], &[1i32, 1]);
    vec![Example {
        op: Arc::new(PadGradient { mode: PadMode::Reflect }),
        inputs: vec![g, paddings],
        outputs: Some(vec![Tensor::from_slice(&[3], &[2.0f64, 1.0 + 4.0 + 16.0, 8.0])]),
    }]
}
