//! Spellings of TensorFlow ops: diagonals and bands of matrices. Where an element of the result comes from is known from
//! the shapes alone, so these are reads at fixed positions with a mask. While shapes are unknown, one diagonal can still be
//! spelled with a comparison of positions ([`diagonal`]).

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::linalg::decompose::BandPart;
use crate::ops::linalg::einsum::einsum;
use crate::ops::make;
use crate::ops::sizes::{self, Size};
use crate::program::{Misfit, Value};
use crate::tensor::Tensor;

use super::diagonal;

pub const RULES: &[Spelling] = &[
    Spelling { op: "Einsum", rule: spell_einsum },
    Spelling { op: "MatrixBandPart", rule: band_part },
    Spelling { op: "BatchMatrixBandPart", rule: band_part },
    Spelling { op: "MatrixDiag", rule: matrix_diag },
    Spelling { op: "MatrixDiagV2", rule: matrix_diag },
    Spelling { op: "MatrixDiagV3", rule: matrix_diag },
    Spelling { op: "MatrixDiagPart", rule: matrix_diag_part },
    Spelling { op: "MatrixDiagPartV2", rule: matrix_diag_part },
    Spelling { op: "MatrixDiagPartV3", rule: matrix_diag_part },
    Spelling { op: "MatrixSetDiag", rule: matrix_set_diag },
    Spelling { op: "MatrixSetDiagV2", rule: matrix_set_diag },
    Spelling { op: "MatrixSetDiagV3", rule: matrix_set_diag },
    Spelling { op: "BatchMatrixDiag", rule: matrix_diag },
    Spelling { op: "BatchMatrixDiagPart", rule: matrix_diag_part },
    Spelling { op: "BatchMatrixSetDiag", rule: matrix_set_diag },
    Spelling { op: "Diag", rule: diag },
    Spelling { op: "DiagPart", rule: diag_part },
    Spelling { op: "Cross", rule: cross },
];

fn spell_einsum(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let equation = r.str_or("equation", "").to_owned();
    let operands = r.all_inputs()?;
    Ok(smallvec![einsum(r.b, &equation, &operands)?])
}

fn band_part(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let inputs = [r.input(0)?, r.input(1)?, r.input(2)?];
    Ok(smallvec![r.b.op(BandPart, &inputs)?])
}

/// A band of diagonals of an `m × n` matrix, as the tensor `[.., diagonals, longest]` holds it: from the uppermost down,
/// each aligned to one side.
struct Band {
    lower: i64,
    upper: i64,
    m: i64,
    n: i64,
    left_above: bool,
    left_below: bool,
}

impl Band {
    fn new(r: &Rule<'_, '_>, k: &[i64], m: i64, n: i64) -> Result<Self, Misfit> {
        let (lower, upper) = match *k {
            [one] => (one, one),
            [lower, upper] if lower <= upper => (lower, upper),
            _ => return Err(Misfit(format!("k {k:?} must be one diagonal or a rising pair"))),
        };
        if m < 1 || n < 1 || lower <= -m || upper >= n || m.checked_mul(n).is_none_or(|a| a > 1 << 24) {
            return Err(Misfit(format!("diagonals {lower}..{upper} do not lie in a {m} × {n} matrix")));
        }
        let default = if r.node.op.ends_with("V3") { "RIGHT_LEFT" } else { "LEFT_LEFT" };
        let align = r.str_or("align", default);
        Ok(Self { lower, upper, m, n, left_above: align.starts_with("LEFT"), left_below: align.ends_with("LEFT") })
    }

    fn longest(&self) -> i64 {
        (self.m + self.upper.min(0)).min(self.n - self.lower.max(0))
    }

    fn count(&self) -> i64 {
        self.upper - self.lower + 1
    }

    /// Calls `f(index in the band tensor, index in the matrix)` for every element of the band.
    fn each(&self, mut f: impl FnMut(usize, usize)) {
        for row in 0..self.count() {
            let d = self.upper - row;
            let len = (self.m + d.min(0)).min(self.n - d.max(0));
            let left = (d >= 0 && self.left_above) || (d <= 0 && self.left_below);
            let shift = if left { 0 } else { self.longest() - len };
            for i in 0..len {
                let (y, x) = (i - d.min(0), i + d.max(0));
                f((row * self.longest() + shift + i) as usize, (y * self.n + x) as usize);
            }
        }
    }
}

