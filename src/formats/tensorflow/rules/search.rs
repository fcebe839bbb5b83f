//! Spellings of TensorFlow ops: positions in sorted rows, buckets, histograms, and arithmetic on shapes and layouts.

use smallvec::smallvec;

use crate::graph::Attr;
use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::elementwise::{BinaryFn, BitCast, UnaryFn};
use crate::ops::index::{ScatterFn, ScatterNd, SearchSorted};
use crate::ops::make;
use crate::ops::reduce::{Cumulative, CumulativeFn, SegmentFn, SegmentReduce};
use crate::program::{Misfit, Value};
use crate::tensor::{DType, Tensor};

use super::rows;

pub const RULES: &[Spelling] = rows! {
    "LowerBound" => |r| bound(r, false);
    "UpperBound" => |r| bound(r, true);
    "Bucketize" => bucketize;
    "HistogramFixedWidth" => histogram;
    "UnravelIndex" => unravel_index;
    "DataFormatDimMap" => dim_map;
    "DataFormatVecPermute" => vec_permute;
    "ConcatOffset" => concat_offset;
    "BroadcastGradientArgs" => broadcast_gradient_args;
    "Bitcast" => bitcast;
    "InplaceUpdate" => |r| in_place(r, ScatterFn::Update);
    "InplaceAdd" => |r| in_place(r, ScatterFn::Add);
    "InplaceSub" => |r| in_place(r, ScatterFn::Sub);
    "VarIsInitializedOp" => is_initialized;
    "IsVariableInitialized" => is_initialized;
};

fn bound(r: &mut Rule<'_, '_>, after_equals: bool) -> Result<Outputs, Misfit> {
    let (sorted, values) = (r.input(0)?, r.input(1)?);
    let to = r.type_attr("out_type").unwrap_or(DType::I32);
    Ok(smallvec![r.b.op(SearchSorted { after_equals, to }, &[sorted, values])?])
}

/// How many of the boundaries do not lie above each element.
fn bucketize(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let x = r.input(0)?;
    let list = r.attr("boundaries").and_then(Attr::as_list).unwrap_or_default();
    let boundaries: Option<Vec<f32>> = list.iter().map(Attr::as_float).collect();
    let boundaries = boundaries.filter(|b| b.windows(2).all(|p| p[0] <= p[1]));
    let boundaries = boundaries.ok_or_else(|| Misfit::new("boundaries must be a rising list of numbers"))?;
    let sorted = r.b.literal(Tensor::from_slice(&[boundaries.len()], &boundaries));
    let flat = make::reshape(r.b, x, &[-1])?;
    let y = r.b.op(SearchSorted { after_equals: true, to: DType::I32 }, &[sorted, flat])?;
    Ok(smallvec![make::reshape_like(r.b, y, x)?])
}

/// Inputs values, range [2], number of bins; what lies outside counts in the first or last bin.
fn histogram(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (x, range, bins) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let to = r.type_attr("dtype").unwrap_or(DType::I32);
    let flat = make::reshape(r.b, x, &[-1])?;
    let (low, high) = (make::slice(r.b, range, &[0], &[1])?, make::slice(r.b, range, &[1], &[1])?);
    let span = make::sub(r.b, high, low)?;
    let dtype = r.b.fact(x).dtype;
    let n = make::cast(r.b, bins, dtype)?;
    let way = make::sub(r.b, flat, low)?;
    let part = make::div(r.b, way, span)?;
    let at = make::mul(r.b, part, n)?;
    let at = make::unary(r.b, UnaryFn::Floor, at)?;
    let (zero, last) = (make::scalar_like(r.b, at, 0.0), make::add_scalar(r.b, n, -1.0)?);
    let at = make::minimum(r.b, at, last)?;
    let at = make::maximum(r.b, at, zero)?;
    let at = make::cast(r.b, at, DType::I64)?;
    let one = make::scalar(r.b, to, 1.0);
    let ones = {
        let shape = make::shape_of(r.b, at)?;
        make::broadcast_to(r.b, one, shape)?
    };
    Ok(smallvec![r.b.op(SegmentReduce { f: SegmentFn::Sum, empty_is_zero: true }, &[ones, at, bins])?])
}

/// The products of the sizes behind each axis.
pub(super) fn strides_of(r: &mut Rule<'_, '_>, dims: Value) -> Result<Value, Misfit> {
    let axis = make::scalar(r.b, DType::I64, 0.0);
    r.b.op(Cumulative { f: CumulativeFn::Prod, exclusive: true, reverse: true }, &[dims, axis])
}

/// Flat positions as coordinates along a new axis, the first (`axes_first`) or the last.
pub(super) fn unravel(r: &mut Rule<'_, '_>, flat: Value, dims: Value, axes_first: bool) -> Result<Value, Misfit> {
    let strides = strides_of(r, dims)?;
    let is_scalar = r.b.fact(flat).rank() == Some(0);
    let (flat, dims, strides) = match axes_first {
        true if is_scalar => (flat, dims, strides),
        true => (flat, make::reshape(r.b, dims, &[-1, 1])?, make::reshape(r.b, strides, &[-1, 1])?),
        false => (make::expand_dims(r.b, flat, -1)?, dims, strides),
    };
    let whole = make::binary(r.b, BinaryFn::FloorDiv, flat, strides)?;
    make::binary(r.b, BinaryFn::FloorMod, whole, dims)
}

