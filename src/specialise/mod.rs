//! Spelled program → program for one mode, dropout policy, pinned inputs and feeds.
//!
//! Every fact is inferred anew from concrete shapes; integer and boolean arithmetic is folded; branches whose predicate
//! is known are inlined; loops whose trip count is known are unrolled within a budget; what the fetches do not need is
//! dropped. Floating-point arithmetic is left alone: what may be folded depends on what trains. Keys and origins stay.
//!
//! Reading order: [`Request`] (what is asked), `emit` (instruction by instruction), `control` (conditionals, loops).

mod control;
mod emit;
pub mod error;
mod fold;
mod turns;

use crate::program::inline::prune_with;
use crate::program::{Program, Value, verify};
use crate::recognize::DropoutSite;
use crate::tensor::{DType, Dims, Tensor};

pub use error::SpecialiseError;

use emit::Emitter;

/// Dropout is active in training only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    Train,
    Eval,
}

/// What happens at a recognised dropout site.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum DropoutPolicy {
    /// Drops in training at the file's rate, whatever its predicate says; absent in evaluation.
    #[default]
    Train,
    /// As `Train`, at this rate.
    Rate(f64),
    Off,
    /// The instructions of the file, in both modes.
    AsInFile,
}

/// A value that is given from outside. Any value can be: what computes it is then not needed.
#[derive(Clone, Debug)]
pub struct FeedSpec {
    pub value: Value,
    pub dtype: DType,
    pub dims: Dims,
    /// The content, where the caller has it: looked at only where small integers decide a shape or a branch.
    pub tensor: Option<Tensor>,
}

/// What is asked for. `Value`s are those of the spelled program.
#[derive(Clone, Debug)]
pub struct Request {
    pub mode: Mode,
    pub fetches: Vec<Value>,
    pub feeds: Vec<FeedSpec>,
    /// Values replaced by constants.
    pub pins: Vec<(Value, Tensor)>,
    /// One entry per site; missing ones are the default.
    pub dropout: Vec<DropoutPolicy>,
}

/// The result; see the fields.
#[derive(Clone, Debug)]
pub struct Specialised {
    /// Its outputs are the fetches, in order.
    pub program: Program,
    /// For each value of the spelled program, its value here, where it was needed.
    pub map: Vec<Option<Value>>,
    /// Fed values that are needed: spelled value and the feed here.
    pub feeds: Vec<(Value, Value)>,
    /// Fed values whose content was built into the program: other content needs another program.
    pub built_in: Vec<Value>,
}

impl Specialised {
    /// The new value of a spelled one.
    pub fn get(&self, spelled: Value) -> Option<Value> {
        self.map.get(spelled.idx()).copied().flatten()
    }
}

/// See the module doc. Errors name what is missing or does not fit.
pub fn specialise(spelled: &Program, sites: &[DropoutSite], request: &Request) -> Result<Specialised, SpecialiseError> {
    let mut built_in: Vec<Value> = Vec::new();
    loop {
        let emitted = Emitter::run(spelled, sites, request, &built_in)?;
        // Contents are built in only where something stays undecided without them.
        let more: Vec<Value> = emitted.deciding.iter().copied().filter(|v| !built_in.contains(v)).collect();
        if more.is_empty() {
            if let Some(failure) = emitted.failure {
                return Err(failure);
            }
            return Ok(finish(request, &emitted, built_in));
        }
        built_in.extend(more);
    }
}

fn finish(request: &Request, emitted: &emit::Emitted, built_in: Vec<Value>) -> Specialised {
    let (mut program, map) = prune_with(&emitted.program, false);
    turns::number(&mut program);
    let through = |slot: Option<Value>| slot.and_then(|v| map[v.idx()]);
    let map: Vec<Option<Value>> = emitted.map.iter().map(|s| through(*s)).collect();
    let is_feed = |v: Value| program.feeds.iter().any(|f| f.value == v);
    let feeds = request
        .feeds
        .iter()
        .filter_map(|f| Some((f.value, map[f.value.idx()]?)))
        .filter(|(_, new)| is_feed(*new))
        .collect();
    debug_assert_eq!(verify::verify(&program), Vec::<String>::new());
    Specialised { program, map, feeds, built_in }
}
