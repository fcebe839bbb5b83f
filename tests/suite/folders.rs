//! Folders that hold weights and a configuration but no graph: the numbers of PyTorch, damaged folders, and the way
//! back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use regraft::base::Reporter;
use regraft::formats;
use regraft::graph::GraphPatch;
use regraft::session::compute::{Ask, Gradients, Mode};
use regraft::session::recipe::{DataChoice, Objective};
use regraft::session::recipe::{Recipe, SitePolicy, TrainableChoice};
use regraft::session::weights::{self, WeightsChoice};
use regraft::session::{Change, EditStep, Selector, Session, feeds, plan, tables, training};
use regraft::tensor::{DType, Tensor, io};

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
        trainable: TrainableChoice { include: vec![Selector::All, Selector::Suggested], exclude: Vec::new() },
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

/// Copies a case into a new folder, so that it can be damaged.
fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(root().join(name)).unwrap().map(|e| e.unwrap().path()) {
        std::fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
    }
    folder
}

fn error(path: &Path) -> String {
    formats::open(path).err().unwrap_or_else(|| panic!("{} opened", path.display())).to_string()
}

#[test]
fn dropout_sites_have_the_configured_rates() {
    for (name, n_sites) in
        [("bert_sequence", 1 + 2 * 3 + 1), ("distilbert_sequence", 1 + 2 * 2 + 1), ("google_bert", 8)]
    {
        let session = Session::open(&root().join(name)).unwrap();
        let understood = session.understand().unwrap();
        let sites = &understood.base.sites;
        assert_eq!(sites.len(), n_sites, "{name}");
        let rates: Vec<f64> = sites.iter().map(|s| s.rate.unwrap()).collect();
        assert!(rates.iter().all(|r| *r == 0.1 || *r == 0.2), "{rates:?} in {name}");
        // Every weight trains, nothing else does.
        let weights = session
            .model
            .graph()
            .constants()
            .filter(|(_, c)| matches!(c.origin, regraft::graph::ConstantOrigin::Variable { .. }));
        let suggested = understood.base.roles.iter().filter(|r| r.suggest).count();
        assert_eq!(suggested, weights.count(), "{name}");
    }
}

#[test]
fn a_folder_without_changes_comes_back_as_it_was() {
    let out = tempfile::tempdir().unwrap();
    for (folder, _) in cases() {
        let imported = formats::open(&folder).unwrap();
        let to = out.path().join(folder.file_name().unwrap());
        formats::write(&imported, &GraphPatch::default(), &to).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        for file in std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()) {
            let copy = std::fs::read(to.join(file.file_name().unwrap())).unwrap();
            assert!(copy == std::fs::read(&file).unwrap(), "{}", file.display());
        }
        // A folder that is there already is not written over.
        assert!(formats::write(&imported, &GraphPatch::default(), &to).is_err());
    }
}

#[test]
fn tuned_weights_come_back_under_their_names() {
    let out = tempfile::tempdir().unwrap();
    for name in ["bert_pretraining_sharded", "bert_half", "google_bert", "roberta_tokens"] {
        let imported = formats::open(&root().join(name)).unwrap();
        let mut patch = GraphPatch::default();
        let is_weight = |c: &regraft::graph::Constant| {
            matches!(c.origin, regraft::graph::ConstantOrigin::Variable { .. }) && c.payload.shape.len() == 2
        };
        for (id, constant) in imported.graph.constants().filter(|(_, c)| is_weight(c)) {
            let old = constant.payload.load().unwrap();
            let new = old.to_f64s().unwrap().into_iter().map(|v| (v * 2.0 + 1.0).round() / 4.0);
            let key = imported.graph.node(id).key.clone();
            patch.constants.insert(key, Tensor::from_f64s(DType::F32, old.shape(), new));
        }
        assert!(patch.constants.len() > 10);
        let to = out.path().join(name);
        formats::write(&imported, &patch, &to).unwrap();
        let written = formats::open(&to).unwrap();
        for (old, new) in imported.graph.nodes.iter().zip(&written.graph.nodes) {
            let (Some(a), Some(b)) = (&old.constant, &new.constant) else { continue };
            let (a, b) = (a.payload.load().unwrap(), b.payload.load().unwrap());
            assert_eq!(a.dtype(), b.dtype(), "{}", old.key);
            match patch.constants.get(&old.key) {
                Some(tuned) => assert_eq!(tuned.to_f64s(), b.to_f64s(), "{}", old.key),
                None => assert_eq!(a, b, "{}", old.key),
            }
        }
    }
}

