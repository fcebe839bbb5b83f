//! The frozen part of a model before the first trainable weight: where it ends, and what it gave for each example, so that
//! later epochs compute only what follows.
//!
//! A value can be kept where it depends on no trainable constant and on no randomness. Cheap values (masks, casts of ids) are
//! computed again; kept are those behind a matrix product or convolution. Rows are told by the content of the feeds that they
//! depend on, so nothing here knows data sets or epochs.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::{Bindings, Control, Executable, Workspace};
use crate::program::{InstrKind, Program, Random, Value, View};
use crate::specialise::{DropoutPolicy, Mode};
use crate::tensor::{Dims, Tensor};
use crate::train::{NonFinite, ProgramStep, Step, StepError};

use super::understand::Understood;

/// Ops that make a value worth keeping.
const HEAVY: &[&str] = &["matmul", "einsum", "conv", "depthwise_conv"];
/// How many of them must stand one behind the other, so that keeping the result is worth its memory.
const LEAST_HEAVY: u32 = 3;
/// Numbers of the same row in another place or with another padding count as equal below this, relative to the largest.
const SAME: f64 = 1e-4;

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

/// What the frozen part gave, by example. Shared by all shapes and phases of a run.
#[derive(Debug, Default)]
pub struct Kept {
    entries: HashMap<u128, Vec<Entry>>,
    bytes: usize,
    /// No more is kept beyond this.
    limit: usize,
    /// Whether rows do not depend on what stands beside them: seen, or seen not to be so.
    is_by_row: Option<bool>,
    /// Whether padding changes nothing.
    ignores_padding: Option<bool>,
}

#[derive(Debug)]
struct Entry {
    length: usize,
    values: Vec<Tensor>,
}

impl Kept {
    pub fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    fn find(&self, row: &Row, dims: &[Dims]) -> Option<&Entry> {
        let entries = self.entries.get(&row.key)?;
        let exact = entries.iter().find(|e| e.length == row.length);
        exact.or_else(|| entries.iter().find(|e| self.ignores_padding == Some(true) && e.fits(dims)))
    }

    fn keep(&mut self, row: &Row, values: Vec<Tensor>) {
        let bytes: usize = values.iter().map(|t| t.bytes().len() + 128).sum();
        if self.bytes + bytes > self.limit {
            return;
        }
        self.bytes += bytes;
        self.entries.entry(row.key).or_default().push(Entry { length: row.length, values });
    }

    /// Compares a row with what another padding gave.
    fn learn(&mut self, row: &Row, values: &[Tensor]) {
        if self.ignores_padding == Some(false) {
            return;
        }
        let other = self.entries.get(&row.key).and_then(|e| e.iter().find(|e| e.length != row.length));
        let Some(other) = other else { return };
        let same_shape = other.values.iter().zip(values).all(|(a, b)| a.shape() == b.shape());
        if same_shape {
            let same = other.values.iter().zip(values).all(|(a, b)| is_close(a, b));
            self.ignores_padding = Some(same);
        }
    }
}

impl Entry {
    fn fits(&self, dims: &[Dims]) -> bool {
        self.values.iter().zip(dims).all(|(t, d)| t.shape() == &d[..])
    }
}

fn is_close(a: &Tensor, b: &Tensor) -> bool {
    let (Some(a), Some(b)) = (a.to_f64s(), b.to_f64s()) else { return false };
    let largest = a.iter().fold(0.0f64, |m, v| m.max(v.abs())).max(1e-6);
    a.len() == b.len() && a.iter().zip(&b).all(|(x, y)| (x - y).abs() <= SAME * largest)
}

/// An example of a batch: a hash of its content without padding, and how long it is padded.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Row {
    key: u128,
    length: usize,
}

