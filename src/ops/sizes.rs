//! Arithmetic on dimensions that may not be known yet: numbers where they are, else values of the program. For spellings
//! that regroup axes and must also work while shapes are symbolic.

use crate::program::{Builder, Misfit, Value};
use crate::tensor::DType;

use super::elementwise::BinaryFn;
use super::make;

/// One dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    Known(i64),
    /// An `int64` vector of one element.
    Value(Value),
}

/// The dimensions of `x`, whose rank must be known.
pub fn sizes_of(b: &mut Builder, x: Value) -> Result<Vec<Size>, Misfit> {
    let dims: Vec<Option<usize>> =
        b.fact(x).shape.partial().ok_or_else(|| Misfit::new("the number of axes must be known"))?.to_vec();
    let mut shape = None;
    dims.iter()
        .enumerate()
        .map(|(axis, dim)| match dim {
            Some(d) => Ok(Size::Known(*d as i64)),
            None => {
                let all = match shape {
                    Some(s) => s,
                    None => *shape.insert(make::shape_of(b, x)?),
                };
                Ok(Size::Value(make::slice(b, all, &[axis as i64], &[1])?))
            }
        })
        .collect()
}

fn value(b: &mut Builder, s: Size) -> Value {
    match s {
        Size::Known(n) => make::ints(b, &[n]),
        Size::Value(v) => v,
    }
}

fn combine(b: &mut Builder, f: BinaryFn, x: Size, y: Size) -> Result<Size, Misfit> {
    let (x, y) = (value(b, x), value(b, y));
    Ok(Size::Value(make::binary(b, f, x, y)?))
}

pub fn times(b: &mut Builder, x: Size, y: Size) -> Result<Size, Misfit> {
    match (x, y) {
        (Size::Known(1), s) | (s, Size::Known(1)) => Ok(s),
        (Size::Known(x), Size::Known(y)) => {
            x.checked_mul(y).map(Size::Known).ok_or_else(|| Misfit(format!("a size of {x} times {y} is too large")))
        }
        _ => combine(b, BinaryFn::Mul, x, y),
    }
}

pub fn product(b: &mut Builder, all: &[Size]) -> Result<Size, Misfit> {
    all.iter().try_fold(Size::Known(1), |n, &s| times(b, n, s))
}

/// Exact division by a number above zero.
pub fn over(b: &mut Builder, x: Size, by: i64) -> Result<Size, Misfit> {
    match x {
        _ if by == 1 => Ok(x),
        Size::Known(n) if by < 1 || n % by != 0 => Err(Misfit(format!("a size of {n} is not a multiple of {by}"))),
        Size::Known(n) => Ok(Size::Known(n / by)),
        Size::Value(_) => combine(b, BinaryFn::FloorDiv, x, Size::Known(by)),
    }
}

pub fn plus(b: &mut Builder, x: Size, more: i64) -> Result<Size, Misfit> {
    match x {
        _ if more == 0 => Ok(x),
        Size::Known(n) => n
            .checked_add(more)
            .filter(|&n| n >= 0)
            .map(Size::Known)
            .ok_or_else(|| Misfit(format!("a size of {n} changed by {more} is negative"))),
        Size::Value(_) => combine(b, BinaryFn::Add, x, Size::Known(more)),
    }
}

/// All of them as an `int64` vector.
pub fn stack(b: &mut Builder, all: &[Size]) -> Result<Value, Misfit> {
    let known: Option<Vec<i64>> = all.iter().map(|s| if let Size::Known(n) = s { Some(*n) } else { None }).collect();
    if let Some(known) = known {
        return Ok(make::ints(b, &known));
    }
    let parts: Vec<Value> = all.iter().map(|&s| value(b, s)).collect();
    debug_assert!(parts.iter().all(|&p| b.fact(p).dtype == DType::I64));
    make::concat(b, &parts, 0)
}

/// `x` in another shape of as many elements.
pub fn reshape(b: &mut Builder, x: Value, all: &[Size]) -> Result<Value, Misfit> {
    let shape = stack(b, all)?;
    make::reshape_to(b, x, shape)
}
