//! What every layer may use: diagnostics, typed ids, cancellation, and the one place that touches files.
//!
//! Nothing here knows about tensors, graphs or windows.

pub mod cancel;
pub mod diagnostic;
pub mod files;
pub mod ids;
pub mod usage;

pub use cancel::CancelToken;
pub use diagnostic::{Diagnostic, Reporter, Severity};
