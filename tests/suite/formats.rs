//! Reading, spelling and writing of model files: counts from `case.json`, damaged copies, exports.

use std::path::{Path, PathBuf};

use regraft::edits::bypass_dropout;
use regraft::formats::{self, Imported, OpenError, Source};
use regraft::graph::{Graph, GraphPatch, NodeKind, ValueKey};
use regraft::lower;
use regraft::program::{InstrKind, verify};
use regraft::tensor::{DType, Tensor};
use serde_json::Value;

fn models() -> Vec<(PathBuf, Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root).unwrap().map(|e| e.unwrap().path()).collect();
    folders.sort();
    let case = |f: &PathBuf| serde_json::from_str(&std::fs::read_to_string(f.join("case.json")).unwrap()).unwrap();
    folders.iter().map(|f| (f.clone(), case(f))).collect()
}

fn frozen() -> Vec<(PathBuf, Value, Imported)> {
    let is_frozen = |(_, case): &(PathBuf, Value)| case["format"] == "tf_frozen";
    models()
        .into_iter()
        .filter(is_frozen)
        .map(|(f, case)| {
            let file = f.join(case["model"].as_str().unwrap());
            let imported = formats::open(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            (file, case, imported)
        })
        .collect()
}

fn count(graph: &Graph, is: impl Fn(&regraft::graph::Node) -> bool) -> u64 {
    graph.nodes.iter().filter(|n| is(n)).count() as u64
}

#[test]
fn counts_are_those_of_the_file() {
    for (file, case, imported) in frozen() {
        let (graph, want) = (&imported.graph, &case["graph"]);
        assert_eq!(want["nodes"], count(graph, |_| true), "{}", file.display());
        assert_eq!(want["constants"], count(graph, |n| n.kind == NodeKind::Constant), "{}", file.display());
        let is_float = |n: &regraft::graph::Node| n.constant.as_ref().is_some_and(|c| c.payload.dtype.is_float());
        assert_eq!(want["float_constants"], count(graph, is_float), "{}", file.display());
        for (op, n) in want["ops"].as_object().unwrap() {
            assert_eq!(*n, count(graph, |node| node.op == *op), "{op} in {}", file.display());
        }
        assert!(imported.diagnostics.is_empty(), "{:?}", imported.diagnostics);
        for trainable in case["trainables"].as_array().unwrap() {
            let id = graph.node_named(trainable["name"].as_str().unwrap()).expect("a trainable constant");
            let payload = &graph.constant(id).expect("a constant").payload;
            let shape: Vec<usize> = serde_json::from_value(trainable["shape"].clone()).unwrap();
            assert_eq!(payload.load().unwrap().shape(), shape);
        }
    }
}

#[test]
fn spelled_programs_are_sound_and_know_every_input_and_output() {
    for (file, case, imported) in frozen() {
        let spelled = lower::spell(&imported.graph, imported.dialect());
        assert_eq!(verify::verify(&spelled.program), Vec::<String>::new(), "{}", file.display());
        for end in case["inputs"].as_array().unwrap().iter().chain(case["outputs"].as_array().unwrap()) {
            let key = ValueKey::new(end["name"].as_str().unwrap());
            assert!(spelled.values.contains_key(&key), "{key} in {}", file.display());
        }
        for d in &spelled.diagnostics {
            assert!(!d.code.starts_with("un") || d.code == "unknown-op", "{d:?} in {}", file.display());
        }
    }
}

#[test]
fn each_conditional_becomes_one_block() {
    let ifs = |name: &str| {
        let (_, _, imported) = frozen().into_iter().find(|(f, ..)| f.to_string_lossy().contains(name)).unwrap();
        let spelled = lower::spell(&imported.graph, imported.dialect());
        spelled.program.instrs.iter().filter(|i| matches!(i.kind, InstrKind::If(_))).count()
    };
    assert_eq!(ifs("control_flow_switch_merge_plain"), 1);
    assert_eq!(ifs("control_flow_stateless_if_plain"), 1);
    assert_eq!(ifs("dropout_functional_if"), 1);
    assert_eq!(ifs("keras_bert_tiny_learning_phase_tf115"), 4);
}

#[test]
fn an_export_without_changes_is_byte_identical() {
    let folder = tempfile::tempdir().unwrap();
    for (file, _, imported) in frozen() {
        let to = folder.path().join("same.pb");
        formats::write(&imported, &GraphPatch::default(), &to).unwrap();
        assert!(std::fs::read(&file).unwrap() == std::fs::read(&to).unwrap(), "{}", file.display());
    }
}

#[test]
fn tuned_constants_replace_the_old_ones_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    for (file, case, imported) in frozen() {
        let mut patch = GraphPatch::default();
        for trainable in case["trainables"].as_array().unwrap() {
            let id = imported.graph.node_named(trainable["name"].as_str().unwrap()).unwrap();
            let old = imported.graph.constant(id).unwrap().payload.load().unwrap();
            let new = old.to_f64s().unwrap().into_iter().map(|v| v + 0.25);
            // Trained in double precision: written in the file's own type.
            patch
                .constants
                .insert(imported.graph.node(id).key.clone(), Tensor::from_f64s(DType::F64, old.shape(), new));
        }
        let to = folder.path().join("tuned.pb");
        formats::write(&imported, &patch, &to).unwrap();
        let written = formats::open(&to).unwrap();
        for (old, new) in imported.graph.nodes.iter().zip(&written.graph.nodes) {
            assert_eq!((&old.key, &old.op, &old.inputs), (&new.key, &new.op, &new.inputs));
            let (Some(a), Some(b)) = (&old.constant, &new.constant) else { continue };
            let same = a.payload.load().unwrap() == b.payload.load().unwrap();
            assert_eq!(same, !patch.constants.contains_key(&old.key), "{} in {}", old.key, file.display());
        }
        // Back to the old values: only the encoding of the value may differ from the original.
        let mut back = GraphPatch::default();
        for key in patch.constants.keys() {
            let id = imported.graph.node_named(key.as_str()).unwrap();
            back.constants.insert(key.clone(), imported.graph.constant(id).unwrap().payload.load().unwrap());
        }
        let same = folder.path().join("back.pb");
        formats::write(&imported, &back, &same).unwrap();
        assert!(std::fs::read(&file).unwrap() == std::fs::read(&same).unwrap(), "{}", file.display());
    }
}

