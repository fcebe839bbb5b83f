//! Runs a program instruction by instruction on tensors: conditionals, loops, and shapes that depend on data.
//!
//! The same kernels as in a plan, chosen anew each time; tensors are dropped after their last reader.

use std::time::Instant;

use crate::base::CancelToken;
use crate::program::eval::eval;
use crate::program::{Def, IfBlocks, Instr, InstrKind, Kernel, LoopBlocks, Misfit, Program, Random, Value};
use crate::tensor::{DType, Tensor};

use super::memory::Workspace;
use super::{Bindings, ConstantStore, Control, Cost, EngineError, Profile, describe};

/// Loops that go on for longer are taken for endless.
const MAX_TRIPS: usize = 10_000_000;

/// A program with its constants loaded.
#[derive(Debug)]
pub struct Eager {
    block: Block,
    /// Indices of the constants that are bound at each run, in binding order.
    params: Vec<usize>,
}

/// A program, its loaded constants, the blocks of its instructions, and who reads each value last.
#[derive(Debug)]
struct Block {
    program: Program,
    constants: Vec<Option<Tensor>>,
    /// For each instruction the blocks it has (`then`, `else` or `cond`, `body`).
    blocks: Vec<Vec<Block>>,
    /// For each instruction the values that nobody reads later.
    dying: Vec<Vec<Value>>,
}

/// Called after each instruction with its outputs; an error ends the run.
type Observe<'a> = dyn FnMut(&Program, usize, &[Tensor]) -> Result<(), EngineError> + 'a;

/// What a run carries along.
struct Context<'a, 'o> {
    random: Random,
    cancel: Option<&'a CancelToken>,
    profile: Option<&'a mut Profile>,
    observe: Option<&'a mut Observe<'o>>,
}

