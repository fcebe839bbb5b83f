//! Spellings of the decision trees of `ai.onnx.ml`. All trees are walked at once, one level after the other: each row
//! stands at one node of each tree, leaves lead to themselves.
//!
//! Which leaf is reached does not change with small changes of the features, so no gradient passes.

use smallvec::smallvec;

use crate::graph::Attr;
use crate::lower::{Rule, Spelling};
use crate::ops::elementwise::{BinaryFn, UnaryFn};
use crate::ops::index::GatherElements;
use crate::ops::make;
use crate::ops::reduce::ReduceFn;
use crate::program::{Misfit, Value};
use crate::tensor::{DType, Tensor};

use super::common::{Spelled, floats_attr, one, rank, strict_rows, texts_attr};
use super::learn::{best, class_names, floats_of, post_transform};

pub const RULES: &[Spelling] = strict_rows! {
    "ai.onnx.ml.TreeEnsemble" => ensemble;
    "ai.onnx.ml.TreeEnsembleRegressor" => regressor;
    "ai.onnx.ml.TreeEnsembleClassifier" => classifier;
};

/// Levels of a tree.
const MAX_DEPTH: usize = 256;
/// Elements of the table of leaves by targets, and nodes.
const MAX_TABLE: usize = 1 << 24;

/// How a node compares a feature with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Test {
    LessEqual,
    Less,
    GreaterEqual,
    Greater,
    Equal,
    NotEqual,
}

impl Test {
    const ALL: [Self; 6] =
        [Self::LessEqual, Self::Less, Self::GreaterEqual, Self::Greater, Self::Equal, Self::NotEqual];

    fn named(name: &str) -> Option<Self> {
        let names = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"];
        names.iter().position(|n| *n == name).map(|i| Self::ALL[i])
    }

