//! Linear warm-up and decay as google-research BERT (optimization.py): the decay counts from step 0, so the rate jumps to
//! lr · (1 − warmup/total) when the warm-up ends.

use super::ScheduleInfo;

pub const INFO: ScheduleInfo = ScheduleInfo {
    kind: "linear",
    label: "Linear decay",
    help: "lr · step/warmup while step < warmup, then lr · (1 − step/total), as BERT does.",
    factor: |at| 1.0 - at.overall(),
    warmup: None,
};
