//! What panels may read: the open model as plain rows, the run as plain series, jobs, and a door for commands.
//!
//! `app` builds these from the session; nothing here computes with tensors, so that panels can be tested with made-up
//! rows.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::Severity;
use crate::data::statistics::{Described, Moved, SliceAt, Sliced, ValueRange};
use crate::engine::Cost;
use crate::formats::EntryPoint;
use crate::formats::targets::Target;

use crate::session::{Change, GraphDiff, History, Overview, Recipe};

use super::canvas::shown::Shown;
use super::command::{Action, Command, Sender};
use super::index::Index;
pub use super::preferences::{Preferences, ThemeChoice};
use super::problems::Cure;
use super::run_view::RunView;
use super::theme::Tokens;

/// One frame's view of everything.
#[derive(Clone, Copy, Debug)]
pub struct Ctx<'a> {
    pub open: Option<&'a Open>,
    pub run: Option<&'a RunView>,
    pub jobs: &'a [JobView],
    pub settings: &'a Preferences,
    pub log: &'a [LogLine],
    /// Unsaved work of programs that ended by a crash.
    pub recoverable: &'a [Recoverable],
    /// Why the last file could not be opened, where nothing is open.
    pub opening_failed: Option<&'a str>,
    pub tokens: &'static Tokens,
    pub commands: &'a Sender,
}

impl Ctx<'_> {
    pub fn send(&self, command: Command) {
        self.commands.send(command);
    }

    pub fn act(&self, action: Action) {
        self.commands.send(Command::Do(action));
    }

    pub fn change(&self, change: Change) {
        self.commands.send(Command::change(change));
    }

    /// Whether an action makes sense now; menus grey out the others.
    /// Why an action cannot be taken now; `None` where it can.
    pub fn why_not(&self, action: Action) -> Option<&'static str> {
        use Action as A;
        if self.is_enabled(action) {
            return None;
        }
        let is_running = self.run.is_some_and(|r| r.state.is_active());
        Some(match action {
            A::Undo => "nothing to undo",
            A::Redo => "nothing to redo",
            A::Pause | A::Resume if is_running => "not in this state of the run",
            A::Pause | A::Resume | A::StopAndKeep | A::StopAndDiscard | A::SaveCheckpoint => "no run is in progress",
            _ if self.open.is_none() => "no model is open",
            _ if is_running && action != A::Prove => "a run is in progress",
            A::ResumeRun => "no run can be resumed",
            A::Prove => "nothing was adjusted",
            A::ChooseEntry => "the file has one way in",
            A::MeasureTimes => "no data were picked",
            A::DropoutOff | A::DropoutTrain | A::BypassAllDropout => "there is no dropout",
            _ => "not now",
        })
    }

    pub fn is_enabled(&self, action: Action) -> bool {
        use Action as A;
        let open = self.open.is_some();
        let state = self.run.map(|r| r.state);
        let running = state.is_some_and(super::run_view::RunState::is_active);
        match action {
            A::Undo => self.open.is_some_and(|o| o.history.can_undo()),
            A::Redo => self.open.is_some_and(|o| o.history.can_redo()),
            A::Pause => state == Some(super::run_view::RunState::Running),
            A::Resume => state == Some(super::run_view::RunState::Paused),
            A::StopAndKeep | A::StopAndDiscard | A::SaveCheckpoint => running,
            A::Train => open && !running,
            A::ResumeRun => open && !running && self.open.is_some_and(|o| o.runs.iter().any(|r| r.can_resume)),
            A::Prove => self.open.is_some_and(|o| !o.recipe().edits.is_empty()),
            A::ApplyRecipe => open,
            A::ChooseEntry => self.open.is_some_and(|o| o.entries.len() > 1) && !running,
            A::CloseModel => open && !running,
            A::Save | A::SaveAs | A::Export | A::Find | A::SelectAll | A::CopyNames | A::CopyRecipe => open,
            A::PasteRecipe
            | A::SelectBack
            | A::SelectForward
            | A::FitGraph
            | A::ZoomToSelection
            | A::RevealSelection => open,
            A::TrainSuggested | A::TrainAllFloat | A::FreezeAll | A::TrainSelection | A::FreezeSelection => open,
            A::SaveGraphPng | A::SaveGraphSvg => open,
            A::MeasureTimes => self.open.is_some_and(|o| o.recipe().data.is_some()) && !running,
            A::FreezeBelow | A::ToggleDirection | A::ToggleEdgeShapes => open,
            A::OnlySelection | A::OnlyBiases | A::OnlyNorms | A::OnlyHeads | A::LastLayers => open,
            A::GraftHead | A::AddLora | A::LoadWeights | A::PickData | A::ChooseLoss => open,
            A::DropoutOff | A::DropoutTrain | A::BypassAllDropout => {
                self.open.is_some_and(|o| !o.overview.dropout.is_empty())
            }
            _ => true,
        }
    }
}

