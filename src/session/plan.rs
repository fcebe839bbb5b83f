//! How a data set feeds this session's model: what fills each placeholder, what labels mean, how long texts may be, and
//! which rows train.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::Reporter;
use crate::data::order::{BatchOptions, PadTo};
use crate::data::shuffle::stratified_split;
use crate::data::tokenizer::{Tokenizer, TokenizerOptions};
use crate::data::{
    BatchSource, Columns, Conll, DataSet, Feature, FeedSpec, ImageOptions, LabelVocabulary, Making, Masking,
    PixelScale, Target, Targets, TokenBatches,
};
use crate::program::Value;
use crate::train::metrics::Task;
use crate::train::settings::{Padding, Settings};

use super::binary;
use super::error::SessionError;
use super::job::Repeats;
use super::lengths;
use super::mapping;
use super::model::Model;
use super::recipe::DataChoice;
use super::training;
use super::understand::Understood;
use super::words;

/// Values of a split column that mean validation, in order of preference.
const VALIDATION: &[&[&str]] = &[&["validation", "valid", "val", "dev", "eval"], &["test"]];
const TRAINING: &[&str] = &["train", "training"];

/// See the module doc.
#[derive(Debug)]
pub struct DataPlan {
    pub understood: Arc<Understood>,
    pub data: DataChoice,
    pub settings: Settings,
    pub feeds: Vec<FeedSpec>,
    pub logits: Option<Value>,
    pub columns: Columns,
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// The longest sequence of tokens.
    pub max_length: usize,
}

/// Which words of a text are hidden.
#[derive(Clone, Copy, Debug)]
enum Hidden {
    /// The share that the settings say; anew in every epoch or not.
    Share { renews: bool },
    /// What the texts hide themselves.
    Given,
}

/// An opened data set with its labels.
#[derive(Clone, Debug)]
pub struct Opened {
    pub set: DataSet,
    pub targets: Arc<Targets>,
}

impl DataPlan {
    /// Guesses what each placeholder wants; the recipe's `map` corrects it. `sample` is the data that guesses and lengths
    /// come from. Errors name the placeholder that nothing fits.
    pub fn new(understood: Arc<Understood>, sample: &DataSet, reporter: &mut Reporter) -> Result<Self, SessionError> {
        let data = choice(&understood)?;
        let settings = training::settings(&understood.recipe)?;
        let logits = match &data.logits {
            Some(name) => Some(understood.names()?.value(name)?),
            None if settings.data.mask_rate > 0.0 => {
                understood.objective.logits.or_else(|| words::scores(&understood.program))
            }
            None => understood.objective.logits.or_else(|| mapping::guess_logits(&understood)),
        };
        let mut columns = Columns {
            text: data.text.clone(),
            label: mapping::label_columns(&data),
            target: match settings.data.mask_rate {
                rate if rate > 0.0 => Target::Words,
                _ => mapping::target(&understood, sample, &data),
            },
            skip: settings.data.skip_bad_rows,
        };
        let has_one_output =
            columns.target != Target::Words && logits.is_some_and(|v| binary::width(&understood.program, v) == Some(1));
        if has_one_output {
            columns.target = binary::target(columns.target, sample, &columns);
        }
        let is_score = columns.target == Target::Marks || (has_one_output && columns.target == Target::Classes);
        let before = |v| binary::before_sigmoid(&understood.program, v).unwrap_or(v);
        let logits = if is_score { logits.map(before) } else { logits };
        let feeds = mapping::feeds(&understood, &data, logits, sample)?;
        let tokenizer = open_tokenizer(&understood, &data, reporter)?;
        if let Some(tokenizer) = &tokenizer {
            words::check_vocabulary(&understood, &feeds, tokenizer, reporter);
        }
        let mut plan = Self { understood, data, settings, feeds, logits, columns, tokenizer, max_length: 0 };
        plan.max_length = lengths::choose(&plan, sample, reporter)?;
        Ok(plan)
    }

    /// Opens a data set of this kind and reports what was left out of it.
    pub fn open(&self, path: &Path, reporter: &mut Reporter) -> Result<DataSet, SessionError> {
        open(path, &self.data, self.settings.data.skip_bad_rows, reporter)
    }

    /// The labels of a data set by the numbers of `labels`.
    pub fn opened(&self, set: DataSet, labels: Option<&LabelVocabulary>) -> Result<Opened, SessionError> {
        let targets = Arc::new(set.targets(&self.columns, labels)?);
        Ok(Opened { set, targets })
    }

