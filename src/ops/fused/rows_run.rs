//! Runs [`Rows`]: which step writes where, and the loop over blocks.
//!
//! The split into tasks and blocks depends on the shape alone, and sums over rows are added task by task in order, so
//! results do not depend on the number of threads. Intermediate blocks lie in memory of the thread.
#![allow(unsafe_code)]

use std::cell::RefCell;

use smallvec::SmallVec;

use crate::ops::random::dropout::threshold_and_scale;
use crate::ops::random::philox::{GROUP, Stream};
use crate::ops::simd::{Shared, parallel_grain};
use crate::program::{Call, Kernel};

use super::micro::{self, Extent, Source};
use super::rows::{Arg, Lie, Rows, Step};

/// Elements of a block: a dozen live blocks fit into the second-level cache.
const BLOCK: usize = 4096;
/// Elements of a task at least.
const TASK: usize = 32 * 1024;
/// More tasks than this bring nothing, and each costs a partial sum per column.
const MAX_TASKS: usize = 48;

/// Where a step's result goes.
#[derive(Clone, Copy, Debug)]
enum Target {
    /// Straight into the output's memory.
    Output(usize),
    /// A block of the thread, at this offset in floats.
    Block(usize),
    /// The partial sums of a task, this many columns from its start.
    Partial(usize),
}

#[derive(Debug)]
struct Prepared {
    rows: Rows,
    targets: Vec<Target>,
    /// Offset of the gathered rows of each spread input in the thread's memory.
    gathered: Vec<Option<usize>>,
    /// Floats of thread memory.
    floats: usize,
    block_rows: usize,
    task_rows: usize,
    /// Columns of partial sums.
    partial: usize,
    /// For each output the block it is computed in where its memory still holds an input that later steps read.
    spare: Vec<Option<usize>>,
    /// `(input, output)` pairs for which that is so when both share memory.
    late: Vec<(usize, usize)>,
}

/// A cache line of floats.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

