//! Turns operands of which only the shape is read into plain numbers. `sum_to(g, like)` would keep `like`, often the largest
//! activation of a layer, alive until the backward pass; with known shapes it is a sum over known axes.

use crate::ops::make;
use crate::program::{Instr, Misfit, Program, Value};
use crate::tensor::Dims;

use super::Limits;
use super::rewrite::{Rewriter, Rewritten};

pub(super) fn run(program: &Program, _: &Limits<'_>) -> Result<Rewritten, Misfit> {
    let mut r = Rewriter::new(program);
    for instr in &program.instrs {
        match (instr.name(), instr.inputs.first(), instr.outputs.first()) {
            ("sum_to", Some(&g), Some(&out)) => match sum(&mut r, instr, g, out)? {
                Some(new) => r.replace(out, new),
                None => r.copy(instr)?,
            },
            _ => r.copy(instr)?,
        }
    }
    r.finish()
}

/// `None` where a shape is not known.
fn sum(r: &mut Rewriter<'_>, instr: &Instr, g: Value, out: Value) -> Result<Option<Value>, Misfit> {
    let (Some(from), Some(to)) = (r.fact(g)?.dims(), r.old().fact(out).dims()) else { return Ok(None) };
    let g = r.get(g)?;
    if from == to {
        return Ok(Some(g));
    }
    let Some(lead) = from.len().checked_sub(to.len()) else { return Ok(None) };
    let axes: Vec<i64> =
        (0..from.len()).filter(|&a| a < lead || (to[a - lead] == 1 && from[a] != 1)).map(|a| a as i64).collect();
    let mut b = r.builder(instr);
    let summed = make::reduce_sum(&mut b, g, &axes, false)?;
    let shape: Vec<i64> = to.iter().map(|&d| d as i64).collect();
    let have: Option<Dims> = b.fact(summed).dims();
    if have.as_ref() == Some(&to) {
        return Ok(Some(summed));
    }
    Ok(Some(make::reshape(&mut b, summed, &shape)?))
}
