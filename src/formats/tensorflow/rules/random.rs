//! Spellings of TensorFlow ops: random numbers. They are drawn by our own counter-based generator, keyed by the run's
//! seed, the step and the node, so a graph's own seeds (and those of stateless ops) do not choose the numbers.

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::make;
use crate::ops::random::{RandomGamma, RandomNormal, RandomPoisson, RandomUniform, RandomUniformInt};
use crate::ops::reduce::{ArgReduce, TopK};
use crate::program::{Misfit, Value};
use crate::tensor::{DType, Tensor};

pub const RULES: &[Spelling] = &[
    Spelling { op: "RandomUniform", rule: uniform },
    Spelling { op: "StatelessRandomUniform", rule: uniform },
    Spelling { op: "StatelessRandomUniformV2", rule: uniform },
    Spelling { op: "RandomUniformInt", rule: |r| uniform_int(r, 1) },
    Spelling { op: "StatelessRandomUniformInt", rule: |r| uniform_int(r, 2) },
    Spelling { op: "StatelessRandomUniformIntV2", rule: |r| uniform_int(r, 4) },
    Spelling { op: "RandomStandardNormal", rule: normal },
    Spelling { op: "StatelessRandomNormal", rule: normal },
    Spelling { op: "StatelessRandomNormalV2", rule: normal },
    Spelling { op: "TruncatedNormal", rule: truncated_normal },
    Spelling { op: "StatelessTruncatedNormal", rule: truncated_normal },
    Spelling { op: "StatelessTruncatedNormalV2", rule: truncated_normal },
    Spelling { op: "RandomShuffle", rule: shuffle },
    Spelling { op: "Multinomial", rule: multinomial },
    Spelling { op: "StatelessMultinomial", rule: multinomial },
    Spelling { op: "StatefulUniform", rule: |r| uniform_of(r, 2) },
    Spelling { op: "StatefulStandardNormal", rule: |r| normal_of(r, 1, false) },
    Spelling { op: "StatefulStandardNormalV2", rule: |r| normal_of(r, 2, false) },
    Spelling { op: "StatefulTruncatedNormal", rule: |r| normal_of(r, 2, true) },
    Spelling { op: "StatefulUniformInt", rule: |r| uniform_int_of(r, 2, 3) },
    Spelling { op: "RandomGamma", rule: |r| gamma(r, None) },
    Spelling { op: "StatelessRandomGammaV2", rule: |r| gamma(r, Some(2)) },
    Spelling { op: "StatelessRandomGammaV3", rule: |r| gamma(r, Some(4)) },
    Spelling { op: "RandomPoisson", rule: |r| poisson(r, None) },
    Spelling { op: "RandomPoissonV2", rule: |r| poisson(r, None) },
    Spelling { op: "StatelessRandomPoisson", rule: |r| poisson(r, Some(2)) },
    Spelling { op: "StatelessShuffle", rule: shuffle },
    Spelling { op: "StatelessRandomGetKeyCounter", rule: |r| Ok(generator_state(r, 2)) },
    Spelling { op: "StatelessRandomGetKeyCounterAlg", rule: |r| Ok(generator_state(r, 3)) },
    Spelling { op: "StatelessRandomGetAlg", rule: |r| Ok(smallvec![algorithm(r)]) },
];

fn dtype(r: &Rule<'_, '_>) -> DType {
    r.type_attr("dtype").unwrap_or(DType::F32)
}

fn uniform(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    uniform_of(r, 0)
}

/// `shape`: the input that holds it.
fn uniform_of(r: &mut Rule<'_, '_>, shape: usize) -> Result<Outputs, Misfit> {
    let op = RandomUniform { site: r.site, dtype: dtype(r) };
    let shape = r.input(shape)?;
    Ok(smallvec![r.b.op(op, &[shape])?])
}

/// `min` and `max` are inputs `first` and the next.
fn uniform_int(r: &mut Rule<'_, '_>, first: usize) -> Result<Outputs, Misfit> {
    uniform_int_of(r, 0, first)
}

fn uniform_int_of(r: &mut Rule<'_, '_>, shape: usize, first: usize) -> Result<Outputs, Misfit> {
    let inputs = [r.input(shape)?, r.input(first)?, r.input(first + 1)?];
    Ok(smallvec![r.b.op(RandomUniformInt { site: r.site }, &inputs)?])
}

fn normal(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    normal_of(r, 0, false)
}

