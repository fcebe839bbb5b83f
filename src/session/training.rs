//! From a session to a job for the trainer: objective, parameters, data, settings, and the run's folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::autodiff::Verdict;
use crate::base::{Reporter, files};
use crate::data::{ArrayFeeds, BatchSource, DataError};
use crate::engine::Engine;
use crate::program::Value;
use crate::tensor::Fact;
use crate::train::metrics::Task;
use crate::train::{Delivery, Job, Preset, Settings, checkpoint};

use super::continued;
use super::error::SessionError;
use super::feeds;
use super::file;
use super::job::{Repeats, SessionSteps};
use super::recipe::Recipe;
use super::session::Session;
use super::understand::Understood;

/// Name of the recipe in a run's folder, in the layout of a session file.
pub const RECIPE: &str = "recipe.json";

/// How a run is started.
#[derive(Default)]
pub struct Start {
    /// Where log and checkpoints go; `None` writes nothing.
    pub folder: Option<PathBuf>,
    pub resume: bool,
    pub delivery: Delivery,
    pub waker: Option<Arc<dyn Fn() + Send + Sync>>,
    /// `None`: all cores.
    pub threads: Option<usize>,
}

impl std::fmt::Debug for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Start").field("folder", &self.folder).field("resume", &self.resume).finish_non_exhaustive()
    }
}

/// The recipe's settings, checked.
pub fn settings(recipe: &Recipe) -> Result<Settings, SessionError> {
    let pairs = recipe.settings.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    Settings::new(Preset::Plain, pairs).map_err(|e| SessionError::Choice(e.to_string()))
}

/// A run on arrays: each has one more leading axis, the step.
pub fn on_arrays(
    session: &Session,
    arrays: ArrayFeeds,
    start: Start,
    reporter: &mut Reporter,
) -> Result<Job, SessionError> {
    let understood = Arc::new(session.understand()?);
    reporter.extend(understood.diagnostics.iter().cloned());
    report_blocked(&understood, reporter);
    let arrays = fit_arrays(&understood, arrays, reporter)?;
    job(
        session,
        understood,
        Sources { train: Box::new(arrays), validation: None, task: Task::None, logits: None, repeats: Repeats::Same },
        start,
    )
}

/// Says which trainable constants stay as they are because an op without a rule stands between them and the objective.
pub(super) fn report_blocked(understood: &Understood, reporter: &mut Reporter) {
    for c in understood.report().constants.iter().filter(|c| c.verdict == Verdict::Blocked) {
        let why = c.why.as_deref().unwrap_or_default();
        let what = format!("{} stays as it is: {why}; `regraft check` shows what helps", c.name);
        reporter.warning("blocked", what, Some(c.name.clone()));
    }
}

/// What a run reads, and what its predictions mean.
#[derive(Debug)]
pub struct Sources {
    pub train: Box<dyn BatchSource>,
    pub validation: Option<Box<dyn BatchSource>>,
    pub task: Task,
    pub logits: Option<Value>,
    pub repeats: Repeats,
}

/// The job for given sources. Writes the recipe into the run's folder first, so that a run always says what was trained.
pub fn job(
    session: &Session,
    understood: Arc<Understood>,
    sources: Sources,
    start: Start,
) -> Result<Job, SessionError> {
    let settings = settings(&understood.recipe)?;
    let engine = Engine::new(start.threads.unwrap_or(0))?;
    let parameters = understood.parameters()?;
    if parameters.is_empty() {
        return Err(SessionError::Choice(
            "nothing trains: no constant is chosen; name some with --trainable, or see `regraft inspect --constants`"
                .to_owned(),
        ));
    }
    let rates = understood.rates(settings.optimizer.lr, settings.optimizer.layer_decay)?;
    let steps = SessionSteps::new(understood.clone(), sources.logits)?
        .keep_frozen(settings.training.cache_bytes, sources.repeats);
    if let Some(folder) = &start.folder {
        prepare_folder(folder, session, start.resume)?;
    }
    let name = start.folder.as_ref().and_then(|f| f.file_name()).map(|n| n.to_string_lossy().into_owned());
    let mut job = Job::new(
        name.unwrap_or_else(|| "run".to_owned()),
        Box::new(steps),
        engine,
        parameters,
        sources.train,
        settings,
    );
    job.rates = rates;
    (job.earlier, job.notes) = continued::from_file(&understood, &job.settings.optimizer)?;
    job.validation = sources.validation;
    job.task = sources.task;
    job.folder = start.folder;
    job.resume = start.resume;
    job.delivery = start.delivery;
    job.waker = start.waker;
    Ok(job)
}

fn prepare_folder(folder: &Path, session: &Session, resume: bool) -> Result<(), SessionError> {
    let fail = |why: String| SessionError::File { path: folder.to_owned(), what: "prepared for a run", why };
    files::create_dir_all(folder).map_err(|e| fail(e.to_string()))?;
    let has_run = checkpoint::newest(folder).map_err(|e| fail(e.to_string()))?.is_some();
    if has_run && !resume {
        return Err(fail(
            "it already holds a run; go on with --resume, or choose another folder with --out".to_owned(),
        ));
    }
    let recipe = folder.join(RECIPE);
    if has_run && let Some(found) = file::load(&recipe)?.changed.first() {
        return Err(fail(format!(
            "its data is not what it was when the run began: {} (the order of examples would be another; put the data \
             back, start a new run with --out, or remove the file's entry under \"files\" in {} to go on regardless)",
            found.message,
            recipe.display()
        )));
    }
    file::save(&recipe, &session.model, session.recipe())
}

/// Names as the program's values, dtypes converted without loss; arrays of unknown names are reported and left out.
fn fit_arrays(
    understood: &Understood,
    arrays: ArrayFeeds,
    reporter: &mut Reporter,
) -> Result<ArrayFeeds, SessionError> {
    let names = understood.names()?;
    for name in arrays.names().filter(|n| names.find(n).is_none()) {
        reporter.warning(
            "unknown-feed",
            format!("the feed {name} is no value of this model; ignored"),
            Some(name.to_owned()),
        );
    }
    let fit = |name: &str, tensor: crate::tensor::Tensor| {
        let Some(value) = names.find(name) else { return Ok(None) };
        let fact: &Fact = names.program.fact(value);
        let inner = tensor.shape().get(1..).unwrap_or(&[]);
        if !fact.shape.admits(inner) {
            let what = format!("the feed {name} does not fit: expected shape {} a step, found {inner:?}", fact.shape);
            return Err(DataError::Other(what));
        }
        let mut quiet = Reporter::default();
        let any = Fact::new(fact.dtype, crate::tensor::PartialShape::unknown());
        let fitted = feeds::fit(name, tensor, &any, &mut quiet).map_err(|e| DataError::Other(e.to_string()))?;
        Ok(Some((names.program.describe(value), fitted)))
    };
    arrays.map(fit).map_err(|e| SessionError::Choice(e.to_string()))
}