/// The last `n` axes merged into one; and the sizes before them.
fn flatten_last(r: &mut Rule<'_, '_>, x: Value, n: usize) -> Result<(Value, Vec<Size>), Misfit> {
    let all = sizes::sizes_of(r.b, x)?;
    let at = all.len().checked_sub(n).ok_or_else(|| Misfit(format!("expected {n} or more axes")))?;
    let mut shape = all[..at].to_vec();
    shape.push(sizes::product(r.b, &all[at..])?);
    Ok((sizes::reshape(r.b, x, &shape)?, all[..at].to_vec()))
}

/// Elements of the last axis at `from`, and `otherwise` (broadcast) where that is `None`; the last axis becomes `shape`.
fn read(
    r: &mut Rule<'_, '_>,
    flat: Value,
    from: &[Option<usize>],
    otherwise: Value,
    lead: &[Size],
    shape: &[i64],
) -> Result<Value, Misfit> {
    let index: Vec<i64> = from.iter().map(|f| f.map_or(0, |i| i as i64)).collect();
    let index = r.ints_literal(&index);
    let mut out = make::gather(r.b, flat, index, -1)?;
    if from.iter().any(Option::is_none) {
        let mask: Vec<bool> = from.iter().map(Option::is_some).collect();
        let mask = r.b.literal(Tensor::from_bools(&[mask.len()], &mask));
        out = make::select(r.b, mask, out, otherwise)?;
    }
    let full: Vec<Size> = lead.iter().copied().chain(shape.iter().map(|&d| Size::Known(d))).collect();
    sizes::reshape(r.b, out, &full)
}

fn last_dims(r: &Rule<'_, '_>, i: usize, n: usize) -> Result<Vec<i64>, Misfit> {
    let dims = r.fact(i)?.shape.partial().ok_or_else(|| Misfit::new("the number of axes must be known"))?;
    let at = dims.len().checked_sub(n).ok_or_else(|| Misfit(format!("expected {n} or more axes")))?;
    dims[at..]
        .iter()
        .map(|d| d.map(|d| d as i64).ok_or_else(|| Misfit::new("the matrix sizes must be known")))
        .collect()
}

/// Inputs x, and in the newer forms k and the padding value.
fn matrix_diag_part(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let Ok(dims) = last_dims(r, 0, 2) else { return diagonal::matrix_diag_part(r) };
    let k = if r.has_input(1) { r.ints(1)? } else { vec![0] };
    let band = Band::new(r, &k, dims[0], dims[1])?;
    let x = r.input(0)?;
    let padding = if r.has_input(2) { r.input(2)? } else { make::scalar_like(r.b, x, 0.0) };
    let mut from = vec![None; (band.count() * band.longest()) as usize];
    band.each(|b, m| from[b] = Some(m));
    let (flat, lead) = flatten_last(r, x, 2)?;
    let shape = if band.count() == 1 { vec![band.longest()] } else { vec![band.count(), band.longest()] };
    Ok(smallvec![read(r, flat, &from, padding, &lead, &shape)?])
}

