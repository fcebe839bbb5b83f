//! The engine: plans against eager runs, bindings, cancellation, conditionals and loops, and blame for non-finite numbers.

use regraft::base::CancelToken;
use regraft::engine::{
    Bindings, ConstantStore, Control, EngineError, Executable, Plan, Profile, Workspace, first_non_finite,
};
use regraft::graph::NodeKey;
use regraft::ops::make;
use regraft::program::{Builder, IfBlocks, InstrKind, LoopBlocks, Program, Random, Value};
use regraft::tensor::{DType, Fact, PartialShape, Payload, Tensor};

fn f32s(values: &[f32]) -> Tensor {
    Tensor::from_slice(&[values.len()], values)
}

fn bind<'a>(feeds: &'a [Tensor], params: &'a [Tensor]) -> Bindings<'a> {
    Bindings { feeds, params, random: Random::default() }
}

fn run(e: &Executable, feeds: &[Tensor], params: &[Tensor], n: usize) -> Vec<Tensor> {
    let mut space = Workspace::new();
    e.run(&mut space, &bind(feeds, params), Control::default()).unwrap();
    (0..n).map(|i| e.output_tensor(&space, i)).collect()
}

/// `[x, w, c, exp(x) + w, reshape(exp(x) + w)]` with a feed `x`, a parameter `w` and a constant `c`.
fn small() -> (Program, Value) {
    let mut p = Program::default();
    let mut b = Builder::new(&mut p);
    let x = b.feed("x", Fact::of_dims(DType::F32, &[4]));
    let w = b.constant(None, Payload::from_tensor(f32s(&[1.0, 2.0, 3.0, 4.0])), None);
    let c = b.literal(f32s(&[7.0]));
    let e = make::exp(&mut b, x).unwrap();
    let y = make::add(&mut b, e, w).unwrap();
    let r = make::reshape(&mut b, y, &[2, 2]).unwrap();
    p.outputs = vec![x, w, c, y, r];
    (p, w)
}

#[test]
fn outputs_may_be_feeds_parameters_constants_and_aliases() {
    let (p, w) = small();
    let e = Executable::new(p, &[w], &mut ConstantStore::default()).unwrap();
    assert!(matches!(e, Executable::Planned(_)));
    let out = run(&e, &[f32s(&[0.0; 4])], &[f32s(&[5.0, 6.0, 7.0, 8.0])], 5);
    assert_eq!(out[0], f32s(&[0.0; 4]));
    assert_eq!(out[1], f32s(&[5.0, 6.0, 7.0, 8.0]), "bound parameters replace the constant's value");
    assert_eq!(out[2], f32s(&[7.0]));
    assert_eq!(out[3], f32s(&[6.0, 7.0, 8.0, 9.0]));
    assert_eq!(out[4], out[3].reshaped(&[2, 2]));
}

#[test]
fn wrong_bindings_are_explained() {
    let (p, w) = small();
    let e = Executable::new(p, &[w], &mut ConstantStore::default()).unwrap();
    let mut space = Workspace::new();
    let params = [f32s(&[0.0; 4])];
    let message = |feeds: &[Tensor], space: &mut Workspace| {
        e.run(space, &bind(feeds, &params), Control::default()).unwrap_err().to_string()
    };
    assert_eq!(message(&[f32s(&[0.0; 3])], &mut space), "feed x must be float32 [4], found float32 [3]");
    assert_eq!(message(&[], &mut space), "the number of feeds must be 1, found 0");
}

#[test]
fn a_cancelled_run_stops_and_a_profile_counts() {
    let (p, w) = small();
    let e = Executable::new(p, &[w], &mut ConstantStore::default()).unwrap();
    let (feeds, params) = ([f32s(&[0.0; 4])], [f32s(&[0.0; 4])]);
    let mut space = Workspace::new();
    let cancel = CancelToken::default();
    cancel.cancel();
    let control = Control { cancel: Some(&cancel), profile: None };
    assert!(matches!(e.run(&mut space, &bind(&feeds, &params), control), Err(EngineError::Cancelled)));
    let mut profile = Profile::default();
    let control = Control { cancel: None, profile: Some(&mut profile) };
    e.run(&mut space, &bind(&feeds, &params), control).unwrap();
    let kinds: Vec<&str> = profile.shares().iter().map(|s| s.0).collect();
    assert!(kinds.contains(&"exp") && kinds.contains(&"add"), "{kinds:?}");
    // Each of them writes four floats at least.
    assert!(profile.by_instr().iter().filter(|c| c.seconds > 0.0 && c.bytes >= 16).count() >= 2, "{profile:?}");
}

