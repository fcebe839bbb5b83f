//! What the scenes are made of: runs, data, decisions and failures.

use std::sync::Arc;

use regraft::base::Severity;
use regraft::data::statistics::{Described, SliceAt, Sliced};
use regraft::edits::heads::{HeadChoice, Initializer};
use regraft::session::prove::{OutputDifference, Proof, What};
use regraft::session::recipe::{LoraChoice, ParameterGroup};
use regraft::session::{Change, EditStep, Selector};
use regraft::train::WeightRow;
use regraft::train::estimate::Estimate;
use regraft::train::metrics::PrecisionRecall;
use regraft::ui::Target;
use regraft::ui::ctx::{Changed, ComputedAs, DataView, Estimated, Exported, LogLine, NodeDetails, Proved};
use regraft::ui::run_view::{Moment, Prediction, RunState, RunView, Series};

use super::Scene;
use crate::window::model;

pub const KERNEL: &str = "bert/encoder/layer_0/attention/self/query/kernel";

pub const NOT_EXPORTED: &str = "Cannot write models/bert_mini-tuned.pb: no space is left on the disk. Nothing was changed there; \
                            free 19.4 MB or choose another path.";

pub const NO_TOKENIZER: &str = "texts need a tokenizer (--tokenizer vocab.txt)";

pub fn node(name: &str) -> Target {
    Target::Node(name.to_owned())
}

pub fn several(s: &mut Scene) {
    let names: Vec<String> = s.open().overview.constants.iter().take(9).map(|c| c.name.clone()).collect();
    s.ui.selection.set_many(names, None);
}

/// A run that has come `n` steps far.
pub fn young(state: RunState, n: usize) -> RunView {
    let full = model::run();
    let first = |s: &Series| {
        let mut out = Series::new("loss");
        let at = |i: usize| Moment { step: s.steps[i], epoch: s.epochs[i], seconds: s.seconds[i], wall: s.wall[i] };
        (0..n).for_each(|i| out.push(at(i), s.values[i]));
        out
    };
    RunView {
        name: "run-1".to_owned(),
        state,
        step: n,
        total_steps: if n == 0 { 0 } else { 360 },
        loss: first(&full.loss),
        validation_loss: Series::new("loss"),
        rate: first(&full.rate),
        norm: first(&full.norm),
        speed: first(&full.speed),
        ..RunView::default()
    }
}

pub fn failed(r: &mut RunView) {
    r.state = RunState::Failed;
    r.message = Some(
        "The loss is not finite at step 220. The first such value came from bert/encoder/layer_2/output/LayerNorm/Rsqrt; \
         a smaller learning rate or clipping helps."
            .to_owned(),
    );
    r.watch.nan_origin = Some("bert/encoder/layer_2/output/LayerNorm/batchnorm/Rsqrt".to_owned());
}

pub fn sentences(d: &mut DataView) {
    d.kind = "sentences".to_owned();
    d.columns.clear();
    d.text.clear();
    d.preview_title = "Words with their labels".to_owned();
    d.rows = (0..40)
        .map(|_| vec!["Angela/B-PER Merkel/I-PER visited/O Paris/B-LOC on/O Tuesday/O ./O".to_owned()])
        .collect();
    d.classes =
        ["B-LOC", "B-ORG", "B-PER", "I-LOC", "I-ORG", "I-PER", "O"].iter().map(|c| ((*c).to_owned(), 120)).collect();
    d.notes = vec!["12 sentences have no label but O".to_owned()];
    d.example = 3;
    d.example_problem = Some("the label B-MISC is not among the classes".to_owned());
}

pub fn curves(n: usize) -> Vec<(String, PrecisionRecall)> {
    let curve = |class: usize| {
        let recall: Vec<f64> = (0..=20).rev().map(|i| f64::from(i) / 20.0).collect();
        let precision = recall.iter().map(|r| 1.0 - r * r * (0.3 + 0.1 * class as f64)).collect();
        PrecisionRecall { class, precision, recall, average: 0.86 - 0.05 * class as f64 }
    };
    (0..n).map(|i| (format!("class {i} with a long name"), curve(i))).collect()
}

