//! Takes one node out of a graph: readers of its output read an input of it instead, and what nobody needs any more goes.
//! The input is the first that can take the output's place (see [`replacement`]); each output has its own.

use crate::graph::{Graph, Node, ValueId, ValueKey};
use crate::tensor::Fact;
use crate::tensor::fact::replacement;

/// Pairs of input and output, for [`super::bypass_dropout::bypass`]. `fact` is what is known of a value. Errors say why the
/// node cannot be bypassed.
pub fn pairs(
    graph: &Graph,
    name: &str,
    fact: impl Fn(&Graph, ValueId) -> Fact,
) -> Result<Vec<(ValueKey, ValueKey)>, String> {
    let bodies = || std::iter::once(graph).chain(graph.functions.values().map(|f| &**f));
    let find = |body: &'_ Graph| body.node_named(name).map(|id| body.node(id).clone());
    let Some((body, node)) = bodies().find_map(|b| Some((b, find(b)?))) else {
        return Err(format!("there is no node {name} in this model"));
    };
    let inputs: Vec<ValueId> = node.present_inputs().collect();
    let facts: Vec<Fact> = inputs.iter().map(|&v| fact(body, v)).collect();
    let facts: Vec<&Fact> = facts.iter().collect();
    let readers = body.readers();
    let read: Vec<ValueId> = node.outputs.iter().copied().filter(|v| !readers[v.idx()].is_empty()).collect();
    if read.is_empty() {
        return Err(format!("no other node reads what {name} gives, so there is nothing to bypass"));
    }
    let pair = |&output: &ValueId| match replacement(&fact(body, output), &facts) {
        Some(i) => Ok((body.value(inputs[i]).key.clone(), body.value(output).key.clone())),
        None => Err(unfit(body, &node, output, &fact(body, output))),
    };
    read.iter().map(pair).collect()
}

fn unfit(body: &Graph, node: &Node, output: ValueId, fact: &Fact) -> String {
    let output = &body.value(output).key;
    format!(
        "{} cannot be bypassed: none of its inputs has the element type and shape of {output}, {}",
        node.key,
        fact.describe()
    )
}
