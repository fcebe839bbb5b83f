//! The graph as it is shown: name scopes folded into boxes, constants as chips on their readers, dropout sites as one
//! card. Open scopes are laid out inside out, each as a box in its parent, so that nothing ever overlaps.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::base::CancelToken;
use crate::session::Overview;
use crate::ui::index::Index;
use crate::ui::text;

use super::layered::layered;
use super::layout::{Flow, Item, Layout, Placed, Wire};
use super::shown::Shown;

/// Room of an open scope around its content, and for its title.
const PAD: f32 = 16.0;
const TITLE: f32 = 26.0;
/// Scopes open by themselves until about this many things are shown.
const N_AUTO: usize = 48;
/// Chips that a card shows; the rest is a count.
pub const MAX_CHIPS: usize = 3;
pub const CHIP_HEIGHT: f32 = 18.0;
/// Identities in a row that a constant may be read through.
const MAX_IDENTITIES: usize = 4;

/// What a layout depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    pub open: BTreeSet<usize>,
    /// Dropout sites whose members are shown one by one.
    pub expanded_sites: BTreeSet<usize>,
    /// From left to right instead of from top to bottom.
    pub is_sideways: bool,
}

/// The scopes that open by themselves: level by level, largest first, while the picture stays readable.
pub fn default_view(overview: &Overview, index: &Index) -> View {
    let scopes = &index.scopes;
    let hidden = hidden(overview, index);
    // What opening a scope shows, and whether anything is in it at all.
    let contents = |s: usize| {
        let inner = &scopes.all[s];
        inner.children.len() + inner.nodes.iter().filter(|&&n| !hidden[n]).count()
    };
    let mut open = BTreeSet::from([0]);
    let mut shown = contents(0);
    let mut frontier: Vec<usize> = scopes.all[0].children.clone();
    while !frontier.is_empty() {
        frontier.sort_by_key(|&s| std::cmp::Reverse(scopes.all[s].totals.nodes));
        let mut next = Vec::new();
        for s in std::mem::take(&mut frontier) {
            let n = contents(s);
            // A scope around one single thing costs nothing to open.
            if n > 0 && (n == 1 || shown + n - 1 <= N_AUTO) {
                open.insert(s);
                shown += n - 1;
                next.extend(&scopes.all[s].children);
            }
        }
        frontier = next;
    }
    View { open, ..View::default() }
}

/// Nodes that are not drawn themselves: constants, and identities of constants.
fn hidden(overview: &Overview, index: &Index) -> Vec<bool> {
    (0..overview.nodes.len()).map(|n| constant_behind(overview, index, n).is_some()).collect()
}

/// For each scope how many drawn nodes are inside, at any depth.
fn drawn_inside(index: &Index, hidden: &[bool]) -> Vec<usize> {
    let mut out = vec![0; index.scopes.all.len()];
    for (n, _) in hidden.iter().enumerate().filter(|(_, h)| !**h) {
        out[index.scopes.of_node[n]] += 1;
    }
    // Scopes are made after their parents, so going backwards meets every child first.
    for s in (1..out.len()).rev() {
        if let Some(p) = index.scopes.all[s].parent {
            out[p] += out[s];
        }
    }
    out
}

/// The constant that a node holds or only passes on.
pub fn constant_behind(overview: &Overview, index: &Index, mut node: usize) -> Option<usize> {
    for _ in 0..MAX_IDENTITIES {
        if let Some(&c) = index.constant_of_node.get(&node) {
            return Some(c);
        }
        if overview.nodes[node].op != "Identity" || index.inputs[node].len() != 1 {
            return None;
        }
        node = index.inputs[node][0];
    }
    None
}

/// The same view of other rows: scopes by their names, sites by their outputs. Scopes that are new stay closed, but for
/// those that edits put in.
pub fn carried_over(view: &View, from: &Shown, to: &Shown) -> View {
    let (old, new) = (&from.index.scopes, &to.index.scopes);
    let open = view.open.iter().filter_map(|&s| new.named(&old.all.get(s)?.name)).collect();
    let site = |&s: &usize| {
        let output = &from.overview.dropout.get(s)?.output;
        to.overview.dropout.iter().position(|d| d.output == *output)
    };
    let expanded_sites = view.expanded_sites.iter().filter_map(site).collect();
    View { open, expanded_sites, is_sideways: view.is_sideways }
}

