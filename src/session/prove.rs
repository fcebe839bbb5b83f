//! Proof that adjustments keep what a model computes: the original and the adjusted graph run on the same inputs in
//! evaluation mode, and the largest difference of each output is measured.

use std::sync::Arc;

use crate::base::{CancelToken, Reporter};
use crate::program::Feed;
use crate::tensor::{Tensor, shape};

use super::compute::{Ask, Mode};
use super::error::SessionError;
use super::model::Model;
use super::plan::{self, DataPlan};
use super::recipe::Recipe;
use super::training;
use super::understand::{Base, Understood};

/// How far two graphs differ.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Proof {
    /// What was fed: `rows of reviews.tsv`, `random inputs`.
    pub inputs: String,
    pub n_inputs: usize,
    /// In the order of the model's outputs.
    pub outputs: Vec<OutputDifference>,
}

impl Proof {
    pub fn largest(&self) -> f64 {
        self.outputs.iter().map(|o| o.largest).fold(0.0, f64::max)
    }
}

/// One output over all inputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutputDifference {
    pub name: String,
    /// Largest absolute difference of any element; infinite where shapes differ or only one of the two is finite.
    pub largest: f64,
    /// Largest absolute value of the original, to judge the difference by.
    pub magnitude: f64,
    /// The adjusted graph no longer has it.
    pub is_gone: bool,
}

/// What is compared with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// All enabled adjustments against none.
    All,
    /// One adjustment (switched on for the purpose) against those before it.
    Only(usize),
}

/// Compares on `n` inputs: rows of the chosen data where there are some, else random ones. `tell` hears how far it is.
///
/// Errors: the model cannot be run, or cannot be run on inputs that nobody chose; a cancelled proof.
pub fn prove(
    model: &Arc<Model>,
    recipe: &Recipe,
    what: What,
    n: usize,
    cancel: &CancelToken,
    tell: impl Fn(f32),
) -> Result<Proof, SessionError> {
    let (before, after) = sides(recipe, what);
    let understand = |r: Recipe| Understood::new(Arc::new(Base::new(model.clone(), &r)?), Arc::new(r));
    let original = understand(before)?;
    let adjusted = understand(after)?;
    let (inputs, feeds) = match real_inputs(model, recipe, n) {
        Some(real) => real,
        None => ("random inputs".to_owned(), random_inputs(&original, n)),
    };
    let (values, labels) = original.fetches(&[])?;
    let names: Vec<String> = values.iter().map(|&v| original.program.describe(v)).collect();
    let there = adjusted.names()?;
    let outputs = labels.into_iter().zip(&names);
    let outputs = outputs.map(|(name, key)| OutputDifference {
        name,
        is_gone: there.find(key).is_none(),
        ..OutputDifference::default()
    });
    let mut proof = Proof { inputs, n_inputs: 0, outputs: outputs.collect() };
    for (i, batch) in feeds.iter().enumerate() {
        if cancel.is_cancelled() {
            return Err(SessionError::Choice("the proof was cancelled".to_owned()));
        }
        let kept: Vec<usize> = (0..names.len()).filter(|&o| !proof.outputs[o].is_gone).collect();
        let names: Vec<&str> = kept.iter().map(|&o| names[o].as_str()).collect();
        let (x, y) = (run(&original, &names, batch)?, run(&adjusted, &names, batch)?);
        for ((o, a), b) in kept.into_iter().zip(&x).zip(&y) {
            let out = &mut proof.outputs[o];
            out.largest = out.largest.max(largest_difference(a, b));
            out.magnitude = out.magnitude.max(magnitude(a));
        }
        proof.n_inputs += batch.n;
        tell((i + 1) as f32 / feeds.len() as f32);
    }
    Ok(proof)
}

/// The recipe without and with what is to be proved. Neither has an objective of its own: outputs are compared, no loss.
fn sides(recipe: &Recipe, what: What) -> (Recipe, Recipe) {
    let plain = Recipe {
        objective: None,
        data: None,
        stand_ins: indexmap::IndexMap::new(),
        trainable: super::recipe::TrainableChoice::default(),
        ..recipe.clone()
    };
    let (mut before, mut after) = (plain.clone(), plain);
    match what {
        What::All => before.edits.clear(),
        What::Only(i) => {
            before.edits.truncate(i);
            after.edits.truncate(i + 1);
            if let Some(e) = after.edits.last_mut() {
                e.enabled = true;
            }
        }
    }
    (before, after)
}

/// A batch by the names of placeholders, and how many examples it holds.
pub(super) struct Inputs {
    pub(super) feeds: Vec<(String, Tensor)>,
    pub(super) n: usize,
}

/// The first rows of the recipe's training data as batches; `None` where there is no table or it cannot be read.
pub(super) fn real_inputs(model: &Arc<Model>, recipe: &Recipe, n: usize) -> Option<(String, Vec<Inputs>)> {
    let data = recipe.data.as_ref()?;
    let path = std::path::Path::new(&data.train);
    let quiet = &mut Reporter::default();
    let skip = training::settings(recipe).ok()?.data.skip_bad_rows;
    let set = plan::open(path, data, skip, quiet).ok()?;
    let plan = |recipe: Recipe, quiet: &mut Reporter| {
        let base = Arc::new(Base::new(model.clone(), &recipe).ok()?);
        let understood = Arc::new(Understood::new(base, Arc::new(recipe)).ok()?);
        DataPlan::new(understood, &set, quiet).ok()
    };
    // The file's own placeholders where they do (an adjustment may remove one), else those of the adjusted graph (the
    // objective may read a head that only it has).
    let plan = plan(Recipe { edits: Vec::new(), ..recipe.clone() }, quiet).or_else(|| plan(recipe.clone(), quiet))?;
    let labels = plan.labels(&set, quiet).ok()?;
    let opened = plan.opened(set.clone(), labels.as_ref()).ok()?;
    let rows = (0..opened.set.len().min(n)).collect();
    let mut source = plan.batches(&opened, rows, labels.as_ref(), false).ok()?;
    let mut out = Vec::new();
    for i in 0..source.n_batches(0).ok()? {
        let batch = source.batch(0, i).ok()?;
        out.push(Inputs { n: batch.n_examples, feeds: batch.feeds });
    }
    let name = path.file_name()?.to_string_lossy().into_owned();
    (!out.is_empty()).then(|| (format!("rows of {name}"), out))
}

