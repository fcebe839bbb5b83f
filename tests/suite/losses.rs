//! Losses: values against their formulas, gradients against differences, and a classifier that learns through the engine.

use regraft::autodiff::differentiate;
use regraft::data::{Batch, BatchSource, DataError};
use regraft::engine::{Bindings, ConstantStore, Control, Engine, Executable, Workspace};
use regraft::ops::make;
use regraft::program::{Builder, Program, Random};
use regraft::tensor::{DType, Fact, PartialShape, Payload, Tensor};
use regraft::train::losses::{self, Labels};
use regraft::train::metrics::Task;
use regraft::train::{
    EndReason, Job, Parameter, Phase, Preset, ProgramStep, Settings, Step, StepError, StepFactory, StepProgram,
    TrainEvent, Trainer,
};

const IGNORED: f64 = -100.0;

/// The loss of a kind for predictions `[n, k]`, positions with an ignored label left out.
fn formula(kind: &str, p: &[Vec<f64>], labels: &[f64]) -> f64 {
    let k = p[0].len();
    let mut terms = Vec::new();
    for (i, row) in p.iter().enumerate() {
        let exp: f64 = row.iter().map(|v| v.exp()).sum();
        match kind {
            "softmax-cross-entropy" | "softmax-cross-entropy-from-probabilities" => {
                if labels[i] == IGNORED {
                    continue;
                }
                let hit = row[labels[i] as usize];
                let q = if kind == "softmax-cross-entropy" { hit.exp() / exp } else { hit.clamp(1e-7, 1.0) };
                terms.push(-q.ln());
            }
            "cosine" => {
                let y = &labels[i * k..(i + 1) * k];
                let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                terms.push(1.0 - dot(row, y) / (dot(row, row) * dot(y, y)).sqrt());
            }
            _ => {
                for (x, y) in row.iter().zip(&labels[i * k..]).filter(|(_, y)| **y != IGNORED) {
                    let d = (x - y).abs();
                    terms.push(match kind {
                        "mse" => d * d,
                        "mae" => d,
                        "huber" if d <= 1.0 => 0.5 * d * d,
                        "huber" => d - 0.5,
                        _ => x.max(0.0) - x * y + (-x.abs()).exp().ln_1p(),
                    });
                }
            }
        }
    }
    terms.iter().sum::<f64>() / terms.len().max(1) as f64
}

#[test]
fn losses_are_their_formulas() {
    for info in losses::ALL {
        // Probabilities for the loss that wants them, any numbers else.
        let raw: Vec<f64> = (0..12).map(|i| ((i * 7 + 3) as f64 * 0.61).sin() * 2.0 + 0.013).collect();
        let mut rows: Vec<Vec<f64>> = raw.chunks(3).map(<[f64]>::to_vec).collect();
        if info.kind.ends_with("probabilities") {
            rows.iter_mut().for_each(|r| r.iter_mut().for_each(|v| *v = (*v + 2.1) / 6.3));
        }
        let mut labels: Vec<f64> = match info.labels {
            Labels::Classes => vec![2.0, IGNORED, 0.0, 1.0],
            Labels::Targets if info.kind == "sigmoid-cross-entropy" => (0..12).map(|i| f64::from(i % 2)).collect(),
            Labels::Targets => (0..12).map(|i| (f64::from(i) * 1.3).cos() * 2.0).collect(),
        };
        if info.labels == Labels::Targets && info.kind != "cosine" {
            labels[5] = IGNORED;
        }
        let flat: Vec<f64> = rows.concat();
        for symbolic in [false, true] {
            let mut program = Program::default();
            let shape = if symbolic { PartialShape::of_rank(2) } else { PartialShape::from_dims(&[4, 3]) };
            let mut b = Builder::new(&mut program);
            let x = b.feed("x", Fact::new(DType::F64, shape));
            let attached = losses::attach(&mut b, info, x, "labels", Some(-100)).unwrap();
            assert_eq!(b.fact(attached.loss).dtype, DType::F64);
            let dx = differentiate(&mut program, &[(attached.loss, None)], &[x]).unwrap()[0].unwrap();
            program.outputs = vec![attached.loss, dx];
            let run = Executable::new(program, &[], &mut ConstantStore::default()).unwrap();
            let l = match info.labels {
                Labels::Classes => Tensor::from_slice(&[4], &labels.iter().map(|v| *v as i64).collect::<Vec<_>>()),
                Labels::Targets => Tensor::from_slice(&[4, 3], &labels),
            };
            let mut space = Workspace::new();
            let feeds = [Tensor::from_slice(&[4, 3], &flat), l];
            let bind = Bindings { feeds: &feeds, params: &[], random: Random::default() };
            run.run(&mut space, &bind, Control::default()).unwrap();
            let loss = run.output_tensor(&space, 0).to_f64s().unwrap()[0];
            let want = formula(info.kind, &rows, &labels);
            assert!((loss - want).abs() < 1e-9, "{}: {loss} instead of {want}", info.kind);
            let dx = run.output_tensor(&space, 1).to_f64s().unwrap();
            for (i, got) in dx.iter().enumerate() {
                let moved = |by: f64| {
                    let mut rows = rows.clone();
                    rows[i / 3][i % 3] += by;
                    formula(info.kind, &rows, &labels)
                };
                let want = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!((got - want).abs() < 1e-6, "{}: gradient {i} {got} instead of {want}", info.kind);
            }
        }
    }
}

