//! From the recipe's objective to values of the program: an existing loss, a loss attached to an output, or, where
//! nothing is said, the graph's own scalar.

use crate::graph::ValueKey;
use crate::ops::make;
use crate::program::{Builder, Program, Value};
use crate::train::losses;

use super::error::SessionError;
use super::names::Names;
use super::recipe::{Objective, Recipe};
use super::understand::Base;

/// What is minimised, and what metrics read.
#[derive(Clone, Debug, Default)]
pub struct ObjectiveValues {
    /// One scalar loss, or the float outputs whose sum stands in where nothing is chosen.
    pub values: Vec<Value>,
    /// What it is called in messages.
    pub name: String,
    /// The output that predictions come from, where the objective tells.
    pub logits: Option<Value>,
    /// The feed that holds the labels, where the objective tells.
    pub labels: Option<Value>,
    /// Whether the recipe chose it (else it is guessed).
    pub is_chosen: bool,
}

impl ObjectiveValues {
    /// The one scalar that training minimises, if there is one.
    pub fn loss(&self) -> Option<Value> {
        match self.values.as_slice() {
            [v] => Some(*v),
            _ => None,
        }
    }
}

/// Resolves the objective, appending its instructions to `program`.
pub fn resolve(base: &Base, recipe: &Recipe, program: &mut Program) -> Result<ObjectiveValues, SessionError> {
    let signature = base.model.signature(recipe.signature.as_deref())?;
    match &recipe.objective {
        None => Ok(guess(program)),
        Some(Objective::Value { loss }) => {
            let value = Names { spelled: &base.spelled, program, signature }.value(loss)?;
            let fact = program.fact(value);
            if !fact.dtype.is_float() {
                return Err(SessionError::Choice(format!("{loss} cannot be a loss: it is {}", fact.describe())));
            }
            Ok(ObjectiveValues {
                values: vec![value],
                name: name_of(program, value),
                is_chosen: true,
                ..Default::default()
            })
        }
        Some(Objective::Attached { loss, on, labels, ignore_label }) => {
            let on_value = Names { spelled: &base.spelled, program, signature }.value(on)?;
            attach(program, loss, on_value, labels, *ignore_label)
        }
        Some(Objective::Head { .. }) => Err(SessionError::Choice(
            "grafting a head is not available in this version: attach a loss to an existing output instead".to_owned(),
        )),
    }
}

fn attach(
    program: &mut Program,
    kind: &str,
    on: Value,
    labels: &str,
    ignore_label: i64,
) -> Result<ObjectiveValues, SessionError> {
    let info = losses::find(kind).ok_or_else(|| {
        let names: Vec<&str> = losses::ALL.iter().map(|l| l.kind).collect();
        SessionError::Choice(format!("there is no loss {kind:?}; there are {}", names.join(", ")))
    })?;
    let key = if labels.contains(':') { labels.to_owned() } else { format!("{labels}:0") };
    let name = format!("{kind} on {}", program.describe(on));
    let ignore = (info.labels == losses::Labels::Classes).then_some(ignore_label);
    let mut b = Builder::new(program);
    let attached = losses::attach(&mut b, info, on, &key, ignore)?;
    b.set_key(attached.labels, ValueKey::new(&key));
    Ok(ObjectiveValues {
        values: vec![attached.loss],
        name,
        logits: Some(on),
        labels: Some(attached.labels),
        is_chosen: true,
    })
}

/// The one scalar float that nothing reads, else all float values that nothing reads.
fn guess(program: &mut Program) -> ObjectiveValues {
    let readers = program.readers();
    let sinks: Vec<Value> = program
        .value_ids()
        .filter(|&v| readers[v.idx()].is_empty() && program.producer(v).is_some() && program.fact(v).dtype.is_float())
        .filter(|&v| program.value(v).key.is_some())
        .collect();
    let scalars: Vec<Value> = sinks.iter().copied().filter(|&v| program.fact(v).rank() == Some(0)).collect();
    if let [one] = scalars.as_slice() {
        let one = *one;
        return ObjectiveValues { values: vec![one], name: name_of(program, one), ..Default::default() };
    }
    let names: Vec<String> = sinks.iter().map(|&v| name_of(program, v)).collect();
    ObjectiveValues { values: sinks, name: format!("the sum of {}", names.join(" + ")), ..Default::default() }
}

/// One scalar for several outputs: the sum of all their elements.
pub fn sum_of(program: &mut Program, values: &[Value]) -> Result<Value, SessionError> {
    let mut b = Builder::new(program);
    let mut total = None;
    for &v in values {
        let sum = make::sum_all(&mut b, v)?;
        total = Some(match total {
            None => sum,
            Some(t) => make::add(&mut b, t, sum)?,
        });
    }
    total.ok_or_else(|| SessionError::Choice("this model has no float output; name a loss with --loss".to_owned()))
}

fn name_of(program: &Program, v: Value) -> String {
    program.describe(v)
}
