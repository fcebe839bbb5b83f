//! One strided copy that serves every op which only moves elements: transpose, slice, broadcast, reverse, tile, concatenate,
//! pad. Dimensions that both sides walk alike are joined first; runs that are contiguous on both sides become block copies.

use smallvec::SmallVec;

use crate::ops::elementwise::stored::{Source, Target};
use crate::ops::simd::parallel;
use crate::program::{Call, Kernel, Misfit, View, ViewMut};
use crate::tensor::{DType, Element};

type Steps = SmallVec<[isize; 6]>;

/// A walk over `dims` with a stride (in elements, possibly zero or negative) on each side.
#[derive(Clone, Debug, Default)]
pub struct StridedCopy {
    dims: SmallVec<[usize; 6]>,
    source: Steps,
    target: Steps,
    source_start: isize,
    target_start: isize,
}

impl StridedCopy {
    /// `source` and `target` are strides per dimension of `dims`.
    pub fn new(dims: &[usize], source: &[isize], target: &[isize]) -> Self {
        let mut out = Self::default();
        for ((&d, &s), &t) in dims.iter().zip(source).zip(target) {
            if d == 1 {
                continue;
            }
            let joins = match (out.dims.last(), out.source.last(), out.target.last()) {
                (Some(_), Some(&ps), Some(&pt)) => ps == s * d as isize && pt == t * d as isize,
                _ => false,
            };
            if joins {
                let last = out.dims.len() - 1;
                out.dims[last] *= d;
                out.source[last] = s;
                out.target[last] = t;
            } else {
                out.dims.push(d);
                out.source.push(s);
                out.target.push(t);
            }
        }
        if out.dims.is_empty() {
            out.dims.push(1);
            out.source.push(1);
            out.target.push(1);
        }
        out
    }

    #[must_use]
    pub fn from(mut self, source_start: isize, target_start: isize) -> Self {
        self.source_start = source_start;
        self.target_start = target_start;
        self
    }

    /// Copies elements of the size of `dtype`. The strides and starts must stay within both buffers, and no two steps may
    /// write the same element.
    pub fn run(&self, source: &View<'_>, target: &mut ViewMut<'_>, dtype: DType) {
        match dtype.size() {
            1 => self.typed(Source::<u8>::of_bytes(source), Target::of_bytes(target)),
            2 => self.typed(Source::<u16>::of_bytes(source), Target::of_bytes(target)),
            4 => self.typed(Source::<u32>::of_bytes(source), Target::of_bytes(target)),
            8 => self.typed(Source::<u64>::of_bytes(source), Target::of_bytes(target)),
            _ => {}
        }
    }

    fn typed<T: Element + Copy>(&self, source: Source<T>, target: Target<T>) {
        if self.dims.contains(&0) {
            return;
        }
        let last = self.dims.len() - 1;
        let n = self.dims[last];
        if last == 0 {
            let (s, t) = (self.source[0], self.target[0]);
            parallel(n, 1, |range| {
                let from = self.source_start + range.start as isize * s;
                let to = self.target_start + range.start as isize * t;
                run_of(source, target, from, to, s, t, range.len());
            });
            return;
        }
        // A side step of 1 elsewhere than in the last dimension: go in tiles, so that both sides use whole cache lines.
        let across = (0..last).find(|&a| self.source[a].abs() == 1 && self.source[last].abs() > 1 && self.dims[a] > 4);
        let outer: SmallVec<[usize; 6]> = (0..last).filter(|a| Some(*a) != across).collect();
        let count: usize = outer.iter().map(|&a| self.dims[a]).product();
        let rows = across.map_or(1, |a| self.dims[a]);
        if count == 1 && across.is_some() {
            // One big matrix: split its rows.
            parallel(rows.div_ceil(TILE), n * TILE, |range| {
                let rows = range.start * TILE..(range.end * TILE).min(rows);
                self.tiles(source, target, (self.source_start, self.target_start), across.unwrap_or(0), rows);
            });
            return;
        }
        parallel(count, n * rows, |range| {
            let mut index: SmallVec<[usize; 6]> = SmallVec::from_elem(0, outer.len());
            let mut rest = range.start;
            let (mut from, mut to) = (self.source_start, self.target_start);
            for k in (0..outer.len()).rev() {
                let a = outer[k];
                index[k] = rest % self.dims[a];
                rest /= self.dims[a];
                from += index[k] as isize * self.source[a];
                to += index[k] as isize * self.target[a];
            }
            for _ in range {
                match across {
                    Some(a) => self.tiles(source, target, (from, to), a, 0..rows),
                    None => run_of(source, target, from, to, self.source[last], self.target[last], n),
                }
                for k in (0..outer.len()).rev() {
                    let a = outer[k];
                    index[k] += 1;
                    from += self.source[a];
                    to += self.target[a];
                    if index[k] < self.dims[a] {
                        break;
                    }
                    from -= self.source[a] * self.dims[a] as isize;
                    to -= self.target[a] * self.dims[a] as isize;
                    index[k] = 0;
                }
            }
        });
    }

