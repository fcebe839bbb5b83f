//! Spellings of TensorFlow ops: images under projective maps, and systems of three diagonals.

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::elementwise::{BinaryFn, UnaryFn};
use crate::ops::index::Gather;
use crate::ops::linalg::decompose::Inverse;
use crate::ops::make;
use crate::program::{Builder, Misfit, Value};
use crate::tensor::{DType, Tensor};

use super::rows;

pub const RULES: &[Spelling] = rows! {
    "ImageProjectiveTransformV2" => projective;
    "ImageProjectiveTransformV3" => projective;
    "TridiagonalSolve" => tridiagonal_solve;
    "TridiagonalMatMul" => tridiagonal_product;
};

#[derive(Clone, Copy, PartialEq)]
enum Outside {
    Constant,
    Reflect,
    Wrap,
    Nearest,
}

/// Inputs images [b, h, w, c], maps [b or 1, 8] from output to input positions, size, and in V3 the value outside
/// (tensorflow/core/kernels/image/image_ops.h). The gradient of the images is exact; TensorFlow's is an approximation.
fn projective(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let is_nearest = match r.str_or("interpolation", "") {
        "NEAREST" => true,
        "BILINEAR" => false,
        other => return Err(Misfit(format!("unknown interpolation {other:?}"))),
    };
    let outside = match r.str_or("fill_mode", "CONSTANT") {
        "CONSTANT" => Outside::Constant,
        "REFLECT" => Outside::Reflect,
        "WRAP" => Outside::Wrap,
        "NEAREST" => Outside::Nearest,
        other => return Err(Misfit(format!("unknown fill_mode {other:?}"))),
    };
    let dims = r.fact(0)?.dims().filter(|d| d.len() == 4);
    let dims = dims.ok_or_else(|| Misfit::new("the shape of the images must be known"))?;
    let size = r.ints(2)?;
    let &[rows, columns] = &size[..] else { return Err(Misfit(format!("an image of size {size:?}"))) };
    if !(1..=1 << 14).contains(&rows) || !(1..=1 << 14).contains(&columns) || dims[1] == 0 || dims[2] == 0 {
        return Err(Misfit(format!("an image of {dims:?} cannot become one of {size:?}")));
    }
    let (image, maps) = (r.input(0)?, r.input(1)?);
    let fill = if r.has_input(3) { r.input(3)? } else { make::scalar(r.b, DType::F32, 0.0) };
    let fill = make::cast(r.b, fill, r.b.fact(image).dtype)?;
    let b = &mut *r.b;
    let maps = make::cast(b, maps, DType::F32)?;
    let (x, y, is_sound) = positions(b, maps, rows, columns)?;
    let x = brought_inside(b, x, dims[2], outside)?;
    let y = brought_inside(b, y, dims[1], outside)?;
    let flat = make::reshape(b, image, &[dims[0] as i64, -1, dims[3] as i64])?;
    let all = b.literal(Tensor::from_slice(&[3], &[dims[0] as i64, rows, columns]));
    let source = Source { flat, fill, all, height: dims[1] as f64, width: dims[2] as f64 };
    let value = if is_nearest {
        let (x, y) = (round_away(b, x)?, round_away(b, y)?);
        source.read(b, x, y)?
    } else {
        source.between(b, x, y)?
    };
    let is_sound = make::broadcast_to(b, is_sound, all)?;
    let is_sound = make::expand_dims(b, is_sound, -1)?;
    Ok(smallvec![make::select(b, is_sound, value, fill)?])
}

/// Where each output element reads, `[b, rows, columns]`, and whether that is anywhere.
fn positions(b: &mut Builder, maps: Value, rows: i64, columns: i64) -> Result<(Value, Value, Value), Misfit> {
    let numbers = |n: i64| (0..n).map(|i| i as f32).collect::<Vec<_>>();
    let across = b.literal(Tensor::from_slice(&[1, 1, columns as usize], &numbers(columns)));
    let down = b.literal(Tensor::from_slice(&[1, rows as usize, 1], &numbers(rows)));
    let mut sums = Vec::new();
    for first in [0i64, 3, 6] {
        let mut terms = Vec::new();
        for (i, with) in [Some(across), Some(down), None].into_iter().enumerate() {
            if first == 6 && with.is_none() {
                terms.push(make::scalar(b, DType::F32, 1.0));
                continue;
            }
            let part = make::slice(b, maps, &[0, first + i as i64], &[-1, 1])?;
            let part = make::reshape(b, part, &[-1, 1, 1])?;
            terms.push(match with {
                Some(with) => make::mul(b, part, with)?,
                None => part,
            });
        }
        let sum = make::add(b, terms[0], terms[1])?;
        sums.push(make::add(b, sum, terms[2])?);
    }
    let zero = make::scalar(b, DType::F32, 0.0);
    let is_sound = make::not_equal(b, sums[2], zero)?;
    let one = make::scalar(b, DType::F32, 1.0);
    let below = make::select(b, is_sound, sums[2], one)?;
    Ok((make::div(b, sums[0], below)?, make::div(b, sums[1], below)?, is_sound))
}

