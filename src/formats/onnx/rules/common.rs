//! What rules of several families share.

use smallvec::smallvec;

use crate::graph::Attr;
use crate::lower::{Outputs, Rule};
use crate::ops::make;
use crate::ops::shape::ShapeOf;
use crate::program::eval::eval;
use crate::program::{Builder, Misfit, Random, Value};
use crate::tensor::{DType, Fact, Tensor, shape};

pub type Spelled = Result<Outputs, Misfit>;

/// A family's table: `rows! { "Op" => rule; … }`.
macro_rules! rows {
    ($($op:literal => $rule:expr;)*) => { &[$($crate::lower::Spelling { op: $op, rule: $rule }),*] };
}
pub(super) use rows;

/// As [`rows`], for domains whose ops have grown attributes and inputs over time: a rule that has not asked for one that is
/// there is refused.
macro_rules! strict_rows {
    ($($op:literal => $rule:expr;)*) => { &[$($crate::lower::Spelling {
        op: $op,
        rule: |r| {
            let rule: $crate::lower::RuleFn = $rule;
            let outputs = rule(r)?;
            r.refuse_unread(super::common::HARMLESS)?;
            Ok(outputs)
        },
    }),*] };
}
pub(super) use strict_rows;

/// Attributes that say how fast or how exactly to compute, not what.
pub const HARMLESS: &[&str] = &[
    "accuracy_level",
    "stash_type",
    "seed",
    "nodes_hitrates",
    "nodes_hitrates_as_tensor",
    "multi_class",
    "chunk_size",
];

/// Instructions that [`known`] may evaluate for one value.
const MAX_EVALUATED: usize = 128;
/// And elements of each.
const MAX_ELEMENTS: usize = 1 << 12;

pub fn one(v: Value) -> Spelled {
    Ok(smallvec![v])
}

/// The number of axes of a value.
pub fn rank(b: &Builder, v: Value) -> Result<usize, Misfit> {
    b.fact(v).rank().ok_or_else(|| Misfit::new("the number of axes must be known"))
}

pub fn axis_in(axis: i64, rank: usize) -> Result<usize, Misfit> {
    shape::normalize_axis(axis, rank).ok_or_else(|| Misfit(format!("axis {axis} is outside rank {rank}")))
}

/// The content of a value that follows from shapes and small constants alone: exporters compute axes and sizes, also by way
/// of floats.
pub fn known(b: &Builder, v: Value) -> Option<Tensor> {
    let mut left = MAX_EVALUATED;
    evaluate(b, v, &mut left)
}

fn evaluate(b: &Builder, v: Value, left: &mut usize) -> Option<Tensor> {
    let fact = b.fact(v);
    if let Some(t) = &fact.value {
        return Some(t.clone());
    }
    *left = left.checked_sub(1)?;
    if !fact.dtype.is_exact() && !fact.dtype.is_float() {
        return None;
    }
    let (_, instr) = b.program().producer(v)?;
    let op = instr.op()?;
    if op.is_random() {
        return None;
    }
    let port = instr.outputs.iter().position(|&o| o == v)?;
    let inputs = if let Some(shape_of) = instr.op_as::<ShapeOf>() {
        let dims = b.fact(instr.inputs[0]).dims()?;
        let dims = dims.iter().map(|&d| d as f64);
        return Some(Tensor::from_f64s(shape_of.to, &[dims.len()], dims));
    } else {
        instr.inputs.iter().map(|&i| evaluate(b, i, left)).collect::<Option<Vec<Tensor>>>()?
    };
    let facts: Vec<Fact> = inputs.iter().map(Fact::of_tensor).collect();
    let facts: Vec<&Fact> = facts.iter().collect();
    let small = op
        .infer(&facts)
        .ok()?
        .iter()
        .all(|f| f.dims().and_then(|d| shape::element_count(&d)).is_none_or(|n| n <= MAX_ELEMENTS));
    if !small {
        return None;
    }
    eval(&**op, &inputs, Random::default()).ok()?.into_iter().nth(port)
}

/// Integers that a value is known to hold.
pub fn known_ints(b: &Builder, v: Value) -> Option<Vec<i64>> {
    known(b, v)?.to_i64s()
}

/// Integers of an input, which must be known; `None` where it is left out.
pub fn ints_input(r: &Rule<'_, '_>, i: usize) -> Result<Option<Vec<i64>>, Misfit> {
    if !r.has_input(i) {
        return Ok(None);
    }
    let v = r.input(i)?;
    match known_ints(r.b, v) {
        Some(ints) => Ok(Some(ints)),
        None => Err(Misfit(format!("input {i} must be constant integers"))),
    }
}

/// Integers that older versions of an op have as an attribute and newer ones as an input.
pub fn ints_of(r: &Rule<'_, '_>, name: &str, input: usize) -> Result<Option<Vec<i64>>, Misfit> {
    match r.ints_attr(name) {
        Some(ints) => Ok(Some(ints)),
        None => ints_input(r, input),
    }
}

/// A number that older versions have as an attribute and newer ones as a scalar input, as a value of the type of `like`.
pub fn number_of(r: &mut Rule<'_, '_>, name: &str, input: usize, like: Value) -> Result<Option<Value>, Misfit> {
    if let Some(v) = r.attr(name).and_then(Attr::as_float) {
        return Ok(Some(make::scalar_like(r.b, like, f64::from(v))));
    }
    if !r.has_input(input) {
        return Ok(None);
    }
    let v = r.input(input)?;
    Ok(Some(if r.b.fact(v).shape.is_known() { make::reshape(r.b, v, &[])? } else { v }))
}

/// A list of floats.
pub fn floats_attr(r: &Rule<'_, '_>, name: &str) -> Option<Vec<f64>> {
    r.attr(name)?.as_list()?.iter().map(|a| a.as_float().map(f64::from)).collect()
}

/// A list of texts.
pub fn texts_attr(r: &Rule<'_, '_>, name: &str) -> Option<Vec<String>> {
    r.attr(name)?.as_list()?.iter().map(|a| a.as_str().map(str::to_owned)).collect()
}

/// An element type attribute (an integer code in ONNX).
pub fn type_of(r: &Rule<'_, '_>, name: &str) -> Result<Option<DType>, Misfit> {
    let Some(code) = r.attr(name).and_then(Attr::as_int) else {
        // Opset 1 to 5 spell the type out.
        let text = r.attr(name).and_then(Attr::as_str);
        return Ok(text.and_then(|t| match t.to_lowercase().as_str() {
            "float" => Some(DType::F32),
            "double" => Some(DType::F64),
            other => DType::from_name(other),
        }));
    };
    if (17..=26).contains(&code) {
        return Err(Misfit(format!("element type code {code} is narrower than any that is computed with")));
    }
    match super::super::tensor_proto::dtype_from_code(code as u64) {
        DType::Unknown => Err(Misfit(format!("element type code {code} is not known"))),
        d => Ok(Some(d)),
    }
}

/// A vector shaped so that it broadcasts along `axis` of a value of `rank` axes.
pub fn along(b: &mut Builder, v: Value, axis: usize, rank: usize) -> Result<Value, Misfit> {
    let mut shape = vec![1i64; rank.max(1)];
    shape[axis.min(rank.saturating_sub(1))] = -1;
    make::reshape(b, v, &shape)
}
