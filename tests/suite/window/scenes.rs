//! What each panel can have to show: empty, at work, failed, full. The rows are made up, on the model of [`super::model`].

use std::path::Path;
use std::sync::Arc;

use regraft::base::Severity;
use regraft::data::statistics::{Described, SliceAt, Sliced};
use regraft::edits::heads::{HeadChoice, Initializer};
use regraft::session::prove::{OutputDifference, Proof, What};
use regraft::session::recipe::{DataChoice, LoraChoice, ParameterGroup};
use regraft::session::{Change, EditStep, History, Overview, Selector};
use regraft::train::WeightRow;
use regraft::train::estimate::Estimate;
use regraft::train::metrics::PrecisionRecall;
use regraft::ui::ctx::{Changed, ComputedAs, DataView, Estimated, Exported, JobView, LogLine, NodeDetails, Proved};
use regraft::ui::run_view::{Moment, Prediction, RunState, RunView, Series};
use regraft::ui::{Open, Target, UiState};

use super::model;

/// Everything that one panel is shown with.
#[derive(Default)]
pub struct Scene {
    pub open: Option<Open>,
    pub run: Option<RunView>,
    pub jobs: Vec<JobView>,
    pub log: Vec<LogLine>,
    pub ui: UiState,
}

impl Scene {
    fn new() -> Self {
        Self { open: Some(model::open()), ..Self::default() }
    }

    /// A model of which nothing but its rows is known yet.
    fn fresh() -> Self {
        let open = Open::new(Path::new("bert_mini.pb"), Arc::new(model::overview()), History::default());
        Self { open: Some(open), ..Self::default() }
    }

