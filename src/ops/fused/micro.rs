//! The steps that [`super::Rows`] is made of, as vector loops over a block of rows that stays in cache.
//!
//! A block has `rows` × `cols` numbers. An operand gives a vector per row, one number per row, or one number for all.
#![allow(unsafe_code)]

use crate::dispatch;
use crate::ops::random::philox::{GROUP, Stream};
use crate::ops::simd::Real;

/// Where a step reads from. Pointers hold for the block that is being computed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// A vector per row, `stride` numbers apart (0: the same for all rows).
    Vector { start: *const f32, stride: usize },
    /// One number per row.
    Each(*const f32),
    /// One number.
    One(f32),
}

impl Source {
    /// The row's number where the source is not a vector.
    ///
    /// # Safety
    /// `row` lies within the block.
    #[inline(always)]
    unsafe fn number(self, row: usize) -> f32 {
        match self {
            // SAFETY: the caller's promise.
            Self::Each(p) => unsafe { *p.add(row) },
            Self::One(v) => v,
            Self::Vector { .. } => 0.0,
        }
    }

    /// The row's vector, where the source is one.
    ///
    /// # Safety
    /// `row` and `cols` lie within the block, and nothing writes the vector while it is used.
    #[inline(always)]
    unsafe fn vector<'a>(self, row: usize, cols: usize) -> Option<&'a [f32]> {
        match self {
            // SAFETY: the caller's promise.
            Self::Vector { start, stride } => {
                Some(unsafe { std::slice::from_raw_parts(start.add(row * stride), cols) })
            }
            _ => None,
        }
    }

    /// Numbers of a column read as one vector, or one number.
    fn as_column(self) -> Self {
        match self {
            Self::Each(start) => Self::Vector { start, stride: 0 },
            other => other,
        }
    }
}

/// The extent of a block, and whether operands and result may be read as one long row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) rows: usize,
    pub(super) cols: usize,
}

impl Extent {
    /// One long row where every vector is dense.
    fn flattened(self, sources: &[Source]) -> Self {
        let dense = sources.iter().all(|s| match s {
            Source::Vector { stride, .. } => *stride == self.cols,
            Source::Each(_) => false,
            Source::One(_) => true,
        });
        if dense { Self { rows: 1, cols: self.rows * self.cols } } else { self }
    }
}

trait One: Copy {
    fn at(x: f32) -> f32;
}

trait Joined: Copy {
    fn at(a: f32, b: f32, c: f32) -> f32;
}

trait Two: Copy {
    fn at(a: f32, b: f32) -> f32;
}

