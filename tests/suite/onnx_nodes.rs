//! The official ONNX node tests: each a model of one op with inputs and expected outputs. A small part is committed under
//! `fixtures/onnx_nodes`; `REGRAFT_ONNX_NODES` names a folder with more (as the conformance script unpacks them)
//! and prints a table by op.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use regraft::engine::{Bindings, ConstantStore, Control, Executable, Workspace};
use regraft::formats;
use regraft::lower::spell;
use regraft::passes;
use regraft::program::Random;
use regraft::recognize::dropout;
use regraft::specialise::{DropoutPolicy, FeedSpec, Mode, Request, specialise};
use regraft::tensor::{DType, Tensor, io};

/// Computes the outputs of the model in `folder` and compares them.
fn run_case(folder: &Path) -> Result<(), String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let imported = formats::open(&folder.join("model.onnx")).map_err(|e| text(&e))?;
    let spelled = spell(&imported.graph, imported.dialect());
    let inputs = io::read(&folder.join("in.npz")).map_err(|e| text(&e))?;
    let expected = io::read(&folder.join("out.npz")).map_err(|e| text(&e))?;
    let sites = dropout::find(&spelled.program);
    let mut feeds = Vec::new();
    for feed in &spelled.program.feeds {
        if let Some(t) = inputs.get(&feed.name) {
            feeds.push((feed.value, t.clone()));
        }
    }
    let wanted: Vec<(String, Tensor)> = expected.into_iter().collect();
    let find = |name: &String| {
        let key = imported.graph.value_named(name).map(|v| imported.graph.value(v).key.clone());
        key.and_then(|k| spelled.values.get(&k).copied()).ok_or_else(|| format!("no value {name}"))
    };
    let fetches = wanted.iter().map(|(name, _)| find(name)).collect::<Result<Vec<_>, _>>()?;
    let spec = |(value, t): &(_, Tensor)| FeedSpec {
        value: *value,
        dtype: t.dtype(),
        dims: t.shape().into(),
        tensor: Some(t.clone()),
    };
    let request = Request {
        mode: Mode::Eval,
        fetches,
        feeds: feeds.iter().map(spec).collect(),
        pins: Vec::new(),
        dropout: vec![DropoutPolicy::AsInFile; sites.len()],
    };
    let said = || spelled.diagnostics.iter().map(|d| d.message.clone()).collect::<Vec<_>>().join("; ");
    let special = specialise(&spelled.program, &sites, &request).map_err(|e| format!("{e} ({})", said()))?;
    let bound: Vec<Tensor> = special
        .program
        .feeds
        .iter()
        .map(|f| {
            let old = special.feeds.iter().find(|(_, new)| *new == f.value).map(|(old, _)| *old);
            let given = feeds.iter().find(|(v, _)| Some(*v) == old);
            given.map(|(_, t)| t.clone()).ok_or_else(|| format!("{} is not fed", f.name))
        })
        .collect::<Result<_, _>>()?;
    let program = passes::after_autodiff(&special.program, &[]).map_err(|e| text(&e))?.program;
    let executable = Executable::new(program, &[], &mut ConstantStore::default()).map_err(|e| text(&e))?;
    let mut space = Workspace::default();
    let bind = Bindings { feeds: &bound, params: &[], random: Random::default() };
    executable.run(&mut space, &bind, Control::default()).map_err(|e| text(&e))?;
    for (i, (name, want)) in wanted.iter().enumerate() {
        compare(name, &executable.output_tensor(&space, i), want)?;
    }
    Ok(())
}

fn compare(name: &str, got: &Tensor, want: &Tensor) -> Result<(), String> {
    if got.shape() != want.shape() {
        return Err(format!("{name}: shape {:?} instead of {:?}", got.shape(), want.shape()));
    }
    if let (Some(a), Some(b)) = (got.strings(), want.strings()) {
        return if a == b { Ok(()) } else { Err(format!("{name}: other texts")) };
    }
    let values = |t: &Tensor| t.to_f64s().ok_or_else(|| format!("{name}: {} has no numbers", t.dtype()));
    let (g, w) = (values(got)?, values(want)?);
    let (rtol, atol) = match want.dtype() {
        DType::F16 => (5e-3, 1e-3),
        d if d.is_exact() => (0.0, 0.0),
        _ => (1e-3, 1e-5),
    };
    let is_near = |g: f64, w: f64| g == w || (g.is_nan() && w.is_nan()) || (g - w).abs() <= atol + rtol * w.abs();
    match g.iter().zip(&w).position(|(g, w)| !is_near(*g, *w)) {
        Some(i) => Err(format!("{name}: element {i} is {} instead of {}", g[i], w[i])),
        None => Ok(()),
    }
}

fn guarded(folder: &Path) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| run_case(folder))).unwrap_or_else(|_| Err("PANIC".to_owned()))
}

/// Cases that are not about arrays of ordinary types, or that draw random numbers.
const ASIDE: &[&str] = &[
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
    "ImageDecoder",
    "StringNormalizer",
    "TfIdfVectorizer",
];

/// Official cases that fail, by the beginning of their names, each with its reason. May only shrink.
const FAILING: &[(&str, &str)] =
    &[("test_affine_grid_2d", "its reference function splits by a size that only a branch computes")];

#[test]
fn the_committed_cases_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/onnx_nodes");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root).unwrap().map(|e| e.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() > 60);
    let failures: Vec<String> =
        folders.iter().filter_map(|f| Some(format!("{}: {}", f.display(), guarded(f).err()?))).collect();
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn all_official_cases_where_they_are() {
    run_all();
}

/// Runs everything under `REGRAFT_ONNX_NODES` (`REGRAFT_ONNX_ONLY`: whose name contains that) and prints what fails.
pub fn run_all() {
    let Some(root) = std::env::var_os("REGRAFT_ONNX_NODES").map(PathBuf::from) else { return };
    let only = std::env::var("REGRAFT_ONNX_ONLY").unwrap_or_default();
    let index = std::fs::read_to_string(root.join("npz_index.json")).unwrap();
    let index: Vec<serde_json::Value> = serde_json::from_str(&index).unwrap();
    let mut by_op: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    let mut panics = 0;
    let mut unexpected: Vec<String> = Vec::new();
    for case in &index {
        let (name, op) = (case["name"].as_str().unwrap(), case["op"].as_str().unwrap());
        if ASIDE.contains(&op) || name.starts_with("test_training_dropout") || !name.contains(&only) {
            continue;
        }
        let result = guarded(&root.join(name));
        let row = by_op.entry(op.to_owned()).or_default();
        row[0] += usize::from(result.is_ok());
        row[1] += 1;
        if let Err(why) = result {
            panics += usize::from(why == "PANIC");
            let listed = FAILING.iter().find(|(start, _)| name.starts_with(start)).map(|(_, reason)| *reason);
            eprintln!("{name}: {} — {}", listed.unwrap_or("NOT LISTED"), why.chars().take(220).collect::<String>());
            if listed.is_none() {
                unexpected.push(name.to_owned());
            }
        }
    }
    let (passed, all) = by_op.values().fold((0, 0), |(p, a), r| (p + r[0], a + r[1]));
    for (op, [p, a]) in &by_op {
        eprintln!("{op}: {p} of {a}{}", if p < a { "  <- fails" } else { "" });
    }
    eprintln!("{passed} of {all} pass, {panics} panics");
    assert!(unexpected.is_empty(), "{unexpected:?}");
    assert!(panics == 0 && (passed * 100 >= all * 95 || !only.is_empty()));
}