/// A position outside as the one inside that stands for it.
fn brought_inside(b: &mut Builder, at: Value, n: usize, outside: Outside) -> Result<Value, Misfit> {
    let size = n as f64;
    if outside == Outside::Constant {
        return Ok(at);
    }
    let zero = make::scalar_like(b, at, 0.0);
    let last = make::scalar_like(b, at, size - 1.0);
    let moved = match outside {
        _ if n <= 1 => make::mul_scalar(b, at, 0.0)?,
        Outside::Reflect => {
            // Mirrored at both edges: a period of two sizes.
            let period = make::scalar_like(b, at, 2.0 * size);
            let inside = make::binary(b, BinaryFn::FloorMod, at, period)?;
            let back = make::scalar_like(b, at, 2.0 * size - 1.0);
            let back = make::sub(b, back, inside)?;
            let end = make::scalar_like(b, at, size);
            let is_past = make::greater_equal(b, inside, end)?;
            let mirrored = make::select(b, is_past, back, inside)?;
            let is_in = within(b, at, zero, last)?;
            make::select(b, is_in, at, mirrored)?
        }
        Outside::Wrap => {
            // Below the first and behind the last element in steps of the size, counted in spans of size - 1.
            let span = make::mul_scalar(b, at, 1.0 / (size - 1.0))?;
            let spans = make::unary(b, UnaryFn::Trunc, span)?;
            let behind = make::mul_scalar(b, spans, size)?;
            let behind = make::sub(b, at, behind)?;
            let before = make::mul_scalar(b, spans, -size)?;
            let before = make::add(b, at, before)?;
            let before = make::add_scalar(b, before, size)?;
            let is_before = make::less(b, at, zero)?;
            let moved = make::select(b, is_before, before, behind)?;
            let is_in = within(b, at, zero, last)?;
            make::select(b, is_in, at, moved)?
        }
        _ => at,
    };
    let moved = make::minimum(b, moved, last)?;
    make::maximum(b, moved, zero)
}

fn within(b: &mut Builder, at: Value, low: Value, high: Value) -> Result<Value, Misfit> {
    let (above, below) = (make::greater_equal(b, at, low)?, make::less_equal(b, at, high)?);
    make::and(b, above, below)
}

/// The nearest integer, halves away from zero.
fn round_away(b: &mut Builder, x: Value) -> Result<Value, Misfit> {
    let (sign, size) = (make::sign(b, x)?, make::abs(b, x)?);
    let size = make::add_scalar(b, size, 0.5)?;
    let size = make::unary(b, UnaryFn::Floor, size)?;
    make::mul(b, sign, size)
}

/// Images as `[b, h · w, c]`.
struct Source {
    flat: Value,
    fill: Value,
    /// `[b, rows, columns]`.
    all: Value,
    height: f64,
    width: f64,
}

impl Source {
    /// Elements at whole positions; the fill value where there are none.
    fn read(&self, b: &mut Builder, x: Value, y: Value) -> Result<Value, Misfit> {
        let zero = make::scalar_like(b, x, 0.0);
        let (right, bottom) = (make::scalar_like(b, x, self.width - 1.0), make::scalar_like(b, x, self.height - 1.0));
        let (in_x, in_y) = (within(b, x, zero, right)?, within(b, y, zero, bottom)?);
        let is_in = make::and(b, in_x, in_y)?;
        // Also where the map gives no number.
        let (x, y) = (make::select(b, is_in, x, zero)?, make::select(b, is_in, y, zero)?);
        let (x, y) = (make::cast(b, x, DType::I64)?, make::cast(b, y, DType::I64)?);
        let at = make::mul_scalar(b, y, self.width)?;
        let at = make::add(b, at, x)?;
        let at = make::broadcast_to(b, at, self.all)?;
        let read = b.op(Gather { axis: 1, batch_dims: 1 }, &[self.flat, at])?;
        let is_in = make::broadcast_to(b, is_in, self.all)?;
        let is_in = make::expand_dims(b, is_in, -1)?;
        make::select(b, is_in, read, self.fill)
    }

