//! Heads, freed sizes, adapters, layers, groups and kept results, against TensorFlow's numbers or what must be equal.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use regraft::base::{Reporter, files};
use regraft::data::ArrayFeeds;
use regraft::edits::heads::{HeadChoice, Initializer};
use regraft::graph::NodeKey;
use regraft::session::adapters::Adapter;
use regraft::session::compute::{Ask, Gradients, Mode};
use regraft::session::export::{self, Export};
use regraft::session::recipe::{
    LoraChoice, Objective, ParameterGroup, Recipe, SitePolicy, TrainableChoice, UnbakeChoice,
};
use regraft::session::{Change, EditStep, Selector, Session, Understood, feeds, training};
use regraft::tensor::{DType, Payload, Tensor, io};
use regraft::train::losses::LossOptions;
use regraft::train::{Delivery, Outcome, TrainEvent, Trainer};
use serde_json::Value as Json;

const POOLED: &str = "bert/pooler/dense/Tanh";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn nano() -> PathBuf {
    root().join("models/bert_nano_dynamic_frozen")
}

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("regraft-grafts-{}", std::process::id()));
    files::create_dir_all(&folder).unwrap();
    folder.join(name)
}

fn floats(v: &Json) -> Vec<f64> {
    match v {
        Json::Array(items) => items.iter().flat_map(floats).collect(),
        other => vec![other.as_f64().unwrap()],
    }
}

fn open(model: &Path, change: impl FnOnce(&mut Recipe)) -> Session {
    let mut session = Session::open(model).unwrap();
    let mut recipe = Recipe::default();
    recipe.dropout.default = SitePolicy::Off;
    change(&mut recipe);
    session.replace_recipe(recipe).unwrap();
    session
}

fn set(recipe: &mut Recipe, pairs: &[(&str, &str)]) {
    pairs.iter().for_each(|(k, v)| drop(recipe.settings.insert((*k).to_owned(), (*v).to_owned())));
}

/// Trains on arrays whose leading axis is the step; losses, and how it ended.
fn train(session: &Session, arrays: Vec<(String, Tensor)>) -> (Vec<f64>, Outcome) {
    let file = scratch(&format!("feeds-{:?}.npz", std::thread::current().id()));
    io::write(&file, arrays.iter().map(|(n, t)| (n.as_str(), t))).unwrap();
    let start = training::Start { delivery: Delivery::Every, ..Default::default() };
    let mut reporter = Reporter::default();
    let job = training::on_arrays(session, ArrayFeeds::open(&file).unwrap(), start, &mut reporter).unwrap();
    let trainer = Trainer::start(job).unwrap();
    let mut losses = Vec::new();
    while let Ok(event) = trainer.events().recv() {
        match event {
            TrainEvent::Step { loss, .. } => losses.push(loss),
            TrainEvent::End { .. } => break,
            _ => {}
        }
    }
    let outcome = trainer.join();
    assert_eq!(outcome.message, None);
    (losses, outcome)
}

/// The batches of the nano fixture repeated over `steps`, without its own labels.
fn batches(steps: usize) -> Vec<(String, Tensor)> {
    let all = io::read(&nano().join("batches.npz")).unwrap();
    let repeat = |t: &Tensor| {
        let size = t.bytes().len() / t.shape()[0];
        let bytes: Vec<u8> = (0..steps).flat_map(|k| t.bytes()[k % t.shape()[0] * size..][..size].to_vec()).collect();
        let mut dims = t.shape().to_vec();
        dims[0] = steps;
        Tensor::from_bytes(t.dtype(), &dims, &bytes).unwrap()
    };
    all.iter().filter(|(n, _)| !n.contains("label")).map(|(n, t)| (n.to_owned(), repeat(t))).collect()
}

fn shape_of(labels: &Json) -> Vec<usize> {
    match labels {
        Json::Array(items) => [vec![items.len()], shape_of(&items[0])].concat(),
        _ => Vec::new(),
    }
}

