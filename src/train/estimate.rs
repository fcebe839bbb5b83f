//! What a run will take, before it starts: memory from its plans, time from a probe of a few real steps whose results are
//! thrown away.

use std::time::Instant;

use serde::Serialize;

use crate::base::CancelToken;
use crate::data::Batch;
use crate::program::Random;

use super::executables::Executables;
use super::run::count_steps;
use super::step::Phase;
use super::store::Store;
use super::trainer::Job;

/// See the module doc.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Estimate {
    pub trainable: usize,
    pub parameters: usize,
    pub steps: u64,
    /// Parameters, optimizer state and the largest plan that the probe met.
    pub memory_bytes: u64,
    pub step_secs: f64,
    /// One evaluation of the whole validation data; 0 without.
    pub eval_secs: f64,
    /// The whole run with its evaluations.
    pub total_secs: f64,
}

/// Batches that are probed, spread over the first epoch because their lengths differ.
const PROBES: usize = 3;

/// Runs a few steps and says what all would take. The job is used up; nothing is written. `progress` is told the share that
/// is done. Errors: what a run would fail with, and being cancelled, which is looked for between steps.
pub fn estimate(job: Job, cancel: &CancelToken, progress: &dyn Fn(f32)) -> Result<Estimate, String> {
    let probed_so_far = std::cell::Cell::new(0.0f32);
    // Three batches twice, two of the evaluation twice.
    let done = || {
        probed_so_far.set(probed_so_far.get() + 0.1);
        progress(probed_so_far.get());
        if cancel.is_cancelled() { Err("cancelled".to_owned()) } else { Ok(()) }
    };
    let Job { steps, engine, parameters, mut train, mut validation, settings, .. } = job;
    let mut store = Store::new(parameters, &settings.optimizer).map_err(|e| e.0)?;
    let n_steps = count_steps(&mut *train, &settings)?;
    let mut executables = Executables::new(steps, engine);
    let n_batches = train.n_batches(0).map_err(|e| e.to_string())?;
    let accumulate = settings.training.accumulate.max(1);
    let mut plans = 0;
    let (mut secs, mut probed) = (0.0, 0);
    for index in spread(n_batches) {
        let batch = train.batch(0, index).map_err(|e| e.to_string())?;
        plans = plans.max(executables.prepare(Phase::Train, &batch.feeds)?);
        // The first run of a shape warms caches and allocates; the second is what all later ones take.
        train_once(&mut executables, &mut store, &batch, &settings)?;
        done()?;
        let began = Instant::now();
        train_once(&mut executables, &mut store, &batch, &settings)?;
        secs += began.elapsed().as_secs_f64();
        probed += 1;
        done()?;
    }
    let step_secs = secs / f64::from(probed.max(1)) * accumulate as f64;
    let eval_secs = match &mut validation {
        Some(source) => eval_secs(&mut executables, &store, &mut **source, &done)?,
        None => 0.0,
    };
    let n_evals = match (settings.training.eval_every, settings.training.steps) {
        (Some(every), _) => n_steps / every.max(1),
        (None, Some(steps)) => steps.div_ceil((n_batches.div_ceil(accumulate) as u64).max(1)),
        (None, None) => settings.training.epochs as u64,
    };
    Ok(Estimate {
        trainable: store.len(),
        parameters: store.n_elements(),
        steps: n_steps,
        memory_bytes: (store.memory_bytes() + plans) as u64,
        step_secs,
        eval_secs,
        total_secs: step_secs * n_steps as f64 + eval_secs * n_evals as f64,
    })
}

/// Positions of a few batches over an epoch.
fn spread(n_batches: usize) -> Vec<usize> {
    let n = n_batches.min(PROBES);
    (0..n).map(|i| i * n_batches / n.max(1)).collect()
}

fn train_once(
    executables: &mut Executables,
    store: &mut Store,
    batch: &Batch,
    settings: &super::settings::Settings,
) -> Result<(), String> {
    executables.run(Phase::Train, &batch.feeds, store.values(), Random::default())?;
    let c = store.coefficients(&settings.optimizer, 0.0, 1.0);
    let views: Vec<_> = (0..store.len()).map(|i| executables.gradient(i)).collect();
    executables.engine().install(|| store.update(&c, |i| views[i]));
    Ok(())
}

fn eval_secs(
    executables: &mut Executables,
    store: &Store,
    source: &mut dyn crate::data::BatchSource,
    done: &dyn Fn() -> Result<(), String>,
) -> Result<f64, String> {
    let n = source.n_batches(0).map_err(|e| e.to_string())?;
    let (mut secs, mut probed) = (0.0, 0);
    for index in spread(n).into_iter().take(2) {
        let batch = source.batch(0, index).map_err(|e| e.to_string())?;
        executables.run(Phase::Eval, &batch.feeds, store.values(), Random::default())?;
        done()?;
        let began = Instant::now();
        executables.run(Phase::Eval, &batch.feeds, store.values(), Random::default())?;
        secs += began.elapsed().as_secs_f64();
        probed += 1;
        done()?;
    }
    Ok(secs / f64::from(probed.max(1)) * n as f64)
}
