//! How many outputs a new head needs, counted in the data, where nobody says it.

use std::path::Path;

use crate::base::Reporter;
use crate::data::{Columns, DataSet, LabelVocabulary, Target};
use crate::edits::heads::{self, HeadChoice};

use super::error::SessionError;
use super::mapping;
use super::plan;
use super::recipe::{DataChoice, EditStep, Recipe};
use super::training;

/// The recipe with the number of outputs of its heads; `None` where it names them all or has no data to count in. Errors:
/// data that cannot be opened, a label column that is not there or has one value only.
pub fn counted(recipe: &Recipe, reporter: &mut Reporter) -> Result<Option<Recipe>, SessionError> {
    let Some(data) = recipe.data.as_ref().filter(|d| !d.train.is_empty()) else { return Ok(None) };
    let is_open = |step: &EditStep| match step {
        EditStep::GraftHead(choice) => is_open(choice, data),
        _ => false,
    };
    if !recipe.edits.iter().any(|e| e.enabled && is_open(&e.step)) {
        return Ok(None);
    }
    let skip = training::settings(recipe)?.data.skip_bad_rows;
    // What is left out of the data is said when it is opened for training.
    let set = plan::open(Path::new(&data.train), data, skip, &mut Reporter::default())?;
    let mut out = recipe.clone();
    for entry in out.edits.iter_mut().filter(|e| e.enabled) {
        if let EditStep::GraftHead(choice) = &mut entry.step
            && self::is_open(choice, data)
        {
            let n = count(choice, data, &set, skip)?;
            choice.classes = Some(n);
            let what = format!("the head {} gets {n} outputs, counted in {}", choice.name, data.train);
            reporter.info("classes-counted", what, None);
        }
    }
    Ok(Some(out))
}

/// Whether the number of outputs is neither said nor fixed by the kind.
fn is_open(choice: &HeadChoice, data: &DataChoice) -> bool {
    let Some(info) = heads::find(&choice.kind) else { return false };
    let has_several = is_of_numbers(info.loss) && mapping::label_columns(data).len() > 1;
    choice.classes.is_none() && (info.classes.is_none() || has_several)
}

fn is_of_numbers(loss: &str) -> bool {
    mapping::target_of_loss(loss) == Target::Values
}

fn count(choice: &HeadChoice, data: &DataChoice, set: &DataSet, skip: bool) -> Result<usize, SessionError> {
    let target = heads::find(&choice.kind).map_or(Target::Classes, |info| mapping::target_of_loss(info.loss));
    let columns = mapping::label_columns(data);
    if target == Target::Values {
        return Ok(columns.len());
    }
    let columns = Columns { text: data.text.clone(), label: columns, target, skip };
    let labels = match &data.labels {
        Some(path) => Some(LabelVocabulary::read(Path::new(path))?),
        None => set.labels(&columns)?,
    };
    let least = if target == Target::Classes { 2 } else { 1 };
    match labels {
        Some(l) if l.len() >= least => Ok(l.len()),
        Some(l) => Err(SessionError::Choice(format!(
            "the head {} has nothing to tell apart: the labels of {} are {}; name the label column with --label, or the \
             number of outputs with --classes N",
            choice.name,
            data.train,
            if l.is_empty() { "empty".to_owned() } else { format!("all '{}'", l.names()[0]) }
        ))),
        None => Err(SessionError::Choice(format!(
            "the head {} needs its number of outputs: {} names no labels to count (--label COLUMN, or --classes N)",
            choice.name, data.train
        ))),
    }
}
