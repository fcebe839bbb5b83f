//! Values of the functions of one element, as vectorised blocks.

use half::{bf16, f16};

use crate::program::{Kernel, Misfit};
use crate::tensor::DType;

use super::bessel;
use super::driver::{self, UnaryBlock};
use super::special;
use super::stored::{Float, Lane, Map};
use super::unary::UnaryFn;

/// Declares bodies for a lane type and the table from function to block.
macro_rules! bodies {
    ($table:ident [$t:ident: $bound:path] $o:ty { $($name:ident |$x:ident| $value:expr;)* }) => {
        fn $table<$t: $bound>(f: UnaryFn) -> Option<UnaryBlock<$t, $o>> {
            $(
                #[derive(Clone, Copy)]
                struct $name;
                impl<$t: $bound> Map<$t, $o> for $name {
                    const THE: Self = $name;
                    #[inline(always)]
                    fn at($x: $t) -> $o {
                        $value
                    }
                }
            )*
            match f {
                $(UnaryFn::$name => Some(<$t>::map::<$o, $name>),)*
                _ => None,
            }
        }
    };
}

/// Scale and slope of SELU, from its paper.
pub(super) const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
pub(super) const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;

bodies! { float_block [T: Float] T {
    Neg |x| -x;
    Abs |x| x.abs();
    Sign |x| if x > T::ZERO { T::ONE } else if x < T::ZERO { -T::ONE } else { x };
    Square |x| x * x;
    Sqrt |x| x.sqrt();
    Rsqrt |x| T::ONE / x.sqrt();
    Reciprocal |x| T::ONE / x;
    Exp |x| x.exp();
    Expm1 |x| x.expm1();
    Log |x| x.log();
    Log1p |x| x.log1p();
    Sin |x| x.wide(f64::sin);
    Cos |x| x.wide(f64::cos);
    Tan |x| x.wide(f64::tan);
    Asin |x| x.wide(f64::asin);
    Acos |x| x.wide(f64::acos);
    Atan |x| x.wide(f64::atan);
    Sinh |x| x.wide(f64::sinh);
    Cosh |x| x.wide(f64::cosh);
    Tanh |x| x.tanh();
    Asinh |x| x.wide(f64::asinh);
    Acosh |x| x.wide(f64::acosh);
    Atanh |x| x.wide(f64::atanh);
    Sigmoid |x| T::ONE / (T::ONE + (-x).exp());
    Erf |x| x.erf();
    Erfc |x| x.wide(libm::erfc);
    Erfinv |x| x.wide(special::erfinv);
    Lgamma |x| x.wide(libm::lgamma);
    Digamma |x| x.wide(special::digamma);
    BesselI0 |x| x.wide(bessel::i0);
    BesselI0e |x| x.wide(bessel::i0e);
    BesselI1 |x| x.wide(bessel::i1);
    BesselI1e |x| x.wide(bessel::i1e);
    BesselJ0 |x| x.wide(libm::j0);
    BesselJ1 |x| x.wide(libm::j1);
    BesselY0 |x| x.wide(libm::y0);
    BesselY1 |x| x.wide(libm::y1);
    BesselK0 |x| x.wide(bessel::k0);
    BesselK0e |x| x.wide(bessel::k0e);
    BesselK1 |x| x.wide(bessel::k1);
    BesselK1e |x| x.wide(bessel::k1e);
    Dawson |x| x.wide(bessel::dawson);
    Expint |x| x.wide(bessel::expint);
    Spence |x| x.wide(bessel::spence);
    FresnelSin |x| x.wide(bessel::fresnel_sin);
    FresnelCos |x| x.wide(bessel::fresnel_cos);
    Softplus |x| {
        let positive = if x > T::ZERO { x } else { T::ZERO };
        positive + (-x.abs()).exp().log1p()
    };
    Softsign |x| x / (T::ONE + x.abs());
    Relu |x| if x < T::ZERO { T::ZERO } else { x };
    Relu6 |x| {
        let y = if x < T::ZERO { T::ZERO } else { x };
        if y > T::of(6.0) { T::of(6.0) } else { y }
    };
    Elu |x| {
        let below = x.expm1();
        if x < T::ZERO { below } else { x }
    };
    Selu |x| {
        let below = T::of(SELU_ALPHA) * x.expm1();
        T::of(SELU_SCALE) * if x < T::ZERO { below } else { x }
    };
    Floor |x| x.floor();
    Ceil |x| x.ceil();
    Trunc |x| x.trunc();
    Round |x| x.round_even();
} }

bodies! { test_block [T: Float] u8 {
    IsNan |x| u8::from(x.is_nan());
    IsInf |x| u8::from(x.is_infinite());
    IsFinite |x| u8::from(x.is_finite());
} }

/// Integers; the bound only names the type.
trait Whole: Lane + Into<i64> + From<i64> {}
impl Whole for i64 {}

