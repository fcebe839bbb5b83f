//! How strongly each weight is pulled and how far it moves: gradient norms, and the size of updates beside the size of
//! the weights. Measured now and then for the window; the run itself does not depend on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::tensor::{DType, Tensor};

/// Between two measurements; the window draws no faster than anybody reads.
const INTERVAL: Duration = Duration::from_millis(500);
/// Elements of each weight that stand for all of them in [`WeightRow::update_ratio`], evenly spread.
const N_SAMPLED: usize = 4096;

/// One trainable constant after a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WeightRow {
    /// Its name in the graph.
    pub name: Arc<str>,
    /// Euclidean norm of its gradient before clipping; `None` where none arrived.
    pub gradient_norm: Option<f64>,
    /// Norm of the step's change divided by the norm of the weight before it, from up to 4,096 elements; `None` where
    /// the weight is zero.
    pub update_ratio: Option<f64>,
    /// Measurements in a row, up to this one, in which the gradient was exactly zero.
    pub zero_in_a_row: u32,
}

/// Remembers when it last measured, and names, so that measuring allocates little.
#[derive(Debug, Default)]
pub(super) struct Meter {
    names: Vec<Arc<str>>,
    last: Option<Instant>,
    zeros: Vec<u32>,
    before: Vec<Vec<f64>>,
}

impl Meter {
    /// Looks at the weights before an update where a measurement is due; false where it is not.
    pub(super) fn begin(&mut self, names: &[String], values: &[Tensor]) -> bool {
        if self.last.is_some_and(|t| t.elapsed() < INTERVAL) {
            return false;
        }
        if self.names.len() != names.len() {
            self.names = names.iter().map(|n| Arc::from(n.as_str())).collect();
            self.zeros = vec![0; names.len()];
        }
        self.last = Some(Instant::now());
        self.before = values.iter().map(sample).collect();
        true
    }

    /// What the update did. `squared` are the squared norms of the summed gradients, `mean` turns sums into means.
    pub(super) fn finish(&mut self, values: &[Tensor], squared: &[Option<f64>], mean: f64) -> Vec<WeightRow> {
        let before = std::mem::take(&mut self.before);
        let rows = self.names.iter().zip(values).zip(squared).zip(before).enumerate();
        rows.map(|(i, (((name, value), squared), before))| {
            let gradient_norm = squared.map(|s| s.sqrt() * mean);
            self.zeros[i] = if gradient_norm == Some(0.0) { self.zeros[i] + 1 } else { 0 };
            let update_ratio = ratio(&before, &sample(value));
            WeightRow { name: name.clone(), gradient_norm, update_ratio, zero_in_a_row: self.zeros[i] }
        })
        .collect()
    }
}

/// ‖after − before‖ / ‖before‖.
fn ratio(before: &[f64], after: &[f64]) -> Option<f64> {
    let norm = before.iter().map(|v| v * v).sum::<f64>().sqrt();
    let change = before.iter().zip(after).map(|(b, a)| (a - b) * (a - b)).sum::<f64>().sqrt();
    (norm > 0.0).then(|| change / norm)
}

/// Up to [`N_SAMPLED`] elements, evenly spread.
fn sample(t: &Tensor) -> Vec<f64> {
    let every = t.len().div_ceil(N_SAMPLED).max(1);
    match t.dtype() {
        DType::F32 => t.as_slice::<f32>().iter().step_by(every).map(|&v| f64::from(v)).collect(),
        DType::F64 => t.as_slice::<f64>().iter().step_by(every).copied().collect(),
        DType::F16 => t.as_slice::<half::f16>().iter().step_by(every).map(|v| v.to_f64()).collect(),
        DType::BF16 => t.as_slice::<half::bf16>().iter().step_by(every).map(|v| v.to_f64()).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_ratios_and_zeros_are_measured() {
        let names = ["w".to_owned(), "b".to_owned()];
        let tensor = |v: &[f64]| Tensor::from_f64s(DType::F32, &[v.len()], v.to_vec());
        let mut meter = Meter::default();
        assert!(meter.begin(&names, &[tensor(&[3.0, 4.0]), tensor(&[0.0])]));
        let rows = meter.finish(&[tensor(&[3.0, 4.5]), tensor(&[1.0])], &[Some(16.0), Some(0.0)], 0.5);
        assert_eq!(rows[0].gradient_norm, Some(2.0));
        assert_eq!(rows[0].update_ratio, Some(0.1), "0.5 beside a norm of 5");
        assert_eq!((rows[1].zero_in_a_row, rows[1].update_ratio), (1, None));
        assert!(!meter.begin(&names, &[]), "not again at once");
    }

    #[test]
    fn large_weights_are_sampled_evenly() {
        let t = Tensor::from_f64s(DType::F32, &[10_000], (0..10_000).map(f64::from));
        let s = sample(&t);
        assert_eq!((s.len(), s[1]), (3334, 3.0));
    }
}
