//! The seam between the trainer and what computes: given feeds of some shape, something that runs forward and backward.
//!
//! The session implements it with specialise → autodiff → passes → plan; tests implement it by hand.

use std::fmt::Debug;

use crate::engine::{Cost, Workspace};
use crate::program::{Random, View};
use crate::tensor::{DType, Dims, Tensor};

/// Which of the two programs of one graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Dropout active, gradients wanted.
    Train,
    /// Dropout absent, no gradients.
    Eval,
}

/// Why a step could not be made or run; the text says where and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StepError(pub String);

/// Where numbers went wrong first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NonFinite {
    /// What happened, with its place.
    pub words: String,
    /// The graph node, where the value was spelled from one.
    pub node: Option<String>,
}

/// Feeds that share an executable: phase, names, element types, shapes, and whatever [`StepFactory::key`] adds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShapeKey {
    pub phase: Phase,
    pub feeds: Vec<(String, DType, Dims)>,
    /// Values of small feeds that reach a shape operand.
    pub values: Vec<u8>,
}

impl ShapeKey {
    pub fn of(phase: Phase, feeds: &[(String, Tensor)]) -> Self {
        let feeds = feeds.iter().map(|(n, t)| (n.clone(), t.dtype(), t.shape().into())).collect();
        Self { phase, feeds, values: Vec::new() }
    }
}

/// Makes executables; the trainer caches them by [`ShapeKey`], boundedly.
pub trait StepFactory: Debug + Send {
    /// What makes two batches need different executables. Override it where the values of feeds matter too.
    fn key(&self, phase: Phase, feeds: &[(String, Tensor)]) -> ShapeKey {
        ShapeKey::of(phase, feeds)
    }

    /// An executable for feeds of these names, types and shapes.
    fn make(&mut self, phase: Phase, feeds: &[(String, Tensor)]) -> Result<Box<dyn Step>, StepError>;
}

/// One executable. Working memory and parameters come from outside at each run, the latter in the order of the trainer's
/// store; an implementation must not keep clones of them beyond the run (the update would then have to copy them).
pub trait Step: Debug + Send {
    /// Runs one batch and gives the loss: forward and backward in [`Phase::Train`], forward alone in [`Phase::Eval`].
    fn run(
        &mut self,
        space: &mut Workspace,
        feeds: &[(String, Tensor)],
        parameters: &[Tensor],
        random: Random,
    ) -> Result<f64, StepError>;

    /// The gradient of parameter `index` from the last run in `space`, in its shape and element type; `None` where none
    /// arrives.
    fn gradient<'a>(&'a self, space: &'a Workspace, index: usize) -> Option<View<'a>>;

    /// What metrics read (logits or another output), from the last run; `None` where the job names none.
    fn prediction(&self, space: &Workspace) -> Option<Tensor>;

    /// Bytes that a run needs, for the estimate shown before the start.
    fn memory_bytes(&self) -> usize {
        0
    }

    /// Runs once under the profiler: time and memory by graph node, `None` for what belongs to no node. Fused work counts
    /// for the last of its nodes. Empty where an implementation cannot tell.
    fn costs_by_node(
        &mut self,
        _space: &mut Workspace,
        _feeds: &[(String, Tensor)],
        _parameters: &[Tensor],
    ) -> Result<Vec<(Option<String>, Cost)>, StepError> {
        Ok(Vec::new())
    }

    /// Runs again and says in words which node's result is the first that is not finite, if one is.
    fn first_non_finite(
        &mut self,
        feeds: &[(String, Tensor)],
        parameters: &[Tensor],
        random: Random,
    ) -> Result<Option<NonFinite>, StepError>;
}
