//! Running what is understood: specialise for concrete feeds, differentiate, optimise, plan, execute.

use crate::autodiff;
use crate::engine::{Bindings, ConstantStore, Control, Engine, Executable, Workspace};
use crate::graph::NodeKey;
use crate::passes;
use crate::program::{Builder, Program, Random, Value};
use crate::specialise::{self, DropoutPolicy, FeedSpec, Request, SpecialiseError, Specialised};
use crate::tensor::{Tensor, shape};

use super::error::SessionError;
use super::feeds::Feeds;
use super::objective;
use super::recipe::SitePolicy;
use super::understand::Understood;

pub use crate::specialise::Mode;

/// What is asked for, in values of [`Understood::program`].
#[derive(Clone, Debug)]
pub struct Ask {
    pub mode: Mode,
    pub fetches: Vec<Value>,
    pub feeds: Feeds,
    pub gradients: Option<Gradients>,
    /// Constants whose values change between runs: nothing may be folded out of them.
    pub params: Vec<NodeKey>,
    /// `None`: all cores.
    pub threads: Option<usize>,
    pub seed: u64,
}

impl Default for Ask {
    fn default() -> Self {
        Self {
            mode: Mode::Eval,
            fetches: Vec::new(),
            feeds: Vec::new(),
            gradients: None,
            params: Vec::new(),
            threads: None,
            seed: 0,
        }
    }
}

/// Vector-Jacobian products: of which values (with the gradients that arrive there; ones where none is given), with
/// respect to which.
#[derive(Clone, Debug, Default)]
pub struct Gradients {
    pub of: Vec<(Value, Option<Tensor>)>,
    pub wrt: Vec<(String, Value)>,
}

/// Numbers that were asked for.
#[derive(Clone, Debug, Default)]
pub struct Computed {
    pub outputs: Vec<Tensor>,
    /// The objective's value, where gradients of one scalar were asked for.
    pub loss: Option<f64>,
    /// One per `wrt`; `None` where no gradient arrives.
    pub gradients: Vec<Option<Tensor>>,
    /// For those of `wrt` whose gradient is lost at an op without a rule: which, and why.
    pub blocked: Vec<(usize, String)>,
}

/// A program ready to be planned. Its outputs: the fetches, the values of `gradients.of`, then the gradients.
#[derive(Debug)]
pub struct Prepared {
    pub program: Program,
    /// For each feed of the program, by name, the fed value of [`Understood::program`].
    pub feeds: Vec<(String, Value)>,
    /// For each `wrt`, the index of its gradient among the outputs.
    pub gradients: Vec<Option<usize>>,
    /// For those of `wrt` whose gradient is lost at an op without a rule: which, and why. They have none: a part of a sum
    /// would be a wrong gradient.
    pub blocked: Vec<(usize, String)>,
    pub n_outputs: usize,
    /// Fed values whose content was built in: other content needs another program.
    pub built_in: Vec<Value>,
    /// The program before fusion, in which a NaN is traced to its graph node.
    pub unfused: Option<Program>,
}

impl Understood {
    /// Computes once. For repeated runs see [`super::job`].
    pub fn compute(&self, ask: &Ask) -> Result<Computed, SessionError> {
        let prepared = self.prepare(ask)?;
        let engine = Engine::new(ask.threads.unwrap_or(0))?;
        let fed = |name: &str| {
            let old = prepared.feeds.iter().find(|(n, _)| n == name)?.1;
            Some(ask.feeds.iter().find(|(v, _)| *v == old)?.1.clone())
        };
        let feeds: Vec<Tensor> = prepared.program.feeds.iter().filter_map(|f| fed(&f.name)).collect();
        let exec = Executable::new(prepared.program, &[], &mut ConstantStore::default())?;
        let mut space = Workspace::new();
        let bind = Bindings { feeds: &feeds, params: &[], random: Random { seed: ask.seed, step: 0 } };
        engine.run(&exec, &mut space, &bind, Control::default())?;
        let outputs: Vec<Tensor> = (0..prepared.n_outputs).map(|i| exec.output_tensor(&space, i)).collect();
        let n = ask.fetches.len();
        let wants_loss = ask.gradients.as_ref().is_some_and(|g| g.of.iter().all(|(_, upstream)| upstream.is_none()));
        let loss = if wants_loss { outputs.get(n).and_then(first_number) } else { None };
        Ok(Computed {
            gradients: prepared.gradients.iter().map(|i| i.map(|i| outputs[i].clone())).collect(),
            blocked: prepared.blocked,
            outputs: outputs.into_iter().take(n).collect(),
            loss,
        })
    }

