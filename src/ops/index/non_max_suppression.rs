//! Non-maximum suppression: of boxes that overlap much, only the one with the highest score is kept.

use std::sync::Arc;

use crate::program::op::arity;
use crate::program::{Example, Flow, Kernel, Misfit, Op, OpInfo};
use crate::tensor::{DType, Fact, PartialShape, Tensor};

pub static INFO: OpInfo = OpInfo {
    name: "non_max_suppression",
    family: "index",
    summary: "Indices of the boxes that are kept, best score first, of boxes that overlap too much only the best",
    formula: "inputs: boxes [b, n, 4], scores [b, c, n], most boxes per class, largest overlap, least score; output: \
              [kept, 3] of batch, class, box. Overlap is the area of the intersection over that of the union; a box is \
              kept if its score is above the least (at least the least, where `is_inclusive`)",
    examples,
};

/// See the file's header. Boxes are two opposite corners, or `x, y` of the centre with width and height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NonMaxSuppression {
    pub is_centered: bool,
    pub is_inclusive: bool,
}

pub(super) type Corners = [f64; 4];

/// Smallest and largest coordinates of a box given by any two opposite corners.
pub(super) fn corners(b: &[f64]) -> Corners {
    [b[0].min(b[2]), b[1].min(b[3]), b[0].max(b[2]), b[1].max(b[3])]
}

impl NonMaxSuppression {
    fn corners(self, b: &[f64]) -> Corners {
        if self.is_centered {
            let (x, y, w, h) = (b[0], b[1], b[2] / 2.0, b[3] / 2.0);
            return [y - h, x - w, y + h, x + w];
        }
        corners(b)
    }

    fn keep(self, inputs: &[Tensor]) -> Result<Vec<i64>, Misfit> {
        let numbers = |i: usize| inputs[i].to_f64s().ok_or_else(|| Misfit(format!("input {i} holds no numbers")));
        let (boxes, scores) = (numbers(0)?, numbers(1)?);
        let first = |i: usize| Ok::<f64, Misfit>(numbers(i)?.first().copied().unwrap_or(0.0));
        let (most, overlap, least) = (first(2)?.max(0.0) as usize, first(3)?, first(4)?);
        let (&[_, n, _], &[batches, classes, _]) = (inputs[0].shape(), inputs[1].shape()) else {
            return Err(Misfit::new("boxes must be [batch, boxes, 4] and scores [batch, classes, boxes]"));
        };
        let mut out = Vec::new();
        for (b, class) in (0..batches).flat_map(|b| (0..classes).map(move |c| (b, c))) {
            let score = |i: usize| scores[(b * classes + class) * n + i];
            let passes = |s: f64| s > least || self.is_inclusive && s >= least;
            let mut order: Vec<usize> = (0..n).filter(|&i| passes(score(i))).collect();
            order.sort_by(|&i, &j| score(j).total_cmp(&score(i)));
            let mut kept: Vec<(usize, Corners)> = Vec::new();
            for i in order {
                if kept.len() >= most {
                    break;
                }
                let corners = self.corners(&boxes[(b * n + i) * 4..][..4]);
                if kept.iter().all(|(_, other)| intersection_over_union(&corners, other) <= overlap) {
                    kept.push((i, corners));
                }
            }
            out.extend(kept.into_iter().flat_map(|(i, _)| [b as i64, class as i64, i as i64]));
        }
        Ok(out)
    }
}

pub(super) fn intersection_over_union(a: &Corners, b: &Corners) -> f64 {
    let area = |c: &Corners| (c[2] - c[0]) * (c[3] - c[1]);
    let height = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let width = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let common = height * width;
    let union = area(a) + area(b) - common;
    if area(a) <= 0.0 || area(b) <= 0.0 || union <= 0.0 { 0.0 } else { common / union }
}

impl Op for NonMaxSuppression {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 5)?;
        let (boxes, scores) = (&inputs[0].shape, &inputs[1].shape);
        if boxes.rank().is_some_and(|r| r != 3) || scores.rank().is_some_and(|r| r != 3) {
            return Err(Misfit(format!("boxes {boxes} and scores {scores} must have three axes")));
        }
        let disagree = |a: Option<usize>, b: Option<usize>| a.zip(b).is_some_and(|(a, b)| a != b);
        if disagree(boxes.dim(0), scores.dim(0))
            || disagree(boxes.dim(1), scores.dim(2))
            || disagree(boxes.dim(2), Some(4))
        {
            return Err(Misfit(format!("boxes {boxes} do not fit scores {scores}")));
        }
        Ok(vec![Fact::new(DType::I64, PartialShape::from_partial([None, Some(3)]))])
    }

    fn kernel(&self, _inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let op = *self;
        Ok(Kernel::host(move |inputs| {
            let kept = op.keep(inputs)?;
            Ok(vec![Tensor::from_slice(&[kept.len() / 3, 3], &kept)])
        }))
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        Flow::Zero("an index is an integer: it does not change with small changes of boxes or scores")
    }
}

fn examples() -> Vec<Example> {
    let boxes = [0.0, 0.0, 1.0, 1.0, 0.0, 0.1, 1.0, 1.1, 0.0, 10.0, 1.0, 11.0];
    let inputs = vec![
        Tensor::from_slice(&[1, 3, 4], &boxes),
        Tensor::from_slice(&[1, 1, 3], &[0.9, 0.75, 0.6]),
        Tensor::scalar(3i64),
        Tensor::scalar(0.5),
        Tensor::scalar(0.0),
    ];
    // The second box overlaps the first by 0.9 / 1.1.
    let kept = Tensor::from_slice(&[2, 3], &[0i64, 0, 0, 0, 0, 2]);
    let op = NonMaxSuppression { is_centered: false, is_inclusive: false };
    vec![Example { op: Arc::new(op), inputs, outputs: Some(vec![kept]) }]
}
