//! Parameters and optimizer state, outside all plans, so that the plans of a run (one per shape) share them.

use std::fmt;

use regex::Regex;

use crate::program::View;
use crate::tensor::{DType, Tensor};

use super::optimizers::{self, Coefficients, OptimizerInfo, apply};
use super::settings::{OptimizerSettings, SettingError};

/// What training starts from: a trainable constant of the graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    pub name: String,
    pub value: Tensor,
    /// Role of the constant (`bias`, `norm-scale`, …), for `no_decay = role:…`; may be empty.
    pub role: String,
}

/// How a parameter differs from the run's own settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Factor on the learning rate.
    pub factor: f64,
    pub decay: Option<f64>,
}

impl Default for Rate {
    fn default() -> Self {
        Self { factor: 1.0, decay: None }
    }
}

/// Optimizer state of one parameter.
#[derive(Clone, Debug, PartialEq)]
struct State {
    slots: Vec<Tensor>,
    /// Single-precision copy of a half-precision parameter.
    master: Option<Tensor>,
    decay: f64,
    /// Factor on the learning rate.
    rate: f64,
}

/// See the module doc. The order of parameters is the order that [`super::Step`] sees.
pub struct Store {
    names: Vec<String>,
    values: Vec<Tensor>,
    states: Vec<State>,
    optimizer: &'static OptimizerInfo,
    /// Updates done.
    updates: u64,
}

impl Default for Store {
    /// Nothing to train.
    fn default() -> Self {
        let optimizer = optimizers::ALL[0];
        Self { names: Vec::new(), values: Vec::new(), states: Vec::new(), optimizer, updates: 0 }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} parameters, {:?}, {} updates", self.names.len(), self.optimizer, self.updates)
    }
}

impl Store {
    /// Slots start at zero. Errors: a `no_decay` pattern that is no regex, a parameter that is not floating point.
    pub fn new(parameters: Vec<Parameter>, settings: &OptimizerSettings) -> Result<Self, SettingError> {
        let exempt = Exempt::parse(&settings.no_decay)?;
        let mut store = Self {
            names: Vec::with_capacity(parameters.len()),
            values: Vec::with_capacity(parameters.len()),
            states: Vec::with_capacity(parameters.len()),
            optimizer: settings.info,
            updates: 0,
        };
        for p in parameters {
            if !p.value.dtype().is_float() {
                return Err(SettingError(format!("'{}' is {}, only floats can train", p.name, p.value.dtype())));
            }
            let state_type = if p.value.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
            let dims = |slot: usize| (settings.info.slot_dims)(slot, p.value.shape());
            let slots = (0..settings.info.slots.len()).map(|s| Tensor::zeros(state_type, &dims(s))).collect();
            let master = p
                .value
                .dtype()
                .is_half()
                .then(|| Tensor::from_f64s(DType::F32, p.value.shape(), p.value.to_f64s().unwrap_or_default()));
            let decay = if exempt.covers(&p.name, &p.role) { 0.0 } else { settings.weight_decay };
            store.states.push(State { slots, master, decay, rate: 1.0 });
            store.names.push(p.name);
            store.values.push(p.value);
        }
        Ok(store)
    }

