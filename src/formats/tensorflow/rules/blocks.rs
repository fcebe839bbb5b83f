//! Spellings of TensorFlow ops: diagonals of matrices, and space moved into depth or batch.

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::make;
use crate::ops::reduce::ReduceFn;
use crate::ops::shape::{Slice, StridedMasks, StridedSlice};
use crate::program::{Misfit, Value};
use crate::tensor::DType;

use super::arrays::{constant, range};
use super::dims::{self, Dim};
use super::rows;

pub const RULES: &[Spelling] = rows! {
    "MatrixBandPart" => band_part;
    "MatrixDiag" => matrix_diag;
    "MatrixDiagV2" => matrix_diag;
    "MatrixDiagV3" => matrix_diag;
    "BatchMatrixDiag" => matrix_diag;
    "MatrixDiagPart" => matrix_diag_part;
    "MatrixDiagPartV2" => matrix_diag_part;
    "MatrixDiagPartV3" => matrix_diag_part;
    "BatchMatrixDiagPart" => matrix_diag_part;
    "MatrixSetDiag" => matrix_set_diag;
    "MatrixSetDiagV2" => matrix_set_diag;
    "MatrixSetDiagV3" => matrix_set_diag;
    "BatchMatrixSetDiag" => matrix_set_diag;
    "Diag" => diag;
    "DiagPart" => diag_part;
    "SpaceToDepth" => space_to_depth;
    "DepthToSpace" => depth_to_space;
    "SpaceToBatch" => space_to_batch;
    "SpaceToBatchND" => space_to_batch;
    "BatchToSpace" => batch_to_space;
    "BatchToSpaceND" => batch_to_space;
};

type Spelled = Result<Outputs, Misfit>;

/// Column minus row for each position of an `m` by `n` matrix.
fn diagonals(r: &mut Rule<'_, '_>, m: Value, n: Value) -> Result<Value, Misfit> {
    let rows = range(r, m)?;
    let rows = make::expand_dims(r.b, rows, 1)?;
    let columns = range(r, n)?;
    make::sub(r.b, columns, rows)
}

fn band_part(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, lower, upper) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let (m, n) = (dims::size_of(r.b, x, -2)?, dims::size_of(r.b, x, -1)?);
    let above = diagonals(r, m, n)?;
    let below = make::neg(r.b, above)?;
    let zero = make::scalar(r.b, DType::I64, 0.0);
    let mut inside = Vec::new();
    for (limit, distance) in [(lower, below), (upper, above)] {
        let limit = make::cast(r.b, limit, DType::I64)?;
        let open = make::less(r.b, limit, zero)?;
        let near = make::less_equal(r.b, distance, limit)?;
        inside.push(make::or(r.b, open, near)?);
    }
    let inside = make::and(r.b, inside[0], inside[1])?;
    let zero = make::scalar_like(r.b, x, 0.0);
    Ok(smallvec![make::select(r.b, inside, x, zero)?])
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

