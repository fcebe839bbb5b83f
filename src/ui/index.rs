//! Look-ups over an overview: names to rows, readers of nodes, dropout members, and the tree of name scopes with totals.

use std::collections::{BTreeMap, HashMap};

use crate::session::Overview;

/// Built once per overview.
#[derive(Debug, Default)]
pub struct Index {
    node_by_name: HashMap<String, usize>,
    constant_by_name: HashMap<String, usize>,
    node_by_value: HashMap<String, usize>,
    /// For each node, the nodes whose values it reads, in input order, without repeats.
    pub inputs: Vec<Vec<usize>>,
    /// For each node, the nodes that read its values.
    pub readers: Vec<Vec<usize>>,
    /// For each node, the dropout site that it is a member of.
    pub site_of: HashMap<usize, usize>,
    /// For each constant, the node that holds it.
    pub node_of_constant: Vec<Option<usize>>,
    pub constant_of_node: HashMap<usize, usize>,
    pub scopes: Scopes,
    /// In how many nodes' names a part of a path stands.
    pub parts: HashMap<String, u32>,
}

impl Index {
    pub fn new(overview: &Overview) -> Self {
        let mut index = Self::default();
        for (i, n) in overview.nodes.iter().enumerate() {
            index.node_by_name.insert(n.name.clone(), i);
            for part in n.name.split(super::text::separator(&n.name)) {
                match index.parts.get_mut(part) {
                    Some(count) => *count += 1,
                    None => {
                        index.parts.insert(part.to_owned(), 1);
                    }
                }
            }
            for v in &n.outputs {
                index.node_by_value.insert(v.name.clone(), i);
            }
        }
        for (i, c) in overview.constants.iter().enumerate() {
            index.constant_by_name.insert(c.name.clone(), i);
            let node = index.node_of_value(&c.name);
            index.node_of_constant.push(node);
            if let Some(n) = node {
                index.constant_of_node.insert(n, i);
            }
        }
        index.readers = vec![Vec::new(); overview.nodes.len()];
        for (i, n) in overview.nodes.iter().enumerate() {
            let mut from = Vec::new();
            for name in n.inputs.iter().filter(|n| !n.starts_with('^')) {
                if let Some(p) = index.node_of_value(name)
                    && !from.contains(&p)
                {
                    from.push(p);
                    index.readers[p].push(i);
                }
            }
            index.inputs.push(from);
        }
        for (s, site) in overview.dropout.iter().enumerate() {
            for name in &site.nodes {
                if let Some(n) = index.node(name) {
                    index.site_of.insert(n, s);
                }
            }
        }
        index.scopes = Scopes::new(overview);
        index
    }

    pub fn node(&self, name: &str) -> Option<usize> {
        self.node_by_name.get(name).copied()
    }

    pub fn constant(&self, name: &str) -> Option<usize> {
        self.constant_by_name.get(name).or_else(|| self.constant_by_name.get(name.strip_suffix(":0")?)).copied()
    }

    /// The node that computes a value; `:0` may be left out.
    pub fn node_of_value(&self, name: &str) -> Option<usize> {
        self.node_by_value
            .get(name)
            .or_else(|| self.node_by_name.get(name))
            .copied()
            .or_else(|| self.node(name.rsplit_once(':')?.0))
    }

    /// All nodes that lead to `node` (`forward` false) or that it leads to (`forward` true), itself included.
    pub fn trace(&self, node: usize, forward: bool) -> Vec<usize> {
        self.trace_all(&[node], forward)
    }

    /// As [`Index::trace`], from several nodes.
    pub fn trace_all(&self, nodes: &[usize], forward: bool) -> Vec<usize> {
        let next = if forward { &self.readers } else { &self.inputs };
        let mut seen = vec![false; next.len()];
        let mut todo = nodes.to_vec();
        let mut out = Vec::new();
        while let Some(n) = todo.pop() {
            if !std::mem::replace(&mut seen[n], true) {
                out.push(n);
                todo.extend(&next[n]);
            }
        }
        out.sort_unstable();
        out
    }
}

/// One name scope: `bert/encoder`.
#[derive(Debug, Default, Clone)]
pub struct Scope {
    /// The whole prefix, without a trailing slash; empty for the root.
    pub name: String,
    pub parent: Option<usize>,
    /// Scopes directly inside, in order of first appearance.
    pub children: Vec<usize>,
    /// Nodes directly inside.
    pub nodes: Vec<usize>,
    pub totals: Totals,
}

/// Sums over everything inside a scope.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    pub nodes: usize,
    pub constants: usize,
    pub parameters: usize,
    pub trainable: usize,
    pub trainable_parameters: usize,
    pub bytes: usize,
}