fn truncated_normal(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    normal_of(r, 0, true)
}

fn normal_of(r: &mut Rule<'_, '_>, shape: usize, truncated: bool) -> Result<Outputs, Misfit> {
    let op = RandomNormal { site: r.site, dtype: dtype(r), truncated };
    let shape = r.input(shape)?;
    Ok(smallvec![r.b.op(op, &[shape])?])
}

/// Shape and parameter of a draw. In the older forms (`whole` is `None`) the shape comes before that of the parameter,
/// which is input 1; in the stateless ones it is that of the result and the parameter repeats.
fn drawn(r: &mut Rule<'_, '_>, whole: Option<usize>) -> Result<[Value; 2], Misfit> {
    let shape = r.input(0)?;
    let Some(input) = whole else { return Ok([shape, r.input(1)?]) };
    let parameter = r.input(input)?;
    let parameter = make::broadcast_to(r.b, parameter, shape)?;
    Ok([r.ints_literal(&[]), parameter])
}

fn gamma(r: &mut Rule<'_, '_>, whole: Option<usize>) -> Result<Outputs, Misfit> {
    let inputs = drawn(r, whole)?;
    Ok(smallvec![r.b.op(RandomGamma { site: r.site }, &inputs)?])
}

fn poisson(r: &mut Rule<'_, '_>, whole: Option<usize>) -> Result<Outputs, Misfit> {
    let inputs = drawn(r, whole)?;
    let y = r.b.op(RandomPoisson { site: r.site }, &inputs)?;
    let from = r.b.fact(y).dtype;
    Ok(smallvec![make::cast(r.b, y, r.type_attr("dtype").unwrap_or(from))?])
}

/// Key, counter and algorithm of TensorFlow's generator, which no number here depends on.
fn generator_state(r: &mut Rule<'_, '_>, n: usize) -> Outputs {
    let (key, counter) = (Tensor::zeros(DType::U64, &[1]), Tensor::zeros(DType::U64, &[2]));
    let mut outputs: Outputs = smallvec![r.b.literal(key), r.b.literal(counter), algorithm(r)];
    outputs.truncate(n);
    outputs
}

/// Philox.
fn algorithm(r: &mut Rule<'_, '_>) -> Value {
    r.b.literal(Tensor::scalar(1i32))
}

/// Class indices with probabilities `softmax(logits)`: the largest of logits plus Gumbel noise `−ln(−ln u)`.
fn multinomial(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (logits, samples) = (r.input(0)?, r.input(1)?);
    let to = r.type_attr("output_dtype").unwrap_or(DType::I64);
    let dtype = r.fact(0)?.dtype;
    let samples = make::cast(r.b, samples, DType::I64)?;
    let samples = make::reshape(r.b, samples, &[1])?;
    let shape = make::shape_of(r.b, logits)?;
    let rows = make::slice(r.b, shape, &[0], &[1])?;
    let classes = make::slice(r.b, shape, &[1], &[1])?;
    let shape = make::concat(r.b, &[rows, samples, classes], 0)?;
    let u = r.b.op(RandomUniform { site: r.site, dtype }, &[shape])?;
    // Away from 0, whose logarithm is infinite.
    let u = make::add_scalar(r.b, u, 1e-30)?;
    let inner = make::log(r.b, u)?;
    let inner = make::neg(r.b, inner)?;
    let inner = make::add_scalar(r.b, inner, 1e-30)?;
    let outer = make::log(r.b, inner)?;
    let logits = make::expand_dims(r.b, logits, 1)?;
    let noisy = make::sub(r.b, logits, outer)?;
    let axis = make::scalar(r.b, DType::I64, 2.0);
    let op = ArgReduce { largest: true, last: false, keep_dims: false, to };
    Ok(smallvec![r.b.op(op, &[noisy, axis])?])
}

/// The rows in the order of random keys.
fn shuffle(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let x = r.input(0)?;
    let shape = make::shape_of(r.b, x)?;
    let rows = make::slice(r.b, shape, &[0], &[1])?;
    let keys = r.b.op(RandomUniform { site: r.site, dtype: DType::F64 }, &[rows])?;
    let count = make::reshape(r.b, rows, &[])?;
    let top = TopK { axis: -1, largest: true, to: DType::I64 };
    let sorted = r.b.op_n(std::sync::Arc::new(top), &[keys, count])?;
    Ok(smallvec![make::gather(r.b, x, sorted[1], 0)?])
}