/// Rows of the feeds that the frozen part depends on. Columns at the end where all integer feeds are 0 are padding.
fn rows(feeds: &[&Tensor]) -> Vec<Row> {
    let n = feeds.first().map_or(0, |t| t.shape()[0]);
    let width = |t: &Tensor| t.shape()[1..].iter().product::<usize>();
    let is_sequence = |t: &Tensor| t.shape().len() == 2 && t.dtype().is_exact();
    let lengths: Vec<usize> = feeds.iter().filter(|t| is_sequence(t)).map(|t| t.shape()[1]).collect();
    let common = lengths.first().copied().filter(|l| lengths.iter().all(|o| o == l));
    let row = |i: usize| {
        let bytes_of = |t: &Tensor| {
            let size = width(t) * t.dtype().size();
            i * size..(i + 1) * size
        };
        let mut used = 0;
        for t in feeds.iter().filter(|t| is_sequence(t) && common.is_some()) {
            let row = &t.bytes()[bytes_of(t)];
            let last = row.chunks_exact(t.dtype().size()).rposition(|c| c.iter().any(|b| *b != 0));
            used = used.max(last.map_or(0, |p| p + 1));
        }
        let mut halves = [DefaultHasher::new(), DefaultHasher::new()];
        1u8.hash(&mut halves[1]);
        for t in feeds {
            let row = &t.bytes()[bytes_of(t)];
            let row = if is_sequence(t) && common.is_some() { &row[..used * t.dtype().size()] } else { row };
            for half in &mut halves {
                (t.dtype() as u8, row.len()).hash(half);
                half.write(row);
            }
        }
        let key = u128::from(halves[0].finish()) << 64 | u128::from(halves[1].finish());
        Row { key, length: common.unwrap_or(0) }
    };
    (0..n).map(row).collect()
}

/// The frozen part for one shape, and the step that goes on from what it gives.
#[derive(Debug)]
pub struct CachedStep {
    pub prefix: Executable,
    /// Names of the prefix' feeds, in order.
    pub prefix_feeds: Vec<String>,
    /// Names of the feeds that tell examples apart.
    pub example_feeds: Vec<String>,
    /// For each value of the frontier its name in the rest, where the rest reads it, and its shape for a batch.
    pub values: Vec<(Option<String>, Dims)>,
    pub rest: ProgramStep,
    pub kept: Arc<Mutex<Kept>>,
}

impl CachedStep {
    fn compute(&self, space: &mut Workspace, feeds: &[(String, Tensor)]) -> Result<Vec<Tensor>, StepError> {
        let named = |name: &String| {
            let found = feeds.iter().find(|(n, _)| n == name).map(|(_, t)| t.clone());
            found.ok_or_else(|| StepError(format!("nothing is fed to '{name}'")))
        };
        let given = self.prefix_feeds.iter().map(named).collect::<Result<Vec<_>, _>>()?;
        let bind = Bindings { feeds: &given, params: &[], random: Random::default() };
        self.prefix.run(space, &bind, Control::default()).map_err(|e| StepError(e.to_string()))?;
        Ok((0..self.values.len()).map(|i| self.prefix.output_tensor(space, i)).collect())
    }

    /// One example's part of a value.
    fn part(value: &Tensor, i: usize, n: usize) -> Option<Tensor> {
        let size = value.bytes().len() / n;
        let mut dims = value.shape().to_vec();
        *dims.first_mut()? /= n;
        Tensor::from_bytes(value.dtype(), &dims, &value.bytes()[i * size..(i + 1) * size])
    }

    /// Whether examples in another order give the same in that order.
    fn is_by_row(
        &self,
        space: &mut Workspace,
        feeds: &[(String, Tensor)],
        values: &[Tensor],
        n: usize,
    ) -> Result<bool, StepError> {
        let rotate = |t: &Tensor| -> Tensor {
            let size = t.bytes().len() / n;
            let turned = [&t.bytes()[size..], &t.bytes()[..size]].concat();
            Tensor::from_bytes(t.dtype(), t.shape(), &turned).unwrap_or_else(|| t.clone())
        };
        let is_example = |name: &String| self.example_feeds.contains(name);
        let turned: Vec<(String, Tensor)> =
            feeds.iter().map(|(n, t)| (n.clone(), if is_example(n) { rotate(t) } else { t.clone() })).collect();
        let again = self.compute(space, &turned)?;
        Ok(values.iter().zip(&again).all(|(v, a)| is_close(&rotate(v), a)))
    }

