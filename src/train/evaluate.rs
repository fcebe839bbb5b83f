//! A whole data set through a model: loss and metrics, or the predictions themselves. Dropout is absent here.

use crate::data::BatchSource;
use crate::program::Random;
use crate::tensor::Tensor;

use super::executables::Executables;
use super::metrics::{Collector, Report, Task};
use super::step::Phase;

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
) -> Result<(f64, Report), String> {
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
        }
    }
    if examples == 0.0 {
        return Err("the data to evaluate on has no examples".to_owned());
    }
    Ok((loss / examples, collector.finish()))
}

/// Predictions in [`Phase::Eval`], batch by batch: `each` gets the rows that count and the prediction, whose leading axis
/// may be longer than the rows where the graph fixes the batch size.
pub fn predict(
    executables: &mut Executables,
    parameters: &[Tensor],
    source: &mut dyn BatchSource,
    mut each: impl FnMut(&[usize], &Tensor) -> Result<(), String>,
) -> Result<(), String> {
    for index in 0..source.n_batches(0).map_err(|e| e.to_string())? {
        let batch = source.batch(0, index).map_err(|e| e.to_string())?;
        executables.run(Phase::Eval, &batch.feeds, parameters, Random::default())?;
        let prediction = executables.prediction().ok_or("this run names no output to predict from (--logits)")?;
        each(batch.rows.get(..batch.n_examples).unwrap_or(&batch.rows), &prediction)?;
    }
    Ok(())
}

/// Class probabilities of one row of logits (or of probabilities, which stay as they are).
pub fn probabilities(scores: &[f64]) -> Vec<f64> {
    let sum: f64 = scores.iter().sum();
    if scores.iter().all(|s| (0.0..=1.0).contains(s)) && (sum - 1.0).abs() < 1e-3 {
        return scores.to_vec();
    }
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = scores.iter().map(|s| (s - most).exp()).sum();
    scores.iter().map(|s| (s - most).exp() / total).collect()
}
