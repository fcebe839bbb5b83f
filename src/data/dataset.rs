//! Any data set by its path: tables, labelled sequences, arrays, IDX files, image folders. What differs between them is
//! decided here once.

use std::path::Path;
use std::sync::Arc;

use crate::base::files;

use super::conll::{self, Conll, TokenBatches};
use super::examples::{ExampleArrays, ExampleBatches, Scaling};
use super::feed::FeedSpec;
use super::idx;
use super::images::{ImageBatches, ImageFolder, ImageOptions};
use super::labels::LabelVocabulary;
use super::masking::Masking;
use super::order::BatchOptions;
use super::source::{BatchSource, DataError};
use super::table::{Format, Table};
use super::targets::{SEPARATOR, Target, Targets};
use super::text::{TextBatches, TextParts, encode_row};
use super::tokenizer::Tokenizer;

/// What a file holds.
#[derive(Clone, Debug)]
pub enum DataSet {
    Table(Arc<Table>),
    Sequences(Arc<Conll>),
    Arrays(Arc<ExampleArrays>),
    Images(Arc<ImageFolder>),
}

/// Columns and how their labels are read.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// None, one, or two for pairs.
    pub text: Vec<String>,
    /// Label columns; for arrays the name of an array.
    pub label: Vec<String>,
    pub target: Target,
    /// Rows whose label is unknown are left out instead of being an error.
    pub skip: bool,
}

/// Everything that batches are made from besides rows.
#[derive(Clone, Debug)]
pub struct Making {
    pub feeds: Vec<FeedSpec>,
    pub tokenizer: Option<Arc<Tokenizer>>,
    pub images: ImageOptions,
    /// Hides words of texts.
    pub masking: Option<Masking>,
    pub options: BatchOptions,
}

/// The kinds of data sets by the path alone, for messages and file dialogs.
pub const EXTENSIONS: &[&str] =
    &["csv", "tsv", "jsonl", "ndjson", "tab", "conll", "bio", "iob", "iob2", "txt", "npz", "npy", "safetensors", "idx"];

const SEQUENCES: &[&str] = &["conll", "bio", "iob", "iob2", "txt"];
const ARRAYS: &[&str] = &["npz", "npy", "safetensors"];

impl DataSet {
    /// `label` names an array, or a file of labels, where the data are arrays. Errors say what kinds there are.
    pub fn open(path: &Path, label: Option<&str>, skip: bool) -> Result<Self, DataError> {
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        if files::is_dir(path) {
            Ok(Self::Images(Arc::new(ImageFolder::open(path)?)))
        } else if Format::of(path).is_some() {
            Ok(Self::Table(Arc::new(Table::open(path, skip)?)))
        } else if SEQUENCES.contains(&extension.as_str()) {
            Ok(Self::Sequences(Arc::new(Conll::open(path, skip)?)))
        } else if ARRAYS.contains(&extension.as_str()) || idx::is_idx(path) {
            Ok(Self::Arrays(Arc::new(ExampleArrays::open(path, label)?)))
        } else {
            Err(DataError::File {
                path: path.to_owned(),
                what:
                    "unknown kind of data (use .csv, .tsv, .jsonl, .conll, .npz, .npy, IDX files or a folder of image \
                       folders)"
                        .to_owned(),
            })
        }
    }

    /// Examples: rows, sentences, pictures.
    pub fn len(&self) -> usize {
        match self {
            Self::Table(t) => t.len(),
            Self::Sequences(c) => c.sentences().len(),
            Self::Arrays(a) => a.len(),
            Self::Images(i) => i.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What one example is called.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Table(_) => "rows",
            Self::Sequences(_) => "sentences",
            Self::Arrays(_) => "examples",
            Self::Images(_) => "pictures",
        }
    }

    /// Whether labels stand at every word.
    pub fn is_sequences(&self) -> bool {
        matches!(self, Self::Sequences(_))
    }

    /// How many malformed parts were left out, with the first few reasons.
    pub fn skipped(&self) -> (usize, &[String]) {
        match self {
            Self::Table(t) => t.skipped(),
            Self::Sequences(c) => c.skipped(),
            _ => (0, &[]),
        }
    }

    /// The classes with their counts, where labels are classes or marks.
    pub fn labels(&self, columns: &Columns) -> Result<Option<LabelVocabulary>, DataError> {
        match self {
            Self::Table(table) => match (columns.target, columns.label.as_slice()) {
                (_, []) | (Target::Values | Target::Words, _) => Ok(None),
                (Target::Classes, [c, ..]) => Ok(Some(LabelVocabulary::of_column(table, table.column(c)?)?)),
                (Target::Marks, [c]) => Ok(Some(LabelVocabulary::of_marks(table, table.column(c)?, SEPARATOR)?)),
                (Target::Marks, many) => Ok(Some(LabelVocabulary::from_names(many.to_vec()))),
            },
            Self::Sequences(c) => Ok(c.has_labels().then(|| c.labels())),
            Self::Arrays(a) => Ok(a.labels(columns.target)),
            Self::Images(i) => Ok(Some(i.labels().clone())),
        }
    }