pub fn many_classes(r: &mut RunView) {
    let names = ["B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER", "B-creative-work", "I-creative-work", "O"];
    let n = names.len();
    let counts = (0..n).map(|i| (0..n).map(|j| if i == j { 1200 + i } else { (i * j) % 7 }).collect()).collect();
    r.confusion = Some((names.map(str::to_owned).to_vec(), counts));
    r.curves = curves(6);
}

pub fn numbers(r: &mut RunView) {
    r.confusion = None;
    let number = |i: usize| Prediction {
        text: "A sentence whose score is a number between 0 and 5.".to_owned(),
        label: format!("{:.2}", i as f64 * 0.21),
        predicted: format!("{:.4}", i as f64 * 0.2),
        probability: f64::NAN,
        loss: 0.01 * i as f64,
        is_number: true,
    };
    r.predictions = (0..20).map(number).collect();
}

pub fn by_class(s: &mut Scene) {
    s.ui.predictions.shows_classes = true;
}

pub fn compared(s: &mut Scene) {
    let mut runs = ["run-1", "run-2", "a run with a long name of its own"].map(model::entry).to_vec();
    for (i, r) in runs.iter_mut().enumerate() {
        r.has_best = i == 1;
        r.state = [RunState::Finished, RunState::Stopped, RunState::Failed][i];
        r.recipe.settings.insert("optimizer.lr".to_owned(), ["5e-5", "2e-5", "1e-3"][i].to_owned());
    }
    s.open().set_runs(runs);
}

pub fn exported() -> Exported {
    let fact = |name: &str, value: &str| (name.to_owned(), value.to_owned(), value.to_owned());
    Exported {
        said: "Exported".to_owned(),
        facts: vec![
            fact("File", "/home/somebody/projects/reviews/models/bert_mini-tuned.pb"),
            fact("Tensors changed", "41"),
            fact("Nodes removed", "12"),
            fact("Nodes added", "2"),
            fact("Inputs that read something else", "3"),
            fact("Read back and compared on", "8 rows of reviews.tsv"),
            fact("Largest difference of outputs", "2.38e-7"),
            fact("Beside it", "labels.txt, vocab.txt"),
        ],
        notes: vec!["'tagger/logits' is no output any more: the head took its place".to_owned()],
    }
}

pub fn unreadable(s: &mut Scene) {
    let why = "cannot read its values: the file ends 1,024 bytes before they do; was it cut while it was copied?";
    s.open().described.insert(KERNEL.to_owned(), Err(why.to_owned()));
}

pub fn described(s: &mut Scene) {
    let histogram = (0..48).map(|i: i32| (5000.0 * (-f64::from((i - 24) * (i - 24)) / 90.0).exp()) as usize).collect();
    let described = Described {
        elements: 16_384,
        finite: 16_384,
        min: -0.081_234,
        max: 0.079_91,
        mean: 0.000_012,
        deviation: 0.02,
        histogram,
        ..Described::default()
    };
    s.open().described.insert(KERNEL.to_owned(), Ok(Arc::new(described)));
    let value = |i: usize| ((i as f64 * 12.9898).sin() * 43758.5453).fract() * 0.08;
    let sliced = Sliced {
        at: SliceAt { name: KERNEL.to_owned(), ..SliceAt::default() },
        rows: 128,
        columns: 128,
        picture: (0..32 * 32).map(|i| value(i) as f32).collect(),
        picture_size: [32, 32],
        grid: (0..80).map(value).collect(),
        grid_columns: 8,
    };
    s.open().slice = Some((sliced.at.clone(), Ok(Arc::new(sliced))));
    s.open().set_runs(vec![model::entry("run-1"), model::entry("run-2")]);
    let moved = regraft::data::statistics::Moved { norm: 0.0123, largest: 0.0004, relative: Some(0.0021) };
    let changes = vec![
        Changed { run: "run-1".to_owned(), moved: Ok(moved) },
        Changed { run: "run-2".to_owned(), moved: Err("its checkpoint is no longer there".to_owned()) },
    ];
    s.open().changes.insert(KERNEL.to_owned(), changes);
}

