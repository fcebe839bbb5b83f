//! A made-up model with the names and roles of a small BERT, as the rows that panels read.

use std::path::Path;
use std::sync::Arc;

use regraft::base::{Diagnostic, Severity};
use regraft::formats::targets::{Target, TargetKind};
use regraft::session::overview::{ConstantRow, Counts, NodeRow, Overview, SiteRow, ValueRow};
use regraft::session::{Change, History};
use regraft::ui::Open;
use regraft::ui::ctx::{Blocker, DataView, GradientRow, Gradients, Setting, SettingGroup, SettingKind};
use regraft::ui::problems::Cure;

const HIDDEN: usize = 128;

#[derive(Default)]
struct Maker {
    o: Overview,
}

impl Maker {
    fn node(&mut self, name: &str, op: &str, inputs: &[&str], shape: &[usize]) -> String {
        self.o.nodes.push(NodeRow {
            name: name.to_owned(),
            op: op.to_owned(),
            inputs: inputs.iter().map(|s| (*s).to_owned()).collect(),
            outputs: vec![ValueRow {
                name: format!("{name}:0"),
                dtype: "float32".to_owned(),
                shape: Some(shape.iter().map(|&d| Some(d)).collect()),
            }],
            supported: true,
            gradient: "flows".to_owned(),
            ..NodeRow::default()
        });
        format!("{name}:0")
    }

    fn constant(&mut self, name: &str, shape: &[usize], role: &str, reason: &str) -> String {
        let elements = shape.iter().product();
        let train = matches!(role, "matmul-weight" | "bias" | "norm-scale" | "norm-shift" | "embedding");
        self.o.constants.push(ConstantRow {
            name: name.to_owned(),
            dtype: "float32".to_owned(),
            shape: Some(shape.iter().map(|&d| Some(d)).collect()),
            elements,
            bytes: elements * 4,
            suggest: if train { "train" } else { "keep" }.to_owned(),
            role: role.to_owned(),
            reason: reason.to_owned(),
            trainable: train,
            gradient: "flows".to_owned(),
            ..ConstantRow::default()
        });
        let read = self.node(name, "Const", &[], shape);
        self.node(&format!("{name}/read"), "Identity", &[&read], shape)
    }

    fn dense(&mut self, scope: &str, x: &str, from: usize, to: usize) -> String {
        let w = self.constant(
            &format!("{scope}/kernel"),
            &[from, to],
            "matmul-weight",
            "the right operand of a matrix product",
        );
        let b = self.constant(&format!("{scope}/bias"), &[to], "bias", "added to the output of a matrix product");
        let y = self.node(&format!("{scope}/MatMul"), "MatMul", &[x, &w], &[512, to]);
        self.node(&format!("{scope}/BiasAdd"), "BiasAdd", &[&y, &b], &[512, to])
    }

    fn dropout(&mut self, scope: &str, x: &str, width: usize) -> String {
        let random = self.node(&format!("{scope}/random_uniform/RandomUniform"), "RandomUniform", &[], &[512, width]);
        let floor = self.node(&format!("{scope}/Floor"), "Floor", &[&random], &[512, width]);
        let div = self.node(&format!("{scope}/div"), "RealDiv", &[x], &[512, width]);
        let out = self.node(&format!("{scope}/mul"), "Mul", &[&div, &floor], &[512, width]);
        self.o.dropout.push(SiteRow {
            output: out.clone(),
            input: x.to_owned(),
            rate: Some(0.1),
            variant: "scale by 1/keep, floor mask".to_owned(),
            predicate: None,
            nodes: ["random_uniform/RandomUniform", "Floor", "div", "mul"]
                .iter()
                .map(|n| format!("{scope}/{n}"))
                .collect(),
        });
        out
    }

    fn norm(&mut self, scope: &str, x: &str) -> String {
        let gamma = self.constant(&format!("{scope}/gamma"), &[HIDDEN], "norm-scale", "multiplies a normalised value");
        let beta = self.constant(&format!("{scope}/beta"), &[HIDDEN], "norm-shift", "added to a normalised value");
        let mean = self.node(&format!("{scope}/moments/mean"), "Mean", &[x], &[512, 1]);
        let diff =
            self.node(&format!("{scope}/moments/SquaredDifference"), "SquaredDifference", &[x, &mean], &[512, HIDDEN]);
        let var = self.node(&format!("{scope}/moments/variance"), "Mean", &[&diff], &[512, 1]);
        let rsqrt = self.node(&format!("{scope}/batchnorm/Rsqrt"), "Rsqrt", &[&var], &[512, 1]);
        let scaled = self.node(&format!("{scope}/batchnorm/mul"), "Mul", &[&rsqrt, &gamma, x], &[512, HIDDEN]);
        self.node(&format!("{scope}/batchnorm/add_1"), "AddV2", &[&scaled, &beta], &[512, HIDDEN])
    }