/// An open model with its decisions.
#[derive(Debug)]
pub struct Open {
    pub path: PathBuf,
    pub session_path: Option<PathBuf>,
    pub overview: Arc<Overview>,
    pub index: Arc<Index>,
    /// The rows for the canvas, with what edits added and rewired; and the same with what they took out of the file.
    pub shown: Arc<Shown>,
    pub with_removed: Option<Arc<Shown>>,
    /// Where the time of a training step goes, once it was measured.
    pub times: Option<Arc<NodeTimes>>,
    pub history: History,
    /// The recipe as it was last saved.
    pub saved: Arc<Recipe>,
    /// When it was saved in this window.
    pub saved_at: Option<std::time::Instant>,
    pub gradients: Option<Arc<Gradients>>,
    /// Values of constants that were asked for.
    pub described: HashMap<String, Result<Arc<Described>, String>>,
    /// Least, greatest and mean of constants that were in sight; `None` where there are no numbers.
    pub ranges: HashMap<String, Option<ValueRange>>,
    /// A newer recipe is being worked into what is shown.
    pub is_refreshing: bool,
    /// What the data tab shows; made by the data job.
    pub data: Option<Arc<DataView>>,
    /// The settings form: what can be set, and its defaults.
    pub form: Arc<Vec<SettingGroup>>,
    /// Whether the adjustments keep the outputs, where that was asked.
    pub proof: Option<Proved>,
    /// Runs of this session on disk, oldest first.
    pub runs: Arc<Vec<RunEntry>>,
    /// Constants that some run of this session tuned.
    pub tuned: Arc<HashSet<String>>,
    /// Ways into the file, where it has several meta graphs or signatures.
    pub entries: Arc<Vec<EntryPoint>>,
    /// What the model can be written as.
    pub targets: Arc<Vec<Target>>,
    /// Attributes and documentation of nodes that were looked at.
    pub details: HashMap<String, NodeDetails>,
    /// How far each run moved constants that were looked at.
    pub changes: HashMap<String, Vec<Changed>>,
    pub known_problems: super::problems::Known,
    /// What a run would take, where that was asked, and for which decisions.
    pub estimate: Option<Estimated>,
    /// Constants and parameters of each group of the recipe as it was worked in, or what is wrong with it.
    pub group_sizes: Vec<Result<(usize, usize), String>>,
    /// The part of a constant that the inspector shows.
    pub slice: Option<(SliceAt, Result<Arc<Sliced>, String>)>,
}

impl Open {
    pub fn new(path: &Path, overview: Arc<Overview>, history: History) -> Self {
        let index = Arc::new(Index::new(&overview));
        Self::from_rows(path, Rows::plain(overview, index), history)
    }

    /// From rows that a job worked out.
    pub fn from_rows(path: &Path, rows: Rows, history: History) -> Self {
        let Rows { overview, index, shown, with_removed } = rows;
        Self {
            path: path.to_owned(),
            session_path: None,
            index,
            shown,
            with_removed,
            times: None,
            overview,
            saved: history.recipe().clone(),
            saved_at: None,
            history,
            gradients: None,
            described: HashMap::new(),
            ranges: HashMap::new(),
            is_refreshing: false,
            data: None,
            form: Arc::default(),
            proof: None,
            runs: Arc::default(),
            tuned: Arc::default(),
            entries: Arc::default(),
            targets: Arc::default(),
            details: HashMap::new(),
            changes: HashMap::new(),
            known_problems: super::problems::Known::default(),
            estimate: None,
            group_sizes: Vec::new(),
            slice: None,
        }
    }

    /// Runs as they lie on disk now.
    pub fn set_runs(&mut self, runs: Vec<RunEntry>) {
        self.tuned = Arc::new(runs.iter().flat_map(|r| r.tuned.iter().cloned()).collect());
        self.runs = Arc::new(runs);
        self.changes.clear();
    }

    /// Newer rows of the same model.
    pub fn set_rows(&mut self, rows: Rows) {
        let Rows { overview, index, shown, with_removed } = rows;
        (self.overview, self.index, self.shown, self.with_removed) = (overview, index, shown, with_removed);
    }

