//! The canvas by keyboard: from a card along its wires, and sideways among its neighbours.

use super::layout::Layout;

/// Where an arrow key goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Up,
    Down,
    Left,
    Right,
}

impl Direction {
    /// What a key means where edges go to the right: right follows them, down goes to the next beside.
    fn turned(self) -> Self {
        match self {
            Self::Up => Self::Left,
            Self::Down => Self::Right,
            Self::Left => Self::Up,
            Self::Right => Self::Down,
        }
    }
}

/// The thing that an arrow key leads to: up and down follow wires (into an open box, out of it at its ends), left and
/// right go to the next thing beside it in the same box (turned around where edges go to the right). Without a start, the topmost thing.
pub fn neighbour(layout: &Layout, from: Option<usize>, direction: Direction) -> Option<usize> {
    let Some(from) = from else {
        let top = |i: &usize| (layout.placed[*i].min[1], layout.placed[*i].min[0]);
        return (0..layout.placed.len()).filter(|&i| layout.placed[i].parent.is_none()).min_by(|a, b| {
            let (a, b) = (top(a), top(b));
            a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
        });
    };
    let direction = if layout.is_sideways { direction.turned() } else { direction };
    match direction {
        Direction::Down if layout.placed[from].is_open => edge_child(layout, from, true),
        Direction::Down => along(layout, from, true).or_else(|| beyond(layout, from, true)),
        Direction::Up => along(layout, from, false)
            .map(|to| if layout.placed[to].is_open { edge_child(layout, to, false).unwrap_or(to) } else { to })
            .or(layout.placed[from].parent),
        Direction::Left | Direction::Right => beside(layout, from, direction == Direction::Right),
    }
}

/// The nearest end of a wire.
fn along(layout: &Layout, from: usize, is_down: bool) -> Option<usize> {
    let wires = if is_down { &layout.wires_out_of[from] } else { &layout.wires_into[from] };
    let ends = wires.iter().map(|&w| &layout.wires[w as usize]).map(|w| if is_down { w.to } else { w.from });
    ends.min_by(|&a, &b| distance(layout, from, a).total_cmp(&distance(layout, from, b)))
}

/// Out of a box, along the wires of the box.
fn beyond(layout: &Layout, from: usize, is_down: bool) -> Option<usize> {
    layout.holders(from).skip(1).find_map(|h| along(layout, h, is_down))
}

/// The first or last thing in a box.
fn edge_child(layout: &Layout, parent: usize, is_first: bool) -> Option<usize> {
    let children = (0..layout.placed.len()).filter(|&i| layout.placed[i].parent == Some(parent));
    let y = |i: &usize| layout.placed[*i].min[usize::from(!layout.is_sideways)];
    if is_first { children.min_by(|a, b| y(a).total_cmp(&y(b))) } else { children.max_by(|a, b| y(a).total_cmp(&y(b))) }
}

/// The next thing to a side in the same box, those in the same row first.
fn beside(layout: &Layout, from: usize, is_right: bool) -> Option<usize> {
    let p = &layout.placed[from];
    let across = usize::from(layout.is_sideways);
    let center = |i: usize| {
        let q = &layout.placed[i];
        [across, 1 - across].map(|k| q.min[k] + q.size[k] / 2.0)
    };
    let [x, y] = center(from);
    let cost = |i: usize| {
        let c = center(i);
        (c[0] - x).abs() + 4.0 * (c[1] - y).abs()
    };
    (0..layout.placed.len())
        .filter(|&i| i != from && layout.placed[i].parent == p.parent)
        .filter(|&i| if is_right { center(i)[0] > x + 1.0 } else { center(i)[0] < x - 1.0 })
        .min_by(|&a, &b| cost(a).total_cmp(&cost(b)))
}

fn distance(layout: &Layout, a: usize, b: usize) -> f32 {
    let (p, q) = (&layout.placed[a], &layout.placed[b]);
    let dx = (p.min[0] + p.size[0] / 2.0) - (q.min[0] + q.size[0] / 2.0);
    let dy = (p.min[1] + p.size[1] / 2.0) - (q.min[1] + q.size[1] / 2.0);
    dx.abs() + dy.abs()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::base::CancelToken;
    use crate::ui::canvas::fold::{View, layout};
    use crate::ui::canvas::layout::Item;
    use crate::ui::canvas::shown::Shown;
    use crate::ui::index::Index;
    use crate::ui::sample;

    #[test]
    fn arrows_walk_from_the_input_to_the_loss_and_back() {
        let o = Arc::new(sample::overview());
        let index = Arc::new(Index::new(&o));
        let scope = |name: &str| index.scopes.named(name).unwrap();
        let view = View {
            open: BTreeSet::from([0, scope("encoder"), scope("encoder/dense"), scope("loss")]),
            ..View::default()
        };
        let shown = Shown::plain(o.clone(), index.clone());
        let l = layout(&shown, &view, &CancelToken::default()).unwrap();
        let at = |name: &str| l.by_item[&Item::Node(index.node(name).unwrap())];
        let box_of = |name: &str| l.by_item[&Item::Scope(scope(name))];
        assert!(neighbour(&l, None, Direction::Down).is_some());
        let mut seen = vec![at("input")];
        for _ in 0..12 {
            let Some(next) = neighbour(&l, seen.last().copied(), Direction::Down) else { break };
            seen.push(next);
        }
        for want in [box_of("encoder"), at("encoder/dense/MatMul"), at("encoder/dense/BiasAdd"), at("loss/Mean")] {
            assert!(seen.contains(&want), "{:?}", l.placed[want].item);
        }
        let mut back = vec![at("loss/Mean")];
        for _ in 0..12 {
            let Some(next) = neighbour(&l, back.last().copied(), Direction::Up) else { break };
            back.push(next);
        }
        assert!(back.contains(&at("encoder/dense/MatMul")) && back.contains(&at("input")));
    }
}
