//! Hidden words for masked-language-model losses, as BERT was trained (Devlin et al. 2018, section 3.1 and appendix A.1).

use super::shuffle::Numbers;
use super::tokenizer::Tokenizer;

/// Which tokens of a text are hidden.
#[derive(Clone, Debug)]
pub struct Masking {
    /// Id of the token that stands for a hidden one.
    mask: u32,
    /// Ids that are never hidden: begin, separator, padding, the mask itself.
    kept: Vec<u32>,
    vocabulary: usize,
    choice: Choice,
    /// Places for hidden tokens where the graph looks them up one by one; `None`: as many as a text may have.
    places: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Choice {
    /// A share of the tokens, drawn from a seed.
    Share { rate: f64, seed: u64, renews: bool },
    /// Those that the text itself hides: what predictions fill in.
    Given,
}

/// A text with hidden tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masked {
    /// What the model reads.
    pub ids: Vec<u32>,
    /// Where something is hidden, in order.
    pub positions: Vec<usize>,
}

const NAMES: &[&str] = &["[MASK]", "<mask>"];
const NEVER: &[&str] = &["[CLS]", "[SEP]", "[PAD]", "<s>", "</s>", "<pad>"];

impl Masking {
    /// Hides `rate` of each text's tokens; `renews` draws others in every epoch, as training wants it. `None` where the
    /// vocabulary has no token for it.
    pub fn share(tokenizer: &Tokenizer, rate: f64, seed: u64, renews: bool) -> Option<Self> {
        Self::new(tokenizer, Choice::Share { rate, seed, renews })
    }

    /// Only what the text itself hides.
    pub fn given(tokenizer: &Tokenizer) -> Option<Self> {
        Self::new(tokenizer, Choice::Given)
    }

    fn new(tokenizer: &Tokenizer, choice: Choice) -> Option<Self> {
        let mask = NAMES.iter().find_map(|n| tokenizer.id(n))?;
        let kept = NEVER.iter().filter_map(|n| tokenizer.id(n)).chain([mask]).collect();
        Some(Self { mask, kept, vocabulary: tokenizer.vocabulary_size(), choice, places: None })
    }

    /// At most so many hidden tokens in a text.
    #[must_use]
    pub fn with_places(mut self, places: Option<usize>) -> Self {
        self.places = places;
        self
    }

    /// Places for hidden tokens in texts of `length` tokens.
    pub fn places(&self, length: usize) -> usize {
        match (self.places, self.choice) {
            (Some(n), _) => n,
            (None, Choice::Share { rate, .. }) => n_hidden(rate, length),
            (None, Choice::Given) => length,
        }
    }

    /// Hides tokens of one text. The same text of the same row and epoch hides the same: of the chosen tokens 80 % become
    /// the mask, 10 % any word of the vocabulary, and 10 % stay, so that a hidden word need not look hidden.
    pub fn apply(&self, ids: &[u32], row: usize, epoch: usize) -> Masked {
        let (rate, seed, epoch) = match self.choice {
            Choice::Given => {
                let positions = (0..ids.len()).filter(|&i| ids[i] == self.mask).take(self.places(ids.len())).collect();
                return Masked { ids: ids.to_vec(), positions };
            }
            Choice::Share { rate, seed, renews } => (rate, seed, if renews { epoch } else { 0 }),
        };
        let mut numbers = Numbers::new(seed ^ (epoch as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15), row as u64 + 1);
        let mut positions: Vec<usize> = (0..ids.len()).filter(|&i| !self.kept.contains(&ids[i])).collect();
        numbers.shuffle(&mut positions);
        positions.truncate(n_hidden(rate, ids.len()).min(self.places(ids.len())));
        positions.sort_unstable();
        let mut out = ids.to_vec();
        for &p in &positions {
            match numbers.below(10) {
                0 => {}
                1 => out[p] = numbers.below(self.vocabulary) as u32,
                _ => out[p] = self.mask,
            }
        }
        Masked { ids: out, positions }
    }
}

/// Of so many tokens: the rounded share, and at least one.
fn n_hidden(rate: f64, n_tokens: usize) -> usize {
    ((n_tokens as f64 * rate).round() as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masking(choice: Choice) -> Masking {
        Masking { mask: 4, kept: vec![0, 2, 3, 4], vocabulary: 1000, choice, places: None }
    }

    #[test]
    fn words_are_hidden_as_bert_hid_them() {
        let ids: Vec<u32> = std::iter::once(2).chain(10..1008).chain([3]).collect();
        let m = masking(Choice::Share { rate: 0.15, seed: 7, renews: true });
        let (mut masked, mut same, mut n) = (0, 0, 0);
        for row in 0..50 {
            let out = m.apply(&ids, row, 3);
            assert_eq!(out.positions.len(), 150);
            assert!(out.positions.iter().all(|&p| p > 0 && p < 999), "special tokens are never hidden");
            assert!((0..1000).all(|i| out.ids[i] == ids[i] || out.positions.contains(&i)));
            masked += out.positions.iter().filter(|&&p| out.ids[p] == 4).count();
            same += out.positions.iter().filter(|&&p| out.ids[p] == ids[p]).count();
            n += out.positions.len();
        }
        // Four standard deviations of a binomial of 7500.
        assert!((masked as f64 / n as f64 - 0.8).abs() < 0.02, "{masked} of {n}");
        assert!((same as f64 / n as f64 - 0.1).abs() < 0.015, "{same} of {n}");
    }

    #[test]
    fn epochs_differ_in_training_only() {
        let ids: Vec<u32> = (10..110).collect();
        let train = masking(Choice::Share { rate: 0.15, seed: 1, renews: true });
        let held = masking(Choice::Share { rate: 0.15, seed: 1, renews: false });
        assert_eq!(train.apply(&ids, 5, 2), train.apply(&ids, 5, 2));
        assert_ne!(train.apply(&ids, 5, 2), train.apply(&ids, 5, 3));
        assert_ne!(train.apply(&ids, 5, 2), train.apply(&ids, 6, 2));
        assert_eq!(held.apply(&ids, 5, 2), held.apply(&ids, 5, 3));
    }

    #[test]
    fn short_texts_and_few_places() {
        let m = masking(Choice::Share { rate: 0.15, seed: 1, renews: true });
        assert_eq!(m.apply(&[2, 50, 3], 0, 0).positions, [1]);
        assert_eq!(m.apply(&[2, 3], 0, 0).positions, [0usize; 0]);
        let few = m.with_places(Some(2));
        assert_eq!((few.places(100), few.apply(&(10..110).collect::<Vec<_>>(), 0, 0).positions.len()), (2, 2));
        let given = masking(Choice::Given).apply(&[2, 50, 4, 51, 4, 3], 0, 0);
        assert_eq!((given.positions, given.ids), (vec![2, 4], vec![2, 50, 4, 51, 4, 3]));
    }
}
