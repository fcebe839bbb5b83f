//! `unique_rows`: distinct rows of a matrix, by where they first stand.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use crate::program::op::arity;
use crate::program::{Example, Flow, Kernel, Misfit, Op, OpInfo};
use crate::tensor::{DType, Fact, PartialShape, Tensor};

pub static INFO: OpInfo = OpInfo {
    name: "unique_rows",
    family: "index",
    summary: "Distinct rows of a matrix: first positions, the index of each row's own, counts",
    formula: "outputs: first[k], index[i] with x[i] = x[first[index[i]]], counts[k]; in order of value or of appearance",
    examples,
};

/// Input `x [n, m]`; outputs `int64`.
#[derive(Clone, Debug)]
pub struct UniqueRows {
    /// By value, column after column; else by first appearance.
    pub sorted: bool,
}

const WHY: &str = "which rows are equal does not change with small changes of the values";

impl Op for UniqueRows {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 1)?;
        if inputs[0].rank().is_some_and(|r| r != 2) {
            return Err(Misfit(format!("a matrix was expected, found {}", inputs[0].shape)));
        }
        let some = || Fact::new(DType::I64, PartialShape::of_rank(1));
        let index = Fact::new(DType::I64, PartialShape::from_partial([inputs[0].shape.dim(0)]));
        Ok(vec![some(), index, some()])
    }

    fn kernel(&self, _inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let sorted = self.sorted;
        Ok(Kernel::host(move |inputs| find(&inputs[0], sorted)))
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        Flow::Zero(WHY)
    }
}

fn find(x: &Tensor, sorted: bool) -> Result<Vec<Tensor>, Misfit> {
    let values = x.to_f64s().ok_or_else(|| Misfit(format!("not defined for {}", x.dtype())))?;
    let (n, m) = (x.shape()[0], x.shape()[1]);
    let row = |i: usize| &values[i * m..(i + 1) * m];
    let mut seen: HashMap<Vec<u64>, usize> = HashMap::new();
    let (mut first, mut index) = (Vec::new(), Vec::with_capacity(n));
    for i in 0..n {
        // 0 and -0 are equal.
        let key: Vec<u64> = row(i).iter().map(|v| (v + 0.0).to_bits()).collect();
        let own = *seen.entry(key).or_insert_with(|| {
            first.push(i);
            first.len() - 1
        });
        index.push(own);
    }
    let mut order: Vec<usize> = (0..first.len()).collect();
    if sorted {
        let by_value = |a: &usize, b: &usize| {
            let pairs = row(first[*a]).iter().zip(row(first[*b]));
            pairs.map(|(x, y)| x.total_cmp(y)).find(|o| *o != Ordering::Equal).unwrap_or(Ordering::Equal)
        };
        order.sort_by(by_value);
    }
    let mut place = vec![0; order.len()];
    order.iter().enumerate().for_each(|(new, &old)| place[old] = new);
    let mut counts = vec![0i64; order.len()];
    index.iter().for_each(|&own| counts[place[own]] += 1);
    let first: Vec<i64> = order.iter().map(|&o| first[o] as i64).collect();
    let index: Vec<i64> = index.iter().map(|&own| place[own] as i64).collect();
    let vector = |v: &[i64]| Tensor::from_slice(&[v.len()], v);
    Ok(vec![vector(&first), vector(&index), vector(&counts)])
}

fn examples() -> Vec<Example> {
    let x = Tensor::from_slice(&[3, 2], &[2.0f64, 1.0, 0.0, 3.0, 2.0, 1.0]);
    let outputs = [vec![1i64, 0], vec![1, 0, 1], vec![1, 2]].map(|v| Tensor::from_slice(&[v.len()], &v)).to_vec();
    vec![Example { op: Arc::new(UniqueRows { sorted: true }), inputs: vec![x], outputs: Some(outputs) }]
}
