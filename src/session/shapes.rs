//! Pinned shapes of placeholders: from the names that people write to what spelling takes.

use indexmap::IndexMap;

use crate::graph::{Graph, NodeKind, Signature};
use crate::lower::PinnedShapes;
use crate::program::{Program, Value};
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

/// Carries pinned shapes on to every value that follows from pinned placeholders alone, through shape arithmetic that
/// spelling leaves to the specialiser. Only shapes are taken over; a program that cannot be specialised keeps its own.
pub fn settle(program: &mut Program, pinned: &PinnedShapes) {
    let is_pinned = |v: Value| program.values[v.idx()].key.as_ref().is_some_and(|k| pinned.contains_key(k));
    let feeds: Vec<FeedSpec> = program
        .feeds
        .iter()
        .filter(|f| is_pinned(f.value))
        .filter_map(|f| {
            let fact = program.fact(f.value);
            Some(FeedSpec { value: f.value, dtype: fact.dtype, dims: fact.dims()?, tensor: None })
        })
        .collect();
    let mut follows = vec![true; program.values.len()];
    program.feeds.iter().filter(|f| !is_pinned(f.value)).for_each(|f| follows[f.value.idx()] = false);
    let mut fetches = Vec::new();
    for instr in &program.instrs {
        let all = instr.inputs.iter().all(|v| follows[v.idx()]);
        for &out in &instr.outputs {
            follows[out.idx()] = all;
            if all && !program.fact(out).shape.is_known() {
                fetches.push(out);
            }
        }
    }
    let request = Request { mode: Mode::Eval, fetches, feeds, pins: Vec::new(), dropout: Vec::new() };
    let Ok(settled) = specialise(program, &[], &request) else { return };
    for v in request.fetches {
        if let Some(new) = settled.get(v) {
            program.values[v.idx()].fact.shape = settled.program.fact(new).shape.clone();
        }
    }
}
