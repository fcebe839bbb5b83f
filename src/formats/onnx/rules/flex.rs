//! Spellings of the parts of `FlexAttention` (see `onnx/bodies.rs`): what stands between the changes that the file's own
//! subgraphs make.

use crate::lower::{Rule, Spelling};
use crate::ops::linalg::MatMul;
use crate::ops::make;
use crate::ops::norm::Softmax;
use crate::program::{Builder, Misfit, Value};
use crate::tensor::DType;

use super::attention::repeat_heads;
use super::common::{Spelled, one, strict_rows, type_of};

pub const RULES: &[Spelling] = strict_rows! {
    "ai.onnx.preview.FlexScores" => scores;
    "ai.onnx.preview.FlexProbabilities" => |r| { let x = r.input(0)?; one(r.b.op(Softmax { axis: -1 }, &[x])?) };
    "ai.onnx.preview.FlexValues" => values;
};

/// Keys or values with as many heads as the queries have.
fn shared(b: &mut Builder, x: Value, heads: Value) -> Result<Value, Misfit> {
    let count = |v: Value| b.fact(v).shape.dim(1).ok_or_else(|| Misfit::new("the number of heads must be known"));
    let (all, own) = (count(heads)?, count(x)?);
    if own == 0 || all % own != 0 {
        return Err(Misfit(format!("{all} query heads for {own} key heads")));
    }
    repeat_heads(b, x, (all / own) as i64)
}

/// Inputs: queries, keys `[batch, heads, steps, size]`. Products in the type of the softmax.
fn scores(r: &mut Rule<'_, '_>) -> Spelled {
    let (q, k) = (r.input(0)?, r.input(1)?);
    let size = r.b.fact(q).shape.dim(3).ok_or_else(|| Misfit::new("the size of a head must be known"))?;
    let scale = r.attr("scale").and_then(crate::graph::Attr::as_float).map_or(1.0 / (size as f64).sqrt(), f64::from);
    let dtype = r.b.fact(q).dtype;
    let k = shared(r.b, k, q)?;
    // Both sides carry the root of the scale, as the standard has it, so that half types do not overflow.
    let (q, k) = (make::mul_scalar(r.b, q, scale.sqrt())?, make::mul_scalar(r.b, k, scale.sqrt())?);
    let products = r.b.op(MatMul { transpose_a: false, transpose_b: true }, &[q, k])?;
    let default = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let precision = type_of(r, "softmax_precision")?.unwrap_or(default);
    one(make::cast(r.b, products, precision)?)
}

/// Inputs: probabilities, values.
fn values(r: &mut Rule<'_, '_>) -> Spelled {
    let (weights, v) = (r.input(0)?, r.input(1)?);
    let (precision, to) = (r.b.fact(weights).dtype, r.b.fact(v).dtype);
    let v = shared(r.b, v, weights)?;
    let v = make::cast(r.b, v, precision)?;
    let y = make::matmul(r.b, weights, v)?;
    one(make::cast(r.b, y, to)?)
}
