//! The integration tests, one binary.

mod data;
mod ops;
mod training;
