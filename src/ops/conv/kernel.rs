//! Kernels of convolution: unfolded into matrix products block by block (each row of the unfolded matrix is what one
//! window reads), straight for 1×1 windows; [`depthwise`](super::depthwise) filters go their own way.
#![allow(unsafe_code)]

use smallvec::SmallVec;

use super::depthwise;
use super::window::Geometry;
use crate::ops::linalg::gemm::{self, BatchDim, GemmElement, Layout};
use crate::ops::simd::{Real, Shared, parallel};
use crate::program::Kernel;

/// Concrete sizes of a convolution.
#[derive(Clone, Debug)]
pub struct Shape {
    pub geometry: Geometry,
    pub cin: usize,
    pub cout: usize,
    pub groups: usize,
}

/// Bytes of the unfolded block.
const BLOCK_BYTES: usize = 4 << 20;

impl Shape {
    /// Result positions over the whole batch.
    pub(super) fn positions(&self) -> usize {
        self.geometry.batch * self.geometry.output_positions()
    }

    /// Input channels that one group reads.
    fn per_group(&self) -> usize {
        self.cin / self.groups
    }

    fn flops(&self) -> u64 {
        2 * (self.positions() * self.geometry.taps()) as u64 * (self.per_group() * self.cout) as u64
    }

    fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.cin
    }

    /// Whether the unfolded matrix is the input itself.
    fn is_pointwise(&self) -> bool {
        let g = &self.geometry;
        self.groups == 1 && g.taps() == 1 && g.strides == [1; 3] && g.before == [0; 3] && g.input == g.output
    }

    /// Rows of the unfolded matrix in one block.
    fn block_rows<T>(&self) -> usize {
        let row = (self.geometry.taps() * self.cin * size_of::<T>()).max(1);
        (BLOCK_BYTES / row).clamp(16, self.positions().max(16))
    }

    fn scratch<T>(&self) -> usize {
        self.block_rows::<T>() * self.geometry.taps() * self.cin * size_of::<T>()
    }

    /// `rows` rows of the unfolded matrix `[group][row][tap][channel]` times the filter, one product per group.
    fn layout(&self, rows: usize) -> Layout {
        let (k, n) = (self.geometry.taps() * self.per_group(), self.cout / self.groups);
        Layout {
            m: rows,
            n,
            k,
            a: (k as isize, 1),
            b: (self.cout as isize, 1),
            c: (self.cout as isize, 1),
            batch: SmallVec::new(),
        }
        .batch([BatchDim { count: self.groups, a: (rows * k) as isize, b: n as isize, c: n as isize }])
    }

    /// Writes what the windows `first..first + rows` read, zero outside the input.
    fn unfold<T: Real>(&self, x: &[T], first: usize, rows: usize, columns: &mut [T]) {
        let g = &self.geometry;
        let (channels, width) = (self.per_group(), g.taps() * self.per_group());
        let (per_image, image) = (g.output_positions(), g.input_positions() * self.cin);
        let columns = Shared::new(columns.as_mut_ptr());
        parallel(rows, width * self.groups, |range| {
            for r in range {
                let (b, o) = ((first + r) / per_image, (first + r) % per_image);
                let x = &x[b * image..(b + 1) * image];
                for group in 0..self.groups {
                    let at = (group * rows + r) * width;
                    // SAFETY: each row of a group belongs to one task and lies within the scratch block.
                    let row = unsafe { columns.at(at..at + width) };
                    row.fill(<T as Real>::ZERO);
                    g.for_taps(o, |tap, s| {
                        let from = s * self.cin + group * channels;
                        row[tap * channels..(tap + 1) * channels].copy_from_slice(&x[from..from + channels]);
                    });
                }
            }
        });
    }

    /// Adds an unfolded block back to the input positions it was read from.
    fn fold<T: Real>(&self, columns: &[T], first: usize, rows: usize, x: &mut [T]) {
        let g = &self.geometry;
        let (channels, width) = (self.per_group(), g.taps() * self.per_group());
        let (per_image, per_input) = (g.output_positions(), g.input_positions());
        let images = first / per_image..(first + rows - 1) / per_image + 1;
        let start = images.start * per_input;
        let x = Shared::new(x.as_mut_ptr());
        parallel(images.len() * per_input, width * self.groups, |range| {
            for i in range {
                let (b, s) = ((start + i) / per_input, (start + i) % per_input);
                // SAFETY: each input position belongs to one task and lies within the output.
                let to = unsafe { x.at((start + i) * self.cin..(start + i + 1) * self.cin) };
                g.for_readers(s, |tap, o| {
                    let row = (b * per_image + o).wrapping_sub(first);
                    if row >= rows {
                        return;
                    }
                    for group in 0..self.groups {
                        let from = (group * rows + row) * width + tap * channels;
                        let part = &columns[from..from + channels];
                        for (t, &f) in to[group * channels..].iter_mut().zip(part) {
                            *t += f;
                        }
                    }
                });
            }
        });
    }
}

/// The float view of the scratch block.
fn columns_of<T: Real>(scratch: &mut [u8]) -> &mut [T] {
    bytemuck::cast_slice_mut(scratch)
}

