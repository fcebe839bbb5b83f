//! Instruction by instruction from the spelled program into the new one.
//!
//! A value that cannot be had (a feed is missing, an op is not understood, shapes do not fit) is kept as a reason and
//! passed on to whatever reads it; it becomes an error only where a fetch needs it.

use std::collections::HashMap;

use crate::graph::NodeKey;
use crate::ops::make;
use crate::ops::opaque::Opaque;
use crate::ops::random::{Dropout, site_at};
use crate::ops::with_default::WithDefault;
use crate::program::verify::live_values;
use crate::program::{Builder, ConstantDef, Def, Instr, InstrKind, Misfit, Op, Program, Value, op};
use crate::recognize::dropout::{BlockPath, DropoutSite, RateSource};
use crate::tensor::{Fact, PartialShape};

use super::fold::{Known, evaluate};
use super::{DropoutPolicy, Mode, Request, SpecialiseError};

/// Contents up to this many elements may be built into a program when they decide shapes or branches.
const MAX_BUILT_IN: usize = 1024;

/// Floating-point numbers that may be built in where an op cannot be spelled without them.
const MAX_NUMBERS: usize = 16;

/// The kind of block that an expanded instruction is, in paths.
const EXPANSION: u8 = 2;

/// What has become of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Slot {
    Unset,
    Is(Value),
    /// Index of a reason why it cannot be had.
    Bad(u32),
}

impl Slot {
    pub(super) fn value(self) -> Option<Value> {
        match self {
            Self::Is(v) => Some(v),
            _ => None,
        }
    }
}

/// A constant of the graph is the same one wherever it is read; a literal belongs to its block.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum ConstantKey {
    Node(NodeKey),
    Literal(BlockPath, usize),
}

/// A program that is being written: the result, or a block of it that stays a block.
#[derive(Debug, Default)]
pub(super) struct Target {
    pub(super) program: Program,
    pub(super) known: Known,
    constants: HashMap<ConstantKey, Value>,
    /// A block that stays a block; its feeds are not those of the request.
    pub(super) is_block: bool,
}

/// A state of a target to return to.
#[derive(Debug)]
pub(super) struct Checkpoint {
    instrs: usize,
    values: usize,
    constants: HashMap<ConstantKey, Value>,
    n_constants: usize,
    n_feeds: usize,
}

impl Target {
    pub(super) fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            instrs: self.program.instrs.len(),
            values: self.program.values.len(),
            constants: self.constants.clone(),
            n_constants: self.program.constants.len(),
            n_feeds: self.program.feeds.len(),
        }
    }

    pub(super) fn roll_back(&mut self, to: Checkpoint) {
        self.program.instrs.truncate(to.instrs);
        self.program.values.truncate(to.values);
        self.program.constants.truncate(to.n_constants);
        self.program.feeds.truncate(to.n_feeds);
        self.constants = to.constants;
        self.known.truncate(to.values);
    }

    /// The value of a constant, made at its first use.
    pub(super) fn constant(&mut self, def: &ConstantDef, fact: &Fact, path: &BlockPath, idx: usize) -> Value {
        let key = match &def.node {
            Some(node) => ConstantKey::Node(node.clone()),
            None => ConstantKey::Literal(path.clone(), idx),
        };
        if let Some(&v) = self.constants.get(&key) {
            return v;
        }
        let mut b = Builder::new(&mut self.program);
        let v = b.constant(def.node.clone(), def.payload.clone(), fact.value.clone());
        self.constants.insert(key, v);
        v
    }
}

/// What a pass over the spelled program gives.
#[derive(Debug)]
pub(super) struct Emitted {
    pub(super) program: Program,
    pub(super) map: Vec<Option<Value>>,
    /// Fed values whose content would decide a shape or a branch that is still open.
    pub(super) deciding: Vec<Value>,
    /// Why a fetch cannot be had with what is known so far.
    pub(super) failure: Option<SpecialiseError>,
}

