//! The integration tests, one binary: each area is a module.

mod architecture;
mod checkpoints;
mod cli;
mod continued;
mod cures;
mod data;
mod datasets;
mod docs;
mod einsum;
mod engine;
mod folders;
mod formats;
mod golden;
mod grafts;
mod graphs_tf;
mod hostile_ops;
mod losses;
mod masked;
mod mutations;
mod onnx;
mod onnx_nodes;
mod ops;
mod passes;
mod session;
mod stages;
mod targets;
mod tensorflow_ops;
mod training;
#[cfg(feature = "gui")]
mod window;
