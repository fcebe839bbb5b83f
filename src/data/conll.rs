//! Labelled sequences in CoNLL form: a token and its label on each line, an empty line between sentences.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::files;
use crate::tensor::Tensor;

use super::feed::{Feature, FeedSpec, IGNORED};
use super::labels::LabelVocabulary;
use super::order::{BatchOptions, Order, fill_up, no_batch};
use super::source::{Batch, BatchSource, DataError};
use super::tokenizer::Tokenizer;

/// Words and labels of one sentence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sentence {
    pub words: Vec<String>,
    /// One per word; empty in a file without labels.
    pub labels: Vec<String>,
    /// Line of the first word, from 1.
    pub line: u64,
}

/// A file of labelled sentences.
#[derive(Clone, Debug)]
pub struct Conll {
    path: PathBuf,
    sentences: Vec<Sentence>,
    /// Malformed lines that were left out, the first few with their reasons.
    skipped: usize,
    first_skipped: Vec<String>,
}

impl Conll {
    /// Columns are separated by a tab, or by blanks where a line has no tab; the first is the word, the last the label.
    /// Lines that begin with `-DOCSTART-` or `# ` are left out. A sentence with a malformed line is an error with the line,
    /// or left out as a whole and counted. A file of single words has no labels and is good for predictions.
    pub fn open(path: &Path, skip: bool) -> Result<Self, DataError> {
        let bytes = files::read(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
        let mut read = Reading { path, skip, now: Sentence::default(), bad: None, out: Self::empty(path) };
        for (i, line) in bytes.split(|b| *b == b'\n').enumerate() {
            read.line(i as u64 + 1, line)?;
        }
        read.end_sentence()?;
        let out = read.out;
        if out.sentences.is_empty() {
            return Err(DataError::File {
                path: path.to_owned(),
                what: "no sentences (one word a line is needed)".to_owned(),
            });
        }
        Ok(out)
    }

    fn empty(path: &Path) -> Self {
        Self { path: path.to_owned(), sentences: Vec::new(), skipped: 0, first_skipped: Vec::new() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn has_labels(&self) -> bool {
        self.sentences.iter().all(|s| s.labels.len() == s.words.len())
    }

    /// How many sentences were left out, with the first few reasons.
    pub fn skipped(&self) -> (usize, &[String]) {
        (self.skipped, &self.first_skipped)
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

/// A file on its way into sentences.
struct Reading<'a> {
    path: &'a Path,
    skip: bool,
    now: Sentence,
    /// What is wrong with the sentence that is being read.
    bad: Option<(u64, String)>,
    out: Conll,
}

impl Reading<'_> {
    fn line(&mut self, number: u64, line: &[u8]) -> Result<(), DataError> {
        let Ok(line) = std::str::from_utf8(line) else {
            self.bad.get_or_insert((number, "the line is not UTF-8".to_owned()));
            return Ok(());
        };
        let line = line.trim_end_matches('\r').trim_start_matches('\u{feff}');
        if line.trim().is_empty() {
            return self.end_sentence();
        }
        if line.starts_with("-DOCSTART-") || line.starts_with("# ") {
            return Ok(());
        }
        let fields: Vec<&str> =
            if line.contains('\t') { line.split('\t').collect() } else { line.split_whitespace().collect() };
        if self.now.words.is_empty() {
            self.now.line = number;
        }
        self.now.words.extend(fields.first().map(|w| (*w).to_owned()));
        if let Some(label) = fields.get(1..).and_then(<[&str]>::last) {
            self.now.labels.push(label.trim().to_owned());
        }
        // All lines of a sentence have a label, or none has.
        if !self.now.labels.is_empty() && self.now.labels.len() != self.now.words.len() {
            self.bad.get_or_insert((number, "a word without a label (two columns are needed)".to_owned()));
        }
        Ok(())
    }

    fn end_sentence(&mut self) -> Result<(), DataError> {
        let sentence = std::mem::take(&mut self.now);
        match self.bad.take() {
            Some((line, what)) if !self.skip => Err(DataError::Row {
                path: self.path.to_owned(),
                line,
                what: format!("{what} (set data.bad_rows=skip to leave such sentences out)"),
            }),
            Some((line, what)) => {
                self.out.skipped += 1;
                if self.out.first_skipped.len() < 5 {
                    self.out.first_skipped.push(format!("line {line}: {what}"));
                }
                Ok(())
            }
            None if sentence.words.is_empty() => Ok(()),
            None => {
                self.out.sentences.push(sentence);
                Ok(())
            }
        }
    }
}

/// One sentence as pieces with their labels.
#[derive(Clone, Debug, Default)]
struct Pieces {
    ids: Vec<u32>,
    labels: Vec<i64>,
    /// For each piece the word that it begins; `None` for special tokens and for later pieces.
    words: Vec<Option<u32>>,
}

/// Batches of labelled sequences; a word's first piece carries its label.
pub struct TokenBatches {
    sentences: Vec<Pieces>,
    /// Whether labels are there to compare with.
    labelled: bool,
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
    /// `rows` are the sentences of this split; without `labels` only words are read. Errors: a label that `labels` has not,
    /// with its line.
    pub fn new(
        file: &Conll,
        rows: Vec<usize>,
        labels: Option<&LabelVocabulary>,
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
        if let Some(s) = file.sentences.iter().find(|s| labels.is_some() && s.labels.len() != s.words.len()) {
            return Err(DataError::Row {
                path: file.path.clone(),
                line: s.line,
                what: "a word without a label (two columns are needed)".to_owned(),
            });
        }
        let encode = |s: &Sentence| encode(s, labels, tokenizer, ends, options.max_length, &file.path);
        let sentences = file.sentences.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        let options = BatchOptions { batch: options.batch.max(1), ..options };
        let order = Order::new(rows, &options);
        Ok(Self { sentences, labelled: labels.is_some(), pad_id: tokenizer.pad_id(), feeds, order, options })
    }

    /// For each word of a sentence, the position of its first piece; `None` for words that were cut off.
    pub fn positions(&self, sentence: usize, n_words: usize) -> Vec<Option<usize>> {
        let mut out = vec![None; n_words];
        let words = self.sentences.get(sentence).map(|s| s.words.as_slice()).unwrap_or_default();
        for (position, word) in words.iter().enumerate() {
            if let Some(place) = word.and_then(|w| out.get_mut(w as usize)) {
                *place = Some(position);
            }
        }
        out
    }

    fn feed(&self, spec: &FeedSpec, rows: &[usize], length: usize) -> Tensor {
        let values = rows.iter().flat_map(|&row| {
            let s = &self.sentences[row];
            (0..length).map(move |i| match (&spec.feature, s.ids.get(i)) {
                (Feature::InputIds, Some(&id)) => f64::from(id),
                (Feature::InputIds, None) => f64::from(self.pad_id),
                (Feature::InputMask, id) => f64::from(u8::from(id.is_some())),
                (Feature::Label, _) => match s.labels.get(i) {
                    Some(&label) if label != IGNORED => label as f64,
                    _ => spec.ignored as f64,
                },
                _ => 0.0,
            })
        });
        Tensor::from_f64s(spec.dtype, &[rows.len(), length], values)
    }
}

fn encode(
    s: &Sentence,
    labels: Option<&LabelVocabulary>,
    tokenizer: &Tokenizer,
    (begin, separator): (u32, u32),
    max_length: usize,
    path: &Path,
) -> Result<Pieces, DataError> {
    let mut out = Pieces { ids: vec![begin], labels: vec![IGNORED], words: vec![None] };
    for (i, word) in s.words.iter().enumerate() {
        let class = match (labels, s.labels.get(i)) {
            (Some(labels), Some(label)) => labels.index(label).ok_or_else(|| DataError::Row {
                path: path.to_owned(),
                line: s.line + i as u64,
                what: labels.unknown(label),
            })? as i64,
            _ => IGNORED,
        };
        let pieces = tokenizer.pieces(word)?;
        // A word that is only control characters has no piece and so no position.
        for (k, id) in pieces.into_iter().enumerate() {
            out.ids.push(id);
            out.labels.push(if k == 0 { class } else { IGNORED });
            out.words.push((k == 0).then_some(i as u32));
        }
    }
    let room = max_length.saturating_sub(1).max(1);
    out.ids.truncate(room);
    out.labels.truncate(room);
    out.words.truncate(room);
    out.ids.push(separator);
    out.labels.push(IGNORED);
    out.words.push(None);
    Ok(out)
}

/// Pieces of a sentence with both special tokens, before cutting.
pub(super) fn n_pieces(s: &Sentence, tokenizer: &Tokenizer) -> Result<usize, DataError> {
    s.words.iter().try_fold(2, |n, w| Ok(n + tokenizer.pieces(w)?.len()))
}

impl BatchSource for TokenBatches {
    fn n_batches(&mut self, _epoch: usize) -> Result<usize, DataError> {
        Ok(self.order.n_batches())
    }

    fn batch(&mut self, epoch: usize, index: usize) -> Result<Batch, DataError> {
        if self.order.stale(epoch) {
            let lengths: Vec<u32> = self.sentences.iter().map(|s| s.ids.len() as u32).collect();
            self.order.make(epoch, &lengths);
        }
        let mut rows = self.order.batch(index).ok_or_else(|| no_batch(epoch, index))?;
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
        Ok(Batch { feeds, n_examples, labels: self.labelled.then_some(labels), rows })
    }

    fn n_examples(&self) -> Option<usize> {
        Some(self.order.len())
    }
}
