//! Training that TensorFlow began: its checkpoints of every age open, and with the optimizer's state taken over our steps
//! are those that TensorFlow takes next (fixtures/make/continued.py).

use std::fs;
use std::path::{Path, PathBuf};

use regraft::base::Reporter;
use regraft::data::ArrayFeeds;
use regraft::formats::tensorflow::bundle::Bundle;
use regraft::formats::tensorflow::slots::Family;
use regraft::formats::{self, Imported};
use regraft::graph::{ConstantOrigin, GraphPatch, NodeKey};
use regraft::session::compute::{Ask, Mode};
use regraft::session::{Change, Objective, Selector, Session, TrainableChoice, feeds, training};
use regraft::tensor::{Tensor, io};
use regraft::train::{EndReason, TrainEvent, Trainer};

const STEPS: usize = 6;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/continued")
}

fn saved_text() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/continued/saved_model_text")
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|e| e.unwrap().path()) {
        fs::copy(&entry, to.join(entry.file_name().unwrap())).unwrap();
    }
}

fn session(path: &Path, settings: &[(&str, &str)]) -> Session {
    let mut session = Session::open(path).unwrap();
    let mut recipe = (**session.recipe()).clone();
    recipe.objective = Some(Objective::Value { loss: "loss".to_owned() });
    let names = ["table", "dense/kernel", "dense/bias"];
    let include = names.iter().map(|n| Selector::Name((*n).to_owned())).collect();
    recipe.trainable = TrainableChoice { include, exclude: vec![] };
    for (key, value) in settings {
        recipe = Change::SetSetting { key: (*key).to_owned(), value: Some((*value).to_owned()) }.apply(&recipe);
    }
    recipe.settings.insert("training.steps".to_owned(), STEPS.to_string());
    session.replace_recipe(recipe).unwrap();
    session
}