/// The tree of name scopes; entry 0 is the root.
#[derive(Debug, Default, Clone)]
pub struct Scopes {
    pub all: Vec<Scope>,
    by_name: BTreeMap<String, usize>,
    /// For each node the scope that it lies in directly.
    pub of_node: Vec<usize>,
}

impl Scopes {
    fn new(overview: &Overview) -> Self {
        let mut tree =
            Self { all: vec![Scope::default()], by_name: BTreeMap::from([(String::new(), 0)]), of_node: Vec::new() };
        for (i, node) in overview.nodes.iter().enumerate() {
            let scope = tree.enter(node.name.rsplit_once('/').map_or("", |(s, _)| s));
            tree.all[scope].nodes.push(i);
            tree.of_node.push(scope);
            tree.add(scope, |t| t.nodes += 1);
        }
        for c in &overview.constants {
            let scope = tree.enter(c.name.rsplit_once('/').map_or("", |(s, _)| s));
            let float = c.dtype.contains("float");
            tree.add(scope, |t| {
                t.constants += 1;
                t.bytes += c.bytes;
                t.parameters += if float { c.elements } else { 0 };
                t.trainable += usize::from(c.trainable);
                t.trainable_parameters += if c.trainable { c.elements } else { 0 };
            });
        }
        tree
    }

    fn enter(&mut self, name: &str) -> usize {
        if let Some(&s) = self.by_name.get(name) {
            return s;
        }
        // Parents first; a loop, so that a name of a million slashes cannot exhaust the stack.
        let mut parent = 0;
        let mut end = 0;
        loop {
            end = name[end..].find('/').map_or(name.len(), |i| end + i);
            let prefix = &name[..end];
            parent = match self.by_name.get(prefix) {
                Some(&s) => s,
                None => {
                    let s = self.all.len();
                    self.all.push(Scope { name: prefix.to_owned(), parent: Some(parent), ..Scope::default() });
                    self.all[parent].children.push(s);
                    self.by_name.insert(prefix.to_owned(), s);
                    s
                }
            };
            if end == name.len() {
                return parent;
            }
            end += 1;
        }
    }

    fn add(&mut self, scope: usize, f: impl Fn(&mut Totals)) {
        let mut at = Some(scope);
        while let Some(s) = at {
            f(&mut self.all[s].totals);
            at = self.all[s].parent;
        }
    }

    pub fn named(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Whether `inner` is `outer` or lies inside it.
    pub fn contains(&self, outer: usize, inner: usize) -> bool {
        let mut at = Some(inner);
        while let Some(s) = at {
            if s == outer {
                return true;
            }
            at = self.all[s].parent;
        }
        false
    }

    /// Nodes anywhere inside a scope, in file order.
    pub fn nodes_inside(&self, scope: usize) -> Vec<usize> {
        let mut out = Vec::new();
        let mut todo = vec![scope];
        while let Some(s) = todo.pop() {
            out.extend(&self.all[s].nodes);
            todo.extend(&self.all[s].children);
        }
        out.sort_unstable();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::sample;

    #[test]
    fn names_values_and_readers_are_found() {
        let o = sample::overview();
        let index = Index::new(&o);
        let matmul = index.node("encoder/dense/MatMul").unwrap();
        assert_eq!(index.node_of_value("encoder/dense/MatMul:0"), Some(matmul));
        let kernel = index.node("encoder/dense/kernel").unwrap();
        assert!(index.inputs[matmul].contains(&kernel));
        assert!(index.readers[kernel].contains(&matmul));
        assert_eq!(index.constant_of_node[&kernel], index.constant("encoder/dense/kernel").unwrap());
        let loss = index.node("loss/Mean").unwrap();
        assert!(index.trace(kernel, true).contains(&loss));
        assert!(index.trace(loss, false).contains(&kernel));
        assert!(!index.trace(kernel, false).contains(&loss));
    }

    #[test]
    fn scopes_hold_totals_of_everything_inside() {
        let o = sample::overview();
        let index = Index::new(&o);
        let scopes = &index.scopes;
        let encoder = scopes.named("encoder").unwrap();
        let dense = scopes.named("encoder/dense").unwrap();
        assert!(scopes.contains(encoder, dense) && !scopes.contains(dense, encoder));
        assert!(scopes.all[encoder].totals.parameters >= scopes.all[dense].totals.parameters);
        assert_eq!(scopes.all[0].totals.nodes, o.nodes.len());
        assert_eq!(scopes.nodes_inside(0).len(), o.nodes.len());
    }
}
