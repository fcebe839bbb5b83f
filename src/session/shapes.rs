//! Shapes that the file leaves open: pinned ones of placeholders, and what follows from them or from nothing at all.

use indexmap::IndexMap;

use crate::graph::{Graph, NodeKind, Signature};
use crate::lower::PinnedShapes;
use crate::program::{Feed, Program, Value};
use crate::specialise::{FeedSpec, Mode, Request, specialise};
use crate::tensor::PartialShape;

use super::error::SessionError;

/// Checks the recipe's `shapes` against the graph. Errors: a name that is no placeholder (the message lists those there
/// are), and dimensions that contradict what the file fixes.
pub fn pinned(
    graph: &Graph,
    signature: Option<&Signature>,
    shapes: &IndexMap<String, Vec<usize>>,
) -> Result<PinnedShapes, SessionError> {
    let mut pinned = PinnedShapes::new();
    for (name, dims) in shapes {
        let alias = signature.and_then(|s| s.inputs.iter().find(|(alias, _)| alias == name));
        let value = graph.value_named(alias.map_or(name.as_str(), |(_, key)| key.as_str()));
        let placeholder = value.filter(|v| graph.node(graph.value(*v).producer).kind == NodeKind::Placeholder);
        let Some(value) = placeholder.map(|v| graph.value(v)) else {
            let near = placeholders(graph);
            return Err(SessionError::Choice(format!(
                "the shape of {name} cannot be pinned: it is no placeholder of this model; its placeholders: {near}"
            )));
        };
        if !value.fact.shape.admits(dims) {
            return Err(SessionError::Choice(format!(
                "the shape of {name} cannot be pinned to {dims:?}: the file fixes it to {}",
                value.fact.shape
            )));
        }
        pinned.insert(value.key.clone(), PartialShape::from_dims(dims));
    }
    Ok(pinned)
}

/// The first few placeholders with their shapes, for a message.
fn placeholders(graph: &Graph) -> String {
    let nodes = graph.nodes.iter().filter(|n| n.kind == NodeKind::Placeholder);
    let values = nodes.filter_map(|n| n.outputs.first()).map(|v| graph.value(*v));
    let listed: Vec<String> = values.take(8).map(|v| format!("{} {}", v.key.as_str(), v.fact.shape)).collect();
    if listed.is_empty() { "none".to_owned() } else { listed.join(", ") }
}

/// Sizes that open dimensions are tried with: batch, length and the rest of low ranks; pictures are larger.
const TRIALS: [[usize; 3]; 2] = [[2, 8, 5], [3, 11, 7]];
const PICTURES: [usize; 2] = [224, 256];

/// Fills in dimensions that do not depend on the sizes left open, and those that follow from pinned ones, through shape
/// arithmetic that spelling leaves to the specialiser: what comes out alike for two sets of sizes. A program that cannot
/// be specialised to its end keeps what it has there.
pub fn settle(program: &mut Program) {
    let mut open = open_values(program);
    let mut borrow = false;
    while !open.is_empty() {
        if let (Some(a), Some(b)) = (trial(program, &open, 0, borrow), trial(program, &open, 1, borrow)) {
            for (&v, (a, b)) in open.iter().zip(a.iter().zip(&b)) {
                let shape = &mut program.values[v.idx()].fact.shape;
                if let Some(settled) = a.join(b).merge(shape) {
                    *shape = settled;
                }
            }
            return;
        }
        // Inputs may have to agree; else something fails on the way, and what stands before it may still be found.
        if borrow {
            open.truncate(open.len() / 2);
        }
        borrow = !borrow;
    }
}

/// Values of unknown shape that are computed from feeds of known rank alone.
fn open_values(program: &Program) -> Vec<Value> {
    let mut follows = vec![true; program.values.len()];
    program.feeds.iter().for_each(|f| follows[f.value.idx()] = program.fact(f.value).rank().is_some());
    let mut open = Vec::new();
    for instr in &program.instrs {
        let all = instr.inputs.iter().all(|v| follows[v.idx()]);
        for &out in &instr.outputs {
            follows[out.idx()] = all;
            if all && !program.fact(out).shape.is_known() {
                open.push(out);
            }
        }
    }
    open
}

/// The shapes of `wanted` with one set of sizes. With `borrow`, an open dimension is as long as the same axis of the first
/// input that fixes it.
fn trial(program: &Program, wanted: &[Value], set: usize, borrow: bool) -> Option<Vec<PartialShape>> {
    let facts = || program.feeds.iter().map(|f| program.fact(f.value));
    let fixed = |axis: usize| if borrow { facts().find_map(|f| f.shape.dim(axis)) } else { None };
    let usual = |rank: usize, axis: usize| if rank > 3 && axis > 0 { PICTURES[set] } else { TRIALS[set][axis.min(2)] };
    let size = |rank: usize, axis: usize| fixed(axis).unwrap_or_else(|| usual(rank, axis));
    let feed = |f: &Feed| {
        let fact = program.fact(f.value);
        let partial = fact.shape.partial()?;
        let dims = partial.iter().enumerate().map(|(i, d)| d.unwrap_or_else(|| size(partial.len(), i))).collect();
        Some(FeedSpec { value: f.value, dtype: fact.dtype, dims, tensor: None })
    };
    let feeds = program.feeds.iter().filter_map(feed).collect();
    let request = Request { mode: Mode::Eval, fetches: wanted.to_vec(), feeds, pins: Vec::new(), dropout: Vec::new() };
    let made = specialise(program, &[], &request).ok()?;
    Some(made.program.outputs.iter().map(|&v| made.program.fact(v).shape.clone()).collect())
}