/// `(x, w) → y`.
pub fn forward<T: Real + GemmElement>(shape: Shape) -> Kernel {
    let flops = shape.flops();
    if shape.is_depthwise() {
        return depthwise::forward::<T>(shape).flops(flops);
    }
    let scratch = if shape.is_pointwise() { 0 } else { shape.scratch::<T>() };
    Kernel::compute(move |call| {
        let (x, w) = (call.input::<T>(0), call.input::<T>(1));
        let total = shape.positions();
        if total == 0 || shape.cout == 0 {
            return;
        }
        let y = call.outputs[0].ptr::<T>();
        if shape.is_pointwise() {
            // SAFETY: x is [positions, cin], w [cin, cout], y [positions, cout].
            unsafe {
                gemm::run(
                    &shape.layout(total),
                    <T as GemmElement>::ONE,
                    x.as_ptr(),
                    w.as_ptr(),
                    <T as GemmElement>::ZERO,
                    y,
                )
            };
            return;
        }
        let columns = columns_of::<T>(call.scratch);
        for_blocks::<T>(&shape, |first, rows| {
            shape.unfold(x, first, rows, columns);
            // SAFETY: the block lies in the scratch; rows `first..` of y belong to it alone.
            unsafe {
                let y = y.add(first * shape.cout);
                gemm::run(
                    &shape.layout(rows),
                    <T as GemmElement>::ONE,
                    columns.as_ptr(),
                    w.as_ptr(),
                    <T as GemmElement>::ZERO,
                    y,
                );
            }
        });
    })
    .scratch(scratch)
    .flops(flops)
}

/// `(sizes, w, y) → x`.
pub fn input<T: Real + GemmElement>(shape: Shape) -> Kernel {
    let flops = shape.flops();
    if shape.is_depthwise() {
        return depthwise::input::<T>(shape).flops(flops);
    }
    let scratch = if shape.is_pointwise() { 0 } else { shape.scratch::<T>() };
    Kernel::compute(move |call| {
        let (w, y) = (call.input::<T>(1), call.input::<T>(2));
        let x = call.outputs[0].slice::<T>();
        x.fill(<T as Real>::ZERO);
        if shape.positions() == 0 || shape.cout == 0 || shape.cin == 0 {
            return;
        }
        // columns = y · wᵀ
        let transposed = |rows: usize| {
            let l = shape.layout(rows);
            let batch: SmallVec<[BatchDim; 3]> =
                l.batch.iter().map(|d| BatchDim { count: d.count, a: d.c, b: d.b, c: d.a }).collect();
            Layout { m: l.m, n: l.k, k: l.n, a: l.c, b: (l.b.1, l.b.0), c: l.a, batch }
        };
        if shape.is_pointwise() {
            // SAFETY: as in `forward` with x as the result.
            unsafe {
                gemm::run(
                    &transposed(shape.positions()),
                    <T as GemmElement>::ONE,
                    y.as_ptr(),
                    w.as_ptr(),
                    <T as GemmElement>::ZERO,
                    x.as_mut_ptr(),
                );
            }
            return;
        }
        let columns = columns_of::<T>(call.scratch);
        for_blocks::<T>(&shape, |first, rows| {
            // SAFETY: the block lies in the scratch; y has `rows` rows from `first` on.
            unsafe {
                let y = y.as_ptr().add(first * shape.cout);
                gemm::run(
                    &transposed(rows),
                    <T as GemmElement>::ONE,
                    y,
                    w.as_ptr(),
                    <T as GemmElement>::ZERO,
                    columns.as_mut_ptr(),
                );
            }
            shape.fold(columns, first, rows, x);
        });
    })
    .scratch(scratch)
    .flops(flops)
}

/// `(x, sizes, y) → w`.
pub fn filter<T: Real + GemmElement>(shape: Shape) -> Kernel {
    let flops = shape.flops();
    if shape.is_depthwise() {
        return depthwise::filter::<T>(shape).flops(flops);
    }
    let scratch = if shape.is_pointwise() { 0 } else { shape.scratch::<T>() };
    Kernel::compute(move |call| {
        let (x, y) = (call.input::<T>(0), call.input::<T>(2));
        let w = call.outputs[0].slice::<T>();
        w.fill(<T as Real>::ZERO);
        if shape.positions() == 0 || w.is_empty() {
            return;
        }
        // w = columnsᵀ · y, block after block
        let transposed = |rows: usize| {
            let l = shape.layout(rows);
            let batch: SmallVec<[BatchDim; 3]> =
                l.batch.iter().map(|d| BatchDim { count: d.count, a: d.a, b: d.c, c: d.b }).collect();
            Layout { m: l.k, n: l.n, k: l.m, a: (l.a.1, l.a.0), b: l.c, c: l.b, batch }
        };
        if shape.is_pointwise() {
            // SAFETY: as in `forward` with w as the result.
            unsafe {
                gemm::run(
                    &transposed(shape.positions()),
                    <T as GemmElement>::ONE,
                    x.as_ptr(),
                    y.as_ptr(),
                    <T as GemmElement>::ZERO,
                    w.as_mut_ptr(),
                );
            }
            return;
        }
        let columns = columns_of::<T>(call.scratch);
        for_blocks::<T>(&shape, |first, rows| {
            shape.unfold(x, first, rows, columns);
            // SAFETY: the block lies in the scratch; y has `rows` rows from `first` on; w was zeroed.
            unsafe {
                let y = y.as_ptr().add(first * shape.cout);
                gemm::run(
                    &transposed(rows),
                    <T as GemmElement>::ONE,
                    columns.as_ptr(),
                    y,
                    <T as GemmElement>::ONE,
                    w.as_mut_ptr(),
                );
            }
        });
    })
    .scratch(scratch)
    .flops(flops)
}

/// Calls `f(first position, number of positions)` block after block.
fn for_blocks<T>(shape: &Shape, mut f: impl FnMut(usize, usize)) {
    let (total, step) = (shape.positions(), shape.block_rows::<T>());
    let mut first = 0;
    while first < total {
        let rows = step.min(total - first);
        f(first, rows);
        first += rows;
    }
}
