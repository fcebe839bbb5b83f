//! ONNX files: golden outputs, dropout, damaged copies, exports, values in other files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regraft::engine::{Bindings, ConstantStore, Control, Executable, Workspace};
use regraft::formats::source::Bytes;
use regraft::formats::{self, Imported, Source};
use regraft::graph::{Attr, GraphPatch, NodeKey, NodeKind, ValueKey};
use regraft::lower::spell;
use regraft::program::{Random, verify};
use regraft::recognize::dropout;
use regraft::specialise::{DropoutPolicy, FeedSpec, Mode, Request, specialise};
use regraft::tensor::{Tensor, io};
use serde_json::Value;

fn cases() -> Vec<(PathBuf, Value, Imported)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root).unwrap().map(|e| e.unwrap().path()).collect();
    folders.sort();
    let mut out = Vec::new();
    for folder in folders {
        let case: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("case.json")).unwrap()).unwrap();
        if case["format"] == "onnx" {
            let imported = formats::open(&folder.join(case["model"].as_str().unwrap())).unwrap();
            out.push((folder, case, imported));
        }
    }
    assert!(out.len() >= 8);
    out
}

fn named(name: &str) -> (PathBuf, Value, Imported) {
    cases().into_iter().find(|(f, ..)| f.ends_with(name)).unwrap()
}

/// Outputs with all dropout off.
fn outputs(imported: &Imported, inputs: &Path, names: &[&str]) -> Vec<Tensor> {
    let spelled = spell(&imported.graph, imported.dialect());
    assert!(verify::verify(&spelled.program).is_empty(), "{:?}", verify::verify(&spelled.program));
    let sites = dropout::find(&spelled.program);
    let arrays = io::read(inputs).unwrap();
    let fed = spelled.program.feeds.iter().filter_map(|f| Some((f.value, arrays.get(&f.name)?.clone())));
    let fed: Vec<_> = fed.collect();
    let spec = |(value, t): &(_, Tensor)| FeedSpec {
        value: *value,
        dtype: t.dtype(),
        dims: t.shape().into(),
        tensor: Some(t.clone()),
    };
    let request = Request {
        mode: Mode::Eval,
        fetches: names.iter().map(|n| spelled.values[&ValueKey::new(n)]).collect(),
        feeds: fed.iter().map(spec).collect(),
        pins: Vec::new(),
        dropout: vec![DropoutPolicy::Off; sites.len()],
    };
    let special = specialise(&spelled.program, &sites, &request).unwrap();
    let bound: Vec<Tensor> = special
        .program
        .feeds
        .iter()
        .map(|f| {
            let old = special.feeds.iter().find(|(_, new)| *new == f.value).unwrap().0;
            fed.iter().find(|(v, _)| *v == old).unwrap().1.clone()
        })
        .collect();
    let executable = Executable::new(special.program, &[], &mut ConstantStore::default()).unwrap();
    let mut space = Workspace::default();
    let bind = Bindings { feeds: &bound, params: &[], random: Random::default() };
    executable.run(&mut space, &bind, Control::default()).unwrap();
    (0..names.len()).map(|i| executable.output_tensor(&space, i)).collect()
}

fn worst(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.shape(), b.shape());
    let (a, b) = (a.to_f64s().unwrap(), b.to_f64s().unwrap());
    a.iter().zip(&b).map(|(x, y)| (x - y).abs() / y.abs().max(1.0)).fold(0.0, f64::max)
}

fn output_names(case: &Value) -> Vec<&str> {
    case["outputs"].as_array().unwrap().iter().map(|o| o["name"].as_str().unwrap()).collect()
}

#[test]
fn outputs_are_those_of_onnx_runtime() {
    for (folder, case, imported) in cases() {
        let want = io::read(&folder.join("outputs.npz")).unwrap();
        let names = output_names(&case);
        for (got, name) in outputs(&imported, &folder.join("inputs.npz"), &names).iter().zip(&names) {
            let error = worst(got, &want[*name]);
            assert!(error < 1e-4, "{name} in {}: {error}", folder.display());
        }
    }
}

