//! x
use crate::graph::{NodeKey, ValueKey};
use crate::program::Value;

/// Where in a program something lies: for each block entered, the instruction's index and which block of it
/// (0: then or body, 1: else or cond). Empty for the program itself.
pub type BlockPath = Vec<(usize, u8)>;

/// A place where the file drops random elements while training.
#[derive(Clone, Debug)]
pub struct DropoutSite {
    /// The block that `input` and `output` belong to.
    pub block: BlockPath,
    /// What is dropped from; bypassing means that every reader of `output` reads `input`.
    pub input: Value,
    pub output: Value,
    pub input_key: ValueKey,
    pub output_key: ValueKey,
    /// The share that is dropped, as the file says it; `None` where it is fed or computed.
    pub rate: Option<f64>,
    /// Where the rate is read from, when it is not a constant.
    pub rate_source: Option<RateSource>,
    /// Stable over re-import, unique to the site.
    pub site: u64,
    /// Axes along which all positions share one random number (a noise shape with ones).
    pub shared_axes: Vec<i64>,
    pub variant: &'static str,
    pub predicate: Option<Predicate>,
    pub nodes: Vec<NodeKey>,
}

/// A value of the site's program that decides the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateSource {
    pub value: Value,
    /// The value is the share that is kept, not the share that is dropped.
    pub is_keep: bool,
}

/// The condition under which the file drops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predicate {
    pub value: Value,
    /// The placeholder that it comes from, else the value itself.
    pub key: Option<ValueKey>,
    /// Drops where the predicate has this value.
    pub when: bool,
}
