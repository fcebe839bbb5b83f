//! What a spelling rule sees: the node, its input values, and a builder. A rule decodes attributes and constants and
//! appends instructions; it computes nothing itself.

use std::cell::Cell;

use smallvec::SmallVec;

use crate::graph::{Attr, Node};
use crate::ops::elementwise::Cast;
use crate::program::{Builder, Misfit, Program, Value};
use crate::tensor::{DType, Fact, PartialShape, Tensor};

/// The values of a node's outputs, in port order. Ports that a rule leaves out become opaque.
pub type Outputs = SmallVec<[Value; 2]>;

/// Spells one node.
pub type RuleFn = fn(&mut Rule<'_, '_>) -> Result<Outputs, Misfit>;

/// One row of a dialect's table: the op in the file's words and how it is spelled.
#[derive(Clone, Copy)]
pub struct Spelling {
    pub op: &'static str,
    pub rule: RuleFn,
}

impl std::fmt::Debug for Spelling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.op)
    }
}

/// See the module doc.
#[derive(Debug)]
pub struct Rule<'a, 'p> {
    pub b: &'a mut Builder<'p>,
    pub node: &'a Node,
    /// Spelled data inputs, `None` where an optional input is left out.
    pub inputs: &'a [Option<Value>],
    /// Version of the node's op set where the dialect has one (ONNX), else 0.
    pub opset: i64,
    /// A number that is unique to this node in the whole graph and stable over re-import (random ops key on it).
    pub site: u64,
    pub read: Read,
}

/// Which attributes and inputs (the first 64 of each) a rule has asked for.
#[derive(Clone, Debug, Default)]
pub struct Read {
    attrs: Cell<u64>,
    inputs: Cell<u64>,
}

impl Read {
    fn note(bits: &Cell<u64>, i: usize) {
        bits.set(bits.get() | 1u64.checked_shl(i as u32).unwrap_or(0));
    }
}

/// Whether a rule has made something up whose element type follows from an input that has none yet: what it wrote from
/// `constants` and `instrs` on holds a literal or a conversion without a type.
pub(super) fn is_untyped(program: &Program, constants: usize, instrs: usize) -> bool {
    let literals = program.constants[constants.min(program.constants.len())..].iter().filter(|c| c.node.is_none());
    let casts = program.instrs[instrs.min(program.instrs.len())..].iter().filter_map(|i| i.op_as::<Cast>());
    literals.map(|c| c.payload.dtype).chain(casts.map(|c| c.to)).any(|d| d == DType::Unknown)
}

impl Rule<'_, '_> {
    /// An error that names an attribute or an input which is there and which the rule has not asked for: what is ignored
    /// may change the numbers. Attributes that say "off" (0, -1, nothing) and those in `harmless` are no such thing.
    pub fn refuse_unread(&self, harmless: &[&str]) -> Result<(), Misfit> {
        let is_read = |bits: &Cell<u64>, i: usize| i >= 64 || bits.get() >> i & 1 == 1;
        let is_off = |a: &Attr| match a {
            Attr::Int(v) => matches!(v, 0 | -1),
            Attr::Float(v) => *v == 0.0,
            Attr::Bytes(b) => b.is_empty(),
            Attr::List(l) => l.is_empty(),
            _ => false,
        };
        let unread = |(i, (name, value)): &(usize, (&String, &Attr))| {
            let is_ours = name.starts_with('@') || harmless.contains(&name.as_str());
            !is_ours && !is_read(&self.read.attrs, *i) && !is_off(value)
        };
        if let Some((_, (name, _))) = self.node.attrs.iter().enumerate().find(unread) {
            return Err(Misfit(format!("its attribute {name} is not supported with this value")));
        }
        let given = |i: &usize| self.inputs[*i].is_some() && !is_read(&self.read.inputs, *i);
        match (0..self.inputs.len()).find(given) {
            Some(i) => Err(Misfit(format!("its input {i} is not supported"))),
            None => Ok(()),
        }
    }

