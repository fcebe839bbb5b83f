//! Gradients that a person puts in the place of a node's own: a rewrite of the program, undone by leaving it out.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::graph::NodeKey;
use crate::ops::control::GradientFrom;
use crate::program::inline::rebuild;
use crate::program::{Builder, Instr, InstrKind, Misfit, Program, Value};

/// What stands in for the gradient of a node `y = f(x, …)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StandIn {
    /// No gradient passes the node.
    Stop,
    /// The gradient passes unchanged to every floating-point input whose shape fits, as if `f` were their sum.
    Identity,
    /// The gradient passes unchanged to the first floating-point input of the output's own shape, and to no other.
    StraightThrough,
}

impl StandIn {
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Identity => "identity",
            Self::StraightThrough => "straight-through",
        }
    }
}

impl std::str::FromStr for StandIn {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let all = [Self::Stop, Self::Identity, Self::StraightThrough];
        let found = all.into_iter().find(|kind| kind.name() == s);
        found.ok_or_else(|| format!("{s:?} is not a stand-in: use stop, identity or straight-through"))
    }
}

impl std::fmt::Display for StandIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// Why stand-ins could not be put in.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StandInError {
    #[error("the stand-in {stand_in} does not fit {node}: {why}")]
    Unfit { node: NodeKey, stand_in: StandIn, why: String },
    #[error("stand-ins could not be put in: {0}")]
    Rebuild(#[from] Misfit),
}

/// The program with stand-ins in the place of the nodes' own gradients, blocks included; forward values are unchanged.
/// Also gives the new value of each old one. A node that the program does not hold (folded away, not needed) is passed
/// over.
pub fn apply(
    program: &Program,
    stand_ins: &HashMap<NodeKey, StandIn>,
) -> Result<(Program, Vec<Option<Value>>), StandInError> {
    let last = last_members(program, stand_ins);
    let readers = program.readers();
    let mut failed = None;
    let (mut rebuilt, map) = rebuild(program, |b, idx, map| {
        let Some((node, members)) = last.get(&idx) else { return Ok(()) };
        let site = Place { program, node, members, readers: &readers };
        if let Err(why) = site.replace(b, stand_ins[node], map) {
            failed.get_or_insert(StandInError::Unfit { node: node.clone(), stand_in: stand_ins[node], why: why.0 });
        }
        Ok(())
    })?;
    if let Some(e) = failed {
        return Err(e);
    }
    for instr in &mut rebuilt.instrs {
        let blocks: SmallVec<[&mut Program; 2]> = match &mut instr.kind {
            InstrKind::Op(_) => continue,
            InstrKind::If(b) => [&mut b.then_block, &mut b.else_block].into_iter().collect(),
            InstrKind::Loop(b) => std::iter::once(&mut b.body).collect(),
        };
        for block in blocks {
            *block = apply(block, stand_ins)?.0;
        }
    }
    Ok((rebuilt, map))
}

/// For each node with a stand-in, its instructions, keyed by the index of the last one.
fn last_members(program: &Program, stand_ins: &HashMap<NodeKey, StandIn>) -> HashMap<usize, (NodeKey, Vec<usize>)> {
    let mut members: HashMap<&NodeKey, Vec<usize>> = HashMap::new();
    for (i, instr) in program.instrs.iter().enumerate() {
        if let Some(node) = instr.origin.as_ref().filter(|n| stand_ins.contains_key(n)) {
            members.entry(node).or_default().push(i);
        }
    }
    members.into_iter().filter_map(|(node, m)| Some((*m.last()?, (node.clone(), m)))).collect()
}

struct Place<'a> {
    program: &'a Program,
    node: &'a NodeKey,
    members: &'a [usize],
    readers: &'a [SmallVec<[usize; 4]>],
}

impl Place<'_> {
    fn is_member(&self, instr: &Instr) -> bool {
        instr.origin.as_ref() == Some(self.node)
    }

    /// Values of the node that others read.
    fn results(&self) -> Vec<Value> {
        let all = self.members.iter().flat_map(|&i| self.program.instrs[i].outputs.iter().copied());
        let read_outside = |v: &Value| {
            self.program.outputs.contains(v)
                || self.readers[v.idx()].iter().any(|&r| !self.is_member(&self.program.instrs[r]))
        };
        all.filter(|v| self.program.fact(*v).dtype.is_float() && read_outside(v)).collect()
    }

    /// Floating-point values that the node reads from outside, in the order in which it reads them.
    fn sources(&self) -> Vec<Value> {
        let mut found = Vec::new();
        for v in self.members.iter().flat_map(|&i| self.program.instrs[i].inputs.iter().copied()) {
            let own = self.program.producer(v).is_some_and(|(_, i)| self.is_member(i));
            if !own && self.program.fact(v).dtype.is_float() && !found.contains(&v) {
                found.push(v);
            }
        }
        found
    }

    fn replace(&self, b: &mut Builder, stand_in: StandIn, map: &mut [Option<Value>]) -> Result<(), Misfit> {
        let results = self.results();
        if results.is_empty() {
            return Err(Misfit::new("no floating-point result of it is read"));
        }
        for y in results {
            let Some(new) = map[y.idx()] else { continue };
            let fact = self.program.fact(y).clone();
            let mut inputs = vec![new];
            let fitting = self.sources().into_iter().filter(|&x| {
                let x = self.program.fact(x);
                let broadcast = crate::tensor::shape::broadcast(&x.shape, &fact.shape);
                x.dtype == fact.dtype
                    && match stand_in {
                        StandIn::StraightThrough => x.shape.merge(&fact.shape).is_some(),
                        _ => broadcast.is_some_and(|s| s.merge(&fact.shape).is_some()),
                    }
            });
            let n = match stand_in {
                StandIn::Stop => 0,
                StandIn::StraightThrough => 1,
                StandIn::Identity => usize::MAX,
            };
            inputs.extend(fitting.take(n).filter_map(|x| map[x.idx()]));
            if inputs.len() == 1 && stand_in != StandIn::Stop {
                return Err(Misfit(format!("no input has the shape of its result, {}", fact.describe())));
            }
            b.set_origin(Some(self.node.clone()));
            map[y.idx()] = Some(b.op(GradientFrom, &inputs)?);
        }
        Ok(())
    }
}
