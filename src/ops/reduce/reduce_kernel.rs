//! Reductions over any set of dimensions. Joined dimensions leave two cases: the innermost run is reduced (fold each run) or
//! it is kept (add rows into a tile of columns). Floats collect in short `f32` chains that are then summed in `f64`, and work
//! is split by shape alone, so that results are accurate and the same at any thread count.

use half::{bf16, f16};
use smallvec::SmallVec;

use crate::dispatch;
use crate::ops::elementwise::stored::{Float, Lane, Source, Stored, Target};
use crate::ops::simd::{Real, parallel_grain};
use crate::program::{Kernel, Misfit};
use crate::tensor::DType;

use super::reduce::ReduceFn;

/// Elements that one chain of `f32` additions may hold before it is widened.
const CHAIN: usize = 4096;
/// Columns that are reduced together.
const TILE: usize = 128;
/// Rows that are added in `T` before the tile is widened.
const ROWS: usize = 64;

/// A reduction on lanes `T` with accumulator `A`.
#[derive(Clone, Copy)]
struct Fold<T, A> {
    identity: T,
    /// Folds a contiguous run.
    run: fn(&[T]) -> A,
    /// Folds a row into a tile of columns.
    row: fn(&mut [T], &[T]),
    widen: fn(T) -> A,
    combine: fn(A, A) -> A,
    /// The result from the accumulator and the number of elements.
    finish: fn(A, usize) -> T,
}

dispatch! {
    fn sum_run[T: Real](x: &[T]) -> f64 {
        let mut total = 0.0;
        for chain in x.chunks(CHAIN) {
            let mut lanes = [T::ZERO; 32];
            let mut groups = chain.chunks_exact(32);
            for group in &mut groups {
                for (l, &v) in lanes.iter_mut().zip(group) { *l += v; }
            }
            for (l, &v) in lanes.iter_mut().zip(groups.remainder()) { *l += v; }
            total += joined(lanes, |a, b| a + b).to_f64();
        }
        total
    }

    fn max_run[T: Real](x: &[T]) -> f64 {
        let mut lanes = [T::of(f64::NEG_INFINITY); 32];
        let mut groups = x.chunks_exact(32);
        for group in &mut groups {
            for (l, &v) in lanes.iter_mut().zip(group) { *l = l.larger(v); }
        }
        for (l, &v) in lanes.iter_mut().zip(groups.remainder()) { *l = l.larger(v); }
        joined(lanes, |a, b| a.larger(b)).to_f64()
    }

    fn min_run[T: Real](x: &[T]) -> f64 {
        let mut lanes = [T::of(f64::INFINITY); 32];
        let mut groups = x.chunks_exact(32);
        for group in &mut groups {
            for (l, &v) in lanes.iter_mut().zip(group) { *l = l.smaller(v); }
        }
        for (l, &v) in lanes.iter_mut().zip(groups.remainder()) { *l = l.smaller(v); }
        joined(lanes, |a, b| a.smaller(b)).to_f64()
    }

    fn sum_row[T: Real](tile: &mut [T], row: &[T]) {
        for (t, &v) in tile.iter_mut().zip(row) { *t += v; }
    }

    fn max_row[T: Real](tile: &mut [T], row: &[T]) {
        for (t, &v) in tile.iter_mut().zip(row) { *t = t.larger(v); }
    }

    fn min_row[T: Real](tile: &mut [T], row: &[T]) {
        for (t, &v) in tile.iter_mut().zip(row) { *t = t.smaller(v); }
    }

    fn product_row[T: Real](tile: &mut [T], row: &[T]) {
        for (t, &v) in tile.iter_mut().zip(row) { *t *= v; }
    }
}

/// The lanes joined pairwise.
#[inline(always)]
fn joined<T: Real>(mut lanes: [T; 32], join: impl Fn(T, T) -> T) -> T {
    for half in [16, 8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] = join(lanes[i], lanes[i + half]);
        }
    }
    lanes[0]
}

