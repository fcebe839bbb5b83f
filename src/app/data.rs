//! What the Data tab shows: a preview, classes, lengths; made in a job whenever the choice of data changes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::base::{Severity, files};
use crate::data::{ArrayFeeds, DataError, LabelVocabulary, Table, Tokenizer, TokenizerOptions};
use crate::session::Change;
use crate::session::recipe::{DataChoice, Recipe};
use crate::ui::ctx::DataView;

use super::App;
use super::jobs::Outcome;

/// Rows that the preview shows, and rows whose lengths are measured.
const N_PREVIEW: usize = 200;
const N_MEASURED: usize = 1000;
const DEFAULT_MAX_LENGTH: usize = 128;

/// What was found in a file, and the columns that were guessed where none were chosen.
#[derive(Debug, Default)]
pub struct Found {
    view: DataView,
    /// The choice with its gaps filled, where there were gaps.
    guess: Option<DataChoice>,
}

impl App {
    /// Looks at the data anew where the choice of data or what shapes it has changed.
    pub(super) fn refresh_data(&mut self) {
        let Some(open) = &mut self.open else { return };
        let Some(choice) = open.recipe().data.clone() else {
            open.data = None;
            self.data_key = None;
            return;
        };
        let lengths = open.recipe().settings.get("data.max_length").cloned();
        let split = open.recipe().settings.get("data.split").cloned();
        let key = (choice.clone(), lengths, split);
        if self.data_key.as_ref() == Some(&key) {
            return;
        }
        self.data_key = Some(key);
        let recipe = open.recipe().clone();
        let folder = open.path.parent().map(Path::to_owned).unwrap_or_default();
        self.jobs.start("Reading the data", move |_, _| {
            Outcome::Data(Box::new(look(&choice, &recipe, &folder).map_err(|e| e.to_string())))
        });
    }

    pub(super) fn take_data(&mut self, result: Result<Found, String>) {
        let found = match result {
            Ok(found) => found,
            Err(e) => return self.say(Severity::Error, format!("The data could not be read: {e}")),
        };
        if let Some(open) = &mut self.open {
            open.data = Some(std::sync::Arc::new(found.view));
        }
        if let Some(guess) = found.guess {
            // One undo step together with the choice of the file.
            self.change(&Change::SetData(Some(guess)), Some(super::commands::DATA_GESTURE));
        }
    }
}

fn look(choice: &DataChoice, recipe: &Recipe, model_folder: &Path) -> Result<Found, DataError> {
    let path = PathBuf::from(&choice.train);
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz")) {
        return look_at_arrays(&path);
    }
    let table = Table::open(&path, true)?;
    let guess = filled(choice, &table, &path, model_folder)?;
    let chosen = guess.as_ref().unwrap_or(choice);
    let n = table.len();
    let mut view = DataView {
        source: choice.train.clone(),
        columns: table.columns().to_vec(),
        rows: (0..n.min(N_PREVIEW)).map(|r| table.row(r)).collect::<Result<_, _>>()?,
        text: chosen.text.clone(),
        label: chosen.label.clone(),
        tokenizer: chosen.tokenizer.clone(),
        ..DataView::default()
    };
    let (skipped, reasons) = table.skipped();
    if skipped > 0 {
        view.notes.push(format!("{skipped} malformed rows are left out ({})", reasons.join("; ")));
    }
    let split: f64 = recipe.settings.get("data.split").and_then(|s| s.parse().ok()).unwrap_or(0.0);
    view.n_validation = match &chosen.validation {
        Some(path) => Table::open(Path::new(path), true)?.len(),
        None => (n as f64 * split).round() as usize,
    };
    view.n_train = if chosen.validation.is_some() { n } else { n - view.n_validation.min(n) };
    if let Some(label) = &chosen.label {
        let labels = LabelVocabulary::of_column(&table, table.column(label)?)?;
        view.classes = labels.names().iter().cloned().zip(labels.counts().iter().copied()).collect();
    }
    view.mapping = chosen.map.iter().map(|(p, f)| (p.clone(), f.clone(), String::new())).collect();
    measure(&mut view, chosen, recipe, &table)?;
    Ok(Found { view, guess })
}

/// Tokens per text and what would be cut.
fn measure(view: &mut DataView, choice: &DataChoice, recipe: &Recipe, table: &Table) -> Result<(), DataError> {
    let (Some(path), false) = (&choice.tokenizer, choice.text.is_empty()) else { return Ok(()) };
    let options = TokenizerOptions { lower: choice.lower, ..TokenizerOptions::default() };
    let tokenizer = Tokenizer::open(Path::new(path), options)?;
    let columns: Vec<usize> = choice.text.iter().map(|c| table.column(c)).collect::<Result<_, _>>()?;
    let mut lengths = Vec::new();
    for r in 0..table.len().min(N_MEASURED) {
        let row = table.row(r)?;
        let text = |i: usize| columns.get(i).and_then(|&c| row.get(c)).map(String::as_str);
        lengths.push(tokenizer.encode(text(0).unwrap_or_default(), text(1), None)?.input_ids.len());
    }
    view.max_length = recipe.settings.get("data.max_length").and_then(|s| s.parse().ok()).unwrap_or(DEFAULT_MAX_LENGTH);
    view.n_cut = lengths.iter().filter(|&&l| l > view.max_length).count();
    (view.lengths, view.length_bin) = bins(&lengths);
    Ok(())
}

