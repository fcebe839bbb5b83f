//! A bounded cache of executables by shape, so that batches of changing length share parameters but not plans.

use super::step::{Phase, ShapeKey, Step, StepFactory};

/// How many executables are kept. Lengths are rounded up by the data layer, so few are in use at a time.
const CAPACITY: usize = 12;

/// See the module doc; the most recently used one is last.
#[derive(Debug)]
pub struct Executables {
    factory: Box<dyn StepFactory>,
    made: Vec<(ShapeKey, Box<dyn Step>)>,
}

impl Executables {
    pub fn new(factory: Box<dyn StepFactory>) -> Self {
        Self { factory, made: Vec::new() }
    }

    /// The executable for feeds of these shapes, made where it is not there.
    pub fn get(&mut self, phase: Phase, feeds: &[(String, crate::tensor::Tensor)]) -> Result<&mut dyn Step, String> {
        let key = self.factory.key(phase, feeds);
        match self.made.iter().position(|(k, _)| *k == key) {
            Some(at) => {
                let last = self.made.len() - 1;
                self.made[at..=last].rotate_left(1);
            }
            None => {
                // Room is made first, so that two large arenas do not meet needlessly.
                if self.made.len() >= CAPACITY {
                    self.made.remove(0);
                }
                let step = self.factory.make(phase, feeds).map_err(|e| e.0)?;
                self.made.push((key, step));
            }
        }
        match self.made.last_mut() {
            Some((_, step)) => Ok(&mut **step),
            None => Err("no executable was made".to_owned()),
        }
    }

    /// The one used last.
    pub fn latest(&self) -> Option<&dyn Step> {
        self.made.last().map(|(_, s)| &**s)
    }
}
