//! Runs a block function (a vectorised loop over at most [`BLOCK`] lanes, or over a whole contiguous range) over buffers of
//! any storage type, with broadcasting, in parallel, also in place.

use std::ops::Range;

use crate::ops::simd::parallel;
use crate::program::Kernel;

use super::stored::{Lane, Source, Stored, Target, load_block, store_block};
use super::walk::Walk;

/// Lanes of one block: small enough for the first-level cache, large enough to hide the indirect call.
pub const BLOCK: usize = 512;

/// `y[i] = f(x[i])`; both slices have equal length.
pub type UnaryBlock<T, O> = fn(&[T], &mut [O]);
/// `y[i] = f(a[i], b[i])`; an operand of length 1 is repeated.
pub type BinaryBlock<T, O> = fn(&[T], &[T], &mut [O]);

/// A kernel of one input over `n` elements, each costing about `cost` nanoseconds / 4.
pub fn unary<S, T, P, O>(block: UnaryBlock<T, O>, n: usize, cost: usize) -> Kernel
where
    S: Stored<T>,
    T: Lane,
    P: Stored<O>,
    O: Lane,
{
    let kernel = Kernel::compute(move |call| {
        let x = Source::<S>::of(&call.inputs[0]);
        let aliased = call.aliased(0, 0);
        let y = Target::<P>::of(&mut call.outputs[0]);
        parallel(n, cost, |range| unary_range::<S, T, P, O>(block, x, y, range, aliased));
    })
    .flops((n * cost) as u64);
    if size_of::<S>() == size_of::<P>() { kernel.in_place(&[(0, 0)]) } else { kernel }
}

#[allow(unsafe_code)]
fn unary_range<S, T, P, O>(block: UnaryBlock<T, O>, x: Source<S>, y: Target<P>, range: Range<usize>, aliased: bool)
where
    S: Stored<T>,
    T: Lane,
    P: Stored<O>,
    O: Lane,
{
    if S::SAME && P::SAME && !aliased {
        let n = range.len();
        // SAFETY: S = T and P = O; the range lies within both buffers, which do not overlap.
        let (x, y) = unsafe {
            (
                std::slice::from_raw_parts(x.at(range.start).cast::<T>(), n),
                std::slice::from_raw_parts_mut(y.at(range.start).cast::<O>(), n),
            )
        };
        return block(x, y);
    }
    if S::SAME && P::SAME {
        let mut copy = [T::default(); BLOCK];
        for start in range.clone().step_by(BLOCK) {
            let n = BLOCK.min(range.end - start);
            // SAFETY: S = T and P = O; the block is copied before its memory is written.
            let y = unsafe {
                std::ptr::copy_nonoverlapping(x.at(start).cast::<T>(), copy.as_mut_ptr(), n);
                std::slice::from_raw_parts_mut(y.at(start).cast::<O>(), n)
            };
            block(&copy[..n], y);
        }
        return;
    }
    let mut a = [T::default(); BLOCK];
    let mut o = [O::default(); BLOCK];
    for start in range.clone().step_by(BLOCK) {
        let n = BLOCK.min(range.end - start);
        // SAFETY: within both buffers; each element is read before it is written.
        unsafe {
            load_block(x.at(start), &mut a[..n]);
            block(&a[..n], &mut o[..n]);
            store_block(&o[..n], y.at(start));
        }
    }
}

/// A kernel of two inputs that broadcast to `out`.
pub fn binary<S, T, P, O>(block: BinaryBlock<T, O>, a: &[usize], b: &[usize], out: &[usize], cost: usize) -> Kernel
where
    S: Stored<T>,
    T: Lane,
    P: Stored<O>,
    O: Lane,
{
    let walk = Walk::new(out, [a, b]);
    let n = walk.count();
    let pairs: &'static [(usize, usize)] = match (size_of::<S>() == size_of::<P>(), a == out, b == out) {
        (true, true, true) => &[(0, 0), (1, 0)],
        (true, true, false) => &[(0, 0)],
        (true, false, true) => &[(1, 0)],
        _ => &[],
    };
    Kernel::compute(move |call| {
        let sources = [Source::<S>::of(&call.inputs[0]), Source::<S>::of(&call.inputs[1])];
        let aliased = [call.aliased(0, 0), call.aliased(1, 0)];
        let out = Target::<P>::of(&mut call.outputs[0]);
        parallel(n, cost, |range| {
            if walk.inner() < 64 && walk.inner() < n {
                gathered::<S, T, P, O>(block, &walk, sources, out, range);
            } else {
                walk.runs(range, |at, n, from| {
                    run::<S, T, P, O>(block, &walk, sources, out, (at, n, from), aliased);
                });
            }
        });
    })
    .in_place(pairs)
    .flops((n * cost) as u64)
}

