//! From what the walk found to new nodes: sizes read from the placeholders, products, vectors, blocks.

use std::collections::HashMap;

use crate::graph::{Graph, GraphPatch, NodeId, NodeKey, ValueKey};
use crate::lower::compose::{NewNode, NewOp, opset};
use crate::lower::{Dialect, Structure};
use crate::ops::shape::Reshape;
use crate::program::{Def, Program};
use crate::tensor::{DType, Fact, PartialShape, Tensor};

use super::demand::{is_count, is_uniform};
use super::terms::Term;
use super::walk::{Place, Solved};
use super::{Axes, UnbakeError};

/// An entry of a vector of dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Entry {
    Fixed(i64),
    Free(Term),
}

/// See the module doc.
pub(super) fn patch(
    graph: &Graph,
    dialect: &dyn Dialect,
    program: &Program,
    axes: &[Axes],
    solved: &Solved,
) -> Result<GraphPatch, UnbakeError> {
    let opset = opset(graph, dialect);
    let mut maker = Maker { graph, dialect, axes, opset, patch: GraphPatch::default(), made: HashMap::new() };
    for (&place, entries) in &solved.vectors {
        maker.vector_at(program, place, entries)?;
    }
    for (&i, entries) in &solved.blocks {
        maker.block(program, i, entries)?;
    }
    Ok(maker.patch)
}

struct Maker<'a> {
    graph: &'a Graph,
    dialect: &'a dyn Dialect,
    axes: &'a [Axes],
    opset: i64,
    patch: GraphPatch,
    /// Nodes by name, so that each is made once.
    made: HashMap<String, ValueKey>,
}