    /// A required input.
    pub fn input(&self, i: usize) -> Result<Value, Misfit> {
        Read::note(&self.read.inputs, i);
        self.inputs
            .get(i)
            .copied()
            .flatten()
            .ok_or_else(|| Misfit(format!("input {i} is missing ({} given)", self.inputs.len())))
    }

    /// All inputs, all required.
    pub fn all_inputs(&self) -> Result<Vec<Value>, Misfit> {
        (0..self.inputs.len()).map(|i| self.input(i)).collect()
    }

    pub fn has_input(&self, i: usize) -> bool {
        self.inputs.get(i).is_some_and(Option::is_some)
    }

    pub fn fact(&self, i: usize) -> Result<&Fact, Misfit> {
        Ok(self.b.fact(self.input(i)?))
    }

    /// The constant integers of an input, where they are known while spelling.
    pub fn ints(&self, i: usize) -> Result<Vec<i64>, Misfit> {
        self.fact(i)?.ints().ok_or_else(|| Misfit(format!("input {i} must be constant integers")))
    }

    pub fn attr(&self, name: &str) -> Option<&Attr> {
        if let Some(i) = self.node.attrs.get_index_of(name) {
            Read::note(&self.read.attrs, i);
        }
        self.node.attr(name)
    }

    pub fn int_or(&self, name: &str, default: i64) -> i64 {
        self.attr(name).and_then(Attr::as_int).unwrap_or(default)
    }

    pub fn float_or(&self, name: &str, default: f32) -> f32 {
        self.attr(name).and_then(Attr::as_float).unwrap_or(default)
    }

    pub fn bool_or(&self, name: &str, default: bool) -> bool {
        self.attr(name).and_then(Attr::as_bool).unwrap_or(default)
    }

    pub fn str_or<'s>(&'s self, name: &str, default: &'s str) -> &'s str {
        self.attr(name).and_then(Attr::as_str).unwrap_or(default)
    }

    pub fn ints_attr(&self, name: &str) -> Option<Vec<i64>> {
        self.attr(name).and_then(Attr::as_ints)
    }

    pub fn type_attr(&self, name: &str) -> Result<DType, Misfit> {
        self.attr(name)
            .and_then(Attr::as_type)
            .ok_or_else(|| Misfit(format!("attribute {name} (an element type) is missing")))
    }

    pub fn shape_attr(&self, name: &str) -> Option<&PartialShape> {
        self.attr(name).and_then(Attr::as_shape)
    }

    /// A scalar literal of the element type of input `i`.
    pub fn scalar_like(&mut self, i: usize, value: f64) -> Result<Value, Misfit> {
        let dtype = self.fact(i)?.dtype;
        Ok(self.b.literal(Tensor::filled(dtype, &[], value)))
    }

    /// An `int64` vector literal (axes, permutations, shapes).
    pub fn ints_literal(&mut self, values: &[i64]) -> Value {
        self.b.literal(Tensor::from_slice(&[values.len()], values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{NodeKey, NodeKind};
    use crate::program::Program;

    #[test]
    fn what_a_rule_does_not_ask_for_is_refused() {
        let mut node = Node::new(NodeKey::new("n"), "Op", NodeKind::Op);
        for (name, value) in [("used", Attr::Int(3)), ("off", Attr::Int(0)), ("on", Attr::Int(1))] {
            node.attrs.insert(name.to_owned(), value);
        }
        let mut program = Program::default();
        let mut b = Builder::new(&mut program);
        let x = b.feed("x", Fact::of_dims(DType::F32, &[2]));
        let inputs = [Some(x), None, Some(x)];
        let r = Rule { b: &mut b, node: &node, inputs: &inputs, opset: 1, site: 0, read: Read::default() };
        assert_eq!(r.int_or("used", 0), 3);
        assert!(r.refuse_unread(&[]).unwrap_err().0.contains("attribute on"));
        assert!(r.refuse_unread(&["on"]).unwrap_err().0.contains("input 0"));
        assert!(r.input(0).is_ok() && r.has_input(2));
        assert!(r.refuse_unread(&["on"]).unwrap_err().0.contains("input 2"));
        assert!(r.input(2).is_ok() && r.refuse_unread(&["on"]).is_ok());
    }
}
