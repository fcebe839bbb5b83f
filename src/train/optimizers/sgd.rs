//! Stochastic gradient descent with momentum: a ← μ a + g; w ← w − lr · a, or w − lr · (g + μ a) after Nesterov
//! (TensorFlow's MomentumOptimizer).

use crate::ops::simd::Real;
use crate::train::settings::OptimizerSettings;

use super::{Coefficients, OptimizerInfo, one_per_element};

pub const INFO: OptimizerInfo = OptimizerInfo {
    kind: "sgd",
    label: "SGD",
    help: "a ← momentum · a + g; w ← w − lr · a (Nesterov: w ← w − lr · (g + momentum · a)).",
    slots: &["momentum"],
    settings: &["momentum", "nesterov"],
    defaults: &[("lr", "0.01")],
    coefficients,
    update_f32: update::<f32>,
    update_f64: update::<f64>,
    whole: None,
    scales_step_size: true,
    slot_dims: one_per_element,
};

fn coefficients(s: &OptimizerSettings, lr: f64, _t: u64) -> Coefficients {
    Coefficients { step_size: lr, momentum: s.momentum, nesterov: s.nesterov, ..Coefficients::default() }
}

crate::dispatch! {
    fn update[T: Real](c: &Coefficients, w: &mut [T], g: &[T], a: &mut [T], _none: &mut [T]) {
        let (lr, mu, scale) = (T::of(c.step_size), T::of(c.momentum), T::of(c.grad_scale));
        if c.nesterov {
            for ((w, &g), a) in w.iter_mut().zip(g).zip(a) {
                let g = g * scale;
                *a = mu * *a + g;
                *w = *w - lr * (g + mu * *a);
            }
        } else {
            for ((w, &g), a) in w.iter_mut().zip(g).zip(a) {
                *a = mu * *a + g * scale;
                *w = *w - lr * *a;
            }
        }
    }
}
