//! Batches of a table of texts: tokens, masks, segments, labels and numeric columns, in the types and shapes that the graph's
//! placeholders want.

use std::fmt;
use std::sync::Arc;

use crate::tensor::{DType, Tensor};

use super::feed::{Feature, FeedSpec, IGNORED};
use super::masking::{Masked, Masking};
use super::order::{BatchOptions, Order, fill_up, no_batch};
use super::source::{Batch, BatchSource, DataError};
use super::table::Table;
use super::targets::Targets;
use super::tokenizer::{Encoded, Tokenizer};

/// What a table becomes.
#[derive(Debug)]
pub struct TextParts {
    pub table: Arc<Table>,
    /// Columns that hold text: none, one, or two for pairs.
    pub text: Vec<String>,
    /// Labels of all rows.
    pub targets: Arc<Targets>,
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// Hides words; their names then are what is to be predicted.
    pub masking: Option<Masking>,
}

/// Ids and segments of one text, 5 bytes a token.
#[derive(Debug)]
struct Kept {
    ids: Box<[u32]>,
    segments: Box<[u8]>,
}

/// A text as the model reads it.
struct Read {
    kept: Arc<Kept>,
    hidden: Option<Masked>,
}

impl Read {
    fn ids(&self) -> &[u32] {
        self.hidden.as_ref().map_or(&self.kept.ids, |h| &h.ids)
    }
}

/// See the module doc.
pub struct TextBatches {
    parts: TextParts,
    text: Vec<usize>,
    /// Column index of each numeric feature, in the order of `feeds`.
    numeric: Vec<Option<usize>>,
    feeds: Vec<FeedSpec>,
    order: Order,
    options: BatchOptions,
    cache: Vec<Option<Arc<Kept>>>,
    cached_tokens: usize,
    /// Lengths by row, where batches are made of texts of similar length.
    lengths: Vec<u32>,
}

/// Encoded texts are kept up to this many tokens in all (5 bytes each), then tokenized anew each time.
const MAX_CACHED_TOKENS: usize = 8 << 20;

impl fmt::Debug for TextBatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows of a table, {:?}", self.order.len(), self.options)
    }
}

impl TextBatches {
    /// `rows` are those of this split. Errors: columns that are not there, a placeholder that nothing can fill.
    pub fn new(
        parts: TextParts,
        rows: Vec<usize>,
        feeds: Vec<FeedSpec>,
        options: BatchOptions,
    ) -> Result<Self, DataError> {
        let table = &parts.table;
        let text = parts.text.iter().map(|c| table.column(c)).collect::<Result<Vec<_>, _>>()?;
        if let Some(f) = feeds.iter().find(|f| f.feature.is_text()) {
            if parts.tokenizer.is_none() {
                return Err(DataError::Other(format!("'{}' needs a tokenizer (--tokenizer vocab.txt)", f.name)));
            }
            if text.is_empty() || text.len() > 2 {
                return Err(DataError::Other(format!(
                    "one text column is needed, or two for pairs (--text COLUMN); the columns are {}",
                    table.columns().join(", ")
                )));
            }
        }
        let column = |feed: &FeedSpec| match &feed.feature {
            Feature::Column(c) => table.column(c).map(Some),
            Feature::Label if parts.targets.is_none() => Err(DataError::Other(format!(
                "'{}' is filled with labels, but no label column is chosen (--label)",
                feed.name
            ))),
            f if f.is_masked() && parts.masking.is_none() => Err(DataError::Other(format!(
                "'{}' wants hidden words; --set data.mask_rate=0.15 hides some",
                feed.name
            ))),
            Feature::Image => Err(DataError::Other(format!("'{}' wants pictures, this is a table", feed.name))),
            _ => Ok(None),
        };
        let numeric = feeds.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let n_rows = table.len();
        let has_text = parts.tokenizer.is_some() && !text.is_empty();
        Ok(Self {
            text,
            numeric,
            feeds,
            order: Order::new(rows, &options),
            options: BatchOptions { batch: options.batch.max(1), ..options },
            cache: if has_text { vec![None; n_rows] } else { Vec::new() },
            cached_tokens: 0,
            lengths: Vec::new(),
            parts,
        })
    }

