//! Dropout sites and roles of constants over all frozen fixture graphs, compared with what their `case.json` states.

use std::collections::{BTreeMap, BTreeSet};

use regraft::graph::ValueKey;
use regraft::ops::make;
use regraft::ops::random::RandomUniform;
use regraft::program::{Builder, Program, Value};
use regraft::recognize::{dropout, roles};
use regraft::tensor::{DType, Fact, PartialShape};

use super::support::{cases, open};

fn name(text: &str) -> String {
    text.strip_suffix(":0").unwrap_or(text).to_owned()
}

#[test]
fn dropout_sites_are_those_of_the_case() {
    let mut wrong = Vec::new();
    for (folder, case) in cases() {
        let (_, spelled) = open(&folder, &case);
        let found: BTreeMap<(String, String), Option<f64>> = dropout::find(&spelled.program)
            .iter()
            .map(|s| ((name(s.input_key.as_str()), name(s.output_key.as_str())), s.rate))
            .collect();
        let expected: BTreeMap<(String, String), Option<f64>> = case["dropout_sites"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| {
                let text = |k: &str| name(s[k].as_str().unwrap());
                ((text("input"), text("output")), s["rate"].as_f64())
            })
            .collect();
        let same_sites = found.keys().eq(expected.keys());
        let same_rates = expected.iter().all(|(k, rate)| match (rate, found.get(k).copied().flatten()) {
            (Some(want), Some(have)) => (want - have).abs() <= 1e-6,
            (None, have) => have.is_none(),
            (Some(_), None) => false,
        });
        if !same_sites || !same_rates {
            wrong.push(format!("{}: found {found:?}, expected {expected:?}", folder.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn suggested_constants_are_the_trainables_of_the_case() {
    let mut wrong = Vec::new();
    for (folder, case) in cases() {
        let (imported, spelled) = open(&folder, &case);
        let sites = dropout::find(&spelled.program);
        let roles = roles::find(&imported.graph, &spelled.program, &sites);
        let suggested: BTreeSet<String> =
            roles.iter().filter(|r| r.suggest).map(|r| r.node.as_str().to_owned()).collect();
        let statistics: BTreeSet<String> = case["loss"]["no_gradient"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|s| s.as_str().unwrap().to_owned())
            .collect();
        let expected: BTreeSet<String> = case["trainables"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| name(t["name"].as_str().unwrap()))
            .filter(|n| !statistics.contains(n))
            .collect();
        let describe = |n: &String| {
            let role = roles.iter().find(|r| r.node.as_str() == n);
            role.map_or_else(|| format!("{n}: not there"), |r| format!("{n}: {} ({})", r.role, r.reason))
        };
        let off: Vec<String> = suggested.symmetric_difference(&expected).map(describe).collect();
        if !off.is_empty() {
            wrong.push(format!("{}:\n  {}", folder.display(), off.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_mask_of_a_static_bert_is_not_a_weight() {
    let (folder, case) = cases().into_iter().find(|(f, _)| f.ends_with("bert_nano_iterator_frozen")).unwrap();
    let (imported, spelled) = open(&folder, &case);
    let roles = roles::find(&imported.graph, &spelled.program, &[]);
    let ones = roles.iter().find(|r| r.node.as_str() == "bert/encoder/ones").unwrap();
    assert_eq!((ones.role, ones.suggest), (roles::Role::Mask, false), "{}", ones.reason);
}

/// `x` of shape `[?, 4, 4]` with a mask drawn in `shape`, as `body` puts them together.
fn masked(
    shape: [i64; 2],
    body: impl FnOnce(&mut Builder, Value, Value) -> Value,
) -> Vec<regraft::recognize::DropoutSite> {
    let mut program = Program::default();
    let mut b = Builder::new(&mut program);
    let x = b.feed("x", Fact::new(DType::F32, PartialShape::from_partial([None, Some(4), Some(4)])));
    b.set_key(x, ValueKey::new("x:0"));
    let of_x = make::shape_of(&mut b, x).unwrap();
    let batch = make::slice(&mut b, of_x, &[0], &[1]).unwrap();
    let mut parts = vec![batch];
    parts.extend(shape.map(|d| make::ints(&mut b, &[d])));
    let shape = make::concat(&mut b, &parts, 0).unwrap();
    let u = b.op(RandomUniform { site: 1, dtype: DType::F32 }, &[shape]).unwrap();
    let out = body(&mut b, x, u);
    b.set_key(out, ValueKey::new("out:0"));
    program.outputs = vec![out];
    dropout::find(&program)
}

#[test]
fn a_noise_shape_with_ones_shares_its_numbers() {
    let keep = |b: &mut Builder, x: Value, u: Value| {
        let rate = make::scalar(b, DType::F32, 0.2);
        let kept = make::greater_equal(b, u, rate).unwrap();
        let scaled = make::mul_scalar(b, x, 1.25).unwrap();
        let zero = make::scalar(b, DType::F32, 0.0);
        make::select(b, kept, scaled, zero).unwrap()
    };
    assert_eq!(masked([1, 4], keep)[0].shared_axes, [-2]);
    assert_eq!(masked([4, 4], keep)[0].shared_axes, Vec::<i64>::new());
}

#[test]
fn zeros_may_be_selected_where_the_mask_is_true() {
    let sites = masked([4, 4], |b, x, u| {
        let rate = make::scalar(b, DType::F32, 0.25);
        let dropped = make::less(b, u, rate).unwrap();
        let keep = make::scalar(b, DType::F32, 0.75);
        let scaled = make::div(b, x, keep).unwrap();
        let zero = make::scalar(b, DType::F32, 0.0);
        make::select(b, dropped, zero, scaled).unwrap()
    });
    assert_eq!(sites[0].rate, Some(0.25));
}

#[test]
fn a_scale_that_does_not_fit_the_mask_is_no_dropout() {
    let sites = masked([4, 4], |b, x, u| {
        let rate = make::scalar(b, DType::F32, 0.25);
        let kept = make::greater_equal(b, u, rate).unwrap();
        let kept = make::cast(b, kept, DType::F32).unwrap();
        let scaled = make::mul_scalar(b, x, 1.5).unwrap();
        make::mul(b, scaled, kept).unwrap()
    });
    assert!(sites.is_empty());
}
