//! What a tuned model is worth: loss and metrics of a data set, its worst mistakes, and predictions for new data; from a
//! run's checkpoint or from a model file.

use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Serialize;

use crate::base::{Reporter, files};
use crate::data::{BatchSource, Conll, DataSet, LabelVocabulary, Target, Targets};
use crate::engine::Engine;
use crate::tensor::Tensor;
use crate::train::evaluate::{Scores, probabilities};
use crate::train::executables::Executables;
use crate::train::metrics::{ClassRow, Task, argmax, pairs};
use crate::train::protocol::Metrics;

use super::error::SessionError;
use super::job::SessionSteps;
use super::plan::{self, DataPlan, Opened};
use super::run::Run;
use super::session::Session;
use super::tables::LABELS;
use super::training;
use super::understand::Understood;
use super::words;

/// What is evaluated: a session's model as it is in its file, or with the parameters of a run.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub session: &'a Session,
    pub run: Option<&'a Run>,
}

impl<'a> From<&'a Run> for Subject<'a> {
    fn from(run: &'a Run) -> Self {
        Self { session: &run.session, run: Some(run) }
    }
}

impl<'a> From<&'a Session> for Subject<'a> {
    fn from(session: &'a Session) -> Self {
        Self { session, run: None }
    }
}

impl Subject<'_> {
    fn parameters(&self, understood: &Understood) -> Result<Vec<Tensor>, SessionError> {
        match self.run {
            Some(run) => run.parameters(understood),
            None => Ok(understood.parameters()?.into_iter().map(|p| p.value).collect()),
        }
    }

    /// The classes: of the run's folder, of the list that the recipe names, else counted in the training data.
    fn labels(&self, plan: &DataPlan, reporter: &mut Reporter) -> Result<Option<LabelVocabulary>, SessionError> {
        if let Some(run) = self.run {
            let lists = ["txt", "json"].map(|e| run.folder.join(format!("{LABELS}.{e}")));
            if let Some(path) = lists.iter().find(|p| files::exists(p)) {
                return Ok(Some(LabelVocabulary::read(path)?));
            }
        }
        match (&plan.data.labels, plan.data.train.as_str()) {
            (Some(path), _) => Ok(Some(LabelVocabulary::read(Path::new(path))?)),
            (None, "") => Ok(None),
            (None, train) => {
                let set = plan::open(Path::new(train), &plan.data, plan.settings.data.skip_bad_rows, reporter)?;
                plan.labels(&set, reporter)
            }
        }
    }
}

/// Loss and metrics of a data set.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Evaluation {
    /// `None` where the model has no loss.
    pub loss: Option<f64>,
    pub metrics: Metrics,
    /// Precision, recall and F1 of every class.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassRow>,
    /// The same of every type of entity (labelled sequences).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<ClassRow>,
    /// Rows are true classes, columns predicted ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub confusion: Vec<Vec<u64>>,
    /// The worst first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub worst: Vec<Mistake>,
}

/// A wrong prediction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mistake {
    /// Line in the file, or number of the example.
    pub line: u64,
    pub text: String,
    pub label: String,
    pub predicted: String,
    /// What the model gives the right label (classes), or how far it is off (numbers, wrong words of a sentence).
    pub score: f64,
}

/// A checkpoint or model on labelled data: `data`, else the recipe's own validation data. Keeps the `n_worst` worst
/// mistakes.
pub fn evaluate<'a>(
    subject: impl Into<Subject<'a>>,
    data: Option<&Path>,
    n_worst: usize,
    threads: Option<usize>,
    reporter: &mut Reporter,
) -> Result<Evaluation, SessionError> {
    let subject = subject.into();
    let understood = Arc::new(subject.session.understand()?);
    let choice = plan::choice(&understood)?;
    let skip = training::settings(&understood.recipe)?.data.skip_bad_rows;
    let own = data.map(Path::to_owned).or_else(|| choice.validation.as_ref().map(Into::into));
    let path = own.clone().unwrap_or_else(|| (&choice.train).into());
    let set = plan::open(&path, &choice, skip, reporter)?;
    let mut plan = DataPlan::new(understood.clone(), &set, reporter)?;
    let labels = subject.labels(&plan, reporter)?;
    plan.settle(labels.as_ref());
    let opened = plan.opened(set, labels.as_ref())?;
    let rows = match own {
        Some(_) => plan.usable(&opened, (0..opened.set.len()).collect(), reporter),
        None => plan.split(&opened, reporter)?.1,
    };
    if rows.is_empty() {
        return Err(SessionError::Choice("there is no validation data; name some with --data".to_owned()));
    }
    let mut source = plan.batches(&opened, rows, labels.as_ref(), false)?;
    let task = plan.task(&opened.set, labels.as_ref());
    let has_loss = understood.objective.loss().is_some() && (understood.objective.is_chosen || plan.logits.is_none());
    let steps = if has_loss {
        SessionSteps::new(understood.clone(), plan.logits)?
    } else {
        SessionSteps::inference(understood.clone(), plan.logits)
    };
    let mut executables = Executables::new(Box::new(steps), Engine::new(threads.unwrap_or(0))?);
    let parameters = subject.parameters(&understood)?;
    let mut mistakes = Mistakes { task: task.clone(), n: n_worst, found: Vec::new() };
    let scores = crate::train::evaluate::evaluate_each(
        &mut executables,
        &parameters,
        &mut *source,
        &task,
        plan.settings.training.seed,
        |batch, prediction| mistakes.look(batch, prediction),
    )
    .map_err(SessionError::Choice)?;
    let Scores { loss, report, .. } = scores;
    Ok(Evaluation {
        loss: has_loss.then_some(loss),
        metrics: report.metrics,
        classes: report.classes,
        entities: report.entities,
        confusion: report.confusion,
        worst: mistakes.finish(&opened, &plan),
    })
}

