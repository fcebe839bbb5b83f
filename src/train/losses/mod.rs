//! Losses that are put on an existing output, one file each, built from ordinary instructions. Adding one: its file, a `mod`
//! line, and an entry in [`ALL`].
//!
//! Every loss is the mean over label positions; positions whose label is the ignored one count neither above nor below the
//! line, and where all are ignored the loss is 0.

mod cosine;
mod huber;
mod mae;
mod mse;
mod probabilities;
mod sigmoid;
mod softmax;

use crate::ops::make;
use crate::program::{Builder, Misfit, Value};
use crate::tensor::{DType, Fact, PartialShape};

/// What the labels of a loss are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// Class indices: the prediction's shape without its last axis, `int64`.
    Classes,
    /// Targets of the prediction's own shape and element type.
    Targets,
}

/// What a rule builds from: predictions and labels in their own shapes.
#[derive(Clone, Copy, Debug)]
struct Operands {
    prediction: Value,
    labels: Value,
}

/// One loss.
pub struct LossInfo {
    /// Value of `--attach-loss`.
    pub kind: &'static str,
    pub label: &'static str,
    /// The formula and its source.
    pub help: &'static str,
    pub labels: Labels,
    /// The loss of each label position.
    build: fn(&mut Builder, &Operands) -> Result<Value, Misfit>,
}

impl std::fmt::Debug for LossInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind)
    }
}

/// Every loss, in the order of the form.
pub const ALL: &[&LossInfo] =
    &[&softmax::INFO, &probabilities::INFO, &sigmoid::INFO, &mse::INFO, &mae::INFO, &huber::INFO, &cosine::INFO];

pub fn find(kind: &str) -> Option<&'static LossInfo> {
    ALL.iter().copied().find(|l| l.kind == kind)
}

/// A loss that was put on a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The new feed.
    pub labels: Value,
    /// The scalar to minimise, in the prediction's type.
    pub loss: Value,
}

/// Appends a feed called `name` for the labels and the loss of `prediction`. Works with shapes that are not known yet.
pub fn attach(
    b: &mut Builder,
    info: &LossInfo,
    prediction: Value,
    name: &str,
    ignore_label: Option<i64>,
) -> Result<Attached, Misfit> {
    let fact = b.fact(prediction).clone();
    if !fact.dtype.is_float() {
        return Err(Misfit(format!("a loss needs a floating-point value, this is {}", fact.describe())));
    }
    if info.labels == Labels::Classes && fact.rank() == Some(0) {
        return Err(Misfit("class scores need an axis of classes, this is a scalar".to_owned()));
    }
    let labels_fact = match (info.labels, fact.shape.partial()) {
        (Labels::Targets, _) => Fact::new(fact.dtype, fact.shape.clone()),
        (Labels::Classes, Some(dims)) => {
            let positions = dims[..dims.len() - 1].iter().copied();
            Fact::new(DType::I64, PartialShape::from_partial(positions))
        }
        (Labels::Classes, None) => Fact::new(DType::I64, PartialShape::unknown()),
    };
    let labels = b.feed(name, labels_fact);
    let loss = build(b, info, prediction, labels, ignore_label)?;
    Ok(Attached { labels, loss })
}

/// As [`attach`] with labels that are a value already.
pub fn build(
    b: &mut Builder,
    info: &LossInfo,
    prediction: Value,
    labels: Value,
    ignore_label: Option<i64>,
) -> Result<Value, Misfit> {
    let dtype = b.fact(prediction).dtype;
    let (labels, counts) = match ignore_label {
        None => (labels, make::ones_like(b, labels)?),
        Some(ignored) => {
            let ignored = make::scalar_like(b, labels, ignored as f64);
            let valid = make::not_equal(b, labels, ignored)?;
            // An ignored label becomes 0, so that it is a class like any other until its weight removes it.
            let zero = make::scalar_like(b, labels, 0.0);
            (make::select(b, valid, labels, zero)?, valid)
        }
    };
    let weights = make::cast(b, counts, dtype)?;
    let losses = (info.build)(b, &Operands { prediction, labels })?;
    // A loss that reduces the last axis of its targets has fewer positions than labels.
    let weights = match (b.fact(losses).rank(), b.fact(weights).rank()) {
        (Some(l), Some(w)) if l + 1 == w => make::reduce_max(b, weights, &[-1], false)?,
        _ => weights,
    };
    let weighted = make::mul(b, losses, weights)?;
    let (sum, count) = (make::sum_all(b, weighted)?, make::sum_all(b, weights)?);
    let one = make::scalar(b, dtype, 1.0);
    let count = make::maximum(b, count, one)?;
    make::div(b, sum, count)
}
