//! How long texts may be: from the data, within what the graph takes. Says what would be cut.

use crate::base::Reporter;
use crate::data::{DataSet, Feature};
use crate::program::Value;
use crate::tensor::Tensor;
use crate::train::settings::Padding;

use super::compute::{Ask, Mode};
use super::error::SessionError;
use super::plan::DataPlan;

/// The default cap where neither settings, data nor graph name a length.
const MAX_LENGTH: usize = 512;
/// Texts that are measured where the length is chosen from them; larger data sets are sampled evenly.
const MEASURED: usize = 20_000;
/// Texts that are measured only to say what a given length cuts.
const SAMPLED: usize = 4_000;

/// Lengths in tokens of a data set's texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// Sorted.
    lengths: Vec<usize>,
    /// Whether every text was measured.
    pub is_whole: bool,
}

impl Distribution {
    pub fn new(mut lengths: Vec<usize>, is_whole: bool) -> Self {
        lengths.sort_unstable();
        Self { lengths, is_whole }
    }

    /// The length that a share of the texts does not exceed (nearest rank).
    pub fn quantile(&self, share: f64) -> usize {
        let n = self.lengths.len();
        let rank = ((share * n as f64).ceil() as usize).clamp(1, n.max(1));
        self.lengths.get(rank - 1).copied().unwrap_or(0)
    }

    pub fn longest(&self) -> usize {
        self.lengths.last().copied().unwrap_or(0)
    }

    /// How many texts are longer than `max`.
    pub fn n_longer(&self, max: usize) -> usize {
        self.lengths.len() - self.lengths.partition_point(|&l| l <= max)
    }

    /// In words.
    pub fn describe(&self, max_length: usize) -> String {
        let n = self.lengths.len();
        let cut = self.n_longer(max_length);
        let share = 100.0 * cut as f64 / n.max(1) as f64;
        format!(
            "lengths in tokens of {n} texts: half up to {}, 90 % up to {}, 99 % up to {}, longest {}; maximal length \
             {max_length}, which cuts {cut} ({share:.1} %)",
            self.quantile(0.5),
            self.quantile(0.9),
            self.quantile(0.99),
            self.longest()
        )
    }
}

/// The maximal length of a run. A length that is set and that the graph cannot take is an error with the length that it
/// can; texts that are cut are reported.
pub(super) fn choose(plan: &DataPlan, sample: &DataSet, reporter: &mut Reporter) -> Result<usize, SessionError> {
    let asked = plan.settings.data.max_length;
    if !plan.feeds.iter().any(|f| f.feature.is_text()) {
        return Ok(asked.unwrap_or(MAX_LENGTH));
    }
    let Some(tokenizer) = &plan.tokenizer else { return Ok(asked.unwrap_or(MAX_LENGTH)) };
    let is_given = plan.baked_sizes().1.is_some() || asked.is_some();
    let most = if is_given { SAMPLED } else { MEASURED };
    let distribution = Distribution::new(sample.lengths(&plan.columns, tokenizer, most)?, sample.len() <= most);
    let chosen = match (plan.baked_sizes().1, asked) {
        (Some(fixed), _) => fixed,
        (None, Some(n)) => match limit(plan, n) {
            limit if limit < n => {
                return Err(SessionError::Choice(format!(
                    "the model takes texts of at most {limit} tokens (its table of positions ends there), data.max_length \
                     is {n}; set it to {limit} or less"
                )));
            }
            _ => n,
        },
        (None, None) => {
            // A longer cap costs nothing where batches are padded to their longest text.
            let wanted = match (distribution.is_whole, plan.settings.data.padding) {
                (true, _) | (false, Padding::MaxLength) => distribution.longest().next_multiple_of(8),
                (false, _) => MAX_LENGTH,
            };
            limit(plan, wanted.clamp(8, MAX_LENGTH))
        }
    };
    let text = distribution.describe(chosen);
    if distribution.n_longer(chosen) > 0 {
        reporter.warning("texts-cut", text, None);
    } else {
        reporter.info("lengths", text, None);
    }
    Ok(chosen)
}

/// The largest length up to `wanted` that the graph computes: found by computing one short example, because what limits it
/// (a slice or a lookup of a table of positions) differs from graph to graph.
fn limit(plan: &DataPlan, wanted: usize) -> usize {
    if takes(plan, wanted) {
        return wanted;
    }
    let (mut good, mut bad) = (0, wanted);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if takes(plan, middle) { good = middle } else { bad = middle }
    }
    // A graph that takes no length at all has another problem, which the run will name.
    if good == 0 { wanted } else { good }
}

fn takes(plan: &DataPlan, length: usize) -> bool {
    let Some(feeds) = probe(plan, length) else { return true };
    let fetches: Vec<Value> = plan.logits.into_iter().chain(plan.understood.objective.values.iter().copied()).collect();
    plan.understood.compute(&Ask { mode: Mode::Eval, fetches, feeds, ..Ask::default() }).is_ok()
}

/// One example of this length. `None` where a feed is no text whose size is known.
fn probe(plan: &DataPlan, length: usize) -> Option<Vec<(Value, Tensor)>> {
    let names = plan.understood.names().ok()?;
    let batch = plan.baked_sizes().0.unwrap_or(1);
    let one = |f: &crate::data::FeedSpec| {
        let value = names.find(&f.name)?;
        let dims = match f.feature {
            Feature::MaskedPositions | Feature::MaskedIds | Feature::MaskedWeights => {
                vec![batch, f.shape.dim(1).unwrap_or(1)]
            }
            Feature::Label if f.shape.rank() == Some(2) && f.shape.dim(1).is_none() => vec![batch, length],
            Feature::Label | Feature::Column(_) | Feature::Image => {
                let inner = f.example_dims()?;
                std::iter::once(batch).chain(inner).collect()
            }
            _ => vec![batch, length],
        };
        let fill = f64::from(u8::from(f.feature == Feature::InputMask));
        Some((value, Tensor::filled(f.dtype, &dims, fill)))
    };
    plan.feeds.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_say_what_is_cut() {
        let d = Distribution::new(vec![9, 3, 5, 7, 100], true);
        assert_eq!((d.quantile(0.5), d.quantile(0.9), d.longest()), (7, 100, 100));
        assert_eq!((d.n_longer(9), d.n_longer(100), d.n_longer(2)), (1, 0, 5));
        assert!(d.describe(8).contains("cuts 2 (40.0 %)"));
        assert_eq!(Distribution::new(Vec::new(), true).quantile(0.5), 0);
    }
}