bodies! { int_block [T: Whole] T {
    Neg |x| T::from(x.into().wrapping_neg());
    Abs |x| T::from(x.into().wrapping_abs());
    Sign |x| T::from(x.into().signum());
    Square |x| {
        let v: i64 = x.into();
        T::from(v.wrapping_mul(v))
    };
    Relu |x| T::from(x.into().max(0));
    Relu6 |x| T::from(x.into().clamp(0, 6));
    Floor |x| x;
    Ceil |x| x;
    Trunc |x| x;
    Round |x| x;
    Not |x| T::from(!x.into());
} }

fn not_bool(x: &[u8], y: &mut [u8]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = u8::from(x == 0);
    }
}

/// `u64` has no sign: what differs from the other integers.
fn unsigned_block(f: UnaryFn) -> Option<UnaryBlock<u64, u64>> {
    Some(match f {
        UnaryFn::Abs | UnaryFn::Relu | UnaryFn::Floor | UnaryFn::Ceil | UnaryFn::Trunc | UnaryFn::Round => {
            |x, y| y.copy_from_slice(x)
        }
        UnaryFn::Neg => |x, y| y.iter_mut().zip(x).for_each(|(y, x)| *y = x.wrapping_neg()),
        UnaryFn::Sign => |x, y| y.iter_mut().zip(x).for_each(|(y, x)| *y = u64::from(*x != 0)),
        UnaryFn::Square => |x, y| y.iter_mut().zip(x).for_each(|(y, x)| *y = x.wrapping_mul(*x)),
        UnaryFn::Relu6 => |x, y| y.iter_mut().zip(x).for_each(|(y, x)| *y = (*x).min(6)),
        UnaryFn::Not => |x, y| y.iter_mut().zip(x).for_each(|(y, x)| *y = !x),
        _ => return None,
    })
}

/// About how many quarter nanoseconds an element takes; only decides how finely work is split.
fn cost(f: UnaryFn) -> usize {
    use UnaryFn::*;
    match f {
        Neg | Abs | Sign | Square | Relu | Relu6 | Floor | Ceil | Trunc | Round | IsNan | IsInf | IsFinite | Not => 1,
        Sqrt | Rsqrt | Reciprocal | Exp | Log | Tanh | Sigmoid | Erf | Softsign => 2,
        Expm1 | Log1p | Softplus | Elu | Selu => 4,
        _ => 40,
    }
}

/// The kernel of `f` over `n` elements.
pub(super) fn kernel(f: UnaryFn, dtype: DType, n: usize) -> Result<Kernel, Misfit> {
    let c = cost(f);
    let found = match dtype {
        DType::F32 => float_block::<f32>(f)
            .map(|k| driver::unary::<f32, f32, f32, f32>(k, n, c))
            .or_else(|| test_block::<f32>(f).map(|k| driver::unary::<f32, f32, u8, u8>(k, n, c))),
        DType::F64 => float_block::<f64>(f)
            .map(|k| driver::unary::<f64, f64, f64, f64>(k, n, c))
            .or_else(|| test_block::<f64>(f).map(|k| driver::unary::<f64, f64, u8, u8>(k, n, c))),
        DType::F16 => float_block::<f32>(f)
            .map(|k| driver::unary::<f16, f32, f16, f32>(k, n, c))
            .or_else(|| test_block::<f32>(f).map(|k| driver::unary::<f16, f32, u8, u8>(k, n, c))),
        DType::BF16 => float_block::<f32>(f)
            .map(|k| driver::unary::<bf16, f32, bf16, f32>(k, n, c))
            .or_else(|| test_block::<f32>(f).map(|k| driver::unary::<bf16, f32, u8, u8>(k, n, c))),
        DType::I8 => int_block(f).map(|k| driver::unary::<i8, i64, i8, i64>(k, n, c)),
        DType::I16 => int_block(f).map(|k| driver::unary::<i16, i64, i16, i64>(k, n, c)),
        DType::I32 => int_block(f).map(|k| driver::unary::<i32, i64, i32, i64>(k, n, c)),
        DType::I64 => int_block(f).map(|k| driver::unary::<i64, i64, i64, i64>(k, n, c)),
        DType::U8 => int_block(f).map(|k| driver::unary::<u8, i64, u8, i64>(k, n, c)),
        DType::U16 => int_block(f).map(|k| driver::unary::<u16, i64, u16, i64>(k, n, c)),
        DType::U32 => int_block(f).map(|k| driver::unary::<u32, i64, u32, i64>(k, n, c)),
        DType::U64 => unsigned_block(f).map(|k| driver::unary::<u64, u64, u64, u64>(k, n, c)),
        DType::Bool if f == UnaryFn::Not => Some(driver::unary::<u8, u8, u8, u8>(not_bool, n, c)),
        _ => None,
    };
    found.ok_or_else(|| Misfit(format!("not defined for {dtype}")))
}