/// The worst predictions so far.
struct Mistakes {
    task: Task,
    n: usize,
    /// Badness, row, and what was said.
    found: Vec<(f64, usize, String, String, f64)>,
}

impl Mistakes {
    fn look(&mut self, batch: &crate::data::Batch, prediction: &Tensor) {
        // A vocabulary of scores for every token is no list of mistakes that anybody reads.
        if self.n == 0 || self.task == Task::Words {
            return;
        }
        let (Some(labels), Some(scores)) = (batch.labels.as_ref().and_then(Tensor::to_f64s), prediction.to_f64s())
        else {
            return;
        };
        let n_rows = batch.rows.len();
        if n_rows == 0 || labels.len() % n_rows != 0 || scores.len() % n_rows != 0 {
            return;
        }
        let (per_label, per_score) = (labels.len() / n_rows, scores.len() / n_rows);
        for (i, &row) in batch.rows.iter().take(batch.n_examples).enumerate() {
            let truth = &labels[i * per_label..(i + 1) * per_label];
            let said = &scores[i * per_score..(i + 1) * per_score];
            if let Some((badness, label, predicted, score)) = self.judge(truth, said) {
                self.found.push((badness, row, label, predicted, score));
            }
        }
        if self.found.len() > 4096.max(self.n * 4) {
            self.shrink();
        }
    }

    /// How bad, the truth, what was said, and the shown score; `None` where the prediction is right.
    fn judge(&self, truth: &[f64], said: &[f64]) -> Option<(f64, String, String, f64)> {
        match &self.task {
            Task::Classes { names, ignore, .. } => {
                let name = |i: usize| names.get(i).cloned().unwrap_or_else(|| i.to_string());
                if let [label] = truth {
                    let both;
                    let said = if said.len() == 1 && names.len() == 2 {
                        both = pairs(said);
                        &both[..]
                    } else {
                        said
                    };
                    let (label, predicted) = (*label as usize, argmax(said));
                    let p = probabilities(said, said.len()).get(label).copied().unwrap_or(0.0);
                    return (label != predicted).then(|| (1.0 - p, name(label), name(predicted), p));
                }
                let width = said.len() / truth.len().max(1);
                let counted = truth.iter().enumerate().filter(|(_, l)| **l as i64 != *ignore && **l >= 0.0);
                let pairs = counted.map(|(k, l)| (*l as usize, argmax(&said[k * width..(k + 1) * width])));
                let (right, wrong): (Vec<_>, Vec<_>) = pairs.partition(|(a, b)| a == b);
                let total = (right.len() + wrong.len()).max(1) as f64;
                let words = |f: fn(&(usize, usize)) -> usize| {
                    wrong.iter().take(8).map(|w| name(f(w))).collect::<Vec<_>>().join(" ")
                };
                let n = wrong.len() as f64;
                (n > 0.0).then(|| (n + n / total, words(|w| w.0), words(|w| w.1), n))
            }
            Task::MultiLabel { names } => {
                let list = |on: &dyn Fn(usize) -> bool| {
                    let names = names.iter().enumerate().filter(|(i, _)| on(*i)).map(|(_, n)| n.as_str());
                    names.collect::<Vec<_>>().join("|")
                };
                let n = truth.iter().zip(said).filter(|(t, s)| (**t > 0.5) != (**s > 0.0)).count() as f64;
                let (t, s) = (
                    |i: usize| truth.get(i).is_some_and(|v| *v > 0.5),
                    |i: usize| said.get(i).is_some_and(|v| *v > 0.0),
                );
                (n > 0.0).then(|| (n, list(&t), list(&s), n))
            }
            Task::Regression => {
                let off = truth.iter().zip(said).map(|(t, s)| (t - s).abs()).fold(0.0, f64::max);
                let words = |v: &[f64]| v.iter().map(|v| format!("{v}")).collect::<Vec<_>>().join(" ");
                (off > 0.0).then(|| (off, words(truth), words(said), off))
            }
            Task::None | Task::Words => None,
        }
    }

