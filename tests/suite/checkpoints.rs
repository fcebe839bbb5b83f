//! Checkpoints and SavedModels: what is found in them, which part is chosen, exports, and damaged files. Their numbers are
//! compared with TensorFlow's in `golden`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use prost::Message;
use regraft::base::Reporter;
use regraft::formats::tensorflow::bundle::{Bundle, proto, table};
use regraft::formats::{self, Imported, Source};
use regraft::graph::{ConstantOrigin, GraphPatch, Leftover};
use regraft::session::compute::{Ask, Mode};
use regraft::session::overview::Overview;
use regraft::session::{Session, feeds};
use regraft::tensor::{DType, Tensor, io};
use serde_json::Value as Json;

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models")
}

fn checkpoint() -> PathBuf {
    models().join("ckpt_partitioned_adam")
}

fn tags() -> PathBuf {
    models().join("saved_model_tags/module")
}

fn objects() -> PathBuf {
    models().join("saved_model_objects/model")
}

fn overview(path: &Path, choice: Option<&str>) -> Overview {
    let session = Session::open_choosing(path, choice).unwrap();
    session.understand().unwrap().overview(&session).unwrap()
}

fn suggested(o: &Overview) -> BTreeSet<String> {
    o.constants.iter().filter(|c| c.suggest == "train").map(|c| c.name.clone()).collect()
}

/// Every file of a folder by its path below it.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut out = Vec::new();
    let mut left = vec![folder.to_path_buf()];
    while let Some(at) = left.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                out.push((path.strip_prefix(folder).unwrap().to_path_buf(), fs::read(&path).unwrap()));
            }
        }
    }
    out.sort();
    out
}

