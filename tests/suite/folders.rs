//! Folders that hold weights and a configuration but no graph: the numbers of PyTorch, damaged folders, and the way
//! back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regraft::base::Reporter;
use regraft::session::compute::{Ask, Gradients, Mode};
use regraft::session::recipe::{Recipe, SitePolicy, TrainableChoice};
use regraft::session::{Selector, Session, feeds};
use regraft::tensor::{Tensor, io};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/folders")
}

/// Folders with their goldens, grouped by the first word of the keys: in, out, up, grad.
fn cases() -> Vec<(PathBuf, BTreeMap<String, BTreeMap<String, Tensor>>)> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root()).unwrap().map(|e| e.unwrap().path()).collect();
    folders.retain(|f| f.is_dir());
    folders.sort();
    let golden = |f: &PathBuf| {
        let mut out: BTreeMap<String, BTreeMap<String, Tensor>> = BTreeMap::new();
        for (key, tensor) in io::read(&f.with_extension("safetensors")).unwrap() {
            let (kind, name) = key.split_once('/').unwrap();
            out.entry(kind.to_owned()).or_default().insert(name.to_owned(), tensor);
        }
        out
    };
    folders.into_iter().map(|f| (f.clone(), golden(&f))).collect()
}

fn session(path: &Path) -> Session {
    let mut session = Session::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut recipe = Recipe {
        trainable: TrainableChoice { include: vec![Selector::All], exclude: Vec::new() },
        ..Recipe::default()
    };
    recipe.dropout.default = SitePolicy::Off;
    session.replace_recipe(recipe).unwrap();
    session
}

/// The named outputs of the model at `path`, in evaluation.
fn outputs(path: &Path, inputs: &BTreeMap<String, Tensor>, names: &[String]) -> Vec<Tensor> {
    let session = session(path);
    let understood = session.understand().unwrap();
    let (fetches, _) = understood.fetches(names).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let arrays = inputs.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    let feeds = feeds::resolve(&understood.names().unwrap(), arrays, &mut Reporter::default()).unwrap();
    let ask = Ask { mode: Mode::Eval, fetches, feeds, ..Ask::default() };
    understood.compute(&ask).unwrap_or_else(|e| panic!("{}: {e}", path.display())).outputs
}

fn worst(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.shape(), b.shape());
    let pairs = a.to_f64s().unwrap().into_iter().zip(b.to_f64s().unwrap());
    pairs.map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
}

#[test]
fn outputs_are_pytorchs() {
    let all = cases();
    assert!(all.len() >= 10, "{}", all.len());
    for (folder, golden) in all {
        let names: Vec<String> = golden["out"].keys().cloned().collect();
        for (name, got) in names.iter().zip(outputs(&folder, &golden["in"], &names)) {
            let off = worst(&got, &golden["out"][name]);
            assert!(off <= 1e-5, "{name} of {} is {off:e} off", folder.display());
        }
    }
}

#[test]
fn gradients_are_pytorchs() {
    for (folder, golden) in cases().into_iter().filter(|(_, g)| g.contains_key("grad")) {
        let session = session(&folder);
        let understood = session.understand().unwrap();
        let names = understood.names().unwrap();
        let (of, up) = golden["up"].iter().next().unwrap();
        let arrays = golden["in"].iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let ask = Ask {
            mode: Mode::Train,
            feeds: feeds::resolve(&names, arrays, &mut Reporter::default()).unwrap(),
            gradients: Some(Gradients {
                of: vec![(names.value(of).unwrap(), Some(up.clone()))],
                wrt: understood.trainable.iter().map(|t| (t.node.as_str().to_owned(), t.value)).collect(),
            }),
            ..Ask::default()
        };
        let computed = understood.compute(&ask).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let place = folder.display();
        for (name, want) in &golden["grad"] {
            let i = understood.trainable.iter().position(|t| t.node.as_str() == name);
            let i = i.unwrap_or_else(|| panic!("{name} does not train in {place}"));
            let got = computed.gradients[i].as_ref().unwrap_or_else(|| panic!("no gradient at {name} in {place}"));
            let off = worst(got, want);
            let scale = want.to_f64s().unwrap().into_iter().fold(1.0, |m: f64, v| m.max(v.abs()));
            assert!(off <= 1e-5 * scale, "{name} in {place} is {off:e} off, of {scale}");
        }
    }
}
