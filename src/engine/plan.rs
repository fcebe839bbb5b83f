//! A program with known shapes as a flat list of kernel steps on slots. Made by `plan_make`; run here.
//!
//! A run of static steps allocates nothing, hashes nothing and takes no lock of its own.

use std::time::Instant;

use smallvec::SmallVec;

use crate::program::kernel::{HostFn, KernelFn};
use crate::program::{Call, Program, Value, View, ViewMut};
use crate::tensor::{DType, Dims, Element, Tensor};

use super::memory::Workspace;
use super::{Bindings, ConstantStore, Control, Cost, EngineError};

const STACK_OUTPUTS: usize = 16;

/// Where a value's bytes are during a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Byte offset in the arena.
    Arena(usize),
    Constant(usize),
    Feed(usize),
    Param(usize),
}

#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) place: Place,
    pub(super) bytes: usize,
    pub(super) dtype: DType,
    pub(super) dims: Dims,
}

pub(super) enum Work {
    Compute(KernelFn),
    Host(HostFn),
    /// Bytes of a value that is bound from outside, copied into an output slot.
    Copy,
}

pub(super) struct Step {
    pub(super) work: Work,
    pub(super) inputs: SmallVec<[u32; 4]>,
    pub(super) outputs: SmallVec<[u32; 2]>,
    /// Offset and bytes of scratch in the arena.
    pub(super) scratch: (usize, usize),
    pub(super) flops: u64,
    pub(super) kind: &'static str,
    pub(super) instr: usize,
    /// What errors call the step.
    pub(super) at: String,
}

/// What must be bound at each run.
#[derive(Clone, Debug)]
pub struct Bound {
    pub name: String,
    pub dtype: DType,
    pub dims: Dims,
}

/// See the module doc.
pub struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) slots: Vec<Slot>,
    pub(super) constants: Vec<Tensor>,
    pub(super) feeds: Vec<Bound>,
    pub(super) params: Vec<Bound>,
    pub(super) outputs: Vec<u32>,
    pub(super) arena_bytes: usize,
    pub(super) arena_lower_bound: usize,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "plan of {} steps, {} bytes", self.steps.len(), self.arena_bytes)
    }
}

impl Plan {
    /// Prepares a program whose shapes are all known; [`EngineError::NotStatic`] says what is not.
    /// `params` are constants that each run binds from outside.
    pub fn new(program: &Program, params: &[Value], constants: &mut ConstantStore) -> Result<Self, EngineError> {
        super::plan_make::make(program, params, constants)
    }

    /// Bytes of the arena; parameters, feeds and frozen constants not counted.
    pub fn arena_bytes(&self) -> usize {
        self.arena_bytes
    }

    /// The most bytes that are alive at one time, which [`Self::arena_bytes`] comes close to.
    pub fn arena_lower_bound(&self) -> usize {
        self.arena_lower_bound
    }

    /// Bytes of frozen constants that the plan keeps.
    pub fn constant_bytes(&self) -> usize {
        self.constants.iter().map(|t| t.bytes().len()).sum()
    }

    /// Bytes that a step writes: its results that are in the arena, and its scratch.
    fn bytes_of(&self, step: &Step) -> u64 {
        let slots = step.outputs.iter().map(|&o| &self.slots[o as usize]);
        let results = slots.filter(|s| matches!(s.place, Place::Arena(_))).map(|s| s.bytes as u64);
        results.sum::<u64>() + step.scratch.1 as u64
    }

    pub fn flops(&self) -> u64 {
        self.steps.iter().map(|s| s.flops).sum()
    }

    pub fn step_count(&self) -> usize {
        self.steps.len()
    }

    pub fn feeds(&self) -> &[Bound] {
        &self.feeds
    }

    pub fn params(&self) -> &[Bound] {
        &self.params
    }

    /// Runs every step in the current rayon pool.
    pub fn run(&self, space: &mut Workspace, bind: &Bindings<'_>, mut control: Control<'_>) -> Result<(), EngineError> {
        check("feed", &self.feeds, bind.feeds)?;
        check("parameter", &self.params, bind.params)?;
        space.reserve(self.arena_bytes)?;
        let base = space.base();
        for step in &self.steps {
            if control.cancel.is_some_and(|c| c.is_cancelled()) {
                return Err(EngineError::Cancelled);
            }
            match &mut control.profile {
                None => self.step(step, base, bind)?,
                Some(profile) => {
                    let start = Instant::now();
                    self.step(step, base, bind)?;
                    let cost = Cost { seconds: start.elapsed().as_secs_f64(), bytes: self.bytes_of(step) };
                    profile.add(step.kind, step.instr, cost, step.flops);
                }
            }
        }
        Ok(())
    }

