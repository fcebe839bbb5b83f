//! Bodies that run again and again, with state and stacked results (ONNX Loop and Scan), as loop instructions.
//!
//! The loop's state: iteration number, condition (counted loops), the body's state, one collection per stacked result.

use crate::graph::NodeId;
use crate::ops::elementwise::{Binary, BinaryFn};
use crate::ops::index::Gather;
use crate::ops::make;
use crate::ops::shape::{Append, Reverse, ShapeOf};
use crate::program::{Builder, InstrKind, LoopBlocks, Misfit, Value};
use crate::tensor::{DType, Fact, PartialShape, Tensor, shape};

use super::blocks::{Block, Located, align};
use super::calls::{MAX_STATE_ATTEMPTS, joined};
use super::spell::{Env, Speller};
use super::{Repeat, RepeatKind};

/// What is known before the body is spelled.
struct Parts {
    /// How many iterations there are at most, in the program around the loop.
    limit: Option<Located>,
    /// The condition before the first iteration (counted loops).
    condition: Option<Located>,
    state: Vec<Located>,
    /// Sequences that are walked (scans).
    sequences: Vec<Located>,
    captured: Vec<Option<Located>>,
}

impl Parts {
    /// State of the loop before that of the body: the iteration number and perhaps the condition.
    fn n_lead(&self) -> usize {
        1 + usize::from(self.condition.is_some())
    }
}

impl<'g> Speller<'g> {
    pub(super) fn spell_repeat(&mut self, env: &mut Env<'g>, id: NodeId, repeat: &Repeat) {
        if !self.can_call(env, id, &[&repeat.body]) {
            return;
        }
        let n_diagnostics = self.diagnostics.len();
        if let Err(m) = self.try_repeat(env, id, repeat) {
            self.diagnostics.truncate(n_diagnostics);
            self.fail(env, id, "not-spelled", m.0);
        }
    }

    fn try_repeat(&mut self, env: &mut Env<'g>, id: NodeId, repeat: &Repeat) -> Result<(), Misfit> {
        let node = env.graph.node(id);
        let parts = self.parts(env, id, repeat)?;
        let n_results = self.main.functions.get(&repeat.body).map_or(0, |g| g.outputs.len());
        let n_fixed = parts.state.len() + usize::from(parts.condition.is_some());
        let n_stacked = n_results.checked_sub(n_fixed).ok_or_else(|| Misfit::new("its body gives too few results"))?;
        let start = |at: &Located| Fact { value: None, ..self.blocks.fact(*at).clone() };
        let mut facts = vec![Fact::of_dims(DType::I64, &[])];
        facts.extend(parts.condition.map(|_| Fact::of_dims(DType::Bool, &[])));
        facts.extend(parts.state.iter().map(start));
        facts.resize(facts.len() + n_stacked, Fact::unknown());
        let n_diagnostics = self.diagnostics.len();
        let mut attempt = 0;
        let (body, entries) = loop {
            let (block, entries) = self.repeat_body(env, id, repeat, &parts, &facts)?;
            let first_stack = facts.len() - n_stacked;
            let next: Vec<Fact> = facts
                .iter()
                .zip(&block.program.outputs)
                .enumerate()
                .map(|(i, (fact, &v))| match i.checked_sub(first_stack) {
                    None => joined(fact, block.program.fact(v)),
                    Some(s) => collection(&entries[s]),
                })
                .collect();
            if next.iter().zip(&facts).all(|(a, b)| a.shape == b.shape && a.dtype == b.dtype) {
                break (block, entries);
            }
            attempt += 1;
            facts = next;
            if attempt >= MAX_STATE_ATTEMPTS {
                facts[..first_stack].iter_mut().skip(parts.n_lead()).for_each(|f| f.shape = PartialShape::unknown());
            }
            // The next attempt says it again.
            self.diagnostics.truncate(n_diagnostics);
        };
        let cond = self.repeat_condition(env, &parts, &facts)?;
        let outputs = self.push_repeat(env, id, &parts, (cond, body), facts, &entries)?;
        let results = &outputs[parts.n_lead()..];
        for (i, &out) in node.outputs.iter().enumerate() {
            let Some(&value) = results.get(i) else { break };
            let value = match (i.checked_sub(parts.state.len()), &repeat.kind) {
                (Some(s), RepeatKind::Scan { output_axes, is_output_reversed, .. }) => {
                    let axis = output_axes.get(s).copied().unwrap_or(0);
                    let is_reversed = is_output_reversed.get(s).copied().unwrap_or(false);
                    self.stacked(value, axis, is_reversed)?
                }
                _ => value,
            };
            self.bind_here(env, out, value);
        }
        self.opaque(env, id, "its body gives no such result".into());
        Ok(())
    }

