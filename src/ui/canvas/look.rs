//! What stands out for the selection: focus, chips, the way of a gradient, a trace. Worked out when one of them changes.

use std::collections::HashSet;
use std::sync::Arc;

use crate::session::query::Query;
use crate::ui::ctx::{Gradients, Open};
use crate::ui::panels;
use crate::ui::selection::{Selection, Target};

use super::draw::Look;
use super::fold::constant_behind;
use super::layout::{Flow, Item, Layout};
use super::path;
use super::shown::Shown;

/// Which way a trace goes from the selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// Everything that the selection is computed from.
    Needs,
    /// Everything that reads it, directly or not.
    Feeds,
}

/// What a [`Look`] depends on; held, so that equal addresses mean equal content.
#[derive(Clone, Debug)]
pub struct LookKey {
    layout: Arc<Layout>,
    gradients: Option<Arc<Gradients>>,
    tuned: Arc<HashSet<String>>,
    revision: u64,
    trace: Option<Trace>,
    filter: Option<String>,
}

/// What asks things to stand out.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub selection: &'a Selection,
    pub trace: Option<Trace>,
    /// A query of the browser's language: what it leaves out is faded.
    pub filter: Option<&'a str>,
}

impl LookKey {
    pub fn new(layout: &Arc<Layout>, open: &Open, asked: Asked<'_>) -> Self {
        Self {
            layout: layout.clone(),
            gradients: open.gradients.clone(),
            tuned: open.tuned.clone(),
            revision: asked.selection.revision(),
            trace: asked.trace,
            filter: asked.filter.map(str::to_owned),
        }
    }
}

impl PartialEq for LookKey {
    fn eq(&self, o: &Self) -> bool {
        let gradients = |k: &Self| k.gradients.as_ref().map(|g| Arc::as_ptr(g) as usize);
        Arc::ptr_eq(&self.layout, &o.layout)
            && Arc::ptr_eq(&self.tuned, &o.tuned)
            && gradients(self) == gradients(o)
            && (self.revision, self.trace, &self.filter) == (o.revision, o.trace, &o.filter)
    }
}

/// The node that a target stands for: a site is its output.
pub fn node_of(shown: &Shown, target: &Target) -> Option<usize> {
    match target {
        Target::Node(n) | Target::Site(n) | Target::Value(n) => shown.index.node_of_value(n),
        Target::Values(all) => all.iter().find_map(|n| shown.index.node_of_value(n)),
        Target::Scope(_) => None,
    }
}

/// The placed thing that shows a target.
pub fn placed_of(shown: &Shown, layout: &Layout, target: &Target) -> Option<usize> {
    let item = match target {
        Target::Node(_) | Target::Value(_) | Target::Values(_) => None,
        Target::Site(s) => shown.overview.dropout.iter().position(|d| d.output == *s).map(Item::Site),
        Target::Scope(s) => shown.index.scopes.named(s).map(Item::Scope),
    };
    let own = item.and_then(|i| layout.by_item.get(&i).copied());
    own.or_else(|| match target {
        // Inside a closed scope: the innermost box around it that is shown.
        Target::Scope(s) => {
            let mut at = shown.index.scopes.named(s);
            while let Some(scope) = at {
                if let Some(&i) = layout.by_item.get(&Item::Scope(scope)) {
                    return Some(i);
                }
                at = shown.index.scopes.all[scope].parent;
            }
            None
        }
        _ => layout.shown_by.get(node_of(shown, target)?).copied().flatten(),
    })
}