    fn shrink(&mut self) {
        self.found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        self.found.truncate(self.n);
    }

    fn finish(mut self, opened: &Opened, plan: &DataPlan) -> Vec<Mistake> {
        self.shrink();
        let mistake = |(_, row, label, predicted, score): (f64, usize, String, String, f64)| Mistake {
            line: opened.set.line(row),
            text: opened.set.describe(row, &plan.columns),
            label,
            predicted,
            score,
        };
        self.found.into_iter().map(mistake).collect()
    }
}

/// The prediction for one row. For numbers `label` is the number and there are no probabilities; for marks it is the
/// labels whose probability is above a half, separated by `|`; for sentences there is a label per word.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Prediction {
    pub label: String,
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub probabilities: IndexMap<String, f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<TokenPrediction>,
}

/// The label of one word of a sentence; a word beyond the maximal length has none.
#[derive(Clone, Debug, Serialize)]
pub struct TokenPrediction {
    pub word: String,
    pub label: Option<String>,
    pub probability: f64,
}

/// A checkpoint or model on new rows, in the order of the data.
pub fn predict<'a>(
    subject: impl Into<Subject<'a>>,
    data: &Path,
    threads: Option<usize>,
    reporter: &mut Reporter,
) -> Result<Vec<Prediction>, SessionError> {
    let subject = subject.into();
    let understood = Arc::new(subject.session.understand()?);
    let choice = plan::choice(&understood)?;
    let skip = training::settings(&understood.recipe)?.data.skip_bad_rows;
    let set = plan::open(data, &super::recipe::DataChoice { label: None, ..choice }, skip, reporter)?;
    let mut plan = DataPlan::new(understood.clone(), &set, reporter)?;
    let logits = plan.logits.ok_or_else(|| {
        SessionError::Choice("nothing says which value holds the predictions; name it with --logits".to_owned())
    })?;
    let labels = subject.labels(&plan, reporter)?;
    plan.settle(labels.as_ref());
    let opened = Opened { set, targets: Arc::new(Targets::None) };
    let mut executables = Executables::new(
        Box::new(SessionSteps::inference(understood.clone(), Some(logits))),
        Engine::new(threads.unwrap_or(0))?,
    );
    let parameters = subject.parameters(&understood)?;
    let names = labels.as_ref().map(LabelVocabulary::names).unwrap_or_default();
    if let DataSet::Sequences(file) = &opened.set {
        return predict_words(&mut executables, &parameters, &plan, file, names);
    }
    let mut source = plan.batches_to_predict(&opened)?;
    if plan.columns.target == Target::Words {
        return words::fill(&mut executables, &parameters, &plan, &mut *source, opened.set.len());
    }
    let (scores, width) = all_scores(&mut executables, &parameters, &mut *source)?;
    Ok(match plan.columns.target {
        Target::Values => scores.chunks_exact(width.max(1)).map(number).collect(),
        Target::Marks => scores.chunks_exact(width.max(1)).map(|row| marks(row, names)).collect(),
        Target::Words => Vec::new(),
        Target::Classes if width == 1 => {
            pairs(&scores).chunks_exact(2).map(|row| class(&probabilities(row, 2), names)).collect()
        }
        Target::Classes => {
            probabilities(&scores, width).chunks_exact(width.max(1)).map(|row| class(row, names)).collect()
        }
    })
}

/// The predictions of all rows one after the other, and how many there are for each.
fn all_scores(
    executables: &mut Executables,
    parameters: &[Tensor],
    source: &mut dyn BatchSource,
) -> Result<(Vec<f64>, usize), SessionError> {
    let (mut scores, mut width) = (Vec::new(), 0);
    crate::train::evaluate::predict(executables, parameters, source, |batch, prediction| {
        width = prediction.len() / batch.rows.len().max(1);
        let values = prediction.to_f64s().ok_or("the predictions are not numbers")?;
        scores.extend(values.into_iter().take(batch.n_examples * width));
        Ok(())
    })
    .map_err(SessionError::Choice)?;
    Ok((scores, width))
}

