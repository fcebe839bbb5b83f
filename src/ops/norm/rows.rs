//! Walking a tensor as rows along one axis, and vectorised row reductions in a fixed order.

use crate::ops::simd::{GRAIN, Real, Shared, parallel_grain};
use crate::program::Misfit;
use crate::tensor::shape::normalize_axis;

/// A tensor seen as `outer × n × inner`; a row runs along `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    pub outer: usize,
    pub n: usize,
    pub inner: usize,
}

impl Rows {
    pub fn new(dims: &[usize], axis: i64) -> Result<Self, Misfit> {
        let a = check_axis(axis, dims.len())?;
        Ok(Self { outer: dims[..a].iter().product(), n: dims[a], inner: dims[a + 1..].iter().product() })
    }

    /// Calls `f(blocks, out)` for blocks of whole rows, each of `n` neighbouring elements (gathered first where `inner`
    /// is not 1). All inputs and the output have this geometry. The split depends on the geometry alone.
    pub fn map<T: Real, const N: usize>(
        &self,
        inputs: [&[T]; N],
        out: &mut [T],
        f: impl Fn([&[T]; N], &mut [T]) + Sync,
    ) {
        let Self { outer, n, inner } = *self;
        if outer * n * inner == 0 {
            return;
        }
        let len = out.len();
        let out = Shared::new(out.as_mut_ptr());
        let rows_per_task = (GRAIN / 8).div_ceil(n);
        if inner == 1 {
            parallel_grain(outer, rows_per_task, |rows| {
                let range = rows.start * n..rows.end * n;
                // SAFETY: tasks get disjoint rows within the output.
                #[allow(unsafe_code)]
                let block = unsafe { out.at(range.clone()) };
                f(inputs.map(|i| &i[range.clone()]), block);
            });
            return;
        }
        parallel_grain(outer, rows_per_task.div_ceil(inner), |outers| {
            let mut gathered = vec![T::ZERO; n * (N + 1)];
            // SAFETY: a task gets disjoint outer slices within the output.
            #[allow(unsafe_code)]
            let block = unsafe { out.at(outers.start * n * inner..(outers.end * n * inner).min(len)) };
            for o in outers.clone() {
                for i in 0..inner {
                    let (rows, result) = gathered.split_at_mut(n * N);
                    for (input, row) in inputs.iter().zip(rows.chunks_exact_mut(n)) {
                        for (j, r) in row.iter_mut().enumerate() {
                            *r = input[(o * n + j) * inner + i];
                        }
                    }
                    f(std::array::from_fn(|k| &rows[k * n..(k + 1) * n]), result);
                    for (j, &r) in result.iter().enumerate() {
                        block[((o - outers.start) * n + j) * inner + i] = r;
                    }
                }
            }
        });
    }
}

/// The axis as an index.
pub fn check_axis(axis: i64, rank: usize) -> Result<usize, Misfit> {
    normalize_axis(axis, rank).ok_or_else(|| Misfit(format!("axis {axis} does not exist in a tensor of rank {rank}")))
}

const LANES: usize = 16;

#[inline(always)]
fn fold<T: Real>(init: T, n: usize, each: impl Fn(T, usize) -> T, join: impl Fn(T, T) -> T) -> T {
    let mut lanes = [init; LANES];
    let whole = n / LANES * LANES;
    let mut at = 0;
    while at < whole {
        for (j, lane) in lanes.iter_mut().enumerate() {
            *lane = each(*lane, at + j);
        }
        at += LANES;
    }
    for (j, i) in (whole..n).enumerate() {
        lanes[j] = each(lanes[j], i);
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for j in 0..width {
            lanes[j] = join(lanes[j], lanes[j + width]);
        }
    }
    lanes[0]
}

/// Sum in 16 lanes, joined pairwise.
#[inline(always)]
pub fn sum<T: Real>(x: &[T]) -> T {
    fold(T::ZERO, x.len(), |s, i| s + x[i], |a, b| a + b)
}

/// Sum of products in 16 lanes, joined pairwise.
#[inline(always)]
pub fn dot<T: Real>(x: &[T], y: &[T]) -> T {
    let y = &y[..x.len()];
    fold(T::ZERO, x.len(), |s, i| x[i].mul_add(y[i], s), |a, b| a + b)
}

/// The largest element; NaN where one is NaN. `x` is not empty.
#[inline(always)]
pub fn max<T: Real>(x: &[T]) -> T {
    fold(x[0], x.len(), |m, i| x[i].larger(m), |a, b| a.larger(b))
}