    /// Rows `rows` of dimension `across` against the last dimension, tile by tile.
    #[allow(unsafe_code)]
    fn tiles<T: Element + Copy>(
        &self,
        source: Source<T>,
        target: Target<T>,
        (from, to): (isize, isize),
        across: usize,
        rows: std::ops::Range<usize>,
    ) {
        let last = self.dims.len() - 1;
        let n = self.dims[last];
        let (sr, sc) = (self.source[across], self.source[last]);
        let (tr, tc) = (self.target[across], self.target[last]);
        for r0 in rows.clone().step_by(TILE) {
            let r1 = rows.end.min(r0 + TILE);
            for c0 in (0..n).step_by(TILE) {
                let c1 = n.min(c0 + TILE);
                for r in r0..r1 {
                    for c in c0..c1 {
                        let (r, c) = (r as isize, c as isize);
                        // SAFETY: `run`'s contract.
                        unsafe {
                            *target.at((to + r * tr + c * tc) as usize) = *source.at((from + r * sr + c * sc) as usize);
                        }
                    }
                }
            }
        }
    }
}

const TILE: usize = 32;

#[inline]
#[allow(unsafe_code)]
fn run_of<T: Element + Copy>(
    source: Source<T>,
    target: Target<T>,
    from: isize,
    to: isize,
    s: isize,
    t: isize,
    n: usize,
) {
    // SAFETY: `run`'s contract: all positions lie within the buffers.
    unsafe {
        match (s, t) {
            (1, 1) => std::ptr::copy_nonoverlapping(source.at(from as usize), target.at(to as usize), n),
            (0, 1) => std::slice::from_raw_parts_mut(target.at(to as usize), n).fill(*source.at(from as usize)),
            _ => {
                for i in 0..n as isize {
                    *target.at((to + i * t) as usize) = *source.at((from + i * s) as usize);
                }
            }
        }
    }
}

/// Row-major strides as signed steps.
pub fn steps(dims: &[usize]) -> Steps {
    let mut out: Steps = SmallVec::from_elem(1, dims.len());
    for i in (0..dims.len().saturating_sub(1)).rev() {
        out[i] = out[i + 1] * dims[i + 1] as isize;
    }
    out
}

/// A kernel that is one copy from input 0 to output 0.
pub fn copy_kernel(copy: StridedCopy, dtype: DType) -> Result<Kernel, Misfit> {
    movable(dtype)?;
    Ok(Kernel::compute(move |call: &mut Call<'_>| {
        let source = call.inputs[0];
        copy.run(&source, &mut call.outputs[0], dtype);
    }))
}

/// Whether elements of a type can be moved as words.
pub fn movable(dtype: DType) -> Result<(), Misfit> {
    if matches!(dtype.size(), 1 | 2 | 4 | 8) { Ok(()) } else { Err(Misfit(format!("not defined for {dtype}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    #[test]
    fn transposes_in_tiles_and_outside_of_them() {
        let (rows, columns) = (70, 45);
        let x: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
        let x = Tensor::from_slice(&[rows, columns], &x);
        let mut y = Tensor::zeros(DType::F32, &[columns, rows]);
        let copy = StridedCopy::new(&[columns, rows], &[1, columns as isize], &steps(&[columns, rows]));
        copy.run(&View::of(&x), &mut ViewMut::of(&mut y), DType::F32);
        for r in 0..rows {
            for c in 0..columns {
                assert_eq!(y.as_slice::<f32>()[c * rows + r], x.as_slice::<f32>()[r * columns + c]);
            }
        }
    }
}
