//! Groups instructions for fusion. A group runs as one instruction, so nothing outside may need one member and be needed by
//! another: instructions are kept in an order in which every group is one place, and a merge that would break it is refused.

use std::collections::BTreeMap;

use crate::program::{Program, Value};

use super::rows_translate::{Class, Classes, Space, fit, own_space};

/// Members in program order; a single member is an instruction that stays as it is.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) space: Option<Space>,
    pub(super) members: Vec<usize>,
    pub(super) classes: Classes,
}

/// All instructions in an order in which each group stands at one place after everything it needs.
pub(super) struct Grouping {
    pub(super) groups: Vec<Group>,
    /// Indices into `groups`, in order of execution.
    pub(super) order: Vec<usize>,
    /// The group of each instruction.
    pub(super) of: Vec<usize>,
}

struct Grouper<'p> {
    program: &'p Program,
    groups: Vec<Group>,
    of: Vec<usize>,
    order: Vec<usize>,
    position: Vec<usize>,
    /// The group that read each value from outside as a whole matrix last.
    reader: BTreeMap<Value, usize>,
}

pub(super) fn group(program: &Program) -> Grouping {
    let n = program.instrs.len();
    let mut g = Grouper {
        program,
        groups: Vec::with_capacity(n),
        of: vec![usize::MAX; n],
        order: Vec::with_capacity(n),
        position: Vec::with_capacity(n),
        reader: BTreeMap::new(),
    };
    for i in 0..n {
        g.add(i);
    }
    let order = g.order.into_iter().filter(|&k| !g.groups[k].members.is_empty()).collect();
    Grouping { groups: g.groups, order, of: g.of }
}

impl Grouper<'_> {
    /// Places instruction `i` alone, then lets it join groups.
    fn add(&mut self, i: usize) {
        let instr = &self.program.instrs[i];
        let own = self.groups.len();
        let space = own_space(self.program, instr);
        let mut classes = Classes::new();
        if let Some(class) = space.and_then(|s| fit(self.program, instr, s, &Classes::new())) {
            classes.insert(instr.outputs[0], class);
        }
        self.groups.push(Group { space, members: vec![i], classes });
        self.of[i] = own;
        self.position.push(self.order.len());
        self.order.push(own);
        let mut home = own;
        for candidate in self.candidates(i) {
            if let Some(merged) = self.try_join(candidate, home) {
                home = merged;
            }
        }
        self.note_reads(i, home);
    }

    /// Groups that made an operand of `i`, newest first, then groups that read the same matrix.
    fn candidates(&self, i: usize) -> Vec<usize> {
        let instr = &self.program.instrs[i];
        let mut makers: Vec<usize> =
            instr.inputs.iter().filter_map(|&v| self.program.producer(v)).map(|(p, _)| self.of[p]).collect();
        makers.sort_by_key(|&g| std::cmp::Reverse(self.position[g]));
        makers.extend(instr.inputs.iter().filter_map(|v| self.reader.get(v)).copied());
        let mut out: Vec<usize> = Vec::new();
        for g in makers {
            if self.groups[g].space.is_some() && !out.contains(&g) {
                out.push(g);
            }
        }
        out
    }

    fn note_reads(&mut self, i: usize, home: usize) {
        let Some(space) = self.groups[home].space else { return };
        for &v in &self.program.instrs[i].inputs {
            let inside = self.groups[home].classes.contains_key(&v);
            let whole = self.program.fact(v).dims().is_some_and(|d| {
                d.last() == Some(&space.cols) && d.iter().product::<usize>() == space.rows * space.cols
            });
            if whole && !inside {
                self.reader.insert(v, home);
            }
        }
    }

    /// Merges the groups `home` and `other`, where all still fits and no order is broken.
    fn try_join(&mut self, other: usize, home: usize) -> Option<usize> {
        if other == home || self.groups[other].members.is_empty() {
            return None;
        }
        let space = self.groups[other].space?;
        if self.groups[home].space.is_some_and(|s| s != space) {
            return None;
        }
        let mut members: Vec<usize> =
            self.groups[other].members.iter().chain(&self.groups[home].members).copied().collect();
        members.sort_unstable();
        let classes = match self.groups[home].members[..] {
            [i] if members.last() == Some(&i) => self.classes_with(other, i)?,
            _ => self.classes(space, &members)?,
        };
        let (first, second) = if self.position[other] < self.position[home] { (other, home) } else { (home, other) };
        let between = self.ancestors_between(first, second)?;
        self.reorder(first, second, &between);
        let moved = std::mem::take(&mut self.groups[second].members);
        for &m in &moved {
            self.of[m] = first;
        }
        for heir in self.reader.values_mut() {
            if *heir == second {
                *heir = first;
            }
        }
        self.groups[second].space = None;
        self.groups[second].classes.clear();
        self.groups[first] = Group { space: Some(space), members, classes };
        Some(first)
    }

    /// The usual case: one instruction after all members of a group.
    fn classes_with(&self, group: usize, i: usize) -> Option<Classes> {
        let (group, instr) = (&self.groups[group], &self.program.instrs[i]);
        if instr.inputs.iter().any(|v| group.classes.get(v) == Some(&Class::Sum)) {
            return None;
        }
        let class = fit(self.program, instr, group.space?, &group.classes)?;
        let mut classes = group.classes.clone();
        classes.insert(instr.outputs[0], class);
        Some(classes)
    }

    fn classes(&self, space: Space, members: &[usize]) -> Option<Classes> {
        let mut classes = Classes::new();
        for &m in members {
            let instr = &self.program.instrs[m];
            let class = fit(self.program, instr, space, &classes)?;
            classes.insert(instr.outputs[0], class);
        }
        // Sums leave the group: no member may read one.
        let reads_sum =
            members.iter().flat_map(|&m| &self.program.instrs[m].inputs).any(|v| classes.get(v) == Some(&Class::Sum));
        (!reads_sum).then_some(classes)
    }

    fn needs(&self, g: usize) -> Vec<usize> {
        let mut out = Vec::new();
        for &m in &self.groups[g].members {
            for &v in &self.program.instrs[m].inputs {
                if let Some((p, _)) = self.program.producer(v)
                    && self.of[p] != g
                {
                    out.push(self.of[p]);
                }
            }
        }
        out.sort_unstable();
        out.dedup();
        out
    }

    /// What `second` needs that stands between both; `None` where one of these needs `first`.
    fn ancestors_between(&self, first: usize, second: usize) -> Option<Vec<usize>> {
        let low = self.position[first];
        let mut seen = Vec::new();
        let mut todo: Vec<usize> = self.needs(second).into_iter().filter(|&n| n != first).collect();
        while let Some(g) = todo.pop() {
            if self.position[g] < low || seen.contains(&g) {
                continue;
            }
            if g == first {
                return None;
            }
            seen.push(g);
            todo.extend(self.needs(g));
        }
        Some(seen)
    }

    /// Moves what `second` needs before `first`, so that both may stand at the place of `first`.
    fn reorder(&mut self, first: usize, second: usize, needed: &[usize]) {
        let (low, high) = (self.position[first], self.position[second]);
        let region: Vec<usize> = self.order[low..=high].to_vec();
        let (before, after): (Vec<usize>, Vec<usize>) = region.into_iter().partition(|g| needed.contains(g));
        for (k, g) in before.into_iter().chain(after).enumerate() {
            self.order[low + k] = g;
            self.position[g] = low + k;
        }
    }
}
