//! Drops instructions and constants that no output needs. Feeds and trainable constants stay, so that bindings keep their
//! order.

use crate::program::verify::live_values;
use crate::program::{Misfit, Program};

use super::Limits;
use super::rewrite::{Rewriter, Rewritten};

pub(super) fn run(program: &Program, limits: &Limits<'_>) -> Result<Rewritten, Misfit> {
    let live = live_values(program);
    let mut r = Rewriter::with_constants(program, |v| live[v.idx()] || limits.params.contains(&v));
    for instr in &program.instrs {
        if instr.outputs.iter().any(|v| live[v.idx()]) {
            r.copy(instr)?;
        }
    }
    r.finish()
}
