//! Opening, understanding and saving: what the window does with the session, each as a job.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::autodiff::{Cure as ReachCure, GradReport};
use crate::base::{Severity, files};
use crate::formats::targets;
use crate::session::understand::Base;
use crate::session::{Change, EditStep, GraphDiff, History, Model, Recipe, Session, StandIn, Understood, demo, file};
use crate::train::Preset;
use crate::train::settings::{Kind, table};
use crate::ui::Open;
use crate::ui::ctx::{Blocker, GradientRow, Gradients, Rows, Setting, SettingGroup, SettingKind};
use crate::ui::dialogs::Dialog;
use crate::ui::problems::Cure;

use super::App;
use super::jobs::Outcome;

/// Nodes on the ways of all lost gradients together that are written out.
const MAX_PATH_NODES: usize = 100_000;

/// Title of the job that works a changed recipe into what is shown.
pub(super) const UPDATING: &str = "Updating";

/// What the window keeps of the session besides its history.
#[derive(Debug)]
pub struct Held {
    pub model: Arc<Model>,
    pub understood: Arc<Understood>,
    /// The file without edits.
    pub file: Arc<Base>,
}

/// What follows from a model and a recipe, as the window shows it.
#[derive(Debug)]
pub struct Derived {
    model: Arc<Model>,
    understood: Arc<Understood>,
    /// The file without edits, for what they change.
    file: Arc<Base>,
    rows: Rows,
    gradients: Gradients,
    group_sizes: Vec<Result<(usize, usize), String>>,
    recipe: Arc<Recipe>,
    /// Set where a file was opened; `None` where only the recipe changed.
    opened: Option<Opened>,
}

#[derive(Debug)]
struct Opened {
    path: PathBuf,
    session_path: Option<PathBuf>,
    /// Train at once (the demo).
    trains: bool,
    /// The recipe as it is on disk, where what was opened differs from it.
    saved: Option<Recipe>,
    /// A file of the recovery folder that is no longer needed.
    recovered: Option<PathBuf>,
}

impl App {
    pub(super) fn open_path(&mut self, path: PathBuf) {
        if self.run.as_ref().is_some_and(|r| r.state.is_active()) {
            self.say(Severity::Warning, "A run is in progress; stop it before opening another model.");
            return;
        }
        let name = path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
        self.opening_failed = None;
        self.jobs.start(&format!("Opening {name}"), move |_, _| {
            Outcome::Derived(Box::new(open(&path, false).map_err(|e| e.to_string())))
        });
    }

    /// Writes the demo's files and opens them; training starts by itself.
    pub(super) fn open_demo(&mut self) {
        let folder = match &self.config_dir {
            Some(dir) => dir.join("demo"),
            None => std::env::temp_dir().join(format!("regraft-demo-{}", std::process::id())),
        };
        self.jobs.start("Opening the demo", move |_, _| Outcome::Derived(Box::new(open_demo(&folder))));
    }

    /// Opens what a crash left, as unsaved decisions of the session that they belong to.
    pub(super) fn recover(&mut self, path: PathBuf) {
        self.jobs
            .start("Recovering", move |_, _| Outcome::Derived(Box::new(recovered(&path).map_err(|e| e.to_string()))));
    }

    /// Opens the model that the recipe was matched with.
    pub(super) fn open_transferred(&mut self) {
        let Some(matched) = self.matched.take() else { return };
        self.jobs.start("Opening the other model", move |_, _| {
            let opened = Opened {
                path: matched.model.imported.path.clone(),
                session_path: None,
                trains: false,
                saved: Some(Recipe::default()),
                recovered: None,
            };
            let recipe = Arc::new(matched.transferred.recipe);
            let derived = derive(matched.model, recipe, &[], Some(opened));
            Outcome::Derived(Box::new(derived.map_err(|e| e.to_string())))
        });
    }

