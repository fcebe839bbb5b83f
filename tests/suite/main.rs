//! The integration tests, one binary.

mod ops;