/// Points in three clusters.
#[derive(Debug)]
struct Clusters(usize);

impl BatchSource for Clusters {
    fn n_batches(&mut self, _: usize) -> Result<usize, DataError> {
        Ok(6)
    }

    fn batch(&mut self, epoch: usize, index: usize) -> Result<Batch, DataError> {
        // The last batch is shorter, so that two executables are needed.
        let n = if index == 5 { self.0 / 2 } else { self.0 };
        let point = |i: usize| ((epoch * 1000 + index * 100 + i) as f32 * 12.9898).sin() * 0.3;
        let labels: Vec<i64> = (0..n).map(|i| (i % 3) as i64).collect();
        let x = labels
            .iter()
            .enumerate()
            .flat_map(|(i, &l)| [0, 1].map(|axis| point(2 * i + axis) + if l == axis as i64 { 1.0 } else { 0.0 }));
        let labels = Tensor::from_slice(&[n], &labels);
        Ok(Batch {
            feeds: vec![
                ("x:0".into(), Tensor::from_slice(&[n, 2], &x.collect::<Vec<f32>>())),
                ("labels".into(), labels.clone()),
            ],
            n_examples: n,
            labels: Some(labels),
            rows: Vec::new(),
        })
    }
}

#[derive(Debug)]
struct Linear;

impl StepFactory for Linear {
    fn make(&mut self, phase: Phase, feeds: &[(String, Tensor)]) -> Result<Box<dyn Step>, StepError> {
        let misfit = |e: regraft::program::Misfit| StepError(e.to_string());
        let mut program = Program::default();
        let mut b = Builder::new(&mut program);
        let x = b.feed("x", Fact::of_dims(DType::F32, feeds[0].1.shape()));
        let w = b.constant(None, Payload::from_tensor(Tensor::zeros(DType::F32, &[2, 3])), None);
        let bias = b.constant(None, Payload::from_tensor(Tensor::zeros(DType::F32, &[3])), None);
        let product = make::matmul(&mut b, x, w).map_err(misfit)?;
        let logits = make::add(&mut b, product, bias).map_err(misfit)?;
        let info = losses::find("softmax-cross-entropy").unwrap();
        let loss = losses::attach(&mut b, info, logits, "labels", Some(-100)).map_err(misfit)?.loss;
        program.outputs = vec![loss, logits];
        let mut gradients = Vec::new();
        if phase == Phase::Train {
            for g in differentiate(&mut program, &[(loss, None)], &[w, bias]).unwrap() {
                gradients.push(Some(program.outputs.len()));
                program.outputs.push(g.unwrap());
            }
        }
        let parts = StepProgram {
            program,
            parameters: vec![Some(w), Some(bias)],
            loss: Some(0),
            prediction: Some(1),
            gradients,
            unfused: None,
        };
        Ok(Box::new(ProgramStep::new(parts, &mut ConstantStore::default())?))
    }
}

#[test]
fn a_classifier_learns_through_the_engine() {
    let settings = Settings::new(Preset::Plain, [("optimizer.lr", "0.1"), ("training.epochs", "8")]).unwrap();
    let zero = |name: &str, shape: &[usize]| Parameter {
        name: name.into(),
        value: Tensor::zeros(DType::F32, shape),
        role: String::new(),
    };
    let parameters = vec![zero("w", &[2, 3]), zero("b", &[3])];
    let engine = Engine::new(2).unwrap();
    let mut job = Job::new("clusters", Box::new(Linear), engine, parameters, Box::new(Clusters(12)), settings);
    job.validation = Some(Box::new(Clusters(9)));
    let names = ["a", "b", "c"].map(str::to_owned).to_vec();
    job.task = Task::Classes { names, ignore: -100, entities: false };
    let trainer = Trainer::start(job).unwrap();
    let mut accuracy = Vec::new();
    let mut memory = 0;
    while let Ok(e) = trainer.events().recv() {
        match e {
            TrainEvent::Start { memory_estimate_bytes, parameters, .. } => {
                assert_eq!(parameters, 9);
                memory = memory_estimate_bytes;
            }
            TrainEvent::Eval { metrics, confusion, .. } => {
                accuracy.push(metrics["accuracy"]);
                assert_eq!(confusion.iter().flatten().sum::<u64>(), 9 * 5 + 4);
            }
            _ => {}
        }
    }
    let outcome = trainer.join();
    assert_eq!(outcome.reason, EndReason::Finished, "{:?}", outcome.message);
    assert_eq!(outcome.step, 48);
    assert!(memory > 0);
    assert!(accuracy.len() == 8 && accuracy[7] > 0.95, "{accuracy:?}");
}