    fn op(self) -> BinaryFn {
        match self {
            Self::LessEqual => BinaryFn::LessEqual,
            Self::Less => BinaryFn::Less,
            Self::GreaterEqual => BinaryFn::GreaterEqual,
            Self::Greater => BinaryFn::Greater,
            Self::Equal => BinaryFn::Equal,
            Self::NotEqual => BinaryFn::NotEqual,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Branch {
    feature: usize,
    test: Test,
    split: f64,
    /// Whether a missing feature (NaN) passes the test.
    takes_missing: bool,
    yes: usize,
    no: usize,
}

/// Nodes of all trees in one list. A leaf has a number among the leaves.
#[derive(Debug, Default)]
struct Forest {
    branches: Vec<Option<Branch>>,
    leaf: Vec<usize>,
    roots: Vec<usize>,
    n_leaves: usize,
}

impl Forest {
    fn push_leaf(&mut self, leaf: usize) -> usize {
        self.branches.push(None);
        self.leaf.push(leaf);
        self.branches.len() - 1
    }

    /// The number of levels below the deepest root; an error where a node is below itself.
    fn depth(&self) -> Result<usize, Misfit> {
        let mut level: Vec<usize> = self.roots.clone();
        for depth in 0..=MAX_DEPTH {
            let mut next: Vec<usize> = level
                .iter()
                .filter_map(|&n| self.branches.get(n).copied().flatten())
                .flat_map(|b| [b.yes, b.no])
                .collect();
            if next.is_empty() {
                return Ok(depth);
            }
            next.sort_unstable();
            next.dedup();
            level = next;
        }
        Err(Misfit(format!("a tree with more than {MAX_DEPTH} levels, or a node below itself")))
    }

    /// The leaf that each row reaches in each tree, `[rows, trees]`.
    fn leaves(&self, r: &mut Rule<'_, '_>, x: Value) -> Result<Value, Misfit> {
        let n = self.branches.len();
        if n == 0 || n > MAX_TABLE || self.roots.is_empty() {
            return Err(Misfit(format!("{} trees of {n} nodes", self.roots.len())));
        }
        if self.branches.iter().flatten().any(|b| b.yes >= n || b.no >= n) || self.roots.iter().any(|&t| t >= n) {
            return Err(Misfit::new("a node leads to one that does not exist"));
        }
        let depth = self.depth()?;
        let features = r.b.fact(x).shape.dim(1).ok_or_else(|| Misfit::new("the number of features must be known"))?;
        if let Some(b) = self.branches.iter().flatten().find(|b| b.feature >= features) {
            return Err(Misfit(format!("feature {} of {features}", b.feature)));
        }
        let tables = Tables::new(self, r, x);
        let roots: Vec<i64> = self.roots.iter().map(|&t| t as i64).collect();
        // All rows begin at the roots.
        let column = make::slice(r.b, x, &[0, 0], &[-1, 1])?;
        let column = make::zeros_like(r.b, column)?;
        let column = make::cast(r.b, column, DType::I64)?;
        let roots = r.b.literal(Tensor::from_slice(&[1, roots.len()], &roots));
        let mut at = make::add(r.b, column, roots)?;
        for _ in 0..depth {
            at = tables.step(r, x, at)?;
        }
        make::gather(r.b, tables.leaf, at, 0)
    }
}

/// What the walk reads about a node, by its number.
struct Tables {
    feature: Value,
    split: Value,
    yes: Value,
    no: Value,
    leaf: Value,
    takes_missing: Option<Value>,
    tests: Vec<(Test, Value)>,
}

impl Tables {
    fn new(forest: &Forest, r: &mut Rule<'_, '_>, x: Value) -> Self {
        let n = forest.branches.len();
        let dtype = r.b.fact(x).dtype;
        let all = || forest.branches.iter();
        let ints = |r: &mut Rule<'_, '_>, v: Vec<i64>| r.b.literal(Tensor::from_slice(&[n], &v));
        let flags = |r: &mut Rule<'_, '_>, v: Vec<bool>| r.b.literal(Tensor::from_bools(&[n], &v));
        let ends = |f: fn(&Branch) -> usize| all().enumerate().map(|(i, b)| b.as_ref().map_or(i, f) as i64).collect();
        let (yes, no) = (ends(|b| b.yes), ends(|b| b.no));
        let feature = all().map(|b| b.map_or(0, |b| b.feature as i64)).collect();
        let split = all().map(|b| b.map_or(0.0, |b| b.split));
        let split = r.b.literal(Tensor::from_f64s(dtype, &[n], split));
        let leaf = forest.leaf.iter().map(|&l| l as i64).collect();
        let missing: Vec<bool> = all().map(|b| b.is_some_and(|b| b.takes_missing)).collect();
        let used = |t: &Test| all().flatten().any(|b| b.test == *t);
        let tests = Test::ALL.into_iter().filter(used).map(|t| {
            let is_it = all().map(|b| b.is_some_and(|b| b.test == t)).collect();
            (t, flags(r, is_it))
        });
        let tests = tests.collect();
        Self {
            feature: ints(r, feature),
            split,
            yes: ints(r, yes),
            no: ints(r, no),
            leaf: ints(r, leaf),
            takes_missing: missing.contains(&true).then(|| flags(r, missing)),
            tests,
        }
    }

    fn step(&self, r: &mut Rule<'_, '_>, x: Value, at: Value) -> Result<Value, Misfit> {
        let feature = make::gather(r.b, self.feature, at, 0)?;
        let value = r.b.op(GatherElements { axis: 1 }, &[x, feature])?;
        let split = make::gather(r.b, self.split, at, 0)?;
        let mut passes: Option<Value> = None;
        for (test, is_it) in &self.tests {
            let own = make::binary(r.b, test.op(), value, split)?;
            passes = Some(match passes {
                None => own,
                Some(others) => {
                    let is_it = make::gather(r.b, *is_it, at, 0)?;
                    make::select(r.b, is_it, own, others)?
                }
            });
        }
        let mut passes = passes.ok_or_else(|| Misfit::new("a tree without tests"))?;
        if let Some(takes) = self.takes_missing {
            let takes = make::gather(r.b, takes, at, 0)?;
            let is_missing = make::unary(r.b, UnaryFn::IsNan, value)?;
            let takes = make::and(r.b, takes, is_missing)?;
            passes = make::or(r.b, passes, takes)?;
        }
        let (yes, no) = (make::gather(r.b, self.yes, at, 0)?, make::gather(r.b, self.no, at, 0)?);
        make::select(r.b, passes, yes, no)
    }
}

/// A list of numbers: a tensor, or floats.
fn numbers(r: &Rule<'_, '_>, name: &str) -> Option<Vec<f64>> {
    let of_tensor = |name: &str| match r.attr(name) {
        Some(Attr::Tensor(p)) => p.load().ok()?.to_f64s(),
        _ => None,
    };
    of_tensor(name).or_else(|| of_tensor(&format!("{name}_as_tensor"))).or_else(|| floats_attr(r, name))
}

fn indices(r: &Rule<'_, '_>, name: &str) -> Result<Vec<usize>, Misfit> {
    let ints = r.ints_attr(name).ok_or_else(|| Misfit(format!("attribute {name} is missing")))?;
    let all: Option<Vec<usize>> = ints.iter().map(|&i| usize::try_from(i).ok()).collect();
    all.ok_or_else(|| Misfit(format!("a negative number in {name}")))
}

fn same_length(n: usize, lengths: &[(&str, usize)]) -> Result<(), Misfit> {
    match lengths.iter().find(|(_, l)| *l != n) {
        Some((name, l)) => Err(Misfit(format!("{l} entries in {name} where {n} were expected"))),
        None => Ok(()),
    }
}

/// What each leaf adds to each target.
struct Weights {
    /// (leaf, target, weight)
    entries: Vec<(usize, usize, f64)>,
    n_targets: usize,
}

impl Weights {
    /// `[leaves, targets]`, with `empty` where a leaf says nothing about a target.
    fn table(&self, r: &mut Rule<'_, '_>, n_leaves: usize, empty: f64, like: Value) -> Result<Value, Misfit> {
        let size = n_leaves.checked_mul(self.n_targets).filter(|&n| n <= MAX_TABLE);
        let mut all = vec![empty; size.ok_or_else(|| Misfit::new("too many leaves and targets"))?];
        for &(leaf, target, weight) in &self.entries {
            if leaf >= n_leaves || target >= self.n_targets {
                return Err(Misfit(format!("target {target} of leaf {leaf} does not exist")));
            }
            let at = &mut all[leaf * self.n_targets + target];
            *at = if *at == empty { weight } else { *at + weight };
        }
        let dtype = r.b.fact(like).dtype;
        Ok(r.b.literal(Tensor::from_f64s(dtype, &[n_leaves, self.n_targets], all)))
    }
}

/// What all trees say together, `[rows, targets]`.
fn aggregated(r: &mut Rule<'_, '_>, forest: &Forest, weights: &Weights, x: Value, how: &str) -> Result<Value, Misfit> {
    let leaves = forest.leaves(r, x)?;
    let (fold, empty) = match how {
        "SUM" => (ReduceFn::Sum, 0.0),
        "AVERAGE" => (ReduceFn::Mean, 0.0),
        "MIN" => (ReduceFn::Min, f64::INFINITY),
        "MAX" => (ReduceFn::Max, f64::NEG_INFINITY),
        other => return Err(Misfit(format!("unknown aggregate_function {other:?}"))),
    };
    let table = weights.table(r, forest.n_leaves, empty, x)?;
    let each = make::gather(r.b, table, leaves, 0)?;
    let axes = make::ints(r.b, &[1]);
    let y = make::reduce(r.b, fold, each, axes, false)?;
    if empty == 0.0 {
        return Ok(y);
    }
    // A target that no tree speaks of has 0.
    let empty = make::scalar_like(r.b, y, empty);
    let is_empty = make::equal(r.b, y, empty)?;
    let zero = make::scalar_like(r.b, y, 0.0);
    make::select(r.b, is_empty, zero, y)
}

fn features(r: &mut Rule<'_, '_>) -> Result<Value, Misfit> {
    let x = floats_of(r, 0)?;
    if rank(r.b, x)? == 1 { make::reshape(r.b, x, &[1, -1]) } else { Ok(x) }
}

/// Inner nodes and leaves in lists of their own (version 5 of the domain).
fn ensemble(r: &mut Rule<'_, '_>) -> Spelled {
    let x = features(r)?;
    let (forest, weights) = forest_of_lists(r)?;
    let how = ["AVERAGE", "SUM", "MIN", "MAX"];
    let how = usize::try_from(r.int_or("aggregate_function", 1)).ok().and_then(|i| how.get(i)).copied().unwrap_or("");
    let y = aggregated(r, &forest, &weights, x, how)?;
    one(match r.int_or("post_transform", 0) {
        0 => y,
        1 => r.b.op(crate::ops::norm::Softmax { axis: -1 }, &[y])?,
        2 => make::sigmoid(r.b, y)?,
        other => return Err(Misfit(format!("post_transform {other} is not supported"))),
    })
}

fn forest_of_lists(r: &Rule<'_, '_>) -> Result<(Forest, Weights), Misfit> {
    let (feature, yes, no) =
        (indices(r, "nodes_featureids")?, indices(r, "nodes_truenodeids")?, indices(r, "nodes_falsenodeids")?);
    let (yes_leaf, no_leaf) = (indices(r, "nodes_trueleafs")?, indices(r, "nodes_falseleafs")?);
    let splits = numbers(r, "nodes_splits").ok_or_else(|| Misfit::new("nodes_splits is missing"))?;
    let modes = numbers(r, "nodes_modes").ok_or_else(|| Misfit::new("nodes_modes is missing"))?;
    let missing = r.ints_attr("nodes_missing_value_tracks_true").unwrap_or_default();
    let (targets, leaf_weights) = (indices(r, "leaf_targetids")?, numbers(r, "leaf_weights").unwrap_or_default());
    let n = feature.len();
    let lengths = [("nodes_truenodeids", yes.len()), ("nodes_falsenodeids", no.len()), ("nodes_splits", splits.len())];
    same_length(n, &lengths)?;
    same_length(
        n,
        &[("nodes_modes", modes.len()), ("nodes_trueleafs", yes_leaf.len()), ("nodes_falseleafs", no_leaf.len())],
    )?;
    same_length(targets.len(), &[("leaf_weights", leaf_weights.len())])?;
    let mut members = numbers(r, "membership_values").unwrap_or_default().into_iter();
    let mut forest = Forest { n_leaves: targets.len(), ..Forest::default() };
    forest.branches = vec![None; n];
    forest.leaf = vec![0; n];
    for leaf in 0..targets.len() {
        forest.push_leaf(leaf);
    }
    let place = |at: usize, is_leaf: usize| if is_leaf != 0 { at.saturating_add(n) } else { at };
    for i in 0..n {
        let (yes, no) = (place(yes[i], yes_leaf[i]), place(no[i], no_leaf[i]));
        let mut branch = Branch {
            feature: feature[i],
            test: Test::Equal,
            split: splits[i],
            takes_missing: missing.get(i).is_some_and(|&m| m != 0),
            yes,
            no,
        };
        if modes[i] == 6.0 {
            // Membership: one comparison after the other.
            let set: Vec<f64> = members.by_ref().take_while(|v| !v.is_nan()).collect();
            let Some((&last, others)) = set.split_last() else {
                return Err(Misfit(format!("node {i} asks for membership in an empty set")));
            };
            let mut next = forest.branches.len();
            branch.split = last;
            forest.branches.push(Some(branch));
            forest.leaf.push(0);
            for &value in others {
                forest.branches.push(Some(Branch { split: value, no: next, ..branch }));
                forest.leaf.push(0);
                next = forest.branches.len() - 1;
            }
            forest.branches[i] = forest.branches[next];
            continue;
        }
        branch.test = *Test::ALL.get(modes[i] as usize).ok_or_else(|| Misfit(format!("unknown mode {}", modes[i])))?;
        forest.branches[i] = Some(branch);
    }
    forest.roots = indices(r, "tree_roots")?;
    let n_targets = usize::try_from(r.int_or("n_targets", 1)).unwrap_or(1).max(1);
    let entries = targets.into_iter().zip(leaf_weights).enumerate().map(|(leaf, (t, w))| (leaf, t, w)).collect();
    Ok((forest, Weights { entries, n_targets }))
}

/// Nodes by tree and number (versions 1 to 4); `side` names the lists of weights.
fn forest_of_nodes(r: &Rule<'_, '_>, side: &str, n_targets: usize) -> Result<(Forest, Weights), Misfit> {
    let list = |name: &str| indices(r, &format!("nodes_{name}"));
    let (trees, nodes, feature) = (list("treeids")?, list("nodeids")?, list("featureids")?);
    let (yes, no) = (list("truenodeids")?, list("falsenodeids")?);
    let modes = texts_attr(r, "nodes_modes").ok_or_else(|| Misfit::new("nodes_modes is missing"))?;
    let splits = numbers(r, "nodes_values").ok_or_else(|| Misfit::new("nodes_values is missing"))?;
    let missing = r.ints_attr("nodes_missing_value_tracks_true").unwrap_or_default();
    let n = trees.len();
    same_length(
        n,
        &[("nodes_nodeids", nodes.len()), ("nodes_featureids", feature.len()), ("nodes_modes", modes.len())],
    )?;
    same_length(
        n,
        &[("nodes_truenodeids", yes.len()), ("nodes_falsenodeids", no.len()), ("nodes_values", splits.len())],
    )?;
    let place: std::collections::HashMap<(usize, usize), usize> =
        trees.iter().copied().zip(nodes.iter().copied()).zip(0..).collect();
    let find = |tree: usize, node: usize| {
        let found = place.get(&(tree, node)).copied();
        found.ok_or_else(|| Misfit(format!("tree {tree} has no node {node}")))
    };
    let mut forest = Forest { n_leaves: n, ..Forest::default() };
    for i in 0..n {
        let branch = match Test::named(&modes[i]) {
            None if modes[i] == "LEAF" => None,
            None => return Err(Misfit(format!("unknown mode {:?}", modes[i]))),
            Some(test) => Some(Branch {
                feature: feature[i],
                test,
                split: splits[i],
                takes_missing: missing.get(i).is_some_and(|&m| m != 0),
                yes: find(trees[i], yes[i])?,
                no: find(trees[i], no[i])?,
            }),
        };
        forest.branches.push(branch);
        forest.leaf.push(i);
        // The first node of a tree is its root.
        if i == 0 || trees[i] != trees[i - 1] {
            forest.roots.push(i);
        }
    }
    let of_weight = |name: &str| indices(r, &format!("{side}_{name}"));
    let (of_trees, of_nodes, targets) = (of_weight("treeids")?, of_weight("nodeids")?, of_weight("ids")?);
    let weights = numbers(r, &format!("{side}_weights")).unwrap_or_default();
    same_length(weights.len(), &[("treeids", of_trees.len()), ("nodeids", of_nodes.len()), ("ids", targets.len())])?;
    let mut entries = Vec::with_capacity(weights.len());
    for i in 0..weights.len() {
        entries.push((find(of_trees[i], of_nodes[i])?, targets[i], weights[i]));
    }
    Ok((forest, Weights { entries, n_targets }))
}

fn with_base(r: &mut Rule<'_, '_>, y: Value) -> Result<Value, Misfit> {
    let Some(base) = numbers(r, "base_values").filter(|v| !v.is_empty()) else { return Ok(y) };
    let dtype = r.b.fact(y).dtype;
    let base = r.b.literal(Tensor::from_f64s(dtype, &[base.len()], base.iter().copied()));
    make::add(r.b, y, base)
}

fn regressor(r: &mut Rule<'_, '_>) -> Spelled {
    let x = features(r)?;
    let n_targets = usize::try_from(r.int_or("n_targets", 1)).unwrap_or(1).max(1);
    let (forest, weights) = forest_of_nodes(r, "target", n_targets)?;
    let how = r.str_or("aggregate_function", "SUM").to_owned();
    let y = aggregated(r, &forest, &weights, x, &how)?;
    let y = with_base(r, y)?;
    let y = post_transform(r, y)?;
    one(make::cast(r.b, y, DType::F32)?)
}

/// Outputs: labels and scores. With two classes and weights for one of them, its score decides alone.
fn classifier(r: &mut Rule<'_, '_>) -> Spelled {
    let x = features(r)?;
    let (names, n) = class_names(r, "classlabels_int64s", "classlabels_strings")?;
    let (forest, mut weights) = forest_of_nodes(r, "class", n)?;
    let mut classes: Vec<usize> = weights.entries.iter().map(|(_, class, _)| *class).collect();
    classes.sort_unstable();
    classes.dedup();
    if n != 2 || classes.len() != 1 {
        let y = aggregated(r, &forest, &weights, x, "SUM")?;
        let y = with_base(r, y)?;
        let at = best(r, y)?;
        let label = make::gather(r.b, names, at, 0)?;
        let scores = post_transform(r, y)?;
        return Ok(smallvec![label, make::cast(r.b, scores, DType::F32)?]);
    }
    weights.n_targets = 1;
    weights.entries.iter_mut().for_each(|e| e.1 = 0);
    let are_positive = weights.entries.iter().all(|e| e.2 >= 0.0);
    let y = aggregated(r, &forest, &weights, x, "SUM")?;
    let y = with_base(r, y)?;
    let y = make::slice(r.b, y, &[0, 0], &[-1, 1])?;
    let threshold = make::scalar_like(r.b, y, if are_positive { 0.5 } else { 0.0 });
    let is_second = make::greater(r.b, y, threshold)?;
    let at = make::cast(r.b, is_second, DType::I64)?;
    let at = make::reshape(r.b, at, &[-1])?;
    let label = make::gather(r.b, names, at, 0)?;
    let other = make::neg(r.b, y)?;
    let is_logistic = r.str_or("post_transform", "NONE") == "LOGISTIC";
    let scores = if are_positive {
        let other = make::add_scalar(r.b, other, 1.0)?;
        make::concat(r.b, &[other, y], 1)?
    } else {
        let both = make::concat(r.b, &[other, y], 1)?;
        if is_logistic { make::sigmoid(r.b, both)? } else { both }
    };
    Ok(smallvec![label, make::cast(r.b, scores, DType::F32)?])
}