fn graft(recipe: &mut Recipe, head: HeadChoice, options: LossOptions) {
    let objective = Objective::Head { head: head.name.clone(), loss: None, labels: None, ignore_label: -100, options };
    *recipe = Change::GraftHead { head, objective }.apply(recipe);
}

fn compute(session: &Session, arrays: Vec<(String, Tensor)>, value: &str) -> Tensor {
    let u = session.understand().unwrap();
    let mut reporter = Reporter::default();
    let feeds = feeds::resolve(&u.names().unwrap(), arrays, &mut reporter).unwrap();
    let fetches = vec![u.names().unwrap().value(value).unwrap()];
    u.compute(&Ask { mode: Mode::Eval, fetches, feeds, ..Ask::default() }).unwrap().outputs.remove(0)
}

fn assert_close(got: &[f64], want: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst <= tolerance, "{what}: differs by {worst:e}");
}

#[test]
fn heads_learn_as_in_tensorflow_and_are_exported() {
    let golden: Json = serde_json::from_slice(&files::read(&root().join("train/heads.json")).unwrap()).unwrap();
    for (i, case) in golden["cases"].as_array().unwrap().iter().enumerate() {
        let kind = case["kind"].as_str().unwrap();
        let session = open(&nano().join("model.pb"), |r| {
            let classes = case["classes"].as_u64().map(|n| n as usize);
            let head = HeadChoice { classes, initializer: Initializer::Zeros, ..HeadChoice::new(kind) };
            let options = LossOptions {
                label_smoothing: case["label_smoothing"].as_f64().unwrap_or(0.0),
                class_weights: case["class_weights"]
                    .as_array()
                    .map(|_| floats(&case["class_weights"]))
                    .unwrap_or_default(),
            };
            graft(r, head, options);
            set(r, &[("optimizer.kind", "sgd"), ("optimizer.lr", "0.05"), ("training.steps", "8")]);
        });
        // Where the head goes was guessed.
        let u = session.understand().unwrap();
        assert_eq!(format!("{}", u.base.edited.heads[0].at), case["at"].as_str().unwrap(), "{kind}");
        let labels = floats(&case["labels"]);
        let dims = shape_of(&case["labels"]);
        let labels = match kind {
            "multi-label" | "regression" => Tensor::from_f64s(regraft::tensor::DType::F32, &dims, labels),
            _ => Tensor::from_f64s(regraft::tensor::DType::I64, &dims, labels),
        };
        let mut arrays = batches(8);
        arrays.push(("head/labels".to_owned(), labels));
        let (losses, outcome) = train(&session, arrays);
        assert_close(&losses, &floats(&case["losses"]), 2e-4, kind);
        let store = outcome.store.unwrap();
        let constants = store.by_name().map(|(n, t)| (n.to_owned(), t.clone())).collect();
        let file = scratch(&format!("head-{i}.pb"));
        let mut reporter = Reporter::default();
        let export = Export {
            session: &session,
            constants,
            remove_dropout: true,
            all_weights: false,
            merge_adapters: false,
            verify: true,
        };
        let written = export::write(&export, &file, &mut reporter).unwrap();
        assert!(written.largest_difference.unwrap() < 1e-5, "{kind}");
        let last: Vec<(String, Tensor)> = batches(8)
            .into_iter()
            .map(|(n, t)| {
                let size = t.bytes().len() / 8;
                (n, Tensor::from_bytes(t.dtype(), &t.shape()[1..], &t.bytes()[7 * size..]).unwrap())
            })
            .collect();
        let scores = compute(&Session::open(&file).unwrap(), last, "head/logits").to_f64s().unwrap();
        assert_close(&scores, &floats(&case["scores"]), 2e-3, kind);
    }
}

