//! Training: optimizers and metrics against the numbers of other programs, and runs that stop, resume and fail.

use std::path::{Path, PathBuf};

use crossbeam_channel::{Receiver, Sender, bounded};
use regraft::base::files;
use regraft::data::ArrayFeeds;
use regraft::engine::{Engine, Workspace};
use regraft::program::{Random, View};
use regraft::tensor::Tensor;
use regraft::tensor::io::Arrays;
use regraft::train::metrics::{Collector, Task};
use regraft::train::{
    EndReason, Job, NonFinite, Outcome, Parameter, Phase, Preset, Settings, Step, StepError, StepFactory, Store,
    TrainCommand, TrainEvent, Trainer, checkpoint, run_log,
};
use serde_json::Value;

fn json(path: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/train").join(path);
    serde_json::from_slice(&files::read(&path).unwrap()).unwrap()
}

fn floats(v: &Value) -> Vec<f64> {
    match v {
        Value::Array(items) => items.iter().flat_map(floats).collect(),
        other => vec![other.as_f64().unwrap()],
    }
}

fn parameter(name: &str, values: &[f64]) -> Parameter {
    let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
    Parameter { name: name.into(), value: Tensor::from_slice(&[values.len()], &values), role: String::new() }
}

#[test]
fn optimizers_equal_their_references() {
    ["optimizers.json", "optimizers_matrix.json"].into_iter().for_each(|file| optimizers_equal(&json(file)));
}

fn optimizers_equal(golden: &Value) {
    let shape: Vec<usize> = match golden["shape"].as_array() {
        Some(dims) => dims.iter().map(|d| d.as_u64().unwrap() as usize).collect(),
        None => vec![floats(&golden["start"]).len()],
    };
    let shaped = |name: &str, values: &Value| {
        let flat = parameter(name, &floats(values));
        Parameter { value: Tensor::from_slice(&shape, flat.value.as_slice::<f32>()), ..flat }
    };
    for case in golden["cases"].as_array().unwrap() {
        let pairs = case["settings"].as_object().unwrap();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str().unwrap())).collect();
        let settings = Settings::new(Preset::Plain, pairs).unwrap();
        let mut store = Store::new(vec![shaped("w", &golden["start"])], &settings.optimizer).unwrap();
        for (step, gradient) in golden["gradients"].as_array().unwrap().iter().enumerate() {
            let g = shaped("g", gradient).value;
            let c = store.coefficients(&settings.optimizer, settings.optimizer.lr, 1.0);
            store.update(&c, |_| Some(View::of(&g)));
            let want = floats(&case["after"][step]);
            for (a, b) in store.values()[0].to_f64s().unwrap().iter().zip(&want) {
                assert!((a - b).abs() < 2e-6, "{} step {step}: {a} instead of {b}", case["origin"]);
            }
        }
    }
}

#[test]
fn decay_leaves_out_what_it_should() {
    let pairs =
        [("optimizer.weight_decay", "0.5"), ("optimizer.no_decay", "role:bias,^norm/"), ("optimizer.lr", "0.1")];
    let settings = Settings::new(Preset::Plain, pairs).unwrap();
    let mut parameters: Vec<Parameter> = ["w", "norm/gain", "b"].iter().map(|n| parameter(n, &[1.0])).collect();
    parameters[2].role = "bias".into();
    let mut store = Store::new(parameters, &settings.optimizer).unwrap();
    let c = store.coefficients(&settings.optimizer, 0.1, 1.0);
    let zero = Tensor::from_slice(&[1], &[0f32]);
    store.update(&c, |_| Some(View::of(&zero)));
    let now: Vec<f32> = store.values().iter().map(|t| t.as_slice::<f32>()[0]).collect();
    assert_eq!(now, [0.95, 1.0, 1.0]);
}

