//! Labelled sequences in CoNLL form: a token and its label on each line, an empty line between sentences.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::files;
use crate::tensor::Tensor;

use super::labels::LabelVocabulary;
use super::order::{BatchOptions, Order, fill_up, no_batch};
use super::source::{Batch, BatchSource, DataError};
use super::text::{Feature, FeedSpec};
use super::tokenizer::Tokenizer;

/// Positions with this label do not count: special tokens, padding, and all but a word's first piece.
pub const IGNORED: i64 = -100;

/// Words and labels of one sentence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sentence {
    pub words: Vec<String>,
    pub labels: Vec<String>,
    /// Line of the first word, from 1.
    pub line: u64,
}

/// A file of labelled sentences.
#[derive(Clone, Debug)]
pub struct Conll {
    path: PathBuf,
    sentences: Vec<Sentence>,
}

impl Conll {
    /// Columns are separated by a tab, or by blanks where a line has no tab; the first is the word, the last the label.
    /// Lines that begin with `-DOCSTART-` or `# ` are left out.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let bytes = files::read(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
        let mut sentences = Vec::new();
        let mut now = Sentence::default();
        for (i, line) in bytes.split(|b| *b == b'\n').enumerate() {
            let bad = |what: &str| DataError::Row { path: path.to_owned(), line: i as u64 + 1, what: what.to_owned() };
            let line = std::str::from_utf8(line).map_err(|_| bad("the line is not UTF-8"))?;
            let line = line.trim_end_matches('\r').trim_start_matches('\u{feff}');
            if line.trim().is_empty() {
                if !now.words.is_empty() {
                    sentences.push(std::mem::take(&mut now));
                }
                continue;
            }
            if line.starts_with("-DOCSTART-") || line.starts_with("# ") {
                continue;
            }
            let fields: Vec<&str> =
                if line.contains('\t') { line.split('\t').collect() } else { line.split_whitespace().collect() };
            let (Some(word), Some(label)) = (fields.first(), fields.get(1..).and_then(<[&str]>::last)) else {
                return Err(bad("a word without a label (two columns are needed)"));
            };
            if now.words.is_empty() {
                now.line = i as u64 + 1;
            }
            now.words.push((*word).to_owned());
            now.labels.push(label.trim().to_owned());
        }
        if !now.words.is_empty() {
            sentences.push(now);
        }
        if sentences.is_empty() {
            return Err(DataError::File { path: path.to_owned(), what: "no labelled sentences".to_owned() });
        }
        Ok(Self { path: path.to_owned(), sentences })
    }

    pub fn sentences(&self) -> &[Sentence] {
        &self.sentences
    }

    /// The labels in sorted order.
    pub fn labels(&self) -> LabelVocabulary {
        let all = self.sentences.iter().flat_map(|s| &s.labels);
        LabelVocabulary::of_values(all.map(String::as_str))
    }
}

/// One sentence as pieces with their labels.
#[derive(Clone, Debug, Default)]
struct Pieces {
    ids: Vec<u32>,
    labels: Vec<i64>,
}

/// Batches of labelled sequences; a word's first piece carries its label.
pub struct TokenBatches {
    sentences: Vec<Pieces>,
    pad_id: u32,
    feeds: Vec<FeedSpec>,
    order: Order,
    options: BatchOptions,
}

impl fmt::Debug for TokenBatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} labelled sequences, {:?}", self.sentences.len(), self.options)
    }
}