#[test]
fn bypassed_dropout_leaves_a_graph_without_samplers() {
    let folder = tempfile::tempdir().unwrap();
    let mut n_sites = 0;
    for (file, case, imported) in frozen() {
        let key = |v: &Value| ValueKey::new(v.as_str().unwrap());
        let sites = case["dropout_sites"].as_array().unwrap();
        let pairs: Vec<_> = sites.iter().map(|s| (key(&s["input"]), key(&s["output"]))).collect();
        let mut patch = GraphPatch::default();
        let done = bypass_dropout::bypass(&mut patch, &imported.graph, imported.dialect(), &pairs);
        assert!(done.iter().all(|d| *d), "{}", file.display());
        n_sites += pairs.len();
        let to = folder.path().join("clean.pb");
        formats::write(&imported, &patch, &to).unwrap();
        let written = formats::open(&to).unwrap();
        assert!(written.diagnostics.is_empty(), "{:?}", written.diagnostics);
        assert_eq!(written.graph.nodes.len(), imported.graph.nodes.len() - patch.removed.len());
        assert!(patch.removed.is_empty() == pairs.is_empty(), "{}", file.display());
        if !pairs.is_empty() {
            let gone = ["RandomUniform", "Merge", "Switch", "If", "StatelessIf"];
            assert_eq!(count(&written.graph, |n| gone.contains(&n.op.as_str())), 0, "{}", file.display());
        }
        for output in case["outputs"].as_array().unwrap() {
            assert!(written.graph.value_named(output["name"].as_str().unwrap()).is_some(), "{}", file.display());
        }
    }
    assert!(n_sites >= 10);
}

#[test]
fn text_reads_like_the_binary_form() {
    let (folder, case) = models().into_iter().find(|(_, c)| c["format"] == "tf_graphdef_text").unwrap();
    let imported = formats::open(&folder.join(case["model"].as_str().unwrap())).unwrap();
    assert_eq!(case["graph"]["nodes"], imported.graph.nodes.len() as u64);
    assert!(
        imported.diagnostics.iter().all(|d| d.severity == regraft::base::Severity::Info),
        "{:?}",
        imported.diagnostics
    );
    let spelled = lower::spell(&imported.graph, imported.dialect());
    assert_eq!(verify::verify(&spelled.program), Vec::<String>::new());
    let out = tempfile::tempdir().unwrap();
    let to = out.path().join("binary.pb");
    formats::write(&imported, &GraphPatch::default(), &to).unwrap();
    let binary = formats::open(&to).unwrap();
    assert_eq!(binary.format, "tensorflow-graphdef");
    for (a, b) in imported.graph.constants().zip(binary.graph.constants()) {
        assert_eq!(a.1.payload.load().unwrap(), b.1.payload.load().unwrap());
    }
}

#[test]
fn the_open_file_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let (file, _, _) = frozen().remove(0);
    let copy = folder.path().join("model.pb");
    std::fs::copy(file, &copy).unwrap();
    let imported = formats::open(&copy).unwrap();
    assert!(formats::write(&imported, &GraphPatch::default(), &copy).is_err());
}

fn open_bytes(bytes: Vec<u8>) -> Result<Imported, OpenError> {
    formats::open_source(Source::from_memory("model.pb", bytes, Default::default()), Path::new("model.pb"))
}

/// Whatever opens must also spell, and whatever does not must say where.
fn survive(bytes: Vec<u8>) {
    match open_bytes(bytes) {
        Ok(imported) => {
            let spelled = lower::spell(&imported.graph, imported.dialect());
            assert_eq!(verify::verify(&spelled.program), Vec::<String>::new());
            for (_, constant) in imported.graph.constants() {
                if constant.payload.byte_len() < 1 << 20 {
                    let _ = constant.payload.load();
                    let _ = constant.payload.all_equal();
                }
            }
        }
        Err(e) => assert!(!e.to_string().is_empty()),
    }
}

#[test]
fn truncated_files_say_so() {
    let mut n_errors = 0;
    for (file, _, _) in frozen() {
        let bytes = std::fs::read(file).unwrap();
        for i in 0..40 {
            let cut = bytes[..bytes.len() * i / 40].to_vec();
            n_errors += usize::from(open_bytes(cut.clone()).is_err());
            survive(cut);
        }
    }
    assert!(n_errors > 100, "{n_errors}");
    let error = open_bytes(Vec::new()).unwrap_err().to_string();
    assert!(error.contains("empty"), "{error}");
}

#[test]
fn flipped_bits_do_no_harm() {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for (file, _, _) in frozen() {
        let bytes = std::fs::read(file).unwrap();
        for _ in 0..60 {
            let mut damaged = bytes.clone();
            for _ in 0..1 + next() % 8 {
                let at = (next() % damaged.len() as u64) as usize;
                damaged[at] ^= 1 << (next() % 8);
            }
            survive(damaged);
        }
    }
}

#[test]
fn other_files_are_refused_by_name() {
    let error = open_bytes(b"hello, this is a letter".to_vec()).unwrap_err().to_string();
    assert!(error.contains("model.pb") && error.contains("TensorFlow graph"), "{error}");
}