#[test]
fn metrics_equal_scikit_learn() {
    for (i, case) in json("metrics.json")["cases"].as_array().unwrap().iter().enumerate() {
        let (labels, predictions) = (floats(&case["labels"]), floats(&case["predictions"]));
        let k = case["classes"].as_u64().unwrap_or(1) as usize;
        let names: Vec<String> = (0..k).map(|c| format!("class {c}")).collect();
        let (task, label_shape) = match case["task"].as_str().unwrap() {
            "classes" => (Task::Classes { names, ignore: -100, entities: false }, vec![labels.len()]),
            "multi-label" => (Task::MultiLabel { names }, vec![labels.len() / k, k]),
            _ => (Task::Regression, vec![labels.len(), 1]),
        };
        let n = label_shape[0];
        let p = Tensor::from_slice(&[n, k], &predictions);
        let l = Tensor::from_slice(&label_shape, &labels);
        // In two uneven batches, the second with rows that do not count.
        let mut collector = Collector::new(task);
        collector.add(&p, &l, n / 3);
        let rest = |t: &Tensor| {
            let v = t.to_f64s().unwrap();
            let width = v.len() / n;
            let mut v = v[n / 3 * width..].to_vec();
            v.extend(std::iter::repeat_n(0.0, 2 * width));
            let mut shape = t.shape().to_vec();
            shape[0] = n - n / 3 + 2;
            Tensor::from_slice(&shape, &v)
        };
        collector.add(&rest(&p), &rest(&l), n - n / 3);
        let report = collector.finish();
        for (name, want) in case["metrics"].as_object().unwrap() {
            let (got, want) = (report.metrics[name.as_str()], want.as_f64().unwrap());
            assert!((got - want).abs() < 1e-6, "case {i}: {name} {got} instead of {want}");
        }
        if let Some(want) = case["confusion"].as_array() {
            assert_eq!(report.confusion.len(), want.len());
            let got: Vec<f64> = report.confusion.iter().flatten().map(|&n| n as f64).collect();
            assert_eq!(got, floats(&case["confusion"]));
        }
    }
}

#[test]
fn precision_recall_curves_equal_scikit_learn() {
    let all = json("precision_recall.json");
    let cases = all["cases"].as_array().unwrap().iter().map(|c| (c, false));
    for (case, is_multi) in cases.chain([(&all["labels"], true)]) {
        let (labels, predictions) = (floats(&case["labels"]), floats(&case["predictions"]));
        let k = case["classes"].as_u64().unwrap() as usize;
        let names: Vec<String> = (0..k).map(|c| format!("class {c}")).collect();
        let task = match is_multi {
            true => Task::MultiLabel { names },
            false => Task::Classes { names, ignore: -100, entities: false },
        };
        let mut collector = Collector::new(task);
        let n = predictions.len() / k;
        let shape = if is_multi { vec![n, k] } else { vec![n] };
        collector.add(&Tensor::from_slice(&[n, k], &predictions), &Tensor::from_slice(&shape, &labels), n);
        let curves = collector.precision_recall();
        // A label that no example has is left out.
        assert_eq!(curves.len(), if is_multi { k - 1 } else { k });
        for (got, want) in curves.iter().zip(case["curves"].as_array().unwrap()) {
            let near = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9);
            assert!(near(&got.precision, &floats(&want["precision"])), "{got:?}");
            assert!(near(&got.recall, &floats(&want["recall"])), "{got:?}");
            assert!((got.average - want["average"].as_f64().unwrap()).abs() < 1e-9);
            let thin = got.clone().thinned(5);
            assert_eq!((thin.recall.len(), thin.recall[0], thin.recall[4]), (5, 1.0, 0.0));
        }
    }
}