    fn tokenize(&self, row: usize, max_length: Option<usize>) -> Result<Encoded, DataError> {
        let Some(tokenizer) = &self.parts.tokenizer else { return Ok(Encoded::default()) };
        encode_row(&self.parts.table, tokenizer, &self.text, row, max_length)
    }

    fn encoded(&mut self, row: usize) -> Result<Arc<Kept>, DataError> {
        if let Some(Some(e)) = self.cache.get(row) {
            return Ok(e.clone());
        }
        let e = self.tokenize(row, Some(self.options.max_length))?;
        let segments = e.segment_ids.iter().map(|&s| s as u8).collect();
        let kept = Arc::new(Kept { ids: e.input_ids.into_boxed_slice(), segments });
        if self.cached_tokens < MAX_CACHED_TOKENS
            && let Some(place) = self.cache.get_mut(row)
        {
            self.cached_tokens += kept.ids.len();
            *place = Some(kept.clone());
        }
        Ok(kept)
    }

    /// The rows of a batch.
    fn rows_of(&mut self, epoch: usize, index: usize) -> Result<Vec<usize>, DataError> {
        if self.order.stale(epoch) {
            if self.order.wants_lengths() && self.lengths.is_empty() && !self.text.is_empty() {
                self.lengths = vec![0; self.parts.table.len()];
                for row in self.order.rows().collect::<Vec<_>>() {
                    self.lengths[row] = self.encoded(row)?.ids.len() as u32;
                }
            }
            self.order.make(epoch, &self.lengths);
        }
        self.order.batch(index).ok_or_else(|| no_batch(epoch, index))
    }

    fn assemble(&mut self, mut rows: Vec<usize>, epoch: usize) -> Result<Batch, DataError> {
        let n_examples = rows.len();
        fill_up(&mut rows, &self.options);
        let has_text = self.parts.tokenizer.is_some() && !self.text.is_empty();
        let texts = if has_text {
            rows.iter().map(|&r| self.read(r, epoch)).collect::<Result<Vec<_>, _>>()?
        } else {
            Vec::new()
        };
        let longest = texts.iter().map(|t| t.kept.ids.len()).max().unwrap_or(0);
        let length = self.options.pad.length(longest, self.options.max_length);
        let feeds = (0..self.feeds.len())
            .map(|i| Ok((self.feeds[i].name.clone(), self.feed(i, &rows, &texts, length)?)))
            .collect::<Result<Vec<_>, DataError>>()?;
        let labels = match &self.parts.masking {
            Some(_) => Some(self.hidden_words(&texts, length)),
            None => self.parts.targets.of_rows(&rows),
        };
        Ok(Batch { feeds, n_examples, labels, rows })
    }

    fn read(&mut self, row: usize, epoch: usize) -> Result<Read, DataError> {
        let kept = self.encoded(row)?;
        let hidden = self.parts.masking.as_ref().map(|m| m.apply(&kept.ids, row, epoch));
        Ok(Read { kept, hidden })
    }

    /// What metrics compare with: hidden words in the layout of the model's answers.
    fn hidden_words(&self, texts: &[Read], length: usize) -> Tensor {
        let is_looked_up = self.feeds.iter().any(|f| f.feature == Feature::MaskedPositions);
        let feature = if is_looked_up { Feature::MaskedIds } else { Feature::MaskedLabels };
        self.masked(&feature, DType::I64, IGNORED, texts, length)
    }

