//! What the trainer runs: programs of this session, made for the shapes of each batch.

use std::sync::Arc;

use crate::engine::ConstantStore;
use crate::graph::NodeKey;
use crate::program::{Program, Value};
use crate::tensor::Tensor;
use crate::train::step::ShapeKey;
use crate::train::{Phase, ProgramStep, Step, StepError, StepFactory, StepProgram};

use super::compute::{Ask, Gradients, Mode, Prepared};
use super::error::SessionError;
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
        Self { understood, constants: ConstantStore::default(), loss: None, logits, built_in: Vec::new() }
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
        let Prepared { program, gradients, built_in, unfused, .. } =
            self.understood.prepare(&ask).map_err(step_error)?;
        let name_of = |v: &Value| self.understood.program.describe(*v);
        let fresh: Vec<String> = built_in.iter().map(name_of).filter(|n| !self.built_in.contains(n)).collect();
        self.built_in.extend(fresh);
        let nodes: Vec<&NodeKey> = self.understood.trainable.iter().map(|t| &t.node).collect();
        let parameters = parameters(&program, &nodes);
        let unfused = unfused.map(|p| {
            let values = self::parameters(&p, &nodes);
            (p, values)
        });
        let prediction = self.logits.map(|_| 0);
        let loss = self.loss.map(|_| usize::from(prediction.is_some()));
        ProgramStep::new(StepProgram { program, parameters, loss, prediction, gradients, unfused }, &mut self.constants)
    }
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
        Ok(Box::new(self.make_step(phase, feeds)?))
    }
}

/// The program's constant for each of the trainable nodes; `None` where the program does not need it.
fn parameters(program: &Program, nodes: &[&NodeKey]) -> Vec<Option<Value>> {
    let find = |node: &&NodeKey| program.constants.iter().find(|c| c.node.as_ref() == Some(*node)).map(|c| c.value);
    nodes.iter().map(find).collect()
}