#[derive(Debug)]
pub(super) struct Emitter<'a> {
    pub(super) request: &'a Request,
    sites: HashMap<(BlockPath, Value), (&'a DropoutSite, DropoutPolicy)>,
    pub(super) reasons: Vec<SpecialiseError>,
    /// Fed value here → fed value of the spelled program, where its content could be built in.
    feeds: HashMap<Value, Value>,
    pub(super) deciding: Vec<Value>,
    /// Which iteration of unrolled loops is being written; makes their random sites differ.
    pub(super) iteration: u64,
    /// How many instructions were replaced by what they stand for.
    expansions: usize,
}

impl<'a> Emitter<'a> {
    pub(super) fn run(
        spelled: &Program,
        sites: &'a [DropoutSite],
        request: &'a Request,
        built_in: &[Value],
    ) -> Result<Emitted, SpecialiseError> {
        let policy = |i: usize| request.dropout.get(i).copied().unwrap_or_default();
        let mut emitter = Self {
            request,
            sites: sites
                .iter()
                .enumerate()
                .filter(|&(i, _)| policy(i) != DropoutPolicy::AsInFile)
                .map(|(i, s)| ((s.block.clone(), s.output), (s, policy(i))))
                .collect(),
            reasons: Vec::new(),
            feeds: HashMap::new(),
            deciding: Vec::new(),
            iteration: 0,
            expansions: 0,
        };
        let mut target = Target::default();
        let mut map = vec![Slot::Unset; spelled.values.len()];
        emitter.given(spelled, &mut target, &mut map, built_in)?;
        let needed = emitter.needed(spelled, &Vec::new(), &request.fetches, &map);
        emitter.write(&mut target, spelled, &Vec::new(), &mut map, &needed);
        let mut failure = None;
        for &fetch in &request.fetches {
            match map[fetch.idx()] {
                Slot::Is(v) => target.program.outputs.push(v),
                Slot::Bad(reason) => failure = failure.or(Some(emitter.reasons[reason as usize].clone())),
                Slot::Unset => {
                    let expected = spelled.fact(fetch).describe();
                    let missing = SpecialiseError::MissingFeed { name: spelled.describe(fetch), expected };
                    failure = failure.or(Some(missing));
                }
            }
        }
        emitter.find_open_shapes(&target.program);
        let map = map.into_iter().map(Slot::value).collect();
        Ok(Emitted { program: target.program, map, deciding: emitter.deciding, failure })
    }

    /// Puts pins and feeds in the place of the values that they replace.
    fn given(
        &mut self,
        spelled: &Program,
        target: &mut Target,
        map: &mut [Slot],
        built_in: &[Value],
    ) -> Result<(), SpecialiseError> {
        let mut b = Builder::new(&mut target.program);
        for (v, content) in &self.request.pins {
            check(spelled, *v, &Fact::of_tensor(content))?;
            let new = b.literal(content.clone());
            copy_key(&mut b, spelled, *v, new);
            map[v.idx()] = Slot::Is(new);
        }
        for feed in &self.request.feeds {
            if map[feed.value.idx()] != Slot::Unset {
                continue;
            }
            let fact = Fact::of_dims(feed.dtype, &feed.dims);
            check(spelled, feed.value, &fact)?;
            let content = feed.tensor.as_ref().filter(|_| built_in.contains(&feed.value));
            let new = match content {
                Some(content) => b.literal(content.clone()),
                None => b.feed(spelled.describe(feed.value), fact),
            };
            copy_key(&mut b, spelled, feed.value, new);
            map[feed.value.idx()] = Slot::Is(new);
            let limit = if feed.dtype.is_exact() { MAX_BUILT_IN } else { MAX_NUMBERS };
            if feed.tensor.as_ref().is_some_and(|t| t.len() <= limit) {
                self.feeds.insert(new, feed.value);
            }
        }
        Ok(())
    }

