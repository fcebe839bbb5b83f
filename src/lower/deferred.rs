//! A rule that waits: it needs shapes or contents (axes, splits, sizes that somebody feeds) which are not known while
//! spelling. Its place is kept by one instruction; specialising, which knows them, applies the rule there.

use std::fmt;
use std::sync::Arc;

use crate::graph::{Node, NodeKey};
use crate::program::{Builder, Flow, Kernel, Misfit, Op, OpInfo, Program, Site, Value};
use crate::tensor::Fact;

use super::{Read, Rule, RuleFn};

pub static INFO: OpInfo = OpInfo {
    name: "deferred",
    family: "opaque",
    summary: "an op whose spelling depends on shapes or contents that are known only when it runs",
    formula: "what the rule makes of it",
    examples: Vec::new,
};

/// See the module doc. Inputs: those of the node that are present.
#[derive(Clone)]
pub struct Deferred {
    pub rule: RuleFn,
    pub node: Arc<Node>,
    /// The node's name at this place.
    pub origin: NodeKey,
    /// Which of the node's inputs are present.
    pub is_present: Vec<bool>,
    pub opset: i64,
    pub site: u64,
    /// What the file says about the outputs.
    pub outputs: Vec<Fact>,
    /// Why the rule could not be applied yet.
    pub reason: String,
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "deferred {} {}", self.node.op, self.origin)
    }
}

impl Op for Deferred {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, _inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        Ok(self.outputs.clone())
    }

    fn kernel(&self, _inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        Err(Misfit(format!("{} cannot be computed yet: {}", self.node.op, self.reason)))
    }

    /// What it becomes decides; most ops let gradients through to floating-point inputs.
    fn flow(&self, input: usize, inputs: &[&Fact]) -> Flow {
        match inputs.get(input) {
            Some(f) if f.dtype.is_exact() => Flow::Zero("integers and booleans have no gradient"),
            _ => Flow::Flows,
        }
    }

    fn vjp(
        &self,
        _b: &mut Builder,
        _at: &Site<'_>,
        _out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        Err(Misfit(format!("{} must be specialised first: {}", self.node.op, self.reason)))
    }

    fn expand(&self, inputs: &[&Fact]) -> Option<Result<Program, Misfit>> {
        let mut program = Program::default();
        let mut b = Builder::new(&mut program);
        let mut given = inputs.iter().enumerate().map(|(i, f)| b.feed(format!("input {i}"), (*f).clone()));
        let inputs: Vec<Option<Value>> = self.is_present.iter().map(|p| if *p { given.next() } else { None }).collect();
        drop(given);
        b.set_origin(Some(self.origin.clone()));
        let (opset, site) = (self.opset, self.site);
        let rule = &mut Rule { b: &mut b, node: &self.node, inputs: &inputs, opset, site, read: Read::default() };
        let outputs = match (self.rule)(rule) {
            Ok(outputs) if outputs.len() >= self.outputs.len() => outputs,
            Ok(outputs) => {
                return Some(Err(Misfit(format!("{} outputs instead of {}", outputs.len(), self.outputs.len()))));
            }
            Err(m) => return Some(Err(m)),
        };
        if super::rule::is_untyped(&program, 0, 0) {
            return Some(Err(Misfit::new("the element type of an input is not known")));
        }
        program.outputs = outputs[..self.outputs.len()].to_vec();
        Some(Ok(program))
    }

    /// It may stand for anything: never merged or folded.
    fn is_random(&self) -> bool {
        true
    }
}
