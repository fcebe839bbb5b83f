//! What a run would take: a few real steps in a job whose results are thrown away.

use crate::base::{Reporter, Severity};
use crate::session::{Session, training};
use crate::train::{Delivery, estimate};
use crate::ui::ctx::Estimated;

use super::App;
use super::jobs::Outcome;

impl App {
    /// Probes the run that Train would start; writes nothing. Cancelled as every job is.
    pub(super) fn estimate_run(&mut self) {
        let (Some(open), Some(held)) = (&self.open, &self.session) else { return };
        if self.run.as_ref().is_some_and(|r| r.state.is_active()) {
            // Both would be slower, and the estimate wrong.
            return self.say(Severity::Warning, "A run is in progress; its own figures are shown.");
        }
        let recipe = open.history.recipe().clone();
        let model = held.model.clone();
        let threads = Some(self.preferences.threads).filter(|n| *n > 0);
        self.jobs.start(crate::ui::panels::ESTIMATING, move |cancel, progress| {
            let session = Session::new(model, (*recipe).clone());
            let start =
                training::Start { folder: None, resume: false, delivery: Delivery::Every, waker: None, threads };
            let result = super::training::job(&session, start, &mut Reporter::default())
                .and_then(|job| estimate::estimate(job, cancel, &|share| progress.set(share)));
            Outcome::Estimated(Estimated { recipe, result })
        });
    }

    pub(super) fn take_estimated(&mut self, estimated: Estimated) {
        if let Err(e) = &estimated.result {
            self.note(Severity::Error, format!("The run could not be estimated: {e}"));
        }
        if let Some(open) = &mut self.open {
            open.estimate = Some(estimated);
        }
    }
}