    /// The values that `wanted` need, given what is already there and what dropout sites bypass.
    fn needed(&self, program: &Program, path: &BlockPath, wanted: &[Value], map: &[Slot]) -> Vec<bool> {
        if self.sites.is_empty() && map.iter().all(|s| *s == Slot::Unset) && wanted == program.outputs {
            return live_values(program);
        }
        let mut needed = vec![false; program.values.len()];
        let mut todo: Vec<Value> = wanted.to_vec();
        while let Some(v) = todo.pop() {
            if std::mem::replace(&mut needed[v.idx()], true) || map[v.idx()] != Slot::Unset {
                continue;
            }
            if let Some((site, policy)) = self.site(path, v) {
                todo.push(site.input);
                todo.extend(self.rate_source(site, policy).map(|s| s.value));
            } else if let Some((_, instr)) = program.producer(v) {
                todo.extend(instr.inputs.iter().copied());
            }
        }
        needed
    }

    fn site(&self, path: &BlockPath, output: Value) -> Option<(&'a DropoutSite, DropoutPolicy)> {
        if self.sites.is_empty() { None } else { self.sites.get(&(path.clone(), output)).copied() }
    }

    /// Where the rate is read from, where it is needed at all: in training, and then instead of a default if it is fed.
    fn rate_source(&self, site: &DropoutSite, policy: DropoutPolicy) -> Option<RateSource> {
        let source = site.rate_source?;
        let is_given = self.request.feeds.iter().any(|f| f.value == source.value)
            || self.request.pins.iter().any(|(v, _)| *v == source.value);
        let is_read = self.request.mode == Mode::Train
            && policy == DropoutPolicy::Train
            && (site.rate.is_none() || is_given && site.block.is_empty());
        is_read.then_some(source)
    }

    /// Writes a whole program (or a block in place) into the target.
    fn write(&mut self, t: &mut Target, program: &Program, path: &BlockPath, map: &mut [Slot], needed: &[bool]) {
        for feed in &program.feeds {
            let slot = &mut map[feed.value.idx()];
            if *slot == Slot::Unset && needed[feed.value.idx()] {
                let expected = program.fact(feed.value).describe();
                self.reasons.push(SpecialiseError::MissingFeed { name: feed.name.clone(), expected });
                *slot = Slot::Bad((self.reasons.len() - 1) as u32);
            }
        }
        for (i, constant) in program.constants.iter().enumerate() {
            let v = constant.value;
            if map[v.idx()] == Slot::Unset && needed[v.idx()] {
                let new = t.constant(constant, program.fact(v), path, i);
                copy_key(&mut Builder::new(&mut t.program), program, v, new);
                map[v.idx()] = Slot::Is(new);
            }
        }
        for idx in 0..program.instrs.len() {
            let open = |v: &Value| needed[v.idx()] && map[v.idx()] == Slot::Unset;
            if program.instrs[idx].outputs.iter().any(open) {
                self.instr(t, program, path, idx, map, needed);
            }
        }
    }

    /// A block in place: its instructions in the target, with `inputs` as its feeds.
    pub(super) fn write_block(
        &mut self,
        t: &mut Target,
        block: &Program,
        path: &BlockPath,
        inputs: &[Slot],
    ) -> Vec<Slot> {
        let mut map = vec![Slot::Unset; block.values.len()];
        for (feed, slot) in block.feeds.iter().zip(inputs) {
            map[feed.value.idx()] = *slot;
        }
        let needed = self.needed(block, path, &block.outputs, &map);
        self.write(t, block, path, &mut map, &needed);
        block.outputs.iter().map(|v| map[v.idx()]).collect()
    }

