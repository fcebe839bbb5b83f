//! What a person can do about a gradient that does not arrive, or a node that cannot be computed. Each cure that is offered
//! works when it is applied: it is offered only where it fits.

use crate::graph::NodeKey;
use crate::ops::opaque::Opaque;
use crate::program::{Instr, InstrKind, Program, Value};
use crate::tensor::fact::replacement;

use super::node::Nodes;
use super::{StandIn, Verdict};

/// See the module doc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cure {
    StandIn {
        node: NodeKey,
        stand_in: StandIn,
    },
    /// Readers of the node's output read its input instead, also in the exported file.
    Bypass {
        node: NodeKey,
    },
    /// Decide the conditional by pinning its predicate.
    PinPredicate {
        value: String,
        to: bool,
    },
    /// Give the value from outside; what computes it is then not needed.
    Feed {
        value: String,
    },
}

impl std::fmt::Display for Cure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::StandIn { stand_in, .. } => write!(f, "stand-in {stand_in}"),
            Self::Bypass { .. } => f.write_str("bypass"),
            Self::PinPredicate { value, to } => write!(f, "pin {value} to {to}"),
            Self::Feed { value } => write!(f, "feed {value}"),
        }
    }
}

impl Cure {
    /// The option of the command line that applies it; a feed has none of its own.
    pub fn option(&self) -> Option<String> {
        Some(match self {
            Self::StandIn { node, stand_in } => format!("--stand-in {node}={stand_in}"),
            Self::Bypass { node } => format!("--bypass {node}"),
            Self::PinPredicate { value, to } => format!("--set-input {value}={to}"),
            Self::Feed { .. } => return None,
        })
    }
}

/// Cures for a gradient that ends with `verdict` at input `input` of an instruction.
pub fn cures(nodes: &Nodes<'_>, instr: &Instr, input: usize, verdict: Verdict) -> Vec<Cure> {
    let Some(node) = &instr.origin else { return Vec::new() };
    match (verdict, &instr.kind) {
        (Verdict::DeadBranch, _) => pin(nodes.program, instr.inputs[0]),
        (Verdict::Stopped { benign: true } | Verdict::NotFloat, _) => Vec::new(),
        (_, InstrKind::Op(_)) if instr.op_as::<Opaque>().is_some() => {
            cures_of_opaque(nodes.program, instr, nodes.is_inner)
        }
        _ => {
            let lost = nodes.origins(node, instr.inputs[input]);
            let mut found = offers(nodes, node, &lost);
            if found.is_empty() && verdict == Verdict::Blocked && !nodes.results(node).is_empty() {
                found.push(Cure::StandIn { node: node.clone(), stand_in: StandIn::Stop });
            }
            found
        }
    }
}

/// What helps the sources `lost` of a node.
fn offers(nodes: &Nodes<'_>, node: &NodeKey, lost: &[Value]) -> Vec<Cure> {
    let results = nodes.results(node);
    let helps = |stand_in| {
        let reached: Vec<Vec<Value>> = results.iter().map(|&y| nodes.targets(node, y, stand_in)).collect();
        !reached.is_empty()
            && reached.iter().all(|t| !t.is_empty())
            && reached.iter().flatten().any(|x| lost.contains(x))
    };
    let stand_in = |stand_in| Cure::StandIn { node: node.clone(), stand_in };
    let mut found = Vec::new();
    let goes_straight = helps(StandIn::StraightThrough);
    if goes_straight {
        found.push(stand_in(StandIn::StraightThrough));
    }
    if helps(StandIn::Identity) {
        found.push(stand_in(StandIn::Identity));
    }
    if !found.is_empty() {
        found.push(stand_in(StandIn::Stop));
    }
    if goes_straight {
        found.push(Cure::Bypass { node: node.clone() });
    }
    found
}

/// A node that nobody can compute needs a value as well: that of an input that fits, or one from outside.
///
/// Inside a block nothing can be fed, and what the block itself gives cannot be bypassed: no node reads it.
pub fn cures_of_opaque(program: &Program, instr: &Instr, is_inner: bool) -> Vec<Cure> {
    let Some(node) = &instr.origin else { return Vec::new() };
    let facts = program.input_facts(instr);
    let outputs: Vec<Value> = instr.outputs.iter().copied().collect();
    let mut found = Vec::new();
    if outputs.first().is_some_and(|&y| replacement(program.fact(y), &facts).is_some()) {
        let kinds = [StandIn::StraightThrough, StandIn::Stop];
        found.extend(kinds.map(|stand_in| Cure::StandIn { node: node.clone(), stand_in }));
        let is_read = |y: &Value| program.instrs.iter().any(|i| i.inputs.contains(y));
        if !is_inner || outputs.iter().any(is_read) {
            found.push(Cure::Bypass { node: node.clone() });
        }
    }
    if is_inner {
        return found;
    }
    let named = outputs.iter().filter_map(|&y| program.value(y).key.as_ref());
    found.extend(named.map(|key| Cure::Feed { value: key.as_str().to_owned() }));
    found
}

/// A decided predicate can be decided the other way, where it has a name.
fn pin(program: &Program, predicate: Value) -> Vec<Cure> {
    let decided = program.fact(predicate).scalar().map(|p| p != 0.0);
    match (&program.value(predicate).key, decided) {
        (Some(key), Some(now)) => vec![Cure::PinPredicate { value: key.as_str().to_owned(), to: !now }],
        _ => Vec::new(),
    }
}
