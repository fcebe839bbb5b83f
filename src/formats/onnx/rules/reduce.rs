//! Spellings of ONNX ops: reductions, positions of extremes, running totals.

use smallvec::smallvec;

use crate::lower::{Rule, Spelling};
use crate::ops::make;
use crate::ops::reduce::{ArgReduce, Cumulative, CumulativeFn, ReduceFn, TopK};
use crate::program::{Builder, Misfit, Value};
use crate::tensor::DType;

use super::common::{Spelled, axis_in, known_ints, one, rank, rows};

pub const RULES: &[Spelling] = rows! {
    "ReduceSum" => |r| plain(r, ReduceFn::Sum);
    "ReduceMean" => |r| plain(r, ReduceFn::Mean);
    "ReduceMax" => |r| extreme(r, ReduceFn::Max);
    "ReduceMin" => |r| extreme(r, ReduceFn::Min);
    "ReduceProd" => |r| plain(r, ReduceFn::Prod);
    "ReduceL1" => |r| around(r, make::abs, keep);
    "ReduceL2" => |r| around(r, make::square, make::sqrt);
    "ReduceSumSquare" => |r| around(r, make::square, keep);
    "ReduceLogSum" => |r| around(r, keep, make::log);
    "ReduceLogSumExp" => log_sum_exp;
    "ArgMax" => |r| arg(r, true);
    "ArgMin" => |r| arg(r, false);
    "TopK" => top_k;
    "CumSum" => |r| cumulative(r, CumulativeFn::Sum);
    "CumProd" => |r| cumulative(r, CumulativeFn::Prod);
    "Hardmax" => hardmax;
    "LpNormalization" => lp_normalization;
};

fn keep(_: &mut Builder, x: Value) -> Result<Value, Misfit> {
    Ok(x)
}

/// Axes as an attribute or an input; all where there are none, or nothing at all (`noop_with_empty_axes`).
/// `None`: the input is given back as it is.
fn axes(r: &mut Rule<'_, '_>) -> Result<Option<Value>, Misfit> {
    let x = r.input(0)?;
    if let Some(axes) = r.ints_attr("axes") {
        return Ok(Some(r.ints_literal(&axes)));
    }
    let is_empty = match r.has_input(1) {
        false => true,
        true => {
            let axes = r.input(1)?;
            match known_ints(r.b, axes) {
                Some(ints) if ints.is_empty() => true,
                Some(ints) => return Ok(Some(r.ints_literal(&ints))),
                None if r.b.fact(axes).shape.dim(0) == Some(0) => true,
                None if r.b.fact(axes).shape.dim(0).is_none() => {
                    return Err(Misfit::new("the number of axes must be known: none at all means every axis"));
                }
                None => return Ok(Some(axes)),
            }
        }
    };
    if is_empty && r.int_or("noop_with_empty_axes", 0) != 0 {
        return Ok(None);
    }
    make::all_axes(r.b, x).map(Some)
}

fn plain(r: &mut Rule<'_, '_>, f: ReduceFn) -> Spelled {
    let x = r.input(0)?;
    let keep_dims = r.int_or("keepdims", 1) != 0;
    match axes(r)? {
        Some(axes) => one(make::reduce(r.b, f, x, axes, keep_dims)?),
        None => one(x),
    }
}

/// Booleans count as 0 and 1.
fn extreme(r: &mut Rule<'_, '_>, f: ReduceFn) -> Spelled {
    if r.fact(0)?.dtype != DType::Bool {
        return plain(r, f);
    }
    plain(r, if f == ReduceFn::Max { ReduceFn::Any } else { ReduceFn::All })
}

type Part = fn(&mut Builder, Value) -> Result<Value, Misfit>;

/// `after(Σ before(x))`.
fn around(r: &mut Rule<'_, '_>, before: Part, after: Part) -> Spelled {
    let x = r.input(0)?;
    let keep_dims = r.int_or("keepdims", 1) != 0;
    let axes = axes(r)?;
    let y = before(r.b, x)?;
    let y = match axes {
        Some(axes) => make::reduce(r.b, ReduceFn::Sum, y, axes, keep_dims)?,
        None => y,
    };
    one(after(r.b, y)?)
}

