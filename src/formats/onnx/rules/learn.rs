//! Spellings of `ai.onnx.ml`: what exported pipelines of classical models are made of. Their parameters are attributes of
//! the nodes, not constants, so they do not train; gradients go through to what is before them.
//!
//! Semantics: the operator pages of the ONNX standard, and ONNX Runtime where those are silent.

use smallvec::smallvec;

use crate::graph::Attr;
use crate::lower::{Rule, Spelling};
use crate::ops::elementwise::{BinaryFn, UnaryFn};
use crate::ops::linalg::MatMul;
use crate::ops::make;
use crate::ops::norm::Softmax;
use crate::ops::reduce::ArgReduce;
use crate::program::{Misfit, Value};
use crate::tensor::{DType, Tensor};

use super::common::{Spelled, floats_attr, one, rank, strict_rows, texts_attr};

pub const RULES: &[Spelling] = strict_rows! {
    "ai.onnx.ml.Scaler" => scaler;
    "ai.onnx.ml.Normalizer" => normalizer;
    "ai.onnx.ml.Binarizer" => binarizer;
    "ai.onnx.ml.Imputer" => imputer;
    "ai.onnx.ml.ArrayFeatureExtractor" => feature_extractor;
    "ai.onnx.ml.FeatureVectorizer" => feature_vectorizer;
    "ai.onnx.ml.OneHotEncoder" => one_hot;
    "ai.onnx.ml.LabelEncoder" => label_encoder;
    "ai.onnx.ml.LinearRegressor" => linear_regressor;
    "ai.onnx.ml.LinearClassifier" => linear_classifier;
    "ai.onnx.ml.SVMRegressor" => svm_regressor;
};

/// A value as floats: these ops take all kinds of numbers.
pub(super) fn floats_of(r: &mut Rule<'_, '_>, i: usize) -> Result<Value, Misfit> {
    let x = r.input(i)?;
    let to = if r.b.fact(x).dtype == DType::F64 { DType::F64 } else { DType::F32 };
    make::cast(r.b, x, to)
}

/// A list of numbers as a literal of the type of `like`.
fn numbers(r: &mut Rule<'_, '_>, values: &[f64], shape: &[usize], like: Value) -> Value {
    let dtype = r.b.fact(like).dtype;
    r.b.literal(Tensor::from_f64s(dtype, shape, values.iter().copied()))
}

/// `(x - offset) · scale`; one number stands for all columns.
fn scaler(r: &mut Rule<'_, '_>) -> Spelled {
    let mut x = floats_of(r, 0)?;
    for (name, f) in [("offset", BinaryFn::Sub), ("scale", BinaryFn::Mul)] {
        if let Some(values) = floats_attr(r, name).filter(|v| !v.is_empty()) {
            let v = numbers(r, &values, &[values.len()], x);
            x = make::binary(r.b, f, x, v)?;
        }
    }
    one(x)
}

/// Rows over their norm; a row of zeros stays as it is.
fn normalizer(r: &mut Rule<'_, '_>) -> Spelled {
    let x = floats_of(r, 0)?;
    let norm = r.str_or("norm", "MAX").to_owned();
    let size = match norm.as_str() {
        "MAX" => make::reduce_max(r.b, x, &[-1], true)?,
        "L1" => {
            let size = make::abs(r.b, x)?;
            make::reduce_sum(r.b, size, &[-1], true)?
        }
        "L2" => {
            let square = make::square(r.b, x)?;
            let square = make::reduce_sum(r.b, square, &[-1], true)?;
            make::sqrt(r.b, square)?
        }
        other => return Err(Misfit(format!("unknown norm {other:?}"))),
    };
    let zero = make::scalar_like(r.b, size, 0.0);
    let unit = make::scalar_like(r.b, size, 1.0);
    let is_empty = make::equal(r.b, size, zero)?;
    let size = make::select(r.b, is_empty, unit, size)?;
    one(make::div(r.b, x, size)?)
}

fn binarizer(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let threshold = make::scalar_like(r.b, x, f64::from(r.float_or("threshold", 0.0)));
    let above = make::greater(r.b, x, threshold)?;
    let to = r.b.fact(x).dtype;
    one(make::cast(r.b, above, to)?)
}

