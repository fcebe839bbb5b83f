//! Errors of real-valued predictions.

/// Running sums; the mean of truths is tracked as Welford does, so that R² stays exact for large offsets.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    n: f64,
    squared: f64,
    absolute: f64,
    mean: f64,
    spread: f64,
}

impl Sums {
    pub(super) fn add(&mut self, truth: f64, predicted: f64) {
        self.n += 1.0;
        self.squared += (truth - predicted).powi(2);
        self.absolute += (truth - predicted).abs();
        let before = truth - self.mean;
        self.mean += before / self.n;
        self.spread += before * (truth - self.mean);
    }

    pub(super) fn metrics(&self) -> Vec<(&'static str, f64)> {
        if self.n == 0.0 {
            return Vec::new();
        }
        let mse = self.squared / self.n;
        // As scikit-learn: constant truths give 1 where they are met exactly, else 0.
        let r2 = match (self.spread > 0.0, self.squared > 0.0) {
            (true, _) => 1.0 - self.squared / self.spread,
            (false, false) => 1.0,
            (false, true) => 0.0,
        };
        vec![("mse", mse), ("rmse", mse.sqrt()), ("mae", self.absolute / self.n), ("r2", r2)]
    }
}
