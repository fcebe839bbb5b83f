//! Short constructors of instructions, for gradient rules, spellings and passes: `make::add(b, x, y)?`.
//!
//! Shapes that are known become literals; unknown ones are computed with `shape_of`, so that every form here also works
//! on a program whose shapes are still symbolic.

use crate::program::{Builder, Misfit, Value};
use crate::tensor::{DType, Tensor};

use super::elementwise::{Binary, BinaryFn, Cast, Select, Unary, UnaryFn};
use super::index::{Gather, Range};
use super::linalg::MatMul;
use super::reduce::{Reduce, ReduceFn};
use super::shape::{BroadcastTo, Concat, Pad, PadMode, Reshape, ShapeOf, Slice, SumTo, Tile, Transpose, squeeze};

/// A one-dimensional `int64` literal.
pub fn ints(b: &mut Builder, values: &[i64]) -> Value {
    b.literal(Tensor::from_slice(&[values.len()], values))
}

/// A scalar literal.
pub fn scalar(b: &mut Builder, dtype: DType, value: f64) -> Value {
    b.literal(Tensor::filled(dtype, &[], value))
}

/// A scalar literal of the element type of `like`.
pub fn scalar_like(b: &mut Builder, like: Value, value: f64) -> Value {
    let dtype = b.fact(like).dtype;
    scalar(b, dtype, value)
}

/// A function of one element.
pub fn unary(b: &mut Builder, f: UnaryFn, x: Value) -> Result<Value, Misfit> {
    b.op(Unary { f }, &[x])
}

/// A function of two elements, broadcasting.
pub fn binary(b: &mut Builder, f: BinaryFn, x: Value, y: Value) -> Result<Value, Misfit> {
    b.op(Binary { f }, &[x, y])
}

macro_rules! unaries {
    ($($name:ident $f:ident),*) => { $(
        #[doc = concat!("`", stringify!($f), "` of each element.")]
        pub fn $name(b: &mut Builder, x: Value) -> Result<Value, Misfit> {
            unary(b, UnaryFn::$f, x)
        }
    )* };
}
unaries!(neg Neg, abs Abs, square Square, sqrt Sqrt, rsqrt Rsqrt, reciprocal Reciprocal, exp Exp, log Log, tanh Tanh,
    sigmoid Sigmoid, erf Erf, relu Relu, not Not, sign Sign);

macro_rules! binaries {
    ($($name:ident $f:ident),*) => { $(
        #[doc = concat!("`", stringify!($f), "` of two values, broadcasting.")]
        pub fn $name(b: &mut Builder, x: Value, y: Value) -> Result<Value, Misfit> {
            binary(b, BinaryFn::$f, x, y)
        }
    )* };
}
binaries!(add Add, sub Sub, mul Mul, div Div, pow Pow, maximum Maximum, minimum Minimum, less Less, less_equal LessEqual,
    greater Greater, greater_equal GreaterEqual, equal Equal, not_equal NotEqual, and And, or Or);

/// `x + value`.
pub fn add_scalar(b: &mut Builder, x: Value, value: f64) -> Result<Value, Misfit> {
    let s = scalar_like(b, x, value);
    add(b, x, s)
}

/// `x * value`.
pub fn mul_scalar(b: &mut Builder, x: Value, value: f64) -> Result<Value, Misfit> {
    let s = scalar_like(b, x, value);
    mul(b, x, s)
}

/// `cond ? x : y`, broadcasting.
pub fn select(b: &mut Builder, cond: Value, x: Value, y: Value) -> Result<Value, Misfit> {
    b.op(Select, &[cond, x, y])
}

/// Another element type; nothing where it is that type already.
pub fn cast(b: &mut Builder, x: Value, to: DType) -> Result<Value, Misfit> {
    if b.fact(x).dtype == to { Ok(x) } else { b.op(Cast { to }, &[x]) }
}