thread_local! {
    static BLOCKS: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn kernel(rows: &Rows) -> Kernel {
    let p = prepare(rows);
    let tasks = p.rows.rows.div_ceil(p.task_rows.max(1));
    let scratch = p.partial * tasks * size_of::<f32>();
    let flops = (rows.rows * rows.cols) as u64 * rows.steps.len() as u64;
    let pairs = in_place_pairs(rows);
    Kernel::compute(move |call| run(&p, call)).scratch(scratch).flops(flops).in_place(pairs)
}

/// Every whole output may take the place of every whole input: see [`Prepared::spare`].
fn in_place_pairs(rows: &Rows) -> Vec<(usize, usize)> {
    let whole = |step: &Step| !step.is_column() && !matches!(step, Step::ColumnSum { .. });
    let outputs = rows.outputs.iter().enumerate().filter(|(_, o)| whole(&rows.steps[o.step])).map(|(o, _)| o);
    let inputs: Vec<usize> = (0..rows.inputs.len()).filter(|&k| rows.inputs[k] == Lie::Full).collect();
    outputs.flat_map(|o| inputs.iter().map(move |&k| (k, o)).collect::<Vec<_>>()).collect()
}

/// Of these pairs, those whose input is still read when (or after) the output is computed.
fn late_pairs(rows: &Rows) -> Vec<(usize, usize)> {
    let last_read = |k: usize| rows.steps.iter().rposition(|s| s.args().contains(&Arg::Input(k)));
    in_place_pairs(rows).into_iter().filter(|&(k, o)| last_read(k) >= Some(rows.outputs[o].step)).collect()
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

fn prepare(rows: &Rows) -> Prepared {
    let cols = rows.cols.max(1);
    // Blocks start at whole groups of random numbers.
    let unit = if rows.steps.iter().any(|s| matches!(s, Step::Dropout { .. })) {
        GROUP / greatest_common_divisor(GROUP, cols)
    } else {
        1
    };
    let block_rows = (BLOCK / cols).max(1).min(rows.rows.max(1)).next_multiple_of(unit);
    let per_task = TASK.div_ceil(cols).max(rows.rows.div_ceil(MAX_TASKS)).max(1);
    let task_rows = per_task.next_multiple_of(block_rows);
    let mut at = Allocator {
        block: (block_rows * cols).next_multiple_of(16),
        column: block_rows.next_multiple_of(16),
        ..Allocator::default()
    };
    let gathered = rows
        .inputs
        .iter()
        .map(|lie| match lie {
            Lie::Spread { vector, .. } => Some(at.take(!vector)),
            _ => None,
        })
        .collect();
    let late = late_pairs(rows);
    let spare = (0..rows.outputs.len()).map(|o| late.iter().any(|p| p.1 == o).then(|| at.take(false))).collect();
    let last_use = last_uses(rows);
    let mut partial = 0;
    let mut targets: Vec<Target> = Vec::with_capacity(rows.steps.len());
    for (i, step) in rows.steps.iter().enumerate() {
        let target = match (step, rows.outputs.iter().position(|o| o.step == i)) {
            (Step::ColumnSum { .. }, _) => {
                partial += cols;
                Target::Partial(partial - cols)
            }
            (_, Some(o)) => Target::Output(o),
            _ => Target::Block(at.take(step.is_column())),
        };
        targets.push(target);
        // Results are free again after the step that reads them last.
        for (s, _) in last_use.iter().enumerate().filter(|&(s, &last)| last == i && s <= i) {
            if let Target::Block(offset) = targets[s] {
                at.free(offset, rows.steps[s].is_column());
            }
        }
    }
    Prepared { rows: rows.clone(), targets, gathered, floats: at.end, block_rows, task_rows, partial, spare, late }
}

/// For each step the last step that reads it (itself where none does).
fn last_uses(rows: &Rows) -> Vec<usize> {
    let mut last: Vec<usize> = (0..rows.steps.len()).collect();
    for (i, step) in rows.steps.iter().enumerate() {
        for arg in step.args() {
            if let Arg::Step(s) = arg {
                last[s] = i;
            }
        }
    }
    last
}

/// Hands out blocks and columns of the thread's memory, reusing what is free.
#[derive(Default)]
struct Allocator {
    block: usize,
    column: usize,
    end: usize,
    free_blocks: Vec<usize>,
    free_columns: Vec<usize>,
}

impl Allocator {
    fn take(&mut self, column: bool) -> usize {
        let (free, size) =
            if column { (&mut self.free_columns, self.column) } else { (&mut self.free_blocks, self.block) };
        free.pop().unwrap_or_else(|| {
            self.end += size;
            self.end - size
        })
    }

    fn free(&mut self, offset: usize, column: bool) {
        if column { self.free_columns.push(offset) } else { self.free_blocks.push(offset) }
    }
}

/// What a block is computed from and into; pointers of one call.
struct Memory<'a> {
    inputs: SmallVec<[*const f32; 16]>,
    outputs: SmallVec<[Shared<f32>; 16]>,
    partials: Shared<f32>,
    random: crate::program::Random,
    /// Outputs that are computed in their spare block and copied when the block is done.
    deferred: SmallVec<[bool; 16]>,
    p: &'a Prepared,
}

// SAFETY: tasks read the inputs and write disjoint rows of the outputs and disjoint partial sums.
unsafe impl Sync for Memory<'_> {}

fn run(p: &Prepared, call: &mut Call<'_>) {
    let tasks = p.rows.rows.div_ceil(p.task_rows.max(1));
    let deferred =
        (0..p.rows.outputs.len()).map(|o| p.late.iter().any(|&(k, late)| late == o && call.aliased(k, o))).collect();
    let partials: &mut [f32] = &mut bytemuck::cast_slice_mut(call.scratch)[..p.partial * tasks];
    partials.fill(0.0);
    let memory = Memory {
        inputs: call.inputs.iter().map(|v| v.ptr::<f32>()).collect(),
        outputs: call.outputs.iter_mut().map(|v| Shared::new(v.ptr::<f32>())).collect(),
        partials: Shared::new(partials.as_mut_ptr()),
        random: call.random,
        deferred,
        p,
    };
    parallel_grain(p.rows.rows, p.task_rows, |range| {
        BLOCKS.with_borrow_mut(|lines| {
            let needed = p.floats.div_ceil(16);
            if lines.len() < needed {
                lines.resize(needed, Line([0.0; 16]));
            }
            let own = lines.as_mut_ptr().cast::<f32>();
            let task = range.start / p.task_rows;
            let mut row = range.start;
            while row < range.end {
                let n = p.block_rows.min(range.end - row);
                // SAFETY: the block's rows belong to this task; `own` holds `floats` numbers of this thread.
                unsafe { memory.block(own, task, row, n) };
                row += n;
            }
        });
    });
    for (i, out) in p.rows.outputs.iter().enumerate() {
        if let Target::Partial(at) = p.targets[out.step] {
            add_partials(partials, p.partial, at, call.outputs[i].slice::<f32>());
        }
    }
}

/// Adds the tasks' sums in order.
fn add_partials(partials: &[f32], stride: usize, at: usize, to: &mut [f32]) {
    to.fill(0.0);
    for task in partials.chunks_exact(stride) {
        for (to, &x) in to.iter_mut().zip(&task[at..]) {
            *to += x;
        }
    }
}

impl Memory<'_> {
    /// Computes rows `row .. row + n`.
    ///
    /// # Safety
    /// The rows are within the matrix and nobody else computes them; `own` points to the prepared number of floats.
    unsafe fn block(&self, own: *mut f32, task: usize, row: usize, n: usize) {
        let p = self.p;
        let e = Extent { rows: n, cols: p.rows.cols };
        // SAFETY (whole body): inputs were checked to be as long as they lie, targets do not overlap what a step reads.
        unsafe {
            let inputs: SmallVec<[Source; 16]> = (0..self.inputs.len()).map(|k| self.input(k, own, row, n)).collect();
            let source = |arg: Arg| match arg {
                Arg::Input(k) => inputs[k],
                Arg::Step(s) => self.result(s, own, row),
            };
            for (i, step) in p.rows.steps.iter().enumerate() {
                let to = self.target(i, own, task, row);
                match *step {
                    Step::Unary { f, x, column } => micro::one_step(f, source(x), to, e, column),
                    Step::Binary { f, a, b, column } => micro::two_step(f, source(a), source(b), to, e, column),
                    Step::Pair { f, a, b, c } => micro::pair_step(f, source(a), source(b), source(c), to, e),
                    Step::Select { cond, a, b, column } => {
                        micro::select_step(source(cond), source(a), source(b), to, e, column);
                    }
                    Step::Fold { f, x } => micro::fold_step(f, source(x), to, e),
                    Step::ColumnSum { x } => micro::column_sum_step(source(x), to, e),
                    Step::Dropout { site, x, rate } => {
                        let (below, scale) = threshold_and_scale(f64::from(*self.inputs[rate]));
                        let first = (row * p.rows.cols) as u64;
                        let stream = Stream::new(self.random, site);
                        micro::dropout_step(stream, first, (below, scale as f32), source(x), to, e);
                    }
                }
            }
            for (o, out) in p.rows.outputs.iter().enumerate().filter(|(o, _)| self.deferred[*o]) {
                let to = self.outputs[o].at(row * p.rows.cols..(row + n) * p.rows.cols);
                let from = self.target(out.step, own, task, row).cast_const();
                std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len());
            }
        }
    }

    /// # Safety
    /// As [`Self::block`].
    unsafe fn target(&self, step: usize, own: *mut f32, task: usize, row: usize) -> *mut f32 {
        // SAFETY: offsets were laid out within these buffers.
        unsafe {
            match self.p.targets[step] {
                Target::Block(offset) => own.add(offset),
                Target::Partial(at) => {
                    self.partials.at(task * self.p.partial + at..task * self.p.partial + at).as_mut_ptr()
                }
                Target::Output(o) if self.deferred[o] => self.p.spare[o].map_or(own, |offset| own.add(offset)),
                Target::Output(o) => {
                    let start = if self.p.rows.steps[step].is_column() { row } else { row * self.p.rows.cols };
                    self.outputs[o].at(start..start).as_mut_ptr()
                }
            }
        }
    }

    /// # Safety
    /// As [`Self::block`]; the step has been computed for this block.
    unsafe fn result(&self, step: usize, own: *mut f32, row: usize) -> Source {
        // SAFETY: the caller's promise; partial sums are never read by steps.
        let start = unsafe { self.target(step, own, 0, row) }.cast_const();
        if self.p.rows.steps[step].is_column() {
            Source::Each(start)
        } else {
            Source::Vector { start, stride: self.p.rows.cols }
        }
    }

    /// # Safety
    /// As [`Self::block`].
    unsafe fn input(&self, k: usize, own: *mut f32, row: usize, n: usize) -> Source {
        let (start, cols) = (self.inputs[k], self.p.rows.cols);
        // SAFETY: the input is as long as it lies.
        unsafe {
            match &self.p.rows.inputs[k] {
                Lie::Full => Source::Vector { start: start.add(row * cols), stride: cols },
                Lie::Column => Source::Each(start.add(row)),
                Lie::Row => Source::Vector { start, stride: 0 },
                Lie::Scalar => Source::One(*start),
                Lie::Spread { dims, strides, vector } => {
                    let to = self.p.gathered[k].map_or(own, |offset| own.add(offset));
                    gather(start, dims, strides, *vector, cols, row..row + n, to)
                }
            }
        }
    }
}

