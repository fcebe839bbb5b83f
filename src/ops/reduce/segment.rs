//! `segment_reduce`: rows that belong to the same segment are reduced together.

use std::sync::Arc;

use half::{bf16, f16};

use crate::ops::make;
use crate::ops::shape::{data_flow, shape_operand};
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Fact, PartialShape, Tensor};

use crate::ops::elementwise::stored::{Lane, Stored};

pub static INFO: OpInfo = OpInfo {
    name: "segment_reduce",
    family: "reduce",
    summary: "Reduces together what belongs to the same segment",
    formula: "inputs: x, segment of each leading element, number of segments; negative segments are left out",
    examples,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SegmentFn {
    Sum,
    Mean,
    Max,
    Min,
    Prod,
}

/// Inputs: values, segment ids (their shape leads the values' shape), number of segments (integer scalar).
#[derive(Clone, Debug)]
pub struct SegmentReduce {
    pub f: SegmentFn,
    /// Empty segments give 0 (else the neutral element; 1 for products either way).
    pub empty_is_zero: bool,
}

impl Op for SegmentReduce {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 3)?;
        let (x, ids) = (inputs[0], inputs[1]);
        let (Some(dims), Some(id_dims)) = (x.shape.partial(), ids.shape.partial()) else {
            return Ok(vec![Fact::new(x.dtype, PartialShape::unknown())]);
        };
        let lead = id_dims.len();
        if lead > dims.len() || dims.iter().zip(id_dims).any(|(a, b)| a.is_some() && b.is_some() && a != b) {
            return Err(Misfit(format!("segment ids {} do not lead the shape {}", ids.shape, x.shape)));
        }
        let n = inputs[2].ints().and_then(|v| v.first().copied());
        if n.is_some_and(|n| n < 0) {
            return Err(Misfit::new("a negative number of segments"));
        }
        let out = std::iter::once(n.map(|n| n as usize)).chain(dims[lead..].iter().copied());
        Ok(vec![Fact::new(x.dtype, PartialShape::from_partial(out))])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let known = || Misfit::new("the shape is not known");
        let rows: usize = inputs[1].dims().ok_or_else(known)?.iter().product();
        let out = outputs[0].dims().ok_or_else(known)?;
        let inner: usize = out[1..].iter().product();
        let wide = inputs[1].dtype == DType::I64;
        if !wide && inputs[1].dtype != DType::I32 {
            return Err(Misfit(format!("segment ids are {}", inputs[1].dtype)));
        }
        let at = Rows { segments: out[0], rows, inner, wide };
        let (f, zero) = (self.f, self.empty_is_zero);
        match inputs[0].dtype {
            DType::F32 => Ok(at.kernel::<f32, f32>(f, zero, [f32::NEG_INFINITY, f32::INFINITY], [f32::MIN, f32::MAX])),
            DType::F64 => Ok(at.kernel::<f64, f64>(f, zero, [f64::NEG_INFINITY, f64::INFINITY], [f64::MIN, f64::MAX])),
            DType::F16 => Ok(at.kernel::<f16, f32>(f, zero, [f32::NEG_INFINITY, f32::INFINITY], [-65504.0, 65504.0])),
            DType::BF16 => {
                Ok(at.kernel::<bf16, f32>(f, zero, [f32::NEG_INFINITY, f32::INFINITY], [-3.389e38, 3.389e38]))
            }
            DType::I32 => {
                let ends = [i64::from(i32::MIN), i64::from(i32::MAX)];
                Ok(at.kernel::<i32, i64>(f, zero, ends, ends))
            }
            DType::I64 => Ok(at.kernel::<i64, i64>(f, zero, [i64::MIN, i64::MAX], [i64::MIN, i64::MAX])),
            d => Err(Misfit(format!("not defined for {d}"))),
        }
    }

    fn flow(&self, input: usize, inputs: &[&Fact]) -> Flow {
        if input == 0 { data_flow(inputs[0]) } else { shape_operand() }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(g) = out_grads[0] else { return Ok(vec![None; 3]) };
        let (x, ids, n, y) = (at.inputs[0], at.inputs[1], at.inputs[2], at.outputs[0]);
        // A negative segment was left out: its rows read row 0 and are then set to zero.
        let zero_id = make::scalar_like(b, ids, 0.0);
        let safe = make::maximum(b, ids, zero_id)?;
        let pick = |b: &mut Builder, v: Value| make::gather(b, v, safe, 0);
        let sum = Self { f: SegmentFn::Sum, empty_is_zero: true };
        let dx = match self.f {
            SegmentFn::Sum => pick(b, g)?,
            SegmentFn::Mean => {
                let ones = make::ones_like(b, x)?;
                let count = b.op(sum, &[ones, ids, n])?;
                let one = make::scalar_like(b, x, 1.0);
                let count = make::maximum(b, count, one)?;
                let each = make::div(b, g, count)?;
                pick(b, each)?
            }
            SegmentFn::Max | SegmentFn::Min => {
                let mine = pick(b, y)?;
                let hit = make::equal(b, x, mine)?;
                let dtype = b.fact(x).dtype;
                let hit = make::cast(b, hit, dtype)?;
                let ties = b.op(sum, &[hit, ids, n])?;
                let each = make::binary(b, crate::ops::elementwise::BinaryFn::DivNoNan, g, ties)?;
                let each = pick(b, each)?;
                make::mul(b, hit, each)?
            }
            SegmentFn::Prod => self.product_gradient(b, (x, ids, n), safe, g)?,
        };
        let inside = make::greater_equal(b, ids, zero_id)?;
        let inside = match (b.fact(ids).rank(), b.fact(x).rank()) {
            (Some(i), Some(r)) => (i..r).try_fold(inside, |v, _| make::expand_dims(b, v, -1))?,
            _ => return Err(Misfit::new("the rank is not known")),
        };
        let zero = make::scalar_like(b, dx, 0.0);
        Ok(vec![Some(make::select(b, inside, dx, zero)?), None, None])
    }
}