fn matrix_diag(r: &mut Rule<'_, '_>) -> Spelled {
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

fn matrix_diag_part(r: &mut Rule<'_, '_>) -> Spelled {
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

fn matrix_set_diag(r: &mut Rule<'_, '_>) -> Spelled {
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
fn diag(r: &mut Rule<'_, '_>) -> Spelled {
    let d = r.input(0)?;
    let all = dims::dims(r.b, d)?;
    let flat = make::reshape(r.b, d, &[-1])?;
    let zero = make::scalar_like(r.b, d, 0.0);
    let matrix = diagonal_matrix(r, flat, 0, zero)?;
    let twice: Vec<Dim> = all.iter().chain(&all).copied().collect();
    Ok(smallvec![dims::reshape(r.b, matrix, &twice)?])
}

fn diag_part(r: &mut Rule<'_, '_>) -> Spelled {
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

/// Height, width and channels of an image tensor, by its layout.
fn image(r: &mut Rule<'_, '_>, x: Value) -> Result<(bool, [Dim; 4]), Misfit> {
    let last = match r.str_or("data_format", "NHWC") {
        "NHWC" => true,
        "NCHW" => false,
        other => return Err(Misfit(format!("layout {other} is not supported"))),
    };
    match dims::dims(r.b, x)?[..] {
        [n, h, w, c] if last => Ok((true, [n, h, w, c])),
        [n, c, h, w] => Ok((false, [n, h, w, c])),
        _ => Err(Misfit::new("four dimensions are expected")),
    }
}

fn space_to_depth(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, s) = (r.input(0)?, r.int_or("block_size", 2));
    let (last, [n, h, w, c]) = image(r, x)?;
    let (hs, ws, block) = (h.over(r.b, s)?, w.over(r.b, s)?, Dim::Known(s));
    let deep = c.times(r.b, s * s)?;
    let out = if last {
        let x = dims::reshape(r.b, x, &[n, hs, block, ws, block, c])?;
        let x = make::transpose(r.b, x, &[0, 1, 3, 2, 4, 5])?;
        dims::reshape(r.b, x, &[n, hs, ws, deep])?
    } else {
        let x = dims::reshape(r.b, x, &[n, c, hs, block, ws, block])?;
        let x = make::transpose(r.b, x, &[0, 3, 5, 1, 2, 4])?;
        dims::reshape(r.b, x, &[n, deep, hs, ws])?
    };
    Ok(smallvec![out])
}

fn depth_to_space(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, s) = (r.input(0)?, r.int_or("block_size", 2));
    let (last, [n, h, w, c]) = image(r, x)?;
    let (hs, ws, block) = (h.times(r.b, s)?, w.times(r.b, s)?, Dim::Known(s));
    let flat = c.over(r.b, s * s)?;
    let out = if last {
        let x = dims::reshape(r.b, x, &[n, h, w, block, block, flat])?;
        let x = make::transpose(r.b, x, &[0, 1, 3, 2, 4, 5])?;
        dims::reshape(r.b, x, &[n, hs, ws, flat])?
    } else {
        let x = dims::reshape(r.b, x, &[n, block, block, flat, h, w])?;
        let x = make::transpose(r.b, x, &[0, 3, 4, 1, 5, 2])?;
        dims::reshape(r.b, x, &[n, flat, hs, ws])?
    };
    Ok(smallvec![out])
}

/// Block sizes and `(before, after)` pairs of the spatial dimensions.
fn blocks(r: &Rule<'_, '_>) -> Result<(Vec<i64>, Vec<(i64, i64)>), Misfit> {
    let (blocks, borders) = if r.node.op.ends_with("ND") {
        (r.ints(1)?, r.ints(2)?)
    } else {
        (vec![r.int_or("block_size", 2); 2], r.ints(1)?)
    };
    if borders.len() != 2 * blocks.len() || blocks.iter().any(|&b| b < 1) {
        return Err(Misfit(format!("blocks {blocks:?} with borders {borders:?}")));
    }
    Ok((blocks, borders.chunks_exact(2).map(|p| (p[0], p[1])).collect()))
}

fn space_to_batch(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let (blocks, borders) = blocks(r)?;
    let m = blocks.len();
    let rank = r.b.fact(x).rank().filter(|&rank| rank > m).ok_or_else(|| Misfit::new("the rank does not fit"))?;
    let mut paddings = vec![(0, 0); rank];
    paddings[1..=m].copy_from_slice(&borders);
    let x = make::pad(r.b, x, &paddings)?;
    let all = dims::dims(r.b, x)?;
    // [n, h/b, b, …, rest] → [b…, n, h/b…, rest]
    let (mut split, mut merged) = (vec![all[0]], Vec::new());
    for (i, &block) in blocks.iter().enumerate() {
        let cells = all[1 + i].over(r.b, block)?;
        split.extend([cells, Dim::Known(block)]);
        merged.push(cells);
    }
    split.extend(&all[1 + m..]);
    let x = dims::reshape(r.b, x, &split)?;
    let inner = (0..m as i64).map(|i| 2 * i + 2);
    let cells = (0..m as i64).map(|i| 2 * i + 1);
    let rest = (2 * m + 1..split.len()).map(|a| a as i64);
    let perm: Vec<i64> = inner.chain([0]).chain(cells).chain(rest).collect();
    let x = make::transpose(r.b, x, &perm)?;
    let batch = all[0].times(r.b, blocks.iter().product())?;
    let out: Vec<Dim> = [batch].into_iter().chain(merged).chain(all[1 + m..].iter().copied()).collect();
    Ok(smallvec![dims::reshape(r.b, x, &out)?])
}

fn batch_to_space(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let (blocks, crops) = blocks(r)?;
    let m = blocks.len();
    let all = dims::dims(r.b, x)?;
    if all.len() <= m {
        return Err(Misfit::new("the rank does not fit"));
    }
    // [b…, n, h…, rest] → [n, h, b, …, rest]
    let batch = all[0].over(r.b, blocks.iter().product())?;
    let split: Vec<Dim> =
        blocks.iter().map(|&b| Dim::Known(b)).chain([batch]).chain(all[1..].iter().copied()).collect();
    let x = dims::reshape(r.b, x, &split)?;
    let mut perm = vec![m as i64];
    (0..m as i64).for_each(|i| perm.extend([m as i64 + 1 + i, i]));
    perm.extend((2 * m + 1..split.len()).map(|a| a as i64));
    let x = make::transpose(r.b, x, &perm)?;
    let mut out = vec![batch];
    for (i, &block) in blocks.iter().enumerate() {
        out.push(all[1 + i].times(r.b, block)?);
    }
    out.extend(&all[1 + m..]);
    let x = dims::reshape(r.b, x, &out)?;
    let mut borders = vec![(0, 0); out.len()];
    for (border, crop) in borders[1..].iter_mut().zip(&crops) {
        *border = (-crop.0, -crop.1);
    }
    if crops.iter().all(|c| *c == (0, 0)) {
        return Ok(smallvec![x]);
    }
    Ok(smallvec![make::pad(r.b, x, &borders)?])
}