/// Other numbers where one number (perhaps NaN) stands for "missing".
fn imputer(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let ints = r.ints_attr("imputed_value_int64s").filter(|v| !v.is_empty());
    let (values, missing) = match ints {
        Some(v) => (v.iter().map(|&i| i as f64).collect(), r.int_or("replaced_value_int64", 0) as f64),
        None => (
            floats_attr(r, "imputed_value_floats").unwrap_or_default(),
            f64::from(r.float_or("replaced_value_float", 0.0)),
        ),
    };
    if values.is_empty() {
        return Err(Misfit::new("it has no values to put in"));
    }
    let is_missing = if missing.is_nan() {
        make::unary(r.b, UnaryFn::IsNan, x)?
    } else {
        let missing = make::scalar_like(r.b, x, missing);
        make::equal(r.b, x, missing)?
    };
    let values = numbers(r, &values, &[values.len()], x);
    one(make::select(r.b, is_missing, values, x)?)
}

/// Columns of the last axis.
fn feature_extractor(r: &mut Rule<'_, '_>) -> Spelled {
    let (x, at) = (r.input(0)?, r.input(1)?);
    let at = make::reshape(r.b, at, &[-1])?;
    let y = make::gather(r.b, x, at, -1)?;
    // A vector counts as one row.
    one(if rank(r.b, x)? == 1 { make::reshape(r.b, y, &[1, -1])? } else { y })
}

fn feature_vectorizer(r: &mut Rule<'_, '_>) -> Spelled {
    let mut parts = Vec::new();
    for i in 0..r.inputs.len() {
        let x = floats_of(r, i)?;
        parts.push(if rank(r.b, x)? == 1 { make::reshape(r.b, x, &[-1, 1])? } else { x });
    }
    if let Some(sizes) = r.ints_attr("inputdimensions") {
        for (part, size) in parts.iter().zip(sizes) {
            if r.b.fact(*part).shape.dim(1).is_some_and(|d| d as i64 != size) {
                return Err(Misfit(format!("inputdimensions says {size} columns")));
            }
        }
    }
    one(make::concat(r.b, &parts, 1)?)
}

/// 1 where an element is the class of that column.
fn one_hot(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    if r.int_or("zeros", 1) == 0 {
        return Err(Misfit::new("a stop at unknown classes (zeros = 0) is not supported"));
    }
    let Some(classes) = r.ints_attr("cats_int64s").filter(|c| !c.is_empty()) else {
        return Err(Misfit::new("classes that are texts are not supported"));
    };
    let values: Vec<f64> = classes.iter().map(|&c| c as f64).collect();
    let classes = numbers(r, &values, &[values.len()], x);
    let each = make::expand_dims(r.b, x, -1)?;
    let is_it = make::equal(r.b, each, classes)?;
    one(make::cast(r.b, is_it, DType::F32)?)
}

/// The value beside the key that an element equals, else a default.
fn label_encoder(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let list = |r: &Rule<'_, '_>, side: &str| -> Option<(Vec<f64>, DType)> {
        let ints = r.ints_attr(&format!("{side}_int64s")).filter(|v| !v.is_empty());
        let tensor = match r.attr(&format!("{side}_tensor")) {
            Some(Attr::Tensor(p)) => p.load().ok().and_then(|t| Some((t.to_f64s()?, t.dtype()))),
            _ => None,
        };
        let floats = floats_attr(r, &format!("{side}_floats")).filter(|v| !v.is_empty());
        tensor
            .or_else(|| Some((ints?.iter().map(|&i| i as f64).collect(), DType::I64)))
            .or_else(|| Some((floats?, DType::F32)))
    };
    let (Some((keys, _)), Some((values, to))) = (list(r, "keys"), list(r, "values")) else {
        return Err(Misfit::new("keys or values that are texts are not supported"));
    };
    if keys.len() != values.len() {
        return Err(Misfit(format!("{} keys for {} values", keys.len(), values.len())));
    }
    let default = match r.attr("default_tensor") {
        Some(Attr::Tensor(p)) => p.load().ok().and_then(|t| t.to_f64s()?.first().copied()),
        _ if to.is_int() => Some(r.int_or("default_int64", -1) as f64),
        _ => Some(f64::from(r.float_or("default_float", -0.0))),
    };
    let default = default.ok_or_else(|| Misfit::new("default_tensor cannot be read"))?;
    let n = keys.len();
    let keys = numbers(r, &keys, &[n], x);
    let each = make::expand_dims(r.b, x, -1)?;
    let mut is_it = make::equal(r.b, each, keys)?;
    if r.b.fact(x).dtype.is_float() {
        // A key that is not a number stands for all that are none.
        let (a, b) = (make::unary(r.b, UnaryFn::IsNan, each)?, make::unary(r.b, UnaryFn::IsNan, keys)?);
        let both = make::and(r.b, a, b)?;
        is_it = make::or(r.b, is_it, both)?;
    }
    let is_it = make::cast(r.b, is_it, DType::I32)?;
    let found = make::reduce_max(r.b, is_it, &[-1], false)?;
    let found = make::cast(r.b, found, DType::Bool)?;
    let at = best(r, is_it)?;
    let values = r.b.literal(Tensor::from_f64s(to, &[n], values));
    let value = make::gather(r.b, values, at, 0)?;
    let default = make::scalar(r.b, to, default);
    one(make::select(r.b, found, value, default)?)
}

