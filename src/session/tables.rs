//! Runs on data sets: columns become feeds, labels become classes; training, evaluation and prediction.

use std::path::Path;
use std::sync::Arc;

use crate::base::Reporter;
use crate::data::{BatchSource, DataError, DataSet, LabelVocabulary};
use crate::train::Job;

use super::classes;
use super::error::SessionError;
use super::file;
use super::plan::{self, DataPlan};
use super::session::Session;
use super::training::{self, Sources, Start};

pub use super::scoring::{Evaluation, Mistake, Prediction, Subject, TokenPrediction, evaluate, predict, to_csv};

/// Name of the list of classes in a run's folder and beside an exported model, without its extension.
pub const LABELS: &str = "labels";

impl From<DataError> for SessionError {
    fn from(e: DataError) -> Self {
        Self::Choice(e.to_string())
    }
}

/// The run that the session's data and settings describe.
pub fn job(session: &Session, start: Start, reporter: &mut Reporter) -> Result<Job, SessionError> {
    match classes::counted(session.recipe(), reporter)? {
        Some(recipe) => job_of(&Session::new(session.model.clone(), recipe), start, reporter),
        None => job_of(session, start, reporter),
    }
}

fn job_of(session: &Session, start: Start, reporter: &mut Reporter) -> Result<Job, SessionError> {
    let understood = Arc::new(session.understand()?);
    reporter.extend(understood.diagnostics.iter().cloned());
    training::report_blocked(&understood, reporter);
    let choice = plan::choice(&understood)?;
    let settings = training::settings(&understood.recipe)?;
    let set = plan::open(Path::new(&choice.train), &choice, settings.data.skip_bad_rows, reporter)?;
    if let DataSet::Arrays(a) = &set
        && holds_steps(&understood, a)?
    {
        let feeds = crate::data::ArrayFeeds::open(Path::new(&choice.train))?;
        return training::on_arrays(session, feeds, start, reporter);
    }
    let plan = DataPlan::new(understood.clone(), &set, reporter)?;
    let labels = plan.labels(&set, reporter)?;
    say_classes(labels.as_ref(), reporter);
    let (train, validation) = sources(&plan, set, labels.as_ref(), reporter)?;
    let (task, logits) = (plan.task(&train.1, labels.as_ref()), plan.logits);
    let folder = start.folder.clone();
    let repeats = plan.repeats();
    let job = training::job(session, understood, Sources { train: train.0, validation, task, logits, repeats }, start)?;
    if let Some(folder) = folder {
        keep_decisions(session, &folder, &plan, labels.as_ref())?;
    }
    Ok(job)
}

/// What was decided from the data goes into the run's folder, so that evaluation and prediction need not decide again: the
/// classes in their order, and the maximal length.
fn keep_decisions(
    session: &Session,
    folder: &Path,
    plan: &DataPlan,
    labels: Option<&LabelVocabulary>,
) -> Result<(), SessionError> {
    if let Some(labels) = labels {
        labels.write(folder, LABELS).map_err(|e| SessionError::File {
            path: folder.to_owned(),
            what: "prepared for a run",
            why: e.to_string(),
        })?;
    }
    if plan.feeds.iter().any(|f| f.feature.is_text()) {
        let mut recipe = (**session.recipe()).clone();
        recipe.settings.insert("data.max_length".to_owned(), plan.max_length.to_string());
        file::save(&folder.join(training::RECIPE), &session.model, &recipe)?;
    }
    Ok(())
}

type Source = Box<dyn BatchSource>;

/// Batches for training and for validation.
fn sources(
    plan: &DataPlan,
    set: DataSet,
    labels: Option<&LabelVocabulary>,
    reporter: &mut Reporter,
) -> Result<((Source, DataSet), Option<Source>), SessionError> {
    let train = plan.opened(set, labels)?;
    let (rows, held) = match &plan.data.validation {
        Some(_) => (plan.usable(&train, (0..train.set.len()).collect(), reporter), Vec::new()),
        None => plan.split(&train, reporter)?,
    };
    let validation = match &plan.data.validation {
        Some(path) => {
            let other = plan.opened(plan.open(Path::new(path), reporter)?, labels)?;
            let rows = plan.usable(&other, (0..other.set.len()).collect(), reporter);
            warn_empty(labels, other.targets.classes(), &rows, reporter);
            Some(plan.batches(&other, rows, labels, false)?)
        }
        None if held.is_empty() => None,
        None => {
            warn_empty(labels, train.targets.classes(), &held, reporter);
            Some(plan.batches(&train, held, labels, false)?)
        }
    };
    Ok(((plan.batches(&train, rows, labels, true)?, train.set), validation))
}

/// Classes without an example to evaluate on: their scores say nothing.
fn warn_empty(labels: Option<&LabelVocabulary>, classes: Option<&[u32]>, rows: &[usize], reporter: &mut Reporter) {
    let (Some(labels), Some(classes)) = (labels, classes) else { return };
    let mut counts = vec![0usize; labels.len()];
    for &row in rows {
        if let Some(n) = classes.get(row).and_then(|&c| counts.get_mut(c as usize)) {
            *n += 1;
        }
    }
    let empty: Vec<&str> =
        counts.iter().zip(labels.names()).filter(|(n, _)| **n == 0).map(|(_, l)| l.as_str()).take(10).collect();
    if !empty.is_empty() {
        reporter.warning(
            "empty-class",
            format!("the validation data has no examples of {}; their scores say nothing", empty.join(", ")),
            None,
        );
    }
}

fn say_classes(labels: Option<&LabelVocabulary>, reporter: &mut Reporter) {
    let Some(labels) = labels.filter(|l| l.counts().iter().any(|&n| n > 0)) else { return };
    let shown = labels.names().iter().zip(labels.counts()).take(30).map(|(n, c)| format!("{n} {c}"));
    let more = if labels.len() > 30 { ", …" } else { "" };
    let list = shown.collect::<Vec<_>>().join(", ");
    reporter.info("classes", format!("{} classes: {list}{more}", labels.len()), None);
}

/// Whether arrays have one more leading axis than the placeholders of their names: then it is the step, not the example.
fn holds_steps(understood: &super::Understood, arrays: &crate::data::ExampleArrays) -> Result<bool, SessionError> {
    let names = understood.names()?;
    let ranks = arrays.arrays().filter_map(|(name, t)| {
        let rank = understood.program.fact(names.find(name)?).rank()?;
        Some((t.rank(), rank))
    });
    let ranks: Vec<(usize, usize)> = ranks.collect();
    Ok(!ranks.is_empty() && ranks.iter().all(|(array, feed)| *array == feed + 1))
}
