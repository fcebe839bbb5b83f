//! What the trainer runs: programs of this session, made for the shapes of each batch.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use crate::engine::{ConstantStore, Executable};
use crate::graph::NodeKey;
use crate::program::{Program, Value};
use crate::tensor::Tensor;
use crate::train::step::ShapeKey;
use crate::train::{Phase, ProgramStep, Step, StepError, StepFactory, StepProgram};

use super::cached_step::{CachedStep, Shorter};
use super::compute::{Ask, Gradients, Mode, Prepared};
use super::error::SessionError;
use super::kept::Kept;
use super::prefix;
use super::understand::Understood;

/// Makes executables for a trainer. Parameters are those of [`Understood::trainable`], in that order; feeds go by the
/// names that [`Program::describe`] gives.
#[derive(Debug)]
pub struct SessionSteps {
    understood: Arc<Understood>,
    /// Frozen constants, loaded once for all shapes.
    constants: ConstantStore,
    /// `None` where only predictions are asked for.
    loss: Option<Value>,
    logits: Option<Value>,
    /// Feeds whose content was built into a program so far.
    built_in: Vec<String>,
    /// What the frozen part gave, where it is kept.
    kept: Option<Arc<Mutex<Kept>>>,
    /// The frozen part at other lengths, by frontier.
    shorter: Vec<(u64, Arc<Mutex<Shorter>>)>,
    repeats: Repeats,
}

/// Whether an example is fed the same in every epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    Same,
    /// But for padding, to the longest text of its batch.
    Padded,
    /// Other words are hidden each time.
    Never,
}

fn step_error(e: impl ToString) -> StepError {
    StepError(e.to_string())
}

impl SessionSteps {
    /// `logits` is what metrics read; the objective's own output where it is not given.
    pub fn new(understood: Arc<Understood>, logits: Option<Value>) -> Result<Self, SessionError> {
        let loss = understood.objective.loss().ok_or_else(|| {
            SessionError::Choice(format!(
                "training needs one scalar to minimise, and this model has {}; name a loss with --loss or attach one \
                 with --attach-loss",
                understood.objective.name
            ))
        })?;
        let logits = logits.or(understood.objective.logits);
        Ok(Self { loss: Some(loss), ..Self::inference(understood, logits) })
    }

    /// Computes `logits` alone, in evaluation mode.
    pub fn inference(understood: Arc<Understood>, logits: Option<Value>) -> Self {
        Self {
            understood,
            constants: ConstantStore::default(),
            loss: None,
            logits,
            built_in: Vec::new(),
            kept: None,
            shorter: Vec::new(),
            repeats: Repeats::Same,
        }
    }

    /// Keeps what the frozen part gives, up to so many bytes; 0 keeps nothing. What is padded to the longest of its
    /// batch is computed at a length of its own where padding changes nothing.
    pub fn keep_frozen(mut self, bytes: usize, repeats: Repeats) -> Self {
        self.repeats = repeats;
        self.kept = (bytes > 0 && repeats != Repeats::Never).then(|| Arc::new(Mutex::new(Kept::new(bytes))));
        self
    }

    fn ask(&self, phase: Phase, feeds: &[(String, Tensor)]) -> Result<Ask, SessionError> {
        let names = self.understood.names()?;
        let feeds = feeds.iter().map(|(name, tensor)| Ok((names.value(name)?, tensor.clone())));
        let feeds = feeds.collect::<Result<Vec<_>, SessionError>>()?;
        let mut fetches: Vec<Value> = self.logits.into_iter().collect();
        let gradients = match (phase, self.loss) {
            (Phase::Train, Some(loss)) => {
                let wrt = self.understood.trainable.iter().map(|t| (t.node.as_str().to_owned(), t.value)).collect();
                Some(Gradients { of: vec![(loss, None)], wrt })
            }
            (_, loss) => {
                fetches.extend(loss);
                None
            }
        };
        let mode = if phase == Phase::Train { Mode::Train } else { Mode::Eval };
        let params = self.understood.trainable.iter().map(|t| t.node.clone()).collect();
        Ok(Ask { mode, fetches, feeds, gradients, params, ..Ask::default() })
    }

    /// As [`StepFactory::make`], as the type that also tells its profile.
    pub fn make_step(&mut self, phase: Phase, feeds: &[(String, Tensor)]) -> Result<ProgramStep, StepError> {
        let ask = self.ask(phase, feeds).map_err(step_error)?;
        self.build(&ask).map(|(step, _)| step)
    }

    fn note_built_in(&mut self, built_in: &[Value]) {
        let name_of = |v: &Value| self.understood.program.describe(*v);
        let fresh: Vec<String> = built_in.iter().map(name_of).filter(|n| !self.built_in.contains(n)).collect();
        self.built_in.extend(fresh);
    }

    /// The step, and the names of its feeds with the values that they are.
    fn build(&mut self, ask: &Ask) -> Result<(ProgramStep, Vec<(String, Value)>), StepError> {
        let Prepared { program, gradients, built_in, unfused, feeds, .. } =
            self.understood.prepare(ask).map_err(step_error)?;
        self.note_built_in(&built_in);
        let nodes: Vec<&NodeKey> = self.understood.trainable.iter().map(|t| &t.node).collect();
        let parameters = parameters(&program, &nodes);
        let unfused = unfused.map(|p| {
            let values = self::parameters(&p, &nodes);
            (p, values)
        });
        let prediction = self.logits.map(|_| 0);
        let loss = self.loss.map(|_| usize::from(prediction.is_some()));
        let given = StepProgram { program, parameters, loss, prediction, gradients, unfused };
        Ok((ProgramStep::new(given, &mut self.constants)?, feeds))
    }