/// A reduction over the axes that `axes` (a value) lists.
pub fn reduce(b: &mut Builder, f: ReduceFn, x: Value, axes: Value, keep_dims: bool) -> Result<Value, Misfit> {
    b.op(Reduce { f, keep_dims }, &[x, axes])
}

/// A sum over `axes`; negative axes count from the end.
pub fn reduce_sum(b: &mut Builder, x: Value, axes: &[i64], keep_dims: bool) -> Result<Value, Misfit> {
    let axes = ints(b, axes);
    reduce(b, ReduceFn::Sum, x, axes, keep_dims)
}

pub fn reduce_mean(b: &mut Builder, x: Value, axes: &[i64], keep_dims: bool) -> Result<Value, Misfit> {
    let axes = ints(b, axes);
    reduce(b, ReduceFn::Mean, x, axes, keep_dims)
}

pub fn reduce_max(b: &mut Builder, x: Value, axes: &[i64], keep_dims: bool) -> Result<Value, Misfit> {
    let axes = ints(b, axes);
    reduce(b, ReduceFn::Max, x, axes, keep_dims)
}

/// The sum of all elements, a scalar.
pub fn sum_all(b: &mut Builder, x: Value) -> Result<Value, Misfit> {
    let axes = all_axes(b, x)?;
    reduce(b, ReduceFn::Sum, x, axes, false)
}

/// The mean of all elements, a scalar.
pub fn mean_all(b: &mut Builder, x: Value) -> Result<Value, Misfit> {
    let axes = all_axes(b, x)?;
    reduce(b, ReduceFn::Mean, x, axes, false)
}

/// `0..rank` as a value.
pub fn all_axes(b: &mut Builder, x: Value) -> Result<Value, Misfit> {
    if let Some(rank) = b.fact(x).rank() {
        let axes: Vec<i64> = (0..rank as i64).collect();
        return Ok(ints(b, &axes));
    }
    let shape = shape_of(b, x)?;
    let rank = shape_of(b, shape)?;
    let rank = squeeze(b, rank, Some(&[0]))?;
    let (zero, one) = (scalar(b, DType::I64, 0.0), scalar(b, DType::I64, 1.0));
    b.op(Range, &[zero, rank, one])
}

/// The shape as an `int64` vector: a literal where it is known.
pub fn shape_of(b: &mut Builder, x: Value) -> Result<Value, Misfit> {
    match b.fact(x).dims() {
        Some(dims) => Ok(ints(b, &dims.iter().map(|&d| d as i64).collect::<Vec<_>>())),
        None => b.op(ShapeOf { to: DType::I64 }, &[x]),
    }
}

/// Another shape; one dimension may be -1.
pub fn reshape(b: &mut Builder, x: Value, shape: &[i64]) -> Result<Value, Misfit> {
    let shape = ints(b, shape);
    reshape_to(b, x, shape)
}

/// Another shape, given as a value. Nothing where `x` has that shape already.
pub fn reshape_to(b: &mut Builder, x: Value, shape: Value) -> Result<Value, Misfit> {
    let known = b.fact(shape).ints();
    if let (Some(want), Some(have)) = (known, b.fact(x).dims())
        && want.len() == have.len()
        && want.iter().zip(&have).all(|(w, h)| *w == *h as i64)
    {
        return Ok(x);
    }
    b.op(Reshape, &[x, shape])
}

/// The shape of `like`.
pub fn reshape_like(b: &mut Builder, x: Value, like: Value) -> Result<Value, Misfit> {
    let shape = shape_of(b, like)?;
    reshape_to(b, x, shape)
}

/// Inserts a dimension of 1 before `axis` of the result (negative counts from the end of the result). The rank must be known.
pub fn expand_dims(b: &mut Builder, x: Value, axis: i64) -> Result<Value, Misfit> {
    super::shape::expand_dims(b, x, axis)
}