fn product_run<T: Real>(x: &[T]) -> f64 {
    x.iter().fold(1.0, |p, v| p * v.to_f64())
}

fn float_fold<T: Float>(f: ReduceFn) -> Option<Fold<T, f64>> {
    let sum = Fold {
        identity: T::ZERO,
        run: sum_run::<T>,
        row: sum_row::<T>,
        widen: Real::to_f64,
        combine: |a, b| a + b,
        finish: |a, _| T::of(a),
    };
    Some(match f {
        ReduceFn::Sum => sum,
        ReduceFn::Mean => Fold { finish: |a, n| T::of(a / n as f64), ..sum },
        ReduceFn::Max => Fold {
            identity: T::of(f64::NEG_INFINITY),
            run: max_run::<T>,
            row: max_row::<T>,
            combine: |a, b| a.larger(b),
            ..sum
        },
        ReduceFn::Min => Fold {
            identity: T::of(f64::INFINITY),
            run: min_run::<T>,
            row: min_row::<T>,
            combine: |a, b| a.smaller(b),
            ..sum
        },
        ReduceFn::Prod => {
            Fold { identity: T::ONE, run: product_run::<T>, row: product_row::<T>, combine: |a, b| a * b, ..sum }
        }
        ReduceFn::All | ReduceFn::Any => return None,
    })
}

macro_rules! int_fold {
    ($name:ident, $t:ty) => {
        /// `low` and `high` are the storage type's range: what an empty maximum and minimum give.
        fn $name(f: ReduceFn, low: $t, high: $t) -> Option<Fold<$t, $t>> {
            let sum = Fold::<$t, $t> {
                identity: 0,
                run: |x| x.iter().fold(0, |a, &v| a.wrapping_add(v)),
                row: |t, x| t.iter_mut().zip(x).for_each(|(t, &v)| *t = t.wrapping_add(v)),
                widen: |v| v,
                combine: |a, b| a.wrapping_add(b),
                finish: |a, _| a,
            };
            Some(match f {
                ReduceFn::Sum => sum,
                ReduceFn::Mean => Fold { finish: |a, n| if n == 0 { 0 } else { a / n as $t }, ..sum },
                ReduceFn::Max => Fold {
                    identity: low,
                    run: |x| x.iter().copied().max().unwrap_or(<$t>::MIN),
                    row: |t, x| t.iter_mut().zip(x).for_each(|(t, &v)| *t = v.max(*t)),
                    combine: |a, b| a.max(b),
                    ..sum
                },
                ReduceFn::Min => Fold {
                    identity: high,
                    run: |x| x.iter().copied().min().unwrap_or(<$t>::MAX),
                    row: |t, x| t.iter_mut().zip(x).for_each(|(t, &v)| *t = v.min(*t)),
                    combine: |a, b| a.min(b),
                    ..sum
                },
                ReduceFn::Prod => Fold {
                    identity: 1,
                    run: |x| x.iter().fold(1, |a, &v| a.wrapping_mul(v)),
                    row: |t, x| t.iter_mut().zip(x).for_each(|(t, &v)| *t = t.wrapping_mul(v)),
                    combine: |a, b| a.wrapping_mul(b),
                    ..sum
                },
                ReduceFn::All | ReduceFn::Any => return None,
            })
        }
    };
}
int_fold!(signed_fold, i64);
int_fold!(unsigned_fold, u64);

fn bool_fold(f: ReduceFn) -> Option<Fold<u8, u8>> {
    let all = Fold::<u8, u8> {
        identity: 1,
        run: |x| u8::from(x.iter().all(|&v| v != 0)),
        row: |t, x| t.iter_mut().zip(x).for_each(|(t, &v)| *t &= u8::from(v != 0)),
        widen: |v| v,
        combine: |a, b| a & b,
        finish: |a, _| a,
    };
    match f {
        ReduceFn::All => Some(all),
        ReduceFn::Any => Some(Fold {
            identity: 0,
            run: |x| u8::from(x.iter().any(|&v| v != 0)),
            row: |t, x| t.iter_mut().zip(x).for_each(|(t, &v)| *t |= u8::from(v != 0)),
            combine: |a, b| a | b,
            ..all
        }),
        _ => None,
    }
}

