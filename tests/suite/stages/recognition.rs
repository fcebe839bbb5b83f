//! Dropout sites and roles of constants over all frozen fixture graphs, compared with what their `case.json` states.

use std::collections::{BTreeMap, BTreeSet};

use regraft::recognize::{dropout, roles};

use super::support::{cases, open};

fn name(text: &str) -> String {
    text.strip_suffix(":0").unwrap_or(text).to_owned()
}

#[test]
pub fn dropout_sites_are_those_of_the_case() {
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
pub fn suggested_constants_are_the_trainables_of_the_case() {
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
pub fn the_mask_of_a_static_bert_is_not_a_weight() {
    let (folder, case) = cases().into_iter().find(|(f, _)| f.ends_with("bert_nano_iterator_frozen")).unwrap();
    let (imported, spelled) = open(&folder, &case);
    let roles = roles::find(&imported.graph, &spelled.program, &[]);
    let ones = roles.iter().find(|r| r.node.as_str() == "bert/encoder/ones").unwrap();
    assert_eq!((ones.role, ones.suggest), (roles::Role::Mask, false), "{}", ones.reason);
}