    fn between(&self, b: &mut Builder, x: Value, y: Value) -> Result<Value, Misfit> {
        let dtype = b.fact(self.flat).dtype;
        let (left, top) = (make::unary(b, UnaryFn::Floor, x)?, make::unary(b, UnaryFn::Floor, y)?);
        let (right, bottom) = (make::add_scalar(b, left, 1.0)?, make::add_scalar(b, top, 1.0)?);
        let weight = |b: &mut Builder, from: Value, to: Value| {
            let w = make::sub(b, to, from)?;
            let w = make::broadcast_to(b, w, self.all)?;
            let w = make::expand_dims(b, w, -1)?;
            make::cast(b, w, dtype)
        };
        let (to_left, to_right) = (weight(b, left, x)?, weight(b, x, right)?);
        let (to_top, to_bottom) = (weight(b, top, y)?, weight(b, y, bottom)?);
        let mut lines = Vec::new();
        for (line, share) in [(top, to_bottom), (bottom, to_top)] {
            let (first, second) = (self.read(b, left, line)?, self.read(b, right, line)?);
            let (first, second) = (make::mul(b, first, to_right)?, make::mul(b, second, to_left)?);
            let sum = make::add(b, first, second)?;
            lines.push(make::mul(b, sum, share)?);
        }
        make::add(b, lines[0], lines[1])
    }
}

/// Largest system that is solved as a dense one.
const LARGEST_SYSTEM: usize = 1 << 11;

/// Inputs diagonals [.., 3, n] (above, on, below), right sides [.., n, k]; solved as a dense system.
fn tridiagonal_solve(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let n = r.fact(0)?.dims().and_then(|d| d.last().copied());
    let n = n.ok_or_else(|| Misfit::new("the size of the system must be known"))?;
    if n > LARGEST_SYSTEM {
        return Err(Misfit(format!(
            "a system of {n} equations is above {LARGEST_SYSTEM}, up to which it is solved here"
        )));
    }
    let (diagonals, right) = (r.input(0)?, r.input(1)?);
    let dtype = r.b.fact(diagonals).dtype;
    let mut matrix = None;
    for row in 0..3i64 {
        let ones = (0..n * n).map(|at| f64::from(u8::from((at / n) as i64 + 1 - row == (at % n) as i64)));
        let mask = r.b.literal(Tensor::from_f64s(dtype, &[n, n], ones));
        let line = diagonal(r.b, diagonals, row)?;
        let line = make::expand_dims(r.b, line, -1)?;
        let part = make::mul(r.b, line, mask)?;
        matrix = Some(match matrix {
            None => part,
            Some(m) => make::add(r.b, m, part)?,
        });
    }
    let matrix = matrix.ok_or_else(|| Misfit::new("there are no diagonals"))?;
    let inverse = r.b.op(Inverse, &[matrix])?;
    Ok(smallvec![make::matmul(r.b, inverse, right)?])
}

/// Row `which` of [.., 3, n], or of [.., 1, n].
fn diagonal(b: &mut Builder, x: Value, which: i64) -> Result<Value, Misfit> {
    let at = make::scalar(b, DType::I64, which as f64);
    make::gather(b, x, at, -2)
}

/// Inputs the diagonals above, on and below, each [.., 1, n], and a matrix [.., n, k].
fn tridiagonal_product(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let rank = r.fact(3)?.rank().filter(|&rank| rank >= 2);
    let rank = rank.ok_or_else(|| Misfit::new("the number of axes must be known"))?;
    let n = r.fact(3)?.shape.dim(rank - 2).filter(|&n| n > 0);
    let n = n.ok_or_else(|| Misfit::new("the number of rows must be known"))? as i64;
    let x = r.input(3)?;
    let mut sum = None;
    for (i, shift) in [1i64, 0, -1].into_iter().enumerate() {
        let line = r.input(i)?;
        let line = diagonal(r.b, line, 0)?;
        let line = make::expand_dims(r.b, line, -1)?;
        let (mut begin, mut size, mut paddings) = (vec![0; rank], vec![-1; rank], vec![(0, 0); rank]);
        (begin[rank - 2], size[rank - 2]) = (shift.max(0), n - shift.abs());
        paddings[rank - 2] = ((-shift).max(0), shift.max(0));
        let moved = make::slice(r.b, x, &begin, &size)?;
        let moved = make::pad(r.b, moved, &paddings)?;
        let part = make::mul(r.b, line, moved)?;
        sum = Some(match sum {
            None => part,
            Some(s) => make::add(r.b, s, part)?,
        });
    }
    Ok(smallvec![sum.unwrap_or(x)])
}