#[test]
fn constants_keep_names_and_shapes() {
    for (folder, case, imported) in cases() {
        let errors = imported.diagnostics.iter().map(|d| &d.message).collect::<Vec<_>>();
        assert!(errors.is_empty(), "{}: {errors:?}", folder.display());
        for trainable in case["trainables"].as_array().unwrap() {
            let id = imported.graph.node_named(trainable["name"].as_str().unwrap()).expect("a trainable constant");
            let payload = &imported.graph.constant(id).expect("a constant").payload;
            let shape: Vec<usize> = serde_json::from_value(trainable["shape"].clone()).unwrap();
            assert_eq!(payload.load().unwrap().shape(), shape);
        }
        assert!(imported.graph.signatures[0].outputs.len() >= output_names(&case).len());
    }
}

#[test]
fn dropout_is_recognised_in_every_form() {
    for (folder, case, imported) in cases() {
        let found = dropout::find(&spell(&imported.graph, imported.dialect()).program);
        let want = case["dropout_sites"].as_array().cloned().unwrap_or_default();
        assert_eq!(found.len(), want.len(), "{}", folder.display());
        for (site, want) in found.iter().zip(&want) {
            assert_eq!(site.input_key.as_str(), want["input"], "{}", folder.display());
            assert_eq!(site.output_key.as_str(), want["output"], "{}", folder.display());
            let rate = site.rate.unwrap_or(f64::NAN);
            assert!((rate - want["rate"].as_f64().unwrap()).abs() < 1e-6, "{rate} in {}", folder.display());
        }
    }
}

#[test]
fn an_export_without_changes_is_identical() {
    for (folder, case, imported) in cases() {
        let original = std::fs::read(folder.join(case["model"].as_str().unwrap())).unwrap();
        let target = tempfile::tempdir().unwrap();
        let path = target.path().join("copy.onnx");
        formats::write(&imported, &GraphPatch::default(), &path).unwrap();
        assert_eq!(original, std::fs::read(&path).unwrap(), "{}", folder.display());
        let copy = formats::open(&path).unwrap();
        let names = output_names(&case);
        let inputs = folder.join("inputs.npz");
        assert_eq!(outputs(&imported, &inputs, &names), outputs(&copy, &inputs, &names));
    }
}

#[test]
fn tuned_values_come_back() {
    for (folder, case, imported) in cases() {
        let mut patch = GraphPatch::default();
        for trainable in case["trainables"].as_array().unwrap() {
            let name = trainable["name"].as_str().unwrap();
            let id = imported.graph.node_named(name).unwrap();
            let old = imported.graph.constant(id).unwrap().payload.load().unwrap();
            let new = old.to_f64s().unwrap().into_iter().map(|v| v * 0.5 + 0.25);
            patch.constants.insert(NodeKey::new(name), Tensor::from_f64s(old.dtype(), old.shape(), new));
        }
        let target = tempfile::tempdir().unwrap();
        let path = target.path().join("tuned.onnx");
        formats::write(&imported, &patch, &path).unwrap();
        let tuned = formats::open(&path).unwrap();
        assert!(tuned.diagnostics.is_empty(), "{}: {:?}", folder.display(), tuned.diagnostics);
        for (key, want) in &patch.constants {
            let id = tuned.graph.node_named(key.as_str()).unwrap();
            assert_eq!(tuned.graph.constant(id).unwrap().payload.load().unwrap(), *want);
        }
        let ops = |m: &Imported| m.graph.nodes.iter().map(|n| n.op.clone()).collect::<Vec<_>>();
        assert_eq!(ops(&imported), ops(&tuned));
    }
}

