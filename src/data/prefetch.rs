//! Batches made ahead in their own thread, in the order in which the trainer will ask for them.

use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, bounded};

use super::source::{Batch, BatchSource, DataError};

/// How many batches wait at most.
const AHEAD: usize = 4;

/// What the thread sends: where the batch belongs, how many the epoch has, and the batch.
struct Ready {
    epoch: usize,
    index: usize,
    n_batches: usize,
    batch: Batch,
}

/// Walks a source from a position on, epoch after epoch, until it is dropped.
#[derive(Debug)]
pub struct Prefetch {
    ready: Option<Receiver<Result<Ready, DataError>>>,
    thread: Option<JoinHandle<()>>,
}

/// One batch and its place.
#[derive(Clone, Debug)]
pub struct Placed {
    pub epoch: usize,
    pub index: usize,
    /// Batches in this epoch.
    pub n_batches: usize,
    pub batch: Batch,
}

impl Prefetch {
    /// Starts at batch `index` of `epoch`; an index at or beyond the epoch's end starts the next epoch.
    pub fn start(mut source: Box<dyn BatchSource>, epoch: usize, index: usize) -> Result<Self, DataError> {
        let (send, ready) = bounded(AHEAD);
        let walk = move || {
            let (mut epoch, mut index) = (epoch, index);
            loop {
                let n_batches = match source.n_batches(epoch) {
                    Ok(0) => Err(DataError::Other("the training data has no batches".to_owned())),
                    other => other,
                };
                let n_batches = match n_batches {
                    Ok(n) => n,
                    Err(e) => {
                        // A receiver that is gone needs no error.
                        let _ = send.send(Err(e));
                        return;
                    }
                };
                while index < n_batches {
                    let made = source.batch(epoch, index).map(|batch| Ready { epoch, index, n_batches, batch });
                    let failed = made.is_err();
                    if send.send(made).is_err() || failed {
                        return;
                    }
                    index += 1;
                }
                epoch += 1;
                index = 0;
            }
        };
        let thread = std::thread::Builder::new()
            .name("data".to_owned())
            .spawn(walk)
            .map_err(|e| DataError::Other(format!("cannot start the data thread: {e}")))?;
        Ok(Self { ready: Some(ready), thread: Some(thread) })
    }

    /// The next batch; waits for it.
    pub fn next_batch(&mut self) -> Result<Placed, DataError> {
        let received = self.ready.as_ref().and_then(|r| r.recv().ok());
        match received {
            Some(Ok(r)) => Ok(Placed { epoch: r.epoch, index: r.index, n_batches: r.n_batches, batch: r.batch }),
            Some(Err(e)) => Err(e),
            None => Err(DataError::Other("the data thread ended unexpectedly (a bug; see the log)".to_owned())),
        }
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        // Dropping the receiver first makes the thread's next send fail, so that joining cannot wait forever.
        self.ready = None;
        if let Some(t) = self.thread.take() {
            let _ = t.join();
        }
    }
}
