//! Half a cosine wave from the peak to 0 (Loshchilov & Hutter, arXiv 1608.03983, without restarts).

use super::{ScheduleInfo, half_cosine};

pub const INFO: ScheduleInfo = ScheduleInfo {
    kind: "cosine",
    label: "Cosine decay",
    help: "lr · ½(1 + cos(π · p)), p from 0 at the end of the warm-up to 1 at the end of the run.",
    factor: |at| half_cosine(at.after_warmup()),
    warmup: None,
};
