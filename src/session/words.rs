//! Masked language models: where a graph scores its vocabulary, which placeholders tell of hidden words, and what the
//! model says in their place.

use indexmap::IndexMap;

use crate::base::Reporter;
use crate::data::tokenizer::Tokenizer;
use crate::data::{BatchSource, Feature, FeedSpec};
use crate::program::{Program, Value};
use crate::tensor::Tensor;
use crate::train::evaluate::{self, probabilities};
use crate::train::executables::Executables;
use crate::train::metrics::Rows;

use super::error::SessionError;
use super::plan::DataPlan;
use super::recipe::Recipe;
use super::scoring::{Prediction, TokenPrediction};
use super::understand::Understood;

/// Words that are listed for one place.
const LISTED: usize = 5;
/// What turns scores into a distribution.
const DISTRIBUTIONS: &[&str] = &["softmax_cross_entropy", "sparse_softmax_cross_entropy", "log_softmax", "softmax"];

impl Recipe {
    /// Whether words of the texts are hidden for the model to guess.
    pub fn hides_words(&self) -> bool {
        self.settings.get("data.mask_rate").and_then(|r| r.parse::<f64>().ok()).is_some_and(|r| r > 0.0)
    }
}

/// Warns where the tokenizer knows more words than the table has rows in which the model looks up the ids that are fed:
/// the others would be read as zeros.
pub(super) fn check_vocabulary(
    understood: &Understood,
    feeds: &[FeedSpec],
    tokenizer: &Tokenizer,
    reporter: &mut Reporter,
) {
    let program = &understood.program;
    let is_ids = |v: Value| {
        let named = program.feeds.iter().find(|f| f.value == v).map(|f| f.name.as_str());
        feeds.iter().any(|f| f.feature == Feature::InputIds && named == Some(f.name.as_str()))
    };
    let lookups = program.instrs.iter().filter(|i| i.name() == "gather");
    let mut words = lookups.filter(|i| i.inputs.get(1).is_some_and(|ids| is_ids(source(program, *ids))));
    let table = words.next().and_then(|i| i.inputs.first().copied());
    let rows = table.and_then(|t| program.fact(t).shape.partial().and_then(|d| d.first().copied().flatten()));
    let known = tokenizer.vocabulary_size();
    let Some(rows) = rows.filter(|rows| *rows < known) else { return };
    let message = format!(
        "the tokenizer knows {known} words, the model's table of words has {rows} rows: words beyond it are read as \
         zeros; is it the vocabulary that the model was trained with?"
    );
    reporter.warning("vocabulary-size", message, None);
}

/// What a value is made from by steps that change no element's value.
fn source(program: &Program, mut v: Value) -> Value {
    const KEEPING: &[&str] = &["cast", "reshape", "expand_dims", "squeeze", "identity"];
    while let Some(before) = program.instrs.iter().rev().find(|i| i.outputs.contains(&v) && KEEPING.contains(&i.name()))
    {
        let Some(first) = before.inputs.first() else { break };
        v = *first;
    }
    v
}

/// The scores of all words: as wide as the largest table that ids are looked up in, and either what a softmax reads or the
/// last such value.
pub(super) fn scores(program: &Program) -> Option<Value> {
    let last_dim = |v: Value| program.fact(v).shape.partial().and_then(|d| d.last().copied().flatten());
    let tables = program.instrs.iter().filter(|i| i.name() == "gather").filter_map(|i| i.inputs.first());
    let rows = |t: &Value| program.fact(*t).shape.partial().filter(|d| d.len() == 2).and_then(|d| d[0]);
    let vocabulary = tables.filter_map(rows).max()?;
    let fits = |v: &Value| {
        let fact = program.fact(*v);
        fact.dtype.is_float() && fact.rank() >= Some(2) && last_dim(*v) == Some(vocabulary)
    };
    let read = program.instrs.iter().rev().filter(|i| DISTRIBUTIONS.contains(&i.name()));
    let read = read.filter_map(|i| i.inputs.first().copied()).find(fits);
    read.or_else(|| program.instrs.iter().rev().flat_map(|i| i.outputs.iter().copied()).find(fits))
}

/// By the words of the names that BERT's own pretraining graphs use (`masked_lm_positions` and its like).
pub(super) fn guess(name: &str) -> Option<Feature> {
    let name = name.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| name.contains(w));
    if !has(&["masked", "mlm", "_lm_"]) {
        None
    } else if has(&["position", "index", "indices"]) {
        Some(Feature::MaskedPositions)
    } else if has(&["weight"]) {
        Some(Feature::MaskedWeights)
    } else if has(&["label", "target"]) {
        Some(Feature::MaskedLabels)
    } else {
        has(&["ids"]).then_some(Feature::MaskedIds)
    }
}

/// What the model puts in place of the words that each text hides; `label` is those words together, and where there is
/// one, its likeliest alternatives stand beside it.
pub(super) fn fill(
    executables: &mut Executables,
    parameters: &[Tensor],
    plan: &DataPlan,
    source: &mut dyn BatchSource,
    n_rows: usize,
) -> Result<Vec<Prediction>, SessionError> {
    let mut out = vec![Prediction::default(); n_rows];
    evaluate::predict(executables, parameters, source, |batch, prediction| {
        let rows = Rows::new(prediction).ok_or("the predictions are not numbers")?;
        let labels = batch.labels.as_ref().and_then(Tensor::to_i64s).unwrap_or_default();
        let places = labels.len() / batch.rows.len().max(1);
        for (i, &row) in batch.rows.iter().take(batch.n_examples).enumerate() {
            let hidden = (i * places..(i + 1) * places).filter(|&at| labels[at] >= 0);
            let said: Vec<IndexMap<String, f64>> =
                hidden.filter_map(|at| rows.row(at)).map(|r| likeliest(&r, plan)).collect();
            if let Some(place) = out.get_mut(row) {
                *place = filled(said);
            }
        }
        Ok(())
    })
    .map_err(SessionError::Choice)?;
    Ok(out)
}

fn filled(said: Vec<IndexMap<String, f64>>) -> Prediction {
    let token = |words: &IndexMap<String, f64>| TokenPrediction {
        word: "[MASK]".to_owned(),
        label: words.first().map(|w| w.0.clone()),
        probability: words.first().map_or(0.0, |w| *w.1),
    };
    let tokens: Vec<TokenPrediction> = said.iter().map(token).collect();
    let label = tokens.iter().filter_map(|t| t.label.as_deref()).collect::<Vec<_>>().join(" ");
    let probabilities = if said.len() == 1 { said.into_iter().next().unwrap_or_default() } else { IndexMap::new() };
    Prediction { label, probabilities, tokens }
}

/// The likeliest words with their probabilities, best first.
fn likeliest(scores: &[f64], plan: &DataPlan) -> IndexMap<String, f64> {
    let p = probabilities(scores, scores.len());
    let mut order: Vec<usize> = (0..p.len()).collect();
    let n = LISTED.min(order.len());
    if n > 0 {
        order.select_nth_unstable_by(n - 1, |&a, &b| p[b].total_cmp(&p[a]));
        order.truncate(n);
    }
    order.sort_by(|&a, &b| p[b].total_cmp(&p[a]));
    let name = |i: usize| {
        let known = plan.tokenizer.as_ref().and_then(|t| t.token(u32::try_from(i).ok()?));
        known.unwrap_or_else(|| i.to_string())
    };
    order.into_iter().map(|i| (name(i), p[i])).collect()
}
