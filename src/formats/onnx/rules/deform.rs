//! Spelling of ONNX `DeformConv`: a convolution whose taps are moved by offsets that are values themselves (Dai et al. 2017,
//! with the masks of Zhu et al. 2019). The moved taps are read between elements, then multiplied with the filter.

use crate::lower::{Rule, Spelling};
use crate::ops::elementwise::UnaryFn;
use crate::ops::index::Gather;
use crate::ops::make;
use crate::program::{Builder, Misfit, Value};
use crate::tensor::{DType, Tensor};

use super::common::{Spelled, along, one, rows};

pub const RULES: &[Spelling] = rows! {
    "DeformConv" => deform_conv;
};

/// All sizes of one node.
struct Sizes {
    batch: i64,
    channels: i64,
    height: i64,
    width: i64,
    filters: i64,
    /// Filter height and width.
    taps: [i64; 2],
    /// Result height and width.
    out: [i64; 2],
    groups: i64,
    offset_groups: i64,
    strides: Vec<i64>,
    pads: Vec<i64>,
    dilations: Vec<i64>,
}

impl Sizes {
    fn new(r: &Rule<'_, '_>) -> Result<Self, Misfit> {
        let dims = |i: usize| -> Result<[i64; 4], Misfit> {
            let known = r.fact(i)?.dims().filter(|d| d.len() == 4);
            let known = known.ok_or_else(|| Misfit(format!("input {i} must have four axes of known sizes")))?;
            Ok([known[0] as i64, known[1] as i64, known[2] as i64, known[3] as i64])
        };
        let ([batch, channels, height, width], [filters, per_group, rows, columns]) = (dims(0)?, dims(1)?);
        let [_, offsets, out_height, out_width] = dims(2)?;
        let list = |name: &str, n: usize, default: i64| -> Result<Vec<i64>, Misfit> {
            let given = r.ints_attr(name).unwrap_or_else(|| vec![default; n]);
            let sound = given.len() == n && given.iter().all(|v| (default..1 << 24).contains(v));
            if sound { Ok(given) } else { Err(Misfit(format!("{name} {given:?} is out of range"))) }
        };
        let (groups, offset_groups) = (r.int_or("group", 1), r.int_or("offset_group", 1));
        let fits = |n: i64, of: i64| n >= 1 && of >= 1 && of % n == 0;
        let taps = rows.checked_mul(columns).filter(|t| (1..1 << 16).contains(t));
        let Some(taps) = taps else { return Err(Misfit(format!("a filter of {rows} × {columns} is out of range"))) };
        if !fits(groups, channels)
            || !fits(groups, filters)
            || !fits(offset_groups, channels)
            || height < 1
            || width < 1
        {
            return Err(Misfit(format!("{groups} and {offset_groups} groups do not divide {channels} channels")));
        }
        if per_group != channels / groups || offset_groups.checked_mul(2 * taps) != Some(offsets) {
            return Err(Misfit(format!(
                "{per_group} channels of a filter and {offsets} offsets do not fit the groups"
            )));
        }
        Ok(Self {
            batch,
            channels,
            height,
            width,
            filters,
            taps: [rows, columns],
            out: [out_height, out_width],
            groups,
            offset_groups,
            strides: list("strides", 2, 1)?,
            pads: list("pads", 4, 0)?,
            dilations: list("dilations", 2, 1)?,
        })
    }

    fn places(&self) -> i64 {
        self.out[0] * self.out[1]
    }

    /// Where tap and result position lie without offset, along one axis: `[1, taps · places]`.
    fn grid(&self, b: &mut Builder, dtype: DType, axis: usize) -> Value {
        let mut all = Vec::new();
        for tap in (0..self.taps[0]).flat_map(|y| (0..self.taps[1]).map(move |x| [y, x])) {
            for at in (0..self.out[0]).flat_map(|y| (0..self.out[1]).map(move |x| [y, x])) {
                let place = at[axis] * self.strides[axis] - self.pads[axis] + tap[axis] * self.dilations[axis];
                all.push(place as f64);
            }
        }
        b.literal(Tensor::from_f64s(dtype, &[1, all.len()], all))
    }
}

