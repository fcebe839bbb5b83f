//! Where examples come from: tables of text, arrays, tokenizers, splits, and the batches that a run feeds.
//!
//! Reading order: [`source`] (what a trainer asks for), [`arrays`] (feeds from `.npz`), [`table`] and [`tokenizer`], [`text`]
//! (both together as batches), [`prefetch`] (batches made ahead in their own thread). Knows no graph: names of feeds are
//! plain text.

pub mod arrays;
pub mod conll;
pub mod labels;
pub mod order;
pub mod prefetch;
pub mod shuffle;
pub mod source;
pub mod table;
pub mod text;
pub mod tokenizer;

pub use arrays::ArrayFeeds;
pub use conll::{Conll, TokenBatches};
pub use labels::LabelVocabulary;
pub use order::{BatchOptions, PadTo};
pub use prefetch::Prefetch;
pub use source::{Batch, BatchSource, DataError};
pub use table::Table;
pub use text::{Columns, Feature, FeedSpec, TextBatches};
pub use tokenizer::{Tokenizer, TokenizerOptions};
