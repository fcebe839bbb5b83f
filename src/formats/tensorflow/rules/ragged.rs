//! Spellings of TensorFlow ops: ragged tensors, which are dense values with the ends of their rows (splits).

use smallvec::smallvec;

use crate::graph::Attr;
use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::elementwise::BinaryFn;
use crate::ops::index::{NonZero, ScatterFn, ScatterNd, SearchSorted};
use crate::ops::make;
use crate::ops::reduce::{Cumulative, CumulativeFn, ReduceFn};
use crate::program::{Misfit, Value};
use crate::tensor::DType;

use super::arrays::range;
use super::rows;

pub const RULES: &[Spelling] = rows! {
    "RaggedTensorToTensor" => to_tensor;
    "RaggedRange" => ragged_range;
    "RaggedGather" => gather;
};

/// One level of rows.
#[derive(Clone, Copy)]
struct Level {
    /// Where each row begins, and the end of the last, `int64 [rows + 1]`.
    splits: Value,
    /// The row of each entry, `int64 [entries]`.
    row: Value,
}

/// The last element of a vector, a scalar.
fn last(r: &mut Rule<'_, '_>, v: Value) -> Result<Value, Misfit> {
    let at = make::scalar(r.b, DType::I64, -1.0);
    make::gather(r.b, v, at, 0)
}

/// The length of a vector, a scalar.
fn length(r: &mut Rule<'_, '_>, v: Value) -> Result<Value, Misfit> {
    let n = make::shape_of(r.b, v)?;
    let n = make::slice(r.b, n, &[0], &[1])?;
    make::reshape(r.b, n, &[])
}

fn level(r: &mut Rule<'_, '_>, splits: Value) -> Result<Level, Misfit> {
    let n = last(r, splits)?;
    let entries = range(r, n)?;
    let row = r.b.op(SearchSorted { after_equals: true, to: DType::I64 }, &[splits, entries])?;
    Ok(Level { splits, row: make::add_scalar(r.b, row, -1.0)? })
}

/// The levels, outermost first, as the node's partitions say them.
fn levels(r: &mut Rule<'_, '_>) -> Result<Vec<Level>, Misfit> {
    let list = r.attr("row_partition_types").and_then(Attr::as_list).unwrap_or_default();
    let types: Vec<String> = list.iter().filter_map(|a| a.as_str().map(str::to_owned)).collect();
    let (mut out, mut rows): (Vec<Level>, Option<Value>) = (Vec::new(), None);
    for (i, kind) in types.iter().enumerate() {
        let part = r.input(3 + i)?;
        let part = make::cast(r.b, part, DType::I64)?;
        match kind.as_str() {
            "FIRST_DIM_SIZE" if i == 0 => rows = Some(make::reshape(r.b, part, &[])?),
            "ROW_SPLITS" => out.push(level(r, part)?),
            "VALUE_ROWIDS" => {
                let n = match (rows.take(), out.last().copied()) {
                    (Some(n), _) => n,
                    (None, Some(above)) => length(r, above.row)?,
                    (None, None) => return Err(Misfit::new("the number of rows is not said")),
                };
                let ends = make::add_scalar(r.b, n, 1.0)?;
                let ends = range(r, ends)?;
                let splits = r.b.op(SearchSorted { after_equals: false, to: DType::I64 }, &[part, ends])?;
                out.push(Level { splits, row: part });
            }
            other => return Err(Misfit(format!("a partition of rows as {other:?} is not supported"))),
        }
    }
    if out.is_empty() { Err(Misfit::new("there is no partition of rows")) } else { Ok(out) }
}

/// For each entry of a level its place in its row.
fn columns(r: &mut Rule<'_, '_>, level: Level) -> Result<Value, Misfit> {
    let begin = make::gather(r.b, level.splits, level.row, 0)?;
    let n = length(r, level.row)?;
    let entries = range(r, n)?;
    make::sub(r.b, entries, begin)
}

/// The length of the longest row, `[1]`.
fn longest(r: &mut Rule<'_, '_>, splits: Value) -> Result<Value, Misfit> {
    let lengths = lengths_of(r, splits)?;
    let none = r.ints_literal(&[0]);
    let all = make::concat(r.b, &[none, lengths], 0)?;
    let axes = r.ints_literal(&[0]);
    make::reduce(r.b, ReduceFn::Max, all, axes, true)
}

fn lengths_of(r: &mut Rule<'_, '_>, splits: Value) -> Result<Value, Misfit> {
    let n = make::shape_of(r.b, splits)?;
    let n = make::add_scalar(r.b, n, -1.0)?;
    let (first, second) = (r.ints_literal(&[0]), r.ints_literal(&[1]));
    let begins = r.b.op(crate::ops::shape::Slice, &[splits, first, n])?;
    let ends = r.b.op(crate::ops::shape::Slice, &[splits, second, n])?;
    make::sub(r.b, ends, begins)
}