    /// Specialises, differentiates and optimises.
    pub fn prepare(&self, ask: &Ask) -> Result<Prepared, SessionError> {
        let mut base = self.program.clone();
        let mut fetches = ask.fetches.clone();
        let mut of: Vec<(Value, Option<Tensor>)> = Vec::new();
        let mut wrt: Vec<Value> = Vec::new();
        if let Some(g) = &ask.gradients {
            of.clone_from(&g.of);
            if of.len() > 1 && of.iter().all(|(_, upstream)| upstream.is_none()) {
                let values: Vec<Value> = of.iter().map(|(v, _)| *v).collect();
                of = vec![(objective::sum_of(&mut base, &values)?, None)];
            }
            wrt = g.wrt.iter().map(|(_, v)| *v).collect();
        }
        // Passes renumber values but keep outputs in order, so what must be found again stands among the outputs.
        fetches.extend(of.iter().map(|(v, _)| *v));
        let n_kept = fetches.len();
        fetches.extend(&wrt);
        let Specialised { program, feeds, built_in, .. } =
            specialise::specialise(&base, &self.sites, &self.request(ask, fetches.clone())?)
                .map_err(|e| with_cures(e, &base, &fetches))?;
        let program = self.with_stand_ins(program)?;
        let feeds = feeds
            .into_iter()
            .filter_map(|(old, new)| Some((program.feeds.iter().find(|f| f.value == new)?.name.clone(), old)))
            .collect();
        let upstream: Vec<Option<Tensor>> = of.into_iter().map(|(_, t)| t).collect();
        let params = |p: &Program| -> Vec<Value> {
            let of = p.constants.iter().filter(|c| c.node.as_ref().is_some_and(|n| ask.params.contains(n)));
            of.map(|c| c.value).collect()
        };
        // Targets that are constants stay as they are, too.
        let mut kept = params(&program);
        kept.extend(&program.outputs[n_kept..]);
        let mut program = passes::before_autodiff(&program, &kept)?.program;
        let (gradients, blocked) = differentiate(&mut program, &upstream, n_kept)?;
        let unfused = (!ask.params.is_empty()).then(|| program.clone());
        let program = passes::after_autodiff(&program, &params(&program))?.program;
        Ok(Prepared { n_outputs: program.outputs.len(), program, feeds, gradients, blocked, built_in, unfused })
    }

    /// Stand-in gradients of the recipe; outputs and feeds keep their order and names.
    fn with_stand_ins(&self, program: Program) -> Result<Program, SessionError> {
        let stand_ins = self.recipe.stand_in_map();
        if stand_ins.is_empty() {
            return Ok(program);
        }
        Ok(autodiff::stand_in::apply(&program, &stand_ins)?.0)
    }

    /// The request for the specialiser: feeds, pins and dropout policies of the recipe.
    pub fn request(&self, ask: &Ask, fetches: Vec<Value>) -> Result<Request, SessionError> {
        let names = self.names()?;
        let feeds = ask.feeds.iter().map(|(value, tensor)| FeedSpec {
            value: *value,
            dtype: tensor.dtype(),
            dims: tensor.shape().into(),
            tensor: Some(tensor.clone()),
        });
        let mut pins = Vec::new();
        for (name, number) in &self.recipe.pins {
            let value = names.value(name)?;
            let fact = self.program.fact(value);
            let dims = fact.shape.known().unwrap_or_default();
            if shape::element_count(&dims).is_none_or(|n| n > 1 << 24) {
                return Err(SessionError::Choice(format!("{name} is too large to be pinned to one number")));
            }
            pins.push((value, Tensor::filled(fact.dtype, &dims, *number)));
        }
        Ok(Request { mode: ask.mode, fetches, feeds: feeds.collect(), pins, dropout: self.dropout_policies() })
    }

