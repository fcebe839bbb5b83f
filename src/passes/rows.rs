//! Fusion: groups element-wise work and row reductions into [`crate::ops::fused::Rows`], decides what later groups compute
//! again instead of reading it, and writes the program in the groups' order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ops::make;
use crate::program::{Builder, Def, Instr, InstrKind, Misfit, Program, Value};
use crate::tensor::{DType, shape::element_count};

use super::Limits;
use super::rewrite::{Rewriter, Rewritten};
use super::rows_cut::{FREE, recompute};
use super::rows_group::{Grouping, group};
use super::rows_translate::{Class, Classes, Space, Translated, Translator, fit};

/// A group that will become one instruction.
struct Body {
    space: Space,
    /// Instructions to compute, in program order; also such that belong to earlier groups.
    instrs: Vec<usize>,
    classes: Classes,
    /// Values that somebody outside reads.
    wanted: Vec<Value>,
}

pub(super) fn run(program: &Program, _: &Limits<'_>) -> Result<Rewritten, Misfit> {
    let grouping = group(program);
    let mut bodies: BTreeMap<usize, Body> = BTreeMap::new();
    for &g in &grouping.order {
        let group = &grouping.groups[g];
        let real = group.members.iter().filter(|&&m| program.instrs[m].name() != "reshape").count();
        if let Some(space) = group.space.filter(|_| real >= 2) {
            let body =
                Body { space, instrs: group.members.clone(), classes: group.classes.clone(), wanted: Vec::new() };
            bodies.insert(g, body);
        }
    }
    let extra = standalone(program, &grouping, &mut bodies);
    choose_recomputed(program, &grouping, &mut bodies, &extra);
    prune(program, &grouping, &mut bodies, &extra);
    emit(program, &grouping, &bodies, &extra)
}

/// Values that are not `float32` cannot leave a group: the instructions that make such values for readers outside are also
/// kept as they are, after the group.
fn standalone(program: &Program, grouping: &Grouping, bodies: &mut BTreeMap<usize, Body>) -> BTreeSet<usize> {
    let mut extra = BTreeSet::new();
    loop {
        let wanted = wanted(program, grouping, bodies, &extra);
        let more: Vec<usize> = wanted
            .values()
            .flatten()
            .filter(|&&v| program.fact(v).dtype != DType::F32)
            .filter_map(|&v| program.producer(v).map(|(i, _)| i))
            .filter(|i| !extra.contains(i))
            .collect();
        if more.is_empty() {
            return extra;
        }
        extra.extend(more);
    }
}

/// For each group the values that instructions outside, other groups or the program's outputs read, in program order.
fn wanted(
    program: &Program,
    grouping: &Grouping,
    bodies: &BTreeMap<usize, Body>,
    extra: &BTreeSet<usize>,
) -> BTreeMap<usize, BTreeSet<Value>> {
    let mut out: BTreeMap<usize, BTreeSet<Value>> = BTreeMap::new();
    let mut want = |v: Value, by: Option<usize>| {
        let Some((p, _)) = program.producer(v) else { return };
        let maker = grouping.of[p];
        if by != Some(maker) && bodies.contains_key(&maker) && !extra.contains(&p) {
            out.entry(maker).or_default().insert(v);
        }
    };
    for v in &program.outputs {
        want(*v, None);
    }
    for (&g, body) in bodies {
        let own: BTreeSet<usize> = body.instrs.iter().copied().collect();
        for &i in &body.instrs {
            for &v in &program.instrs[i].inputs {
                let inside = program.producer(v).is_some_and(|(p, _)| own.contains(&p));
                if !inside {
                    want(v, Some(g));
                }
            }
        }
    }
    for (i, instr) in program.instrs.iter().enumerate() {
        if !bodies.contains_key(&grouping.of[i]) || extra.contains(&i) {
            for &v in &instr.inputs {
                want(v, None);
            }
        }
    }
    out
}

