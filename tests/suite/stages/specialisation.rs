//! Programs for a mode, feeds and policies.

use regraft::ops::make;
use regraft::program::verify::verify;
use regraft::program::{Builder, Program, Value};
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
