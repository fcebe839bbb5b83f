//! A run as the window shows it: its state, its series, its events.

/// One measured curve.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    pub name: String,
    /// x positions as steps; `epochs` and `seconds` run in parallel.
    pub steps: Vec<f64>,
    pub epochs: Vec<f64>,
    pub seconds: Vec<f64>,
    pub values: Vec<f64>,
}

impl Series {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    pub fn push(&mut self, at: Moment, value: f64) {
        self.steps.push(at.step);
        self.epochs.push(at.epoch);
        self.seconds.push(at.seconds);
        self.values.push(value);
    }

    pub fn last(&self) -> Option<f64> {
        self.values.last().copied()
    }

    pub fn min(&self) -> Option<f64> {
        self.values.iter().copied().filter(|v| v.is_finite()).reduce(f64::min)
    }

    pub fn max(&self) -> Option<f64> {
        self.values.iter().copied().filter(|v| v.is_finite()).reduce(f64::max)
    }

    pub fn xs(&self, axis: XAxis) -> &[f64] {
        match axis {
            XAxis::Step => &self.steps,
            XAxis::Epoch => &self.epochs,
            XAxis::Time => &self.seconds,
        }
    }
}

/// When something was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moment {
    pub step: f64,
    /// With its fraction: 1.5 is the middle of the second epoch.
    pub epoch: f64,
    /// Since the start, without pauses.
    pub seconds: f64,
}

impl Moment {
    pub fn x(&self, axis: XAxis) -> f64 {
        match axis {
            XAxis::Step => self.step,
            XAxis::Epoch => self.epoch,
            XAxis::Time => self.seconds,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum XAxis {
    #[default]
    Step,
    Epoch,
    Time,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunState {
    #[default]
    Preparing,
    Running,
    Paused,
    Stopping,
    Finished,
    Stopped,
    Failed,
}

impl RunState {
    pub fn is_active(self) -> bool {
        matches!(self, Self::Preparing | Self::Running | Self::Paused | Self::Stopping)
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Preparing => "Preparing",
            Self::Running => "Training",
            Self::Paused => "Paused",
            Self::Stopping => "Stopping",
            Self::Finished => "Finished",
            Self::Stopped => "Stopped",
            Self::Failed => "Failed",
        }
    }
}

/// What a marker on the time axis stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    Epoch,
    Checkpoint,
    BestCheckpoint,
    RateChange,
    Pause,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    pub kind: MarkKind,
    pub at: Moment,
    pub text: String,
}

/// One prediction on a held-out example.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prediction {
    pub text: String,
    pub label: String,
    pub predicted: String,
    pub probability: f64,
    pub loss: f64,
}

/// See the module doc.
#[derive(Clone, Debug, Default)]
pub struct RunView {
    pub name: String,
    pub state: RunState,
    pub message: Option<String>,
    pub step: usize,
    pub total_steps: usize,
    pub epoch: usize,
    pub total_epochs: usize,
    pub elapsed_secs: f64,
    pub examples_per_sec: f64,
    pub trainable: usize,
    pub parameters: usize,
    pub memory_bytes: u64,
    pub learning_rate: f64,
    pub loss: Series,
    pub validation_loss: Series,
    /// Train metric and validation metric by name.
    pub metrics: Vec<(Series, Series)>,
    pub rate: Series,
    pub norm: Series,
    pub speed: Series,
    pub marks: Vec<Mark>,
    pub predictions: Vec<Prediction>,
    /// Class names and counts, true class by row.
    pub confusion: Option<(Vec<String>, Vec<Vec<usize>>)>,
}

impl RunView {
    /// 0 to 1.
    pub fn fraction(&self) -> f32 {
        if self.total_steps == 0 { 0.0 } else { (self.step as f32 / self.total_steps as f32).clamp(0.0, 1.0) }
    }

    /// Seconds until the end at the speed so far; `None` before the first step.
    pub fn remaining_secs(&self) -> Option<f64> {
        (self.step > 0 && self.total_steps >= self.step)
            .then(|| self.elapsed_secs / self.step as f64 * (self.total_steps - self.step) as f64)
    }

    /// The series pair of a metric, made where it is new.
    pub fn metric(&mut self, name: &str) -> &mut (Series, Series) {
        let i = match self.metrics.iter().position(|(t, _)| t.name == name) {
            Some(i) => i,
            None => {
                self.metrics.push((Series::new(name), Series::new(name)));
                self.metrics.len() - 1
            }
        };
        &mut self.metrics[i]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_and_time_left() {
        let r = RunView { step: 25, total_steps: 100, elapsed_secs: 10.0, ..RunView::default() };
        assert_eq!(r.fraction(), 0.25);
        assert_eq!(r.remaining_secs(), Some(30.0));
        assert_eq!(RunView::default().remaining_secs(), None);
    }
}
