//! Spellings of TensorFlow ops: the lists that loops read and fill.
//!
//! A TensorArray's flow and a TensorList's handle become the dense value `[n, …]` itself; a TensorArray's own handle
//! becomes its length. Where entries of different shapes are written at known positions, the list becomes `pieces`.

use smallvec::smallvec;

use crate::graph::Attr;
use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::control::{EmptyStack, StackWrite, pieces};
use crate::ops::elementwise::Cast;
use crate::ops::make;
use crate::ops::shape::Append;
use crate::ops::sizes::{self, Size};
use crate::program::{Misfit, Value, op};
use crate::tensor::{DType, PartialShape};

use super::rows;

pub const RULES: &[Spelling] = rows! {
    "TensorArrayV3" => array;
    "TensorArrayV2" => old_array;
    "TensorArray" => old_array;
    "TensorArrayReadV3" => read_array;
    "TensorArrayGatherV3" => read_array;
    "TensorArrayWriteV3" => write_array;
    "TensorArrayScatterV3" => write_array;
    "TensorArraySplitV3" => |r| split(r, 1, 2);
    "TensorArrayConcatV3" => concat_array;
    "TensorArraySizeV3" => size_of_array;
    "TensorArrayReadV2" => read_array;
    "TensorArrayGatherV2" => read_array;
    "TensorArrayWriteV2" => write_array;
    "TensorArrayScatterV2" => write_array;
    "TensorArraySplitV2" => |r| split(r, 1, 2);
    "TensorArrayConcatV2" => concat_array;
    "TensorArraySizeV2" => size_of_array;
    "TensorArrayRead" => read_array;
    "TensorArrayGather" => read_array;
    "TensorArrayWrite" => write_array;
    "TensorArrayScatter" => write_array;
    "TensorArraySplit" => |r| split(r, 1, 2);
    "TensorArrayConcat" => concat_array;
    "TensorArraySize" => size_of_array;
    "TensorArrayPack" => |r| Ok(smallvec![list_of(r, 1)?]);
    "TensorArrayUnpack" => |r| Ok(smallvec![r.input(1)?]);
    "EmptyTensorList" => empty_list;
    "TensorListReserve" => reserve;
    "TensorListFromTensor" => |r| Ok(smallvec![r.input(0)?]);
    "TensorListStack" => |r| Ok(smallvec![r.input(0)?]);
    "TensorListGetItem" => |r| read(r, 1, 0);
    "TensorListGather" => |r| read(r, 1, 0);
    "TensorListSetItem" => |r| write(r, [0, 1, 2], r.bool_or("resize_if_index_out_of_bounds", false));
    "TensorListScatterIntoExistingList" => |r| write(r, [0, 2, 1], false);
    "TensorListScatter" => |r| scatter(r, false);
    "TensorListScatterV2" => |r| scatter(r, true);
    "TensorListSplit" => |r| split(r, 0, 2);
    "TensorListConcat" => |r| concat(r, 0);
    "TensorListConcatV2" => |r| concat(r, 0);
    "TensorListConcatLists" => |r| {
        let (a, b) = (r.input(0)?, r.input(1)?);
        Ok(smallvec![make::concat(r.b, &[a, b], 0)?])
    };
    "TensorListPushBack" => push_back;
    "TensorListPopBack" => pop_back;
    "TensorListResize" => resize;
    "TensorListElementShape" => element_shape;
    "TensorListLength" => |r| length(r, 0);
};

/// Outputs: handle (here the length, as `int64` where the array grows while it is written) and flow (here the empty list).
fn array(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let grows = r.bool_or("dynamic_size", false);
    let n = r.input(0)?;
    let handle = make::cast(r.b, n, if grows { DType::I64 } else { DType::I32 })?;
    Ok(smallvec![handle, empty_array(r)?])
}

/// The older forms have no flow of their own (it starts as some constant): their handle becomes the empty list.
fn old_array(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    if r.bool_or("dynamic_size", false) {
        return Err(Misfit::new("arrays of this version that grow while they are written are not supported"));
    }
    Ok(smallvec![empty_array(r)?])
}

fn empty_array(r: &mut Rule<'_, '_>) -> Result<Value, Misfit> {
    let dtype = r.type_attr("dtype")?;
    let element = r.shape_attr("element_shape").or(r.shape_attr("elem_shape")).cloned().unwrap_or_default();
    let n = r.input(0)?;
    r.b.op(EmptyStack { dtype, element }, &[n])
}

