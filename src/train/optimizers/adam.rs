//! Adam (Kingma & Ba, arXiv 1412.6980). With `epsilon_hat` in the form before section 2.1 of the paper, as TensorFlow's
//! AdamOptimizer; else with corrected moments, as PyTorch.

use crate::ops::simd::Real;
use crate::train::settings::OptimizerSettings;

use super::{Coefficients, Moments, OptimizerInfo, moments, one_per_element, rounded};

pub const INFO: OptimizerInfo = OptimizerInfo {
    kind: "adam",
    label: "Adam",
    help: "m ← β1 m + (1−β1) g; v ← β2 v + (1−β2) g²; w ← w − lr · m̂ / (√v̂ + ε) as PyTorch, or with epsilon_hat \
           w ← w − lr · √(1−β2ᵗ)/(1−β1ᵗ) · m / (√v + ε) as TensorFlow.",
    slots: &["m", "v"],
    settings: &["beta1", "beta2", "epsilon", "epsilon_hat"],
    defaults: &[],
    coefficients,
    update_f32: update::<f32>,
    update_f64: update::<f64>,
    whole: None,
    scales_step_size: true,
    slot_dims: one_per_element,
};

/// Shared with AdamW, whose update differs by the decay alone.
pub(super) fn coefficients(s: &OptimizerSettings, lr: f64, t: u64) -> Coefficients {
    let (beta1, beta2) = if s.epsilon_hat { (rounded(s.beta1), rounded(s.beta2)) } else { (s.beta1, s.beta2) };
    let power = i32::try_from(t).unwrap_or(i32::MAX);
    let (left1, left2) = (1.0 - beta1.powi(power), 1.0 - beta2.powi(power));
    let both = Coefficients {
        lr,
        beta1,
        beta2,
        one_minus_beta1: 1.0 - beta1,
        one_minus_beta2: 1.0 - beta2,
        epsilon: s.epsilon,
        ..Coefficients::default()
    };
    if s.epsilon_hat {
        Coefficients { step_size: lr * left2.sqrt() / left1, correction2: 1.0, ..both }
    } else {
        Coefficients { step_size: lr / left1, correction2: 1.0 / left2, ..both }
    }
}

/// `keep` is the factor on the weight before the update: 1, or 1 − lr · decay.
#[inline(always)]
pub(super) fn adam_chunk<T: Real>(c: &Coefficients, keep: T, w: &mut [T], g: &[T], m: &mut [T], v: &mut [T]) {
    let coefficients = Moments::<T>::of(c);
    let (scale, lr) = (T::of(c.grad_scale), T::of(c.step_size));
    let (correction, epsilon) = (T::of(c.correction2.sqrt()), T::of(c.epsilon));
    for (((w, &g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
        moments(&coefficients, g * scale, m, v);
        *w = keep * *w - lr * *m / (v.sqrt() * correction + epsilon);
    }
}

crate::dispatch! {
    fn update[T: Real](c: &Coefficients, w: &mut [T], g: &[T], m: &mut [T], v: &mut [T]) {
        adam_chunk(c, T::ONE, w, g, m, v);
    }
}