    /// A feature of hidden words; `fill` is what stands where nothing is hidden.
    fn masked(&self, feature: &Feature, dtype: DType, fill: i64, texts: &[Read], length: usize) -> Tensor {
        let places = self.parts.masking.as_ref().map_or(0, |m| m.places(length));
        let nothing = Masked::default();
        let mut values = Vec::new();
        for text in texts {
            let positions = &text.hidden.as_ref().unwrap_or(&nothing).positions;
            let word = |p: usize| i64::from(text.kept.ids[p]);
            if *feature == Feature::MaskedLabels {
                let start = values.len();
                values.resize(start + length, fill);
                positions.iter().for_each(|&p| values[start + p] = word(p));
                continue;
            }
            values.extend((0..places).map(|k| match (feature, positions.get(k)) {
                (Feature::MaskedPositions, p) => p.map_or(0, |&p| p as i64),
                (Feature::MaskedWeights, p) => i64::from(p.is_some()),
                (_, p) => p.map_or(fill, |&p| word(p)),
            }));
        }
        let width = if *feature == Feature::MaskedLabels { length } else { places };
        Tensor::from_f64s(dtype, &[texts.len(), width], values.into_iter().map(|v| v as f64))
    }

    fn feed(&self, i: usize, rows: &[usize], texts: &[Read], length: usize) -> Result<Tensor, DataError> {
        let spec = &self.feeds[i];
        let pad = self.parts.tokenizer.as_ref().map_or(0, |t| t.pad_id());
        let sequence = |get: &dyn Fn(&Read, usize) -> u32, fill: u32| {
            let values = texts.iter().flat_map(|e| {
                let n = e.kept.ids.len();
                (0..length).map(move |k| if k < n { get(e, k) } else { fill }).map(f64::from)
            });
            Tensor::from_f64s(spec.dtype, &[rows.len(), length], values)
        };
        Ok(match &spec.feature {
            Feature::InputIds => sequence(&|e, k| e.ids()[k], pad),
            Feature::InputMask => sequence(&|_, _| 1, 0),
            Feature::SegmentIds => sequence(&|e, k| u32::from(e.kept.segments[k]), 0),
            Feature::MaskedLabels => self.masked(&spec.feature, spec.dtype, spec.ignored, texts, length),
            // Places that are left over weigh nothing; 0 is a word that every vocabulary has.
            f @ (Feature::MaskedPositions | Feature::MaskedIds | Feature::MaskedWeights) => {
                self.masked(f, spec.dtype, 0, texts, length)
            }
            Feature::Label | Feature::Image => self.parts.targets.feed(spec, rows),
            Feature::Column(name) => {
                let column = self.numeric[i].unwrap_or_default();
                let values = rows.iter().map(|&row| self.number(row, column, name)).collect::<Result<Vec<f64>, _>>()?;
                let shape = if spec.shape.rank() == Some(2) { vec![rows.len(), 1] } else { vec![rows.len()] };
                Tensor::from_f64s(spec.dtype, &shape, values)
            }
        })
    }

    fn number(&self, row: usize, column: usize, name: &str) -> Result<f64, DataError> {
        let fields = self.parts.table.row(row)?;
        let text = fields.get(column).map(String::as_str).unwrap_or_default().trim();
        let wrong = || self.parts.table.row_error(row, format!("'{text}' in column '{name}' is not a number"));
        text.parse().map_err(|_| wrong())
    }
}

/// The tokens of one row of a table: one text, or a pair.
pub(super) fn encode_row(
    table: &Table,
    tokenizer: &Tokenizer,
    columns: &[usize],
    row: usize,
    max_length: Option<usize>,
) -> Result<Encoded, DataError> {
    let fields = table.row(row)?;
    let field = |c: usize| fields.get(c).map(String::as_str).unwrap_or_default();
    let a = columns.first().map(|&c| field(c)).unwrap_or_default();
    let b = columns.get(1).map(|&c| field(c));
    tokenizer.encode(a, b, max_length).map_err(|e| table.row_error(row, e.to_string()))
}

impl BatchSource for TextBatches {
    fn n_batches(&mut self, _epoch: usize) -> Result<usize, DataError> {
        Ok(self.order.n_batches())
    }

    fn batch(&mut self, epoch: usize, index: usize) -> Result<Batch, DataError> {
        let rows = self.rows_of(epoch, index)?;
        self.assemble(rows, epoch)
    }

    fn n_examples(&self) -> Option<usize> {
        Some(self.order.len())
    }
}
