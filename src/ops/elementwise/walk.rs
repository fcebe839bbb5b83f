//! Broadcasting as a walk over rows: dimensions that all operands share alike are joined, so that what is left is a short
//! list of outer dimensions and one inner run in which each operand either advances by one or stands still.

use std::ops::Range;

use smallvec::SmallVec;

use crate::tensor::Dims;

/// `N` operands broadcast to one output shape.
#[derive(Clone, Debug)]
pub struct Walk<const N: usize> {
    dims: Dims,
    strides: [Dims; N],
    len: usize,
}

impl<const N: usize> Walk<N> {
    /// Operands' shapes must broadcast to `out` (op shape rules have checked that).
    pub fn new(out: &[usize], operands: [&[usize]; N]) -> Self {
        let full = operands.map(|shape| broadcast_strides(out, shape));
        let len: usize = out.iter().product();
        let mut dims = Dims::new();
        let mut strides: [Dims; N] = std::array::from_fn(|_| Dims::new());
        for axis in 0..out.len() {
            if out[axis] == 1 {
                continue;
            }
            // Joins with the dimension before where every operand is contiguous across both (0 stays 0).
            let joins =
                !dims.is_empty() && (0..N).all(|k| strides[k].last().copied() == Some(full[k][axis] * out[axis]));
            if joins {
                *dims.last_mut().unwrap_or(&mut 1) *= out[axis];
                for k in 0..N {
                    if let Some(s) = strides[k].last_mut() {
                        *s = full[k][axis];
                    }
                }
            } else {
                dims.push(out[axis]);
                for k in 0..N {
                    strides[k].push(full[k][axis]);
                }
            }
        }
        if dims.is_empty() {
            dims.push(len.min(1));
            for s in &mut strides {
                s.push(0);
            }
        }
        Self { dims, strides, len }
    }

    /// Number of output elements.
    pub fn count(&self) -> usize {
        self.len
    }

    /// Length of the inner run.
    pub fn inner(&self) -> usize {
        self.dims[self.dims.len() - 1]
    }

    /// Whether operand `k` advances within the inner run.
    pub fn advances(&self, k: usize) -> bool {
        self.strides[k][self.dims.len() - 1] != 0
    }

    /// Calls `f(output position, length, operand positions)` for each run within `range` of the output.
    #[inline]
    pub fn runs(&self, range: Range<usize>, mut f: impl FnMut(usize, usize, [usize; N])) {
        if range.is_empty() {
            return;
        }
        let last = self.dims.len() - 1;
        let inner = self.dims[last];
        let (mut row, mut column) = (range.start / inner, range.start % inner);
        let mut index: SmallVec<[usize; 8]> = SmallVec::from_elem(0, last);
        for axis in (0..last).rev() {
            index[axis] = row % self.dims[axis];
            row /= self.dims[axis];
        }
        let mut base: [usize; N] = std::array::from_fn(|k| (0..last).map(|a| index[a] * self.strides[k][a]).sum());
        let mut at = range.start;
        loop {
            let n = (inner - column).min(range.end - at);
            let offsets = std::array::from_fn(|k| base[k] + column * self.strides[k][last]);
            f(at, n, offsets);
            at += n;
            if at >= range.end {
                return;
            }
            column = 0;
            for axis in (0..last).rev() {
                index[axis] += 1;
                for (base, strides) in base.iter_mut().zip(&self.strides) {
                    *base += strides[axis];
                }
                if index[axis] < self.dims[axis] {
                    break;
                }
                for (base, strides) in base.iter_mut().zip(&self.strides) {
                    *base -= strides[axis] * self.dims[axis];
                }
                index[axis] = 0;
            }
        }
    }
}

/// Strides of `shape` seen as `out`: 0 where it is repeated.
fn broadcast_strides(out: &[usize], shape: &[usize]) -> Dims {
    let lead = out.len() - shape.len();
    let mut strides: Dims = SmallVec::from_elem(0, out.len());
    let mut step = 1;
    for axis in (0..shape.len()).rev() {
        if shape[axis] != 1 {
            strides[lead + axis] = step;
        }
        step *= shape[axis];
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_what_is_alike() {
        let w = Walk::new(&[4, 5, 6], [&[4, 5, 6], &[4, 5, 6]]);
        assert_eq!(w.inner(), 120);
        let w = Walk::new(&[4, 5, 6], [&[4, 5, 6], &[6]]);
        assert_eq!((w.inner(), w.advances(1)), (6, true));
        let w = Walk::new(&[4, 5, 6], [&[4, 5, 6], &[4, 1, 1]]);
        assert_eq!((w.inner(), w.advances(1)), (30, false));
    }

    #[test]
    fn positions_match_plain_indexing() {
        let w = Walk::new(&[2, 3, 4], [&[2, 1, 4], &[3, 1]]);
        let mut seen = Vec::new();
        for part in [0..5, 5..17, 17..24] {
            w.runs(part, |at, n, [a, b]| {
                for i in 0..n {
                    let step = |k: usize| usize::from(w.advances(k)) * i;
                    seen.push((at + i, a + step(0), b + step(1)));
                }
            });
        }
        let want: Vec<_> = (0..24).map(|i| (i, (i / 12) * 4 + i % 4, (i / 4) % 3)).collect();
        assert_eq!(seen, want);
    }
}
