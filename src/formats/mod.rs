//! The only place that knows file formats: readers make a [`crate::graph::Graph`], dialects spell its nodes, writers
//! patch the original bytes.

pub mod tensorflow;
