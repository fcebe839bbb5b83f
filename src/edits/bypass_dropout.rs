//! Takes hard-coded dropout out of a graph: readers of a site's output read its input, and what nobody needs any more
//! disappears (masks, samplers, conditionals, a learning phase without other use). Assertions that the site only waited
//! for are kept: its readers wait for them instead.

use crate::graph::{Graph, GraphPatch, NodeId, NodeKey, ValueKey};
use crate::lower::{Dialect, Structure, results};
use crate::recognize::DropoutSite;

use super::reach::{data_ancestors, needed, target};

/// Adds the bypass of `sites` to `patch`. Gives the sites that cannot be bypassed in the file: those inside a function
/// that is called several times.
pub fn extend<'s>(
    patch: &mut GraphPatch,
    graph: &Graph,
    dialect: &dyn Dialect,
    sites: &[&'s DropoutSite],
) -> Vec<&'s DropoutSite> {
    let pairs = sites.iter().map(|s| (s.input_key.clone(), s.output_key.clone())).collect::<Vec<_>>();
    let done = bypass(patch, graph, dialect, &pairs);
    sites.iter().zip(done).filter(|(_, done)| !done).map(|(s, _)| *s).collect()
}

/// As [`extend`], with the sites as pairs of input and output; whether each could be bypassed.
pub fn bypass(
    patch: &mut GraphPatch,
    graph: &Graph,
    dialect: &dyn Dialect,
    pairs: &[(ValueKey, ValueKey)],
) -> Vec<bool> {
    let mut done = vec![false; pairs.len()];
    let bodies = std::iter::once(graph).chain(graph.functions.values().map(|f| &**f));
    for body in bodies {
        let here = |k: &ValueKey| body.value_named(k.as_str()).is_some();
        let inside: Vec<usize> = (0..pairs.len()).filter(|&i| here(&pairs[i].0) && here(&pairs[i].1)).collect();
        if !inside.is_empty() {
            let pairs: Vec<_> = inside.iter().map(|&i| &pairs[i]).collect();
            bypass_in(patch, body, dialect, &pairs);
            inside.iter().for_each(|&i| done[i] = true);
        }
    }
    done
}

fn bypass_in(patch: &mut GraphPatch, graph: &Graph, dialect: &dyn Dialect, pairs: &[&(ValueKey, ValueKey)]) {
    let roots = results(graph, dialect);
    let before = needed(graph, patch, &roots);
    for (input, output) in pairs {
        patch.redirects.insert(output.clone(), input.clone());
    }
    // A site whose output is itself a result has no reader to redirect: its nodes stay, under their names.
    for (_, output) in pairs {
        keep_effects(patch, graph, dialect, output, &needed(graph, patch, &roots));
    }
    let after = needed(graph, patch, &roots);
    let mut is_removed: Vec<bool> = before.iter().zip(&after).map(|(b, a)| *b && !*a).collect();
    remove_loose_ends(graph, &after, &mut is_removed);
    let removed = graph.node_ids().filter(|n| is_removed[n.idx()]);
    patch.removed.extend(removed.map(|n| graph.node(n).key.clone()));
}

/// Loose ends of conditionals hang on what is removed; they go with it.
fn remove_loose_ends(graph: &Graph, is_needed: &[bool], is_removed: &mut [bool]) {
    loop {
        let hangs = |id: NodeId, removed: &[bool]| {
            let mut inputs = graph.node(id).present_inputs().map(|v| graph.value(v).producer);
            inputs.any(|n| removed[n.idx()])
        };
        let more: Vec<NodeId> =
            graph.node_ids().filter(|n| !is_needed[n.idx()] && !is_removed[n.idx()] && hangs(*n, is_removed)).collect();
        if more.is_empty() {
            return;
        }
        more.iter().for_each(|n| is_removed[n.idx()] = true);
    }
}

/// Side effects that only the site waited for and that do not depend on its inside: its readers wait for them.
fn keep_effects(patch: &mut GraphPatch, graph: &Graph, dialect: &dyn Dialect, output: &ValueKey, is_needed: &[bool]) {
    let Some(value) = graph.value_named(output.as_str()) else { return };
    let producer = graph.value(value).producer;
    if is_needed[producer.idx()] {
        return;
    }
    let inside = data_ancestors(graph, &[producer], |n| is_needed[n.idx()]);
    let awaited = graph.node_ids().filter(|n| inside[n.idx()]).flat_map(|n| &graph.node(n).control_inputs);
    let effects: Vec<NodeKey> = awaited
        .copied()
        .filter(|n| !is_needed[n.idx()] && dialect.structure(graph.node(*n)) == Structure::Effect)
        .filter(|n| {
            let behind = data_ancestors(graph, &[*n], |_| false);
            !graph.node_ids().any(|m| behind[m.idx()] && inside[m.idx()])
        })
        .map(|n| graph.node(n).key.clone())
        .collect();
    if effects.is_empty() {
        return;
    }
    let input = target(graph, patch, value);
    for node in graph.nodes.iter().filter(|n| n.present_inputs().any(|v| v == value)) {
        let is_before = graph.node(graph.value(input).producer).key == node.key;
        if !is_before && is_needed[graph.node_named(node.key.as_str()).map_or(0, NodeId::idx)] {
            patch.waits.entry(node.key.clone()).or_default().extend(effects.iter().cloned());
        }
    }
}