#[test]
fn entities_equal_seqeval() {
    for case in json("entities.json")["cases"].as_array().unwrap() {
        let words = |v: &Value| -> Vec<String> {
            v.as_array().unwrap().iter().map(|w| w.as_str().unwrap().to_owned()).collect()
        };
        let names = words(&case["names"]);
        let index = |w: &String| names.iter().position(|n| n == w).unwrap();
        let mut collector = Collector::new(Task::Classes { names: names.clone(), ignore: -100, entities: true });
        for (truth, said) in case["truth"].as_array().unwrap().iter().zip(case["predicted"].as_array().unwrap()) {
            // With a special token before and padding behind, as sentences come.
            let (truth, said) = (words(truth), words(said));
            let labels: Vec<i64> =
                std::iter::once(-100).chain(truth.iter().map(|w| index(w) as i64)).chain([-100, -100]).collect();
            let mut scores = vec![0f64; labels.len() * names.len()];
            for (i, w) in said.iter().enumerate() {
                scores[(i + 1) * names.len() + index(w)] = 2.0;
            }
            let p = Tensor::from_slice(&[1, labels.len(), names.len()], &scores);
            collector.add(&p, &Tensor::from_slice(&[1, labels.len()], &labels), 1);
        }
        let report = collector.finish();
        for (name, want) in case["metrics"].as_object().unwrap() {
            let (got, want) = (report.metrics[name.as_str()], want.as_f64().unwrap());
            assert!((got - want).abs() < 1e-6, "{names:?}: {name} {got} instead of {want}");
        }
        let types = case["types"].as_object().unwrap();
        assert_eq!(report.entities.len(), types.len(), "{names:?}");
        for row in &report.entities {
            let want = &types[&row.name];
            assert!((row.f1 - want["f1"].as_f64().unwrap()).abs() < 1e-6, "{}", row.name);
            assert_eq!(row.support, want["support"].as_u64().unwrap(), "{}", row.name);
        }
    }
}

/// Pulls `w` towards the fed `x`, with noise that depends on the step as dropout does.
#[derive(Debug, Default)]
struct Pull {
    gradient: Vec<f32>,
    train: bool,
    gate: Option<Gate>,
}

/// Holds a training run before a certain batch until the test lets go, so that the trainer cannot run ahead of it, and says
/// when it is there, so that the test cannot run ahead either.
#[derive(Debug, Clone)]
struct Gate {
    batch: u64,
    reached: Sender<()>,
    opens: Receiver<()>,
}

impl Step for Pull {
    fn run(
        &mut self,
        _: &mut Workspace,
        feeds: &[(String, Tensor)],
        parameters: &[Tensor],
        random: Random,
    ) -> Result<f64, StepError> {
        if let Some(gate) = self.gate.as_ref().filter(|g| self.train && g.batch == random.step) {
            // The channel closes without a message when the test lets go of its end.
            let _ = gate.reached.send(());
            let _ = gate.opens.recv();
        }
        let x = feeds[0].1.as_slice::<f32>();
        let noise = if self.train { ((random.seed * 31 + random.step * 7) % 11) as f32 / 100.0 } else { 0.0 };
        self.gradient = parameters[0].as_slice::<f32>().iter().zip(x).map(|(w, x)| w - x + noise).collect();
        Ok(self.gradient.iter().map(|g| f64::from(g * g)).sum())
    }

    fn gradient<'a>(&'a self, _: &'a Workspace, _: usize) -> Option<View<'a>> {
        Some(View::of_slice(&self.gradient))
    }

    fn prediction(&self, _: &Workspace) -> Option<Tensor> {
        None
    }

    fn first_non_finite(
        &mut self,
        _: &[(String, Tensor)],
        _: &[Tensor],
        _: Random,
    ) -> Result<Option<NonFinite>, StepError> {
        Ok(Some(NonFinite { words: "div at layer/norm produced NaN".into(), node: Some("layer/norm".into()) }))
    }
}

#[derive(Debug, Default)]
struct Pulls {
    gate: Option<Gate>,
}

impl StepFactory for Pulls {
    fn make(&mut self, phase: Phase, _: &[(String, Tensor)]) -> Result<Box<dyn Step>, StepError> {
        Ok(Box::new(Pull { train: phase == Phase::Train, gate: self.gate.clone(), ..Pull::default() }))
    }
}

fn data(n: usize) -> ArrayFeeds {
    let x: Vec<f32> = (0..n * 3).map(|i| (i as f32 * 0.37).sin()).collect();
    ArrayFeeds::new(Arrays::from_iter([("x".to_owned(), Tensor::from_slice(&[n, 3], &x))])).unwrap()
}