    /// Works the recipe as it is now into what is shown.
    pub(super) fn refresh(&mut self) {
        let (Some(open), Some(held)) = (&mut self.open, &self.session) else { return };
        open.is_refreshing = true;
        let (model, recipe) = (held.model.clone(), open.history.recipe().clone());
        let known = [held.understood.base.clone(), held.file.clone()];
        self.jobs.start(UPDATING, move |_, _| {
            let derived = if model.imported.source().choice.as_deref() == recipe.signature.as_deref() {
                derive(model, recipe, &known, None)
            } else {
                // Another way into the file is another graph.
                Model::open_choosing(&model.imported.path, recipe.signature.as_deref())
                    .and_then(|model| derive(Arc::new(model), recipe, &[], None))
            };
            Outcome::Derived(Box::new(derived.map_err(|e| e.to_string())))
        });
        self.refresh_data();
    }

    pub(super) fn take_derived(&mut self, result: Result<Derived, String>) {
        if let Some(open) = &mut self.open {
            open.is_refreshing = false;
        }
        let derived = match result {
            Ok(derived) => derived,
            // The last good state stays.
            Err(e) => {
                self.opening_failed = self.open.is_none().then(|| e.clone());
                return self.say(Severity::Error, e);
            }
        };
        let is_other_graph = self.session.as_ref().is_none_or(|held| !Arc::ptr_eq(&held.model, &derived.model));
        let has_other_values =
            self.session.as_ref().is_none_or(|held| !Arc::ptr_eq(&held.understood.base, &derived.understood.base));
        let entries = is_other_graph.then(|| Arc::new(derived.model.imported.entry_points.clone()));
        let kinds = Arc::new(targets::all(&derived.model.imported));
        self.session = Some(Held { model: derived.model, understood: derived.understood, file: derived.file });
        if is_other_graph {
            self.data_key = None;
        }
        let Some(opened) = derived.opened else {
            if let Some(open) = &mut self.open {
                open.set_rows(derived.rows);
                open.gradients = Some(Arc::new(derived.gradients));
                open.group_sizes = derived.group_sizes;
                open.details.clear();
                if has_other_values {
                    // Edits may have put other values into constants.
                    open.described.clear();
                    open.ranges.clear();
                    open.slice = None;
                }
                if let Some(entries) = entries {
                    open.entries = entries;
                    (open.times, open.proof) = (None, None);
                    self.refresh_data();
                }
            }
            return;
        };
        let history = History::new((*derived.recipe).clone());
        let mut open = Open::from_rows(&opened.path, derived.rows, history);
        open.session_path = opened.session_path;
        open.gradients = Some(Arc::new(derived.gradients));
        open.group_sizes = derived.group_sizes;
        open.form = Arc::new(form());
        open.entries = entries.unwrap_or_default();
        open.targets = kinds;
        let asks = open.entries.len() > 1 && open.session_path.is_none() && open.recipe().signature.is_none();
        if let Some(saved) = opened.saved {
            open.saved = Arc::new(saved);
        }
        if let Some(path) = opened.recovered {
            self.discard_recovery(&path);
        }
        self.note(Severity::Info, format!("Opened {}", opened.path.display()));
        self.state.selection.clear();
        self.state.drafts.clear();
        self.run = None;
        self.training = None;
        self.remember_recent(open.session_path.as_deref().unwrap_or(&opened.path));
        self.open = Some(open);
        self.select_asked();
        if asks {
            self.choose_entry();
        }
        self.refresh_data();
        self.refresh_runs();
        if opened.trains {
            super::layout::show(&mut self.layout, "plots");
            super::layout::show(&mut self.layout, "training");
            self.start_training();
        }
    }

    /// Asks which of several ways into the file is meant.
    pub(super) fn choose_entry(&mut self) {
        let Some(open) = &self.open else { return };
        let chosen = open.recipe().signature.clone();
        let usual = || open.entries.iter().find(|e| e.is_default).map(|e| e.choice.clone());
        self.state.dialog = Some(Dialog::ChooseEntry(chosen.or_else(usual).unwrap_or_default()));
    }

    pub(super) fn save_session(&mut self, path: PathBuf) {
        let path = if path.extension().is_none() { path.with_extension(file::EXTENSION) } else { path };
        let (Some(open), Some(held)) = (&mut self.open, &self.session) else { return };
        let recipe = open.history.recipe().clone();
        match file::save(&path, &held.model, &recipe) {
            Ok(()) => {
                open.saved = recipe;
                open.saved_at = Some(std::time::Instant::now());
                open.session_path = Some(path.clone());
                self.remember_recent(&path);
                self.say(Severity::Info, format!("Saved {}", path.display()));
            }
            Err(e) => self.say(Severity::Error, e.to_string()),
        }
    }
}

