//! Predictions on single held-out examples, as an evaluation sees them: the ones that cost most come first.

use crate::data::source::Batch;
use crate::tensor::Tensor;

use super::evaluate::probabilities;
use super::metrics::{Rows, Task, argmax, pairs};
use super::protocol::{Said, Sample};

/// Scores that are kept for one evaluation; beyond that (a vocabulary of classes) there are no samples.
const MAX_SCORES: usize = 1 << 22;

/// What one example's numbers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Classes,
    Labels,
    Numbers,
    Words,
}

/// Collects scores over an evaluation.
#[derive(Debug)]
pub(super) struct Samples {
    keep: usize,
    kind: Kind,
    /// Scores of one example; 0 until the first batch says it.
    width: usize,
    /// Positions with this label do not count.
    ignore: i64,
    rows: Vec<usize>,
    /// One class per example, or as many numbers as there are scores.
    labels: Vec<f64>,
    scores: Vec<f64>,
    /// Examples with a label at each of several positions, judged at once.
    sequences: Vec<Sample>,
}

impl Samples {
    /// `None` where the task has no metrics, or nobody wants samples.
    pub(super) fn new(task: &Task, keep: usize) -> Option<Self> {
        let (kind, width, ignore) = match task {
            Task::Classes { names, ignore, .. } => (Kind::Classes, names.len(), *ignore),
            Task::MultiLabel { names } => (Kind::Labels, names.len(), -1),
            Task::Regression => (Kind::Numbers, 0, -1),
            Task::Words => (Kind::Words, 0, -1),
            Task::None => return None,
        };
        let none = || (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (rows, labels, scores, sequences) = none();
        (keep > 0).then_some(Self { keep, kind, width, ignore, rows, labels, scores, sequences })
    }

    /// Takes the examples of a batch that count.
    pub(super) fn add(&mut self, batch: &Batch, prediction: &Tensor) {
        let Some(shape) = batch.labels.as_ref().map(Tensor::shape) else { return };
        if self.kind == Kind::Words || (self.kind == Kind::Classes && shape.len() > 1 && shape[1..] != [1]) {
            return self.add_positions(batch, prediction);
        }
        let labels = batch.labels.as_ref().and_then(Tensor::to_f64s);
        let (Some(labels), Some(scores)) = (labels, prediction.to_f64s()) else { return };
        match self.kind {
            Kind::Classes => self.add_classes(batch, &labels, &scores, prediction.shape()),
            Kind::Labels | Kind::Numbers => self.add_numbers(batch, &labels, &scores),
            Kind::Words => {}
        }
    }

    /// A row of scores for each position of each example. Predictions may come with examples and positions in one axis;
    /// those that do not fit the labels are left out.
    fn add_positions(&mut self, batch: &Batch, prediction: &Tensor) {
        let labels = batch.labels.as_ref().and_then(Tensor::to_i64s).unwrap_or_default();
        let Some(scores) = Rows::new(prediction) else { return };
        let width = prediction.shape().last().copied().unwrap_or(0).max(1);
        let places = labels.len() / batch.rows.len().max(1);
        if places == 0 || prediction.len() != labels.len() * width {
            return;
        }
        let label = |at: usize| {
            let label = labels.get(at).copied().filter(|l| *l != self.ignore)?;
            usize::try_from(label).ok().filter(|l| *l < width)
        };
        let counted = places * batch.n_examples.min(batch.rows.len());
        // One row alone would not tell logits from a distribution: they may sum to 1 by chance.
        let are_probabilities = (0..counted)
            .filter(|&at| label(at).is_some())
            .all(|at| scores.row(at).is_some_and(|r| is_distribution(&r)));
        let mut found = Vec::new();
        for (i, &row) in batch.rows.iter().enumerate().take(batch.n_examples) {
            let positions = (i * places..(i + 1) * places).filter_map(|at| Some((label(at)?, scores.row(at)?)));
            found.extend(of_positions(row, positions, are_probabilities, self.kind == Kind::Words));
        }
        self.sequences.extend(found);
        if self.sequences.len() > 4 * self.keep.max(256) {
            worst_first(&mut self.sequences, self.keep);
        }
    }

    fn add_classes(&mut self, batch: &Batch, labels: &[f64], scores: &[f64], shape: &[usize]) {
        // Two classes may have one score.
        let is_single = self.width == 2 && scores.len() == labels.len();
        let width = if is_single { 2 } else { shape.last().copied().unwrap_or(0) };
        let paired = is_single.then(|| pairs(scores));
        // A model may have more outputs than the data have classes.
        if self.rows.is_empty() && width > self.width {
            self.width = width;
        }
        if width == self.width {
            self.take(batch, (labels, 1), paired.as_deref().unwrap_or(scores));
        }
    }

    fn add_numbers(&mut self, batch: &Batch, labels: &[f64], scores: &[f64]) {
        let rows = batch.labels.as_ref().and_then(|l| l.shape().first().copied()).unwrap_or(1).max(1);
        if self.width == 0 {
            self.width = labels.len() / rows;
        }
        if self.width > 0 && labels.len() == rows * self.width && scores.len() == labels.len() {
            self.take(batch, (labels, self.width), scores);
        }
    }

    fn take(&mut self, batch: &Batch, (labels, per_example): (&[f64], usize), scores: &[f64]) {
        let width = self.width.max(1);
        let n = batch.n_examples.min(batch.rows.len()).min(labels.len() / per_example).min(scores.len() / width);
        if self.scores.len() + n * width <= MAX_SCORES {
            self.rows.extend(&batch.rows[..n]);
            self.labels.extend(&labels[..n * per_example]);
            self.scores.extend(&scores[..n * width]);
        }
    }

    /// The costliest examples, worst first.
    pub(super) fn finish(self) -> Vec<Sample> {
        let width = self.width.max(1);
        let mut out: Vec<Sample> = match self.kind {
            Kind::Classes => {
                let p = probabilities(&self.scores, width);
                let rows = p.chunks_exact(width).zip(self.rows.iter().zip(&self.labels));
                rows.filter_map(|(p, (&row, &label))| of_class(row, label, p)).collect()
            }
            Kind::Words => Vec::new(),
            kind => {
                let one = if kind == Kind::Labels { of_labels } else { of_numbers };
                let rows = self.scores.chunks_exact(width).zip(self.labels.chunks_exact(width)).zip(&self.rows);
                rows.map(|((scores, labels), &row)| one(row, labels, scores)).collect()
            }
        };
        out.extend(self.sequences);
        worst_first(&mut out, self.keep);
        out
    }
}

fn worst_first(samples: &mut Vec<Sample>, keep: usize) {
    samples.sort_by(|a, b| b.loss.total_cmp(&a.loss));
    samples.truncate(keep);
}

/// Labels with their scores along one example; `None` where none of its positions counts.
fn of_positions(
    row: usize,
    positions: impl Iterator<Item = (usize, Vec<f64>)>,
    are_probabilities: bool,
    are_words: bool,
) -> Option<Sample> {
    let (mut truth, mut said, mut loss, mut sureness) = (Vec::new(), Vec::new(), 0.0, 0.0);
    for (label, scores) in positions {
        let best = argmax(&scores);
        let ln = ln_probabilities(&scores, are_probabilities, [label, best]);
        truth.push(label);
        said.push(best);
        loss -= ln[0];
        sureness += ln[1];
    }
    let n = truth.len() as f64;
    let words = |all| if are_words { Said::Words(all) } else { Said::Tags(all) };
    (n > 0.0).then(|| Sample {
        row,
        truth: words(truth),
        said: words(said),
        probability: (sureness / n).exp(),
        loss: loss / n,
    })
}

fn is_distribution(scores: &[f64]) -> bool {
    scores.iter().all(|s| (0.0..=1.0).contains(s)) && (scores.iter().sum::<f64>() - 1.0).abs() < 1e-3
}

/// Logarithms of the probabilities of two entries.
fn ln_probabilities(scores: &[f64], are_probabilities: bool, at: [usize; 2]) -> [f64; 2] {
    if are_probabilities {
        return at.map(|i| scores[i].max(f64::MIN_POSITIVE).ln());
    }
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total = scores.iter().map(|s| (s - most).exp()).sum::<f64>().ln() + most;
    at.map(|i| scores[i] - total)
}

fn of_class(row: usize, label: f64, p: &[f64]) -> Option<Sample> {
    let label = (label >= 0.0).then_some(label as usize)?;
    let predicted = argmax(p);
    let loss = -p.get(label)?.max(f64::MIN_POSITIVE).ln();
    Some(Sample { row, truth: Said::Class(label), said: Said::Class(predicted), probability: p[predicted], loss })
}

/// The probability is that of all labels together as they were said; the loss is the mean cross-entropy of the labels.
fn of_labels(row: usize, labels: &[f64], scores: &[f64]) -> Sample {
    let set = |is: fn(f64) -> bool, of: &[f64]| Said::Labels((0..of.len()).filter(|&i| is(of[i])).collect());
    // ln(1 + e^-x) without overflow.
    let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    let cost = |(&y, &x): (&f64, &f64)| softplus(x) - y * x;
    let loss = labels.iter().zip(scores).map(cost).sum::<f64>() / labels.len().max(1) as f64;
    let probability = scores.iter().map(|x| (-softplus(-x.abs())).exp()).product();
    Sample { row, truth: set(|y| y > 0.5, labels), said: set(|x| x > 0.0, scores), probability, loss }
}

/// Numbers have no probability; the loss is the mean squared error.
fn of_numbers(row: usize, labels: &[f64], scores: &[f64]) -> Sample {
    let loss = labels.iter().zip(scores).map(|(y, x)| (y - x) * (y - x)).sum::<f64>() / labels.len().max(1) as f64;
    let (truth, said) = (Said::Numbers(labels.to_vec()), Said::Numbers(scores.to_vec()));
    Sample { row, truth, said, probability: f64::NAN, loss }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| i.to_string()).collect()
    }

    #[test]
    fn the_costliest_examples_come_first() {
        let task = Task::Classes { names: names(2), ignore: -100, entities: false };
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
        assert_eq!((&out[0].truth, &out[0].said), (&Said::Class(1), &Said::Class(0)));
        // Worked by hand: −ln softmax([3, 0])[1].
        assert!((out[0].loss - (1.0 + 3.0f64.exp()).ln()).abs() < 1e-9);
        let mut s = Samples::new(&task, 2).unwrap();
        let labels = Some(Tensor::from_slice(&[1], &[1i32]));
        let batch = Batch { n_examples: 1, labels, rows: vec![0], ..Batch::default() };
        s.add(&batch, &Tensor::from_slice(&[1, 3], &[0.0f32, 1.0, 5.0]));
        assert_eq!(s.finish()[0].said, Said::Class(2), "an output that no class of the data uses");
        assert!(Samples::new(&Task::None, 5).is_none() && Samples::new(&task, 0).is_none());
    }

    #[test]
    fn sentences_and_hidden_words_are_judged_position_by_position() {
        let task = Task::Classes { names: names(3), ignore: -100, entities: true };
        let mut s = Samples::new(&task, 5).unwrap();
        let labels = Some(Tensor::from_slice(&[2, 3], &[-100i64, 0, 2, 1, -100, -100]));
        let batch = Batch { n_examples: 2, labels, rows: vec![4, 6], ..Batch::default() };
        let scores: [f32; 18] =
            [9.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 3.0, 0.0, 9.0, 0.0, 0.0, 9.0, 0.0, 0.0];
        // Examples and positions in one axis.
        s.add(&batch, &Tensor::from_slice(&[6, 3], &scores));
        let out = s.finish();
        assert_eq!(out.iter().map(|s| s.row).collect::<Vec<_>>(), [4, 6]);
        assert_eq!((&out[0].truth, &out[0].said), (&Said::Tags(vec![0, 2]), &Said::Tags(vec![0, 1])));
        // Worked by hand: −ln softmax([2, 0, 0])[0] and −ln softmax([0, 1, 0])[2].
        let (e, f) = (1f64.exp(), 2f64.exp());
        assert!((out[0].loss - (((f + 2.0) / f).ln() + (e + 2.0).ln()) / 2.0).abs() < 1e-9, "{}", out[0].loss);
        assert!((out[0].probability - (f / (f + 2.0) * e / (e + 2.0)).sqrt()).abs() < 1e-9);
        // Hidden words, their scores a distribution already; what hides none is left out.
        let mut s = Samples::new(&Task::Words, 5).unwrap();
        let labels = Some(Tensor::from_slice(&[2, 2], &[-100i64, 1, -100, -100]));
        let batch = Batch { n_examples: 2, labels, rows: vec![0, 1], ..Batch::default() };
        let p = [0.5f32, 0.5, 0.75, 0.25, 1.0, 0.0, 1.0, 0.0];
        s.add(&batch, &Tensor::from_slice(&[2, 2, 2], &p));
        let out = s.finish();
        assert_eq!(out.len(), 1);
        assert_eq!((&out[0].truth, &out[0].said), (&Said::Words(vec![1]), &Said::Words(vec![0])));
        assert!((out[0].loss - 4f64.ln()).abs() < 1e-9 && (out[0].probability - 0.75).abs() < 1e-9);
    }

    #[test]
    fn labels_and_numbers_are_compared_as_a_whole() {
        let mut s = Samples::new(&Task::MultiLabel { names: names(2) }, 5).unwrap();
        let labels = Some(Tensor::from_slice(&[2, 2], &[1.0f32, 0.0, 0.0, 1.0]));
        let batch = Batch { n_examples: 2, labels, rows: vec![3, 4], ..Batch::default() };
        s.add(&batch, &Tensor::from_slice(&[2, 2], &[2.0f32, -1.0, 3.0, -800.0]));
        let out = s.finish();
        assert_eq!((out[0].row, &out[0].truth, &out[0].said), (4, &Said::Labels(vec![1]), &Said::Labels(vec![0])));
        // numpy: mean(log1p(exp(x)) - y x) of [2, -1] and [1, 0]; the product of the two sigmoids.
        assert!((out[1].loss - 0.220_094_849_5).abs() < 1e-9, "{}", out[1].loss);
        assert!((out[1].probability - 0.643_914_259_9).abs() < 1e-9, "{}", out[1].probability);
        assert!((out[0].loss - (3.0f64.exp().ln_1p() + 800.0) / 2.0).abs() < 1e-9, "no overflow");
        let mut s = Samples::new(&Task::Regression, 1).unwrap();
        let labels = Some(Tensor::from_slice(&[2], &[1.0f32, 5.0]));
        let batch = Batch { n_examples: 2, labels, rows: vec![0, 1], ..Batch::default() };
        s.add(&batch, &Tensor::from_slice(&[2, 1], &[1.5f32, 2.0]));
        let out = s.finish();
        assert_eq!((out.len(), out[0].row, out[0].loss), (1, 1, 9.0));
        assert_eq!(out[0].said, Said::Numbers(vec![2.0]));
    }
}