/// The dimensions of a reduction, joined: the innermost run apart, the others kept or reduced, with their strides.
#[derive(Clone, Debug, Default)]
struct Layout {
    kept: Dimensions,
    reduced: Dimensions,
    inner: usize,
    inner_reduced: bool,
}

#[derive(Clone, Debug, Default)]
struct Dimensions(SmallVec<[(usize, usize); 4]>);

impl Dimensions {
    fn count(&self) -> usize {
        self.0.iter().map(|d| d.0).product()
    }

    /// Offset of a flat index.
    fn offset(&self, mut index: usize) -> usize {
        if let [(_, stride)] = self.0[..] {
            return index * stride;
        }
        let mut out = 0;
        for &(d, stride) in self.0.iter().rev() {
            out += index % d * stride;
            index /= d;
        }
        out
    }
}

impl Layout {
    fn new(dims: &[usize], reduced: &[bool]) -> Self {
        let mut groups: SmallVec<[(usize, bool); 6]> = SmallVec::new();
        for (&d, &r) in dims.iter().zip(reduced) {
            match groups.last_mut() {
                _ if d == 1 => {}
                Some((size, flag)) if *flag == r => *size *= d,
                _ => groups.push((d, r)),
            }
        }
        let (inner, inner_reduced) = groups.pop().unwrap_or((1, true));
        let mut out = Self { inner, inner_reduced, ..Self::default() };
        let mut stride = inner;
        for &(d, r) in groups.iter().rev() {
            let side = if r { &mut out.reduced } else { &mut out.kept };
            side.0.insert(0, (d, stride));
            stride *= d;
        }
        out
    }

    fn reduced_count(&self) -> usize {
        self.reduced.count() * if self.inner_reduced { self.inner } else { 1 }
    }
}

/// The kernel that reduces the marked dimensions of `dims`; the output holds the others in order.
pub fn kernel(f: ReduceFn, dtype: DType, dims: &[usize], reduced: &[bool]) -> Result<Kernel, Misfit> {
    let touched = dims.iter().zip(reduced).any(|(&d, &r)| r && d != 1);
    if !touched {
        return Ok(Kernel::alias());
    }
    let layout = Layout::new(dims, reduced);
    macro_rules! int {
        ($t:ty) => {
            signed_fold(f, i64::from(<$t>::MIN), i64::from(<$t>::MAX)).map(|k| build::<$t, i64, i64>(layout, k))
        };
    }
    let found = match dtype {
        DType::F32 => float_fold::<f32>(f).map(|k| build::<f32, f32, f64>(layout, k)),
        DType::F64 => float_fold::<f64>(f).map(|k| build::<f64, f64, f64>(layout, k)),
        DType::F16 => float_fold::<f32>(f).map(|k| build::<f16, f32, f64>(layout, k)),
        DType::BF16 => float_fold::<f32>(f).map(|k| build::<bf16, f32, f64>(layout, k)),
        DType::I8 => int!(i8),
        DType::I16 => int!(i16),
        DType::I32 => int!(i32),
        DType::I64 => int!(i64),
        DType::U8 => int!(u8),
        DType::U16 => int!(u16),
        DType::U32 => int!(u32),
        DType::U64 => unsigned_fold(f, u64::MIN, u64::MAX).map(|k| build::<u64, u64, u64>(layout, k)),
        DType::Bool => bool_fold(f).map(|k| build::<u8, u8, u8>(layout, k)),
        _ => None,
    };
    found.ok_or_else(|| Misfit(format!("not defined for {dtype}")))
}

fn build<S: Stored<T>, T: Lane, A: Lane>(layout: Layout, fold: Fold<T, A>) -> Kernel {
    if layout.inner_reduced { runs::<S, T, A>(layout, fold) } else { columns::<S, T, A>(layout, fold) }
}

