//! One update of one parameter in parallel over fixed chunks, and the global norm of gradients in a fixed order.

use half::{bf16, f16};

use crate::ops::simd::{Real, Shared, parallel_grain};
use crate::program::View;
use crate::tensor::{DType, Element, Tensor};

use super::{Coefficients, OptimizerInfo, UpdateFn, Whole};

/// Elements of one parallel task; a multiple of every vector length.
pub(super) const CHUNK: usize = 32 * 1024;

/// Updates `value` in place. `slots` have its shape, in the rule's order, single precision for half types; `master` is the
/// single-precision copy that half types are updated through.
pub fn update(
    info: &OptimizerInfo,
    c: &Coefficients,
    value: &mut Tensor,
    gradient: View<'_>,
    slots: &mut [Tensor],
    master: Option<&mut Tensor>,
) {
    if let Some(whole) = info.whole {
        return update_whole(whole, c, value, gradient, slots, master);
    }
    match value.dtype() {
        DType::F32 => run(info.update_f32, c, value, gradient.slice::<f32>(), slots),
        DType::F64 => run(info.update_f64, c, value, gradient.slice::<f64>(), slots),
        DType::F16 | DType::BF16 => {
            let Some(master) = master else { return };
            let wide = widen(gradient);
            run(info.update_f32, c, master, &wide, slots);
            narrow(master, value);
        }
        // Only floating-point constants can be made trainable.
        _ => {}
    }
}

fn update_whole(
    whole: Whole,
    c: &Coefficients,
    value: &mut Tensor,
    gradient: View<'_>,
    slots: &mut [Tensor],
    master: Option<&mut Tensor>,
) {
    let dims = value.shape().to_vec();
    match value.dtype() {
        DType::F32 => (whole.f32)(c, value.as_mut_slice(), gradient.slice(), &dims, slots),
        DType::F64 => (whole.f64)(c, value.as_mut_slice(), gradient.slice(), &dims, slots),
        DType::F16 | DType::BF16 => {
            let Some(master) = master else { return };
            (whole.f32)(c, master.as_mut_slice(), &widen(gradient), &dims, slots);
            narrow(master, value);
        }
        // Only floating-point constants can be made trainable.
        _ => {}
    }
}

/// Sums over `0..n` by chunks, added in their order.
pub(super) fn chunked_sums<const K: usize>(
    n: usize,
    f: impl Fn(std::ops::Range<usize>) -> [f64; K] + Sync,
) -> [f64; K] {
    let mut parts = vec![[0.0f64; K]; n.div_ceil(CHUNK)];
    let out = Shared::new(parts.as_mut_ptr());
    parallel_grain(parts.len(), 1, |r| {
        let sums = f(r.start * CHUNK..(r.end * CHUNK).min(n));
        // SAFETY: each task writes its own entry of `parts`.
        #[allow(unsafe_code)]
        let part = unsafe { out.at(r) };
        part[0] = sums;
    });
    let add = |a: [f64; K], b: &[f64; K]| std::array::from_fn(|k| a[k] + b[k]);
    parts.iter().fold([0.0; K], add)
}

fn widen(view: View<'_>) -> Vec<f32> {
    match view.dtype() {
        DType::F16 => view.slice::<f16>().iter().map(|v| v.to_f32()).collect(),
        _ => view.slice::<bf16>().iter().map(|v| v.to_f32()).collect(),
    }
}

fn narrow(from: &Tensor, to: &mut Tensor) {
    let from = from.as_slice::<f32>();
    if to.dtype() == DType::F16 {
        to.as_mut_slice::<f16>().iter_mut().zip(from).for_each(|(o, &v)| *o = f16::from_f32(v));
    } else {
        to.as_mut_slice::<bf16>().iter_mut().zip(from).for_each(|(o, &v)| *o = bf16::from_f32(v));
    }
}

fn run<T: Real + Element>(f: UpdateFn<T>, c: &Coefficients, w: &mut Tensor, g: &[T], slots: &mut [Tensor]) {
    let w = w.as_mut_slice::<T>();
    let n = w.len().min(g.len());
    let (first, rest) = match slots {
        [] => (None, None),
        [a] => (Some(a), None),
        [a, b, ..] => (Some(a), Some(b)),
    };
    let first = first.map(Tensor::as_mut_slice::<T>).unwrap_or_default();
    let second = rest.map(Tensor::as_mut_slice::<T>).unwrap_or_default();
    let lengths = (first.len(), second.len());
    let (w, a, b) = (Shared::new(w.as_mut_ptr()), Shared::new(first.as_mut_ptr()), Shared::new(second.as_mut_ptr()));
    parallel_grain(n, CHUNK, |r| {
        let part = |len: usize| if len == 0 { 0..0 } else { r.start.min(len)..r.end.min(len) };
        // SAFETY: ranges of different tasks are disjoint and clipped to the three buffers, which outlive the call.
        #[allow(unsafe_code)]
        let (w, a, b) = unsafe { (w.at(r.clone()), a.at(part(lengths.0)), b.at(part(lengths.1))) };
        f(c, w, &g[r.clone()], a, b);
    });
}

crate::dispatch! {
    /// Sum of squares in double precision, in eight interleaved partial sums.
    fn sum_of_squares[T: Real](x: &[T]) -> f64 {
        let mut sums = [0.0f64; 8];
        let blocks = x.chunks_exact(8);
        let mut tail = 0.0;
        for &v in blocks.remainder() {
            tail += v.to_f64() * v.to_f64();
        }
        for block in blocks {
            for (s, v) in sums.iter_mut().zip(block) {
                let v = v.to_f64();
                *s += v * v;
            }
        }
        sums.iter().sum::<f64>() + tail
    }
}

/// Sum of squares of one gradient; the order of additions depends on its length alone.
pub fn squared_norm(gradient: View<'_>) -> f64 {
    fn chunked<T: Real>(x: &[T]) -> f64 {
        let mut parts = vec![0.0f64; x.len().div_ceil(CHUNK)];
        let out = Shared::new(parts.as_mut_ptr());
        parallel_grain(parts.len(), 1, |r| {
            let sum = sum_of_squares(&x[r.start * CHUNK..(r.end * CHUNK).min(x.len())]);
            // SAFETY: each task writes its own entry of `parts`.
            #[allow(unsafe_code)]
            let part = unsafe { out.at(r) };
            part[0] = sum;
        });
        parts.iter().sum()
    }
    match gradient.dtype() {
        DType::F32 => chunked(gradient.slice::<f32>()),
        DType::F64 => chunked(gradient.slice::<f64>()),
        DType::F16 | DType::BF16 => chunked(&widen(gradient)),
        _ => 0.0,
    }
}

/// `sum += weight · gradient`, for accumulation over several batches.
pub fn accumulate(sum: &mut Tensor, gradient: View<'_>, weight: f64) {
    fn add<T: Real>(sum: &mut [T], g: &[T], weight: f64) {
        let weight = T::of(weight);
        sum.iter_mut().zip(g).for_each(|(s, &g)| *s = g.mul_add(weight, *s));
    }
    match (sum.dtype(), gradient.dtype()) {
        (DType::F64, _) => add(sum.as_mut_slice::<f64>(), gradient.slice::<f64>(), weight),
        (_, DType::F32) => add(sum.as_mut_slice::<f32>(), gradient.slice::<f32>(), weight),
        _ => add(sum.as_mut_slice::<f32>(), &widen(gradient), weight),
    }
}
