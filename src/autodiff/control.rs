//! Gradients of conditionals and loops.
//!
//! Conditional: the backward conditional recomputes the branch that was taken and differentiates it (exact, since
//! random ops are counter-based). Loop: the forward loop is made to keep a stack of every carried state; the backward
//! loop walks the stack from its end, recomputes one iteration from the saved state and differentiates it.

use crate::ops::make;
use crate::ops::shape::Slice;
use crate::program::inline::{inline, prune};
use crate::program::{Builder, Def, IfBlocks, Instr, InstrKind, LoopBlocks, Misfit, Program, Value, ValueInfo};
use crate::tensor::{DType, Dims, Fact, PartialShape, Tensor};

use super::AutodiffError;
use super::active::loop_states;
use super::walk::{differentiate, filled_like, place, rule_error};

type Gradients = Result<Vec<Option<Value>>, AutodiffError>;

/// Gradients of all inputs of a conditional; the predicate has none.
pub(super) fn if_gradients(
    b: &mut Builder,
    instr: &Instr,
    blocks: &IfBlocks,
    active: &[bool],
    out_grads: &[Option<Value>],
) -> Gradients {
    let wanted: Vec<bool> =
        instr.inputs.iter().skip(1).map(|v| active[v.idx()] && b.fact(*v).dtype.is_float()).collect();
    let mut then_block = blocks.then_block.clone();
    let mut else_block = blocks.else_block.clone();
    let grad_facts: Vec<Option<Fact>> = out_grads.iter().map(|g| g.map(|g| bare(b.fact(g)))).collect();
    let then_grads = block_gradients(&mut then_block, &grad_facts, &wanted)?;
    let else_grads = block_gradients(&mut else_block, &grad_facts, &wanted)?;
    // An input that gets a gradient in one branch gets zeros in the other.
    let present: Vec<usize> =
        (0..wanted.len()).filter(|&i| then_grads[i].is_some() || else_grads[i].is_some()).collect();
    let mut grads = vec![None; instr.inputs.len()];
    if present.is_empty() {
        return Ok(grads);
    }
    for (block, found) in [(&mut then_block, &then_grads), (&mut else_block, &else_grads)] {
        block.outputs = fill_missing(block, found, &present).map_err(|m| rule_error(&place(instr), "if", &m))?;
    }
    let facts = present.iter().map(|&i| bare(b.fact(instr.inputs[i + 1]))).collect();
    let inputs: Vec<Value> = instr.inputs.iter().copied().chain(out_grads.iter().flatten().copied()).collect();
    let blocks = IfBlocks { then_block: prune(&then_block).0, else_block: prune(&else_block).0 };
    let outputs = b.push(InstrKind::If(Box::new(blocks)), &inputs, facts);
    for (&i, &v) in present.iter().zip(&outputs) {
        grads[i + 1] = Some(v);
    }
    Ok(grads)
}

/// Turns a block into one that also computes gradients of its wanted feeds; the arriving gradients become feeds.
fn block_gradients(block: &mut Program, out_grads: &[Option<Fact>], wanted: &[bool]) -> Gradients {
    let n_feeds = wanted.len();
    let outputs = block.outputs.clone();
    let mut seeds = Vec::new();
    let mut b = Builder::new(block);
    for (k, fact) in out_grads.iter().enumerate() {
        if let Some(fact) = fact {
            seeds.push((outputs[k], Some(b.feed(format!("gradient {k}"), fact.clone()))));
        }
    }
    let wrt_idx: Vec<usize> = (0..n_feeds).filter(|&i| wanted[i]).collect();
    let wrt: Vec<Value> = wrt_idx.iter().map(|&i| block.feeds[i].value).collect();
    let found = differentiate(block, &seeds, &wrt)?;
    let mut grads = vec![None; n_feeds];
    for (i, g) in wrt_idx.into_iter().zip(found) {
        grads[i] = g;
    }
    Ok(grads)
}

