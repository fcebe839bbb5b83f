//! Follows a dimension back to the constant that fixes it.

use crate::ops::index::Gather;
use crate::ops::random::RandomUniform;
use crate::ops::shape::{BroadcastTo, Concat, Reshape, Slice, StridedMasks, StridedSlice, Tile, Transpose};
use crate::program::{Def, Instr, Value};
use crate::tensor::{Tensor, shape};

use super::terms::Term;
use super::walk::Solver;

/// Ways back are not longer than this many instructions.
const MAX_STEPS: usize = 1 << 16;
/// Constants up to this many elements are looked at for positions counted up.
const MAX_COUNTED: usize = 1 << 22;

impl Solver<'_> {
    /// Says that `axis` of `v` must be `term`. Errors: what fixes it is neither a shape, a block of one number, nor a count.
    pub(super) fn demand(&mut self, v: Value, axis: usize, term: Term, left: Option<usize>) -> Result<(), String> {
        let left = left.unwrap_or(MAX_STEPS).checked_sub(1).ok_or("the way back to its size is too long")?;
        // Free already, or made so by another way back.
        if self.new_terms(v).is_some_and(|t| t.get(axis) == Some(&term)) {
            return Ok(());
        }
        let i = match self.program.def(v) {
            Def::Constant(i) => return self.block(i, axis, term),
            Def::Feed(_) => return Err(format!("{} is fixed by a placeholder", self.program.describe(v))),
            Def::Output { instr, .. } => instr,
        };
        let program = self.program;
        let instr = &program.instrs[i];
        let dims = self.old_dims(v).ok_or("a shape on the way back is not known")?;
        if instr.op_as::<RandomUniform>().is_some() {
            return self.set(i, 0, axis, term).map(|_| ());
        }
        if instr.op_as::<Reshape>().is_some() {
            return self.through_reshape(i, &dims, axis, term, left);
        }
        if instr.op_as::<BroadcastTo>().is_some() {
            self.set(i, 1, axis, term)?;
            return self.through_operands(instr, &dims, axis, term, left, 1);
        }
        if instr.op_as::<Slice>().is_some() {
            let from = self.old_dims(instr.inputs[0]).and_then(|d| d.get(axis).copied());
            if self.old[instr.inputs[2].idx()].ints().and_then(|s| s.get(axis).copied()) == Some(-1) {
                return self.demand(instr.inputs[0], axis, term, Some(left));
            }
            self.note_table(from, term);
            return self.set(i, 2, axis, term).map(|_| ());
        }
        if let Some(op) = instr.op_as::<StridedSlice>() {
            return self.through_slice(i, op.masks, axis, term, left);
        }
        if instr.op_as::<Transpose>().is_some() {
            let perm = self.old[instr.inputs[1].idx()].ints().ok_or("a permutation is not known")?;
            let from =
                perm.get(axis).and_then(|&a| shape::normalize_axis(a, dims.len())).ok_or("a permutation is wrong")?;
            return self.demand(instr.inputs[0], from, term, Some(left));
        }
        if instr.op_as::<Tile>().is_some() {
            let from = self.old_dims(instr.inputs[0]).and_then(|d| d.get(axis).copied());
            return match from {
                Some(1) => self.set(i, 1, axis, term).map(|_| ()),
                _ => self.demand(instr.inputs[0], axis, term, Some(left)),
            };
        }
        if let Some(op) = instr.op_as::<Gather>() {
            let table = self.old_dims(instr.inputs[0]).ok_or("a table's shape is not known")?;
            let picks = self.old_dims(instr.inputs[1]).ok_or("the shape of picks is not known")?;
            let along = shape::normalize_axis(op.axis, table.len()).ok_or("a gather has no such axis")?;
            let is_pick = op.batch_dims == 0 && (along..along + picks.len()).contains(&axis);
            if is_pick {
                self.note_table(table.get(along).copied(), term);
                return self.demand(instr.inputs[1], axis - along, term, Some(left));
            }
        }
        if let Some(op) = instr.op_as::<Concat>()
            && shape::normalize_axis(op.axis, dims.len()) == Some(axis)
        {
            return Err("it is put together from parts of fixed sizes".to_owned());
        }
        // Everything else keeps its axes or broadcasts.
        self.through_operands(instr, &dims, axis, term, left, instr.inputs.len())
    }

    /// Operands that have the same axis, counted from the end.
    fn through_operands(
        &mut self,
        instr: &Instr,
        dims: &[usize],
        axis: usize,
        term: Term,
        left: usize,
        n: usize,
    ) -> Result<(), String> {
        let mut any = instr.op_as::<BroadcastTo>().is_some();
        for &x in instr.inputs.iter().take(n) {
            let Some(own) = self.old_dims(x) else { continue };
            let Some(at) = (axis + own.len()).checked_sub(dims.len()) else { continue };
            if own.get(at) == Some(&dims[axis]) && (dims[axis] != 1 || own.len() == dims.len()) {
                self.demand(x, at, term, Some(left))?;
                any = true;
            }
        }
        if any { Ok(()) } else { Err(format!("{} makes it of its own", instr.name())) }
    }

    /// A dimension that stands alone on both sides of a reshape goes through it.
    fn through_reshape(&mut self, i: usize, to: &[usize], axis: usize, term: Term, left: usize) -> Result<(), String> {
        let instr = &self.program.instrs[i];
        let from = self.old_dims(instr.inputs[0]).ok_or("a shape on the way back is not known")?;
        let before: usize = to[..axis].iter().product();
        let mut product = 1;
        for (at, &d) in from.iter().enumerate() {
            if product == before && d == to[axis] && (d != 1 || from.len() == to.len() || at == axis) {
                self.demand(instr.inputs[0], at, term, Some(left))?;
                let is_open = self.old[instr.inputs[1].idx()].ints().and_then(|s| s.get(axis).copied()) == Some(-1);
                return if is_open { Ok(()) } else { self.set(i, 1, axis, term).map(|_| ()) };
            }
            product *= d;
        }
        Err(format!("a reshape from {:?} to {to:?} mixes it with other dimensions", &from[..]))
    }

    fn through_slice(
        &mut self,
        i: usize,
        masks: StridedMasks,
        axis: usize,
        term: Term,
        left: usize,
    ) -> Result<(), String> {
        let instr = &self.program.instrs[i];
        if masks.ellipsis != 0 || masks.new_axis != 0 {
            return Err("a slice with new axes fixes it".to_owned());
        }
        // The entry whose dimension is the axis of the result.
        let mut kept = 0;
        let n = self.old[instr.inputs[1].idx()].dims().map_or(0, |d| d.iter().product::<usize>());
        for entry in 0..n {
            if masks.shrink >> entry & 1 == 1 {
                continue;
            }
            if kept == axis {
                let is_whole = masks.begin >> entry & 1 == 1 && masks.end >> entry & 1 == 1;
                let from = self.old_dims(instr.inputs[0]).and_then(|d| d.get(entry).copied());
                let out = self.old_dims(instr.outputs[0]).and_then(|d| d.get(axis).copied());
                if is_whole {
                    return self.demand(instr.inputs[0], entry, term, Some(left));
                }
                let begin = self.old[instr.inputs[1].idx()].ints().and_then(|b| b.get(entry).copied());
                let from_start = masks.begin >> entry & 1 == 1 || begin == Some(0);
                if !from_start {
                    return Err("a slice that does not begin at 0 fixes it".to_owned());
                }
                if from == out {
                    self.demand(instr.inputs[0], entry, term, Some(left))?;
                } else {
                    self.note_table(from, term);
                }
                return self.set(i, 2, entry, term).map(|_| ());
            }
            kept += 1;
        }
        let behind = axis - kept + n;
        self.demand(instr.inputs[0], behind, term, Some(left))
    }

    /// A table that positions are taken from bounds the length.
    fn note_table(&mut self, rows: Option<usize>, term: Term) {
        if let Some(rows) = rows.filter(|_| term == Term { factor: 1, batch: 0, length: 1 }) {
            self.solved.longest = Some(self.solved.longest.map_or(rows, |n| n.min(rows)));
        }
    }

    /// A constant that is as long as a size because it holds the same number everywhere, or counts up.
    fn block(&mut self, i: usize, axis: usize, term: Term) -> Result<(), String> {
        let constant = &self.program.constants[i];
        let name = || constant.node.as_ref().map_or("a number of a rule", |n| n.as_str()).to_owned();
        let elements = constant.payload.element_count();
        let values = (elements <= MAX_COUNTED).then(|| constant.payload.load().ok()).flatten();
        let values = values.ok_or_else(|| format!("{} cannot be read", name()))?;
        let n = constant.payload.shape.len();
        if !(is_uniform(&values) || is_count(&values, axis)) {
            return Err(format!("{} holds different numbers along that size, so it cannot be made longer", name()));
        }
        let axes = self.solved.blocks.entry(i).or_insert_with(|| vec![None; n]);
        match axes.get_mut(axis) {
            Some(slot @ None) => *slot = Some(term),
            Some(Some(other)) if *other == term => {}
            _ => return Err(format!("{} would have to follow two sizes", name())),
        }
        Ok(())
    }
}

/// Whether all elements are equal.
pub(super) fn is_uniform(t: &Tensor) -> bool {
    let size = t.dtype().size().max(1);
    let bytes = t.bytes();
    bytes.len() >= size && bytes.chunks_exact(size).all(|c| c == &bytes[..size])
}

/// Whether the only dimension above 1 is `axis` and the integers there are 0, 1, 2, ….
pub(super) fn is_count(t: &Tensor, axis: usize) -> bool {
    let alone = t.shape().iter().enumerate().all(|(a, &d)| d == 1 || a == axis);
    alone && t.dtype().is_int() && t.to_i64s().is_some_and(|v| v.iter().enumerate().all(|(i, x)| *x == i as i64))
}
