//! The loop frames of Enter, Exit and NextIteration: which node belongs to which loop, and each loop's variables.

use std::collections::{BTreeMap, HashMap};

use crate::graph::{Graph, NodeId, ValueId};

use super::order::Order;
use super::{Dialect, Structure};

/// One loop of the graph.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    pub parent: Option<usize>,
    pub variables: Vec<Variable>,
    /// What LoopCond reads.
    pub condition: Option<ValueId>,
}

/// A value that each iteration hands to the next.
#[derive(Clone, Debug)]
pub struct Variable {
    pub merge: NodeId,
    /// What Enter reads.
    pub first: ValueId,
    /// What NextIteration reads.
    pub next: ValueId,
    /// Nodes whose value is the last state.
    pub exits: Vec<NodeId>,
}

/// See the module doc.
#[derive(Debug, Default)]
pub struct Frames {
    pub frames: Vec<Frame>,
    of_node: Vec<Option<usize>>,
}

impl Frames {
    pub fn find(graph: &Graph, dialect: &dyn Dialect, order: &Order) -> Self {
        let structures: Vec<Structure> = graph.nodes.iter().map(|n| dialect.structure(n)).collect();
        if !structures.iter().any(|s| matches!(s, Structure::Enter { .. })) {
            return Self::default();
        }
        let mut out = Self { frames: Vec::new(), of_node: vec![None; graph.nodes.len()] };
        let mut by_name: BTreeMap<(Option<usize>, &str), usize> = BTreeMap::new();
        for &id in &order.nodes {
            let around = out.innermost(graph, id);
            out.of_node[id.idx()] = match &structures[id.idx()] {
                Structure::Enter { frame, .. } => Some(*by_name.entry((around, frame.as_str())).or_insert_with(|| {
                    out.frames.push(Frame { parent: around, ..Frame::default() });
                    out.frames.len() - 1
                })),
                Structure::Exit => around.and_then(|f| out.frames[f].parent),
                _ => around,
            };
        }
        out.find_variables(graph, &structures);
        out
    }

    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The loop that a node directly lies in.
    pub fn innermost_of(&self, node: NodeId) -> Option<usize> {
        self.of_node.get(node.idx()).copied().flatten()
    }

    /// The loop directly inside `within` that a node lies in, at whatever depth.
    pub fn outermost(&self, node: NodeId, within: Option<usize>) -> Option<usize> {
        let mut at = self.of_node.get(node.idx()).copied().flatten();
        while let Some(f) = at {
            if self.frames[f].parent == within {
                return Some(f);
            }
            at = self.frames[f].parent;
        }
        None
    }

    /// Whether a node lies in a loop, at whatever depth.
    pub fn contains(&self, frame: usize, node: NodeId) -> bool {
        let mut at = self.of_node.get(node.idx()).copied().flatten();
        while let Some(f) = at {
            if f == frame {
                return true;
            }
            at = self.frames[f].parent;
        }
        false
    }

    fn depth(&self, mut frame: Option<usize>) -> usize {
        let mut depth = 0;
        while let Some(f) = frame {
            (depth, frame) = (depth + 1, self.frames[f].parent);
        }
        depth
    }

    fn innermost(&self, graph: &Graph, id: NodeId) -> Option<usize> {
        let node = graph.node(id);
        let data = node.present_inputs().map(|v| graph.value(v).producer);
        let around = data.chain(node.control_inputs.iter().copied()).map(|n| self.of_node[n.idx()]);
        around.max_by_key(|f| self.depth(*f)).flatten()
    }

    fn find_variables(&mut self, graph: &Graph, structures: &[Structure]) {
        let producer = |v: ValueId| graph.value(v).producer;
        let is = |n: NodeId, s: &Structure| structures[n.idx()] == *s;
        // Exits by the Merge behind their Switch.
        let mut exits: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
        for id in graph.node_ids().filter(|n| is(*n, &Structure::Exit)) {
            let switch = graph.node(id).inputs.first().copied().flatten().map(producer);
            let Some(switch) = switch.filter(|s| is(*s, &Structure::Switch)) else { continue };
            let merge = graph.node(switch).inputs.first().copied().flatten().map(producer);
            merge.into_iter().for_each(|m| exits.entry(m).or_default().push(id));
        }
        for id in graph.node_ids() {
            let Some(frame) = self.of_node[id.idx()] else { continue };
            let node = graph.node(id);
            let first_input = |n: NodeId| graph.node(n).inputs.first().copied().flatten();
            match structures[id.idx()] {
                Structure::LoopCond => self.frames[frame].condition = first_input(id),
                Structure::Merge => {
                    let inputs: Vec<NodeId> = node.present_inputs().map(producer).collect();
                    let enter = inputs.iter().find(|n| matches!(structures[n.idx()], Structure::Enter { .. }));
                    let next = inputs.iter().find(|n| is(**n, &Structure::NextIteration));
                    let ends = enter.and_then(|n| first_input(*n)).zip(next.and_then(|n| first_input(*n)));
                    if let Some((first, next)) = ends {
                        let exits = exits.remove(&id).unwrap_or_default();
                        self.frames[frame].variables.push(Variable { merge: id, first, next, exits });
                    }
                }
                _ => {}
            }
        }
    }
}
