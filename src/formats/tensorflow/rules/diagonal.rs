//! Diagonals of matrices whose sizes are not known while spelling: written with a comparison of positions. Where sizes are
//! known, `matrix` reads fixed positions instead, which also serves bands of several diagonals.

use smallvec::smallvec;

use crate::lower::{Outputs, Rule};
use crate::ops::make;
use crate::ops::reduce::ReduceFn;
use crate::ops::shape::{Slice, StridedMasks, StridedSlice};
use crate::program::{Misfit, Value};
use crate::tensor::DType;

use super::arrays::{constant, range};
use super::dims::{self, Dim};

type Spelled = Result<Outputs, Misfit>;

/// Column minus row for each position of an `m` by `n` matrix.
fn diagonals(r: &mut Rule<'_, '_>, m: Value, n: Value) -> Result<Value, Misfit> {
    let rows = range(r, m)?;
    let rows = make::expand_dims(r.b, rows, 1)?;
    let columns = range(r, n)?;
    make::sub(r.b, columns, rows)
}

/// The offset of the one diagonal that is meant; bands of several are refused.
fn one_diagonal(r: &Rule<'_, '_>, input: usize) -> Result<i64, Misfit> {
    if !r.has_input(input) {
        return Ok(0);
    }
    match r.ints(input)?[..] {
        [k] => Ok(k),
        [a, z] if a == z => Ok(a),
        _ => Err(Misfit::new("a band of several diagonals is not supported")),
    }
}

pub(super) fn matrix_diag(r: &mut Rule<'_, '_>) -> Spelled {
    let (d, k) = (r.input(0)?, one_diagonal(r, 1)?);
    for (input, name) in [(2, "num_rows"), (3, "num_cols")] {
        if r.has_input(input) && constant(r, input)? != -1 {
            return Err(Misfit(format!("{name} other than -1 is not supported")));
        }
    }
    let fill = if r.has_input(4) { r.input(4)? } else { make::scalar_like(r.b, d, 0.0) };
    Ok(smallvec![diagonal_matrix(r, d, k, fill)?])
}

/// Square matrices with `d` on diagonal `k`.
fn diagonal_matrix(r: &mut Rule<'_, '_>, d: Value, k: i64, fill: Value) -> Result<Value, Misfit> {
    let n = dims::size_of(r.b, d, -1)?;
    let side = make::add_scalar(r.b, n, k.abs() as f64)?;
    let offsets = diagonals(r, side, side)?;
    let want = make::scalar(r.b, DType::I64, k as f64);
    let hit = make::equal(r.b, offsets, want)?;
    let rank = r.b.fact(d).rank().ok_or_else(|| Misfit::new("the rank is not known"))?;
    // Row i of the result holds element i (k ≥ 0) or i + k (k < 0) of the diagonal.
    let mut paddings = vec![(0, 0); rank];
    paddings[rank - 1] = if k >= 0 { (0, k) } else { (-k, 0) };
    let padded = if k == 0 { d } else { make::pad(r.b, d, &paddings)? };
    let column = make::expand_dims(r.b, padded, -1)?;
    make::select(r.b, hit, column, fill)
}

pub(super) fn matrix_diag_part(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, k) = (r.input(0)?, one_diagonal(r, 1)?);
    let (m, n) = (dims::size_of(r.b, x, -2)?, dims::size_of(r.b, x, -1)?);
    let offsets = diagonals(r, m, n)?;
    let want = make::scalar(r.b, DType::I64, k as f64);
    let hit = make::equal(r.b, offsets, want)?;
    let zero = make::scalar_like(r.b, x, 0.0);
    let only = make::select(r.b, hit, x, zero)?;
    // Each row holds at most one element of the diagonal: their sums are the elements, in rows max(0, -k) and on.
    let per_row = make::reduce_sum(r.b, only, &[-1], false)?;
    let first = (-k).max(0);
    let room = make::add_scalar(r.b, n, -(k.max(0) as f64))?;
    let rows = make::add_scalar(r.b, m, -(first as f64))?;
    let count = make::minimum(r.b, rows, room)?;
    let rank = r.b.fact(per_row).rank().ok_or_else(|| Misfit::new("the rank is not known"))?;
    let mut begin = vec![0; rank];
    begin[rank - 1] = first;
    let begin = make::ints(r.b, &begin);
    let whole = make::ints(r.b, &vec![-1; rank - 1]);
    let count = make::reshape(r.b, count, &[1])?;
    let size = make::concat(r.b, &[whole, count], 0)?;
    Ok(smallvec![r.b.op(Slice, &[per_row, begin, size])?])
}

pub(super) fn matrix_set_diag(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, d, k) = (r.input(0)?, r.input(1)?, one_diagonal(r, 2)?);
    if k != 0 {
        return Err(Misfit::new("only the main diagonal is supported"));
    }
    let (m, n) = (dims::size_of(r.b, x, -2)?, dims::size_of(r.b, x, -1)?);
    let wide = match (r.b.fact(m).scalar(), r.b.fact(n).scalar()) {
        (Some(m), Some(n)) => m <= n,
        _ => true,
    };
    let offsets = diagonals(r, m, n)?;
    let zero = make::scalar(r.b, DType::I64, 0.0);
    let hit = make::equal(r.b, offsets, zero)?;
    let d = make::expand_dims(r.b, d, if wide { -1 } else { -2 })?;
    Ok(smallvec![make::select(r.b, hit, d, x)?])
}

/// A diagonal tensor of twice the rank.
pub(super) fn diag(r: &mut Rule<'_, '_>) -> Spelled {
    let d = r.input(0)?;
    let all = dims::dims(r.b, d)?;
    let flat = make::reshape(r.b, d, &[-1])?;
    let zero = make::scalar_like(r.b, d, 0.0);
    let matrix = diagonal_matrix(r, flat, 0, zero)?;
    let twice: Vec<Dim> = all.iter().chain(&all).copied().collect();
    Ok(smallvec![dims::reshape(r.b, matrix, &twice)?])
}

pub(super) fn diag_part(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let all = dims::dims(r.b, x)?;
    let half = &all[..all.len() / 2];
    // The diagonal of an n by n matrix, as every (n + 1)th element.
    let flat = make::reshape(r.b, x, &[-1])?;
    let half_shape = dims::vector(r.b, half)?;
    let zero = make::ints(r.b, &[0]);
    let n = make::reduce(r.b, ReduceFn::Prod, half_shape, zero, true)?;
    let step = make::add_scalar(r.b, n, 1.0)?;
    let (begin, end) = (make::ints(r.b, &[0]), make::ints(r.b, &[0]));
    let masks = StridedMasks { begin: 1, end: 1, ..StridedMasks::default() };
    let d = r.b.op(StridedSlice { masks }, &[flat, begin, end, step])?;
    Ok(smallvec![dims::reshape(r.b, d, half)?])
}
