//! Update rules, one file each. Adding one: its file, a `mod` line, and an entry in [`ALL`].
//!
//! An update is one fused pass over a parameter, its gradient and its slots, split into fixed chunks, so that results do not
//! depend on the number of threads.

mod adafactor;
mod adagrad;
mod adam;
mod adamw;
pub mod apply;
mod bert_adamw;
mod lamb;
mod rmsprop;
mod sgd;

use crate::ops::simd::Real;
use crate::tensor::Tensor;

use super::settings::OptimizerSettings;

/// Numbers of one update, the same for every element of a parameter. Unused ones are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Coefficients {
    /// Gradients are multiplied by this first (clipping, averaging over accumulated batches).
    pub grad_scale: f64,
    /// The rate of the schedule, and the same with bias corrections folded in.
    pub lr: f64,
    pub step_size: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub one_minus_beta1: f64,
    pub one_minus_beta2: f64,
    /// `1 / (1 - beta2^t)`, or 1 where the step size holds it.
    pub correction2: f64,
    pub epsilon: f64,
    pub momentum: f64,
    pub nesterov: bool,
    /// Weight decay of this parameter, in the meaning of the rule; 0 where it does not decay.
    pub decay: f64,
}

impl Coefficients {
    /// Those of a parameter with `factor` times the rate and a decay of its own.
    pub fn at_rate(&self, factor: f64, info: &OptimizerInfo, decay: f64) -> Self {
        // Adafactor's step size is a bound of the rate, not a rate.
        let step_size = if info.scales_step_size { self.step_size * factor } else { self.step_size };
        Self { lr: self.lr * factor, step_size, decay, ..*self }
    }
}

/// `update(coefficients, parameter, gradient, slot 0, slot 1)` on one chunk; slots that a rule has not are empty.
pub type UpdateFn<T> = fn(&Coefficients, &mut [T], &[T], &mut [T], &mut [T]);

/// `update(coefficients, parameter, gradient, dimensions, slots)` on a whole parameter.
pub type WholeFn<T> = fn(&Coefficients, &mut [T], &[T], &[usize], &mut [Tensor]);

/// An update that must see a parameter as a whole (its norm, its rows).
#[derive(Clone, Copy)]
pub struct Whole {
    pub f32: WholeFn<f32>,
    pub f64: WholeFn<f64>,
}

/// One update rule.
pub struct OptimizerInfo {
    /// Value of `optimizer.kind`.
    pub kind: &'static str,
    pub label: &'static str,
    /// The formula and its source.
    pub help: &'static str,
    /// Names of the tensors that it keeps for each parameter, at most two.
    pub slots: &'static [&'static str],
    /// Settings (without `optimizer.`) that it reads, besides `lr`.
    pub settings: &'static [&'static str],
    /// Where its defaults differ from those of the settings table.
    pub defaults: &'static [(&'static str, &'static str)],
    /// Coefficients of update `t` (from 1) at rate `lr`, without decay and gradient scale.
    pub coefficients: fn(&OptimizerSettings, lr: f64, t: u64) -> Coefficients,
    pub update_f32: UpdateFn<f32>,
    pub update_f64: UpdateFn<f64>,
    /// In the place of both, where chunks do not suffice.
    pub whole: Option<Whole>,
    /// Whether the step size is a multiple of the learning rate.
    pub scales_step_size: bool,
    /// Shape of a slot for a parameter of some shape.
    pub slot_dims: fn(slot: usize, dims: &[usize]) -> Vec<usize>,
}

impl std::fmt::Debug for OptimizerInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind)
    }
}

impl PartialEq for OptimizerInfo {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

/// Every update rule, in the order of the form.
pub const ALL: &[&OptimizerInfo] = &[
    &adamw::INFO,
    &adam::INFO,
    &bert_adamw::INFO,
    &sgd::INFO,
    &rmsprop::INFO,
    &adagrad::INFO,
    &lamb::INFO,
    &adafactor::INFO,
];

pub fn find(kind: &str) -> Option<&'static OptimizerInfo> {
    ALL.iter().copied().find(|o| o.kind == kind)
}

/// Slots of the parameter's shape.
fn one_per_element(_slot: usize, dims: &[usize]) -> Vec<usize> {
    dims.to_vec()
}

/// In the place of an update by chunks where the rule has one for whole parameters.
fn nothing<T>(_: &Coefficients, _: &mut [T], _: &[T], _: &mut [T], _: &mut [T]) {}

/// The moments of Adam and its relatives: m ← β1 m + (1−β1) g, v ← β2 v + (1−β2) g².
#[inline(always)]
fn moments<T: Real>(c: &Moments<T>, g: T, m: &mut T, v: &mut T) {
    *m = c.beta1 * *m + c.one_minus_beta1 * g;
    *v = c.beta2 * *v + c.one_minus_beta2 * g * g;
}

/// Coefficients in the precision of the parameter.
struct Moments<T> {
    beta1: T,
    beta2: T,
    one_minus_beta1: T,
    one_minus_beta2: T,
}

impl<T: Real> Moments<T> {
    #[inline(always)]
    fn of(c: &Coefficients) -> Self {
        Self {
            beta1: T::of(c.beta1),
            beta2: T::of(c.beta2),
            one_minus_beta1: T::of(c.one_minus_beta1),
            one_minus_beta2: T::of(c.one_minus_beta2),
        }
    }
}

/// The betas as single-precision frameworks hold them, so that `1 − β` is theirs as well.
fn rounded(beta: f64) -> f64 {
    f64::from(beta as f32)
}