fn open(path: &Path, trains: bool) -> Result<Derived, crate::session::SessionError> {
    let session = Session::open(path)?;
    let session_path = session.path().map(Path::to_owned);
    let is_new = session_path.is_none();
    let opened =
        Opened { path: session.model.imported.path.clone(), session_path, trains, saved: None, recovered: None };
    let mut recipe = (**session.recipe()).clone();
    if is_new {
        // What most people do with an exported model; every value stands in the form and can be reset.
        recipe.settings = Preset::FineTune.values().iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    }
    derive(session.model.clone(), Arc::new(recipe), &[], Some(opened))
}

fn recovered(path: &Path) -> Result<Derived, crate::session::SessionError> {
    let note = super::recovery::note(path);
    let session = Session::open(path)?;
    // Read from the recovery folder, paths lead out of it; plain ones are what the session itself has.
    let mut recipe = (**session.recipe()).clone();
    for path in recipe.data.iter_mut().flat_map(crate::session::recipe::DataChoice::paths_mut) {
        if let Ok(plain) = files::canonical(Path::new(&*path)) {
            *path = plain.to_string_lossy().into_owned();
        }
    }
    // What is on disk under the session's own name is what was last saved.
    let saved = note.session.as_deref().and_then(|p| file::load(p).ok()).map(|l| l.recipe).unwrap_or_default();
    let opened = Opened {
        path: session.model.imported.path.clone(),
        session_path: note.session,
        trains: false,
        saved: Some(saved),
        recovered: Some(path.to_owned()),
    };
    derive(session.model.clone(), Arc::new(recipe), &[], Some(opened))
}

fn open_demo(folder: &Path) -> Result<Derived, String> {
    let session =
        demo::write(folder).map_err(|e| format!("The demo could not be written: {e}; {}", folder.display()))?;
    if !files::exists(&session) {
        let model = Model::open(&folder.join("model.pb")).map_err(|e| e.to_string())?;
        Session::new(Arc::new(model), demo::recipe(folder)).save_as(&session).map_err(|e| e.to_string())?;
    }
    open(&session, true).map_err(|e| e.to_string())
}

/// `known` are graphs of this model that were understood before; one that serves the recipe is not made again.
fn derive(
    model: Arc<Model>,
    recipe: Arc<Recipe>,
    known: &[Arc<Base>],
    opened: Option<Opened>,
) -> Result<Derived, crate::session::SessionError> {
    let base_for = |recipe: &Recipe| match known.iter().find(|b| b.serves(recipe)) {
        Some(base) => Ok(base.clone()),
        None => Base::new(model.clone(), recipe).map(Arc::new),
    };
    let base = base_for(&recipe)?;
    let unedited = Recipe { edits: Vec::new(), ..(*recipe).clone() };
    let file = if base.serves(&unedited) { base.clone() } else { base_for(&unedited)? };
    let understood = Arc::new(Understood::new(base.clone(), recipe.clone())?);
    let overview = understood.overview(&Session::new(model.clone(), (*recipe).clone()))?;
    let diff = (!Arc::ptr_eq(&base, &file)).then(|| GraphDiff::between(&file.graph, &base.graph, &file.sites));
    let rows = Rows::new(overview, diff.as_ref());
    let is_scalar = |v| understood.program.fact(v).rank() == Some(0);
    let lacks_loss = !understood.objective.is_chosen && !understood.objective.loss().is_some_and(is_scalar);
    let gradients = Gradients { lacks_loss, ..gradients(understood.report()) };
    let group_sizes = understood.group_sizes();
    Ok(Derived { model, understood, file, rows, gradients, group_sizes, recipe, opened })
}