impl Maker<'_> {
    /// The integers that formats take as dimensions; formats with op sets ask for 64 bits.
    fn dims_type(&self) -> DType {
        if self.opset > 0 { DType::I64 } else { DType::I32 }
    }

    /// One reader of an integer constant reads a vector that follows the sizes.
    fn vector_at(&mut self, program: &Program, place: Place, entries: &[Option<Term>]) -> Result<(), UnbakeError> {
        let instr = &program.instrs[place.0];
        let Def::Constant(i) = program.def(instr.inputs[place.1]) else { return Ok(()) };
        let constant = &program.constants[i];
        // A rule's own number follows the shapes that it was made from.
        let (Some(node), Some(reader)) = (&constant.node, &instr.origin) else { return Ok(()) };
        let port = self.port(reader, node).ok_or_else(|| {
            UnbakeError(format!("{reader} repeats a size through {node} in a way that cannot be written"))
        })?;
        let value = constant.payload.load().map_err(|e| UnbakeError(format!("{node} cannot be read: {e}")))?;
        let old = value.to_i64s().unwrap_or_default();
        let entry = |(o, t): (&i64, &Option<Term>)| t.map_or(Entry::Fixed(*o), Entry::Free);
        let entries: Vec<Entry> = old.iter().zip(entries).map(entry).collect();
        let free = entries.iter().filter(|e| matches!(e, Entry::Free(_))).count();
        let (dtype, is_scalar) = (value.dtype(), value.shape().is_empty());
        let is_target = instr.op_as::<Reshape>().is_some() && place.1 == 1;
        let key = if is_target && free == 1 && !old.contains(&-1) {
            // One open dimension follows from the others.
            let open = entries.iter().map(|e| if let Entry::Fixed(v) = e { *v as f64 } else { -1.0 });
            let tensor = Tensor::from_f64s(dtype, value.shape(), open);
            self.constant(&format!("shape_of/{reader}_{port}"), tensor)?
        } else {
            self.vector(&entries, dtype, is_scalar)?
        };
        match self.patch.rewires.insert((reader.clone(), port), key.clone()) {
            Some(other) if other != key => Err(UnbakeError(format!("{reader} would have to read two shapes at once"))),
            _ => Ok(()),
        }
    }

    /// The input of `reader` that comes from the constant `node`, through aliases.
    fn port(&self, reader: &NodeKey, node: &NodeKey) -> Option<usize> {
        let id = self.graph.node_named(reader.as_str())?;
        let inputs = &self.graph.node(id).inputs;
        inputs.iter().position(|v| v.is_some_and(|v| self.source(self.graph.value(v).producer) == *node))
    }

    fn source(&self, mut id: NodeId) -> NodeKey {
        for _ in 0..self.graph.nodes.len() {
            let node = self.graph.node(id);
            match (self.dialect.structure(node), node.inputs.first()) {
                (Structure::Alias, Some(Some(v))) => id = self.graph.value(*v).producer,
                _ => break,
            }
        }
        self.graph.node(id).key.clone()
    }

    /// A constant is replaced by a block that follows the sizes.
    fn block(&mut self, program: &Program, i: usize, axes: &[Option<Term>]) -> Result<(), UnbakeError> {
        let constant = &program.constants[i];
        let Some(node) = &constant.node else { return Ok(()) };
        let value = constant.payload.load().map_err(|e| UnbakeError(format!("{node} cannot be read: {e}")))?;
        let entry = |(d, t): (&usize, &Option<Term>)| t.map_or(Entry::Fixed(*d as i64), Entry::Free);
        let entries: Vec<Entry> = value.shape().iter().zip(axes).map(entry).collect();
        let (dims, name) = (self.dims_type(), format!("block/{node}"));
        let free = |n: usize| Fact::new(value.dtype(), PartialShape::of_rank(n));
        let counted = axes.iter().position(Option::is_some).filter(|a| !is_uniform(&value) && is_count(&value, *a));
        let new = match (counted, axes.iter().flatten().next()) {
            (Some(axis), Some(term)) => {
                let n = self.term(*term, value.dtype())?;
                let count = self.node(&format!("{name}/count"), NewOp::Count { ints: value.dtype() }, &[n], free(1))?;
                let open = (0..axes.len()).map(|a| if a == axis { -1.0 } else { 1.0 });
                let target = Tensor::from_f64s(dims, &[axes.len()], open);
                let target = self.constant(&format!("{name}/shape"), target)?;
                let op = NewOp::Reshape { dtype: value.dtype(), ints: dims };
                self.node(&name, op, &[count, target], free(axes.len()))?
            }
            _ => {
                let number = Tensor::from_bytes(value.dtype(), &[], &value.bytes()[..value.dtype().size()]);
                let number = number.ok_or_else(|| UnbakeError(format!("{node} has no numbers")))?;
                let number = self.constant(&format!("{name}/value"), number)?;
                let shape = self.vector(&entries, dims, false)?;
                let op = NewOp::Fill { dtype: value.dtype(), ints: dims };
                self.node(&name, op, &[shape, number], free(axes.len()))?
            }
        };
        let id = self.graph.node_named(node.as_str());
        let outputs = id.map(|id| self.graph.node(id).outputs.clone()).unwrap_or_default();
        for v in outputs {
            self.patch.redirects.insert(self.graph.value(v).key.clone(), new.clone());
        }
        self.patch.removed.insert(node.clone());
        Ok(())
    }

    /// Fixed and free entries one after the other; neighbours that are fixed share a constant.
    fn vector(&mut self, entries: &[Entry], ints: DType, is_scalar: bool) -> Result<ValueKey, UnbakeError> {
        let mut parts: Vec<ValueKey> = Vec::new();
        let mut name = String::from("vector");
        let mut rest = entries;
        while let Some(first) = rest.first() {
            let fixed: Vec<i64> =
                rest.iter().map_while(|e| if let Entry::Fixed(v) = e { Some(*v) } else { None }).collect();
            if let Entry::Free(term) = first {
                parts.push(self.term(*term, ints)?);
                name.push_str(&format!("_{}", term_name(*term)));
                rest = &rest[1..];
            } else {
                let words: Vec<String> = fixed.iter().map(|v| v.to_string().replace('-', "m")).collect();
                let word = words.join("_");
                let tensor = Tensor::from_f64s(ints, &[fixed.len()], fixed.iter().map(|v| *v as f64));
                parts.push(self.constant(&format!("fixed_{word}_{ints}"), tensor)?);
                name.push_str(&format!("_{word}"));
                rest = &rest[fixed.len()..];
            }
        }
        let joined = match parts.as_slice() {
            [one] => one.clone(),
            many => {
                let fact = Fact::new(ints, PartialShape::from_dims(&[entries.len()]));
                self.node(&format!("{name}_{ints}"), NewOp::Join { ints }, many, fact)?
            }
        };
        if !is_scalar {
            return Ok(joined);
        }
        let none = Tensor::from_f64s(self.dims_type(), &[0], std::iter::empty());
        let none = self.constant("scalar_shape", none)?;
        let op = NewOp::Reshape { dtype: ints, ints: self.dims_type() };
        self.node(&format!("{name}_{ints}_scalar"), op, &[joined, none], Fact::new(ints, PartialShape::scalar()))
    }

    /// A vector of one integer with a product of sizes.
    fn term(&mut self, term: Term, ints: DType) -> Result<ValueKey, UnbakeError> {
        let one = || Fact::new(ints, PartialShape::from_dims(&[1]));
        let mut factors = Vec::new();
        for _ in 0..term.batch {
            factors.push(self.size(true, ints)?);
        }
        for _ in 0..term.length {
            factors.push(self.size(false, ints)?);
        }
        if term.factor != 1 || factors.is_empty() {
            let tensor = Tensor::from_f64s(ints, &[1], [term.factor as f64]);
            factors.push(self.constant(&format!("fixed_{}_{ints}", term.factor), tensor)?);
        }
        let mut product = factors[0].clone();
        for (k, factor) in factors.iter().enumerate().skip(1) {
            let name = format!("{}_{ints}_{k}", term_name(term));
            product = self.node(&name, NewOp::Product { ints }, &[product, factor.clone()], one())?;
        }
        Ok(product)
    }

    /// A size as the placeholders have it now.
    fn size(&mut self, is_batch: bool, ints: DType) -> Result<ValueKey, UnbakeError> {
        let axis = |a: &Axes| if is_batch { a.batch } else { a.length };
        let found = self.axes.iter().find_map(|a| Some((a.key.clone(), a.dtype, axis(a)?)));
        let (key, of, axis) = found.ok_or_else(|| UnbakeError("no placeholder has this size".to_owned()))?;
        let name = format!("{}_{ints}", if is_batch { "batch" } else { "length" });
        let fact = Fact::new(ints, PartialShape::from_dims(&[1]));
        self.node(&name, NewOp::Size { axis, ints, of }, &[key], fact)
    }

    fn constant(&mut self, name: &str, tensor: Tensor) -> Result<ValueKey, UnbakeError> {
        self.node(name, NewOp::Constant(tensor), &[], Fact::unknown())
    }

    fn node(&mut self, name: &str, op: NewOp, inputs: &[ValueKey], fact: Fact) -> Result<ValueKey, UnbakeError> {
        if let Some(made) = self.made.get(name) {
            return Ok(made.clone());
        }
        let mut key = format!("unbaked/{name}");
        while self.graph.node_named(&key).is_some() {
            key.push('_');
        }
        let new = NewNode { key: &key, op, inputs, fact, opset: self.opset, is_early: true };
        let composed = self.dialect.compose(&new).unwrap_or_default();
        let output = composed
            .output
            .ok_or_else(|| UnbakeError(format!("files of the kind {} cannot take new nodes", self.dialect.name())))?;
        self.patch.added.extend(composed.nodes);
        self.made.insert(name.to_owned(), output.clone());
        Ok(output)
    }
}

fn term_name(term: Term) -> String {
    let mut words = Vec::new();
    if term.factor != 1 {
        words.push(term.factor.to_string());
    }
    words.extend((0..term.batch).map(|_| "batch".to_owned()));
    words.extend((0..term.length).map(|_| "length".to_owned()));
    // Another separator than between entries: the names of products and vectors must not meet.
    words.join(".")
}