/// Inputs: shape (-1 for what is not said), values, default, partitions. What has no place in the shape is left out.
fn to_tensor(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (shape, mut values, default) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let levels = levels(r)?;
    // The coordinates of every value: its column, then those of the rows that it lies in.
    let mut coordinates = Vec::new();
    let mut at: Option<Value> = None;
    for &level in levels.iter().rev() {
        let (mut column, mut row) = (columns(r, level)?, level.row);
        if let Some(at) = at {
            (column, row) = (make::gather(r.b, column, at, 0)?, make::gather(r.b, row, at, 0)?);
        }
        coordinates.push(make::reshape(r.b, column, &[-1, 1])?);
        at = Some(row);
    }
    coordinates.push(make::reshape(r.b, at.ok_or_else(|| Misfit::new("there is no row"))?, &[-1, 1])?);
    coordinates.reverse();
    let mut place = make::concat(r.b, &coordinates, 1)?;
    let rows = make::shape_of(r.b, levels[0].splits)?;
    let mut sizes = vec![make::add_scalar(r.b, rows, -1.0)?];
    for level in &levels {
        sizes.push(longest(r, level.splits)?);
    }
    let mut sizes = make::concat(r.b, &sizes, 0)?;
    let said = r.b.fact(shape).ints();
    let says_nothing = r.b.fact(shape).rank() == Some(0) || said.is_some_and(|s| s.iter().all(|&n| n < 0));
    if !says_nothing {
        let depth = levels.len() as i64 + 1;
        let said = make::cast(r.b, shape, DType::I64)?;
        let said = make::slice(r.b, said, &[0], &[depth])?;
        let zero = make::scalar(r.b, DType::I64, 0.0);
        let is_open = make::less(r.b, said, zero)?;
        sizes = make::select(r.b, is_open, sizes, said)?;
        let fits = make::less(r.b, place, sizes)?;
        let axes = r.ints_literal(&[1]);
        let fits = make::reduce(r.b, ReduceFn::All, fits, axes, false)?;
        let kept = r.b.op(NonZero, &[fits])?;
        let kept = make::reshape(r.b, kept, &[-1])?;
        place = make::gather(r.b, place, kept, 0)?;
        values = make::gather(r.b, values, kept, 0)?;
    }
    let own = make::shape_of(r.b, values)?;
    let inner = make::slice(r.b, own, &[1], &[-1])?;
    let all = make::concat(r.b, &[sizes, inner], 0)?;
    let base = make::broadcast_to(r.b, default, all)?;
    Ok(smallvec![r.b.op(ScatterNd { f: ScatterFn::Update }, &[base, place, values])?])
}

/// Splits `[rows + 1]` of rows with these lengths; and for each entry its row and its place there.
fn rows_of(r: &mut Rule<'_, '_>, lengths: Value) -> Result<(Value, Value, Value), Misfit> {
    let axis = make::scalar(r.b, DType::I64, 0.0);
    let ends = r.b.op(Cumulative { f: CumulativeFn::Sum, exclusive: false, reverse: false }, &[lengths, axis])?;
    let zero = r.ints_literal(&[0]);
    let splits = make::concat(r.b, &[zero, ends], 0)?;
    let level = level(r, splits)?;
    let column = columns(r, level)?;
    Ok((splits, level.row, column))
}

fn splits_type(r: &Rule<'_, '_>) -> DType {
    r.type_attr("Tsplits").unwrap_or(DType::I64)
}

/// Inputs starts, limits, deltas, each a vector or a scalar; outputs splits and all numbers behind each other.
fn ragged_range(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let mut ends = [r.input(0)?, r.input(1)?, r.input(2)?];
    let dtype = r.b.fact(ends[0]).dtype;
    if !dtype.is_int() {
        return Err(Misfit(format!("ragged ranges of {dtype} are not supported")));
    }
    let mut all = ends[0];
    for &other in &ends[1..] {
        let zero = make::mul_scalar(r.b, other, 0.0)?;
        all = make::add(r.b, all, zero)?;
    }
    let all = make::reshape(r.b, all, &[-1])?;
    for v in &mut ends {
        let v64 = make::cast(r.b, *v, DType::I64)?;
        *v = make::broadcast_like(r.b, v64, all)?;
    }
    let [start, limit, delta] = ends;
    // Rounded up: -⌊(start - limit) / delta⌋.
    let span = make::sub(r.b, start, limit)?;
    let count = make::binary(r.b, BinaryFn::FloorDiv, span, delta)?;
    let count = make::neg(r.b, count)?;
    let zero = make::scalar(r.b, DType::I64, 0.0);
    let count = make::maximum(r.b, count, zero)?;
    let (splits, row, column) = rows_of(r, count)?;
    let (start, delta) = (make::gather(r.b, start, row, 0)?, make::gather(r.b, delta, row, 0)?);
    let way = make::mul(r.b, column, delta)?;
    let numbers = make::add(r.b, start, way)?;
    let to = splits_type(r);
    Ok(smallvec![make::cast(r.b, splits, to)?, make::cast(r.b, numbers, dtype)?])
}

/// Inputs splits (outermost first), values, positions; outputs the splits of the rows that were read, their values.
fn gather(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let depth = r.int_or("PARAMS_RAGGED_RANK", 1);
    let n = usize::try_from(depth).ok().filter(|&n| n >= 1 && n + 2 == r.inputs.len());
    let n = n.ok_or_else(|| Misfit(format!("{} inputs for {depth} levels of rows", r.inputs.len())))?;
    let (values, at) = (r.input(n)?, r.input(n + 1)?);
    if r.fact(n + 1)?.rank() != Some(1) {
        return Err(Misfit::new("rows are read at a vector of positions only"));
    }
    let to = splits_type(r);
    let mut at = make::cast(r.b, at, DType::I64)?;
    let mut outputs = Outputs::new();
    for i in 0..n {
        let splits = r.input(i)?;
        let splits = make::cast(r.b, splits, DType::I64)?;
        let begin = make::gather(r.b, splits, at, 0)?;
        let behind = make::add_scalar(r.b, at, 1.0)?;
        let end = make::gather(r.b, splits, behind, 0)?;
        let lengths = make::sub(r.b, end, begin)?;
        let (new, row, column) = rows_of(r, lengths)?;
        outputs.push(make::cast(r.b, new, to)?);
        let begin = make::gather(r.b, begin, row, 0)?;
        at = make::add(r.b, begin, column)?;
    }
    outputs.push(make::gather(r.b, values, at, 0)?);
    Ok(outputs)
}
