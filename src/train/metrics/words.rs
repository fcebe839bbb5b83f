//! Hidden words: how many are guessed, and how sure the model is of the right ones.

use crate::tensor::{DType, Tensor};

use super::argmax;

/// Scores `[rows, width]` of any float type, read row by row: those of a vocabulary are too many to widen where few count.
pub struct Rows<'a> {
    narrow: &'a [f32],
    wide: Vec<f64>,
    width: usize,
}

impl<'a> Rows<'a> {
    /// The last axis is the row; `None` where the scores are no numbers.
    pub fn new(scores: &'a Tensor) -> Option<Self> {
        let width = scores.shape().last().copied().filter(|w| *w > 0)?;
        Some(match scores.dtype() {
            DType::F32 => Self { narrow: scores.as_slice(), wide: Vec::new(), width },
            _ => Self { narrow: &[], wide: scores.to_f64s()?, width },
        })
    }

    pub fn row(&self, i: usize) -> Option<Vec<f64>> {
        let range = i * self.width..(i + 1) * self.width;
        match self.narrow.get(range.clone()) {
            Some(row) => Some(row.iter().map(|&v| f64::from(v)).collect()),
            None => self.wide.get(range).map(<[f64]>::to_vec),
        }
    }
}

/// Running sums.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    n: u64,
    right: u64,
    /// Sum of −ln p of the right words.
    surprise: f64,
}

impl Sums {
    /// Labels of the first `n_rows` of the leading axis; one row of scores for each. Predictions that do not fit are left
    /// out.
    pub(super) fn add(&mut self, prediction: &Tensor, labels: &Tensor, n_rows: usize) {
        let (Some(rows), Some(words)) = (Rows::new(prediction), labels.to_i64s()) else { return };
        if prediction.len() != words.len() * rows.width {
            return;
        }
        let leading = labels.shape().first().copied().unwrap_or(1).max(1);
        let counted = words.len() / leading * n_rows.min(leading);
        for (i, &word) in words.iter().enumerate().take(counted) {
            let Ok(word) = usize::try_from(word) else { continue };
            let Some(scores) = rows.row(i).filter(|r| word < r.len()) else { continue };
            self.n += 1;
            self.right += u64::from(argmax(&scores) == word);
            self.surprise -= ln_probability(&scores, word);
        }
    }

    pub(super) fn metrics(&self) -> Vec<(&'static str, f64)> {
        if self.n == 0 {
            return Vec::new();
        }
        let n = self.n as f64;
        vec![("accuracy", self.right as f64 / n), ("perplexity", (self.surprise / n).exp())]
    }
}

/// Of logits or of logarithms of probabilities, for which the sum is 1.
fn ln_probability(scores: &[f64], i: usize) -> f64 {
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = scores.iter().map(|s| (s - most).exp()).sum();
    scores[i] - most - total.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_words_count_and_others_do_not() {
        let ln = |p: f32| p.ln();
        let scores = [ln(0.5), ln(0.25), ln(0.25), 9.0, 0.0, 0.0, ln(0.1), ln(0.1), ln(0.8), 0.0, 7.0, 0.0];
        let prediction = Tensor::from_slice(&[2, 2, 3], &scores);
        let labels = Tensor::from_slice(&[2, 2], &[1i64, -100, 2, 1]);
        let mut sums = Sums::default();
        sums.add(&prediction, &labels, 2);
        assert_eq!((sums.n, sums.right), (3, 2));
        // The second example is there to fill up the batch.
        let mut first = Sums::default();
        first.add(&prediction, &labels, 1);
        let said = first.metrics();
        assert_eq!(said[0], ("accuracy", 0.0));
        assert!((said[1].1 - 4.0).abs() < 1e-6, "1 / 0.25");
        assert!(Sums::default().metrics().is_empty());
    }
}
