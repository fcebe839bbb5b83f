//! Matrix products on strided memory, one or many: the only place that calls the `gemm` crate.
//!
//! `C ← alpha · A · B + beta · C` for every index of a batch. Results do not depend on the number of threads: the crate
//! was measured bit-identical over thread counts, and batches are split by shape alone.
#![allow(unsafe_code)]

use rayon::prelude::*;
use smallvec::SmallVec;

/// Floating-point types with a fast product.
pub trait GemmElement: Copy + Send + Sync + PartialEq + 'static {
    const ZERO: Self;
    const ONE: Self;
}

impl GemmElement for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
}

impl GemmElement for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
}

/// One dimension of a batch: how often, and how far each operand moves (in elements; 0 repeats an operand).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchDim {
    pub count: usize,
    pub a: isize,
    pub b: isize,
    pub c: isize,
}

/// Sizes and strides (in elements) of `C[m, n] = A[m, k] · B[k, n]`, and how it repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// `(row stride, column stride)`.
    pub a: (isize, isize),
    pub b: (isize, isize),
    pub c: (isize, isize),
    /// Outermost first; empty for a single product.
    pub batch: SmallVec<[BatchDim; 3]>,
}

/// Below this many multiply-adds in one product a second thread costs more than it brings.
const PARALLEL_PRODUCT: usize = 1 << 18;
/// From this many products on, whole products are spread over threads.
const PARALLEL_BATCH: usize = 4;

impl Layout {
    /// Row-major `A[m, k]` (or `A[k, m]` where transposed) times row-major `B[k, n]` (or `B[n, k]`).
    pub fn row_major(m: usize, n: usize, k: usize, transpose_a: bool, transpose_b: bool) -> Self {
        let strides = |rows: usize, cols: usize, t: bool| if t { (1, rows as isize) } else { (cols as isize, 1) };
        Self {
            m,
            n,
            k,
            a: strides(m, k, transpose_a),
            b: strides(k, n, transpose_b),
            c: (n as isize, 1),
            batch: SmallVec::new(),
        }
    }

    #[must_use]
    pub fn batch(mut self, dims: impl IntoIterator<Item = BatchDim>) -> Self {
        self.batch = dims.into_iter().filter(|d| d.count != 1).collect();
        self.merge_batch_dims();
        self.fold_batch_into_rows();
        self
    }

    /// Number of products.
    pub fn count(&self) -> usize {
        self.batch.iter().map(|d| d.count).product()
    }

    /// Multiply and add count twice.
    pub fn flops(&self) -> u64 {
        2 * self.count() as u64 * self.m as u64 * self.n as u64 * self.k as u64
    }

    /// Neighbouring batch dimensions that advance like one become one.
    fn merge_batch_dims(&mut self) {
        let mut out: SmallVec<[BatchDim; 3]> = SmallVec::new();
        for &inner in &self.batch {
            let n = inner.count as isize;
            match out.last_mut() {
                Some(o) if o.a == inner.a * n && o.b == inner.b * n && o.c == inner.c * n => {
                    *o = BatchDim { count: o.count * inner.count, ..inner };
                }
                _ => out.push(inner),
            }
        }
        self.batch = out;
    }

    /// A batch over which `B` stays and the rows of `A` and `C` go on is one product with more rows.
    fn fold_batch_into_rows(&mut self) {
        while let Some(&last) = self.batch.last() {
            let m = self.m as isize;
            if last.b != 0 || last.a != self.a.0 * m || last.c != self.c.0 * m {
                return;
            }
            self.m *= last.count;
            self.batch.pop();
        }
    }

    /// Element offsets of `A`, `B`, `C` of product `i`.
    pub fn offsets(&self, mut i: usize) -> (isize, isize, isize) {
        let (mut a, mut b, mut c) = (0, 0, 0);
        for d in self.batch.iter().rev() {
            let at = (i % d.count) as isize;
            i /= d.count;
            a += at * d.a;
            b += at * d.b;
            c += at * d.c;
        }
        (a, b, c)
    }
}

#[derive(Clone, Copy)]
struct Pointers<T> {
    a: *const T,
    b: *const T,
    c: *mut T,
}

// SAFETY: plain addresses; `run` requires that products write disjoint parts of C.
unsafe impl<T> Send for Pointers<T> {}
unsafe impl<T> Sync for Pointers<T> {}

