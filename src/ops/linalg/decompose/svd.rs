//! Singular value decomposition.

use std::sync::Arc;

use super::{eye_like, swap_last};
use crate::ops::elementwise::BinaryFn;
use crate::ops::half::through_f32;
use crate::ops::linalg::{MatMul, dims};
use crate::ops::make;
use crate::ops::simd::Real;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{Fact, PartialShape, Tensor};
use crate::with_real;

pub static INFO: OpInfo = OpInfo {
    name: "svd",
    family: "linalg",
    summary: "Singular values (falling) with left and right vectors of each matrix",
    formula: "X = U diag(s) Vᵀ by one-sided Jacobi rotations (Hestenes 1958), U [.., m, k], V [.., n, k], k = min(m, n); the \
              largest element of each right vector is positive. With F_ij = 1/(s_j² - s_i²), E_u = F ∘ (UᵀG_u - G_uᵀU), E_v \
              likewise: dX = U (E_u S + S E_v + diag(g_s)) Vᵀ + (I - UUᵀ) G_u S⁻¹ Vᵀ + U S⁻¹ G_vᵀ (I - VVᵀ) (Townsend 2016)",
    examples,
};

/// Input `x [.., m, n]`; outputs `s [.., k]`, `u [.., m, k]`, `v [.., n, k]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Svd;

const SWEEPS: usize = 60;

/// The columns of `w` made orthogonal by rotations that are collected in `v`; columns are stored one after the other.
fn orthogonalise(w: &mut [Vec<f64>], v: &mut [Vec<f64>]) {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for _ in 0..SWEEPS {
        let mut changed = false;
        for q in 1..w.len() {
            for p in 0..q {
                let (a, b, c) = (dot(&w[p], &w[p]), dot(&w[q], &w[q]), dot(&w[p], &w[q]));
                if c.abs() <= 1e-16 * (a * b).sqrt() || c == 0.0 || !c.is_finite() {
                    continue;
                }
                changed = true;
                let zeta = (b - a) / (2.0 * c);
                let t = zeta.signum() / (zeta.abs() + (zeta * zeta + 1.0).sqrt());
                let cos = 1.0 / (t * t + 1.0).sqrt();
                rotate(w, p, q, cos, cos * t);
                rotate(v, p, q, cos, cos * t);
            }
        }
        if !changed {
            break;
        }
    }
}

fn rotate(columns: &mut [Vec<f64>], p: usize, q: usize, cos: f64, sin: f64) {
    let (head, tail) = columns.split_at_mut(q);
    for (x, y) in head[p].iter_mut().zip(&mut tail[0]) {
        (*x, *y) = (cos * *x - sin * *y, sin * *x + cos * *y);
    }
}

/// A unit vector orthogonal to `others`, for singular values that are zero.
fn completing(others: &[Vec<f64>], size: usize) -> Vec<f64> {
    let mut best = (0.0, vec![0.0; size]);
    for axis in 0..size {
        let mut x = vec![0.0; size];
        x[axis] = 1.0;
        for o in others.iter().chain(others) {
            let along: f64 = x.iter().zip(o).map(|(a, b)| a * b).sum();
            x.iter_mut().zip(o).for_each(|(x, o)| *x -= along * o);
        }
        let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt();
        if norm > best.0 {
            best = (norm, x.iter().map(|x| x / norm).collect());
        }
    }
    best.1
}