    pub fn recipe(&self) -> &Recipe {
        self.history.recipe()
    }

    pub fn is_saved(&self) -> bool {
        self.saved == *self.history.recipe()
    }

    /// Name for title bars: the session's file, else the model's.
    pub fn title(&self) -> String {
        let path = self.session_path.as_ref().unwrap_or(&self.path);
        path.file_name().map_or_else(|| "model".to_owned(), |n| n.to_string_lossy().into_owned())
    }
}

/// An overview with what is looked up in it, made off the window's thread.
#[derive(Clone, Debug)]
pub struct Rows {
    pub overview: Arc<Overview>,
    pub index: Arc<Index>,
    pub shown: Arc<Shown>,
    pub with_removed: Option<Arc<Shown>>,
}

impl Rows {
    pub fn plain(overview: Arc<Overview>, index: Arc<Index>) -> Self {
        let shown = Arc::new(Shown::plain(overview.clone(), index.clone()));
        Self { overview, index, shown, with_removed: None }
    }

    /// `diff` is what edits changed in the file's graph; `None` where there are none.
    pub fn new(overview: Overview, diff: Option<&GraphDiff>) -> Self {
        let index = Arc::new(Index::new(&overview));
        let overview = Arc::new(overview);
        let Some(diff) = diff.filter(|d| !d.is_empty()) else { return Self::plain(overview, index) };
        let with_removed = Shown::with_removed(&overview, diff).map(Arc::new);
        let shown = Arc::new(Shown::edited(overview.clone(), index.clone(), diff));
        Self { overview, index, shown, with_removed }
    }
}

/// Time and memory of one training step by the graph's nodes, forward and backward; a fused step counts for the last of its
/// nodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeTimes {
    pub nodes: HashMap<String, Cost>,
    /// Of the whole step, with what belongs to no node.
    pub total: f64,
}

/// Whether gradient arrives at what trains, and if not, where it stops.
#[derive(Clone, Debug, Default)]
pub struct Gradients {
    /// What is minimised, in words.
    pub objective: String,
    /// Nothing was chosen to be minimised, and the graph does not end in one scalar.
    pub lacks_loss: bool,
    pub trainable: usize,
    pub reached: usize,
    pub constants: Vec<GradientRow>,
    pub blockers: Vec<Blocker>,
}

#[derive(Clone, Debug, Default)]
pub struct GradientRow {
    pub name: String,
    /// `flows`, `zero`, `blocked`, `stopped`, `off-path`, `not-float`, `dead-branch`.
    pub verdict: String,
    pub why: Option<String>,
    /// From the constant towards the objective, to where the gradient stops.
    pub path: Vec<String>,
}

/// A node where gradients of trainable constants stop.
#[derive(Clone, Debug, Default)]
pub struct Blocker {
    pub node: String,
    pub op: String,
    pub verdict: String,
    pub why: String,
    pub blocks: Vec<String>,
    pub cures: Vec<Cure>,
}

/// The data as the data tab shows it.
#[derive(Clone, Debug, Default)]
pub struct DataView {
    pub source: String,
    /// Columns that hold text (one, or two for pairs) and labels.
    pub text: Vec<String>,
    pub label: Option<String>,
    pub tokenizer: Option<String>,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
    pub n_train: usize,
    pub n_validation: usize,
    /// Class name and count.
    pub classes: Vec<(String, usize)>,
    /// Placeholder, feature, what the chosen example becomes.
    pub mapping: Vec<(String, String, String)>,
    /// The chosen one, of so many; and why it cannot be used, where it cannot.
    pub example: usize,
    pub n_examples: usize,
    pub example_problem: Option<String>,
    /// Tokens per text: counts of equal bins of `length_bin`.
    pub lengths: Vec<usize>,
    pub length_bin: usize,
    pub max_length: usize,
    pub n_cut: usize,
    pub notes: Vec<String>,
    /// `rows`, `sentences`, `examples`, `pictures`.
    pub kind: String,
    /// What stands above the preview where there are no columns.
    pub preview_title: String,
    /// Why the data cannot feed this model.
    pub problem: Option<String>,
    /// The placeholder that nothing fills, where that is the problem.
    pub unfed: Option<String>,
    /// How many classes the data have, where the model has fewer outputs.
    pub too_many_classes: Option<usize>,
}

