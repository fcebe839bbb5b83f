//! The reverse walk: from seeds back to targets over the instructions between them, summing where ways meet.

use crate::graph::NodeKey;
use crate::ops::make;
use crate::program::{Builder, Flow, Instr, InstrKind, Misfit, Op, Program, Site, Value};
use crate::tensor::{Fact, Tensor};

use super::active::{active_values, path_to};
use super::{AutodiffError, control};

/// Appends the instructions that compute the gradient of the seeds with respect to `wrt`, and gives one value for each
/// of `wrt` (`None` where no gradient arrives: it is zero everywhere, or the value does not lead to a seed).
///
/// A seed is a value and the gradient that arrives at it (`None`: ones). Gradients are dense, with the dtype and shape
/// of their value. Errors where a gradient would have to pass an op without a rule: leaving it out would silently give
/// a wrong sum.
pub fn differentiate(
    program: &mut Program,
    seeds: &[(Value, Option<Value>)],
    wrt: &[Value],
) -> Result<Vec<Option<Value>>, AutodiffError> {
    for &v in wrt.iter().chain(seeds.iter().map(|(v, _)| v)) {
        let fact = program.fact(v);
        if !fact.dtype.is_float() {
            return Err(AutodiffError::NotFloat { value: program.describe(v), found: fact.describe() });
        }
    }
    let active = active_values(program, wrt);
    let n_forward = program.instrs.len();
    let mut grads: Vec<Option<Value>> = vec![None; program.values.len()];
    let mut b = Builder::new(program);
    for &(v, seed) in seeds {
        if !active[v.idx()] {
            continue;
        }
        let seed = seed_gradient(&mut b, v, seed)?;
        accumulate(&mut b, &mut grads, v, seed).map_err(|m| rule_error("seed", "add", &m))?;
    }
    for idx in (0..n_forward).rev() {
        let arrives = b.program().instrs[idx].outputs.iter().any(|v| grads[v.idx()].is_some());
        if arrives {
            step(&mut b, idx, &active, &mut grads)?;
        }
    }
    b.set_origin(None);
    Ok(wrt.iter().map(|v| grads[v.idx()]).collect())
}

/// Ones of the value's shape, or the given gradient once its shape is checked.
fn seed_gradient(b: &mut Builder, v: Value, seed: Option<Value>) -> Result<Value, AutodiffError> {
    match seed {
        None => filled_like(b, v, 1.0).map_err(|m| rule_error(&b.program().describe(v), "seed", &m)),
        Some(s) if fits(b.fact(v), b.fact(s)) => Ok(s),
        Some(s) => Err(AutodiffError::Seed {
            value: b.program().describe(v),
            expected: b.fact(v).describe(),
            found: b.fact(s).describe(),
        }),
    }
}

/// One instruction backwards.
fn step(b: &mut Builder, idx: usize, active: &[bool], grads: &mut [Option<Value>]) -> Result<(), AutodiffError> {
    let instr = b.program().instrs[idx].clone();
    if !instr.inputs.iter().any(|v| active[v.idx()]) {
        return Ok(());
    }
    b.set_origin(instr.origin.clone());
    let out_grads: Vec<Option<Value>> = instr.outputs.iter().map(|v| grads[v.idx()]).collect();
    let in_grads = match &instr.kind {
        InstrKind::Op(op) => op_gradients(b, &instr, &**op, active, &out_grads)?,
        InstrKind::If(blocks) => control::if_gradients(b, &instr, blocks, active, &out_grads)?,
        InstrKind::Loop(blocks) => control::loop_gradients(b, &instr, blocks, active, &out_grads)?,
    };
    for (&v, grad) in instr.inputs.iter().zip(in_grads) {
        let Some(grad) = grad else { continue };
        if !fits(b.fact(v), b.fact(grad)) {
            let why = format!("it is {} for an input that is {}", b.fact(grad).describe(), b.fact(v).describe());
            return Err(AutodiffError::Rule { node: place(&instr), op: instr.name().to_owned(), why });
        }
        accumulate(b, grads, v, grad).map_err(|m| rule_error(&place(&instr), "add", &m))?;
    }
    Ok(())
}

fn op_gradients(
    b: &mut Builder,
    instr: &Instr,
    op: &dyn Op,
    active: &[bool],
    out_grads: &[Option<Value>],
) -> Result<Vec<Option<Value>>, AutodiffError> {
    let facts: Vec<Fact> = instr.inputs.iter().map(|&v| b.fact(v).clone()).collect();
    let refs: Vec<&Fact> = facts.iter().collect();
    let mut wanted = vec![false; facts.len()];
    for (i, v) in instr.inputs.iter().enumerate() {
        if !active[v.idx()] || !facts[i].dtype.is_float() {
            continue;
        }
        match op.flow(i, &refs) {
            Flow::Flows => wanted[i] = true,
            Flow::Zero(_) | Flow::Stopped { .. } => {}
            Flow::Blocked(why) => {
                let mut path = path_to(b.program(), active, *v);
                path.push(place(instr));
                return Err(AutodiffError::Blocked { node: place(instr), op: op.info().name.to_owned(), why, path });
            }
        }
    }
    if !wanted.contains(&true) {
        return Ok(vec![None; facts.len()]);
    }
    let site = Site { inputs: &instr.inputs, outputs: &instr.outputs };
    let grads = op.vjp(b, &site, out_grads, &wanted).map_err(|m| rule_error(&place(instr), op.info().name, &m))?;
    if grads.len() != wanted.len() {
        let why = format!("its rule gives {} gradients for {} inputs", grads.len(), wanted.len());
        return Err(AutodiffError::Rule { node: place(instr), op: op.info().name.to_owned(), why });
    }
    Ok(grads.into_iter().zip(wanted).map(|(g, w)| g.filter(|_| w)).collect())
}

fn accumulate(b: &mut Builder, grads: &mut [Option<Value>], v: Value, grad: Value) -> Result<(), Misfit> {
    grads[v.idx()] = Some(match grads[v.idx()] {
        None => grad,
        Some(sum) => make::add(b, sum, grad)?,
    });
    Ok(())
}

fn fits(value: &Fact, grad: &Fact) -> bool {
    value.dtype == grad.dtype && value.shape.merge(&grad.shape).is_some()
}

/// A tensor like `v` with every element `x`; a literal where the shape is known.
pub(super) fn filled_like(b: &mut Builder, v: Value, x: f64) -> Result<Value, Misfit> {
    let fact = b.fact(v).clone();
    if let Some(dims) = fact.dims() {
        return Ok(b.literal(Tensor::filled(fact.dtype, &dims, x)));
    }
    let scalar = b.literal(Tensor::filled(fact.dtype, &[], x));
    let shape = make::shape_of(b, v)?;
    make::broadcast_to(b, scalar, shape)
}

pub(super) fn rule_error(node: &str, op: &str, misfit: &Misfit) -> AutodiffError {
    AutodiffError::Rule { node: node.to_owned(), op: op.to_owned(), why: misfit.0.clone() }
}

/// What a person calls an instruction: its graph node, else its op.
pub(super) fn place(instr: &Instr) -> String {
    instr.origin.as_ref().map(NodeKey::to_string).unwrap_or_else(|| instr.name().to_owned())
}
