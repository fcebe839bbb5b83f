//! Where the time of a training step goes, node by node: measured in a job on the session's own data, for the canvas.

use crate::base::{CancelToken, Reporter, Severity};
use crate::engine::Workspace;
use crate::program::Random;
use crate::session::{Session, training};
use crate::tensor::Tensor;
use crate::train::{Delivery, Phase};
use crate::ui::canvas::ColorMode;
use crate::ui::ctx::NodeTimes;

use super::App;
use super::jobs::Outcome;

impl App {
    /// Runs two steps of the run that Train would start, and keeps nothing but their times.
    pub(super) fn measure_times(&mut self) {
        let (Some(open), Some(held)) = (&self.open, &self.session) else { return };
        let session = Session::new(held.model.clone(), open.recipe().clone());
        self.jobs
            .start("Measuring time per node", move |cancel, _| Outcome::Timed(Box::new(measure(&session, cancel))));
    }

    pub(super) fn take_times(&mut self, result: Result<NodeTimes, String>) {
        match (result, &mut self.open) {
            (Ok(times), Some(open)) => {
                let words = format!("One training step took {}", crate::ui::text::duration(times.total));
                open.times = Some(std::sync::Arc::new(times));
                self.state.canvas.color_mode = ColorMode::Time;
                super::layout::show(&mut self.layout, "graph");
                self.say(Severity::Info, words);
            }
            (Ok(_), None) => {}
            (Err(e), _) => self.say(Severity::Error, format!("The time per node could not be measured: {e}")),
        }
    }
}

fn measure(session: &Session, cancel: &CancelToken) -> Result<NodeTimes, String> {
    let start = training::Start { folder: None, resume: false, delivery: Delivery::Every, waker: None, threads: None };
    let mut job = super::training::job(session, start, &mut Reporter::default())?;
    let batch = job.train.batch(0, 0).map_err(|e| e.to_string())?;
    let mut step = job.steps.make(Phase::Train, &batch.feeds).map_err(|e| e.to_string())?;
    if cancel.is_cancelled() {
        return Err("it was cancelled".to_owned());
    }
    let parameters: Vec<Tensor> = job.parameters.into_iter().map(|p| p.value).collect();
    let mut space = Workspace::new();
    let costs = job.engine.install(|| {
        // The first run finds memory; its times would not be those of a run.
        step.run(&mut space, &batch.feeds, &parameters, Random::default())?;
        step.costs_by_node(&mut space, &batch.feeds, &parameters)
    });
    let costs = costs.map_err(|e| e.to_string())?;
    let total = costs.iter().map(|(_, c)| c.seconds).sum();
    Ok(NodeTimes { nodes: costs.into_iter().filter_map(|(n, c)| Some((n?, c))).collect(), total })
}
