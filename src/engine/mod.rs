//! Runs programs. [`Plan`] is the fast way: kernels on slots of one arena, decided once. [`eager`] is the general way:
//! instruction by instruction on tensors, for loops, conditionals and shapes that depend on data. [`Executable`] is
//! whichever of both a program needs; [`Engine`] owns the threads.
//!
//! Nothing here knows what training is: gradients are outputs like any other. Parameters, feeds and the arena belong to
//! the caller, so that the plans of a run (one per length) share them.

pub mod eager;
pub mod memory;
pub mod plan;
mod plan_make;
pub mod profile;
pub mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::CancelToken;
use crate::graph::NodeKey;
use crate::program::{Misfit, Program, Random, Value, View};
use crate::tensor::{Element, Payload, PayloadError, Tensor};

pub use eager::Eager;
pub use memory::Workspace;
pub use plan::Plan;
pub use profile::{Cost, Profile};
pub use watch::{Blame, first_non_finite};

/// Why a program could not be prepared or run.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// The caller's token was cancelled between two steps.
    #[error("cancelled")]
    Cancelled,
    /// The program cannot be a plan: a shape or type is only known while running.
    #[error("{at}: {why}")]
    NotStatic { at: String, why: String },
    /// An instruction cannot run; `at` names it by its graph node.
    #[error("{at}: {source}")]
    Instruction { at: String, source: Misfit },
    #[error("the constant {name} could not be loaded: {source}")]
    Constant { name: String, source: PayloadError },
    /// A feed or parameter does not have the type and shape that the program was made for.
    #[error("{what} must be {expected}, found {found}")]
    Binding { what: String, expected: String, found: String },
    #[error("{needed} bytes of working memory could not be had")]
    Memory { needed: usize },
    #[error("threads could not be started: {0}")]
    Threads(String),
}

/// Frozen constants that several executables of one model share, so that each is loaded once.
#[derive(Clone, Debug, Default)]
pub struct ConstantStore {
    by_node: BTreeMap<NodeKey, Tensor>,
}

impl ConstantStore {
    /// The value of a constant; `node` is its name in the graph, literals of rules have none.
    pub fn load(&mut self, node: Option<&NodeKey>, payload: &Payload) -> Result<Tensor, PayloadError> {
        let Some(node) = node.filter(|_| !payload.is_loaded()) else { return payload.load() };
        if let Some(t) = self.by_node.get(node)
            && t.dtype() == payload.dtype
            && t.shape() == &payload.shape[..]
        {
            return Ok(t.clone());
        }
        let tensor = payload.load()?;
        self.by_node.insert(node.clone(), tensor.clone());
        Ok(tensor)
    }
}

/// What a run reads from outside, in the order of the program's feeds and of the parameters given when preparing.
#[derive(Clone, Copy, Debug)]
pub struct Bindings<'a> {
    pub feeds: &'a [Tensor],
    pub params: &'a [Tensor],
    pub random: Random,
}

/// What a run reports to and listens to.
#[derive(Debug, Default)]
pub struct Control<'a> {
    pub cancel: Option<&'a CancelToken>,
    pub profile: Option<&'a mut Profile>,
}

/// A program ready to run, as a plan where its shapes are known, else instruction by instruction.
#[derive(Debug)]
pub enum Executable {
    Planned(Box<Plan>),
    Eager(Box<Eager>),
}

impl Executable {
    /// `params` are the constants of `program` that each run binds from outside (the trainable ones), in binding order.
    pub fn new(program: Program, params: &[Value], constants: &mut ConstantStore) -> Result<Self, EngineError> {
        match Plan::new(&program, params, constants) {
            Ok(plan) => Ok(Self::Planned(Box::new(plan))),
            Err(EngineError::NotStatic { at, why }) => {
                tracing::debug!(%at, %why, "running instruction by instruction");
                Ok(Self::Eager(Box::new(Eager::new(program, params, constants)?)))
            }
            Err(e) => Err(e),
        }
    }

    /// Runs once in the current rayon pool; outputs are then read from `space` until its next run.
    pub fn run(&self, space: &mut Workspace, bind: &Bindings<'_>, control: Control<'_>) -> Result<(), EngineError> {
        match self {
            Self::Planned(plan) => plan.run(space, bind, control),
            Self::Eager(eager) => eager.run(space, bind, control),
        }
    }

    /// Elements of output `i` of the last run, without copying. Panics where `T` is not its storage type.
    pub fn output<'a, T: Element>(&'a self, space: &'a Workspace, i: usize) -> &'a [T] {
        match self {
            Self::Planned(plan) => plan.output(space, i),
            Self::Eager(_) => space.outputs[i].as_slice(),
        }
    }

    /// Output `i` of the last run as kernels see buffers, without copying.
    pub fn output_view<'a>(&'a self, space: &'a Workspace, i: usize) -> View<'a> {
        match self {
            Self::Planned(plan) => plan.output_view(space, i),
            Self::Eager(_) => View::of(&space.outputs[i]),
        }
    }

    /// Output `i` of the last run as a tensor of its own.
    pub fn output_tensor(&self, space: &Workspace, i: usize) -> Tensor {
        match self {
            Self::Planned(plan) => plan.output_tensor(space, i),
            Self::Eager(_) => space.outputs[i].clone(),
        }
    }

    /// Bytes of working memory a run needs; `None` where only running tells.
    pub fn arena_bytes(&self) -> Option<usize> {
        match self {
            Self::Planned(plan) => Some(plan.arena_bytes()),
            Self::Eager(_) => None,
        }
    }

    /// Floating-point operations of one run as far as the kernels say.
    pub fn flops(&self) -> u64 {
        match self {
            Self::Planned(plan) => plan.flops(),
            Self::Eager(_) => 0,
        }
    }
}

/// The threads that kernels run on. Results do not depend on their number.
#[derive(Clone, Debug)]
pub struct Engine {
    pool: Arc<rayon::ThreadPool>,
}

impl Engine {
    /// `threads` = 0 uses every core.
    pub fn new(threads: usize) -> Result<Self, EngineError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("engine-{i}"))
            .build()
            .map_err(|e| EngineError::Threads(e.to_string()))?;
        Ok(Self { pool: Arc::new(pool) })
    }

    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Runs `f` on the engine's threads (for own parallel work such as the optimizer's update).
    pub fn install<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        self.pool.install(f)
    }

    /// [`Executable::run`] on the engine's threads.
    pub fn run(
        &self,
        executable: &Executable,
        space: &mut Workspace,
        bind: &Bindings<'_>,
        control: Control<'_>,
    ) -> Result<(), EngineError> {
        self.pool.install(|| executable.run(space, bind, control))
    }
}

/// What a person calls an instruction: its graph node, or its place in the program.
pub(crate) fn describe(program: &Program, instr: usize) -> String {
    let i = &program.instrs[instr];
    match (&i.origin, i.outputs.first()) {
        (Some(node), _) => format!("{} ({node})", i.name()),
        (None, Some(&v)) => format!("{} ({})", i.name(), program.describe(v)),
        (None, None) => i.name().to_owned(),
    }
}