/// Opens whatever hides a node.
pub fn reveal(view: &mut View, shown: &Shown, mut node: usize) {
    // A constant is a chip on what reads it, through the identities between them.
    for _ in 0..MAX_IDENTITIES {
        let reader = shown.index.readers[node].first().copied();
        match (constant_behind(&shown.overview, &shown.index, node), reader) {
            (Some(_), Some(reader)) => node = reader,
            _ => break,
        }
    }
    open_up(view, shown, shown.index.scopes.of_node.get(node).copied());
}

/// Opens whatever hides a scope; the scope itself stays as it is.
pub fn reveal_scope(view: &mut View, shown: &Shown, name: &str) {
    let scopes = &shown.index.scopes;
    open_up(view, shown, scopes.named(name).and_then(|s| scopes.all[s].parent));
}

/// Opens a scope and all around it.
fn open_up(view: &mut View, shown: &Shown, mut at: Option<usize>) {
    while let Some(s) = at {
        view.open.insert(s);
        at = shown.index.scopes.all[s].parent;
    }
}

/// Lays the graph out as `view` wants it; `None` when cancelled.
pub fn layout(shown: &Shown, view: &View, cancel: &CancelToken) -> Option<Layout> {
    let mut b = Build::new(shown, view);
    b.assign();
    if cancel.is_cancelled() {
        return None;
    }
    b.connect();
    b.measure(cancel)?;
    Some(b.place())
}

/// The values that a node reads, each once, in the order of its inputs; control edges carry none.
fn flows_into(overview: &Overview, index: &Index, node: usize) -> Vec<Flow> {
    let mut seen = HashSet::new();
    let flow = |name: &String| {
        let node = index.node_of_value(name)?;
        // The first output may be called by its node's name alone.
        let output = overview.nodes[node].outputs.iter().position(|o| o.name == *name).unwrap_or(0);
        Some(Flow { node, output })
    };
    let inputs = overview.nodes[node].inputs.iter().filter(|n| !n.starts_with('^'));
    inputs.filter_map(flow).filter(|f| seen.insert(*f)).collect()
}

/// A container's content while building: 0 is the root.
struct Build<'a> {
    shown: &'a Shown,
    overview: &'a Overview,
    index: &'a Index,
    view: &'a View,
    hidden: Vec<bool>,
    /// Scopes that are shown, closed or open, and cards; in order of appearance.
    items: Vec<Item>,
    parent: Vec<Option<usize>>,
    children: Vec<Vec<usize>>,
    size: Vec<[f32; 2]>,
    /// Offset inside the parent's content.
    at: Vec<[f32; 2]>,
    chips: Vec<Vec<usize>>,
    by_item: HashMap<Item, usize>,
    depth: Vec<usize>,
    /// Scope → the item that stands for it: itself, or the closed one around it.
    by_scope: Vec<Option<usize>>,
    /// Drawn nodes inside each scope, at any depth.
    drawn_inside: Vec<usize>,
    /// Site → the scope that its card stands in.
    scope_of_site: HashMap<usize, usize>,
    /// Node → the item that shows it.
    shows: Vec<Option<usize>>,
    /// Edges by container: (from, to) → what they have in common.
    edges: BTreeMap<usize, BTreeMap<(usize, usize), Bundle>>,
    bends: BTreeMap<usize, Vec<Vec<[f32; 2]>>>,
}

/// Edges that are drawn as one wire.
#[derive(Clone, Debug, Default)]
struct Bundle {
    n: usize,
    values: BTreeSet<Flow>,
    n_lost: usize,
    n_gained: usize,
}