    fn parts(&mut self, env: &Env<'g>, id: NodeId, repeat: &Repeat) -> Result<Parts, Misfit> {
        let node = env.graph.node(id);
        let at = |i: usize| node.inputs.get(i).copied().flatten().and_then(|v| env.values[v.idx()]);
        let n_own = node.inputs.len().saturating_sub(repeat.n_captured);
        let captured = (n_own..node.inputs.len()).map(at).collect();
        let given = |range: std::ops::Range<usize>| {
            let all: Option<Vec<Located>> = range.map(at).collect();
            all.ok_or_else(|| Misfit::new("a value of its first state is not known"))
        };
        match &repeat.kind {
            RepeatKind::Count => {
                let mut b = Builder::new(self.blocks.current());
                let always = b.literal(Tensor::from_bools(&[], &[true]));
                let condition = at(1).unwrap_or_else(|| self.blocks.here(always));
                let limit = match at(0) {
                    None => None,
                    Some(m) => {
                        // Files hold scalars, or vectors of one.
                        let m = self.blocks.import(m);
                        let mut b = Builder::new(self.blocks.current());
                        let m = make::cast(&mut b, m, DType::I64)?;
                        let m = make::reshape(&mut b, m, &[])?;
                        Some(self.blocks.here(m))
                    }
                };
                let condition = {
                    let c = self.blocks.import(condition);
                    let c = make::reshape(&mut Builder::new(self.blocks.current()), c, &[])?;
                    self.blocks.here(c)
                };
                Ok(Parts {
                    limit,
                    condition: Some(condition),
                    state: given(2..n_own.max(2))?,
                    sequences: vec![],
                    captured,
                })
            }
            RepeatKind::Scan { input_axes, .. } => {
                let n_state = n_own.checked_sub(input_axes.len()).ok_or_else(|| Misfit::new("too few inputs"))?;
                let sequences = given(n_state..n_own)?;
                let Some(&first) = sequences.first() else { return Err(Misfit::new("a scan over nothing")) };
                let first = self.blocks.import(first);
                let mut b = Builder::new(self.blocks.current());
                let sizes = b.op(ShapeOf { to: DType::I64 }, &[first])?;
                let axis = axis_of(b.fact(first), input_axes[0])?;
                let axis = make::scalar(&mut b, DType::I64, axis as f64);
                let limit = b.op(Gather { axis: 0, batch_dims: 0 }, &[sizes, axis])?;
                let limit = Some(self.blocks.here(limit));
                Ok(Parts { limit, condition: None, state: given(0..n_state)?, sequences, captured })
            }
        }
    }

    /// The body as a block, and the facts of the entries that it stacks.
    fn repeat_body(
        &mut self,
        env: &Env<'g>,
        id: NodeId,
        repeat: &Repeat,
        parts: &Parts,
        facts: &[Fact],
    ) -> Result<(Block, Vec<Fact>), Misfit> {
        let node = env.graph.node(id);
        let mut body = self.body(env, id, &repeat.body);
        let names = (0..facts.len()).map(|i| format!("{}:{i}", node.key));
        let own = self.blocks.open(names.zip(facts.iter().cloned()).collect());
        let (n_lead, n_state) = (parts.n_lead(), parts.state.len());
        let slices = self.slices(repeat, parts, own[0]);
        let slices = slices.inspect_err(|_| _ = self.blocks.close(Vec::new()))?;
        let state = own[n_lead..n_lead + n_state].iter().copied();
        let given: Vec<Option<Located>> = match parts.condition {
            Some(_) => own[..2].iter().copied().chain(state).map(Some).chain(parts.captured.iter().copied()).collect(),
            None => state.chain(slices).map(Some).chain(parts.captured.iter().copied()).collect(),
        };
        for (&argument, at) in body.graph.inputs.iter().zip(given) {
            if let Some(at) = at {
                self.bind(&mut body, argument, at);
            }
        }
        self.depth += 1;
        self.spell_graph(&mut body);
        self.depth -= 1;
        let n_condition = usize::from(parts.condition.is_some());
        let results = self.results(env, node, &body, body.graph.outputs.len());
        let mut entries = Vec::new();
        let outputs = (|| {
            let mut b = Builder::new(self.blocks.current());
            let mut outputs = vec![make::add_scalar(&mut b, own[0].value, 1.0)?];
            if n_condition == 1 {
                outputs.push(make::reshape(&mut b, results[0], &[])?);
            }
            outputs.extend(&results[n_condition..n_condition + n_state]);
            for (&entry, at) in results[n_condition + n_state..].iter().zip(&own[n_lead + n_state..]) {
                entries.push(Fact { value: None, ..b.fact(entry).clone() });
                outputs.push(b.op(Append, &[at.value, entry])?);
            }
            Ok(outputs)
        })();
        let outputs: Vec<Value> = outputs.inspect_err(|_: &Misfit| _ = self.blocks.close(Vec::new()))?;
        Ok((self.blocks.close(outputs), entries))
    }

