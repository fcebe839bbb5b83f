//! Batches of a table of texts: tokens, masks, segments, labels and numeric columns, in the types and shapes that the graph's
//! placeholders want.

use std::fmt;
use std::sync::Arc;

use crate::tensor::{DType, PartialShape, Tensor};

use super::labels::LabelVocabulary;
use super::order::{BatchOptions, Order, fill_up, no_batch};
use super::source::{Batch, BatchSource, DataError};
use super::table::Table;
use super::tokenizer::{Encoded, Tokenizer};

/// What a placeholder is filled with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Feature {
    InputIds,
    InputMask,
    SegmentIds,
    Label,
    /// A column of numbers.
    Column(String),
}

impl Feature {
    /// As `--map` writes them; anything else is a column.
    pub fn parse(text: &str) -> Self {
        match text {
            "input_ids" => Self::InputIds,
            "input_mask" => Self::InputMask,
            "segment_ids" => Self::SegmentIds,
            "label" => Self::Label,
            column => Self::Column(column.to_owned()),
        }
    }
}

/// One placeholder and what fills it.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedSpec {
    pub name: String,
    pub feature: Feature,
    pub dtype: DType,
    /// As the graph states it; decides whether a label is an index, a column or one-hot.
    pub shape: PartialShape,
}

/// Columns of the table that hold text and labels.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// One, or two for pairs.
    pub text: Vec<String>,
    pub label: Option<String>,
}

/// See the module doc.
pub struct TextBatches {
    table: Arc<Table>,
    tokenizer: Option<Arc<Tokenizer>>,
    text: Vec<usize>,
    /// Class of every row of the table.
    classes: Option<Vec<u32>>,
    n_classes: usize,
    /// Column index of each numeric feature, in the order of `feeds`.
    numeric: Vec<Option<usize>>,
    feeds: Vec<FeedSpec>,
    order: Order,
    options: BatchOptions,
    cache: Vec<Option<Arc<Encoded>>>,
    cached_tokens: usize,
}

/// Encoded texts are kept up to this many tokens in all (about 100 bytes each), then tokenized anew each time.
const MAX_CACHED_TOKENS: usize = 4 << 20;

impl fmt::Debug for TextBatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows of {}, {:?}", self.order.rows().len(), self.table.path().display(), self.options)
    }
}