impl<'a> Build<'a> {
    fn new(shown: &'a Shown, view: &'a View) -> Self {
        let (overview, index): (&Overview, &Index) = (&shown.overview, &shown.index);
        let hidden = hidden(overview, index);
        let drawn_inside = drawn_inside(index, &hidden);
        let mut b = Self {
            shown,
            overview,
            index,
            view,
            hidden,
            depth: Vec::new(),
            by_scope: vec![None; index.scopes.all.len()],
            drawn_inside,
            scope_of_site: HashMap::new(),
            items: Vec::new(),
            parent: Vec::new(),
            children: Vec::new(),
            size: Vec::new(),
            at: Vec::new(),
            chips: Vec::new(),
            by_item: HashMap::new(),
            shows: vec![None; overview.nodes.len()],
            edges: BTreeMap::new(),
            bends: BTreeMap::new(),
        };
        b.item(Item::Scope(0), None);
        b
    }

    fn item(&mut self, item: Item, parent: Option<usize>) -> usize {
        if let Some(&i) = self.by_item.get(&item) {
            return i;
        }
        let i = self.items.len();
        self.items.push(item);
        self.depth.push(parent.map_or(0, |p| self.depth[p] + 1));
        self.parent.push(parent);
        self.children.push(Vec::new());
        self.size.push([0.0; 2]);
        self.at.push([0.0; 2]);
        self.chips.push(Vec::new());
        self.by_item.insert(item, i);
        if let Some(p) = parent {
            self.children[p].push(i);
        }
        i
    }

    /// The item of a scope, which is made with its parents; a closed one stands for everything inside.
    fn scope_item(&mut self, scope: usize) -> usize {
        if let Some(i) = self.by_scope[scope] {
            return i;
        }
        let mut chain = vec![scope];
        while let Some(p) = self.index.scopes.all[chain[chain.len() - 1]].parent {
            chain.push(p);
        }
        let mut at = 0;
        for s in chain.into_iter().rev().skip(1) {
            if self.is_open(at) {
                at = self.item(Item::Scope(s), Some(at));
            }
            self.by_scope[s] = Some(at);
        }
        self.by_scope[scope] = Some(at);
        at
    }

    /// Where a site's card stands: beside what surrounds all of it, so that scopes that hold nothing else do not show.
    fn site_scope(&mut self, site: usize, member: usize) -> usize {
        if let Some(&s) = self.scope_of_site.get(&site) {
            return s;
        }
        let row = &self.overview.dropout[site];
        let scopes = &self.index.scopes;
        let mut members_inside: HashMap<usize, usize> = HashMap::new();
        for n in row.nodes.iter().filter_map(|n| self.index.node(n)).filter(|&n| !self.hidden[n]) {
            let mut at = Some(scopes.of_node[n]);
            while let Some(s) = at {
                *members_inside.entry(s).or_default() += 1;
                at = scopes.all[s].parent;
            }
        }
        let mut at = scopes.of_node[self.index.node_of_value(&row.output).unwrap_or(member)];
        let holds_only_members = |s: usize| members_inside.get(&s) == Some(&self.drawn_inside[s]);
        while let Some(parent) = scopes.all[at].parent.filter(|_| holds_only_members(at)) {
            at = parent;
        }
        self.scope_of_site.insert(site, at);
        at
    }

    fn is_open(&self, item: usize) -> bool {
        matches!(self.items[item], Item::Scope(s) if s == 0 || self.view.open.contains(&s))
    }

    /// Decides for every node which item shows it.
    fn assign(&mut self) {
        for n in 0..self.hidden.len() {
            if self.hidden[n] {
                continue;
            }
            let site = self.index.site_of.get(&n).filter(|s| !self.view.expanded_sites.contains(s));
            let scope = site.map_or(self.index.scopes.of_node[n], |&s| self.site_scope(s, n));
            let mut at = self.scope_item(scope);
            if self.is_open(at) {
                at = match site {
                    Some(&s) => match self.by_item.get(&Item::Site(s)) {
                        Some(&i) => i,
                        None => self.item(Item::Site(s), Some(at)),
                    },
                    None => self.item(Item::Node(n), Some(at)),
                };
            }
            self.shows[n] = Some(at);
        }
    }

