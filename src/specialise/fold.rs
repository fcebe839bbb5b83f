//! What is known exactly before anything runs: integers and booleans of bounded size, and single numbers.

use std::collections::HashMap;

use crate::program::{Def, Op, Program, Random, Value, eval};
use crate::tensor::{Fact, Tensor, shape};

/// Larger values are computed when the program runs.
const MAX_ELEMENTS: usize = 1 << 16;

/// Vectors of floating-point numbers up to this length (scales, sizes) are looked at.
const MAX_NUMBERS: usize = 16;

/// Contents that are known besides those in facts: a few floating-point numbers, which are looked at (a length that is
/// computed through a float) but never folded, since a constant behind them may train.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    numbers: HashMap<Value, Tensor>,
}

impl Known {
    /// Forgets values from `len` on (they are about to be numbered anew).
    pub(super) fn truncate(&mut self, len: usize) {
        self.numbers.retain(|v, _| v.idx() < len);
    }

    /// The content of a value, where it is known and small enough to look at.
    pub(super) fn get(&self, program: &Program, v: Value) -> Option<Tensor> {
        let fact = program.fact(v);
        let count = shape::element_count(&fact.dims()?)?;
        if count > MAX_ELEMENTS || !(fact.dtype.is_exact() || (fact.dtype.is_float() && count <= MAX_NUMBERS)) {
            return None;
        }
        if let Some(value) = fact.value.as_ref().or_else(|| self.numbers.get(&v)) {
            return Some(value.clone());
        }
        match program.def(v) {
            Def::Constant(i) => program.constants[i].payload.load().ok(),
            _ => None,
        }
    }

    pub(super) fn remember(&mut self, v: Value, content: Tensor) {
        self.numbers.insert(v, content);
    }
}

/// The outputs of an op on known inputs, where they are exact (or few numbers) and small; `None` where that is not
/// so or computing fails (the program then fails, or not, when it runs).
pub(super) fn evaluate(
    program: &Program,
    known: &Known,
    op: &dyn Op,
    inputs: &[Value],
    facts: &[Fact],
) -> Option<Vec<Tensor>> {
    if op.is_random() {
        return None;
    }
    for fact in facts {
        let count = fact.dims().map_or(Some(0), |d| shape::element_count(&d))?;
        let is_number = fact.dtype.is_float() && count <= MAX_NUMBERS && fact.dims().is_some();
        let fits = is_number || fact.dtype.is_exact() && count <= MAX_ELEMENTS;
        if !fits {
            return None;
        }
    }
    if facts.iter().all(|f| f.dtype.is_exact() && f.value.is_some()) {
        return facts.iter().map(|f| f.value.clone()).collect();
    }
    let contents = inputs.iter().map(|&v| known.get(program, v)).collect::<Option<Vec<_>>>()?;
    let out = eval::eval(op, &contents, Random::default()).ok()?;
    (out.len() == facts.len() && out.iter().all(|t| t.len() <= MAX_ELEMENTS)).then_some(out)
}