fn fill_missing(block: &mut Program, grads: &[Option<Value>], present: &[usize]) -> Result<Vec<Value>, Misfit> {
    let feeds: Vec<Value> = block.feeds.iter().map(|f| f.value).collect();
    let mut b = Builder::new(block);
    present.iter().map(|&i| grads[i].map_or_else(|| filled_like(&mut b, feeds[i], 0.0), Ok)).collect()
}

/// Gradients of the initial state and the invariants of a loop. Upgrades the forward loop in place.
pub(super) fn loop_gradients(
    b: &mut Builder,
    instr: &Instr,
    blocks: &LoopBlocks,
    active: &[bool],
    out_grads: &[Option<Value>],
) -> Gradients {
    let fail = |m: Misfit| rule_error(&place(instr), "loop", &m);
    let flags: Vec<bool> = instr.inputs.iter().map(|v| active[v.idx()]).collect();
    let is_float = |b: &Builder, i: usize| b.fact(instr.inputs[i]).dtype.is_float();
    let states: Vec<usize> = loop_states(blocks, &flags)
        .into_iter()
        .enumerate()
        .filter(|&(k, on)| on && is_float(b, k))
        .map(|(k, _)| k)
        .collect();
    let invariants: Vec<usize> = (blocks.n_state..flags.len()).filter(|&i| flags[i] && is_float(b, i)).collect();
    let dims = state_dims(b, instr, blocks).map_err(fail)?;
    let saved = record(b, instr, blocks, &dims).map_err(fail)?;
    let plan = Backward { blocks, dims: &dims, states: &states, invariants: &invariants };
    let body = plan.body(b, instr)?;
    let cond = plan.cond(&body).map_err(fail)?;
    let mut inputs = vec![saved.count];
    for &k in &states {
        inputs.push(match out_grads[k] {
            Some(g) => g,
            None => filled_like(b, instr.inputs[k], 0.0).map_err(fail)?,
        });
    }
    for &i in &invariants {
        inputs.push(filled_like(b, instr.inputs[i], 0.0).map_err(fail)?);
    }
    let n_state = inputs.len();
    let facts = inputs.iter().map(|&v| bare(b.fact(v))).collect();
    inputs.extend(&saved.stacks);
    inputs.extend(&instr.inputs[blocks.n_state..]);
    let outputs = b.push(InstrKind::Loop(Box::new(LoopBlocks { cond, body, n_state })), &inputs, facts);
    let mut grads = vec![None; instr.inputs.len()];
    for (&i, &v) in states.iter().chain(&invariants).zip(&outputs[1..]) {
        grads[i] = Some(v);
    }
    Ok(grads)
}

/// The shapes of the carried state, which must not change from one iteration to the next.
fn state_dims(b: &Builder, instr: &Instr, blocks: &LoopBlocks) -> Result<Vec<Dims>, Misfit> {
    (0..blocks.n_state)
        .map(|k| {
            let dims = b.fact(instr.inputs[k]).dims();
            dims.filter(|d| blocks.body.fact(blocks.body.outputs[k]).shape.admits(d)).ok_or_else(|| {
                Misfit(format!("carried value {k} of the loop has no fixed shape, so that it cannot be kept"))
            })
        })
        .collect()
}

/// What the upgraded forward loop also gives.
struct Recorded {
    count: Value,
    stacks: Vec<Value>,
}

