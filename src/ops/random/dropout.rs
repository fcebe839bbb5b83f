//! Inverted dropout: `y = x · [u ≥ rate] / (1 − rate)` with `u` uniform in [0, 1), one number per element of the mask.
//!
//! The mask is drawn from a counter-based generator and is a function of seed, step, site and index, so the gradient draws
//! it again instead of storing it.

use std::sync::Arc;

use smallvec::SmallVec;

use super::philox::{GROUP, Stream};
use super::{site_after, site_at, with_turns};
use crate::ops::half::through_f32;
use crate::ops::simd::{Real, Shared, parallel_grain};
use crate::program::{Builder, Call, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value, View};
use crate::tensor::shape::{normalize_axis, strides};
use crate::tensor::{DType, Dims, Fact, Tensor};
use crate::{dispatch, with_real};

pub static INFO: OpInfo = OpInfo {
    name: "dropout",
    family: "random",
    summary: "Sets a random part of the elements to zero and scales the rest up",
    formula: "y = x · [u ≥ rate] / (1 − rate), u uniform in [0, 1) (Srivastava et al. 2014, in inverted form). \
              The gradient applies the same mask; the rate gets none.",
    examples,
};

/// Inputs `x` (any shape), `rate` (scalar: the share that is dropped); output as `x`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropout {
    /// Unique to the dropout site, so that no two sites share a mask.
    pub site: u64,
    /// Axes along which one mask element serves all positions (noise shape 1); negative ones count from the end.
    pub shared_axes: SmallVec<[i64; 2]>,
}

impl Dropout {
    pub fn new(site: u64) -> Self {
        Self { site, shared_axes: SmallVec::new() }
    }

    fn mask_dims(&self, dims: &[usize]) -> Result<Dims, Misfit> {
        let mut mask: Dims = dims.into();
        for &axis in &self.shared_axes {
            let a = normalize_axis(axis, dims.len())
                .ok_or_else(|| Misfit(format!("axis {axis} does not exist in shape {dims:?}")))?;
            mask[a] = mask[a].min(1);
        }
        Ok(mask)
    }
}

impl Op for Dropout {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        with_turns(inputs, 2)?;
        if let Some(dims) = inputs[0].dims() {
            self.mask_dims(&dims)?;
        }
        Ok(vec![Fact::new(inputs[0].dtype, inputs[0].shape.clone())])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let dims = crate::ops::linalg::dims(inputs[0])?;
        let mask = self.mask_dims(&dims)?;
        let site = self.site;
        with_real!(inputs[0].dtype, T => {
            Ok(if mask == dims {
                Kernel::compute(move |call| dense::<T>(call, site))
            } else {
                Kernel::compute(move |call| shared::<T>(call, site, &dims, &mask))
            })
        })
    }

    fn flow(&self, input: usize, _inputs: &[&Fact]) -> Flow {
        match input {
            0 => Flow::Flows,
            _ => Flow::Zero("the mask is a step function of the rate"),
        }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let mut grads = vec![None; at.inputs.len()];
        if let Some(g) = out_grads[0] {
            let inputs: Vec<Value> = std::iter::once(g).chain(at.inputs[1..].iter().copied()).collect();
            grads[0] = Some(b.op(self.clone(), &inputs)?);
        }
        Ok(grads)
    }

    fn at_turn(&self, turn: u64) -> Option<Arc<dyn Op>> {
        Some(Arc::new(Self { site: site_at(self.site, turn), ..self.clone() }))
    }

    fn is_random(&self) -> bool {
        true
    }
}

/// The dropping threshold on 32 random bits, and the factor of what stays.
pub(crate) fn threshold_and_scale(rate: f64) -> (u64, f64) {
    let rate = if rate.is_finite() { rate.clamp(0.0, 1.0) } else { 0.0 };
    let scale = if rate < 1.0 { 1.0 / (1.0 - rate) } else { 0.0 };
    ((rate * 4_294_967_296.0).round() as u64, scale)
}

fn scalar(view: &View<'_>) -> f64 {
    match view.dtype() {
        DType::F64 => view.slice::<f64>().first().copied().unwrap_or(0.0),
        DType::F32 => view.slice::<f32>().first().copied().map_or(0.0, f64::from),
        _ => 0.0,
    }
}

dispatch! {
    /// Elements `first_group * GROUP ..` of `y` from those of `x`.
    fn apply[T: Real](stream: Stream, first_group: u64, dropped_below: u32, scale: T, x: &[T], y: &mut [T]) {
        for (i, (y, x)) in y.chunks_mut(GROUP).zip(x.chunks(GROUP)).enumerate() {
            let bits = stream.group(first_group.wrapping_add(i as u64));
            if let (Ok(y), Ok(x)) = (<&mut [T; GROUP]>::try_from(&mut *y), <&[T; GROUP]>::try_from(x)) {
                for j in 0..GROUP {
                    y[j] = if bits[j] >= dropped_below { x[j] * scale } else { T::ZERO };
                }
            } else {
                for ((y, &x), &bits) in y.iter_mut().zip(x).zip(&bits) {
                    *y = if bits >= dropped_below { x * scale } else { T::ZERO };
                }
            }
        }
    }
}

