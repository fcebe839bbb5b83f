//! Learning-rate schedules, one file each: the factor on the peak rate at a step. Adding one: its file, a `mod` line, and an
//! entry in [`ALL`].

mod constant;
mod cosine;
mod linear;
mod one_cycle;
mod polynomial;

/// Where a run stands. Steps count from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    pub step: u64,
    pub warmup_steps: u64,
    pub total_steps: u64,
    /// Exponent of the polynomial schedule.
    pub power: f64,
}

impl Position {
    /// Progress from the end of the warm-up (0) to the end of the run (1).
    fn after_warmup(&self) -> f64 {
        let left = self.total_steps.saturating_sub(self.warmup_steps).max(1);
        (self.step.saturating_sub(self.warmup_steps) as f64 / left as f64).min(1.0)
    }

    /// Progress over the whole run.
    fn overall(&self) -> f64 {
        (self.step as f64 / self.total_steps.max(1) as f64).min(1.0)
    }
}

/// One schedule.
pub struct ScheduleInfo {
    /// Value of `schedule.kind`.
    pub kind: &'static str,
    pub label: &'static str,
    pub help: &'static str,
    /// Factor after the warm-up.
    factor: fn(&Position) -> f64,
    /// Factor while `step < warmup_steps`; `None` rises linearly from 0.
    warmup: Option<fn(&Position) -> f64>,
}

impl std::fmt::Debug for ScheduleInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind)
    }
}

impl PartialEq for ScheduleInfo {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

/// Every schedule, in the order of the form.
pub const ALL: &[&ScheduleInfo] = &[&constant::INFO, &linear::INFO, &cosine::INFO, &polynomial::INFO, &one_cycle::INFO];

pub fn find(kind: &str) -> Option<&'static ScheduleInfo> {
    ALL.iter().copied().find(|s| s.kind == kind)
}

impl ScheduleInfo {
    /// The factor on the peak rate, never below 0.
    pub fn factor(&self, at: &Position) -> f64 {
        let factor = if at.step < at.warmup_steps {
            self.warmup.map_or_else(|| at.step as f64 / at.warmup_steps as f64, |f| f(at))
        } else {
            (self.factor)(at)
        };
        factor.max(0.0)
    }
}

/// Half a cosine wave from 1 (at 0) to 0 (at 1).
fn half_cosine(progress: f64) -> f64 {
    0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(kind: &str, step: u64) -> f64 {
        find(kind).unwrap().factor(&Position { step, warmup_steps: 4, total_steps: 20, power: 2.0 })
    }

    #[test]
    fn values_at_landmarks() {
        for s in ALL {
            for step in 0..40 {
                let f = at(s.kind, step);
                assert!((0.0..=1.0).contains(&f), "{} at {step}: {f}", s.kind);
            }
        }
        assert_eq!(at("linear", 0), 0.0);
        assert_eq!(at("linear", 1), 0.25);
        // As google-research BERT: the decay counts from step 0.
        assert_eq!(at("linear", 4), 1.0 - 4.0 / 20.0);
        assert_eq!(at("linear", 25), 0.0);
        assert_eq!(at("cosine", 4), 1.0);
        assert!((at("cosine", 12) - 0.5).abs() < 1e-12);
        assert_eq!(at("polynomial", 12), 0.25);
        assert_eq!(at("constant", 19), 1.0);
        assert!((at("one-cycle", 0) - 1.0 / 25.0).abs() < 1e-12);
        assert!((at("one-cycle", 4) - 1.0).abs() < 1e-12);
        assert!((at("one-cycle", 20) - 1.0 / 25.0 / 1e4).abs() < 1e-12);
    }
}
