//! Spellings of ONNX ops: matrix products and what is made of them.

use crate::lower::{Rule, Spelling};
use crate::ops::linalg::{MatMul, decompose::Determinant, einsum::einsum};
use crate::ops::make;
use crate::program::{Builder, Misfit, Value};
use crate::tensor::DType;

use super::common::{Spelled, one, rows};

pub const RULES: &[Spelling] = rows! {
    "MatMul" => matmul;
    "Gemm" => gemm;
    "Einsum" => einsum_rule;
    "Det" => |r| { let x = r.input(0)?; one(r.b.op(Determinant, &[x])?) };
};

/// NumPy's product: vectors get an axis, which goes away again.
pub fn product(b: &mut Builder, x: Value, y: Value) -> Result<Value, Misfit> {
    let (mut x, mut y) = (x, y);
    let is_vector = |b: &Builder, v: Value| b.fact(v).rank() == Some(1);
    let (row, column) = (is_vector(b, x), is_vector(b, y));
    if row {
        x = make::expand_dims(b, x, 0)?;
    }
    if column {
        y = make::expand_dims(b, y, 1)?;
    }
    let dtype = b.fact(x).dtype;
    let mut out = if dtype.is_int() {
        // Sums of integers are exact in float64 up to 2^53.
        let (x, y) = (make::cast(b, x, DType::F64)?, make::cast(b, y, DType::F64)?);
        let sum = make::matmul(b, x, y)?;
        make::cast(b, sum, dtype)?
    } else {
        make::matmul(b, x, y)?
    };
    if column {
        out = crate::ops::shape::squeeze(b, out, Some(&[-1]))?;
    }
    if row {
        out = crate::ops::shape::squeeze(b, out, Some(&[if column { -1 } else { -2 }]))?;
    }
    Ok(out)
}

fn matmul(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, y) = (r.input(0)?, r.input(1)?);
    one(product(r.b, x, y)?)
}

/// `alpha · A' B' + beta · C`.
pub fn gemm(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, y) = (r.input(0)?, r.input(1)?);
    let op = MatMul { transpose_a: r.int_or("transA", 0) != 0, transpose_b: r.int_or("transB", 0) != 0 };
    let (alpha, beta) = (r.float_or("alpha", 1.0), r.float_or("beta", 1.0));
    let mut out = r.b.op(op, &[x, y])?;
    if alpha != 1.0 {
        out = make::mul_scalar(r.b, out, f64::from(alpha))?;
    }
    if r.has_input(2) && beta != 0.0 {
        let mut c = r.input(2)?;
        if beta != 1.0 {
            c = make::mul_scalar(r.b, c, f64::from(beta))?;
        }
        out = make::add(r.b, out, c)?;
    }
    one(out)
}

fn einsum_rule(r: &mut Rule<'_, '_>) -> Spelled {
    let inputs = r.all_inputs()?;
    let equation = r.str_or("equation", "").to_owned();
    one(einsum(r.b, &equation, &inputs)?)
}
