//! AdamW (Loshchilov & Hutter, arXiv 1711.05101) as in PyTorch: w ← w − lr · decay · w, then Adam's update.

use crate::ops::simd::Real;

use super::adam::{self, adam_chunk};
use super::{Coefficients, OptimizerInfo, one_per_element};

pub const INFO: OptimizerInfo = OptimizerInfo {
    kind: "adamw",
    label: "AdamW",
    help: "w ← w − lr · weight_decay · w (not for parameters that no_decay names), then Adam's update.",
    slots: &["m", "v"],
    settings: &["beta1", "beta2", "epsilon", "epsilon_hat", "weight_decay", "no_decay"],
    defaults: &[],
    coefficients: adam::coefficients,
    update_f32: update::<f32>,
    update_f64: update::<f64>,
    whole: None,
    scales_step_size: true,
    slot_dims: one_per_element,
};

crate::dispatch! {
    fn update[T: Real](c: &Coefficients, w: &mut [T], g: &[T], m: &mut [T], v: &mut [T]) {
        adam_chunk(c, T::of(1.0 - c.lr * c.decay), w, g, m, v);
    }
}
