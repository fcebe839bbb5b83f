//! Where examples come from: tables of text, arrays, tokenizers, splits, and the batches that a run feeds.
//!
//! Reading order: [`source`] (what a trainer asks for), [`arrays`] (feeds from `.npz`), [`prefetch`] (batches made ahead in
//! their own thread). Knows no graph: names of feeds are plain text.

pub mod arrays;
pub mod prefetch;
pub mod source;

pub use arrays::ArrayFeeds;
pub use prefetch::Prefetch;
pub use source::{Batch, BatchSource, DataError};
