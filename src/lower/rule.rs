//! What a spelling rule sees: the node, its input values, and a builder. A rule decodes attributes and constants and
//! appends instructions; it computes nothing itself.

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
}

/// Whether a rule has made something up whose element type follows from an input that has none yet: what it wrote from
/// `constants` and `instrs` on holds a literal or a conversion without a type.
pub(super) fn is_untyped(program: &Program, constants: usize, instrs: usize) -> bool {
    let literals = program.constants[constants.min(program.constants.len())..].iter().filter(|c| c.node.is_none());
    let casts = program.instrs[instrs.min(program.instrs.len())..].iter().filter_map(|i| i.op_as::<Cast>());
    literals.map(|c| c.payload.dtype).chain(casts.map(|c| c.to)).any(|d| d == DType::Unknown)
}

impl Rule<'_, '_> {
    /// A required input.
    pub fn input(&self, i: usize) -> Result<Value, Misfit> {
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
