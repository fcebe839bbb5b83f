//! Divides nodes into straight-line items: single nodes, conditionals with the nodes of both sides, and loops.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use crate::graph::{Graph, NodeId, NodeKind, ValueId};

use super::branches::Branches;
use super::frames::Frames;
use super::order::Order;
use super::{Dialect, Structure};

/// What is spelled at one place, in order.
#[derive(Clone, Debug)]
pub enum Item {
    Node(NodeId),
    Cond(Cond),
    Loop(LoopItem),
}

/// A conditional: the Merges that close it, and what only its sides need. Nodes are in order.
#[derive(Clone, Debug)]
pub struct Cond {
    pub predicate: ValueId,
    pub merges: Vec<NodeId>,
    /// By side: for a predicate, what is needed where it is false comes first.
    pub sides: Vec<Vec<NodeId>>,
}

/// A loop and everything inside it. Nodes are in order.
#[derive(Clone, Debug)]
pub struct LoopItem {
    pub frame: usize,
    pub nodes: Vec<NodeId>,
    pub exits: Vec<NodeId>,
}

/// Everything about a graph that dividing needs.
#[derive(Clone, Copy, Debug)]
pub struct Layout<'a> {
    pub graph: &'a Graph,
    pub dialect: &'a dyn Dialect,
    pub order: &'a Order,
    pub branches: &'a Branches,
    pub frames: &'a Frames,
}