fn unravel_index(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (at, dims) = (r.input(0)?, r.input(1)?);
    Ok(smallvec![unravel(r, at, dims, true)?])
}

fn formats(r: &Rule<'_, '_>) -> (String, String) {
    (r.str_or("src_format", "NHWC").to_owned(), r.str_or("dst_format", "NCHW").to_owned())
}

/// For each letter of `from` its place in `to`.
fn places(from: &str, to: &str) -> Result<Vec<i64>, Misfit> {
    let place = |c: char| to.chars().position(|t| t == c).map(|p| p as i64);
    let all: Option<Vec<i64>> = from.chars().map(place).collect();
    all.filter(|a| !a.is_empty() && a.len() == to.chars().count())
        .ok_or_else(|| Misfit(format!("the formats {from:?} and {to:?} do not name the same axes")))
}

/// Axis numbers of one layout as those of another.
fn dim_map(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (from, to) = formats(r);
    let map = places(&from, &to)?;
    let x = r.input(0)?;
    let dtype = r.fact(0)?.dtype;
    let map = r.ints_literal(&map);
    let map = make::cast(r.b, map, dtype)?;
    // Positions that count from the end are those of gather too.
    Ok(smallvec![make::gather(r.b, map, x, 0)?])
}

/// A vector with an entry (or a pair) for each axis, or for each spatial axis, in the order of another layout.
fn vec_permute(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (mut from, mut to) = formats(r);
    let x = r.input(0)?;
    let n = r.fact(0)?.shape.dim(0).ok_or_else(|| Misfit::new("the number of entries must be known"))?;
    if n + 2 == from.chars().count() {
        for f in [&mut from, &mut to] {
            f.retain(|c| c != 'N' && c != 'C');
        }
    }
    let order = places(&to, &from)?;
    if order.len() != n {
        return Err(Misfit(format!("{n} entries for the format {from:?}")));
    }
    let order = r.ints_literal(&order);
    Ok(smallvec![make::gather(r.b, x, order, 0)?])
}

/// Inputs axis, shapes; for each shape where its part begins in the concatenation.
fn concat_offset(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let axis = r.input(0)?;
    let shapes: Vec<Value> = (1..r.inputs.len()).map(|i| r.input(i)).collect::<Result<_, _>>()?;
    let Some(&first) = shapes.first() else { return Err(Misfit::new("there are no shapes")) };
    let rank = r.b.fact(first).shape.dim(0).ok_or_else(|| Misfit::new("the number of axes must be known"))?;
    let dtype = r.b.fact(first).dtype;
    let axis = make::cast(r.b, axis, DType::I64)?;
    let count = make::scalar(r.b, DType::I64, rank as f64);
    let axis = make::binary(r.b, BinaryFn::FloorMod, axis, count)?;
    let numbers: Vec<i64> = (0..rank as i64).collect();
    let numbers = r.ints_literal(&numbers);
    let is_axis = make::equal(r.b, numbers, axis)?;
    let mask = make::cast(r.b, is_axis, dtype)?;
    let mut outputs = Outputs::new();
    let mut at = make::zeros_like(r.b, first)?;
    for shape in shapes {
        outputs.push(at);
        let own = make::mul(r.b, shape, mask)?;
        at = make::add(r.b, at, own)?;
    }
    Ok(outputs)
}

/// The axes over which a gradient is summed because one of two shapes was broadcast there.
fn broadcast_gradient_args(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (a, b) = (r.ints(0)?, r.ints(1)?);
    let rank = a.len().max(b.len());
    let size = |s: &[i64], axis: usize| (axis + s.len()).checked_sub(rank).map_or(1, |i| s[i]);
    let missing = |s: &[i64], axis: usize| axis + s.len() < rank;
    let dtype = r.fact(0)?.dtype;
    let mut axes = |own: &[i64], other: &[i64]| -> Result<Value, Misfit> {
        let summed = |axis: &usize| {
            let (n, m) = (size(own, *axis), size(other, *axis));
            missing(own, *axis) || (n == 1 && (m != 1 || !missing(other, *axis)))
        };
        let all: Vec<i64> = (0..rank).filter(summed).map(|axis| axis as i64).collect();
        let all = r.ints_literal(&all);
        make::cast(r.b, all, dtype)
    };
    Ok(smallvec![axes(&a, &b)?, axes(&b, &a)?])
}

fn bitcast(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (x, to) = (r.input(0)?, r.type_attr("type")?);
    Ok(smallvec![r.b.op(BitCast { to }, &[x])?])
}

/// Inputs x, rows, values.
fn in_place(r: &mut Rule<'_, '_>, f: ScatterFn) -> Result<Outputs, Misfit> {
    let (x, rows, values) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let at = make::reshape(r.b, rows, &[-1, 1])?;
    Ok(smallvec![r.b.op(ScatterNd { f }, &[x, at, values])?])
}

/// A variable is its value here, so it has one.
fn is_initialized(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    Ok(smallvec![r.b.literal(Tensor::from_bools(&[], &[true]))])
}
