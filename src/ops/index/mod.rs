//! Ops of the family `index`: reading and writing at positions that are values themselves. Negative positions count from
//! the end; positions outside read zeros and write nothing.

mod elements;
mod gather;
mod gather_nd;
mod non_max_suppression;
mod non_zero;
mod one_hot;
mod range;
mod scatter_nd;
mod search_sorted;
mod soft_suppression;
mod unique;
mod unique_rows;

use std::ops::Range as Span;

use half::{bf16, f16};

use crate::program::{Misfit, OpInfo, View};
use crate::tensor::{DType, Element};

pub use elements::{GatherElements, ScatterElements};
pub use gather::{Gather, GatherGradient};
pub use gather_nd::GatherNd;
pub use non_max_suppression::NonMaxSuppression;
pub use non_zero::NonZero;
pub use one_hot::OneHot;
pub use range::Range;
pub use scatter_nd::ScatterNd;
pub use search_sorted::SearchSorted;
pub use soft_suppression::SoftSuppression;
pub use unique::{SetDifference, Unique};
pub use unique_rows::UniqueRows;

/// The catalogue entries of this family.
pub const ALL: &[&OpInfo] = &[
    &gather::INFO,
    &gather::GRADIENT,
    &gather_nd::INFO,
    &scatter_nd::INFO,
    &elements::GATHER,
    &elements::SCATTER,
    &one_hot::INFO,
    &range::INFO,
    &non_zero::INFO,
    &non_max_suppression::INFO,
    &unique::UNIQUE,
    &unique::DIFFERENCE,
    &unique_rows::INFO,
    &search_sorted::INFO,
    &soft_suppression::INFO,
];

/// What happens where a written position already holds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScatterFn {
    Update,
    Add,
    Sub,
    Mul,
    Max,
    Min,
}

/// Positions of either integer width.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Indices<'a> {
    Narrow(&'a [i32]),
    Wide(&'a [i64]),
    Bytes(&'a [u8]),
}

impl<'a> Indices<'a> {
    pub(crate) fn of(view: &View<'a>) -> Self {
        match view.dtype() {
            DType::I32 => Self::Narrow(view.slice()),
            DType::I64 => Self::Wide(view.slice()),
            _ => Self::Bytes(view.bytes()),
        }
    }

    /// Whether positions of this type are read.
    pub(crate) fn check(dtype: DType) -> Result<(), Misfit> {
        match dtype {
            DType::I32 | DType::I64 | DType::U8 | DType::Unknown => Ok(()),
            d => Err(Misfit(format!("positions are {d} instead of int32 or int64"))),
        }
    }

    pub(crate) fn len(self) -> usize {
        match self {
            Self::Narrow(v) => v.len(),
            Self::Wide(v) => v.len(),
            Self::Bytes(v) => v.len(),
        }
    }

    #[inline]
    pub(crate) fn get(self, i: usize) -> i64 {
        match self {
            Self::Narrow(v) => i64::from(v[i]),
            Self::Wide(v) => v[i],
            Self::Bytes(v) => i64::from(v[i]),
        }
    }

    /// Position `i` below `n`; `None` where it is outside.
    #[inline]
    pub(crate) fn within(self, i: usize, n: usize) -> Option<usize> {
        let at = self.get(i);
        let at = if at < 0 { at.checked_add(n as i64)? } else { at };
        usize::try_from(at).ok().filter(|&at| at < n)
    }
}

/// Combines an element with what stands there already.
pub(crate) trait Combine: Element + Copy {
    fn combine(self, f: ScatterFn, new: Self) -> Self;
}

macro_rules! combine {
    ($($t:ty, $add:expr, $sub:expr, $mul:expr);*) => { $(impl Combine for $t {
        #[inline]
        fn combine(self, f: ScatterFn, new: Self) -> Self {
            match f {
                ScatterFn::Update => new,
                ScatterFn::Add => $add(self, new),
                ScatterFn::Sub => $sub(self, new),
                ScatterFn::Mul => $mul(self, new),
                ScatterFn::Max => if new > self { new } else { self },
                ScatterFn::Min => if new < self { new } else { self },
            }
        }
    })* };
}
combine! {
    f32, |a, b| a + b, |a, b| a - b, |a, b| a * b;
    f64, |a, b| a + b, |a, b| a - b, |a, b| a * b;
    f16, |a: f16, b: f16| f16::from_f32(a.to_f32() + b.to_f32()), |a: f16, b: f16| f16::from_f32(a.to_f32() - b.to_f32()), |a: f16, b: f16| f16::from_f32(a.to_f32() * b.to_f32());
    bf16, |a: bf16, b: bf16| bf16::from_f32(a.to_f32() + b.to_f32()), |a: bf16, b: bf16| bf16::from_f32(a.to_f32() - b.to_f32()), |a: bf16, b: bf16| bf16::from_f32(a.to_f32() * b.to_f32());
    i8, i8::wrapping_add, i8::wrapping_sub, i8::wrapping_mul;
    i16, i16::wrapping_add, i16::wrapping_sub, i16::wrapping_mul;
    i32, i32::wrapping_add, i32::wrapping_sub, i32::wrapping_mul;
    i64, i64::wrapping_add, i64::wrapping_sub, i64::wrapping_mul;
    u8, u8::wrapping_add, u8::wrapping_sub, u8::wrapping_mul;
    u16, u16::wrapping_add, u16::wrapping_sub, u16::wrapping_mul;
    u32, u32::wrapping_add, u32::wrapping_sub, u32::wrapping_mul;
    u64, u64::wrapping_add, u64::wrapping_sub, u64::wrapping_mul
}

/// Runs `$body` with `$t` bound to the storage type of `$dtype`.
macro_rules! for_storage {
    ($dtype:expr, $t:ident => $body:expr) => {{
        use half::{bf16, f16};
        match $dtype {
            DType::F32 => {
                type $t = f32;
                Ok($body)
            }
            DType::F64 => {
                type $t = f64;
                Ok($body)
            }
            DType::F16 => {
                type $t = f16;
                Ok($body)
            }
            DType::BF16 => {
                type $t = bf16;
                Ok($body)
            }
            DType::I8 => {
                type $t = i8;
                Ok($body)
            }
            DType::I16 => {
                type $t = i16;
                Ok($body)
            }
            DType::I32 => {
                type $t = i32;
                Ok($body)
            }
            DType::I64 => {
                type $t = i64;
                Ok($body)
            }
            DType::U8 | DType::Bool => {
                type $t = u8;
                Ok($body)
            }
            DType::U16 => {
                type $t = u16;
                Ok($body)
            }
            DType::U32 => {
                type $t = u32;
                Ok($body)
            }
            DType::U64 => {
                type $t = u64;
                Ok($body)
            }
            d => Err(crate::program::Misfit(format!("not defined for {d}"))),
        }
    }};
}
pub(crate) use for_storage;

/// The bytes of a range of elements.
pub(crate) fn byte_span(range: Span<usize>, size: usize) -> Span<usize> {
    range.start * size..range.end * size
}