    /// What each sequence gives in this iteration.
    fn slices(&mut self, repeat: &Repeat, parts: &Parts, iteration: Located) -> Result<Vec<Located>, Misfit> {
        let RepeatKind::Scan { input_axes, is_input_reversed, .. } = &repeat.kind else { return Ok(Vec::new()) };
        let mut out = Vec::new();
        for ((&at, &axis), k) in parts.sequences.iter().zip(input_axes).zip(0..) {
            let sequence = self.blocks.import(at);
            let limit = match parts.limit {
                Some(l) if is_input_reversed.get(k) == Some(&true) => Some(self.blocks.import(l)),
                _ => None,
            };
            let mut b = Builder::new(self.blocks.current());
            let mut at = iteration.value;
            if let Some(limit) = limit {
                let last = make::add_scalar(&mut b, limit, -1.0)?;
                at = make::sub(&mut b, last, at)?;
            }
            let slice = b.op(Gather { axis, batch_dims: 0 }, &[sequence, at])?;
            out.push(self.blocks.here(slice));
        }
        Ok(out)
    }

    /// `iteration < limit and condition`.
    fn repeat_condition(&mut self, env: &Env<'g>, parts: &Parts, facts: &[Fact]) -> Result<Block, Misfit> {
        let names = (0..facts.len()).map(|i| format!("{}:{i}", env.prefix));
        let own = self.blocks.open(names.zip(facts.iter().cloned()).collect());
        let limit = parts.limit.map(|l| self.blocks.import(l));
        let mut b = Builder::new(self.blocks.current());
        let condition = parts.condition.map(|_| own[1].value);
        let more = match (limit, condition) {
            (Some(limit), None) => make::less(&mut b, own[0].value, limit),
            (Some(limit), Some(c)) => {
                make::less(&mut b, own[0].value, limit).and_then(|m| b.op(Binary { f: BinaryFn::And }, &[m, c]))
            }
            (None, Some(c)) => Ok(c),
            (None, None) => Ok(b.literal(Tensor::from_bools(&[], &[false]))),
        };
        let more = more.inspect_err(|_| _ = self.blocks.close(Vec::new()))?;
        Ok(self.blocks.close(vec![more]))
    }

    fn push_repeat(
        &mut self,
        env: &Env<'g>,
        id: NodeId,
        parts: &Parts,
        (cond, body): (Block, Block),
        mut facts: Vec<Fact>,
        entries: &[Fact],
    ) -> Result<Vec<Value>, Misfit> {
        let n_state = facts.len();
        let mut blocks = [cond, body];
        let captured = align(&mut blocks, n_state, self.blocks.current());
        let [cond, body] = blocks;
        let mut inputs = vec![Builder::new(self.blocks.current()).literal(Tensor::scalar(0i64))];
        inputs.extend(parts.condition.iter().chain(&parts.state).map(|&at| self.blocks.import(at)));
        let key = env.node_key(env.graph.node(id));
        let mut b = Builder::new(self.blocks.current());
        for entry in entries {
            // A shape that is not known yet is made up: a collection without elements may have any.
            let dims: Vec<usize> = entry.dims().into_iter().flatten().collect();
            let dims: Vec<usize> = std::iter::once(0).chain(dims).collect();
            let dtype = if entry.dtype.size() == 0 { DType::F32 } else { entry.dtype };
            inputs.push(b.literal(Tensor::zeros(dtype, &dims)));
        }
        inputs.extend(captured);
        b.set_origin(Some(key));
        for (fact, &input) in facts.iter_mut().zip(&inputs) {
            fact.value = None;
            fact.shape = fact.shape.join(&b.fact(input).shape);
        }
        let blocks = LoopBlocks { cond: cond.program, body: body.program, n_state };
        Ok(b.push(InstrKind::Loop(Box::new(blocks)), &inputs, facts).into_vec())
    }

    /// A collection along another axis, or in reverse order.
    fn stacked(&mut self, value: Value, axis: i64, is_reversed: bool) -> Result<Value, Misfit> {
        let mut b = Builder::new(self.blocks.current());
        let mut value = value;
        if is_reversed {
            let axes = make::ints(&mut b, &[0]);
            value = b.op(Reverse, &[value, axes])?;
        }
        if axis == 0 {
            return Ok(value);
        }
        let axis = axis_of(b.fact(value), axis)?;
        let rank = b.fact(value).rank().unwrap_or(0) as i64;
        let mut perm: Vec<i64> = (1..rank).collect();
        perm.insert(axis, 0);
        make::transpose(&mut b, value, &perm)
    }
}

/// Any number of entries.
fn collection(entry: &Fact) -> Fact {
    let shape = match entry.shape.partial() {
        Some(dims) => PartialShape::from_partial(std::iter::once(None).chain(dims.iter().copied())),
        None => PartialShape::unknown(),
    };
    Fact::new(entry.dtype, shape)
}

fn axis_of(fact: &Fact, axis: i64) -> Result<usize, Misfit> {
    match fact.rank() {
        Some(rank) => shape::normalize_axis(axis, rank).ok_or_else(|| Misfit(format!("axis {axis} of rank {rank}"))),
        None => usize::try_from(axis).map_err(|_| Misfit::new("an axis from the end of a value of unknown rank")),
    }
}