    fn step(&self, step: &Step, base: *mut u8, bind: &Bindings<'_>) -> Result<(), EngineError> {
        match &step.work {
            Work::Compute(f) => {
                let scratch = scratch(base, step.scratch);
                let inputs: SmallVec<[View<'_>; 16]> = step.inputs.iter().map(|&s| self.view(s, base, bind)).collect();
                // On the stack where they fit, which they do but for ops with very many outputs.
                if (1..=STACK_OUTPUTS).contains(&step.outputs.len()) {
                    let mut outputs: [ViewMut<'_>; STACK_OUTPUTS] =
                        std::array::from_fn(|o| self.view_mut(step.outputs[o.min(step.outputs.len() - 1)], base));
                    let outputs = &mut outputs[..step.outputs.len()];
                    f(&mut Call { inputs: &inputs, outputs, scratch, random: bind.random });
                } else {
                    let mut outputs: Vec<ViewMut<'_>> = step.outputs.iter().map(|&s| self.view_mut(s, base)).collect();
                    f(&mut Call { inputs: &inputs, outputs: &mut outputs, scratch, random: bind.random });
                }
            }
            Work::Host(f) => {
                let inputs: Vec<Tensor> = step.inputs.iter().map(|&s| self.tensor(s, base, bind)).collect();
                let outputs = f(&inputs).map_err(|source| EngineError::Instruction { at: step.at.clone(), source })?;
                for (&slot, tensor) in step.outputs.iter().zip(&outputs) {
                    let s = &self.slots[slot as usize];
                    if tensor.dtype() != s.dtype || tensor.shape() != &s.dims[..] {
                        return Err(EngineError::Binding {
                            what: step.at.clone(),
                            expected: format!("{} {:?}", s.dtype, &s.dims[..]),
                            found: format!("{} {:?}", tensor.dtype(), tensor.shape()),
                        });
                    }
                    self.view_mut(slot, base).bytes().copy_from_slice(tensor.bytes());
                }
            }
            Work::Copy => {
                let from = self.view(step.inputs[0], base, bind);
                self.view_mut(step.outputs[0], base).bytes().copy_from_slice(from.bytes());
            }
        }
        Ok(())
    }

    #[allow(unsafe_code)]
    fn view<'a>(&'a self, slot: u32, base: *mut u8, bind: &Bindings<'a>) -> View<'a> {
        let s = &self.slots[slot as usize];
        match s.place {
            // SAFETY: the plan placed the slot within the arena, aligned, and nothing writes it while it is read, but
            // for declared in-place pairs.
            Place::Arena(offset) => unsafe { View::from_raw(base.add(offset), s.bytes, s.dtype) },
            Place::Constant(i) => View::of(&self.constants[i]),
            Place::Feed(i) => View::of(&bind.feeds[i]),
            Place::Param(i) => View::of(&bind.params[i]),
        }
    }

    #[allow(unsafe_code)]
    fn view_mut<'a>(&'a self, slot: u32, base: *mut u8) -> ViewMut<'a> {
        let s = &self.slots[slot as usize];
        let Place::Arena(offset) = s.place else {
            unreachable!("only arena slots are written; `plan_make` sees to it")
        };
        // SAFETY: as in `view`; outputs of one step never overlap.
        unsafe { ViewMut::from_raw(base.add(offset), s.bytes, s.dtype) }
    }

    fn tensor(&self, slot: u32, base: *mut u8, bind: &Bindings<'_>) -> Tensor {
        let s = &self.slots[slot as usize];
        match s.place {
            Place::Constant(i) => self.constants[i].reshaped(&s.dims),
            Place::Feed(i) => bind.feeds[i].reshaped(&s.dims),
            Place::Param(i) => bind.params[i].reshaped(&s.dims),
            Place::Arena(_) => copy(s, self.view(slot, base, bind).bytes()),
        }
    }

    /// Bytes of output `i` of the last run with this workspace.
    pub fn output_bytes<'a>(&'a self, space: &'a Workspace, i: usize) -> &'a [u8] {
        let s = &self.slots[self.outputs[i] as usize];
        match s.place {
            Place::Arena(offset) => space.slice(offset, s.bytes),
            Place::Constant(c) => self.constants[c].bytes(),
            Place::Feed(_) | Place::Param(_) => unreachable!("bound outputs are copied; `plan_make` sees to it"),
        }
    }

    /// Elements of output `i`; panics where `T` is not its storage type.
    pub fn output<'a, T: Element>(&'a self, space: &'a Workspace, i: usize) -> &'a [T] {
        let dtype = self.slots[self.outputs[i] as usize].dtype;
        assert!(T::stores(dtype), "output {i} is {dtype}");
        bytemuck::cast_slice(self.output_bytes(space, i))
    }

    #[allow(unsafe_code)]
    pub fn output_view<'a>(&'a self, space: &'a Workspace, i: usize) -> View<'a> {
        let bytes = self.output_bytes(space, i);
        // SAFETY: the slice lives as long as the borrow of `space` and `self`; slots are aligned for their type.
        unsafe { View::from_raw(bytes.as_ptr(), bytes.len(), self.slots[self.outputs[i] as usize].dtype) }
    }

    pub fn output_tensor(&self, space: &Workspace, i: usize) -> Tensor {
        copy(&self.slots[self.outputs[i] as usize], self.output_bytes(space, i))
    }
}

fn copy(slot: &Slot, bytes: &[u8]) -> Tensor {
    let mut t = Tensor::zeros(slot.dtype, &slot.dims);
    t.bytes_mut().copy_from_slice(bytes);
    t
}

#[allow(unsafe_code)]
fn scratch<'a>(base: *mut u8, (offset, bytes): (usize, usize)) -> &'a mut [u8] {
    // SAFETY: the plan placed the scratch within the arena, where nothing else lives during the step.
    unsafe { std::slice::from_raw_parts_mut(base.add(offset), bytes) }
}

pub(super) fn check(what: &str, bounds: &[Bound], given: &[Tensor]) -> Result<(), EngineError> {
    if bounds.len() != given.len() {
        return Err(EngineError::Binding {
            what: format!("the number of {what}s"),
            expected: bounds.len().to_string(),
            found: given.len().to_string(),
        });
    }
    for (b, t) in bounds.iter().zip(given) {
        if t.dtype() != b.dtype || t.shape() != &b.dims[..] {
            return Err(EngineError::Binding {
                what: format!("{what} {}", b.name),
                expected: format!("{} {:?}", b.dtype, &b.dims[..]),
                found: format!("{} {:?}", t.dtype(), t.shape()),
            });
        }
    }
    Ok(())
}