/// Counts in about twenty bins of equal width, and the width.
fn bins(lengths: &[usize]) -> (Vec<usize>, usize) {
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let width = (longest / 20 + 1).max(1);
    let mut counts = vec![0; longest / width + 1];
    for l in lengths {
        counts[l / width] += 1;
    }
    (counts, width)
}

/// Fills what was not chosen: a label column of few different values, a text column of long ones, a vocabulary beside
/// data or model. `None` where nothing was missing or can be said.
fn filled(
    choice: &DataChoice,
    table: &Table,
    path: &Path,
    model_folder: &Path,
) -> Result<Option<DataChoice>, DataError> {
    let mut new = choice.clone();
    let sample: Vec<Vec<String>> = (0..table.len().min(N_PREVIEW)).map(|r| table.row(r)).collect::<Result<_, _>>()?;
    let columns = table.columns();
    if new.label.as_ref().is_none_or(|l| !columns.contains(l)) {
        new.label = guess_label(columns, &sample);
    }
    new.text.retain(|t| columns.contains(t));
    if new.text.is_empty() {
        new.text = guess_text(columns, &sample, new.label.as_deref()).into_iter().collect();
    }
    if new.tokenizer.is_none() && !new.text.is_empty() {
        let folders = [path.parent().unwrap_or(Path::new(".")), model_folder];
        let names = ["tokenizer.json", "vocab.txt"];
        let beside = folders.iter().flat_map(|f| names.iter().map(|n| f.join(n))).find(|p| files::exists(p));
        new.tokenizer = beside.map(|p| p.to_string_lossy().into_owned());
    }
    Ok((new != *choice).then_some(new))
}

fn guess_label(columns: &[String], sample: &[Vec<String>]) -> Option<String> {
    let known = ["label", "labels", "class", "target", "category", "sentiment", "y"];
    let named = columns.iter().find(|c| known.contains(&c.to_lowercase().as_str()));
    let few = || {
        let distinct = |i: usize| sample.iter().filter_map(|r| r.get(i)).collect::<BTreeSet<_>>().len();
        let fits = |i: &usize| (2..=50).contains(&distinct(*i)) && distinct(*i) * 4 <= sample.len().max(8);
        (0..columns.len()).filter(fits).min_by_key(|&i| distinct(i)).map(|i| &columns[i])
    };
    named.or_else(few).cloned()
}

fn guess_text(columns: &[String], sample: &[Vec<String>], label: Option<&str>) -> Option<String> {
    let total = |i: usize| sample.iter().filter_map(|r| r.get(i)).map(String::len).sum::<usize>();
    (0..columns.len())
        .filter(|&i| Some(columns[i].as_str()) != label)
        .max_by_key(|&i| total(i))
        .map(|i| columns[i].clone())
}

fn look_at_arrays(path: &Path) -> Result<Found, DataError> {
    let arrays = ArrayFeeds::open(path)?;
    let mapping = arrays.names().map(|n| (n.to_owned(), "array".to_owned(), String::new())).collect();
    let view = DataView {
        source: path.to_string_lossy().into_owned(),
        mapping,
        notes: vec!["Each array has one more leading axis, the step: step i feeds slice i.".to_owned()],
        ..DataView::default()
    };
    Ok(Found { view, guess: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<String>> {
        (0..20).map(|i| vec![i.to_string(), format!("some longer words {i}"), ["a", "b"][i % 2].to_owned()]).collect()
    }

    #[test]
    fn columns_are_guessed_by_what_they_hold() {
        let columns = ["id", "words", "kind"].map(str::to_owned);
        let label = guess_label(&columns, &rows());
        assert_eq!(label.as_deref(), Some("kind"));
        assert_eq!(guess_text(&columns, &rows(), label.as_deref()).as_deref(), Some("words"));
        let named = ["text", "Label"].map(str::to_owned);
        assert_eq!(guess_label(&named, &[]).as_deref(), Some("Label"));
    }

    #[test]
    fn lengths_fall_into_bins() {
        let (counts, width) = bins(&[3, 4, 40, 41]);
        assert_eq!(width, 3);
        assert_eq!(counts.iter().sum::<usize>(), 4);
        assert_eq!(bins(&[]), (vec![0], 1));
    }
}
