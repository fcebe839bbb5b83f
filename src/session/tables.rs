//! Runs on tables of texts: columns become feeds, labels become classes; training, evaluation and prediction.

use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Serialize;

use crate::base::Reporter;
use crate::data::order::{BatchOptions, PadTo};
use crate::data::shuffle::stratified_split;
use crate::data::text::{Columns, Feature, FeedSpec, TextBatches};
use crate::data::tokenizer::{Tokenizer, TokenizerOptions};
use crate::data::{BatchSource, DataError, LabelVocabulary, Table};
use crate::engine::Engine;
use crate::program::verify::live_values;
use crate::program::{Program, Value};
use crate::train::Job;
use crate::train::executables::Executables;
use crate::train::metrics::Task;
use crate::train::protocol::Metrics;
use crate::train::settings::{Padding, Settings};

use super::error::SessionError;
use super::job::SessionSteps;
use super::recipe::DataChoice;
use super::run::Run;
use super::session::Session;
use super::training::{self, Sources, Start};
use super::understand::Understood;

/// The default cap where neither the data settings nor the graph name a length.
const MAX_LENGTH: usize = 512;

impl From<DataError> for SessionError {
    fn from(e: DataError) -> Self {
        Self::Choice(e.to_string())
    }
}

/// The run that the session's data and settings describe.
pub fn job(session: &Session, start: Start, reporter: &mut Reporter) -> Result<Job, SessionError> {
    let understood = Arc::new(session.understand()?);
    reporter.extend(understood.diagnostics.iter().cloned());
    training::report_blocked(&understood, reporter);
    let plan = TablePlan::new(understood.clone(), reporter)?;
    let settings = training::settings(&understood.recipe)?;
    let table = plan.open_table(&plan.data.train, &settings)?;
    let labels = plan.labels(&table)?;
    let (train, validation) = match &plan.data.validation {
        Some(path) => {
            let other = plan.open_table(path, &settings)?;
            let rows = (0..other.len()).collect();
            (
                plan.batches(&table, (0..table.len()).collect(), labels.as_ref(), &settings, true)?,
                Some(plan.batches(&other, rows, labels.as_ref(), &settings, false)?),
            )
        }
        None => plan.split(&table, labels.as_ref(), &settings)?,
    };
    let sources = Sources {
        train: Box::new(train),
        validation: validation.map(|v| Box::new(v) as Box<dyn BatchSource>),
        task: plan.task(labels.as_ref()),
        logits: plan.logits,
    };
    training::job(session, understood, sources, start)
}

/// How a table feeds this session's model.
#[derive(Debug)]
pub struct TablePlan {
    pub understood: Arc<Understood>,
    pub data: DataChoice,
    pub feeds: Vec<FeedSpec>,
    pub logits: Option<Value>,
    tokenizer: Option<Arc<Tokenizer>>,
}

impl TablePlan {
    /// Guesses what each placeholder wants; the recipe's `map` corrects it. Errors name the placeholder that nothing fits.
    pub fn new(understood: Arc<Understood>, reporter: &mut Reporter) -> Result<Self, SessionError> {
        let data =
            understood.recipe.data.clone().ok_or_else(|| SessionError::Choice("no data is chosen".to_owned()))?;
        let logits = match &data.logits {
            Some(name) => Some(understood.names()?.value(name)?),
            None => understood.objective.logits.or_else(|| guess_logits(&understood)),
        };
        let feeds = feeds(&understood, &data, logits)?;
        let tokenizer = match &data.tokenizer {
            Some(path) => {
                let options = TokenizerOptions { lower: data.lower, strip_accents: None };
                let tokenizer = Tokenizer::open(Path::new(path), options)?;
                if let Some(note) = &tokenizer.note {
                    reporter.warning("tokenizer-guess", note.clone(), Some(path.clone()));
                }
                Some(Arc::new(tokenizer))
            }
            None => None,
        };
        Ok(Self { understood, data, feeds, logits, tokenizer })
    }

    pub fn open_table(&self, path: &str, settings: &Settings) -> Result<Arc<Table>, SessionError> {
        Ok(Arc::new(Table::open(Path::new(path), settings.data.skip_bad_rows)?))
    }

    /// The classes of the label column, where there is one.
    pub fn labels(&self, table: &Table) -> Result<Option<LabelVocabulary>, SessionError> {
        match &self.data.label {
            Some(column) => Ok(Some(LabelVocabulary::of_column(table, table.column(column)?)?)),
            None => Ok(None),
        }
    }

    fn task(&self, labels: Option<&LabelVocabulary>) -> Task {
        match (labels, self.logits) {
            (Some(l), Some(_)) => Task::Classes { names: l.names().to_vec(), ignore: -100, entities: false },
            _ => Task::None,
        }
    }

