//! The integration tests, one binary.

mod data;
mod formats;
mod losses;
mod ops;
mod passes;
mod stages;
mod training;
