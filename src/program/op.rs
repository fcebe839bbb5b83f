//! Behaviour of one instruction: shape rule, kernel, gradient, help and examples.

use std::any::Any;
use std::fmt::Debug;

use crate::tensor::{Fact, Tensor};

use super::{Builder, Kernel, Program, Value};

/// Why an op cannot be applied to its inputs: what was expected, what was found.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Misfit(pub String);

impl Misfit {
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// What a person wants to know about an op; also the source of the op catalogue.
#[derive(Debug)]
pub struct OpInfo {
    /// snake_case, unique.
    pub name: &'static str,
    /// Folder of the op file: `elementwise`, `linalg`, `conv`, …
    pub family: &'static str,
    /// One line.
    pub summary: &'static str,
    /// The formula, its domain, and where it comes from.
    pub formula: &'static str,
    /// Cases that the op tests walk.
    pub examples: fn() -> Vec<Example>,
}

/// A case of an op: inputs, and the outputs where a reference is known (else only shape and gradient are tested).
pub struct Example {
    pub op: std::sync::Arc<dyn Op>,
    pub inputs: Vec<Tensor>,
    pub outputs: Option<Vec<Tensor>>,
}

/// Whether a gradient passes from the outputs to one input, decided by the op without looking at values.
#[derive(Clone, Debug, PartialEq)]
pub enum Flow {
    /// The gradient flows; [`Op::vjp`] gives it.
    Flows,
    /// The derivative is zero wherever it exists (comparison, rounding, index); the reason in plain words.
    Zero(&'static str),
    /// Stopped on purpose; `exact` where mathematics makes it zero anyway.
    Stopped { exact: bool, why: &'static str },
    /// The op has no derivative rule; the reason in plain words.
    Blocked(String),
}

/// The instruction whose gradient is asked for, inside the program that is being extended.
#[derive(Debug)]
pub struct Site<'a> {
    pub inputs: &'a [Value],
    pub outputs: &'a [Value],
}

/// One instruction's behaviour. Ops know no dialect; equal name and `Debug` text mean equal behaviour.
pub trait Op: Any + Debug + Send + Sync {
    fn info(&self) -> &'static OpInfo;

    /// Facts of the outputs from facts of the inputs; must accept partly known shapes. An op whose output shape depends
    /// on input values reads `Fact::value` and answers with unknown dimensions where it is missing.
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit>;

    /// The kernel for fully known input and output shapes, chosen once when the plan is made.
    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit>;

    /// Whether a gradient passes to `input`; no default, every op decides.
    fn flow(&self, input: usize, inputs: &[&Fact]) -> Flow;

    /// Vector-Jacobian product: appends instructions that compute the gradient of each input whose `flow` is `Flows`
    /// and for which `wanted` is true, from the gradients of the outputs (`None` = zero). `None` = zero.
    ///
    /// The default is for ops whose `flow` never is `Flows`: nothing is built. Asked for a gradient all the same, it fails
    /// rather than answer with a zero that nobody would notice.
    fn vjp(
        &self,
        _b: &mut Builder,
        at: &Site<'_>,
        _out_grads: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        if wanted.contains(&true) {
            return Err(Misfit::new("it says that a gradient flows, but has no rule that builds one"));
        }
        Ok(vec![None; at.inputs.len()])
    }

    /// For an op that stands for others, which depend on what is known of its inputs (see `lower::deferred`): a program
    /// with its inputs as feeds. Asked when specialising; `None` for all ordinary ops.
    fn expand(&self, _inputs: &[&Fact]) -> Option<Result<Program, Misfit>> {
        None
    }

    /// For an op that draws random numbers by site: the same op, drawing the numbers of that iteration of a loop around
    /// it (turn 0 is the op itself). Such an op also takes further inputs behind its own, `int64` scalars, each the
    /// iteration number of a loop that stays a loop.
    fn at_turn(&self, _turn: u64) -> Option<std::sync::Arc<dyn Op>> {
        None
    }

    /// Draws random numbers: never folded, merged or recomputed as something else.
    fn is_random(&self) -> bool {
        false
    }
}

/// The op as a concrete type.
pub fn downcast<T: Op>(op: &dyn Op) -> Option<&T> {
    (op as &dyn Any).downcast_ref()
}

/// Equal behaviour: the same op with the same attributes.
pub fn same(a: &dyn Op, b: &dyn Op) -> bool {
    std::ptr::eq(a.info(), b.info()) && format!("{a:?}") == format!("{b:?}")
}

/// Checks the number of inputs.
pub fn arity(inputs: &[&Fact], n: usize) -> Result<(), Misfit> {
    if inputs.len() == n { Ok(()) } else { Err(Misfit(format!("expected {n} inputs, found {}", inputs.len()))) }
}