    fn instr(
        &mut self,
        t: &mut Target,
        program: &Program,
        path: &BlockPath,
        idx: usize,
        map: &mut [Slot],
        needed: &[bool],
    ) {
        let instr = &program.instrs[idx];
        let mut replaced: Vec<(Value, Slot)> = Vec::new();
        for &v in instr.outputs.iter().filter(|v| needed[v.idx()]) {
            if let Some((site, policy)) = self.site(path, v) {
                replaced.push((v, self.dropout(t, instr, site, policy, map)));
            }
        }
        let rest = |v: &Value| needed[v.idx()] && map[v.idx()] == Slot::Unset && replaced.iter().all(|(r, _)| r != v);
        if instr.outputs.iter().any(rest) {
            let inputs: Vec<Slot> = instr.inputs.iter().map(|v| map[v.idx()]).collect();
            let outputs = match &instr.kind {
                InstrKind::Op(op) => self.op(t, instr, &**op, &inputs, path),
                InstrKind::If(blocks) => self.conditional(t, program, instr, blocks, &inputs, &step(path, idx, 0)),
                InstrKind::Loop(blocks) => self.repeated(t, instr, blocks, &inputs, &step(path, idx, 0)),
            };
            for (&v, slot) in instr.outputs.iter().zip(outputs) {
                if map[v.idx()] == Slot::Unset {
                    map[v.idx()] = slot;
                }
            }
        }
        for (v, slot) in replaced {
            map[v.idx()] = slot;
        }
        let mut b = Builder::new(&mut t.program);
        for &v in &instr.outputs {
            if let Slot::Is(new) = map[v.idx()] {
                copy_key(&mut b, program, v, new);
            }
        }
    }

    fn op(&mut self, t: &mut Target, instr: &Instr, op: &dyn Op, inputs: &[Slot], path: &BlockPath) -> Vec<Slot> {
        let slots = inputs;
        if let Some(bad) = inputs.iter().find(|s| s.value().is_none()) {
            return vec![*bad; instr.outputs.len()];
        }
        let inputs: Vec<Value> = inputs.iter().filter_map(|s| s.value()).collect();
        if op::downcast::<WithDefault>(op).is_some() {
            // Not fed, else it would not be computed: the default it is.
            return inputs.into_iter().map(Slot::Is).collect();
        }
        if let Some(opaque) = op::downcast::<Opaque>(op) {
            let reason =
                SpecialiseError::Opaque { node: place(instr), op: opaque.op.clone(), why: opaque.reason.clone() };
            return self.bad(reason, instr.outputs.len());
        }
        let facts: Vec<Fact> = inputs.iter().map(|&v| t.program.fact(v).clone()).collect();
        let refs: Vec<&Fact> = facts.iter().collect();
        match op.expand(&refs).map(|done| done.or_else(|m| self.expand_by_numbers(t, op, &inputs, &facts).ok_or(m))) {
            None => {}
            Some(Ok(block)) => {
                // Its literals belong to this place and this iteration alone.
                self.expansions += 1;
                return self.write_block(t, &block, &step(path, self.expansions, EXPANSION), slots);
            }
            Some(Err(m)) => {
                if !t.is_block {
                    let before = self.deciding.len();
                    inputs.iter().for_each(|&v| self.note_deciding(&t.program, v));
                    if self.deciding.len() == before {
                        // No integer decides: perhaps a few numbers do (scales).
                        inputs.iter().skip(1).for_each(|v| self.note_number(*v));
                    }
                }
                return self.misfit(instr, &m);
            }
        }
        let out_facts = match op.infer(&refs) {
            Ok(facts) if facts.len() == instr.outputs.len() => facts,
            Ok(facts) => {
                let m = Misfit(format!("{} outputs inferred, {} expected", facts.len(), instr.outputs.len()));
                return self.misfit(instr, &m);
            }
            Err(m) => {
                let found = facts.iter().map(Fact::describe).collect::<Vec<_>>().join(", ");
                return self.misfit(instr, &Misfit(format!("{m} (inputs: {found})")));
            }
        };
        let folded = evaluate(&t.program, &t.known, op, &inputs, &out_facts);
        let is_exact = out_facts.iter().all(|f| f.dtype.is_exact());
        let InstrKind::Op(shared) = &instr.kind else { return Vec::new() };
        // An unrolled iteration draws numbers of its own.
        let shared = op.at_turn(self.iteration).unwrap_or_else(|| shared.clone());
        let mut b = Builder::new(&mut t.program);
        b.set_origin(instr.origin.clone());
        match folded {
            Some(contents) if is_exact => contents.into_iter().map(|c| Slot::Is(b.literal(c))).collect(),
            contents => {
                let outputs = b.push(InstrKind::Op(shared), &inputs, out_facts);
                for (&v, content) in outputs.iter().zip(contents.into_iter().flatten()) {
                    t.known.remember(v, content);
                }
                outputs.into_iter().map(Slot::Is).collect()
            }
        }
    }

