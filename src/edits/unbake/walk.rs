//! Shapes of every value of a program, once with the sizes of the file and once with primes in their place; what does not
//! fit the second time is mended by saying which constants repeat a size.

use std::collections::{BTreeMap, HashMap};

use crate::graph::{Graph, NodeKey};
use crate::ops::index::Gather;
use crate::ops::linalg::MatMul;
use crate::ops::shape::{BroadcastTo, Concat, Reshape, ShapeOf, Slice, StridedMasks, StridedSlice};
use crate::program::{Def, IfBlocks, Instr, InstrKind, Misfit, Program, Random, Value, eval};
use crate::tensor::{Dims, Fact, PartialShape, Tensor, shape};

use super::UnbakeError;
use super::terms::{LEAST_PRIME, OPEN_PRIME, Sizes, Term, align};

/// Integer contents up to this many elements are followed.
const KNOWN: usize = 1 << 12;
/// How often the walk starts again for each instruction of the program: a file that needs more is hostile.
const RESTARTS: usize = 4;

/// Where a constant is read: instruction and operand.
pub(super) type Place = (usize, usize);

/// Which constants repeat sizes, and how.
#[derive(Clone, Debug, Default)]
pub(super) struct Solved {
    /// Entries of integer constants, for one reader each.
    pub(super) vectors: BTreeMap<Place, Vec<Option<Term>>>,
    /// Axes of constants (by their index) that are as long as a size: blocks of one number, or positions counted up.
    pub(super) blocks: BTreeMap<usize, Vec<Option<Term>>>,
    pub(super) longest: Option<usize>,
}

/// See the module doc. Values are those of `program`.
#[derive(Debug)]
pub(super) struct Solver<'a> {
    pub(super) program: &'a Program,
    pub(super) sizes: &'a Sizes,
    /// Facts with the sizes of the file.
    pub(super) old: Vec<Fact>,
    /// Facts with primes.
    pub(super) new: Vec<Fact>,
    pub(super) solved: Solved,
}

/// What came of an instruction that did not fit.
pub(super) enum Mended {
    /// Its own operands were put right.
    Here,
    /// Something before it was: the walk starts again.
    Before,
}

/// Finds the constants that repeat sizes.
pub(super) fn solve(graph: &Graph, program: &Program, sizes: &Sizes) -> Result<Solved, UnbakeError> {
    let old = feeds(graph, program, sizes, false);
    let old = Solver::walk(program, &old).map_err(|(i, m)| fail(program, i, &m.0))?;
    let mut solver = Solver { program, sizes, old, new: Vec::new(), solved: Solved::default() };
    let fed = feeds(graph, program, sizes, true);
    for _ in 0..=program.instrs.len().saturating_mul(RESTARTS) {
        if solver.pass(&fed)? {
            return Ok(solver.solved);
        }
    }
    Err(UnbakeError("the sizes do not settle; this model cannot be freed".to_owned()))
}

/// Whether everything fits with other sizes.
pub(super) fn check(graph: &Graph, program: &Program, sizes: &Sizes) -> Result<(), UnbakeError> {
    let fed = feeds(graph, program, sizes, true);
    Solver::walk(program, &fed).map(|_| ()).map_err(|(i, m)| fail(program, i, &m.0))
}

fn fail(program: &Program, instr: usize, why: &str) -> UnbakeError {
    let at = program.instrs[instr].origin.as_ref().map_or_else(|| program.instrs[instr].name(), NodeKey::as_str);
    UnbakeError(format!("{at} does not follow other sizes: {why}"))
}

/// Shapes of the placeholders: those of the file, or with primes for the sizes.
fn feeds(graph: &Graph, program: &Program, sizes: &Sizes, primes: bool) -> HashMap<Value, Dims> {
    let of = |f: &crate::program::Feed| {
        let key = program.value(f.value).key.as_ref().map_or(f.name.as_str(), |k| k.as_str());
        let stated = graph.value(graph.value_named(key)?).fact.shape.partial()?.to_vec();
        let swap = |(axis, dim): (usize, Option<usize>)| {
            let size = match axis {
                0 => sizes.batch,
                1 => sizes.length,
                _ => None,
            };
            match size {
                Some(s) if dim == Some(s.now) && primes => s.prime,
                // What the file leaves open is another number, the same on both walks.
                _ => dim.unwrap_or(OPEN_PRIME + 2 * axis),
            }
        };
        Some((f.value, stated.into_iter().enumerate().map(swap).collect()))
    };
    program.feeds.iter().filter_map(of).collect()
}