/// One long run.
#[allow(unsafe_code)]
fn run<S, T, P, O>(
    block: BinaryBlock<T, O>,
    walk: &Walk<2>,
    sources: [Source<S>; 2],
    out: Target<P>,
    (at, n, from): (usize, usize, [usize; 2]),
    aliased: [bool; 2],
) where
    S: Stored<T>,
    T: Lane,
    P: Stored<O>,
    O: Lane,
{
    let count = |k: usize| if walk.advances(k) { n } else { 1 };
    let same = S::SAME && P::SAME;
    if same && aliased == [false, false] {
        // SAFETY: S = T and P = O; runs lie within the buffers, and the output overlaps no input.
        let (a, b, y) = unsafe {
            (
                std::slice::from_raw_parts(sources[0].at(from[0]).cast::<T>(), count(0)),
                std::slice::from_raw_parts(sources[1].at(from[1]).cast::<T>(), count(1)),
                std::slice::from_raw_parts_mut(out.at(at).cast::<O>(), n),
            )
        };
        return block(a, b, y);
    }
    let mut a = [T::default(); BLOCK];
    let mut b = [T::default(); BLOCK];
    let mut o = [O::default(); BLOCK];
    for start in (0..n).step_by(BLOCK) {
        let len = BLOCK.min(n - start);
        let part = |k: usize| if walk.advances(k) { (from[k] + start, len) } else { (from[k], 1) };
        let ((ia, na), (ib, nb)) = (part(0), part(1));
        if same {
            let a = operand::<S, T>(sources[0], ia, na, aliased[0], &mut a);
            let b = operand::<S, T>(sources[1], ib, nb, aliased[1], &mut b);
            // SAFETY: P = O; what shares memory with this block was copied.
            let y = unsafe { std::slice::from_raw_parts_mut(out.at(at + start).cast::<O>(), len) };
            block(a, b, y);
            continue;
        }
        // SAFETY: within the buffers; each block is read before it is written.
        unsafe {
            load_block(sources[0].at(ia), &mut a[..na]);
            load_block(sources[1].at(ib), &mut b[..nb]);
            block(&a[..na], &b[..nb], &mut o[..len]);
            store_block(&o[..len], out.at(at + start));
        }
    }
}

/// A block of an operand whose storage is its lanes: in its place, or copied where the output overwrites it.
#[allow(unsafe_code)]
fn operand<'a, S: Stored<T>, T: Lane>(
    source: Source<S>,
    at: usize,
    n: usize,
    aliased: bool,
    copy: &'a mut [T; BLOCK],
) -> &'a [T] {
    // SAFETY: S = T; the caller's block lies within the buffer, which outlives the call.
    let lanes: &'a [T] = unsafe { std::slice::from_raw_parts(source.at(at).cast::<T>(), n) };
    if !aliased {
        return lanes;
    }
    copy[..n].copy_from_slice(lanes);
    &copy[..n]
}

/// Many short runs: operands are gathered into full blocks first.
#[allow(unsafe_code)]
fn gathered<S, T, P, O>(
    block: BinaryBlock<T, O>,
    walk: &Walk<2>,
    sources: [Source<S>; 2],
    out: Target<P>,
    range: Range<usize>,
) where
    S: Stored<T>,
    T: Lane,
    P: Stored<O>,
    O: Lane,
{
    let mut a = [T::default(); BLOCK];
    let mut b = [T::default(); BLOCK];
    let mut o = [O::default(); BLOCK];
    let steps = [usize::from(walk.advances(0)), usize::from(walk.advances(1))];
    for start in range.clone().step_by(BLOCK) {
        let end = range.end.min(start + BLOCK);
        walk.runs(start..end, |at, n, from| {
            for i in 0..n {
                // SAFETY: within the buffers.
                unsafe {
                    a[at - start + i] = (*sources[0].at(from[0] + i * steps[0])).load();
                    b[at - start + i] = (*sources[1].at(from[1] + i * steps[1])).load();
                }
            }
        });
        let n = end - start;
        block(&a[..n], &b[..n], &mut o[..n]);
        // SAFETY: within the buffer; in place pairs have the output's shape, so that this block has read what it overwrites.
        unsafe { store_block(&o[..n], out.at(start)) };
    }
}
