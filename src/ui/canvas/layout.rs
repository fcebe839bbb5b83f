//! A finished layout: cards and boxes in their places, wires between them, and where to find them.

use std::collections::HashMap;

use crate::session::Overview;
use crate::session::overview::ValueRow;

use super::grid::Grid;

/// Wires without bends that are longer than this would cross everything between: they are drawn as stubs.
const STUB_LENGTH: f32 = 900.0;
/// Wires of one thing from which on all its long ones are stubs too, bends or not.
const MANY_WIRES: usize = 24;

/// What a card or box stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Item {
    Node(usize),
    Scope(usize),
    Site(usize),
}

/// A card or box in its place.
#[derive(Clone, Debug)]
pub struct Placed {
    pub item: Item,
    pub min: [f32; 2],
    pub size: [f32; 2],
    /// An open scope; its content is placed too, later in the list.
    pub is_open: bool,
    /// Constants that are drawn as chips, as indices into the overview's constants.
    pub chips: Vec<usize>,
    pub parent: Option<usize>,
}

/// A value on its way: the node that computes it, and which of that node's outputs it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    pub node: usize,
    pub output: usize,
}

impl Flow {
    /// What the value is called; `None` for an output that the node does not list.
    pub fn row(self, overview: &Overview) -> Option<&ValueRow> {
        overview.nodes.get(self.node)?.outputs.get(self.output)
    }
}

/// A bundle of edges between two shown things.
#[derive(Clone, Debug)]
pub struct Wire {
    /// Indices of placed things.
    pub from: usize,
    pub to: usize,
    pub points: Vec<[f32; 2]>,
    /// What flows: each value once, in order of the nodes.
    pub values: Vec<Flow>,
    /// The same in words, for the tooltip: shape of the one value, or how many.
    pub label: String,
    /// Only its ends are drawn: it is too long, or one of very many.
    pub is_stub: bool,
    /// Only the file has it; edits took it out.
    pub is_lost: bool,
    /// Edits put it in.
    pub is_gained: bool,
}

/// Everything placed, parents before children.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    pub placed: Vec<Placed>,
    pub wires: Vec<Wire>,
    pub size: [f32; 2],
    /// Edges go from left to right.
    pub is_sideways: bool,
    /// For each node the placed thing that shows it (a closed scope, a site, the reader of a constant).
    pub shown_by: Vec<Option<usize>>,
    pub by_item: HashMap<Item, usize>,
    /// For each placed thing the wires that end or begin at it.
    pub wires_into: Vec<Vec<u32>>,
    pub wires_out_of: Vec<Vec<u32>>,
    /// Where placed things and wires are.
    pub grid: Grid,
    pub wire_grid: Grid,
}

impl Layout {
    /// A placed thing and what holds it, innermost first.
    pub fn holders(&self, i: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(Some(i), |&i| self.placed[i].parent)
    }

    /// The ends of the wire that stands for an edge between two placed things: those of their holders that lie in the
    /// same box. `None` where one holds the other.
    pub fn lift(&self, from: usize, to: usize) -> Option<(usize, usize)> {
        let up = |i: usize| {
            let mut path: Vec<usize> = self.holders(i).collect();
            path.reverse();
            path
        };
        let (a, b) = (up(from), up(to));
        let same = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
        Some((*a.get(same)?, *b.get(same)?))
    }

    /// The wire between two placed things.
    pub fn wire_between(&self, from: usize, to: usize) -> Option<usize> {
        let out = self.wires_out_of.get(from)?;
        out.iter().map(|&w| w as usize).find(|&w| self.wires[w].to == to)
    }

    /// The wires that carry a value, box by box.
    pub fn wires_with(&self, flow: Flow) -> impl Iterator<Item = usize> + '_ {
        let at = self.shown_by.get(flow.node).copied().flatten();
        let out = at.into_iter().flat_map(|at| self.holders(at)).flat_map(|i| &self.wires_out_of[i]);
        out.map(|&w| w as usize).filter(move |&w| self.wires[w].values.contains(&flow))
    }

    pub(super) fn index(&mut self) {
        self.by_item = self.placed.iter().enumerate().map(|(i, p)| (p.item, i)).collect();
        self.wires_into = vec![Vec::new(); self.placed.len()];
        self.wires_out_of = vec![Vec::new(); self.placed.len()];
        for (i, w) in self.wires.iter().enumerate() {
            self.wires_out_of[w.from].push(i as u32);
            self.wires_into[w.to].push(i as u32);
        }
        let far = |p: &Placed| [p.min[0] + p.size[0], p.min[1] + p.size[1]];
        self.grid = Grid::new(self.placed.iter().map(|p| (p.min, far(p))).collect());
        let bounds = |w: &Wire| {
            let fold = |f: fn(f32, f32) -> f32, start: f32| {
                w.points.iter().fold([start; 2], |a, p| [f(a[0], p[0]), f(a[1], p[1])])
            };
            (fold(f32::min, f32::INFINITY), fold(f32::max, f32::NEG_INFINITY))
        };
        self.wire_grid = Grid::new(self.wires.iter().map(bounds).collect());
        self.find_stubs();
    }

    fn find_stubs(&mut self) {
        for i in 0..self.wires.len() {
            let w = &self.wires[i];
            let (Some(a), Some(b)) = (w.points.first(), w.points.last()) else { continue };
            let is_long = (b[1] - a[1]).abs().max((b[0] - a[0]).abs()) > STUB_LENGTH;
            let is_many = self.wires_out_of[w.from].len() >= MANY_WIRES;
            self.wires[i].is_stub = is_long && (w.points.len() == 2 || is_many);
        }
    }
}