/// The list behind handle (input 0) and flow.
fn list_of(r: &Rule<'_, '_>, flow: usize) -> Result<Value, Misfit> {
    let (handle, flow) = (r.input(0)?, r.input(flow)?);
    match (r.b.fact(flow).rank(), r.b.fact(handle).rank()) {
        (Some(0), Some(0)) => Err(Misfit::new("what has been written to its array is not known here")),
        // The flow of an older array before the first write.
        (Some(0), _) => Ok(handle),
        _ => Ok(flow),
    }
}

/// Inputs handle, position or positions, flow.
fn read_array(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (list, position) = (list_of(r, 2)?, r.input(1)?);
    Ok(smallvec![entry_at(r, list, position)?])
}

/// Inputs handle, position or positions, value or values, flow.
fn write_array(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let inputs = [list_of(r, 3)?, r.input(1)?, r.input(2)?];
    let grows = r.fact(0)?.dtype == DType::I64 && r.fact(0)?.rank() == Some(0);
    Ok(smallvec![written(r, inputs, grows)?])
}

fn concat_array(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let list = list_of(r, 1)?;
    joined(r, list)
}

fn size_of_array(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (handle, fact) = (r.input(0)?, r.fact(0)?);
    if fact.rank() == Some(0) && fact.dtype == DType::I32 {
        return Ok(smallvec![handle]);
    }
    let list = list_of(r, 1)?;
    Ok(smallvec![length_of(r, list)?])
}

/// The shape of an entry as an operand says it: -1 for what is not known, a scalar where not even the rank is.
fn stated_element(r: &Rule<'_, '_>, input: usize) -> Result<PartialShape, Misfit> {
    Ok(match (r.fact(input)?.rank(), r.ints(input).ok()) {
        (Some(1), Some(dims)) => PartialShape::from_partial(dims.iter().map(|&d| usize::try_from(d).ok())),
        _ => PartialShape::unknown(),
    })
}

fn element_type(r: &Rule<'_, '_>) -> DType {
    r.attr("element_dtype").and_then(Attr::as_type).unwrap_or(DType::Unknown)
}

fn empty_list(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let op = EmptyStack { dtype: element_type(r), element: stated_element(r, 0)? };
    let none = make::scalar(r.b, DType::I32, 0.0);
    Ok(smallvec![r.b.op(op, &[none])?])
}

fn reserve(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let op = EmptyStack { dtype: element_type(r), element: stated_element(r, 0)? };
    let n = r.input(1)?;
    Ok(smallvec![r.b.op(op, &[n])?])
}

fn read(r: &mut Rule<'_, '_>, position: usize, stack: usize) -> Result<Outputs, Misfit> {
    let (stack, position) = (r.input(stack)?, r.input(position)?);
    Ok(smallvec![entry_at(r, stack, position)?])
}

/// `which`: the inputs that hold list, position and value.
fn write(r: &mut Rule<'_, '_>, which: [usize; 3], grows: bool) -> Result<Outputs, Misfit> {
    let inputs: [Value; 3] = [r.input(which[0])?, r.input(which[1])?, r.input(which[2])?];
    Ok(smallvec![written(r, inputs, grows)?])
}

/// A list after a write: dense as long as its entries are of one shape, else the entries by themselves.
fn written(r: &mut Rule<'_, '_>, inputs: [Value; 3], grows: bool) -> Result<Value, Misfit> {
    let [list, position, value] = inputs;
    let misfit = if pieces::is_pieces(r.b, list) {
        Misfit::new("entries of different shapes are written one by one at known positions")
    } else {
        match r.b.op(StackWrite { grows }, &inputs) {
            Ok(y) => return Ok(y),
            Err(m) => m,
        }
    };
    let at = r.b.fact(position);
    let at = at.rank().filter(|&rank| rank == 0).and(at.scalar()).map(|p| p as i64);
    let Some(at) = at.and_then(|p| usize::try_from(p).ok()) else { return Err(misfit) };
    let Some(mut entries) = pieces::entries_of(r.b, list) else { return Err(misfit) };
    if at == entries.len() && grows {
        entries.push(None);
    }
    *entries.get_mut(at).ok_or(misfit)? = Some(value);
    let dtype = r.b.fact(list).dtype;
    pieces::list_of(r.b, dtype, &entries)
}