    fn layer(&mut self, i: usize, x: &str) -> String {
        let scope = format!("bert/encoder/layer_{i}");
        let q = self.dense(&format!("{scope}/attention/self/query"), x, HIDDEN, HIDDEN);
        let k = self.dense(&format!("{scope}/attention/self/key"), x, HIDDEN, HIDDEN);
        let v = self.dense(&format!("{scope}/attention/self/value"), x, HIDDEN, HIDDEN);
        let scores =
            self.node(&format!("{scope}/attention/self/MatMul"), "BatchMatMulV2", &[&q, &k], &[4, 2, 128, 128]);
        let soft = self.node(&format!("{scope}/attention/self/Softmax"), "Softmax", &[&scores], &[4, 2, 128, 128]);
        let drop = self.dropout(&format!("{scope}/attention/self/dropout"), &soft, 128);
        let context =
            self.node(&format!("{scope}/attention/self/MatMul_1"), "BatchMatMulV2", &[&drop, &v], &[512, HIDDEN]);
        let out = self.dense(&format!("{scope}/attention/output/dense"), &context, HIDDEN, HIDDEN);
        let drop = self.dropout(&format!("{scope}/attention/output/dropout"), &out, HIDDEN);
        let sum = self.node(&format!("{scope}/attention/output/add"), "AddV2", &[&drop, x], &[512, HIDDEN]);
        let x = self.norm(&format!("{scope}/attention/output/LayerNorm"), &sum);
        let mid = self.dense(&format!("{scope}/intermediate/dense"), &x, HIDDEN, 512);
        let gelu = self.node(&format!("{scope}/intermediate/dense/Erf"), "Erf", &[&mid], &[512, 512]);
        let out = self.dense(&format!("{scope}/output/dense"), &gelu, 512, HIDDEN);
        let drop = self.dropout(&format!("{scope}/output/dropout"), &out, HIDDEN);
        let sum = self.node(&format!("{scope}/output/add"), "AddV2", &[&drop, &x], &[512, HIDDEN]);
        self.norm(&format!("{scope}/output/LayerNorm"), &sum)
    }
}

pub fn overview() -> Overview {
    let mut m = Maker::default();
    let ids = m.node("input_ids", "Placeholder", &[], &[4, 128]);
    let labels = m.node("label_ids", "Placeholder", &[], &[4]);
    m.o.placeholders = ["input_ids:0", "label_ids:0"]
        .map(|name| ValueRow { name: name.to_owned(), dtype: "int32".to_owned(), shape: Some(vec![None, Some(128)]) })
        .into();
    let table =
        m.constant("bert/embeddings/word_embeddings", &[30522, HIDDEN], "embedding", "rows are gathered by index");
    let ones = m.constant(
        "bert/encoder/ones",
        &[4, 128, 1],
        "mask",
        "all elements are 1 and it multiplies the attention mask: training it would turn the mask into a learned bias",
    );
    let x = m.node("bert/embeddings/GatherV2", "GatherV2", &[&table, &ids], &[512, HIDDEN]);
    let x = m.norm("bert/embeddings/LayerNorm", &x);
    let mut x = m.dropout("bert/embeddings/dropout", &x, HIDDEN);
    x = m.node("bert/encoder/mul", "Mul", &[&x, &ones], &[512, HIDDEN]);
    for i in 0..4 {
        x = m.layer(i, &x);
    }
    let pooled = m.dense("bert/pooler/dense", &x, HIDDEN, HIDDEN);
    let pooled = m.node("bert/pooler/dense/Tanh", "Tanh", &[&pooled], &[4, HIDDEN]);
    let logits = m.dense("loss/classifier", &pooled, HIDDEN, 2);
    let loss = m.node(
        "loss/SparseSoftmaxCrossEntropyWithLogits",
        "SparseSoftmaxCrossEntropyWithLogits",
        &[&logits, &labels],
        &[4],
    );
    m.node("loss/Mean", "Mean", &[&loss], &[]);
    let mut o = m.o;
    o.file = "bert_mini.pb".to_owned();
    o.format = "tensorflow-graphdef".to_owned();
    o.producer = "TensorFlow 1.15".to_owned();
    o.bytes = 19_400_000;
    o.diagnostics.push(Diagnostic {
        severity: Severity::Warning,
        code: "fixed-batch".to_owned(),
        message: "The batch size is baked into a Reshape: batches of another size cannot be fed.".to_owned(),
        place: Some("bert/encoder/mul".to_owned()),
    });
    let trainable: Vec<&ConstantRow> = o.constants.iter().filter(|c| c.trainable).collect();
    o.counts = Counts {
        nodes: o.nodes.len(),
        constants: o.constants.len(),
        float_constants: o.constants.len(),
        suggested_trainable: trainable.len(),
        suggested_parameters: trainable.iter().map(|c| c.elements).sum(),
        trainable: trainable.len(),
        trainable_parameters: trainable.iter().map(|c| c.elements).sum(),
        leftovers: 0,
    };
    o
}

