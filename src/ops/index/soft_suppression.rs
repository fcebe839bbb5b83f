//! Non-maximum suppression in which scores fall with the overlap instead of boxes being dropped at once.

use std::sync::Arc;

use crate::program::op::arity;
use crate::program::{Example, Flow, Kernel, Misfit, Op, OpInfo};
use crate::tensor::{DType, Fact, PartialShape, Tensor};

use super::non_max_suppression::{corners, intersection_over_union};

pub static INFO: OpInfo = OpInfo {
    name: "soft_suppression",
    family: "index",
    summary: "Indices and lowered scores of the boxes that are kept, best first",
    formula: "inputs: boxes [n, 4] (two corners), scores [n], most boxes, least score, σ > 0; the best box is taken, every other score falls by e^(-overlap²/2σ), until no score is above the least (Bodla et al. 2017)",
    examples,
};

/// Outputs: indices `int32 [kept]`, scores `[kept]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoftSuppression;

/// A box that may still be taken; `seen` of the taken ones have lowered its score.
struct Candidate {
    index: usize,
    score: f64,
    seen: usize,
}

fn keep(inputs: &[Tensor]) -> Result<(Vec<i32>, Vec<f64>), Misfit> {
    let numbers = |i: usize| inputs[i].to_f64s().ok_or_else(|| Misfit(format!("input {i} holds no numbers")));
    let first = |i: usize| Ok::<f64, Misfit>(numbers(i)?.first().copied().unwrap_or(0.0));
    let (boxes, scores) = (numbers(0)?, numbers(1)?);
    if boxes.len() != scores.len() * 4 {
        return Err(Misfit::new("boxes must be [n, 4] and scores [n]"));
    }
    let (most, least, sigma) = (first(2)?.max(0.0) as usize, first(3)?, first(4)?);
    let scale = -0.5 / sigma;
    let place = |i: usize| corners(&boxes[i * 4..][..4]);
    let start = scores.iter().enumerate().filter(|(_, s)| **s > least);
    let mut open: Vec<Candidate> = start.map(|(index, &score)| Candidate { index, score, seen: 0 }).collect();
    let (mut kept, mut values): (Vec<i32>, Vec<f64>) = (Vec::new(), Vec::new());
    while kept.len() < most {
        // Of equal scores the first box.
        let better = |a: &Candidate, b: &Candidate| a.score.total_cmp(&b.score).then(b.index.cmp(&a.index));
        let Some(at) = (0..open.len()).max_by(|&a, &b| better(&open[a], &open[b])) else { break };
        let mut next = open.swap_remove(at);
        let before = next.score;
        for &other in kept[next.seen..].iter().rev() {
            let common = intersection_over_union(&place(next.index), &place(other as usize));
            next.score *= (scale * common * common).exp();
            if next.score <= least {
                break;
            }
        }
        next.seen = kept.len();
        if next.score == before {
            kept.push(next.index as i32);
            values.push(next.score);
        } else if next.score > least {
            open.push(next);
        }
    }
    Ok((kept, values))
}

impl Op for SoftSuppression {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 5)?;
        let (boxes, scores) = (&inputs[0].shape, &inputs[1].shape);
        if boxes.rank().is_some_and(|r| r != 2) || scores.rank().is_some_and(|r| r != 1) {
            return Err(Misfit(format!("boxes {boxes} must be [n, 4] and scores {scores} [n]")));
        }
        let kept = PartialShape::from_partial([None]);
        Ok(vec![Fact::new(DType::I32, kept.clone()), Fact::new(inputs[1].dtype, kept)])
    }

    fn kernel(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let dtype = outputs[1].dtype;
        Ok(Kernel::host(move |inputs| {
            let (kept, values) = keep(inputs)?;
            Ok(vec![Tensor::from_slice(&[kept.len()], &kept), Tensor::from_f64s(dtype, &[values.len()], values)])
        }))
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        Flow::Stopped { exact: false, why: "which boxes lower a score is decided by comparisons" }
    }
}

fn examples() -> Vec<Example> {
    let boxes = [0.0, 0.0, 1.0, 1.0, 0.0, 0.5, 1.0, 1.5, 0.0, 10.0, 1.0, 11.0];
    let one = Tensor::scalar;
    let inputs = vec![
        Tensor::from_slice(&[3, 4], &boxes),
        Tensor::from_slice(&[3], &[0.9, 0.75, 0.6]),
        Tensor::scalar(3i64),
        one(0.0),
        one(0.5),
    ];
    // The second overlaps the first by a third.
    let lowered = 0.75 * (-1.0f64 / 9.0).exp();
    let outputs = vec![Tensor::from_slice(&[3], &[0i32, 1, 2]), Tensor::from_slice(&[3], &[0.9, lowered, 0.6])];
    vec![Example { op: Arc::new(SoftSuppression), inputs, outputs: Some(outputs) }]
}
