//! What is selected: one focus that the inspector shows, a set that bulk actions cover, and the way back.

use std::collections::BTreeSet;

/// Something that can be selected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A node by name; a constant is the node that holds it.
    Node(String),
    /// A dropout site by its output's name.
    Site(String),
    /// One value, from its producer to everything that reads it: an edge of the graph.
    Value(String),
    /// Several values that are drawn as one edge; never empty.
    Values(Vec<String>),
    /// All nodes below a name prefix.
    Scope(String),
}

impl Target {
    /// The edge that carries these values; `None` where there are none.
    pub fn edge(mut values: Vec<String>) -> Option<Self> {
        match values.len() {
            0 => None,
            1 => values.pop().map(Self::Value),
            _ => Some(Self::Values(values)),
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Node(n) | Self::Site(n) | Self::Value(n) | Self::Scope(n) => n,
            Self::Values(all) => all.first().map_or("", String::as_str),
        }
    }
}

/// How a click changes the selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Only the clicked one.
    Replace,
    /// Adds or takes out the clicked one (Ctrl).
    Toggle,
    /// Everything from the last click to this one (Shift); the caller lists it.
    Extend,
}

const MAX_BACK: usize = 100;

#[derive(Clone, Debug, Default)]
pub struct Selection {
    focus: Option<Target>,
    nodes: BTreeSet<String>,
    back: Vec<Target>,
    forward: Vec<Target>,
    /// Counts changes of the focus, so that panels scroll to it once.
    revision: u64,
}

impl Selection {
    pub fn focus(&self) -> Option<&Target> {
        self.focus.as_ref()
    }

    /// The selected node names, in order.
    pub fn nodes(&self) -> &BTreeSet<String> {
        &self.nodes
    }

    pub fn contains(&self, node: &str) -> bool {
        self.nodes.contains(node)
    }

    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Forgets everything, the way back too: for another model.
    pub fn clear(&mut self) {
        *self = Self { revision: self.revision + 1, ..Self::default() };
    }

    /// Selects nothing; the way back stays.
    pub fn deselect(&mut self) {
        self.leave();
        self.nodes.clear();
        self.revision += 1;
    }

    /// Focuses one target and forgets the rest.
    pub fn set(&mut self, target: Target) {
        if self.focus.as_ref() == Some(&target) && self.nodes.len() <= 1 {
            return;
        }
        self.leave();
        self.put(target);
    }

    /// The focus goes to the way back.
    fn leave(&mut self) {
        if let Some(old) = self.focus.take() {
            self.back.push(old);
            if self.back.len() > MAX_BACK {
                self.back.remove(0);
            }
        }
        self.forward.clear();
    }

    /// Adds or removes one node; the focus follows.
    pub fn toggle(&mut self, node: &str) {
        if !self.nodes.remove(node) {
            self.nodes.insert(node.to_owned());
            self.focus = Some(Target::Node(node.to_owned()));
        } else {
            self.focus = self.nodes.iter().next_back().cloned().map(Target::Node);
        }
        self.revision += 1;
    }

    /// Selects many nodes; the focus is the last.
    pub fn set_many(&mut self, nodes: impl IntoIterator<Item = String>, focus: Option<String>) {
        self.leave();
        self.nodes = nodes.into_iter().collect();
        self.focus = focus.or_else(|| self.nodes.iter().next_back().cloned()).map(Target::Node);
        self.revision += 1;
    }

    pub fn can_go_back(&self) -> bool {
        !self.back.is_empty()
    }

    pub fn can_go_forward(&self) -> bool {
        !self.forward.is_empty()
    }

    pub fn go_back(&mut self) {
        if let Some(to) = self.back.pop() {
            self.forward.extend(self.focus.take());
            self.put(to);
        }
    }

    pub fn go_forward(&mut self) {
        if let Some(to) = self.forward.pop() {
            self.back.extend(self.focus.take());
            self.put(to);
        }
    }

    fn put(&mut self, target: Target) {
        self.nodes = match &target {
            Target::Node(n) => BTreeSet::from([n.clone()]),
            _ => BTreeSet::new(),
        };
        self.focus = Some(target);
        self.revision += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selecting_nothing_keeps_the_way_back() {
        let mut s = Selection::default();
        s.set(node("a"));
        s.set(node("b"));
        s.deselect();
        assert!(s.focus().is_none() && s.nodes().is_empty());
        s.go_back();
        assert_eq!(s.focus(), Some(&node("b")));
        s.go_back();
        assert_eq!(s.focus(), Some(&node("a")));
        s.clear();
        assert!(!s.can_go_back() && !s.can_go_forward());
    }

    fn node(n: &str) -> Target {
        Target::Node(n.to_owned())
    }

    #[test]
    fn back_and_forward_walk_the_focus() {
        let mut s = Selection::default();
        s.set(node("a"));
        s.set(node("b"));
        s.set(Target::Scope("c".to_owned()));
        s.go_back();
        assert_eq!(s.focus(), Some(&node("b")));
        s.go_back();
        assert_eq!(s.focus(), Some(&node("a")));
        assert!(!s.can_go_back());
        s.go_forward();
        assert_eq!(s.focus(), Some(&node("b")));
        s.set(node("d"));
        assert!(!s.can_go_forward());
    }

    #[test]
    fn toggling_keeps_the_focus_on_what_is_selected() {
        let mut s = Selection::default();
        s.set(node("a"));
        s.toggle("b");
        assert!(s.contains("a") && s.contains("b"));
        s.toggle("b");
        assert_eq!(s.focus(), Some(&node("a")));
        s.toggle("a");
        assert_eq!(s.focus(), None);
    }
}
