//! Discrete Fourier transform of complex numbers, which are pairs along the last axis.

use std::f64::consts::PI;
use std::sync::Arc;

use super::dims;
use crate::ops::half::through_f32;
use crate::ops::simd::Real;
use crate::program::op::arity;
use crate::program::{Builder, Call, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{Fact, Tensor};
use crate::with_real;

pub static INFO: OpInfo = OpInfo {
    name: "fourier",
    family: "linalg",
    summary: "Discrete Fourier transform along one axis of complex numbers [.., 2]",
    formula: "y[k] = Σ_j x[j] e^(∓2πi jk/n), minus forwards, plus for the inverse, which is not divided by n; mixed radix \
              (Cooley & Tukey 1965), lengths with large prime factors as a convolution (Bluestein 1970); computed in f64",
    examples,
};

/// Input and output `x [.., 2]`: real and imaginary part side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fourier {
    pub inverse: bool,
    /// Counted from the last axis of numbers (the one before the pairs), which is 0.
    pub axis: usize,
}

type Complex = [f64; 2];

fn mul(a: Complex, b: Complex) -> Complex {
    [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]]
}

/// e^(sign · 2πi · k/n), exact at the quarters.
fn root(k: usize, n: usize, sign: f64) -> Complex {
    let (k, n) = ((k % n) as u128, n as u128);
    let quarter = 4 * k / n;
    let rest = (4 * k - quarter * n) as f64 / n as f64 * PI / 2.0;
    let (sin, cos) = rest.sin_cos();
    let at = match quarter {
        0 => [cos, sin],
        1 => [-sin, cos],
        2 => [-cos, -sin],
        _ => [sin, -cos],
    };
    [at[0], sign * at[1]]
}

/// Prime factors above this are transformed as convolutions.
const LARGEST_FACTOR: usize = 61;

fn factors(mut n: usize) -> Vec<usize> {
    let (mut out, mut p) = (Vec::new(), 2);
    while p * p <= n {
        while n.is_multiple_of(p) {
            out.push(p);
            n /= p;
        }
        p += 1;
    }
    if n > 1 {
        out.push(n);
    }
    out
}

/// What a transform of one length needs; made once.
#[derive(Debug)]
enum Transform {
    Mixed {
        factors: Vec<usize>,
        roots: Vec<Complex>,
    },
    /// Chirp, its transform of length `m`, the transforms of that length forwards and back.
    Chirp {
        chirp: Vec<Complex>,
        spectrum: Vec<Complex>,
        forwards: Box<Transform>,
        back: Box<Transform>,
    },
}

impl Transform {
    fn new(n: usize, sign: f64) -> Self {
        let factors = factors(n);
        if factors.last().is_none_or(|&p| p <= LARGEST_FACTOR) {
            return Self::Mixed { factors, roots: (0..n).map(|k| root(k, n, sign)).collect() };
        }
        // jk = (j² + k² - (k - j)²) / 2.
        let m = (2 * n - 1).next_power_of_two();
        let square = |k: usize| (k as u128 * k as u128 % (2 * n as u128)) as usize;
        let chirp: Vec<Complex> = (0..n).map(|k| root(square(k), 2 * n, sign)).collect();
        let (forwards, back) = (Self::new(m, -1.0), Self::new(m, 1.0));
        let mut response = vec![[0.0; 2]; m];
        for (k, c) in chirp.iter().enumerate() {
            let c = [c[0] / m as f64, -c[1] / m as f64];
            response[k] = c;
            response[(m - k) % m] = c;
        }
        let mut spectrum = vec![[0.0; 2]; m];
        forwards.run(&response, &mut spectrum, &mut []);
        Self::Chirp { chirp, spectrum, forwards: Box::new(forwards), back: Box::new(back) }
    }

    /// Numbers of scratch that a run needs.
    fn scratch(&self) -> usize {
        match self {
            Self::Mixed { .. } => 0,
            Self::Chirp { spectrum, .. } => 2 * spectrum.len(),
        }
    }

    fn run(&self, x: &[Complex], y: &mut [Complex], scratch: &mut [Complex]) {
        match self {
            Self::Mixed { factors, roots } => mixed(x, 1, y, factors, roots),
            Self::Chirp { chirp, spectrum, forwards, back } => {
                let (a, b) = scratch.split_at_mut(spectrum.len());
                a.fill([0.0; 2]);
                a.iter_mut().zip(x.iter().zip(chirp)).for_each(|(a, (x, c))| *a = mul(*x, *c));
                forwards.run(a, b, &mut []);
                b.iter_mut().zip(spectrum).for_each(|(b, s)| *b = mul(*b, *s));
                back.run(b, a, &mut []);
                y.iter_mut().zip(a.iter().zip(chirp)).for_each(|(y, (a, c))| *y = mul(*a, *c));
            }
        }
    }
}

