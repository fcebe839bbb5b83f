//! Area under the ROC curve from scores, by ranks (Mann–Whitney), ties counting half.

/// Scores are kept only up to this many classes: beyond, one-against-the-rest says little and costs much memory.
const MAX_CLASSES: usize = 50;

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