/// Losses, messages, and the tuned weights.
fn run(session: &Session, feeds: &Path) -> (Vec<f64>, Vec<String>, Vec<(String, Tensor)>) {
    let arrays = ArrayFeeds::open(feeds).unwrap();
    let start = training::Start { threads: Some(1), ..Default::default() };
    let job = training::on_arrays(session, arrays, start, &mut Reporter::default()).unwrap();
    let trainer = Trainer::start(job).unwrap();
    let (mut losses, mut said) = (Vec::new(), Vec::new());
    for event in trainer.events() {
        match event {
            TrainEvent::Step { loss, .. } => losses.push(loss),
            TrainEvent::Log { code, message, .. } if code == "optimizer-state" => said.push(message),
            TrainEvent::End { reason, message, .. } => assert_eq!(reason, EndReason::Finished, "{message:?}"),
            _ => {}
        }
    }
    let store = trainer.join().store.unwrap();
    (losses, said, store.by_name().map(|(n, t)| (n.to_owned(), t.clone())).collect())
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (a.to_f64s().unwrap(), b.to_f64s().unwrap());
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

type Case = (&'static str, Family, Option<u64>, &'static [(&'static str, &'static str)]);

const ADAM: &[(&str, &str)] = &[
    ("optimizer.kind", "adam"),
    ("optimizer.lr", "0.02"),
    ("optimizer.epsilon", "1e-6"),
    ("optimizer.epsilon_hat", "true"),
];

const CASES: &[Case] = &[
    ("adam", Family::Adam, Some(4), ADAM),
    ("old_format", Family::Adam, Some(4), ADAM),
    ("old_format_sharded", Family::Adam, Some(4), ADAM),
    (
        "momentum",
        Family::Momentum,
        Some(4),
        &[("optimizer.kind", "sgd"), ("optimizer.lr", "0.05"), ("optimizer.momentum", "0.9")],
    ),
    (
        "adagrad",
        Family::Adagrad,
        Some(4),
        &[("optimizer.kind", "adagrad"), ("optimizer.lr", "0.1"), ("optimizer.epsilon", "1e-20")],
    ),
    (
        "plain_ops",
        Family::Adam,
        Some(4),
        &[
            ("optimizer.kind", "bert-adamw"),
            ("optimizer.lr", "0.02"),
            ("optimizer.weight_decay", "0.01"),
            ("optimizer.no_decay", "bias"),
        ],
    ),
];

#[test]
fn training_goes_on_as_tensorflow_would() {
    for (name, family, updates, settings) in CASES {
        let folder = root().join(name);
        let golden = io::read(&folder.join("golden.npz")).unwrap();
        let state = formats::open(&folder).unwrap().optimizer_state().unwrap();
        assert_eq!((state.family, state.updates, state.slots.len()), (*family, *updates, 3), "{name}");
        let mut taken = settings.to_vec();
        taken.push(("optimizer.state", "file"));
        let (losses, said, weights) = run(&session(&folder, &taken), &folder.join("feeds.npz"));
        let want = golden["losses"].to_f64s().unwrap();
        assert_eq!(losses.len(), want.len());
        for (step, (got, want)) in losses.iter().zip(&want).enumerate() {
            assert!((got - want).abs() < 1e-5, "{name}, step {step}: {got} instead of {want}");
        }
        for (key, value) in &weights {
            let difference = largest_difference(value, &golden[key.as_str()]);
            assert!(difference < 1e-5, "{name}: {key} differs by {difference}");
        }
        assert!(said.iter().any(|s| s.contains("3 of 3") && s.contains("after 4 updates")), "{name}: {said:?}");
        // Without it, another way is gone, and the run says that there is a choice.
        let (other, said, _) = run(&session(&folder, settings), &folder.join("feeds.npz"));
        assert!((other[STEPS - 1] - want[STEPS - 1]).abs() > 1e-4, "{name}: the state changes nothing");
        assert!(said.iter().any(|s| s.contains("optimizer.state=file")), "{name}: {said:?}");
    }
}

#[test]
fn state_that_does_not_fit_is_refused_in_words() {
    let refuse = |name: &str, settings: &[(&str, &str)]| {
        let session = session(&root().join(name), settings);
        let arrays = ArrayFeeds::open(&root().join(name).join("feeds.npz")).unwrap();
        let job = training::on_arrays(&session, arrays, training::Start::default(), &mut Reporter::default());
        job.map(|_| ()).unwrap_err().to_string()
    };
    let said = refuse("adam", &[("optimizer.kind", "sgd"), ("optimizer.state", "file")]);
    assert!(said.contains("the state of Adam") && said.contains("sgd"), "{said}");
    let temp = tempfile::tempdir().unwrap();
    let frozen = temp.path().join("frozen.pb");
    formats::write(&formats::open(&root().join("adam")).unwrap(), &GraphPatch::default(), &frozen).unwrap();
    assert!(formats::open(&frozen).unwrap().optimizer_state().is_none());
}

fn weights(imported: &Imported) -> GraphPatch {
    let mut patch = GraphPatch::default();
    for (id, constant) in imported.graph.constants() {
        let node = imported.graph.node(id);
        let is_weight = matches!(constant.origin, ConstantOrigin::Variable { .. }) && constant.payload.dtype.is_float();
        if is_weight && node.leftover.is_none() {
            let old = constant.payload.load().unwrap();
            let new: Vec<f64> = old.to_f64s().unwrap().into_iter().map(|v| v * 0.5).collect();
            patch.constants.insert(node.key.clone(), Tensor::from_f64s(old.dtype(), old.shape(), new));
        }
    }
    patch
}

/// One table, one table for each device; any of their files, the prefix, the pattern of the state file.
#[test]
fn the_first_format_opens_by_any_of_its_names_and_is_written_as_todays() {
    for (name, files) in [
        ("old_format", &["", "checkpoint", "model.ckpt-4", "model.ckpt-4.meta"][..]),
        ("old_format_sharded", &["", "checkpoint", "model.ckpt-4-00001-of-00002", "model.ckpt-4.meta"][..]),
    ] {
        let folder = root().join(name);
        for file in files {
            let imported = formats::open(&folder.join(file)).unwrap();
            assert_eq!(imported.format, "tensorflow-checkpoint");
            let n = imported.variables().unwrap().bundle.entries().len();
            assert_eq!(n, 12, "{name}/{file}");
            assert!(imported.diagnostics.is_empty(), "{:?}", imported.diagnostics);
        }
        let temp = tempfile::tempdir().unwrap();
        let imported = formats::open(&folder).unwrap();
        let patch = weights(&imported);
        formats::write(&imported, &patch, &temp.path().join("new.ckpt")).unwrap();
        let written = Bundle::open_path(&temp.path().join("new.ckpt")).unwrap();
        assert_eq!(written.entries().len(), 12);
        let table = written.payload("table").unwrap().load().unwrap();
        assert!(largest_difference(&table, &patch.constants[&NodeKey::new("table")]) < 1e-7);
        let named = formats::named::read(&folder.join(if name == "old_format" { "model.ckpt-4" } else { files[2] }));
        assert!(named.unwrap().arrays.contains_key("dense/kernel/Adam_1"), "{name}");
    }
}

#[test]
fn a_damaged_table_of_the_first_format_is_refused() {
    let good = fs::read(root().join("old_format/model.ckpt-4")).unwrap();
    let temp = tempfile::tempdir().unwrap();
    copy_folder(&root().join("old_format"), temp.path());
    let file = temp.path().join("model.ckpt-4");
    for cut in (0..good.len()).step_by(101) {
        fs::write(&file, &good[..cut]).unwrap();
        let said = formats::open(temp.path()).map(|i| i.diagnostics).map_err(|e| e.to_string());
        assert!(!matches!(&said, Ok(d) if d.is_empty()), "cut at {cut}: {said:?}");
    }
    for at in (0..good.len() - 48).step_by(13) {
        let mut bad = good.clone();
        bad[at] ^= 0x22;
        fs::write(&file, bad).unwrap();
        let said = formats::open(temp.path()).map(|i| i.diagnostics);
        // The empty directory of filters is not read.
        let is_unread = at >= good.len() - 48 - 140;
        assert!(is_unread || !matches!(&said, Ok(d) if d.is_empty()), "flipped at {at}");
    }
}

/// A graph as text beside checkpoints (an Estimator's folder): opened, and written back as it was.
#[test]
fn the_graph_may_lie_beside_a_checkpoint_as_text() {
    let folder = root().join("momentum");
    let imported = formats::open(&folder).unwrap();
    assert!(imported.diagnostics.iter().any(|d| d.code == "graph-from-text"));
    let temp = tempfile::tempdir().unwrap();
    let patch = weights(&imported);
    formats::write(&imported, &patch, &temp.path().join("new.ckpt")).unwrap();
    assert!(temp.path().join("graph.pbtxt").exists() && !temp.path().join("new.ckpt.meta").exists());
    let written = formats::open(temp.path()).unwrap();
    let names = |i: &Imported| i.graph.nodes.iter().map(|n| n.key.as_str().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&imported), names(&written));
    let frozen = temp.path().join("frozen.pb");
    formats::write(&imported, &patch, &frozen).unwrap();
    assert_eq!(formats::open(&frozen).unwrap().format, "tensorflow-graphdef");
}