#[test]
fn bypassed_dropout_is_gone_from_the_file() {
    for name in ["onnx_dropout_op13_true", "onnx_dropout_op13_graph_input", "onnx_dropout_handmade"] {
        let (folder, case, imported) = named(name);
        let sites = dropout::find(&spell(&imported.graph, imported.dialect()).program);
        let mut patch = GraphPatch::default();
        let left = regraft::edits::bypass_dropout::extend(
            &mut patch,
            &imported.graph,
            imported.dialect(),
            &sites.iter().collect::<Vec<_>>(),
        );
        assert!(left.is_empty() && !patch.removed.is_empty(), "{name}");
        let target = tempfile::tempdir().unwrap();
        let path = target.path().join("clean.onnx");
        formats::write(&imported, &patch, &path).unwrap();
        let clean = formats::open(&path).unwrap();
        assert!(clean.graph.nodes.iter().all(|n| n.op != "Dropout" && n.op != "RandomUniformLike"), "{name}");
        let want = io::read(&folder.join("outputs.npz")).unwrap();
        let names = output_names(&case);
        let got = outputs(&clean, &folder.join("inputs.npz"), &names);
        assert!(worst(&got[0], &want[names[0]]) < 1e-4);
    }
}

/// A generator that gives the same numbers everywhere (xorshift).
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn damaged_copies_do_no_harm() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for (folder, case, _) in cases() {
        let bytes = std::fs::read(folder.join(case["model"].as_str().unwrap())).unwrap();
        for round in 0..24 {
            let mut copy = bytes.clone();
            if round % 3 == 0 {
                copy.truncate(next(&mut state) as usize % bytes.len());
            } else {
                for _ in 0..1 + round % 8 {
                    let at = next(&mut state) as usize % copy.len().min(if round % 2 == 0 { 4096 } else { usize::MAX });
                    copy[at] ^= 1 << (next(&mut state) % 8);
                }
            }
            let source = Source::from_memory("damaged.onnx", copy, BTreeMap::new());
            // Whatever comes out: no panic, and what is spelled is sound.
            if let Ok(imported) = formats::open_source(source, Path::new("damaged.onnx")) {
                let spelled = spell(&imported.graph, imported.dialect());
                assert!(verify::verify(&spelled.program).is_empty());
                dropout::find(&spelled.program);
            }
        }
    }
}

#[test]
fn values_outside_the_folder_are_refused() {
    let (folder, case, imported) = named("onnx_hf_bert_token_external_data");
    let model = std::fs::read(folder.join(case["model"].as_str().unwrap())).unwrap();
    // Without the file beside it, structure is read and each missing value is named.
    let alone = Source::from_memory("m.onnx", model.clone(), BTreeMap::new());
    let read = formats::open_source(alone, Path::new("m.onnx")).unwrap();
    assert_eq!(read.graph.nodes.len(), imported.graph.nodes.len());
    assert!(read.diagnostics.iter().any(|d| d.code == "bad-constant" && d.message.contains("could not be opened")));
    // A file that is too short.
    let name = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let beside = name.filter(|n| !n.ends_with(".onnx") && !n.ends_with(".npz") && !n.ends_with(".json"));
    let siblings = beside.map(|n| (n, Bytes::from_memory(vec![0; 16]))).collect();
    let short = formats::open_source(Source::from_memory("m.onnx", model.clone(), siblings), Path::new("m")).unwrap();
    assert!(short.diagnostics.iter().any(|d| d.code == "bad-constant" && d.message.contains("which has 16")));
    #[cfg(unix)]
    {
        let target = tempfile::tempdir().unwrap();
        let path = target.path().join("model.onnx");
        std::fs::write(&path, &model).unwrap();
        for entry in std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()) {
            if entry.extension().is_some_and(|e| e != "npz" && e != "json" && e != "onnx") {
                std::os::unix::fs::symlink(&entry, target.path().join(entry.file_name().unwrap())).unwrap();
            }
        }
        let linked = formats::open(&path).unwrap();
        assert!(linked.diagnostics.iter().any(|d| d.message.contains("link out of the folder")));
    }
}

#[test]
fn subgraphs_are_functions_whose_captures_are_inputs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/onnx_nodes");
    let mut seen = 0;
    for entry in std::fs::read_dir(root).unwrap().map(|e| e.unwrap().path()) {
        let imported = formats::open(&entry.join("model.onnx")).unwrap();
        let graph = &imported.graph;
        for node in graph.nodes.iter().filter(|n| matches!(n.op.as_str(), "If" | "Loop" | "Scan")) {
            seen += 1;
            let bodies = node.attrs.values().filter_map(|a| if let Attr::Function(f) = a { Some(f) } else { None });
            for body in bodies {
                let body = &graph.functions[body];
                assert!(body.inputs.iter().all(|v| body.node(body.value(*v).producer).kind == NodeKind::Argument));
            }
        }
    }
    assert!(seen >= 3);
}

