//! What each kind of model can be written as: what is offered works and opens again, what is not says why.

use std::path::{Path, PathBuf};

use regraft::base::Reporter;
use regraft::formats::targets::{self, TargetKind};
use regraft::session::Session;
use regraft::session::export::{self, Export};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// A model and the kinds, besides weights, that it cannot be written as.
const CASES: &[(&str, &[&str])] = &[
    ("models/mlp_mnist_like/model.pb", &["saved-model", "checkpoint", "onnx"]),
    ("models/saved_model_objects/model", &["onnx"]),
    ("models/ckpt_partitioned_adam", &["saved-model", "onnx"]),
    ("models/onnx_lstm/model.onnx", &["frozen", "text", "saved-model", "checkpoint"]),
    ("folders/bert_sequence", &["saved-model", "checkpoint", "onnx"]),
    ("folders/google_bert", &["saved-model", "onnx"]),
];

#[test]
fn every_kind_that_is_offered_is_written_and_opens_again() {
    for (name, out_of_reach) in CASES {
        let session = Session::open(&fixture(name)).unwrap();
        let all = targets::all(&session.model.imported);
        assert_eq!(all[0].kind, TargetKind::Own, "{name}");
        let refused: Vec<&str> = all.iter().filter(|t| t.why_not.is_some()).map(|t| t.kind.name()).collect();
        assert_eq!(&refused[..], *out_of_reach, "{name}");
        let folder = tempfile::tempdir().unwrap();
        // A folder's kind is refused by its offer alone: a path without an ending asks for the model's own kind.
        for target in all.iter().filter(|t| t.why_not.is_none() || !t.ending.is_empty()) {
            let to = target.path(&folder.path().join(format!("written-{}", target.kind.name())));
            let export = Export {
                session: &session,
                constants: Vec::new(),
                remove_dropout: false,
                all_weights: false,
                merge_adapters: false,
                verify: false,
            };
            let result = export::write(&export, &to, &mut Reporter::default());
            assert_eq!(result.is_err(), target.why_not.is_some(), "{name} as {}: {result:?}", target.kind.name());
            let is_weights = matches!(target.kind, TargetKind::Safetensors | TargetKind::Npz);
            // A checkpoint without the folder of its configuration is values without a graph.
            let is_bare = target.kind == TargetKind::Checkpoint && session.model.imported.is_built();
            match &result {
                Err(e) => {
                    assert!(e.to_string().contains(target.why_not.as_deref().unwrap_or_default()), "{name}: {e}");
                }
                Ok(_) if !is_weights && !is_bare => {
                    let there = [to.clone(), PathBuf::from(format!("{}.meta", to.display()))];
                    let file =
                        there.iter().find(|p| p.exists()).unwrap_or_else(|| panic!("{name}: {to:?} is not there"));
                    Session::open(file).unwrap_or_else(|e| panic!("{name} as {}: {e}", target.kind.name()));
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_path_says_which_kind_is_meant() {
    for (path, want) in [
        ("a/tuned.pb", Some("frozen")),
        ("a/tuned.prototxt", Some("text")),
        ("a/model/saved_model.pb", Some("saved-model")),
        ("a/model.CKPT", Some("checkpoint")),
        ("a/model", None),
    ] {
        assert_eq!(targets::of_path(Path::new(path)).map(TargetKind::name), want, "{path}");
    }
    assert!(TargetKind::ALL.iter().all(|k| TargetKind::named(k.name()) == Some(*k)));
}
