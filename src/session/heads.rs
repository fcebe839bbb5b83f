//! Where a head goes: the value that the recipe names, or the one that the model offers.

use std::collections::HashMap;

use crate::edits::heads::{self, HeadChoice};
use crate::graph::{Graph, ValueKey};
use crate::lower::Spelled;
use crate::ops::elementwise::{Binary, BinaryFn};
use crate::program::{Instr, Program, Value};
use crate::tensor::Fact;

/// The value that a head reads, with what is known of it. Errors say what to name.
pub fn place(graph: &Graph, spelled: &Spelled, choice: &HeadChoice) -> Result<(ValueKey, Fact), String> {
    let info = heads::find(&choice.kind);
    let at = match &choice.at {
        Some(name) => find(graph, spelled, name).ok_or_else(|| format!("there is no value {name} in this model"))?,
        None => guess(spelled, info.is_some_and(|i| i.is_per_token))?,
    };
    let fact = match spelled.values.get(&at) {
        Some(&v) => spelled.program.fact(v).clone(),
        None => return Err(format!("{at} lies inside a conditional or loop; choose a value outside")),
    };
    let stated = graph.value_named(at.as_str()).map(|v| graph.value(v).fact.shape.clone());
    let shape = stated.and_then(|s| s.merge(&fact.shape)).unwrap_or_else(|| fact.shape.clone());
    Ok((at, Fact { shape, value: None, ..fact }))
}

fn find(graph: &Graph, spelled: &Spelled, name: &str) -> Option<ValueKey> {
    let aliases = graph.signatures.iter().flat_map(|s| s.outputs.iter().chain(&s.inputs));
    let key = graph.value_named(name).map(|v| graph.value(v).key.clone());
    key.or_else(|| aliases.filter(|(alias, _)| alias == name).map(|(_, k)| k.clone()).next())
        .filter(|k| spelled.values.contains_key(k) || graph.value_named(k.as_str()).is_some())
}

/// The pooled output or the last hidden state, where the model leaves no choice.
fn guess(spelled: &Spelled, is_per_token: bool) -> Result<ValueKey, String> {
    let program = &spelled.program;
    let keys = keys(spelled);
    let found = if is_per_token { hidden(program) } else { pooled(program).or_else(|| hidden(program)) };
    let key = found.and_then(|v| keys.get(&v).cloned());
    key.ok_or_else(|| {
        let kind = if is_per_token { "[batch, length, hidden]" } else { "[batch, hidden]" };
        format!("no single value offers itself as {kind}; name one with --at VALUE")
    })
}

/// One name for each value: its own where it has one.
fn keys(spelled: &Spelled) -> HashMap<Value, ValueKey> {
    let mut out: HashMap<Value, ValueKey> = HashMap::new();
    let mut aliases: Vec<(&ValueKey, &Value)> = spelled.values.iter().collect();
    aliases.sort();
    for (key, v) in aliases {
        out.entry(*v).or_insert_with(|| key.clone());
    }
    for v in spelled.program.value_ids() {
        if let Some(key) = &spelled.program.value(v).key {
            out.insert(v, key.clone());
        }
    }
    out
}

fn is_float_of_rank(program: &Program, v: Value, rank: usize) -> bool {
    let fact = program.fact(v);
    let width = rank.checked_sub(1).and_then(|last| fact.shape.dim(last));
    fact.dtype.is_float() && fact.rank() == Some(rank) && width.is_some_and(|n| n > 1)
}

/// The one `[?, hidden]` result of a model without a head; else the one square dense layer with an activation, on rows
/// that were taken out of a sequence (BERT's pooler).
fn pooled(program: &Program) -> Option<Value> {
    let outputs: Vec<Value> = program.outputs.iter().copied().filter(|v| is_float_of_rank(program, *v, 2)).collect();
    let poolers: Vec<Value> = program.instrs.iter().filter_map(|i| pooler(program, i)).collect();
    match (poolers.as_slice(), outputs.as_slice()) {
        ([one], _) | ([], [one]) => Some(*one),
        _ => None,
    }
}

/// The output of an element-wise function of x·W + b with a square W, where x is one position of a sequence.
fn pooler(program: &Program, activation: &Instr) -> Option<Value> {
    let &out = activation.outputs.first()?;
    let is_activation =
        activation.inputs.len() == 1 && activation.op().is_some_and(|op| op.info().family == "elementwise");
    if !is_activation || !is_float_of_rank(program, out, 2) {
        return None;
    }
    let (_, sum) = program.producer(activation.inputs[0])?;
    let product = match sum.op_as::<Binary>() {
        Some(op) if op.f == BinaryFn::Add => {
            sum.inputs.iter().filter_map(|v| program.producer(*v)).find(|(_, i)| i.name() == "matmul")?.1
        }
        _ if sum.name() == "matmul" => sum,
        _ => return None,
    };
    let source = sequence_behind(program, product.inputs[0])?;
    let (hidden, width) = (program.fact(out).shape.dim(1), program.fact(source).shape.dim(2));
    (width.is_none() || width == hidden).then_some(out)
}

fn is_sequence(program: &Program, v: Value) -> bool {
    let fact = program.fact(v);
    fact.dtype.is_float() && fact.rank() == Some(3) && fact.shape.dim(1) != Some(1) && fact.shape.dim(2) != Some(1)
}

/// The sequence `[batch, length, hidden]` that one position is taken from on the way to `v`.
fn sequence_behind(program: &Program, v: Value) -> Option<Value> {
    let mut at = v;
    for _ in 0..4 {
        let (_, instr) = program.producer(at)?;
        let takes = ["strided_slice", "slice", "gather", "split"].contains(&instr.name());
        at = *instr.inputs.first()?;
        if takes && is_sequence(program, at) {
            return Some(at);
        }
    }
    None
}

/// The sequence that the pooler reads, or the one `[batch, length, hidden]` result of a model without a head.
fn hidden(program: &Program) -> Option<Value> {
    let outputs: Vec<Value> = program.outputs.iter().copied().filter(|v| is_sequence(program, *v)).collect();
    let read = |i: &Instr| pooler(program, i).and(behind_pooler(program, i));
    let mut read: Vec<Value> = program.instrs.iter().filter_map(read).collect();
    read.dedup();
    match (outputs.as_slice(), read.as_slice()) {
        ([one], _) | ([], [one]) => Some(*one),
        _ => None,
    }
}

fn behind_pooler(program: &Program, activation: &Instr) -> Option<Value> {
    let (_, sum) = program.producer(activation.inputs[0])?;
    let product = match sum.name() {
        "matmul" => sum,
        _ => sum.inputs.iter().filter_map(|v| program.producer(*v)).find(|(_, i)| i.name() == "matmul")?.1,
    };
    sequence_behind(program, product.inputs[0])
}