#[test]
fn a_frozen_graph_of_a_folder_computes_the_same() {
    let out = tempfile::tempdir().unwrap();
    for (folder, golden) in cases() {
        let to = out.path().join("frozen.pb");
        formats::write(&formats::open(&folder).unwrap(), &GraphPatch::default(), &to).unwrap();
        let frozen = formats::open(&to).unwrap();
        assert_eq!(frozen.format, "tensorflow-graphdef");
        let names: Vec<String> = golden["out"].keys().cloned().collect();
        for (name, got) in names.iter().zip(outputs(&to, &golden["in"], &names)) {
            let off = worst(&got, &golden["out"][name]);
            assert!(off <= 1e-5, "{name} of {} is {off:e} off", folder.display());
        }
    }
}

#[test]
fn what_cannot_be_opened_is_named_with_advice() {
    let folder = copy("bert_sequence");
    let at = folder.path();
    let config = std::fs::read_to_string(at.join("config.json")).unwrap();
    let with = |from: &str, to: &str| {
        assert!(config.contains(from), "{from}");
        std::fs::write(at.join("config.json"), config.replace(from, to)).unwrap();
        let said = error(at);
        std::fs::write(at.join("config.json"), &config).unwrap();
        said
    };
    let said = with(r#""model_type": "bert""#, r#""model_type": "gpt_neox""#);
    assert!(said.contains("gpt_neox") && said.contains("distilbert") && said.contains("electra"), "{said}");
    let said = with(r#""num_attention_heads": 2"#, r#""num_attention_heads": 3"#);
    assert!(said.contains("3 attention heads"), "{said}");
    let said = with(r#""hidden_size": 8"#, r#""hidden_size": 16"#);
    assert!(said.contains("word_embeddings.weight has shape [28, 8]"), "{said}");
    let said = with(r#""num_hidden_layers": 2"#, r#""num_hidden_layers": 3"#);
    assert!(said.contains("there is no bert.encoder.layer.2"), "{said}");
    let said = with(r#""num_hidden_layers": 2"#, r#""num_hidden_layers": 4000000000"#);
    assert!(said.contains("num_hidden_layers"), "{said}");
    let said = with(r#""hidden_act": "gelu""#, r#""hidden_act": "mystery""#);
    assert!(said.contains("mystery") && said.contains("gelu_new"), "{said}");
    let said = with(r#""is_decoder": false"#, r#""is_decoder": true"#);
    assert!(said.contains("decoder"), "{said}");
    std::fs::rename(at.join("model.safetensors"), at.join("pytorch_model.bin")).unwrap();
    let said = error(at);
    assert!(said.contains("pytorch_model.bin") && said.contains("save_pretrained"), "{said}");
    std::fs::remove_file(at.join("pytorch_model.bin")).unwrap();
    assert!(error(at).contains("there is no model.safetensors"));
    let folder = copy("google_bert");
    std::fs::remove_file(folder.path().join("bert_model.ckpt.index")).unwrap();
    assert!(error(folder.path()).contains("bert_model.ckpt.index"));
}

#[test]
fn shards_outside_the_folder_are_refused() {
    let folder = copy("bert_pretraining_sharded");
    let at = folder.path();
    let index = at.join("model.safetensors.index.json");
    let text = std::fs::read_to_string(&index).unwrap();
    let first = "model-00001-of-00003.safetensors";
    for evil in ["../model.safetensors", "/etc/hostname", "sub/../../x.safetensors"] {
        std::fs::write(&index, text.replace(first, evil)).unwrap();
        let said = error(at);
        assert!(said.contains("could not be opened"), "{said}");
    }
    std::fs::write(&index, &text).unwrap();
    assert!(formats::open(at).is_ok());
    #[cfg(unix)]
    {
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::fs::copy(at.join(first), outside.path()).unwrap();
        std::fs::remove_file(at.join(first)).unwrap();
        std::os::unix::fs::symlink(outside.path(), at.join(first)).unwrap();
        let said = error(at);
        assert!(said.contains("link out of the folder"), "{said}");
        std::fs::remove_file(at.join(first)).unwrap();
    }
    assert!(error(at).contains(first), "a missing shard is named");
}

#[test]
fn damaged_weights_and_configurations_do_no_harm() {
    let folder = copy("bert_sequence");
    let at = folder.path();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % n as u64) as usize
    };
    for name in ["model.safetensors", "config.json"] {
        let good = std::fs::read(at.join(name)).unwrap();
        for i in 0..150 {
            let mut bad = good.clone();
            if i < 50 {
                bad.truncate(good.len() * i / 50);
            } else {
                // The header is where a flipped bit can do harm.
                let at = next(good.len().min(if i % 2 == 0 { 16 } else { 6000 }));
                bad[at] ^= 1 << next(8);
            }
            std::fs::write(at.join(name), &bad).unwrap();
            match formats::open(at) {
                Ok(imported) => imported.graph.constants().for_each(|(_, c)| drop(c.payload.load())),
                Err(e) => assert!(!e.to_string().is_empty()),
            }
        }
        std::fs::write(at.join(name), &good).unwrap();
    }
    assert!(formats::open(at).is_ok());
}

/// A session on a case with weights from a file, and its outputs.
fn loaded(case: &str, choice: WeightsChoice, golden: &BTreeMap<String, BTreeMap<String, Tensor>>) -> Vec<Tensor> {
    let mut session = session(&root().join(case));
    assert!(session.apply(&Change::AddEdits(vec![EditStep::LoadWeights(choice)]), None));
    let understood = session.understand().unwrap();
    let names: Vec<String> = golden["out"].keys().cloned().collect();
    let (fetches, _) = understood.fetches(&names).unwrap();
    let arrays = golden["in"].iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    let feeds = feeds::resolve(&understood.names().unwrap(), arrays, &mut Reporter::default()).unwrap();
    understood.compute(&Ask { mode: Mode::Eval, fetches, feeds, ..Ask::default() }).unwrap().outputs
}

#[test]
fn weights_load_by_name_and_leave_a_report() {
    let out = tempfile::tempdir().unwrap();
    let (_, golden) = cases().into_iter().find(|(f, _)| f.ends_with("bert_sequence")).unwrap();
    let bias = Tensor::from_slice(&[3], &[1.0f32, -2.0, 3.0]);
    let wrong = Tensor::from_slice(&[2], &[1.0f32, 2.0]);
    for extension in ["npz", "safetensors"] {
        let file = out.path().join(format!("some.{extension}"));
        io::write(&file, [("classifier.bias", &bias), ("bert.pooler.dense.bias", &wrong), ("other", &wrong)]).unwrap();
        let graph = formats::open(&root().join("bert_sequence")).unwrap().graph;
        let file = file.to_string_lossy().into_owned();
        let choice = WeightsChoice { file, ..WeightsChoice::default() };
        let (values, report) = weights::load(&graph, &choice).unwrap();
        assert_eq!((values.len(), report.matched.len(), report.misfits.len()), (1, 1, 1));
        assert!(report.misfits[0].why.contains("[2]") && report.misfits[0].why.contains("[8]"), "{report:?}");
        assert_eq!(report.unused, ["other"]);
        assert!(report.missed.len() > 30 && report.missed.iter().any(|m| m == "classifier.weight"));
        let at = golden["out"].keys().position(|k| k == "logits").unwrap();
        let got = loaded("bert_sequence", choice, &golden).swap_remove(at).to_f64s().unwrap();
        let imported = formats::open(&root().join("bert_sequence")).unwrap();
        let old = imported.graph.constant(imported.graph.node_named("classifier.bias").unwrap()).unwrap();
        let old = old.payload.load().unwrap().to_f64s().unwrap();
        let want = golden["out"]["logits"].to_f64s().unwrap();
        for (i, (got, want)) in got.iter().zip(want).enumerate() {
            let want = want - old[i % 3] + f64::from(bias.as_slice::<f32>()[i % 3]);
            assert!((got - want).abs() < 1e-5, "{got} instead of {want}");
        }
    }
}

/// PyTorch's arrays go into the graph over TensorFlow's names and the other way around, by convention and by a mapping.
#[test]
fn weights_of_the_other_framework_fit() {
    let find = |name: &str| cases().into_iter().find(|(f, _)| f.ends_with(name)).unwrap().1;
    let zeros = |name: &str, out: &Path| {
        // The same folder without its values: what is loaded must come from the other one.
        let imported = formats::open(&root().join(name)).unwrap();
        let mut patch = GraphPatch::default();
        for (id, c) in
            imported.graph.constants().filter(|(_, c)| !c.payload.shape.is_empty() && c.payload.dtype.is_float())
        {
            patch.constants.insert(imported.graph.node(id).key.clone(), Tensor::zeros(DType::F32, &c.payload.shape));
        }
        formats::write(&imported, &patch, out).unwrap();
    };
    let out = tempfile::tempdir().unwrap();
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let (torch, tensorflow) = ("discriminator_predictions.dense_prediction", "discriminator_predictions/dense_1");
    let torch_map = map(&[
        (&format!("{torch}.weight"), &format!("{tensorflow}/kernel^T")),
        (&format!("{torch}.bias"), &format!("{tensorflow}/bias")),
    ]);
    let tensorflow_map = map(&[
        (&format!("{tensorflow}/kernel"), &format!("{torch}.weight^T")),
        (&format!("{tensorflow}/b*"), &format!("{torch}.b*")),
    ]);
    for (to, from, map, golden) in [
        ("electra_discriminator", "google_electra/electra_tiny", torch_map, find("electra_discriminator")),
        ("google_electra", "electra_discriminator/model.safetensors", tensorflow_map, find("google_electra")),
    ] {
        let empty = out.path().join(to);
        zeros(to, &empty);
        let file = root().join(from).to_string_lossy().into_owned();
        let choice = WeightsChoice { file, map };
        let graph = formats::open(&empty).unwrap().graph;
        let (_, report) = weights::load(&graph, &choice).unwrap();
        assert_eq!((report.missed.len(), report.misfits.len(), report.unused.len()), (0, 0, 0), "{report:?}");
        let turned = report.matched.iter().filter(|m| m.transposed).count();
        assert!(turned > 10, "{turned}");
        let case = empty.to_string_lossy().into_owned();
        for ((name, want), got) in golden["out"].iter().zip(loaded(&case, choice, &golden)) {
            let off = worst(&got, want);
            assert!(off <= 1e-5, "{name} of {to} is {off:e} off");
        }
    }
}

#[test]
fn a_missing_or_foreign_file_of_weights_is_left_out_with_a_warning() {
    for file in ["nowhere.safetensors", "Cargo.toml"] {
        let mut session = session(&root().join("bert_sequence"));
        let choice = WeightsChoice { file: file.to_owned(), ..WeightsChoice::default() };
        session.apply(&Change::AddEdits(vec![EditStep::LoadWeights(choice)]), None);
        let understood = session.understand().unwrap();
        let said: Vec<_> = understood.base.diagnostics.iter().filter(|d| d.code == "edit-not-applied").collect();
        assert_eq!(said.len(), 1, "{:?}", understood.base.diagnostics);
        assert!(said[0].message.contains(file), "{}", said[0].message);
    }
}

#[test]
fn texts_are_tokenized_by_the_file_beside_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("train.tsv");
    let rows: Vec<String> =
        (0..12).map(|i| format!("{}\t{}", "abcdef".repeat(1 + i % 3), ["yes", "no", "maybe"][i % 3])).collect();
    std::fs::write(&table, format!("text\tlabel\n{}\n", rows.join("\n"))).unwrap();
    for case in ["bert_sequence", "google_bert"] {
        let mut session = Session::open(&root().join(case)).unwrap();
        let data = DataChoice {
            train: table.to_string_lossy().into_owned(),
            text: vec!["text".to_owned()],
            label: Some("label".to_owned()),
            ..DataChoice::default()
        };
        let objective: Objective = serde_json::from_str(
            r#"{"kind": "attached", "loss": "softmax-cross-entropy", "on": "logits", "labels": "labels"}"#,
        )
        .unwrap();
        session.apply(&Change::SetData(Some(data)), None);
        session.apply(&Change::SetObjective(Some(objective)), None);
        let mut said = Reporter::default();
        let job = tables::job(&session, training::Start::default(), &mut said);
        assert!(job.is_ok(), "{case}: {:?}", job.err());
        // The classifier was trained already: its outputs mean what its configuration says.
        let data = regraft::data::DataSet::open(&table, Some("label"), false).unwrap();
        let plan = plan::DataPlan::new(Arc::new(session.understand().unwrap()), &data, &mut said).unwrap();
        let labels = plan.labels(&data, &mut said).unwrap().unwrap();
        let own = ["no", "maybe", "yes"];
        let sorted = ["maybe", "no", "yes"];
        assert_eq!(labels.names(), if case == "bert_sequence" { own } else { sorted });
        let codes: Vec<&str> = said.diagnostics().iter().map(|d| d.code.as_str()).collect();
        assert!(codes.contains(&"tokenizer-beside"), "{codes:?}");
    }
}

#[test]
fn a_tokenizer_that_cannot_be_read_is_named() {
    let folder = copy("roberta_tokens");
    std::fs::write(folder.path().join("merges.txt"), "#version: 0.2\n").unwrap();
    let imported = formats::open(folder.path()).unwrap();
    assert_eq!(imported.assets.tokenizer, None);
    let said = imported.diagnostics.iter().find(|d| d.code == "tokenizer-unread").expect("a message");
    assert!(said.message.contains("merges.txt") && said.message.contains("tokenizer.json"), "{}", said.message);
}

#[test]
fn damaged_release_folders_do_no_harm() {
    let folder = copy("google_bert");
    let at = folder.path();
    let (mut n_errors, mut n_unread) = (0, 0);
    for name in ["bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001", "bert_config.json"] {
        let good = std::fs::read(at.join(name)).unwrap();
        for i in 0..60 {
            let mut bad = good.clone();
            if i < 30 {
                bad.truncate(good.len() * i / 30);
            } else {
                let place = good.len() * (i - 30) / 30;
                bad[place] ^= 1 << (i % 8);
            }
            std::fs::write(at.join(name), &bad).unwrap();
            match formats::open(at) {
                Ok(m) => n_unread += m.graph.constants().filter(|(_, c)| c.payload.load().is_err()).count(),
                Err(e) => {
                    assert!(!e.to_string().is_empty());
                    n_errors += 1;
                }
            }
        }
        std::fs::write(at.join(name), &good).unwrap();
    }
    // A flipped bit of a value is told by its checksum.
    assert!(n_errors > 60 && n_unread > 10, "{n_errors} {n_unread}");
    assert!(formats::open(at).is_ok());
}

/// A head that was grafted on a folder's model: its weights are further arrays of the folder, the graph with it stands
/// beside, and both hold the same numbers.
#[test]
fn a_head_is_written_into_the_folder() {
    use regraft::edits::heads::HeadChoice;
    use regraft::session::export::{self, Export};
    let temp = tempfile::tempdir().unwrap();
    for name in ["bert_sequence", "bert_pretraining_sharded", "google_bert"] {
        let from = root().join(name);
        let mut session = Session::open(&from).unwrap();
        let head = HeadChoice { classes: Some(3), seed: 5, ..HeadChoice::new("classifier") };
        let recipe = Change::AddEdits(vec![EditStep::GraftHead(head)]).apply(session.recipe());
        session.replace_recipe(recipe).unwrap();
        let bias = Tensor::from_slice(&[3], &[0.25f32, -1.0, 2.0]);
        let mut reporter = Reporter::default();
        let export = Export {
            session: &session,
            constants: vec![("head/bias".to_owned(), bias.clone())],
            remove_dropout: true,
            all_weights: false,
            merge_adapters: false,
            verify: true,
        };
        let to = temp.path().join(name);
        let written = export::write(&export, &to, &mut reporter).unwrap();
        assert!(written.largest_difference.is_some_and(|d| d < 1e-6), "{name}: {written:?} {reporter:?}");
        let folder = formats::open(&to).unwrap();
        assert_eq!(folder.format, formats::open(&from).unwrap().format);
        assert!(folder.diagnostics.iter().any(|d| d.code == "graph-beside"), "{name}");
        let arrays = formats::named::of_folder(&folder).unwrap();
        assert!(arrays["head/bias"].load().unwrap() == bias, "{name}");
        let old = formats::named::of_folder(&formats::open(&from).unwrap()).unwrap();
        assert_eq!(arrays.len(), old.len() + 2, "{name}");
        for (key, payload) in &old {
            assert!(payload.load().unwrap() == arrays[key].load().unwrap(), "{name}: {key}");
        }
        let graph = formats::open(&to.join("model.pb")).unwrap().graph;
        let kernel = graph.constant(graph.node_named("head/kernel").unwrap()).unwrap().payload.load().unwrap();
        assert!(kernel == arrays["head/kernel"].load().unwrap(), "{name}");
    }
}