/// `n` inputs of random numbers: floats from −1 to 1, integers 0 and 1 (small enough for any table that they index);
/// unknown dimensions are 2, the second of two 8.
fn random_inputs(u: &Understood, n: usize) -> Vec<Inputs> {
    let mut state = 0x5eed_u64;
    (0..n)
        .map(|_| {
            let feeds: Vec<(String, Tensor)> =
                u.program.feeds.iter().filter_map(|f| random_feed(u, f, &mut state)).collect();
            Inputs { feeds, n: 1 }
        })
        .collect()
}

fn random_feed(u: &Understood, feed: &Feed, state: &mut u64) -> Option<(String, Tensor)> {
    let fact = u.program.fact(feed.value);
    let known = fact.shape.partial()?;
    let dims: Vec<usize> = known.iter().enumerate().map(|(i, d)| d.unwrap_or(if i == 1 { 8 } else { 2 })).collect();
    let n = shape::element_count(&dims).filter(|n| *n < 1 << 24)?;
    let is_float = fact.dtype.is_float();
    let mut next = || {
        // SplitMix64 (Steele, Lea and Flood 2014).
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        if is_float { (z >> 11) as f64 / (1u64 << 52) as f64 - 1.0 } else { (z & 1) as f64 }
    };
    let values: Vec<f64> = (0..n).map(|_| next()).collect();
    Some((u.program.describe(feed.value), Tensor::from_f64s(fact.dtype, &dims, values)))
}

fn run(u: &Understood, outputs: &[&str], inputs: &Inputs) -> Result<Vec<Tensor>, SessionError> {
    let names = u.names()?;
    let fetches = outputs.iter().map(|n| names.value(n)).collect::<Result<Vec<_>, _>>()?;
    // An adjustment may have removed a placeholder (the predicate of a dropout): what is not there is not fed.
    let feeds = inputs.feeds.iter().filter_map(|(n, t)| Some((names.find(n)?, t.clone()))).collect();
    Ok(u.compute(&Ask { mode: Mode::Eval, fetches, feeds, ..Ask::default() })?.outputs)
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    if a.shape() != b.shape() {
        return f64::INFINITY;
    }
    let (Some(x), Some(y)) = (a.to_f64s(), b.to_f64s()) else {
        return if a.bytes() == b.bytes() { 0.0 } else { f64::INFINITY };
    };
    let difference = |(a, b): (&f64, &f64)| match (a - b).abs() {
        _ if a == b || (a.is_nan() && b.is_nan()) => 0.0,
        d if d.is_nan() => f64::INFINITY,
        d => d,
    };
    x.iter().zip(&y).map(difference).fold(0.0, f64::max)
}

fn magnitude(t: &Tensor) -> f64 {
    t.to_f64s().into_iter().flatten().filter(|v| v.is_finite()).map(f64::abs).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::super::change::Change;
    use super::super::recipe::EditStep;
    use super::super::{Session, demo};
    use super::*;

    #[test]
    fn differences_count_what_is_not_a_number() {
        let t = |v: &[f32]| Tensor::from_slice(&[v.len()], v);
        assert_eq!(largest_difference(&t(&[1.0, f32::NAN]), &t(&[1.5, f32::NAN])), 0.5);
        assert_eq!(largest_difference(&t(&[1.0]), &t(&[f32::NAN])), f64::INFINITY);
        assert_eq!(largest_difference(&t(&[f32::INFINITY]), &t(&[f32::INFINITY])), 0.0);
        assert_eq!(largest_difference(&t(&[1.0]), &t(&[1.0, 2.0])), f64::INFINITY);
    }

    #[test]
    fn removing_dropout_keeps_the_outputs_of_the_demo() {
        let dir = tempfile::tempdir().unwrap();
        demo::write(dir.path()).unwrap();
        let model = Arc::new(Model::open(&dir.path().join("model.pb")).unwrap());
        let recipe = demo::recipe(dir.path());
        let sites = Session::new(model.clone(), recipe.clone()).understand().unwrap();
        let site = |i: usize| EditStep::BypassDropout { output: sites.base.sites[i].output_key.as_str().to_owned() };
        let edited = Change::AddEdits(vec![site(0), site(1)]).apply(&recipe);
        let cancel = CancelToken::default();
        for (recipe, inputs) in
            [(edited.clone(), "rows of train.tsv"), (Recipe { data: None, ..edited.clone() }, "random inputs")]
        {
            let proof = prove(&model, &recipe, What::All, 4, &cancel, |_| {}).unwrap();
            assert_eq!((proof.inputs.as_str(), proof.n_inputs), (inputs, 4));
            assert!(!proof.outputs.is_empty() && proof.outputs.iter().all(|o| !o.is_gone && o.magnitude > 0.0));
            assert_eq!(proof.largest(), 0.0);
        }
        assert_eq!(prove(&model, &edited, What::Only(1), 2, &cancel, |_| {}).unwrap().largest(), 0.0);
        cancel.cancel();
        assert!(prove(&model, &edited, What::All, 2, &cancel, |_| {}).is_err());
    }
}
