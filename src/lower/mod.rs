//! Graph → program ("spelling"): the whole graph in our ops, symbolic shapes, both branches kept, no float folding,
//! control flow structured, an origin for every node and value.

mod blocks;
mod branches;
mod calls;
pub mod compose;
mod deferred;
pub mod dialect;
mod frames;
mod loops;
mod order;
mod region;
mod repeat;
mod results;
pub mod rule;
mod spell;

use std::collections::HashMap;

use crate::base::Diagnostic;
use crate::graph::ValueKey;
use crate::program::{Program, Value};

pub use dialect::{Dialect, Repeat, RepeatKind, Structure};
pub use results::results;
pub use rule::{Outputs, Read, Rule, RuleFn, Spelling};
pub use spell::{PinnedShapes, spell, spell_pinned};

/// A spelled graph. `values` also holds aliases (a value behind an Identity is the value before it); values inside
/// blocks of conditionals and loops are found in their block's program by `ValueInfo::key`.
#[derive(Clone, Debug, Default)]
pub struct Spelled {
    pub program: Program,
    pub values: HashMap<ValueKey, Value>,
    pub diagnostics: Vec<Diagnostic>,
}