/// The lanes of a run: in place where storage is computation, else converted block by block.
#[inline]
#[allow(unsafe_code)]
fn fold_run<S: Stored<T>, T: Lane, A: Lane>(x: Source<S>, at: usize, n: usize, fold: &Fold<T, A>, acc: A) -> A {
    if S::SAME {
        // SAFETY: S = T, and the run lies within the buffer.
        let run = unsafe { std::slice::from_raw_parts(x.at(at).cast::<T>(), n) };
        return (fold.combine)(acc, (fold.run)(run));
    }
    let mut acc = acc;
    let mut block = [T::default(); 512];
    for start in (0..n).step_by(512) {
        let len = 512.min(n - start);
        for (i, b) in block[..len].iter_mut().enumerate() {
            // SAFETY: within the run.
            *b = unsafe { *x.at(at + start + i) }.load();
        }
        acc = (fold.combine)(acc, (fold.run)(&block[..len]));
    }
    acc
}

/// Elements that one task folds at least; longer reductions with few results are split into such parts.
const PART: usize = 1 << 15;

/// Innermost dimension reduced.
fn runs<S: Stored<T>, T: Lane, A: Lane>(layout: Layout, fold: Fold<T, A>) -> Kernel {
    let results = layout.kept.count();
    let rows = layout.reduced.count();
    let total = layout.reduced_count();
    // Few long results: split one contiguous run into parts and combine them in order.
    let parts = if results < 8 && rows == 1 { layout.inner.div_ceil(PART) } else { 1 };
    let flops = (results * total) as u64;
    let kernel = Kernel::compute(move |call| {
        let x = Source::<S>::of(&call.inputs[0]);
        let partial = Target::<A>::of_slice(call.scratch);
        let y = Target::<S>::of(&mut call.outputs[0]);
        if parts > 1 {
            parallel_grain(results * parts, 1, |range| {
                for task in range {
                    let (r, p) = (task / parts, task % parts);
                    let start = p * PART;
                    let n = PART.min(layout.inner - start);
                    let at = layout.kept.offset(r) + start;
                    let acc = fold_run(x, at, n, &fold, (fold.widen)(fold.identity));
                    // SAFETY: the scratch memory holds `results * parts` accumulators; each task has its own.
                    #[allow(unsafe_code)]
                    unsafe {
                        *partial.at(task) = acc;
                    }
                }
            });
        }
        parallel_grain(results, (PART / total.max(1)).max(1), |range| {
            for r in range {
                let mut acc = (fold.widen)(fold.identity);
                if parts > 1 {
                    for p in 0..parts {
                        // SAFETY: written above.
                        #[allow(unsafe_code)]
                        let part = unsafe { *partial.at(r * parts + p) };
                        acc = (fold.combine)(acc, part);
                    }
                } else {
                    let base = layout.kept.offset(r);
                    for row in 0..rows {
                        acc = fold_run(x, base + layout.reduced.offset(row), layout.inner, &fold, acc);
                    }
                }
                // SAFETY: each task writes its own results.
                #[allow(unsafe_code)]
                unsafe {
                    *y.at(r) = S::store((fold.finish)(acc, total));
                }
            }
        });
    });
    kernel.scratch(if parts > 1 { results * parts * size_of::<A>() } else { 0 }).flops(flops)
}

