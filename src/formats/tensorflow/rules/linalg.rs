//! Spellings of TensorFlow ops: matrix products.

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::linalg::MatMul;
use crate::ops::make;
use crate::program::Misfit;

pub const RULES: &[Spelling] = &[
    Spelling { op: "MatMul", rule: |r| product(r, "transpose_a", "transpose_b") },
    Spelling { op: "SparseMatMul", rule: |r| product(r, "transpose_a", "transpose_b") },
    Spelling { op: "BatchMatMul", rule: |r| product(r, "adj_x", "adj_y") },
    Spelling { op: "BatchMatMulV2", rule: |r| product(r, "adj_x", "adj_y") },
    Spelling { op: "BatchMatMulV3", rule: |r| product(r, "adj_x", "adj_y") },
];

fn product(r: &mut Rule<'_, '_>, transpose_a: &str, transpose_b: &str) -> Result<Outputs, Misfit> {
    let op = MatMul { transpose_a: r.bool_or(transpose_a, false), transpose_b: r.bool_or(transpose_b, false) };
    let (mut a, mut b) = (r.input(0)?, r.input(1)?);
    // BatchMatMulV3 and SparseMatMul may widen.
    if let Ok(to) = r.type_attr("Tout") {
        a = make::cast(r.b, a, to)?;
        b = make::cast(r.b, b, to)?;
    }
    Ok(smallvec![r.b.op(op, &[a, b])?])
}
