//! A [`Step`] that runs a specialised, differentiated [`Program`] on the engine: what a factory usually makes.

use indexmap::IndexMap;

use crate::engine::{
    Bindings, Blame, ConstantStore, Control, Cost, EngineError, Executable, Profile, Workspace, first_non_finite,
};
use crate::graph::NodeKey;
use crate::program::{Program, Random, Value, View};
use crate::tensor::Tensor;

use super::step::{NonFinite, Step, StepError};

/// A program and what its outputs mean. Feeds are found by the names of `program.feeds`.
#[derive(Clone, Debug, Default)]
pub struct StepProgram {
    pub program: Program,
    /// For each of the job's parameters the constant of the program that it is; `None` where the program needs it not.
    pub parameters: Vec<Option<Value>>,
    /// Index into `program.outputs` of the scalar loss; without it (predictions alone) the loss of a run is 0.
    pub loss: Option<usize>,
    /// Index of what metrics read.
    pub prediction: Option<usize>,
    /// For each parameter the index of its gradient; empty for evaluation.
    pub gradients: Vec<Option<usize>>,
    /// The program before fusion with its parameters, in which a NaN is traced to its graph node; else `program` is.
    pub unfused: Option<(Program, Vec<Option<Value>>)>,
}

/// See the module doc.
#[derive(Debug)]
pub struct ProgramStep {
    executable: Executable,
    feed_names: Vec<String>,
    given: StepProgram,
}

impl ProgramStep {
    /// Plans the program. `constants` is shared by the steps of a run, so that each frozen constant is loaded once.
    pub fn new(given: StepProgram, constants: &mut ConstantStore) -> Result<Self, StepError> {
        let n_outputs = given.program.outputs.len();
        let indices = given.gradients.iter().flatten().chain(&given.prediction).chain(&given.loss);
        if let Some(i) = indices.into_iter().find(|i| **i >= n_outputs) {
            return Err(StepError(format!("output {i} of a program with {n_outputs} outputs was asked for")));
        }
        let loss = given.loss.map(|i| given.program.fact(given.program.outputs[i]));
        if let Some(loss) = loss
            && (!loss.dtype.is_float() || loss.dims().is_some_and(|d| d.iter().product::<usize>() != 1))
        {
            return Err(StepError(format!("the loss must be one floating-point number, it is {}", loss.describe())));
        }
        let executable =
            Executable::new(given.program.clone(), &present(&given.parameters), constants).map_err(step_error)?;
        Ok(Self { executable, feed_names: given.program.feeds.iter().map(|f| f.name.clone()).collect(), given })
    }

    /// Floating-point operations of one run, as far as kernels tell.
    pub fn flops(&self) -> u64 {
        self.executable.flops()
    }

    /// Runs once under the profiler: share of the time per kind of kernel, largest first.
    pub fn profile(
        &self,
        space: &mut Workspace,
        feeds: &[(String, Tensor)],
        parameters: &[Tensor],
    ) -> Result<Vec<(&'static str, f64)>, StepError> {
        let profile = self.profiled(space, feeds, parameters)?;
        Ok(profile.shares().into_iter().map(|(kind, _, share)| (kind, share)).collect())
    }

    fn profiled(
        &self,
        space: &mut Workspace,
        feeds: &[(String, Tensor)],
        parameters: &[Tensor],
    ) -> Result<Profile, StepError> {
        let feeds = self.ordered(feeds)?;
        let parameters = needed(&self.given.parameters, parameters);
        let bind = Bindings { feeds: &feeds, params: &parameters, random: Random::default() };
        let mut profile = Profile::default();
        let control = Control { cancel: None, profile: Some(&mut profile) };
        self.executable.run(space, &bind, control).map_err(step_error)?;
        Ok(profile)
    }

