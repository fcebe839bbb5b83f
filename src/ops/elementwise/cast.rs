//! `cast`: another element type. Floats become integers by dropping the fraction (saturating at the type's range, NaN is
//! 0), integers wrap, anything becomes a boolean by `≠ 0`.

use std::sync::Arc;

use half::{bf16, f16};

use crate::ops::make;
use crate::ops::simd::parallel;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Element, Fact, Tensor};

use super::stored::{Source, Target};

pub static INFO: OpInfo = OpInfo {
    name: "cast",
    family: "elementwise",
    summary: "Another element type",
    formula: "y = x rounded to the type; floats to integers drop the fraction, anything to boolean is x ≠ 0",
    examples,
};

#[derive(Clone, Debug)]
pub struct Cast {
    pub to: DType,
}

impl Op for Cast {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 1)?;
        Ok(vec![Fact::new(self.to, inputs[0].shape.clone())])
    }

    fn kernel(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let from = inputs[0].dtype;
        if from == self.to {
            return Ok(Kernel::alias());
        }
        kernel(from, self.to).ok_or_else(|| Misfit(format!("no conversion from {from} to {}", self.to)))
    }

    fn flow(&self, _input: usize, inputs: &[&Fact]) -> Flow {
        if inputs[0].dtype.is_exact() {
            Flow::Zero("integers and booleans have no gradient")
        } else if self.to.is_exact() {
            Flow::Zero("a conversion to integers or booleans rounds: the slope is zero")
        } else {
            Flow::Flows
        }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(g) = out_grads[0] else { return Ok(vec![None]) };
        let to = b.fact(at.inputs[0]).dtype;
        Ok(vec![Some(make::cast(b, g, to)?)])
    }
}

/// A number as the widest types of its kind, for conversion.
trait Number: Element + Copy {
    fn float(self) -> f64;
    fn whole(self) -> i64;
    const FLOAT: bool;
}

macro_rules! number {
    ($($t:ty, $float:literal, $to_float:expr, $to_whole:expr;)*) => { $(impl Number for $t {
        const FLOAT: bool = $float;
        #[inline(always)]
        fn float(self) -> f64 { $to_float(self) }
        #[inline(always)]
        fn whole(self) -> i64 { $to_whole(self) }
    })* };
}
number! {
    f16, true, f16::to_f64, |x: f16| x.to_f32() as i64;
    bf16, true, bf16::to_f64, |x: bf16| x.to_f32() as i64;
    f32, true, f64::from, |x| x as i64;
    f64, true, |x| x, |x| x as i64;
    i8, false, f64::from, i64::from;
    i16, false, f64::from, i64::from;
    i32, false, f64::from, i64::from;
    i64, false, |x| x as f64, |x| x;
    u8, false, f64::from, i64::from;
    u16, false, f64::from, i64::from;
    u32, false, f64::from, i64::from;
    u64, false, |x| x as f64, |x| x as i64;
}

/// The function is a type of its own, so that it is inlined into the loop.
fn map<A: Number, B: Element + Copy>(f: impl Fn(A) -> B + Copy + Send + Sync + 'static) -> Kernel {
    let kernel = Kernel::compute(move |call| {
        let n = call.inputs[0].len::<A>();
        let x = Source::<A>::of(&call.inputs[0]);
        let shared = call.aliased(0, 0);
        let y = Target::<B>::of(&mut call.outputs[0]);
        parallel(n, 1, |range| {
            if !shared {
                // SAFETY: the range lies within both buffers, which do not overlap.
                #[allow(unsafe_code)]
                let (x, y) = unsafe {
                    (
                        std::slice::from_raw_parts(x.at(range.start), range.len()),
                        std::slice::from_raw_parts_mut(y.at(range.start), range.len()),
                    )
                };
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = f(x);
                }
                return;
            }
            for i in range {
                // SAFETY: within both buffers; where they are shared, elements have one size and are read before written.
                #[allow(unsafe_code)]
                unsafe {
                    *y.at(i) = f(*x.at(i));
                }
            }
        });
    });
    if size_of::<A>() == size_of::<B>() { kernel.in_place(&[(0, 0)]) } else { kernel }
}

fn from<A: Number>(to: DType) -> Option<Kernel> {
    macro_rules! to_int {
        ($t:ty) => {
            if A::FLOAT { map(|x: A| x.float() as $t) } else { map(|x: A| x.whole() as $t) }
        };
    }
    Some(match to {
        DType::F16 => map(|x: A| f16::from_f64(x.float())),
        DType::BF16 => map(|x: A| bf16::from_f64(x.float())),
        DType::F32 => map(|x: A| x.float() as f32),
        DType::F64 => map(|x: A| x.float()),
        DType::I8 => to_int!(i8),
        DType::I16 => to_int!(i16),
        DType::I32 => to_int!(i32),
        DType::I64 => to_int!(i64),
        DType::U8 => to_int!(u8),
        DType::U16 => to_int!(u16),
        DType::U32 => to_int!(u32),
        DType::U64 => to_int!(u64),
        DType::Bool => map(|x: A| u8::from(x.float() != 0.0)),
        _ => return None,
    })
}

fn kernel(a: DType, b: DType) -> Option<Kernel> {
    match a {
        DType::F16 => from::<f16>(b),
        DType::BF16 => from::<bf16>(b),
        DType::F32 => from::<f32>(b),
        DType::F64 => from::<f64>(b),
        DType::I8 => from::<i8>(b),
        DType::I16 => from::<i16>(b),
        DType::I32 => from::<i32>(b),
        DType::I64 => from::<i64>(b),
        DType::U8 | DType::Bool => from::<u8>(b),
        DType::U16 => from::<u16>(b),
        DType::U32 => from::<u32>(b),
        DType::U64 => from::<u64>(b),
        _ => None,
    }
}

fn examples() -> Vec<Example> {
    let x = Tensor::from_slice(&[4], &[1.75f64, -1.75, 0.0, 300.0]);
    let case = |to, input: &Tensor, want: Tensor| Example {
        op: Arc::new(Cast { to }),
        inputs: vec![input.clone()],
        outputs: Some(vec![want]),
    };
    let wide = Tensor::from_slice(&[2], &[(1i64 << 32) + 5, -1]);
    vec![
        case(DType::I32, &x, Tensor::from_slice(&[4], &[1i32, -1, 0, 300])),
        case(DType::Bool, &x, Tensor::from_bools(&[4], &[true, true, false, true])),
        case(DType::F32, &x, Tensor::from_slice(&[4], &[1.75f32, -1.75, 0.0, 300.0])),
        case(DType::I32, &wide, Tensor::from_slice(&[2], &[5i32, -1])),
    ]
}
