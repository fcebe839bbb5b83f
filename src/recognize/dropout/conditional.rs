//! Conditionals around dropout: one branch drops from a value, the other passes the same value on.

use crate::ops::elementwise::{Cast, Unary, UnaryFn};
use crate::program::{Def, IfBlocks, Program, Value};

use super::scalar::{Scalar, Scalars};
use super::scale::without_ones;
use super::{BlockPath, Candidate, Given, find_in, members};

/// Sites in a conditional: those that it wraps as a whole, and what else lies in its branches.
pub(super) fn sites(
    program: &Program,
    scalars: &Scalars<'_>,
    idx: usize,
    blocks: &IfBlocks,
    path: &BlockPath,
) -> Vec<Candidate> {
    let instr = &program.instrs[idx];
    let mut found = Vec::new();
    for (which, block, other) in
        [(0u8, &blocks.then_block, &blocks.else_block), (1, &blocks.else_block, &blocks.then_block)]
    {
        let mut inner_path = path.clone();
        inner_path.push((idx, which));
        let known = given(scalars, block, &instr.inputs[1..], 0);
        for site in find_in(block, &inner_path, &known) {
            let wrapped = (site.block == inner_path)
                .then(|| wrap(program, scalars, idx, block, other, &known, &site, which == 0))
                .flatten();
            found.push(match wrapped {
                Some(whole) => Candidate { block: path.clone(), ..whole },
                None => site,
            });
        }
    }
    found
}

/// What is known of a block's feeds (from `first` on) from the values outside.
pub(super) fn given(scalars: &Scalars<'_>, block: &Program, inputs: &[Value], first: usize) -> Given {
    let feeds = block.feeds.iter().skip(first);
    feeds.zip(inputs).filter_map(|(feed, &v)| Some((feed.value, scalars.read(v)?))).collect()
}

/// The site that the whole conditional is, if the other branch passes on what this one drops from.
fn wrap(
    program: &Program,
    scalars: &Scalars<'_>,
    idx: usize,
    block: &Program,
    other: &Program,
    known: &Given,
    site: &Candidate,
    is_then: bool,
) -> Option<Candidate> {
    let instr = &program.instrs[idx];
    let port = block.outputs.iter().position(|&v| v == site.output)?;
    let inner = Scalars::new(block, known);
    let input = outer_value(block, &instr.inputs[1..], without_ones(block, &inner, site.input))?;
    let other_known = given(scalars, other, &instr.inputs[1..], 0);
    let other_scalars = Scalars::new(other, &other_known);
    let passed = without_ones(other, &other_scalars, other.outputs[port]);
    if outer_value(other, &instr.inputs[1..], passed)? != input {
        return None;
    }
    let output = instr.outputs[port];
    let (root, negated) = predicate_root(program, instr.inputs[0]);
    let mut nodes = members::of(program, &scalars.readers, input, output);
    nodes.extend(site.nodes.iter().cloned());
    nodes.dedup();
    Some(Candidate {
        input,
        output,
        keep: outer_scalar(scalars, block, &instr.inputs[1..], site.keep)?,
        predicate: Some((root, is_then != negated)),
        input_key: program.value(input).key.clone(),
        output_key: program.value(output).key.clone(),
        predicate_key: program.value(root).key.clone(),
        nodes,
        ..site.clone()
    })
}

/// The value outside that a block's value simply is.
fn outer_value(block: &Program, inputs: &[Value], v: Value) -> Option<Value> {
    match block.def(v) {
        Def::Feed(i) => inputs.get(i).copied(),
        _ => None,
    }
}

/// A scalar of a block in terms of the values outside. A source that is computed inside has no outside form: its
/// number is then not known.
fn outer_scalar(scalars: &Scalars<'_>, block: &Program, inputs: &[Value], s: Scalar) -> Option<Scalar> {
    let Some(source) = s.source else { return Some(s) };
    let outer = scalars.read(outer_value(block, inputs, source)?)?;
    Some(outer.affine(s.scale, s.offset))
}

/// The value that a predicate comes from, and whether it is negated on the way.
fn predicate_root(program: &Program, predicate: Value) -> (Value, bool) {
    let (mut at, mut negated) = (predicate, false);
    while let Some((_, instr)) = program.producer(at) {
        if matches!(instr.op_as::<Unary>(), Some(Unary { f: UnaryFn::Not })) {
            negated = !negated;
        } else if instr.op_as::<Cast>().is_none() {
            break;
        }
        at = instr.inputs[0];
    }
    (at, negated)
}
