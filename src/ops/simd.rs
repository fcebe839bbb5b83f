//! Vector code without intrinsics: plain loops compiled for several instruction sets and chosen at run time, and branch-free
//! elementary functions that such loops vectorise.
//!
//! [`dispatch!`](crate::dispatch) writes the wrappers: the body is compiled for AVX-512, AVX2 with FMA, and the baseline, and
//! called through one check per call; so call it once per tensor or block, never per element. On other processors (NEON is
//! baseline there) the body is called as it is. Bodies must be loops over slices, with `#[inline(always)]` callees only.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::tensor::Element;

/// Instruction sets that bodies are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    Baseline = 1,
    Avx2 = 2,
    Avx512 = 3,
}

static LEVEL: AtomicU8 = AtomicU8::new(0);

/// The best level of this machine. `REGRAFT_SIMD=baseline|avx2` lowers it, for tests and for comparing.
#[inline]
pub fn level() -> Level {
    match LEVEL.load(Ordering::Relaxed) {
        3 => Level::Avx512,
        2 => Level::Avx2,
        1 => Level::Baseline,
        _ => detect(),
    }
}

#[cold]
fn detect() -> Level {
    let wanted = match std::env::var("REGRAFT_SIMD").as_deref() {
        Ok("baseline") => Level::Baseline,
        Ok("avx2") => Level::Avx2,
        _ => Level::Avx512,
    };
    let level = machine_level().min(wanted);
    LEVEL.store(level as u8, Ordering::Relaxed);
    level
}

