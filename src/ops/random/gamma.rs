//! Random numbers of the gamma and the Poisson distribution, keyed by seed, step, site and index.

use std::sync::Arc;

use super::philox::{Stream, normal_pair, unit_f64};
use super::{site_after, site_at, with_turns};
use crate::ops::elementwise::{BinaryFn, UnaryFn};
use crate::ops::half::through_f32;
use crate::ops::make;
use crate::ops::simd::Real;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{Fact, PartialShape, Tensor};
use crate::with_real;

pub static GAMMA: OpInfo = OpInfo {
    name: "random_gamma",
    family: "random",
    summary: "Random numbers of the gamma distribution with rate 1",
    formula: "inputs: shape, a; result [shape…, a's shape…]; Marsaglia and Tsang (2000), for a < 1 with u^(1/a) times a draw \
              of a + 1. dx/da = -(∂P(a, x)/∂a) / pdf(x) (implicit reparameterisation, Figurnov et al. 2018)",
    examples: gamma_examples,
};

pub static POISSON: OpInfo = OpInfo {
    name: "random_poisson",
    family: "random",
    summary: "Random numbers of the Poisson distribution",
    formula: "inputs: shape, rate; result [shape…, rate's shape…]; Knuth's product of uniform numbers below rate 10, above it \
              transformed rejection (Hörmann 1993, PTRS)",
    examples: poisson_examples,
};

/// Inputs `shape` (integers), `a` (floats above 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomGamma {
    pub site: u64,
}

/// Inputs `shape` (integers), `rate` (floats, not negative); results are whole numbers of the same type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomPoisson {
    pub site: u64,
}

/// Uniform and normal numbers of one element: as many as it takes, each element far from the next in the counter.
struct Draws {
    stream: Stream,
    next: u64,
}

impl Draws {
    fn new(stream: Stream, element: usize) -> Self {
        Self { stream, next: (element as u64) << 24 }
    }

    fn block(&mut self) -> [u32; 4] {
        self.next += 1;
        self.stream.block(self.next)
    }

    /// Two uniform numbers in (0, 1).
    fn uniforms(&mut self) -> [f64; 2] {
        let w = self.block();
        [[w[0], w[1]], [w[2], w[3]]].map(|[hi, lo]| unit_f64(hi, lo).max(f64::MIN_POSITIVE))
    }

    /// A normal and a uniform number.
    fn normal(&mut self) -> [f64; 2] {
        let w = self.block();
        [normal_pair([w[0], w[1]])[0], unit_f64(w[2], w[3]).max(f64::MIN_POSITIVE)]
    }
}

/// Tries after which a draw is given up; each succeeds with more than 70 %.
const ATTEMPTS: usize = 1000;

fn gamma(draws: &mut Draws, a: f64) -> f64 {
    if !(a > 0.0 && a.is_finite()) {
        return f64::NAN;
    }
    let boost = if a < 1.0 { draws.uniforms()[0].powf(1.0 / a) } else { 1.0 };
    let d = if a < 1.0 { a + 1.0 } else { a } - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    for _ in 0..ATTEMPTS {
        let [x, u] = draws.normal();
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return (boost * d * v).max(f64::MIN_POSITIVE);
        }
    }
    d * boost
}

fn poisson(draws: &mut Draws, rate: f64) -> f64 {
    if !(rate >= 0.0 && rate.is_finite()) {
        return f64::NAN;
    }
    if rate < 10.0 {
        let (limit, mut product, mut k) = ((-rate).exp(), 1.0, 0.0);
        for _ in 0..ATTEMPTS {
            for u in draws.uniforms() {
                product *= u;
                if product <= limit {
                    return k;
                }
                k += 1.0;
            }
        }
        return k;
    }
    let log_rate = rate.ln();
    let b = 0.931 + 2.53 * rate.sqrt();
    let a = -0.059 + 0.02483 * b;
    let inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
    let v_r = 0.9277 - 3.6224 / (b - 2.0);
    for _ in 0..ATTEMPTS {
        let [u, v] = draws.uniforms();
        let u = u - 0.5;
        let us = 0.5 - u.abs();
        let k = ((2.0 * a / us + b) * u + rate + 0.43).floor();
        if us >= 0.07 && v <= v_r {
            return k;
        }
        if k < 0.0 || (us < 0.013 && v > us) {
            continue;
        }
        let left = v.ln() + inverse_alpha.ln() - (a / (us * us) + b).ln();
        if left <= k * log_rate - rate - libm::lgamma(k + 1.0) {
            return k;
        }
    }
    rate.floor()
}

/// `[shape…, parameter's shape…]`.
fn fact_of(shape: &Fact, parameter: &Fact) -> Result<Fact, Misfit> {
    let to = parameter.dtype;
    let lead = super::shape_fact(to, shape)?;
    let joint = match (lead.shape.partial(), parameter.shape.partial()) {
        (Some(a), Some(b)) => PartialShape::from_partial(a.iter().chain(b).copied()),
        _ => PartialShape::unknown(),
    };
    Ok(Fact::new(to, joint))
}