    /// Rates and decays of their own, one for each parameter in order.
    pub fn set_rates(&mut self, rates: &[Rate]) {
        for (state, rate) in self.states.iter_mut().zip(rates) {
            state.rate = rate.factor;
            state.decay = rate.decay.unwrap_or(state.decay);
        }
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn values(&self) -> &[Tensor] {
        &self.values
    }

    pub fn by_name(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.names.iter().map(String::as_str).zip(&self.values)
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Elements of all parameters.
    pub fn n_elements(&self) -> usize {
        self.values.iter().map(Tensor::len).sum()
    }

    /// Updates done so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Bytes of parameters and optimizer state.
    pub fn memory_bytes(&self) -> usize {
        let state = |s: &State| s.slots.iter().chain(&s.master).map(|t| t.bytes().len()).sum::<usize>();
        self.values.iter().map(|t| t.bytes().len()).sum::<usize>() + self.states.iter().map(state).sum::<usize>()
    }

    /// Coefficients of the next update at rate `lr`, with gradients scaled by `grad_scale` first.
    pub fn coefficients(&self, settings: &OptimizerSettings, lr: f64, grad_scale: f64) -> Coefficients {
        let c = (self.optimizer.coefficients)(settings, lr, self.updates + 1);
        Coefficients { lr, grad_scale, ..c }
    }

    /// One update of every parameter that has a gradient.
    pub fn update<'g>(&mut self, c: &Coefficients, gradient: impl Fn(usize) -> Option<View<'g>>) {
        for (i, (value, state)) in self.values.iter_mut().zip(&mut self.states).enumerate() {
            let Some(g) = gradient(i) else { continue };
            let c = c.at_rate(state.rate, self.optimizer, state.decay);
            apply::update(self.optimizer, &c, value, g, &mut state.slots, state.master.as_mut());
        }
        self.updates += 1;
    }

    /// Slots of an earlier training program in the place of zeros, where `take` has all of a parameter's in its shape
    /// (asked by slot and parameter). Gives the number of parameters that got theirs; `updates` counts on from there.
    pub fn take_over(&mut self, mut take: impl FnMut(&str, &str) -> Option<Tensor>, updates: u64) -> usize {
        let mut n = 0;
        for (name, state) in self.names.iter().zip(&mut self.states) {
            let fitting = |(slot, now): (&&str, &Tensor)| {
                let found = take(slot, name).filter(|t| t.shape() == now.shape() && t.dtype().is_float())?;
                match found.dtype() == now.dtype() {
                    true => Some(found),
                    false => Some(Tensor::from_f64s(now.dtype(), now.shape(), found.to_f64s()?)),
                }
            };
            let found: Option<Vec<Tensor>> = self.optimizer.slots.iter().zip(&state.slots).map(fitting).collect();
            if let Some(found) = found.filter(|f| !f.is_empty()) {
                state.slots = found;
                n += 1;
            }
        }
        self.updates = updates;
        n
    }

    /// Everything that a checkpoint holds, by key.
    pub fn tensors(&self) -> impl Iterator<Item = (String, &Tensor)> {
        let slots = self.optimizer.slots;
        self.names.iter().zip(&self.values).zip(&self.states).flat_map(move |((name, value), state)| {
            let named = slots.iter().zip(&state.slots).map(move |(slot, t)| (format!("{slot}|{name}"), t));
            let master = state.master.iter().map(move |t| (format!("master|{name}"), t));
            std::iter::once((format!("parameter|{name}"), value)).chain(named).chain(master)
        })
    }

    /// Puts back what [`Store::tensors`] gave; every tensor must be there with its type and shape.
    pub fn restore(&mut self, mut take: impl FnMut(&str) -> Option<Tensor>, updates: u64) -> Result<(), String> {
        let mut fetch = |key: String, now: &Tensor| match take(&key) {
            Some(t) if t.dtype() == now.dtype() && t.shape() == now.shape() => Ok(t),
            Some(t) => Err(format!(
                "'{key}' is {} {:?} in the checkpoint, {} {:?} now",
                t.dtype(),
                t.shape(),
                now.dtype(),
                now.shape()
            )),
            None => Err(format!("the checkpoint has no '{key}' (another trainable set or optimizer?)")),
        };
        // All are fetched before any is replaced, so that a failure leaves the store as it was.
        let mut values = Vec::with_capacity(self.values.len());
        let mut states = self.states.clone();
        for ((name, value), state) in self.names.iter().zip(&self.values).zip(&mut states) {
            values.push(fetch(format!("parameter|{name}"), value)?);
            for (slot, t) in self.optimizer.slots.iter().zip(&mut state.slots) {
                *t = fetch(format!("{slot}|{name}"), t)?;
            }
            if let Some(t) = &mut state.master {
                *t = fetch(format!("master|{name}"), t)?;
            }
        }
        self.values = values;
        self.states = states;
        self.updates = updates;
        Ok(())
    }
}

/// Which parameters do not decay.
struct Exempt {
    patterns: Vec<Regex>,
    roles: Vec<String>,
}

impl Exempt {
    fn parse(list: &[String]) -> Result<Self, SettingError> {
        let mut out = Self { patterns: Vec::new(), roles: Vec::new() };
        for item in list {
            match item.strip_prefix("role:") {
                Some(role) => out.roles.push(role.to_owned()),
                None => out.patterns.push(
                    Regex::new(item)
                        .map_err(|e| SettingError(format!("optimizer.no_decay: '{item}' is not a regex: {e}")))?,
                ),
            }
        }
        Ok(out)
    }

    fn covers(&self, name: &str, role: &str) -> bool {
        self.roles.iter().any(|r| r == role) || self.patterns.iter().any(|p| p.is_match(name))
    }
}