#[test]
fn a_head_with_dropout_is_exported_with_or_without_it() {
    for model in ["bert_nano_dynamic_frozen/model.pb", "onnx_hf_bert_token_external_data/model.onnx"] {
        let path = root().join("models").join(model);
        let kind = if model.contains("token") { "token-classifier" } else { "classifier" };
        let at = model.contains("onnx").then(|| "logits".to_owned());
        let session = open(&path, |r| {
            let head = HeadChoice { classes: Some(3), dropout: 0.25, at, seed: 5, ..HeadChoice::new(kind) };
            graft(r, head, LossOptions::default());
        });
        let u = session.understand().unwrap();
        let site = u.sites.iter().find(|s| s.output_key.as_str().starts_with("head/dropout")).unwrap();
        assert_eq!(site.rate, Some(0.25), "{model}");
        assert!(u.trainable.iter().any(|t| t.node.as_str() == "head/kernel"), "{model}");
        for remove_dropout in [true, false] {
            let extension = path.extension().unwrap().to_str().unwrap();
            let file = scratch(&format!("dropout-{remove_dropout}.{extension}"));
            let mut reporter = Reporter::default();
            let export = Export {
                session: &session,
                constants: Vec::new(),
                remove_dropout,
                all_weights: false,
                merge_adapters: false,
                verify: remove_dropout,
            };
            let written = export::write(&export, &file, &mut reporter).unwrap();
            assert!(written.largest_difference.is_none_or(|d| d < 1e-5), "{model}: {written:?}");
            let back = Session::open(&file).unwrap().understand().unwrap();
            let sites = back.sites.iter().filter(|s| s.output_key.as_str().starts_with("head/")).count();
            assert_eq!(sites, usize::from(!remove_dropout), "{model}");
            assert!(back.names().unwrap().find("head/probabilities").is_some(), "{model}");
        }
    }
}

#[test]
fn a_static_export_serves_other_sizes() {
    let folder = root().join("models/bert_nano_iterator_frozen");
    let session = open(&folder.join("model.pb"), |r| {
        *r = Change::AddEdits(vec![EditStep::Unbake(UnbakeChoice { batch: true, length: true })]).apply(r);
    });
    let file = scratch("free.pb");
    let mut reporter = Reporter::default();
    let export = Export {
        session: &session,
        constants: Vec::new(),
        remove_dropout: true,
        all_weights: false,
        merge_adapters: false,
        verify: true,
    };
    export::write(&export, &file, &mut reporter).unwrap();
    let inputs = io::read(&folder.join("inputs.npz")).unwrap();
    let want = io::read(&folder.join("outputs.npz")).unwrap();
    let want = want.iter().find(|(n, _)| *n == "loss/BiasAdd:0").unwrap().1.to_f64s().unwrap();
    // The first text alone, without its padding: 18 of 32 positions.
    let cut = |t: &Tensor| match t.shape() {
        [_, _] => Tensor::from_bytes(t.dtype(), &[1, 18], &t.bytes()[..18 * t.dtype().size()]).unwrap(),
        _ => Tensor::from_bytes(t.dtype(), &[1], &t.bytes()[..t.dtype().size()]).unwrap(),
    };
    let arrays: Vec<(String, Tensor)> = inputs.iter().map(|(n, t)| (n.to_owned(), cut(t))).collect();
    for session in [session, Session::open(&file).unwrap()] {
        let got = compute(&session, arrays.clone(), "loss/BiasAdd").to_f64s().unwrap();
        assert_close(&got, &want[..2], 1e-5, "one short text");
    }
}

/// Its dropout stands in conditionals, behind which shapes must be followed, too.
#[test]
fn a_length_behind_conditionals_is_freed() {
    let model = root().join("models/keras_bert_tiny_learning_phase_tf115/model.pb");
    let session = open(&model, |r| {
        *r = Change::AddEdits(vec![EditStep::Unbake(UnbakeChoice { batch: false, length: true })]).apply(r);
    });
    let ids: Vec<f32> = (0..18).map(|i| (i * 7 % 19 + 1) as f32).collect();
    let arrays = vec![
        ("Input-Token:0".to_owned(), Tensor::from_slice(&[2, 9], &ids)),
        ("Input-Segment:0".to_owned(), Tensor::from_slice(&[2, 9], &[0f32; 18])),
        ("keras_learning_phase:0".to_owned(), Tensor::filled(DType::Bool, &[], 0.0)),
    ];
    // What TensorFlow 2.15 computes with the exported graph.
    let want = [0.291_698_2, 0.708_301_8, 0.303_170_53, 0.696_829_4];
    assert_close(&compute(&session, arrays, "NSP/Softmax").to_f64s().unwrap(), &want, 1e-6, "nine of twelve positions");
}

