//! `range`: numbers at equal distances.

use std::sync::Arc;

use crate::ops::make;
use crate::ops::shape::data_flow;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Fact, PartialShape, Tensor};

pub static INFO: OpInfo = OpInfo {
    name: "range",
    family: "index",
    summary: "Numbers at equal distances",
    formula: "inputs: start, limit, delta; start, start + delta, … before limit: ⌈(limit - start)/delta⌉ numbers",
    examples,
};

/// More numbers than any model counts up: a sign of a broken file.
const MOST: f64 = 4e9;

/// Inputs: start, limit (excluded), delta (scalars of one type).
#[derive(Clone, Debug)]
pub struct Range;

impl Op for Range {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 3)?;
        let dtype = inputs[0].dtype;
        if inputs.iter().any(|f| f.dtype != dtype && f.dtype != DType::Unknown && dtype != DType::Unknown) {
            return Err(Misfit::new("element types differ"));
        }
        let value = |i: usize| -> &Fact { inputs[i] };
        let n = match (value(0).scalar(), value(1).scalar(), value(2).scalar()) {
            (_, _, Some(0.0)) => return Err(Misfit::new("a delta of 0")),
            (Some(start), Some(limit), Some(delta)) => {
                let n = ((limit - start) / delta).ceil().max(0.0);
                if n.is_nan() || n > MOST {
                    return Err(Misfit(format!("{n} numbers from {start} to {limit} by {delta}")));
                }
                Some(n as usize)
            }
            _ => None,
        };
        Ok(vec![Fact::new(dtype, PartialShape::from_partial([n]))])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let n = outputs[0].shape.dim(0).ok_or_else(|| Misfit::new("the length is not known"))?;
        match inputs[0].dtype {
            DType::F32 => Ok(Kernel::compute(move |call| {
                let (start, delta) = (call.input::<f32>(0)[0], call.input::<f32>(2)[0]);
                call.output::<f32>(0).iter_mut().enumerate().for_each(|(i, y)| *y = start + i as f32 * delta);
            })),
            DType::F64 => Ok(Kernel::compute(move |call| {
                let (start, delta) = (call.input::<f64>(0)[0], call.input::<f64>(2)[0]);
                call.output::<f64>(0).iter_mut().enumerate().for_each(|(i, y)| *y = start + i as f64 * delta);
            })),
            DType::I32 => Ok(Kernel::compute(move |call| {
                let (start, delta) = (call.input::<i32>(0)[0], call.input::<i32>(2)[0]);
                let y = call.output::<i32>(0);
                y.iter_mut().enumerate().for_each(|(i, y)| *y = start.wrapping_add(delta.wrapping_mul(i as i32)));
            })),
            DType::I64 => Ok(Kernel::compute(move |call| {
                let (start, delta) = (call.input::<i64>(0)[0], call.input::<i64>(2)[0]);
                let y = call.output::<i64>(0);
                y.iter_mut().enumerate().for_each(|(i, y)| *y = start.wrapping_add(delta.wrapping_mul(i as i64)));
            })),
            dtype => {
                let (start, delta) = (inputs[0].scalar(), inputs[2].scalar());
                let (Some(start), Some(delta)) = (start, delta) else {
                    return Err(Misfit(format!("not defined for {dtype}")));
                };
                let value = Tensor::from_f64s(dtype, &[n], (0..n).map(|i| start + i as f64 * delta));
                Ok(Kernel::compute(move |call| call.outputs[0].bytes().copy_from_slice(value.bytes())))
            }
        }
    }

    fn flow(&self, input: usize, inputs: &[&Fact]) -> Flow {
        if input == 1 { Flow::Zero("the limit only says how many numbers there are") } else { data_flow(inputs[input]) }
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
        if wanted[0] {
            out[0] = Some(make::sum_all(b, g)?);
        }
        if wanted[2] {
            // The number of steps taken to each element.
            let away = make::sub(b, at.outputs[0], at.inputs[0])?;
            let steps = make::div(b, away, at.inputs[2])?;
            let mine = make::mul(b, g, steps)?;
            out[2] = Some(make::sum_all(b, mine)?);
        }
        Ok(out)
    }
}

fn examples() -> Vec<Example> {
    let ints = |a: i32, z: i32, d: i32, want: &[i32]| Example {
        op: Arc::new(Range),
        inputs: vec![Tensor::scalar(a), Tensor::scalar(z), Tensor::scalar(d)],
        outputs: Some(vec![Tensor::from_slice(&[want.len()], want)]),
    };
    vec![
        ints(0, 7, 3, &[0, 3, 6]),
        ints(5, 0, -2, &[5, 3, 1]),
        ints(3, 3, 1, &[]),
        Example {
            op: Arc::new(Range),
            inputs: vec![Tensor::scalar(0.5f64), Tensor::scalar(1.2f64), Tensor::scalar(0.25f64)],
            outputs: Some(vec![Tensor::from_slice(&[3], &[0.5f64, 0.75, 1.0])]),
        },
    ]
}
