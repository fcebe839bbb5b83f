//! Gradients of whole programs against central differences; verdicts of the report.

use std::collections::HashMap;

use regraft::autodiff::reach::report;
use regraft::autodiff::stand_in::apply;
use regraft::autodiff::{AutodiffError, StandIn, Verdict, differentiate};
use regraft::graph::NodeKey;
use regraft::ops::elementwise::{Unary, UnaryFn};
use regraft::ops::make;
use regraft::ops::opaque::Opaque;
use regraft::program::{Builder, IfBlocks, InstrKind, LoopBlocks, Program, Value};
use regraft::tensor::{DType, Fact, Payload, Tensor};

use super::support::check_gradients;

fn vector(values: &[f64]) -> Tensor {
    Tensor::from_slice(&[values.len()], values)
}

fn float(dims: &[usize]) -> Fact {
    Fact::of_dims(DType::F64, dims)
}

/// A block with feeds of the given facts and what `body` returns.
fn block(facts: &[Fact], body: impl FnOnce(&mut Builder, &[Value]) -> Vec<Value>) -> Program {
    let mut program = Program::default();
    let mut b = Builder::new(&mut program);
    let feeds: Vec<Value> = facts.iter().enumerate().map(|(i, f)| b.feed(format!("f{i}"), f.clone())).collect();
    program.outputs = body(&mut b, &feeds);
    program
}

#[test]
fn gradients_meet_where_a_value_is_read_often() {
    let program = block(&[float(&[3]), float(&[3])], |b, f| {
        let product = make::mul(b, f[0], f[1]).unwrap();
        let square = make::mul(b, f[0], f[0]).unwrap();
        let sum = make::add(b, product, square).unwrap();
        let again = make::add(b, sum, f[0]).unwrap();
        let _unused = make::exp(b, f[1]).unwrap();
        vec![make::sum_all(b, again).unwrap()]
    });
    check_gradients(&program, &[vector(&[0.3, -1.2, 2.0]), vector(&[1.5, 0.2, -0.7])]);
}

#[test]
fn broadcast_operands_get_gradients_of_their_own_shape() {
    let program = block(&[float(&[2, 3]), float(&[3]), float(&[])], |b, f| {
        let x = make::add(b, f[0], f[1]).unwrap();
        let x = make::mul(b, x, f[2]).unwrap();
        let x = make::tanh(b, x).unwrap();
        vec![make::sum_all(b, x).unwrap()]
    });
    let x = Tensor::from_slice(&[2, 3], &[0.1, -0.4, 0.5, 1.0, 0.3, -0.8]);
    check_gradients(&program, &[x, vector(&[0.2, 0.3, -0.1]), Tensor::scalar(0.7)]);
}

#[test]
fn a_value_that_does_not_lead_to_the_seed_has_no_gradient() {
    let mut program = block(&[float(&[2]), float(&[2])], |b, f| vec![make::sum_all(b, f[0]).unwrap()]);
    let (loss, other) = (program.outputs[0], program.feeds[1].value);
    assert_eq!(differentiate(&mut program, &[(loss, None)], &[other]).unwrap(), [None]);
}

/// `if sum(x) > 0 { sin-like(x) · y } else { x }`
fn conditional() -> Program {
    let facts = [float(&[2]), float(&[2])];
    let then_block = block(&facts, |b, f| {
        let t = make::tanh(b, f[0]).unwrap();
        vec![make::mul(b, t, f[1]).unwrap()]
    });
    let else_block = block(&facts, |b, f| vec![make::mul(b, f[0], f[0]).unwrap()]);
    block(&facts, |b, f| {
        let total = make::sum_all(b, f[0]).unwrap();
        let zero = b.literal(Tensor::scalar(0.0f64));
        let predicate = make::greater(b, total, zero).unwrap();
        let blocks = IfBlocks { then_block, else_block };
        let out = b.push(InstrKind::If(Box::new(blocks)), &[predicate, f[0], f[1]], vec![float(&[2])]);
        let out = make::mul(b, out[0], f[0]).unwrap();
        vec![make::sum_all(b, out).unwrap()]
    })
}

#[test]
fn gradients_pass_the_branch_that_was_taken() {
    check_gradients(&conditional(), &[vector(&[0.5, 0.9]), vector(&[1.5, -0.3])]);
    check_gradients(&conditional(), &[vector(&[-0.5, -0.9]), vector(&[1.5, -0.3])]);
}