/// Inputs diagonal, and in the newer forms k, number of rows, number of columns, padding value.
fn matrix_diag(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let k = if r.has_input(1) { r.ints(1)? } else { vec![0] };
    let (lower, upper) = (k[0], *k.last().unwrap_or(&0));
    let axes = if lower == upper { 1 } else { 2 };
    let Ok(last) = last_dims(r, 0, axes) else { return diagonal::matrix_diag(r) };
    let longest = last.last().copied().unwrap_or(0);
    let given = |i: usize| -> Result<i64, Misfit> {
        Ok(if r.has_input(i) { r.ints(i)?.first().copied().unwrap_or(-1) } else { -1 })
    };
    let (rows, columns) = (given(2)?, given(3)?);
    // Sizes that are left out are the smallest that hold the band.
    let (least_rows, least_columns) = (longest - upper.min(0), longest + lower.max(0));
    let (m, n) = match (rows, columns) {
        (-1, -1) => (least_rows.max(least_columns), least_rows.max(least_columns)),
        (-1, n) => (least_rows, n),
        (m, -1) => (m, least_columns),
        both => both,
    };
    let band = Band::new(r, &k, m, n)?;
    if band.longest() != longest {
        return Err(Misfit(format!("diagonals of length {longest} do not fill a {m} × {n} matrix")));
    }
    let x = r.input(0)?;
    let padding = if r.has_input(4) { r.input(4)? } else { make::scalar_like(r.b, x, 0.0) };
    let mut from = vec![None; (m * n) as usize];
    band.each(|b, at| from[at] = Some(b));
    let (flat, lead) = flatten_last(r, x, axes)?;
    Ok(smallvec![read(r, flat, &from, padding, &lead, &[m, n])?])
}

/// Inputs x, diagonal, and in the newer forms k.
fn matrix_set_diag(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let Ok(dims) = last_dims(r, 0, 2) else { return diagonal::matrix_set_diag(r) };
    let k = if r.has_input(2) { r.ints(2)? } else { vec![0] };
    let band = Band::new(r, &k, dims[0], dims[1])?;
    let (x, diagonal) = (r.input(0)?, r.input(1)?);
    let mut from = vec![None; (dims[0] * dims[1]) as usize];
    band.each(|b, at| from[at] = Some(b));
    let (flat_x, lead) = flatten_last(r, x, 2)?;
    let (flat, _) = flatten_last(r, diagonal, if band.count() == 1 { 1 } else { 2 })?;
    Ok(smallvec![read(r, flat, &from, flat_x, &lead, &dims)?])
}

/// A tensor of shape s on the diagonal of a tensor of shape s + s.
fn diag(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let x = r.input(0)?;
    let Some(dims) = r.fact(0)?.dims() else { return diagonal::diag(r) };
    let n = dims.iter().product::<usize>();
    if n > 1 << 12 {
        return Err(Misfit(format!("a diagonal of {n} elements is too large")));
    }
    let flat = make::reshape(r.b, x, &[n as i64])?;
    let from: Vec<Option<usize>> = (0..n * n).map(|i| (i / n == i % n).then_some(i % n)).collect();
    let zero = make::scalar_like(r.b, x, 0.0);
    let shape: Vec<i64> = dims.iter().chain(&dims).map(|&d| d as i64).collect();
    Ok(smallvec![read(r, flat, &from, zero, &[], &shape)?])
}

fn diag_part(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let x = r.input(0)?;
    let Some(dims) = r.fact(0)?.dims() else { return diagonal::diag_part(r) };
    let half = dims.len() / 2;
    if dims.len() % 2 != 0 || dims[..half] != dims[half..] {
        return Err(Misfit(format!("a shape of {:?} does not repeat itself", &dims[..])));
    }
    let n = dims[..half].iter().product::<usize>();
    let flat = make::reshape(r.b, x, &[(n * n) as i64])?;
    let from: Vec<Option<usize>> = (0..n).map(|i| Some(i * n + i)).collect();
    let zero = make::scalar_like(r.b, x, 0.0);
    let shape: Vec<i64> = dims[..half].iter().map(|&d| d as i64).collect();
    Ok(smallvec![read(r, flat, &from, zero, &[], &shape)?])
}

/// `a₁b₂ − a₂b₁, …` along the last axis.
fn cross(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (a, b) = (r.input(0)?, r.input(1)?);
    let (next, after) = (r.ints_literal(&[1, 2, 0]), r.ints_literal(&[2, 0, 1]));
    let (a1, a2) = (make::gather(r.b, a, next, -1)?, make::gather(r.b, a, after, -1)?);
    let (b1, b2) = (make::gather(r.b, b, next, -1)?, make::gather(r.b, b, after, -1)?);
    let (plus, minus) = (make::mul(r.b, a1, b2)?, make::mul(r.b, a2, b1)?);
    Ok(smallvec![make::sub(r.b, plus, minus)?])
}