/// The position of the largest element of the last axis; of equal ones the first.
pub(super) fn best(r: &mut Rule<'_, '_>, x: Value) -> Result<Value, Misfit> {
    let axis = make::scalar(r.b, DType::I32, -1.0);
    r.b.op(ArgReduce { largest: true, last: false, keep_dims: false, to: DType::I64 }, &[x, axis])
}

/// `x Wᵀ + b`, with as many rows as targets in the attribute of coefficients.
fn linear(r: &mut Rule<'_, '_>) -> Result<(Value, usize), Misfit> {
    let x = floats_of(r, 0)?;
    let x = if rank(r.b, x)? == 1 { make::reshape(r.b, x, &[1, -1])? } else { x };
    let columns = r.b.fact(x).shape.dim(1).ok_or_else(|| Misfit::new("the number of features must be known"))?;
    let w = floats_attr(r, "coefficients").unwrap_or_default();
    if columns == 0 || w.is_empty() || !w.len().is_multiple_of(columns) {
        return Err(Misfit(format!("{} coefficients for {columns} features", w.len())));
    }
    let targets = w.len() / columns;
    let w = numbers(r, &w, &[targets, columns], x);
    let mut y = r.b.op(MatMul { transpose_a: false, transpose_b: true }, &[x, w])?;
    if let Some(bias) = floats_attr(r, "intercepts").filter(|v| !v.is_empty()) {
        if bias.len() != targets && bias.len() != 1 {
            return Err(Misfit(format!("{} intercepts for {targets} targets", bias.len())));
        }
        let bias = numbers(r, &bias, &[bias.len()], y);
        y = make::add(r.b, y, bias)?;
    }
    Ok((y, targets))
}

fn linear_regressor(r: &mut Rule<'_, '_>) -> Spelled {
    let (y, targets) = linear(r)?;
    let stated = r.int_or("targets", 1);
    if stated != targets as i64 {
        return Err(Misfit(format!("coefficients of {targets} targets where {stated} are stated")));
    }
    one(post_transform(r, y)?)
}

/// What the attribute `post_transform` makes of scores `[rows, targets]`.
pub(super) fn post_transform(r: &mut Rule<'_, '_>, y: Value) -> Result<Value, Misfit> {
    let name = r.str_or("post_transform", "NONE").to_owned();
    match name.as_str() {
        "NONE" => Ok(y),
        "LOGISTIC" => make::sigmoid(r.b, y),
        "SOFTMAX" => r.b.op(Softmax { axis: -1 }, &[y]),
        "PROBIT" => {
            let centred = make::mul_scalar(r.b, y, 2.0)?;
            let centred = make::add_scalar(r.b, centred, -1.0)?;
            let inverse = make::unary(r.b, UnaryFn::Erfinv, centred)?;
            make::mul_scalar(r.b, inverse, std::f64::consts::SQRT_2)
        }
        other => Err(Misfit(format!("post_transform {other:?} is not supported"))),
    }
}

/// The classes' names, by position: a literal that a label is gathered from.
pub(super) fn class_names(r: &mut Rule<'_, '_>, ints: &str, texts: &str) -> Result<(Value, usize), Misfit> {
    if let Some(names) = r.ints_attr(ints).filter(|v| !v.is_empty()) {
        return Ok((r.ints_literal(&names), names.len()));
    }
    match texts_attr(r, texts).filter(|v| !v.is_empty()) {
        Some(names) => {
            let n = names.len();
            let names = names.into_iter().map(String::into_bytes).collect();
            Ok((r.b.literal(Tensor::from_strings(&[n], names)), n))
        }
        None => Err(Misfit::new("it names no classes")),
    }
}