/// Singular values with their vectors in `long` and `short`, for columns no longer fewer than rows.
fn factors(mut w: Vec<Vec<f64>>, rows: usize) -> Vec<(f64, Vec<f64>, Vec<f64>)> {
    let k = w.len();
    let mut v: Vec<Vec<f64>> = (0..k).map(|i| (0..k).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    orthogonalise(&mut w, &mut v);
    let norm = |c: &[f64]| c.iter().map(|x| x * x).sum::<f64>().sqrt();
    let mut order: Vec<usize> = (0..k).collect();
    order.sort_by(|&i, &j| norm(&w[j]).total_cmp(&norm(&w[i])));
    let largest = order.first().map_or(0.0, |&i| norm(&w[i]));
    let (mut out, mut known): (Vec<_>, Vec<Vec<f64>>) = (Vec::new(), Vec::new());
    for i in order {
        let s = norm(&w[i]);
        let unit = match s > largest * 1e-15 {
            true => w[i].iter().map(|x| x / s).collect(),
            false => completing(&known, rows),
        };
        known.push(unit.clone());
        out.push((s, unit, v[i].clone()));
    }
    out
}

fn decompose<T: Real>(x: &[T], s: &mut [T], u: &mut [T], v: &mut [T], m: usize, n: usize) {
    let k = m.min(n);
    let at = |i: usize, j: usize| x[i * n + j].to_f64();
    let is_tall = m >= n;
    let columns: Vec<Vec<f64>> = match is_tall {
        true => (0..n).map(|j| (0..m).map(|i| at(i, j)).collect()).collect(),
        false => (0..m).map(|i| (0..n).map(|j| at(i, j)).collect()).collect(),
    };
    for (c, (value, long, short)) in factors(columns, m.max(n)).into_iter().enumerate() {
        let (left, right) = if is_tall { (long, short) } else { (short, long) };
        let largest = right.iter().fold(0.0f64, |best, &x| if x.abs() > best.abs() { x } else { best });
        let sign = if largest < 0.0 { -1.0 } else { 1.0 };
        s[c] = T::of(value);
        left.iter().enumerate().for_each(|(i, x)| u[i * k + c] = T::of(sign * x));
        right.iter().enumerate().for_each(|(i, x)| v[i * k + c] = T::of(sign * x));
    }
}

impl Op for Svd {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 1)?;
        let dtype = inputs[0].dtype;
        let Some(dims) = inputs[0].shape.partial() else {
            return Ok(vec![Fact::new(dtype, PartialShape::unknown()); 3]);
        };
        let [lead @ .., m, n] = dims else {
            return Err(Misfit(format!("expected matrices, found shape {}", inputs[0].shape)));
        };
        let k = m.zip(*n).map(|(m, n)| m.min(n));
        let of = |own: &[Option<usize>]| {
            Fact::new(dtype, PartialShape::from_partial(lead.iter().copied().chain(own.iter().copied())))
        };
        Ok(vec![of(&[k]), of(&[*m, k]), of(&[*n, k])])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let shape = dims(inputs[0])?;
        let (m, n) = (shape[shape.len() - 2], shape[shape.len() - 1]);
        let k = m.min(n);
        with_real!(inputs[0].dtype, T => Ok(Kernel::compute(move |call| {
            let x = call.input::<T>(0);
            let [s, u, v] = call.outputs else { return };
            let (s, u, v) = (s.slice::<T>(), u.slice::<T>(), v.slice::<T>());
            for i in 0..s.len().checked_div(k).unwrap_or(0) {
                let (u, v) = (&mut u[i * m * k..][..m * k], &mut v[i * n * k..][..n * k]);
                decompose(&x[i * m * n..][..m * n], &mut s[i * k..][..k], u, v, m, n);
            }
        })))
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        Flow::Flows
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let (s, u, v) = (at.outputs[0], at.outputs[1], at.outputs[2]);
        let (across, down) = (make::expand_dims(b, s, -2)?, make::expand_dims(b, s, -1)?);
        let mut terms = Vec::new();
        if let Some(g) = out_grads[0] {
            let wide = make::expand_dims(b, g, -1)?;
            // A diagonal of ones as large as the number of values.
            let square = make::mul(b, down, across)?;
            let eye = eye_like(b, square)?;
            terms.push(make::mul(b, wide, eye)?);
        }
        let (squares, rows) = (make::square(b, across)?, make::square(b, down)?);
        let gap = make::sub(b, squares, rows)?;
        let mut beside = Vec::new();
        for (own, g, is_left) in [(u, out_grads[1], true), (v, out_grads[2], false)] {
            let Some(g) = g else { continue };
            let turned = b.op(MatMul { transpose_a: true, transpose_b: false }, &[own, g])?;
            let back = swap_last(b, turned)?;
            let twist = make::sub(b, turned, back)?;
            let e = make::binary(b, BinaryFn::DivNoNan, twist, gap)?;
            terms.push(make::mul(b, e, if is_left { across } else { down })?);
            // What leaves the span of the vectors.
            let inside = b.op(MatMul::default(), &[own, turned])?;
            let outside = make::sub(b, g, inside)?;
            beside.push((make::binary(b, BinaryFn::DivNoNan, outside, across)?, is_left));
        }
        let Some(mut middle) = terms.first().copied() else { return Ok(vec![None]) };
        for &term in &terms[1..] {
            middle = make::add(b, middle, term)?;
        }
        let outer = MatMul { transpose_a: false, transpose_b: true };
        let left = b.op(MatMul::default(), &[u, middle])?;
        let mut dx = b.op(outer, &[left, v])?;
        for (part, is_left) in beside {
            let more = if is_left { b.op(outer, &[part, v])? } else { b.op(outer, &[u, part])? };
            dx = make::add(b, dx, more)?;
        }
        Ok(vec![Some(dx)])
    }
}

fn examples() -> Vec<Example> {
    let case = |x, y| Example { op: Arc::new(Svd), inputs: vec![x], outputs: y };
    vec![
        case(
            Tensor::from_slice(&[2, 2], &[0.0, 2.0, -3.0, 0.0]),
            Some(vec![
                Tensor::from_slice(&[2], &[3.0, 2.0]),
                Tensor::from_slice(&[2, 2], &[0.0, 1.0, -1.0, 0.0]),
                Tensor::from_slice(&[2, 2], &[1.0, 0.0, 0.0, 1.0]),
            ]),
        ),
        case(Tensor::from_slice(&[3, 2], &[1.0, 0.5, -0.7, 2.0, 0.3, 0.9]), None),
        case(Tensor::from_slice(&[2, 3], &[1.0, 0.5, -0.7, 2.0, 0.3, 0.9]), None),
    ]
}
