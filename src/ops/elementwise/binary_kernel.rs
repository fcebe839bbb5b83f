//! Values of the functions of two elements, as vectorised blocks.

use half::{bf16, f16};

use crate::program::{Kernel, Misfit};
use crate::tensor::DType;

use super::binary::BinaryFn;
use super::driver::{self, BinaryBlock};
use super::special;
use super::stored::{Float, Lane, Zip};
use super::unary_kernel::{SELU_ALPHA, SELU_SCALE};

/// Declares bodies for a lane type and the table from function to block.
macro_rules! bodies {
    ($table:ident [$t:ident: $bound:path] $o:ty { $($name:ident |$a:ident, $b:ident| $value:expr;)* }) => {
        fn $table<$t: $bound>(f: BinaryFn) -> Option<BinaryBlock<$t, $o>> {
            $(
                #[derive(Clone, Copy)]
                struct $name;
                impl<$t: $bound> Zip<$t, $o> for $name {
                    const THE: Self = $name;
                    #[inline(always)]
                    fn at($a: $t, $b: $t) -> $o {
                        $value
                    }
                }
            )*
            match f {
                $(BinaryFn::$name => Some(<$t>::zip::<$o, $name>),)*
                _ => None,
            }
        }
    };
}

#[inline(always)]
fn wide<T: Float>(a: T, b: T, f: fn(f64, f64) -> f64) -> T {
    T::of(f(a.to_f64(), b.to_f64()))
}

/// `x` where `keep`, else zero, whatever `x` is.
#[inline(always)]
fn unless_zero<T: Float>(at: T, x: T) -> T {
    if at == T::ZERO { T::ZERO } else { x }
}

bodies! { float_block [T: Float] T {
    Add |a, b| a + b;
    Sub |a, b| a - b;
    Mul |a, b| a * b;
    Div |a, b| a / b;
    FloorDiv |a, b| (a / b).floor();
    TruncDiv |a, b| (a / b).trunc();
    FloorMod |a, b| wide(a, b, |a, b| {
        let r = a % b;
        if r != 0.0 && ((r < 0.0) != (b < 0.0)) { r + b } else { r }
    });
    TruncMod |a, b| wide(a, b, |a, b| a % b);
    Pow |a, b| a.powf(b);
    Maximum |a, b| a.larger(b);
    Minimum |a, b| a.smaller(b);
    SquaredDifference |a, b| (a - b) * (a - b);
    DivNoNan |a, b| unless_zero(b, a / b);
    MulNoNan |a, b| unless_zero(b, a * b);
    Xlogy |a, b| unless_zero(a, a * b.log());
    Xlog1py |a, b| unless_zero(a, a * b.log1p());
    Xdivy |a, b| unless_zero(a, a / b);
    Atan2 |a, b| wide(a, b, f64::atan2);
    SqrtGradient |y, g| g * T::of(0.5) / y;
    RsqrtGradient |y, g| g * T::of(-0.5) * (y * y * y);
    ReciprocalGradient |y, g| -g * (y * y);
    TanhGradient |y, g| g * (T::ONE - y * y);
    SigmoidGradient |y, g| g * y * (T::ONE - y);
    ErfGradient |x, g| T::of(std::f64::consts::FRAC_2_SQRT_PI) * (-(x * x)).exp() * g;
    ReluGradient |y, g| if y > T::ZERO { g } else { T::ZERO };
    Relu6Gradient |y, g| if y > T::ZERO && y < T::of(6.0) { g } else { T::ZERO };
    EluGradient |y, g| if y < T::ZERO { g * (y + T::ONE) } else { g };
    SeluGradient |y, g| if y < T::ZERO { g * (y + T::of(SELU_SCALE * SELU_ALPHA)) } else { g * T::of(SELU_SCALE) };
    Polygamma |a, b| wide(a, b, special::polygamma);
    Zeta |a, b| wide(a, b, special::zeta);
    Igamma |a, b| wide(a, b, special::igamma);
    Igammac |a, b| wide(a, b, special::igammac);
    IgammaSlope |a, b| wide(a, b, special::igamma_slope);
} }

bodies! { compare_block [T: Lane] u8 {
    Less |a, b| u8::from(a < b);
    LessEqual |a, b| u8::from(a <= b);
    Greater |a, b| u8::from(a > b);
    GreaterEqual |a, b| u8::from(a >= b);
    Equal |a, b| u8::from(a == b);
    NotEqual |a, b| u8::from(a != b);
} }