impl Look {
    pub fn new(open: &Open, shown: &Shown, layout: &Layout, asked: Asked<'_>) -> Self {
        let Asked { selection, trace, filter } = asked;
        let focus_target = selection.focus();
        let focus = focus_target.and_then(|t| placed_of(shown, layout, t));
        let mut look = Self { focus, ..Self::default() };
        for name in selection.nodes() {
            let Some(n) = shown.index.node_of_value(name) else { continue };
            look.selected.extend(layout.shown_by.get(n).copied().flatten());
            look.chips.extend(constant_behind(&shown.overview, &shown.index, n));
        }
        // A selected box is framed by its focus; what it merely holds is not selected.
        look.selected.retain(|&i| matches!(layout.placed[i].item, Item::Node(_) | Item::Site(_)));
        match focus_target {
            Some(Target::Value(v)) => look.light_edge(shown, layout, std::slice::from_ref(v)),
            Some(Target::Values(all)) => look.light_edge(shown, layout, all),
            other => {
                if let Some(node) = other.and_then(|t| node_of(shown, t)) {
                    look.light_ways(open, shown, layout, node);
                }
            }
        }
        if let (Some(trace), Some(target)) = (trace, focus_target) {
            look.kept = Some(kept(shown, layout, target, trace));
        }
        if let Some(matching) = filter.and_then(|f| matching(panels::Listed { shown, tuned: &open.tuned }, layout, f)) {
            look.kept = Some(match look.kept {
                None => matching,
                Some(kept) => kept.iter().zip(&matching).map(|(a, b)| *a && *b).collect(),
            });
        }
        look
    }

    /// Every wire that carries one of these values.
    fn light_edge(&mut self, shown: &Shown, layout: &Layout, values: &[String]) {
        for name in values {
            let Some(node) = shown.index.node_of_value(name) else { continue };
            let output = shown.overview.nodes[node].outputs.iter().position(|o| o.name == *name).unwrap_or(0);
            self.edge_wires.extend(layout.wires_with(Flow { node, output }));
        }
    }

    fn light_ways(&mut self, open: &Open, shown: &Shown, layout: &Layout, node: usize) {
        let at = |n: usize| layout.shown_by.get(n).copied().flatten();
        for way in path::ways(&shown.overview, &shown.index, open.gradients.as_deref(), node) {
            let mut steps: Vec<usize> = way.nodes.iter().filter_map(|&n| at(n)).collect();
            steps.dedup();
            self.on_way.extend(&steps);
            for pair in steps.windows(2) {
                let wire = layout.lift(pair[0], pair[1]).and_then(|(a, b)| layout.wire_between(a, b));
                self.way_wires.extend(wire);
                self.inner_wires(layout, pair[0], pair[1]);
            }
            self.stops.extend(way.stops_at.and_then(at));
        }
    }

    /// A step between boxes ends at a card inside them; frame those boxes' edges too.
    fn inner_wires(&mut self, layout: &Layout, from: usize, to: usize) {
        let Some((a, b)) = layout.lift(from, to) else { return };
        let inside = |i: usize, end: usize| layout.holders(i).take_while(|&h| h != end).skip(1).collect::<Vec<_>>();
        self.on_way.extend(inside(from, a));
        self.on_way.extend(inside(to, b));
    }
}

/// For each placed thing whether a query matches something in it; `None` while the query cannot be read.
fn matching(listed: panels::Listed<'_>, layout: &Layout, query: &str) -> Option<Vec<bool>> {
    let query = Query::parse(query).ok()?;
    let mut kept = vec![false; layout.placed.len()];
    for n in panels::matching_nodes(listed, &query) {
        if let Some(at) = layout.shown_by.get(n).copied().flatten() {
            layout.holders(at).for_each(|i| kept[i] = true);
        }
    }
    Some(kept)
}

/// For each placed thing whether a trace keeps it; boxes are kept with anything inside them.
fn kept(shown: &Shown, layout: &Layout, target: &Target, trace: Trace) -> Vec<bool> {
    let from: Vec<usize> = match target {
        Target::Scope(s) => shown.index.scopes.named(s).map(|s| shown.index.scopes.nodes_inside(s)).unwrap_or_default(),
        _ => node_of(shown, target).into_iter().collect(),
    };
    let mut kept = vec![false; layout.placed.len()];
    let mut seen: HashSet<usize> = HashSet::new();
    for n in shown.index.trace_all(&from, trace == Trace::Feeds) {
        if let Some(at) = layout.shown_by.get(n).copied().flatten()
            && seen.insert(at)
        {
            layout.holders(at).for_each(|i| kept[i] = true);
        }
    }
    kept
}
