//! How often a run asks for frames. Every frame takes time from the trainer, which needs all cores; nobody sees curves move
//! at 60 frames a second. What the user does is answered at once all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Share of the time that laying out frames which only show new numbers may take; painting them takes about as much again.
const SHARE: f64 = 0.008;
const FASTEST: Duration = Duration::from_millis(100);
const SLOWEST: Duration = Duration::from_millis(400);
/// Frames that the cost of one is judged by.
const REMEMBERED: usize = 8;

/// Shared with the trainer's waker.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    micros: Arc<AtomicU64>,
    /// Newest last.
    costs: Vec<Duration>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { micros: Arc::new(AtomicU64::new(FASTEST.as_micros() as u64)), costs: Vec::new() }
    }
}

impl Pace {
    /// Takes in what a frame cost. The cheapest of the last ones counts: others were interrupted.
    pub(super) fn frame(&mut self, cost: Duration) {
        if self.costs.len() == REMEMBERED {
            self.costs.remove(0);
        }
        self.costs.push(cost);
        let cost = self.costs.iter().min().copied().unwrap_or_default();
        let wanted = cost.div_f64(SHARE).clamp(FASTEST, SLOWEST);
        self.micros.store(wanted.as_micros() as u64, Ordering::Relaxed);
    }

    /// How long curves may lag behind the run, as it is now and as it changes.
    pub(super) fn lag(&self) -> impl Fn() -> Duration + Send + Sync + 'static {
        let micros = self.micros.clone();
        move || Duration::from_micros(micros.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dear_frames_come_less_often() {
        let mut pace = Pace::default();
        let lag = pace.lag();
        assert_eq!(lag(), FASTEST);
        pace.frame(Duration::from_millis(3));
        assert_eq!(lag(), Duration::from_millis(375));
        pace.frame(Duration::from_millis(900));
        assert_eq!(lag(), Duration::from_millis(375), "a frame that was interrupted says nothing");
        for _ in 0..REMEMBERED {
            pace.frame(Duration::from_millis(90));
        }
        assert_eq!(lag(), SLOWEST);
    }
}