fn name(names: &[String], i: usize) -> String {
    names.get(i).cloned().unwrap_or_else(|| i.to_string())
}

fn class(probabilities: &[f64], names: &[String]) -> Prediction {
    Prediction {
        label: name(names, argmax(probabilities)),
        probabilities: probabilities.iter().enumerate().map(|(i, &p)| (name(names, i), p)).collect(),
        tokens: Vec::new(),
    }
}

fn marks(logits: &[f64], names: &[String]) -> Prediction {
    let p: IndexMap<String, f64> =
        logits.iter().enumerate().map(|(i, &x)| (name(names, i), 1.0 / (1.0 + (-x).exp()))).collect();
    let on: Vec<&str> = p.iter().filter(|(_, p)| **p > 0.5).map(|(n, _)| n.as_str()).collect();
    Prediction { label: on.join("|"), probabilities: p, tokens: Vec::new() }
}

fn number(values: &[f64]) -> Prediction {
    let words: Vec<String> = values.iter().map(|v| (*v as f32).to_string()).collect();
    Prediction { label: words.join(" "), ..Prediction::default() }
}

/// A label for every word: that of its first piece.
fn predict_words(
    executables: &mut Executables,
    parameters: &[Tensor],
    plan: &DataPlan,
    file: &Conll,
    names: &[String],
) -> Result<Vec<Prediction>, SessionError> {
    let mut source = plan.word_batches(file)?;
    let places = plan.word_batches(file)?;
    let mut out: Vec<Prediction> = vec![Prediction::default(); file.sentences().len()];
    crate::train::evaluate::predict(executables, parameters, &mut source, |batch, prediction| {
        let values = prediction.to_f64s().ok_or("the predictions are not numbers")?;
        let width = prediction.shape().last().copied().unwrap_or(1).max(1);
        let length = values.len() / width / batch.rows.len().max(1);
        for (i, &row) in batch.rows.iter().take(batch.n_examples).enumerate() {
            let Some(sentence) = file.sentences().get(row) else { continue };
            let said = |position: usize| {
                let at = (i * length + position) * width;
                let p = probabilities(values.get(at..at + width)?, width);
                let best = argmax(&p);
                Some((name(names, best), p[best]))
            };
            let positions = places.positions(row, sentence.words.len());
            let tokens: Vec<TokenPrediction> = sentence
                .words
                .iter()
                .zip(positions)
                .map(|(word, position)| {
                    let said = position.and_then(said);
                    let probability = said.as_ref().map_or(0.0, |s| s.1);
                    TokenPrediction { word: word.clone(), label: said.map(|s| s.0), probability }
                })
                .collect();
            let label = tokens.iter().map(|t| t.label.as_deref().unwrap_or("O")).collect::<Vec<_>>().join(" ");
            if let Some(place) = out.get_mut(row) {
                *place = Prediction { label, tokens, probabilities: IndexMap::new() };
            }
        }
        Ok(())
    })
    .map_err(SessionError::Choice)?;
    Ok(out)
}

/// One row per prediction: the label, then a column per class; for sentences one row per word.
pub fn to_csv(rows: &[Prediction]) -> Result<String, SessionError> {
    let fail = |e: csv::Error| SessionError::Choice(format!("the table could not be written: {e}"));
    let mut out = csv::Writer::from_writer(Vec::new());
    let is_words = rows.iter().any(|r| !r.tokens.is_empty());
    if is_words {
        out.write_record(["sentence", "word", "label", "probability"]).map_err(fail)?;
    } else if let Some(first) = rows.first() {
        out.write_record(std::iter::once("label").chain(first.probabilities.keys().map(String::as_str)))
            .map_err(fail)?;
    }
    for (i, row) in rows.iter().enumerate() {
        for t in &row.tokens {
            let label = t.label.as_deref().unwrap_or_default();
            out.write_record([&i.to_string(), &t.word, label, &format!("{:.6}", t.probability)]).map_err(fail)?;
        }
        if !is_words {
            let numbers = row.probabilities.values().map(|p| format!("{p:.6}"));
            out.write_record(std::iter::once(row.label.clone()).chain(numbers)).map_err(fail)?;
        }
    }
    let bytes = out.into_inner().map_err(|e| SessionError::Choice(e.to_string()))?;
    String::from_utf8(bytes).map_err(|e| SessionError::Choice(e.to_string()))
}
