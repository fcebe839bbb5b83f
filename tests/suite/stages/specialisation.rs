//! Programs for a mode, feeds and policies.

use regraft::ops::make;
use regraft::ops::random::RandomUniform;
use regraft::program::verify::verify;
use regraft::program::{Builder, InstrKind, LoopBlocks, Program, Value};
use regraft::recognize::dropout;
use regraft::specialise::{DropoutPolicy, FeedSpec, Mode, Request, SpecialiseError, specialise};
use regraft::tensor::{DType, Fact, PartialShape, Tensor};

use super::support::{cases, open};

fn request(mode: Mode, fetches: &[Value], feeds: Vec<FeedSpec>) -> Request {
    Request { mode, fetches: fetches.to_vec(), feeds, pins: Vec::new(), dropout: Vec::new() }
}

fn feed(value: Value, dtype: DType, dims: &[usize]) -> FeedSpec {
    FeedSpec { value, dtype, dims: dims.into(), tensor: None }
}

/// `x · 2` for `x` of shape `[?, 3]`, reshaped to the fed `[n]` shape.
fn reshaped() -> (Program, Value, Value) {
    let mut program = Program::default();
    let mut b = Builder::new(&mut program);
    let x = b.feed("x", Fact::new(DType::F32, PartialShape::from_partial([None, Some(3)])));
    let shape = b.feed("shape", Fact::of_dims(DType::I32, &[2]));
    let two = make::mul_scalar(&mut b, x, 2.0).unwrap();
    let out = make::reshape_to(&mut b, two, shape).unwrap();
    program.outputs = vec![out];
    (program, x, shape)
}

#[test]
fn a_missing_feed_is_named_with_what_it_takes() {
    let (program, x, shape) = reshaped();
    let r = request(Mode::Eval, &program.outputs, vec![feed(shape, DType::I32, &[2])]);
    let e = specialise(&program, &[], &r).unwrap_err();
    assert_eq!(e, SpecialiseError::MissingFeed { name: "x".into(), expected: "float32 [?, 3]".into() });
    let r = request(Mode::Eval, &program.outputs, vec![feed(x, DType::F32, &[2, 4])]);
    let e = specialise(&program, &[], &r).unwrap_err().to_string();
    assert_eq!(e, "x does not fit: expected float32 [?, 3], found float32 [2, 4]");
}

#[test]
fn a_fed_shape_is_built_in_where_it_decides() {
    let (program, x, shape) = reshaped();
    let mut feeds = vec![feed(x, DType::F32, &[2, 3]), feed(shape, DType::I32, &[2])];
    feeds[1].tensor = Some(Tensor::from_slice(&[2], &[3i32, 2]));
    let done = specialise(&program, &[], &request(Mode::Eval, &program.outputs, feeds)).unwrap();
    assert_eq!(done.built_in, [shape]);
    assert_eq!(done.feeds.len(), 1);
    assert_eq!(done.program.fact(done.program.outputs[0]).describe(), "float32 [3, 2]");
}

#[test]
fn any_value_can_be_fed_and_what_computed_it_is_gone() {
    let (program, _, _) = reshaped();
    let two = program.instrs[0].outputs[0];
    let done = specialise(&program, &[], &request(Mode::Eval, &[two], vec![feed(two, DType::F32, &[1, 3])])).unwrap();
    assert!(done.program.instrs.is_empty());
    assert_eq!(done.program.outputs, [done.feeds[0].1]);
}

/// Feeds of a case as its `case.json` lists them.
fn case_feeds(case: &serde_json::Value, spelled: &regraft::lower::Spelled) -> Vec<FeedSpec> {
    let inputs = case["inputs"].as_array().unwrap();
    inputs
        .iter()
        .filter_map(|i| {
            let key = regraft::graph::ValueKey::new(i["name"].as_str()?);
            let value = *spelled.values.get(&key)?;
            let dims: Vec<usize> = i["shape"].as_array()?.iter().map(|d| d.as_u64().unwrap() as usize).collect();
            Some(feed(value, DType::from_name(i["dtype"].as_str()?)?, &dims))
        })
        .collect()
}

