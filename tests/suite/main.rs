//! The integration tests, one binary.

mod data;
mod losses;
mod ops;
mod passes;
mod training;