dispatch! {
    fn one[F: One](_f: F, x: [Source; 1], to: *mut f32, e: Extent) {
        let [x] = x;
        for row in 0..e.rows {
            // SAFETY: `to` is a buffer of the block that no source overlaps.
            let to = unsafe { std::slice::from_raw_parts_mut(to.add(row * e.cols), e.cols) };
            // SAFETY: `row` is within the block.
            match unsafe { x.vector(row, e.cols) } {
                Some(x) => for (to, &x) in to.iter_mut().zip(x) { *to = F::at(x); },
                // SAFETY: as above.
                None => to.fill(F::at(unsafe { x.number(row) })),
            }
        }
    }

    fn two[F: Two](_f: F, x: [Source; 2], to: *mut f32, e: Extent) {
        let [a, b] = x;
        for row in 0..e.rows {
            // SAFETY: `to` is a buffer of the block that no source overlaps; `row` is within the block.
            let (to, va, vb, na, nb) = unsafe {
                (
                    std::slice::from_raw_parts_mut(to.add(row * e.cols), e.cols),
                    a.vector(row, e.cols), b.vector(row, e.cols), a.number(row), b.number(row),
                )
            };
            match (va, vb) {
                (Some(a), Some(b)) => for ((to, &a), &b) in to.iter_mut().zip(a).zip(b) { *to = F::at(a, b); },
                (Some(a), None) => for (to, &a) in to.iter_mut().zip(a) { *to = F::at(a, nb); },
                (None, Some(b)) => for (to, &b) in to.iter_mut().zip(b) { *to = F::at(na, b); },
                (None, None) => to.fill(F::at(na, nb)),
            }
        }
    }

    fn joined[F: Joined](_f: F, x: [Source; 3], to: *mut f32, e: Extent) {
        for row in 0..e.rows {
            // SAFETY: as in `two`.
            let (to, [a, b, c], [x, y, z]) = unsafe {
                (
                    std::slice::from_raw_parts_mut(to.add(row * e.cols), e.cols),
                    x.map(|s| s.vector(row, e.cols)),
                    x.map(|s| s.number(row)),
                )
            };
            match (a, b, c) {
                (Some(a), Some(b), Some(c)) => {
                    for (((to, &a), &b), &c) in to.iter_mut().zip(a).zip(b).zip(c) { *to = F::at(a, b, c); }
                }
                (Some(a), Some(b), None) => for ((to, &a), &b) in to.iter_mut().zip(a).zip(b) { *to = F::at(a, b, z); },
                (Some(a), None, Some(c)) => for ((to, &a), &c) in to.iter_mut().zip(a).zip(c) { *to = F::at(a, y, c); },
                (None, Some(b), Some(c)) => for ((to, &b), &c) in to.iter_mut().zip(b).zip(c) { *to = F::at(x, b, c); },
                (Some(a), None, None) => for (to, &a) in to.iter_mut().zip(a) { *to = F::at(a, y, z); },
                (None, Some(b), None) => for (to, &b) in to.iter_mut().zip(b) { *to = F::at(x, b, z); },
                (None, None, Some(c)) => for (to, &c) in to.iter_mut().zip(c) { *to = F::at(x, y, c); },
                (None, None, None) => to.fill(F::at(x, y, z)),
            }
        }
    }

    fn three(cond: Source, a: Source, b: Source, to: *mut f32, e: Extent) {
        for row in 0..e.rows {
            // SAFETY: as in `two`.
            let (to, c, a, b) = unsafe {
                (
                    std::slice::from_raw_parts_mut(to.add(row * e.cols), e.cols),
                    (cond.vector(row, e.cols), cond.number(row)),
                    (a.vector(row, e.cols), a.number(row)),
                    (b.vector(row, e.cols), b.number(row)),
                )
            };
            match (c.0, a.0, b.0) {
                (Some(c), Some(a), Some(b)) => {
                    for (((to, &c), &a), &b) in to.iter_mut().zip(c).zip(a).zip(b) { *to = if c != 0.0 { a } else { b }; }
                }
                (Some(c), Some(a), None) => {
                    for ((to, &c), &a) in to.iter_mut().zip(c).zip(a) { *to = if c != 0.0 { a } else { b.1 }; }
                }
                (Some(c), None, Some(b)) => {
                    for ((to, &c), &b) in to.iter_mut().zip(c).zip(b) { *to = if c != 0.0 { a.1 } else { b }; }
                }
                _ => for (i, to) in to.iter_mut().enumerate() {
                    let of = |s: (Option<&[f32]>, f32)| s.0.map_or(s.1, |v| v[i]);
                    *to = if of(c) != 0.0 { of(a) } else { of(b) };
                },
            }
        }
    }

    fn sums(x: Source, to: *mut f32, e: Extent, scale: f32) {
        for row in 0..e.rows {
            // SAFETY: `row` is within the block; `to` holds a number per row.
            unsafe {
                let sum = match x.vector(row, e.cols) {
                    Some(x) => sum_of(x),
                    None => x.number(row) * e.cols as f32,
                };
                *to.add(row) = sum / scale;
            }
        }
    }

    fn extremes(x: Source, to: *mut f32, e: Extent, largest: bool) {
        for row in 0..e.rows {
            // SAFETY: as in `sums`.
            unsafe {
                *to.add(row) = match x.vector(row, e.cols) {
                    Some(x) if largest => extreme_of(x, f32::NEG_INFINITY, |a, b| a.larger(b)),
                    Some(x) => extreme_of(x, f32::INFINITY, |a, b| a.smaller(b)),
                    None => x.number(row),
                };
            }
        }
    }

    /// `to[c] += Σ_r x[r][c]`.
    fn add_rows(x: Source, to: *mut f32, e: Extent) {
        // SAFETY: `to` holds `cols` numbers that no source overlaps.
        let to = unsafe { std::slice::from_raw_parts_mut(to, e.cols) };
        let mut row = 0;
        while row < e.rows {
            // SAFETY: `row` and the three after it are within the block where they are used.
            unsafe {
                match x {
                    Source::Vector { .. } if row + 4 <= e.rows => {
                        let v = |i: usize| x.vector(row + i, e.cols).unwrap_or(&[]);
                        for ((((to, &a), &b), &c), &d) in to.iter_mut().zip(v(0)).zip(v(1)).zip(v(2)).zip(v(3)) {
                            *to += (a + b) + (c + d);
                        }
                        row += 4;
                    }
                    Source::Vector { .. } => {
                        for (to, &x) in to.iter_mut().zip(x.vector(row, e.cols).unwrap_or(&[])) { *to += x; }
                        row += 1;
                    }
                    _ => {
                        let x = x.number(row);
                        for to in to.iter_mut() { *to += x; }
                        row += 1;
                    }
                }
            }
        }
    }

    /// Elements from `first` (a multiple of the group length) on: kept and scaled, or zero.
    fn drop(stream: Stream, first: u64, dropped_below: u64, scale: f32, x: &[f32], to: &mut [f32]) {
        let threshold = dropped_below as u32;
        for (i, (to, x)) in to.chunks_mut(GROUP).zip(x.chunks(GROUP)).enumerate() {
            let bits = stream.group((first / GROUP as u64).wrapping_add(i as u64));
            if let (Ok(to), Ok(x)) = (<&mut [f32; GROUP]>::try_from(&mut *to), <&[f32; GROUP]>::try_from(x)) {
                for j in 0..GROUP { to[j] = if bits[j] >= threshold { x[j] * scale } else { 0.0 }; }
            } else {
                for ((to, &x), &bits) in to.iter_mut().zip(x).zip(&bits) {
                    *to = if bits >= threshold { x * scale } else { 0.0 };
                }
            }
        }
    }
}

