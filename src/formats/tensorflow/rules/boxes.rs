//! Spellings of TensorFlow ops: boxes in images.

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::elementwise::BinaryFn;
use crate::ops::index::NonMaxSuppression;
use crate::ops::{make, sample};
use crate::program::{Builder, Misfit, Value};
use crate::tensor::{DType, Tensor};

use super::rows;

pub const RULES: &[Spelling] = rows! {
    "CropAndResize" => crop_and_resize;
    "NonMaxSuppression" => |r| non_max_suppression(r, Some(r.float_or("iou_threshold", 0.5)));
    "NonMaxSuppressionV2" => |r| non_max_suppression(r, None);
    "NonMaxSuppressionV3" => |r| non_max_suppression(r, None);
    "NonMaxSuppressionV4" => suppression_with_count;
    "NonMaxSuppressionV5" => suppression_with_scores;
};

/// Inputs: images [b, h, w, c], boxes [n, 4] as y1, x1, y2, x2 in units of the image, image of each box, size.
fn crop_and_resize(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (image, boxes, of_box) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let size = r.ints(3)?;
    let dims = r.b.fact(image).dims().filter(|d| d.len() == 4);
    let dims = dims.ok_or_else(|| Misfit::new("the shape of the images must be known"))?;
    let &[height, width] = &size[..] else { return Err(Misfit(format!("a crop of size {size:?}"))) };
    let is_nearest = match r.str_or("method", "bilinear") {
        "bilinear" => false,
        "nearest" => true,
        other => return Err(Misfit(format!("unknown method {other:?}"))),
    };
    let outside = f64::from(r.float_or("extrapolation_value", 0.0));
    let image = make::cast(r.b, image, DType::F32)?;
    let mut y = make::gather(r.b, image, of_box, 0)?;
    let mut inside = None;
    for (axis, (n, low)) in [(1, (height, 0)), (2, (width, 1))] {
        let at = positions(r.b, boxes, low, n, dims[axis])?;
        let within = is_inside(r.b, at, dims[axis])?;
        let within = make::expand_dims(r.b, within, if axis == 1 { 2 } else { 1 })?;
        inside = Some(match inside {
            None => within,
            Some(rows) => make::binary(r.b, BinaryFn::And, rows, within)?,
        });
        y = sample::along(r.b, y, at, axis as i64, dims[axis], is_nearest)?;
    }
    if let Some(inside) = inside {
        let inside = make::expand_dims(r.b, inside, 3)?;
        let value = make::scalar(r.b, DType::F32, outside);
        y = make::select(r.b, inside, y, value)?;
    }
    Ok(smallvec![y])
}

/// Positions [boxes, n] in elements along one axis of the image.
fn positions(b: &mut Builder, boxes: Value, low: i64, n: i64, size: usize) -> Result<Value, Misfit> {
    let reach = size as f64 - 1.0;
    let from = make::slice(b, boxes, &[0, low], &[-1, 1])?;
    let to = make::slice(b, boxes, &[0, low + 2], &[-1, 1])?;
    if n <= 1 {
        let sum = make::add(b, from, to)?;
        return make::mul_scalar(b, sum, 0.5 * reach);
    }
    let steps: Vec<f32> = (0..n).map(|i| i as f32 / (n - 1) as f32).collect();
    let steps = b.literal(Tensor::from_slice(&[1, steps.len()], &steps));
    let span = make::sub(b, to, from)?;
    let part = make::mul(b, span, steps)?;
    let at = make::add(b, from, part)?;
    make::mul_scalar(b, at, reach)
}

fn is_inside(b: &mut Builder, at: Value, size: usize) -> Result<Value, Misfit> {
    let (zero, end) = (make::scalar_like(b, at, 0.0), make::scalar_like(b, at, size as f64 - 1.0));
    let above = make::binary(b, BinaryFn::GreaterEqual, at, zero)?;
    let below = make::less_equal(b, at, end)?;
    make::binary(b, BinaryFn::And, above, below)
}

/// Boxes [n, 4] and scores [n]: one batch and one class.
fn non_max_suppression(r: &mut Rule<'_, '_>, overlap: Option<f32>) -> Result<Outputs, Misfit> {
    let (boxes, scores, most) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let overlap = match overlap {
        Some(v) => make::scalar_like(r.b, scores, f64::from(v)),
        None => r.input(3)?,
    };
    let least = if r.has_input(4) { r.input(4)? } else { make::scalar_like(r.b, scores, f64::NEG_INFINITY) };
    let boxes = make::expand_dims(r.b, boxes, 0)?;
    let scores = make::expand_dims(r.b, scores, 0)?;
    let scores = make::expand_dims(r.b, scores, 0)?;
    let op = NonMaxSuppression { is_centered: false, is_inclusive: false };
    let kept = r.b.op(op, &[boxes, scores, most, overlap, least])?;
    let kept = make::slice(r.b, kept, &[0, 2], &[-1, 1])?;
    let kept = make::reshape(r.b, kept, &[-1])?;
    Ok(smallvec![make::cast(r.b, kept, DType::I32)?])
}

/// The number of kept boxes, a scalar; and the list of them, filled up with zeros where the node says so.
fn counted(r: &mut Rule<'_, '_>, kept: Value) -> Result<(Value, Value), Misfit> {
    let count = make::shape_of(r.b, kept)?;
    let scalar = make::reshape(r.b, count, &[])?;
    let scalar = make::cast(r.b, scalar, DType::I32)?;
    if !r.bool_or("pad_to_max_output_size", false) {
        return Ok((kept, scalar));
    }
    let most = r.input(2)?;
    let most = make::cast(r.b, most, DType::I64)?;
    let most = make::reshape(r.b, most, &[1])?;
    let rest = make::sub(r.b, most, count)?;
    let zero = make::scalar(r.b, DType::I32, 0.0);
    let rest = make::broadcast_to(r.b, zero, rest)?;
    Ok((make::concat(r.b, &[kept, rest], 0)?, scalar))
}

/// Outputs boxes, number of valid ones.
fn suppression_with_count(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let kept = non_max_suppression(r, None)?[0];
    let (kept, count) = counted(r, kept)?;
    Ok(smallvec![kept, count])
}

/// Outputs boxes, their scores, number of valid ones. A score does not decay with the overlap (`soft_nms_sigma` is 0).
fn suppression_with_scores(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    match r.fact(5)?.scalar() {
        Some(0.0) => {}
        Some(sigma) => return Err(Misfit(format!("scores that decay (soft_nms_sigma {sigma}) are not supported"))),
        None => return Err(Misfit::new("soft_nms_sigma must be a constant")),
    }
    let scores = r.input(1)?;
    let kept = non_max_suppression(r, None)?[0];
    let own = make::gather(r.b, scores, kept, 0)?;
    let (kept, count) = counted(r, kept)?;
    let mut padded = own;
    if r.bool_or("pad_to_max_output_size", false) {
        let (all, valid) = (make::shape_of(r.b, kept)?, make::shape_of(r.b, own)?);
        let rest = make::sub(r.b, all, valid)?;
        let zero = make::scalar_like(r.b, own, 0.0);
        let rest = make::broadcast_to(r.b, zero, rest)?;
        padded = make::concat(r.b, &[own, rest], 0)?;
    }
    Ok(smallvec![kept, padded, count])
}
