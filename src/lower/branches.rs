//! Which predicates a node's life depends on, and which conditional a Merge closes.
//!
//! A Switch kills one of its outputs; whatever reads a dead value is dead; a Merge revives. So each node lives under a
//! set of conditions: predicates with the side that must hold. A Merge whose inputs live under opposite sides of one
//! predicate closes that conditional, whatever the order of its inputs.

use std::collections::HashMap;

use crate::graph::{Graph, NodeId, ValueId};

use super::order::Order;
use super::{Dialect, Structure};

/// A predicate or index (behind aliases) and the side on which a node lives: the port of the Switch, so that 1 is true.
pub type Condition = (ValueId, usize);

/// What a Merge closes: the predicate or index, and for each side which input comes from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    pub predicate: ValueId,
    pub inputs: Vec<usize>,
}

/// See the module doc. Empty for graphs without Switch and Merge.
#[derive(Debug, Default)]
pub struct Branches {
    /// For each node, an index into `sets`.
    set_of: Vec<u32>,
    sets: Vec<Vec<Condition>>,
    pub joins: HashMap<NodeId, Join>,
}

impl Branches {
    pub fn find(graph: &Graph, dialect: &dyn Dialect, order: &Order) -> Self {
        let structures: Vec<Structure> = graph.nodes.iter().map(|n| dialect.structure(n)).collect();
        if !structures.contains(&Structure::Merge) {
            return Self::default();
        }
        let mut finder = Finder {
            graph,
            order,
            structures: &structures,
            out: Self { set_of: vec![0; graph.nodes.len()], sets: vec![Vec::new()], joins: HashMap::new() },
            index: HashMap::from([(Vec::new(), 0)]),
        };
        for &node in &order.nodes {
            finder.visit(node);
        }
        finder.out
    }

    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Whether a node lives only where `condition` holds.
    pub fn needs(&self, node: NodeId, condition: Condition) -> bool {
        self.set_of.get(node.idx()).is_some_and(|&s| self.sets[s as usize].contains(&condition))
    }
}

struct Finder<'a> {
    graph: &'a Graph,
    order: &'a Order,
    structures: &'a [Structure],
    out: Branches,
    index: HashMap<Vec<Condition>, u32>,
}

