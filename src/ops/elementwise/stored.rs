//! Storage against computation: half types compute in `f32`, integers in `i64` (wrapping back when stored), `u64` in itself.

use half::{bf16, f16};

use crate::dispatch;
use crate::ops::simd::Real;
use crate::program::{View, ViewMut};
use crate::tensor::Element;

/// A type that element-wise blocks compute in.
pub trait Lane: Element + Copy + Default + PartialOrd {
    /// `y[i] = f(x[i])`. Only `f32` is worth compiling for several instruction sets.
    #[inline]
    fn map<O: Lane, F: Map<Self, O>>(x: &[Self], y: &mut [O]) {
        map_plain::<Self, O, F>(x, y);
    }

    /// `y[i] = f(a[i], b[i])`; an operand of length 1 is repeated.
    #[inline]
    fn zip<O: Lane, F: Zip<Self, O>>(a: &[Self], b: &[Self], y: &mut [O]) {
        zip_plain::<Self, O, F>(a, b, y);
    }
}

impl Lane for f32 {
    fn map<O: Lane, F: Map<f32, O>>(x: &[f32], y: &mut [O]) {
        map_fast::<O, F>(F::THE, x, y);
    }

    fn zip<O: Lane, F: Zip<f32, O>>(a: &[f32], b: &[f32], y: &mut [O]) {
        zip_fast::<O, F>(F::THE, a, b, y);
    }
}
impl Lane for f64 {}
impl Lane for i64 {}
impl Lane for u64 {}
impl Lane for u8 {}

/// A function of one lane, as a type, so that it is inlined into the loop.
pub trait Map<T, O>: Copy {
    const THE: Self;
    fn at(x: T) -> O;
}

/// A function of two lanes, as a type.
pub trait Zip<T, O>: Copy {
    const THE: Self;
    fn at(a: T, b: T) -> O;
}

dispatch! {
    fn map_fast[O: Lane, F: Map<f32, O>](_f: F, x: &[f32], y: &mut [O]) {
        map_plain::<f32, O, F>(x, y);
    }

    fn zip_fast[O: Lane, F: Zip<f32, O>](_f: F, a: &[f32], b: &[f32], y: &mut [O]) {
        zip_plain::<f32, O, F>(a, b, y);
    }
}

#[inline(always)]
fn map_plain<T: Lane, O: Lane, F: Map<T, O>>(x: &[T], y: &mut [O]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = F::at(x);
    }
}

#[inline(always)]
fn zip_plain<T: Lane, O: Lane, F: Zip<T, O>>(a: &[T], b: &[T], y: &mut [O]) {
    if b.len() == 1 && a.len() == y.len() {
        let b = b[0];
        for (y, &a) in y.iter_mut().zip(a) {
            *y = F::at(a, b);
        }
    } else if a.len() == 1 && b.len() == y.len() {
        let a = a[0];
        for (y, &b) in y.iter_mut().zip(b) {
            *y = F::at(a, b);
        }
    } else if a.len() == 1 && b.len() == 1 {
        y.fill(F::at(a[0], b[0]));
    } else {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = F::at(a, b);
        }
    }
}

/// A storage type whose elements are computed with as `T`.
pub trait Stored<T: Lane>: Element + Copy {
    /// Whether storage and computation are the same type, so that nothing needs converting.
    const SAME: bool = false;
    fn load(self) -> T;
    fn store(value: T) -> Self;
}

macro_rules! same {
    ($($t:ty),*) => { $(impl Stored<$t> for $t {
        const SAME: bool = true;
        #[inline(always)]
        fn load(self) -> $t { self }
        #[inline(always)]
        fn store(value: $t) -> Self { value }
    })* };
}
same!(f32, f64, i64, u64, u8);

macro_rules! half {
    ($($t:ty),*) => { $(impl Stored<f32> for $t {
        #[inline(always)]
        fn load(self) -> f32 { self.to_f32() }
        #[inline(always)]
        fn store(value: f32) -> Self { <$t>::from_f32(value) }
    })* };
}
half!(f16, bf16);

macro_rules! narrow {
    ($($t:ty),*) => { $(impl Stored<i64> for $t {
        #[inline(always)]
        fn load(self) -> i64 { i64::from(self) }
        #[inline(always)]
        fn store(value: i64) -> Self { value as $t }
    })* };
}
narrow!(i8, i16, i32, u8, u16, u32);

/// Floating-point lanes with the functions that only element-wise ops need.
pub trait Float: Real + Lane {
    fn floor(self) -> Self;
    fn ceil(self) -> Self;
    fn trunc(self) -> Self;
    fn round_even(self) -> Self;
    fn expm1(self) -> Self;
    fn log1p(self) -> Self;
    fn powf(self, e: Self) -> Self;
    fn is_nan(self) -> bool;
    fn is_infinite(self) -> bool;
    /// Through the `f64` function; for functions that are never hot.
    #[inline(always)]
    fn wide(self, f: fn(f64) -> f64) -> Self {
        Self::of(f(self.to_f64()))
    }
}

