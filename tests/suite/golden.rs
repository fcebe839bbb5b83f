//! Models with the numbers of TensorFlow and PyTorch: outputs, gradients and loss curves through the session, as the
//! command line computes them. Each folder of `fixtures/models` is one case; `case.json` says what to feed and compare.

use std::fs;
use std::path::{Path, PathBuf};

use regraft::base::Reporter;
use regraft::data::ArrayFeeds;
use regraft::session::compute::{Ask, Gradients, Mode};
use regraft::session::recipe::{Objective, Recipe, SitePolicy, TrainableChoice};
use regraft::session::{Selector, Session, feeds, training};
use regraft::tensor::{DType, Tensor, io};
use regraft::train::{Delivery, TrainEvent, Trainer};
use serde_json::Value as Json;

/// Cases that cannot be computed yet, each with its reason. May only shrink.
const NOT_YET: &[(&str, &str)] = &[];

struct Case {
    name: String,
    folder: PathBuf,
    json: Json,
}

fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models");
    let mut out = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let Ok(text) = fs::read_to_string(folder.join("case.json")) else { continue };
        if NOT_YET.iter().any(|(n, _)| *n == name) || !folder.join("outputs.npz").exists() {
            continue;
        }
        out.push(Case { name, folder, json: serde_json::from_str(&text).unwrap() });
    }
    out.sort_by(|a, b| a.name.cmp(&b.name));
    out
}

fn texts(json: &Json) -> Vec<String> {
    json.as_array().map(|a| a.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()).unwrap_or_default()
}

impl Case {
    /// The session that the case describes: dropout off, the listed constants trainable.
    fn session(&self) -> Session {
        let model = self.folder.join(self.json["model"].as_str().unwrap());
        let mut session = Session::open(&model).unwrap_or_else(|e| panic!("{}: {e}", self.name));
        let loss = &self.json["loss"];
        let exclude = texts(&self.json["excluded"]).into_iter().chain(texts(&loss["no_gradient"]));
        let mut recipe = Recipe {
            trainable: TrainableChoice { include: vec![Selector::All], exclude: exclude.map(Selector::Name).collect() },
            ..Recipe::default()
        };
        recipe.dropout.default = SitePolicy::Off;
        let word = |j: &Json| j.as_str().unwrap().split(' ').next().unwrap().to_owned();
        recipe.objective = if let Some(name) = loss["tensor"].as_str() {
            Some(Objective::Value { loss: name.to_owned() })
        } else if loss["spliced"].is_object() {
            let spliced = &loss["spliced"];
            let kind = spliced["kind"].as_str().unwrap().replace('_', "-").replace("-from-logits", "");
            Some(Objective::Attached {
                loss: kind,
                on: word(&spliced["on"]),
                labels: word(&spliced["labels"]),
                ignore_label: -100,
                options: Default::default(),
            })
        } else {
            None
        };
        session.replace_recipe(recipe).unwrap();
        session
    }

    fn tolerance(&self, what: &str, rtol: f64, atol: f64) -> (f64, f64) {
        let t = &self.json["tolerances"][what];
        (t["rtol"].as_f64().unwrap_or(rtol), t["atol"].as_f64().unwrap_or(atol))
    }

    fn feeds(&self, session: &Session) -> feeds::Feeds {
        let understood = session.understand().unwrap();
        let arrays = io::read(&self.folder.join("inputs.npz")).unwrap();
        feeds::resolve(&understood.names().unwrap(), arrays.into_iter().collect(), &mut Reporter::default()).unwrap()
    }
}

/// Relative to the value, and to a twentieth of the array's scale: sums of another order differ that much.
fn difference(got: &Tensor, want: &Tensor, rtol: f64, atol: f64) -> Option<String> {
    if got.shape() != want.shape() {
        return Some(format!("shape {:?} instead of {:?}", got.shape(), want.shape()));
    }
    let (g, w) = (got.to_f64s().unwrap(), want.to_f64s().unwrap());
    let scale = w.iter().filter(|v| v.is_finite()).fold(0.0f64, |m, v| m.max(v.abs()));
    let off = g.iter().zip(&w).position(|(g, w)| {
        let both_odd = !g.is_finite() && !w.is_finite();
        !both_odd && !((g - w).abs() <= atol + rtol * w.abs().max(scale * 0.05))
    });
    off.map(|i| format!("element {i}: {} instead of {}", g[i], w[i]))
}

