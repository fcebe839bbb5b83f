//! What runs: straight-line SSA. Each instruction reads only earlier values; `If` and `Loop` are instruction kinds with
//! blocks, not ops, so that verify, autodiff and the executor know them.
//!
//! Reading order: [`op`] (behaviour of one instruction), [`kernel`] (how it computes), [`Program`] here, [`builder`]
//! (how programs are made), [`eval`] (one op on concrete tensors), [`verify`].

pub mod builder;
pub mod eval;
pub mod inline;
pub mod kernel;
pub mod op;
pub mod text;
pub mod verify;

use std::sync::Arc;

use smallvec::SmallVec;

use crate::graph::{NodeKey, ValueKey};
use crate::tensor::{Fact, Payload};

pub use builder::Builder;
pub use kernel::{Call, Kernel, Random, Run, View, ViewMut};
pub use op::{Example, Flow, Misfit, Op, OpInfo, Site};

crate::typed_id!(
    /// A value of one [`Program`].
    Value
);

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Def {
    /// Index into [`Program::feeds`].
    Feed(usize),
    /// Index into [`Program::constants`].
    Constant(usize),
    /// Output `port` of instruction `instr`.
    Output { instr: usize, port: usize },
}

#[derive(Clone, Debug)]
pub struct ValueInfo {
    pub fact: Fact,
    pub def: Def,
    /// The graph value that this is, where it is one: the origin map that paints results on the graph.
    pub key: Option<ValueKey>,
}

/// A value given from outside at each run; in a block, a parameter.
#[derive(Clone, Debug)]
pub struct Feed {
    pub value: Value,
    pub name: String,
}

/// A value that stays between runs. `node` names the graph's constant; `None` for literals that rules create.
#[derive(Clone, Debug)]
pub struct ConstantDef {
    pub value: Value,
    pub node: Option<NodeKey>,
    pub payload: Payload,
}

/// Blocks of a conditional; both take the instruction's inputs after the predicate as feeds and give the same outputs.
#[derive(Clone, Debug)]
pub struct IfBlocks {
    pub then_block: Program,
    pub else_block: Program,
}

/// A loop `while cond(state, invariants) { state = body(state, invariants) }`.
/// Inputs of the instruction: the initial state (`n_state` values), then the invariants. `cond` has one boolean scalar
/// output; `body` has `n_state` outputs. The instruction's outputs are the final state.
#[derive(Clone, Debug)]
pub struct LoopBlocks {
    pub cond: Program,
    pub body: Program,
    pub n_state: usize,
}

#[derive(Clone, Debug)]
pub enum InstrKind {
    Op(Arc<dyn Op>),
    /// `inputs[0]` is the boolean scalar predicate.
    If(Box<IfBlocks>),
    Loop(Box<LoopBlocks>),
}

#[derive(Clone, Debug)]
pub struct Instr {
    pub kind: InstrKind,
    pub inputs: SmallVec<[Value; 4]>,
    pub outputs: SmallVec<[Value; 2]>,
    /// The graph node that this instruction was spelled from.
    pub origin: Option<NodeKey>,
}

impl Instr {
    pub fn op(&self) -> Option<&Arc<dyn Op>> {
        match &self.kind {
            InstrKind::Op(op) => Some(op),
            _ => None,
        }
    }

    /// The op as a concrete type, if it is one.
    pub fn op_as<T: Op>(&self) -> Option<&T> {
        op::downcast(&**self.op()?)
    }

    /// The op's name, or `if` / `loop`.
    pub fn name(&self) -> &'static str {
        match &self.kind {
            InstrKind::Op(op) => op.info().name,
            InstrKind::If(_) => "if",
            InstrKind::Loop(_) => "loop",
        }
    }
}

/// Straight-line code over values; see the module doc.
#[derive(Clone, Debug, Default)]
pub struct Program {
    pub instrs: Vec<Instr>,
    pub values: Vec<ValueInfo>,
    pub feeds: Vec<Feed>,
    pub constants: Vec<ConstantDef>,
    pub outputs: Vec<Value>,
}

impl Program {
    pub fn value(&self, v: Value) -> &ValueInfo {
        &self.values[v.idx()]
    }

    pub fn fact(&self, v: Value) -> &Fact {
        &self.values[v.idx()].fact
    }

    pub fn def(&self, v: Value) -> Def {
        self.values[v.idx()].def
    }

    /// The instruction that computes a value, if one does.
    pub fn producer(&self, v: Value) -> Option<(usize, &Instr)> {
        match self.def(v) {
            Def::Output { instr, .. } => Some((instr, &self.instrs[instr])),
            _ => None,
        }
    }

    pub fn value_ids(&self) -> impl Iterator<Item = Value> + use<> {
        (0..self.values.len()).map(Value::new)
    }

    /// For each value, the instructions that read it, in order (twice where it is read twice).
    pub fn readers(&self) -> Vec<SmallVec<[usize; 4]>> {
        let mut out = vec![SmallVec::new(); self.values.len()];
        for (i, instr) in self.instrs.iter().enumerate() {
            for v in &instr.inputs {
                out[v.idx()].push(i);
            }
        }
        out
    }

    pub fn input_facts(&self, instr: &Instr) -> SmallVec<[&Fact; 4]> {
        instr.inputs.iter().map(|&v| self.fact(v)).collect()
    }

    /// What a person calls a value: the graph's name, a feed's or constant's name, or `%12`.
    pub fn describe(&self, v: Value) -> String {
        let info = self.value(v);
        if let Some(k) = &info.key {
            return k.as_str().to_owned();
        }
        match info.def {
            Def::Feed(i) => self.feeds[i].name.clone(),
            Def::Constant(i) => match &self.constants[i].node {
                Some(n) => n.as_str().to_owned(),
                None => format!("%{}", v.idx()),
            },
            Def::Output { .. } => format!("%{}", v.idx()),
        }
    }
}
