//! Solution of triangular systems.

use std::sync::Arc;

use super::{BandPart, check_square, positive};
use crate::ops::half::through_f32;
use crate::ops::linalg::{MatMul, dims, same_dtype};
use crate::ops::make;
use crate::ops::simd::Real;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::shape::broadcast;
use crate::tensor::{DType, Dims, Fact, PartialShape, Tensor};
use crate::with_real;

pub static INFO: OpInfo = OpInfo {
    name: "triangular_solve",
    family: "linalg",
    summary: "Solves triangular systems of equations",
    formula: "op(A) X = B where op is the identity or transposition and only the stated triangle of A is read. \
              dB = op(A)⁻ᵀ G; dA = −dB Xᵀ (−X dBᵀ where transposed), on the triangle.",
    examples,
};

/// Inputs `a [.., n, n]`, `b [.., n, k]` (leading axes broadcast); output `[.., n, k]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TriangularSolve {
    pub lower: bool,
    pub transpose: bool,
}

impl TriangularSolve {
    /// Overwrites `x`, which holds B, with the solution.
    fn solve<T: Real>(self, a: &[T], x: &mut [T], n: usize, k: usize) {
        let at = |i: usize, j: usize| if self.transpose { a[j * n + i] } else { a[i * n + j] };
        let forward = self.lower != self.transpose;
        for step in 0..n {
            let i = if forward { step } else { n - 1 - step };
            let known = if forward { 0..i } else { i + 1..n };
            for c in 0..k {
                let mut sum = x[i * k + c];
                for j in known.clone() {
                    sum = sum - at(i, j) * x[j * k + c];
                }
                x[i * k + c] = sum / at(i, i);
            }
        }
    }
}

fn lead(shape: &PartialShape) -> PartialShape {
    match shape.partial() {
        Some([lead @ .., _, _]) => PartialShape::from_partial(lead.iter().copied()),
        _ => PartialShape::unknown(),
    }
}

impl Op for TriangularSolve {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        check_square(inputs[0])?;
        let dtype = same_dtype(inputs)?;
        let (Some(a), Some(b)) = (inputs[0].shape.partial(), inputs[1].shape.partial()) else {
            return Ok(vec![Fact::new(dtype, PartialShape::unknown())]);
        };
        let misfit = || Misfit(format!("A {} and B {} do not fit", inputs[0].shape, inputs[1].shape));
        let ([.., n], [.., rows, columns]) = (a, b) else { return Err(misfit()) };
        if let (Some(n), Some(rows)) = (n, rows)
            && n != rows
        {
            return Err(misfit());
        }
        let batch = broadcast(&lead(&inputs[0].shape), &lead(&inputs[1].shape)).ok_or_else(misfit)?;
        let batch = batch.partial().unwrap_or_default();
        let shape = batch.iter().copied().chain([rows.or(*n), *columns]);
        Ok(vec![Fact::new(dtype, PartialShape::from_partial(shape))])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let (a, b, x) = (dims(inputs[0])?, dims(inputs[1])?, dims(outputs[0])?);
        let (n, k) = (x[x.len() - 2], x[x.len() - 1]);
        let batch: Dims = x[..x.len() - 2].into();
        let (a_at, b_at) = (sources(&batch, &a), sources(&batch, &b));
        let op = *self;
        with_real!(inputs[0].dtype, T => Ok(Kernel::compute(move |call| {
            let (a, b) = (call.input::<T>(0), call.input::<T>(1));
            let x = call.output::<T>(0);
            for (i, (&a_at, &b_at)) in a_at.iter().zip(&b_at).enumerate() {
                let x = &mut x[i * n * k..(i + 1) * n * k];
                x.copy_from_slice(&b[b_at * n * k..(b_at + 1) * n * k]);
                op.solve(&a[a_at * n * n..(a_at + 1) * n * n], x, n, k);
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
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(g) = out_grads[0] else { return Ok(vec![None, None]) };
        let (a, rhs, x) = (at.inputs[0], at.inputs[1], at.outputs[0]);
        let full = b.op(Self { lower: self.lower, transpose: !self.transpose }, &[a, g])?;
        let mut da = None;
        if wanted[0] {
            let (left, right) = if self.transpose { (x, full) } else { (full, x) };
            let outer = b.op(MatMul { transpose_a: false, transpose_b: true }, &[left, right])?;
            let (keep_all, diagonal) = (make::scalar(b, DType::I64, -1.0), make::scalar(b, DType::I64, 0.0));
            let band = if self.lower { [outer, keep_all, diagonal] } else { [outer, diagonal, keep_all] };
            let triangle = b.op(BandPart, &band)?;
            let negative = make::neg(b, triangle)?;
            da = Some(make::sum_to(b, negative, a)?);
        }
        let db = if wanted[1] { Some(make::sum_to(b, full, rhs)?) } else { None };
        Ok(vec![da, db])
    }
}

/// For each matrix of the result's batch, the matrix of an operand that it reads.
fn sources(batch: &[usize], operand: &[usize]) -> Vec<usize> {
    let own = &operand[..operand.len() - 2];
    let skip = batch.len() - own.len();
    let count = batch.iter().product::<usize>();
    (0..count)
        .map(|mut i| {
            let (mut at, mut stride) = (0, 1);
            for axis in (0..batch.len()).rev() {
                let c = i % batch[axis];
                i /= batch[axis];
                if axis >= skip {
                    at += if own[axis - skip] == 1 { 0 } else { c * stride };
                    stride *= own[axis - skip];
                }
            }
            at
        })
        .collect()
}

fn examples() -> Vec<Example> {
    let rhs = || Tensor::from_slice(&[3, 2], &[1.0, -0.5, 0.3, 2.0, -1.0, 0.7]);
    let mut all: Vec<Example> = [(true, false), (true, true), (false, false), (false, true)]
        .into_iter()
        .map(|(lower, transpose)| Example {
            op: Arc::new(TriangularSolve { lower, transpose }),
            inputs: vec![positive(2, 3), rhs()],
            outputs: None,
        })
        .collect();
    all.push(Example {
        op: Arc::new(TriangularSolve { lower: true, transpose: false }),
        inputs: vec![Tensor::from_slice(&[2, 2], &[2.0, 9.0, 1.0, 4.0]), Tensor::from_slice(&[2, 1], &[2.0, 9.0])],
        outputs: Some(vec![Tensor::from_slice(&[2, 1], &[1.0, 2.0])]),
    });
    all
}
