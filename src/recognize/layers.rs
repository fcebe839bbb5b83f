//! Which layer of a model each weight belongs to, by structure alone: weights in the order in which they are met, the
//! longest stretch of them that repeats, and what stands before and after it.

use std::collections::HashMap;

use crate::graph::NodeKey;
use crate::program::{Def, Program};

use super::roles::{ConstantRole, Role};
use super::uses::Index;

/// Weights beyond this are not searched for a repetition: the search looks at all pairs of distance and start.
const MAX_WEIGHTS: usize = 4096;

/// Layers count from 1 at the inputs; 0 is what comes before the first (embeddings), `count + 1` what comes after the last
/// (pooler, head).
#[derive(Clone, Debug, Default)]
pub struct Layers {
    pub count: usize,
    /// Whether the model is a stack of equal blocks; else each matrix or filter is a layer.
    pub is_stack: bool,
    of: HashMap<NodeKey, usize>,
}

impl Layers {
    pub fn layer(&self, node: &NodeKey) -> Option<usize> {
        self.of.get(node).copied()
    }

    /// How many layers a constant is away from the output: 0 behind the last layer, 1 in the last.
    pub fn from_top(&self, node: &NodeKey) -> Option<usize> {
        self.layer(node).map(|l| (self.count + 1).saturating_sub(l))
    }
}

/// One constant at its first use.
struct Weight<'a> {
    node: &'a NodeKey,
    depth: usize,
    role: Role,
    dims: Vec<usize>,
    suggest: bool,
}

impl Weight<'_> {
    fn opens_layer(&self) -> bool {
        matches!(self.role, Role::MatmulWeight | Role::ConvFilter)
    }

    fn is_like(&self, other: &Self) -> bool {
        self.role == other.role && self.dims == other.dims
    }
}

/// See the module doc. `roles` are those of the program's constants.
pub fn find(program: &Program, roles: &[ConstantRole]) -> Layers {
    let all = weights(program, roles);
    let trained: Vec<&Weight<'_>> = all.iter().filter(|w| w.suggest).collect();
    if trained.is_empty() {
        return Layers::default();
    }
    // Where each layer begins, as an index into `trained`.
    let (starts, end, is_stack) = match stack(&trained) {
        Some((start, period, n)) => ((0..n).map(|k| start + k * period).collect::<Vec<_>>(), start + n * period, true),
        None => ((0..trained.len()).filter(|&i| trained[i].opens_layer()).collect(), trained.len(), false),
    };
    let layer_at = |i: usize| match starts.iter().rposition(|&s| s <= i) {
        None => 0,
        Some(_) if i >= end => starts.len() + 1,
        Some(k) => k + 1,
    };
    let mut out = Layers { count: starts.len(), is_stack, of: HashMap::new() };
    for (i, w) in trained.iter().enumerate() {
        out.of.insert(w.node.clone(), layer_at(i));
    }
    // What is not trained lies where its neighbours in depth lie.
    for w in all.iter().filter(|w| !w.suggest) {
        let before = trained.iter().rposition(|t| t.depth <= w.depth);
        out.of.insert(w.node.clone(), before.map_or(0, layer_at));
    }
    out
}

/// Float constants in the order of their first use: by depth, and by kind where the depth is the same.
fn weights<'a>(program: &Program, roles: &'a [ConstantRole]) -> Vec<Weight<'a>> {
    let index = Index::new(program);
    let depths = depths(program);
    let by_node: HashMap<&NodeKey, usize> =
        program.constants.iter().enumerate().filter_map(|(i, c)| Some((c.node.as_ref()?, i))).collect();
    let weight = |r: &'a ConstantRole| {
        let constant = &program.constants[*by_node.get(&r.node)?];
        let uses = index.uses(0, constant.value);
        let depth = uses.iter().filter(|u| u.program == 0).map(|u| depths[u.instr]).min()?;
        let dims = constant.payload.shape.to_vec();
        constant.payload.dtype.is_float().then_some(Weight {
            node: &r.node,
            depth,
            role: r.role,
            dims,
            suggest: r.suggest,
        })
    };
    let mut out: Vec<Weight<'_>> = roles.iter().filter_map(weight).collect();
    out.sort_by(|a, b| (a.depth, a.role, &a.dims, a.node).cmp(&(b.depth, b.role, &b.dims, b.node)));
    out
}

/// Length of the longest way from the feeds to each instruction.
fn depths(program: &Program) -> Vec<usize> {
    let mut out: Vec<usize> = Vec::with_capacity(program.instrs.len());
    for instr in &program.instrs {
        let before = instr.inputs.iter().filter_map(|v| match program.def(*v) {
            Def::Output { instr, .. } => out.get(instr).map(|d| d + 1),
            _ => None,
        });
        let depth = before.max().unwrap_or(0);
        out.push(depth);
    }
    out
}

/// The repeated stretch that covers most weights: its start, the length of one layer, how many layers. It must cover half
/// of all weights, so that equal matrices within the only layer are not taken for layers.
fn stack(weights: &[&Weight<'_>]) -> Option<(usize, usize, usize)> {
    let n = weights.len().min(MAX_WEIGHTS);
    let mut best: Option<(usize, usize, usize, usize)> = None;
    for period in 1..=n / 2 {
        let mut run = 0;
        for i in 0..=n - period {
            if i < n - period && weights[i].is_like(weights[i + period]) {
                run += 1;
                continue;
            }
            let (start, length) = (i - run, run + period);
            let layers = length / period;
            let covered = layers * period;
            if run > 0 && layers >= 2 && best.is_none_or(|(_, _, _, most)| covered > most) {
                best = Some((aligned(weights, start, length - covered), period, layers, covered));
            }
            run = 0;
        }
    }
    let (start, period, layers, _) = best.filter(|(.., covered)| 2 * covered >= n)?;
    weights[start..start + period].iter().any(|w| w.opens_layer()).then_some((start, period, layers))
}

/// The stretch may begin anywhere within what it is longer than whole layers: best with a matrix after something else.
fn aligned(weights: &[&Weight<'_>], start: usize, spare: usize) -> usize {
    let opens = |i: &usize| weights[*i].opens_layer() && (*i == 0 || !weights[*i - 1].opens_layer());
    (start..=start + spare).find(opens).unwrap_or(start)
}
