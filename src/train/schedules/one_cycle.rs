//! One cycle (Smith & Topin, arXiv 1708.07120) as PyTorch's OneCycleLR: cosine from lr/25 up to lr during the warm-up, then
//! down to lr/25/10⁴.

use super::{ScheduleInfo, half_cosine};

const START: f64 = 1.0 / 25.0;
const END: f64 = START / 1e4;

pub const INFO: ScheduleInfo = ScheduleInfo {
    kind: "one-cycle",
    label: "One cycle",
    help: "From lr/25 up to lr along a cosine during the warm-up (30 % of the run where it is not set), then down to lr/250000.",
    factor: |at| END + (1.0 - END) * half_cosine(at.after_warmup()),
    warmup: Some(|at| {
        let progress = at.step as f64 / at.warmup_steps.max(1) as f64;
        1.0 - (1.0 - START) * half_cosine(progress)
    }),
};