pub fn blocked(s: &mut Scene) {
    let g = s.open().gradients.clone().expect("the model has a report");
    let row = g.constants.iter().find(|c| c.verdict == "blocked").expect("something is blocked").clone();
    let mut overview = (*s.open().overview).clone();
    let constant = overview.constants.iter_mut().find(|c| c.name == row.name).expect("it is a constant");
    constant.gradient = "blocked".to_owned();
    let mut g = (*g).clone();
    let path = ["bert/embeddings/LayerNorm/batchnorm/mul", "bert/embeddings/LayerNorm/batchnorm/add_1"];
    g.constants.iter_mut().filter(|c| c.name == row.name).for_each(|c| c.path = path.map(str::to_owned).to_vec());
    s.open().overview = Arc::new(overview);
    s.open().gradients = Some(Arc::new(g));
    s.ui.selection.set(node(&row.name));
}

pub fn details(s: &mut Scene) {
    let details = NodeDetails {
        attributes: vec![
            ("adj_x".to_owned(), "bool".to_owned(), "false".to_owned()),
            ("adj_y".to_owned(), "bool".to_owned(), "true".to_owned()),
            ("T".to_owned(), "type".to_owned(), "float32".to_owned()),
        ],
        computed_as: vec![ComputedAs {
            name: "matmul",
            summary: "Product of matrices, batched over leading axes.",
            formula: "y = a · b",
        }],
    };
    s.open().details.insert("bert/encoder/layer_0/attention/self/MatMul".to_owned(), details);
}

pub fn grafted(s: &mut Scene) {
    let head = HeadChoice {
        kind: "classifier".to_owned(),
        at: Some("bert/pooler/dense/Tanh:0".to_owned()),
        classes: Some(3),
        name: "head".to_owned(),
        dropout: 0.1,
        initializer: Initializer::default(),
        seed: 0,
    };
    let lora = LoraChoice { rank: 8, ..LoraChoice::default() };
    let site = "bert/embeddings/dropout/mul:0".to_owned();
    for change in [
        Change::AddEdits(vec![EditStep::BypassDropout { output: site }]),
        Change::AddEdits(vec![EditStep::GraftHead(head)]),
        Change::AddEdits(vec![EditStep::Lora(lora)]),
        Change::EnableEdit { index: 2, enabled: false },
        Change::NoteEdit { index: 0, note: "evaluation between epochs must not jump".to_owned() },
        Change::SetSetting { key: "optimizer.lr".to_owned(), value: Some("2e-5".to_owned()) },
        Change::SetPin { name: "keras_learning_phase".to_owned(), value: Some(0.0) },
    ] {
        s.open().history.apply(&change, None);
    }
}

pub fn proved(s: &mut Scene, largest: f64) {
    let output =
        |name: &str, largest| OutputDifference { name: name.to_owned(), largest, magnitude: 4.2, is_gone: false };
    let outputs = vec![output("loss/Mean:0", largest), output("bert/pooler/dense/Tanh:0", 0.0)];
    let proof = Proof { inputs: "rows of reviews.tsv".to_owned(), n_inputs: 8, outputs };
    let edits = s.open().recipe().edits.clone();
    s.open().proof = Some(Proved { what: What::All, edits, result: Ok(Arc::new(proof)) });
}

pub fn not_proved(s: &mut Scene) {
    let why = "the model cannot be run on random inputs: input_ids:0 has no known length; pick data first";
    let edits = s.open().recipe().edits.clone();
    s.open().proof = Some(Proved { what: What::Only(1), edits, result: Err(why.to_owned()) });
}

pub fn form() -> Scene {
    Scene::new().with(|s| s.open().form = Arc::new(regraft::app::work::form()))
}