/// Partial sums kept at a time, so that additions do not wait for each other; the order depends on the length alone.
const LANES: usize = 64;

#[inline(always)]
fn sum_of(x: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += x;
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += x;
    }
    folded(lanes, |a, b| a + b)
}

#[inline(always)]
fn extreme_of(x: &[f32], start: f32, pick: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = pick(*lane, x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = pick(*lane, x);
    }
    folded(lanes, pick)
}

#[inline(always)]
fn folded(mut lanes: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = join(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// Declares functions of one or two numbers: the enum that programs hold, its names (those of the ops), and the loops.
macro_rules! functions {
    ($enum:ident $trait:ident $loop:ident $count:literal $args:tt { $($name:ident $text:literal $value:expr;)* }) => {
        #[doc = "Functions of a step, named after the ops that they compute."]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $enum { $($name),* }

        impl $enum {
            /// The function that computes an op, if there is one.
            pub fn of_op(name: &str) -> Option<Self> {
                [$(($text, Self::$name)),*].into_iter().find(|f| f.0 == name && !name.is_empty()).map(|f| f.1)
            }
        }

        $(
            #[derive(Clone, Copy)]
            struct $name;
            impl $trait for $name {
                #[inline(always)]
                fn at $args -> f32 { $value }
            }
        )*

        /// # Safety
        /// Sources and result lie within the block's buffers, and the result overlaps no source.
        pub(super) unsafe fn run(f: $enum, sources: [Source; $count], to: *mut f32, e: Extent) {
            match f { $($enum::$name => $loop($name, sources, to, e)),* }
        }
    };
}

#[inline(always)]
fn truth(x: bool) -> f32 {
    if x { 1.0 } else { 0.0 }
}

mod unary {
    use super::*;
    functions! { Unary One one 1 (x: f32) {
        Copy "broadcast_to" x;
        Neg "neg" -x;
        Abs "abs" x.abs();
        Square "square" x * x;
        Sqrt "sqrt" x.sqrt();
        Rsqrt "rsqrt" 1.0 / x.sqrt();
        Reciprocal "reciprocal" 1.0 / x;
        Exp "exp" Real::exp(x);
        Log "log" Real::log(x);
        Tanh "tanh" Real::tanh(x);
        Erf "erf" Real::erf(x);
        Sigmoid "sigmoid" 1.0 / (1.0 + Real::exp(-x));
        Relu "relu" if x < 0.0 { 0.0 } else { x };
        Sign "sign" if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { x };
        Not "not" 1.0 - x;
    } }
}

mod binary {
    use super::*;
    functions! { Binary Two two 2 (a: f32, b: f32) {
        Add "add" a + b;
        Sub "sub" a - b;
        Mul "mul" a * b;
        Div "div" a / b;
        Maximum "maximum" a.larger(b);
        Minimum "minimum" a.smaller(b);
        SquaredDifference "squared_difference" (a - b) * (a - b);
        SqrtGradient "sqrt_gradient" b / (a + a);
        RsqrtGradient "rsqrt_gradient" -0.5 * b * (a * a * a);
        ReciprocalGradient "reciprocal_gradient" -b * a * a;
        TanhGradient "tanh_gradient" b * (1.0 - a * a);
        SigmoidGradient "sigmoid_gradient" b * a * (1.0 - a);
        ErfGradient "erf_gradient" std::f32::consts::FRAC_2_SQRT_PI * Real::exp(-a * a) * b;
        ReluGradient "relu_gradient" if a > 0.0 { b } else { 0.0 };
        Relu6Gradient "relu6_gradient" if a > 0.0 && a < 6.0 { b } else { 0.0 };
        Less "less" truth(a < b);
        LessEqual "less_equal" truth(a <= b);
        Greater "greater" truth(a > b);
        GreaterEqual "greater_equal" truth(a >= b);
        Equal "equal" truth(a == b);
        NotEqual "not_equal" truth(a != b);
        And "and" a * b;
        Or "or" if a != 0.0 || b != 0.0 { 1.0 } else { 0.0 };
        Xor "xor" if (a != 0.0) != (b != 0.0) { 1.0 } else { 0.0 };
    } }
}

/// Sums, differences and products of three operands.
mod pair {
    use super::*;
    functions! { Pair Joined joined 3 (a: f32, b: f32, c: f32) {
        AddAdd "" a + b + c;
        AddSub "" a + b - c;
        AddFrom "" c - (a + b);
        AddMul "" (a + b) * c;
        SubAdd "" a - b + c;
        SubSub "" a - b - c;
        SubFrom "" c - (a - b);
        SubMul "" (a - b) * c;
        MulAdd "" a.mul_add(b, c);
        MulSub "" a.mul_add(b, -c);
        MulFrom "" (-a).mul_add(b, c);
        MulMul "" a * b * c;
    } }

    impl Pair {
        /// `second(first(a, b), c)`, or `second(c, first(a, b))` where `swapped`.
        pub fn of(first: Binary, second: Binary, swapped: bool) -> Option<Self> {
            use Binary::{Add, Mul, Sub};
            Some(match (first, second, swapped) {
                (Add, Add, _) => Self::AddAdd,
                (Add, Sub, false) => Self::AddSub,
                (Add, Sub, true) => Self::AddFrom,
                (Add, Mul, _) => Self::AddMul,
                (Sub, Add, _) => Self::SubAdd,
                (Sub, Sub, false) => Self::SubSub,
                (Sub, Sub, true) => Self::SubFrom,
                (Sub, Mul, _) => Self::SubMul,
                (Mul, Add, _) => Self::MulAdd,
                (Mul, Sub, false) => Self::MulSub,
                (Mul, Sub, true) => Self::MulFrom,
                (Mul, Mul, _) => Self::MulMul,
                _ => return None,
            })
        }
    }
}

pub use binary::Binary;
pub use pair::Pair;
pub use unary::Unary;

/// Reductions of a row to one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    Sum,
    Mean,
    Max,
    Min,
}

/// # Safety
/// As [`two_step`].
pub(super) unsafe fn one_step(f: Unary, x: Source, to: *mut f32, e: Extent, column: bool) {
    let (x, e) = if column { (x.as_column(), column_extent(e)) } else { (x, e.flattened(&[x])) };
    // SAFETY: the caller's promise.
    unsafe { unary::run(f, [x], to, e) }
}

/// # Safety
/// Sources and result lie within the block's buffers, and the result overlaps no source.
pub(super) unsafe fn two_step(f: Binary, a: Source, b: Source, to: *mut f32, e: Extent, column: bool) {
    let (a, b, e) =
        if column { (a.as_column(), b.as_column(), column_extent(e)) } else { (a, b, e.flattened(&[a, b])) };
    // Dividing by one number is multiplying by its inverse, which takes a tenth of the time (and may round otherwise).
    let (f, b) = match (f, b) {
        (Binary::Div, Source::One(v)) => (Binary::Mul, Source::One(1.0 / v)),
        other => other,
    };
    // SAFETY: the caller's promise.
    unsafe { binary::run(f, [a, b], to, e) }
}

/// # Safety
/// As [`two_step`].
pub(super) unsafe fn pair_step(f: Pair, a: Source, b: Source, c: Source, to: *mut f32, e: Extent) {
    let e = e.flattened(&[a, b, c]);
    // SAFETY: the caller's promise.
    unsafe { pair::run(f, [a, b, c], to, e) }
}

/// # Safety
/// As [`two_step`].
pub(super) unsafe fn select_step(c: Source, a: Source, b: Source, to: *mut f32, e: Extent, column: bool) {
    if column {
        three(c.as_column(), a.as_column(), b.as_column(), to, column_extent(e));
    } else {
        three(c, a, b, to, e.flattened(&[c, a, b]));
    }
}

/// # Safety
/// As [`two_step`]; the result holds a number per row.
pub(super) unsafe fn fold_step(f: Fold, x: Source, to: *mut f32, e: Extent) {
    match f {
        Fold::Sum => sums(x, to, e, 1.0),
        Fold::Mean => sums(x, to, e, e.cols as f32),
        Fold::Max => extremes(x, to, e, true),
        Fold::Min => extremes(x, to, e, false),
    }
}

/// # Safety
/// As [`two_step`]; `to` holds a number per column.
pub(super) unsafe fn column_sum_step(x: Source, to: *mut f32, e: Extent) {
    add_rows(x, to, e);
}

/// # Safety
/// As [`two_step`]; `first` is the index of the block's first element and a multiple of the group length.
pub(super) unsafe fn dropout_step(
    stream: Stream,
    first: u64,
    (dropped_below, scale): (u64, f32),
    x: Source,
    to: *mut f32,
    e: Extent,
) {
    let n = e.rows * e.cols;
    // SAFETY: the caller's promise.
    let to_all = unsafe { std::slice::from_raw_parts_mut(to, n) };
    if dropped_below > u64::from(u32::MAX) {
        return to_all.fill(0.0);
    }
    let dense = match x {
        Source::Vector { start, stride } if stride == e.cols => start,
        _ => {
            // SAFETY: the caller's promise; the copy is then read and written element by element.
            unsafe { one_step(Unary::Copy, x, to, e, false) };
            for (i, group) in to_all.chunks_mut(GROUP).enumerate() {
                let copy: [f32; GROUP] = std::array::from_fn(|j| group.get(j).copied().unwrap_or(0.0));
                let n = group.len();
                drop(stream, first + (i * GROUP) as u64, dropped_below, scale, &copy[..n], group);
            }
            return;
        }
    };
    // SAFETY: the caller's promise.
    drop(stream, first, dropped_below, scale, unsafe { std::slice::from_raw_parts(dense, n) }, to_all);
}

fn column_extent(e: Extent) -> Extent {
    Extent { rows: 1, cols: e.rows }
}