impl TextBatches {
    /// `rows` are the rows of the table that belong to this split; `labels` numbers the classes.
    pub fn new(
        table: Arc<Table>,
        rows: Vec<usize>,
        columns: &Columns,
        labels: Option<&LabelVocabulary>,
        tokenizer: Option<Arc<Tokenizer>>,
        feeds: Vec<FeedSpec>,
        options: BatchOptions,
    ) -> Result<Self, DataError> {
        let text = columns.text.iter().map(|c| table.column(c)).collect::<Result<Vec<_>, _>>()?;
        let wants_text =
            feeds.iter().find(|f| matches!(f.feature, Feature::InputIds | Feature::InputMask | Feature::SegmentIds));
        if let Some(f) = wants_text {
            if tokenizer.is_none() {
                return Err(DataError::Other(format!("'{}' needs a tokenizer (--tokenizer vocab.txt)", f.name)));
            }
            if text.is_empty() || text.len() > 2 {
                return Err(DataError::Other("one text column is needed, or two for pairs (--text)".to_owned()));
            }
        }
        let classes = match (&columns.label, labels) {
            (Some(column), Some(labels)) => Some(labels.indices(&table, table.column(column)?)?),
            _ => None,
        };
        let numeric = feeds
            .iter()
            .map(|f| match &f.feature {
                Feature::Column(c) => table.column(c).map(Some),
                Feature::Label if classes.is_none() => Err(DataError::Other(format!(
                    "'{}' is filled with labels, but no label column is chosen (--label)",
                    f.name
                ))),
                _ => Ok(None),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let n_rows = table.len();
        Ok(Self {
            n_classes: labels.map_or(0, LabelVocabulary::len),
            table,
            tokenizer,
            text,
            classes,
            numeric,
            feeds,
            order: Order::new(rows, &options),
            options: BatchOptions { batch: options.batch.max(1), ..options },
            cache: vec![None; n_rows],
            cached_tokens: 0,
        })
    }

    /// Lengths in tokens of the first `n` texts, before cutting: what a maximal length is chosen from.
    pub fn lengths(&self, n: usize) -> Result<Vec<usize>, DataError> {
        self.order.rows().iter().take(n).map(|&row| Ok(self.tokenize(row, None)?.input_ids.len())).collect()
    }

    fn tokenize(&self, row: usize, max_length: Option<usize>) -> Result<Encoded, DataError> {
        let Some(tokenizer) = &self.tokenizer else { return Ok(Encoded::default()) };
        let fields = self.table.row(row)?;
        let field = |c: usize| fields.get(c).map(String::as_str).unwrap_or_default();
        let a = self.text.first().map(|&c| field(c)).unwrap_or_default();
        let b = self.text.get(1).map(|&c| field(c));
        tokenizer.encode(a, b, max_length).map_err(|e| self.table.row_error(row, e.to_string()))
    }

    fn encoded(&mut self, row: usize) -> Result<Arc<Encoded>, DataError> {
        if let Some(e) = &self.cache[row] {
            return Ok(e.clone());
        }
        let mut e = self.tokenize(row, Some(self.options.max_length))?;
        // Only ids are needed from here on.
        e.tokens = Vec::new();
        let e = Arc::new(e);
        if self.cached_tokens < MAX_CACHED_TOKENS {
            self.cached_tokens += e.input_ids.len();
            self.cache[row] = Some(e.clone());
        }
        Ok(e)
    }

    /// The rows of a batch.
    fn rows_of(&mut self, epoch: usize, index: usize) -> Result<Vec<usize>, DataError> {
        if self.order.stale(epoch) {
            let mut lengths = Vec::new();
            if self.order.wants_lengths() {
                lengths = vec![0; self.table.len()];
                for row in self.order.rows().to_vec() {
                    lengths[row] = self.encoded(row)?.input_ids.len();
                }
            }
            self.order.make(epoch, &lengths);
        }
        self.order.batch(index).map(<[usize]>::to_vec).ok_or_else(|| no_batch(epoch, index))
    }

    fn assemble(&mut self, mut rows: Vec<usize>) -> Result<Batch, DataError> {
        let n_examples = rows.len();
        fill_up(&mut rows, &self.options);
        let texts = if self.tokenizer.is_some() && !self.text.is_empty() {
            rows.iter().map(|&r| self.encoded(r)).collect::<Result<Vec<_>, _>>()?
        } else {
            Vec::new()
        };
        let longest = texts.iter().map(|e| e.input_ids.len()).max().unwrap_or(0);
        let length = self.options.pad.length(longest, self.options.max_length);
        let feeds = (0..self.feeds.len())
            .map(|i| Ok((self.feeds[i].name.clone(), self.feed(i, &rows, &texts, length)?)))
            .collect::<Result<Vec<_>, DataError>>()?;
        let labels = self.classes.as_ref().map(|c| {
            let values: Vec<i64> = rows.iter().map(|&r| i64::from(c[r])).collect();
            Tensor::from_slice(&[values.len()], &values)
        });
        Ok(Batch { feeds, n_examples, labels, rows })
    }

    fn feed(&self, i: usize, rows: &[usize], texts: &[Arc<Encoded>], length: usize) -> Result<Tensor, DataError> {
        let spec = &self.feeds[i];
        let pad = self.tokenizer.as_ref().map_or(0, |t| t.pad_id());
        let sequence = |get: fn(&Encoded) -> &[u32], fill: u32| {
            let values = texts.iter().flat_map(|e| {
                let ids = get(e);
                let n = ids.len().min(length);
                ids[..n].iter().copied().chain(std::iter::repeat_n(fill, length - n)).map(f64::from)
            });
            Tensor::from_f64s(spec.dtype, &[rows.len(), length], values)
        };
        Ok(match &spec.feature {
            Feature::InputIds => sequence(|e| &e.input_ids, pad),
            Feature::InputMask => sequence(|e| &e.input_mask, 0),
            Feature::SegmentIds => sequence(|e| &e.segment_ids, 0),
            Feature::Label => self.label(spec, rows),
            Feature::Column(name) => {
                let column = self.numeric[i].unwrap_or_default();
                let values = rows.iter().map(|&row| self.number(row, column, name)).collect::<Result<Vec<f64>, _>>()?;
                let shape = if spec.shape.rank() == Some(2) { vec![rows.len(), 1] } else { vec![rows.len()] };
                Tensor::from_f64s(spec.dtype, &shape, values)
            }
        })
    }

    fn number(&self, row: usize, column: usize, name: &str) -> Result<f64, DataError> {
        let fields = self.table.row(row)?;
        let text = fields.get(column).map(String::as_str).unwrap_or_default().trim();
        text.parse().map_err(|_| self.table.row_error(row, format!("'{text}' in column '{name}' is not a number")))
    }

    /// Class indices `[n]` or `[n, 1]`, or one-hot rows `[n, classes]`, as the placeholder's shape says.
    fn label(&self, spec: &FeedSpec, rows: &[usize]) -> Tensor {
        let class = |r: usize| self.classes.as_ref().map_or(0, |c| c[r]);
        let n = rows.len();
        match (spec.shape.rank(), spec.shape.dim(1)) {
            (Some(2), Some(1)) => Tensor::from_f64s(spec.dtype, &[n, 1], rows.iter().map(|&r| f64::from(class(r)))),
            (Some(2), width) => {
                let width = width.unwrap_or(self.n_classes).max(1);
                let hot = rows.iter().flat_map(|&r| {
                    let hit = class(r) as usize;
                    (0..width).map(move |c| f64::from(u8::from(c == hit)))
                });
                Tensor::from_f64s(spec.dtype, &[n, width], hot)
            }
            _ => Tensor::from_f64s(spec.dtype, &[n], rows.iter().map(|&r| f64::from(class(r)))),
        }
    }
}

impl BatchSource for TextBatches {
    fn n_batches(&mut self, _epoch: usize) -> Result<usize, DataError> {
        Ok(self.order.n_batches())
    }

    fn batch(&mut self, epoch: usize, index: usize) -> Result<Batch, DataError> {
        let rows = self.rows_of(epoch, index)?;
        self.assemble(rows)
    }

    fn n_examples(&self) -> Option<usize> {
        Some(self.order.rows().len())
    }
}
