//! What the way in which constants are read tells about where they come from: freezing turns a variable into a constant
//! behind the Identity that used to read it, while numbers that the program's text held are read directly.

use crate::graph::{Attr, ConstantOrigin, Graph, NodeId};

use super::roles::ConstantRole;

/// How a constant is read, as far as that tells whether it was a variable before the graph was frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// A variable of a checkpoint, or a constant that only Identities read.
    Variable,
    /// An initializer of a file that also has constant nodes for numbers of the program's text.
    Stored,
    /// Handed to a function, loop or conditional, where what reads it is not looked at; or added by an edit.
    Passed,
    /// A table that a lookup reads: freezing leaves no Identity before those of resource variables.
    LookedUp,
    /// Something computes with it.
    Direct,
}

impl Reading {
    /// Of a constant of the main graph. `readers`: of every value.
    pub(super) fn of(graph: &Graph, readers: &[Vec<NodeId>], id: NodeId) -> Self {
        if graph.constant(id).is_some_and(|c| matches!(c.origin, ConstantOrigin::Variable { .. })) {
            return Self::Variable;
        }
        if graph.node(id).span.is_none() {
            return Self::Passed;
        }
        let mut reads =
            graph.node(id).outputs.iter().flat_map(|v| &readers[v.idx()]).map(|r| graph.node(*r)).peekable();
        if reads.peek().is_none() {
            return Self::Direct;
        }
        let mut found = Self::Variable;
        for node in reads {
            match node.op.as_str() {
                "Identity" | "ReadVariableOp" => {}
                "Enter" | "RefEnter" | "Switch" | "RefSwitch" => return Self::Passed,
                "Gather" | "GatherV2" | "GatherNd" => return Self::LookedUp,
                op if graph.functions.contains_key(op) || node.attrs.values().any(Attr::has_function) => {
                    return Self::Passed;
                }
                _ => found = Self::Direct,
            }
        }
        let is_stored = graph.constant(id).is_some_and(|c| c.origin == ConstantOrigin::Initializer);
        if found == Self::Direct && is_stored { Self::Stored } else { found }
    }
}

/// Whether a graph still shows which of its constants were variables, and which of the suggested ones were not.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    seen: usize,
    variables: usize,
    /// Indices of the suggested constants that are read directly, where no place that only weights have speaks for them:
    /// tools that graft heads need no Identity either.
    doubted: Vec<usize>,
}

impl Evidence {
    /// One constant after the other, in order: whether it is a suggested variable, or suggested and doubted.
    pub(super) fn add(&mut self, is_variable: bool, is_doubted: bool) {
        self.variables += usize::from(is_variable);
        if is_doubted {
            self.doubted.push(self.seen);
        }
        self.seen += 1;
    }

    /// Where most of what would be suggested is known to have been variables, the rest was none. Where tools have
    /// stripped the Identities, nothing is known, and places and elements decide alone.
    pub(super) fn withdraw(&self, roles: &mut [ConstantRole]) {
        if self.variables < self.doubted.len().max(1) {
            return;
        }
        for &i in &self.doubted {
            let role = &mut roles[i];
            role.suggest = false;
            role.reason = format!(
                "no variable of the model it came from, unlike {} other constants ({})",
                self.variables, role.reason
            );
        }
    }
}