#[cfg(target_arch = "x86_64")]
fn machine_level() -> Level {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw");
    match (avx2, avx512) {
        (true, true) => Level::Avx512,
        (true, false) => Level::Avx2,
        _ => Level::Baseline,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn machine_level() -> Level {
    Level::Baseline
}

/// Declares functions whose bodies are compiled once per [`Level`] and dispatched at run time.
///
/// ```ignore
/// dispatch! {
///     /// y += a x
///     pub fn axpy(a: f32, x: &[f32], y: &mut [f32]) { for (y, &x) in y.iter_mut().zip(x) { *y = a.mul_add(x, *y); } }
///     /// With type parameters: bounds are paths, each on its own.
///     pub fn map[T: Real, F: Fn(T) -> T](f: F, x: &mut [T]) { for x in x { *x = f(*x); } }
/// }
/// ```
#[macro_export]
macro_rules! dispatch {
    ($(#[$meta:meta])* $vis:vis fn $name:ident $([$($g:ident : $bound:path),* $(,)?])? ($($arg:ident : $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block $($rest:tt)*) => {
        $(#[$meta])*
        #[allow(unsafe_code)]
        $vis fn $name$(<$($g: $bound),*>)?($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body$(<$($g: $bound),*>)?($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,f16c")]
                fn avx512$(<$($g: $bound),*>)?($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
                #[target_feature(enable = "avx2,fma,f16c")]
                fn avx2$(<$($g: $bound),*>)?($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
                match $crate::ops::simd::level() {
                    // SAFETY: `level` found these instruction sets on this machine.
                    $crate::ops::simd::Level::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::ops::simd::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::ops::simd::Level::Baseline => {}
                }
            }
            body($($arg),*)
        }
        $crate::dispatch! { $($rest)* }
    };
    () => {};
}

/// A floating-point type with the elementary functions that kernels need. `f32` uses the polynomials below (a few units in
/// the last place), `f64` the system's functions.
pub trait Real:
    Element
    + Copy
    + Default
    + PartialOrd
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
    + std::ops::AddAssign
    + std::ops::MulAssign
    + std::iter::Sum
{
    const ZERO: Self;
    const ONE: Self;
    fn of(x: f64) -> Self;
    fn to_f64(self) -> f64;
    fn exp(self) -> Self;
    fn log(self) -> Self;
    fn tanh(self) -> Self;
    fn erf(self) -> Self;
    fn sqrt(self) -> Self;
    fn abs(self) -> Self;
    /// `self * a + b` with one rounding where the machine can.
    fn mul_add(self, a: Self, b: Self) -> Self;
    fn is_finite(self) -> bool;
    /// The larger one; NaN where either is NaN.
    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        #[allow(clippy::eq_op)]
        if self > other || self != self { self } else { other }
    }
    /// The smaller one; NaN where either is NaN.
    #[inline(always)]
    fn smaller(self, other: Self) -> Self {
        #[allow(clippy::eq_op)]
        if self < other || self != self { self } else { other }
    }
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    #[inline(always)]
    fn of(x: f64) -> Self {
        x as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn exp(self) -> Self {
        exp_f32(self)
    }
    #[inline(always)]
    fn log(self) -> Self {
        log_f32(self)
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        tanh_f32(self)
    }
    #[inline(always)]
    fn erf(self) -> Self {
        erf_f32(self)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f32::sqrt(self)
    }
    #[inline(always)]
    fn abs(self) -> Self {
        f32::abs(self)
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        f32::mul_add(self, a, b)
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        f32::is_finite(self)
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    #[inline(always)]
    fn of(x: f64) -> Self {
        x
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn exp(self) -> Self {
        f64::exp(self)
    }
    #[inline(always)]
    fn log(self) -> Self {
        f64::ln(self)
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        f64::tanh(self)
    }
    #[inline(always)]
    fn erf(self) -> Self {
        libm::erf(self)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }
    #[inline(always)]
    fn abs(self) -> Self {
        f64::abs(self)
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        f64::mul_add(self, a, b)
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        f64::is_finite(self)
    }
}

/// Adding and subtracting 1.5 * 2^23 rounds to the nearest integer, whose bits are then the low bits of the sum.
const ROUND: f32 = 12_582_912.0;
const LN2_HI: f32 = 0.693_359_4;
const LN2_LO: f32 = -2.121_944_4e-4;

#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits(n.wrapping_add(127).wrapping_shl(23) as u32)
}

/// `exp`: 2^n times a polynomial on ±ln(2)/2 (minimax fit, 3e-9 relative before rounding). Overflows to infinity and
/// underflows through the subnormal numbers to zero as the exact function does; NaN stays NaN.
#[inline(always)]
pub fn exp_f32(x: f32) -> f32 {
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -105.0 { -105.0 } else { x };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let whole = shifted - ROUND;
    let r = whole.mul_add(-LN2_HI, x);
    let r = whole.mul_add(-LN2_LO, r);
    let q = 1.381_432e-3_f32;
    let q = q.mul_add(r, 8.368_851e-3);
    let q = q.mul_add(r, 4.166_840_1e-2);
    let q = q.mul_add(r, 1.666_651_95e-1);
    let q = q.mul_add(r, 4.999_999_3e-1);
    let p = (r * r).mul_add(q, r) + 1.0;
    // Two factors, since 2^n alone may be subnormal or infinite where the product is not.
    let half = n >> 1;
    p * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// `tanh`: an odd polynomial up to 0.625, beyond it from `exp`.
#[inline(always)]
pub fn tanh_f32(x: f32) -> f32 {
    let a = x.abs();
    let s = x * x;
    let q = -5.697_384e-3_f32;
    let q = q.mul_add(s, 2.063_254_6e-2);
    let q = q.mul_add(s, -5.373_78e-2);
    let q = q.mul_add(s, 1.333_142e-1);
    let q = q.mul_add(s, -3.333_328_1e-1);
    let small = (q * s).mul_add(x, x);
    let large = (1.0 - 2.0 / (exp_f32(a + a) + 1.0)).copysign(x);
    if a < 0.625 { small } else { large }
}

/// `erf`: an odd polynomial up to 1, beyond it 1 - exp(-p(|x|)) with p fitted to -log(erfc) on [1, 4].
#[inline(always)]
pub fn erf_f32(x: f32) -> f32 {
    let a = x.abs();
    let s = x * x;
    let q = 7.847_222e-5_f32;
    let q = q.mul_add(s, -8.008_346_5e-4);
    let q = q.mul_add(s, 5.188_136e-3);
    let q = q.mul_add(s, -2.685_372_1e-2);
    let q = q.mul_add(s, 1.128_358_3e-1);
    let q = q.mul_add(s, -3.761_262_6e-1);
    let q = q.mul_add(s, 1.283_791_7e-1);
    let small = q.mul_add(x, x);
    let t = if a > 4.0 { 4.0 } else { a };
    let p = 1.158_235_5e-3_f32;
    let p = p.mul_add(t, -1.484_005e-2);
    let p = p.mul_add(t, 8.882_565e-2);
    let p = p.mul_add(t, 6.542e-1);
    let p = p.mul_add(t, 1.117_651_6);
    let p = p.mul_add(t, 2.610_191_9e-3);
    let large = (1.0 - exp_f32(-p)).copysign(x);
    if a < 1.0 { small } else { large }
}

/// Natural logarithm: -inf at 0, NaN below 0, exact handling of subnormal numbers.
#[inline(always)]
pub fn log_f32(x: f32) -> f32 {
    let tiny = x < f32::MIN_POSITIVE;
    let scaled = if tiny { x * 8_388_608.0 } else { x };
    let bits = scaled.to_bits() as i32;
    // The mantissa in [sqrt(1/2), sqrt(2)).
    let offset = bits.wrapping_sub(0x3f35_04f3);
    let n = offset >> 23;
    let m = f32::from_bits((offset & 0x007f_ffff).wrapping_add(0x3f35_04f3) as u32) - 1.0;
    let e = n as f32 - if tiny { 23.0 } else { 0.0 };
    let q = 6.746_640_3e-2_f32;
    let q = q.mul_add(m, -1.167_565_2e-1);
    let q = q.mul_add(m, 1.188_816_2e-1);
    let q = q.mul_add(m, -1.240_558_9e-1);
    let q = q.mul_add(m, 1.421_955_2e-1);
    let q = q.mul_add(m, -1.666_799_6e-1);
    let q = q.mul_add(m, 2.000_211_9e-1);
    let q = q.mul_add(m, -2.500_009_6e-1);
    let q = q.mul_add(m, 3.333_331_3e-1);
    let s = m * m;
    let y = (s * m).mul_add(q, e * LN2_LO);
    let y = s.mul_add(-0.5, y);
    let y = e.mul_add(LN2_HI, y + m);
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    let y = if x < 0.0 { f32::NAN } else { y };
    // Infinity and NaN come back as they are.
    if x < f32::INFINITY { y } else { x }
}

/// How many elements one parallel task should hold at least, for work of about one nanosecond an element.
pub const GRAIN: usize = 16 * 1024;

/// Splits `n` items of `cost` element-operations each into ranges of at least [`GRAIN`] operations and runs `f` on them in
/// the current rayon pool. The split depends on `n` and `cost` alone, so that results never depend on the thread count.
pub fn parallel(n: usize, cost: usize, f: impl Fn(std::ops::Range<usize>) + Sync) {
    parallel_grain(n, GRAIN.div_ceil(cost.max(1)), f);
}

/// As [`parallel`] with ranges of exactly `grain` items (the last may be shorter).
pub fn parallel_grain(n: usize, grain: usize, f: impl Fn(std::ops::Range<usize>) + Sync) {
    let grain = grain.max(1);
    let chunks = n.div_ceil(grain);
    if chunks <= 1 {
        if n > 0 {
            f(0..n);
        }
        return;
    }
    split(0, chunks, &|c| f(c * grain..((c + 1) * grain).min(n)));
}

/// Runs `f` on every chunk by halving; `join` puts nothing on the heap.
fn split(lo: usize, hi: usize, f: &(impl Fn(usize) + Sync)) {
    if hi - lo == 1 {
        return f(lo);
    }
    let mid = lo + (hi - lo) / 2;
    rayon::join(|| split(lo, mid, f), || split(mid, hi, f));
}

/// A pointer that several tasks of one kernel may hold, each writing its own part.
#[derive(Clone, Copy, Debug)]
pub struct Shared<T>(*mut T);

// SAFETY: `at` is unsafe and asks for disjoint parts; the elements are plain data.
#[allow(unsafe_code)]
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub fn new(ptr: *mut T) -> Self {
        Self(ptr)
    }

    /// Elements `range` for writing.
    ///
    /// # Safety
    /// The range lies within the buffer, and nothing else reads or writes it while the slice lives.
    #[allow(unsafe_code)]
    pub unsafe fn at<'a>(self, range: std::ops::Range<usize>) -> &'a mut [T] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(range.start), range.end - range.start) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    dispatch! {
        fn map[F: Fn(f32) -> f32](f: F, x: &mut [f32]) {
            for x in x { *x = f(*x); }
        }
    }

    /// Largest distance from `exact` in units of the last place of the exact result.
    fn worst(f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, lo: f32, hi: f32) -> f64 {
        let n = 200_000;
        let mut x: Vec<f32> = (0..=n).map(|i| lo + (hi - lo) * i as f32 / n as f32).collect();
        let given = x.clone();
        map(f, &mut x);
        let mut worst = 0.0f64;
        for (&y, &x) in x.iter().zip(&given) {
            let want = exact(f64::from(x));
            let ulp = f64::from(f32::from_bits((want.abs() as f32).to_bits() + 1) - want.abs() as f32);
            worst = worst.max((f64::from(y) - want).abs() / ulp);
        }
        worst
    }

    #[test]
    fn elementary_functions_are_accurate() {
        assert!(worst(exp_f32, f64::exp, -87.0, 88.0) < 2.0);
        assert!(worst(exp_f32, f64::exp, -1.0, 1.0) < 2.0);
        assert!(worst(tanh_f32, f64::tanh, -9.0, 9.0) < 2.5);
        assert!(worst(tanh_f32, f64::tanh, -0.7, 0.7) < 2.5);
        assert!(worst(erf_f32, libm::erf, -4.5, 4.5) < 2.5);
        assert!(worst(erf_f32, libm::erf, -0.1, 0.1) < 2.5);
        assert!(worst(log_f32, f64::ln, 1e-3, 10.0) < 2.0);
        assert!(worst(log_f32, f64::ln, 1.0, 1e6) < 2.0);
    }

    #[test]
    fn elementary_functions_keep_special_values() {
        assert_eq!(exp_f32(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp_f32(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp_f32(0.0), 1.0);
        assert!(exp_f32(f32::NAN).is_nan());
        assert!((f64::from(exp_f32(-100.0)) / (-100.0f64).exp() - 1.0).abs() < 0.02, "subnormal results stay");
        assert_eq!(tanh_f32(f32::INFINITY), 1.0);
        assert_eq!(tanh_f32(f32::NEG_INFINITY), -1.0);
        assert!(tanh_f32(f32::NAN).is_nan());
        assert_eq!(erf_f32(f32::INFINITY), 1.0);
        assert_eq!(erf_f32(-30.0), -1.0);
        assert!(erf_f32(f32::NAN).is_nan());
        assert_eq!(log_f32(0.0), f32::NEG_INFINITY);
        assert_eq!(log_f32(1.0), 0.0);
        assert!(log_f32(-1.0).is_nan());
        assert_eq!(log_f32(f32::INFINITY), f32::INFINITY);
        assert!(log_f32(f32::NAN).is_nan());
        assert!((f64::from(log_f32(1e-42)) - f64::from(1e-42f32).ln()).abs() < 1e-5);
    }

    #[test]
    fn parallel_covers_everything_once() {
        let mut seen = vec![0u8; 100_003];
        let out = Shared::new(seen.as_mut_ptr());
        parallel_grain(100_003, 1000, |r| {
            // SAFETY: ranges are disjoint and within the vector.
            #[allow(unsafe_code)]
            unsafe { out.at(r) }.iter_mut().for_each(|s| *s += 1);
        });
        assert!(seen.iter().all(|&s| s == 1));
    }
}
