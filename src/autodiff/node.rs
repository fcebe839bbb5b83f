//! A graph node inside a program: the instructions that it was spelled into, what they read from outside, and what others
//! read of them. Stand-ins and cures are about nodes, instructions are only how we compute them.

use std::collections::HashMap;

use smallvec::SmallVec;

use crate::graph::NodeKey;
use crate::program::{Instr, Program, Value};
use crate::tensor::{DType, Fact, fact, shape};

use super::StandIn;

/// A program with its instructions by node.
#[derive(Debug)]
pub struct Nodes<'a> {
    pub program: &'a Program,
    /// Whether the program is a block of a conditional or loop.
    pub is_inner: bool,
    readers: Vec<SmallVec<[usize; 4]>>,
    members: HashMap<&'a NodeKey, Vec<usize>>,
}

impl<'a> Nodes<'a> {
    pub fn new(program: &'a Program) -> Self {
        let mut members: HashMap<&NodeKey, Vec<usize>> = HashMap::new();
        for (i, instr) in program.instrs.iter().enumerate() {
            if let Some(node) = &instr.origin {
                members.entry(node).or_default().push(i);
            }
        }
        Self { program, is_inner: false, readers: program.readers(), members }
    }

    /// Indices of the node's instructions, in order.
    pub fn members(&self, node: &NodeKey) -> &[usize] {
        self.members.get(node).map_or(&[], Vec::as_slice)
    }

    fn is_inside(node: &NodeKey, instr: &Instr) -> bool {
        instr.origin.as_ref() == Some(node)
    }

    /// Floating-point values of the node that others read; also those of which nothing is known.
    pub fn results(&self, node: &NodeKey) -> Vec<Value> {
        let all = self.members(node).iter().flat_map(|&i| self.program.instrs[i].outputs.iter().copied());
        let read_outside = |v: &Value| {
            self.program.outputs.contains(v)
                || self.readers[v.idx()].iter().any(|&r| !Self::is_inside(node, &self.program.instrs[r]))
        };
        all.filter(|v| is_floatlike(self.program.fact(*v)) && read_outside(v)).collect()
    }

    /// Floating-point values that the node reads from outside, in the order in which it reads them.
    pub fn sources(&self, node: &NodeKey) -> Vec<Value> {
        let mut found = Vec::new();
        for v in self.members(node).iter().flat_map(|&i| self.program.instrs[i].inputs.iter().copied()) {
            let own = self.program.producer(v).is_some_and(|(_, i)| Self::is_inside(node, i));
            if !own && self.program.fact(v).dtype.is_float() && !found.contains(&v) {
                found.push(v);
            }
        }
        found
    }

    /// Of the sources, those to which a stand-in sends the gradient of the result `y`.
    pub fn targets(&self, node: &NodeKey, y: Value, stand_in: StandIn) -> Vec<Value> {
        let result = self.program.fact(y);
        // An unrolled loop holds the node several times: each result has the sources of its own iteration.
        let own = self.origins(node, y);
        let mut sources = self.sources(node);
        if sources.iter().any(|x| own.contains(x)) {
            sources.retain(|x| own.contains(x));
        }
        let broadcasts = |x: &Value| {
            let x = self.program.fact(*x);
            x.may_have_type_of(result)
                && shape::broadcast(&x.shape, &result.shape).is_some_and(|s| s.merge(&result.shape).is_some())
        };
        match stand_in {
            StandIn::Stop => Vec::new(),
            StandIn::Identity => sources.into_iter().filter(broadcasts).collect(),
            StandIn::StraightThrough => {
                let facts: Vec<&Fact> = sources.iter().map(|&x| self.program.fact(x)).collect();
                fact::replacement(result, &facts).map(|i| sources[i]).into_iter().collect()
            }
        }
    }

    /// The sources that `v`, a value inside the node, depends on; itself where it comes from outside.
    pub fn origins(&self, node: &NodeKey, v: Value) -> Vec<Value> {
        let (mut todo, mut seen, mut found) = (vec![v], vec![v], Vec::new());
        while let Some(v) = todo.pop() {
            match self.program.producer(v) {
                Some((_, instr)) if Self::is_inside(node, instr) => {
                    for &input in instr.inputs.iter().filter(|i| !seen.contains(i)).collect::<Vec<_>>() {
                        seen.push(input);
                        todo.push(input);
                    }
                }
                _ => found.push(v),
            }
        }
        found
    }
}

fn is_floatlike(fact: &Fact) -> bool {
    fact.dtype.is_float() || fact.dtype == DType::Unknown
}