    /// The classes: those of the list that the recipe names, else those of the training data. Errors: more classes than
    /// the model has outputs.
    pub fn labels(&self, train: &DataSet, reporter: &mut Reporter) -> Result<Option<LabelVocabulary>, SessionError> {
        let own = train.labels(&self.columns)?;
        let labels = match &self.data.labels {
            Some(path) => Some(LabelVocabulary::read(Path::new(path))?),
            None => own.as_ref().and_then(|own| self.model_labels(own)).or_else(|| own.clone()),
        };
        if let (Some(list), Some(own), Some(_)) = (&labels, &own, &self.data.labels) {
            let missing: Vec<&str> =
                list.names().iter().map(String::as_str).filter(|n| own.index(n).is_none()).take(10).collect();
            if !missing.is_empty() {
                reporter.warning(
                    "empty-class",
                    format!("no training examples for {}; the model cannot learn them", missing.join(", ")),
                    Some(self.data.train.clone()),
                );
            }
        }
        if let Some(l) = &labels {
            self.check_width(l)?;
        }
        Ok(labels)
    }

    /// The classes in the order of the model's own outputs, where it names them and the data has no others: a classifier
    /// that was trained already means its outputs in that order.
    fn model_labels(&self, own: &LabelVocabulary) -> Option<LabelVocabulary> {
        let base = &self.understood.base;
        let names = &base.model.imported.assets.labels;
        let is_own_head = base.edited.heads.is_empty() && !names.is_empty();
        let knows = |name: &String| names.contains(name);
        (is_own_head && own.names().iter().all(knows)).then(|| LabelVocabulary::from_names(names.clone()))
    }

    /// Where the model has one output, the classes say what it means, because data to evaluate on need not have all.
    pub fn settle(&mut self, labels: Option<&LabelVocabulary>) {
        let width = self.logits.and_then(|v| binary::width(&self.understood.program, v));
        if width == Some(1) {
            self.columns.target = binary::target_of(self.columns.target, labels);
        }
    }

    fn check_width(&self, labels: &LabelVocabulary) -> Result<(), SessionError> {
        let Some(logits) = self.logits else { return Ok(()) };
        let width = binary::width(&self.understood.program, logits);
        // One output tells two classes apart.
        let most = width.map(|w| if w == 1 && self.columns.target == Target::Classes { 2 } else { w });
        match (width, most) {
            (Some(w), Some(most)) if labels.len() > most => Err(SessionError::TooManyClasses {
                classes: labels.len(),
                why: format!(
                    "the data has {} classes ({}), but {} has {w} {}: graft a head for {} classes, or name another label \
                     column with --label",
                    labels.len(),
                    labels.names().iter().take(12).cloned().collect::<Vec<_>>().join(", "),
                    self.understood.program.describe(logits),
                    if w == 1 { "output" } else { "outputs" },
                    labels.len()
                ),
            }),
            _ => Ok(()),
        }
    }

    /// What predictions and labels mean.
    pub fn task(&self, set: &DataSet, labels: Option<&LabelVocabulary>) -> Task {
        mapping::task(self.columns.target, set.is_sequences(), self.logits.is_some(), labels)
    }

    /// Rows for training and for validation of one file: by its split column, else by the share that the settings keep
    /// out.
    pub fn split(&self, train: &Opened, reporter: &mut Reporter) -> Result<(Vec<usize>, Vec<usize>), SessionError> {
        let data = &self.settings.data;
        if !data.split_column.is_empty() {
            let (train_rows, held) = self.split_by_column(&train.set)?;
            return Ok((self.usable(train, train_rows, reporter), self.usable(train, held, reporter)));
        }
        let all = self.usable(train, (0..train.set.len()).collect(), reporter);
        if data.split <= 0.0 {
            return Ok((all, Vec::new()));
        }
        let classes: Vec<u32> = match train.targets.classes() {
            Some(c) => all.iter().map(|&r| c[r]).collect(),
            None => vec![0; all.len()],
        };
        let (train_at, held_at) = stratified_split(&classes, data.split, self.settings.training.seed);
        let rows = |at: Vec<usize>| at.into_iter().map(|i| all[i]).collect::<Vec<_>>();
        Ok((rows(train_at), rows(held_at)))
    }

    /// Leaves out rows whose label is unknown, and says how many.
    pub fn usable(&self, opened: &Opened, rows: Vec<usize>, reporter: &mut Reporter) -> Vec<usize> {
        let before = rows.len();
        let mut unknown = Vec::new();
        let kept: Vec<usize> = rows
            .into_iter()
            .filter(|&r| {
                let is_usable = opened.targets.is_usable(r);
                if !is_usable && unknown.len() < 5 {
                    unknown.push(opened.set.line(r).to_string());
                }
                is_usable
            })
            .collect();
        if kept.len() < before {
            let lines = unknown.join(", ");
            let message = format!("{} rows with unknown labels are left out (lines {lines}, …)", before - kept.len());
            reporter.warning("unknown-labels", message, None);
        }
        kept
    }

