//! A whole data set through a model: loss and metrics, or the predictions themselves. Dropout is absent here.

use crate::data::{Batch, BatchSource};
use crate::program::Random;
use crate::tensor::Tensor;

use super::executables::Executables;
use super::metrics::{Collector, PrecisionRecall, Report, Task};
use super::protocol::Sample;
use super::samples::Samples;
use super::step::Phase;

/// Points of a curve that is shown.
const CURVE_POINTS: usize = 400;

/// What an evaluation gives.
#[derive(Clone, Debug, Default)]
pub struct Scores {
    /// Mean over examples.
    pub loss: f64,
    pub report: Report,
    /// Precision against recall of each class; only where samples were asked for as well.
    pub curves: Vec<PrecisionRecall>,
}

/// Loss (mean over examples) and metrics in [`Phase::Eval`].
///
/// Where the graph fixes the batch size, the last batch is filled up with rows that metrics leave out; its loss, which the
/// graph itself averages, still contains them.
pub fn evaluate(
    executables: &mut Executables,
    parameters: &[Tensor],
    source: &mut dyn BatchSource,
    task: &Task,
    seed: u64,
) -> Result<Scores, String> {
    Ok(evaluate_all(executables, parameters, source, task, seed, |_, _| {})?.0)
}

/// As [`evaluate`], with up to `n_samples` examples that cost most.
pub(super) fn evaluate_with_samples(
    executables: &mut Executables,
    parameters: &[Tensor],
    source: &mut dyn BatchSource,
    task: &Task,
    seed: u64,
    n_samples: usize,
) -> Result<(Scores, Vec<Sample>), String> {
    let mut samples = Samples::new(task, n_samples);
    let (mut scores, collector) = evaluate_all(executables, parameters, source, task, seed, |batch, prediction| {
        if let Some(s) = &mut samples {
            s.add(batch, prediction);
        }
    })?;
    if n_samples > 0 {
        scores.curves = collector.precision_recall().into_iter().map(|c| c.thinned(CURVE_POINTS)).collect();
    }
    Ok((scores, samples.map(Samples::finish).unwrap_or_default()))
}

/// As [`evaluate`]; `each` sees every batch with its prediction.
pub fn evaluate_each(
    executables: &mut Executables,
    parameters: &[Tensor],
    source: &mut dyn BatchSource,
    task: &Task,
    seed: u64,
    each: impl FnMut(&Batch, &Tensor),
) -> Result<Scores, String> {
    Ok(evaluate_all(executables, parameters, source, task, seed, each)?.0)
}

fn evaluate_all(
    executables: &mut Executables,
    parameters: &[Tensor],
    source: &mut dyn BatchSource,
    task: &Task,
    seed: u64,
    mut each: impl FnMut(&Batch, &Tensor),
) -> Result<(Scores, Collector), String> {
    let mut collector = Collector::new(task.clone());
    let (mut loss, mut examples) = (0.0, 0.0);
    for index in 0..source.n_batches(0).map_err(|e| e.to_string())? {
        let batch = source.batch(0, index).map_err(|e| e.to_string())?;
        let random = Random { seed, step: index as u64 };
        let mean = executables.run(Phase::Eval, &batch.feeds, parameters, random)?;
        loss += mean * batch.n_examples as f64;
        examples += batch.n_examples as f64;
        if let Some(l) = &batch.labels
            && *task != Task::None
            && let Some(p) = executables.prediction()
        {
            collector.add(&p, l, batch.n_examples);
            each(&batch, &p);
        }
    }
    if examples == 0.0 {
        return Err("the data to evaluate on has no examples".to_owned());
    }
    Ok((Scores { loss: loss / examples, report: collector.finish(), curves: Vec::new() }, collector))
}

/// Predictions in [`Phase::Eval`], batch by batch: `each` gets the batch and the prediction, whose leading axis may be
/// longer than the examples that count where the graph fixes the batch size.
pub fn predict(
    executables: &mut Executables,
    parameters: &[Tensor],
    source: &mut dyn BatchSource,
    mut each: impl FnMut(&Batch, &Tensor) -> Result<(), String>,
) -> Result<(), String> {
    for index in 0..source.n_batches(0).map_err(|e| e.to_string())? {
        let batch = source.batch(0, index).map_err(|e| e.to_string())?;
        executables.run(Phase::Eval, &batch.feeds, parameters, Random::default())?;
        let prediction = executables.prediction().ok_or("this run names no output to predict from (--logits)")?;
        each(&batch, &prediction)?;
    }
    Ok(())
}

/// Class probabilities of all rows of a data set, `width` scores each: logits go through softmax; where every row is a
/// distribution already they stay as they are. One row alone would not tell: logits may sum to 1 by chance.
pub fn probabilities(scores: &[f64], width: usize) -> Vec<f64> {
    let rows = || scores.chunks_exact(width.max(1));
    let is_distribution =
        |row: &[f64]| row.iter().all(|s| (0.0..=1.0).contains(s)) && (row.iter().sum::<f64>() - 1.0).abs() < 1e-3;
    if rows().all(is_distribution) {
        return scores.to_vec();
    }
    let softmax = |row: &[f64]| {
        let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = row.iter().map(|s| (s - most).exp()).sum();
        row.iter().map(|s| (s - most).exp() / total).collect::<Vec<_>>()
    };
    rows().flat_map(softmax).collect()
}

#[cfg(test)]
mod tests {
    use super::probabilities;

    #[test]
    fn logits_that_sum_to_one_by_chance_are_still_logits() {
        let p = probabilities(&[0.25, 0.75, -1.0, 3.0], 2);
        assert!((p[0] - 1.0 / (1.0 + 0.5f64.exp())).abs() < 1e-12);
        assert_eq!(probabilities(&[0.25, 0.75, 0.5, 0.5], 2), [0.25, 0.75, 0.5, 0.5]);
    }
}
