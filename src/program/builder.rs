//! Appends instructions to a program; facts are inferred as they come, so a misfit shows where it is made.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::graph::{NodeKey, ValueKey};
use crate::tensor::{Fact, Payload, Tensor};

use super::{ConstantDef, Def, Feed, Instr, InstrKind, Misfit, Op, Program, Value, ValueInfo};

/// Literals up to this many elements carry their value in the fact, so that shape rules can read them.
const KNOWN_VALUE_ELEMENTS: usize = 1 << 16;

/// See the module doc. Borrowing the program keeps all earlier values valid.
#[derive(Debug)]
pub struct Builder<'p> {
    program: &'p mut Program,
    origin: Option<NodeKey>,
}

impl<'p> Builder<'p> {
    pub fn new(program: &'p mut Program) -> Self {
        Self { program, origin: None }
    }

    pub fn program(&self) -> &Program {
        self.program
    }

    pub fn program_mut(&mut self) -> &mut Program {
        self.program
    }

    /// The graph node that the following instructions come from.
    pub fn set_origin(&mut self, origin: Option<NodeKey>) {
        self.origin = origin;
    }

    pub fn origin(&self) -> Option<NodeKey> {
        self.origin.clone()
    }

    pub fn fact(&self, v: Value) -> &Fact {
        self.program.fact(v)
    }

    /// Names a value after the graph value that it is.
    pub fn set_key(&mut self, v: Value, key: ValueKey) {
        self.program.values[v.idx()].key = Some(key);
    }

    fn new_value(&mut self, fact: Fact, def: Def) -> Value {
        let v = Value::new(self.program.values.len());
        self.program.values.push(ValueInfo { fact, def, key: None });
        v
    }

    /// A value given from outside at each run.
    pub fn feed(&mut self, name: impl Into<String>, fact: Fact) -> Value {
        let v = self.new_value(fact, Def::Feed(self.program.feeds.len()));
        self.program.feeds.push(Feed { value: v, name: name.into() });
        v
    }

    /// A constant of the graph. Its fact carries the value where `known` gives it.
    pub fn constant(&mut self, node: Option<NodeKey>, payload: Payload, known: Option<Tensor>) -> Value {
        let fact = Fact { value: known, ..Fact::of_dims(payload.dtype, &payload.shape) };
        let v = self.new_value(fact, Def::Constant(self.program.constants.len()));
        self.program.constants.push(ConstantDef { value: v, node, payload });
        v
    }

    /// A constant that a rule makes up.
    pub fn literal(&mut self, tensor: Tensor) -> Value {
        let known = (tensor.len() <= KNOWN_VALUE_ELEMENTS).then(|| tensor.clone());
        self.constant(None, Payload::from_tensor(tensor), known)
    }

    /// Appends an op with one output.
    pub fn op(&mut self, op: impl Op, inputs: &[Value]) -> Result<Value, Misfit> {
        let out = self.op_n(Arc::new(op), inputs)?;
        match out.as_slice() {
            [v] => Ok(*v),
            _ => Err(Misfit(format!("expected one output, the op has {}", out.len()))),
        }
    }

    /// Appends an op with any number of outputs.
    pub fn op_n(&mut self, op: Arc<dyn Op>, inputs: &[Value]) -> Result<SmallVec<[Value; 2]>, Misfit> {
        let facts = {
            let in_facts: SmallVec<[&Fact; 4]> = inputs.iter().map(|&v| self.program.fact(v)).collect();
            op.infer(&in_facts).map_err(|m| {
                let shapes = in_facts.iter().map(|f| f.describe()).collect::<Vec<_>>().join(", ");
                Misfit(format!("{} on ({shapes}): {m}", op.info().name))
            })?
        };
        Ok(self.push(InstrKind::Op(op), inputs, facts))
    }

    /// Appends an instruction of any kind whose output facts are known.
    pub fn push(&mut self, kind: InstrKind, inputs: &[Value], facts: Vec<Fact>) -> SmallVec<[Value; 2]> {
        let instr = self.program.instrs.len();
        let outputs: SmallVec<[Value; 2]> = facts
            .into_iter()
            .enumerate()
            .map(|(port, fact)| self.new_value(fact, Def::Output { instr, port }))
            .collect();
        self.program.instrs.push(Instr {
            kind,
            inputs: inputs.into(),
            outputs: outputs.clone(),
            origin: self.origin.clone(),
        });
        outputs
    }
}
