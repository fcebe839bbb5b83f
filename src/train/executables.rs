//! A bounded cache of executables by shape, so that batches of changing length share parameters and working memory but not
//! plans.

use crate::engine::{Engine, Workspace};
use crate::program::{Random, View};
use crate::tensor::Tensor;

use super::step::{NonFinite, Phase, ShapeKey, Step, StepFactory};

/// How many executables are kept. Lengths are rounded up by the data layer, so few are in use at a time.
const CAPACITY: usize = 24;

/// See the module doc. What was run last is at the end.
#[derive(Debug)]
pub struct Executables {
    factory: Box<dyn StepFactory>,
    engine: Engine,
    space: Workspace,
    made: Vec<(ShapeKey, Box<dyn Step>)>,
}

impl Executables {
    pub fn new(factory: Box<dyn StepFactory>, engine: Engine) -> Self {
        Self { factory, engine, space: Workspace::new(), made: Vec::new() }
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Makes the executable for feeds of these shapes where it is not there, and gives the bytes that it needs.
    pub fn prepare(&mut self, phase: Phase, feeds: &[(String, Tensor)]) -> Result<usize, String> {
        self.bring(phase, feeds).map(|step| step.memory_bytes())
    }

    /// Puts the executable for these feeds at the end.
    fn bring(&mut self, phase: Phase, feeds: &[(String, Tensor)]) -> Result<&mut Box<dyn Step>, String> {
        let key = self.factory.key(phase, feeds);
        match self.made.iter().position(|(k, _)| *k == key) {
            Some(at) => self.made[at..].rotate_left(1),
            None => {
                // Room is made first, so that two large plans do not meet needlessly.
                if self.made.len() >= CAPACITY {
                    self.made.remove(0);
                }
                let step = self.factory.make(phase, feeds).map_err(|e| e.0)?;
                self.made.push((key, step));
            }
        }
        self.made.last_mut().map(|(_, s)| s).ok_or_else(|| "no executable was made".to_owned())
    }

    /// Runs a batch on the engine's threads and gives its loss.
    pub fn run(
        &mut self,
        phase: Phase,
        feeds: &[(String, Tensor)],
        parameters: &[Tensor],
        random: Random,
    ) -> Result<f64, String> {
        self.bring(phase, feeds)?;
        let Self { engine, space, made, .. } = self;
        let Some((_, step)) = made.last_mut() else { return Err("no executable was made".to_owned()) };
        engine.install(|| step.run(space, feeds, parameters, random)).map_err(|e| e.0)
    }

    /// The gradient of parameter `index` from the last run.
    pub fn gradient(&self, index: usize) -> Option<View<'_>> {
        self.made.last()?.1.gradient(&self.space, index)
    }

    /// What metrics read, from the last run.
    pub fn prediction(&self) -> Option<Tensor> {
        self.made.last()?.1.prediction(&self.space)
    }

    /// Replays the batch of the last run and says in words where the first value that is not finite comes from.
    pub fn first_non_finite(
        &mut self,
        feeds: &[(String, Tensor)],
        parameters: &[Tensor],
        random: Random,
    ) -> Option<NonFinite> {
        let Self { engine, made, .. } = self;
        let (_, step) = made.last_mut()?;
        engine.install(|| step.first_non_finite(feeds, parameters, random)).unwrap_or_else(|e| {
            tracing::warn!("the step could not be replayed: {e}");
            None
        })
    }
}