/// Wrapping integer arithmetic; the methods are the functions of the table. Division by zero gives zero.
trait Int: Lane {
    fn add(self, b: Self) -> Self;
    fn sub(self, b: Self) -> Self;
    fn mul(self, b: Self) -> Self;
    fn div(self, b: Self) -> Self;
    fn floor_div(self, b: Self) -> Self;
    fn floor_mod(self, b: Self) -> Self;
    fn rem(self, b: Self) -> Self;
    fn power(self, b: Self) -> Self;
    fn and(self, b: Self) -> Self;
    fn or(self, b: Self) -> Self;
    fn xor(self, b: Self) -> Self;
    fn left(self, b: Self) -> Self;
    fn right(self, b: Self) -> Self;
}

macro_rules! int {
    ($t:ty, $negative:expr) => {
        impl Int for $t {
            #[inline(always)]
            fn add(self, b: Self) -> Self {
                self.wrapping_add(b)
            }
            #[inline(always)]
            fn sub(self, b: Self) -> Self {
                self.wrapping_sub(b)
            }
            #[inline(always)]
            fn mul(self, b: Self) -> Self {
                self.wrapping_mul(b)
            }
            #[inline(always)]
            fn div(self, b: Self) -> Self {
                if b == 0 { 0 } else { self.wrapping_div(b) }
            }
            #[inline(always)]
            fn floor_div(self, b: Self) -> Self {
                if b == 0 {
                    return 0;
                }
                let (q, r) = (self.wrapping_div(b), self.wrapping_rem(b));
                if r != 0 && ($negative(r) != $negative(b)) { q.wrapping_sub(1) } else { q }
            }
            #[inline(always)]
            fn floor_mod(self, b: Self) -> Self {
                if b == 0 {
                    return 0;
                }
                let r = self.wrapping_rem(b);
                if r != 0 && ($negative(r) != $negative(b)) { r.wrapping_add(b) } else { r }
            }
            #[inline(always)]
            fn rem(self, b: Self) -> Self {
                if b == 0 { 0 } else { self.wrapping_rem(b) }
            }
            #[inline(always)]
            fn power(self, b: Self) -> Self {
                if $negative(b) {
                    // Only ±1 have an integer reciprocal.
                    return if self == 1 || (b.wrapping_rem(2) == 0 && self.wrapping_mul(self) == 1) {
                        1
                    } else if self.wrapping_mul(self) == 1 {
                        self
                    } else {
                        0
                    };
                }
                self.wrapping_pow(u32::try_from(b).unwrap_or(u32::MAX))
            }
            #[inline(always)]
            fn and(self, b: Self) -> Self {
                self & b
            }
            #[inline(always)]
            fn or(self, b: Self) -> Self {
                self | b
            }
            #[inline(always)]
            fn xor(self, b: Self) -> Self {
                self ^ b
            }
            #[inline(always)]
            fn left(self, b: Self) -> Self {
                self.wrapping_shl(b as u32 & 63)
            }
            #[inline(always)]
            fn right(self, b: Self) -> Self {
                self.wrapping_shr(b as u32 & 63)
            }
        }
    };
}
int!(i64, |x: i64| x < 0);
int!(u64, |_: u64| false);

bodies! { int_block [T: Int] T {
    Add |a, b| a.add(b);
    Sub |a, b| a.sub(b);
    Mul |a, b| a.mul(b);
    Div |a, b| a.div(b);
    TruncDiv |a, b| a.div(b);
    FloorDiv |a, b| a.floor_div(b);
    FloorMod |a, b| a.floor_mod(b);
    TruncMod |a, b| a.rem(b);
    Pow |a, b| a.power(b);
    Maximum |a, b| if a > b { a } else { b };
    Minimum |a, b| if a < b { a } else { b };
    SquaredDifference |a, b| a.sub(b).mul(a.sub(b));
    BitAnd |a, b| a.and(b);
    BitOr |a, b| a.or(b);
    BitXor |a, b| a.xor(b);
    ShiftLeft |a, b| a.left(b);
    ShiftRight |a, b| a.right(b);
} }

bodies! { logic_block [T: Truth] u8 {
    And |a, b| u8::from(a.holds() && b.holds());
    Or |a, b| u8::from(a.holds() || b.holds());
    Xor |a, b| u8::from(a.holds() != b.holds());
    Equal |a, b| u8::from(a.holds() == b.holds());
    NotEqual |a, b| u8::from(a.holds() != b.holds());
} }

/// Booleans in their storage.
trait Truth: Lane {
    fn holds(self) -> bool;
}
impl Truth for u8 {
    #[inline(always)]
    fn holds(self) -> bool {
        self != 0
    }
}

/// Powers with one exponent for all, where multiplication does: what activation functions use.
fn pow_block<T: Float>(a: &[T], b: &[T], y: &mut [T]) {
    let [e] = b else { return T::zip::<T, Powf>(a, b, y) };
    if a.len() != y.len() {
        return T::zip::<T, Powf>(a, b, y);
    }
    match e.to_f64() {
        1.0 => y.copy_from_slice(a),
        2.0 => T::zip::<T, Squared>(a, b, y),
        3.0 => T::zip::<T, Cubed>(a, b, y),
        0.5 => T::zip::<T, Root>(a, b, y),
        -1.0 => T::zip::<T, Inverse>(a, b, y),
        _ => T::zip::<T, Powf>(a, b, y),
    }
}

