//! Where the trainer's events go: the log file first, then the channel. The trainer never waits for a reader that merges.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crossbeam_channel::{Sender, TrySendError};

use super::protocol::{Delivery, TrainEvent};
use super::run_log::LogFile;

/// Called after events were sent, to wake a window.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

pub(super) struct Outbox {
    sender: Sender<TrainEvent>,
    delivery: Delivery,
    waker: Option<Waker>,
    pub(super) log: Option<LogFile>,
    /// Events that found the channel full, in order.
    waiting: VecDeque<TrainEvent>,
    /// How many step events the last waiting one stands for.
    merged: u32,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} events waiting", self.waiting.len())
    }
}

impl Outbox {
    pub(super) fn new(sender: Sender<TrainEvent>, delivery: Delivery, waker: Option<Waker>) -> Self {
        Self { sender, delivery, waker, log: None, waiting: VecDeque::new(), merged: 0 }
    }

    /// Logs and sends. A log that cannot be written is given up with a warning event: training goes on.
    pub(super) fn emit(&mut self, event: TrainEvent) {
        let failed = self.log.as_mut().and_then(|log| log.append(&event).err());
        let step = event.step();
        self.send(event);
        if let Some(message) = failed {
            self.log = None;
            tracing::warn!("{message}; the run goes on without its log");
            self.send(TrainEvent::Log { step, code: "log-failed".to_owned(), message });
        }
    }

    /// Past the log, and only to a reader that merges.
    pub(super) fn show(&mut self, event: TrainEvent) {
        if self.delivery == Delivery::Merge {
            self.send(event);
        }
    }

    pub(super) fn merges(&self) -> bool {
        self.delivery == Delivery::Merge
    }

    fn send(&mut self, event: TrainEvent) {
        match self.delivery {
            // A receiver that is gone wants no events.
            Delivery::Every => drop(self.sender.send(event)),
            Delivery::Merge => {
                self.queue(event);
                self.flush();
            }
        }
        if let Some(wake) = &self.waker {
            wake();
        }
    }

    fn queue(&mut self, event: TrainEvent) {
        if let (Some(last @ TrainEvent::Step { .. }), TrainEvent::Step { .. }) = (self.waiting.back_mut(), &event) {
            merge(last, event, self.merged);
            self.merged += 1;
        } else if let TrainEvent::Weights { .. } = &event {
            // Only the newest counts, and it must not keep step events from being merged.
            self.waiting.retain(|e| !matches!(e, TrainEvent::Weights { .. }));
            self.waiting.push_front(event);
        } else {
            self.waiting.push_back(event);
            self.merged = 1;
        }
    }

    /// Sends what waits as far as there is room.
    fn flush(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            match self.sender.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => {
                    self.waiting.push_front(event);
                    return;
                }
                Err(TrySendError::Disconnected(_)) => self.waiting.clear(),
            }
        }
    }

    /// Delivers everything that waits; the run is over, so waiting harms nobody.
    pub(super) fn finish(mut self) {
        while let Some(event) = self.waiting.pop_front() {
            if let Some(wake) = &self.waker {
                wake();
            }
            if self.sender.send(event).is_err() {
                return;
            }
        }
        if let Some(wake) = &self.waker {
            wake();
        }
    }
}

/// Folds a newer step event into `into`, which already stands for `count` steps.
fn merge(into: &mut TrainEvent, newer: TrainEvent, count: u32) {
    let (
        TrainEvent::Step { step, epoch, loss, lr, grad_norm, examples_per_sec, metrics },
        TrainEvent::Step {
            step: step2,
            epoch: epoch2,
            loss: loss2,
            lr: lr2,
            grad_norm: grad_norm2,
            examples_per_sec: examples2,
            metrics: metrics2,
        },
    ) = (into, newer)
    else {
        return;
    };
    let n = f64::from(count.max(1));
    let mean = |a: f64, b: f64| (a * n + b) / (n + 1.0);
    (*step, *epoch, *lr) = (step2, epoch2, lr2);
    *loss = mean(*loss, loss2);
    *grad_norm = mean(*grad_norm, grad_norm2);
    *examples_per_sec = mean(*examples_per_sec, examples2);
    for (name, value) in metrics2 {
        let old = metrics.get(&name).copied().unwrap_or(value);
        metrics.insert(name, mean(old, value));
    }
}
