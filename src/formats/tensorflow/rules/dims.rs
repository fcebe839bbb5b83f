//! Shapes in rules: a dimension is a number where it is known and a value where it is not, so that one rule serves both.

use crate::ops::make;
use crate::ops::shape::{ShapeOf, StridedMasks, StridedSlice};
use crate::program::{Builder, Misfit, Value};
use crate::tensor::{DType, shape};

/// A dimension: known, or an `int64` vector of one element.
#[derive(Clone, Copy, Debug)]
pub enum Dim {
    Known(i64),
    Value(Value),
}

/// The dimensions of a value of known rank.
pub fn dims(b: &mut Builder, x: Value) -> Result<Vec<Dim>, Misfit> {
    let partial = b.fact(x).shape.partial().map(<[_]>::to_vec).ok_or_else(|| Misfit::new("the rank is not known"))?;
    let shape = if partial.iter().all(Option::is_some) { None } else { Some(b.op(ShapeOf { to: DType::I64 }, &[x])?) };
    partial
        .iter()
        .enumerate()
        .map(|(axis, d)| match (d, shape) {
            (Some(d), _) => Ok(Dim::Known(*d as i64)),
            (None, Some(shape)) => make::slice(b, shape, &[axis as i64], &[1]).map(Dim::Value),
            (None, None) => Err(Misfit::new("the rank is not known")),
        })
        .collect()
}

/// One dimension as an `int64` scalar value; the axis may be negative.
pub fn size_of(b: &mut Builder, x: Value, axis: i64) -> Result<Value, Misfit> {
    if let Some(rank) = b.fact(x).rank() {
        let a =
            shape::normalize_axis(axis, rank).ok_or_else(|| Misfit(format!("axis {axis} is outside rank {rank}")))?;
        if let Some(d) = b.fact(x).shape.dim(a) {
            return Ok(make::scalar(b, DType::I64, d as f64));
        }
    }
    let shape = b.op(ShapeOf { to: DType::I64 }, &[x])?;
    let (at, end, step) = (make::ints(b, &[axis]), make::ints(b, &[0]), make::ints(b, &[1]));
    let masks = StridedMasks { shrink: 1, ..StridedMasks::default() };
    b.op(StridedSlice { masks }, &[shape, at, end, step])
}

impl Dim {
    pub fn plus(self, b: &mut Builder, n: i64) -> Result<Self, Misfit> {
        self.with(b, n, |a, n| a + n, make::add)
    }

    pub fn over(self, b: &mut Builder, n: i64) -> Result<Self, Misfit> {
        match self {
            Self::Known(d) if n == 0 || d % n != 0 => Err(Misfit(format!("{d} is no multiple of {n}"))),
            _ => self.with(b, n, |a, n| a / n, make::div),
        }
    }

    fn with(
        self,
        b: &mut Builder,
        n: i64,
        known: fn(i64, i64) -> i64,
        op: fn(&mut Builder, Value, Value) -> Result<Value, Misfit>,
    ) -> Result<Self, Misfit> {
        match self {
            Self::Known(d) => Ok(Self::Known(known(d, n))),
            Self::Value(v) => {
                let n = make::ints(b, &[n]);
                op(b, v, n).map(Self::Value)
            }
        }
    }
}

/// Dimensions as one `int64` vector.
pub fn vector(b: &mut Builder, dims: &[Dim]) -> Result<Value, Misfit> {
    let known: Option<Vec<i64>> = dims.iter().map(|d| if let Dim::Known(d) = d { Some(*d) } else { None }).collect();
    if let Some(known) = known {
        return Ok(make::ints(b, &known));
    }
    let parts: Vec<Value> = dims
        .iter()
        .map(|d| match d {
            Dim::Known(d) => make::ints(b, &[*d]),
            Dim::Value(v) => *v,
        })
        .collect();
    make::concat(b, &parts, 0)
}

/// A reshape; a single unknown dimension is left to be found.
pub fn reshape(b: &mut Builder, x: Value, dims: &[Dim]) -> Result<Value, Misfit> {
    let unknown = dims.iter().filter(|d| matches!(d, Dim::Value(_))).count();
    let has_zero = dims.iter().any(|d| matches!(d, Dim::Known(0)));
    if unknown == 1 && !has_zero {
        let target: Vec<i64> = dims.iter().map(|d| if let Dim::Known(d) = d { *d } else { -1 }).collect();
        return make::reshape(b, x, &target);
    }
    let target = vector(b, dims)?;
    make::reshape_to(b, x, target)
}
