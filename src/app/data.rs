//! What the Data tab shows: a preview, classes, lengths; made in a job whenever the choice of data changes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::{Reporter, Severity, files};
use crate::data::{Columns, DataError, DataSet, LabelVocabulary, Table};
use crate::session::plan::{DataPlan, Opened};
use crate::session::recipe::{DataChoice, DropoutChoice, Recipe, TrainableChoice};
use crate::session::understand::Base;
use crate::session::{Change, Model, SessionError, Understood};
use crate::tensor::Tensor;
use crate::ui::ctx::DataView;

use super::App;
use super::jobs::Outcome;

/// Rows that the preview shows, and rows whose lengths are measured.
const N_PREVIEW: usize = 200;
const N_MEASURED: usize = 1000;
/// Values of the arrays of one example that are listed.
const N_VALUES: usize = 256;

/// What was found in a file, and the columns that were guessed where none were chosen.
#[derive(Debug, Default)]
pub struct Found {
    view: DataView,
    /// The choice with its gaps filled, where there were gaps.
    guess: Option<DataChoice>,
    /// What makes arrays of single examples.
    examples: Option<Arc<Examples>>,
}

/// Data that were opened for a model, to look at one example after the other.
#[derive(Debug)]
pub struct Examples {
    plan: DataPlan,
    opened: Opened,
    labels: Option<LabelVocabulary>,
}

/// What an example becomes: placeholder, feature, array.
pub type Arrays = Vec<(String, String, String)>;

impl Examples {
    fn len(&self) -> usize {
        self.opened.set.len()
    }

    /// The arrays of one example as a batch by itself. Errors: a row that cannot be used.
    fn arrays(&self, row: usize) -> Result<Arrays, SessionError> {
        let mut source = self.plan.batches(&self.opened, vec![row], self.labels.as_ref(), false)?;
        let batch = source.batch(0, 0)?;
        let words = |name: &str| batch.feed(name).map(array_words).unwrap_or_default();
        let feeds = self.plan.feeds.iter();
        Ok(feeds.map(|f| (f.name.clone(), f.feature.name().to_owned(), words(&f.name))).collect())
    }
}

/// Title of the job that looks at the data.
pub(super) use crate::ui::panels::READING_DATA as READING;

/// What the view of the data depends on: decisions about training alone do not change it.
fn key(recipe: &Recipe) -> Recipe {
    let settings = recipe.settings.iter().filter(|(k, _)| k.starts_with("data.") || *k == "training.batch");
    Recipe {
        trainable: TrainableChoice::default(),
        dropout: DropoutChoice::default(),
        settings: settings.map(|(k, v)| (k.clone(), v.clone())).collect(),
        ..recipe.clone()
    }
}

impl App {
    /// Looks at the data anew where the choice of data or what shapes it has changed.
    pub(super) fn refresh_data(&mut self) {
        let (Some(open), Some(held)) = (&mut self.open, &self.session) else { return };
        let Some(choice) = open.recipe().data.clone() else {
            open.data = None;
            self.data_key = None;
            return;
        };
        let key = key(open.recipe());
        if self.data_key.as_ref() == Some(&key) {
            return;
        }
        self.data_key = Some(key);
        let recipe = open.recipe().clone();
        let folder = open.path.parent().map(Path::to_owned).unwrap_or_default();
        let (model, base) = (held.model.clone(), held.understood.base.clone());
        self.jobs.start(READING, move |_, _| {
            Outcome::Data(Box::new(look(&choice, &recipe, &folder, &model, &base).map_err(|e| e.to_string())))
        });
    }

    /// The look at the data was cancelled: what is chosen stays, and can be looked at again.
    pub(super) fn give_up_data(&mut self) {
        let Some(open) = &mut self.open else { return };
        self.data_key = None;
        if open.data.is_none() {
            let problem = Some("reading them was cancelled; choose the file again to read them".to_owned());
            open.data = Some(Arc::new(DataView { problem, ..DataView::default() }));
        }
    }

