//! `select`: one of two values by a condition, all three broadcasting.

use std::sync::Arc;

use crate::dispatch;
use crate::ops::make;
use crate::ops::simd::parallel;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Dims, Element, Fact, Tensor, shape};

use super::stored::{Source, Target};
use super::walk::Walk;

pub static INFO: OpInfo = OpInfo {
    name: "select",
    family: "elementwise",
    summary: "One of two values by a condition",
    formula: "y = c ? a : b, element by element; shapes broadcast",
    examples,
};

/// Inputs: condition (boolean), value where it holds, value where it does not.
#[derive(Clone, Debug)]
pub struct Select;

impl Op for Select {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 3)?;
        let [c, a, b] = [inputs[0], inputs[1], inputs[2]];
        if !matches!(c.dtype, DType::Bool | DType::Unknown) {
            return Err(Misfit(format!("the condition is {} instead of bool", c.dtype)));
        }
        let dtype = match (a.dtype, b.dtype) {
            (DType::Unknown, d) | (d, DType::Unknown) => d,
            (x, y) if x == y => x,
            (x, y) => return Err(Misfit(format!("element types differ: {x} and {y}"))),
        };
        shape::broadcast(&a.shape, &b.shape)
            .and_then(|ab| shape::broadcast(&ab, &c.shape))
            .map(|shape| vec![Fact::new(dtype, shape)])
            .ok_or_else(|| Misfit(format!("shapes {}, {} and {} do not broadcast", c.shape, a.shape, b.shape)))
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let dims = |f: &Fact| f.dims().ok_or_else(|| Misfit::new("the shape is not known"));
        let shapes = [dims(inputs[0])?, dims(inputs[1])?, dims(inputs[2])?];
        let out = dims(outputs[0])?;
        // Only the size of an element matters, so that one kernel serves all types of that size.
        match outputs[0].dtype.size() {
            1 => Ok(kernel::<u8>(&shapes, &out)),
            2 => Ok(kernel::<u16>(&shapes, &out)),
            4 => Ok(kernel::<u32>(&shapes, &out)),
            8 => Ok(kernel::<u64>(&shapes, &out)),
            _ => Err(Misfit(format!("not defined for {}", outputs[0].dtype))),
        }
    }

    fn flow(&self, input: usize, inputs: &[&Fact]) -> Flow {
        match input {
            0 => Flow::Zero("a condition is true or false: no gradient"),
            _ if inputs[input].dtype.is_exact() => Flow::Zero("integers have no gradient"),
            _ => Flow::Flows,
        }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(g) = out_grads[0] else { return Ok(vec![None, None, None]) };
        let zero = make::scalar_like(b, g, 0.0);
        let mut out = vec![None; 3];
        if wanted[1] {
            let full = make::select(b, at.inputs[0], g, zero)?;
            out[1] = Some(make::sum_to(b, full, at.inputs[1])?);
        }
        if wanted[2] {
            let full = make::select(b, at.inputs[0], zero, g)?;
            out[2] = Some(make::sum_to(b, full, at.inputs[2])?);
        }
        Ok(out)
    }
}

fn kernel<T: Bits>(shapes: &[Dims; 3], out: &[usize]) -> Kernel {
    let walk = Walk::new(out, [&shapes[0][..], &shapes[1][..], &shapes[2][..]]);
    let n = walk.count();
    let pairs: &'static [(usize, usize)] = match (shapes[1][..] == *out, shapes[2][..] == *out) {
        (true, true) => &[(1, 0), (2, 0)],
        (true, false) => &[(1, 0)],
        (false, true) => &[(2, 0)],
        _ => &[],
    };
    Kernel::compute(move |call| {
        let c = Source::<u8>::of_bytes(&call.inputs[0]);
        let a = Source::<T>::of_bytes(&call.inputs[1]);
        let b = Source::<T>::of_bytes(&call.inputs[2]);
        let aliased = [call.aliased(1, 0), call.aliased(2, 0)];
        let y = Target::<T>::of_bytes(&mut call.outputs[0]);
        let advances = [0, 1, 2].map(|k| walk.advances(k));
        parallel(n, 1, |range| {
            walk.runs(range, |at, n, from| {
                let mut copies = [[T::default(); BLOCK]; 2];
                for start in (0..n).step_by(BLOCK) {
                    let len = BLOCK.min(n - start);
                    let part = |k: usize| if advances[k] { (from[k] + start, len) } else { (from[k], 1) };
                    let [copy_a, copy_b] = &mut copies;
                    // SAFETY: runs lie within the buffers; what shares memory with the output is copied first.
                    #[allow(unsafe_code)]
                    let (c, a, b, y) = unsafe {
                        (
                            taken(c, part(0), None),
                            taken(a, part(1), aliased[0].then_some(copy_a)),
                            taken(b, part(2), aliased[1].then_some(copy_b)),
                            std::slice::from_raw_parts_mut(y.at(at + start), len),
                        )
                    };
                    choose(c, a, b, y);
                }
            });
        });
    })
    .in_place(pairs)
    .flops(n as u64)
}