/// Bytes of a value.
fn bytes(program: &Program, v: Value) -> u64 {
    let fact = program.fact(v);
    fact.dims().and_then(|d| element_count(&d)).map_or(u64::MAX / 8, |n| (n * fact.dtype.size()) as u64)
}

/// The value whose bytes this is, seen through reshapes.
fn owner(program: &Program, mut v: Value) -> Value {
    while let Some((_, instr)) = program.producer(v).filter(|(_, i)| i.name() == "reshape") {
        v = instr.inputs[0];
    }
    v
}

/// Lets later groups recompute what they read from earlier ones, where that keeps fewer bytes in memory.
fn choose_recomputed(
    program: &Program,
    grouping: &Grouping,
    bodies: &mut BTreeMap<usize, Body>,
    extra: &BTreeSet<usize>,
) {
    let position: BTreeMap<usize, usize> = grouping.order.iter().enumerate().map(|(k, &g)| (g, k)).collect();
    let late = latest_reads(program, grouping, &position);
    let order: Vec<usize> = grouping.order.iter().copied().filter(|g| bodies.contains_key(g)).collect();
    for &b in &order {
        let mut by_maker: BTreeMap<usize, Vec<Value>> = BTreeMap::new();
        for &i in &grouping.groups[b].members {
            for &v in &program.instrs[i].inputs {
                let Some((p, _)) = program.producer(v) else { continue };
                let a = grouping.of[p];
                let sound =
                    a != b && bodies.get(&a).is_some_and(|body| body.space == bodies[&b].space) && !extra.contains(&p);
                let entry = by_maker.entry(a).or_default();
                if sound && !entry.contains(&v) {
                    entry.push(v);
                }
            }
        }
        for (a, reads) in by_maker.into_iter().filter(|(_, reads)| !reads.is_empty()) {
            let members = &grouping.groups[a].members;
            let cost = |v: Value| {
                let root = owner(program, v);
                let stays = match program.def(root) {
                    Def::Output { .. } => late
                        .get(&root)
                        .is_some_and(|readers| readers.iter().any(|&(reader, at)| reader != b && at >= position[&b])),
                    _ => true,
                };
                let made_here = program.producer(v).is_some_and(|(i, _)| members.binary_search(&i).is_ok());
                match (stays, made_here) {
                    (true, _) => FREE,
                    (false, false) => bytes(program, v),
                    // Keeping it also costs the earlier group a store.
                    (false, true) => bytes(program, v) / 4 * 5,
                }
            };
            let again = recompute(program, members, &reads, &cost);
            add_again(program, bodies, b, &again);
        }
    }
}

/// For each value (seen through reshapes) the groups that read it, with their positions. Program outputs are read at the end.
fn latest_reads(
    program: &Program,
    grouping: &Grouping,
    position: &BTreeMap<usize, usize>,
) -> BTreeMap<Value, Vec<(usize, usize)>> {
    let mut out: BTreeMap<Value, Vec<(usize, usize)>> = BTreeMap::new();
    for (i, instr) in program.instrs.iter().enumerate() {
        let g = grouping.of[i];
        if instr.name() == "reshape" {
            continue;
        }
        for &v in &instr.inputs {
            out.entry(owner(program, v)).or_default().push((g, position.get(&g).copied().unwrap_or(0)));
        }
    }
    for &v in &program.outputs {
        out.entry(owner(program, v)).or_default().push((usize::MAX, usize::MAX));
    }
    out
}

/// Adds instructions of an earlier group to body `b`, where all of it still fits together.
fn add_again(program: &Program, bodies: &mut BTreeMap<usize, Body>, b: usize, again: &[usize]) {
    let Some(body) = bodies.get_mut(&b) else { return };
    let mut instrs: Vec<usize> = body.instrs.iter().chain(again).copied().collect();
    instrs.sort_unstable();
    instrs.dedup();
    let mut classes = Classes::new();
    for &i in &instrs {
        let instr = &program.instrs[i];
        match fit(program, instr, body.space, &classes) {
            Some(class) => classes.insert(instr.outputs[0], class),
            None => return,
        };
    }
    let reads_sum = instrs.iter().flat_map(|&i| &program.instrs[i].inputs).any(|v| classes.get(v) == Some(&Class::Sum));
    if !reads_sum {
        (body.instrs, body.classes) = (instrs, classes);
    }
}