#[test]
fn layers_are_told_by_structure() {
    let model = root().join("models/hf_tfbert_train_frozen/model.pb");
    let u = open(&model, |_| {}).understand().unwrap();
    let layers = u.base.layers();
    assert!(layers.is_stack && layers.count == 2, "{layers:?}");
    for role in u.base.roles.iter().filter(|r| r.suggest) {
        let name = role.node.as_str();
        let want = match name {
            n if n.contains("/layer_._0/") => 1,
            n if n.contains("/layer_._1/") => 2,
            n if n.contains("/embeddings/") => 0,
            _ => 3,
        };
        assert_eq!(layers.layer(&role.node), Some(want), "{name}");
    }
    let chosen = |selector: &str| -> Vec<String> {
        let include = vec![selector.parse::<Selector>().unwrap()];
        let session = open(&model, |r| r.trainable = TrainableChoice { include, exclude: vec![] });
        session.understand().unwrap().trainable.iter().map(|t| t.node.as_str().to_owned()).collect()
    };
    let all = chosen("suggested");
    let is_low = |n: &String| n.contains("/layer_._0/") || n.contains("/embeddings/");
    let upper: Vec<String> = all.iter().filter(|n| !is_low(n)).cloned().collect();
    assert_eq!(chosen("last-1-layer"), upper);
    assert!(chosen("heads").iter().all(|n| !n.contains("layer_")), "{:?}", chosen("heads"));
    assert!(chosen("layer-norm").iter().all(|n| n.contains("LayerNorm")));
    assert!(chosen("bitfit").len() > chosen("layer-norm").len() / 2);
}

#[test]
fn groups_have_their_own_rate_and_decay() {
    let parse = |s: &str| s.parse::<Selector>().unwrap();
    let session = open(&nano().join("model.pb"), |r| {
        r.groups = vec![
            ParameterGroup { select: vec![parse("role:bias")], lr: Some(0.5), ..Default::default() },
            ParameterGroup {
                select: vec![parse("glob:bert/**")],
                lr_factor: Some(0.1),
                weight_decay: Some(0.0),
                ..Default::default()
            },
        ];
    });
    let u = session.understand().unwrap();
    let rates = u.rates(0.25, 1.0).unwrap();
    for (t, rate) in u.trainable.iter().zip(&rates) {
        let want = match (t.role, t.node.as_str().starts_with("bert/")) {
            ("bias", _) => (2.0, None),
            (_, true) => (0.1, Some(0.0)),
            _ => (1.0, None),
        };
        assert_eq!((rate.factor, rate.decay), want, "{}", t.node);
    }
    let plain = open(&nano().join("model.pb"), |_| {}).understand().unwrap();
    let rates = plain.rates(0.25, 0.5).unwrap();
    for (t, rate) in plain.trainable.iter().zip(&rates) {
        let distance = plain.base.layers().from_top(&t.node).unwrap() as i32;
        let is_top = plain.base.layers().layer(&t.node) == Some(plain.base.layers().count);
        assert_eq!(rate.factor, if is_top { 1.0 } else { 0.5f64.powi(distance) }, "{}", t.node);
    }
    let factors: Vec<f64> = rates.iter().map(|r| r.factor).collect();
    assert!(factors.contains(&1.0) && factors.iter().any(|f| *f < 0.01), "{factors:?}");
}

