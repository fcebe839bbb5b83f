//! Working memory: the arena that the plans of a run share, and where in it each buffer lies.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use crate::tensor::Tensor;

use super::EngineError;

/// Buffers start at multiples of this, a cache line and a vector of the widest instruction set.
pub const ALIGN: usize = 64;

/// Zeroed memory that the system commits page by page as it is touched.
struct Arena {
    start: NonNull<u8>,
    layout: Layout,
}

#[allow(unsafe_code)]
impl Arena {
    /// `None` where the system has not that much.
    fn new(bytes: usize) -> Option<Self> {
        let layout = Layout::from_size_align(bytes.max(ALIGN), ALIGN).ok()?;
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        advise_huge_pages(start.as_ptr() as usize, layout.size());
        Some(Self { start, layout })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the memory is ours, initialised with zeros, and only written through `Workspace::base` by a run, which
        // borrows the workspace mutably.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.layout.size()) }
    }
}

#[allow(unsafe_code)]
impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

// SAFETY: plain memory with one owner.
#[allow(unsafe_code)]
unsafe impl Send for Arena {}
// SAFETY: shared access only reads.
#[allow(unsafe_code)]
unsafe impl Sync for Arena {}

/// The arena, and the outputs of programs that run without a plan. One per thread that runs; grows to the largest plan.
#[derive(Default)]
pub struct Workspace {
    arena: Option<Arena>,
    pub(super) outputs: Vec<Tensor>,
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "workspace of {} bytes", self.bytes())
    }
}

impl Workspace {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn bytes(&self) -> usize {
        self.arena.as_ref().map_or(0, |a| a.layout.size())
    }

    /// Makes room for `bytes`; pages are committed by the system when they are first touched.
    pub(super) fn reserve(&mut self, bytes: usize) -> Result<(), EngineError> {
        if self.arena.is_some() && self.bytes() >= bytes {
            return Ok(());
        }
        // The old arena goes first: its contents are not needed, and both may not fit.
        self.arena = None;
        self.arena = Some(Arena::new(bytes).ok_or(EngineError::Memory { needed: bytes })?);
        Ok(())
    }

    /// Start of the arena; dangling before the first [`Self::reserve`].
    pub(super) fn base(&mut self) -> *mut u8 {
        self.arena.as_ref().map_or(NonNull::dangling().as_ptr(), |a| a.start.as_ptr())
    }

    pub(super) fn slice(&self, offset: usize, bytes: usize) -> &[u8] {
        self.arena.as_ref().and_then(|a| a.bytes().get(offset..offset + bytes)).unwrap_or(&[])
    }
}

/// Large pages save address translations in an arena of gigabytes; a hint only.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn advise_huge_pages(start: usize, bytes: usize) {
    const HUGE: usize = 2 << 20;
    let (first, end) = (start.next_multiple_of(HUGE), (start + bytes) / HUGE * HUGE);
    if end > first {
        // SAFETY: the range lies within memory that the caller owns; the advice changes no contents.
        let _ = unsafe { libc::madvise(first as *mut libc::c_void, end - first, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn advise_huge_pages(_: usize, _: usize) {}

/// A buffer to be placed: needed from step `start` to step `end`, both included.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    pub bytes: usize,
    pub start: usize,
    pub end: usize,
}

/// Offsets of all buffers so that no two that are needed at the same time overlap, and the size of the whole.
///
/// Greedy by size (largest first, each at the lowest place that is free for its lifetime), which on networks comes within a
/// few percent of the lower bound; see Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference".
pub fn place(buffers: &[Lifetime]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..buffers.len()).filter(|&i| buffers[i].bytes > 0).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(buffers[i].bytes), i));
    let mut offsets = vec![0; buffers.len()];
    let mut total = 0;
    // Placed buffers in order of their offset.
    let mut placed: Vec<usize> = Vec::with_capacity(order.len());
    for &i in &order {
        let b = buffers[i];
        let need = b.bytes.next_multiple_of(ALIGN);
        let (mut at, mut best): (usize, Option<(usize, usize)>) = (0, None);
        for &p in &placed {
            let o = &buffers[p];
            if o.start > b.end || o.end < b.start {
                continue;
            }
            if offsets[p] >= at + need {
                // The tightest gap that is large enough.
                let gap = offsets[p] - at;
                if best.is_none_or(|(g, _)| gap < g) {
                    best = Some((gap, at));
                }
            }
            at = at.max(offsets[p] + o.bytes.next_multiple_of(ALIGN));
        }
        offsets[i] = best.map_or(at, |(_, at)| at);
        total = total.max(offsets[i] + need);
        let position = placed.partition_point(|&p| offsets[p] <= offsets[i]);
        placed.insert(position, i);
    }
    (offsets, total)
}

/// The most bytes that are needed at one time: what no placement can go below.
pub fn lower_bound(buffers: &[Lifetime]) -> usize {
    let steps = buffers.iter().map(|b| b.end + 1).max().unwrap_or(0);
    let mut change = vec![0i64; steps + 1];
    for b in buffers {
        change[b.start] += b.bytes as i64;
        change[b.end + 1] -= b.bytes as i64;
    }
    let (mut now, mut most) = (0i64, 0i64);
    for c in change {
        now += c;
        most = most.max(now);
    }
    most as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_that_live_together_never_overlap() {
        // A small linear congruential sequence makes many shapes of lifetimes.
        let mut state = 1u64;
        let mut next = |n: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        };
        for _ in 0..50 {
            let buffers: Vec<Lifetime> = (0..60)
                .map(|_| {
                    let start = next(40);
                    Lifetime { bytes: next(5000), start, end: start + next(12) }
                })
                .collect();
            let (at, total) = place(&buffers);
            for (i, a) in buffers.iter().enumerate() {
                assert!(at[i] + a.bytes <= total || a.bytes == 0);
                assert_eq!(at[i] % ALIGN, 0);
                for (j, b) in buffers.iter().enumerate().skip(i + 1) {
                    let together = a.start <= b.end && b.start <= a.end;
                    let apart = at[i] + a.bytes <= at[j] || at[j] + b.bytes <= at[i];
                    assert!(!together || apart || a.bytes == 0 || b.bytes == 0, "{a:?} {b:?}");
                }
            }
            assert!(total >= lower_bound(&buffers));
        }
    }

    #[test]
    fn a_chain_needs_two_buffers() {
        let buffers: Vec<Lifetime> = (0..10).map(|i| Lifetime { bytes: 1024, start: i, end: i + 1 }).collect();
        assert_eq!(place(&buffers).1, 2048);
    }
}
