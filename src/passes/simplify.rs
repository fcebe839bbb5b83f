//! Algebra that needs no arithmetic: neutral operands, shapes and types that stay as they are, two moves in one.
//!
//! `x + 0` is taken for `x` also where `x` is -0 (then the sign of zero may differ).

use crate::ops::make;
use crate::program::{Instr, Misfit, Program, Value};
use crate::tensor::Dims;

use super::Limits;
use super::rewrite::{Rewriter, Rewritten};

pub(super) fn run(program: &Program, limits: &Limits<'_>) -> Result<Rewritten, Misfit> {
    let mut r = Rewriter::new(program);
    let params: Vec<Value> = limits.params.iter().filter_map(|&p| r.get(p).ok()).collect();
    for instr in &program.instrs {
        match simpler(&mut r, instr, limits, &params)? {
            Some(new) => r.replace(instr.outputs[0], new),
            None => r.copy(instr)?,
        }
    }
    r.finish()
}

fn simpler(
    r: &mut Rewriter<'_>,
    instr: &Instr,
    limits: &Limits<'_>,
    params: &[Value],
) -> Result<Option<Value>, Misfit> {
    if instr.op().is_none() || instr.outputs.len() != 1 || instr.inputs.is_empty() {
        return Ok(None);
    }
    let out = r.old().fact(instr.outputs[0]).clone();
    let inputs = r.inputs(instr)?;
    let first = inputs[0];
    let same = |r: &Rewriter<'_>, v: Value| {
        let f = r.new_program().fact(v);
        f.dtype == out.dtype && f.shape.is_known() && f.shape == out.shape
    };
    Ok(match instr.name() {
        "cast" | "reshape" | "broadcast_to" | "sum_to" if same(r, first) => Some(first),
        "tile" | "pad" | "slice" | "strided_slice" if same(r, first) && keeps_all(instr.name(), r, &inputs) => {
            Some(first)
        }
        "stop_gradient" if limits.final_form => Some(first),
        "reshape" => match producer(r, first, "reshape") {
            Some(source) => Some(reshaped(r, instr, source, out.dims())?),
            None => None,
        },
        "transpose" => transpose(r, instr, &inputs)?,
        "pow" => power(r, instr, &inputs, params)?,
        "neg" => producer(r, first, "neg").map(|p| p[0]),
        "add" | "sub" | "mul" | "div" => {
            let neutral = if matches!(instr.name(), "add" | "sub") { 0.0 } else { 1.0 };
            let is = |r: &Rewriter<'_>, v: Value| !params.contains(&v) && uniform(r, v) == Some(neutral);
            let commutes = matches!(instr.name(), "add" | "mul");
            if is(r, inputs[1]) && same(r, first) {
                Some(first)
            } else if commutes && is(r, first) && same(r, inputs[1]) {
                Some(inputs[1])
            } else {
                None
            }
        }
        _ => None,
    })
}

/// Powers that are products or roots, and then have shorter gradients.
fn power(r: &mut Rewriter<'_>, instr: &Instr, inputs: &[Value], params: &[Value]) -> Result<Option<Value>, Misfit> {
    let (x, exponent) = (inputs[0], inputs[1]);
    let out = r.old().fact(instr.outputs[0]);
    let fits = out.dtype.is_float() && r.new_program().fact(x).shape == out.shape && !params.contains(&exponent);
    let Some(n) = uniform(r, exponent).filter(|_| fits) else { return Ok(None) };
    let mut b = r.builder(instr);
    let b = &mut b;
    Ok(Some(match n {
        1.0 => x,
        2.0 => make::square(b, x)?,
        3.0 => {
            let square = make::square(b, x)?;
            make::mul(b, square, x)?
        }
        0.5 => make::sqrt(b, x)?,
        -0.5 => make::rsqrt(b, x)?,
        -1.0 => make::reciprocal(b, x)?,
        _ => return Ok(None),
    }))
}

/// Equal shape says it all for tiles and pads; slices of equal shape start at 0 unless they step backwards.
fn keeps_all(name: &str, r: &Rewriter<'_>, inputs: &[Value]) -> bool {
    match name {
        "strided_slice" => inputs
            .get(3)
            .and_then(|&s| r.new_program().fact(s).ints())
            .is_some_and(|strides| strides.iter().all(|&s| s == 1)),
        // A pad may also cut off on one side what it adds on the other.
        "pad" => inputs
            .get(1)
            .and_then(|&p| r.new_program().fact(p).ints())
            .is_some_and(|paddings| paddings.iter().all(|&p| p == 0)),
        _ => true,
    }
}

/// The one number that a small known constant consists of.
fn uniform(r: &Rewriter<'_>, v: Value) -> Option<f64> {
    let value = r.new_program().fact(v).value.as_ref()?;
    if value.is_empty() || value.len() > 4096 || !value.all_equal() {
        return None;
    }
    value.to_f64s()?.first().copied()
}

/// Inputs of the instruction that made `v`, where it is a `name`.
fn producer(r: &Rewriter<'_>, v: Value, name: &str) -> Option<Vec<Value>> {
    let (_, instr) = r.new_program().producer(v)?;
    (instr.name() == name).then(|| instr.inputs.to_vec())
}

fn reshaped(r: &mut Rewriter<'_>, instr: &Instr, source: Vec<Value>, to: Option<Dims>) -> Result<Value, Misfit> {
    let Some(to) = to else {
        r.copy(instr)?;
        return r.get(instr.outputs[0]);
    };
    if r.new_program().fact(source[0]).dims().as_ref() == Some(&to) {
        return Ok(source[0]);
    }
    let shape: Vec<i64> = to.iter().map(|&d| d as i64).collect();
    make::reshape(&mut r.builder(instr), source[0], &shape)
}

fn transpose(r: &mut Rewriter<'_>, instr: &Instr, inputs: &[Value]) -> Result<Option<Value>, Misfit> {
    let perm_of = |r: &Rewriter<'_>, v: Value| r.new_program().fact(v).ints();
    let Some(mut perm) = inputs.get(1).and_then(|&p| perm_of(r, p)) else { return Ok(None) };
    let mut source = inputs[0];
    if let Some(before) = producer(r, source, "transpose")
        && let Some(first) = before.get(1).and_then(|&p| perm_of(r, p))
        && first.len() == perm.len()
    {
        // Axis i of the result is axis perm[i] of the middle, which is axis first[perm[i]] of the source.
        let composed: Option<Vec<i64>> =
            perm.iter().map(|&p| usize::try_from(p).ok().and_then(|p| first.get(p).copied())).collect();
        let Some(composed) = composed else { return Ok(None) };
        (perm, source) = (composed, before[0]);
    }
    if perm.iter().enumerate().all(|(i, &p)| i as i64 == p) {
        return Ok(Some(source));
    }
    // A move of axes that are 1 long is a reshape.
    let Some(dims) = r.new_program().fact(source).dims() else { return Ok(None) };
    let long: Vec<i64> = perm.iter().copied().filter(|&p| dims.get(p as usize).is_some_and(|&d| d != 1)).collect();
    if long.windows(2).all(|w| w[0] < w[1]) {
        let shape: Vec<i64> = perm.iter().filter_map(|&p| dims.get(p as usize)).map(|&d| d as i64).collect();
        if shape.len() == dims.len() {
            return make::reshape(&mut r.builder(instr), source, &shape).map(Some);
        }
    }
    if source != inputs[0] {
        return make::transpose(&mut r.builder(instr), source, &perm).map(Some);
    }
    Ok(None)
}