/// Runs all products of `layout`. With `beta == 0`, `C` is only written and may hold anything.
///
/// # Safety
/// Every element that the layout reaches must be valid for reads (`a`, `b`) or writes (`c`), `c` must overlap neither
/// input, and two products must not write the same element of `C`.
pub unsafe fn run<T: GemmElement>(layout: &Layout, alpha: T, a: *const T, b: *const T, beta: T, c: *mut T) {
    let count = layout.count();
    if count == 0 || layout.m == 0 || layout.n == 0 {
        return;
    }
    let all = Pointers { a, b, c };
    let work = layout.m.saturating_mul(layout.n).saturating_mul(layout.k);
    let at = |i: usize| {
        let (a, b, c) = layout.offsets(i);
        // SAFETY: inside the operands by this function's contract.
        unsafe { Pointers { a: { all }.a.offset(a), b: { all }.b.offset(b), c: { all }.c.offset(c) } }
    };
    if count >= PARALLEL_BATCH && work.saturating_mul(count) >= PARALLEL_PRODUCT {
        let per_task = (PARALLEL_PRODUCT / work.max(1)).clamp(1, count);
        (0..count).into_par_iter().with_min_len(per_task).for_each(|i| {
            // SAFETY: this function's contract.
            unsafe { product(layout, alpha, at(i), beta, gemm::Parallelism::None) }
        });
    } else {
        let inside = match work >= PARALLEL_PRODUCT {
            true => gemm::Parallelism::Rayon(0),
            false => gemm::Parallelism::None,
        };
        for i in 0..count {
            // SAFETY: this function's contract.
            unsafe { product(layout, alpha, at(i), beta, inside) }
        }
    }
}

/// One product.
///
/// # Safety
/// As [`run`].
unsafe fn product<T: GemmElement>(l: &Layout, alpha: T, p: Pointers<T>, beta: T, parallelism: gemm::Parallelism) {
    // SAFETY: the caller's contract; the crate names the factor of C `alpha` and that of the product `beta`.
    unsafe {
        gemm::gemm(
            l.m,
            l.n,
            l.k,
            p.c,
            l.c.1,
            l.c.0,
            beta != T::ZERO,
            p.a,
            l.a.1,
            l.a.0,
            p.b,
            l.b.1,
            l.b.0,
            beta,
            alpha,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcast_right_side_becomes_one_product() {
        let l = Layout::row_major(4, 5, 6, false, false)
            .batch([BatchDim { count: 2, a: 3 * 24, b: 0, c: 3 * 20 }, BatchDim { count: 3, a: 24, b: 0, c: 20 }]);
        assert_eq!((l.m, l.batch.len()), (24, 0));
    }

    #[test]
    fn strided_batch_equals_plain_loops() {
        // heads lie inside rows: A[s, h, d] · B[s', h, d]ᵀ for each h
        let (s, h, d) = (5, 3, 4);
        let a: Vec<f64> = (0..s * h * d).map(|i| (i % 7) as f64 - 3.0).collect();
        let b: Vec<f64> = (0..s * h * d).map(|i| (i % 5) as f64 - 2.0).collect();
        let mut c = vec![f64::NAN; h * s * s];
        let (si, hi, di) = (s as isize, h as isize, d as isize);
        let layout = Layout { m: s, n: s, k: d, a: (hi * di, 1), b: (1, hi * di), c: (si, 1), batch: SmallVec::new() }
            .batch([BatchDim { count: h, a: di, b: di, c: si * si }]);
        // SAFETY: the layout stays inside the three vectors.
        unsafe { run(&layout, 0.5, a.as_ptr(), b.as_ptr(), 0.0, c.as_mut_ptr()) };
        for head in 0..h {
            for i in 0..s {
                for j in 0..s {
                    let want: f64 = (0..d).map(|x| a[(i * h + head) * d + x] * b[(j * h + head) * d + x]).sum();
                    assert_eq!(c[(head * s + i) * s + j], 0.5 * want);
                }
            }
        }
    }

    #[test]
    fn same_bits_at_any_thread_count() {
        for &(count, m, n, k, ta, tb) in
            &[(1, 130, 70, 300, false, true), (6, 64, 64, 32, false, false), (2, 200, 90, 111, true, false)]
        {
            let fill = |len: usize, f: f32| (0..len).map(|i| ((i as f32) * f).sin()).collect::<Vec<f32>>();
            let (a, b) = (fill(count * m * k, 0.37), fill(count * k * n, 0.73));
            let dim = BatchDim { count, a: (m * k) as isize, b: (k * n) as isize, c: (m * n) as isize };
            let layout = Layout::row_major(m, n, k, ta, tb).batch([dim]);
            let result = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut c = vec![0f32; count * m * n];
                // SAFETY: the layout stays inside the three vectors.
                pool.install(|| unsafe { run(&layout, 1.0, a.as_ptr(), b.as_ptr(), 0.0, c.as_mut_ptr()) });
                c
            };
            let one = result(1);
            for threads in [2, 3, 8] {
                assert!(one == result(threads), "{threads} threads differ on {m}x{n}x{k}");
            }
        }
    }
}