/// Innermost dimension kept: tiles of columns, rows added into them; long columns in parts that are combined in order.
fn columns<S: Stored<T>, T: Lane, A: Lane>(layout: Layout, fold: Fold<T, A>) -> Kernel {
    let outer = layout.kept.count();
    let rows = layout.reduced.count();
    let inner = layout.inner;
    let tiles = inner.div_ceil(TILE);
    let parts = if outer * tiles < 8 { (rows * inner.min(TILE) / PART).clamp(1, 16) } else { 1 };
    let rows_each = rows.div_ceil(parts).max(1);
    let flops = (outer * rows * inner) as u64;
    let kernel = Kernel::compute(move |call| {
        let x = Source::<S>::of(&call.inputs[0]);
        let partial = Target::<A>::of_slice(call.scratch);
        let y = Target::<S>::of(&mut call.outputs[0]);
        let grain = if parts > 1 { 1 } else { (PART / (rows * inner.min(TILE)).max(1)).max(1) };
        parallel_grain(outer * parts * tiles, grain, |range| {
            for task in range {
                let (tile, rest) = (task % tiles, task / tiles);
                let (part, o) = (rest % parts, rest / parts);
                let column = tile * TILE;
                let n = TILE.min(inner - column);
                let span = (part * rows_each).min(rows)..((part + 1) * rows_each).min(rows);
                let at = layout.kept.offset(o) + column;
                let acc = tile_of(x, at, n, span, &layout.reduced, &fold);
                for (i, &a) in acc[..n].iter().enumerate() {
                    // SAFETY: each task writes its own accumulators or results.
                    #[allow(unsafe_code)]
                    unsafe {
                        if parts > 1 {
                            *partial.at((o * parts + part) * inner + column + i) = a;
                        } else {
                            *y.at(o * inner + column + i) = S::store((fold.finish)(a, rows));
                        }
                    }
                }
            }
        });
        if parts > 1 {
            for i in 0..outer * inner {
                let (o, column) = (i / inner, i % inner);
                let mut acc = (fold.widen)(fold.identity);
                for part in 0..parts {
                    // SAFETY: written above.
                    #[allow(unsafe_code)]
                    let a = unsafe { *partial.at((o * parts + part) * inner + column) };
                    acc = (fold.combine)(acc, a);
                }
                // SAFETY: within the output.
                #[allow(unsafe_code)]
                unsafe {
                    *y.at(i) = S::store((fold.finish)(acc, rows));
                }
            }
        }
    });
    kernel.scratch(if parts > 1 { outer * parts * inner * size_of::<A>() } else { 0 }).flops(flops)
}

/// Folds rows `span` of `n` columns from `at` on.
#[allow(unsafe_code)]
fn tile_of<S: Stored<T>, T: Lane, A: Lane>(
    x: Source<S>,
    at: usize,
    n: usize,
    span: std::ops::Range<usize>,
    reduced: &Dimensions,
    fold: &Fold<T, A>,
) -> [A; TILE] {
    let mut acc = [(fold.widen)(fold.identity); TILE];
    let mut converted = [T::default(); TILE];
    for start in span.clone().step_by(ROWS) {
        let mut tile = [fold.identity; TILE];
        for row in start..span.end.min(start + ROWS) {
            let from = at + reduced.offset(row);
            if S::SAME {
                // SAFETY: S = T, and the row lies within the buffer.
                let row = unsafe { std::slice::from_raw_parts(x.at(from).cast::<T>(), n) };
                (fold.row)(&mut tile[..n], row);
            } else {
                for (i, c) in converted[..n].iter_mut().enumerate() {
                    // SAFETY: within the row.
                    *c = unsafe { *x.at(from + i) }.load();
                }
                (fold.row)(&mut tile[..n], &converted[..n]);
            }
        }
        for (a, &t) in acc[..n].iter_mut().zip(&tile) {
            *a = (fold.combine)(*a, (fold.widen)(t));
        }
    }
    acc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_joins_alike_dimensions() {
        let l = Layout::new(&[4, 1, 5, 6, 7], &[true, false, true, false, false]);
        assert!(!l.inner_reduced && l.inner == 42 && l.reduced.0[..] == [(20, 42)] && l.kept.0.is_empty());
        let l = Layout::new(&[2, 3, 4], &[true, false, true]);
        assert!(l.inner_reduced && l.inner == 4 && l.reduced.0[..] == [(2, 12)] && l.kept.0[..] == [(3, 4)]);
    }
}