/// Facts of feeds and constants.
fn given(program: &Program, fed: &HashMap<Value, Dims>) -> Vec<Fact> {
    let mut facts: Vec<Fact> = program.value_ids().map(|v| program.fact(v).clone()).collect();
    for (v, dims) in fed {
        facts[v.idx()] = Fact::of_dims(facts[v.idx()].dtype, dims);
    }
    facts
}

/// Output facts of an instruction; contents of small integers are computed.
fn infer(instr: &Instr, program: &Program, inputs: &[Fact]) -> Result<Vec<Fact>, Misfit> {
    let op = match &instr.kind {
        InstrKind::Op(op) => op,
        InstrKind::If(blocks) => return either(blocks, inputs),
        InstrKind::Loop(_) => {
            let unknown = |v: &Value| Fact::new(program.fact(*v).dtype, PartialShape::unknown());
            return Ok(instr.outputs.iter().map(unknown).collect());
        }
    };
    let refs: Vec<&Fact> = inputs.iter().collect();
    let facts = match sliced(instr, inputs) {
        Some(fact) => vec![fact],
        None => op.infer(&refs)?,
    };
    if instr.op_as::<ShapeOf>().is_some()
        && let (Some(dims), Some(fact)) = (inputs[0].dims(), facts.first())
    {
        let values = dims.iter().map(|&d| d as f64);
        return Ok(vec![Fact::of_tensor(&Tensor::from_f64s(fact.dtype, &[dims.len()], values))]);
    }
    let small =
        |f: &Fact| f.dtype.is_exact() && f.dims().and_then(|d| shape::element_count(&d)).is_some_and(|n| n <= KNOWN);
    if op.is_random() || facts.iter().any(|f| !small(f)) {
        return Ok(facts);
    }
    let contents: Option<Vec<Tensor>> = inputs.iter().map(|f| f.value.clone()).collect();
    let computed = contents.and_then(|c| eval::eval(&**op, &c, Random::default()).ok());
    Ok(computed.map_or(facts, |tensors| tensors.iter().map(Fact::of_tensor).collect()))
}

/// What both blocks of a conditional give, whichever is taken.
fn either(blocks: &IfBlocks, inputs: &[Fact]) -> Result<Vec<Fact>, Misfit> {
    let given = inputs.get(1..).unwrap_or_default();
    let then_facts = block_outputs(&blocks.then_block, given)?;
    let else_facts = block_outputs(&blocks.else_block, given)?;
    let join = |(a, b): (&Fact, &Fact)| Fact::new(a.dtype, a.shape.join(&b.shape));
    Ok(then_facts.iter().zip(&else_facts).map(join).collect())
}

fn block_outputs(block: &Program, inputs: &[Fact]) -> Result<Vec<Fact>, Misfit> {
    let mut facts: Vec<Fact> = block.value_ids().map(|v| block.fact(v).clone()).collect();
    block.feeds.iter().zip(inputs).for_each(|(feed, fact)| facts[feed.value.idx()] = fact.clone());
    for instr in &block.instrs {
        let inputs: Vec<Fact> = instr.inputs.iter().map(|v| facts[v.idx()].clone()).collect();
        let out = infer(instr, block, &inputs)?;
        instr.outputs.iter().zip(out).for_each(|(v, f)| facts[v.idx()] = f);
    }
    Ok(block.outputs.iter().map(|v| facts[v.idx()].clone()).collect())
}