impl SegmentReduce {
    /// The product of the others of a segment: of the non-zero ones, where there is no other zero.
    fn product_gradient(
        &self,
        b: &mut Builder,
        (x, ids, n): (Value, Value, Value),
        safe: Value,
        g: Value,
    ) -> Result<Value, Misfit> {
        let dtype = b.fact(x).dtype;
        let (zero, one) = (make::scalar(b, dtype, 0.0), make::scalar(b, dtype, 1.0));
        let is_zero = make::equal(b, x, zero)?;
        let zeros = make::cast(b, is_zero, dtype)?;
        let sum = Self { f: SegmentFn::Sum, empty_is_zero: true };
        let n_zeros = b.op(sum, &[zeros, ids, n])?;
        let nonzero = make::select(b, is_zero, one, x)?;
        let product = b.op(self.clone(), &[nonzero, ids, n])?;
        let (product, n_zeros, g) =
            (make::gather(b, product, safe, 0)?, make::gather(b, n_zeros, safe, 0)?, make::gather(b, g, safe, 0)?);
        let others = make::div(b, product, nonzero)?;
        let other_zeros = make::sub(b, n_zeros, zeros)?;
        let clean = make::equal(b, other_zeros, zero)?;
        let slope = make::select(b, clean, others, zero)?;
        make::mul(b, slope, g)
    }
}

#[derive(Clone, Copy)]
struct Rows {
    segments: usize,
    rows: usize,
    inner: usize,
    wide: bool,
}