/// Groups of one parallel task.
const GROUPS_PER_TASK: usize = 256;

fn dense<T: Real>(call: &mut Call<'_>, site: u64) {
    let (threshold, scale) = threshold_and_scale(scalar(&call.inputs[1]));
    let Ok(dropped_below) = u32::try_from(threshold) else {
        return call.output::<T>(0).fill(T::ZERO);
    };
    let stream = Stream::new(call.random, site_after(site, &call.inputs[2..]));
    let x = call.input::<T>(0);
    let y = Shared::new(call.outputs[0].ptr::<T>());
    parallel_grain(x.len().div_ceil(GROUP), GROUPS_PER_TASK, |groups| {
        let range = groups.start * GROUP..(groups.end * GROUP).min(x.len());
        // SAFETY: tasks get disjoint ranges within the output, which is as long as the input and not shared.
        #[allow(unsafe_code)]
        let y = unsafe { y.at(range.clone()) };
        apply(stream, groups.start as u64, dropped_below, T::of(scale), &x[range], y);
    });
}

/// One mask element for several positions.
fn shared<T: Real>(call: &mut Call<'_>, site: u64, dims: &[usize], mask_dims: &[usize]) {
    let (threshold, scale) = threshold_and_scale(scalar(&call.inputs[1]));
    let stream = Stream::new(call.random, site_after(site, &call.inputs[2..]));
    let mask_strides = strides(mask_dims);
    let x = call.input::<T>(0);
    let y = call.output::<T>(0);
    let mut index: Dims = SmallVec::from_elem(0, dims.len());
    let mut group = (u64::MAX, [0u32; GROUP]);
    for (y, &x) in y.iter_mut().zip(x) {
        let at: usize =
            index.iter().zip(mask_dims).zip(&mask_strides).map(|((&i, &d), &s)| if d == 1 { 0 } else { i * s }).sum();
        let wanted = (at / GROUP) as u64;
        if group.0 != wanted {
            group = (wanted, stream.group(wanted));
        }
        *y = if u64::from(group.1[at % GROUP]) >= threshold { x * T::of(scale) } else { T::ZERO };
        for axis in (0..dims.len()).rev() {
            index[axis] += 1;
            if index[axis] < dims[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
}

fn examples() -> Vec<Example> {
    let x = |n: usize| Tensor::from_slice(&[2, n], &(0..2 * n).map(|i| 0.5 + i as f64).collect::<Vec<_>>());
    let case = |op: Dropout, n: usize, rate: f64, outputs: Option<Vec<Tensor>>| Example {
        op: Arc::new(op),
        inputs: vec![x(n), Tensor::scalar(rate)],
        outputs,
    };
    vec![
        case(Dropout::new(7), 5, 0.5, None),
        case(Dropout::new(7), 40, 0.1, None),
        case(Dropout::new(7), 3, 0.0, Some(vec![x(3)])),
        case(Dropout::new(7), 3, 1.0, Some(vec![Tensor::zeros(DType::F64, &[2, 3])])),
        case(Dropout { site: 9, shared_axes: SmallVec::from_slice(&[0]) }, 4, 0.5, None),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{Random, eval::eval};
    use crate::tensor::Element;

    fn run<T: Element>(op: &Dropout, x: Tensor, rate: f64, random: Random) -> Vec<T> {
        eval(op, &[x, Tensor::scalar(rate)], random).unwrap()[0].as_slice::<T>().to_vec()
    }

    #[test]
    fn keeps_the_mean_and_the_rate() {
        let n = 200_000;
        let y = run::<f32>(&Dropout::new(3), Tensor::filled(DType::F32, &[n], 1.0), 0.1, Random { seed: 5, step: 9 });
        let zeros = y.iter().filter(|&&v| v == 0.0).count() as f64 / n as f64;
        assert!((zeros - 0.1).abs() < 0.003, "{zeros}");
        assert!(y.iter().all(|&v| v == 0.0 || (v - 1.0 / 0.9).abs() < 1e-6));
    }

    #[test]
    fn same_bits_at_any_thread_count_and_other_bits_at_another_step_or_site() {
        let x = || Tensor::filled(DType::F32, &[100_001], 1.0);
        let at = |threads: usize, site: u64, step: u64| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| run::<f32>(&Dropout::new(site), x(), 0.3, Random { seed: 1, step }))
        };
        let one = at(1, 4, 0);
        assert!(one == at(2, 4, 0) && one == at(7, 4, 0));
        assert!(one != at(1, 5, 0) && one != at(1, 4, 1));
    }

    #[test]
    fn shared_axes_share_the_mask() {
        let op = Dropout { site: 1, shared_axes: SmallVec::from_slice(&[-1]) };
        let y = run::<f64>(&op, Tensor::filled(DType::F64, &[50, 4], 1.0), 0.5, Random::default());
        assert!(y.chunks(4).all(|row| row.iter().all(|&v| v == row[0])));
        assert!(y.contains(&0.0) && y.contains(&2.0));
    }
}
