//! What each panel can have to show: empty, at work, failed, full. The rows are made up, on the model of [`super::model`].

use std::path::Path;
use std::sync::Arc;

use regraft::session::recipe::DataChoice;
use regraft::session::{Change, History, Overview};
use regraft::ui::ctx::{DataView, JobView, LogLine};
use regraft::ui::run_view::{RunState, RunView};
use regraft::ui::{Open, Target, UiState};

mod parts;

use super::model;
use parts::*;

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