fn copy_folder(from: &Path, to: &Path) {
    for (name, bytes) in contents(from) {
        let path = to.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// Outputs of a model, by the names that are asked for.
fn outputs(path: &Path, choice: Option<&str>, inputs: &Path, names: &[&str], renamed: &[(&str, &str)]) -> Vec<Tensor> {
    let session = Session::open_choosing(path, choice).unwrap();
    let understood = session.understand().unwrap();
    let rename = |name: String| {
        let new = renamed.iter().find(|(old, _)| *old == name).map(|(_, new)| (*new).to_owned());
        new.unwrap_or(name)
    };
    let given = io::read(inputs).unwrap().into_iter().map(|(n, t)| (rename(n), t)).collect();
    let feeds = feeds::resolve(&understood.names().unwrap(), given, &mut Reporter::default()).unwrap();
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let (fetches, _) = understood.fetches(&names).unwrap();
    understood.compute(&Ask { mode: Mode::Eval, fetches, feeds, ..Ask::default() }).unwrap().outputs
}

fn assert_close(got: &Tensor, want: &Tensor, what: &str) {
    assert_eq!(got.shape(), want.shape(), "{what}");
    for (g, w) in got.to_f64s().unwrap().iter().zip(want.to_f64s().unwrap()) {
        assert!((g - w).abs() <= 1e-5, "{what}: {g} instead of {w}");
    }
}

#[test]
fn the_training_program_is_told_from_the_model() {
    let case: Json = serde_json::from_str(&fs::read_to_string(checkpoint().join("case.json")).unwrap()).unwrap();
    let want: BTreeSet<String> =
        case["trainables"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect();
    let o = overview(&checkpoint(), None);
    assert_eq!(suggested(&o), want);
    assert_eq!(o.signatures[0].inputs, ["ids:0", "labels:0"]);
    assert_eq!(o.signatures[0].outputs, ["loss:0", "probabilities:0"]);
    let imported = formats::open(&checkpoint()).unwrap();
    let leftover = |name: &str| imported.graph.node(imported.graph.node_named(name).unwrap()).leftover;
    for (name, want) in [
        ("hidden/w/Adam", Leftover::Optimizer),
        ("table/part_1/Adam_1", Leftover::Optimizer),
        ("global_step", Leftover::Optimizer),
        ("save/RestoreV2", Leftover::Saver),
        ("save/filename", Leftover::Saver),
        ("gradients/MatMul_grad/MatMul", Leftover::Gradient),
        ("global_norm/global_norm", Leftover::Gradient),
        ("hidden/w/Assign", Leftover::Initialiser),
        ("norm", Leftover::Summary),
    ] {
        assert_eq!(leftover(name), Some(want), "{name}");
    }
    for name in ["ids", "MatMul", "hidden/w", "hidden/moving_mean", "logits", "loss", "probabilities"] {
        assert_eq!(leftover(name), None, "{name}");
    }
}

#[test]
fn any_file_of_a_checkpoint_opens_all_of_it() {
    let whole = formats::open(&checkpoint()).unwrap();
    for name in
        ["checkpoint", "model.ckpt-3", "model.ckpt-3.meta", "model.ckpt-3.index", "model.ckpt-3.data-00001-of-00003"]
    {
        let imported = formats::open(&checkpoint().join(name)).unwrap();
        assert_eq!((imported.format, imported.bytes), (whole.format, whole.bytes), "{name}");
        assert_eq!(imported.graph.nodes.len(), whole.graph.nodes.len(), "{name}");
        assert!(imported.diagnostics.is_empty(), "{:?}", imported.diagnostics);
    }
}

#[test]
fn a_partitioned_variable_can_be_read_whole_and_in_parts() {
    let bundle = Bundle::open_path(&checkpoint().join("model.ckpt-3")).unwrap();
    assert_eq!(bundle.num_shards, 3);
    let whole = bundle.payload("table").unwrap().load().unwrap();
    assert_eq!(whole.shape(), [10, 6]);
    let graph = formats::open(&checkpoint()).unwrap().graph;
    let mut rows = Vec::new();
    for part in 0..3 {
        let id = graph.node_named(&format!("table/part_{part}")).unwrap();
        let constant = graph.constant(id).unwrap();
        assert_eq!(constant.origin, ConstantOrigin::Variable { name: "table".into(), trainable: Some(true) });
        rows.extend(constant.payload.load().unwrap().to_f64s().unwrap());
    }
    assert_eq!(rows, whole.to_f64s().unwrap());
}

#[test]
fn signatures_and_meta_graphs_are_chosen() {
    let inputs = models().join("saved_model_tags/inputs.npz");
    let default = overview(&tags(), None);
    assert_eq!((default.dropout.len(), default.signatures[0].name.as_str()), (0, "default"));
    let said = default.diagnostics.iter().find(|d| d.code == "other-signatures").unwrap();
    assert!(said.message.contains("tagged train") && said.message.contains("features"), "{}", said.message);
    for choice in ["train", "train:default", "train:features"] {
        let o = overview(&tags(), Some(choice));
        assert_eq!(o.dropout.len(), 1, "{choice}");
        assert_eq!(o.signatures[0].name, choice.strip_prefix("train:").unwrap_or("default"));
    }
    let got = outputs(&tags(), Some("features"), &inputs, &["features"], &[]);
    assert_close(&got[0], &io::read(&models().join("saved_model_tags/features.npz")).unwrap()["features"], "features");
    let wrong = formats::open_choosing(&tags(), Some("nothing")).unwrap_err().to_string();
    assert!(wrong.contains("default, features (without tags)") && wrong.contains("tagged train"), "{wrong}");
    let tokenizer = formats::open(&tags()).unwrap().assets.tokenizer.unwrap();
    assert!(tokenizer.ends_with("assets/vocab.txt") && tokenizer.exists());
}

/// As tensorflow_hub 0.12 writes modules: the file begins with a meta graph, as a graph would with its library.
#[test]
fn hub_modules_leave_the_version_out() {
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in contents(&tags()) {
        let to = dir.path().join("module").join(&path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let is_model = path == Path::new("saved_model.pb");
        assert!(!is_model || bytes.starts_with(&[0x08, 0x01]), "the version comes first");
        fs::write(to, if is_model { &bytes[2..] } else { &bytes }).unwrap();
    }
    let module = dir.path().join("module");
    let (want, got) = (overview(&tags(), None), overview(&module, None));
    assert_eq!((&got.format, suggested(&got)), (&want.format, suggested(&want)));
    assert_eq!(formats::open(&module.join("saved_model.pb")).unwrap().entry_points.len(), 4);
    // A graph that begins with its library is no meta graph.
    let graph = formats::open(&models().join("while_functional_v2/model.pb")).unwrap();
    assert_eq!(graph.format, "tensorflow-graphdef");
}

/// Every way into a file that is listed opens what it says, and exactly one is the default.
#[test]
fn ways_into_a_file_are_listed_before_and_after_opening() {
    for (path, want) in [(tags(), 4), (objects(), 3), (checkpoint(), 1)] {
        let listed = formats::entry_points(&path).unwrap();
        assert_eq!(listed.len(), want, "{listed:?}");
        assert_eq!(listed.iter().filter(|e| e.is_default).count(), 1, "{listed:?}");
        let default = formats::open(&path).unwrap();
        assert_eq!(default.has_choice(), want > 1);
        assert!(default.entry_points.iter().all(|e| e.is_open == e.is_default));
        for entry in &listed {
            let imported = formats::open_choosing(&path, Some(&entry.choice)).unwrap();
            let open: Vec<_> = imported.entry_points.iter().filter(|e| e.is_open).collect();
            assert_eq!(open.len(), 1);
            assert_eq!((&open[0].choice, &open[0].outputs), (&entry.choice, &entry.outputs));
            assert_eq!(imported.graph.signatures[0].name, entry.signature, "{}", entry.choice);
        }
    }
    let listed = formats::entry_points(&tags()).unwrap();
    let choices: Vec<&str> = listed.iter().map(|e| e.choice.as_str()).collect();
    assert_eq!(choices, [":default", ":features", "train:default", "train:features"]);
    assert!(listed[0].is_default && listed[0].tags.is_empty());
}

#[test]
fn each_signature_of_an_object_graph_stands_alone() {
    let names = |choice| suggested(&overview(&objects(), choice)).into_iter().collect::<Vec<_>>();
    assert_eq!(names(None), ["cell", "head", "head_1", "table"]);
    assert_eq!(names(Some("flat")), ["head", "table"]);
    assert_eq!(overview(&objects(), None).dropout.len(), 0);
    assert_eq!(overview(&objects(), Some("train")).dropout.len(), 1);
    let inputs = models().join("saved_model_objects/inputs.npz");
    let got = outputs(&objects(), Some("flat"), &inputs, &["b"], &[]);
    assert_close(&got[0], &io::read(&models().join("saved_model_objects/flat.npz")).unwrap()["b"], "flat");
}

#[test]
fn an_unchanged_export_is_the_same_file_for_file() {
    let temp = tempfile::tempdir().unwrap();
    for folder in [tags(), objects()] {
        let to = temp.path().join(folder.parent().unwrap().file_name().unwrap());
        formats::write(&formats::open(&folder).unwrap(), &GraphPatch::default(), &to).unwrap();
        assert!(contents(&folder) == contents(&to), "{}", folder.display());
    }
    let to = temp.path().join("again/model.ckpt-3");
    let imported = formats::open(&checkpoint()).unwrap();
    formats::write(&imported, &GraphPatch::default(), &to).unwrap();
    let is_of_it = |(name, _): &(PathBuf, Vec<u8>)| name.to_string_lossy().starts_with("model.ckpt-3.");
    let files = |folder: &Path| contents(folder).into_iter().filter(is_of_it).collect::<Vec<_>>();
    assert!(files(&checkpoint()) == files(&temp.path().join("again")));
    let state = fs::read_to_string(temp.path().join("again/checkpoint")).unwrap();
    assert!(state.starts_with("model_checkpoint_path: \"model.ckpt-3\"\n"), "{state}");
}

/// All variables of the model, each a quarter larger than before.
fn tuned(imported: &Imported) -> GraphPatch {
    let mut patch = GraphPatch::default();
    for (id, constant) in imported.graph.constants() {
        let node = imported.graph.node(id);
        let is_weight = matches!(constant.origin, ConstantOrigin::Variable { .. }) && constant.payload.dtype.is_float();
        if is_weight && node.leftover.is_none() {
            let old = constant.payload.load().unwrap();
            let new = old.to_f64s().unwrap().into_iter().map(|v| v + 0.25);
            patch.constants.insert(node.key.clone(), Tensor::from_f64s(DType::F64, old.shape(), new));
        }
    }
    patch
}

#[test]
fn tuned_variables_are_written_and_nothing_else_changes() {
    let temp = tempfile::tempdir().unwrap();
    for (from, to, prefix) in [
        (checkpoint(), "tuned.ckpt", "tuned.ckpt"),
        (tags(), "tags", "tags/variables/variables"),
        (objects(), "objects", "objects/variables/variables"),
    ] {
        let imported = formats::open(&from).unwrap();
        let patch = tuned(&imported);
        assert!(patch.constants.len() >= 4);
        formats::write(&imported, &patch, &temp.path().join(to)).unwrap();
        let written = formats::open(&temp.path().join(to)).unwrap();
        for (id, old) in imported.graph.constants() {
            let key = &imported.graph.node(id).key;
            let new = written.graph.constant(written.graph.node_named(key.as_str()).unwrap()).unwrap();
            let (old, new) = (old.payload.load().unwrap(), new.payload.load().unwrap());
            match patch.constants.contains_key(key) {
                true => assert_close(
                    &new,
                    &Tensor::from_f64s(new.dtype(), new.shape(), old.to_f64s().unwrap().into_iter().map(|v| v + 0.25)),
                    key.as_str(),
                ),
                false => assert!(old == new, "{key}"),
            }
        }
        let bundle = Bundle::open_path(&temp.path().join(prefix)).unwrap();
        let names = |b: &Bundle| b.entries().iter().map(|e| e.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&bundle), names(&imported.variables().unwrap().bundle));
    }
}

#[test]
fn models_with_variables_freeze_into_a_graph_that_computes_the_same() {
    let temp = tempfile::tempdir().unwrap();
    let case = models().join("ckpt_partitioned_adam");
    let want = io::read(&case.join("outputs.npz")).unwrap();
    for name in ["frozen.pb", "frozen.pbtxt"] {
        let to = temp.path().join(name);
        formats::write(&formats::open(&checkpoint()).unwrap(), &GraphPatch::default(), &to).unwrap();
        let written = formats::open(&to).unwrap();
        assert!(written.graph.nodes.iter().all(|n| !n.op.contains("Variable") && n.op != "Assign"), "{name}");
        let got = outputs(&to, None, &case.join("inputs.npz"), &["loss:0", "probabilities:0"], &[]);
        assert_close(&got[0], &want["loss:0"], name);
        assert_close(&got[1], &want["probabilities:0"], name);
    }
    let to = temp.path().join("flat.pb");
    let imported = formats::open_choosing(&objects(), Some("flat")).unwrap();
    formats::write(&imported, &GraphPatch::default(), &to).unwrap();
    assert!(formats::open(&to).unwrap().graph.functions.is_empty());
    let inputs = models().join("saved_model_objects/inputs.npz");
    let got = outputs(&to, None, &inputs, &["StatefulPartitionedCall:0"], &[("ids", "flat_ids")]);
    assert_close(&got[0], &io::read(&models().join("saved_model_objects/flat.npz")).unwrap()["b"], "flat.pb");
    // The body of a loop reads a variable: it is handed its value instead.
    let to = temp.path().join("loop.pb");
    formats::write(&formats::open(&objects()).unwrap(), &GraphPatch::default(), &to).unwrap();
    let written = formats::open(&to).unwrap();
    assert_eq!(written.graph.functions.len(), 2);
    let bodies = std::iter::once(&*written.graph).chain(written.graph.functions.values().map(|f| &**f));
    assert!(bodies.flat_map(|g| &g.nodes).all(|n| n.op != "ReadVariableOp" && n.op != "VarHandleOp"));
    let names = ["StatefulPartitionedCall_1:0", "StatefulPartitionedCall_1:1"];
    let got = outputs(&to, None, &inputs, &names, &[("ids", "serving_default_ids")]);
    let want = io::read(&models().join("saved_model_objects/outputs.npz")).unwrap();
    assert_close(&got[0], &want["a"], "loop.pb");
    assert_close(&got[1], &want["b"], "loop.pb");
}

/// A SavedModel becomes a checkpoint: the meta graph that was chosen, and the variables.
#[test]
fn a_saved_model_becomes_a_checkpoint() {
    let temp = tempfile::tempdir().unwrap();
    for (i, choice) in [None, Some("train:default")].into_iter().enumerate() {
        let imported = formats::open_choosing(&tags(), choice).unwrap();
        let patch = tuned(&imported);
        let to = temp.path().join(format!("{i}/model.ckpt"));
        formats::write(&imported, &patch, &to).unwrap();
        let written = formats::open(&to).unwrap();
        assert_eq!((written.format, written.graph.nodes.len()), ("tensorflow-checkpoint", imported.graph.nodes.len()));
        let (key, value) = patch.constants.first().unwrap();
        let new = written.graph.constant(written.graph.node_named(key.as_str()).unwrap()).unwrap();
        assert_close(&new.payload.load().unwrap(), value, key.as_str());
        let names = |b: &Bundle| b.entries().iter().map(|e| e.name.clone()).collect::<Vec<_>>();
        let bundle = |i: &Imported| names(&i.variables().unwrap().bundle);
        assert_eq!(bundle(&written), bundle(&imported));
    }
}

#[test]
fn the_open_checkpoint_is_never_written_over() {
    let temp = tempfile::tempdir().unwrap();
    copy_folder(&checkpoint(), temp.path());
    let before = contents(temp.path());
    let imported = formats::open(&temp.path().join("model.ckpt-3.meta")).unwrap();
    for name in ["model.ckpt-3", "model.ckpt-3.index", "model.ckpt-3.meta", "."] {
        assert!(formats::write(&imported, &tuned(&imported), &temp.path().join(name)).is_err(), "{name}");
    }
    assert!(contents(temp.path()) == before);
}

/// Opens a model and loads all its constants; what is wrong, where something is.
fn complaint(path: &Path) -> Option<String> {
    let imported = match formats::open(path) {
        Ok(imported) => imported,
        Err(e) => return Some(e.to_string()),
    };
    let bad = imported.graph.constants().find_map(|(_, c)| c.payload.load().err());
    let said = imported.diagnostics.first().map(|d| d.message.clone());
    bad.map(|e| e.to_string()).or(said)
}

/// Changes the message under a key of an index.
fn edit<M: Message + Default>(folder: &Path, key: &str, change: impl FnOnce(&mut M)) {
    let path = folder.join("model.ckpt-3.index");
    let index = Source::open(&path).unwrap().bytes;
    let mut rows = table::read(&index).unwrap();
    let row = rows.iter_mut().find(|(k, _)| k == key.as_bytes()).unwrap();
    let mut message = M::decode(&row.1[..]).unwrap();
    change(&mut message);
    row.1 = message.encode_to_vec();
    fs::write(path, table::write(&rows)).unwrap();
}

type Damage = (&'static str, fn(&Path), &'static str);

/// What is done to a copy of the checkpoint, and what the message must name.
const DAMAGES: &[Damage] = &[
    ("no index", |f| fs::remove_file(f.join("model.ckpt-3.index")).unwrap(), "model.ckpt-3"),
    ("no shard", |f| fs::remove_file(f.join("model.ckpt-3.data-00001-of-00003")).unwrap(), "data-00001-of-00003"),
    ("no graph", |f| fs::remove_file(f.join("model.ckpt-3.meta")).unwrap(), ".meta"),
    ("empty index", |f| fs::write(f.join("model.ckpt-3.index"), b"").unwrap(), "model.ckpt-3.index"),
    ("index of zeros", |f| fs::write(f.join("model.ckpt-3.index"), [0; 4096]).unwrap(), "model.ckpt-3.index"),
    ("big-endian", |f| edit::<proto::Header>(f, "", |h| h.endianness = 1), "big-endian"),
    ("two million shards", |f| edit::<proto::Header>(f, "", |h| h.num_shards = 2_000_000), "of-2000000"),
    ("minus one shards", |f| edit::<proto::Header>(f, "", |h| h.num_shards = -1), "-1 shards"),
    ("shard beyond", |f| edit::<proto::Entry>(f, "hidden/w", |e| e.shard_id = 7), "hidden/w"),
    ("offset beyond", |f| edit::<proto::Entry>(f, "hidden/w", |e| e.offset = 1 << 50), "data-00001-of-00003"),
    ("negative offset", |f| edit::<proto::Entry>(f, "hidden/w", |e| e.offset = -1), "hidden/w"),
    ("lying size", |f| edit::<proto::Entry>(f, "hidden/w", |e| e.size = 8), "hidden/w"),
    ("wrong checksum", |f| edit::<proto::Entry>(f, "hidden/w", |e| e.crc32c ^= 1), "hidden/w"),
    ("other type", |f| edit::<proto::Entry>(f, "hidden/w", |e| e.dtype = 3), "int32"),
    (
        "huge shape",
        |f| {
            edit::<proto::Entry>(f, "hidden/w", |e| {
                e.shape = Some(proto::Shape { dim: vec![proto::Dim { size: 1 << 62 }; 3], unknown_rank: false });
            });
        },
        "hidden/w",
    ),
    ("piece outside", |f| edit::<proto::Entry>(f, "table", |e| e.slices[0].extent[0].start = 9), "table"),
    ("piece missing", |f| edit::<proto::Entry>(f, "table", |e| e.slices[0].extent[0].start = 1), "table"),
    (
        "flipped bit in a shard",
        |f| {
            let path = f.join("model.ckpt-3.data-00001-of-00003");
            let mut bytes = fs::read(&path).unwrap();
            bytes.iter_mut().for_each(|b| *b ^= 4);
            fs::write(path, bytes).unwrap();
        },
        "checksum",
    ),
    ("cut shard", |f| fs::write(f.join("model.ckpt-3.data-00002-of-00003"), [0; 9]).unwrap(), "cut off"),
    ("state of nothing", |f| fs::write(f.join("checkpoint"), b"model_checkpoint_path: \"gone\"\n").unwrap(), "gone"),
];

#[test]
fn damaged_checkpoints_are_refused_with_the_place() {
    for (what, damage, names) in DAMAGES {
        let temp = tempfile::tempdir().unwrap();
        copy_folder(&checkpoint(), temp.path());
        damage(temp.path());
        let said = complaint(temp.path()).unwrap_or_else(|| panic!("{what}: nothing was said"));
        assert!(said.contains(names), "{what}: {said}");
    }
    let empty = tempfile::tempdir().unwrap();
    assert!(complaint(empty.path()).unwrap().contains("no model"));
}

/// Files cut off anywhere and with any byte changed: an answer, quickly, and never a panic.
#[test]
fn cut_and_flipped_files_end_in_an_answer() {
    let start = Instant::now();
    let temp = tempfile::tempdir().unwrap();
    copy_folder(&checkpoint(), temp.path());
    let path = temp.path().join("model.ckpt-3.index");
    let good = fs::read(&path).unwrap();
    for cut in (0..good.len()).step_by(37) {
        fs::write(&path, &good[..cut]).unwrap();
        assert!(formats::open(temp.path()).is_err(), "cut at {cut}");
    }
    for at in (0..good.len()).step_by(23) {
        let mut bad = good.clone();
        bad[at] ^= 0x41;
        fs::write(&path, bad).unwrap();
        let _ = complaint(temp.path());
    }
    let model = fs::read(objects().join("saved_model.pb")).unwrap();
    let target = tempfile::tempdir().unwrap();
    copy_folder(&objects(), target.path());
    for at in (1..model.len()).step_by(2503) {
        fs::write(target.path().join("saved_model.pb"), &model[..at]).unwrap();
        let _ = complaint(target.path());
        let mut bad = model.clone();
        bad[at] ^= 0x81;
        fs::write(target.path().join("saved_model.pb"), bad).unwrap();
        let _ = complaint(target.path());
    }
    assert!(start.elapsed() < Duration::from_secs(10));
}