    /// What stands in the place of a recognised site: the input itself, or one dropout instruction.
    fn dropout(
        &mut self,
        t: &mut Target,
        instr: &Instr,
        site: &DropoutSite,
        policy: DropoutPolicy,
        map: &[Slot],
    ) -> Slot {
        let input = map[site.input.idx()];
        let rate = match policy {
            _ if self.request.mode == Mode::Eval => return input,
            DropoutPolicy::Off | DropoutPolicy::AsInFile => return input,
            DropoutPolicy::Rate(r) => Some(r),
            DropoutPolicy::Train => site.rate,
        };
        let Slot::Is(x) = input else { return input };
        let source = match (rate, self.rate_source(site, policy)) {
            (_, Some(s)) => match map[s.value.idx()] {
                Slot::Is(v) => Some(RateSource { value: v, ..s }),
                bad => return bad,
            },
            (Some(r), None) if r > 0.0 => None,
            // An unknown rate cannot be applied; the session warns about such a site.
            (_, None) => return input,
        };
        let number = site_at(site.site, self.iteration);
        let mut b = Builder::new(&mut t.program);
        b.set_origin(instr.origin.clone());
        match dropout_instr(&mut b, x, rate, source, number, site) {
            Ok(v) => Slot::Is(v),
            Err(m) => self.misfit(instr, &m)[0],
        }
    }

    pub(super) fn bad(&mut self, reason: SpecialiseError, n: usize) -> Vec<Slot> {
        self.reasons.push(reason);
        vec![Slot::Bad((self.reasons.len() - 1) as u32); n]
    }

    pub(super) fn misfit(&mut self, instr: &Instr, m: &Misfit) -> Vec<Slot> {
        let reason = SpecialiseError::Misfit { node: place(instr), op: instr.name().to_owned(), why: m.0.clone() };
        self.bad(reason, instr.outputs.len().max(1))
    }

    /// Notes the fed integers that an open decision is computed from.
    pub(super) fn note_deciding(&mut self, program: &Program, from: Value) {
        let mut seen = vec![false; program.values.len()];
        let mut todo = vec![from];
        while let Some(v) = todo.pop() {
            if std::mem::replace(&mut seen[v.idx()], true) || !program.fact(v).dtype.is_exact() {
                continue;
            }
            match program.def(v) {
                Def::Feed(_) => match self.feeds.get(&v) {
                    Some(&spelled) if !self.deciding.contains(&spelled) => self.deciding.push(spelled),
                    _ => {}
                },
                Def::Output { instr, .. } => todo.extend(program.instrs[instr].inputs.iter().copied()),
                Def::Constant(_) => {}
            }
        }
    }

    /// Expands once more with what is known of floating-point operands: few numbers that decide (scales of a resize).
    fn expand_by_numbers(&self, t: &Target, op: &dyn Op, inputs: &[Value], facts: &[Fact]) -> Option<Program> {
        let fill = |(v, fact): (&Value, &Fact)| match (&fact.value, fact.dtype.is_float()) {
            (None, true) => Fact { value: t.known.get(&t.program, *v), ..fact.clone() },
            _ => fact.clone(),
        };
        let filled: Vec<Fact> = inputs.iter().zip(facts).map(fill).collect();
        op.expand(&filled.iter().collect::<Vec<_>>())?.ok()
    }

