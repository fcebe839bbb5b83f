//! Matrix product over the last two axes: `C[.., i, j] = Σ_k A[.., i, k] · B[.., k, j]`, batch axes broadcast as in NumPy.

use std::sync::Arc;

use smallvec::SmallVec;

use super::gemm::{self, BatchDim, Layout};
use crate::ops::half::through_f32;
use crate::ops::make;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::shape::{broadcast, strides};
use crate::tensor::{DType, Element, Fact, PartialShape, Tensor};

pub static INFO: OpInfo = OpInfo {
    name: "matmul",
    family: "linalg",
    summary: "Matrix product, batched over leading axes",
    formula: "C = op(A) · op(B) with op(X) = X or Xᵀ (last two axes); leading axes broadcast (NumPy matmul). \
              dA = G · op(B)ᵀ, dB = op(A)ᵀ · G, summed over axes that were broadcast.",
    examples,
};

/// Inputs `a [.., m, k]`, `b [.., k, n]` (with the last two axes swapped where transposed); output `[.., m, n]`.
/// Ranks are at least 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MatMul {
    pub transpose_a: bool,
    pub transpose_b: bool,
}

/// The last two dimensions in the order of `op(X)`, and the batch dimensions.
fn split(shape: &PartialShape, transpose: bool) -> Result<Option<(PartialShape, [Option<usize>; 2])>, Misfit> {
    let Some(dims) = shape.partial() else { return Ok(None) };
    let [batch @ .., rows, cols] = dims else {
        return Err(Misfit(format!("an operand needs two or more axes, found {shape}")));
    };
    let matrix = if transpose { [*cols, *rows] } else { [*rows, *cols] };
    Ok(Some((PartialShape::from_partial(batch.iter().copied()), matrix)))
}

impl Op for MatMul {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        let dtype = super::same_dtype(inputs)?;
        let (a, b) = (split(&inputs[0].shape, self.transpose_a)?, split(&inputs[1].shape, self.transpose_b)?);
        let (Some((batch_a, [m, k])), Some((batch_b, [k2, n]))) = (a, b) else {
            return Ok(vec![Fact::new(dtype, PartialShape::unknown())]);
        };
        if let (Some(k), Some(k2)) = (k, k2)
            && k != k2
        {
            return Err(Misfit(format!("the inner sizes differ: {k} and {k2}")));
        }
        let batch = broadcast(&batch_a, &batch_b)
            .ok_or_else(|| Misfit(format!("the batch shapes {batch_a} and {batch_b} do not broadcast")))?;
        let shape = match batch.partial() {
            Some(batch) => PartialShape::from_partial(batch.iter().copied().chain([m, n])),
            None => PartialShape::unknown(),
        };
        Ok(vec![Fact::new(dtype, shape)])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let layout = self.layout(inputs, outputs)?;
        let flops = layout.flops();
        let kernel = match inputs[0].dtype {
            DType::F32 => float_kernel::<f32>(layout),
            DType::F64 => float_kernel::<f64>(layout),
            DType::I8 => int_kernel::<i8>(layout),
            DType::I16 => int_kernel::<i16>(layout),
            DType::I32 => int_kernel::<i32>(layout),
            DType::I64 => int_kernel::<i64>(layout),
            DType::U8 => int_kernel::<u8>(layout),
            DType::U16 => int_kernel::<u16>(layout),
            DType::U32 => int_kernel::<u32>(layout),
            DType::U64 => int_kernel::<u64>(layout),
            other => return Err(Misfit(format!("there is no matrix product of {other}"))),
        };
        Ok(kernel.flops(flops))
    }

    fn flow(&self, _input: usize, inputs: &[&Fact]) -> Flow {
        match inputs.iter().all(|f| !f.dtype.is_exact()) {
            true => Flow::Flows,
            false => Flow::Zero("integers carry no gradient"),
        }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(g) = out_grads[0] else { return Ok(vec![None, None]) };
        let (a, w) = (at.inputs[0], at.inputs[1]);
        let mut product = |x, y, transpose_a, transpose_b, like| {
            let p = b.op(MatMul { transpose_a, transpose_b }, &[x, y])?;
            make::sum_to(b, p, like)
        };
        let mut grads = vec![None, None];
        if wanted[0] {
            grads[0] = Some(match (self.transpose_a, self.transpose_b) {
                (false, tb) => product(g, w, false, !tb, a)?,
                (true, tb) => product(w, g, tb, true, a)?,
            });
        }
        if wanted[1] {
            grads[1] = Some(match flat_rows(b, self, a, w, g)? {
                Some((a, g)) if self.transpose_b => b.op(MatMul { transpose_a: true, transpose_b: false }, &[g, a])?,
                Some((a, g)) => b.op(MatMul { transpose_a: true, transpose_b: false }, &[a, g])?,
                None => {
                    let mut product = |x, y, transpose_a, transpose_b| {
                        let p = b.op(MatMul { transpose_a, transpose_b }, &[x, y])?;
                        make::sum_to(b, p, w)
                    };
                    match (self.transpose_a, self.transpose_b) {
                        (ta, false) => product(a, g, !ta, false)?,
                        (ta, true) => product(g, a, true, ta)?,
                    }
                }
            });
        }
        Ok(grads)
    }
}