impl Layout<'_> {
    /// The items of `nodes` (in order), which are spelled at one place, inside the loop `within`.
    pub fn divide(&self, nodes: &[NodeId], within: Option<usize>) -> Vec<Item> {
        let is_here = |n: &NodeId| self.frames.outermost(*n, within).is_none();
        let joins = &self.branches.joins;
        let merges: Vec<NodeId> = nodes.iter().copied().filter(|n| joins.contains_key(n) && is_here(n)).collect();
        let slices: Vec<Slices> = merges.iter().map(|&m| self.slices(m)).collect();
        let mut inside: HashSet<NodeId> = HashSet::new();
        for s in &slices {
            inside.extend(s.sides.iter().flatten());
        }
        let mut loops: BTreeMap<usize, LoopItem> = BTreeMap::new();
        for &node in nodes.iter().filter(|n| !inside.contains(n)) {
            if let Some(frame) = self.frames.outermost(node, within) {
                let new = || LoopItem { frame, nodes: Vec::new(), exits: Vec::new() };
                loops.entry(frame).or_insert_with(new).nodes.push(node);
            }
        }
        for item in loops.values_mut() {
            let exits = self.frames.frames[item.frame].variables.iter().flat_map(|v| &v.exits);
            item.exits = exits.copied().collect();
        }
        if merges.is_empty() && loops.is_empty() {
            return nodes.iter().map(|&n| Item::Node(n)).collect();
        }
        let outer = (0..merges.len()).filter(|&i| !inside.contains(&merges[i]));
        let outer_slices: Vec<(NodeId, &Slices)> = outer.map(|i| (merges[i], &slices[i])).collect();
        inside.extend(loops.values().flat_map(|l| l.nodes.iter().chain(&l.exits)));
        let plain: Vec<NodeId> =
            nodes.iter().copied().filter(|n| !inside.contains(n) && !joins.contains_key(n)).collect();
        let items = |group: bool| {
            let mut items: Vec<Item> = plain.iter().map(|&n| Item::Node(n)).collect();
            items.extend(self.conds(&outer_slices, group).into_iter().map(Item::Cond));
            items.extend(loops.values().cloned().map(Item::Loop));
            items
        };
        self.sort(items(true))
            .or_else(|| self.sort(items(false)))
            .unwrap_or_else(|| nodes.iter().map(|&n| Item::Node(n)).collect())
    }

    /// The nodes of a loop that `values` need within one iteration, in order.
    pub fn iteration(&self, frame: usize, values: impl IntoIterator<Item = ValueId>) -> Vec<NodeId> {
        let heads: HashSet<NodeId> = self.frames.frames[frame].variables.iter().map(|v| v.merge).collect();
        let mut seen = HashSet::new();
        let mut todo: Vec<ValueId> = values.into_iter().collect();
        while let Some(v) = todo.pop() {
            let node = self.graph.value(v).producer;
            // Whether there is a next iteration is the loop's own business; a loop inside needs its condition.
            let is_condition = self.dialect.structure(self.graph.node(node)) == Structure::LoopCond;
            if is_condition && self.frames.innermost_of(node) == Some(frame) {
                continue;
            }
            let is_inside = self.frames.contains(frame, node) && !heads.contains(&node);
            if (is_inside || self.is_exit_into(frame, node)) && seen.insert(node) {
                todo.extend(self.graph.node(node).present_inputs());
            }
        }
        let mut nodes: Vec<NodeId> = seen.into_iter().collect();
        nodes.sort_unstable_by_key(|n| self.order.position[n.idx()]);
        nodes
    }

    /// The end of a loop inside `frame`.
    fn is_exit_into(&self, frame: usize, node: NodeId) -> bool {
        let inner = self.frames.frames.iter().filter(|f| f.parent == Some(frame));
        inner.flat_map(|f| &f.variables).any(|v| v.exits.contains(&node))
    }

    /// What the inputs of a Merge need on their own side, nested conditionals included.
    fn slices(&self, merge: NodeId) -> Slices {
        let join = &self.branches.joins[&merge];
        let inputs = &self.graph.node(merge).inputs;
        let slice = |(side, &input): (usize, &usize)| {
            let mut seen = HashSet::new();
            let mut todo: Vec<ValueId> = inputs.get(input).copied().flatten().into_iter().collect();
            while let Some(v) = todo.pop() {
                let node = self.graph.value(v).producer;
                if self.branches.needs(node, (join.predicate, side)) && seen.insert(node) {
                    todo.extend(self.graph.node(node).present_inputs());
                }
            }
            seen
        };
        Slices { sides: join.inputs.iter().enumerate().map(slice).collect() }
    }

    /// One conditional per Merge, or one for all Merges of a predicate whose sides share computations.
    fn conds(&self, merges: &[(NodeId, &Slices)], group: bool) -> Vec<Cond> {
        let mut leader: Vec<usize> = (0..merges.len()).collect();
        if group {
            let mut first_with: HashMap<(ValueId, NodeId), usize> = HashMap::new();
            for (i, (merge, slices)) in merges.iter().enumerate() {
                let predicate = self.branches.joins[merge].predicate;
                for &node in slices.sides.iter().flatten().filter(|n| self.computes(**n)) {
                    let j = *first_with.entry((predicate, node)).or_insert(i);
                    let (a, b) = (root(&leader, i), root(&leader, j));
                    leader[a.max(b)] = a.min(b);
                }
            }
        }
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for i in 0..merges.len() {
            groups.entry(root(&leader, i)).or_default().push(i);
        }
        groups.into_values().map(|members| self.cond(merges, &members)).collect()
    }

    fn cond(&self, merges: &[(NodeId, &Slices)], members: &[usize]) -> Cond {
        let sorted = |side: usize| {
            let of = |i: usize| merges[i].1.sides.get(side).into_iter().flatten().copied();
            let all: HashSet<NodeId> = members.iter().flat_map(|&i| of(i)).collect();
            let mut all: Vec<NodeId> = all.into_iter().collect();
            all.sort_unstable_by_key(|n| self.order.position[n.idx()]);
            all
        };
        Cond {
            predicate: self.branches.joins[&merges[members[0]].0].predicate,
            merges: members.iter().map(|&i| merges[i].0).collect(),
            sides: (0..merges[members[0]].1.sides.len()).map(sorted).collect(),
        }
    }

    /// Neither a constant nor mere wiring.
    fn computes(&self, node: NodeId) -> bool {
        let node = self.graph.node(node);
        node.kind == NodeKind::Op
            && !matches!(
                self.dialect.structure(node),
                Structure::Alias | Structure::Switch | Structure::SwitchN | Structure::Effect
            )
    }

    /// Items in an order in which each comes after what it reads; `None` where conditionals wait for each other.
    fn sort(&self, items: Vec<Item>) -> Option<Vec<Item>> {
        let mut maker: HashMap<NodeId, usize> = HashMap::new();
        for (i, item) in items.iter().enumerate() {
            match item {
                Item::Node(n) => _ = maker.insert(*n, i),
                Item::Cond(c) => maker.extend(c.merges.iter().map(|m| (*m, i))),
                Item::Loop(l) => maker.extend(l.exits.iter().map(|e| (*e, i))),
            }
        }
        let mut readers: Vec<Vec<usize>> = vec![Vec::new(); items.len()];
        let mut waiting = vec![0usize; items.len()];
        for (i, item) in items.iter().enumerate() {
            let mut needs: Vec<usize> = self.reads(item).filter_map(|p| maker.get(&p).copied()).collect();
            needs.sort_unstable();
            needs.dedup();
            if !matches!(item, Item::Node(_)) && needs.contains(&i) {
                return None;
            }
            for n in needs.into_iter().filter(|&n| n != i) {
                // A plain node that comes later in the order is the back edge of a cycle or a loop.
                if self.position(&items[n]) < self.position(&items[i]) || !matches!(items[n], Item::Node(_)) {
                    readers[n].push(i);
                    waiting[i] += 1;
                }
            }
        }
        let key = |i: usize| Reverse((self.position(&items[i]), i));
        let mut ready: BinaryHeap<_> = (0..items.len()).filter(|&i| waiting[i] == 0).map(key).collect();
        let mut sorted = Vec::with_capacity(items.len());
        while let Some(Reverse((_, i))) = ready.pop() {
            sorted.push(i);
            for &r in &readers[i] {
                waiting[r] -= 1;
                if waiting[r] == 0 {
                    ready.push(key(r));
                }
            }
        }
        (sorted.len() == items.len()).then(|| sorted.iter().map(|&i| items[i].clone()).collect())
    }

    fn position(&self, item: &Item) -> usize {
        match item {
            Item::Node(n) => self.order.position[n.idx()],
            Item::Cond(c) => c.merges.iter().map(|m| self.order.position[m.idx()]).max().unwrap_or(0),
            Item::Loop(l) => l.nodes.iter().map(|m| self.order.position[m.idx()]).max().unwrap_or(0),
        }
    }

    /// Producers of everything that an item reads, those inside a conditional included.
    fn reads<'s>(&'s self, item: &'s Item) -> Box<dyn Iterator<Item = NodeId> + 's> {
        let of = |n: &NodeId| self.graph.node(*n).present_inputs().map(|v| self.graph.value(v).producer);
        match item {
            Item::Node(n) => Box::new(of(n)),
            Item::Loop(l) => Box::new(l.nodes.iter().flat_map(of)),
            Item::Cond(c) => Box::new(
                c.sides.iter().flatten().chain(&c.merges).flat_map(of).chain([self.graph.value(c.predicate).producer]),
            ),
        }
    }
}

struct Slices {
    sides: Vec<HashSet<NodeId>>,
}

fn root(leader: &[usize], mut i: usize) -> usize {
    while leader[i] != i {
        i = leader[i];
    }
    i
}