macro_rules! float {
    ($t:ty, $expm1:expr, $log1p:expr, $powf:expr) => {
        impl Float for $t {
            #[inline(always)]
            fn floor(self) -> Self {
                <$t>::floor(self)
            }
            #[inline(always)]
            fn ceil(self) -> Self {
                <$t>::ceil(self)
            }
            #[inline(always)]
            fn trunc(self) -> Self {
                <$t>::trunc(self)
            }
            #[inline(always)]
            fn round_even(self) -> Self {
                <$t>::round_ties_even(self)
            }
            #[inline(always)]
            fn expm1(self) -> Self {
                $expm1(self)
            }
            #[inline(always)]
            fn log1p(self) -> Self {
                $log1p(self)
            }
            #[inline(always)]
            fn powf(self, e: Self) -> Self {
                $powf(self, e)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                <$t>::is_nan(self)
            }
            #[inline(always)]
            fn is_infinite(self) -> bool {
                <$t>::is_infinite(self)
            }
        }
    };
}
float!(f32, expm1_f32, log1p_f32, |x: f32, e: f32| f64::from(x).powf(f64::from(e)) as f32);
float!(f64, f64::exp_m1, f64::ln_1p, f64::powf);

/// `exp(x) - 1` without cancellation (W. Kahan's correction of the rounded exponential).
#[inline(always)]
fn expm1_f32(x: f32) -> f32 {
    let u = Real::exp(x);
    let d = u - 1.0;
    let corrected = d * (x / Real::log(u));
    let y = if d == -1.0 || u == f32::INFINITY { d } else { corrected };
    if u == 1.0 { x } else { y }
}

/// `log(1 + x)` without cancellation (W. Kahan's correction of the rounded sum).
#[inline(always)]
fn log1p_f32(x: f32) -> f32 {
    let u = 1.0 + x;
    let l = Real::log(u);
    let corrected = l * (x / (u - 1.0));
    let y = if u == 0.0 || u == f32::INFINITY { l } else { corrected };
    if u == 1.0 { x } else { y }
}

/// Copies elements into lanes.
#[inline]
#[allow(unsafe_code)]
pub(super) fn load_block<S: Stored<T>, T: Lane>(from: *const S, to: &mut [T]) {
    for (i, t) in to.iter_mut().enumerate() {
        // SAFETY: the caller passes at least `to.len()` readable elements.
        *t = unsafe { *from.add(i) }.load();
    }
}

/// Copies lanes into elements.
#[inline]
#[allow(unsafe_code)]
pub(super) fn store_block<S: Stored<T>, T: Lane>(from: &[T], to: *mut S) {
    for (i, &t) in from.iter().enumerate() {
        // SAFETY: the caller passes at least `from.len()` writable elements.
        unsafe { *to.add(i) = S::store(t) };
    }
}

/// A read pointer that tasks may share.
#[derive(Clone, Copy)]
pub(crate) struct Source<S>(*const S);

// SAFETY: only read through, within the kernel's call.
#[allow(unsafe_code)]
unsafe impl<S: Sync> Send for Source<S> {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl<S: Sync> Sync for Source<S> {}

impl<S: Element> Source<S> {
    pub(crate) fn of(view: &View<'_>) -> Self {
        Self(view.ptr::<S>())
    }

    /// Elements as words of their size, whatever their type; the buffer is aligned for it.
    pub(crate) fn of_bytes(view: &View<'_>) -> Self {
        Self(view.bytes().as_ptr().cast())
    }

    /// # Safety
    /// `at` lies within the buffer (or one past its end).
    #[allow(unsafe_code)]
    #[inline(always)]
    pub(crate) unsafe fn at(self, at: usize) -> *const S {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(at) }
    }
}

/// A write pointer that tasks may share, each writing its own part.
#[derive(Clone, Copy)]
pub(crate) struct Target<S>(*mut S);

// SAFETY: tasks write disjoint parts, within the kernel's call.
#[allow(unsafe_code)]
unsafe impl<S: Send> Send for Target<S> {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl<S: Send> Sync for Target<S> {}

impl<S: Element> Target<S> {
    /// Scratch memory, which is aligned for every element type.
    pub(crate) fn of_slice(scratch: &mut [u8]) -> Self {
        Self(scratch.as_mut_ptr().cast())
    }

    pub(crate) fn of(view: &mut ViewMut<'_>) -> Self {
        Self(view.ptr::<S>())
    }

    /// Elements as words of their size, whatever their type; the buffer is aligned for it.
    pub(crate) fn of_bytes(view: &mut ViewMut<'_>) -> Self {
        Self(view.bytes().as_mut_ptr().cast())
    }

    /// # Safety
    /// `at` lies within the buffer (or one past its end).
    #[allow(unsafe_code)]
    #[inline(always)]
    pub(crate) unsafe fn at(self, at: usize) -> *mut S {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(at) }
    }
}
