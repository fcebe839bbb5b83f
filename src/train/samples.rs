//! Predictions on single held-out examples, as an evaluation sees them: the ones that cost most come first.

use crate::data::source::Batch;
use crate::tensor::Tensor;

use super::evaluate::probabilities;
use super::metrics::{Task, argmax, pairs};
use super::protocol::Sample;

/// Scores that are kept for one evaluation; beyond that (a vocabulary of classes) there are no samples.
const MAX_SCORES: usize = 1 << 22;

/// Collects scores over an evaluation.
#[derive(Debug)]
pub(super) struct Samples {
    keep: usize,
    classes: usize,
    rows: Vec<usize>,
    labels: Vec<i64>,
    scores: Vec<f64>,
}

impl Samples {
    /// `None` where the task has no single class per example, or nobody wants samples.
    pub(super) fn new(task: &Task, keep: usize) -> Option<Self> {
        let Task::Classes { names, entities: false, .. } = task else { return None };
        (keep > 0).then(|| Self {
            keep,
            classes: names.len(),
            rows: Vec::new(),
            labels: Vec::new(),
            scores: Vec::new(),
        })
    }

    /// Takes the examples of a batch that count.
    pub(super) fn add(&mut self, batch: &Batch, prediction: &Tensor) {
        let Some(labels) = batch.labels.as_ref().filter(|l| l.rank() <= 1).and_then(Tensor::to_i64s) else { return };
        let is_single = self.classes == 2 && prediction.len() == labels.len();
        let width = if is_single { 2 } else { prediction.shape().last().copied().unwrap_or(0) };
        let n = batch.n_examples.min(batch.rows.len()).min(labels.len());
        let each = if is_single { 1 } else { width };
        if width != self.classes || prediction.len() < n * each || self.scores.len() + n * width > MAX_SCORES {
            return;
        }
        let Some(scores) = prediction.to_f64s() else { return };
        let scores = if is_single { pairs(&scores) } else { scores };
        self.rows.extend(&batch.rows[..n]);
        self.labels.extend(&labels[..n]);
        self.scores.extend(&scores[..n * width]);
    }

    /// The costliest examples, worst first.
    pub(super) fn finish(self) -> Vec<Sample> {
        let p = probabilities(&self.scores, self.classes);
        let rows = p.chunks_exact(self.classes.max(1)).zip(self.rows.iter().zip(&self.labels));
        let mut out: Vec<Sample> = rows
            .filter_map(|(p, (&row, &label))| {
                let label = usize::try_from(label).ok()?;
                let predicted = argmax(p);
                let loss = -p.get(label)?.max(f64::MIN_POSITIVE).ln();
                Some(Sample { row, label, predicted, probability: p[predicted], loss })
            })
            .collect();
        out.sort_by(|a, b| b.loss.total_cmp(&a.loss));
        out.truncate(self.keep);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_costliest_examples_come_first() {
        let names = vec!["a".to_owned(), "b".to_owned()];
        let task = Task::Classes { names, ignore: -100, entities: false };
        let mut s = Samples::new(&task, 2).unwrap();
        let batch = Batch {
            n_examples: 3,
            labels: Some(Tensor::from_slice(&[4], &[0i32, 1, 0, 0])),
            rows: vec![7, 8, 9, 9],
            ..Batch::default()
        };
        s.add(&batch, &Tensor::from_slice(&[4, 2], &[2.0f32, 0.0, 3.0, 0.0, 0.5, 0.0, 9.0, 9.0]));
        let out = s.finish();
        assert_eq!(out.iter().map(|s| s.row).collect::<Vec<_>>(), [8, 9]);
        assert_eq!((out[0].label, out[0].predicted), (1, 0));
        // Worked by hand: −ln softmax([3, 0])[1].
        assert!((out[0].loss - (1.0 + 3.0f64.exp()).ln()).abs() < 1e-9);
        assert!(Samples::new(&Task::Regression, 5).is_none() && Samples::new(&task, 0).is_none());
    }
}