    /// Lifts every edge to the container that holds both ends; constants become chips of their readers.
    fn connect(&mut self) {
        for n in 0..self.overview.nodes.len() {
            let Some(to) = self.shows[n] else { continue };
            for flow in flows_into(self.overview, self.index, n) {
                let source = flow.node;
                if let Some(c) = constant_behind(self.overview, self.index, source) {
                    self.shows[source] = self.shows[source].or(Some(to));
                    let row = &self.overview.constants[c];
                    let is_weight = row.elements > 1 && row.dtype.contains("float");
                    if is_weight && matches!(self.items[to], Item::Node(_)) && !self.chips[to].contains(&c) {
                        self.chips[to].push(c);
                    }
                    continue;
                }
                let Some(from) = self.shows[source] else { continue };
                if let Some((container, a, b)) = self.lift(from, to) {
                    let e = self.edges.entry(container).or_default().entry((a, b)).or_default();
                    e.values.insert(flow);
                    e.n += 1;
                    e.n_lost += usize::from(self.shown.lost.contains(&(source, n)));
                    e.n_gained += usize::from(self.shown.gained.contains(&(source, n)));
                }
            }
        }
        for n in 0..self.shows.len() {
            if self.shows[n].is_none() {
                self.shows[n] = self.index.readers[n].iter().find_map(|&r| self.shows[r]);
            }
        }
    }

    /// The container of both and its direct children that hold them; `None` where one holds the other.
    fn lift(&self, from: usize, to: usize) -> Option<(usize, usize, usize)> {
        let (mut a, mut b) = (from, to);
        while self.depth[a] > self.depth[b] {
            a = self.parent[a]?;
        }
        while self.depth[b] > self.depth[a] {
            b = self.parent[b]?;
        }
        if a == b {
            return None;
        }
        while self.parent[a] != self.parent[b] {
            (a, b) = (self.parent[a]?, self.parent[b]?);
        }
        Some((self.parent[a]?, a, b))
    }

    /// Sizes and inner positions, innermost first.
    fn measure(&mut self, cancel: &CancelToken) -> Option<()> {
        // Children were made after their parents, so going backwards meets every child first.
        for i in (0..self.items.len()).rev() {
            if !self.is_open(i) || self.children[i].is_empty() {
                self.size[i] = self.card_size(i);
                continue;
            }
            let children = self.children[i].clone();
            let place: HashMap<usize, usize> = children.iter().enumerate().map(|(k, &c)| (c, k)).collect();
            // Sideways is the same drawing with its axes swapped.
            let turned = |[x, y]: [f32; 2]| if self.view.is_sideways { [y, x] } else { [x, y] };
            let sizes: Vec<[f32; 2]> = children.iter().map(|&c| turned(self.size[c])).collect();
            let edges: Vec<(usize, usize)> =
                self.edges.get(&i).into_iter().flatten().map(|(&(a, b), _)| (place[&a], place[&b])).collect();
            let d = layered(&sizes, &edges, cancel)?;
            let (dx, dy) = if i == 0 { (0.0, 0.0) } else { (PAD, TITLE + PAD / 2.0) };
            for (k, &c) in children.iter().enumerate() {
                let [x, y] = turned(d.centers[k]);
                self.at[c] = [x - self.size[c][0] / 2.0 + dx, y - self.size[c][1] / 2.0 + dy];
            }
            let moved = |p: &[f32; 2]| [turned(*p)[0] + dx, turned(*p)[1] + dy];
            self.bends.insert(i, d.bends.iter().map(|b| b.iter().map(moved).collect()).collect());
            let title = self.title_width(i);
            let size = turned(d.size);
            self.size[i] = [(size[0] + 2.0 * dx).max(title), size[1] + dy + if i == 0 { 0.0 } else { PAD }];
        }
        Some(())
    }

    fn title_width(&self, i: usize) -> f32 {
        match self.items[i] {
            Item::Scope(s) => text::last_part(&self.index.scopes.all[s].name).chars().count() as f32 * 8.0 + 110.0,
            _ => 0.0,
        }
    }

