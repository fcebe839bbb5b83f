//! From a program to a plan: kernels, lifetimes, what may share memory, and where everything lies.

use smallvec::SmallVec;

use crate::program::{Def, InstrKind, Kernel, Misfit, Program, Run, Value};
use crate::tensor::{DType, Dims, shape};

use super::memory::{Lifetime, lower_bound, place};
use super::plan::{Bound, Place, Plan, Slot, Step, Work};
use super::{ConstantStore, EngineError, describe, eager};

const NONE: usize = usize::MAX;

/// A value's type and size, known before anything runs.
struct Size {
    dtype: DType,
    dims: Dims,
    bytes: usize,
}

pub(super) fn make(program: &Program, params: &[Value], constants: &mut ConstantStore) -> Result<Plan, EngineError> {
    let sizes = sizes(program)?;
    let kernels = kernels(program, constants)?;
    let owner = owners(program, &kernels);
    let last_use = last_uses(program, &owner);
    let (unit, mut lifetimes) = units(program, &kernels, &sizes, &owner, &last_use);
    let scratch_units: Vec<usize> = kernels
        .iter()
        .enumerate()
        .map(|(i, k)| {
            if k.scratch == 0 {
                return NONE;
            }
            lifetimes.push(Lifetime { bytes: k.scratch, start: i, end: i });
            lifetimes.len() - 1
        })
        .collect();
    let copies = add_copies(program, &owner, &sizes, &mut lifetimes);
    let (offsets, arena_bytes) = place(&lifetimes);

    let bound = |v: Value, name: String| {
        let s = &sizes[v.idx()];
        Bound { name, dtype: s.dtype, dims: s.dims.clone() }
    };
    let mut plan = Plan {
        steps: Vec::with_capacity(program.instrs.len()),
        slots: Vec::with_capacity(sizes.len()),
        constants: Vec::new(),
        feeds: program.feeds.iter().map(|f| bound(f.value, f.name.clone())).collect(),
        params: params.iter().map(|&v| bound(v, program.describe(v))).collect(),
        outputs: Vec::new(),
        arena_bytes,
        arena_lower_bound: lower_bound(&lifetimes),
    };
    add_slots(&mut plan, program, params, constants, &owner, &unit, &offsets, sizes)?;
    add_steps(&mut plan, program, kernels, &scratch_units, &offsets);
    add_outputs(&mut plan, program, &copies, &offsets);
    Ok(plan)
}

fn not_static(program: &Program, v: Value, why: &str) -> EngineError {
    let at = match program.def(v) {
        Def::Output { instr, .. } => describe(program, instr),
        _ => program.describe(v),
    };
    EngineError::NotStatic { at, why: why.to_owned() }
}

fn sizes(program: &Program) -> Result<Vec<Size>, EngineError> {
    program
        .value_ids()
        .map(|v| {
            let fact = program.fact(v);
            // A constant of strings may lie in the program as long as nobody computes with it.
            if fact.dtype.size() == 0 {
                if matches!(program.def(v), Def::Constant(_)) && !is_read(program, v) {
                    return Ok(Size { dtype: fact.dtype, dims: Dims::new(), bytes: 0 });
                }
                return Err(not_static(program, v, &format!("{} values have no fixed size", fact.dtype)));
            }
            let dims = fact.dims().ok_or_else(|| not_static(program, v, "the shape is only known while running"))?;
            let bytes = shape::element_count(&dims)
                .and_then(|n| n.checked_mul(fact.dtype.size()))
                .filter(|&b| b <= isize::MAX as usize / 2)
                .ok_or_else(|| not_static(program, v, "the shape is too large"))?;
            Ok(Size { dtype: fact.dtype, dims, bytes })
        })
        .collect()
}

fn is_read(program: &Program, v: Value) -> bool {
    program.outputs.contains(&v) || program.instrs.iter().any(|i| i.inputs.contains(&v))
}

fn kernels(program: &Program, constants: &mut ConstantStore) -> Result<Vec<Kernel>, EngineError> {
    let mut out = Vec::with_capacity(program.instrs.len());
    for (i, instr) in program.instrs.iter().enumerate() {
        let failed = |source: Misfit| EngineError::Instruction { at: describe(program, i), source };
        let kernel = match &instr.kind {
            InstrKind::Op(op) => {
                let inputs = program.input_facts(instr);
                let outputs: SmallVec<[_; 2]> = instr.outputs.iter().map(|&v| program.fact(v)).collect();
                op.kernel(&inputs, &outputs).map_err(failed)?
            }
            InstrKind::If(_) | InstrKind::Loop(_) => eager::block_kernel(instr, constants)?,
        };
        out.push(kernel);
    }
    Ok(out)
}

/// For each value the value whose bytes it is (itself, or what it is an alias of).
fn owners(program: &Program, kernels: &[Kernel]) -> Vec<usize> {
    let mut owner: Vec<usize> = (0..program.values.len()).collect();
    for (instr, kernel) in program.instrs.iter().zip(kernels) {
        if matches!(kernel.run, Run::Alias) {
            owner[instr.outputs[0].idx()] = owner[instr.inputs[0].idx()];
        }
    }
    owner
}

/// The last instruction that reads each owner's bytes; program outputs are read after the end.
fn last_uses(program: &Program, owner: &[usize]) -> Vec<usize> {
    let mut last = vec![0; owner.len()];
    for (i, instr) in program.instrs.iter().enumerate() {
        for v in instr.outputs.iter().chain(&instr.inputs) {
            last[owner[v.idx()]] = last[owner[v.idx()]].max(i);
        }
    }
    for v in &program.outputs {
        last[owner[v.idx()]] = program.instrs.len();
    }
    last
}

