//! From the recipe's objective to values of the program: an existing loss, a loss attached to an output, or, where
//! nothing is said, the graph's own scalar.

use crate::edits::heads;
use crate::graph::ValueKey;
use crate::ops::make;
use crate::program::{Builder, Program, Value};
use crate::train::losses::{self, LossOptions};

use super::edits::GraftedHead;
use super::error::SessionError;
use super::names::Names;
use super::recipe::{IGNORE_LABEL, Objective, Recipe};
use super::understand::Base;
use super::words;

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
    /// The loss that was put on an output.
    pub attached: Option<AttachedLoss>,
    /// Whether the recipe chose it (else it is guessed).
    pub is_chosen: bool,
}

/// A loss that is not in the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttachedLoss {
    /// One of [`losses::ALL`].
    pub kind: &'static str,
    /// Labels with this value count for nothing.
    pub ignore: i64,
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
        None => match base.head(None) {
            Some(head) => {
                let ask = Ask { kind: None, labels: None, ignore: IGNORE_LABEL, options: &LossOptions::default() };
                head_loss(base, program, head, &ask)
            }
            None if recipe.hides_words() => match words::scores(program) {
                Some(on) => {
                    let kind = "softmax-cross-entropy";
                    let ask = Ask { kind: None, labels: None, ignore: IGNORE_LABEL, options: &LossOptions::default() };
                    attach(program, kind, on, "masked_labels", &ask)
                }
                None => Ok(ObjectiveValues {
                    name: "no output with a score for each word of a vocabulary".to_owned(),
                    ..ObjectiveValues::default()
                }),
            },
            None => Ok(guess(program)),
        },
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
        Some(Objective::Attached { loss, on, labels, ignore_label, options }) => {
            let on_value = Names { spelled: &base.spelled, program, signature }.value(on)?;
            let ask = Ask { kind: Some(loss), labels: Some(labels), ignore: *ignore_label, options };
            attach(program, loss, on_value, labels, &ask)
        }
        Some(Objective::Head { head, loss, labels, ignore_label, options }) => {
            let found = base.head(Some(head)).ok_or_else(|| {
                let why = base.diagnostics.iter().find(|d| d.place.as_deref() == Some(head));
                SessionError::Choice(match why {
                    Some(d) => d.message.clone(),
                    None => format!("no edit grafts a head called {head}; graft one with --head KIND --at VALUE"),
                })
            })?;
            let ask = Ask { kind: loss.as_deref(), labels: labels.as_deref(), ignore: *ignore_label, options };
            head_loss(base, program, found, &ask)
        }
    }
}

/// What is chosen about a loss.
struct Ask<'a> {
    kind: Option<&'a str>,
    labels: Option<&'a str>,
    ignore: i64,
    options: &'a LossOptions,
}

fn head_loss(
    base: &Base,
    program: &mut Program,
    head: &GraftedHead,
    ask: &Ask<'_>,
) -> Result<ObjectiveValues, SessionError> {
    let usual = heads::find(&head.choice.kind).map_or("softmax-cross-entropy", |h| h.loss);
    let logits = base.spelled.values.get(&head.logits).copied();
    let logits = logits.ok_or_else(|| SessionError::Choice(format!("{} cannot be computed", head.logits)))?;
    let own = format!("{}/labels", head.choice.name);
    attach(program, ask.kind.unwrap_or(usual), logits, ask.labels.unwrap_or(&own), ask)
}

fn attach(
    program: &mut Program,
    kind: &str,
    on: Value,
    labels: &str,
    ask: &Ask<'_>,
) -> Result<ObjectiveValues, SessionError> {
    let info = losses::find(kind).ok_or_else(|| {
        let names: Vec<&str> = losses::ALL.iter().map(|l| l.kind).collect();
        SessionError::Choice(format!("there is no loss {kind:?}; there are {}", names.join(", ")))
    })?;
    let key = if labels.contains(':') { labels.to_owned() } else { format!("{labels}:0") };
    let name = format!("{kind} on {}", program.describe(on));
    let ignore = (info.labels == losses::Labels::Classes).then_some(ask.ignore);
    let mut b = Builder::new(program);
    let attached = losses::attach_with(&mut b, info, on, &key, ignore, ask.options)?;
    b.set_key(attached.labels, ValueKey::new(&key));
    Ok(ObjectiveValues {
        values: vec![attached.loss],
        name,
        logits: Some(on),
        labels: Some(attached.labels),
        attached: Some(AttachedLoss { kind: info.kind, ignore: ask.ignore }),
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
