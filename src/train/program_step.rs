//! A [`Step`] that runs a specialised, differentiated [`Program`] on the engine: what a factory usually makes.

use crate::engine::{Bindings, ConstantStore, Control, EngineError, Executable, Workspace, first_non_finite};
use crate::program::{Program, Random, Value, View};
use crate::tensor::{DType, Tensor};

use super::step::{Step, StepError};

/// A program and what its outputs mean. Feeds are found by the names of `program.feeds`.
#[derive(Clone, Debug, Default)]
pub struct StepProgram {
    pub program: Program,
    /// The program's constants that train, in the order of the job's parameters.
    pub parameters: Vec<Value>,
    /// Index into `program.outputs` of the scalar loss.
    pub loss: usize,
    /// Index of what metrics read.
    pub prediction: Option<usize>,
    /// For each parameter the index of its gradient; empty for evaluation.
    pub gradients: Vec<Option<usize>>,
    /// The program before fusion with its parameters, in which a NaN is traced to its graph node; else `program` is.
    pub unfused: Option<(Program, Vec<Value>)>,
}

/// See the module doc.
#[derive(Debug)]
pub struct ProgramStep {
    executable: Executable,
    feed_names: Vec<String>,
    gradient_types: Vec<DType>,
    given: StepProgram,
}

impl ProgramStep {
    /// Plans the program. `constants` is shared by the steps of a run, so that each frozen constant is loaded once.
    pub fn new(given: StepProgram, constants: &mut ConstantStore) -> Result<Self, StepError> {
        let n_outputs = given.program.outputs.len();
        let indices = given.gradients.iter().flatten().chain(&given.prediction).chain([&given.loss]);
        if let Some(i) = indices.into_iter().find(|i| **i >= n_outputs) {
            return Err(StepError(format!("output {i} of a program with {n_outputs} outputs was asked for")));
        }
        let loss = given.program.fact(given.program.outputs[given.loss]);
        if !loss.dtype.is_float() || loss.dims().is_some_and(|d| d.iter().product::<usize>() != 1) {
            return Err(StepError(format!("the loss must be one floating-point number, it is {}", loss.describe())));
        }
        let executable = Executable::new(given.program.clone(), &given.parameters, constants).map_err(step_error)?;
        let type_of =
            |i: &Option<usize>| i.map_or(DType::Unknown, |i| given.program.fact(given.program.outputs[i]).dtype);
        Ok(Self {
            executable,
            feed_names: given.program.feeds.iter().map(|f| f.name.clone()).collect(),
            gradient_types: given.gradients.iter().map(type_of).collect(),
            given,
        })
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
        let bind = Bindings { feeds: &feeds, params: parameters, random };
        self.executable.run(space, &bind, Control::default()).map_err(step_error)?;
        let loss = self.executable.output_tensor(space, self.given.loss);
        match loss.to_f64s().as_deref() {
            Some([v]) => Ok(*v),
            _ => Err(StepError(format!("the loss must be one number, it is {} {:?}", loss.dtype(), loss.shape()))),
        }
    }

    fn gradient<'a>(&'a self, space: &'a Workspace, index: usize) -> Option<View<'a>> {
        let output = (*self.given.gradients.get(index)?)?;
        match self.gradient_types[index] {
            DType::F32 => Some(View::of_slice(self.executable.output::<f32>(space, output))),
            DType::F64 => Some(View::of_slice(self.executable.output::<f64>(space, output))),
            DType::F16 => Some(View::of_slice(self.executable.output::<half::f16>(space, output))),
            DType::BF16 => Some(View::of_slice(self.executable.output::<half::bf16>(space, output))),
            _ => None,
        }
    }

    fn prediction(&self, space: &Workspace) -> Option<Tensor> {
        Some(self.executable.output_tensor(space, self.given.prediction?))
    }

    fn memory_bytes(&self) -> usize {
        self.executable.arena_bytes().unwrap_or(0)
    }

    fn first_non_finite(
        &mut self,
        feeds: &[(String, Tensor)],
        parameters: &[Tensor],
        random: Random,
    ) -> Result<Option<String>, StepError> {
        let feeds = self.ordered(feeds)?;
        let bind = Bindings { feeds: &feeds, params: parameters, random };
        let (program, values) = match &self.given.unfused {
            Some((p, v)) => (p, v),
            None => (&self.given.program, &self.given.parameters),
        };
        let blame = first_non_finite(program, values, &mut ConstantStore::default(), &bind).map_err(step_error)?;
        Ok(blame.map(|b| b.to_string()))
    }
}