#[test]
fn outputs_are_tensorflows() {
    let mut wrong = Vec::new();
    let all = cases();
    assert!(all.len() >= 20, "only {} cases found", all.len());
    for case in all {
        let session = case.session();
        let understood = session.understand().unwrap();
        let (rtol, atol) = case.tolerance("outputs", 1e-4, 1e-5);
        let want = io::read(&case.folder.join("outputs.npz")).unwrap();
        let names: Vec<String> =
            case.json["outputs"].as_array().unwrap().iter().map(|o| o["name"].as_str().unwrap().to_owned()).collect();
        let (fetches, _) = understood.fetches(&names).unwrap();
        let ask = Ask { mode: Mode::Eval, fetches, feeds: case.feeds(&session), ..Ask::default() };
        match understood.compute(&ask) {
            Err(e) => wrong.push(format!("{}: {e}", case.name)),
            Ok(computed) => {
                for (name, got) in names.iter().zip(&computed.outputs) {
                    let key = io::find_key(&want, name).unwrap();
                    let bad = difference(got, &want[key], rtol, atol);
                    wrong.extend(bad.map(|d| format!("{} {name}: {d}", case.name)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn gradients_are_tensorflows() {
    let mut wrong = Vec::new();
    for case in cases().into_iter().filter(|c| c.folder.join("grads.npz").exists()) {
        let session = case.session();
        let understood = session.understand().unwrap();
        let (rtol, atol) = case.tolerance("grads", 1e-3, 1e-5);
        let want = io::read(&case.folder.join("grads.npz")).unwrap();
        let wrt = understood.trainable.iter().map(|t| (t.node.as_str().to_owned(), t.value)).collect();
        let of = understood.objective.values.iter().map(|&v| (v, None)).collect();
        let ask = Ask {
            mode: Mode::Train,
            feeds: case.feeds(&session),
            gradients: Some(Gradients { of, wrt }),
            ..Ask::default()
        };
        let computed = understood.compute(&ask).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        for (name, expected) in &want {
            let index = understood.trainable.iter().position(|t| t.node.as_str() == name);
            match index.and_then(|i| computed.gradients[i].as_ref()) {
                Some(got) => {
                    wrong.extend(difference(got, expected, rtol, atol).map(|d| format!("{} {name}: {d}", case.name)));
                }
                None if expected.to_f64s().unwrap().iter().all(|v| *v == 0.0) => {}
                None => wrong.push(format!("{} {name}: no gradient", case.name)),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whatever has a gradient in a family's reference is suggested for training (of a frozen TensorFlow graph, nothing else
/// is), and each sampler or Dropout node is a site.
#[test]
fn families_suggest_their_weights() {
    let families: Vec<Case> = cases().into_iter().filter(|c| c.name.starts_with("family_")).collect();
    assert!(families.len() >= 6);
    for case in families {
        let understood = case.session().understand().unwrap();
        let n = case.json["n_dropout"].as_u64().or(case.json["n_random"].as_u64()).unwrap();
        assert_eq!(understood.base.sites.len() as u64, n, "{}", case.name);
        let want = io::read(&case.folder.join("grads.npz")).unwrap();
        let is_suggested = |name: &str| understood.base.roles.iter().any(|r| r.node.as_str() == name && r.suggest);
        let missing: Vec<&String> = want.keys().filter(|n| !is_suggested(n)).collect();
        assert!(missing.is_empty(), "{}: {missing:?}", case.name);
        if case.name.starts_with("family_tf_") {
            let suggested = understood.base.roles.iter().filter(|r| r.suggest).map(|r| r.node.as_str());
            let more: Vec<&str> = suggested.filter(|n| !want.contains_key(*n)).collect();
            assert!(more.is_empty(), "{}: {more:?}", case.name);
        }
    }
}

/// The settings of one reference run, by the keys of `--set`.
fn settings(optimizer: &Json) -> Vec<(String, String)> {
    let kind = match optimizer["name"].as_str().unwrap() {
        "bert_adamw" => "bert-adamw",
        "adam_tf" => "adam",
        other => other,
    };
    let mut out = vec![("optimizer.kind".to_owned(), kind.to_owned())];
    let mut set = |key: &str, value: String| out.push((key.to_owned(), value));
    for key in ["lr", "beta1", "beta2", "epsilon", "weight_decay", "momentum", "nesterov"] {
        if !optimizer[key].is_null() {
            set(&format!("optimizer.{key}"), optimizer[key].to_string());
        }
    }
    if kind == "adam" {
        set("optimizer.epsilon_hat", "true".to_owned());
    }
    if optimizer["no_decay"].is_array() {
        set("optimizer.no_decay", texts(&optimizer["no_decay"]).join(","));
    }
    if let Some(c) = optimizer["clip_global_norm"].as_f64() {
        set("training.clip_global_norm", c.to_string());
    }
    if optimizer["schedule"].as_str().is_some_and(|s| s.starts_with("linear")) {
        set("schedule.kind", "linear".to_owned());
        set("schedule.warmup_steps", optimizer["warmup_steps"].to_string());
        set("schedule.total_steps", optimizer["total_steps"].to_string());
    }
    out
}

fn curve(case: &Case, optimizer: &Json, steps: usize) -> Result<Vec<f64>, String> {
    let mut session = case.session();
    let mut recipe = (**session.recipe()).clone();
    recipe.settings = settings(optimizer).into_iter().collect();
    recipe.settings.insert("training.steps".to_owned(), steps.to_string());
    session.replace_recipe(recipe).unwrap();
    let arrays = ArrayFeeds::open(&case.folder.join("batches.npz")).map_err(|e| e.to_string())?;
    let start = training::Start { delivery: Delivery::Every, ..Default::default() };
    let job = training::on_arrays(&session, arrays, start, &mut Reporter::default()).map_err(|e| e.to_string())?;
    let trainer = Trainer::start(job).map_err(|e| e.to_string())?;
    let mut losses = Vec::new();
    for event in trainer.events() {
        match event {
            TrainEvent::Step { loss, .. } => losses.push(loss),
            TrainEvent::End { message: Some(m), .. } => return Err(m),
            _ => {}
        }
    }
    Ok(losses)
}

#[test]
fn loss_curves_are_tensorflows() {
    let mut wrong = Vec::new();
    for case in cases() {
        let Ok(text) = fs::read_to_string(case.folder.join("loss_curve.json")) else { continue };
        let reference: Json = serde_json::from_str(&text).unwrap();
        let (rtol, atol) = case.tolerance("loss", 1e-3, 1e-4);
        for run in reference["runs"].as_array().unwrap() {
            let want: Vec<f64> = run["losses"].as_array().unwrap().iter().map(|l| l.as_f64().unwrap()).collect();
            let kind = &run["optimizer"]["name"];
            let got = match curve(&case, &run["optimizer"], want.len()) {
                Ok(got) => got,
                Err(e) => {
                    wrong.push(format!("{} {kind}: {e}", case.name));
                    continue;
                }
            };
            let relative = rtol.max(1e-3).max(20.0 * run["sensitivity"].as_f64().unwrap_or(0.0));
            let off = want.iter().zip(&got).position(|(w, g)| !((w - g).abs() <= atol + relative * w.abs()));
            if let Some(i) = off {
                wrong.push(format!("{} {kind}: step {i} loss {} instead of {}", case.name, got[i], want[i]));
            } else if got.len() < want.len() {
                wrong.push(format!("{} {kind}: {} steps instead of {}", case.name, got.len(), want.len()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A tensor file of every element type reads back as it was written.
#[test]
fn arrays_survive_a_round_trip() {
    let folder = std::env::temp_dir().join(format!("regraft-golden-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("a.npz");
    let types = [DType::F32, DType::F64, DType::F16, DType::I32, DType::I64, DType::U8, DType::Bool];
    let arrays: Vec<(String, Tensor)> =
        types.iter().map(|d| (format!("a/{d}:0"), Tensor::from_f64s(*d, &[2, 2], [0.0, 1.0, 1.0, 0.0]))).collect();
    io::write(&path, arrays.iter().map(|(n, t)| (n.as_str(), t))).unwrap();
    let back = io::read(&path).unwrap();
    for (name, tensor) in &arrays {
        assert_eq!(back.get(name), Some(tensor), "{name}");
    }
    fs::remove_dir_all(&folder).unwrap();
}