/// Groups owners that share one buffer (in-place results) into units, with the units' lifetimes. `NONE`: no buffer.
fn units(
    program: &Program,
    kernels: &[Kernel],
    sizes: &[Size],
    owner: &[usize],
    last_use: &[usize],
) -> (Vec<usize>, Vec<Lifetime>) {
    let mut unit = vec![NONE; owner.len()];
    let mut lifetimes: Vec<Lifetime> = Vec::new();
    for (i, (instr, kernel)) in program.instrs.iter().zip(kernels).enumerate() {
        if matches!(kernel.run, Run::Alias) {
            continue;
        }
        let mut taken: SmallVec<[usize; 2]> = SmallVec::new();
        for (port, out) in instr.outputs.iter().enumerate() {
            let bytes = sizes[out.idx()].bytes;
            let shared = kernel.in_place.iter().filter(|p| p.1 == port).find_map(|&(input, _)| {
                let from = owner[instr.inputs.get(input)?.idx()];
                let reads = instr.inputs.iter().filter(|v| owner[v.idx()] == from).count();
                let free = unit[from] != NONE
                    && reads == 1
                    && last_use[from] == i
                    && sizes[from].bytes == bytes
                    && bytes > 0
                    && !taken.contains(&from);
                free.then_some(from)
            });
            let end = last_use[out.idx()].max(i);
            unit[out.idx()] = match shared {
                Some(from) => {
                    taken.push(from);
                    let u = unit[from];
                    lifetimes[u].end = lifetimes[u].end.max(end);
                    u
                }
                None => {
                    lifetimes.push(Lifetime { bytes, start: i, end });
                    lifetimes.len() - 1
                }
            };
        }
    }
    (unit, lifetimes)
}

/// Outputs that are feeds or parameters get a buffer and a copy, so that reading outputs borrows the arena alone.
/// Returns the lifetime index per program output, `NONE` where no copy is needed.
fn add_copies(program: &Program, owner: &[usize], sizes: &[Size], lifetimes: &mut Vec<Lifetime>) -> Vec<usize> {
    let end = program.instrs.len();
    program
        .outputs
        .iter()
        .map(|v| {
            let own = Value::new(owner[v.idx()]);
            if matches!(program.def(own), Def::Output { .. }) {
                return NONE;
            }
            lifetimes.push(Lifetime { bytes: sizes[v.idx()].bytes, start: end, end });
            lifetimes.len() - 1
        })
        .collect()
}

fn add_slots(
    plan: &mut Plan,
    program: &Program,
    params: &[Value],
    constants: &mut ConstantStore,
    owner: &[usize],
    unit: &[usize],
    offsets: &[usize],
    sizes: Vec<Size>,
) -> Result<(), EngineError> {
    let readers = program.readers();
    let mut constant_slot = vec![NONE; program.constants.len()];
    for (i, c) in program.constants.iter().enumerate() {
        let used = !readers[c.value.idx()].is_empty() || program.outputs.contains(&c.value);
        if !used || params.contains(&c.value) {
            continue;
        }
        let tensor = constants
            .load(c.node.as_ref(), &c.payload)
            .map_err(|source| EngineError::Constant { name: program.describe(c.value), source })?;
        constant_slot[i] = plan.constants.len();
        plan.constants.push(tensor);
    }
    for (i, size) in sizes.into_iter().enumerate() {
        let own = Value::new(owner[i]);
        let place = match program.def(own) {
            Def::Feed(f) => Place::Feed(f),
            Def::Constant(c) => match params.iter().position(|&p| p == own) {
                Some(p) => Place::Param(p),
                // A constant that nobody reads needs no bytes.
                None if constant_slot[c] == NONE => Place::Arena(0),
                None => Place::Constant(constant_slot[c]),
            },
            Def::Output { .. } => Place::Arena(offsets[unit[owner[i]]]),
        };
        plan.slots.push(Slot { place, bytes: size.bytes, dtype: size.dtype, dims: size.dims });
    }
    Ok(())
}

fn add_steps(plan: &mut Plan, program: &Program, kernels: Vec<Kernel>, scratch: &[usize], offsets: &[usize]) {
    for (i, (instr, kernel)) in program.instrs.iter().zip(kernels).enumerate() {
        let work = match kernel.run {
            Run::Alias => continue,
            Run::Compute(f) => Work::Compute(f),
            Run::Host(f) => Work::Host(f),
        };
        plan.steps.push(Step {
            work,
            inputs: instr.inputs.iter().map(|v| v.idx() as u32).collect(),
            outputs: instr.outputs.iter().map(|v| v.idx() as u32).collect(),
            scratch: if scratch[i] == NONE { (0, 0) } else { (offsets[scratch[i]], kernel.scratch) },
            flops: kernel.flops,
            kind: instr.name(),
            instr: i,
            at: describe(program, i),
        });
    }
}

fn add_outputs(plan: &mut Plan, program: &Program, copies: &[usize], offsets: &[usize]) {
    for (v, &copy) in program.outputs.iter().zip(copies) {
        if copy == NONE {
            plan.outputs.push(v.idx() as u32);
            continue;
        }
        let from = &plan.slots[v.idx()];
        let slot = Slot { place: Place::Arena(offsets[copy]), ..from.clone() };
        let to = plan.slots.len() as u32;
        plan.slots.push(slot);
        plan.outputs.push(to);
        plan.steps.push(Step {
            work: Work::Copy,
            inputs: SmallVec::from_slice(&[v.idx() as u32]),
            outputs: SmallVec::from_slice(&[to]),
            scratch: (0, 0),
            flops: 0,
            kind: "copy",
            instr: program.instrs.len(),
            at: program.describe(*v),
        });
    }
}
