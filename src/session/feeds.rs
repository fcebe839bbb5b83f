//! From arrays by name to values that are fed: unknown names are warned about, dtypes converted only without loss.

use crate::base::Reporter;
use crate::program::Value;
use crate::tensor::{DType, Fact, Tensor};

use super::error::SessionError;
use super::names::Names;

/// Arrays for values of [`super::Understood::program`].
pub type Feeds = Vec<(Value, Tensor)>;

/// Resolves names and converts; an array that fits no value is a warning, one that cannot be converted an error.
pub fn resolve(
    names: &Names<'_>,
    arrays: Vec<(String, Tensor)>,
    reporter: &mut Reporter,
) -> Result<Feeds, SessionError> {
    let mut out: Feeds = Vec::new();
    for (name, tensor) in arrays {
        let Some(value) = names.find(&name) else {
            reporter.warning("unknown-feed", format!("the feed {name} is no value of this model; ignored"), Some(name));
            continue;
        };
        let tensor = fit(&name, tensor, names.program.fact(value), reporter)?;
        out.retain(|(v, _)| *v != value);
        out.push((value, tensor));
    }
    Ok(out)
}

/// The array as the value expects it.
pub fn fit(name: &str, tensor: Tensor, fact: &Fact, reporter: &mut Reporter) -> Result<Tensor, SessionError> {
    let fail = |what: String| Err(SessionError::Choice(format!("the feed {name} does not fit: {what}")));
    if !fact.shape.admits(tensor.shape()) {
        return fail(format!("expected shape {}, found {:?}", fact.shape, tensor.shape()));
    }
    let (from, to) = (tensor.dtype(), fact.dtype);
    if from == to || to == DType::Unknown {
        return Ok(tensor);
    }
    match convert(&tensor, to) {
        Some(converted) => {
            reporter.info("feed-converted", format!("the feed {name} was converted from {from} to {to}"), None);
            Ok(converted)
        }
        None => fail(format!("expected {to}, found {from}, and converting would lose information")),
    }
}

/// The same numbers in another type, or `None` where one would change.
pub fn convert(tensor: &Tensor, to: DType) -> Option<Tensor> {
    let from = tensor.dtype();
    if to.is_exact() && from.is_exact() {
        let values = tensor.to_i64s()?;
        let converted = Tensor::from_f64s(to, tensor.shape(), values.iter().map(|&v| v as f64));
        let same = if to == DType::I64 {
            return Some(Tensor::from_slice(tensor.shape(), &values));
        } else {
            converted.to_i64s()? == values
        };
        return same.then_some(converted);
    }
    if to.is_float() && (from.is_float() || from.is_exact()) {
        let values = tensor.to_f64s()?;
        let converted = Tensor::from_f64s(to, tensor.shape(), values.iter().copied());
        let back = converted.to_f64s()?;
        let same = values.iter().zip(&back).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()));
        return same.then_some(converted);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_only_without_loss() {
        let ids = Tensor::from_slice(&[2], &[3i64, 70_000]);
        assert_eq!(convert(&ids, DType::I32).unwrap().to_i64s().unwrap(), [3, 70_000]);
        assert!(convert(&ids, DType::I16).is_none());
        assert!(convert(&Tensor::from_slice(&[1], &[1i64 << 60]), DType::I32).is_none());
        assert_eq!(
            convert(&Tensor::from_slice(&[1], &[(1i64 << 60) + 1]), DType::I64).unwrap().to_i64s().unwrap()[0],
            (1 << 60) + 1
        );
        assert!(convert(&Tensor::from_slice(&[1], &[0.1f64]), DType::F32).is_none());
        assert!(convert(&Tensor::from_slice(&[1], &[0.5f64]), DType::F32).is_some());
        assert!(convert(&Tensor::from_slice(&[1], &[0.5f32]), DType::I32).is_none());
        assert_eq!(convert(&Tensor::from_slice(&[1], &[7i32]), DType::F32).unwrap().to_f64s().unwrap(), [7.0]);
    }
}