    fn open(&mut self) -> &mut Open {
        self.open.as_mut().expect("the scene has a model")
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn decided(self, change: Change) -> Self {
        self.with(|s| {
            s.open().history.apply(&change, None);
        })
    }

    fn job(self, title: &str, fraction: Option<f32>) -> Self {
        let job = JobView { id: 1, title: title.to_owned(), fraction, ..JobView::default() };
        self.with(|s| s.jobs.push(job))
    }

    fn running(self, change: impl FnOnce(&mut RunView)) -> Self {
        let mut run = model::run();
        change(&mut run);
        self.with(|s| s.run = Some(run))
    }

    fn selected(self, target: Target) -> Self {
        self.with(|s| s.ui.selection.set(target))
    }

    fn data(self, change: impl FnOnce(&mut DataView)) -> Self {
        let choice = DataChoice { train: "reviews.tsv".to_owned(), ..DataChoice::default() };
        self.decided(Change::SetData(Some(choice))).with(|s| {
            let mut view = s.open().data.as_deref().cloned().unwrap_or_default();
            change(&mut view);
            s.open().data = Some(Arc::new(view));
        })
    }
}

/// A state of a panel by its name.
pub type State = (&'static str, fn() -> Scene);

/// The states of every panel, by its id.
pub const ALL: &[(&str, &[State])] = &[
    (
        "browser",
        &[
            ("constants", Scene::new),
            ("before the report", Scene::fresh),
            ("nodes", || Scene::new().with(|s| s.ui.browser.tab = regraft::ui::panels::BrowserTab::Nodes)),
            ("scopes", || Scene::new().with(|s| s.ui.browser.tab = regraft::ui::panels::BrowserTab::Scopes)),
            ("nothing found", || Scene::new().with(|s| s.ui.browser.filter = "no such name".to_owned())),
            ("no filter", || Scene::new().with(|s| s.ui.browser.filter = "elements:many kernel".to_owned())),
            ("several", || Scene::new().with(several)),
        ],
    ),
    (
        "graph",
        &[
            ("full", Scene::new),
            ("gradients", || Scene::new().with(|s| s.ui.canvas.color_mode = regraft::ui::canvas::ColorMode::Gradient)),
            ("norms, none measured", || {
                Scene::new().with(|s| s.ui.canvas.color_mode = regraft::ui::canvas::ColorMode::Norm)
            }),
            ("no nodes", || {
                let open = Open::new(Path::new("empty.pb"), Arc::new(Overview::default()), History::default());
                Scene { open: Some(open), ..Scene::default() }
            }),
        ],
    ),
    (
        "plots",
        &[
            ("no run", Scene::new),
            ("preparing", || Scene::new().with(|s| s.run = Some(young(RunState::Preparing, 0)))),
            ("first step", || Scene::new().with(|s| s.run = Some(young(RunState::Running, 1)))),
            ("full", || Scene::new().running(|_| {})),
            ("not finite", || Scene::new().running(failed)),
            ("odd", || Scene::new().with(|s| s.run = Some(super::curves::odd()))),
            ("an earlier run", || Scene::new().running(|r| r.state = RunState::Finished).with(compared)),
            ("earlier runs alone", || Scene::new().with(compared)),
        ],
    ),
    (
        "data",
        &[
            ("none", Scene::fresh),
            ("reading", || Scene::fresh().job("Reading the data", None)),
            ("unreadable", || {
                Scene::fresh().data(|d| {
                    *d = DataView {
                        problem: Some(
                            "cannot read reviews.tsv: row 4,213 has 3 columns where the first row has 2; quote the tab \
                             in it or pick another separator"
                                .to_owned(),
                        ),
                        ..DataView::default()
                    };
                })
            }),
            ("does not fit", || {
                Scene::new().data(|d| {
                    d.mapping.clear();
                    d.problem = Some(
                        "nothing says what fills the placeholder input_mask:0; map it with --map \
                         input_mask:0=FEATURE (input_ids, input_mask, segment_ids), or pin it with --set-input \
                         input_mask:0=VALUE"
                            .to_owned(),
                    );
                })
            }),
            ("full", || Scene::new().data(|_| {})),
            ("sentences", || Scene::new().data(sentences)),
        ],
    ),
    (
        "predictions",
        &[
            ("none", Scene::new),
            ("texts", || Scene::new().running(|_| {})),
            ("mistakes", || Scene::new().running(|_| {}).with(|s| s.ui.predictions.only_mistakes = true)),
            ("confusions", || Scene::new().running(|_| {}).with(by_class)),
            ("precision and recall", || Scene::new().running(|r| r.curves = curves(2)).with(by_class)),
            ("many classes", || Scene::new().running(many_classes).with(by_class)),
            ("numbers", || Scene::new().running(numbers)),
        ],
    ),
    (
        "compare",
        &[
            ("no runs", Scene::new),
            ("one", || Scene::new().with(|s| s.open().set_runs(vec![model::entry("run-1")]))),
            ("three", || Scene::new().with(compared)),
        ],
    ),
    (
        "export",
        &[
            ("no kinds yet", Scene::fresh),
            ("full", || Scene::new().with(grafted).with(compared)),
            ("at work", || Scene::new().job("Exporting bert_mini-tuned.pb", None)),
            ("done", || Scene::new().with(|s| s.ui.exported = Some(Ok(exported())))),
            ("failed", || Scene::new().with(|s| s.ui.exported = Some(Err(NOT_EXPORTED.to_owned())))),
            ("out of reach", || {
                Scene::new().with(|s| {
                    s.ui.drafts.insert("export-path".to_owned(), "models/tuned/bert_mini-tuned.onnx".to_owned());
                })
            }),
        ],
    ),
    (
        "inspector",
        &[
            ("nothing", Scene::new),
            ("reading", || Scene::new().selected(node(KERNEL))),
            ("unreadable", || Scene::new().selected(node(KERNEL)).with(unreadable)),
            ("constant", || Scene::new().selected(node(KERNEL)).with(described)),
            ("blocked", || Scene::new().with(blocked)),
            ("node", || Scene::new().selected(node("bert/encoder/layer_0/attention/self/MatMul")).with(details)),
            ("edge", || Scene::new().selected(Target::Value("bert/encoder/mul:0".to_owned()))),
            ("site", || Scene::new().selected(Target::Site("bert/embeddings/dropout/mul:0".to_owned()))),
            ("scope", || Scene::new().selected(Target::Scope("bert/encoder/layer_0".to_owned()))),
            ("several", || Scene::new().with(several)),
            ("gone", || Scene::new().selected(node("bert/encoder/no/longer/there"))),
        ],
    ),
    (
        "training",
        &[
            ("nothing trains", || form().with(nothing_trains)),
            ("no data", form),
            ("ready", ready),
            ("estimating", || ready().job(regraft::ui::panels::ESTIMATING, Some(0.4))),
            ("estimated", || ready().with(estimated)),
            ("no estimate", || ready().with(no_estimate)),
            ("running", || ready().running(|_| {})),
            ("paused", || ready().running(|r| r.state = RunState::Paused)),
            ("stopping", || ready().running(|r| r.state = RunState::Stopping)),
            ("failed", || ready().running(failed)),
            ("to go on with", || ready().with(compared)),
            ("groups", groups),
        ],
    ),
    (
        "dropout",
        &[
            ("none", || {
                let mut o = model::overview();
                o.dropout.clear();
                let open = Open::new(Path::new("bert_mini.pb"), Arc::new(o), History::default());
                Scene { open: Some(open), ..Scene::default() }
            }),
            ("full", Scene::new),
            ("one removed", || Scene::new().with(grafted)),
        ],
    ),
    (
        "recipe",
        &[
            ("none", Scene::new),
            ("full", || Scene::new().with(grafted)),
            ("proving", || Scene::new().with(grafted).job("Proving the adjustments", Some(0.3))),
            ("proved", || Scene::new().with(grafted).with(|s| proved(s, 0.0))),
            ("differs", || Scene::new().with(grafted).with(|s| proved(s, 3.1e-4))),
            ("not proved", || Scene::new().with(grafted).with(not_proved)),
        ],
    ),
    ("history", &[("opened", Scene::new), ("full", || Scene::new().with(grafted))]),
    (
        "problems",
        &[
            ("none", || Scene::fresh().with(no_problems)),
            ("several", Scene::new),
            ("of data", || Scene::new().data(|d| d.problem = Some(NO_TOKENIZER.to_owned()))),
            ("of a run", || Scene::new().running(failed)),
        ],
    ),
    (
        "gradients",
        &[
            ("not known", Scene::fresh),
            ("blocked", Scene::new),
            ("reached", || Scene::new().with(reached)),
            ("measured", || Scene::new().with(reached).running(measured)),
            ("not finite", || Scene::new().with(reached).running(failed)),
        ],
    ),
    ("log", &[("none", Scene::new), ("full", || Scene::new().with(logged))]),
];

const KERNEL: &str = "bert/encoder/layer_0/attention/self/query/kernel";

const NOT_EXPORTED: &str = "Cannot write models/bert_mini-tuned.pb: no space is left on the disk. Nothing was changed there; \
                            free 19.4 MB or choose another path.";

const NO_TOKENIZER: &str = "texts need a tokenizer (--tokenizer vocab.txt)";

fn node(name: &str) -> Target {
    Target::Node(name.to_owned())
}

fn several(s: &mut Scene) {
    let names: Vec<String> = s.open().overview.constants.iter().take(9).map(|c| c.name.clone()).collect();
    s.ui.selection.set_many(names, None);
}

/// A run that has come `n` steps far.
fn young(state: RunState, n: usize) -> RunView {
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

fn failed(r: &mut RunView) {
    r.state = RunState::Failed;
    r.message = Some(
        "The loss is not finite at step 220. The first such value came from bert/encoder/layer_2/output/LayerNorm/Rsqrt; \
         a smaller learning rate or clipping helps."
            .to_owned(),
    );
    r.watch.nan_origin = Some("bert/encoder/layer_2/output/LayerNorm/batchnorm/Rsqrt".to_owned());
}

fn sentences(d: &mut DataView) {
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

fn curves(n: usize) -> Vec<(String, PrecisionRecall)> {
    let curve = |class: usize| {
        let recall: Vec<f64> = (0..=20).rev().map(|i| f64::from(i) / 20.0).collect();
        let precision = recall.iter().map(|r| 1.0 - r * r * (0.3 + 0.1 * class as f64)).collect();
        PrecisionRecall { class, precision, recall, average: 0.86 - 0.05 * class as f64 }
    };
    (0..n).map(|i| (format!("class {i} with a long name"), curve(i))).collect()
}

fn many_classes(r: &mut RunView) {
    let names = ["B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER", "B-creative-work", "I-creative-work", "O"];
    let n = names.len();
    let counts = (0..n).map(|i| (0..n).map(|j| if i == j { 1200 + i } else { (i * j) % 7 }).collect()).collect();
    r.confusion = Some((names.map(str::to_owned).to_vec(), counts));
    r.curves = curves(6);
}

fn numbers(r: &mut RunView) {
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

fn by_class(s: &mut Scene) {
    s.ui.predictions.shows_classes = true;
}

fn compared(s: &mut Scene) {
    let mut runs = ["run-1", "run-2", "a run with a long name of its own"].map(model::entry).to_vec();
    for (i, r) in runs.iter_mut().enumerate() {
        r.has_best = i == 1;
        r.state = [RunState::Finished, RunState::Stopped, RunState::Failed][i];
        r.recipe.settings.insert("optimizer.lr".to_owned(), ["5e-5", "2e-5", "1e-3"][i].to_owned());
    }
    s.open().set_runs(runs);
}

fn exported() -> Exported {
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

fn unreadable(s: &mut Scene) {
    let why = "cannot read its values: the file ends 1,024 bytes before they do; was it cut while it was copied?";
    s.open().described.insert(KERNEL.to_owned(), Err(why.to_owned()));
}

fn described(s: &mut Scene) {
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

fn blocked(s: &mut Scene) {
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

fn details(s: &mut Scene) {
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

fn grafted(s: &mut Scene) {
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

fn proved(s: &mut Scene, largest: f64) {
    let output =
        |name: &str, largest| OutputDifference { name: name.to_owned(), largest, magnitude: 4.2, is_gone: false };
    let outputs = vec![output("loss/Mean:0", largest), output("bert/pooler/dense/Tanh:0", 0.0)];
    let proof = Proof { inputs: "rows of reviews.tsv".to_owned(), n_inputs: 8, outputs };
    let edits = s.open().recipe().edits.clone();
    s.open().proof = Some(Proved { what: What::All, edits, result: Ok(Arc::new(proof)) });
}

fn not_proved(s: &mut Scene) {
    let why = "the model cannot be run on random inputs: input_ids:0 has no known length; pick data first";
    let edits = s.open().recipe().edits.clone();
    s.open().proof = Some(Proved { what: What::Only(1), edits, result: Err(why.to_owned()) });
}

fn form() -> Scene {
    Scene::new().with(|s| s.open().form = Arc::new(regraft::app::work::form()))
}

fn nothing_trains(s: &mut Scene) {
    let mut overview = (*s.open().overview).clone();
    overview.counts.trainable = 0;
    overview.counts.trainable_parameters = 0;
    s.open().overview = Arc::new(overview);
}

fn ready() -> Scene {
    form().data(|_| {})
}

fn estimated(s: &mut Scene) {
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

fn no_estimate(s: &mut Scene) {
    let recipe = s.open().history.recipe().clone();
    let why = "row 12 of reviews.tsv: the label 'maybe' is not among the classes good, bad";
    s.open().estimate = Some(Estimated { recipe, result: Err(why.to_owned()) });
}

fn groups() -> Scene {
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

fn no_problems(s: &mut Scene) {
    let mut overview = (*s.open().overview).clone();
    overview.diagnostics.clear();
    s.open().overview = Arc::new(overview);
}

fn reached(s: &mut Scene) {
    let mut g = s.open().gradients.as_deref().cloned().unwrap_or_default();
    g.blockers.clear();
    g.reached = g.trainable;
    g.constants.iter_mut().for_each(|c| (c.verdict, c.why) = ("flows".to_owned(), None));
    s.open().gradients = Some(Arc::new(g));
}

fn measured(r: &mut RunView) {
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

fn logged(s: &mut Scene) {
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