#[test]
fn every_case_becomes_a_static_program_in_both_modes() {
    let mut wrong = Vec::new();
    for (folder, case) in cases() {
        if case["graph"]["ops"].as_object().is_some_and(|o| o.keys().any(|k| k.contains("TensorArray"))) {
            continue;
        }
        let (_, spelled) = open(&folder, &case);
        let sites = dropout::find(&spelled.program);
        let fetches: Vec<Value> = case["outputs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|o| spelled.values[&regraft::graph::ValueKey::new(o["name"].as_str().unwrap())])
            .collect();
        for (mode, policy, n_dropouts) in [
            (Mode::Eval, DropoutPolicy::Train, 0),
            (Mode::Train, DropoutPolicy::Off, 0),
            (Mode::Train, DropoutPolicy::Rate(0.5), sites.len()),
        ] {
            let mut r = request(mode, &fetches, case_feeds(&case, &spelled));
            r.dropout = vec![policy; sites.len()];
            let done = match specialise(&spelled.program, &sites, &r) {
                Ok(done) => done,
                Err(e) => {
                    wrong.push(format!("{}: {e}", folder.display()));
                    continue;
                }
            };
            assert_eq!(verify(&done.program), Vec::<String>::new(), "{}", folder.display());
            let found = done.program.instrs.iter().filter(|i| i.name() == "dropout").count();
            if found > n_dropouts || n_dropouts > 0 && found == 0 {
                wrong.push(format!("{}: {found} dropout instructions instead of {n_dropouts}", folder.display()));
            }
            let open_shapes = done.program.values.iter().filter(|v| v.fact.dims().is_none()).count();
            if open_shapes > 0 {
                wrong.push(format!("{}: {open_shapes} values without a shape", folder.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `repeat n times { x = tanh(x · w) · u }` with fresh uniform numbers u and a fed n: the loop stays a loop.
fn drawing_loop() -> Program {
    let (vector, number) = (Fact::of_dims(DType::F64, &[2]), Fact::of_dims(DType::I64, &[]));
    let block = |is_body: bool| {
        let mut program = Program::default();
        let mut b = Builder::new(&mut program);
        let (x, left, w) = (b.feed("x", vector.clone()), b.feed("n", number.clone()), b.feed("w", vector.clone()));
        program.outputs = if is_body {
            let mut b = Builder::new(&mut program);
            let (shape, one) = (make::ints(&mut b, &[2]), b.literal(Tensor::scalar(1i64)));
            let u = b.op(RandomUniform { site: 5, dtype: DType::F64 }, &[shape]).unwrap();
            let y = make::mul(&mut b, x, w).unwrap();
            let y = make::tanh(&mut b, y).unwrap();
            vec![make::mul(&mut b, y, u).unwrap(), make::sub(&mut b, left, one).unwrap()]
        } else {
            let mut b = Builder::new(&mut program);
            let zero = b.literal(Tensor::scalar(0i64));
            vec![make::greater(&mut b, left, zero).unwrap()]
        };
        program
    };
    let mut program = Program::default();
    let mut b = Builder::new(&mut program);
    let feeds = [b.feed("x", vector.clone()), b.feed("n", number.clone()), b.feed("w", vector.clone())];
    let blocks = LoopBlocks { cond: block(false), body: block(true), n_state: 2 };
    let out = b.push(InstrKind::Loop(Box::new(blocks)), &feeds, vec![vector.clone(), number.clone()]);
    program.outputs = vec![make::sum_all(&mut b, out[0]).unwrap()];
    program
}

fn specialised_loop(n: Option<i64>) -> Program {
    let spelled = drawing_loop();
    let feed = |f: &regraft::program::Feed| {
        let fact = spelled.fact(f.value);
        FeedSpec {
            value: f.value,
            dtype: fact.dtype,
            dims: fact.dims().unwrap(),
            tensor: n.filter(|_| f.name == "n").map(Tensor::scalar),
        }
    };
    let request = Request {
        mode: Mode::Train,
        fetches: spelled.outputs.clone(),
        feeds: spelled.feeds.iter().map(feed).collect(),
        pins: Vec::new(),
        dropout: Vec::new(),
    };
    specialise(&spelled, &[], &request).unwrap().program
}

/// Each iteration draws numbers of its own, in a loop as in its unrolled form, and the backward pass meets them again.
#[test]
fn iterations_draw_numbers_of_their_own() {
    let kept = specialised_loop(None);
    assert!(kept.instrs.iter().any(|i| matches!(i.kind, InstrKind::Loop(_))));
    let (x, w) = (Tensor::from_slice(&[2], &[0.8, 0.9]), Tensor::from_slice(&[2], &[1.5, -2.0]));
    for n in [1i64, 3] {
        super::support::check_gradients(&kept, &[x.clone(), Tensor::scalar(n), w.clone()]);
    }
    let unrolled = specialised_loop(Some(3));
    assert!(!unrolled.instrs.iter().any(|i| matches!(i.kind, InstrKind::Loop(_))));
    let sites: std::collections::BTreeSet<u64> =
        unrolled.instrs.iter().filter_map(|i| i.op_as::<RandomUniform>()).map(|u| u.site).collect();
    assert_eq!(sites.len(), 3);
    // With one number for all iterations, u would be x₂ / tanh(x₁ · w) both times.
    let random = regraft::program::Random { seed: 7, step: 3 };
    let last = |n: i64| super::support::run(&kept, &[x.clone(), Tensor::scalar(n), w.clone()], random)[0].clone();
    assert_eq!(last(2), last(2));
    let state = |n: i64| {
        let mut program = kept.clone();
        let at = program.instrs.iter().position(|i| matches!(i.kind, InstrKind::Loop(_))).unwrap();
        program.outputs = vec![program.instrs[at].outputs[0]];
        super::support::run(&program, &[x.clone(), Tensor::scalar(n), w.clone()], random)[0].to_f64s().unwrap()
    };
    let drawn = |before: &[f64], after: &[f64]| after[0] / (before[0] * 1.5).tanh();
    let (x0, x1, x2) = (state(0), state(1), state(2));
    assert!((drawn(&x0, &x1) - drawn(&x1, &x2)).abs() > 1e-6);
}