    fn split_by_column(&self, set: &DataSet) -> Result<(Vec<usize>, Vec<usize>), SessionError> {
        let DataSet::Table(table) = set else {
            return Err(SessionError::Choice("data.split_column needs a table with columns".to_owned()));
        };
        let settings = &self.settings.data;
        let mut values: indexmap::IndexMap<String, Vec<usize>> = indexmap::IndexMap::new();
        table.for_each(table.column(&settings.split_column)?, |row, text| {
            let key = text.trim().to_lowercase();
            if values.len() >= 100 && !values.contains_key(&key) {
                return Err(table.row_error(row, "the split column has more than 100 different values"));
            }
            values.entry(key).or_default().push(row);
            Ok(())
        })?;
        let wanted = settings.split_value.trim().to_lowercase();
        let held: Vec<&str> = if wanted.is_empty() {
            let group = VALIDATION.iter().find(|g| g.iter().any(|v| values.contains_key(*v)));
            group.copied().unwrap_or_default().to_vec()
        } else {
            vec![wanted.as_str()]
        };
        let rows_of = |is: &dyn Fn(&str) -> bool| {
            let mut rows: Vec<usize> =
                values.iter().filter(|(k, _)| is(k)).flat_map(|(_, r)| r.iter().copied()).collect();
            rows.sort_unstable();
            rows
        };
        let validation = rows_of(&|k| held.contains(&k));
        let has_train = values.keys().any(|k| TRAINING.contains(&k.as_str()));
        let train = rows_of(&|k| if has_train { TRAINING.contains(&k) } else { !held.contains(&k) });
        if validation.is_empty() || train.is_empty() {
            return Err(SessionError::Choice(format!(
                "the split column '{}' has no rows {}; its values are {}; name those to evaluate on with \
                 --set data.split_value=VALUE",
                settings.split_column,
                if train.is_empty() { "to train on" } else { "to evaluate on" },
                values.keys().cloned().collect::<Vec<_>>().join(", ")
            )));
        }
        Ok((train, validation))
    }

    /// Batches of some rows; `training` shuffles and may drop the last one.
    pub fn batches(
        &self,
        opened: &Opened,
        rows: Vec<usize>,
        labels: Option<&LabelVocabulary>,
        training: bool,
    ) -> Result<Box<dyn BatchSource>, SessionError> {
        self.making(opened, rows, labels, training, Hidden::Share { renews: training })
    }

    fn making(
        &self,
        opened: &Opened,
        rows: Vec<usize>,
        labels: Option<&LabelVocabulary>,
        training: bool,
        hidden: Hidden,
    ) -> Result<Box<dyn BatchSource>, SessionError> {
        let has_labels = !opened.targets.is_none() || (opened.set.is_sequences() && labels.is_some());
        let feeds = self.feeds.iter().filter(|f| has_labels || f.feature != Feature::Label).cloned().collect();
        let (batch, _) = self.baked_sizes();
        let making = Making {
            feeds,
            tokenizer: self.tokenizer.clone(),
            images: self.images(),
            masking: self.masking(hidden)?,
            options: self.options(batch, training),
        };
        Ok(opened.set.batches(rows, &self.columns, opened.targets.clone(), labels, making)?)
    }

    /// The sentences of a file without their labels, in the order of the file.
    pub fn word_batches(&self, file: &Conll) -> Result<TokenBatches, SessionError> {
        let tokenizer = self.tokenizer.clone().ok_or_else(|| {
            SessionError::Choice("labelled sequences need a tokenizer (--tokenizer vocab.txt)".to_owned())
        })?;
        let feeds = self.feeds.iter().filter(|f| f.feature != Feature::Label).cloned().collect();
        let rows = (0..file.sentences().len()).collect();
        let options = self.options(self.baked_sizes().0, false);
        Ok(TokenBatches::new(file, rows, None, &tokenizer, feeds, options)?)
    }

    fn options(&self, fixed_batch: Option<usize>, training: bool) -> BatchOptions {
        let settings = &self.settings;
        let (_, fixed_length) = self.baked_sizes();
        BatchOptions {
            batch: fixed_batch.unwrap_or(settings.training.batch),
            fixed_batch: fixed_batch.is_some(),
            drop_last: training && settings.training.drop_last,
            shuffle: training && settings.training.shuffle,
            seed: settings.training.seed,
            max_length: self.max_length,
            pad: match (fixed_length, settings.data.padding) {
                (Some(n), _) => PadTo::Length(n),
                (None, Padding::MaxLength) => PadTo::Length(self.max_length),
                (None, _) => PadTo::Longest { multiple: 8 },
            },
            buckets: training && settings.data.buckets,
        }
    }

