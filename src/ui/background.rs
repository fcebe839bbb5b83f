//! A piece of work on a named thread that the window polls: it never waits for it.

use std::fmt;

use crossbeam_channel::{Receiver, TryRecvError, bounded};

use crate::base::CancelToken;

/// Work in progress; dropping it asks it to stop.
pub struct Background<T> {
    result: Receiver<T>,
    /// A result that was met while looking whether the thread is lost.
    met: Option<T>,
    cancel: CancelToken,
}

impl<T> fmt::Debug for Background<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background").field("cancelled", &self.cancel.is_cancelled()).finish()
    }
}

impl<T: Send + 'static> Background<T> {
    /// Runs `work` on a thread called `name`; `wake` is called when its result can be polled. A panic in `work` closes
    /// the channel, so that [`Background::poll`] stays silent and [`Background::is_lost`] says so.
    pub fn spawn(
        name: &str,
        wake: impl FnOnce() + Send + 'static,
        work: impl FnOnce(&CancelToken) -> T + Send + 'static,
    ) -> Self {
        let (send, result) = bounded(1);
        let cancel = CancelToken::default();
        let token = cancel.clone();
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // The receiver may be gone when nobody wants the result any more.
            let _ = send.send(work(&token));
            wake();
        });
        if let Err(e) = spawned {
            tracing::error!("Could not start the thread {name}: {e}");
        }
        Self { result, met: None, cancel }
    }

    /// The result, once.
    pub fn poll(&mut self) -> Option<T> {
        self.met.take().or_else(|| self.result.try_recv().ok())
    }

    /// The thread ended without a result. One that comes in between is kept for the next [`Background::poll`].
    pub fn is_lost(&mut self) -> bool {
        if self.met.is_some() {
            return false;
        }
        match self.result.try_recv() {
            Ok(result) => {
                self.met = Some(result);
                false
            }
            Err(e) => e == TryRecvError::Disconnected,
        }
    }

    pub fn cancel(&self) {
        self.cancel.cancel();
    }
}

impl<T> Drop for Background<T> {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_for_a_loss_takes_no_result_away() {
        let mut work = Background::spawn("work", || {}, |_| 7);
        while work.met.is_none() {
            assert!(!work.is_lost());
            std::thread::yield_now();
        }
        assert!(!work.is_lost(), "the thread has ended, its result waits");
        assert_eq!(work.poll(), Some(7));
        let mut lost = Background::<u8>::spawn("lost", || {}, |_| panic!("a bug"));
        while !lost.is_lost() {
            std::thread::yield_now();
        }
        assert_eq!(lost.poll(), None);
    }
}