/// A slice from the start of a table that is shorter than the prime which stands for a length: as if it were long enough.
fn sliced(instr: &Instr, inputs: &[Fact]) -> Option<Fact> {
    let (is_slice, masks) = match instr.op_as::<StridedSlice>() {
        Some(op) => (false, op.masks),
        None => (instr.op_as::<Slice>().is_some(), StridedMasks::default()),
    };
    let is_plain = masks.ellipsis == 0 && masks.new_axis == 0 && masks.shrink == 0;
    if !(is_plain && (is_slice || instr.op_as::<StridedSlice>().is_some())) {
        return None;
    }
    let (mut dims, begin, end) = (inputs[0].dims()?, inputs[1].ints()?, inputs[2].ints()?);
    let mut is_beyond = false;
    for (axis, (&b, &e)) in begin.iter().zip(&end).enumerate() {
        let now = *dims.get(axis)?;
        let (from_start, to_end) = (masks.begin >> axis & 1 == 1 || b == 0, masks.end >> axis & 1 == 1);
        let is_whole = from_start && (to_end || is_slice && e == -1 || e == now as i64);
        if from_start && !to_end && e > now as i64 && e >= LEAST_PRIME as i64 {
            dims[axis] = usize::try_from(e).ok()?;
            is_beyond = true;
        } else if !is_whole {
            return None;
        }
    }
    is_beyond.then(|| Fact::of_dims(inputs[0].dtype, &dims))
}