    pub(super) fn take_data(&mut self, result: Result<Found, String>) {
        let found = match result {
            Ok(found) => found,
            Err(e) => {
                if let Some(open) = &mut self.open {
                    let problem = Some(crate::ui::words::in_window(&e));
                    let view = DataView { problem, ..DataView::default() };
                    open.data = Some(Arc::new(view));
                }
                return self.say(Severity::Error, format!("The data could not be read: {e}"));
            }
        };
        self.examples = found.examples;
        if let Some(open) = &mut self.open {
            open.data = Some(Arc::new(found.view));
        }
        if let Some(guess) = found.guess {
            // One undo step together with the choice of the file.
            self.change(&Change::SetData(Some(guess)), Some(super::commands::DATA_GESTURE));
        }
    }
}

impl App {
    /// Shows what another example becomes, in a job.
    pub(super) fn show_example(&mut self, row: usize) {
        let Some(examples) = self.examples.clone() else { return };
        self.jobs.replace_quietly("Reading the example", move |_, _| {
            Outcome::Example(row, examples.arrays(row).map_err(|e| e.to_string()))
        });
    }

    pub(super) fn take_example(&mut self, row: usize, result: Result<Arrays, String>) {
        let Some(data) = self.open.as_mut().and_then(|o| o.data.as_mut()) else { return };
        let view = Arc::make_mut(data);
        view.example = row;
        (view.mapping, view.example_problem) = match result {
            Ok(mapping) => (mapping, None),
            Err(e) => (std::mem::take(&mut view.mapping), Some(e)),
        };
    }
}

fn look(
    choice: &DataChoice,
    recipe: &Recipe,
    model_folder: &Path,
    model: &Arc<Model>,
    base: &Arc<Base>,
) -> Result<Found, DataError> {
    let path = PathBuf::from(&choice.train);
    let set = DataSet::open(&path, choice.label.as_deref(), true)?;
    let guess = filled(choice, &set, &path, model_folder)?;
    let chosen = guess.as_ref().unwrap_or(choice);
    let mut view = preview(&set, chosen)?;
    view.kind = set.noun().to_owned();
    let (skipped, reasons) = set.skipped();
    if skipped > 0 {
        view.notes.push(format!("{skipped} malformed {} are left out ({})", set.noun(), reasons.join("; ")));
    }
    let recipe = Recipe { data: Some(chosen.clone()), ..recipe.clone() };
    let examples = match plan(&mut view, &set, recipe, model, base) {
        Ok(examples) => Some(Arc::new(examples)),
        Err(e) => {
            view.problem = Some(crate::ui::words::in_window(&e.to_string()));
            match e {
                SessionError::Unfed { placeholder, .. } => view.unfed = Some(placeholder),
                SessionError::TooManyClasses { classes, .. } => view.too_many_classes = Some(classes),
                _ => {}
            }
            None
        }
    };
    Ok(Found { view, guess, examples })
}

/// The first examples as they stand.
fn preview(set: &DataSet, chosen: &DataChoice) -> Result<DataView, DataError> {
    let n = set.len().min(N_PREVIEW);
    let view = DataView {
        source: chosen.train.clone(),
        text: chosen.text.clone(),
        label: chosen.label.clone(),
        tokenizer: chosen.tokenizer.clone(),
        n_train: set.len(),
        ..DataView::default()
    };
    if let DataSet::Table(table) = set {
        let rows = (0..n).map(|r| table.row(r)).collect::<Result<_, _>>()?;
        return Ok(DataView { columns: table.columns().to_vec(), rows, ..view });
    }
    let columns = Columns::default();
    let rows = (0..n).map(|r| vec![set.describe(r, &columns)]).collect();
    Ok(DataView { preview_title: set.noun().to_owned(), rows, ..view })
}