impl Rows {
    /// `ends` is where maximum and minimum start, `empty` what they give for an empty segment.
    fn kernel<S: Stored<T>, T: Total>(self, f: SegmentFn, zero: bool, ends: [T; 2], empty: [T; 2]) -> Kernel {
        Kernel::compute(move |call| {
            let ids: &dyn Fn(usize) -> i64 = if self.wide {
                let ids = call.input::<i64>(1);
                &move |i| ids[i]
            } else {
                let ids = call.input::<i32>(1);
                &move |i| i64::from(ids[i])
            };
            let x = call.input::<S>(0);
            let start = match f {
                SegmentFn::Sum | SegmentFn::Mean => T::default(),
                SegmentFn::Prod => T::one(),
                SegmentFn::Max => ends[0],
                SegmentFn::Min => ends[1],
            };
            let mut totals = vec![start; self.segments * self.inner];
            let mut counts = vec![0usize; self.segments];
            for row in 0..self.rows {
                let Some(s) = usize::try_from(ids(row)).ok().filter(|&s| s < self.segments) else { continue };
                counts[s] += 1;
                let total = &mut totals[s * self.inner..(s + 1) * self.inner];
                for (t, v) in total.iter_mut().zip(&x[row * self.inner..(row + 1) * self.inner]) {
                    *t = t.step(f, v.load());
                }
            }
            let y = call.output::<S>(0);
            for (i, (y, &total)) in y.iter_mut().zip(&totals).enumerate() {
                let count = counts[i / self.inner.max(1)];
                *y = S::store(match (count, f) {
                    (0, SegmentFn::Max) => {
                        if zero {
                            T::default()
                        } else {
                            empty[0]
                        }
                    }
                    (0, SegmentFn::Min) => {
                        if zero {
                            T::default()
                        } else {
                            empty[1]
                        }
                    }
                    (0, _) => total,
                    (n, SegmentFn::Mean) => total.share(n),
                    _ => total,
                });
            }
        })
    }
}

/// Arithmetic of segment totals.
trait Total: Lane {
    fn one() -> Self;
    fn step(self, f: SegmentFn, x: Self) -> Self;
    fn share(self, n: usize) -> Self;
}

macro_rules! total {
    ($t:ty, $one:expr, $add:expr, $mul:expr) => {
        impl Total for $t {
            fn one() -> Self {
                $one
            }
            fn step(self, f: SegmentFn, x: Self) -> Self {
                match f {
                    SegmentFn::Sum | SegmentFn::Mean => $add(self, x),
                    SegmentFn::Prod => $mul(self, x),
                    SegmentFn::Max => {
                        if x > self {
                            x
                        } else {
                            self
                        }
                    }
                    SegmentFn::Min => {
                        if x < self {
                            x
                        } else {
                            self
                        }
                    }
                }
            }
            fn share(self, n: usize) -> Self {
                self / n as $t
            }
        }
    };
}
total!(f32, 1.0, |a, b| a + b, |a, b| a * b);
total!(f64, 1.0, |a, b| a + b, |a, b| a * b);
total!(i64, 1, i64::wrapping_add, i64::wrapping_mul);

fn examples() -> Vec<Example> {
    let x = Tensor::from_slice(&[4, 2], &[1.0f64, 2.0, 3.0, 4.5, 5.0, -6.0, 7.0, 8.0]);
    let case = |f, want: &[f64]| Example {
        op: Arc::new(SegmentReduce { f, empty_is_zero: true }),
        inputs: vec![x.clone(), Tensor::from_slice(&[4], &[2i32, 0, 2, -1]), Tensor::scalar(3i32)],
        outputs: Some(vec![Tensor::from_slice(&[3, 2], want)]),
    };
    vec![
        case(SegmentFn::Sum, &[3.0, 4.5, 0.0, 0.0, 6.0, -4.0]),
        case(SegmentFn::Mean, &[3.0, 4.5, 0.0, 0.0, 3.0, -2.0]),
        case(SegmentFn::Max, &[3.0, 4.5, 0.0, 0.0, 5.0, 2.0]),
        case(SegmentFn::Min, &[3.0, 4.5, 0.0, 0.0, 1.0, -6.0]),
        case(SegmentFn::Prod, &[3.0, 4.5, 1.0, 1.0, 5.0, -12.0]),
    ]
}
