//! RMSprop (Tieleman & Hinton, 2012) as PyTorch has it: the root is taken before ε is added.

use crate::ops::simd::Real;
use crate::train::settings::OptimizerSettings;

use super::{Coefficients, OptimizerInfo, one_per_element};

pub const INFO: OptimizerInfo = OptimizerInfo {
    kind: "rmsprop",
    label: "RMSprop",
    help: "v ← β2 v + (1−β2) g²; a ← momentum · a + g / (√v + ε); w ← w − lr · a.",
    slots: &["v", "momentum"],
    settings: &["beta2", "epsilon", "momentum"],
    defaults: &[("beta2", "0.99"), ("lr", "0.01")],
    coefficients,
    update_f32: update::<f32>,
    update_f64: update::<f64>,
    whole: None,
    scales_step_size: true,
    slot_dims: one_per_element,
};

fn coefficients(s: &OptimizerSettings, lr: f64, _t: u64) -> Coefficients {
    Coefficients {
        step_size: lr,
        beta2: s.beta2,
        one_minus_beta2: 1.0 - s.beta2,
        epsilon: s.epsilon,
        momentum: s.momentum,
        ..Coefficients::default()
    }
}

crate::dispatch! {
    fn update[T: Real](c: &Coefficients, w: &mut [T], g: &[T], v: &mut [T], a: &mut [T]) {
        let (lr, scale, mu) = (T::of(c.step_size), T::of(c.grad_scale), T::of(c.momentum));
        let (keep, take, epsilon) = (T::of(c.beta2), T::of(c.one_minus_beta2), T::of(c.epsilon));
        for (((w, &g), v), a) in w.iter_mut().zip(g).zip(v).zip(a) {
            let g = g * scale;
            *v = keep * *v + take * g * g;
            *a = mu * *a + g / (v.sqrt() + epsilon);
            *w = *w - lr * *a;
        }
    }
}