/// The entry at a position, or several.
fn entry_at(r: &mut Rule<'_, '_>, list: Value, position: Value) -> Result<Value, Misfit> {
    if !pieces::is_pieces(r.b, list) {
        return make::gather(r.b, list, position, 0);
    }
    let at = r.b.fact(position);
    let at = at.rank().filter(|&rank| rank == 0).and(at.scalar());
    let at = at.ok_or_else(|| Misfit::new("entries of different shapes are read one by one at known positions"))?;
    let entries = pieces::entries_of(r.b, list).unwrap_or_default();
    let entry = usize::try_from(at as i64).ok().and_then(|at| entries.get(at).copied().flatten());
    entry.ok_or_else(|| Misfit(format!("entry {at} of the list has not been written")))
}

fn push_back(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (list, entry) = (r.input(0)?, r.input(1)?);
    let misfit = if pieces::is_pieces(r.b, list) {
        Misfit::new("how the list was filled is not known")
    } else {
        match r.b.op(Append, &[list, entry]) {
            Ok(y) => return Ok(smallvec![y]),
            Err(m) => m,
        }
    };
    let mut entries = pieces::entries_of(r.b, list).ok_or(misfit)?;
    entries.push(Some(entry));
    let dtype = r.b.fact(list).dtype;
    Ok(smallvec![pieces::list_of(r.b, dtype, &entries)?])
}

/// Inputs: values, positions, shape of an entry, and in the second form the number of entries (-1: as needed).
fn scatter(r: &mut Rule<'_, '_>, has_count: bool) -> Result<Outputs, Misfit> {
    let (values, positions) = (r.input(0)?, r.input(1)?);
    let at = r.ints(1)?;
    let stated = if has_count { r.ints(3)?.first().copied().unwrap_or(-1) } else { -1 };
    let needed = at.iter().max().map_or(0, |&p| p.saturating_add(1));
    let n = make::scalar(r.b, DType::I64, stated.max(needed) as f64);
    let op = EmptyStack { dtype: r.b.fact(values).dtype, element: PartialShape::unknown() };
    let stack = r.b.op(op, &[n])?;
    Ok(smallvec![r.b.op(StackWrite::default(), &[stack, positions, values])?])
}

/// The integers of an input, also where the file converts constant ones.
fn stated_ints(r: &Rule<'_, '_>, input: usize) -> Result<Vec<i64>, Misfit> {
    let v = r.input(input)?;
    let known = r.b.fact(v).ints().or_else(|| {
        let (_, instr) = r.b.program().producer(v)?;
        op::downcast::<Cast>(&**instr.op()?).filter(|c| c.to.is_int())?;
        r.b.fact(*instr.inputs.first()?).ints()
    });
    known.ok_or_else(|| Misfit(format!("input {input} must be constant integers")))
}

/// A tensor cut into entries along its first axis; they must be equally long.
fn split(r: &mut Rule<'_, '_>, value: usize, lengths: usize) -> Result<Outputs, Misfit> {
    let (x, parts) = (r.input(value)?, stated_ints(r, lengths)?);
    let Some((&first, others)) = parts.split_first() else { return Err(Misfit::new("there are no lengths")) };
    let all = parts.iter().try_fold(0i64, |sum, &n| if n < 0 { None } else { sum.checked_add(n) });
    let have = r.b.fact(x).shape.dim(0);
    if all.is_none() || have.is_some_and(|have| all != Some(have as i64)) {
        return Err(Misfit(format!("the lengths {parts:?} do not fit {have:?} entries")));
    }
    if others.iter().any(|&n| n != first) {
        return uneven(r, x, &parts);
    }
    let dims: Vec<Size> = sizes::sizes_of(r.b, x)?;
    let rest = dims.get(1..).ok_or_else(|| Misfit::new("a scalar cannot be split"))?;
    let shape: Vec<Size> =
        [Size::Known(parts.len() as i64), Size::Known(first)].into_iter().chain(rest.iter().copied()).collect();
    Ok(smallvec![sizes::reshape(r.b, x, &shape)?])
}

/// Parts of different lengths.
fn uneven(r: &mut Rule<'_, '_>, x: Value, parts: &[i64]) -> Result<Outputs, Misfit> {
    let rank = r.b.fact(x).rank().filter(|&rank| rank > 0 && parts.len() <= 1 << 12);
    let rank = rank.ok_or_else(|| Misfit::new("the number of axes must be known"))?;
    let (mut entries, mut begin, mut size) = (Vec::new(), vec![0; rank], vec![-1; rank]);
    for &n in parts {
        size[0] = n;
        entries.push(Some(make::slice(r.b, x, &begin, &size)?));
        begin[0] += n;
    }
    let dtype = r.b.fact(x).dtype;
    Ok(smallvec![pieces::list_of(r.b, dtype, &entries)?])
}

