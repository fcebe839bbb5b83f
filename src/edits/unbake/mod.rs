//! Frees sizes that an export fixed: a batch of 4, a length of 32. Placeholders get unknown dimensions there, and constants
//! that repeat the sizes (shapes of reshapes and samplers, blocks of ones, ends of slices) are computed from the placeholders.
//!
//! Which constants these are follows from shapes alone. The program is walked with other sizes, large primes, so that each
//! dimension tells which sizes it is a product of. Where two things do not fit any more, one of them repeats a size: a
//! reshape by its own target ([`terms::align`]), anything else by following the dimension back to where it comes from
//! ([`demand`]). Order of reading: [`terms`], [`walk`], [`demand`], [`write`].

mod demand;
mod terms;
mod walk;
mod write;

use std::collections::BTreeMap;

use crate::graph::{Graph, GraphPatch, NodeKind, ValueKey};
use crate::lower::{self, Dialect};
use crate::tensor::{DType, PartialShape};

use terms::Sizes;

/// Which sizes become free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    pub batch: bool,
    pub length: bool,
}

/// Why a size cannot be freed: where it is repeated, and what does not follow it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnbakeError(pub String);

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Unbaked {
    pub patch: GraphPatch,
    /// The sizes that the file fixes, where they were freed.
    pub batch: Option<usize>,
    pub length: Option<usize>,
    /// The longest length that every table of positions has.
    pub longest: Option<usize>,
}

/// A placeholder axis that stands for a size.
#[derive(Clone, Debug)]
struct Axes {
    key: ValueKey,
    dtype: DType,
    batch: Option<usize>,
    length: Option<usize>,
}

/// The patch that frees the sizes of `free` that the file fixes. Errors: none is fixed, or a constant that repeats one cannot
/// be computed.
pub fn unbake(graph: &Graph, dialect: &dyn Dialect, free: Free) -> Result<Unbaked, UnbakeError> {
    let (axes, sizes) = fixed(graph, free)?;
    let shapes = freed_shapes(graph, &axes);
    let patch = GraphPatch { shapes, ..GraphPatch::default() };
    let spelled = lower::spell(&patch.apply(graph), dialect);
    let solved = walk::solve(graph, &spelled.program, &sizes)?;
    let mut out = write::patch(graph, dialect, &spelled.program, &axes, &solved)?;
    out.shapes = patch.shapes;
    let freed = lower::spell(&out.apply(graph), dialect);
    walk::check(graph, &freed.program, &sizes)?;
    Ok(Unbaked {
        patch: out,
        batch: sizes.batch.map(|s| s.now),
        length: sizes.length.map(|s| s.now),
        longest: solved.longest,
    })
}

/// The sizes that most placeholders share, and where they stand.
fn fixed(graph: &Graph, free: Free) -> Result<(Vec<Axes>, Sizes), UnbakeError> {
    let inputs: Vec<_> = graph.placeholders().map(|v| graph.value(v)).collect();
    let common = |axis: usize, least_rank: usize| -> Option<usize> {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for value in inputs.iter().filter(|v| v.fact.rank().is_some_and(|r| r >= least_rank)) {
            if let Some(n) = value.fact.shape.dim(axis) {
                *counts.entry(n).or_default() += 1;
            }
        }
        counts.into_iter().max_by_key(|(n, count)| (*count, *n)).map(|(n, _)| n)
    };
    let batch = common(0, 1).filter(|_| free.batch);
    let length = common(1, 2).filter(|n| free.length && *n > 1);
    if batch.is_none() && length.is_none() {
        return Err(UnbakeError("no placeholder of this model fixes such a size: there is nothing to free".to_owned()));
    }
    let axes = inputs.iter().map(|value| {
        let has = |axis: usize, size: Option<usize>| size.is_some() && value.fact.shape.dim(axis) == size;
        Axes {
            key: value.key.clone(),
            dtype: value.fact.dtype,
            batch: has(0, batch).then_some(0),
            length: has(1, length).then_some(1),
        }
    });
    let axes = axes.filter(|a| a.batch.is_some() || a.length.is_some()).collect();
    Ok((axes, Sizes::new(batch, length)))
}

fn freed_shapes(graph: &Graph, axes: &[Axes]) -> indexmap::IndexMap<ValueKey, PartialShape> {
    let shape = |a: &Axes| {
        let value = graph.value(graph.value_named(a.key.as_str())?);
        debug_assert_eq!(graph.node(value.producer).kind, NodeKind::Placeholder);
        let dims = value.fact.shape.partial()?.iter().enumerate();
        let dims = dims.map(|(i, d)| if a.batch == Some(i) || a.length == Some(i) { None } else { *d });
        Some((a.key.clone(), PartialShape::from_partial(dims)))
    };
    axes.iter().filter_map(shape).collect()
}
