//! What the canvas shows: the graph as it would be exported, or together with what edits took out of the file, so that
//! the picture is the difference.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::session::{GraphDiff, Overview};
use crate::ui::index::Index;

/// A node beside the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    #[default]
    Same,
    /// Edits put it in.
    Added,
    /// Edits took it out.
    Removed,
    /// It reads something else than in the file.
    Rewired,
}

/// Rows to draw, with what became of each.
#[derive(Debug, Default)]
pub struct Shown {
    pub overview: Arc<Overview>,
    pub index: Arc<Index>,
    /// Per node of the overview; empty where nothing was edited.
    fates: Vec<Fate>,
    /// Producer and reader of edges that only the file has, or only the edited graph.
    pub lost: HashSet<(usize, usize)>,
    pub gained: HashSet<(usize, usize)>,
    /// Nodes that hold other values, or have another shape, than in the file.
    revalued: HashSet<usize>,
    /// Dropout sites from this index on are gone.
    pub live_sites: usize,
}

impl Shown {
    /// The rows as they are, nothing edited.
    pub fn plain(overview: Arc<Overview>, index: Arc<Index>) -> Self {
        let live_sites = overview.dropout.len();
        Self { overview, index, live_sites, ..Self::default() }
    }

    /// The edited graph with what is new in it marked.
    pub fn edited(overview: Arc<Overview>, index: Arc<Index>, diff: &GraphDiff) -> Self {
        let mut shown = Self::plain(overview, index);
        shown.mark(diff);
        shown
    }

    /// The edited graph and, as ghosts, what edits removed; `None` where they removed nothing.
    pub fn with_removed(overview: &Overview, diff: &GraphDiff) -> Option<Self> {
        if diff.removed.is_empty() {
            return None;
        }
        let mut merged = overview.clone();
        let n_live = merged.nodes.len();
        merged.nodes.extend(diff.removed.iter().cloned());
        let live_sites = merged.dropout.len();
        merged.dropout.extend(diff.removed_sites.iter().cloned());
        // The readers in the file are drawn too, or ghosts would hang in the air.
        let at: HashMap<String, usize> = merged.nodes.iter().enumerate().map(|(i, n)| (n.name.clone(), i)).collect();
        for r in &diff.rewired {
            if let Some(&i) = at.get(&r.node) {
                merged.nodes[i].inputs.extend(r.lost.iter().cloned());
            }
        }
        let index = Arc::new(Index::new(&merged));
        let mut shown = Self { live_sites, ..Self::plain(Arc::new(merged), index) };
        shown.mark(diff);
        shown.fates[n_live..].fill(Fate::Removed);
        Some(shown)
    }

    fn mark(&mut self, diff: &GraphDiff) {
        self.revalued = diff.revalued.iter().filter_map(|n| self.index.node(n)).collect();
        self.fates = vec![Fate::Same; self.overview.nodes.len()];
        for name in &diff.added {
            if let Some(n) = self.index.node(name) {
                self.fates[n] = Fate::Added;
            }
        }
        for r in &diff.rewired {
            let Some(n) = self.index.node(&r.node) else { continue };
            self.fates[n] = Fate::Rewired;
            let producers = |values: &[String]| -> Vec<(usize, usize)> {
                values.iter().filter_map(|v| Some((self.index.node_of_value(v)?, n))).collect()
            };
            let (lost, gained) = (producers(&r.lost), producers(&r.gained));
            self.lost.extend(lost);
            self.gained.extend(gained);
        }
    }

    pub fn fate(&self, node: usize) -> Fate {
        self.fates.get(node).copied().unwrap_or_default()
    }

    /// Whether edits put it in, or changed what it reads or holds.
    pub fn is_changed(&self, node: usize) -> bool {
        self.fate(node) != Fate::Same || self.revalued.contains(&node)
    }

    pub fn is_removed_site(&self, site: usize) -> bool {
        site >= self.live_sites
    }

    /// How many nodes are of each fate: added, removed, rewired.
    pub fn counts(&self) -> [usize; 3] {
        [Fate::Added, Fate::Removed, Fate::Rewired].map(|f| self.fates.iter().filter(|x| **x == f).count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::diff::Rewired;
    use crate::session::overview::NodeRow;
    use crate::ui::sample;

    #[test]
    fn removed_nodes_stand_between_their_old_neighbours() {
        let file = sample::overview();
        let site = file.dropout[0].clone();
        let reader = file.nodes.iter().find(|n| n.inputs.contains(&site.output)).unwrap().name.clone();
        // The edited graph: the site's nodes are gone, and its reader reads the site's input.
        let mut edited = file.clone();
        edited.dropout.clear();
        edited.nodes.retain(|n| !site.nodes.contains(&n.name));
        for n in &mut edited.nodes {
            n.inputs.iter_mut().filter(|v| **v == site.output).for_each(|v| v.clone_from(&site.input));
        }
        edited.nodes.push(NodeRow { name: "head/new".to_owned(), op: "MatMul".to_owned(), ..NodeRow::default() });
        let lost = Rewired { node: reader.clone(), lost: vec![site.output.clone()], gained: vec![site.input.clone()] };
        let diff = GraphDiff {
            added: vec!["head/new".to_owned()],
            removed: file.nodes.iter().filter(|n| site.nodes.contains(&n.name)).cloned().collect(),
            rewired: vec![lost],
            revalued: vec!["encoder/dense/kernel".to_owned()],
            removed_sites: vec![site.clone()],
        };
        let shown = Shown::with_removed(&edited, &diff).unwrap();
        let node = |name: &str| shown.index.node(name).unwrap();
        assert_eq!(shown.fate(node("head/new")), Fate::Added);
        assert_eq!(shown.fate(node(&site.nodes[0])), Fate::Removed);
        assert_eq!(shown.fate(node(&reader)), Fate::Rewired);
        let changed = ["encoder/dense/kernel", "head/new", &reader].map(|n| shown.is_changed(node(n)));
        assert_eq!((changed, shown.is_changed(node("encoder/dense/MatMul"))), ([true; 3], false));
        assert!(shown.is_removed_site(0));
        let output = shown.index.node_of_value(&site.output).unwrap();
        assert!(shown.lost.contains(&(output, node(&reader))));
        assert!(shown.index.inputs[node(&reader)].contains(&output), "the old edge is drawn");
        let input = shown.index.node_of_value(&site.input).unwrap();
        assert!(shown.gained.contains(&(input, node(&reader))));
        assert_eq!(shown.counts(), [1, site.nodes.len(), 1]);
        assert!(Shown::with_removed(&file, &GraphDiff::default()).is_none());
    }
}