/// A group of the training form.
#[derive(Clone, Debug, Default)]
pub struct SettingGroup {
    pub title: String,
    pub advanced: bool,
    pub settings: Vec<Setting>,
}

/// One setting as data; the form, the session file and `--set` share its key.
#[derive(Clone, Debug, Default)]
pub struct Setting {
    pub key: String,
    pub label: String,
    pub help: String,
    /// What its number counts; may be empty.
    pub unit: String,
    pub default: String,
    pub kind: SettingKind,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub enum SettingKind {
    #[default]
    Text,
    Bool,
    Integer {
        min: i64,
        max: i64,
        /// May be left empty.
        optional: bool,
    },
    Number {
        min: f64,
        max: f64,
        optional: bool,
    },
    Choice(Vec<String>),
}

/// The outcome of a proof, and the adjustments that it was about.
#[derive(Clone, Debug)]
pub struct Proved {
    pub what: crate::session::prove::What,
    pub edits: Vec<crate::session::EditEntry>,
    pub result: Result<Arc<crate::session::prove::Proof>, String>,
}

/// What a file says about a node besides its wires, and what it is computed as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeDetails {
    /// Name, kind, value.
    pub attributes: Vec<(String, String, String)>,
    /// Our ops.
    pub computed_as: Vec<ComputedAs>,
}

/// One of our ops: its name, what it does, and its formula.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComputedAs {
    pub name: &'static str,
    pub summary: &'static str,
    pub formula: &'static str,
}

/// How far a run moved a constant.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    pub run: String,
    pub moved: Result<Moved, String>,
}

/// What a run would take.
#[derive(Clone, Debug)]
pub struct Estimated {
    pub recipe: Arc<Recipe>,
    pub result: Result<crate::train::estimate::Estimate, String>,
}

/// A run on disk, as it is compared.
#[derive(Clone, Debug, Default)]
pub struct RunEntry {
    pub name: String,
    pub folder: PathBuf,
    pub state: super::run_view::RunState,
    pub steps: usize,
    pub total_steps: usize,
    pub elapsed_secs: f64,
    pub parameters: usize,
    /// `train/loss`, `validation/accuracy`, …
    pub curves: Vec<super::series::Series>,
    pub marks: Vec<super::run_view::Mark>,
    /// The newest counts of predictions, true class by row.
    pub confusion: Vec<Vec<u64>>,
    /// Names of the classes; empty where it has none.
    pub classes: Vec<String>,
    pub can_resume: bool,
    /// One of its checkpoints was the best.
    pub has_best: bool,
    /// The constants that its newest checkpoint holds.
    pub tuned: Vec<String>,
    pub recipe: Recipe,
}

impl RunEntry {
    pub fn curve(&self, name: &str) -> Option<&super::series::Series> {
        self.curves.iter().find(|c| c.name == name)
    }

    /// What its length is given in, and so what it is extended by: one, several.
    pub fn unit(&self) -> (&'static str, &'static str) {
        let in_steps = self.recipe.settings.get("training.steps").is_some_and(|s| !s.trim().is_empty());
        if in_steps { ("step", "steps") } else { ("epoch", "epochs") }
    }
}

/// Unsaved work that a crash left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recoverable {
    pub path: PathBuf,
    /// The session or model that it belongs to.
    pub name: String,
    /// `3 minutes ago`.
    pub when: String,
}

/// Long work in progress, as the status bar shows it.
#[derive(Clone, Debug, Default)]
pub struct JobView {
    pub id: u64,
    pub title: String,
    /// What it is doing now.
    pub step: String,
    /// 0 to 1; `None` where the end is not known.
    pub fraction: Option<f32>,
}

/// One line of the log panel.
#[derive(Clone, Debug)]
pub struct LogLine {
    pub time: String,
    pub severity: Severity,
    pub text: String,
}

/// What the export panel asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportRequest {
    pub to: PathBuf,
    /// The run whose values are written, and whether those of its best checkpoint; `None` for the file's own.
    pub values: Option<(PathBuf, bool)>,
    pub keep_dropout: bool,
    /// With the heads that were grafted.
    pub with_heads: bool,
    /// Of weights alone all, not only those that were tuned.
    pub all_weights: bool,
    /// Of weights alone: low-rank adapters go into the weights that they stand beside.
    pub merge_adapters: bool,
    pub verify: bool,
}

/// What was written, and how it differs from the original.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exported {
    /// In one sentence.
    pub said: String,
    /// Name, value, exact value.
    pub facts: Vec<(String, String, String)>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
}