/// `repeat n times { state = tanh(state · w) + b }` with a fed number of iterations.
fn looped() -> Program {
    let facts = [float(&[2]), Fact::of_dims(DType::I64, &[]), float(&[2]), float(&[2])];
    let cond = block(&facts, |b, f| {
        let zero = b.literal(Tensor::scalar(0i64));
        vec![make::greater(b, f[1], zero).unwrap()]
    });
    let body = block(&facts, |b, f| {
        let one = b.literal(Tensor::scalar(1i64));
        let left = make::sub(b, f[1], one).unwrap();
        let x = make::mul(b, f[0], f[2]).unwrap();
        let x = make::tanh(b, x).unwrap();
        vec![make::add(b, x, f[3]).unwrap(), left]
    });
    block(&facts, |b, f| {
        let blocks = LoopBlocks { cond, body, n_state: 2 };
        let out = b.push(InstrKind::Loop(Box::new(blocks)), f, facts[..2].to_vec());
        let out = make::mul(b, out[0], out[0]).unwrap();
        vec![make::sum_all(b, out).unwrap()]
    })
}

#[test]
fn gradients_walk_a_loop_back() {
    for n in [0i64, 1, 3] {
        let feeds = [vector(&[0.5, -0.9]), Tensor::scalar(n), vector(&[1.5, -0.3]), vector(&[0.1, 0.2])];
        check_gradients(&looped(), &feeds);
    }
}

/// `x → opaque → y`, beside a free way through `w`.
fn with_opaque() -> (Program, Vec<Value>) {
    let mut program = Program::default();
    let mut b = Builder::new(&mut program);
    let constant = |b: &mut Builder, name: &str| {
        let payload = Payload::from_tensor(vector(&[1.0, 2.0]));
        b.constant(Some(NodeKey::new(name)), payload, None)
    };
    let (lost, free, unused) = (constant(&mut b, "lost"), constant(&mut b, "free"), constant(&mut b, "unused"));
    b.set_origin(Some(NodeKey::new("strange")));
    let op = Opaque { op: "Strange".into(), reason: "nobody knows it".into(), outputs: vec![float(&[2])] };
    let strange = b.op(op, &[lost]).unwrap();
    b.set_origin(Some(NodeKey::new("round")));
    let rounded = b.op(Unary { f: UnaryFn::Floor }, &[unused]).unwrap();
    b.set_origin(Some(NodeKey::new("sum")));
    let sum = make::add(&mut b, strange, free).unwrap();
    let sum = make::add(&mut b, sum, rounded).unwrap();
    let loss = make::sum_all(&mut b, sum).unwrap();
    program.outputs = vec![loss];
    (program, vec![lost, free, unused])
}

#[test]
fn an_op_without_a_rule_is_named_with_the_path_to_it() {
    let (mut program, wrt) = with_opaque();
    let loss = program.outputs[0];
    let AutodiffError::Blocked { node, op, why, path } =
        differentiate(&mut program, &[(loss, None)], &wrt).unwrap_err()
    else {
        panic!("another error")
    };
    assert_eq!((node.as_str(), op.as_str()), ("strange", "opaque"));
    assert!(why.contains("nobody knows it"));
    assert_eq!(path, ["lost", "strange"]);
}

#[test]
fn the_report_says_what_becomes_of_each_constant() {
    let (program, wrt) = with_opaque();
    let report = report(&program, &program.outputs, &wrt);
    let verdicts: Vec<Verdict> = report.constants.iter().map(|c| c.verdict).collect();
    assert_eq!(verdicts, [Verdict::Blocked, Verdict::Flows, Verdict::Zero]);
    let path = report.path(&report.constants[0]);
    let path: Vec<&str> = path.iter().map(NodeKey::as_str).collect();
    assert_eq!(path, ["strange"]);
    assert_eq!(report.nodes[&NodeKey::new("strange")].blocks, ["lost"]);
    assert_eq!(report.nodes[&NodeKey::new("round")].verdict, Verdict::Zero);
    assert_eq!(report.nodes[&NodeKey::new("sum")].verdict, Verdict::Flows);
    assert!(report.constants[0].cures.iter().any(|c| c.to_string() == "stand-in straight-through"));
    assert_eq!(report.reached(), 1);
}

#[test]
fn stand_ins_open_and_close_the_way() {
    let (program, wrt) = with_opaque();
    let stand_ins = HashMap::from([
        (NodeKey::new("strange"), StandIn::StraightThrough),
        (NodeKey::new("round"), StandIn::Identity),
        (NodeKey::new("sum"), StandIn::Stop),
    ]);
    let (stopped, map) = apply(&program, &stand_ins).unwrap();
    let wrt_of = |map: &[Option<Value>]| wrt.iter().map(|v| map[v.idx()].unwrap()).collect::<Vec<_>>();
    assert_eq!(report(&stopped, &stopped.outputs, &wrt_of(&map)).reached(), 0);
    let mut open = stand_ins;
    open.remove(&NodeKey::new("sum"));
    let (mut opened, map) = apply(&program, &open).unwrap();
    assert_eq!(report(&opened, &opened.outputs, &wrt_of(&map)).reached(), 3);
    let loss = opened.outputs[0];
    let grads = differentiate(&mut opened, &[(loss, None)], &wrt_of(&map)).unwrap();
    assert!(grads.iter().all(Option::is_some));
}
