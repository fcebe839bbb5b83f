//! The way of a gradient on the graph: from a weight to what is minimised, or to the node where it stops.

use std::collections::{HashMap, VecDeque};

use crate::session::Overview;
use crate::ui::ctx::{Blocker, Gradients};
use crate::ui::index::Index;

/// Of the ways that one node blocks so many are lit.
const MAX_WAYS: usize = 64;

/// A way through the graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Way {
    /// Nodes from the weight on, in order.
    pub nodes: Vec<usize>,
    /// The last of them, where the gradient ends there; `None` where it arrives.
    pub stops_at: Option<usize>,
}

/// Ways to light up for a focused node: its own; for a node that blocks others, those of everything behind it.
pub fn ways(overview: &Overview, index: &Index, gradients: Option<&Gradients>, focus: usize) -> Vec<Way> {
    let name = overview.nodes[focus].name.as_str();
    if let Some(b) = gradients.and_then(|g| g.blockers.iter().find(|b| b.node == name)) {
        return blocked(index, gradients, b, focus);
    }
    let row = gradients.and_then(|g| g.constants.iter().find(|c| is_same(&c.name, name)));
    if let Some(row) = row.filter(|r| r.verdict != "flows") {
        // A report that names no way still names what blocks it.
        let end = gradients.and_then(|g| blocker(g, &row.name)).map(|b| b.node.clone());
        let path = if row.path.is_empty() { end.into_iter().collect() } else { row.path.clone() };
        let nodes = written_out(index, focus, &path);
        let stops_at = nodes.last().copied().filter(|_| nodes.len() > 1);
        return vec![Way { nodes, stops_at }];
    }
    let ends = gradients.map(|g| ends(index, &g.objective)).unwrap_or_default();
    let passes = |n: usize| matches!(overview.nodes[n].gradient.as_str(), "flows" | "");
    shortest(index, focus, &ends, passes).into_iter().map(|nodes| Way { nodes, stops_at: None }).collect()
}

/// A reported way as nodes. Where the report names only its end (there were too many to write out), any way there.
fn written_out(index: &Index, from: usize, path: &[String]) -> Vec<usize> {
    let named: Vec<usize> = path.iter().filter_map(|n| index.node(n)).collect();
    let found = match named[..] {
        [end] => shortest(index, from, &[end], |_| true),
        _ => None,
    };
    let mut nodes = found.unwrap_or_else(|| std::iter::once(from).chain(named).collect());
    nodes.dedup();
    nodes
}

/// The blocker that a focus has to do with: itself, or where its gradient ends.
pub fn blocker<'g>(gradients: &'g Gradients, name: &str) -> Option<&'g Blocker> {
    let is_mine = |b: &&Blocker| b.node == name || b.blocks.iter().any(|w| is_same(w, name));
    gradients.blockers.iter().find(is_mine)
}

fn is_same(a: &str, b: &str) -> bool {
    a.strip_suffix(":0").unwrap_or(a) == b.strip_suffix(":0").unwrap_or(b)
}

fn blocked(index: &Index, gradients: Option<&Gradients>, blocker: &Blocker, at: usize) -> Vec<Way> {
    let rows = gradients.iter().flat_map(|g| &g.constants);
    let behind = rows.filter(|c| blocker.blocks.iter().any(|b| is_same(b, &c.name)));
    let way = |c: &crate::ui::ctx::GradientRow| {
        let from = index.node_of_value(&c.name)?;
        Some(Way { nodes: written_out(index, from, &c.path), stops_at: Some(at) })
    };
    behind.filter_map(way).take(MAX_WAYS).collect()
}

/// The nodes of an objective as reports name it: values joined by ` + `.
fn ends(index: &Index, objective: &str) -> Vec<usize> {
    objective.split(" + ").filter_map(|v| index.node_of_value(v.trim())).collect()
}

/// The shortest way forward over nodes that `passes` lets through, to one of `ends`, or to the first node that nothing
/// reads where none of them is a node of the graph (an attached loss).
fn shortest(index: &Index, from: usize, ends: &[usize], passes: impl Fn(usize) -> bool) -> Option<Vec<usize>> {
    let mut came_from: HashMap<usize, usize> = HashMap::from([(from, from)]);
    let mut todo = VecDeque::from([from]);
    while let Some(n) = todo.pop_front() {
        let is_end = if ends.is_empty() { n != from && index.readers[n].is_empty() } else { ends.contains(&n) };
        if is_end {
            let mut nodes = vec![n];
            let mut at = n;
            while came_from[&at] != at {
                at = came_from[&at];
                nodes.push(at);
            }
            nodes.reverse();
            return Some(nodes);
        }
        for &r in &index.readers[n] {
            if passes(r) && !came_from.contains_key(&r) {
                came_from.insert(r, n);
                todo.push_back(r);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::ctx::GradientRow;
    use crate::ui::sample;

    fn names(overview: &Overview, way: &Way) -> Vec<String> {
        way.nodes.iter().map(|&n| overview.nodes[n].name.clone()).collect()
    }

    #[test]
    fn a_weight_lights_its_way_to_the_loss() {
        let o = sample::overview();
        let index = Index::new(&o);
        let g = Gradients { objective: "loss/Mean:0".to_owned(), ..Gradients::default() };
        let kernel = index.node("encoder/dense/kernel").unwrap();
        let ways = ways(&o, &index, Some(&g), kernel);
        let want = [
            "encoder/dense/kernel",
            "encoder/dense/MatMul",
            "encoder/dense/BiasAdd",
            "encoder/dropout/mul",
            "loss/Mean",
        ];
        assert_eq!(names(&o, &ways[0]), want);
        assert_eq!(ways[0].stops_at, None);
        // A random op's way does not run backwards.
        assert!(super::ways(&o, &index, Some(&g), index.node("loss/Mean").unwrap())[0].nodes.len() == 1);
    }

    #[test]
    fn a_lost_gradient_stops_where_the_report_says() {
        let o = sample::overview();
        let index = Index::new(&o);
        let row = GradientRow {
            name: "encoder/dense/bias".to_owned(),
            verdict: "blocked".to_owned(),
            path: vec!["encoder/dense/BiasAdd".to_owned(), "encoder/dropout/mul".to_owned()],
            ..GradientRow::default()
        };
        let blocker = Blocker {
            node: "encoder/dropout/mul".to_owned(),
            blocks: vec!["encoder/dense/bias".to_owned()],
            ..Blocker::default()
        };
        let g = Gradients { constants: vec![row], blockers: vec![blocker], ..Gradients::default() };
        let mul = index.node("encoder/dropout/mul").unwrap();
        let of_weight = ways(&o, &index, Some(&g), index.node("encoder/dense/bias").unwrap());
        assert_eq!(of_weight[0].stops_at, Some(mul));
        // The blocking node lights the same way.
        assert_eq!(ways(&o, &index, Some(&g), mul), of_weight);
        assert!(super::blocker(&g, "encoder/dense/bias").is_some() && super::blocker(&g, "input").is_none());
    }
}