/// The rows of a spread input: in place where all of them are one and the same, else gathered.
///
/// # Safety
/// Every offset that the strides give lies within the input; `to` has room for the block.
unsafe fn gather(
    start: *const f32,
    dims: &[usize],
    strides: &[usize],
    vector: bool,
    cols: usize,
    rows: std::ops::Range<usize>,
    to: *mut f32,
) -> Source {
    let offset = |mut row: usize| {
        let mut at = 0;
        for (&d, &s) in dims.iter().zip(strides).rev() {
            at += row % d * s;
            row /= d;
        }
        at
    };
    // Along the innermost dimension that does not repeat, offsets change; blocks within one of its steps see one row.
    let repeat: usize = dims.iter().zip(strides).rev().take_while(|d| *d.1 == 0).map(|d| *d.0).product();
    let first = offset(rows.start);
    // SAFETY: the caller's promise.
    unsafe {
        if rows.start / repeat.max(1) == (rows.end - 1) / repeat.max(1) {
            return match vector {
                true => Source::Vector { start: start.add(first), stride: 0 },
                false => Source::One(*start.add(first)),
            };
        }
        let n = rows.end - rows.start;
        for (i, row) in rows.enumerate() {
            let at = start.add(offset(row));
            if vector {
                std::ptr::copy_nonoverlapping(at, to.add(i * cols), cols);
            } else {
                *to.add(i) = *at;
            }
        }
        debug_assert!(n > 0);
        match vector {
            true => Source::Vector { start: to, stride: cols },
            false => Source::Each(to),
        }
    }
}
