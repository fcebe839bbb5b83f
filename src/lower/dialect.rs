//! What the spelling driver asks a file format: how a node is spelled, and which nodes are structure rather than
//! arithmetic.

use std::fmt::Debug;

use crate::graph::{Graph, Node};

use super::Spelling;
use super::compose::{Composed, NewNode};

/// What the driver must know about a node before it looks for a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Structure {
    /// Ordinary: a rule spells it.
    Op,
    /// Output `i` is input `i`: no instruction, the values are the same.
    Alias,
    /// Input 0 is what the value is unless somebody feeds another.
    Default,
    /// Runs only for its effect (NoOp, Assert, Save): nothing reads a value of it.
    Effect,
    /// Sends input 0 to output 1 where input 1 (the predicate) is true, to output 0 where it is false.
    Switch,
    /// Sends input 0 to the output that input 1 (an index) names; the last output where it is out of range.
    SwitchN,
    /// Output 0 is the input that is alive; output 1 its index.
    Merge,
    /// Opens a loop frame of that name; a constant one gives the same value in every iteration.
    Enter {
        frame: String,
        is_constant: bool,
    },
    Exit,
    NextIteration,
    LoopCond,
    /// Calls a library function with all inputs.
    Call {
        function: String,
    },
    /// Input 0 decides; the others go to the function that is chosen.
    If {
        then_function: String,
        else_function: String,
    },
    /// Input 0 is an index; the others go to the function that is chosen (the last one where it is out of range).
    Case {
        functions: Vec<String>,
    },
    /// The inputs are the state; `cond` reads it and gives a boolean, `body` gives the next state.
    While {
        cond: String,
        body: String,
    },
    /// Runs a body again and again; see [`Repeat`].
    Repeat(Box<Repeat>),
}

/// A body that runs again and again, as ONNX has it: state goes around, and further results are stacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeat {
    pub body: String,
    /// Inputs at the end that the body takes as they are, in every iteration.
    pub n_captured: usize,
    pub kind: RepeatKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepeatKind {
    /// Inputs: most iterations, first condition (each may be left out), state. Body: iteration number, condition, state
    /// → condition, state, values to stack.
    Count,
    /// Inputs: state, sequences. Body: state, one slice of each sequence → state, values to stack.
    Scan { input_axes: Vec<i64>, is_input_reversed: Vec<bool>, output_axes: Vec<i64>, is_output_reversed: Vec<bool> },
}

/// See the module doc. Stateless; one static object per format.
pub trait Dialect: Debug + Send + Sync {
    fn name(&self) -> &'static str;

    /// The row of the rule table, if there is one.
    fn spelling(&self, node: &Node) -> Option<&'static Spelling>;

    fn structure(&self, node: &Node) -> Structure;

    /// Whether the shapes that the file states for a node's outputs are those of our values (a handle that we replace by
    /// what it stands for has others).
    fn declares_shapes(&self, _node: &Node) -> bool {
        true
    }

    /// Version of the op set that [`super::Rule::opset`] shows.
    fn opset(&self, _graph: &Graph, _node: &Node) -> i64 {
        0
    }

    /// A new node in the words of the format; `None` where the format takes none.
    fn compose(&self, _new: &NewNode<'_>) -> Option<Composed> {
        None
    }

    /// Whether a person can be told that this op computes (the "supported" badge).
    fn supports(&self, node: &Node) -> bool {
        !matches!(self.structure(node), Structure::Op) || self.spelling(node).is_some()
    }
}
