//! Small programs, their values and numerical gradients.

use std::path::{Path, PathBuf};

use regraft::engine::{Bindings, ConstantStore, Control, Executable};
use regraft::formats;
use regraft::lower::{Spelled, spell};
use regraft::program::verify::verify;
use regraft::program::{Program, Random, Value};
use regraft::tensor::{DType, Tensor};

/// The folders of a fixture area that hold a `case.json`.
pub fn cases() -> Vec<(PathBuf, serde_json::Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let folder = entry.unwrap().path();
        let Ok(text) = std::fs::read_to_string(folder.join("case.json")) else { continue };
        let case: serde_json::Value = serde_json::from_str(&text).unwrap();
        if case["format"] == "tf_frozen" {
            found.push((folder, case));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(!found.is_empty());
    found
}

pub fn open(folder: &Path, case: &serde_json::Value) -> (formats::Imported, Spelled) {
    let imported = formats::open(&folder.join(case["model"].as_str().unwrap())).unwrap();
    let spelled = spell(&imported.graph, imported.dialect());
    (imported, spelled)
}

/// Outputs of a program whose constants are all frozen.
pub fn run(program: &Program, feeds: &[Tensor], random: Random) -> Vec<Tensor> {
    assert_eq!(verify(program), Vec::<String>::new());
    let executable = Executable::new(program.clone(), &[], &mut ConstantStore::default()).unwrap();
    let mut space = regraft::engine::Workspace::new();
    executable.run(&mut space, &Bindings { feeds, params: &[], random }, Control::default()).unwrap();
    (0..program.outputs.len()).map(|i| executable.output_tensor(&space, i)).collect()
}

/// Compares the gradients of the scalar first output with respect to all float feeds with central differences.
pub fn check_gradients(program: &Program, feeds: &[Tensor]) {
    let random = Random { seed: 7, step: 3 };
    let loss = program.outputs[0];
    let wrt: Vec<Value> =
        program.feeds.iter().map(|f| f.value).filter(|v| program.fact(*v).dtype == DType::F64).collect();
    let mut backward = program.clone();
    let grads = regraft::autodiff::differentiate(&mut backward, &[(loss, None)], &wrt).unwrap();
    backward.outputs = grads.iter().map(|g| g.expect("a gradient arrives")).collect();
    let found = run(&backward, feeds, random);
    let float_feeds = (0..feeds.len()).filter(|&i| feeds[i].dtype() == DType::F64);
    for (grad, i) in found.iter().zip(float_feeds) {
        let grad = grad.to_f64s().unwrap();
        for (k, &g) in grad.iter().enumerate() {
            let at = |delta: f64| {
                let mut moved = feeds.to_vec();
                moved[i].as_mut_slice::<f64>()[k] += delta;
                run(program, &moved, random)[0].to_f64s().unwrap()[0]
            };
            let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((g - expected).abs() < 1e-6 * expected.abs().max(1.0), "feed {i}[{k}]: {g} instead of {expected}");
        }
    }
}
