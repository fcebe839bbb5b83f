//! What passes are made of: a copy of a program, instruction by instruction, in which values may be replaced.

use smallvec::SmallVec;

use crate::program::{Builder, Instr, InstrKind, Misfit, Program, Value};
use crate::tensor::Fact;

/// A rewritten program, and where each value of the original went (`None`: it no longer exists).
#[derive(Clone, Debug)]
pub struct Rewritten {
    pub program: Program,
    pub map: Vec<Option<Value>>,
}

impl Rewritten {
    pub fn identity(program: Program) -> Self {
        let map = program.value_ids().map(Some).collect();
        Self { program, map }
    }

    /// This, then `next` (whose map starts from this program).
    pub fn then(self, next: Self) -> Self {
        let map = self.map.iter().map(|v| v.and_then(|v| next.map[v.idx()])).collect();
        Self { program: next.program, map }
    }

    /// Where a value that must still exist went.
    pub fn value(&self, v: Value) -> Option<Value> {
        self.map.get(v.idx()).copied().flatten()
    }
}

/// Feeds and constants are copied at once; instructions as the pass asks.
#[derive(Debug)]
pub struct Rewriter<'a> {
    old: &'a Program,
    new: Program,
    map: Vec<Option<Value>>,
}

impl<'a> Rewriter<'a> {
    pub fn new(old: &'a Program) -> Self {
        Self::with_constants(old, |_| true)
    }

    /// As [`Self::new`], but only the constants for which `keep` holds.
    pub fn with_constants(old: &'a Program, keep: impl Fn(Value) -> bool) -> Self {
        let mut new = Program::default();
        let mut map = vec![None; old.values.len()];
        let mut b = Builder::new(&mut new);
        for feed in &old.feeds {
            let info = old.value(feed.value);
            let v = b.feed(feed.name.clone(), info.fact.clone());
            map[feed.value.idx()] = Some(v);
        }
        for c in old.constants.iter().filter(|c| keep(c.value)) {
            let info = old.value(c.value);
            let v = b.constant(c.node.clone(), c.payload.clone(), info.fact.value.clone());
            map[c.value.idx()] = Some(v);
        }
        for (from, to) in map.iter().enumerate() {
            if let (Some(key), Some(to)) = (&old.values[from].key, to) {
                b.set_key(*to, key.clone());
            }
        }
        Self { old, new, map }
    }

    pub fn old(&self) -> &'a Program {
        self.old
    }

    pub fn new_program(&self) -> &Program {
        &self.new
    }

    /// The new value of an old one, which must have been copied or replaced before.
    pub fn get(&self, v: Value) -> Result<Value, Misfit> {
        self.map[v.idx()].ok_or_else(|| Misfit(format!("{} was dropped but is still read", self.old.describe(v))))
    }

    pub fn inputs(&self, instr: &Instr) -> Result<SmallVec<[Value; 4]>, Misfit> {
        instr.inputs.iter().map(|&v| self.get(v)).collect()
    }

    /// Fact of the new value of an old one.
    pub fn fact(&self, v: Value) -> Result<&Fact, Misfit> {
        Ok(self.new.fact(self.get(v)?))
    }

    /// Says that the old value is the new one from now on.
    pub fn replace(&mut self, old: Value, new: Value) {
        self.map[old.idx()] = Some(new);
    }

    /// A builder whose instructions come from the same graph node as `instr`.
    pub fn builder(&mut self, instr: &Instr) -> Builder<'_> {
        let mut b = Builder::new(&mut self.new);
        b.set_origin(instr.origin.clone());
        b
    }

    /// Copies an instruction with its facts and names.
    pub fn copy(&mut self, instr: &Instr) -> Result<(), Misfit> {
        let inputs = self.inputs(instr)?;
        self.copy_as(instr, instr.kind.clone(), &inputs);
        Ok(())
    }

    /// Appends `kind` on `inputs` in place of `instr`, keeping its outputs' facts and names.
    pub fn copy_as(&mut self, instr: &Instr, kind: InstrKind, inputs: &[Value]) {
        let facts = instr.outputs.iter().map(|&v| self.old.fact(v).clone()).collect();
        let outputs = self.builder(instr).push(kind, inputs, facts);
        for (&from, to) in instr.outputs.iter().zip(outputs) {
            self.map[from.idx()] = Some(to);
            if let Some(key) = &self.old.value(from).key {
                Builder::new(&mut self.new).set_key(to, key.clone());
            }
        }
    }

    /// Maps the program's outputs and gives the result.
    pub fn finish(mut self) -> Result<Rewritten, Misfit> {
        self.new.outputs = self.old.outputs.iter().map(|&v| self.get(v)).collect::<Result<_, _>>()?;
        Ok(Rewritten { program: self.new, map: self.map })
    }
}
