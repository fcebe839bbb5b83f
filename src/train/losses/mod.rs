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

use serde::{Deserialize, Serialize};

use crate::ops::make;
use crate::program::{Builder, Misfit, Value};
use crate::tensor::{DType, Fact, PartialShape, Tensor};

/// What the labels of a loss are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// Class indices: the prediction's shape without its last axis, `int64`.
    Classes,
    /// Targets of the prediction's own shape and element type.
    Targets,
}

/// What may be chosen about a loss. Defaults change nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LossOptions {
    /// ε of label smoothing: targets become (1 − ε)·y + ε / classes (softmax) or (1 − ε)·y + ε / 2 (sigmoid).
    #[serde(skip_serializing_if = "is_zero")]
    pub label_smoothing: f64,
    /// One factor per class, in the order of the classes; empty for none. With softmax the mean is weighted, as in PyTorch.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub class_weights: Vec<f64>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde asks for
fn is_zero(v: &f64) -> bool {
    *v == 0.0
}

impl LossOptions {
    /// Whether `info` can do what is chosen, for predictions of this shape.
    fn check(&self, info: &LossInfo, prediction: &Fact) -> Result<(), Misfit> {
        if *self == Self::default() {
            return Ok(());
        }
        if !info.takes_options {
            let what = format!("the loss {} knows neither class weights nor label smoothing", info.kind);
            return Err(Misfit(what));
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return Err(Misfit(format!("label smoothing is {}; it must be from 0 to below 1", self.label_smoothing)));
        }
        if self.class_weights.iter().any(|w| !w.is_finite() || *w < 0.0) {
            return Err(Misfit("class weights must be finite and not negative".to_owned()));
        }
        let classes = prediction.rank().and_then(|r| prediction.shape.dim(r.checked_sub(1)?));
        match classes {
            Some(n) if !self.class_weights.is_empty() && n != self.class_weights.len() => {
                Err(Misfit(format!("there are {} class weights for {n} classes", self.class_weights.len())))
            }
            _ => Ok(()),
        }
    }

    /// The class weights as a vector of the prediction's type, where there are any.
    fn weights(&self, b: &mut Builder, dtype: DType) -> Option<Value> {
        let n = self.class_weights.len();
        (n > 0).then(|| b.literal(Tensor::from_f64s(dtype, &[n], self.class_weights.iter().copied())))
    }
}

/// What a rule builds from: predictions and labels in their own shapes.
#[derive(Clone, Copy, Debug)]
struct Operands<'a> {
    prediction: Value,
    labels: Value,
    options: &'a LossOptions,
}

/// One loss.
pub struct LossInfo {
    /// Value of `--attach-loss`.
    pub kind: &'static str,
    pub label: &'static str,
    /// The formula and its source.
    pub help: &'static str,
    pub labels: Labels,
    /// Whether it knows what [`LossOptions`] say.
    pub takes_options: bool,
    /// The loss of each label position, with class weights.
    build: fn(&mut Builder, &Operands<'_>) -> Result<Value, Misfit>,
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
    attach_with(b, info, prediction, name, ignore_label, &LossOptions::default())
}

/// As [`attach`], with class weights and label smoothing.
pub fn attach_with(
    b: &mut Builder,
    info: &LossInfo,
    prediction: Value,
    name: &str,
    ignore_label: Option<i64>,
    options: &LossOptions,
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
    options.check(info, &fact)?;
    let loss = build_with(b, info, prediction, labels, ignore_label, options)?;
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
    build_with(b, info, prediction, labels, ignore_label, &LossOptions::default())
}

fn build_with(
    b: &mut Builder,
    info: &LossInfo,
    prediction: Value,
    labels: Value,
    ignore_label: Option<i64>,
    options: &LossOptions,
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
    let losses = (info.build)(b, &Operands { prediction, labels, options })?;
    // A loss that reduces the last axis of its targets has fewer positions than labels.
    let weights = match (b.fact(losses).rank(), b.fact(weights).rank()) {
        (Some(l), Some(w)) if l + 1 == w => make::reduce_max(b, weights, &[-1], false)?,
        _ => weights,
    };
    let weighted = make::mul(b, losses, weights)?;
    let sum = make::sum_all(b, weighted)?;
    // The weighted mean of class indices divides by the weights of the classes that occur.
    let (counted, least) = match (info.labels, options.weights(b, dtype)) {
        (Labels::Classes, Some(of_classes)) => {
            let picked = make::gather(b, of_classes, labels, 0)?;
            (make::mul(b, weights, picked)?, f64::from(f32::MIN_POSITIVE))
        }
        _ => (weights, 1.0),
    };
    let count = make::sum_all(b, counted)?;
    let least = make::scalar(b, dtype, least);
    let count = make::maximum(b, count, least)?;
    make::div(b, sum, count)
}