pub fn open() -> Open {
    let o = overview();
    let trainable: Vec<&ConstantRow> = o.constants.iter().filter(|c| c.trainable).collect();
    let row =
        |c: &&ConstantRow| GradientRow { name: c.name.clone(), verdict: "flows".to_owned(), ..GradientRow::default() };
    let mut constants: Vec<GradientRow> = trainable.iter().map(row).collect();
    constants[2].verdict = "blocked".to_owned();
    constants[2].why = Some("Merge has no rule: its predicate is not known".to_owned());
    let blocked = constants[2].name.clone();
    let pin = Change::SetPin { name: "keras_learning_phase".to_owned(), value: Some(0.0) };
    let gradients = Gradients {
        lacks_loss: false,
        objective: "loss/Mean:0".to_owned(),
        trainable: constants.len(),
        reached: constants.len() - 1,
        constants,
        blockers: vec![Blocker {
            node: "bert/embeddings/LayerNorm/batchnorm/mul".to_owned(),
            op: "Merge".to_owned(),
            verdict: "blocked".to_owned(),
            why: "the predicate keras_learning_phase is not pinned, so both branches are possible".to_owned(),
            blocks: vec![blocked],
            cures: vec![Cure::change("Pin keras_learning_phase to 0", pin)],
        }],
    };
    let mut open = Open::new(Path::new("bert_mini.pb"), Arc::new(o), History::default());
    open.gradients = Some(Arc::new(gradients));
    open.form = Arc::new(form());
    open.targets = Arc::new(targets());
    open.data = Some(Arc::new(data()));
    open
}

fn targets() -> Vec<Target> {
    let target = |kind, label: &str, ending: &str, why_not: Option<&str>| Target {
        kind,
        label: label.to_owned(),
        ending: ending.to_owned(),
        why_not: why_not.map(str::to_owned),
    };
    vec![
        target(TargetKind::Own, "Frozen graph (as the file)", ".pb", None),
        target(TargetKind::Onnx, "ONNX", ".onnx", Some("Its ops are those of TensorFlow.")),
        target(TargetKind::Npz, "Weights, NumPy", ".npz", None),
    ]
}

fn form() -> Vec<SettingGroup> {
    let setting = |key: &str, label: &str, default: &str, kind: SettingKind| Setting {
        key: key.to_owned(),
        label: label.to_owned(),
        help: format!("Help of {label}"),
        default: default.to_owned(),
        unit: String::new(),
        kind,
    };
    let choices = ["adamw", "adam", "sgd"].map(str::to_owned).to_vec();
    vec![
        SettingGroup {
            title: "Optimizer".to_owned(),
            advanced: false,
            settings: vec![
                setting("optimizer.kind", "Optimizer", "adamw", SettingKind::Choice(choices)),
                setting(
                    "optimizer.lr",
                    "Learning rate",
                    "5e-5",
                    SettingKind::Number { min: 0.0, max: 1e6, optional: false },
                ),
            ],
        },
        SettingGroup {
            title: "Training".to_owned(),
            advanced: false,
            settings: vec![
                setting(
                    "training.epochs",
                    "Epochs",
                    "3",
                    SettingKind::Integer { min: 1, max: i64::MAX, optional: false },
                ),
                setting("training.shuffle", "Shuffle", "true", SettingKind::Bool),
            ],
        },
        SettingGroup {
            title: "Reproducibility".to_owned(),
            advanced: true,
            settings: vec![setting(
                "training.seed",
                "Seed",
                "0",
                SettingKind::Integer { min: 0, max: i64::MAX, optional: false },
            )],
        },
    ]
}

fn data() -> DataView {
    let texts =
        ["The delivery came two days early.", "Nobody answered the phone.", "Works as described, would buy again."];
    DataView {
        source: "reviews.tsv".to_owned(),
        text: vec!["text".to_owned()],
        label: Some("label".to_owned()),
        tokenizer: Some("vocab.txt".to_owned()),
        columns: vec!["text".to_owned(), "label".to_owned()],
        rows: (0..60)
            .map(|i| vec![texts[i % 3].to_owned(), ["good", "bad"][usize::from(i % 3 == 1)].to_owned()])
            .collect(),
        n_train: 480,
        n_validation: 120,
        classes: vec![("bad".to_owned(), 200), ("good".to_owned(), 400)],
        mapping: vec![
            ("input_ids:0".to_owned(), "input_ids".to_owned(), "[CLS] the delivery came [SEP]".to_owned()),
            ("label_ids:0".to_owned(), "label".to_owned(), "good is 1".to_owned()),
        ],
        lengths: vec![2, 8, 30, 60, 80, 50, 20, 8, 3, 1],
        length_bin: 8,
        max_length: 64,
        n_cut: 4,
        kind: "rows".to_owned(),
        n_examples: 60,
        ..DataView::default()
    }
}

