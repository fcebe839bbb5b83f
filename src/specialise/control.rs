//! Conditionals and loops: inlined or unrolled where what decides is known, else kept with specialised blocks.

use crate::program::{Builder, IfBlocks, Instr, InstrKind, LoopBlocks, Program, Value};
use crate::recognize::dropout::BlockPath;
use crate::tensor::{Fact, PartialShape};

use super::SpecialiseError;
use super::emit::{Emitter, Slot, Target, copy_key, place};

/// Unrolling ends here; such a loop stays a loop.
const MAX_ITERATIONS: u64 = 4096;
const MAX_UNROLLED_INSTRS: usize = 200_000;
/// Rounds until the shapes of a loop's state no longer change (each round only forgets dimensions).
const MAX_SHAPE_ROUNDS: usize = 16;

impl Emitter<'_> {
    /// `path` is that of the first block.
    pub(super) fn conditional(
        &mut self,
        t: &mut Target,
        program: &Program,
        instr: &Instr,
        blocks: &IfBlocks,
        inputs: &[Slot],
        path: &BlockPath,
    ) -> Vec<Slot> {
        let Slot::Is(predicate) = inputs[0] else { return vec![inputs[0]; instr.outputs.len()] };
        let decided = t.known.get(&t.program, predicate).and_then(|c| c.to_f64s()?.first().map(|p| *p != 0.0));
        match decided {
            Some(true) => self.write_block(t, &blocks.then_block, path, &inputs[1..]),
            Some(false) => self.write_block(t, &blocks.else_block, &other(path), &inputs[1..]),
            None => {
                if !t.is_block {
                    self.note_deciding(&t.program, predicate);
                }
                self.open_conditional(t, program, instr, blocks, inputs, path)
            }
        }
    }

    fn open_conditional(
        &mut self,
        t: &mut Target,
        program: &Program,
        instr: &Instr,
        blocks: &IfBlocks,
        inputs: &[Slot],
        path: &BlockPath,
    ) -> Vec<Slot> {
        let facts = facts_of(t, &inputs[1..], |f| f.clone());
        let (mut then_block, then_slots) = self.block(&blocks.then_block, path, &facts);
        let (mut else_block, else_slots) = self.block(&blocks.else_block, &other(path), &facts);
        // An output that one branch cannot give is not to be had at all.
        let pairs: Vec<(Slot, Slot)> = then_slots.into_iter().zip(else_slots).collect();
        let is_good = |(a, b): &(Slot, Slot)| a.value().is_some() && b.value().is_some();
        then_block.program.outputs = pairs.iter().filter(|p| is_good(p)).filter_map(|p| p.0.value()).collect();
        else_block.program.outputs = pairs.iter().filter(|p| is_good(p)).filter_map(|p| p.1.value()).collect();
        let out_facts: Vec<Fact> = then_block
            .program
            .outputs
            .iter()
            .zip(&else_block.program.outputs)
            .map(|(&a, &b)| join(then_block.program.fact(a), else_block.program.fact(b)))
            .collect();
        let values: Vec<Value> = inputs.iter().filter_map(|s| s.value()).collect();
        let blocks = IfBlocks { then_block: then_block.program, else_block: else_block.program };
        let mut b = Builder::new(&mut t.program);
        b.set_origin(instr.origin.clone());
        let outputs = b.push(InstrKind::If(Box::new(blocks)), &values, out_facts);
        let mut outputs = outputs.into_iter();
        let slots: Vec<Slot> = pairs
            .iter()
            .map(|pair| match pair {
                p if is_good(p) => outputs.next().map_or(Slot::Unset, Slot::Is),
                (Slot::Is(_), bad) | (bad, _) => *bad,
            })
            .collect();
        let mut b = Builder::new(&mut t.program);
        for (&old, slot) in instr.outputs.iter().zip(&slots) {
            if let Slot::Is(new) = slot {
                copy_key(&mut b, program, old, *new);
            }
        }
        slots
    }

    /// A block that stays a block: a program of its own with feeds of the given facts; `None` for inputs that cannot be
    /// had, which get no feed.
    fn block(&mut self, block: &Program, path: &BlockPath, facts: &[Result<Fact, Slot>]) -> (Target, Vec<Slot>) {
        let mut t = Target::default();
        t.is_block = true;
        let mut slots = Vec::with_capacity(facts.len());
        let mut b = Builder::new(&mut t.program);
        for (feed, fact) in block.feeds.iter().zip(facts) {
            slots.push(match fact {
                Ok(fact) => {
                    let v = b.feed(feed.name.clone(), fact.clone());
                    copy_key(&mut b, block, feed.value, v);
                    Slot::Is(v)
                }
                Err(bad) => *bad,
            });
        }
        let outputs = self.write_block(&mut t, block, path, &slots);
        (t, outputs)
    }

    /// `path` is that of the body; the condition's is the other one.
    pub(super) fn repeated(
        &mut self,
        t: &mut Target,
        instr: &Instr,
        blocks: &LoopBlocks,
        inputs: &[Slot],
        path: &BlockPath,
    ) -> Vec<Slot> {
        let before = t.checkpoint();
        let n_reasons = self.reasons.len();
        match self.unrolled(t, blocks, inputs, path) {
            Some(outputs) => outputs,
            None => {
                t.roll_back(before);
                self.reasons.truncate(n_reasons);
                self.kept_loop(t, instr, blocks, inputs, path)
            }
        }
    }

    /// The iterations one after the other; `None` where their number is not known, or too large.
    fn unrolled(
        &mut self,
        t: &mut Target,
        blocks: &LoopBlocks,
        inputs: &[Slot],
        path: &BlockPath,
    ) -> Option<Vec<Slot>> {
        let outer_iteration = self.iteration;
        let n_before = t.program.instrs.len();
        let (mut state, invariants) = (inputs[..blocks.n_state].to_vec(), &inputs[blocks.n_state..]);
        let mut result = None;
        for i in 0..MAX_ITERATIONS {
            let all: Vec<Slot> = state.iter().chain(invariants).copied().collect();
            let more = self.write_block(t, &blocks.cond, &other(path), &all);
            let Some(&Slot::Is(more)) = more.first() else { break };
            let Some(content) = t.known.get(&t.program, more) else {
                if !t.is_block {
                    self.note_deciding(&t.program, more);
                }
                break;
            };
            if content.to_f64s().and_then(|c| c.first().copied()) == Some(0.0) {
                result = Some(state.clone());
                break;
            }
            if t.program.instrs.len() - n_before > MAX_UNROLLED_INSTRS {
                break;
            }
            self.iteration = outer_iteration.wrapping_mul(MAX_ITERATIONS).wrapping_add(i + 1);
            state = self.write_block(t, &blocks.body, path, &all);
        }
        self.iteration = outer_iteration;
        result
    }

    fn kept_loop(
        &mut self,
        t: &mut Target,
        instr: &Instr,
        blocks: &LoopBlocks,
        inputs: &[Slot],
        path: &BlockPath,
    ) -> Vec<Slot> {
        let n = blocks.n_state;
        if let Some(bad) = inputs[..n].iter().find(|s| s.value().is_none()) {
            return vec![*bad; n];
        }
        // Contents of the state change from one iteration to the next, shapes may.
        let mut facts = facts_of(t, &inputs[..n], |f| Fact::new(f.dtype, f.shape.clone()));
        facts.extend(facts_of(t, &inputs[n..], Fact::clone));
        let mut rounds = 0;
        let (mut body, outputs) = loop {
            let (body, outputs) = self.block(&blocks.body, path, &facts);
            if let Some(bad) = outputs.iter().find(|s| s.value().is_none()) {
                return vec![*bad; n];
            }
            let mut changed = false;
            for (fact, out) in facts.iter_mut().zip(&outputs) {
                if let (Ok(fact), Slot::Is(v)) = (fact, out) {
                    let joined = join(fact, body.program.fact(*v));
                    changed |= joined.shape != fact.shape;
                    *fact = joined;
                }
            }
            rounds += 1;
            if !changed {
                break (body, outputs);
            }
            if rounds > MAX_SHAPE_ROUNDS {
                let why = "the shapes of its carried values keep changing".to_owned();
                let reason = SpecialiseError::Misfit { node: place(instr), op: "loop".to_owned(), why };
                return self.bad(reason, n);
            }
        };
        body.program.outputs = outputs.iter().filter_map(|s| s.value()).collect();
        let (mut cond, more) = self.block(&blocks.cond, &other(path), &facts);
        let Some(&Slot::Is(more)) = more.first() else {
            return vec![more.first().copied().unwrap_or(Slot::Unset); n];
        };
        cond.program.outputs = vec![more];
        let values: Vec<Value> = inputs.iter().filter_map(|s| s.value()).collect();
        let state_facts = facts[..n].iter().filter_map(|f| f.as_ref().ok().cloned()).collect();
        let blocks = LoopBlocks { cond: cond.program, body: body.program, n_state: n };
        let mut b = Builder::new(&mut t.program);
        b.set_origin(instr.origin.clone());
        b.push(InstrKind::Loop(Box::new(blocks)), &values, state_facts).into_iter().map(Slot::Is).collect()
    }
}

/// The path of a block's sibling.
fn other(path: &BlockPath) -> BlockPath {
    let mut out = path.clone();
    if let Some(last) = out.last_mut() {
        last.1 = 1;
    }
    out
}

fn facts_of(t: &Target, slots: &[Slot], f: impl Fn(&Fact) -> Fact) -> Vec<Result<Fact, Slot>> {
    slots.iter().map(|s| s.value().map_or(Err(*s), |v| Ok(f(t.program.fact(v))))).collect()
}

/// What holds for a value that is one of two.
fn join(a: &Fact, b: &Fact) -> Fact {
    let shape: PartialShape = a.shape.join(&b.shape);
    Fact::new(a.dtype, shape)
}