/// External names that lead elsewhere: absolute, upwards, hidden in the middle. Nothing is read, the value is named.
#[test]
fn external_paths_that_leave_the_folder_are_refused() {
    let (folder, case, _) = named("onnx_hf_bert_token_external_data");
    let model = std::fs::read(folder.join(case["model"].as_str().unwrap())).unwrap();
    let names = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let beside = names.into_iter().find(|n| n.ends_with(".data") || n.ends_with(".bin")).unwrap();
    let outer = tempfile::tempdir().unwrap();
    let inner = outer.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    let pad = |start: &str| format!("{start}{}", "x".repeat(beside.len() - start.len()));
    for evil in [pad("../"), pad("/tmp/"), pad("a/../../")] {
        assert_eq!(evil.len(), beside.len());
        let mut bytes = model.clone();
        let mut n = 0;
        for at in 0..bytes.len() - beside.len() {
            if bytes[at..].starts_with(beside.as_bytes()) {
                bytes[at..at + evil.len()].copy_from_slice(evil.as_bytes());
                n += 1;
            }
        }
        assert!(n > 0);
        // Where the path leads there is a file of the right size.
        if evil.starts_with("../") {
            std::fs::copy(folder.join(&beside), inner.join(&evil)).unwrap();
        }
        std::fs::write(inner.join("m.onnx"), &bytes).unwrap();
        let read = formats::open(&inner.join("m.onnx")).unwrap();
        let refused = read.diagnostics.iter().filter(|d| d.message.contains("could not be opened")).count();
        assert!(refused > 0, "{evil}: {:?}", read.diagnostics);
        let lengths = read.graph.constants().filter(|(_, c)| c.payload.element_count() > 1000).count();
        assert_eq!(lengths, 0, "{evil}: values were read");
    }
}

/// What a model's own file cannot hold goes to a file beside it, and reads back the same.
#[test]
fn tuned_values_beyond_the_limit_go_beside_the_model() {
    let out = tempfile::tempdir().unwrap();
    for name in ["onnx_hf_bert_token_external_data", "onnx_cnn_bn_nchw"] {
        let (_, _, imported) = named(name);
        let mut patch = GraphPatch::default();
        for (id, c) in imported.graph.constants().filter(|(_, c)| c.payload.dtype.is_float()) {
            let old = c.payload.load().unwrap();
            let new = old.to_f64s().unwrap().into_iter().map(|v| v + 0.5);
            let key = imported.graph.node(id).key.clone();
            patch.constants.insert(key, Tensor::from_f64s(old.dtype(), old.shape(), new));
        }
        let to = out.path().join(format!("{name}.onnx"));
        // Less than the values need: of the first model they lay beside it, of the second within it.
        let own = imported.source().bytes.len();
        let limit = if name.ends_with("external_data") { own + 20_000 } else { own * 3 / 4 };
        regraft::formats::onnx::write::write_within(&imported, &patch, &to, limit).unwrap();
        let beside = out.path().join(format!("{name}.onnx.data"));
        assert!(std::fs::metadata(&beside).unwrap().len() > 1024);
        assert!(std::fs::metadata(&to).unwrap().len() < limit);
        let written = formats::open(&to).unwrap();
        for (key, want) in &patch.constants {
            let id = written.graph.node_named(key.as_str()).unwrap();
            assert_eq!(written.graph.constant(id).unwrap().payload.load().unwrap(), *want, "{key}");
        }
        // Nothing is left behind where even that is not enough.
        let small = out.path().join("small.onnx");
        assert!(regraft::formats::onnx::write::write_within(&imported, &patch, &small, 100).is_err());
        assert!(!small.exists() && !out.path().join("small.onnx.data").exists());
    }
}
