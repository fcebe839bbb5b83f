//! Spellings of TensorFlow ops: boxes in images.

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::elementwise::BinaryFn;
use crate::ops::index::{NonMaxSuppression, SoftSuppression};
use crate::ops::reduce::TopK;
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
    "CombinedNonMaxSuppression" => combined_suppression;
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

/// Outputs boxes, their scores, number of valid ones. Scores fall with the overlap where `soft_nms_sigma` is not 0.
fn suppression_with_scores(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let sigma = r.fact(5)?.scalar().ok_or_else(|| Misfit::new("soft_nms_sigma must be a constant"))?;
    let (kept, own) = if sigma == 0.0 {
        let scores = r.input(1)?;
        let kept = non_max_suppression(r, None)?[0];
        (kept, make::gather(r.b, scores, kept, 0)?)
    } else {
        if sigma < 0.0 || sigma.is_nan() {
            return Err(Misfit(format!("soft_nms_sigma is {sigma}")));
        }
        // The largest overlap is not looked at.
        let inputs = [r.input(0)?, r.input(1)?, r.input(2)?, r.input(4)?, r.input(5)?];
        let both = r.b.op_n(std::sync::Arc::new(SoftSuppression), &inputs)?;
        (both[0], both[1])
    };
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

/// Inputs boxes [b, n, q, 4], scores [b, n, c], most per class, most of all, largest overlap, least score: each class by
/// itself, then the best of all classes, filled up with zeros. Outputs boxes, scores, classes, how many are valid.
fn combined_suppression(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let known = |i: usize, axis: usize| {
        let dim = r.fact(i)?.shape.dim(axis);
        dim.ok_or_else(|| Misfit::new("batch, number of boxes and of classes must be known"))
    };
    let (batches, boxes, shared, classes) = (known(0, 0)?, known(0, 1)?, known(0, 2)?, known(1, 2)?);
    if batches.saturating_mul(classes) > 1 << 12 || boxes == 0 || (shared != 1 && shared != classes) {
        return Err(Misfit(format!(
            "{batches} × {classes} lists of {boxes} boxes for {shared} classes are not supported"
        )));
    }
    let count = |i: usize| {
        r.ints(i)?
            .first()
            .copied()
            .filter(|n| (1..1 << 20).contains(n))
            .ok_or_else(|| Misfit::new("the largest numbers of boxes must be known"))
    };
    let (per_class, mut total) = (count(2)?, count(3)?);
    if r.bool_or("pad_per_class", false) {
        total = total.min(per_class.saturating_mul(classes as i64));
    }
    let mut outputs: [Vec<Value>; 4] = Default::default();
    for batch in 0..batches as i64 {
        let found = best_of_classes(r, batch, (classes as i64, shared == 1), per_class, total)?;
        outputs.iter_mut().zip(found).for_each(|(all, v)| all.push(v));
    }
    outputs.iter().map(|all| make::concat(r.b, all, 0)).collect()
}

/// One image's outputs, each with a leading axis of 1.
fn best_of_classes(
    r: &mut Rule<'_, '_>,
    batch: i64,
    (classes, is_shared): (i64, bool),
    per_class: i64,
    total: i64,
) -> Result<[Value; 4], Misfit> {
    let (boxes, scores, overlap, least) = (r.input(0)?, r.input(1)?, r.input(4)?, r.input(5)?);
    let most = make::scalar(r.b, DType::I64, per_class as f64);
    let (mut all_boxes, mut all_scores, mut all_classes) = (Vec::new(), Vec::new(), Vec::new());
    for class in 0..classes {
        let own = make::slice(r.b, boxes, &[batch, 0, if is_shared { 0 } else { class }, 0], &[1, -1, 1, -1])?;
        let own = make::reshape(r.b, own, &[1, -1, 4])?;
        let score = make::slice(r.b, scores, &[batch, 0, class], &[1, -1, 1])?;
        let score = make::reshape(r.b, score, &[1, 1, -1])?;
        let op = NonMaxSuppression { is_centered: false, is_inclusive: false };
        let kept = r.b.op(op, &[own, score, most, overlap, least])?;
        let kept = make::slice(r.b, kept, &[0, 2], &[-1, 1])?;
        let kept = make::reshape(r.b, kept, &[-1])?;
        let (own, score) = (make::reshape(r.b, own, &[-1, 4])?, make::reshape(r.b, score, &[-1])?);
        all_boxes.push(make::gather(r.b, own, kept, 0)?);
        let kept_scores = make::gather(r.b, score, kept, 0)?;
        all_classes.push(make::filled_like(r.b, kept_scores, class as f64)?);
        all_scores.push(kept_scores);
    }
    let (boxes, scores) = (make::concat(r.b, &all_boxes, 0)?, make::concat(r.b, &all_scores, 0)?);
    let classes = make::concat(r.b, &all_classes, 0)?;
    // The best of all, then rows that read zeros.
    let n = make::shape_of(r.b, scores)?;
    let limit = r.ints_literal(&[total]);
    let valid = make::minimum(r.b, n, limit)?;
    let k = make::reshape(r.b, valid, &[])?;
    let sort = TopK { axis: -1, largest: true, to: DType::I64 };
    let order = r.b.op_n(std::sync::Arc::new(sort), &[scores, k])?[1];
    let rest = make::sub(r.b, limit, valid)?;
    let outside = make::scalar(r.b, DType::I64, (1i64 << 40) as f64);
    let rest = make::broadcast_to(r.b, outside, rest)?;
    let order = make::concat(r.b, &[order, rest], 0)?;
    let order = make::reshape(r.b, order, &[1, total])?;
    let mut boxes = make::gather(r.b, boxes, order, 0)?;
    if r.bool_or("clip_boxes", true) {
        let (zero, one) = (make::scalar_like(r.b, boxes, 0.0), make::scalar_like(r.b, boxes, 1.0));
        boxes = make::minimum(r.b, boxes, one)?;
        boxes = make::maximum(r.b, boxes, zero)?;
    }
    let (scores, classes) = (make::gather(r.b, scores, order, 0)?, make::gather(r.b, classes, order, 0)?);
    Ok([boxes, scores, classes, make::cast(r.b, valid, DType::I32)?])
}