#[test]
fn a_saved_model_as_text_computes_and_is_written_in_the_binary_form() {
    let model = saved_text().join("model");
    let golden = io::read(&saved_text().join("golden.npz")).unwrap();
    let scores = |path: &Path| {
        let session = Session::open(path).unwrap();
        let understood = session.understand().unwrap();
        let given = vec![("x".to_owned(), golden["x"].clone())];
        let feeds = feeds::resolve(&understood.names().unwrap(), given, &mut Reporter::default()).unwrap();
        let (fetches, _) = understood.fetches(&["scores".to_owned()]).unwrap();
        understood.compute(&Ask { mode: Mode::Eval, fetches, feeds, ..Ask::default() }).unwrap().outputs.remove(0)
    };
    assert!(largest_difference(&scores(&model), &golden["scores"]) < 1e-6);
    assert_eq!(formats::entry_points(&model).unwrap().len(), 2);
    assert_eq!(formats::entry_points(&model.join("saved_model.pbtxt")).unwrap().len(), 2);
    let imported = formats::open(&model).unwrap();
    assert_eq!(imported.diagnostics.iter().filter(|d| d.code == "unknown-text-fields").count(), 0);
    let temp = tempfile::tempdir().unwrap();
    let to = temp.path().join("copy");
    formats::write(&imported, &GraphPatch::default(), &to).unwrap();
    assert!(to.join("saved_model.pb").exists() && !to.join("saved_model.pbtxt").exists());
    assert!(to.join("assets/vocab.txt").exists());
    assert!(largest_difference(&scores(&to), &golden["scores"]) < 1e-6);
    let frozen = temp.path().join("frozen.pb");
    formats::write(&imported, &GraphPatch::default(), &frozen).unwrap();
    assert!(largest_difference(&scores(&frozen), &golden["scores"]) < 1e-6);
}
