//! Float kernels by element type: [`with_real!`](crate::with_real) picks `f32` or `f64`; half types compute through `f32`
//! ([`through_f32`]).

use half::{bf16, f16};

use crate::program::{Call, Kernel, Misfit, Op, Run, View, ViewMut};
use crate::tensor::{DType, Fact, Tensor};

/// Runs `$body` with `$t` bound to the Rust type of a float dtype; a [`Misfit`] for other types.
/// `$body` is an expression of type `Result<_, Misfit>`.
#[macro_export]
macro_rules! with_real {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            $crate::tensor::DType::F32 => {
                type $t = f32;
                $body
            }
            $crate::tensor::DType::F64 => {
                type $t = f64;
                $body
            }
            other => Err($crate::program::Misfit(format!("there is no kernel for {other}"))),
        }
    };
}

/// Where any input or output has a half type: the op's `f32` kernel between conversions. `None` where none has.
pub fn through_f32(op: &dyn Op, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Option<Kernel>, Misfit> {
    if !inputs.iter().chain(outputs).any(|f| f.dtype.is_half()) {
        return Ok(None);
    }
    let widen = |facts: &[&Fact]| facts.iter().map(|f| widened_fact(f)).collect::<Vec<_>>();
    let (wide_in, wide_out) = (widen(inputs), widen(outputs));
    let kernel = op.kernel(&wide_in.iter().collect::<Vec<_>>(), &wide_out.iter().collect::<Vec<_>>())?;
    let (scratch, flops) = (kernel.scratch, kernel.flops);
    let out_dims: Vec<_> = outputs.iter().map(|f| f.dims().unwrap_or_default()).collect();
    let wrapped = match kernel.run {
        Run::Alias => return Ok(Some(kernel)),
        Run::Compute(f) => Kernel::compute(move |call| {
            let inputs: Vec<Tensor> = call.inputs.iter().map(widened_view).collect();
            let mut outputs: Vec<Tensor> =
                call.outputs.iter().zip(&out_dims).map(|(o, d)| Tensor::zeros(wide(o.dtype()), d)).collect();
            {
                let views: Vec<View<'_>> = inputs.iter().map(View::of).collect();
                let mut out_views: Vec<ViewMut<'_>> = outputs.iter_mut().map(ViewMut::of).collect();
                f(&mut Call { inputs: &views, outputs: &mut out_views, scratch: call.scratch, random: call.random });
            }
            for (to, from) in call.outputs.iter_mut().zip(&outputs) {
                narrow_into(to, from);
            }
        }),
        Run::Host(f) => {
            let dtypes: Vec<DType> = outputs.iter().map(|f| f.dtype).collect();
            Kernel::host(move |inputs| {
                let inputs: Vec<Tensor> = inputs.iter().map(widened).collect();
                Ok(f(&inputs)?.iter().zip(&dtypes).map(|(t, &d)| narrowed(t, d)).collect())
            })
        }
    };
    Ok(Some(wrapped.scratch(scratch).flops(flops)))
}

fn wide(dtype: DType) -> DType {
    if dtype.is_half() { DType::F32 } else { dtype }
}

fn widened_fact(fact: &Fact) -> Fact {
    Fact { dtype: wide(fact.dtype), shape: fact.shape.clone(), value: fact.value.as_ref().map(widened) }
}

/// Half tensors as `f32`; others as they are.
pub fn widened(t: &Tensor) -> Tensor {
    match t.dtype() {
        d if d.is_half() => Tensor::from_f64s(DType::F32, t.shape(), t.to_f64s().unwrap_or_default()),
        _ => t.clone(),
    }
}

/// An `f32` tensor rounded to a half type; others as they are.
pub fn narrowed(t: &Tensor, dtype: DType) -> Tensor {
    match dtype {
        d if d.is_half() && t.dtype() == DType::F32 => {
            Tensor::from_f64s(d, t.shape(), t.as_slice::<f32>().iter().map(|&v| f64::from(v)))
        }
        _ => t.clone(),
    }
}

fn widened_view(v: &View<'_>) -> Tensor {
    match v.dtype() {
        DType::F16 => {
            let s = v.slice::<f16>();
            Tensor::from_slice(&[s.len()], &s.iter().map(|x| x.to_f32()).collect::<Vec<_>>())
        }
        DType::BF16 => {
            let s = v.slice::<bf16>();
            Tensor::from_slice(&[s.len()], &s.iter().map(|x| x.to_f32()).collect::<Vec<_>>())
        }
        dtype => {
            let bytes = v.bytes();
            let mut t = Tensor::zeros(dtype, &[bytes.len() / dtype.size().max(1)]);
            t.bytes_mut().copy_from_slice(bytes);
            t
        }
    }
}

fn narrow_into(to: &mut ViewMut<'_>, from: &Tensor) {
    match to.dtype() {
        DType::F16 => {
            let wide = from.as_slice::<f32>();
            to.slice::<f16>().iter_mut().zip(wide).for_each(|(o, &v)| *o = f16::from_f32(v));
        }
        DType::BF16 => {
            let wide = from.as_slice::<f32>();
            to.slice::<bf16>().iter_mut().zip(wide).for_each(|(o, &v)| *o = bf16::from_f32(v));
        }
        _ => to.bytes().copy_from_slice(from.bytes()),
    }
}
