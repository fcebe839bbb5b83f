//! Uniform random numbers, real in [0, 1) or integer in [min, max), keyed by seed, step, site and index.

use std::sync::Arc;

use super::philox::{GROUP, Stream, unit_f32, unit_f64};
use super::{shape_fact, site_after, site_at, with_turns};
use crate::ops::half::through_f32;
use crate::ops::simd::{Shared, parallel_grain};
use crate::program::{Example, Flow, Kernel, Misfit, Op, OpInfo, View};
use crate::tensor::{DType, Fact, Tensor};

pub static INFO: OpInfo = OpInfo {
    name: "random_uniform",
    family: "random",
    summary: "Uniform random numbers in [0, 1)",
    formula: "u = bits / 2^24 (float32) or bits / 2^53 (float64) with bits from Philox4x32-10.",
    examples,
};

pub static INT_INFO: OpInfo = OpInfo {
    name: "random_uniform_int",
    family: "random",
    summary: "Uniform random integers in [min, max)",
    formula: "min + floor(bits · (max − min) / 2^64) with bits from Philox4x32-10.",
    examples: int_examples,
};

/// Input `shape` (integers); output of that shape and `dtype` (a float type).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomUniform {
    pub site: u64,
    pub dtype: DType,
}

/// Inputs `shape` (integers), `min`, `max` (integer scalars); output of that shape in the type of `min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomUniformInt {
    pub site: u64,
}

impl Op for RandomUniform {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        with_turns(inputs, 1)?;
        Ok(vec![shape_fact(self.dtype, inputs[0])?])
    }

    #[allow(unsafe_code)]
    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(&Self { dtype: DType::F32, ..*self }, inputs, outputs)? {
            return Ok(k);
        }
        let site = self.site;
        match outputs[0].dtype {
            DType::F32 => Ok(Kernel::compute(move |call| {
                let stream = Stream::new(call.random, site_after(site, &call.inputs[1..]));
                let n = call.outputs[0].len::<f32>();
                let out = Shared::new(call.outputs[0].ptr::<f32>());
                parallel_grain(n.div_ceil(GROUP), 256, |groups| {
                    for g in groups {
                        let bits = stream.group(g as u64);
                        // SAFETY: each group is written by one task and ends within the output.
                        let out = unsafe { out.at(g * GROUP..((g + 1) * GROUP).min(n)) };
                        out.iter_mut().zip(&bits).for_each(|(o, &b)| *o = unit_f32(b));
                    }
                });
            })),
            DType::F64 => Ok(Kernel::compute(move |call| {
                let stream = Stream::new(call.random, site_after(site, &call.inputs[1..]));
                for (i, out) in call.output::<f64>(0).chunks_mut(2).enumerate() {
                    let w = stream.block(i as u64);
                    out.iter_mut().zip([[w[0], w[1]], [w[2], w[3]]]).for_each(|(o, [hi, lo])| *o = unit_f64(hi, lo));
                }
            })),
            other => Err(Misfit(format!("there are no uniform numbers of type {other}"))),
        }
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        Flow::Zero("a shape carries no gradient")
    }

    fn at_turn(&self, turn: u64) -> Option<Arc<dyn Op>> {
        Some(Arc::new(Self { site: site_at(self.site, turn), ..*self }))
    }

    fn is_random(&self) -> bool {
        true
    }
}

impl Op for RandomUniformInt {
    fn info(&self) -> &'static OpInfo {
        &INT_INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        with_turns(inputs, 3)?;
        Ok(vec![shape_fact(inputs[1].dtype, inputs[0])?])
    }

    fn kernel(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let site = self.site;
        let bounds = |views: &[View<'_>]| match views[1].dtype() {
            DType::I32 => (i64::from(views[1].slice::<i32>()[0]), i64::from(views[2].slice::<i32>()[0])),
            _ => (views[1].slice::<i64>()[0], views[2].slice::<i64>()[0]),
        };
        if !inputs[1..3].iter().all(|f| f.dims().is_some_and(|d| d.iter().product::<usize>() == 1)) {
            return Err(Misfit::new("min and max must be scalars"));
        }
        if inputs[1].dtype != inputs[2].dtype || !matches!(inputs[1].dtype, DType::I32 | DType::I64) {
            return Err(Misfit(format!("there are no uniform integers of type {}", inputs[1].dtype)));
        }
        Ok(Kernel::compute(move |call| {
            let (min, max) = bounds(call.inputs);
            let stream = Stream::new(call.random, site_after(site, &call.inputs[3..]));
            let span = max.wrapping_sub(min).max(1) as u64;
            let draw = |i: usize| {
                let w = stream.block(i as u64);
                let bits = u64::from(w[0]) << 32 | u64::from(w[1]);
                min.wrapping_add(((u128::from(bits) * u128::from(span)) >> 64) as i64)
            };
            match call.outputs[0].dtype() {
                DType::I32 => call.output::<i32>(0).iter_mut().enumerate().for_each(|(i, o)| *o = draw(i) as i32),
                _ => call.output::<i64>(0).iter_mut().enumerate().for_each(|(i, o)| *o = draw(i)),
            }
        }))
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        Flow::Zero("integers carry no gradient")
    }

    fn at_turn(&self, turn: u64) -> Option<Arc<dyn Op>> {
        Some(Arc::new(Self { site: site_at(self.site, turn) }))
    }

    fn is_random(&self) -> bool {
        true
    }
}

fn examples() -> Vec<Example> {
    let shape = || Tensor::from_slice(&[2], &[3i32, 50]);
    [DType::F32, DType::F64, DType::F16]
        .map(|dtype| Example { op: Arc::new(RandomUniform { site: 1, dtype }), inputs: vec![shape()], outputs: None })
        .into()
}

fn int_examples() -> Vec<Example> {
    vec![Example {
        op: Arc::new(RandomUniformInt { site: 1 }),
        inputs: vec![Tensor::from_slice(&[1], &[4i64]), Tensor::scalar(7i64), Tensor::scalar(8i64)],
        outputs: Some(vec![Tensor::from_slice(&[4], &[7i64; 4])]),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{Random, eval::eval};

    #[test]
    fn moments_are_those_of_the_uniform_distribution() {
        for dtype in [DType::F32, DType::F64] {
            let op = RandomUniform { site: 3, dtype };
            let out = eval(&op, &[Tensor::from_slice(&[1], &[100_000i32])], Random { seed: 2, step: 1 }).unwrap();
            let v = out[0].to_f64s().unwrap();
            let mean = v.iter().sum::<f64>() / v.len() as f64;
            let variance = v.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / v.len() as f64;
            assert!((mean - 0.5).abs() < 0.005 && (variance - 1.0 / 12.0).abs() < 0.001, "{mean} {variance}");
            assert!(v.iter().all(|x| (0.0..1.0).contains(x)));
        }
    }

    #[test]
    fn a_negative_shape_is_refused() {
        let op = RandomUniform { site: 3, dtype: DType::F32 };
        assert!(eval(&op, &[Tensor::from_slice(&[1], &[-1i32])], Random::default()).is_err());
    }
}
