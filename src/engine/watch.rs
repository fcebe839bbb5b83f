//! Replays a step to find where numbers went wrong: the first instruction whose inputs were finite and whose output is not.
//!
//! The program given should be the one before fusion, so that each instruction still has its own graph node.

use crate::graph::NodeKey;
use crate::program::{Program, Value};
use crate::tensor::{DType, Tensor};

use super::{Bindings, ConstantStore, Eager, EngineError};

/// The first non-finite value of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Blame {
    /// The instruction in the program that was replayed; `None` where a feed or parameter came in non-finite.
    pub instr: Option<usize>,
    /// The op's name, or what came in.
    pub op: String,
    /// The graph node it was spelled from.
    pub node: Option<NodeKey>,
    /// `NaN` or `infinity`, how many elements, and the first index.
    pub what: String,
}

impl std::fmt::Display for Blame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.node {
            Some(n) => write!(f, "{} at {n} produced {}", self.op, self.what),
            None => write!(f, "{} produced {}", self.op, self.what),
        }
    }
}

/// Replays `program` and names the first instruction that produced a NaN or an infinity; `None` where all is finite.
/// Infinite *constants* (masks are sometimes written so) are not blamed.
pub fn first_non_finite(
    program: &Program,
    params: &[Value],
    constants: &mut ConstantStore,
    bind: &Bindings<'_>,
) -> Result<Option<Blame>, EngineError> {
    let given = bind.feeds.iter().zip(program.feeds.iter().map(|f| ("feed", f.value)));
    let held = bind.params.iter().zip(params.iter().map(|&p| ("parameter", p)));
    for (tensor, (kind, v)) in given.chain(held) {
        if let Some(what) = non_finite(tensor) {
            let op = format!("{kind} {}", program.describe(v));
            return Ok(Some(Blame { instr: None, op, node: None, what }));
        }
    }
    let eager = Eager::new(program.clone(), params, constants)?;
    let mut blame = None;
    let result = eager.observe(bind, &mut |program, i, outputs| {
        let instr = &program.instrs[i];
        let Some(what) = outputs.iter().find_map(non_finite) else { return Ok(()) };
        blame = Some(Blame { instr: Some(i), op: instr.name().to_owned(), node: instr.origin.clone(), what });
        Err(EngineError::Cancelled)
    });
    match (blame, result) {
        (Some(b), _) => Ok(Some(b)),
        (None, Err(e)) => Err(e),
        (None, Ok(_)) => Ok(None),
    }
}

/// What is wrong in a tensor, in words.
pub fn non_finite(tensor: &Tensor) -> Option<String> {
    let bad: Vec<(usize, f64)> = match tensor.dtype() {
        DType::F32 => {
            let values = tensor.as_slice::<f32>();
            // One pass over all elements for the usual case that all is well.
            if values.iter().all(|v| v.is_finite()) {
                return None;
            }
            values.iter().enumerate().filter(|v| !v.1.is_finite()).map(|(i, &v)| (i, f64::from(v))).collect()
        }
        d if d.is_float() => tensor.to_f64s()?.into_iter().enumerate().filter(|v| !v.1.is_finite()).collect(),
        _ => return None,
    };
    let (first, value) = bad.first()?;
    let kind = if value.is_nan() { "NaN" } else { "infinity" };
    Some(format!("{kind} ({} of {} elements, the first at {first})", bad.len(), tensor.len()))
}