/// A kernel that draws with the parameters in turn.
fn drawing<T: Real>(site: u64, draw: fn(&mut Draws, f64) -> f64) -> Kernel {
    Kernel::compute(move |call| {
        let stream = Stream::new(call.random, site_after(site, &call.inputs[2..]));
        let parameters = call.input::<T>(1);
        for (i, y) in call.output::<T>(0).iter_mut().enumerate() {
            let parameter = parameters[i % parameters.len()].to_f64();
            *y = T::of(draw(&mut Draws::new(stream, i), parameter));
        }
    })
}

const WHY: &str = "a shape carries no gradient";

impl Op for RandomGamma {
    fn info(&self) -> &'static OpInfo {
        &GAMMA
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        with_turns(inputs, 2)?;
        Ok(vec![fact_of(inputs[0], inputs[1])?])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        with_real!(inputs[1].dtype, T => Ok(drawing::<T>(self.site, gamma)))
    }

    fn flow(&self, input: usize, _inputs: &[&Fact]) -> Flow {
        if input == 1 { Flow::Flows } else { Flow::Zero(WHY) }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let mut grads = vec![None; at.inputs.len()];
        let Some(g) = out_grads[0] else { return Ok(grads) };
        let (a, x) = (at.inputs[1], at.outputs[0]);
        let way = gamma_slope(b, a, x)?;
        let share = make::mul(b, g, way)?;
        grads[1] = Some(make::sum_to(b, share, a)?);
        Ok(grads)
    }

    fn at_turn(&self, turn: u64) -> Option<Arc<dyn Op>> {
        Some(Arc::new(Self { site: site_at(self.site, turn) }))
    }

    fn is_random(&self) -> bool {
        true
    }
}

/// How a drawn `x` changes with `a` while its probability `P(a, x)` stays.
pub fn gamma_slope(b: &mut Builder, a: Value, x: Value) -> Result<Value, Misfit> {
    let slope = make::binary(b, BinaryFn::IgammaSlope, a, x)?;
    let less = make::add_scalar(b, a, -1.0)?;
    let log = make::log(b, x)?;
    let power = make::mul(b, less, log)?;
    let scale = make::unary(b, UnaryFn::Lgamma, a)?;
    let density = make::sub(b, power, x)?;
    let density = make::sub(b, density, scale)?;
    let density = make::exp(b, density)?;
    let way = make::binary(b, BinaryFn::DivNoNan, slope, density)?;
    make::neg(b, way)
}

impl Op for RandomPoisson {
    fn info(&self) -> &'static OpInfo {
        &POISSON
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        with_turns(inputs, 2)?;
        Ok(vec![fact_of(inputs[0], inputs[1])?])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        with_real!(inputs[1].dtype, T => Ok(drawing::<T>(self.site, poisson)))
    }

    fn flow(&self, input: usize, _inputs: &[&Fact]) -> Flow {
        match input {
            1 => Flow::Blocked("a drawn count is an integer: it does not change smoothly with its rate".into()),
            _ => Flow::Zero(WHY),
        }
    }

    fn at_turn(&self, turn: u64) -> Option<Arc<dyn Op>> {
        Some(Arc::new(Self { site: site_at(self.site, turn) }))
    }

    fn is_random(&self) -> bool {
        true
    }
}

/// In `float32`, which is not differentiated numerically: a path that is drawn by rejection changes otherwise than the
/// distribution does.
fn example(op: Arc<dyn Op>) -> Vec<Example> {
    let inputs = vec![Tensor::from_slice(&[1], &[3i64]), Tensor::from_slice(&[2], &[0.5f32, 20.0])];
    vec![Example { op, inputs, outputs: None }]
}

fn gamma_examples() -> Vec<Example> {
    example(Arc::new(RandomGamma { site: 3 }))
}

fn poisson_examples() -> Vec<Example> {
    example(Arc::new(RandomPoisson { site: 3 }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Random;

    /// Mean and variance of many draws against those of the distribution.
    #[test]
    fn moments_are_those_of_the_distributions() {
        let n = 20_000;
        let moments = |draw: fn(&mut Draws, f64) -> f64, parameter: f64| {
            let stream = Stream::new(Random { seed: 5, step: 1 }, 9);
            let all: Vec<f64> = (0..n).map(|i| draw(&mut Draws::new(stream, i), parameter)).collect();
            let mean = all.iter().sum::<f64>() / n as f64;
            (mean, all.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n as f64)
        };
        for parameter in [0.4, 1.0, 3.5, 25.0] {
            for draw in [gamma as fn(&mut Draws, f64) -> f64, poisson] {
                let (mean, variance) = moments(draw, parameter);
                let spread = (parameter / n as f64).sqrt();
                assert!((mean - parameter).abs() < 5.0 * spread, "{mean} instead of {parameter}");
                assert!((variance / parameter - 1.0).abs() < 0.1, "{variance} instead of {parameter}");
            }
        }
    }
}
