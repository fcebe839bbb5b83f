//! `betainc`: the regularised incomplete beta function, the one element-wise function of three values.

use std::sync::Arc;

use crate::ops::make;
use crate::ops::simd::parallel;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Fact, Tensor, shape};

use super::special;
use super::stored::{Float, Source, Target};
use super::unary::UnaryFn;
use super::walk::Walk;

pub static INFO: OpInfo = OpInfo {
    name: "betainc",
    family: "elementwise",
    summary: "Regularised incomplete beta function I_x(a, b)",
    formula: "∫₀ˣ t^(a-1) (1 - t)^(b-1) dt / B(a, b), 0 ≤ x ≤ 1; shapes broadcast",
    examples,
};

/// Inputs: a, b, x.
#[derive(Clone, Debug)]
pub struct Betainc;

impl Op for Betainc {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 3)?;
        let dtype = inputs[0].dtype;
        if inputs.iter().any(|f| f.dtype != dtype) || !matches!(dtype, DType::F32 | DType::F64 | DType::Unknown) {
            return Err(Misfit::new("three values of float32 or float64 are expected"));
        }
        shape::broadcast(&inputs[0].shape, &inputs[1].shape)
            .and_then(|ab| shape::broadcast(&ab, &inputs[2].shape))
            .map(|shape| vec![Fact::new(dtype, shape)])
            .ok_or_else(|| Misfit::new("the shapes do not broadcast"))
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let dims = |f: &Fact| f.dims().ok_or_else(|| Misfit::new("the shape is not known"));
        let (a, b, x, out) = (dims(inputs[0])?, dims(inputs[1])?, dims(inputs[2])?, dims(outputs[0])?);
        let walk = Walk::new(&out, [&a[..], &b[..], &x[..]]);
        match inputs[0].dtype {
            DType::F32 => Ok(kernel::<f32>(walk)),
            DType::F64 => Ok(kernel::<f64>(walk)),
            d => Err(Misfit(format!("not defined for {d}"))),
        }
    }

    fn flow(&self, input: usize, _inputs: &[&Fact]) -> Flow {
        if input == 2 {
            return Flow::Flows;
        }
        Flow::Blocked("the derivative of betainc by its shape parameters has no closed form here".into())
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(g) = out_grads[0] else { return Ok(vec![None; 3]) };
        let (p, q, x) = (at.inputs[0], at.inputs[1], at.inputs[2]);
        // x^(a-1) (1-x)^(b-1) / B(a, b), in logarithms.
        let log_x = make::log(b, x)?;
        let minus = make::neg(b, x)?;
        let log_rest = make::unary(b, UnaryFn::Log1p, minus)?;
        let mut exponent = None;
        for (power, log) in [(p, log_x), (q, log_rest)] {
            let less = make::add_scalar(b, power, -1.0)?;
            let term = make::mul(b, less, log)?;
            let gamma = make::unary(b, UnaryFn::Lgamma, power)?;
            let term = make::sub(b, term, gamma)?;
            exponent = Some(match exponent {
                Some(sum) => make::add(b, sum, term)?,
                None => term,
            });
        }
        let both = make::add(b, p, q)?;
        let gamma = make::unary(b, UnaryFn::Lgamma, both)?;
        let exponent = match exponent {
            Some(sum) => make::add(b, sum, gamma)?,
            None => gamma,
        };
        let density = make::exp(b, exponent)?;
        let full = make::mul(b, g, density)?;
        Ok(vec![None, None, Some(make::sum_to(b, full, x)?)])
    }
}

fn kernel<T: Float>(walk: Walk<3>) -> Kernel {
    Kernel::compute(move |call| {
        let from = [0, 1, 2].map(|i| Source::<T>::of(&call.inputs[i]));
        let y = Target::<T>::of(&mut call.outputs[0]);
        let step = [0, 1, 2].map(|k| usize::from(walk.advances(k)));
        parallel(walk.count(), 100, |range| {
            walk.runs(range, |at, n, start| {
                for i in 0..n {
                    // SAFETY: runs lie within the buffers.
                    #[allow(unsafe_code)]
                    unsafe {
                        let [a, b, x] = [0, 1, 2].map(|k| (*from[k].at(start[k] + i * step[k])).to_f64());
                        *y.at(at + i) = T::of(special::betainc(a, b, x));
                    }
                }
            });
        });
    })
}

fn examples() -> Vec<Example> {
    let case = |a: &[f64], b: &[f64], x: &[f64]| Example {
        op: Arc::new(Betainc),
        inputs: [a, b, x].iter().map(|v| Tensor::from_slice(&[v.len()], v)).collect(),
        outputs: None,
    };
    vec![case(&[2.0, 0.7, 3.0], &[3.0, 1.5, 0.9], &[0.4, 0.2, 0.85])]
}
