//! What the recipe's edits change: the graph of the file beside the graph that would be exported, node by node.

use std::collections::HashSet;

use crate::graph::{Fact, Graph, Node};
use crate::recognize::DropoutSite;

use super::overview::{NodeRow, SiteRow, ValueRow};

/// See the module doc. Nodes are told by their names, which edits keep.
#[derive(Clone, Debug, Default)]
pub struct GraphDiff {
    /// Nodes that only the edited graph has.
    pub added: Vec<String>,
    /// Nodes that only the file has, in its order.
    pub removed: Vec<NodeRow>,
    /// Nodes of both that read something else than in the file.
    pub rewired: Vec<Rewired>,
    /// Constants and inputs of both that hold other values or have another shape than in the file.
    pub revalued: Vec<String>,
    /// Dropout sites of the file that went as a whole.
    pub removed_sites: Vec<SiteRow>,
}

/// A node whose inputs changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewired {
    pub node: String,
    /// Values that it read in the file and reads no more.
    pub lost: Vec<String>,
    /// Values that it reads now and did not read in the file.
    pub gained: Vec<String>,
}

impl GraphDiff {
    /// The difference of two graphs; `sites` are the dropout sites of `file`.
    pub fn between(file: &Graph, edited: &Graph, sites: &[DropoutSite]) -> Self {
        let names = |g: &Graph| -> HashSet<String> { g.nodes.iter().map(|n| n.key.as_str().to_owned()).collect() };
        let (before, after) = (names(file), names(edited));
        let mut diff = Self::default();
        for node in &edited.nodes {
            let name = node.key.as_str();
            if !before.contains(name) {
                diff.added.push(name.to_owned());
            } else if let Some(old) = file.node_named(name) {
                if holds_something_else(file, file.node(old), edited, node) {
                    diff.revalued.push(name.to_owned());
                }
                let (old, new) = (inputs(file, file.node(old)), inputs(edited, node));
                if old != new {
                    let lost = old.iter().filter(|v| !new.contains(v)).cloned().collect();
                    let gained = new.iter().filter(|v| !old.contains(v)).cloned().collect();
                    diff.rewired.push(Rewired { node: name.to_owned(), lost, gained });
                }
            }
        }
        let removed = file.nodes.iter().filter(|n| !after.contains(n.key.as_str()));
        diff.removed = removed.map(|n| row(file, n)).collect();
        let went = |s: &&DropoutSite| s.nodes.iter().all(|n| !after.contains(n.as_str()));
        diff.removed_sites = sites.iter().filter(went).map(site_row).collect();
        diff
    }

    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.rewired.is_empty() && self.revalued.is_empty()
    }

    /// Names of what is in the edited graph and not as in the file: what the query `changed:yes` finds.
    pub fn changed(&self) -> impl Iterator<Item = &str> {
        let rewired = self.rewired.iter().map(|r| &r.node);
        self.added.iter().chain(rewired).chain(&self.revalued).map(String::as_str)
    }
}

/// Whether a constant or an input of the file's is another one now; nodes that compute hold nothing.
fn holds_something_else(file: &Graph, old: &Node, edited: &Graph, new: &Node) -> bool {
    match (&old.constant, &new.constant) {
        (Some(a), Some(b)) => !a.payload.is_same(&b.payload),
        (None, None) if old.inputs.is_empty() && new.inputs.is_empty() => {
            let shapes =
                |g: &Graph, n: &Node| n.outputs.iter().map(|&v| g.value(v).fact.shape.clone()).collect::<Vec<_>>();
            shapes(file, old) != shapes(edited, new)
        }
        (None, None) => false,
        _ => true,
    }
}

fn inputs(graph: &Graph, node: &Node) -> Vec<String> {
    node.present_inputs().map(|v| graph.value(v).key.as_str().to_owned()).collect()
}

fn row(graph: &Graph, node: &Node) -> NodeRow {
    let output = |fact: &Fact, name: &str| ValueRow {
        name: name.to_owned(),
        dtype: fact.dtype.name().to_owned(),
        shape: fact.shape.partial().map(<[_]>::to_vec),
    };
    NodeRow {
        name: node.key.as_str().to_owned(),
        op: node.op.clone(),
        inputs: inputs(graph, node),
        outputs: node.outputs.iter().map(|&v| graph.value(v)).map(|v| output(&v.fact, v.key.as_str())).collect(),
        supported: true,
        ..NodeRow::default()
    }
}

/// A dropout site as a row of the overview.
pub(super) fn site_row(site: &DropoutSite) -> SiteRow {
    SiteRow {
        output: site.output_key.as_str().to_owned(),
        input: site.input_key.as_str().to_owned(),
        rate: site.rate,
        variant: site.variant.to_owned(),
        predicate: site.predicate.as_ref().and_then(|p| Some(p.key.as_ref()?.as_str().to_owned())),
        nodes: site.nodes.iter().map(|n| n.as_str().to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::graph::{GraphPatch, NodeId, NodeKey, NodeKind, ValueKey};
    use crate::tensor::DType;

    #[test]
    fn a_constant_with_other_values_is_changed() {
        use crate::tensor::Tensor;
        let mut file = Graph::default();
        for name in ["kept", "loaded"] {
            let mut node = Node::new(NodeKey::new(name), "Const", NodeKind::Constant);
            let payload = crate::tensor::Payload::from_tensor(Tensor::from_slice(&[2], &[1.0f32, 2.0]));
            node.constant = Some(crate::graph::Constant { payload, origin: crate::graph::ConstantOrigin::ConstNode });
            file.push_node(node, vec![(ValueKey::new(name), Fact::of_dims(DType::F32, &[2]))]);
        }
        let mut patch = GraphPatch::default();
        patch.set_constant(NodeKey::new("loaded"), Tensor::from_slice(&[2], &[3.0f32, 4.0]));
        let diff = GraphDiff::between(&file, &patch.apply(&file), &[]);
        assert_eq!(diff.changed().collect::<Vec<_>>(), ["loaded"]);
        assert!(!diff.is_empty() && diff.removed.is_empty());
    }

    fn chain() -> Graph {
        let mut g = Graph::default();
        let mut last: Option<NodeId> = None;
        for name in ["x", "noise", "y"] {
            let mut node = Node::new(NodeKey::new(name), "Relu", NodeKind::Op);
            node.inputs = last.iter().map(|&n| Some(g.node(n).outputs[0])).collect();
            last = Some(g.push_node(node, vec![(ValueKey::new(name), Fact::of_dims(DType::F32, &[2]))]));
        }
        g
    }

    #[test]
    fn a_bypassed_node_is_removed_and_its_reader_rewired() {
        let file = chain();
        let mut patch = GraphPatch::default();
        patch.redirects.insert(ValueKey::new("noise"), ValueKey::new("x"));
        patch.removed = BTreeSet::from([NodeKey::new("noise")]);
        let edited = patch.apply(&file);
        let diff = GraphDiff::between(&file, &edited, &[]);
        assert_eq!(diff.removed.iter().map(|n| n.name.as_str()).collect::<Vec<_>>(), ["noise"]);
        assert_eq!(diff.removed[0].inputs, ["x"]);
        let lost = Rewired { node: "y".to_owned(), lost: vec!["noise".to_owned()], gained: vec!["x".to_owned()] };
        assert_eq!(diff.rewired, [lost]);
        assert!(diff.added.is_empty());
        let back = GraphDiff::between(&edited, &file, &[]);
        assert_eq!(back.added, ["noise"]);
        assert!(GraphDiff::between(&file, &file, &[]).is_empty());
    }
}
