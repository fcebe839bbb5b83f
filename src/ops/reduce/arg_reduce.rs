//! `arg_reduce`: the position of the largest or smallest element along an axis.

use std::sync::Arc;

use half::{bf16, f16};

use crate::ops::elementwise::stored::{Lane, Source, Stored};
use crate::ops::simd::{Shared, parallel};
use crate::program::op::arity;
use crate::program::{Example, Flow, Kernel, Misfit, Op, OpInfo};
use crate::tensor::{DType, Fact, PartialShape, Tensor, shape};

pub static INFO: OpInfo = OpInfo {
    name: "arg_reduce",
    family: "reduce",
    summary: "The position of the largest or smallest element along an axis",
    formula: "inputs: x, axis; the first of equal ones, or the last if asked for",
    examples,
};

/// Inputs: values, axis (integer scalar).
#[derive(Clone, Debug)]
pub struct ArgReduce {
    pub largest: bool,
    /// Of equal elements take the last.
    pub last: bool,
    pub keep_dims: bool,
    /// Integer type of the positions.
    pub to: DType,
}

impl Op for ArgReduce {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        if !self.to.is_int() {
            return Err(Misfit(format!("positions cannot be {}", self.to)));
        }
        let Some(dims) = inputs[0].shape.partial() else {
            return Ok(vec![Fact::new(self.to, PartialShape::unknown())]);
        };
        let out = match inputs[1].ints().and_then(|v| v.first().copied()) {
            None if self.keep_dims => PartialShape::of_rank(dims.len()),
            None => PartialShape::of_rank(dims.len().saturating_sub(1)),
            Some(axis) => {
                let a = shape::normalize_axis(axis, dims.len())
                    .ok_or_else(|| Misfit(format!("axis {axis} is outside rank {}", dims.len())))?;
                let mut out = dims.to_vec();
                if self.keep_dims {
                    out[a] = Some(1);
                } else {
                    out.remove(a);
                }
                PartialShape::from_partial(out)
            }
        };
        Ok(vec![Fact::new(self.to, out)])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let known = || Misfit::new("the shape or the axis is not known");
        let dims = inputs[0].dims().ok_or_else(known)?;
        let axis = inputs[1].ints().and_then(|v| v.first().copied()).ok_or_else(known)?;
        let axis = shape::normalize_axis(axis, dims.len()).ok_or_else(known)?;
        let lines = Lines {
            n: dims[axis],
            inner: dims[axis + 1..].iter().product(),
            outer: dims[..axis].iter().product(),
            largest: self.largest,
            last: self.last,
            to: outputs[0].dtype,
        };
        match inputs[0].dtype {
            DType::F32 => Ok(lines.kernel::<f32, f32>()),
            DType::F64 => Ok(lines.kernel::<f64, f64>()),
            DType::F16 => Ok(lines.kernel::<f16, f32>()),
            DType::BF16 => Ok(lines.kernel::<bf16, f32>()),
            DType::I8 => Ok(lines.kernel::<i8, i64>()),
            DType::I16 => Ok(lines.kernel::<i16, i64>()),
            DType::I32 => Ok(lines.kernel::<i32, i64>()),
            DType::I64 => Ok(lines.kernel::<i64, i64>()),
            DType::U8 | DType::Bool => Ok(lines.kernel::<u8, i64>()),
            DType::U16 => Ok(lines.kernel::<u16, i64>()),
            DType::U32 => Ok(lines.kernel::<u32, i64>()),
            DType::U64 => Ok(lines.kernel::<u64, u64>()),
            d => Err(Misfit(format!("not defined for {d}"))),
        }
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        Flow::Zero("a position is an integer: it does not change with small changes of the values")
    }
}

#[derive(Clone, Copy)]
struct Lines {
    n: usize,
    inner: usize,
    outer: usize,
    largest: bool,
    last: bool,
    to: DType,
}

impl Lines {
    fn kernel<S: Stored<T>, T: Lane>(self) -> Kernel {
        let width = self.to.size();
        Kernel::compute(move |call| {
            let x = Source::<S>::of(&call.inputs[0]);
            let y = Shared::new(call.outputs[0].bytes().as_mut_ptr());
            parallel(self.outer * self.inner, self.n, |range| {
                for line in range {
                    let base = line / self.inner * self.n * self.inner + line % self.inner;
                    let at = self.best(|k| {
                        // SAFETY: within the buffer.
                        #[allow(unsafe_code)]
                        unsafe { *x.at(base + k * self.inner) }.load()
                    });
                    // SAFETY: each line has its own result.
                    #[allow(unsafe_code)]
                    let y = unsafe { y.at(line * width..(line + 1) * width) };
                    write_int(y, at as i64);
                }
            });
        })
    }

    fn best<T: Lane>(self, at: impl Fn(usize) -> T) -> usize {
        let mut best = 0;
        for k in 1..self.n {
            let (new, old) = (at(k), at(best));
            let better = if self.largest { new > old } else { new < old };
            if better || (self.last && new == old) {
                best = k;
            }
        }
        best
    }
}

/// Writes an integer in as many bytes as there are.
pub(super) fn write_int(to: &mut [u8], value: i64) {
    match to.len() {
        1 => to.copy_from_slice(&(value as i8).to_ne_bytes()),
        2 => to.copy_from_slice(&(value as i16).to_ne_bytes()),
        4 => to.copy_from_slice(&(value as i32).to_ne_bytes()),
        _ => to.copy_from_slice(&value.to_ne_bytes()),
    }
}

fn examples() -> Vec<Example> {
    let x = Tensor::from_slice(&[2, 3], &[1.0f64, 5.0, 5.0, -1.0, -2.0, -2.0]);
    let case = |largest, last, keep_dims, axis: i32, want: Tensor| Example {
        op: Arc::new(ArgReduce { largest, last, keep_dims, to: DType::I64 }),
        inputs: vec![x.clone(), Tensor::scalar(axis)],
        outputs: Some(vec![want]),
    };
    vec![
        case(true, false, false, 1, Tensor::from_slice(&[2], &[1i64, 0])),
        case(true, true, true, -1, Tensor::from_slice(&[2, 1], &[2i64, 0])),
        case(false, false, false, 0, Tensor::from_slice(&[3], &[1i64, 1, 1])),
    ]
}