    /// A step that keeps what the frozen part gives; `None` where there is none, or its rows cannot be told apart.
    fn cached(&mut self, phase: Phase, feeds: &[(String, Tensor)]) -> Result<Option<CachedStep>, StepError> {
        let (Some(kept), Some(loss)) = (self.kept.clone(), self.loss) else { return Ok(None) };
        let mut ask = self.ask(phase, feeds).map_err(step_error)?;
        let wanted: Vec<Value> = self.logits.into_iter().chain([loss]).collect();
        let Some(frontier) = prefix::frontier(&self.understood, ask.mode, &wanted) else { return Ok(None) };
        let of_example = |v: &Value| ask.feeds.iter().position(|(f, _)| f == v);
        let Some(examples) = frontier.feeds.iter().map(of_example).collect::<Option<Vec<usize>>>() else {
            return Ok(None);
        };
        let rows = |i: &usize| ask.feeds[*i].1.shape().first().copied().filter(|n| *n > 0);
        let counts: Option<Vec<usize>> = examples.iter().map(rows).collect();
        let n = match counts.as_deref() {
            Some([n, rest @ ..]) if rest.iter().all(|m| m == n) => *n,
            _ => return Ok(None),
        };
        let before =
            Ask { mode: ask.mode, fetches: frontier.values.clone(), feeds: ask.feeds.clone(), ..Ask::default() };
        let Prepared { program, built_in, .. } = self.understood.prepare(&before).map_err(step_error)?;
        self.note_built_in(&built_in);
        let facts = program.outputs.iter().map(|v| program.fact(*v));
        let shapes: Option<Vec<_>> = facts.map(|f| Some((f.dtype, f.dims()?))).collect();
        let Some(shapes) = shapes.filter(|s| s.iter().all(|(_, d)| d.first().is_some_and(|d| d % n == 0))) else {
            return Ok(None);
        };
        for (v, (dtype, dims)) in frontier.values.iter().zip(&shapes) {
            ask.feeds.push((*v, Tensor::zeros(*dtype, dims)));
        }
        let (rest, names) = self.build(&ask)?;
        let name_of = |v: &Value| names.iter().find(|(_, f)| f == v).map(|(n, _)| n.clone());
        let values = frontier.values.iter().map(name_of).zip(shapes).map(|(name, (dtype, dims))| (name, dtype, dims));
        let id = id_of(ask.mode, &frontier.values);
        let fed_name = |wanted: &str| {
            let plain = |n: &str| n.strip_suffix(":0").unwrap_or(n).to_owned();
            feeds.iter().find(|(n, _)| plain(n) == plain(wanted)).map_or(wanted, |(n, _)| n.as_str()).to_owned()
        };
        Ok(Some(CachedStep {
            prefix_feeds: program.feeds.iter().map(|f| fed_name(&f.name)).collect(),
            example_feeds: examples.iter().map(|i| feeds[*i].0.clone()).collect(),
            values: values.collect(),
            n_examples: n,
            shorter: (self.repeats == Repeats::Padded).then(|| self.shorter(id, ask.mode, &frontier.values)),
            frontier: id,
            prefix: Executable::new(program, &[], &mut self.constants).map_err(step_error)?,
            rest,
            kept,
        }))
    }
}

impl SessionSteps {
    /// The frozen part at other lengths, shared by the steps of a phase.
    fn shorter(&mut self, id: u64, mode: Mode, values: &[Value]) -> Arc<Mutex<Shorter>> {
        if let Some((_, found)) = self.shorter.iter().find(|(k, _)| *k == id) {
            return found.clone();
        }
        let made = Arc::new(Mutex::new(Shorter::new(self.understood.clone(), mode, values.to_vec())));
        self.shorter.push((id, made.clone()));
        made
    }
}

/// Tells frontiers apart.
fn id_of(mode: Mode, values: &[Value]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (mode == Mode::Train).hash(&mut hasher);
    values.iter().for_each(|v| v.idx().hash(&mut hasher));
    hasher.finish()
}

impl StepFactory for SessionSteps {
    fn key(&self, phase: Phase, feeds: &[(String, Tensor)]) -> ShapeKey {
        let mut key = ShapeKey::of(phase, feeds);
        // Contents that are built into a program make it another program.
        for (_, tensor) in feeds.iter().filter(|(name, _)| self.built_in.contains(name)) {
            key.values.extend_from_slice(tensor.bytes());
        }
        key
    }

    fn make(&mut self, phase: Phase, feeds: &[(String, Tensor)]) -> Result<Box<dyn Step>, StepError> {
        if let Some(step) = self.cached(phase, feeds)? {
            return Ok(Box::new(step));
        }
        Ok(Box::new(self.make_step(phase, feeds)?))
    }
}

/// The program's constant for each of the trainable nodes; `None` where the program does not need it.
fn parameters(program: &Program, nodes: &[&NodeKey]) -> Vec<Option<Value>> {
    let find = |node: &&NodeKey| program.constants.iter().find(|c| c.node.as_ref() == Some(*node)).map(|c| c.value);
    nodes.iter().map(find).collect()
}
