//! How a constant is used, seen through what only changes its type, shape or extent, and into blocks of conditionals and
//! loops.

use std::collections::{HashMap, HashSet};

use smallvec::SmallVec;

use crate::ops::elementwise::{Binary, Cast, StopGradient, Unary};
use crate::ops::shape::{BroadcastTo, Concat, Reshape, Slice, StridedSlice, Tile, Transpose};
use crate::ops::with_default::WithDefault;
use crate::program::{Def, Instr, InstrKind, Program, Value};

/// Steps of arithmetic between the form in which a weight is stored and that in which it is used.
const MAX_FORMS: usize = 4;
/// Readers that are followed at most.
const MAX_FOLLOWED: usize = 64;
/// How far back it is looked whether a value comes from constants alone.
const MAX_BACK: usize = 8;

/// A program and all its blocks, with readers.
#[derive(Debug)]
pub(super) struct Index<'p> {
    pub(super) programs: Vec<&'p Program>,
    readers: Vec<Vec<SmallVec<[usize; 4]>>>,
    /// Blocks of an instruction: (program, instruction) → first block and second.
    blocks: HashMap<(usize, usize), (usize, usize)>,
}

/// One reader of a constant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    /// Index into [`Index::programs`].
    pub(super) program: usize,
    pub(super) instr: usize,
    pub(super) operand: usize,
    /// A part of it is taken on the way (a slice).
    pub(super) is_part: bool,
    /// It passes a gradient stop on the way.
    pub(super) is_stopped: bool,
}

impl<'p> Index<'p> {
    pub(super) fn new(program: &'p Program) -> Self {
        let mut index = Self { programs: Vec::new(), readers: Vec::new(), blocks: HashMap::new() };
        index.add(program);
        index
    }

    fn add(&mut self, program: &'p Program) -> usize {
        let id = self.programs.len();
        self.programs.push(program);
        self.readers.push(program.readers());
        for (i, instr) in program.instrs.iter().enumerate() {
            let blocks = match &instr.kind {
                InstrKind::Op(_) => continue,
                InstrKind::If(b) => (self.add(&b.then_block), self.add(&b.else_block)),
                InstrKind::Loop(b) => (self.add(&b.body), self.add(&b.cond)),
            };
            self.blocks.insert((id, i), blocks);
        }
        id
    }

    pub(super) fn readers(&self, program: usize, v: Value) -> &[usize] {
        &self.readers[program][v.idx()]
    }

    pub(super) fn instr(&self, at: &Use) -> &'p Instr {
        &self.programs[at.program].instrs[at.instr]
    }

    /// Every reader of a value, seen through what keeps its elements.
    pub(super) fn uses(&self, program: usize, v: Value) -> Vec<Use> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        let mut todo = vec![(program, v, false, false)];
        while let Some((p, v, is_part, is_stopped)) = todo.pop() {
            if !seen.insert((p, v)) {
                continue;
            }
            let mut last = None;
            for &r in self.readers(p, v) {
                if last.replace(r) == Some(r) {
                    continue;
                }
                let instr = &self.programs[p].instrs[r];
                for (operand, _) in instr.inputs.iter().enumerate().filter(|(_, i)| **i == v) {
                    if let Some(blocks) = self.blocks.get(&(p, r)) {
                        self.enter(instr, *blocks, operand, &mut |block, feed| {
                            todo.push((block, feed, is_part, is_stopped));
                        });
                    } else if let (true, Some(&out), Some((part, stop))) =
                        (is_data(instr, operand), instr.outputs.first(), passes(instr))
                    {
                        todo.push((p, out, is_part || part, is_stopped || stop));
                    } else {
                        found.push(Use { program: p, instr: r, operand, is_part, is_stopped });
                    }
                }
            }
        }
        found.sort_by_key(|u| (u.program, u.instr, u.operand));
        found
    }

    /// Readers of what is computed element by element from a value and other constants alone: a weight that is stored in
    /// another form (its logarithm, a direction whose length is stored beside it).
    pub(super) fn uses_of_other_form(&self, program: usize, v: Value) -> Vec<Use> {
        let mut level = self.uses(program, v);
        for _ in 0..MAX_FORMS {
            let mut next = Vec::new();
            for at in &level {
                let (p, instr) = (self.programs[at.program], self.instr(at));
                let is_arithmetic = instr.op_as::<Unary>().is_some() || instr.op_as::<Binary>().is_some();
                let is_of_constants = instr.inputs.iter().all(|&i| is_constant(p, i, 0));
                match instr.outputs.first() {
                    Some(&out) if is_arithmetic && is_of_constants => next.extend(self.uses(at.program, out)),
                    _ => next.push(*at),
                }
            }
            next.sort_by_key(|u| (u.program, u.instr, u.operand));
            next.dedup_by_key(|u| (u.program, u.instr, u.operand));
            if next.len() > MAX_FOLLOWED {
                break;
            }
            level = next;
        }
        level
    }

    fn enter(&self, instr: &Instr, blocks: (usize, usize), operand: usize, push: &mut dyn FnMut(usize, Value)) {
        let is_if = matches!(instr.kind, InstrKind::If(_));
        let Some(feed) = (if is_if { operand.checked_sub(1) } else { Some(operand) }) else { return };
        let both = if is_if { [Some(blocks.0), Some(blocks.1)] } else { [Some(blocks.0), None] };
        for block in both.into_iter().flatten() {
            if let Some(f) = self.programs[block].feeds.get(feed) {
                push(block, f.value);
            }
        }
    }
}

/// Whether an operand is what an instruction of [`passes`] keeps.
fn is_data(instr: &Instr, operand: usize) -> bool {
    operand == 0 || instr.op_as::<Concat>().is_some()
}

/// Whether an instruction keeps the elements of its first input: `(takes a part, stops the gradient)`.
fn passes(instr: &Instr) -> Option<(bool, bool)> {
    let keeps = instr.op_as::<Cast>().is_some()
        || instr.op_as::<Reshape>().is_some()
        || instr.op_as::<Transpose>().is_some()
        || instr.op_as::<BroadcastTo>().is_some()
        || instr.op_as::<Tile>().is_some()
        || instr.op_as::<WithDefault>().is_some();
    if keeps {
        return Some((false, false));
    }
    let part = instr.op_as::<Slice>().is_some()
        || instr.op_as::<StridedSlice>().is_some()
        || instr.op_as::<Concat>().is_some();
    if part {
        return Some((true, false));
    }
    // `statistic` marks a running mean or variance.
    let stops = instr.op_as::<StopGradient>().is_some() || instr.op().is_some_and(|op| op.info().name == "statistic");
    stops.then_some((false, true))
}

/// Whether a value is computed from constants alone.
pub(super) fn is_constant(program: &Program, v: Value, depth: usize) -> bool {
    match program.def(v) {
        Def::Constant(_) => true,
        Def::Output { instr, .. } if depth < MAX_BACK => {
            let instr = &program.instrs[instr];
            let is_plain = instr.op().is_some_and(|op| !op.is_random());
            is_plain && instr.inputs.iter().all(|&i| is_constant(program, i, depth + 1))
        }
        _ => false,
    }
}

/// The value before what only changes type, shape or extent.
pub(super) fn behind(program: &Program, v: Value) -> Value {
    let mut at = v;
    while let Def::Output { instr, .. } = program.def(at) {
        let instr = &program.instrs[instr];
        if passes(instr).is_none() || instr.op_as::<Concat>().is_some() {
            break;
        }
        at = instr.inputs[0];
    }
    at
}