/// Outputs: the label of each row, and its scores.
fn linear_classifier(r: &mut Rule<'_, '_>) -> Spelled {
    let (scores, targets) = linear(r)?;
    let (names, n) = class_names(r, "classlabels_ints", "classlabels_strings")?;
    let scores = match (targets, n) {
        (1, 2) => {
            let other = make::neg(r.b, scores)?;
            make::concat(r.b, &[other, scores], 1)?
        }
        (t, n) if t == n => scores,
        (t, n) => return Err(Misfit(format!("scores of {t} classes for {n} names"))),
    };
    let at = best(r, scores)?;
    let label = make::gather(r.b, names, at, 0)?;
    Ok(smallvec![label, post_transform(r, scores)?])
}

/// A sum of kernels between each row and the support vectors, or a plain product where there are none.
fn svm_regressor(r: &mut Rule<'_, '_>) -> Spelled {
    let x = floats_of(r, 0)?;
    let columns = r.b.fact(x).shape.dim(1).ok_or_else(|| Misfit::new("the number of features must be known"))?;
    let weights = floats_attr(r, "coefficients").unwrap_or_default();
    let vectors = floats_attr(r, "support_vectors").unwrap_or_default();
    let n = usize::try_from(r.int_or("n_supports", 0)).unwrap_or(0);
    let rho = floats_attr(r, "rho").and_then(|v| v.first().copied()).unwrap_or(0.0);
    let similar = if n > 0 {
        if vectors.len() != n * columns || weights.len() != n {
            return Err(Misfit(format!("{} numbers for {n} support vectors of {columns}", vectors.len())));
        }
        let vectors = numbers(r, &vectors, &[n, columns], x);
        kernel(r, x, vectors)?
    } else if weights.len() == columns {
        x
    } else {
        return Err(Misfit(format!("{} coefficients for {columns} features", weights.len())));
    };
    let weights = numbers(r, &weights, &[weights.len(), 1], x);
    let y = make::matmul(r.b, similar, weights)?;
    let y = make::add_scalar(r.b, y, rho)?;
    if r.int_or("one_class", 0) == 0 {
        return one(post_transform(r, y)?);
    }
    let zero = make::scalar_like(r.b, y, 0.0);
    let (inlier, outlier) = (make::scalar_like(r.b, y, 1.0), make::scalar_like(r.b, y, -1.0));
    let is_in = make::greater(r.b, y, zero)?;
    one(make::select(r.b, is_in, inlier, outlier)?)
}

/// Kernel values `[rows, vectors]`. `kernel_params`: gamma, offset, degree.
fn kernel(r: &mut Rule<'_, '_>, x: Value, vectors: Value) -> Result<Value, Misfit> {
    let given = floats_attr(r, "kernel_params").unwrap_or_default();
    let [gamma, offset, degree] = [0, 1, 2].map(|i| given.get(i).copied().unwrap_or(0.0));
    let products = r.b.op(MatMul { transpose_a: false, transpose_b: true }, &[x, vectors])?;
    let name = r.str_or("kernel_type", "LINEAR").to_owned();
    match name.as_str() {
        "LINEAR" => Ok(products),
        "RBF" => {
            let a = make::expand_dims(r.b, x, 1)?;
            let difference = make::sub(r.b, a, vectors)?;
            let square = make::square(r.b, difference)?;
            let distance = make::reduce_sum(r.b, square, &[2], false)?;
            let distance = make::mul_scalar(r.b, distance, -gamma)?;
            make::exp(r.b, distance)
        }
        "POLY" | "SIGMOID" => {
            let scaled = make::mul_scalar(r.b, products, gamma)?;
            let moved = make::add_scalar(r.b, scaled, offset)?;
            if name == "SIGMOID" {
                return make::tanh(r.b, moved);
            }
            let degree = make::scalar_like(r.b, moved, degree);
            make::pow(r.b, moved, degree)
        }
        other => Err(Misfit(format!("unknown kernel {other:?}"))),
    }
}