pub fn nothing_trains(s: &mut Scene) {
    let mut overview = (*s.open().overview).clone();
    overview.counts.trainable = 0;
    overview.counts.trainable_parameters = 0;
    s.open().overview = Arc::new(overview);
}

pub fn ready() -> Scene {
    form().data(|_| {})
}

pub fn estimated(s: &mut Scene) {
    let estimate = Estimate {
        trainable: 41,
        parameters: 4_700_000,
        steps: 360,
        memory_bytes: 1_340_000_000,
        step_secs: 0.312,
        eval_secs: 4.1,
        total_secs: 125.2,
    };
    let recipe = s.open().history.recipe().clone();
    s.open().estimate = Some(Estimated { recipe, result: Ok(estimate) });
}

pub fn no_estimate(s: &mut Scene) {
    let recipe = s.open().history.recipe().clone();
    let why = "row 12 of reviews.tsv: the label 'maybe' is not among the classes good, bad";
    s.open().estimate = Some(Estimated { recipe, result: Err(why.to_owned()) });
}

pub fn groups() -> Scene {
    let of = |select: Selector, lr: Option<f64>, lr_factor: Option<f64>| ParameterGroup {
        select: vec![select],
        lr,
        lr_factor,
        ..ParameterGroup::default()
    };
    let groups = vec![
        of(Selector::Heads, Some(1e-3), None),
        of(Selector::Role("bias".to_owned()), None, Some(2.0)),
        of(Selector::Name("no/such/constant".to_owned()), None, Some(0.5)),
    ];
    Scene::new().data(|_| {}).decided(Change::SetGroups(groups)).with(|s| {
        s.ui.show_advanced = true;
        s.open().group_sizes =
            vec![Ok((2, 387)), Ok((12, 9216)), Err("no trainable constant is called no/such/constant".to_owned())];
    })
}

pub fn no_problems(s: &mut Scene) {
    let mut overview = (*s.open().overview).clone();
    overview.diagnostics.clear();
    s.open().overview = Arc::new(overview);
}

pub fn reached(s: &mut Scene) {
    let mut g = s.open().gradients.as_deref().cloned().unwrap_or_default();
    g.blockers.clear();
    g.reached = g.trainable;
    g.constants.iter_mut().for_each(|c| (c.verdict, c.why) = ("flows".to_owned(), None));
    s.open().gradients = Some(Arc::new(g));
}

pub fn measured(r: &mut RunView) {
    let names = model::overview().constants.into_iter().filter(|c| c.trainable).map(|c| c.name);
    let names: Vec<String> = names.collect();
    for n in 1..=12u32 {
        let row = |(i, name): (usize, &String)| WeightRow {
            name: name.as_str().into(),
            gradient_norm: Some(if i == 3 { 0.0 } else { 0.02 * (i + 1) as f64 }),
            update_ratio: Some(if i == 5 { 0.3 } else { 1.2e-3 }),
            zero_in_a_row: if i == 3 { n } else { 0 },
        };
        let rows: Vec<WeightRow> = names.iter().enumerate().map(row).collect();
        r.watch.take(u64::from(n) * 10, &rows);
    }
}

pub fn logged(s: &mut Scene) {
    let lines = [
        (Severity::Info, "Opened bert_mini.pb: 214 nodes, 74 constants"),
        (Severity::Warning, "The batch size is baked into a Reshape: batches of another size cannot be fed."),
        (
            Severity::Error,
            "Cannot write models/bert_mini-tuned.pb: no space is left on the disk. Nothing was changed there; free 19.4 MB or \
             choose another path.",
        ),
        (Severity::Info, "run-1: epoch 1 of 3, validation loss 0.52"),
    ];
    s.log = lines
        .iter()
        .enumerate()
        .map(|(i, (severity, text))| LogLine {
            time: format!("0:{i:02}"),
            severity: *severity,
            text: (*text).to_owned(),
        })
        .collect();
}
