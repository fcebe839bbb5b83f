//! What `bench` needs to know of a model that it has never seen: which weights are the head, where the logits are, which
//! placeholders hold ids, mask and segments.

use std::str::FromStr;

use regex::Regex;

use crate::program::Value;
use crate::tensor::{Fact, Tensor};

use super::error::SessionError;
use super::recipe::TrainableChoice;
use super::select::Selector;
use super::understand::Understood;

/// Name of the placeholder for labels of the attached loss.
pub const LABELS: &str = "bench_labels";

/// Which weights train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    All,
    Head,
    LastTwoLayers,
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "all" => Ok(Self::All),
            "head" => Ok(Self::Head),
            "last2" => Ok(Self::LastTwoLayers),
            _ => Err(format!("--train {s}: expected all, head or last2")),
        }
    }
}

/// The suggested weights of a scope. Layers are told by a number in the names (`layer_3`, `h.3`), the head is what the
/// graph reads after the last numbered weight and the matrix after that (the pooler).
pub fn trainable(understood: &Understood, scope: Scope) -> TrainableChoice {
    let names = by_first_use(understood);
    let keep: Vec<&String> = match scope {
        Scope::All => return TrainableChoice::default(),
        Scope::Head => {
            let last = names.iter().rposition(|(_, role)| *role == "matmul-weight").unwrap_or(0);
            names[last..].iter().map(|(n, _)| n).collect()
        }
        Scope::LastTwoLayers => {
            let numbers: Vec<Option<usize>> = names.iter().map(|(n, _)| layer_number(n)).collect();
            let top = numbers.iter().flatten().max().copied().unwrap_or(0);
            let first = numbers.iter().position(|n| n.is_some_and(|n| n + 2 > top)).unwrap_or(0);
            names[first..].iter().map(|(n, _)| n).collect()
        }
    };
    TrainableChoice { include: keep.into_iter().map(|n| Selector::Name(n.clone())).collect(), exclude: Vec::new() }
}

fn layer_number(name: &str) -> Option<usize> {
    let pattern = Regex::new(r"(?:layer|layers|block|h)[._/]+(\d+)(?:[._/]|$)").ok()?;
    pattern.captures(name)?.get(1)?.as_str().parse().ok()
}

/// Names and roles of the suggested constants in the order in which the program first reads them.
fn by_first_use(understood: &Understood) -> Vec<(String, &'static str)> {
    let program = &understood.base.spelled.program;
    let readers = program.readers();
    let mut found: Vec<(usize, String, &'static str)> = Vec::new();
    for role in understood.base.roles.iter().filter(|r| r.suggest) {
        if let Some(c) = program.constants.iter().find(|c| c.node.as_ref() == Some(&role.node)) {
            let first = readers[c.value.idx()].first().copied().unwrap_or(usize::MAX);
            found.push((first, role.node.as_str().to_owned(), role.role.name()));
        }
    }
    found.sort();
    found.into_iter().map(|(_, name, role)| (name, role)).collect()
}

/// Whether the graph has one scalar float that nothing reads.
pub fn has_own_loss(understood: &Understood) -> bool {
    understood.objective.loss().is_some_and(|v| understood.program.fact(v).rank() == Some(0))
}

/// The value that predictions come from: the objective's, the signature's first output, or the one float sink.
pub fn logits(understood: &Understood) -> Result<Value, SessionError> {
    if let Some(v) = understood.objective.logits {
        return Ok(v);
    }
    let (values, _) = understood.fetches(&[])?;
    let float = values.into_iter().find(|&v| understood.program.fact(v).dtype.is_float());
    float.ok_or_else(|| SessionError::Choice("this model has no float output to put a loss on".to_owned()))
}

/// The placeholders of a BERT-shaped model.
#[derive(Clone, Debug)]
pub struct BertInputs {
    pub ids: String,
    pub mask: String,
    pub segments: String,
    /// Rows of the table that the ids index.
    pub vocabulary: usize,
}

/// Guesses by name among the integer placeholders.
pub fn bert_inputs(understood: &Understood) -> Result<BertInputs, SessionError> {
    let program = &understood.program;
    let is_ids = |f: &Fact| f.dtype.is_int() && f.rank().is_none_or(|r| r == 2);
    let feeds: Vec<&str> =
        program.feeds.iter().filter(|f| is_ids(program.fact(f.value))).map(|f| f.name.as_str()).collect();
    let find = |words: &[&str]| feeds.iter().find(|n| words.iter().any(|w| n.contains(w))).map(|n| (*n).to_owned());
    let (ids, mask, segments) =
        (find(&["input_ids", "Token"]), find(&["mask"]), find(&["segment", "token_type", "Segment"]));
    let vocabulary = understood.base.roles.iter().filter(|r| r.role.name() == "embedding");
    let rows = vocabulary.filter_map(|r| {
        program
            .constants
            .iter()
            .find(|c| c.node.as_ref() == Some(&r.node))
            .and_then(|c| c.payload.shape.first().copied())
    });
    match (ids, mask, segments) {
        (Some(ids), Some(mask), Some(segments)) => {
            Ok(BertInputs { ids, mask, segments, vocabulary: rows.max().unwrap_or(2).max(1) })
        }
        _ => Err(SessionError::Choice(format!(
            "this model is not BERT-shaped (its integer placeholders: {}); give arrays with --feeds",
            feeds.join(", ")
        ))),
    }
}

/// Splits arrays with a leading step axis into one set of feeds per step.
pub fn slices(arrays: Vec<(String, Tensor)>) -> Result<Vec<Vec<(String, Tensor)>>, String> {
    let steps = arrays.iter().filter_map(|(_, t)| t.shape().first().copied()).max().unwrap_or(0);
    if steps == 0 {
        return Err("the feeds hold no step: each array needs a leading step axis".to_owned());
    }
    let slice = |t: &Tensor, i: usize| -> Option<Tensor> {
        let (n, rest) = (t.shape().first().copied()?, t.shape().get(1..)?);
        let size = t.bytes().len().checked_div(n)?;
        let at = (i % n) * size;
        Tensor::from_bytes(t.dtype(), rest, t.bytes().get(at..at + size)?)
    };
    (0..steps)
        .map(|i| {
            let one = |(name, t): &(String, Tensor)| {
                slice(t, i).map(|s| (name.clone(), s)).ok_or_else(|| format!("{name} has no leading step axis"))
            };
            arrays.iter().map(one).collect()
        })
        .collect()
}
