//! What an optimizer remembered when TensorFlow saved a checkpoint: moments, accumulators and the number of updates, so
//! that training can go on where it stopped.
//!
//! What ops do decides first: an `ApplyAdam` names its variable and its slots by position. Optimizers that are made of plain
//! ops (sparse gradients, BERT's own) say nothing; there the names do, by which TensorFlow calls the slots of a variable
//! (tensorflow/python/training/slot_creator.py: `VARIABLE/OPTIMIZER`, `VARIABLE/OPTIMIZER_1`), or those that the same
//! file's other slots have.

use std::collections::HashMap;

use crate::formats::Imported;
use crate::formats::folders::google;
use crate::graph::{ConstantOrigin, Graph, Node, NodeId, NodeKey};
use crate::tensor::Payload;

use super::bundle::Bundle;
use super::variables::{is_variable, through_aliases};

/// What kind of optimizer left its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Mean and mean of squares: `m`, `v`.
    Adam,
    /// Sum of past gradients: `momentum`.
    Momentum,
    /// Sum of squares: `sum`.
    Adagrad,
    /// Mean of squares: `v`.
    RmsProp,
}

impl Family {
    /// Names of its slots, in the order of its ops' inputs.
    pub fn slots(self) -> &'static [&'static str] {
        match self {
            Self::Adam => &["m", "v"],
            Self::Momentum => &["momentum"],
            Self::Adagrad => &["sum"],
            // The second slot is scaled by the rate of then, which is another thing than ours.
            Self::RmsProp => &["v"],
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Self::Adam => "Adam",
            Self::Momentum => "momentum",
            Self::Adagrad => "Adagrad",
            Self::RmsProp => "RMSProp",
        }
    }
}

/// An op that updates a variable; the slots are its inputs from the second on.
struct Apply {
    ops: &'static [&'static str],
    family: Family,
    /// Inputs with the accumulated powers of both betas, and with the betas.
    powers: Option<([usize; 2], [usize; 2])>,
}

/// Inputs by position: tensorflow/core/ops/training_ops.cc.
const APPLIES: &[Apply] = &[
    Apply { ops: &["ApplyAdam", "ResourceApplyAdam"], family: Family::Adam, powers: Some(([3, 4], [6, 7])) },
    Apply {
        ops: &["ApplyMomentum", "ResourceApplyMomentum", "SparseApplyMomentum", "ResourceSparseApplyMomentum"],
        family: Family::Momentum,
        powers: None,
    },
    Apply {
        ops: &[
            "ApplyAdagrad",
            "ApplyAdagradV2",
            "ResourceApplyAdagrad",
            "ResourceApplyAdagradV2",
            "SparseApplyAdagrad",
            "SparseApplyAdagradV2",
            "ResourceSparseApplyAdagrad",
            "ResourceSparseApplyAdagradV2",
        ],
        family: Family::Adagrad,
        powers: None,
    },
    Apply {
        ops: &["ApplyRMSProp", "ResourceApplyRMSProp", "SparseApplyRMSProp", "ResourceSparseApplyRMSProp"],
        family: Family::RmsProp,
        powers: None,
    },
];

/// How slots are called behind the variable's name.
const USUAL: &[(Family, &[&str])] = &[
    (Family::Adam, &["/adam_m", "/adam_v"]),
    (Family::Adam, &["/Adam", "/Adam_1"]),
    (Family::Adam, &["/lamb_m", "/lamb_v"]),
    (Family::Momentum, &["/Momentum"]),
    (Family::Adagrad, &["/Adagrad"]),
    (Family::RmsProp, &["/RMSProp"]),
];

const GLOBAL_STEP: &str = "global_step";
/// Below this, a power of a beta has lost its digits.
const SMALLEST_POWER: f64 = 1e-30;

/// See the module doc.
#[derive(Debug)]
pub struct OptimizerState {
    pub family: Family,
    /// The variable's node → its slots, in the order of [`Family::slots`].
    pub slots: HashMap<NodeKey, Vec<Payload>>,
    /// Updates done so far, as far as the file says.
    pub updates: Option<u64>,
}

impl Imported {
    /// What the training program that saved the model left of its optimizer; `None` where there is nothing. Reads no
    /// slots, only a few numbers.
    pub fn optimizer_state(&self) -> Option<OptimizerState> {
        let graph = &self.graph;
        let by_name = match self.variables() {
            Some(_) => None,
            // The graph is built; what else the checkpoint holds is known by its names alone.
            None if self.format == google::GOOGLE.name => google::checkpoint(self.source()).ok(),
            None => return None,
        };
        let slots = Slots { graph, bundle: by_name.as_ref() };
        slots.find()
    }
}

struct Slots<'a> {
    graph: &'a Graph,
    /// Where slots are looked up that are no nodes.
    bundle: Option<&'a Bundle>,
}

