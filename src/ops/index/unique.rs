//! `unique` and `set_difference`: distinct elements of a vector. How many there are shows only when running.

use std::collections::HashMap;
use std::sync::Arc;

use crate::program::op::arity;
use crate::program::{Example, Flow, Kernel, Misfit, Op, OpInfo};
use crate::tensor::{DType, Fact, PartialShape, Tensor};

pub static UNIQUE: OpInfo = OpInfo {
    name: "unique",
    family: "index",
    summary: "The distinct elements of a value",
    formula: "outputs: distinct elements (in order of their first occurrence, or sorted), for each element which of them \
              it is, how often each occurs, where each occurs first",
    examples: unique_examples,
};

pub static DIFFERENCE: OpInfo = OpInfo {
    name: "set_difference",
    family: "index",
    summary: "The elements of one vector that another does not hold",
    formula: "outputs: those elements in order, their positions",
    examples: difference_examples,
};

/// Outputs: distinct elements, index of each element's own, counts, first positions.
#[derive(Clone, Debug)]
pub struct Unique {
    pub sorted: bool,
    /// Integer type of indices and counts.
    pub to: DType,
}

/// Inputs: elements, elements to leave out. Outputs: what is left, positions.
#[derive(Clone, Debug)]
pub struct SetDifference {
    pub to: DType,
}

const WHY: &str = "what is equal to what does not change with small changes of the values";

/// Elements as bytes, which compare equal as the elements do (but for -0 and NaN).
fn elements(x: &Tensor) -> Result<Vec<&[u8]>, Misfit> {
    if let Some(strings) = x.strings() {
        return Ok(strings.iter().map(Vec::as_slice).collect());
    }
    match x.dtype().size() {
        0 => Err(Misfit(format!("not defined for {}", x.dtype()))),
        size => Ok(x.bytes().chunks_exact(size).collect()),
    }
}

/// The elements at `positions`.
fn pick(x: &Tensor, positions: &[usize]) -> Result<Tensor, Misfit> {
    if let Some(strings) = x.strings() {
        let out = positions.iter().map(|&p| strings[p].clone()).collect();
        return Ok(Tensor::from_strings(&[positions.len()], out));
    }
    let all = elements(x)?;
    let bytes: Vec<u8> = positions.iter().flat_map(|&p| all[p].iter().copied()).collect();
    Tensor::from_bytes(x.dtype(), &[positions.len()], &bytes).ok_or_else(|| Misfit::new("sizes do not fit"))
}

fn ints(to: DType, values: impl ExactSizeIterator<Item = usize>) -> Tensor {
    Tensor::from_f64s(to, &[values.len()], values.map(|v| v as f64))
}

impl Op for Unique {
    fn info(&self) -> &'static OpInfo {
        &UNIQUE
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 1)?;
        let x = inputs[0];
        let n = x.dims().and_then(|d| crate::tensor::shape::element_count(&d));
        let open = || PartialShape::of_rank(1);
        Ok(vec![
            Fact::new(x.dtype, open()),
            Fact::new(self.to, PartialShape::from_partial([n])),
            Fact::new(self.to, open()),
            Fact::new(self.to, open()),
        ])
    }

    fn kernel(&self, _inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let (sorted, to) = (self.sorted, self.to);
        Ok(Kernel::host(move |inputs| {
            let x = &inputs[0];
            let all = elements(x)?;
            let mut found: HashMap<&[u8], usize> = HashMap::new();
            let (mut first, mut counts, mut which) = (Vec::new(), Vec::new(), Vec::with_capacity(all.len()));
            for (i, e) in all.iter().enumerate() {
                let k = *found.entry(e).or_insert_with(|| {
                    first.push(i);
                    counts.push(0);
                    first.len() - 1
                });
                counts[k] += 1;
                which.push(k);
            }
            if sorted && let Some(numbers) = x.to_f64s() {
                let mut order: Vec<usize> = (0..first.len()).collect();
                order.sort_by(|&a, &b| numbers[first[a]].total_cmp(&numbers[first[b]]));
                let mut place = vec![0; order.len()];
                order.iter().enumerate().for_each(|(new, &old)| place[old] = new);
                first = order.iter().map(|&k| first[k]).collect();
                counts = order.iter().map(|&k| counts[k]).collect();
                which.iter_mut().for_each(|k| *k = place[*k]);
            }
            Ok(vec![
                pick(x, &first)?,
                ints(to, which.into_iter()),
                ints(to, counts.into_iter()),
                ints(to, first.into_iter()),
            ])
        }))
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        Flow::Zero(WHY)
    }
}

impl Op for SetDifference {
    fn info(&self) -> &'static OpInfo {
        &DIFFERENCE
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        Ok(vec![Fact::new(inputs[0].dtype, PartialShape::of_rank(1)), Fact::new(self.to, PartialShape::of_rank(1))])
    }

    fn kernel(&self, _inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let to = self.to;
        Ok(Kernel::host(move |inputs| {
            let without: std::collections::HashSet<&[u8]> = elements(&inputs[1])?.into_iter().collect();
            let all = elements(&inputs[0])?;
            let left: Vec<usize> = (0..all.len()).filter(|&i| !without.contains(all[i])).collect();
            Ok(vec![pick(&inputs[0], &left)?, ints(to, left.into_iter())])
        }))
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        Flow::Zero(WHY)
    }
}

fn unique_examples() -> Vec<Example> {
    let x = Tensor::from_slice(&[5], &[7i32, 2, 7, 9, 2]);
    let case = |sorted, want: [&[i32]; 4]| Example {
        op: Arc::new(Unique { sorted, to: DType::I32 }),
        inputs: vec![x.clone()],
        outputs: Some(want.iter().map(|w| Tensor::from_slice(&[w.len()], w)).collect()),
    };
    vec![
        case(false, [&[7, 2, 9], &[0, 1, 0, 2, 1], &[2, 2, 1], &[0, 1, 3]]),
        case(true, [&[2, 7, 9], &[1, 0, 1, 2, 0], &[2, 2, 1], &[1, 0, 3]]),
    ]
}

fn difference_examples() -> Vec<Example> {
    vec![Example {
        op: Arc::new(SetDifference { to: DType::I32 }),
        inputs: vec![Tensor::from_slice(&[4], &[1i32, 2, 3, 4]), Tensor::from_slice(&[2], &[2i32, 4])],
        outputs: Some(vec![Tensor::from_slice(&[2], &[1i32, 3]), Tensor::from_slice(&[2], &[0i32, 2])]),
    }]
}
