//! `cumulative_*`: running sum, product and log-sum-exp along an axis.

use std::sync::Arc;

use half::{bf16, f16};

use crate::ops::elementwise::stored::{Lane, Source, Stored, Target};
use crate::ops::make;
use crate::ops::shape::shape_operand;
use crate::ops::simd::{Real, parallel};
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Fact, Tensor, shape};

pub static INFO: OpInfo = OpInfo {
    name: "cumulative",
    family: "reduce",
    summary: "Running sum, product or log-sum-exp along an axis",
    formula: "inputs: x, axis; y[i] = x[0] ∘ … ∘ x[i]; exclusive leaves x[i] out, reverse starts at the end",
    examples,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CumulativeFn {
    Sum,
    Prod,
    LogSumExp,
}

/// Inputs: values, axis (integer scalar).
#[derive(Clone, Debug)]
pub struct Cumulative {
    pub f: CumulativeFn,
    pub exclusive: bool,
    pub reverse: bool,
}

impl Op for Cumulative {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        let x = inputs[0];
        if self.f == CumulativeFn::LogSumExp && x.dtype.is_exact() {
            return Err(Misfit(format!("not defined for {}", x.dtype)));
        }
        if let (Some(rank), Some(axis)) = (x.rank(), inputs[1].ints().and_then(|v| v.first().copied()))
            && shape::normalize_axis(axis, rank).is_none()
        {
            return Err(Misfit(format!("axis {axis} is outside rank {rank}")));
        }
        Ok(vec![Fact::new(x.dtype, x.shape.clone())])
    }

    fn kernel(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let known = || Misfit::new("the shape or the axis is not known");
        let dims = inputs[0].dims().ok_or_else(known)?;
        let axis = inputs[1].ints().and_then(|v| v.first().copied()).ok_or_else(known)?;
        let axis = shape::normalize_axis(axis, dims.len()).ok_or_else(known)?;
        let lines = Lines {
            n: dims[axis],
            inner: dims[axis + 1..].iter().product(),
            outer: dims[..axis].iter().product(),
            exclusive: self.exclusive,
            reverse: self.reverse,
        };
        match inputs[0].dtype {
            DType::F32 => Ok(lines.kernel::<f32, f32, f64>(self.f.float_step())),
            DType::F64 => Ok(lines.kernel::<f64, f64, f64>(self.f.float_step())),
            DType::F16 => Ok(lines.kernel::<f16, f32, f64>(self.f.float_step())),
            DType::BF16 => Ok(lines.kernel::<bf16, f32, f64>(self.f.float_step())),
            DType::I8 => Ok(lines.kernel::<i8, i64, i64>(self.f.int_step())),
            DType::I16 => Ok(lines.kernel::<i16, i64, i64>(self.f.int_step())),
            DType::I32 => Ok(lines.kernel::<i32, i64, i64>(self.f.int_step())),
            DType::I64 => Ok(lines.kernel::<i64, i64, i64>(self.f.int_step())),
            DType::U8 => Ok(lines.kernel::<u8, i64, i64>(self.f.int_step())),
            DType::U16 => Ok(lines.kernel::<u16, i64, i64>(self.f.int_step())),
            DType::U32 => Ok(lines.kernel::<u32, i64, i64>(self.f.int_step())),
            d => Err(Misfit(format!("not defined for {d}"))),
        }
    }

    fn flow(&self, input: usize, inputs: &[&Fact]) -> Flow {
        match input {
            1 => shape_operand(),
            _ if inputs[0].dtype.is_exact() => Flow::Zero("integers have no gradient"),
            _ => Flow::Flows,
        }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(g) = out_grads[0] else { return Ok(vec![None, None]) };
        let (x, axis, y) = (at.inputs[0], at.inputs[1], at.outputs[0]);
        let back = |f| Self { f, exclusive: self.exclusive, reverse: !self.reverse };
        let dx = match self.f {
            CumulativeFn::Sum => b.op(back(CumulativeFn::Sum), &[g, axis])?,
            CumulativeFn::Prod => {
                let weighted = make::mul(b, g, y)?;
                let sum = b.op(back(CumulativeFn::Sum), &[weighted, axis])?;
                make::binary(b, crate::ops::elementwise::BinaryFn::DivNoNan, sum, x)?
            }
            CumulativeFn::LogSumExp => {
                // In logarithms, positive and negative parts apart: Σ g_i e^(x_j - y_i).
                let negative = make::neg(b, g)?;
                let mut parts = [g, negative];
                for part in &mut parts {
                    let positive = make::relu(b, *part)?;
                    let log = make::log(b, positive)?;
                    let shifted = make::sub(b, log, y)?;
                    let sum = b.op(back(CumulativeFn::LogSumExp), &[shifted, axis])?;
                    let total = make::add(b, sum, x)?;
                    *part = make::exp(b, total)?;
                }
                make::sub(b, parts[0], parts[1])?
            }
        };
        Ok(vec![Some(dx), None])
    }
}

