//! Normally distributed random numbers, also cut off at two standard deviations, keyed by seed, step, site and index.

use std::sync::Arc;

use super::philox::{Stream, normal_pair};
use super::{shape_fact, site_after, site_at, with_turns};
use crate::ops::half::through_f32;
use crate::program::{Example, Flow, Kernel, Misfit, Op, OpInfo};
use crate::tensor::{DType, Fact, Tensor};

pub static INFO: OpInfo = OpInfo {
    name: "random_normal",
    family: "random",
    summary: "Standard normal random numbers, optionally cut off beyond ±2",
    formula: "Box–Muller on bits of Philox4x32-10; where truncated, numbers beyond ±2 are drawn again.",
    examples,
};

/// Input `shape` (integers); output of that shape and `dtype` (a float type).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomNormal {
    pub site: u64,
    pub dtype: DType,
    /// Draw numbers beyond two standard deviations again.
    pub truncated: bool,
}

/// How often a truncated number is drawn again; (4.6 % ⁴)³² is beyond any counter.
const ATTEMPTS: u64 = 32;

impl RandomNormal {
    fn draw(self, stream: Stream, i: usize) -> f64 {
        let pairs = |block: [u32; 4]| {
            let ([a, b], [c, d]) = (normal_pair([block[0], block[1]]), normal_pair([block[2], block[3]]));
            [a, b, c, d]
        };
        if !self.truncated {
            return pairs(stream.block(i as u64 / 4))[i % 4];
        }
        // Attempts lie so far apart in the counter that no two elements meet.
        (0..ATTEMPTS)
            .flat_map(|attempt| pairs(stream.block((i as u64).wrapping_add(attempt << 58))))
            .find(|z| z.abs() < 2.0)
            .unwrap_or(0.0)
    }
}

impl Op for RandomNormal {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        with_turns(inputs, 1)?;
        Ok(vec![shape_fact(self.dtype, inputs[0])?])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(&Self { dtype: DType::F32, ..*self }, inputs, outputs)? {
            return Ok(k);
        }
        let op = *self;
        match outputs[0].dtype {
            DType::F32 => Ok(Kernel::compute(move |call| {
                let stream = Stream::new(call.random, site_after(op.site, &call.inputs[1..]));
                call.output::<f32>(0).iter_mut().enumerate().for_each(|(i, o)| *o = op.draw(stream, i) as f32);
            })),
            DType::F64 => Ok(Kernel::compute(move |call| {
                let stream = Stream::new(call.random, site_after(op.site, &call.inputs[1..]));
                call.output::<f64>(0).iter_mut().enumerate().for_each(|(i, o)| *o = op.draw(stream, i));
            })),
            other => Err(Misfit(format!("there are no normal numbers of type {other}"))),
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

fn examples() -> Vec<Example> {
    [(DType::F32, false), (DType::F64, false), (DType::F32, true), (DType::BF16, false)]
        .map(|(dtype, truncated)| Example {
            op: Arc::new(RandomNormal { site: 1, dtype, truncated }),
            inputs: vec![Tensor::from_slice(&[2], &[3i32, 7])],
            outputs: None,
        })
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{Random, eval::eval};

    #[test]
    fn moments_are_those_of_the_normal_distribution() {
        // A standard normal cut off at ±2 has variance 0.7737.
        for (truncated, want) in [(false, 1.0), (true, 0.7737)] {
            let op = RandomNormal { site: 3, dtype: DType::F64, truncated };
            let out = eval(&op, &[Tensor::from_slice(&[1], &[100_000i32])], Random { seed: 2, step: 1 }).unwrap();
            let v = out[0].as_slice::<f64>();
            let mean = v.iter().sum::<f64>() / v.len() as f64;
            let variance = v.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / v.len() as f64;
            assert!(mean.abs() < 0.01 && (variance - want).abs() < 0.015, "{mean} {variance}");
        }
    }
}