/// A run in its second epoch.
pub fn run() -> regraft::ui::run_view::RunView {
    use regraft::ui::run_view::{Mark, MarkKind, Moment, Prediction, RunState, RunView, Series};
    let mut r = RunView {
        name: "run-3".to_owned(),
        state: RunState::Running,
        step: 220,
        total_steps: 360,
        epoch: 1,
        total_epochs: 3,
        elapsed_secs: 42.0,
        examples_per_sec: 83.0,
        trainable: 41,
        parameters: 4_700_000,
        memory_bytes: 310_000_000,
        learning_rate: 3.1e-5,
        loss: Series::new("loss"),
        validation_loss: Series::new("loss"),
        rate: Series::new("rate"),
        norm: Series::new("norm"),
        speed: Series::new("speed"),
        ..RunView::default()
    };
    for i in 0..220 {
        let t = f64::from(i);
        let at = Moment { step: t, epoch: t / 120.0, seconds: t * 0.19, wall: t * 0.2 };
        // A repeatable ragged curve.
        let noise = ((t * 12.9898).sin() * 43758.5453).fract().abs() - 0.5;
        let loss = 0.72 * (-t / 90.0).exp() + 0.12 + noise * 0.12;
        r.loss.push(at, loss);
        r.metric("accuracy").0.push(at, (1.0 - loss * 0.7 + noise * 0.05).clamp(0.0, 1.0));
        r.rate.push(at, 5e-5 * (t / 36.0).min(1.0) * (1.0 - t / 360.0));
        r.norm.push(at, 1.4 + noise + 2.0 * (-t / 40.0).exp());
        r.speed.push(at, 83.0 + noise * 6.0);
    }
    for (step, loss, accuracy) in [(60.0, 0.52, 0.74), (120.0, 0.34, 0.86), (180.0, 0.27, 0.9)] {
        let at = Moment { step, epoch: step / 120.0, seconds: step * 0.19, wall: step * 0.2 };
        r.validation_loss.push(at, loss);
        r.metric("accuracy").1.push(at, accuracy);
    }
    let at = Moment { step: 120.0, epoch: 1.0, seconds: 22.8, wall: 24.0 };
    r.marks.push(Mark { kind: MarkKind::Epoch, at, text: "epoch 2".to_owned() });
    for (step, kind, text) in [
        (60.0, MarkKind::Checkpoint, "checkpoint"),
        (90.0, MarkKind::RateChange, "learning rate 3.1e-5"),
        (150.0, MarkKind::Pause, "paused"),
        (180.0, MarkKind::BestCheckpoint, "best checkpoint"),
    ] {
        let at = Moment { step, epoch: step / 120.0, seconds: step * 0.19, wall: step * 0.2 };
        r.marks.push(Mark { kind, at, text: text.to_owned() });
    }
    r.confusion = Some((vec!["bad".to_owned(), "good".to_owned()], vec![vec![34, 6], vec![4, 76]]));
    r.predictions = (0..24)
        .map(|i| Prediction {
            text: ["Nobody answered the phone.", "Works as described, would buy again."][i % 2].to_owned(),
            label: ["bad", "good"][i % 2].to_owned(),
            predicted: ["bad", "good"][usize::from(i % 2 == 1 || i % 7 == 0)].to_owned(),
            probability: 0.55 + (i as f64 * 0.017) % 0.44,
            loss: 0.1,
            is_number: false,
        })
        .collect();
    regraft::ui::run_view::sort_worst_first(&mut r.predictions);
    r
}

/// The same run as it lies on disk.
pub fn entry(name: &str) -> regraft::ui::ctx::RunEntry {
    let run = run();
    regraft::ui::ctx::RunEntry {
        name: name.to_owned(),
        steps: run.step,
        total_steps: run.total_steps,
        elapsed_secs: run.elapsed_secs,
        parameters: run.parameters,
        curves: vec![
            run.loss.clone().named("train/loss"),
            run.validation_loss.clone().named("validation/loss"),
            run.metrics[0].1.clone().named("validation/accuracy"),
        ],
        can_resume: true,
        ..Default::default()
    }
}