pub fn transpose(b: &mut Builder, x: Value, perm: &[i64]) -> Result<Value, Misfit> {
    let perm = ints(b, perm);
    b.op(Transpose, &[x, perm])
}

/// Repeats `x` to `shape` (a value) by the NumPy rule.
pub fn broadcast_to(b: &mut Builder, x: Value, shape: Value) -> Result<Value, Misfit> {
    let known = b.fact(shape).ints();
    if let (Some(want), Some(have)) = (known, b.fact(x).dims())
        && want.len() == have.len()
        && want.iter().zip(&have).all(|(w, h)| *w == *h as i64)
    {
        return Ok(x);
    }
    b.op(BroadcastTo, &[x, shape])
}

/// Repeats `x` to the shape of `like`.
pub fn broadcast_like(b: &mut Builder, x: Value, like: Value) -> Result<Value, Misfit> {
    let shape = shape_of(b, like)?;
    broadcast_to(b, x, shape)
}

/// Sums `g` down to the shape of `like`, undoing a broadcast.
pub fn sum_to(b: &mut Builder, g: Value, like: Value) -> Result<Value, Misfit> {
    let (Some(from), Some(to)) = (b.fact(g).dims(), b.fact(like).dims()) else {
        return b.op(SumTo, &[g, like]);
    };
    if from == to {
        return Ok(g);
    }
    let lead = from.len().saturating_sub(to.len());
    let axes: Vec<i64> =
        (0..from.len()).filter(|&a| a < lead || (to[a - lead] == 1 && from[a] != 1)).map(|a| a as i64).collect();
    let summed = reduce_sum(b, g, &axes, true)?;
    reshape(b, summed, &to.iter().map(|&d| d as i64).collect::<Vec<_>>())
}

/// A value of the shape of `like` with every element `value`.
pub fn filled_like(b: &mut Builder, like: Value, value: f64) -> Result<Value, Misfit> {
    let s = scalar_like(b, like, value);
    broadcast_like(b, s, like)
}

pub fn zeros_like(b: &mut Builder, like: Value) -> Result<Value, Misfit> {
    filled_like(b, like, 0.0)
}

pub fn ones_like(b: &mut Builder, like: Value) -> Result<Value, Misfit> {
    filled_like(b, like, 1.0)
}

pub fn concat(b: &mut Builder, parts: &[Value], axis: i64) -> Result<Value, Misfit> {
    match parts {
        [one] => Ok(*one),
        _ => b.op(Concat { axis }, parts),
    }
}

/// `size` -1 = to the end.
pub fn slice(b: &mut Builder, x: Value, begin: &[i64], size: &[i64]) -> Result<Value, Misfit> {
    let (begin, size) = (ints(b, begin), ints(b, size));
    b.op(Slice, &[x, begin, size])
}

/// Pads with zeros; `paddings` is `(before, after)` of each dimension.
pub fn pad(b: &mut Builder, x: Value, paddings: &[(i64, i64)]) -> Result<Value, Misfit> {
    let flat: Vec<i64> = paddings.iter().flat_map(|&(before, after)| [before, after]).collect();
    let paddings = b.literal(Tensor::from_slice(&[paddings.len(), 2], &flat));
    let zero = scalar_like(b, x, 0.0);
    b.op(Pad { mode: PadMode::Constant }, &[x, paddings, zero])
}

pub fn tile(b: &mut Builder, x: Value, repeats: &[i64]) -> Result<Value, Misfit> {
    let repeats = ints(b, repeats);
    b.op(Tile, &[x, repeats])
}

/// Rows of `x` along `axis`.
pub fn gather(b: &mut Builder, x: Value, indices: Value, axis: i64) -> Result<Value, Misfit> {
    b.op(Gather { axis, batch_dims: 0 }, &[x, indices])
}

/// Matrix product over the last two axes.
pub fn matmul(b: &mut Builder, x: Value, y: Value) -> Result<Value, Misfit> {
    b.op(MatMul::default(), &[x, y])
}