#[test]
fn adapters_change_nothing_at_first_and_are_merged() {
    let session = open(&nano().join("model.pb"), |r| {
        let weights =
            vec!["re:attention/self/(query|value)/kernel".parse().unwrap(), "output_weights".parse().unwrap()];
        let lora = LoraChoice { weights, rank: 2, alpha: 4.0, dropout: 0.0, seed: 1 };
        *r = Change::AddEdits(vec![EditStep::Lora(lora)]).apply(r);
        r.objective = Some(Objective::Value { loss: "loss/Mean".to_owned() });
        set(r, &[("optimizer.kind", "sgd"), ("optimizer.lr", "0.5"), ("training.steps", "6")]);
    });
    let u = session.understand().unwrap();
    assert_eq!(u.adapters.len(), 3);
    assert!(u.trainable.iter().all(|t| t.node.as_str().contains("/lora_")));
    let golden: Json = serde_json::from_slice(&files::read(&nano().join("case.json")).unwrap()).unwrap();
    let mut arrays = batches(6);
    let labels = io::read(&nano().join("batches.npz")).unwrap();
    let labels = labels.iter().find(|(n, _)| n.contains("label")).unwrap().1.clone();
    let repeated: Vec<f64> = (0..6).flat_map(|k| labels.to_f64s().unwrap()[k % 4 * 3..][..3].to_vec()).collect();
    arrays.push(("label_ids".to_owned(), Tensor::from_f64s(labels.dtype(), &[6, 3], repeated)));
    let inputs = io::read(&nano().join("inputs.npz")).unwrap();
    let inputs: Vec<(String, Tensor)> = inputs.iter().map(|(n, t)| (n.to_owned(), t.clone())).collect();
    let first = compute(&session, inputs.clone(), "loss/Mean").to_f64s().unwrap();
    assert_close(&first, &[golden["loss"]["value"].as_f64().unwrap()], 1e-5, "untrained adapters");
    let (losses, outcome) = train(&session, arrays);
    assert_eq!(losses.len(), 6);
    let store = outcome.store.unwrap();
    let constants: Vec<(String, Tensor)> = store.by_name().map(|(n, t)| (n.to_owned(), t.clone())).collect();
    // Beside the weights, and merged into them, it is the same model.
    let tuned = open(&nano().join("model.pb"), |r| *r = (**session.recipe()).clone());
    let mut u = tuned.understand().unwrap();
    for c in &mut u.program.constants {
        if let Some((_, t)) = constants.iter().find(|(n, _)| c.node.as_ref().is_some_and(|k| k.as_str() == n)) {
            c.payload = regraft::tensor::Payload::from_tensor(t.clone());
        }
    }
    let mut reporter = Reporter::default();
    let feeds = feeds::resolve(&u.names().unwrap(), inputs.clone(), &mut reporter).unwrap();
    let fetches = vec![u.names().unwrap().value("loss/BiasAdd").unwrap()];
    let beside = u.compute(&Ask { fetches, feeds, ..Ask::default() }).unwrap().outputs.remove(0).to_f64s().unwrap();
    let file = scratch("merged.pb");
    let export = Export {
        session: &session,
        constants,
        remove_dropout: true,
        all_weights: false,
        merge_adapters: false,
        verify: true,
    };
    export::write(&export, &file, &mut reporter).unwrap();
    let merged = Session::open(&file).unwrap();
    let n = merged.understand().unwrap().base.graph.nodes.iter().filter(|n| n.key.as_str().contains("lora")).count();
    assert_eq!(n, 0);
    assert_close(&compute(&merged, inputs.clone(), "loss/BiasAdd").to_f64s().unwrap(), &beside, 1e-5, "merged");
    let plain = compute(&open(&nano().join("model.pb"), |_| {}), inputs, "loss/BiasAdd").to_f64s().unwrap();
    assert!(plain.iter().zip(&beside).any(|(a, b)| (a - b).abs() > 1e-3), "the adapters learnt nothing");
}

