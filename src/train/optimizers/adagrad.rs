//! Adagrad (Duchi, Hazan & Singer 2011) as PyTorch has it, with sums that start at 0.

use crate::ops::simd::Real;
use crate::train::settings::OptimizerSettings;

use super::{Coefficients, OptimizerInfo, one_per_element};

pub const INFO: OptimizerInfo = OptimizerInfo {
    kind: "adagrad",
    label: "Adagrad",
    help: "s ← s + g²; w ← w − lr · g / (√s + ε).",
    slots: &["sum"],
    settings: &["epsilon"],
    defaults: &[("epsilon", "1e-10"), ("lr", "0.01")],
    coefficients,
    update_f32: update::<f32>,
    update_f64: update::<f64>,
    whole: None,
    scales_step_size: true,
    slot_dims: one_per_element,
};

fn coefficients(s: &OptimizerSettings, lr: f64, _t: u64) -> Coefficients {
    Coefficients { step_size: lr, epsilon: s.epsilon, ..Coefficients::default() }
}

crate::dispatch! {
    fn update[T: Real](c: &Coefficients, w: &mut [T], g: &[T], s: &mut [T], _none: &mut [T]) {
        let (lr, scale, epsilon) = (T::of(c.step_size), T::of(c.grad_scale), T::of(c.epsilon));
        for ((w, &g), s) in w.iter_mut().zip(g).zip(s) {
            let g = g * scale;
            *s += g * g;
            *w = *w - lr * g / (s.sqrt() + epsilon);
        }
    }
}