    /// The labels of all examples; sequences carry theirs with their words.
    pub fn targets(&self, columns: &Columns, labels: Option<&LabelVocabulary>) -> Result<Targets, DataError> {
        match self {
            Self::Table(t) => Targets::of_table(t, &columns.label, columns.target, labels, columns.skip),
            Self::Sequences(_) => Ok(Targets::None),
            Self::Arrays(a) => a.targets(columns.target),
            Self::Images(i) => labels.map_or(Ok(Targets::None), |l| i.targets(l)),
        }
    }

    /// Batches of some examples.
    pub fn batches(
        &self,
        rows: Vec<usize>,
        columns: &Columns,
        targets: Arc<Targets>,
        labels: Option<&LabelVocabulary>,
        making: Making,
    ) -> Result<Box<dyn BatchSource>, DataError> {
        let Making { feeds, tokenizer, images, masking, options } = making;
        if masking.is_some() && !matches!(self, Self::Table(_)) {
            return Err(DataError::Other(format!(
                "words are hidden in a table of texts (.csv, .tsv, .jsonl), these are {}",
                self.noun()
            )));
        }
        Ok(match self {
            Self::Table(table) => {
                let parts = TextParts { table: table.clone(), text: columns.text.clone(), targets, tokenizer, masking };
                Box::new(TextBatches::new(parts, rows, feeds, options)?)
            }
            Self::Sequences(c) => Box::new(TokenBatches::new(c, rows, labels, &needed(tokenizer)?, feeds, options)?),
            Self::Arrays(a) => {
                let (factor, shift) = images.scale.of_channel(usize::MAX);
                let scaling = Scaling { factor, shift };
                Box::new(ExampleBatches::new(a.clone(), targets, rows, feeds, scaling, options)?)
            }
            Self::Images(i) => Box::new(ImageBatches::new(i.clone(), targets, rows, feeds, images, options)?),
        })
    }

    /// Lengths in tokens of up to `most` texts or sentences spread over the data, before cutting; empty where there are
    /// no texts.
    pub fn lengths(&self, columns: &Columns, tokenizer: &Tokenizer, most: usize) -> Result<Vec<usize>, DataError> {
        let n = self.len();
        let sample = (0..n.min(most)).map(|i| if n <= most { i } else { i * (n / most) });
        match self {
            Self::Table(table) if !columns.text.is_empty() => {
                let text = columns.text.iter().map(|c| table.column(c)).collect::<Result<Vec<_>, _>>()?;
                sample.map(|row| Ok(encode_row(table, tokenizer, &text, row, None)?.input_ids.len())).collect()
            }
            Self::Sequences(c) => sample.map(|i| conll::n_pieces(&c.sentences()[i], tokenizer)).collect(),
            _ => Ok(Vec::new()),
        }
    }

    /// One example in words: its texts, its sentence, its file.
    pub fn describe(&self, row: usize, columns: &Columns) -> String {
        match self {
            Self::Table(table) => {
                let Ok(fields) = table.row(row) else { return String::new() };
                let texts: Vec<usize> = columns.text.iter().filter_map(|c| table.column(c).ok()).collect();
                let field = |&c: &usize| fields.get(c).cloned();
                if texts.is_empty() {
                    fields.join(", ")
                } else {
                    texts.iter().filter_map(field).collect::<Vec<_>>().join(" | ")
                }
            }
            Self::Sequences(c) => c.sentences().get(row).map(|s| s.words.join(" ")).unwrap_or_default(),
            Self::Arrays(_) => format!("example {row}"),
            Self::Images(i) => i.file(row).map(|p| p.display().to_string()).unwrap_or_default(),
        }
    }

    /// Where an example stands in its file: a line, or its number.
    pub fn line(&self, row: usize) -> u64 {
        match self {
            Self::Table(t) => t.line(row),
            Self::Sequences(c) => c.sentences().get(row).map_or(0, |s| s.line),
            _ => row as u64,
        }
    }
}

fn needed(tokenizer: Option<Arc<Tokenizer>>) -> Result<Arc<Tokenizer>, DataError> {
    tokenizer.ok_or_else(|| DataError::Other("labelled sequences need a tokenizer (--tokenizer vocab.txt)".to_owned()))
}