    /// One policy per recognised site.
    pub fn dropout_policies(&self) -> Vec<DropoutPolicy> {
        let policy = |output: &str| match self.recipe.dropout.policy(output) {
            SitePolicy::Train => DropoutPolicy::Train,
            SitePolicy::Rate(r) => DropoutPolicy::Rate(r),
            SitePolicy::Off => DropoutPolicy::Off,
            SitePolicy::AsInFile => DropoutPolicy::AsInFile,
        };
        let is_own = |i: usize| self.base.sites.iter().any(|s| s.output_key == self.sites[i].output_key);
        let of_site = |i: usize| match policy(self.sites[i].output_key.as_str()) {
            // The file knows nothing of an adapter: it drops while training alone.
            DropoutPolicy::AsInFile if !is_own(i) => DropoutPolicy::Train,
            other => other,
        };
        (0..self.sites.len()).map(of_site).collect()
    }

    /// Values for `--fetch` names, or the signature's outputs, or every value that nothing reads.
    pub fn fetches(&self, asked: &[String]) -> Result<(Vec<Value>, Vec<String>), SessionError> {
        let names = self.names()?;
        if !asked.is_empty() {
            let values = asked.iter().map(|n| names.value(n)).collect::<Result<Vec<_>, _>>()?;
            return Ok((values, asked.to_vec()));
        }
        if let Some(signature) = names.signature.filter(|s| !s.outputs.is_empty()) {
            let values =
                signature.outputs.iter().map(|(_, k)| names.value(k.as_str())).collect::<Result<Vec<_>, _>>()?;
            return Ok((values, signature.outputs.iter().map(|(alias, _)| alias.clone()).collect()));
        }
        let spelled = &self.base.spelled.program;
        let readers = spelled.readers();
        let sinks = spelled.value_ids().filter(|&v| {
            readers[v.idx()].is_empty() && spelled.producer(v).is_some() && spelled.value(v).key.is_some()
        });
        let sinks: Vec<Value> = sinks.collect();
        if sinks.is_empty() {
            return Err(SessionError::Choice("this model has no outputs; name values with --fetch".to_owned()));
        }
        let labels = sinks.iter().map(|&v| spelled.describe(v)).collect();
        Ok((sinks, labels))
    }
}

/// Per target the index of its gradient among the outputs, and the targets that have none because it is blocked.
type Placed = (Vec<Option<usize>>, Vec<(usize, String)>);

/// Replaces the targets behind `n_kept` outputs by their gradients; the last `upstream.len()` kept outputs are the seeds.
fn differentiate(program: &mut Program, upstream: &[Option<Tensor>], n_kept: usize) -> Result<Placed, SessionError> {
    let targets = program.outputs.split_off(n_kept);
    let seeded = program.outputs[n_kept - upstream.len()..].to_vec();
    if targets.is_empty() {
        return Ok(Placed::default());
    }
    let mut blocked = Vec::new();
    for (i, c) in autodiff::reach::report(program, &seeded, &targets).constants.into_iter().enumerate() {
        if c.verdict == autodiff::Verdict::Blocked {
            blocked.push((i, c.why.unwrap_or_default()));
        }
    }
    let is_blocked = |i: usize| blocked.iter().any(|(b, _)| *b == i);
    let free: Vec<Value> = (0..targets.len()).filter(|&i| !is_blocked(i)).map(|i| targets[i]).collect();
    let mut seeds = Vec::new();
    for (v, tensor) in seeded.into_iter().zip(upstream) {
        let gradient = tensor.as_ref().map(|t| Builder::new(program).literal(t.clone()));
        seeds.push((v, gradient));
    }
    let mut found = autodiff::differentiate(program, &seeds, &free)?.into_iter();
    let mut index = Vec::new();
    for i in 0..targets.len() {
        let gradient = if is_blocked(i) { None } else { found.next().flatten() };
        index.push(gradient.map(|g| {
            program.outputs.push(g);
            program.outputs.len() - 1
        }));
    }
    Ok((index, blocked))
}

/// An error about a node that nobody can compute also says what helps.
fn with_cures(error: SpecialiseError, program: &Program, fetches: &[Value]) -> SessionError {
    let SpecialiseError::Opaque { node, .. } = &error else { return error.into() };
    let all = autodiff::reach::uncomputable(program, fetches);
    match all.into_iter().find(|u| u.node.as_str() == node) {
        Some(found) => SessionError::Uncomputable(Box::new(found)),
        None => error.into(),
    }
}

/// The only element of a scalar.
fn first_number(t: &Tensor) -> Option<f64> {
    if t.len() == 1 { t.to_f64s()?.first().copied() } else { None }
}