fn job(folder: Option<&Path>, pairs: &[(&str, &str)]) -> Job {
    let base = [("training.seed", "5"), ("training.clip_global_norm", "0.5"), ("optimizer.lr", "0.05")];
    let settings = Settings::new(Preset::Plain, base.iter().chain(pairs).copied()).unwrap();
    let parameters = vec![parameter("w", &[1.0, -2.0, 3.0])];
    let engine = Engine::new(2).unwrap();
    let mut job = Job::new("test", Box::new(Pulls::default()), engine, parameters, Box::new(data(7)), settings);
    job.validation = Some(Box::new(data(4)));
    job.folder = folder.map(Path::to_owned);
    job
}

/// Runs to the end; `on_step` may send commands.
fn run(job: Job, mut on_step: impl FnMut(u64, &Trainer)) -> (Vec<TrainEvent>, Outcome) {
    let trainer = Trainer::start(job).unwrap();
    let mut events = Vec::new();
    while let Ok(e) = trainer.events().recv() {
        if let TrainEvent::Step { step, .. } = &e {
            on_step(*step, &trainer);
        }
        events.push(e);
    }
    (events, trainer.join())
}

/// (step, loss bits) of step events and (step, loss bits) of evaluations.
fn numbers<'a>(events: impl IntoIterator<Item = &'a TrainEvent>) -> (Vec<(u64, u64)>, Vec<(u64, u64)>) {
    let (mut steps, mut evals) = (Vec::new(), Vec::new());
    for e in events {
        match e {
            TrainEvent::Step { step, loss, .. } => steps.push((*step, loss.to_bits())),
            TrainEvent::Eval { step, loss, .. } => evals.push((*step, loss.to_bits())),
            _ => {}
        }
    }
    (steps, evals)
}

fn logged(folder: &Path) -> Vec<TrainEvent> {
    let text = files::read_to_string(&folder.join(run_log::LOG_NAME)).unwrap();
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[test]
fn an_interrupted_run_resumes_with_the_same_numbers() {
    for accumulate in ["1", "3"] {
        let dir = tempfile::tempdir().unwrap();
        let settings =
            [("training.epochs", "6"), ("training.checkpoint_every", "4"), ("training.accumulate", accumulate)];
        let whole = dir.path().join("whole");
        let (events, outcome) = run(job(Some(&whole), &settings), |_, _| {});
        assert_eq!(outcome.reason, EndReason::Finished, "{:?}", outcome.message);
        let want = numbers(&events);
        assert_eq!(want.0.len(), if accumulate == "1" { 42 } else { 18 });
        assert_eq!(want.1.len(), 6);

        // Stopped without a checkpoint, as a kill would; then a half-written line, as a kill may leave it.
        let parts = dir.path().join("parts");
        let mut stopped = job(Some(&parts), &settings);
        let (open, opens) = bounded(0);
        let (reached, is_there) = bounded(1);
        let batch = 10 * accumulate.parse::<u64>().unwrap();
        stopped.steps = Box::new(Pulls { gate: Some(Gate { batch, reached, opens }) });
        let mut open: Option<Sender<()>> = Some(open);
        let (_, outcome) = run(stopped, |step, t| {
            if step == 9 {
                is_there.recv().unwrap();
                assert!(t.send(TrainCommand::Stop { keep: false }));
                open = None;
            }
        });
        assert_eq!((outcome.reason, outcome.step), (EndReason::Discarded, 11));
        let newest = checkpoint::newest(&parts).unwrap();
        std::io::Write::write_all(&mut files::append(&parts.join("log.jsonl")).unwrap(), b"{\"event\":\"st").unwrap();
        let mut again = job(Some(&parts), &settings);
        again.resume = true;
        let (events, resumed) = run(again, |_, _| {});
        assert_eq!(resumed.reason, EndReason::Finished, "{:?}", resumed.message);
        let (steps, _) = numbers(&events);
        assert!(steps[0].0 >= 8, "every fourth step is kept, and it went on at {}", steps[0].0);
        assert_eq!(Some(checkpoint::path_of(&parts, steps[0].0)), newest);
        assert_eq!(numbers(&logged(&parts)), want, "the log reads as if nothing had happened");
        let end = |folder: &Path| {
            let newest = checkpoint::newest(folder).unwrap().unwrap();
            let loaded = checkpoint::Loaded::read(&newest).unwrap();
            loaded.parameters().map(|(_, t)| t.clone()).collect::<Vec<_>>()
        };
        assert_eq!(end(&parts), end(&whole));
        assert!(checkpoint::list(&whole).unwrap().len() <= 2, "old checkpoints go");
        assert!(checkpoint::best(&whole).is_some());
    }
}

#[test]
fn a_folder_with_a_run_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("training.steps", "2")];
    assert_eq!(run(job(Some(dir.path()), &settings), |_, _| {}).1.reason, EndReason::Finished);
    let (_, outcome) = run(job(Some(dir.path()), &settings), |_, _| {});
    assert_eq!(outcome.reason, EndReason::Error);
    assert!(outcome.message.unwrap().contains("--resume"));
    // Longer, it goes on where it ended.
    let mut longer = job(Some(dir.path()), &[("training.steps", "5")]);
    longer.resume = true;
    let (events, outcome) = run(longer, |_, _| {});
    assert_eq!((outcome.reason, outcome.step), (EndReason::Finished, 5));
    assert_eq!(numbers(&events).0.iter().map(|s| s.0).collect::<Vec<_>>(), [2, 3, 4]);
}