impl Eager {
    pub fn new(program: Program, params: &[Value], constants: &mut ConstantStore) -> Result<Self, EngineError> {
        let params = params
            .iter()
            .map(|&v| match program.def(v) {
                Def::Constant(i) => Ok(i),
                _ => Err(EngineError::Instruction {
                    at: program.describe(v),
                    source: Misfit::new("a parameter must be a constant of the program"),
                }),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let block = Block::new(program, &params, constants)?;
        Ok(Self { block, params })
    }

    pub fn program(&self) -> &Program {
        &self.block.program
    }

    /// Runs once; the outputs are then in `space`.
    pub fn run(&self, space: &mut Workspace, bind: &Bindings<'_>, control: Control<'_>) -> Result<(), EngineError> {
        let mut context =
            Context { random: bind.random, cancel: control.cancel, profile: control.profile, observe: None };
        space.outputs = self.block.run(bind.feeds, &self.bound(bind)?, &mut context)?;
        Ok(())
    }

    /// Runs and shows each instruction's outputs to `observe`.
    pub fn observe(&self, bind: &Bindings<'_>, observe: &mut Observe<'_>) -> Result<Vec<Tensor>, EngineError> {
        let mut context = Context { random: bind.random, cancel: None, profile: None, observe: Some(observe) };
        self.block.run(bind.feeds, &self.bound(bind)?, &mut context)
    }

    fn bound<'a>(&self, bind: &Bindings<'a>) -> Result<Vec<(usize, &'a Tensor)>, EngineError> {
        if bind.params.len() != self.params.len() {
            return Err(EngineError::Binding {
                what: "the number of parameters".to_owned(),
                expected: self.params.len().to_string(),
                found: bind.params.len().to_string(),
            });
        }
        Ok(self.params.iter().copied().zip(bind.params).collect())
    }
}

impl Block {
    fn new(program: Program, params: &[usize], store: &mut ConstantStore) -> Result<Self, EngineError> {
        let constants = program
            .constants
            .iter()
            .enumerate()
            .map(|(i, c)| {
                if params.contains(&i) {
                    return Ok(None);
                }
                store
                    .load(c.node.as_ref(), &c.payload)
                    .map(Some)
                    .map_err(|source| EngineError::Constant { name: program.describe(c.value), source })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let blocks = program
            .instrs
            .iter()
            .map(|instr| {
                inner_blocks(instr).into_iter().map(|b| Self::new(b.clone(), &[], store)).collect::<Result<Vec<_>, _>>()
            })
            .collect::<Result<Vec<_>, _>>()?;
        let dying = dying(&program);
        Ok(Self { program, constants, blocks, dying })
    }

    fn run(
        &self,
        feeds: &[Tensor],
        params: &[(usize, &Tensor)],
        context: &mut Context<'_, '_>,
    ) -> Result<Vec<Tensor>, EngineError> {
        let program = &self.program;
        if feeds.len() != program.feeds.len() {
            return Err(EngineError::Binding {
                what: "the number of feeds".to_owned(),
                expected: program.feeds.len().to_string(),
                found: feeds.len().to_string(),
            });
        }
        let mut values: Vec<Option<Tensor>> = vec![None; program.values.len()];
        for (feed, tensor) in program.feeds.iter().zip(feeds) {
            let fact = program.fact(feed.value);
            let dtype_fits = fact.dtype == tensor.dtype() || fact.dtype == DType::Unknown;
            if !dtype_fits || !fact.shape.admits(tensor.shape()) {
                return Err(EngineError::Binding {
                    what: format!("feed {}", feed.name),
                    expected: fact.describe(),
                    found: format!("{} {:?}", tensor.dtype(), tensor.shape()),
                });
            }
            values[feed.value.idx()] = Some(tensor.clone());
        }
        for (c, tensor) in program.constants.iter().zip(&self.constants) {
            values[c.value.idx()].clone_from(tensor);
        }
        for &(i, tensor) in params {
            values[program.constants[i].value.idx()] = Some(tensor.clone());
        }
        for i in 0..program.instrs.len() {
            self.step(i, &mut values, context)?;
        }
        program.outputs.iter().map(|v| get(program, &values, *v)).collect()
    }

    fn step(&self, i: usize, values: &mut [Option<Tensor>], context: &mut Context<'_, '_>) -> Result<(), EngineError> {
        if context.cancel.is_some_and(CancelToken::is_cancelled) {
            return Err(EngineError::Cancelled);
        }
        let instr = &self.program.instrs[i];
        let start = context.profile.is_some().then(Instant::now);
        let inputs =
            instr.inputs.iter().map(|v| get(&self.program, values, *v)).collect::<Result<Vec<_>, EngineError>>()?;
        let outputs = match &instr.kind {
            InstrKind::Op(op) => eval(&**op, &inputs, context.random)
                .map_err(|source| EngineError::Instruction { at: describe(&self.program, i), source })?,
            InstrKind::If(_) => run_if(&self.blocks[i], &inputs, context, &describe(&self.program, i))?,
            InstrKind::Loop(blocks) => {
                run_loop(blocks.n_state, &self.blocks[i], inputs, context, &describe(&self.program, i))?
            }
        };
        if let (Some(profile), Some(start)) = (&mut context.profile, start) {
            let bytes = outputs.iter().map(|t| t.bytes().len() as u64).sum();
            profile.add(instr.name(), i, Cost { seconds: start.elapsed().as_secs_f64(), bytes }, 0);
        }
        if let Some(observe) = &mut context.observe {
            observe(&self.program, i, &outputs)?;
        }
        for (v, t) in instr.outputs.iter().zip(outputs) {
            values[v.idx()] = Some(t);
        }
        for v in &self.dying[i] {
            values[v.idx()] = None;
        }
        Ok(())
    }
}

fn inner_blocks(instr: &Instr) -> Vec<&Program> {
    match &instr.kind {
        InstrKind::Op(_) => Vec::new(),
        InstrKind::If(b) => {
            let IfBlocks { then_block, else_block } = &**b;
            vec![then_block, else_block]
        }
        InstrKind::Loop(b) => {
            let LoopBlocks { cond, body, .. } = &**b;
            vec![cond, body]
        }
    }
}

fn dying(program: &Program) -> Vec<Vec<Value>> {
    let mut last: Vec<Option<usize>> = vec![None; program.values.len()];
    for (i, instr) in program.instrs.iter().enumerate() {
        for v in instr.outputs.iter().chain(&instr.inputs) {
            last[v.idx()] = Some(i);
        }
    }
    for v in &program.outputs {
        last[v.idx()] = None;
    }
    let mut out = vec![Vec::new(); program.instrs.len()];
    for (v, last) in last.iter().enumerate() {
        if let Some(i) = last {
            out[*i].push(Value::new(v));
        }
    }
    out
}

fn get(program: &Program, values: &[Option<Tensor>], v: Value) -> Result<Tensor, EngineError> {
    values[v.idx()].clone().ok_or_else(|| EngineError::Instruction {
        at: program.describe(v),
        source: Misfit::new("the value was not computed"),
    })
}

fn truth(tensor: &Tensor, at: &str) -> Result<bool, EngineError> {
    match (tensor.len(), tensor.to_f64s()) {
        (1, Some(v)) => Ok(v[0] != 0.0),
        _ => Err(EngineError::Instruction {
            at: at.to_owned(),
            source: Misfit(format!("the condition must be one truth value, found {tensor:?}")),
        }),
    }
}

fn run_if(
    blocks: &[Block],
    inputs: &[Tensor],
    context: &mut Context<'_, '_>,
    at: &str,
) -> Result<Vec<Tensor>, EngineError> {
    let taken = if truth(&inputs[0], at)? { &blocks[0] } else { &blocks[1] };
    taken.run(&inputs[1..], &[], context)
}

fn run_loop(
    n_state: usize,
    blocks: &[Block],
    mut carried: Vec<Tensor>,
    context: &mut Context<'_, '_>,
    at: &str,
) -> Result<Vec<Tensor>, EngineError> {
    for _ in 0..MAX_TRIPS {
        let go_on = blocks[0].run(&carried, &[], context)?;
        if !truth(&go_on[0], at)? {
            carried.truncate(n_state);
            return Ok(carried);
        }
        let next = blocks[1].run(&carried, &[], context)?;
        carried.splice(..n_state.min(next.len()), next);
    }
    Err(EngineError::Instruction { at: at.to_owned(), source: Misfit(format!("no end after {MAX_TRIPS} rounds")) })
}

/// An `If` or `Loop` with known output shapes as a host kernel of a plan. Its blocks draw no random numbers that depend
/// on the step: programs whose blocks do are run whole by [`Eager`].
pub(super) fn block_kernel(instr: &Instr, constants: &mut ConstantStore) -> Result<Kernel, EngineError> {
    let random = inner_blocks(instr).into_iter().any(has_random);
    let at = instr.origin.as_ref().map_or_else(|| instr.name().to_owned(), |n| n.as_str().to_owned());
    if random {
        return Err(EngineError::NotStatic { at, why: "a block draws random numbers".to_owned() });
    }
    let blocks = inner_blocks(instr)
        .into_iter()
        .map(|b| Block::new(b.clone(), &[], constants))
        .collect::<Result<Vec<_>, _>>()?;
    let n_state = match &instr.kind {
        InstrKind::Loop(b) => Some(b.n_state),
        _ => None,
    };
    Ok(Kernel::host(move |inputs| {
        let mut context = Context { random: Random::default(), cancel: None, profile: None, observe: None };
        match n_state {
            None => run_if(&blocks, inputs, &mut context, &at),
            Some(n) => run_loop(n, &blocks, inputs.to_vec(), &mut context, &at),
        }
        .map_err(|e| Misfit(e.to_string()))
    }))
}

fn has_random(program: &Program) -> bool {
    program.instrs.iter().any(|i| match &i.kind {
        InstrKind::Op(op) => op.is_random(),
        _ => inner_blocks(i).into_iter().any(has_random),
    })
}
