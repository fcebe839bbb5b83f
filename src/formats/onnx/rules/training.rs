//! Spellings of the optimizer ops (`ai.onnx.preview.training`): one update of each tensor. Semantics: the operator pages of
//! the ONNX standard. Inputs: rate, number of the step, then all tensors, all gradients and each kind of memory.

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::make;
use crate::program::{Misfit, Value};

use super::common::{Spelled, strict_rows};

pub const RULES: &[Spelling] = strict_rows! {
    "ai.onnx.preview.training.Adagrad" => adagrad;
    "ai.onnx.preview.training.Momentum" => momentum;
    "ai.onnx.preview.training.Adam" => adam;
};

/// The inputs behind rate and step in `kinds` groups of one length; each group as `[of a tensor]`.
fn groups(r: &Rule<'_, '_>, kinds: usize) -> Result<Vec<Vec<Value>>, Misfit> {
    let all = r.all_inputs()?;
    let rest = all.get(2..).unwrap_or_default();
    if rest.is_empty() || rest.len() % kinds != 0 {
        return Err(Misfit(format!("{} inputs are no {kinds} groups of tensors", rest.len())));
    }
    Ok(rest.chunks(rest.len() / kinds).map(<[Value]>::to_vec).collect())
}

/// The first value in the type of the second.
fn as_type(r: &mut Rule<'_, '_>, v: Value, like: Value) -> Result<Value, Misfit> {
    let to = r.b.fact(like).dtype;
    make::cast(r.b, v, to)
}

/// Gradient with the decay that pulls a tensor to zero.
fn regular(r: &mut Rule<'_, '_>, x: Value, g: Value) -> Result<Value, Misfit> {
    let pull = f64::from(r.float_or("norm_coefficient", 0.0));
    let pull = make::mul_scalar(r.b, x, pull)?;
    make::add(r.b, pull, g)
}

fn outputs(results: Vec<Vec<Value>>) -> Spelled {
    let mut out = Outputs::new();
    let n = results.first().map_or(0, Vec::len);
    (0..n).for_each(|kind| out.extend(results.iter().map(|r| r[kind])));
    Ok(out)
}

fn adagrad(r: &mut Rule<'_, '_>) -> Spelled {
    let (rate, step) = (r.input(0)?, r.input(1)?);
    let parts = groups(r, 3)?;
    let (decay, epsilon) = (f64::from(r.float_or("decay_factor", 0.0)), f64::from(r.float_or("epsilon", 0.0)));
    let mut results = Vec::new();
    for ((&x, &g), &h) in parts[0].iter().zip(&parts[1]).zip(&parts[2]) {
        let (rate, step) = (as_type(r, rate, x)?, as_type(r, step, x)?);
        let slower = make::mul_scalar(r.b, step, decay)?;
        let slower = make::add_scalar(r.b, slower, 1.0)?;
        let rate = make::div(r.b, rate, slower)?;
        let g = regular(r, x, g)?;
        let square = make::mul(r.b, g, g)?;
        let h = make::add(r.b, h, square)?;
        let root = make::sqrt(r.b, h)?;
        let root = make::add_scalar(r.b, root, epsilon)?;
        let change = make::mul(r.b, rate, g)?;
        let change = make::div(r.b, change, root)?;
        results.push(vec![make::sub(r.b, x, change)?, h]);
    }
    outputs(results)
}

fn momentum(r: &mut Rule<'_, '_>) -> Spelled {
    let (rate, step) = (r.input(0)?, r.input(1)?);
    let parts = groups(r, 3)?;
    let (alpha, beta) = (f64::from(r.float_or("alpha", 0.0)), f64::from(r.float_or("beta", 0.0)));
    let is_nesterov = match r.str_or("mode", "") {
        "nesterov" => true,
        "standard" => false,
        other => return Err(Misfit(format!("unknown mode {other:?}"))),
    };
    let mut results = Vec::new();
    for ((&x, &g), &v) in parts[0].iter().zip(&parts[1]).zip(&parts[2]) {
        let (rate, step) = (as_type(r, rate, x)?, as_type(r, step, x)?);
        let g = regular(r, x, g)?;
        // The very first step takes the whole gradient.
        let zero = make::scalar_like(r.b, step, 0.0);
        let is_later = make::greater(r.b, step, zero)?;
        let (later, first) = (make::scalar_like(r.b, g, beta), make::scalar_like(r.b, g, 1.0));
        let part = make::select(r.b, is_later, later, first)?;
        let old = make::mul_scalar(r.b, v, alpha)?;
        let new = make::mul(r.b, g, part)?;
        let v = make::add(r.b, old, new)?;
        let along = if is_nesterov {
            let ahead = make::mul_scalar(r.b, v, alpha)?;
            make::add(r.b, g, ahead)?
        } else {
            v
        };
        let change = make::mul(r.b, rate, along)?;
        results.push(vec![make::sub(r.b, x, change)?, v]);
    }
    outputs(results)
}

fn adam(r: &mut Rule<'_, '_>) -> Spelled {
    let (rate, step) = (r.input(0)?, r.input(1)?);
    let parts = groups(r, 4)?;
    let (alpha, beta) = (f64::from(r.float_or("alpha", 0.9)), f64::from(r.float_or("beta", 0.999)));
    let (epsilon, post) = (f64::from(r.float_or("epsilon", 0.0)), f64::from(r.float_or("norm_coefficient_post", 0.0)));
    let mut results = Vec::new();
    for (i, &x) in parts[0].iter().enumerate() {
        let (rate, step) = (as_type(r, rate, x)?, as_type(r, step, x)?);
        let g = regular(r, x, parts[1][i])?;
        let square = make::mul(r.b, g, g)?;
        let v = mixed(r, parts[2][i], g, alpha)?;
        let h = mixed(r, parts[3][i], square, beta)?;
        let root = make::sqrt(r.b, h)?;
        let root = make::add_scalar(r.b, root, epsilon)?;
        let rate = corrected(r, rate, step, alpha, beta)?;
        let change = make::mul(r.b, rate, v)?;
        let change = make::div(r.b, change, root)?;
        let next = make::sub(r.b, x, change)?;
        results.push(vec![make::mul_scalar(r.b, next, 1.0 - post)?, v, h]);
    }
    outputs(results)
}

/// `keep · old + (1 - keep) · new`.
fn mixed(r: &mut Rule<'_, '_>, old: Value, new: Value, keep: f64) -> Result<Value, Misfit> {
    let old = make::mul_scalar(r.b, old, keep)?;
    let new = make::mul_scalar(r.b, new, 1.0 - keep)?;
    make::add(r.b, old, new)
}

/// The rate with Adam's correction of the first steps; step 0 has none.
fn corrected(r: &mut Rule<'_, '_>, rate: Value, step: Value, alpha: f64, beta: f64) -> Result<Value, Misfit> {
    let mut left = |base: f64| -> Result<Value, Misfit> {
        let base = make::scalar_like(r.b, step, base);
        let power = make::pow(r.b, base, step)?;
        let power = make::neg(r.b, power)?;
        make::add_scalar(r.b, power, 1.0)
    };
    let (of_mean, of_square) = (left(alpha)?, left(beta)?);
    let root = make::sqrt(r.b, of_square)?;
    let factor = make::div(r.b, root, of_mean)?;
    let zero = make::scalar_like(r.b, step, 0.0);
    let is_later = make::greater(r.b, step, zero)?;
    let unit = make::scalar_like(r.b, step, 1.0);
    let factor = make::select(r.b, is_later, factor, unit)?;
    make::mul(r.b, rate, factor)
}