    /// Whether an example is fed the same in every epoch.
    pub fn repeats(&self) -> Repeats {
        let has_text = self.feeds.iter().any(|f| f.feature.is_text());
        match self.options(None, false).pad {
            _ if self.columns.target == Target::Words => Repeats::Never,
            PadTo::Longest { .. } if has_text => Repeats::Padded,
            _ => Repeats::Same,
        }
    }

    /// How words are hidden, where the settings hide any.
    fn masking(&self, hidden: Hidden) -> Result<Option<Masking>, SessionError> {
        if self.columns.target != Target::Words {
            return Ok(None);
        }
        let tokenizer = self
            .tokenizer
            .as_ref()
            .ok_or_else(|| SessionError::Choice("hidden words need a tokenizer (--tokenizer vocab.txt)".to_owned()))?;
        let (rate, seed) = (self.settings.data.mask_rate, self.settings.training.seed);
        let masking = match hidden {
            Hidden::Share { renews } => Masking::share(tokenizer, rate, seed, renews),
            Hidden::Given => Masking::given(tokenizer),
        };
        let masking = masking.ok_or_else(|| {
            SessionError::Choice(
                "data.mask_rate hides words, but the vocabulary has no token for a hidden one ([MASK] or <mask>)"
                    .to_owned(),
            )
        })?;
        let places = self.feeds.iter().find(|f| f.feature == Feature::MaskedPositions).and_then(|f| f.shape.dim(1));
        Ok(Some(masking.with_places(places)))
    }

    /// Batches of all rows for predictions: without labels, and with only those words hidden that the texts hide.
    pub fn batches_to_predict(&self, opened: &Opened) -> Result<Box<dyn BatchSource>, SessionError> {
        let rows = (0..opened.set.len()).collect();
        self.making(opened, rows, None, false, Hidden::Given)
    }

    fn images(&self) -> ImageOptions {
        let data = &self.settings.data;
        ImageOptions {
            scale: PixelScale::from_name(&data.image_scale).unwrap_or_default(),
            bgr: data.image_bgr,
            crop: data.image_crop,
        }
    }

    /// Batch size and length that the graph fixes.
    pub fn baked_sizes(&self) -> (Option<usize>, Option<usize>) {
        let ids = self.feeds.iter().find(|f| f.feature == Feature::InputIds);
        let batch = self.feeds.iter().find_map(|f| f.shape.dim(0));
        (batch, ids.and_then(|f| f.shape.dim(1)))
    }
}

/// The recipe's data.
pub fn choice(understood: &Understood) -> Result<DataChoice, SessionError> {
    understood.recipe.data.clone().ok_or_else(|| SessionError::Choice("no data is chosen (--data FILE)".to_owned()))
}

/// Opens a data set as the recipe describes it, and reports what was left out.
pub fn open(path: &Path, data: &DataChoice, skip: bool, reporter: &mut Reporter) -> Result<DataSet, SessionError> {
    let set = DataSet::open(path, data.label.as_deref(), skip)?;
    let (skipped, reasons) = set.skipped();
    if skipped > 0 {
        reporter.warning(
            "bad-rows",
            format!("{skipped} malformed {} are left out ({})", set.noun(), reasons.join("; ")),
            Some(path.display().to_string()),
        );
    }
    if set.is_empty() {
        return Err(SessionError::Choice(format!("{} has no {}", path.display(), set.noun())));
    }
    Ok(set)
}

/// The tokenizer of some data: that which is named, else the one that lies beside the model; with its path.
pub fn tokenizer_of(model: &Model, data: &DataChoice) -> Result<Option<(Tokenizer, PathBuf)>, SessionError> {
    let beside = || model.imported.assets.tokenizer.clone();
    let Some(path) = data.tokenizer.clone().map(PathBuf::from).or_else(beside) else { return Ok(None) };
    let options = TokenizerOptions { lower: data.lower, strip_accents: None };
    Ok(Some((Tokenizer::open(&path, options)?, path)))
}

fn open_tokenizer(
    understood: &Understood,
    data: &DataChoice,
    reporter: &mut Reporter,
) -> Result<Option<Arc<Tokenizer>>, SessionError> {
    let Some((tokenizer, path)) = tokenizer_of(&understood.base.model, data)? else { return Ok(None) };
    let place = Some(path.to_string_lossy().into_owned());
    if data.tokenizer.is_none() {
        reporter.info("tokenizer-beside", "texts are tokenized by the file beside the model", place.clone());
    }
    if let Some(note) = &tokenizer.note {
        reporter.warning("tokenizer-guess", note.clone(), place);
    }
    Ok(Some(Arc::new(tokenizer)))
}