impl TokenBatches {
    /// `rows` are the sentences of this split. Errors: a label that `labels` has not, with its line.
    pub fn new(
        file: &Conll,
        rows: Vec<usize>,
        labels: &LabelVocabulary,
        tokenizer: &Arc<Tokenizer>,
        feeds: Vec<FeedSpec>,
        options: BatchOptions,
    ) -> Result<Self, DataError> {
        let ends = tokenizer.begin_and_separator().ok_or_else(|| {
            DataError::Other("the tokenizer has no [CLS] and [SEP], which labelled sequences need".to_owned())
        })?;
        if let Some(f) = feeds.iter().find(|f| matches!(f.feature, Feature::Column(_))) {
            return Err(DataError::Other(format!("'{}': labelled sequences have no columns of numbers", f.name)));
        }
        let encode = |s: &Sentence| encode(s, labels, tokenizer, ends, options.max_length, &file.path);
        let sentences = file.sentences.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        let options = BatchOptions { batch: options.batch.max(1), ..options };
        Ok(Self { sentences, pad_id: tokenizer.pad_id(), feeds, order: Order::new(rows, &options), options })
    }

    fn feed(&self, spec: &FeedSpec, rows: &[usize], length: usize) -> Tensor {
        let values = rows.iter().flat_map(|&row| {
            let s = &self.sentences[row];
            (0..length).map(move |i| match (&spec.feature, s.ids.get(i)) {
                (Feature::InputIds, Some(&id)) => f64::from(id),
                (Feature::InputIds, None) => f64::from(self.pad_id),
                (Feature::InputMask, id) => f64::from(u8::from(id.is_some())),
                (Feature::Label, _) => s.labels.get(i).copied().unwrap_or(IGNORED) as f64,
                _ => 0.0,
            })
        });
        Tensor::from_f64s(spec.dtype, &[rows.len(), length], values)
    }
}

fn encode(
    s: &Sentence,
    labels: &LabelVocabulary,
    tokenizer: &Tokenizer,
    (begin, separator): (u32, u32),
    max_length: usize,
    path: &Path,
) -> Result<Pieces, DataError> {
    let mut out = Pieces { ids: vec![begin], labels: vec![IGNORED] };
    for (i, (word, label)) in s.words.iter().zip(&s.labels).enumerate() {
        let class = labels.index(label).ok_or_else(|| DataError::Row {
            path: path.to_owned(),
            line: s.line + i as u64,
            what: format!("the label '{label}' does not occur in the training data ({})", labels.names().join(", ")),
        })?;
        let pieces = tokenizer.pieces(word)?;
        // A word that is only control characters has no piece and so no position.
        for (k, id) in pieces.into_iter().enumerate() {
            out.ids.push(id);
            out.labels.push(if k == 0 { class as i64 } else { IGNORED });
        }
    }
    let room = max_length.saturating_sub(1).max(1);
    out.ids.truncate(room);
    out.labels.truncate(room);
    out.ids.push(separator);
    out.labels.push(IGNORED);
    Ok(out)
}

impl BatchSource for TokenBatches {
    fn n_batches(&mut self, _epoch: usize) -> Result<usize, DataError> {
        Ok(self.order.n_batches())
    }

    fn batch(&mut self, epoch: usize, index: usize) -> Result<Batch, DataError> {
        if self.order.stale(epoch) {
            let lengths: Vec<usize> = self.sentences.iter().map(|s| s.ids.len()).collect();
            self.order.make(epoch, &lengths);
        }
        let mut rows = self.order.batch(index).map(<[usize]>::to_vec).ok_or_else(|| no_batch(epoch, index))?;
        let n_examples = rows.len();
        fill_up(&mut rows, &self.options);
        let longest = rows.iter().map(|&r| self.sentences[r].ids.len()).max().unwrap_or(0);
        let length = self.options.pad.length(longest, self.options.max_length);
        let feeds = self.feeds.iter().map(|f| (f.name.clone(), self.feed(f, &rows, length))).collect();
        let labels = rows.iter().flat_map(|&r| {
            let l = &self.sentences[r].labels;
            (0..length).map(move |i| l.get(i).copied().unwrap_or(IGNORED))
        });
        let labels = Tensor::from_slice(&[rows.len(), length], &labels.collect::<Vec<i64>>());
        Ok(Batch { feeds, n_examples, labels: Some(labels), rows })
    }

    fn n_examples(&self) -> Option<usize> {
        Some(self.order.rows().len())
    }
}