/// A weight without batch axes under an input with some: both sides flattened to rows, so that its gradient is one
/// product instead of a sum of products.
fn flat_rows(b: &mut Builder, op: &MatMul, a: Value, w: Value, g: Value) -> Result<Option<(Value, Value)>, Misfit> {
    let (fa, fg) = (b.fact(a), b.fact(g));
    let (Some(ra), Some(rg)) = (fa.rank(), fg.rank()) else { return Ok(None) };
    if op.transpose_a || ra < 3 || rg != ra || b.fact(w).rank() != Some(2) {
        return Ok(None);
    }
    let (Some(k), Some(n)) = (fa.shape.dim(ra - 1), fg.shape.dim(rg - 1)) else { return Ok(None) };
    if k == 0 || n == 0 {
        return Ok(None);
    }
    let flat_a = make::reshape(b, a, &[-1, k as i64])?;
    let flat_g = make::reshape(b, g, &[-1, n as i64])?;
    Ok(Some((flat_a, flat_g)))
}

impl MatMul {
    fn layout(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Layout, Misfit> {
        let (a, b, c) = (super::dims(inputs[0])?, super::dims(inputs[1])?, super::dims(outputs[0])?);
        let (m, n) = (c[c.len() - 2], c[c.len() - 1]);
        let k = if self.transpose_a { a[a.len() - 2] } else { a[a.len() - 1] };
        let batch = &c[..c.len() - 2];
        let stride = |dims: &[usize]| -> SmallVec<[isize; 6]> {
            let own = &dims[..dims.len() - 2];
            let all = strides(dims);
            let skip = batch.len() - own.len();
            (0..batch.len()).map(|i| if i < skip || own[i - skip] == 1 { 0 } else { all[i - skip] as isize }).collect()
        };
        let (sa, sb, sc) = (stride(&a), stride(&b), stride(&c));
        Ok(Layout::row_major(m, n, k, self.transpose_a, self.transpose_b).batch((0..batch.len()).map(|i| BatchDim {
            count: batch[i],
            a: sa[i],
            b: sb[i],
            c: sc[i],
        })))
    }
}

#[allow(unsafe_code)]
fn float_kernel<T: Element + gemm::GemmElement>(layout: Layout) -> Kernel {
    Kernel::compute(move |call| {
        let (a, b) = (call.inputs[0].ptr::<T>(), call.inputs[1].ptr::<T>());
        let c = call.outputs[0].ptr::<T>();
        // SAFETY: the layout was made from the shapes of these three buffers; the output is not shared.
        unsafe { gemm::run(&layout, T::ONE, a, b, T::ZERO, c) }
    })
}

/// Wrapping integer product.
trait Integer: Element {
    fn mul_add(self, a: Self, b: Self) -> Self;
    const ZERO: Self;
}

macro_rules! integer {
    ($($t:ty)*) => { $(impl Integer for $t {
        const ZERO: Self = 0;
        fn mul_add(self, a: Self, b: Self) -> Self {
            self.wrapping_add(a.wrapping_mul(b))
        }
    })* };
}
integer!(i8 i16 i32 i64 u8 u16 u32 u64);

fn int_kernel<T: Integer>(layout: Layout) -> Kernel {
    Kernel::compute(move |call| {
        let (a, b) = (call.input::<T>(0), call.input::<T>(1));
        let c = call.output::<T>(0);
        c.fill(T::ZERO);
        let at =
            |base: isize, s: (isize, isize), i: usize, j: usize| (base + i as isize * s.0 + j as isize * s.1) as usize;
        for p in 0..layout.count() {
            let (oa, ob, oc) = layout.offsets(p);
            for i in 0..layout.m {
                for x in 0..layout.k {
                    let left = a[at(oa, layout.a, i, x)];
                    for j in 0..layout.n {
                        let o = &mut c[at(oc, layout.c, i, j)];
                        *o = o.mul_add(left, b[at(ob, layout.b, x, j)]);
                    }
                }
            }
        }
    })
}

fn examples() -> Vec<Example> {
    let t = |shape: &[usize], values: &[f64]| Tensor::from_slice(shape, values);
    let ramp = |shape: &[usize], from: f64, step: f64| {
        let n = shape.iter().product::<usize>();
        Tensor::from_slice(shape, &(0..n).map(|i| from + step * i as f64).collect::<Vec<_>>())
    };
    let case = |transpose_a, transpose_b, a, b, out: Option<Tensor>| Example {
        op: Arc::new(MatMul { transpose_a, transpose_b }),
        inputs: vec![a, b],
        outputs: out.map(|o| vec![o]),
    };
    let a = || t(&[2, 3], &[1., 2., 3., 4., 5., 6.]);
    let product = || Some(t(&[2, 2], &[-1., 4., -1., 10.]));
    vec![
        case(false, false, a(), t(&[3, 2], &[1., 0., -1., 2., 0., 0.]), product()),
        case(false, true, a(), t(&[2, 3], &[1., -1., 0., 0., 2., 0.]), Some(t(&[2, 2], &[-1., 4., -1., 10.]))),
        case(true, false, ramp(&[3, 2], -1.0, 0.3), ramp(&[3, 4], 0.5, -0.2), None),
        case(true, true, ramp(&[3, 2], -1.0, 0.3), ramp(&[4, 3], 0.5, -0.2), None),
        case(false, false, ramp(&[2, 3, 4], -1.0, 0.1), ramp(&[4, 2], 0.5, -0.3), None),
        case(false, true, ramp(&[2, 3, 4], -1.0, 0.1), ramp(&[2, 4], 0.5, -0.3), None),
        case(false, true, ramp(&[2, 1, 3, 4], -1.0, 0.1), ramp(&[3, 2, 4], 0.5, -0.1), None),
        case(true, false, ramp(&[2, 3, 2], -1.0, 0.1), ramp(&[1, 3, 4], 0.5, -0.1), None),
        case(true, true, ramp(&[2, 3, 2], -1.0, 0.1), ramp(&[2, 4, 3], 0.5, -0.1), None),
        Example {
            op: Arc::new(MatMul::default()),
            inputs: vec![Tensor::from_slice(&[1, 2], &[2i32, 3]), Tensor::from_slice(&[2, 1], &[5i32, -7])],
            outputs: Some(vec![Tensor::from_slice(&[1, 1], &[-11i32])]),
        },
    ]
}