impl Slots<'_> {
    fn find(&self) -> Option<OptimizerState> {
        let mut found: HashMap<Family, HashMap<NodeKey, Vec<Payload>>> = HashMap::new();
        let mut endings: Vec<(Family, Vec<String>)> = Vec::new();
        let mut updates = None;
        for node in &self.graph.nodes {
            let Some(apply) = APPLIES.iter().find(|a| a.ops.contains(&node.op.as_str())) else { continue };
            let Some((key, names, payloads)) = self.applied(node, apply.family) else { continue };
            let ending = names.iter().map(|n| n.strip_prefix(key.as_str()).map(str::to_owned)).collect();
            if let Some(ending) = ending
                && !endings.iter().any(|(_, known)| *known == ending)
            {
                endings.push((apply.family, ending));
            }
            found.entry(apply.family).or_default().insert(key, payloads);
            updates = updates.or_else(|| self.counted(node, apply.powers?));
        }
        let usual = USUAL.iter().map(|(family, all)| (*family, all.iter().map(|e| (*e).to_owned()).collect()));
        endings.extend(usual);
        for (family, ending) in &endings {
            for variable in self.graph.nodes.iter().filter(|n| n.leftover.is_none() && n.constant.is_some()) {
                let of_family = found.entry(*family).or_default();
                if !of_family.contains_key(&variable.key)
                    && let Some(payloads) = self.named(variable, ending)
                {
                    of_family.insert(variable.key.clone(), payloads);
                }
            }
        }
        let (family, slots) =
            found.into_iter().filter(|(_, s)| !s.is_empty()).max_by_key(|(f, s)| (s.len(), *f as u8))?;
        let step = self.global_step();
        let updates = match (updates, step) {
            // A power has a few digits; the whole number beside it is what it stands for.
            (Some(t), Some(step)) if (t - step as f64).abs() <= 0.5 + t * 1e-3 => Some(step),
            (Some(t), _) => Some(t.round().max(0.0) as u64),
            (None, step) => step,
        };
        Some(OptimizerState { family, slots, updates })
    }

    /// Variable, names of the slots, and the slots of an op that updates.
    fn applied(&self, node: &Node, family: Family) -> Option<(NodeKey, Vec<String>, Vec<Payload>)> {
        let input = |i: usize| {
            let node = self.graph.node(self.input(node, i)?);
            is_variable(&node.op).then_some(node)
        };
        let variable = input(0)?;
        let shape = &variable.constant.as_ref()?.payload.shape;
        let slots: Vec<&Node> = (1..=family.slots().len()).map(input).collect::<Option<_>>()?;
        let payload = |n: &&Node| Some(n.constant.as_ref()?.payload.clone()).filter(|p| p.shape == *shape);
        let payloads = slots.iter().map(payload).collect::<Option<_>>()?;
        Some((variable.key.clone(), slots.iter().map(|n| n.key.as_str().to_owned()).collect(), payloads))
    }

    /// The slots of a variable by their names.
    fn named(&self, variable: &Node, endings: &[String]) -> Option<Vec<Payload>> {
        let of = variable.constant.as_ref()?;
        let is_stored = matches!(of.origin, ConstantOrigin::Variable { .. }) || self.bundle.is_some();
        let find = |ending: &String| {
            let name = format!("{}{ending}", variable.key);
            let payload = match self.bundle {
                Some(bundle) => bundle.payload(&name)?,
                None => {
                    let node = self.graph.node(self.graph.node_named(&name)?);
                    node.leftover?;
                    node.constant.as_ref()?.payload.clone()
                }
            };
            (payload.dtype.is_float() && payload.shape == of.payload.shape).then_some(payload)
        };
        if is_stored { endings.iter().map(find).collect() } else { None }
    }

    fn input(&self, node: &Node, i: usize) -> Option<NodeId> {
        let value = (*node.inputs.get(i)?)?;
        Some(through_aliases(self.graph, self.graph.value(value).producer))
    }

    fn number(&self, node: &Node, i: usize) -> Option<f64> {
        let mut id = self.input(node, i)?;
        // A resource's value is read by an op of its own.
        if self.graph.node(id).op == "ReadVariableOp" {
            id = self.input(self.graph.node(id), 0)?;
        }
        single(&self.graph.node(id).constant.as_ref()?.payload)
    }

    /// Updates that the powers of the betas have seen: they start at the beta itself.
    fn counted(&self, node: &Node, (powers, betas): ([usize; 2], [usize; 2])) -> Option<f64> {
        let count = |i: usize| {
            let (power, beta) = (self.number(node, powers[i])?, self.number(node, betas[i])?);
            let is_usable = power > SMALLEST_POWER && power < 1.0 && beta > 0.0 && beta < 1.0;
            is_usable.then(|| power.ln() / beta.ln() - 1.0)
        };
        count(0).or_else(|| count(1))
    }

    fn global_step(&self) -> Option<u64> {
        let of_graph = self.graph.node_named(GLOBAL_STEP).and_then(|id| self.graph.constant(id)).map(|c| &c.payload);
        let value = match (of_graph, self.bundle) {
            (Some(payload), _) => single(payload),
            (None, Some(bundle)) => single(&bundle.payload(GLOBAL_STEP)?),
            (None, None) => None,
        };
        value.filter(|v| *v >= 0.0).map(|v| v as u64)
    }
}

fn single(payload: &Payload) -> Option<f64> {
    if payload.element_count() != 1 {
        return None;
    }
    payload.load().ok()?.to_f64s()?.first().copied()
}
