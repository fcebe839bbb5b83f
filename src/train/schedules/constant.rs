//! The peak rate throughout, after the warm-up if there is one.

use super::ScheduleInfo;

pub const INFO: ScheduleInfo = ScheduleInfo {
    kind: "constant",
    label: "Constant",
    help: "lr after the warm-up (if any) until the end.",
    factor: |_| 1.0,
    warmup: None,
};
