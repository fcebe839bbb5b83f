//! What a user may change in the exported graph, one file per kind of edit. An edit adds to a
//! [`crate::graph::GraphPatch`]; it never changes a graph.

pub mod bypass;
pub mod bypass_dropout;
pub mod heads;
mod reach;
pub mod unbake;
