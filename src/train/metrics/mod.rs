//! Metrics over a whole evaluation, equal to scikit-learn's: classification from the confusion matrix, ranking, regression,
//! and whole entities for token labels.

pub mod classification;
pub mod entities;
mod ranking;
mod regression;
mod words;

use crate::tensor::Tensor;

use super::protocol::Metrics;

pub use classification::ClassRow;
pub use ranking::PrecisionRecall;
pub use words::Rows;

/// What predictions and labels mean.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Task {
    /// No metrics besides the loss.
    #[default]
    None,
    /// Predictions `[…, classes]` (logits or probabilities), labels `[…]` of class indices.
    ///
    /// Two classes may have one score, that of the second.
    Classes {
        names: Vec<String>,
        /// Positions with this label do not count.
        ignore: i64,
        /// Labels are `B-x`, `I-x`, `O` over positions of a sequence; whole entities are scored too.
        entities: bool,
    },
    /// Predictions `[n, labels]` (logits), labels of the same shape, 0 or 1.
    MultiLabel { names: Vec<String> },
    /// Predictions and labels of the same number of elements.
    Regression,
    /// Predictions `[…, vocabulary]`, labels `[…]` of token ids; negative ones do not count.
    Words,
}

/// One metric as data, for plots, tables and the choice of the best checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct MetricInfo {
    pub name: &'static str,
    pub label: &'static str,
    pub help: &'static str,
    pub higher_is_better: bool,
}

const fn metric(name: &'static str, label: &'static str, higher_is_better: bool, help: &'static str) -> MetricInfo {
    MetricInfo { name, label, help, higher_is_better }
}

/// Every metric, in the order in which they are shown.
pub const ALL: &[MetricInfo] = &[
    metric("loss", "Loss", false, "Mean of the objective over examples."),
    metric("accuracy", "Accuracy", true, "Share of correct predictions."),
    metric("f1", "F1", true, "Of class 1 where there are two classes, else the macro mean."),
    metric("f1_macro", "F1, macro", true, "Mean of the classes' F1; each class counts the same."),
    metric("f1_micro", "F1, micro", true, "From counts over all classes together."),
    metric("f1_weighted", "F1, weighted", true, "Mean of the classes' F1, weighted by their size."),
    metric("precision", "Precision", true, "Of class 1 where there are two classes, else the macro mean."),
    metric("recall", "Recall", true, "Of class 1 where there are two classes, else the macro mean."),
    metric("precision_macro", "Precision, macro", true, "Mean of the classes' precision."),
    metric("recall_macro", "Recall, macro", true, "Mean of the classes' recall."),
    metric("precision_micro", "Precision, micro", true, "From counts over all classes together."),
    metric("recall_micro", "Recall, micro", true, "From counts over all classes together."),
    metric("precision_weighted", "Precision, weighted", true, "Mean, weighted by the classes' size."),
    metric("recall_weighted", "Recall, weighted", true, "Mean, weighted by the classes' size."),
    metric("mcc", "MCC", true, "Matthews correlation coefficient."),
    metric("auc", "AUC", true, "Area under the ROC curve; with several classes the mean of one against the rest."),
    metric("entity_f1", "Entity F1", true, "F1 of whole entities (micro), as seqeval."),
    metric("entity_precision", "Entity precision", true, "Precision of whole entities."),
    metric("entity_recall", "Entity recall", true, "Recall of whole entities."),
    metric("entity_f1_macro", "Entity F1, macro", true, "Mean of the entity types' F1."),
    metric("exact_match", "Exact match", true, "Share of examples with every label right."),
    metric("mse", "MSE", false, "Mean squared error."),
    metric("rmse", "RMSE", false, "Root of the mean squared error."),
    metric("mae", "MAE", false, "Mean absolute error."),
    metric("perplexity", "Perplexity", false, "exp of the mean −ln p that the model gives the hidden words."),
    metric("r2", "R²", true, "Share of the variance that is explained."),
];

pub fn find(name: &str) -> Option<&'static MetricInfo> {
    ALL.iter().find(|m| m.name == name)
}

/// The result of an evaluation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    pub metrics: Metrics,
    /// Rows are true classes, columns predicted ones; empty for other tasks.
    pub confusion: Vec<Vec<u64>>,
    pub classes: Vec<ClassRow>,
    /// For labelled sequences one row per type of entity.
    pub entities: Vec<ClassRow>,
}