    fn split(
        &self,
        table: &Arc<Table>,
        labels: Option<&LabelVocabulary>,
        settings: &Settings,
    ) -> Result<(TextBatches, Option<TextBatches>), SessionError> {
        let share = settings.data.split;
        if share <= 0.0 {
            return Ok((self.batches(table, (0..table.len()).collect(), labels, settings, true)?, None));
        }
        let classes = match (labels, &self.data.label) {
            (Some(l), Some(column)) => l.indices(table, table.column(column)?)?,
            _ => vec![0; table.len()],
        };
        let (train, held) = stratified_split(&classes, share, settings.training.seed);
        let validation = self.batches(table, held, labels, settings, false)?;
        Ok((self.batches(table, train, labels, settings, true)?, Some(validation)))
    }

    /// Batches of some rows; `training` shuffles and may drop the last one.
    pub fn batches(
        &self,
        table: &Arc<Table>,
        rows: Vec<usize>,
        labels: Option<&LabelVocabulary>,
        settings: &Settings,
        training: bool,
    ) -> Result<TextBatches, SessionError> {
        let columns =
            Columns { text: self.data.text.clone(), label: self.data.label.clone().filter(|_| labels.is_some()) };
        let (fixed_batch, fixed_length) = self.baked_sizes();
        let max_length = fixed_length.or(settings.data.max_length).unwrap_or(MAX_LENGTH);
        let options = BatchOptions {
            batch: fixed_batch.unwrap_or(settings.training.batch),
            fixed_batch: fixed_batch.is_some(),
            drop_last: training && settings.training.drop_last,
            shuffle: training && settings.training.shuffle,
            seed: settings.training.seed,
            max_length,
            pad: match (fixed_length, settings.data.padding) {
                (Some(n), _) => PadTo::Length(n),
                (None, Padding::MaxLength) => PadTo::Length(max_length),
                (None, _) => PadTo::Longest { multiple: 8 },
            },
            buckets: training && settings.data.buckets,
        };
        let feeds = self.feeds.iter().filter(|f| labels.is_some() || f.feature != Feature::Label).cloned().collect();
        Ok(TextBatches::new(table.clone(), rows, &columns, labels, self.tokenizer.clone(), feeds, options)?)
    }

    /// Batch size and length that the graph fixes.
    fn baked_sizes(&self) -> (Option<usize>, Option<usize>) {
        let ids = self.feeds.iter().find(|f| f.feature == Feature::InputIds);
        let dim = |axis| ids.and_then(|f| f.shape.dim(axis));
        (dim(0), dim(1))
    }
}

/// One entry per placeholder that loss or predictions need.
fn feeds(understood: &Understood, data: &DataChoice, logits: Option<Value>) -> Result<Vec<FeedSpec>, SessionError> {
    let mut program = understood.program.clone();
    program.outputs = understood.objective.values.iter().copied().chain(logits).collect();
    let live = live_values(&program);
    let names = understood.names()?;
    let mut chosen: IndexMap<Value, Feature> = IndexMap::new();
    for (name, feature) in &data.map {
        chosen.insert(names.value(name)?, Feature::parse(feature));
    }
    let mut out = Vec::new();
    for feed in program.feeds.iter().filter(|f| live[f.value.idx()] || chosen.contains_key(&f.value)) {
        let fact = program.fact(feed.value);
        let is_labels = understood.objective.labels == Some(feed.value);
        let guess = if is_labels { Some(Feature::Label) } else { guess_feature(&program, feed.value, &feed.name) };
        let pinned = understood.recipe.pins.keys().any(|p| names.find(p) == Some(feed.value));
        match chosen.get(&feed.value).cloned().or(guess) {
            Some(feature) => out.push(FeedSpec {
                name: program.describe(feed.value),
                feature,
                dtype: fact.dtype,
                shape: fact.shape.clone(),
            }),
            None if pinned => {}
            None => {
                return Err(SessionError::Choice(format!(
                    "nothing says what fills the placeholder {} ({}); map it with --map {}=FEATURE (input_ids, input_mask, \
                     segment_ids, label, or a column), or pin it with --set-input",
                    feed.name,
                    fact.describe(),
                    feed.name
                )));
            }
        }
    }
    Ok(out)
}

/// By the words of its name, else by its shape: one integer per example is a label.
fn guess_feature(program: &Program, value: Value, name: &str) -> Option<Feature> {
    let name = name.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| name.contains(w));
    if has(&["mask"]) {
        Some(Feature::InputMask)
    } else if has(&["segment", "token_type", "type_ids"]) {
        Some(Feature::SegmentIds)
    } else if has(&["label", "target"]) {
        Some(Feature::Label)
    } else if has(&["input_ids", "token", "word", "input_word"]) || name.starts_with("ids") {
        Some(Feature::InputIds)
    } else {
        let fact = program.fact(value);
        (fact.dtype.is_int() && fact.rank() == Some(1)).then_some(Feature::Label)
    }
}

/// What a softmax cross-entropy on the way to the loss reads.
fn guess_logits(understood: &Understood) -> Option<Value> {
    let mut program = understood.program.clone();
    program.outputs.clone_from(&understood.objective.values);
    let live = live_values(&program);
    let is_loss = |name: &str| ["softmax_cross_entropy", "sparse_softmax_cross_entropy", "log_softmax"].contains(&name);
    let reaches = |outs: &[Value]| outs.iter().any(|v| live[v.idx()]);
    let found = program.instrs.iter().rev().find(|i| is_loss(i.name()) && reaches(&i.outputs))?;
    found.inputs.first().copied()
}