/// `m + ln Σ e^(x - m)` with the maximum m (0 where it is infinite).
fn log_sum_exp(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let keep_dims = r.int_or("keepdims", 1) != 0;
    let Some(axes) = axes(r)? else { return one(x) };
    let top = make::reduce(r.b, ReduceFn::Max, x, axes, true)?;
    let is_finite = make::unary(r.b, crate::ops::elementwise::UnaryFn::IsFinite, top)?;
    let zero = make::scalar_like(r.b, x, 0.0);
    let top = make::select(r.b, is_finite, top, zero)?;
    let shifted = make::sub(r.b, x, top)?;
    let powers = make::exp(r.b, shifted)?;
    let sum = make::reduce(r.b, ReduceFn::Sum, powers, axes, keep_dims)?;
    let log = make::log(r.b, sum)?;
    let top = if keep_dims { top } else { make::reshape_like(r.b, top, log)? };
    one(make::add(r.b, log, top)?)
}

fn arg(r: &mut Rule<'_, '_>, largest: bool) -> Spelled {
    let x = r.input(0)?;
    let axis = make::scalar(r.b, DType::I64, r.int_or("axis", 0) as f64);
    let op = ArgReduce {
        largest,
        last: r.int_or("select_last_index", 0) != 0,
        keep_dims: r.int_or("keepdims", 1) != 0,
        to: DType::I64,
    };
    one(r.b.op(op, &[x, axis])?)
}

fn top_k(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let k = match r.attr("k").and_then(crate::graph::Attr::as_int) {
        Some(k) => make::scalar(r.b, DType::I64, k as f64),
        None => {
            let k = r.input(1)?;
            make::reshape(r.b, k, &[])?
        }
    };
    let op = TopK { axis: r.int_or("axis", -1), largest: r.int_or("largest", 1) != 0, to: DType::I64 };
    r.b.op_n(std::sync::Arc::new(op), &[x, k])
}

fn cumulative(r: &mut Rule<'_, '_>, f: CumulativeFn) -> Spelled {
    let (x, axis) = (r.input(0)?, r.input(1)?);
    let axis = make::reshape(r.b, axis, &[])?;
    let op = Cumulative { f, exclusive: r.int_or("exclusive", 0) != 0, reverse: r.int_or("reverse", 0) != 0 };
    one(r.b.op(op, &[x, axis])?)
}

/// 1 at the first maximum along the axis, else 0. Before opset 13 the axes from `axis` on count as one.
fn hardmax(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let y = super::nn::along_axis(r, x, |b, x, axis| {
        let at = make::scalar(b, DType::I64, axis as f64);
        let op = ArgReduce { largest: true, last: false, keep_dims: false, to: DType::I64 };
        let best = b.op(op, &[x, at])?;
        let sizes = make::shape_of(b, x)?;
        let depth = make::slice(b, sizes, &[axis], &[1])?;
        let depth = make::reshape(b, depth, &[])?;
        let (on, off) = (make::scalar_like(b, x, 1.0), make::scalar_like(b, x, 0.0));
        b.op(crate::ops::index::OneHot { axis, wrap: false }, &[best, depth, on, off])
    })?;
    Ok(smallvec![y])
}

fn lp_normalization(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let n = rank(r.b, x)?;
    let axis = axis_in(r.int_or("axis", -1), n)? as i64;
    let norm = match r.int_or("p", 2) {
        1 => {
            let y = make::abs(r.b, x)?;
            make::reduce_sum(r.b, y, &[axis], true)?
        }
        _ => {
            let y = make::square(r.b, x)?;
            let y = make::reduce_sum(r.b, y, &[axis], true)?;
            make::sqrt(r.b, y)?
        }
    };
    // A vector of zeros stays one.
    one(make::binary(r.b, crate::ops::elementwise::BinaryFn::DivNoNan, x, norm)?)
}