/// Adds an iteration counter and a stack per carried value to the forward loop, behind its outputs.
fn record(b: &mut Builder, instr: &Instr, blocks: &LoopBlocks, dims: &[Dims]) -> Result<Recorded, Misfit> {
    let n = blocks.n_state;
    let zero = b.literal(Tensor::scalar(0i64));
    let mut added = vec![zero];
    let mut facts = vec![Fact::of_dims(DType::I64, &[])];
    for (&v, dims) in instr.inputs.iter().zip(dims) {
        let dtype = b.fact(v).dtype;
        let empty: Vec<usize> = std::iter::once(0).chain(dims.iter().copied()).collect();
        added.push(b.literal(Tensor::zeros(dtype, &empty)));
        facts.push(stack_fact(dtype, dims));
    }
    let cond = with_extra_state(&blocks.cond, n, &facts, |_, _, _| Ok(Vec::new()))?;
    let body = with_extra_state(&blocks.body, n, &facts, |b, states, extra| {
        let one = b.literal(Tensor::scalar(1i64));
        let mut out = vec![make::add(b, extra[0], one)?];
        for k in 0..n {
            let row: Vec<i64> = std::iter::once(1).chain(dims[k].iter().map(|&d| d as i64)).collect();
            let row = make::reshape(b, states[k], &row)?;
            out.push(make::concat(b, &[extra[1 + k], row], 0)?);
        }
        Ok(out)
    })?;
    let program = b.program_mut();
    let Some(Def::Output { instr: idx, .. }) = instr.outputs.first().map(|&v| program.def(v)) else {
        return Err(Misfit::new("a loop without carried values has no gradient"));
    };
    let mut outputs = instr.outputs.clone();
    for fact in facts {
        let v = Value::new(program.values.len());
        program.values.push(ValueInfo { fact, def: Def::Output { instr: idx, port: outputs.len() }, key: None });
        outputs.push(v);
    }
    let recorded = Recorded { count: outputs[n], stacks: outputs[n + 1..].to_vec() };
    let forward = &mut program.instrs[idx];
    forward.inputs = instr.inputs[..n].iter().chain(&added).chain(&instr.inputs[n..]).copied().collect();
    forward.outputs = outputs;
    forward.kind = InstrKind::Loop(Box::new(LoopBlocks { cond, body, n_state: n + 1 + n }));
    Ok(recorded)
}

/// A loop block whose feeds have more state behind the first `n`; `extend` computes the new state's next value.
fn with_extra_state(
    block: &Program,
    n: usize,
    facts: &[Fact],
    extend: impl FnOnce(&mut Builder, &[Value], &[Value]) -> Result<Vec<Value>, Misfit>,
) -> Result<Program, Misfit> {
    let mut out = Program::default();
    let mut b = Builder::new(&mut out);
    let old: Vec<(String, Fact)> = block.feeds.iter().map(|f| (f.name.clone(), bare(block.fact(f.value)))).collect();
    let feed = |b: &mut Builder, (name, fact): &(String, Fact)| b.feed(name.clone(), fact.clone());
    let states: Vec<Value> = old[..n].iter().map(|f| feed(&mut b, f)).collect();
    let extra: Vec<Value> = facts.iter().enumerate().map(|(i, f)| b.feed(format!("kept {i}"), f.clone())).collect();
    let rest: Vec<Value> = old[n..].iter().map(|f| feed(&mut b, f)).collect();
    let inputs: Vec<Value> = states.iter().chain(&rest).copied().collect();
    let mut outputs = inline(&mut b, block, &inputs)?.outputs;
    outputs.extend(extend(&mut b, &states, &extra)?);
    out.outputs = outputs;
    Ok(out)
}

/// The backward loop: carried are the counter, gradients of states, sums for invariants; invariant are the stacks and
/// the forward loop's invariants.
struct Backward<'a> {
    blocks: &'a LoopBlocks,
    dims: &'a [Dims],
    states: &'a [usize],
    invariants: &'a [usize],
}

