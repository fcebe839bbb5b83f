//! Where examples come from: tables of text, arrays, tokenizers, splits, and the batches that a run feeds.
//!
//! Reading order: [`source`] (what a trainer asks for), [`dataset`] (any file as a data set), [`table`] and [`tokenizer`],
//! [`text`] (both together as batches), [`masking`] (words hidden in them), [`conll`], [`examples`] (arrays), [`images`], [`prefetch`] (batches made ahead in
//! their own thread); [`arrays`] feeds one slice per step. Knows no graph: names of feeds are plain text.

pub mod arrays;
pub mod conll;
pub mod dataset;
pub mod examples;
pub mod feed;
pub mod idx;
pub mod images;
pub mod labels;
pub mod masking;
pub mod order;
pub mod prefetch;
pub mod shuffle;
pub mod source;
pub mod statistics;
pub mod table;
pub mod targets;
pub mod text;
pub mod tokenizer;

pub use arrays::ArrayFeeds;
pub use conll::{Conll, TokenBatches};
pub use dataset::{Columns, DataSet, Making};
pub use examples::{ExampleArrays, ExampleBatches, Scaling};
pub use feed::{Feature, FeedSpec, IGNORED};
pub use images::{ImageBatches, ImageFolder, ImageOptions, PixelScale};
pub use labels::LabelVocabulary;
pub use masking::Masking;
pub use order::{BatchOptions, PadTo};
pub use prefetch::Prefetch;
pub use source::{Batch, BatchSource, DataError};
pub use table::Table;
pub use targets::{Target, Targets};
pub use text::{TextBatches, TextParts};
pub use tokenizer::{Tokenizer, TokenizerOptions};