/// Inputs: x, filter, offsets `[batch, groups · taps · 2, h, w]`, bias, mask `[batch, groups · taps, h, w]`.
fn deform_conv(r: &mut Rule<'_, '_>) -> Spelled {
    let s = Sizes::new(r)?;
    let (x, w, offsets) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let taps = s.taps[0] * s.taps[1];
    let (images, points) = (s.batch * s.offset_groups, taps * s.places());
    let offsets = make::reshape(r.b, offsets, &[images, taps, 2, s.places()])?;
    let mut at = Vec::new();
    for axis in [0, 1] {
        let own = make::slice(r.b, offsets, &[0, 0, axis, 0], &[-1, -1, 1, -1])?;
        let own = make::reshape(r.b, own, &[images, points])?;
        let dtype = r.b.fact(own).dtype;
        let grid = s.grid(r.b, dtype, axis as usize);
        at.push(make::add(r.b, own, grid)?);
    }
    let depth = s.channels / s.offset_groups;
    let flat = make::reshape(r.b, x, &[images, depth, s.height * s.width])?;
    let flat = make::transpose(r.b, flat, &[0, 2, 1])?;
    let mut read = between(r.b, flat, at[0], at[1], &s)?;
    if r.has_input(4) {
        let mask = r.input(4)?;
        let mask = make::reshape(r.b, mask, &[images, points, 1])?;
        read = make::mul(r.b, read, mask)?;
    }
    // [batch, offset group, taps, places, depth] → [batch, group, depth · taps, places].
    let read = make::reshape(r.b, read, &[s.batch, s.offset_groups, taps, s.places(), depth])?;
    let read = make::transpose(r.b, read, &[0, 1, 4, 2, 3])?;
    let inner = s.channels / s.groups * taps;
    let read = make::reshape(r.b, read, &[s.batch, s.groups, inner, s.places()])?;
    let w = make::reshape(r.b, w, &[s.groups, s.filters / s.groups, inner])?;
    let y = make::matmul(r.b, w, read)?;
    let mut y = make::reshape(r.b, y, &[s.batch, s.filters, s.out[0], s.out[1]])?;
    if r.has_input(3) {
        let bias = r.input(3)?;
        let bias = along(r.b, bias, 1, 4)?;
        y = make::add(r.b, y, bias)?;
    }
    one(y)
}

/// Rows of `flat [images, height · width, depth]` at fractional positions `[images, points]`: the mean of the four
/// elements around, weighted by their nearness; those outside the image are zero.
fn between(b: &mut Builder, flat: Value, y: Value, x: Value, s: &Sizes) -> Result<Value, Misfit> {
    let mut sides = Vec::new();
    for (at, size) in [(y, s.height), (x, s.width)] {
        let lower = make::unary(b, UnaryFn::Floor, at)?;
        let part = make::sub(b, at, lower)?;
        let rest = make::neg(b, part)?;
        let rest = make::add_scalar(b, rest, 1.0)?;
        let upper = make::add_scalar(b, lower, 1.0)?;
        sides.push([edge(b, lower, rest, size)?, edge(b, upper, part, size)?]);
    }
    let mut sum = None;
    for (row, row_weight) in sides[0] {
        for (column, column_weight) in sides[1] {
            let start = make::mul_scalar(b, row, s.width as f64)?;
            let index = make::add(b, start, column)?;
            let value = b.op(Gather { axis: 1, batch_dims: 1 }, &[flat, index])?;
            let weight = make::mul(b, row_weight, column_weight)?;
            let weight = make::expand_dims(b, weight, -1)?;
            let share = make::mul(b, value, weight)?;
            sum = Some(match sum {
                None => share,
                Some(sum) => make::add(b, sum, share)?,
            });
        }
    }
    sum.ok_or_else(|| Misfit::new("there is nothing to read"))
}

/// An integer position as an index that exists, and its weight, zero where the position is outside.
fn edge(b: &mut Builder, at: Value, weight: Value, size: i64) -> Result<(Value, Value), Misfit> {
    let (low, high) = (make::scalar_like(b, at, 0.0), make::scalar_like(b, at, size as f64 - 1.0));
    let (above, below) = (make::greater_equal(b, at, low)?, make::less_equal(b, at, high)?);
    let inside = make::and(b, above, below)?;
    let weight = make::select(b, inside, weight, low)?;
    let at = make::maximum(b, at, low)?;
    let at = make::minimum(b, at, high)?;
    Ok((make::cast(b, at, DType::I64)?, weight))
}