#[test]
fn commands_are_obeyed_between_steps() {
    let dir = tempfile::tempdir().unwrap();
    let (events, outcome) = run(job(Some(dir.path()), &[("training.steps", "100000")]), |step, t| match step {
        1 => {
            t.send(TrainCommand::SetLearningRate(0.5));
            t.send(TrainCommand::Pause);
            t.send(TrainCommand::CheckpointNow);
            t.send(TrainCommand::Resume);
        }
        500 => {
            t.send(TrainCommand::Stop { keep: true });
        }
        _ => {}
    });
    assert_eq!(outcome.reason, EndReason::Stopped);
    let codes: Vec<&str> = events
        .iter()
        .filter_map(|e| match e {
            TrainEvent::Log { code, .. } => Some(code.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(codes, ["learning-rate", "paused", "resumed"]);
    assert!(events.iter().any(|e| matches!(e, TrainEvent::Step { lr: 0.5, .. })));
    assert_eq!(checkpoint::newest(dir.path()).unwrap(), Some(checkpoint::path_of(dir.path(), outcome.step)));
    assert!(matches!(events.first(), Some(TrainEvent::Start { .. })));
    assert!(matches!(events.last(), Some(TrainEvent::End { reason: EndReason::Stopped, .. })));
}

#[test]
fn a_nan_stops_the_run_before_it_spreads() {
    let mut bad = job(None, &[("training.epochs", "2")]);
    let mut x = vec![0.5f32; 21];
    x[13] = f32::NAN;
    let arrays = Arrays::from_iter([("x".to_owned(), Tensor::from_slice(&[7, 3], &x))]);
    bad.train = Box::new(ArrayFeeds::new(arrays).unwrap());
    let (_, outcome) = run(bad, |_, _| {});
    let message = outcome.message.unwrap();
    assert!(message.contains("NaN at step 4") && message.contains("layer/norm"), "{message}");
    let w = outcome.store.unwrap();
    assert!(w.values()[0].as_slice::<f32>().iter().all(|v| v.is_finite()));
}

#[test]
fn accumulation_equals_the_mean_gradient() {
    // Plain SGD on a linear gradient: the mean over three batches moves as the three together would.
    let sgd = [("optimizer.kind", "sgd"), ("optimizer.lr", "0.1"), ("training.clip_global_norm", "")];
    let (_, outcome) =
        run(job(None, &[&sgd[..], &[("training.steps", "1"), ("training.accumulate", "3")]].concat()), |_, _| {});
    let got = outcome.store.unwrap().values()[0].to_f64s().unwrap();
    let (mut w, x) = (vec![1.0, -2.0, 3.0], data(7));
    let mean: Vec<f64> = (0..3)
        .map(|i| {
            (0..3u64)
                .map(|k| {
                    let noise = f64::from(((5 * 31 + k * 7) % 11) as u32) / 100.0;
                    w[i] - f64::from(x.slice(k as usize)[0].1.as_slice::<f32>()[i]) + noise
                })
                .sum::<f64>()
                / 3.0
        })
        .collect();
    w.iter_mut().zip(mean).for_each(|(w, g)| *w -= 0.1 * g);
    for (a, b) in got.iter().zip(&w) {
        assert!((a - b).abs() < 1e-6, "{got:?} instead of {w:?}");
    }
}

#[test]
fn early_stopping_waits_for_patience() {
    let settings = [("training.epochs", "50"), ("training.patience", "2"), ("optimizer.lr", "0")];
    let (events, outcome) = run(job(None, &settings), |_, _| {});
    assert_eq!(outcome.reason, EndReason::EarlyStop);
    assert_eq!(numbers(&events).1.len(), 3);
}

#[test]
fn a_checkpoint_that_cannot_be_written_ends_no_run() {
    // A folder under the name of a checkpoint cannot be replaced by a file: writing fails as on a full disk.
    let settings = [("training.epochs", "1"), ("training.checkpoint_every", "4")];
    let dir = tempfile::tempdir().unwrap();
    files::create_dir_all(&checkpoint::path_of(dir.path(), 4).join("x")).unwrap();
    let (events, outcome) = run(job(Some(dir.path()), &settings), |_, _| {});
    let failed = |e: &TrainEvent| matches!(e, TrainEvent::Log { step: 4, code, .. } if code == "checkpoint-failed");
    assert!(events.iter().any(failed), "{events:?}");
    assert_eq!((outcome.reason, outcome.step), (EndReason::Finished, 7), "the next one is good");
    // Where the last state cannot be saved, the run says so instead of ending as if all were well.
    let dir = tempfile::tempdir().unwrap();
    files::create_dir_all(&checkpoint::path_of(dir.path(), 7).join("x")).unwrap();
    let (_, outcome) = run(job(Some(dir.path()), &settings), |_, _| {});
    assert_eq!(outcome.reason, EndReason::Error);
    let message = outcome.message.unwrap();
    assert!(message.contains("could not be saved") && message.contains("--resume"), "{message}");
    assert!(outcome.store.is_some(), "the parameters are still there to be exported");
}

#[test]
fn an_early_stopped_run_that_is_extended_gets_its_patience_back() {
    let dir = tempfile::tempdir().unwrap();
    let stop = [("training.epochs", "50"), ("training.patience", "2"), ("optimizer.lr", "0")];
    assert_eq!(run(job(Some(dir.path()), &stop), |_, _| {}).1.reason, EndReason::EarlyStop);
    let mut again = job(Some(dir.path()), &stop);
    again.resume = true;
    let (events, outcome) = run(again, |_, _| {});
    assert_eq!(outcome.reason, EndReason::EarlyStop);
    assert_eq!(numbers(&events).1.len(), 2, "two more evaluations without improvement");
}

#[test]
fn estimates_count_steps_and_change_nothing() {
    let cancel = regraft::base::CancelToken::default();
    let shares = std::cell::RefCell::new(Vec::new());
    let told = |share: f32| shares.borrow_mut().push(share);
    let e = regraft::train::estimate::estimate(job(None, &[("training.epochs", "3")]), &cancel, &told).unwrap();
    assert!(
        shares.borrow().windows(2).all(|w| w[0] < w[1]) && shares.borrow().iter().all(|s| (0.0..=1.01).contains(s))
    );
    assert_eq!((e.steps, e.trainable, e.parameters), (21, 1, 3));
    assert!(e.step_secs > 0.0 && e.total_secs >= e.step_secs * 21.0 && e.memory_bytes >= 3 * 4 * 3);
    cancel.cancel();
    let stopped = regraft::train::estimate::estimate(job(None, &[]), &cancel, &|_| {});
    assert_eq!(stopped.unwrap_err(), "cancelled");
}
