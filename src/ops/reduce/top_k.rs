//! `top_k`: the k largest (smallest) elements along an axis, in order, and where they stood.

use std::cmp::Ordering;
use std::sync::Arc;

use half::{bf16, f16};

use crate::ops::elementwise::stored::{Lane, Source, Stored, Target};
use crate::ops::index::{ScatterElements, ScatterFn};
use crate::ops::make;
use crate::ops::shape::{data_flow, shape_operand};
use crate::ops::simd::{Shared, parallel};
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Fact, PartialShape, Tensor, shape};

use super::arg_reduce::write_int;

pub static INFO: OpInfo = OpInfo {
    name: "top_k",
    family: "reduce",
    summary: "The k largest or smallest elements along an axis and their positions",
    formula: "inputs: x, k; outputs: values in order, positions; of equal elements the earlier comes first",
    examples,
};

/// Inputs: values, k (integer scalar). Outputs: values, positions.
#[derive(Clone, Debug)]
pub struct TopK {
    pub axis: i64,
    pub largest: bool,
    /// Integer type of the positions.
    pub to: DType,
}

impl Op for TopK {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        let x = inputs[0];
        let Some(dims) = x.shape.partial() else {
            return Ok(vec![Fact::new(x.dtype, PartialShape::unknown()), Fact::new(self.to, PartialShape::unknown())]);
        };
        let axis = shape::normalize_axis(self.axis, dims.len())
            .ok_or_else(|| Misfit(format!("axis {} is outside rank {}", self.axis, dims.len())))?;
        let k = inputs[1].ints().and_then(|v| v.first().copied());
        if let (Some(k), Some(n)) = (k, dims[axis])
            && (k < 0 || k as usize > n)
        {
            return Err(Misfit(format!("the best {k} of {n}")));
        }
        let mut out = dims.to_vec();
        out[axis] = k.and_then(|k| usize::try_from(k).ok());
        let shape = PartialShape::from_partial(out);
        Ok(vec![Fact::new(x.dtype, shape.clone()), Fact::new(self.to, shape)])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let known = || Misfit::new("the shape is not known");
        let dims = inputs[0].dims().ok_or_else(known)?;
        let axis = shape::normalize_axis(self.axis, dims.len()).ok_or_else(known)?;
        let lines = Lines {
            n: dims[axis],
            k: outputs[0].dims().ok_or_else(known)?[axis],
            inner: dims[axis + 1..].iter().product(),
            outer: dims[..axis].iter().product(),
            largest: self.largest,
            width: self.to.size(),
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
            DType::U8 | DType::Bool => Ok(lines.kernel::<u8, u8>()),
            DType::U16 => Ok(lines.kernel::<u16, i64>()),
            DType::U32 => Ok(lines.kernel::<u32, i64>()),
            DType::U64 => Ok(lines.kernel::<u64, u64>()),
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
        let Some(g) = out_grads[0] else { return Ok(vec![None, None]) };
        let base = make::zeros_like(b, at.inputs[0])?;
        let op = ScatterElements { axis: self.axis, f: ScatterFn::Add };
        Ok(vec![Some(b.op(op, &[base, at.outputs[1], g])?), None])
    }
}

#[derive(Clone, Copy)]
struct Lines {
    n: usize,
    k: usize,
    inner: usize,
    outer: usize,
    largest: bool,
    width: usize,
}

impl Lines {
    fn kernel<S: Stored<T>, T: Lane>(self) -> Kernel {
        Kernel::compute(move |call| {
            let x = Source::<S>::of(&call.inputs[0]);
            let [values, positions] = call.outputs else { return };
            let values = Target::<S>::of(values);
            let positions = Shared::new(positions.bytes().as_mut_ptr());
            parallel(self.outer * self.inner, self.n * 16, |range| {
                let mut order: Vec<usize> = Vec::with_capacity(self.n);
                for line in range {
                    let (o, i) = (line / self.inner, line % self.inner);
                    // SAFETY: within the buffer.
                    #[allow(unsafe_code)]
                    let get = |k: usize| unsafe { *x.at((o * self.n + k) * self.inner + i) };
                    order.clear();
                    order.extend(0..self.n);
                    order.sort_by(|&a, &c| {
                        let (a, c): (T, T) = (get(a).load(), get(c).load());
                        let (first, second) = if self.largest { (c, a) } else { (a, c) };
                        first.partial_cmp(&second).unwrap_or(Ordering::Equal)
                    });
                    for (r, &k) in order[..self.k].iter().enumerate() {
                        let to = (o * self.k + r) * self.inner + i;
                        // SAFETY: each line has its own results.
                        #[allow(unsafe_code)]
                        unsafe {
                            *values.at(to) = get(k);
                            write_int(positions.at(to * self.width..(to + 1) * self.width), k as i64);
                        }
                    }
                }
            });
        })
    }
}

fn examples() -> Vec<Example> {
    let x = Tensor::from_slice(&[2, 4], &[1.0f64, 5.0, 3.0, 5.5, -1.0, -2.0, 0.5, -0.2]);
    let case = |largest, values: &[f64], positions: &[i32]| Example {
        op: Arc::new(TopK { axis: -1, largest, to: DType::I32 }),
        inputs: vec![x.clone(), Tensor::scalar(2i32)],
        outputs: Some(vec![Tensor::from_slice(&[2, 2], values), Tensor::from_slice(&[2, 2], positions)]),
    };
    vec![case(true, &[5.5, 5.0, 0.5, -0.2], &[3, 1, 2, 3]), case(false, &[1.0, 3.0, -2.0, -1.0], &[0, 2, 1, 0])]
}
