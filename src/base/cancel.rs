//! A shared "please stop" flag that long work polls between steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Cloned into a job; once cancelled it stays cancelled.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