impl Backward<'_> {
    fn body(&self, outer: &Builder, instr: &Instr) -> Result<Program, AutodiffError> {
        let fail = |m: Misfit| rule_error(&place(instr), "loop", &m);
        let n = self.blocks.n_state;
        let fact = |i: usize| bare(outer.fact(instr.inputs[i]));
        let mut program = Program::default();
        let mut b = Builder::new(&mut program);
        b.set_origin(instr.origin.clone());
        let count = b.feed("iterations left", Fact::of_dims(DType::I64, &[]));
        let grads: Vec<Value> = self.states.iter().map(|&k| b.feed(format!("gradient {k}"), fact(k))).collect();
        let sums: Vec<Value> = self.invariants.iter().map(|&i| b.feed(format!("sum {i}"), fact(i))).collect();
        let stacks: Vec<Value> =
            (0..n).map(|k| b.feed(format!("stack {k}"), stack_fact(fact(k).dtype, &self.dims[k]))).collect();
        let fixed: Vec<Value> = (n..instr.inputs.len()).map(|i| b.feed(format!("invariant {i}"), fact(i))).collect();
        let one = b.literal(Tensor::scalar(1i64));
        let at = make::sub(&mut b, count, one).map_err(fail)?;
        let mut inputs = Vec::new();
        for (&stack, dims) in stacks.iter().zip(self.dims) {
            inputs.push(row(&mut b, stack, at, dims).map_err(fail)?);
        }
        inputs.extend(&fixed);
        let forward = inline(&mut b, &self.blocks.body, &inputs).map_err(fail)?.outputs;
        let seeds: Vec<(Value, Option<Value>)> =
            self.states.iter().zip(&grads).map(|(&k, &g)| (forward[k], Some(g))).collect();
        let wrt: Vec<Value> = self.states.iter().chain(self.invariants).map(|&i| inputs[i]).collect();
        let found = differentiate(&mut program, &seeds, &wrt)?;
        let mut b = Builder::new(&mut program);
        let mut outputs = vec![at];
        let (state_grads, invariant_grads) = found.split_at(self.states.len());
        for (&k, g) in self.states.iter().zip(state_grads) {
            outputs.push(g.map_or_else(|| filled_like(&mut b, inputs[k], 0.0), Ok).map_err(fail)?);
        }
        for (&sum, g) in sums.iter().zip(invariant_grads) {
            outputs.push(g.map_or(Ok(sum), |g| make::add(&mut b, sum, g)).map_err(fail)?);
        }
        program.outputs = outputs;
        Ok(prune(&program).0)
    }

    /// `iterations left > 0`.
    fn cond(&self, body: &Program) -> Result<Program, Misfit> {
        let mut program = Program::default();
        let mut b = Builder::new(&mut program);
        let feeds: Vec<Value> = body.feeds.iter().map(|f| b.feed(f.name.clone(), bare(body.fact(f.value)))).collect();
        let zero = b.literal(Tensor::scalar(0i64));
        let more = make::greater(&mut b, feeds[0], zero)?;
        program.outputs = vec![more];
        Ok(program)
    }
}

/// `stack[at]`, for a stack of shape `[iterations, dims…]` and an `int64` scalar.
fn row(b: &mut Builder, stack: Value, at: Value, dims: &[usize]) -> Result<Value, Misfit> {
    let at = make::reshape(b, at, &[1])?;
    let rest = b.literal(Tensor::from_slice(&[dims.len()], &vec![0i64; dims.len()]));
    let begin = make::concat(b, &[at, rest], 0)?;
    let size: Vec<i64> = std::iter::once(1).chain(dims.iter().map(|&d| d as i64)).collect();
    let size = b.literal(Tensor::from_slice(&[size.len()], &size));
    let row = b.op(Slice, &[stack, begin, size])?;
    make::reshape(b, row, &dims.iter().map(|&d| d as i64).collect::<Vec<_>>())
}

fn stack_fact(dtype: DType, dims: &[usize]) -> Fact {
    Fact::new(dtype, PartialShape::from_partial(std::iter::once(None).chain(dims.iter().map(|&d| Some(d)))))
}

/// What is known of a value apart from its content, which another run or iteration changes.
fn bare(fact: &Fact) -> Fact {
    Fact::new(fact.dtype, fact.shape.clone())
}
