//! Graph → program ("spelling"): the whole graph in our ops, symbolic shapes, both branches kept, no float folding,
//! control flow structured, an origin for every node and value.

pub mod rule;

pub use rule::{Rule, RuleFn, Spelling};