impl Finder<'_> {
    fn visit(&mut self, id: NodeId) {
        let node = self.graph.node(id);
        let set = match (&self.structures[id.idx()], &node.inputs[..]) {
            (Structure::Merge, &[Some(a), Some(b)]) if !self.is_loop_merge(id) => self.merge(id, a, b),
            (Structure::Merge, inputs) if inputs.len() > 2 => self.merge_many(id),
            _ => self.union(id),
        };
        self.out.set_of[id.idx()] = self.intern(set);
    }

    fn intern(&mut self, set: Vec<Condition>) -> u32 {
        if let Some(&i) = self.index.get(&set) {
            return i;
        }
        let i = self.out.sets.len() as u32;
        self.out.sets.push(set.clone());
        self.index.insert(set, i);
        i
    }

    fn set(&self, node: NodeId) -> &[Condition] {
        &self.out.sets[self.out.set_of[node.idx()] as usize]
    }

    fn union(&self, id: NodeId) -> Vec<Condition> {
        let node = self.graph.node(id);
        let mut out = Vec::new();
        for v in node.present_inputs() {
            out.extend(self.conditions_of(v));
        }
        for &c in &node.control_inputs {
            out.extend_from_slice(self.set(c));
        }
        out.sort_unstable();
        out.dedup();
        out
    }

    /// Conditions under which a value lives: its node's, and its side of a Switch.
    fn conditions_of(&self, v: ValueId) -> Vec<Condition> {
        let value = self.graph.value(v);
        let mut out = self.set(value.producer).to_vec();
        let switch = self.graph.node(value.producer);
        if matches!(self.structures[value.producer.idx()], Structure::Switch | Structure::SwitchN)
            && let Some(&Some(predicate)) = switch.inputs.get(1)
        {
            let predicate = self.behind_aliases(predicate);
            let is_loop = self.structures[self.graph.value(predicate).producer.idx()] == Structure::LoopCond;
            if !is_loop {
                out.push((predicate, value.port));
            }
        }
        out.sort_unstable();
        out.dedup();
        out
    }

    /// The value that an alias chain starts from.
    fn behind_aliases(&self, mut v: ValueId) -> ValueId {
        loop {
            let value = self.graph.value(v);
            let at = value.producer;
            if self.structures[at.idx()] != Structure::Alias {
                return v;
            }
            match self.graph.node(at).inputs.get(value.port) {
                // Each step must go back in the order, so that a cycle of aliases ends.
                Some(&Some(from))
                    if self.order.position[self.graph.value(from).producer.idx()] < self.order.position[at.idx()] =>
                {
                    v = from;
                }
                _ => return v,
            }
        }
    }

    /// The head of a loop variable: one of its inputs comes from the iteration before.
    fn is_loop_merge(&self, id: NodeId) -> bool {
        let is_back = |v| self.structures[self.graph.value(v).producer.idx()] == Structure::NextIteration;
        self.graph.node(id).present_inputs().any(is_back)
    }

    fn merge(&mut self, id: NodeId, a: ValueId, b: ValueId) -> Vec<Condition> {
        let (in_a, in_b) = (self.conditions_of(a), self.conditions_of(b));
        let without = |set: &[Condition], c: Condition| set.iter().copied().filter(|&x| x != c).collect::<Vec<_>>();
        let other = |side: usize| usize::from(side == 0);
        let opposite: Vec<Condition> =
            in_a.iter().copied().filter(|&(p, side)| in_b.contains(&(p, other(side)))).collect();
        let clean = |&&(p, side): &&Condition| without(&in_a, (p, side)) == without(&in_b, (p, other(side)));
        let found = opposite.iter().find(clean).or(opposite.first()).copied().or_else(|| {
            // A side that lost its mark (a constant whose control edge was stripped): the other one tells.
            let only_a = in_a.iter().copied().filter(|c| !in_b.contains(c)).collect::<Vec<_>>();
            let only_b = in_b.iter().copied().filter(|c| !in_a.contains(c)).collect::<Vec<_>>();
            match (&only_a[..], &only_b[..]) {
                (&[one], []) => Some(one),
                ([], &[(p, side)]) => Some((p, other(side))),
                _ => None,
            }
        });
        let Some((predicate, a_side)) = found else { return self.union(id) };
        let inputs = if a_side == 1 { vec![1, 0] } else { vec![0, 1] };
        self.out.joins.insert(id, Join { predicate, inputs });
        let mut set = without(&in_a, (predicate, a_side));
        set.extend(without(&in_b, (predicate, other(a_side))));
        for &c in &self.graph.node(id).control_inputs {
            set.extend_from_slice(self.set(c));
        }
        set.sort_unstable();
        set.dedup();
        set
    }

    /// A Merge of more than two inputs closes a choice by index: each input lives on a side of its own.
    fn merge_many(&mut self, id: NodeId) -> Vec<Condition> {
        let node = self.graph.node(id);
        let sets: Vec<Vec<Condition>> = node.present_inputs().map(|v| self.conditions_of(v)).collect();
        let side_of = |set: &[Condition], index: ValueId| set.iter().find(|(p, _)| *p == index).map(|(_, side)| *side);
        let fits = |&index: &ValueId| {
            let mut sides: Vec<Option<usize>> = sets.iter().map(|s| side_of(s, index)).collect();
            sides.sort_unstable();
            sides.iter().enumerate().all(|(i, s)| *s == Some(i))
        };
        let candidates: Vec<ValueId> = sets[0].iter().map(|(p, _)| *p).collect();
        let Some(index) = candidates.into_iter().find(fits) else { return self.union(id) };
        let mut inputs = vec![0; sets.len()];
        for (i, set) in sets.iter().enumerate() {
            if let Some(side) = side_of(set, index) {
                inputs[side] = i;
            }
        }
        self.out.joins.insert(id, Join { predicate: index, inputs });
        let mut set: Vec<Condition> = sets.into_iter().flatten().filter(|(p, _)| *p != index).collect();
        for &c in &self.graph.node(id).control_inputs {
            set.extend_from_slice(self.set(c));
        }
        set.sort_unstable();
        set.dedup();
        set
    }
}