macro_rules! powers {
    ($($name:ident |$a:ident, $b:ident| $value:expr;)*) => { $(
        #[derive(Clone, Copy)]
        struct $name;
        impl<T: Float> Zip<T, T> for $name {
            const THE: Self = $name;
            #[inline(always)]
            fn at($a: T, $b: T) -> T {
                $value
            }
        }
    )* };
}
powers! {
    Powf |a, b| a.powf(b);
    Squared |a, _b| a * a;
    Cubed |a, _b| a * a * a;
    Root |a, _b| (a + T::ZERO).sqrt();
    Inverse |a, _b| T::ONE / a;
}

/// Steps to the neighbour in the storage type itself, so not through the lanes' conversions.
fn next_f32(a: &[f32], b: &[f32], y: &mut [f32]) {
    let at = |s: &[f32], i: usize| if s.len() == 1 { s[0] } else { s[i] };
    for (i, y) in y.iter_mut().enumerate() {
        *y = libm::nextafterf(at(a, i), at(b, i));
    }
}

fn next_f64(a: &[f64], b: &[f64], y: &mut [f64]) {
    let at = |s: &[f64], i: usize| if s.len() == 1 { s[0] } else { s[i] };
    for (i, y) in y.iter_mut().enumerate() {
        *y = libm::nextafter(at(a, i), at(b, i));
    }
}

/// About how many quarter nanoseconds an element takes; only decides how finely work is split.
fn cost(f: BinaryFn) -> usize {
    use BinaryFn::*;
    match f {
        Div | FloorDiv | TruncDiv | SqrtGradient | DivNoNan | Xdivy | ErfGradient | Xlogy => 2,
        FloorMod | TruncMod | Pow | Xlog1py | Atan2 | Polygamma | Zeta | Igamma | Igammac | IgammaSlope => 40,
        _ => 1,
    }
}

/// The kernel of `f` on operands of shapes `a` and `b` that broadcast to `out`.
pub(super) fn kernel(f: BinaryFn, dtype: DType, a: &[usize], b: &[usize], out: &[usize]) -> Result<Kernel, Misfit> {
    let c = cost(f);
    macro_rules! arithmetic {
        ($s:ty, $t:ty, $table:expr) => {
            $table
                .map(|k| driver::binary::<$s, $t, $s, $t>(k, a, b, out, c))
                .or_else(|| compare_block::<$t>(f).map(|k| driver::binary::<$s, $t, u8, u8>(k, a, b, out, c)))
        };
    }
    let found = match dtype {
        DType::F32 if f == BinaryFn::NextAfter => Some(driver::binary::<f32, f32, f32, f32>(next_f32, a, b, out, c)),
        DType::F64 if f == BinaryFn::NextAfter => Some(driver::binary::<f64, f64, f64, f64>(next_f64, a, b, out, c)),
        DType::F32 if f == BinaryFn::Pow => Some(driver::binary::<f32, f32, f32, f32>(pow_block, a, b, out, c)),
        DType::F64 if f == BinaryFn::Pow => Some(driver::binary::<f64, f64, f64, f64>(pow_block, a, b, out, c)),
        DType::F32 => arithmetic!(f32, f32, float_block::<f32>(f)),
        DType::F64 => arithmetic!(f64, f64, float_block::<f64>(f)),
        DType::F16 => arithmetic!(f16, f32, float_block::<f32>(f)),
        DType::BF16 => arithmetic!(bf16, f32, float_block::<f32>(f)),
        DType::I8 => arithmetic!(i8, i64, int_block::<i64>(f)),
        DType::I16 => arithmetic!(i16, i64, int_block::<i64>(f)),
        DType::I32 => arithmetic!(i32, i64, int_block::<i64>(f)),
        DType::I64 => arithmetic!(i64, i64, int_block::<i64>(f)),
        DType::U8 => arithmetic!(u8, i64, int_block::<i64>(f)),
        DType::U16 => arithmetic!(u16, i64, int_block::<i64>(f)),
        DType::U32 => arithmetic!(u32, i64, int_block::<i64>(f)),
        DType::U64 => arithmetic!(u64, u64, int_block::<u64>(f)),
        DType::Bool => logic_block::<u8>(f)
            .or_else(|| compare_block::<u8>(f))
            .map(|k| driver::binary::<u8, u8, u8, u8>(k, a, b, out, c)),
        _ => None,
    };
    found.ok_or_else(|| Misfit(format!("not defined for {dtype}")))
}
