//! Spellings of TensorFlow ops: the lists that loops read and fill.
//!
//! A TensorArray's flow and a TensorList's handle become the dense value `[n, …]` itself; a TensorArray's own handle
//! becomes its length.

use smallvec::smallvec;

use crate::graph::Attr;
use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::control::{EmptyStack, StackWrite};
use crate::ops::make;
use crate::program::{Misfit, Value};
use crate::tensor::{DType, PartialShape};

use super::rows;

pub const RULES: &[Spelling] = rows! {
    "TensorArrayV3" => array;
    "TensorArrayReadV3" => |r| read(r, 1, 2);
    "TensorArrayGatherV3" => |r| read(r, 1, 2);
    "TensorArrayWriteV3" => |r| write(r, 3, 1, 2);
    "TensorArrayScatterV3" => |r| write(r, 3, 1, 2);
    "TensorArraySizeV3" => |r| Ok(smallvec![r.input(0)?]);
    "TensorListReserve" => reserve;
    "TensorListFromTensor" => |r| Ok(smallvec![r.input(0)?]);
    "TensorListStack" => |r| Ok(smallvec![r.input(0)?]);
    "TensorListGetItem" => |r| read(r, 1, 0);
    "TensorListGather" => |r| read(r, 1, 0);
    "TensorListSetItem" => |r| write(r, 0, 1, 2);
    "TensorListLength" => length;
};

/// Outputs: handle (here the length) and flow (here the empty list).
fn array(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let dtype = r.type_attr("dtype")?;
    if r.bool_or("dynamic_size", false) {
        return Err(Misfit::new("its length grows while it is written"));
    }
    let element = r.shape_attr("element_shape").cloned().unwrap_or_default();
    let n = r.input(0)?;
    Ok(smallvec![n, r.b.op(EmptyStack { dtype, element }, &[n])?])
}

fn reserve(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let dtype = r.attr("element_dtype").and_then(Attr::as_type).unwrap_or(DType::Unknown);
    // -1 for dimensions that are not known, or a scalar where not even the rank is.
    let element = match (r.fact(0)?.rank(), r.ints(0).ok()) {
        (Some(1), Some(dims)) => PartialShape::from_partial(dims.iter().map(|&d| usize::try_from(d).ok())),
        _ => PartialShape::unknown(),
    };
    let n = r.input(1)?;
    Ok(smallvec![r.b.op(EmptyStack { dtype, element }, &[n])?])
}

fn read(r: &mut Rule<'_, '_>, position: usize, stack: usize) -> Result<Outputs, Misfit> {
    let (stack, position) = (r.input(stack)?, r.input(position)?);
    Ok(smallvec![make::gather(r.b, stack, position, 0)?])
}

fn write(r: &mut Rule<'_, '_>, stack: usize, position: usize, value: usize) -> Result<Outputs, Misfit> {
    let inputs: [Value; 3] = [r.input(stack)?, r.input(position)?, r.input(value)?];
    Ok(smallvec![r.b.op(StackWrite, &inputs)?])
}

fn length(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let stack = r.input(0)?;
    let shape = make::shape_of(r.b, stack)?;
    let first = make::slice(r.b, shape, &[0], &[1])?;
    let scalar = make::reshape(r.b, first, &[])?;
    Ok(smallvec![make::cast(r.b, scalar, DType::I32)?])
}
