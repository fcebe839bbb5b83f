//! The optimizer of google-research BERT (optimization.py, AdamWeightDecayOptimizer): Adam without bias correction, decay
//! added to the update.

use crate::ops::simd::Real;
use crate::train::settings::OptimizerSettings;

use super::{Coefficients, Moments, OptimizerInfo, moments, one_per_element, rounded};

pub const INFO: OptimizerInfo = OptimizerInfo {
    kind: "bert-adamw",
    label: "BERT's AdamW",
    help: "m and v as Adam without bias correction; w ← w − lr · (m / (√v + ε) + weight_decay · w) (the decay not for \
           parameters that no_decay names).",
    slots: &["m", "v"],
    settings: &["beta1", "beta2", "epsilon", "weight_decay", "no_decay"],
    defaults: &[("epsilon", "1e-6")],
    coefficients,
    update_f32: update::<f32>,
    update_f64: update::<f64>,
    whole: None,
    scales_step_size: true,
    slot_dims: one_per_element,
};

fn coefficients(s: &OptimizerSettings, lr: f64, _t: u64) -> Coefficients {
    let (beta1, beta2) = (rounded(s.beta1), rounded(s.beta2));
    Coefficients {
        lr,
        step_size: lr,
        beta1,
        beta2,
        one_minus_beta1: 1.0 - beta1,
        one_minus_beta2: 1.0 - beta2,
        epsilon: s.epsilon,
        ..Coefficients::default()
    }
}

crate::dispatch! {
    fn update[T: Real](c: &Coefficients, w: &mut [T], g: &[T], m: &mut [T], v: &mut [T]) {
        let coefficients = Moments::<T>::of(c);
        let (scale, lr) = (T::of(c.grad_scale), T::of(c.step_size));
        let (epsilon, decay) = (T::of(c.epsilon), T::of(c.decay));
        for (((w, &g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
            moments(&coefficients, g * scale, m, v);
            *w = *w - lr * (*m / (v.sqrt() + epsilon) + decay * *w);
        }
    }
}
