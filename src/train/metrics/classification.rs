//! Everything that follows from the confusion matrix, with scikit-learn's conventions: a ratio without cases is 0, and
//! classes that occur neither in truth nor in prediction do not enter means.

/// One line of the per-class table.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct ClassRow {
    pub name: String,
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    /// True examples of the class.
    pub support: u64,
}

/// A confusion matrix: `matrix[truth][predicted]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    matrix: Vec<Vec<u64>>,
}

impl Counts {
    pub fn new(n_classes: usize) -> Self {
        Self { matrix: vec![vec![0; n_classes]; n_classes] }
    }

    /// Grows where a class beyond the known ones turns up.
    pub fn add(&mut self, truth: usize, predicted: usize) {
        let need = truth.max(predicted) + 1;
        if need > self.matrix.len() {
            self.matrix.iter_mut().for_each(|r| r.resize(need, 0));
            self.matrix.resize(need, vec![0; need]);
        }
        self.matrix[truth][predicted] += 1;
    }

    pub fn matrix(&self) -> &[Vec<u64>] {
        &self.matrix
    }

    pub fn total(&self) -> u64 {
        self.matrix.iter().flatten().sum()
    }

    fn correct(&self) -> u64 {
        self.matrix.iter().enumerate().map(|(i, r)| r[i]).sum()
    }

    fn predicted(&self, class: usize) -> u64 {
        self.matrix.iter().map(|r| r[class]).sum()
    }

    pub fn accuracy(&self) -> f64 {
        ratio(self.correct(), self.total())
    }

    /// Precision, recall, F1 and support of one class.
    pub fn row(&self, class: usize) -> ClassRow {
        let Some(truth) = self.matrix.get(class) else { return ClassRow::default() };
        let (hit, support, predicted) = (truth[class], truth.iter().sum(), self.predicted(class));
        ClassRow {
            name: String::new(),
            precision: ratio(hit, predicted),
            recall: ratio(hit, support),
            f1: ratio(2 * hit, support + predicted),
            support,
        }
    }

    /// The per-class table; classes without a name get their number.
    pub fn rows(&self, names: &[String]) -> Vec<ClassRow> {
        let name = |i: usize| names.get(i).cloned().unwrap_or_else(|| i.to_string());
        (0..self.matrix.len()).map(|i| ClassRow { name: name(i), ..self.row(i) }).collect()
    }

    /// Matthews correlation coefficient for any number of classes (Gorodkin 2004).
    pub fn mcc(&self) -> f64 {
        let n = self.total() as f64;
        let truth: Vec<f64> = self.matrix.iter().map(|r| r.iter().sum::<u64>() as f64).collect();
        let predicted: Vec<f64> = (0..self.matrix.len()).map(|i| self.predicted(i) as f64).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let covariance = self.correct() as f64 * n - dot(&truth, &predicted);
        let spread = (n * n - dot(&truth, &truth)) * (n * n - dot(&predicted, &predicted));
        if spread > 0.0 { covariance / spread.sqrt() } else { 0.0 }
    }

    /// All scalars that follow, by name.
    pub fn metrics(&self) -> Vec<(&'static str, f64)> {
        let rows: Vec<ClassRow> = (0..self.matrix.len()).map(|i| self.row(i)).collect();
        let present: Vec<&ClassRow> =
            rows.iter().enumerate().filter(|(i, r)| r.support > 0 || self.predicted(*i) > 0).map(|(_, r)| r).collect();
        let mean = |f: fn(&ClassRow) -> f64| present.iter().map(|r| f(r)).sum::<f64>() / present.len().max(1) as f64;
        let total = self.total().max(1) as f64;
        let weighted = |f: fn(&ClassRow) -> f64| rows.iter().map(|r| f(r) * r.support as f64).sum::<f64>() / total;
        let (precision, recall, f1) = (|r: &ClassRow| r.precision, |r: &ClassRow| r.recall, |r: &ClassRow| r.f1);
        // The plain names are those of the positive class where there are just two.
        let plain = |f: fn(&ClassRow) -> f64| if rows.len() == 2 { f(&rows[1]) } else { mean(f) };
        vec![
            ("accuracy", self.accuracy()),
            ("f1", plain(f1)),
            ("precision", plain(precision)),
            ("recall", plain(recall)),
            ("f1_macro", mean(f1)),
            // Each example has one label, so all micro means are the accuracy.
            ("f1_micro", self.accuracy()),
            ("precision_micro", self.accuracy()),
            ("recall_micro", self.accuracy()),
            ("f1_weighted", weighted(f1)),
            ("precision_macro", mean(precision)),
            ("recall_macro", mean(recall)),
            ("precision_weighted", weighted(precision)),
            ("recall_weighted", weighted(recall)),
            ("mcc", self.mcc()),
        ]
    }
}

fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}