/// With W − s·A·B in the file's place of W, the effective weight is the file's, so TensorFlow's gradient of W gives those of
/// both factors by the chain rule: ∂A = s·∂W·Bᵀ, ∂B = s·Aᵀ·∂W.
#[test]
fn gradients_of_adapters_follow_from_tensorflows_of_their_weights() {
    let session = open(&nano().join("model.pb"), |r| {
        let weights = vec!["role:matmul-weight".parse().unwrap()];
        let lora = LoraChoice { weights, rank: 3, alpha: 6.0, dropout: 0.0, seed: 2 };
        *r = Change::AddEdits(vec![EditStep::Lora(lora)]).apply(r);
        r.objective = Some(Objective::Value { loss: "loss/Mean".to_owned() });
    });
    let mut u = session.understand().unwrap();
    let golden = io::read(&nano().join("grads.npz")).unwrap();
    let mut values: HashMap<String, Tensor> = HashMap::new();
    for adapter in u.adapters.clone() {
        let read = |u: &Understood, key: &NodeKey| {
            let c = u.program.constants.iter().find(|c| c.node.as_ref() == Some(key)).unwrap();
            c.payload.load().unwrap()
        };
        let (a, b) = (read(&u, &adapter.a.0), read(&u, &adapter.b.0));
        // B is zero at first; any numbers do.
        let made = (0..b.len()).map(|i| ((i * 37 + 11) % 19) as f64 * 0.01 - 0.09);
        let b = Tensor::from_f64s(b.dtype(), b.shape(), made);
        let less = Adapter { scale: -adapter.scale, ..adapter.clone() };
        let weight = less.merged(&read(&u, &adapter.weight), &a, &b).unwrap();
        for (key, value) in [(&adapter.a.0, a), (&adapter.b.0, b), (&adapter.weight, weight)] {
            let c = u.program.constants.iter_mut().find(|c| c.node.as_ref() == Some(key)).unwrap();
            c.payload = Payload::from_tensor(value.clone());
            values.insert(key.as_str().to_owned(), value);
        }
    }
    let inputs = io::read(&nano().join("inputs.npz")).unwrap();
    let inputs = inputs.iter().map(|(n, t)| (n.to_owned(), t.clone())).collect();
    let wrt = u.trainable.iter().map(|t| (t.node.as_str().to_owned(), t.value)).collect();
    let ask = Ask {
        mode: Mode::Train,
        feeds: feeds::resolve(&u.names().unwrap(), inputs, &mut Reporter::default()).unwrap(),
        gradients: Some(Gradients { of: vec![(u.objective.loss().unwrap(), None)], wrt }),
        ..Ask::default()
    };
    let computed = u.compute(&ask).unwrap();
    let gradient = |key: &NodeKey| {
        let i = u.trainable.iter().position(|t| t.node == *key).unwrap();
        computed.gradients[i].as_ref().unwrap().to_f64s().unwrap()
    };
    let mut compared = 0;
    for adapter in &u.adapters {
        let Some((_, dw)) = golden.iter().find(|(n, _)| n.trim_end_matches(":0") == adapter.weight.as_str()) else {
            continue;
        };
        let dw = dw.to_f64s().unwrap();
        let (a, b) = (&values[adapter.a.0.as_str()], &values[adapter.b.0.as_str()]);
        let (&[inputs, rank], &[_, outputs]) = (a.shape(), b.shape()) else { panic!("{}", adapter.weight) };
        let (a, b) = (a.to_f64s().unwrap(), b.to_f64s().unwrap());
        let dw = |i: usize, o: usize| dw[if adapter.is_transposed { o * inputs + i } else { i * outputs + o }];
        let (mut da, mut db) = (vec![0.0; inputs * rank], vec![0.0; rank * outputs]);
        for (i, r, o) in (0..inputs).flat_map(|i| (0..rank).flat_map(move |r| (0..outputs).map(move |o| (i, r, o)))) {
            da[i * rank + r] += adapter.scale * dw(i, o) * b[r * outputs + o];
            db[r * outputs + o] += adapter.scale * a[i * rank + r] * dw(i, o);
        }
        assert_close(&gradient(&adapter.a.0), &da, 2e-5, adapter.weight.as_str());
        assert_close(&gradient(&adapter.b.0), &db, 2e-5, adapter.weight.as_str());
        compared += 1;
    }
    assert!(compared >= 6, "{compared} weights have goldens");
}