/// `while x < limit { x = x * 2 }`, then `if x > 100 { -x } else { x }`.
fn with_blocks(fact: &Fact) -> Program {
    let block = |n: usize, f: &dyn Fn(&mut Builder, &[Value]) -> Value| {
        let mut p = Program::default();
        let mut b = Builder::new(&mut p);
        let inputs: Vec<Value> = (0..n).map(|i| b.feed(format!("in{i}"), fact.clone())).collect();
        let out = f(&mut b, &inputs);
        p.outputs = vec![out];
        p
    };
    let mut p = Program::default();
    let mut b = Builder::new(&mut p);
    let x = b.feed("x", fact.clone());
    let limit = b.feed("limit", fact.clone());
    let blocks = LoopBlocks {
        cond: block(2, &|b, v| make::less(b, v[0], v[1]).unwrap()),
        body: block(2, &|b, v| make::mul_scalar(b, v[0], 2.0).unwrap()),
        n_state: 1,
    };
    let y = b.push(InstrKind::Loop(Box::new(blocks)), &[x, limit], vec![fact.clone()])[0];
    let hundred = make::scalar(&mut b, DType::F32, 100.0);
    let large = make::greater(&mut b, y, hundred).unwrap();
    let blocks = IfBlocks {
        then_block: block(1, &|b, v| make::neg(b, v[0]).unwrap()),
        else_block: block(1, &|b, v| make::add_scalar(b, v[0], 0.0).unwrap()),
    };
    let z = b.push(InstrKind::If(Box::new(blocks)), &[large, y], vec![fact.clone()])[0];
    p.outputs = vec![y, z];
    p
}

#[test]
fn conditionals_and_loops_run_in_plans_and_eagerly() {
    for fact in [Fact::of_dims(DType::F32, &[]), Fact::new(DType::F32, PartialShape::unknown())] {
        let e = Executable::new(with_blocks(&fact), &[], &mut ConstantStore::default()).unwrap();
        assert_eq!(matches!(e, Executable::Planned(_)), fact.shape.is_known());
        let out = run(&e, &[Tensor::scalar(3.0f32), Tensor::scalar(40.0f32)], &[], 2);
        assert_eq!(out, [Tensor::scalar(48.0f32), Tensor::scalar(48.0f32)]);
        let out = run(&e, &[Tensor::scalar(3.0f32), Tensor::scalar(100.0f32)], &[], 2);
        assert_eq!(out, [Tensor::scalar(192.0f32), Tensor::scalar(-192.0f32)]);
    }
}

#[test]
fn the_first_non_finite_value_is_blamed() {
    let mut p = Program::default();
    let mut b = Builder::new(&mut p);
    let x = b.feed("x", Fact::of_dims(DType::F32, &[3]));
    b.set_origin(Some(NodeKey::new("net/log")));
    let y = make::log(&mut b, x).unwrap();
    b.set_origin(Some(NodeKey::new("net/double")));
    let z = make::mul_scalar(&mut b, y, 2.0).unwrap();
    p.outputs = vec![z];
    let find = |x: &[f32]| first_non_finite(&p, &[], &mut ConstantStore::default(), &bind(&[f32s(x)], &[])).unwrap();
    assert_eq!(find(&[1.0, 2.0, 3.0]), None);
    let blame = find(&[1.0, -2.0, 0.0]).unwrap();
    assert_eq!(blame.node, Some(NodeKey::new("net/log")));
    assert_eq!(blame.to_string(), "log at net/log produced NaN (2 of 3 elements, the first at 1)");
    let blame = find(&[1.0, f32::INFINITY, 0.0]).unwrap();
    assert_eq!(blame.to_string(), "feed x produced infinity (1 of 3 elements, the first at 1)");
}

#[test]
fn long_chains_reuse_memory_in_place() {
    let mut p = Program::default();
    let mut b = Builder::new(&mut p);
    let mut v = b.feed("x", Fact::of_dims(DType::F32, &[1000]));
    for _ in 0..20 {
        v = make::tanh(&mut b, v).unwrap();
    }
    p.outputs = vec![v];
    let plan = Plan::new(&p, &[], &mut ConstantStore::default()).unwrap();
    assert!(plan.arena_bytes() <= 2 * 4032, "{} bytes", plan.arena_bytes());
    let e = Executable::Planned(Box::new(plan));
    let mut want = 0.5f32;
    for _ in 0..20 {
        want = want.tanh();
    }
    let out = run(&e, &[f32s(&[0.5; 1000])], &[], 1);
    assert!(out[0].as_slice::<f32>().iter().all(|v| (v - want).abs() < 1e-6));
}