/// Every `stride`-th of `x`, transformed into `y`; `roots` are those of the whole length.
fn mixed(x: &[Complex], stride: usize, y: &mut [Complex], factors: &[usize], roots: &[Complex]) {
    let Some((&p, rest)) = factors.split_first() else {
        y[0] = x[0];
        return;
    };
    let (n, m) = (y.len(), y.len() / p);
    for (j, part) in y.chunks_mut(m).enumerate() {
        mixed(&x[j * stride..], stride * p, part, rest, roots);
    }
    let step = roots.len() / n;
    let mut column = [[0.0; 2]; LARGEST_FACTOR];
    for k in 0..m {
        for (j, c) in column[..p].iter_mut().enumerate() {
            *c = mul(y[j * m + k], roots[j * k * step]);
        }
        for q in 0..p {
            let mut sum = column[0];
            for (j, c) in column[..p].iter().enumerate().skip(1) {
                let t = mul(*c, roots[j * q % p * (roots.len() / p)]);
                sum = [sum[0] + t[0], sum[1] + t[1]];
            }
            y[q * m + k] = sum;
        }
    }
}

/// Rows of `n` numbers, `inner` apart.
fn transform_all<T: Real>(call: &mut Call<'_>, plan: &Transform, n: usize, inner: usize) {
    let x = call.input::<T>(0);
    let scratch: &mut [Complex] = bytemuck::cast_slice_mut(call.scratch);
    let y = call.outputs[0].slice::<T>();
    let (row, rest) = scratch.split_at_mut(n);
    let (out, rest) = rest.split_at_mut(n);
    let rows = (x.len() / 2).checked_div(n).unwrap_or(0);
    for r in 0..rows {
        let base = r / inner * inner * n + r % inner;
        for (j, v) in row.iter_mut().enumerate() {
            let at = 2 * (base + j * inner);
            *v = [x[at].to_f64(), x[at + 1].to_f64()];
        }
        plan.run(row, out, rest);
        for (j, v) in out.iter().enumerate() {
            let at = 2 * (base + j * inner);
            (y[at], y[at + 1]) = (T::of(v[0]), T::of(v[1]));
        }
    }
}

impl Op for Fourier {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 1)?;
        let (dtype, shape) = (inputs[0].dtype, &inputs[0].shape);
        if let Some(dims) = shape.partial()
            && (dims.len() < self.axis + 2 || dims.last().is_some_and(|d| d.is_some_and(|d| d != 2)))
        {
            return Err(Misfit(format!(
                "expected pairs along the last axis and {} more, found {shape}",
                self.axis + 1
            )));
        }
        Ok(vec![Fact::new(dtype, shape.clone())])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let shape = dims(inputs[0])?;
        let axis = shape.len() - 2 - self.axis;
        let n = shape[axis];
        let inner: usize = shape[axis + 1..shape.len() - 1].iter().product();
        let plan = Transform::new(n.max(1), if self.inverse { 1.0 } else { -1.0 });
        let scratch = (2 * n + plan.scratch()) * size_of::<Complex>();
        let flops = 10 * shape.iter().product::<usize>() as u64 * u64::from(n.max(1).ilog2());
        with_real!(inputs[0].dtype, T => {
            let run = move |call: &mut Call<'_>| transform_all::<T>(call, &plan, n, inner.max(1));
            Ok(Kernel::compute(run).scratch(scratch).flops(flops))
        })
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        Flow::Flows
    }

    /// As a linear map of pairs, its transpose is the transform the other way round.
    fn vjp(
        &self,
        b: &mut Builder,
        _at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(g) = out_grads[0] else { return Ok(vec![None]) };
        Ok(vec![Some(b.op(Self { inverse: !self.inverse, axis: self.axis }, &[g])?)])
    }
}

fn examples() -> Vec<Example> {
    let case = |inverse, axis, x: Tensor, outputs| Example {
        op: Arc::new(Fourier { inverse, axis }),
        inputs: vec![x],
        outputs,
    };
    let numbers = |shape: &[usize]| {
        let n: usize = shape.iter().product();
        Tensor::from_slice(shape, &(0..n).map(|i| (i as f64 * 1.7).sin()).collect::<Vec<_>>())
    };
    let unit = Tensor::from_slice(&[4, 2], &[0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    let turns = Tensor::from_slice(&[4, 2], &[1.0, 0.0, 0.0, -1.0, -1.0, 0.0, 0.0, 1.0]);
    vec![
        case(false, 0, unit, Some(vec![turns])),
        case(false, 1, numbers(&[6, 2, 2]), None),
        case(true, 0, numbers(&[2, 5, 2]), None),
        case(true, 0, numbers(&[67, 2]), None),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_agrees_with_the_sum() {
        for n in (1..40).chain([64, 67, 97, 128, 134, 210]) {
            let x: Vec<Complex> = (0..n).map(|j| [(j as f64 * 0.7).cos(), (j as f64 * 1.3).sin()]).collect();
            let plan = Transform::new(n, -1.0);
            let (mut y, mut scratch) = (vec![[0.0; 2]; n], vec![[0.0; 2]; plan.scratch()]);
            plan.run(&x, &mut y, &mut scratch);
            for (k, got) in y.iter().enumerate() {
                let want = x.iter().enumerate().fold([0.0; 2], |s: Complex, (j, v)| {
                    let t = mul(*v, root(j * k, n, -1.0));
                    [s[0] + t[0], s[1] + t[1]]
                });
                assert!((got[0] - want[0]).hypot(got[1] - want[1]) < 1e-11 * n as f64, "{n} {k}: {got:?} {want:?}");
            }
        }
    }
}
