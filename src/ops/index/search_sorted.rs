//! `search_sorted`: where values would have to be put into sorted rows so that they stay sorted.

use std::sync::Arc;

use crate::program::op::arity;
use crate::program::{Example, Flow, Kernel, Misfit, Op, OpInfo};
use crate::tensor::{DType, Fact, Tensor};

pub static INFO: OpInfo = OpInfo {
    name: "search_sorted",
    family: "index",
    summary: "Positions of values in sorted rows",
    formula: "inputs: sorted [.., n], values [.., m] with equal leading sizes; y[.., j] = how many elements of the sorted \
              row are below values[.., j] (not above it, where `after_equals`), by binary search",
    examples,
};

/// See the file's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchSorted {
    /// Behind equal elements instead of before them.
    pub after_equals: bool,
    /// Integer type of the positions.
    pub to: DType,
}

impl Op for SearchSorted {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        if !self.to.is_int() {
            return Err(Misfit(format!("positions cannot be {}", self.to)));
        }
        let lead = |f: &Fact| f.shape.partial().and_then(|d| Some(d.split_last()?.1.to_vec()));
        let scalar = inputs.iter().any(|f| f.rank() == Some(0));
        let differ = match (lead(inputs[0]), lead(inputs[1])) {
            (Some(a), Some(b)) => {
                a.len() != b.len() || a.iter().zip(&b).any(|(a, b)| a.zip(*b).is_some_and(|(a, b)| a != b))
            }
            _ => false,
        };
        if scalar || differ {
            let (a, b) = (&inputs[0].shape, &inputs[1].shape);
            return Err(Misfit(format!("sorted rows {a} and values {b} must agree but for their last axis")));
        }
        Ok(vec![Fact::new(self.to, inputs[1].shape.clone())])
    }

    fn kernel(&self, _inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let op = *self;
        Ok(Kernel::host(move |inputs| {
            let numbers = |t: &Tensor| t.to_f64s().ok_or_else(|| Misfit(format!("{} is not sorted", t.dtype())));
            let (rows, values) = (numbers(&inputs[0])?, numbers(&inputs[1])?);
            let size = |t: &Tensor| t.shape().last().copied().unwrap_or(1);
            let (n, m) = (size(&inputs[0]), size(&inputs[1]));
            if m == 0 || values.is_empty() {
                return Ok(vec![Tensor::zeros(op.to, inputs[1].shape())]);
            }
            if rows.len() / n.max(1) != values.len() / m && n > 0 {
                return Err(Misfit::new("there are not as many sorted rows as rows of values"));
            }
            let found = values.iter().enumerate().map(|(i, v)| {
                let row = &rows[i / m * n..][..n];
                row.partition_point(|x| if op.after_equals { x <= v } else { x < v }) as f64
            });
            Ok(vec![Tensor::from_f64s(op.to, inputs[1].shape(), found)])
        }))
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        Flow::Zero("a position is an integer: it does not change with small changes of the values")
    }
}

fn examples() -> Vec<Example> {
    let sorted = Tensor::from_slice(&[2, 3], &[1.0f64, 2.0, 2.0, -1.0, 0.0, 5.0]);
    let values = Tensor::from_slice(&[2, 2], &[2.0f64, 0.5, 7.0, -1.0]);
    let case = |after_equals, want: [i32; 4]| Example {
        op: Arc::new(SearchSorted { after_equals, to: DType::I32 }),
        inputs: vec![sorted.clone(), values.clone()],
        outputs: Some(vec![Tensor::from_slice(&[2, 2], &want)]),
    };
    vec![case(false, [1, 0, 3, 0]), case(true, [3, 0, 3, 1])]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::PartialShape;

    #[test]
    fn rows_must_agree() {
        let op = SearchSorted { after_equals: false, to: DType::I64 };
        let of = |dims: &[usize]| Fact::new(DType::F32, PartialShape::from_dims(dims));
        assert!(op.infer(&[&of(&[2, 3]), &of(&[3, 3])]).is_err());
        assert!(op.infer(&[&of(&[2, 3]), &of(&[])]).is_err());
    }
}
