//! Program → program: rewrites that change no observable result beyond a stated float tolerance.
//!
//! Two ordered lists, before and after autodiff, with a reason for each position. No pass folds, merges or removes a
//! trainable constant, touches a random op's stream, or drops a feed. In tests every pass is followed by `verify` and a
//! comparison of outputs.

mod dead;
mod fold;
mod layout;
mod merge;
pub mod rewrite;
mod rows;
mod rows_cut;
mod rows_group;
mod rows_translate;
mod shapes;
mod simplify;

use crate::program::{Misfit, Program, Value};

pub use rewrite::Rewritten;

/// What passes may not touch, and what they may rely on.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// Trainable constants: their values change between runs.
    pub params: &'a [Value],
    /// The trainable set is final and gradients are already in the program.
    pub final_form: bool,
}

type Run = fn(&Program, &Limits<'_>) -> Result<Rewritten, Misfit>;

/// One rewrite, and why it stands where it stands.
pub struct Pass {
    pub name: &'static str,
    pub reason: &'static str,
    run: Run,
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Pass {
    /// Runs this pass alone.
    pub fn run(&self, program: &Program, limits: &Limits<'_>) -> Result<Rewritten, Misfit> {
        (self.run)(program, limits)
    }
}

/// Smaller programs for autodiff; all gradients stay possible.
pub const BEFORE_AUTODIFF: &[Pass] = &[
    Pass { name: "dead", reason: "first, so that nothing below works on what nobody needs", run: dead::run },
    Pass {
        name: "fold",
        reason: "integer arithmetic on known shapes gives the operands that later rules read",
        run: fold::run,
    },
    Pass {
        name: "simplify",
        reason: "after folding: neutral operands and no-op shapes are visible now",
        run: simplify::run,
    },
    Pass { name: "merge", reason: "after simplify: equal computations have equal operands now", run: merge::run },
    Pass { name: "dead", reason: "what the rewrites above left behind", run: dead::run },
];

/// Fast programs, once gradients are in.
pub const AFTER_AUTODIFF: &[Pass] = &[
    Pass { name: "dead", reason: "gradients that nobody asked for", run: dead::run },
    Pass {
        name: "shapes",
        reason: "operands of which only the shape is read would keep large values alive",
        run: shapes::run,
    },
    Pass {
        name: "fold",
        reason: "shape arithmetic of gradient rules, and float constants that are frozen",
        run: fold::run,
    },
    Pass { name: "simplify", reason: "gradient rules leave neutral operands and no-op shapes", run: simplify::run },
    Pass { name: "merge", reason: "forward values that gradient rules computed again", run: merge::run },
    Pass { name: "dead", reason: "before fusion, which would take dead readers for live ones", run: dead::run },
    Pass {
        name: "layout",
        reason: "transposes that a matrix product can read through its strides; before fusion, since it frees element-wise neighbours",
        run: layout::run,
    },
    Pass { name: "dead", reason: "transposes without readers", run: dead::run },
    Pass { name: "rows", reason: "last: groups what is left of element-wise work and row reductions", run: rows::run },
    Pass { name: "dead", reason: "what fusion computes inside its groups", run: dead::run },
];

/// Runs `list` in order; `params` and the result's map are in terms of the program given.
pub fn run_all(list: &[Pass], program: &Program, params: &[Value], final_form: bool) -> Result<Rewritten, Misfit> {
    let mut now = Rewritten::identity(program.clone());
    for pass in list {
        let params: Vec<Value> = params.iter().filter_map(|p| now.map[p.idx()]).collect();
        let before = now.program.instrs.len();
        let next = pass.run(&now.program, &Limits { params: &params, final_form })?;
        tracing::debug!(pass = pass.name, before, after = next.program.instrs.len());
        now = now.then(next);
    }
    Ok(now)
}

/// [`BEFORE_AUTODIFF`] on a specialised program.
pub fn before_autodiff(program: &Program, params: &[Value]) -> Result<Rewritten, Misfit> {
    run_all(BEFORE_AUTODIFF, program, params, false)
}

/// [`AFTER_AUTODIFF`] on a program with its gradients; also for inference, where there are none.
pub fn after_autodiff(program: &Program, params: &[Value]) -> Result<Rewritten, Misfit> {
    run_all(AFTER_AUTODIFF, program, params, true)
}