/// How the examples feed this model: what fills which placeholder, how long texts are, what classes there are.
fn plan(
    view: &mut DataView,
    set: &DataSet,
    recipe: Recipe,
    model: &Arc<Model>,
    base: &Arc<Base>,
) -> Result<Examples, SessionError> {
    let base = if base.serves(&recipe) { base.clone() } else { Arc::new(Base::new(model.clone(), &recipe)?) };
    let understood = Arc::new(Understood::new(base, Arc::new(recipe))?);
    let mut reporter = Reporter::default();
    let plan = DataPlan::new(understood, set, &mut reporter)?;
    if let Some(tokenizer) = &plan.tokenizer {
        let lengths = set.lengths(&plan.columns, tokenizer, N_MEASURED)?;
        view.max_length = plan.max_length;
        view.n_cut = lengths.iter().filter(|&&l| l > view.max_length).count();
        (view.lengths, view.length_bin) = bins(&lengths);
    }
    let classes = |l: &LabelVocabulary| l.names().iter().cloned().zip(l.counts().iter().copied()).collect();
    // Also where there are too many for the model: a head for them is grafted from here.
    view.classes = set.labels(&plan.columns)?.as_ref().map(classes).unwrap_or_default();
    let labels = plan.labels(set, &mut reporter)?;
    if let Some(l) = &labels {
        view.classes = classes(l);
    }
    let opened = plan.opened(set.clone(), labels.as_ref())?;
    match &plan.data.validation {
        Some(path) => view.n_validation = plan.open(Path::new(path), &mut reporter)?.len(),
        None => {
            let (train, held) = plan.split(&opened, &mut reporter)?;
            (view.n_train, view.n_validation) = (train.len(), held.len());
        }
    }
    let examples = Examples { plan, opened, labels };
    view.mapping = examples.arrays(0)?;
    view.n_examples = examples.len();
    view.notes.extend(reporter.diagnostics().iter().filter(|d| d.severity > Severity::Info).map(|d| d.message.clone()));
    Ok(examples)
}

/// `int32 1×32: 2 14 7 …`.
fn array_words(t: &Tensor) -> String {
    let dims: Vec<Option<usize>> = t.shape().iter().copied().map(Some).collect();
    let values: Vec<String> = t.to_f64s().unwrap_or_default().iter().map(|v| crate::ui::text::number(*v, 4)).collect();
    let more = if values.len() > N_VALUES { " …" } else { "" };
    let shown = values.iter().take(N_VALUES).cloned().collect::<Vec<_>>().join(" ");
    format!("{} {}: {shown}{more}", t.dtype(), crate::ui::text::shape(Some(&dims)))
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
    set: &DataSet,
    path: &Path,
    model_folder: &Path,
) -> Result<Option<DataChoice>, DataError> {
    let mut new = choice.clone();
    if let DataSet::Table(table) = set {
        fill_columns(&mut new, table)?;
    }
    let needs_tokenizer = set.is_sequences() || !new.text.is_empty();
    if new.tokenizer.is_none() && needs_tokenizer {
        let folders = [path.parent().unwrap_or(Path::new(".")), model_folder];
        let names = ["tokenizer.json", "vocab.txt"];
        let beside = folders.iter().flat_map(|f| names.iter().map(|n| f.join(n))).find(|p| files::exists(p));
        new.tokenizer = beside.map(|p| p.to_string_lossy().into_owned());
    }
    Ok((new != *choice).then_some(new))
}

fn fill_columns(new: &mut DataChoice, table: &Table) -> Result<(), DataError> {
    let sample: Vec<Vec<String>> = (0..table.len().min(N_PREVIEW)).map(|r| table.row(r)).collect::<Result<_, _>>()?;
    let columns = table.columns();
    if new.label.as_ref().is_none_or(|l| !columns.contains(l)) {
        new.label = guess_label(columns, &sample);
    }
    new.text.retain(|t| columns.contains(t));
    if new.text.is_empty() {
        new.text = guess_text(columns, &sample, new.label.as_deref()).into_iter().collect();
    }
    Ok(())
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