    /// The frontier's values for a batch: kept ones, or computed and kept.
    fn values(&self, space: &mut Workspace, feeds: &[(String, Tensor)]) -> Result<Vec<Tensor>, StepError> {
        let examples: Vec<&Tensor> =
            self.example_feeds.iter().filter_map(|n| feeds.iter().find(|(f, _)| f == n).map(|(_, t)| t)).collect();
        let rows = rows(&examples);
        let n = rows.len();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let of_row: Vec<Dims> = self.values.iter().map(|(_, d)| row_dims(d, n)).collect();
        if kept.is_by_row != Some(false)
            && let Some(entries) = rows.iter().map(|r| kept.find(r, &of_row)).collect::<Option<Vec<_>>>()
            && n > 0
        {
            let join = |k: usize| {
                let bytes: Vec<u8> = entries.iter().flat_map(|e| e.values[k].bytes()).copied().collect();
                Tensor::from_bytes(entries[0].values[k].dtype(), &self.values[k].1, &bytes)
            };
            if let Some(values) = (0..self.values.len()).map(join).collect::<Option<Vec<_>>>() {
                return Ok(values);
            }
        }
        let values = self.compute(space, feeds)?;
        if kept.is_by_row.is_none() && n > 1 {
            kept.is_by_row = Some(self.is_by_row(space, feeds, &values, n)?);
        }
        if kept.is_by_row == Some(true) {
            for (i, row) in rows.iter().enumerate() {
                let parts: Option<Vec<Tensor>> = values.iter().map(|v| Self::part(v, i, n)).collect();
                if let Some(parts) = parts {
                    kept.learn(row, &parts);
                    if kept.find(row, &of_row).is_none() {
                        kept.keep(row, parts);
                    }
                }
            }
        }
        Ok(values)
    }

    fn with_values(&self, feeds: &[(String, Tensor)], values: Vec<Tensor>) -> Vec<(String, Tensor)> {
        let own = self.values.iter().zip(values).filter_map(|((name, _), t)| Some((name.clone()?, t)));
        // The frontier's values first: their names win.
        own.chain(feeds.iter().cloned()).collect()
    }
}

fn row_dims(dims: &Dims, n: usize) -> Dims {
    let mut out = dims.clone();
    if let Some(first) = out.first_mut() {
        *first /= n.max(1);
    }
    out
}

impl Step for CachedStep {
    fn run(
        &mut self,
        space: &mut Workspace,
        feeds: &[(String, Tensor)],
        parameters: &[Tensor],
        random: Random,
    ) -> Result<f64, StepError> {
        let values = self.values(space, feeds)?;
        let feeds = self.with_values(feeds, values);
        self.rest.run(space, &feeds, parameters, random)
    }

    fn gradient<'a>(&'a self, space: &'a Workspace, index: usize) -> Option<View<'a>> {
        self.rest.gradient(space, index)
    }

    fn prediction(&self, space: &Workspace) -> Option<Tensor> {
        self.rest.prediction(space)
    }

    fn memory_bytes(&self) -> usize {
        self.prefix.arena_bytes().unwrap_or(0).max(self.rest.memory_bytes())
    }

    fn first_non_finite(
        &mut self,
        feeds: &[(String, Tensor)],
        parameters: &[Tensor],
        random: Random,
    ) -> Result<Option<NonFinite>, StepError> {
        let values = self.compute(&mut Workspace::new(), feeds)?;
        let feeds = self.with_values(feeds, values);
        self.rest.first_non_finite(&feeds, parameters, random)
    }
}