/// Loss and metrics of a data set.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    pub loss: f64,
    pub metrics: Metrics,
}

/// A run's checkpoint on labelled data: `data`, else the run's own validation table.
pub fn evaluate(run: &Run, data: Option<&Path>, threads: Option<usize>) -> Result<Evaluation, SessionError> {
    let mut reporter = Reporter::default();
    let plan = TablePlan::new(Arc::new(run.session.understand()?), &mut reporter)?;
    let settings = training::settings(run.session.recipe())?;
    let own = data.map(|d| d.to_string_lossy().into_owned()).or(plan.data.validation.clone());
    let labels = plan.labels(&*plan.open_table(&plan.data.train, &settings)?)?;
    let mut source = match own {
        Some(path) => {
            let table = plan.open_table(&path, &settings)?;
            plan.batches(&table, (0..table.len()).collect(), labels.as_ref(), &settings, false)?
        }
        None => {
            let table = plan.open_table(&plan.data.train, &settings)?;
            plan.split(&table, labels.as_ref(), &settings)?.1.ok_or_else(|| {
                SessionError::Choice("this run has no validation data; name a table with --data".to_owned())
            })?
        }
    };
    let engine = Engine::new(threads.unwrap_or(0))?;
    let steps = SessionSteps::new(plan.understood.clone(), plan.logits)?;
    let parameters = run.parameters(&plan.understood)?;
    let mut executables = Executables::new(Box::new(steps), engine);
    let task = plan.task(labels.as_ref());
    let (loss, report) =
        crate::train::evaluate(&mut executables, &parameters, &mut source, &task, settings.training.seed)
            .map_err(SessionError::Choice)?;
    Ok(Evaluation { loss, metrics: report.metrics })
}

/// The prediction for one row.
#[derive(Clone, Debug, Serialize)]
pub struct Prediction {
    pub label: String,
    pub probabilities: IndexMap<String, f64>,
}

/// A run's checkpoint on new rows, in the order of the table.
pub fn predict(run: &Run, data: &Path, threads: Option<usize>) -> Result<Vec<Prediction>, SessionError> {
    let mut reporter = Reporter::default();
    let plan = TablePlan::new(Arc::new(run.session.understand()?), &mut reporter)?;
    let settings = training::settings(run.session.recipe())?;
    let labels = plan.labels(&*plan.open_table(&plan.data.train, &settings)?)?;
    let labels = labels.ok_or_else(|| SessionError::Choice("this run was not trained on labels".to_owned()))?;
    let logits = plan.logits.ok_or_else(|| {
        SessionError::Choice(
            "nothing says which value holds the predictions; name it with --logits when training".to_owned(),
        )
    })?;
    let table = plan.open_table(&data.to_string_lossy(), &settings)?;
    let mut source = plan.batches(&table, (0..table.len()).collect(), None, &settings, false)?;
    let engine = Engine::new(threads.unwrap_or(0))?;
    let steps = SessionSteps::inference(plan.understood.clone(), Some(logits));
    let parameters = run.parameters(&plan.understood)?;
    let mut executables = Executables::new(Box::new(steps), engine);
    let (mut scores, mut width) = (Vec::new(), 0);
    crate::train::evaluate::predict(&mut executables, &parameters, &mut source, |rows, prediction| {
        width = prediction.shape().last().copied().unwrap_or(0);
        let values = prediction.to_f64s().ok_or("the predictions are not numbers")?;
        scores.extend(values.into_iter().take(rows.len() * width));
        Ok(())
    })
    .map_err(SessionError::Choice)?;
    let probabilities = crate::train::evaluate::probabilities(&scores, width);
    Ok(probabilities.chunks_exact(width.max(1)).map(|row| prediction(row, labels.names())).collect())
}

fn prediction(probabilities: &[f64], names: &[String]) -> Prediction {
    let name = |i: usize| names.get(i).cloned().unwrap_or_else(|| i.to_string());
    Prediction {
        label: name(crate::train::metrics::argmax(probabilities)),
        probabilities: probabilities.iter().enumerate().map(|(i, &p)| (name(i), p)).collect(),
    }
}

/// One row per prediction: the label, then a column per class.
pub fn to_csv(rows: &[Prediction]) -> Result<String, SessionError> {
    let fail = |e: csv::Error| SessionError::Choice(format!("the table could not be written: {e}"));
    let mut out = csv::Writer::from_writer(Vec::new());
    if let Some(first) = rows.first() {
        out.write_record(std::iter::once("label").chain(first.probabilities.keys().map(String::as_str)))
            .map_err(fail)?;
    }
    for row in rows {
        let numbers = row.probabilities.values().map(|p| format!("{p:.6}"));
        out.write_record(std::iter::once(row.label.clone()).chain(numbers)).map_err(fail)?;
    }
    let bytes = out.into_inner().map_err(|e| SessionError::Choice(e.to_string()))?;
    String::from_utf8(bytes).map_err(|e| SessionError::Choice(e.to_string()))
}
