//! A run as the window shows it: its state, its series, its events.

pub use super::series::{Moment, Series, XAxis};
use crate::train::WeightRow;
use crate::train::metrics::{ClassRow, PrecisionRecall};

use super::weights::Watch;

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

/// What a marker on the time axis stands for; where there is no room for all of them, later ones go before earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    Epoch,
    Checkpoint,
    Pause,
    RateChange,
    BestCheckpoint,
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
    /// NaN where there is none.
    pub probability: f64,
    pub loss: f64,
    /// A number is near or far, not right or wrong.
    pub is_number: bool,
}

impl Prediction {
    pub fn is_right(&self) -> bool {
        self.label == self.predicted
    }
}

/// Mistakes by what they cost and how sure the model was, then what is right by the same; numbers by how far they are off.
pub fn sort_worst_first(predictions: &mut [Prediction]) {
    // An unknown loss is no worse than any other.
    let cost = |p: &Prediction| if p.loss.is_nan() { f64::NEG_INFINITY } else { p.loss };
    predictions.sort_by(|a, b| {
        let by_cost = cost(b).total_cmp(&cost(a));
        if a.is_number || b.is_number {
            return by_cost;
        }
        let by_probability = b.probability.total_cmp(&a.probability);
        let right = a.is_right();
        let order = right.cmp(&b.is_right()).then(by_cost);
        order.then(if right { by_probability.reverse() } else { by_probability })
    });
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
    /// Gradient norms and update/weight ratios per trainable constant, as last measured, and after which step.
    pub weights: std::sync::Arc<Vec<WeightRow>>,
    pub weights_step: usize,
    /// Class names and counts, true class by row.
    pub confusion: Option<(Vec<String>, Vec<Vec<usize>>)>,
    /// Precision against recall of each class, with its name.
    pub curves: Vec<(String, PrecisionRecall)>,
    /// Precision, recall and F1 of each class or label, and of each type of entity, as the newest evaluation says.
    pub classes: Vec<ClassRow>,
    pub entities: Vec<ClassRow>,
    /// Memory of this program while the run goes on, in bytes.
    pub memory: Series,
    /// How each weight does.
    pub watch: Watch,
    /// Where it is kept; `None` for one that writes nothing.
    pub folder: Option<std::path::PathBuf>,
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

    #[test]
    fn sure_mistakes_come_first() {
        let p = |label: &str, predicted: &str, probability| Prediction {
            label: label.to_owned(),
            predicted: predicted.to_owned(),
            probability,
            ..Prediction::default()
        };
        let mut all = [p("a", "a", 0.9), p("a", "b", 0.6), p("b", "a", 0.99), p("b", "b", 0.55)];
        sort_worst_first(&mut all);
        let order: Vec<f64> = all.iter().map(|p| p.probability).collect();
        assert_eq!(order, [0.99, 0.6, 0.55, 0.9]);
        all[3].loss = 7.0;
        all[1].loss = 5.0;
        sort_worst_first(&mut all);
        let order: Vec<f64> = all.iter().map(|p| p.probability).collect();
        assert_eq!(order, [0.6, 0.99, 0.9, 0.55], "the costliest first, mistakes before what is right");
        let number = |loss| Prediction { loss, is_number: true, probability: f64::NAN, ..Prediction::default() };
        let mut numbers = [number(0.1), number(3.0)];
        sort_worst_first(&mut numbers);
        assert_eq!(numbers[0].loss, 3.0);
    }
}