impl Solver<'_> {
    /// All facts, or the first instruction that does not fit.
    fn walk(program: &Program, fed: &HashMap<Value, Dims>) -> Result<Vec<Fact>, (usize, Misfit)> {
        let mut facts = given(program, fed);
        for (i, instr) in program.instrs.iter().enumerate() {
            let inputs: Vec<Fact> = instr.inputs.iter().map(|v| facts[v.idx()].clone()).collect();
            let out = infer(instr, program, &inputs).map_err(|m| (i, m))?;
            instr.outputs.iter().zip(out).for_each(|(v, f)| facts[v.idx()] = f);
        }
        Ok(facts)
    }

    /// One walk with primes; false where it must start again.
    fn pass(&mut self, fed: &HashMap<Value, Dims>) -> Result<bool, UnbakeError> {
        let program = self.program;
        self.new = given(program, fed);
        for (i, axes) in &self.solved.blocks {
            let v = program.constants[*i].value;
            let dims: Dims = self.old[v.idx()].dims().unwrap_or_default();
            let dims: Option<Dims> =
                dims.iter().zip(axes).map(|(d, t)| t.map_or(Some(*d), |t| self.sizes.dim(t))).collect();
            self.new[v.idx()] = Fact::of_dims(program.fact(v).dtype, &dims.unwrap_or_default());
        }
        for (i, instr) in program.instrs.iter().enumerate() {
            let mut out = infer(instr, program, &self.inputs(i));
            if let Err(m) = &out {
                match self.mend(i, m)? {
                    Mended::Before => return Ok(false),
                    Mended::Here => out = infer(instr, program, &self.inputs(i)),
                }
            }
            let out = out.map_err(|m| fail(program, i, &m.0))?;
            instr.outputs.iter().zip(out).for_each(|(v, f)| self.new[v.idx()] = f);
        }
        Ok(true)
    }

    /// The facts that an instruction reads, with the entries that are already known to repeat sizes.
    fn inputs(&self, i: usize) -> Vec<Fact> {
        let instr = &self.program.instrs[i];
        let fact = |(operand, v): (usize, &Value)| match self.solved.vectors.get(&(i, operand)) {
            None => self.new[v.idx()].clone(),
            Some(entries) => {
                let old = self.new[v.idx()].ints().unwrap_or_default();
                let value = |(o, t): (&i64, &Option<Term>)| match t {
                    Some(t) => self.sizes.dim(*t).map_or(*o, |d| d as i64),
                    None => *o,
                };
                let values: Vec<f64> = old.iter().zip(entries).map(value).map(|v| v as f64).collect();
                let fact = &self.new[v.idx()];
                let dims = fact.dims().unwrap_or_default();
                Fact::of_tensor(&Tensor::from_f64s(fact.dtype, &dims, values))
            }
        };
        instr.inputs.iter().enumerate().map(fact).collect()
    }

    pub(super) fn old_dims(&self, v: Value) -> Option<Dims> {
        self.old[v.idx()].dims()
    }

    pub(super) fn new_terms(&self, v: Value) -> Option<Vec<Term>> {
        Some(self.sizes.terms(&self.new[v.idx()].dims()?))
    }

    /// Puts right what does not fit at instruction `i`.
    fn mend(&mut self, i: usize, misfit: &Misfit) -> Result<Mended, UnbakeError> {
        let program = self.program;
        let instr = &program.instrs[i];
        let failed = || fail(program, i, &misfit.0);
        if instr.op_as::<Reshape>().is_some() {
            return self.mend_reshape(i).map_err(|why| fail(program, i, &why));
        }
        if instr.op_as::<BroadcastTo>().is_some() {
            return self.mend_broadcast(i).map_err(|why| fail(program, i, &why));
        }
        let pairs = self.pairs(instr).ok_or_else(failed)?;
        let mut any = false;
        for (v, axis, term) in pairs {
            self.demand(v, axis, term, None).map_err(|why| fail(program, i, &why))?;
            any = true;
        }
        if any { Ok(Mended::Before) } else { Err(failed()) }
    }

    fn mend_reshape(&mut self, i: usize) -> Result<Mended, String> {
        let instr = &self.program.instrs[i];
        let (x, shape, y) = (instr.inputs[0], instr.inputs[1], instr.outputs[0]);
        let from = self.old_dims(x).ok_or("its shape is not known")?;
        let to = self.old_dims(y).ok_or("its shape is not known")?;
        let terms = self.new_terms(x).ok_or("its shape is not known")?;
        let want = align(self.sizes, &from, &terms, &to).ok_or_else(|| {
            format!("{:?} cannot be told from {:?}: which of them stands for which size is open", &to[..], &from[..])
        })?;
        let stated = self.old[shape.idx()].ints().ok_or("its target is not known")?;
        let mut mended = Mended::Here;
        for (entry, term) in want.iter().enumerate() {
            let is_open = stated.get(entry) == Some(&-1);
            let now = self.inputs(i)[1].ints().and_then(|v| v.get(entry).copied());
            let wanted = self.sizes.dim(*term).ok_or("it is too large")?;
            if !is_open && now != Some(wanted as i64) && self.set(i, 1, entry, *term)? {
                mended = Mended::Before;
            }
        }
        Ok(mended)
    }

    /// What is repeated follows the target; a target that is smaller than what is repeated follows that.
    fn mend_broadcast(&mut self, i: usize) -> Result<Mended, String> {
        let instr = &self.program.instrs[i];
        let (x, y) = (instr.inputs[0], instr.outputs[0]);
        let to = self.old_dims(y).ok_or("its shape is not known")?;
        let terms = self.new_terms(x).ok_or("its shape is not known")?;
        let lead = to.len().checked_sub(terms.len()).ok_or("it has fewer dimensions than its operand")?;
        let mut mended = Mended::Here;
        let mut any = false;
        for (axis, term) in terms.iter().enumerate().filter(|(_, t)| t.is_free()) {
            let now = self.inputs(i)[1].ints().and_then(|v| v.get(lead + axis).copied());
            if now != self.sizes.dim(*term).map(|d| d as i64) {
                any = true;
                if self.set(i, 1, lead + axis, *term)? {
                    mended = Mended::Before;
                }
            }
        }
        if any { Ok(mended) } else { Err("its operand does not fit its target".to_owned()) }
    }

    /// Values that are fixed along an axis where what they meet is free: `(value, axis, what it must be)`.
    fn pairs(&self, instr: &Instr) -> Option<Vec<(Value, usize, Term)>> {
        let mut out = Vec::new();
        let mut meet = |operands: &[(Value, usize)]| {
            let at = |&(v, axis): &(Value, usize)| Some((v, axis, *self.new_terms(v)?.get(axis)?));
            let Some(terms) = operands.iter().map(at).collect::<Option<Vec<_>>>() else { return };
            let Some(free) = terms.iter().map(|t| t.2).find(Term::is_free) else { return };
            let size = |v: Value, axis: usize| self.old_dims(v).and_then(|d| d.get(axis).copied());
            let stands = terms.iter().find(|t| t.2 == free).and_then(|t| size(t.0, t.1));
            for (v, axis, term) in &terms {
                if !term.is_free() && size(*v, *axis) == stands {
                    out.push((*v, *axis, free));
                }
            }
        };
        if let Some(op) = instr.op_as::<MatMul>() {
            let (a, b) = (instr.inputs[0], instr.inputs[1]);
            let (ra, rb) = (self.old_dims(a)?.len(), self.old_dims(b)?.len());
            let inner_a = if op.transpose_a { ra - 2 } else { ra - 1 };
            let inner_b = if op.transpose_b { rb - 1 } else { rb - 2 };
            meet(&[(a, inner_a), (b, inner_b)]);
            for back in 3..=ra.min(rb) {
                meet(&[(a, ra - back), (b, rb - back)]);
            }
        } else if let Some(op) = instr.op_as::<Concat>() {
            let rank = self.old_dims(*instr.inputs.first()?)?.len();
            let along = shape::normalize_axis(op.axis, rank)?;
            for axis in (0..rank).filter(|a| *a != along) {
                meet(&instr.inputs.iter().map(|&v| (v, axis)).collect::<Vec<_>>());
            }
        } else if instr.op_as::<Gather>().is_none() && instr.op_as::<Slice>().is_none() {
            // Everything else that compares shapes broadcasts.
            let ranks: Option<Vec<usize>> = instr.inputs.iter().map(|&v| Some(self.old_dims(v)?.len())).collect();
            let ranks = ranks?;
            for back in 1..=ranks.iter().copied().max().unwrap_or(0) {
                let has = instr.inputs.iter().zip(&ranks).filter(|(_, r)| **r >= back);
                meet(&has.map(|(&v, r)| (v, r - back)).collect::<Vec<_>>());
            }
        }
        Some(out)
    }

    /// Says that an entry of the integer constant behind operand `operand` of instruction `i` is a size. True where the
    /// constant lies behind other instructions, so that what is known of them changes.
    pub(super) fn set(&mut self, i: usize, operand: usize, entry: usize, term: Term) -> Result<bool, String> {
        let v = self.program.instrs[i].inputs[operand];
        let (place, entry) =
            self.locate((i, operand), v, entry, 0).ok_or("a computed shape does not follow the sizes")?;
        let at = self.program.instrs[place.0].inputs[place.1];
        let n = self.old[at.idx()].dims().and_then(|d| shape::element_count(&d)).unwrap_or(0);
        let entries = self.solved.vectors.entry(place).or_insert_with(|| vec![None; n]);
        let slot = entries.get_mut(entry).ok_or("a shape has too few entries")?;
        match slot {
            Some(other) if *other != term => Err("one number would have to be two sizes".to_owned()),
            _ => {
                *slot = Some(term);
                Ok(place != (i, operand))
            }
        }
    }

    /// The reader of the constant that holds an entry of an integer vector.
    fn locate(&self, place: Place, v: Value, entry: usize, depth: usize) -> Option<(Place, usize)> {
        let Def::Output { instr: i, .. } = self.program.def(v) else {
            return matches!(self.program.def(v), Def::Constant(_)).then_some((place, entry));
        };
        let instr = &self.program.instrs[i];
        if depth > 32 {
            return None;
        }
        if instr.op_as::<Concat>().is_some() {
            let mut first = 0;
            for (operand, &part) in instr.inputs.iter().enumerate() {
                let n = self.old[part.idx()].dims().and_then(|d| shape::element_count(&d))?;
                if entry < first + n {
                    return self.locate((i, operand), part, entry - first, depth + 1);
                }
                first += n;
            }
            return None;
        }
        let keeps = ["reshape", "cast", "expand_dims", "squeeze"].contains(&instr.name()) || instr.inputs.len() == 1;
        let n = |v: Value| self.old[v.idx()].dims().and_then(|d| shape::element_count(&d));
        let same = keeps && n(v).is_some() && n(*instr.inputs.first()?) == n(v);
        if same { self.locate((i, 0), instr.inputs[0], entry, depth + 1) } else { None }
    }
}
