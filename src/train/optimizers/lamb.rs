//! LAMB (You et al., arXiv 1904.00962): Adam's step with decay, scaled so that its length is that of the weights times lr.

use crate::ops::simd::{Real, Shared, parallel_grain};
use crate::tensor::Tensor;

use super::adam;
use super::apply::{CHUNK, chunked_sums};
use super::{Coefficients, Moments, OptimizerInfo, Whole, moments, nothing, one_per_element};

pub const INFO: OptimizerInfo = OptimizerInfo {
    kind: "lamb",
    label: "LAMB",
    help: "m and v as Adam, corrected; u = m̂ / (√v̂ + ε) + weight_decay · w; w ← w − lr · ‖w‖/‖u‖ · u, with ratio 1 where a \
           norm is 0 (the decay not for parameters that no_decay names).",
    slots: &["m", "v"],
    settings: &["beta1", "beta2", "epsilon", "weight_decay", "no_decay"],
    defaults: &[("epsilon", "1e-6")],
    coefficients: |s, lr, t| {
        let plain = crate::train::settings::OptimizerSettings { epsilon_hat: false, ..s.clone() };
        adam::coefficients(&plain, lr, t)
    },
    update_f32: nothing::<f32>,
    update_f64: nothing::<f64>,
    whole: Some(Whole { f32: update::<f32>, f64: update::<f64> }),
    scales_step_size: true,
    slot_dims: one_per_element,
};

fn update<T: Real>(c: &Coefficients, w: &mut [T], g: &[T], _dims: &[usize], slots: &mut [Tensor]) {
    let [m, v, ..] = slots else { return };
    let (m, v) = (m.as_mut_slice::<T>(), v.as_mut_slice::<T>());
    let n = w.len().min(g.len()).min(m.len()).min(v.len());
    // adam's step size is lr / (1 − β1ᵗ); without lr it corrects m.
    let correction1 = if c.lr > 0.0 { c.step_size / c.lr } else { 1.0 };
    let (correction1, correction2) = (T::of(correction1), T::of(c.correction2.sqrt()));
    let (epsilon, decay) = (T::of(c.epsilon), T::of(c.decay));
    let direction = |w: T, m: T, v: T| m * correction1 / (v.sqrt() * correction2 + epsilon) + decay * w;
    step_moments(c, &g[..n], m, v);
    let (weights, first, second) = (&w[..n], &m[..n], &v[..n]);
    let [of_weights, of_direction] = chunked_sums(n, |range| {
        let (mut a, mut b) = (0.0, 0.0);
        for i in range {
            let u = direction(weights[i], first[i], second[i]).to_f64();
            a += weights[i].to_f64() * weights[i].to_f64();
            b += u * u;
        }
        [a, b]
    });
    let ratio = if of_weights > 0.0 && of_direction > 0.0 { (of_weights / of_direction).sqrt() } else { 1.0 };
    let lr = T::of(c.lr * ratio);
    let shared = Shared::new(w.as_mut_ptr());
    parallel_grain(n, CHUNK, |range| {
        // SAFETY: ranges of different tasks are disjoint and lie within `w`, which outlives the call.
        #[allow(unsafe_code)]
        let w = unsafe { shared.at(range.clone()) };
        for (w, i) in w.iter_mut().zip(range) {
            *w = *w - lr * direction(*w, m[i], v[i]);
        }
    });
}

fn step_moments<T: Real>(c: &Coefficients, g: &[T], m: &mut [T], v: &mut [T]) {
    let (coefficients, scale) = (Moments::<T>::of(c), T::of(c.grad_scale));
    let (m, v) = (Shared::new(m.as_mut_ptr()), Shared::new(v.as_mut_ptr()));
    parallel_grain(g.len(), CHUNK, |range| {
        // SAFETY: ranges of different tasks are disjoint and lie within both slots, which are at least as long as `g`.
        #[allow(unsafe_code)]
        let (m, v) = unsafe { (m.at(range.clone()), v.at(range.clone())) };
        for ((&g, m), v) in g[range].iter().zip(m).zip(v) {
            moments(&coefficients, g * scale, m, v);
        }
    });
}
