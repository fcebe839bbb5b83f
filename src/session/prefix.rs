//! Where the frozen part of a model before the first trainable weight ends; what it gives is kept for each example
//! ([`super::cached_step`]), so that later epochs compute only what follows.
//!
//! A value can be kept where it depends on no trainable constant and on no randomness. Cheap values (masks, casts of ids) are
//! computed again; kept are those behind a matrix product or convolution.

use std::collections::{HashMap, HashSet};

use crate::program::{InstrKind, Program, Value};
use crate::specialise::{DropoutPolicy, Mode};

use super::understand::Understood;

/// Ops that make a value worth keeping.
const HEAVY: &[&str] = &["matmul", "einsum", "conv", "depthwise_conv"];
/// How many of them must stand one behind the other, so that keeping the result is worth its memory.
const LEAST_HEAVY: u32 = 3;

/// Where the frozen part ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frontier {
    /// Frozen values that something trainable or random reads.
    pub values: Vec<Value>,
    /// Feeds that they depend on.
    pub feeds: Vec<Value>,
}

/// What is known of a value on the way.
#[derive(Clone, Copy, Default)]
struct State {
    /// A trainable constant or randomness is behind it.
    changes: bool,
    /// Heavy ops one behind the other.
    heavy: u32,
    /// Feeds behind it, by index.
    feeds: u128,
}

impl State {
    fn with(self, other: Self) -> Self {
        Self {
            changes: self.changes || other.changes,
            heavy: self.heavy.max(other.heavy),
            feeds: self.feeds | other.feeds,
        }
    }
}

/// The frontier for one mode on the way to `wanted`; `None` where nothing is worth keeping.
pub fn frontier(understood: &Understood, mode: Mode, wanted: &[Value]) -> Option<Frontier> {
    let program = &understood.program;
    if program.feeds.len() > 128 {
        return None;
    }
    let (mut passes, mut drops) = (HashMap::new(), HashMap::new());
    for (site, policy) in understood.sites.iter().zip(understood.dropout_policies()) {
        let is_absent = policy == DropoutPolicy::Off || mode == Mode::Eval && policy != DropoutPolicy::AsInFile;
        if !site.block.is_empty() {
            continue;
        }
        if is_absent {
            passes.insert(site.output, site.input);
        } else {
            drops.insert(site.output, site.input);
        }
    }
    let states = states(understood, &passes, &drops);
    let mut live: HashSet<Value> = HashSet::new();
    let mut todo: Vec<Value> = wanted.to_vec();
    let mut found: Vec<Value> = Vec::new();
    while let Some(v) = todo.pop() {
        let state = states[v.idx()];
        if !state.changes {
            if state.heavy >= LEAST_HEAVY && state.feeds != 0 && program.fact(v).dtype.is_float() && !found.contains(&v)
            {
                found.push(v);
            }
            continue;
        }
        if !live.insert(v) {
            continue;
        }
        match (passes.get(&v).or(drops.get(&v)), program.producer(v)) {
            (Some(input), _) => todo.push(*input),
            (None, Some((_, instr))) => todo.extend(&instr.inputs),
            _ => {}
        }
    }
    // Where the results themselves are frozen there is nothing to train towards.
    if found.is_empty() || wanted.iter().any(|w| found.contains(w)) {
        return None;
    }
    found.sort();
    let all = found.iter().fold(0, |bits, v| bits | states[v.idx()].feeds);
    let feeds = program.feeds.iter().enumerate().filter(|(i, _)| all >> i & 1 == 1).map(|(_, f)| f.value).collect();
    Some(Frontier { values: found, feeds })
}

fn states(understood: &Understood, passes: &HashMap<Value, Value>, drops: &HashMap<Value, Value>) -> Vec<State> {
    let program = &understood.program;
    let mut states = vec![State::default(); program.values.len()];
    for (i, feed) in program.feeds.iter().enumerate() {
        states[feed.value.idx()].feeds = 1 << i;
    }
    for t in &understood.trainable {
        states[t.value.idx()].changes = true;
    }
    for instr in &program.instrs {
        let (is_random, is_heavy) = match &instr.kind {
            InstrKind::Op(op) => (op.is_random(), HEAVY.contains(&op.info().name)),
            InstrKind::If(b) => (is_random(&b.then_block) || is_random(&b.else_block), true),
            InstrKind::Loop(b) => (is_random(&b.body) || is_random(&b.cond), true),
        };
        let own = State { changes: is_random, heavy: 0, feeds: 0 };
        let mut all = instr.inputs.iter().fold(own, |s, v| s.with(states[v.idx()]));
        all.heavy += u32::from(is_heavy);
        for &out in &instr.outputs {
            states[out.idx()] = match passes.get(&out) {
                Some(input) => states[input.idx()],
                None => State { changes: all.changes || drops.contains_key(&out), ..all },
            };
        }
    }
    states
}

fn is_random(program: &Program) -> bool {
    program.instrs.iter().any(|i| match &i.kind {
        InstrKind::Op(op) => op.is_random(),
        InstrKind::If(b) => is_random(&b.then_block) || is_random(&b.else_block),
        InstrKind::Loop(b) => is_random(&b.body) || is_random(&b.cond),
    })
}
