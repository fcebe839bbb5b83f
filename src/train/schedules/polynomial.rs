//! A power of what is left of the run.

use super::ScheduleInfo;

pub const INFO: ScheduleInfo = ScheduleInfo {
    kind: "polynomial",
    label: "Polynomial decay",
    help: "lr · (1 − p)^power, p from 0 at the end of the warm-up to 1 at the end of the run.",
    factor: |at| (1.0 - at.after_warmup()).powf(at.power),
    warmup: None,
};