/// Elements that are chosen between at once, in registers and the first-level cache.
const BLOCK: usize = 512;

/// A block of an operand (one element where it is repeated), in its place or copied.
///
/// # Safety
/// The elements lie within the buffer, and nothing writes to them while the result lives unless they are copied.
#[allow(unsafe_code)]
unsafe fn taken<'a, T: Bits>(from: Source<T>, (at, n): (usize, usize), copy: Option<&'a mut [T; BLOCK]>) -> &'a [T] {
    // SAFETY: the caller's promise.
    let lanes: &'a [T] = unsafe { std::slice::from_raw_parts(from.at(at), n) };
    match copy {
        None => lanes,
        Some(copy) => {
            copy[..n].copy_from_slice(lanes);
            &copy[..n]
        }
    }
}

dispatch! {
    /// `y = c ? a : b`; operands of length 1 are repeated.
    fn choose[T: Bits](c: &[u8], a: &[T], b: &[T], y: &mut [T]) {
        let n = y.len();
        if c.len() == 1 && n != 1 {
            let from = if c[0] != 0 { a } else { b };
            if from.len() == 1 { y.fill(from[0]) } else { y.copy_from_slice(from) }
            return;
        }
        match (a.len() == n, b.len() == n) {
            (true, true) => {
                for (((y, &c), &a), &b) in y.iter_mut().zip(c).zip(a).zip(b) { *y = if c != 0 { a } else { b }; }
            }
            (true, false) => {
                let b = b[0];
                for ((y, &c), &a) in y.iter_mut().zip(c).zip(a) { *y = if c != 0 { a } else { b }; }
            }
            (false, true) => {
                let a = a[0];
                for ((y, &c), &b) in y.iter_mut().zip(c).zip(b) { *y = if c != 0 { a } else { b }; }
            }
            (false, false) => {
                let (a, b) = (a[0], b[0]);
                for (y, &c) in y.iter_mut().zip(c) { *y = if c != 0 { a } else { b }; }
            }
        }
    }
}

/// Element-sized words.
trait Bits: Element + Copy + Default {}
impl Bits for u8 {}
impl Bits for u16 {}
impl Bits for u32 {}
impl Bits for u64 {}

fn examples() -> Vec<Example> {
    let op: Arc<dyn Op> = Arc::new(Select);
    let c = Tensor::from_bools(&[2, 1], &[true, false]);
    let a = Tensor::from_slice(&[3], &[1.0f64, 2.0, 3.0]);
    let b = Tensor::scalar(-1.0f64);
    let want = Tensor::from_slice(&[2, 3], &[1.0f64, 2.0, 3.0, -1.0, -1.0, -1.0]);
    let ints = [Tensor::from_slice(&[2], &[1i32, 2]), Tensor::from_slice(&[2], &[3i32, 4])];
    vec![
        Example { op: op.clone(), inputs: vec![c, a, b], outputs: Some(vec![want]) },
        Example {
            op,
            inputs: vec![Tensor::from_bools(&[2], &[false, true]), ints[0].clone(), ints[1].clone()],
            outputs: Some(vec![Tensor::from_slice(&[2], &[3i32, 2])]),
        },
    ]
}
