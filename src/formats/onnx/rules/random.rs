//! Spellings of ONNX ops: dropout and random numbers.
//!
//! Dropout becomes a conditional on its training mode with a dropout instruction on one side, so that it is recognised
//! whatever its mode says; "as in file" then runs just what the file asks for.

use smallvec::smallvec;

use crate::graph::Attr;
use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::make;
use crate::ops::random::{Dropout, RandomNormal, RandomUniform};
use crate::ops::shape::ShapeOf;
use crate::program::{Builder, IfBlocks, InstrKind, Misfit, Program, Value};
use crate::tensor::{DType, Fact, Tensor};

use super::common::{Spelled, one, rows, type_of};

pub const RULES: &[Spelling] = rows! {
    "Dropout" => dropout;
    "RandomUniform" => |r| random(r, false);
    "RandomUniformLike" => |r| random(r, false);
    "RandomNormal" => |r| random(r, true);
    "RandomNormalLike" => |r| random(r, true);
    "Bernoulli" => bernoulli;
};

/// Outputs: the value, and where elements were kept. Rate: attribute (before opset 12) or input 1. Mode: attribute
/// `is_test` (before opset 7), none (7 to 11: not in training), input 2 (from 12 on).
fn dropout(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let rate = match (r.opset < 12).then(|| r.float_or("ratio", 0.5)) {
        Some(rate) => make::scalar(r.b, DType::F32, f64::from(rate)),
        None if r.has_input(1) => {
            let rate = r.input(1)?;
            if r.b.fact(rate).shape.rank() == Some(0) { rate } else { make::reshape(r.b, rate, &[])? }
        }
        None => make::scalar(r.b, DType::F32, 0.5),
    };
    let training = match r.opset {
        12.. if r.has_input(2) => {
            let mode = r.input(2)?;
            if r.b.fact(mode).shape.rank() == Some(0) { mode } else { make::reshape(r.b, mode, &[])? }
        }
        ..7 => r.b.literal(Tensor::from_bools(&[], &[r.int_or("is_test", 0) == 0])),
        _ => r.b.literal(Tensor::from_bools(&[], &[false])),
    };
    let site = r.site;
    let y = in_training(r.b, training, x, rate, |b, x, rate| b.op(Dropout::new(site), &[x, rate]), |_, x| Ok(x))?;
    if r.node.outputs.len() < 2 {
        return one(y);
    }
    // What survives of ones under the same random numbers.
    let kept = |b: &mut Builder, x: Value, rate: Value| {
        let ones = make::ones_like(b, x)?;
        let ones = make::cast(b, ones, DType::F32)?;
        let left = b.op(Dropout::new(site), &[ones, rate])?;
        let zero = make::scalar(b, DType::F32, 0.0);
        make::greater(b, left, zero)
    };
    let all = |b: &mut Builder, x: Value| {
        let shape = make::shape_of(b, x)?;
        let yes = b.literal(Tensor::from_bools(&[], &[true]));
        make::broadcast_to(b, yes, shape)
    };
    let mask = in_training(r.b, training, x, rate, kept, all)?;
    // Before opset 10 the mask has the type of the value.
    let mask = if r.opset < 10 {
        let dtype = r.b.fact(x).dtype;
        make::cast(r.b, mask, dtype)?
    } else {
        mask
    };
    Ok(smallvec![y, mask])
}

/// `training ? then(x, rate) : other(x)`.
fn in_training(
    b: &mut Builder,
    training: Value,
    x: Value,
    rate: Value,
    then: impl FnOnce(&mut Builder, Value, Value) -> Result<Value, Misfit>,
    other: impl FnOnce(&mut Builder, Value) -> Result<Value, Misfit>,
) -> Result<Value, Misfit> {
    let (x_fact, rate_fact) = (b.fact(x).clone(), b.fact(rate).clone());
    let open = |program: &mut Program| {
        let mut b = Builder::new(program);
        (b.feed("x", Fact { value: None, ..x_fact.clone() }), b.feed("rate", rate_fact.clone()))
    };
    let (mut then_block, mut else_block) = (Program::default(), Program::default());
    let (inner, rate_inside) = open(&mut then_block);
    let y = then(&mut Builder::new(&mut then_block), inner, rate_inside)?;
    then_block.outputs = vec![y];
    let (inner, _) = open(&mut else_block);
    let z = other(&mut Builder::new(&mut else_block), inner)?;
    else_block.outputs = vec![z];
    let fact = Fact { value: None, ..then_block.fact(y).clone() };
    let blocks = IfBlocks { then_block, else_block };
    let out = b.push(InstrKind::If(Box::new(blocks)), &[training, x, rate], vec![fact]);
    Ok(out[0])
}

fn random(r: &mut Rule<'_, '_>, is_normal: bool) -> Spelled {
    let given = type_of(r, "dtype")?;
    let (shape, dtype) = if r.has_input(0) {
        let x = r.input(0)?;
        let like = r.b.fact(x).dtype;
        (r.b.op(ShapeOf { to: DType::I64 }, &[x])?, given.unwrap_or(like))
    } else {
        let shape = r.ints_attr("shape").ok_or_else(|| Misfit::new("the attribute shape is missing"))?;
        (r.ints_literal(&shape), given.unwrap_or(DType::F32))
    };
    let (site, number) = (r.site, |name: &str, or: f32| f64::from(r.attr(name).and_then(Attr::as_float).unwrap_or(or)));
    let (scale, offset) = if is_normal {
        (number("scale", 1.0), number("mean", 0.0))
    } else {
        (number("high", 1.0) - number("low", 0.0), number("low", 0.0))
    };
    let mut y = if is_normal {
        r.b.op(RandomNormal { site, dtype, truncated: false }, &[shape])?
    } else {
        r.b.op(RandomUniform { site, dtype }, &[shape])?
    };
    if scale != 1.0 {
        y = make::mul_scalar(r.b, y, scale)?;
    }
    if offset != 0.0 {
        y = make::add_scalar(r.b, y, offset)?;
    }
    one(y)
}

/// 1 with the probability that the element says.
fn bernoulli(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let from = r.b.fact(x).dtype;
    let to = type_of(r, "dtype")?.unwrap_or(from);
    let shape = r.b.op(ShapeOf { to: DType::I64 }, &[x])?;
    let u = r.b.op(RandomUniform { site: r.site, dtype: from }, &[shape])?;
    let hit = make::less(r.b, u, x)?;
    let out: Outputs = smallvec![make::cast(r.b, hit, to)?];
    Ok(out)
}