#[test]
fn kept_results_of_the_frozen_part_change_no_numbers() {
    let run = |cache: &str| {
        let session = open(&nano().join("model.pb"), |r| {
            let head = HeadChoice { classes: Some(3), seed: 2, ..HeadChoice::new("classifier") };
            graft(r, head, LossOptions::default());
            r.trainable = TrainableChoice { include: vec![Selector::Heads], exclude: vec![] };
            set(r, &[("optimizer.lr", "0.05"), ("training.steps", "12"), ("training.cache_mb", cache)]);
        });
        let names: Vec<String> =
            session.understand().unwrap().trainable.iter().map(|t| t.node.as_str().to_owned()).collect();
        assert_eq!(names, ["head/kernel", "head/bias"]);
        let mut arrays = batches(12);
        let labels: Vec<f64> = (0..36).map(|i| f64::from(i * 7 % 12 % 3)).collect();
        arrays.push(("head/labels".to_owned(), Tensor::from_f64s(regraft::tensor::DType::I64, &[12, 3], labels)));
        train(&session, arrays).0
    };
    let (kept, computed) = (run("64"), run("0"));
    assert_close(&kept, &computed, 1e-6, "losses");
    assert!(kept[4..8].iter().zip(&kept).all(|(a, b)| (a - b).abs() > 1e-4), "nothing was learnt");
}

#[test]
fn what_ends_in_front_of_a_head_is_frozen_and_deterministic() {
    use regraft::session::prefix::frontier;
    let session = |policy: SitePolicy, selector: Selector| {
        open(&nano().join("model.pb"), |r| {
            graft(r, HeadChoice { classes: Some(3), ..HeadChoice::new("classifier") }, LossOptions::default());
            r.trainable = TrainableChoice { include: vec![selector], exclude: vec![] };
            r.dropout.default = policy;
        })
    };
    let at = |policy: SitePolicy, selector: Selector, mode: Mode| {
        let u = session(policy, selector).understand().unwrap();
        let found = frontier(&u, mode, &[u.objective.loss().unwrap()])?;
        Some(found.values.iter().map(|v| u.program.describe(*v)).collect::<Vec<_>>())
    };
    let pooled = Some(vec![format!("{POOLED}:0")]);
    assert_eq!(at(SitePolicy::Off, Selector::Heads, Mode::Train), pooled);
    assert_eq!(at(SitePolicy::Train, Selector::Heads, Mode::Eval), pooled);
    // Dropout in the encoder makes every step different.
    assert_eq!(at(SitePolicy::Train, Selector::Heads, Mode::Train), None);
    assert_eq!(at(SitePolicy::Off, Selector::All, Mode::Train), None);
}

#[test]
fn grafts_survive_a_session_file() {
    let session = open(&nano().join("model.pb"), |r| {
        graft(
            r,
            HeadChoice { classes: Some(3), dropout: 0.1, ..HeadChoice::new("classifier") },
            LossOptions { label_smoothing: 0.1, class_weights: vec![1.0, 2.0, 3.0] },
        );
        let steps = vec![
            EditStep::Lora(LoraChoice::default()),
            EditStep::Unbake(UnbakeChoice { batch: true, length: false }),
            EditStep::BypassDropout { output: "x".to_owned() },
        ];
        *r = Change::AddEdits(steps).apply(r);
        r.groups = vec![ParameterGroup { select: vec![Selector::LastLayers(2)], lr: Some(1e-4), ..Default::default() }];
    });
    let file = scratch("grafts.regraft");
    let recipe = session.recipe().clone();
    regraft::session::file::save(&file, &session.model, &recipe).unwrap();
    assert_eq!(regraft::session::file::load(&file).unwrap().recipe, *recipe);
}
