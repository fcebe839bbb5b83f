//! What follows from the order of scores: the area under the ROC curve by ranks (Mann–Whitney, ties counting half), and
//! precision against recall at every threshold.

/// Scores are kept only up to this many classes: beyond, one-against-the-rest says little and costs much memory.
const MAX_CLASSES: usize = 50;

/// Precision against recall of one class against the rest, from the lowest threshold to beyond the highest one: recall falls
/// from 1 to 0, as scikit-learn's `precision_recall_curve` gives it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PrecisionRecall {
    pub class: usize,
    pub precision: Vec<f64>,
    pub recall: Vec<f64>,
    /// Mean precision, weighted by the steps of recall.
    pub average: f64,
}

impl PrecisionRecall {
    /// The same curve with about `most` points, its ends and the average kept.
    pub fn thinned(mut self, most: usize) -> Self {
        let n = self.recall.len();
        if n > most.max(2) {
            let last = n - 1;
            let kept: Vec<usize> = (0..most).map(|i| i * last / (most - 1).max(1)).collect();
            self.precision = kept.iter().map(|&i| self.precision[i]).collect();
            self.recall = kept.iter().map(|&i| self.recall[i]).collect();
        }
        self
    }
}

/// The curve of one class or label from its score for every example, and whether it is true there. `None` without true
/// examples, and for scores that are no numbers.
fn curve_of(class: usize, mut scored: Vec<(f64, bool)>) -> Option<PrecisionRecall> {
    let positives = scored.iter().filter(|s| s.1).count() as f64;
    if positives == 0.0 || scored.iter().any(|s| s.0.is_nan()) {
        return None;
    }
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut out = PrecisionRecall { class, precision: vec![1.0], recall: vec![0.0], average: 0.0 };
    let (mut hits, mut said) = (0.0, 0.0);
    for (i, (score, is_hit)) in scored.iter().enumerate() {
        said += 1.0;
        hits += f64::from(u8::from(*is_hit));
        if scored.get(i + 1).is_some_and(|next| next.0 == *score) {
            continue;
        }
        let (precision, recall) = (hits / said, hits / positives);
        out.average += (recall - out.recall.last().copied().unwrap_or(0.0)) * precision;
        out.precision.push(precision);
        out.recall.push(recall);
    }
    out.precision.reverse();
    out.recall.reverse();
    Some(out)
}

/// Scores of labels of which an example may have several: each label by itself.
#[derive(Clone, Debug, Default)]
pub(super) struct LabelScores {
    labels: Vec<Vec<(f64, bool)>>,
}

impl LabelScores {
    pub(super) fn new(n_labels: usize) -> Self {
        Self { labels: vec![Vec::new(); if n_labels > MAX_CLASSES { 0 } else { n_labels }] }
    }

    /// One example: the score of each label, and 0 or 1.
    pub(super) fn add(&mut self, scores: &[f64], truth: &[f64]) {
        for (label, (&score, &t)) in self.labels.iter_mut().zip(scores.iter().zip(truth)) {
            label.push((score, t > 0.5));
        }
    }

    /// One curve per label that some example has.
    pub(super) fn precision_recall(&self) -> Vec<PrecisionRecall> {
        self.labels.iter().enumerate().filter_map(|(i, scored)| curve_of(i, scored.clone())).collect()
    }
}

/// Class probabilities and truths.
#[derive(Clone, Debug, Default)]
pub(super) struct Scores {
    n_classes: usize,
    truth: Vec<u32>,
    /// `[example, class]`, as the model gives them. Double precision, so that rounding makes no ties.
    scores: Vec<f64>,
}

impl Scores {
    pub(super) fn new(n_classes: usize) -> Self {
        Self { n_classes, ..Self::default() }
    }

    pub(super) fn add(&mut self, truth: usize, scores: &[f64]) {
        if self.n_classes > MAX_CLASSES || scores.len() != self.n_classes {
            return;
        }
        self.truth.push(truth as u32);
        self.scores.extend_from_slice(scores);
    }

    /// Two classes: of class 1. More: the mean of one against the rest. `None` where a class has no or only true examples.
    pub(super) fn auc(&self) -> Option<f64> {
        let p = crate::train::evaluate::probabilities(&self.scores, self.n_classes);
        match self.n_classes {
            0 | 1 => None,
            2 => self.one_against_rest(&p, 1),
            n => (0..n).map(|c| self.one_against_rest(&p, c)).sum::<Option<f64>>().map(|s| s / n as f64),
        }
    }

    /// Every class against the rest; a class without true examples has no curve.
    pub(super) fn precision_recall(&self) -> Vec<PrecisionRecall> {
        if self.n_classes < 2 {
            return Vec::new();
        }
        let p = crate::train::evaluate::probabilities(&self.scores, self.n_classes);
        (0..self.n_classes).filter_map(|class| self.curve(&p, class)).collect()
    }

    fn curve(&self, probabilities: &[f64], class: usize) -> Option<PrecisionRecall> {
        let rows = probabilities.chunks_exact(self.n_classes.max(1)).zip(&self.truth);
        // Rounded as rounding errors go, so that equal logits are one threshold.
        curve_of(class, rows.map(|(p, &t)| ((p[class] * 1e12).round(), t as usize == class)).collect())
    }

    fn one_against_rest(&self, probabilities: &[f64], class: usize) -> Option<f64> {
        let mut scored: Vec<(f64, bool)> = probabilities
            .chunks_exact(self.n_classes.max(1))
            .zip(&self.truth)
            .map(|(p, &t)| (p[class], t as usize == class))
            .collect();
        let positives = scored.iter().filter(|s| s.1).count() as f64;
        let negatives = scored.len() as f64 - positives;
        if positives == 0.0 || negatives == 0.0 || scored.iter().any(|s| s.0.is_nan()) {
            return None;
        }
        scored.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Sum of the ranks of positives, tied scores sharing their mean rank.
        let mut rank_sum = 0.0;
        let mut start = 0;
        while start < scored.len() {
            let tied = scored[start..].iter().take_while(|s| s.0 == scored[start].0).count();
            let hits = scored[start..start + tied].iter().filter(|s| s.1).count();
            rank_sum += hits as f64 * (start as f64 + (tied as f64 + 1.0) / 2.0);
            start += tied;
        }
        Some((rank_sum - positives * (positives + 1.0) / 2.0) / (positives * negatives))
    }
}
