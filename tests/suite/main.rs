//! The integration tests, one binary.

mod formats;
mod data;
mod losses;
mod ops;
mod passes;
mod training;