    /// Notes a fed value of a few floating-point numbers.
    fn note_number(&mut self, v: Value) {
        if let Some(&spelled) = self.feeds.get(&v)
            && !self.deciding.contains(&spelled)
        {
            self.deciding.push(spelled);
        }
    }

    /// Shapes that are still open although all input shapes are known depend on contents.
    fn find_open_shapes(&mut self, program: &Program) {
        let live = live_values(program);
        for instr in &program.instrs {
            let is_open = |v: &Value| live[v.idx()] && program.fact(*v).dims().is_none();
            if !instr.inputs.iter().all(|&v| program.fact(v).dims().is_some()) {
                continue;
            }
            if instr.outputs.iter().any(is_open) || needs_content(program, instr, &live) {
                for &v in &instr.inputs {
                    self.note_deciding(program, v);
                }
            }
        }
    }
}

/// Whether an instruction has no kernel as long as the content of a fed operand (an axis) is not known.
fn needs_content(program: &Program, instr: &Instr, live: &[bool]) -> bool {
    let is_fed = |v: &Value| program.fact(*v).dtype.is_exact() && program.fact(*v).value.is_none();
    let Some(op) = instr.op().filter(|_| instr.inputs.len() > 1 && instr.inputs[1..].iter().any(is_fed)) else {
        return false;
    };
    let outputs: Vec<&Fact> = instr.outputs.iter().map(|&v| program.fact(v)).collect();
    instr.outputs.iter().any(|v| live[v.idx()]) && op.kernel(&program.input_facts(instr), &outputs).is_err()
}

fn dropout_instr(
    b: &mut Builder,
    x: Value,
    rate: Option<f64>,
    source: Option<RateSource>,
    number: u64,
    site: &DropoutSite,
) -> Result<Value, Misfit> {
    let dtype = b.fact(x).dtype;
    let rate = match (source, rate) {
        (Some(s), _) => {
            let v = make::cast(b, s.value, dtype)?;
            let v = if b.fact(v).rank() == Some(0) { v } else { make::reshape(b, v, &[])? };
            let v = if s.scale == 1.0 { v } else { make::mul_scalar(b, v, s.scale)? };
            if s.offset == 0.0 { v } else { make::add_scalar(b, v, s.offset)? }
        }
        (None, Some(r)) => make::scalar(b, dtype, r),
        (None, None) => return Ok(x),
    };
    let mut op = Dropout::new(number);
    op.shared_axes.extend(site.shared_axes.iter().copied());
    b.op(op, &[x, rate])
}

/// The path of block `which` of instruction `idx`.
pub(super) fn step(path: &BlockPath, idx: usize, which: u8) -> BlockPath {
    let mut out = path.clone();
    out.push((idx, which));
    out
}

pub(super) fn copy_key(b: &mut Builder, program: &Program, old: Value, new: Value) {
    if let Some(key) = &program.value(old).key {
        // A value that already is a graph value (an alias, a bypassed site) keeps its own name.
        if b.program().value(new).key.is_none() {
            b.set_key(new, key.clone());
        }
    }
}

pub(super) fn place(instr: &Instr) -> String {
    instr.origin.as_ref().map_or_else(|| instr.name().to_owned(), NodeKey::to_string)
}

fn check(spelled: &Program, v: Value, found: &Fact) -> Result<(), SpecialiseError> {
    let expected = spelled.fact(v);
    let dims = found.dims().unwrap_or_default();
    let dtype_fits = expected.dtype == found.dtype || expected.dtype == crate::tensor::DType::Unknown;
    if dtype_fits && expected.shape.admits(&dims) {
        return Ok(());
    }
    Err(SpecialiseError::FeedMismatch {
        name: spelled.describe(v),
        expected: expected.describe(),
        found: Fact::new(found.dtype, PartialShape::from_dims(&dims)).describe(),
    })
}