/// Start value and step of a running total.
type Step<A> = (A, fn(A, A) -> A);

impl CumulativeFn {
    fn float_step(self) -> Step<f64> {
        match self {
            Self::Sum => (0.0, |a, x| a + x),
            Self::Prod => (1.0, |a, x| a * x),
            Self::LogSumExp => (f64::NEG_INFINITY, |a, x| {
                let (high, low) = if a > x { (a, x) } else { (x, a) };
                if high == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
            }),
        }
    }

    fn int_step(self) -> Step<i64> {
        match self {
            Self::Prod => (1, i64::wrapping_mul),
            Self::Sum | Self::LogSumExp => (0, i64::wrapping_add),
        }
    }
}

/// Between lanes and the running total.
trait Widen<A>: Lane {
    fn widen(self) -> A;
    fn narrow(total: A) -> Self;
}
impl Widen<f64> for f32 {
    fn widen(self) -> f64 {
        f64::from(self)
    }
    fn narrow(total: f64) -> Self {
        f32::of(total)
    }
}
impl Widen<f64> for f64 {
    fn widen(self) -> f64 {
        self
    }
    fn narrow(total: f64) -> Self {
        total
    }
}
impl Widen<i64> for i64 {
    fn widen(self) -> i64 {
        self
    }
    fn narrow(total: i64) -> Self {
        total
    }
}

#[derive(Clone, Copy)]
struct Lines {
    n: usize,
    inner: usize,
    outer: usize,
    exclusive: bool,
    reverse: bool,
}

impl Lines {
    fn kernel<S: Stored<T>, T: Widen<A>, A: Copy + Send + Sync + 'static>(self, (start, step): Step<A>) -> Kernel {
        Kernel::compute(move |call| {
            let x = Source::<S>::of(&call.inputs[0]);
            let y = Target::<S>::of(&mut call.outputs[0]);
            parallel(self.outer * self.inner, self.n * 4, |range| {
                for line in range {
                    let base = line / self.inner * self.n * self.inner + line % self.inner;
                    let mut total = start;
                    for k in 0..self.n {
                        let k = if self.reverse { self.n - 1 - k } else { k };
                        let at = base + k * self.inner;
                        // SAFETY: within both buffers; each element is read before it is written.
                        #[allow(unsafe_code)]
                        unsafe {
                            let next = step(total, (*x.at(at)).load().widen());
                            *y.at(at) = S::store(T::narrow(if self.exclusive { total } else { next }));
                            total = next;
                        }
                    }
                }
            });
        })
        .in_place(&[(0, 0)])
    }
}

fn examples() -> Vec<Example> {
    let x = Tensor::from_slice(&[2, 3], &[1.0f64, 2.0, 3.0, -1.0, 0.5, 4.0]);
    let case = |f, exclusive, reverse, want: Option<&[f64]>| Example {
        op: Arc::new(Cumulative { f, exclusive, reverse }),
        inputs: vec![x.clone(), Tensor::scalar(-1i32)],
        outputs: want.map(|w| vec![Tensor::from_slice(&[2, 3], w)]),
    };
    vec![
        case(CumulativeFn::Sum, false, false, Some(&[1.0, 3.0, 6.0, -1.0, -0.5, 3.5])),
        case(CumulativeFn::Sum, true, true, Some(&[5.0, 3.0, 0.0, 4.5, 4.0, 0.0])),
        case(CumulativeFn::Prod, false, false, Some(&[1.0, 2.0, 6.0, -1.0, -0.5, -2.0])),
        case(CumulativeFn::Prod, true, false, Some(&[1.0, 1.0, 2.0, 1.0, -1.0, -0.5])),
        case(CumulativeFn::LogSumExp, false, false, None),
        case(CumulativeFn::LogSumExp, false, true, None),
    ]
}
