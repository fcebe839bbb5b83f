//! Copies a block's instructions into a program that is being built, and drops what nobody needs.

use crate::tensor::Fact;

use super::verify::live_values;
use super::{Builder, Def, Instr, InstrKind, Misfit, Program, Value};

/// Appends what `block`'s outputs need, with `inputs` in the place of its feeds, and gives the outputs. Facts are
/// inferred anew; keys and origins are kept. `map` of the result gives the new value of each value of the block.
pub fn inline(b: &mut Builder, block: &Program, inputs: &[Value]) -> Result<Inlined, Misfit> {
    if inputs.len() != block.feeds.len() {
        return Err(Misfit(format!("a block takes {} values, {} given", block.feeds.len(), inputs.len())));
    }
    let live = live_values(block);
    let mut map: Vec<Option<Value>> = vec![None; block.values.len()];
    for (feed, &v) in block.feeds.iter().zip(inputs) {
        map[feed.value.idx()] = Some(v);
    }
    for constant in &block.constants {
        if live[constant.value.idx()] {
            let known = block.fact(constant.value).value.clone();
            let v = b.constant(constant.node.clone(), constant.payload.clone(), known);
            copy_key(b, block, constant.value, v);
            map[constant.value.idx()] = Some(v);
        }
    }
    let outer_origin = b.origin();
    for instr in &block.instrs {
        if !instr.outputs.iter().any(|v| live[v.idx()]) {
            continue;
        }
        let mapped = instr.inputs.iter().map(|v| map[v.idx()]).collect::<Option<Vec<_>>>();
        let Some(mapped) = mapped else { return Err(Misfit::new("a block reads a value before it is defined")) };
        b.set_origin(instr.origin.clone().or_else(|| outer_origin.clone()));
        let outputs = emit(b, block, instr, &mapped)?;
        for (&old, &new) in instr.outputs.iter().zip(&outputs) {
            copy_key(b, block, old, new);
            map[old.idx()] = Some(new);
        }
    }
    b.set_origin(outer_origin);
    let outputs = block.outputs.iter().map(|v| map[v.idx()]).collect::<Option<Vec<_>>>();
    let outputs = outputs.ok_or_else(|| Misfit::new("an output of a block is not defined"))?;
    Ok(Inlined { outputs, map })
}

/// What [`inline`] gives.
#[derive(Clone, Debug)]
pub struct Inlined {
    pub outputs: Vec<Value>,
    pub map: Vec<Option<Value>>,
}

fn emit(b: &mut Builder, block: &Program, instr: &Instr, inputs: &[Value]) -> Result<Vec<Value>, Misfit> {
    Ok(match &instr.kind {
        InstrKind::Op(op) => b.op_n(op.clone(), inputs)?.into_vec(),
        kind => {
            let facts: Vec<Fact> = instr.outputs.iter().map(|&v| block.fact(v).clone()).collect();
            b.push(kind.clone(), inputs, facts).into_vec()
        }
    })
}

fn copy_key(b: &mut Builder, block: &Program, old: Value, new: Value) {
    if let Some(key) = &block.value(old).key {
        // A feed's value keeps the name that it has outside.
        if b.program().value(new).key.is_none() {
            b.set_key(new, key.clone());
        }
    }
}

/// The same program without instructions and constants that its outputs do not need; feeds stay, all of them.
/// Gives the new value of each old one.
pub fn prune(program: &Program) -> (Program, Vec<Option<Value>>) {
    prune_with(program, true)
}

/// As [`prune`]; unless `keep_feeds`, feeds that nothing needs go too.
pub fn prune_with(program: &Program, keep_feeds: bool) -> (Program, Vec<Option<Value>>) {
    let live = live_values(program);
    let mut out = Program::default();
    let mut map: Vec<Option<Value>> = vec![None; program.values.len()];
    let push = |out: &mut Program, old: Value, def: Def| {
        let new = Value::new(out.values.len());
        let mut info = program.value(old).clone();
        info.def = def;
        out.values.push(info);
        new
    };
    for feed in program.feeds.iter().filter(|f| keep_feeds || live[f.value.idx()]) {
        let def = Def::Feed(out.feeds.len());
        let value = push(&mut out, feed.value, def);
        map[feed.value.idx()] = Some(value);
        out.feeds.push(super::Feed { value, name: feed.name.clone() });
    }
    for constant in program.constants.iter().filter(|c| live[c.value.idx()]) {
        let def = Def::Constant(out.constants.len());
        let value = push(&mut out, constant.value, def);
        map[constant.value.idx()] = Some(value);
        out.constants.push(super::ConstantDef { value, ..constant.clone() });
    }
    for instr in &program.instrs {
        if !instr.outputs.iter().any(|v| live[v.idx()]) {
            continue;
        }
        let idx = out.instrs.len();
        let mut new = instr.clone();
        for (port, v) in new.outputs.iter_mut().enumerate() {
            let value = push(&mut out, *v, Def::Output { instr: idx, port });
            map[v.idx()] = Some(value);
            *v = value;
        }
        // Inputs are defined before, and whatever a live instruction reads is live.
        new.inputs = new.inputs.iter().filter_map(|v| map[v.idx()]).collect();
        out.instrs.push(new);
    }
    out.outputs = program.outputs.iter().filter_map(|v| map[v.idx()]).collect();
    (out, map)
}

/// Copies a whole program, feeds in order, and lets `after` extend the copy behind each instruction (given its index in
/// the old program): it may put another value in the place of one in the map. Gives the new value of each old one.
/// A value that is replaced hands its key to the replacement.
pub fn rebuild(
    program: &Program,
    mut after: impl FnMut(&mut Builder, usize, &mut [Option<Value>]) -> Result<(), Misfit>,
) -> Result<(Program, Vec<Option<Value>>), Misfit> {
    let mut out = Program::default();
    let mut map: Vec<Option<Value>> = vec![None; program.values.len()];
    let mut b = Builder::new(&mut out);
    for feed in &program.feeds {
        let v = b.feed(feed.name.clone(), program.fact(feed.value).clone());
        copy_key(&mut b, program, feed.value, v);
        map[feed.value.idx()] = Some(v);
    }
    for constant in &program.constants {
        let known = program.fact(constant.value).value.clone();
        let v = b.constant(constant.node.clone(), constant.payload.clone(), known);
        copy_key(&mut b, program, constant.value, v);
        map[constant.value.idx()] = Some(v);
    }
    for (idx, instr) in program.instrs.iter().enumerate() {
        let inputs = instr.inputs.iter().map(|v| map[v.idx()]).collect::<Option<Vec<_>>>();
        let Some(inputs) = inputs else { return Err(Misfit::new("a value is read before it is defined")) };
        b.set_origin(instr.origin.clone());
        let facts = instr.outputs.iter().map(|&v| program.fact(v).clone()).collect();
        let outputs = b.push(instr.kind.clone(), &inputs, facts);
        for (&old, &new) in instr.outputs.iter().zip(&outputs) {
            map[old.idx()] = Some(new);
        }
        after(&mut b, idx, &mut map)?;
        for &old in &instr.outputs {
            if let Some(new) = map[old.idx()] {
                copy_key(&mut b, program, old, new);
            }
        }
    }
    out.outputs = program.outputs.iter().filter_map(|v| map[v.idx()]).collect();
    Ok((out, map))
}