/// The report of `autodiff` as rows, cures as changes of the recipe.
fn gradients(report: &GradReport) -> Gradients {
    let names = |nodes: &[crate::graph::NodeKey]| nodes.iter().map(|n| n.as_str().to_owned()).collect();
    // Ways are written out only where they explain something (the canvas finds the others itself), and only until they
    // are many: all weights of a deep graph that is blocked near its end would need the square of its size.
    let mut room = MAX_PATH_NODES;
    let mut path = |c: &crate::autodiff::ConstantVerdict| {
        if c.verdict == crate::autodiff::Verdict::Flows {
            return Vec::new();
        }
        let path = report.path(c);
        let shown = if path.len() <= room { &path[..] } else { &path[path.len().saturating_sub(1)..] };
        room -= shown.len().min(room - 1);
        names(shown)
    };
    let constants = report.constants.iter().map(|c| GradientRow {
        name: c.name.clone(),
        verdict: c.verdict.name().to_owned(),
        why: c.why.clone(),
        path: path(c),
    });
    let blockers = report.blockers().map(|b| Blocker {
        node: b.node.as_str().to_owned(),
        op: b.op.to_owned(),
        verdict: b.verdict.name().to_owned(),
        why: b.why.clone().unwrap_or_default(),
        blocks: b.blocks.clone(),
        cures: b.cures.iter().flat_map(cures).collect(),
    });
    let known: Vec<&str> = report.blockers().map(|b| b.node.as_str()).collect();
    let uncomputable = report.uncomputable.iter().filter(|u| !known.contains(&u.node.as_str()));
    let blockers = blockers.chain(uncomputable.map(|u| Blocker {
        node: u.node.as_str().to_owned(),
        op: u.op.clone(),
        verdict: "blocked".to_owned(),
        why: u.why.clone(),
        blocks: Vec::new(),
        cures: u.cures.iter().flat_map(cures).collect(),
    }));
    Gradients {
        objective: report.objective.join(" + "),
        lacks_loss: false,
        trainable: report.constants.len(),
        reached: report.reached(),
        constants: constants.collect(),
        blockers: blockers.collect(),
    }
}

/// What a cure means for the recipe; feeding a value is no decision of the recipe and has no button.
fn cures(cure: &ReachCure) -> Vec<Cure> {
    match cure {
        ReachCure::StandIn { node, stand_in } => {
            let word = if *stand_in == StandIn::Stop { "stop it" } else { stand_in.name() };
            let change = Change::SetStandIn { node: node.as_str().to_owned(), stand_in: Some(*stand_in) };
            vec![Cure::change(format!("Stand-in gradient: {word}"), change)]
        }
        ReachCure::PinPredicate { value, to } => vec![Cure::change(
            format!("Pin {} to {to}", crate::ui::text::elide_middle(value, 32)),
            Change::SetPin { name: value.clone(), value: Some(f64::from(u8::from(*to))) },
        )],
        ReachCure::Bypass { node } => {
            vec![Cure::change("Bypass it", Change::AddEdits(vec![EditStep::Bypass { node: node.as_str().to_owned() }]))]
        }
        ReachCure::Feed { .. } => Vec::new(),
    }
}

/// The settings table as groups of the form, by the first part of their keys.
pub fn form() -> Vec<SettingGroup> {
    let mut groups: Vec<SettingGroup> = Vec::new();
    for s in table::ALL {
        let part = s.key.split('.').next().unwrap_or_default();
        let mut title = part.to_owned();
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        let title = if s.advanced { format!("{title}, advanced") } else { title };
        let setting = Setting {
            key: s.key.to_owned(),
            label: s.label.to_owned(),
            help: s.help.to_owned(),
            unit: s.unit.to_owned(),
            default: s.default.to_owned(),
            kind: kind(&s.kind),
        };
        match groups.iter_mut().find(|g| g.title == title) {
            Some(g) => g.settings.push(setting),
            None => groups.push(SettingGroup { title, advanced: s.advanced, settings: vec![setting] }),
        }
    }
    groups.sort_by_key(|g| g.advanced);
    groups
}

fn kind(kind: &Kind) -> SettingKind {
    let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    match *kind {
        Kind::Float { min, max } => SettingKind::Number { min, max, optional: false },
        Kind::OptionalFloat { min, max } => SettingKind::Number { min, max, optional: true },
        Kind::Int { min, max, optional } => SettingKind::Integer { min: whole(min), max: whole(max), optional },
        Kind::Bool => SettingKind::Bool,
        Kind::Choice(choices) => SettingKind::Choice(choices().into_iter().map(str::to_owned).collect()),
        Kind::Patterns | Kind::Text => SettingKind::Text,
    }
}