/// Collects predictions and labels of an evaluation.
#[derive(Clone, Debug)]
pub struct Collector {
    task: Task,
    classes: classification::Counts,
    scores: ranking::Scores,
    values: regression::Sums,
    labels: Vec<classification::Counts>,
    label_scores: ranking::LabelScores,
    exact: (u64, u64),
    sequences: entities::Sequences,
    words: words::Sums,
}

impl Collector {
    pub fn new(task: Task) -> Self {
        let (n_classes, n_labels) = match &task {
            Task::Classes { names, .. } => (names.len(), 0),
            Task::MultiLabel { names } => (2, names.len()),
            _ => (0, 0),
        };
        Self {
            classes: classification::Counts::new(n_classes),
            scores: ranking::Scores::new(n_classes),
            values: regression::Sums::default(),
            labels: vec![classification::Counts::new(2); n_labels],
            label_scores: ranking::LabelScores::new(n_labels),
            exact: (0, 0),
            sequences: entities::Sequences::default(),
            words: words::Sums::default(),
            task,
        }
    }

    /// Takes one batch; the first `n_rows` of the leading axis count. Predictions that do not fit the labels are left out.
    pub fn add(&mut self, prediction: &Tensor, labels: &Tensor, n_rows: usize) {
        if self.task == Task::Words {
            return self.words.add(prediction, labels, n_rows);
        }
        let (Some(p), Some(l)) = (prediction.to_f64s(), labels.to_f64s()) else { return };
        let share = |t: &Tensor| {
            let rows = t.shape().first().copied().unwrap_or(1).max(1);
            t.len() / rows * n_rows.min(rows)
        };
        let l = &l[..share(labels)];
        match self.task.clone() {
            Task::None | Task::Words => {}
            Task::Classes { names, ignore, entities } => {
                let width = prediction.shape().last().copied().unwrap_or(0);
                // One score for two classes.
                if names.len() == 2 && p.len() == labels.len() {
                    self.add_classes(&pairs(&p[..l.len()]), l, 2, ignore, None);
                    return;
                }
                // Predictions may come with batch and positions in one axis; their number is that of the labels.
                if width == 0 || p.len() != labels.len() * width {
                    return;
                }
                let p = &p[..l.len() * width];
                let per_row = l.len() / n_rows.max(1);
                self.add_classes(p, l, width, ignore, entities.then_some((names.as_slice(), per_row)));
            }
            Task::MultiLabel { names } => self.add_labels(&p[..share(prediction)], l, names.len()),
            Task::Regression => p[..share(prediction)].iter().zip(l).for_each(|(&p, &l)| self.values.add(l, p)),
        }
    }

    fn add_classes(&mut self, p: &[f64], l: &[f64], width: usize, ignore: i64, entities: Option<(&[String], usize)>) {
        let mut rows: Vec<(usize, usize)> = Vec::new();
        for (position, (scores, &label)) in p.chunks_exact(width).zip(l).enumerate() {
            if let Some((names, per_row)) = entities
                && per_row > 0
                && position % per_row == 0
                && !rows.is_empty()
            {
                self.sequences.add(names, &std::mem::take(&mut rows));
            }
            let label = label as i64;
            let Ok(truth) = usize::try_from(label) else { continue };
            if label == ignore || truth >= width {
                continue;
            }
            let predicted = argmax(scores);
            self.classes.add(truth, predicted);
            self.scores.add(truth, scores);
            rows.push((truth, predicted));
        }
        if let Some((names, _)) = entities {
            self.sequences.add(names, &rows);
        }
    }

    fn add_labels(&mut self, p: &[f64], l: &[f64], n_labels: usize) {
        if n_labels == 0 || p.len() != l.len() {
            return;
        }
        for (p, l) in p.chunks_exact(n_labels).zip(l.chunks_exact(n_labels)) {
            let mut all = true;
            self.label_scores.add(p, l);
            for ((counts, &p), &l) in self.labels.iter_mut().zip(p).zip(l) {
                let (truth, predicted) = (usize::from(l > 0.5), usize::from(p > 0.0));
                counts.add(truth, predicted);
                self.classes.add(truth, predicted);
                all &= truth == predicted;
            }
            self.exact.0 += u64::from(all);
            self.exact.1 += 1;
        }
    }

    /// Precision against recall of each class or label against its absence.
    pub fn precision_recall(&self) -> Vec<PrecisionRecall> {
        match &self.task {
            Task::Classes { entities: false, .. } => self.scores.precision_recall(),
            Task::MultiLabel { .. } => self.label_scores.precision_recall(),
            _ => Vec::new(),
        }
    }

