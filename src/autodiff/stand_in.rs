//! Gradients that a person puts in the place of a node's own: a rewrite of the program, undone by leaving it out.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::graph::NodeKey;
use crate::ops::control::GradientFrom;
use crate::ops::opaque::Opaque;
use crate::program::inline::rebuild;
use crate::program::{Builder, Def, InstrKind, Misfit, Program, Value};
use crate::tensor::Fact;
use crate::tensor::fact::replacement;

use super::node::Nodes;

/// What stands in for the gradient of a node `y = f(x, …)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
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
    let nodes = Nodes::new(program);
    // Each result is replaced right behind the instruction that gives it, so that every later reader sees it.
    let mut places: HashMap<usize, Vec<(&NodeKey, StandIn, Value)>> = HashMap::new();
    let mut failed = None;
    for (node, &stand_in) in stand_ins.iter().filter(|(n, _)| !nodes.members(n).is_empty()) {
        let results = nodes.results(node);
        if results.is_empty() {
            let why = "no floating-point result of it is read".to_owned();
            failed.get_or_insert(StandInError::Unfit { node: node.clone(), stand_in, why });
        }
        for y in results {
            let Def::Output { instr, .. } = program.def(y) else { continue };
            places.entry(instr).or_default().push((node, stand_in, y));
        }
    }
    let (mut rebuilt, map) = rebuild(program, |b, idx, map| {
        for &(node, stand_in, y) in places.get(&idx).into_iter().flatten() {
            if let Err(why) = replace(&nodes, node, stand_in, y, b, map) {
                failed.get_or_insert(StandInError::Unfit { node: node.clone(), stand_in, why: why.0 });
            }
        }
        Ok(())
    })?;
    if let Some(e) = failed {
        return Err(e);
    }
    for_blocks::<StandInError>(&mut rebuilt, |block| {
        *block = apply(block, stand_ins)?.0;
        Ok(())
    })?;
    Ok((rebuilt, map))
}

fn for_blocks<E>(program: &mut Program, mut f: impl FnMut(&mut Program) -> Result<(), E>) -> Result<(), E> {
    for instr in &mut program.instrs {
        let blocks: SmallVec<[&mut Program; 2]> = match &mut instr.kind {
            InstrKind::Op(_) => continue,
            InstrKind::If(b) => [&mut b.then_block, &mut b.else_block].into_iter().collect(),
            InstrKind::Loop(b) => std::iter::once(&mut b.body).collect(),
        };
        for block in blocks {
            f(block)?;
        }
    }
    Ok(())
}

fn replace(
    nodes: &Nodes<'_>,
    node: &NodeKey,
    stand_in: StandIn,
    y: Value,
    b: &mut Builder,
    map: &mut [Option<Value>],
) -> Result<(), Misfit> {
    let Some(new) = map[y.idx()] else { return Ok(()) };
    let mut inputs = vec![new];
    inputs.extend(nodes.targets(node, y, stand_in).into_iter().filter_map(|x| map[x.idx()]));
    if inputs.len() == 1 && stand_in != StandIn::Stop {
        let result = nodes.program.fact(y).describe();
        return Err(Misfit(format!("no input has the shape of its result, {result}")));
    }
    b.set_origin(Some(node.clone()));
    map[y.idx()] = Some(b.op(GradientFrom, &inputs)?);
    Ok(())
}

/// Gives nodes that nobody can compute a value, where they have a stand-in: that of the input which fits their result.
/// A gradient alone would not help there. Also gives the new value of each old one, and the nodes that got a value;
/// blocks are included.
pub fn substitute(
    program: &Program,
    stand_ins: &HashMap<NodeKey, StandIn>,
) -> Result<(Program, Vec<Option<Value>>, Vec<NodeKey>), Misfit> {
    let mut done = Vec::new();
    let (mut rebuilt, map) = rebuild(program, |b, idx, map| {
        let instr = &program.instrs[idx];
        let Some(node) = instr.origin.as_ref().filter(|n| stand_ins.contains_key(n)) else { return Ok(()) };
        if instr.op_as::<Opaque>().is_none() {
            return Ok(());
        }
        let facts: Vec<&Fact> = program.input_facts(instr).to_vec();
        for y in &instr.outputs {
            let Some(i) = replacement(program.fact(*y), &facts) else { continue };
            let Some(x) = map[instr.inputs[i].idx()] else { continue };
            b.set_origin(Some(node.clone()));
            map[y.idx()] = Some(b.op(GradientFrom, &[x, x])?);
            done.push(node.clone());
        }
        Ok(())
    })?;
    for_blocks::<Misfit>(&mut rebuilt, |block| {
        let (inner, _, more) = substitute(block, stand_ins)?;
        *block = inner;
        done.extend(more);
        Ok(())
    })?;
    Ok((rebuilt, map, done))
}