/// Entries of different lengths behind each other, and their lengths.
fn joined_pieces(r: &mut Rule<'_, '_>, list: Value) -> Result<Outputs, Misfit> {
    let entries: Option<Vec<Value>> = pieces::entries_of(r.b, list).unwrap_or_default().into_iter().collect();
    let entries = entries.filter(|e| !e.is_empty());
    let entries = entries.ok_or_else(|| Misfit::new("not all entries of the list have been written"))?;
    let mut lengths = Vec::new();
    for &entry in &entries {
        let shape = make::shape_of(r.b, entry)?;
        lengths.push(make::slice(r.b, shape, &[0], &[1])?);
    }
    Ok(smallvec![make::concat(r.b, &entries, 0)?, make::concat(r.b, &lengths, 0)?])
}

/// All entries behind each other along their first axis; and how long each is.
fn concat(r: &mut Rule<'_, '_>, list: usize) -> Result<Outputs, Misfit> {
    let stack = r.input(list)?;
    joined(r, stack)
}

fn joined(r: &mut Rule<'_, '_>, stack: Value) -> Result<Outputs, Misfit> {
    if pieces::is_pieces(r.b, stack) {
        return joined_pieces(r, stack);
    }
    let dims = sizes::sizes_of(r.b, stack)?;
    let [n, length, rest @ ..] = &dims[..] else { return Err(Misfit::new("scalars cannot be concatenated")) };
    let all = sizes::times(r.b, *n, *length)?;
    let shape: Vec<Size> = [all].into_iter().chain(rest.iter().copied()).collect();
    let y = sizes::reshape(r.b, stack, &shape)?;
    let (n, length) = (sizes::stack(r.b, &[*n])?, sizes::stack(r.b, &[*length])?);
    Ok(smallvec![y, make::broadcast_to(r.b, length, n)?])
}

/// Outputs: the list without its last entry, that entry.
fn pop_back(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let list = r.input(0)?;
    if pieces::is_pieces(r.b, list) {
        let mut entries = pieces::entries_of(r.b, list).unwrap_or_default();
        let last = entries.pop().flatten();
        let last = last.ok_or_else(|| Misfit::new("the last entry of the list has not been written"))?;
        let dtype = r.b.fact(list).dtype;
        return Ok(smallvec![pieces::list_of(r.b, dtype, &entries)?, last]);
    }
    let n = r.fact(0)?.shape.dim(0).ok_or_else(|| Misfit::new("the length of the list must be known"))?;
    let last = (n as i64).checked_sub(1).filter(|&n| n >= 0).ok_or_else(|| Misfit::new("the list is empty"))?;
    let others: Vec<i64> = (0..last).collect();
    let (others, last) = (r.ints_literal(&others), make::scalar(r.b, DType::I64, last as f64));
    Ok(smallvec![make::gather(r.b, list, others, 0)?, make::gather(r.b, list, last, 0)?])
}

/// Cut off, or with zeros behind the end.
fn resize(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let list = r.input(0)?;
    let n = r.ints(1)?.first().copied().filter(|n| (0..1 << 24).contains(n));
    let n = n.ok_or_else(|| Misfit::new("the new length of the list is out of range"))?;
    // Positions outside read zeros.
    let old = r.fact(0)?.shape.dim(0).ok_or_else(|| Misfit::new("the length of the list must be known"))? as i64;
    let rows: Vec<i64> = (0..n).map(|i| if i < old { i } else { i64::MAX }).collect();
    let rows = r.ints_literal(&rows);
    Ok(smallvec![make::gather(r.b, list, rows, 0)?])
}

fn element_shape(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let list = r.input(0)?;
    let to = r.type_attr("shape_type").unwrap_or(DType::I32);
    let shape = make::shape_of(r.b, list)?;
    let shape = make::slice(r.b, shape, &[1], &[-1])?;
    Ok(smallvec![make::cast(r.b, shape, to)?])
}

fn length(r: &mut Rule<'_, '_>, list: usize) -> Result<Outputs, Misfit> {
    let list = r.input(list)?;
    Ok(smallvec![length_of(r, list)?])
}

fn length_of(r: &mut Rule<'_, '_>, list: Value) -> Result<Value, Misfit> {
    if let Some(entries) = pieces::entries_of(r.b, list).filter(|_| pieces::is_pieces(r.b, list)) {
        return Ok(make::scalar(r.b, DType::I32, entries.len() as f64));
    }
    let shape = make::shape_of(r.b, list)?;
    let first = make::slice(r.b, shape, &[0], &[1])?;
    let scalar = make::reshape(r.b, first, &[])?;
    make::cast(r.b, scalar, DType::I32)
}