    fn card_size(&self, i: usize) -> [f32; 2] {
        // With room for a mark in the corner.
        let width = |chars: usize| (chars as f32 * 7.2 + 40.0).clamp(104.0, 250.0);
        match self.items[i] {
            Item::Node(n) => {
                let node = &self.overview.nodes[n];
                let chars = node.op.chars().count().max(text::last_part(&node.name).chars().count());
                let n_chips = self.chips[i].len();
                let rows = n_chips.min(MAX_CHIPS) + usize::from(n_chips > MAX_CHIPS);
                let chip_chars = if n_chips > 0 { 18 } else { 0 };
                [width(chars.max(chip_chars)), 42.0 + rows as f32 * CHIP_HEIGHT + if rows > 0 { 4.0 } else { 0.0 }]
            }
            Item::Site(_) => [136.0, 42.0],
            Item::Scope(s) => [width(text::last_part(&self.index.scopes.all[s].name).chars().count().max(20)), 56.0],
        }
    }

    /// Absolute places, parents before children.
    fn place(self) -> Layout {
        let mut out = Layout { size: self.size[0], ..Layout::default() };
        let mut min = vec![[0.0f32; 2]; self.items.len()];
        let mut placed_at = vec![usize::MAX; self.items.len()];
        for i in 0..self.items.len() {
            if let Some(p) = self.parent[i] {
                min[i] = [min[p][0] + self.at[i][0], min[p][1] + self.at[i][1]];
            }
            if i == 0 {
                continue;
            }
            placed_at[i] = out.placed.len();
            out.placed.push(Placed {
                item: self.items[i],
                min: min[i],
                size: self.size[i],
                is_open: self.is_open(i) && !self.children[i].is_empty(),
                chips: self.chips[i].clone(),
                parent: self.parent[i].filter(|&p| p != 0).map(|p| placed_at[p]),
            });
        }
        for (&container, edges) in &self.edges {
            let bends = self.bends.get(&container);
            for (k, (&(a, b), bundle)) in edges.iter().enumerate() {
                let [x, y] = min[container];
                let (start, end) = if self.view.is_sideways {
                    let middle = |i: usize| min[i][1] + self.size[i][1] / 2.0;
                    ([min[a][0] + self.size[a][0], middle(a)], [min[b][0], middle(b)])
                } else {
                    let middle = |i: usize| min[i][0] + self.size[i][0] / 2.0;
                    ([middle(a), min[a][1] + self.size[a][1]], [middle(b), min[b][1]])
                };
                let middle = bends.and_then(|b| b.get(k)).into_iter().flatten().map(|p| [p[0] + x, p[1] + y]);
                let points = std::iter::once(start).chain(middle).chain([end]).collect();
                let n = bundle.n;
                let values: Vec<Flow> = bundle.values.iter().copied().collect();
                out.wires.push(Wire {
                    from: placed_at[a],
                    to: placed_at[b],
                    points,
                    label: match values.as_slice() {
                        [one] => one.row(self.overview).map_or_else(String::new, |v| text::shape(v.shape.as_deref())),
                        many => format!("{} values", many.len()),
                    },
                    values,
                    is_stub: false,
                    is_lost: bundle.n_lost == n,
                    is_gained: bundle.n_gained > 0,
                });
            }
        }
        out.is_sideways = self.view.is_sideways;
        out.shown_by = self.shows.iter().map(|s| s.filter(|&i| i != 0).map(|i| placed_at[i])).collect();
        out.index();
        out
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ui::sample;

    fn shown() -> (Arc<Overview>, Arc<Index>, Shown) {
        let o = Arc::new(sample::overview());
        let index = Arc::new(Index::new(&o));
        (o.clone(), index.clone(), Shown::plain(o, index))
    }

    fn contains(outer: &Placed, inner: &Placed) -> bool {
        (0..2).all(|k| outer.min[k] <= inner.min[k] && inner.min[k] + inner.size[k] <= outer.min[k] + outer.size[k])
    }

    #[test]
    fn open_scopes_hold_their_content_and_constants_are_chips() {
        let (o, index, shown) = shown();
        let view = default_view(&o, &index);
        let l = layout(&shown, &view, &CancelToken::default()).unwrap();
        for p in &l.placed {
            if let Some(parent) = p.parent {
                assert!(contains(&l.placed[parent], p), "{p:?}");
            }
        }
        let matmul = index.node("encoder/dense/MatMul").unwrap();
        let card = l.placed.iter().find(|p| p.item == Item::Node(matmul)).unwrap();
        assert_eq!(card.chips, [index.constant("encoder/dense/kernel").unwrap()]);
        let kernel = index.node("encoder/dense/kernel").unwrap();
        assert_eq!(l.placed[l.shown_by[kernel].unwrap()].item, card.item);
        assert!(l.placed.iter().any(|p| p.item == Item::Site(0)), "dropout is one card");
        assert!(l.wires.iter().all(|w| w.points.len() >= 2));
    }

    #[test]
    fn a_constant_is_revealed_where_it_is_read() {
        let mut o = sample::overview();
        // The bias is read through an identity beside it, as variables are, by a node of another scope.
        o.nodes.extend(sample::nodes(&[("encoder/dense/bias/read", "Identity", &["encoder/dense/bias:0"], &[8])]));
        let add = o.nodes.iter_mut().find(|n| n.op == "BiasAdd").unwrap();
        add.name = "encoder/out/add/BiasAdd".to_owned();
        add.inputs[1] = "encoder/dense/bias/read:0".to_owned();
        let index = Arc::new(Index::new(&o));
        let (bias, out) = (index.node("encoder/dense/bias").unwrap(), index.scopes.named("encoder/out/add").unwrap());
        let mut view = View::default();
        reveal(&mut view, &Shown::plain(Arc::new(o), index), bias);
        assert!(view.open.contains(&out), "{view:?}");
    }

    #[test]
    fn sideways_edges_go_to_the_right() {
        let (o, index, shown) = shown();
        let view = View { is_sideways: true, ..default_view(&o, &index) };
        let l = layout(&shown, &view, &CancelToken::default()).unwrap();
        let place = |name: &str| &l.placed[l.by_item[&Item::Node(index.node(name).unwrap())]];
        let (a, b) = (place("encoder/dense/MatMul"), place("encoder/dense/BiasAdd"));
        assert!(a.min[0] + a.size[0] < b.min[0], "the reader stands at the right");
        for p in &l.placed {
            if let Some(parent) = p.parent {
                assert!(contains(&l.placed[parent], p), "{p:?}");
            }
        }
        for w in &l.wires {
            let (from, to) = (&l.placed[w.from], &l.placed[w.to]);
            assert_eq!(w.points[0][0], from.min[0] + from.size[0]);
            assert_eq!(w.points[w.points.len() - 1][0], to.min[0]);
        }
    }

    #[test]
    fn a_closed_scope_stands_for_everything_inside() {
        let (_, index, shown) = shown();
        let view = View { open: BTreeSet::from([0]), ..View::default() };
        let l = layout(&shown, &view, &CancelToken::default()).unwrap();
        let encoder = index.scopes.named("encoder").unwrap();
        let at = l.placed.iter().position(|p| p.item == Item::Scope(encoder)).unwrap();
        assert!(!l.placed[at].is_open);
        for n in ["encoder/dense/MatMul", "encoder/dropout/mul"] {
            assert_eq!(l.shown_by[index.node(n).unwrap()], Some(at));
        }
        assert_eq!(l.wires.len(), 2, "input to encoder, encoder to loss");
        // What flows is named, and found again by its name.
        let input = index.node_of_value("input:0").unwrap();
        let flow = Flow { node: input, output: 0 };
        let wire = l.wires_with(flow).next().unwrap();
        assert_eq!((l.wires[wire].to, &l.wires[wire].values[..]), (at, &[flow][..]));
        assert_eq!(flow.row(&shown.overview).map(|v| v.name.as_str()), Some("input:0"));
    }
}