    pub fn finish(&self) -> Report {
        let mut m = Metrics::new();
        let mut put = |name: &str, value: Option<f64>| {
            if let Some(v) = value {
                m.insert(name.to_owned(), v);
            }
        };
        match &self.task {
            Task::None => {}
            Task::Classes { names, entities, .. } => {
                if self.classes.total() == 0 {
                    return Report::default();
                }
                for (name, value) in self.classes.metrics() {
                    put(name, Some(value));
                }
                put("auc", self.scores.auc());
                if *entities {
                    let (precision, recall, f1) = self.sequences.scores();
                    put("entity_precision", Some(precision));
                    put("entity_recall", Some(recall));
                    put("entity_f1", Some(f1));
                    put("entity_f1_macro", Some(self.sequences.f1_macro()));
                }
                return Report {
                    metrics: m,
                    confusion: self.classes.matrix().to_vec(),
                    classes: self.classes.rows(names),
                    entities: if *entities { self.sequences.rows() } else { Vec::new() },
                };
            }
            Task::MultiLabel { names } => {
                if self.exact.1 == 0 {
                    return Report::default();
                }
                put("accuracy", Some(self.classes.accuracy()));
                put("exact_match", Some(self.exact.0 as f64 / self.exact.1 as f64));
                put("f1_micro", Some(self.classes.row(1).f1));
                let macro_f1 = self.labels.iter().map(|c| c.row(1).f1).sum::<f64>() / names.len().max(1) as f64;
                put("f1_macro", Some(macro_f1));
                put("f1", Some(macro_f1));
                let rows = self.labels.iter().zip(names).map(|(c, n)| ClassRow { name: n.clone(), ..c.row(1) });
                return Report { classes: rows.collect(), metrics: m, ..Report::default() };
            }
            Task::Regression => self.values.metrics().into_iter().for_each(|(name, value)| put(name, Some(value))),
            Task::Words => self.words.metrics().into_iter().for_each(|(name, value)| put(name, Some(value))),
        }
        Report { metrics: m, ..Report::default() }
    }
}

/// The cheap metrics that a training step shows.
pub fn for_step(report: &Report) -> Metrics {
    let keep = ["accuracy", "mse"];
    report.metrics.iter().filter(|(k, _)| keep.contains(&k.as_str())).map(|(k, v)| (k.clone(), *v)).collect()
}

/// Scores of two classes from one score x of the second: 0 and x, whose softmax is 1 − sigmoid(x) and sigmoid(x).
pub fn pairs(scores: &[f64]) -> Vec<f64> {
    scores.iter().flat_map(|&x| [0.0, x]).collect()
}

/// What a metric is called in tables and on axes, or a run's series (`validation/f1_macro`: "F1, macro, validation"). Names
/// that are not in [`ALL`] lose their underscores.
pub fn title(name: &str) -> String {
    if let Some((part, name)) = name.split_once('/') {
        return format!("{}, {part}", title(name));
    }
    find(name).map_or_else(|| name.replace('_', " "), |m| m.label.to_owned())
}

/// Index of the largest number; the first one where several are.
pub fn argmax(values: &[f64]) -> usize {
    let mut best = 0;
    for (i, v) in values.iter().enumerate() {
        if *v > values[best] {
            best = i;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_have_titles() {
        let said = ["f1_macro", "validation/loss", "entity_f1", "grad_norm"].map(title);
        assert_eq!(said, ["F1, macro", "Loss, validation", "Entity F1", "grad norm"]);
        assert!(ALL.iter().all(|m| !m.label.contains('_')));
    }

    #[test]
    fn one_score_tells_two_classes_apart() {
        let task = Task::Classes { names: vec!["no".to_owned(), "yes".to_owned()], ignore: -100, entities: false };
        let mut c = Collector::new(task);
        let scores = Tensor::from_slice(&[4, 1], &[-2.0f32, 1.0, 0.5, -0.1]);
        c.add(&scores, &Tensor::from_slice(&[4], &[0i64, 1, 0, 1]), 4);
        let report = c.finish();
        assert_eq!(report.confusion, [[1, 1], [1, 1]]);
        // scikit-learn: roc_auc_score([0, 1, 0, 1], [-2, 1, .5, -.1]).
        assert_eq!((report.metrics["accuracy"], report.metrics["auc"], report.metrics["mcc"]), (0.5, 0.75, 0.0));
    }
}