/// Drops what a group computes for nobody, latest groups first, since their needs decide what earlier ones make.
fn prune(program: &Program, grouping: &Grouping, bodies: &mut BTreeMap<usize, Body>, extra: &BTreeSet<usize>) {
    for &g in grouping.order.iter().rev() {
        if !bodies.contains_key(&g) {
            continue;
        }
        let wanted: Vec<Value> =
            wanted(program, grouping, bodies, extra).remove(&g).unwrap_or_default().into_iter().collect();
        let Some(body) = bodies.get_mut(&g) else { continue };
        let mut needed: BTreeSet<Value> = wanted.iter().copied().collect();
        let mut kept = Vec::new();
        for &i in body.instrs.iter().rev() {
            if program.instrs[i].outputs.iter().any(|v| needed.contains(v)) {
                needed.extend(program.instrs[i].inputs.iter().copied());
                kept.push(i);
            }
        }
        kept.reverse();
        body.instrs = kept;
        body.wanted = wanted;
    }
}

fn emit(
    program: &Program,
    grouping: &Grouping,
    bodies: &BTreeMap<usize, Body>,
    extra: &BTreeSet<usize>,
) -> Result<Rewritten, Misfit> {
    let mut r = Rewriter::new(program);
    for &g in &grouping.order {
        let members = &grouping.groups[g].members;
        let translated = bodies.get(&g).and_then(|body| translate(program, body));
        match (translated, bodies.contains_key(&g)) {
            (Some(t), _) => {
                push(&mut r, program, members, &t)?;
                for &i in members.iter().filter(|i| extra.contains(i)) {
                    r.copy(&program.instrs[i])?;
                }
            }
            // Everything it made is computed again elsewhere.
            (None, true) if bodies[&g].wanted.is_empty() && !members.iter().any(|i| extra.contains(i)) => {}
            // Its instructions fit together, but not into one op: they stay as they are.
            (None, true) => {
                for &i in bodies[&g].instrs.iter().chain(members.iter().filter(|i| extra.contains(i))) {
                    r.copy(&program.instrs[i])?;
                }
            }
            (None, false) => {
                for &i in members {
                    r.copy(&program.instrs[i])?;
                }
            }
        }
    }
    r.finish()
}

fn translate(program: &Program, body: &Body) -> Option<Translated> {
    if body.wanted.is_empty() {
        return None;
    }
    let mut t = Translator::new(program, body.space, &body.classes);
    for &i in &body.instrs {
        t.add(&program.instrs[i])?;
    }
    t.finish(&body.wanted)
}

/// Appends the fused instruction; it takes the origin of the last instruction that has one.
fn push(r: &mut Rewriter<'_>, program: &Program, members: &[usize], t: &Translated) -> Result<(), Misfit> {
    let origin = members.iter().rev().find_map(|&i| program.instrs[i].origin.clone());
    let inputs = t.inputs.iter().map(|&v| r.get(v)).collect::<Result<Vec<_>, _>>()?;
    let like = Instr {
        kind: InstrKind::Op(Arc::clone(&t.op)),
        inputs: inputs.iter().copied().collect(),
        outputs: t.outputs.iter().copied().collect(),
        origin,
    };
    r.copy_as(&like, InstrKind::Op(Arc::clone(&t.op)), &inputs);
    for &(v, k) in &t.again {
        let source = r.get(t.outputs[k])?;
        let shape: Vec<i64> = program.fact(v).dims().unwrap_or_default().iter().map(|&d| d as i64).collect();
        let mut b: Builder<'_> = r.builder(&like);
        let new = make::reshape(&mut b, source, &shape)?;
        r.replace(v, new);
    }
    Ok(())
}