    /// The batch's arrays in the order of the program's feeds.
    fn ordered(&self, feeds: &[(String, Tensor)]) -> Result<Vec<Tensor>, StepError> {
        let plain = |n: &str| n.strip_suffix(":0").unwrap_or(n).to_owned();
        self.feed_names
            .iter()
            .map(|wanted| {
                let exact = feeds.iter().find(|(n, _)| n == wanted);
                let found = exact.or_else(|| feeds.iter().find(|(n, _)| plain(n) == plain(wanted)));
                found.map(|(_, t)| t.clone()).ok_or_else(|| {
                    let have = feeds.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(", ");
                    StepError(format!("nothing is fed to '{wanted}' (the batch has {have})"))
                })
            })
            .collect()
    }
}

/// The constants that a program binds.
fn present(parameters: &[Option<Value>]) -> Vec<Value> {
    parameters.iter().flatten().copied().collect()
}

/// The tensors of those constants. They share the store's memory and are gone before the update.
fn needed(parameters: &[Option<Value>], tensors: &[Tensor]) -> Vec<Tensor> {
    parameters.iter().zip(tensors).filter(|(p, _)| p.is_some()).map(|(_, t)| t.clone()).collect()
}

fn step_error(e: EngineError) -> StepError {
    StepError(e.to_string())
}

impl Step for ProgramStep {
    fn run(
        &mut self,
        space: &mut Workspace,
        feeds: &[(String, Tensor)],
        parameters: &[Tensor],
        random: Random,
    ) -> Result<f64, StepError> {
        let feeds = self.ordered(feeds)?;
        let parameters = needed(&self.given.parameters, parameters);
        let bind = Bindings { feeds: &feeds, params: &parameters, random };
        self.executable.run(space, &bind, Control::default()).map_err(step_error)?;
        let Some(loss) = self.given.loss else { return Ok(0.0) };
        let loss = self.executable.output_tensor(space, loss);
        match loss.to_f64s().as_deref() {
            Some([v]) => Ok(*v),
            _ => Err(StepError(format!("the loss must be one number, it is {} {:?}", loss.dtype(), loss.shape()))),
        }
    }

    fn gradient<'a>(&'a self, space: &'a Workspace, index: usize) -> Option<View<'a>> {
        let output = (*self.given.gradients.get(index)?)?;
        Some(self.executable.output_view(space, output))
    }

    fn prediction(&self, space: &Workspace) -> Option<Tensor> {
        Some(self.executable.output_tensor(space, self.given.prediction?))
    }

    fn memory_bytes(&self) -> usize {
        self.executable.arena_bytes().unwrap_or(0)
    }

    fn costs_by_node(
        &mut self,
        space: &mut Workspace,
        feeds: &[(String, Tensor)],
        parameters: &[Tensor],
    ) -> Result<Vec<(Option<String>, Cost)>, StepError> {
        let profile = self.profiled(space, feeds, parameters)?;
        let mut by_node: IndexMap<Option<&str>, Cost> = IndexMap::new();
        for (i, cost) in profile.by_instr().iter().enumerate().filter(|(_, c)| c.seconds > 0.0) {
            let origin = self.given.program.instrs.get(i).and_then(|instr| instr.origin.as_ref());
            let own = by_node.entry(origin.map(NodeKey::as_str)).or_default();
            own.seconds += cost.seconds;
            own.bytes += cost.bytes;
        }
        Ok(by_node.into_iter().map(|(n, s)| (n.map(str::to_owned), s)).collect())
    }

    fn first_non_finite(
        &mut self,
        feeds: &[(String, Tensor)],
        parameters: &[Tensor],
        random: Random,
    ) -> Result<Option<NonFinite>, StepError> {
        let feeds = self.ordered(feeds)?;
        let (program, values) = match &self.given.unfused {
            Some((p, v)) => (p, v),
            None => (&self.given.program, &self.given.parameters),
        };
        let parameters = needed(values, parameters);
        let bind = Bindings { feeds: &feeds, params: &parameters, random };
        let blame =
            first_non_finite(program, &present(values), &mut ConstantStore::default(), &bind).map_err(step_error)?;
        let found = |b: Blame| NonFinite { words: b.to_string(), node: b.node.map(|n| n.as_str().to_owned()) };
        Ok(blame.map(found))
    }
}
