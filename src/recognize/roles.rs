//! What each constant of a graph is to the model, with the reason in words, and from that which ones a person would
//! train.
//!
//! The role comes from what the constant meets in the spelled program. Only where that leaves it open whether it is a
//! weight or structure (a mask) are its elements read, and then lazily.

use std::collections::HashMap;

use serde::Serialize;

use crate::graph::{Constant, ConstantOrigin, Graph, NodeKey};
use crate::ops::elementwise::{Binary, BinaryFn};
use crate::ops::index::{Gather, GatherNd, OneHot};
use crate::program::{Instr, Program, Value};
use crate::tensor::Payload;

use super::DropoutSite;
use super::masks::{is_from_integers, is_rotation, is_two_level, is_uniform};
use super::normalisation::{self, Slot};
use super::reading::{Evidence, Reading};
use super::uses::{Index, Use, behind};

/// See the variants' names; `other` is what none fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    MatmulWeight,
    Embedding,
    ConvFilter,
    Bias,
    NormScale,
    NormShift,
    NormStatistic,
    Mask,
    Scalar,
    Shape,
    Other,
}

impl Role {
    pub const ALL: [Self; 11] = [
        Self::MatmulWeight,
        Self::Embedding,
        Self::ConvFilter,
        Self::Bias,
        Self::NormScale,
        Self::NormShift,
        Self::NormStatistic,
        Self::Mask,
        Self::Scalar,
        Self::Shape,
        Self::Other,
    ];

    /// The word that reports and selectors use.
    pub fn name(self) -> &'static str {
        match self {
            Self::MatmulWeight => "matmul-weight",
            Self::Embedding => "embedding",
            Self::ConvFilter => "conv-filter",
            Self::Bias => "bias",
            Self::NormScale => "norm-scale",
            Self::NormShift => "norm-shift",
            Self::NormStatistic => "norm-statistic",
            Self::Mask => "mask",
            Self::Scalar => "scalar",
            Self::Shape => "shape",
            Self::Other => "other",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// The verdict about one constant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConstantRole {
    #[serde(serialize_with = "as_text")]
    pub node: NodeKey,
    pub role: Role,
    /// Whether it is among what a person would train.
    pub suggest: bool,
    pub reason: String,
}

fn as_text<S: serde::Serializer>(key: &NodeKey, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(key.as_str())
}

/// Names of the ops whose operands are weights.
const MATMUL: &str = "matmul";
const CONV: &str = "conv";
const CONV_INPUT: &str = "conv_input";

fn is_op(instr: &Instr, name: &str) -> bool {
    instr.op().is_some_and(|op| op.info().name == name)
}

/// Roles of all constants of the main graph, in file order.
pub fn find(graph: &Graph, program: &Program, sites: &[DropoutSite]) -> Vec<ConstantRole> {
    let index = Index::new(program);
    let mut values: HashMap<&NodeKey, Vec<(usize, Value)>> = HashMap::new();
    for (p, block) in index.programs.iter().enumerate() {
        for c in &block.constants {
            if let Some(node) = &c.node {
                values.entry(node).or_default().push((p, c.value));
            }
        }
    }
    let readers = graph.readers();
    let of_sites: std::collections::HashSet<&NodeKey> = sites.iter().flat_map(|s| &s.nodes).collect();
    let mut evidence = Evidence::default();
    let mut roles: Vec<ConstantRole> = graph
        .constants()
        .map(|(id, constant)| {
            let node = &graph.node(id).key;
            let places = values.get(node).map_or(&[][..], Vec::as_slice);
            let uses: Vec<Use> = places.iter().flat_map(|&(p, v)| index.uses(p, v)).collect();
            let reading = Reading::of(graph, &readers, id);
            let other_form: Vec<Use> = match reading {
                Reading::Stored => places.iter().flat_map(|&(p, v)| index.uses_of_other_form(p, v)).collect(),
                _ => Vec::new(),
            };
            let subject = Subject {
                index: &index,
                payload: &constant.payload,
                uses: &uses,
                other_form: &other_form,
                was_variable: reading == Reading::Variable,
                is_of_dropout: of_sites.contains(node),
            };
            let verdict = subject.judge();
            let (role, suggest, reason) = match graph.node(id).leftover {
                Some(left) => (Role::Other, false, format!("left over from training ({})", left.name())),
                None => with_evidence(verdict, constant),
            };
            // Elements are read last: of the few constants that would be doubted.
            let is_doubted = suggest && reading == Reading::Direct && !subject.is_beyond_doubt(role);
            evidence.add(suggest && matches!(reading, Reading::Variable | Reading::Stored), is_doubted);
            ConstantRole { node: node.clone(), role, suggest, reason }
        })
        .collect();
    evidence.withdraw(&mut roles);
    roles
}

type Judgement = (Role, bool, String);

/// What the training program itself trained, where the file says so, overrules what a constant's place suggests.
fn with_evidence((role, suggest, reason): Judgement, constant: &Constant) -> Judgement {
    let ConstantOrigin::Variable { trainable, .. } = &constant.origin else { return (role, suggest, reason) };
    let is_weight = constant.payload.dtype.is_float() && constant.payload.element_count() > 0;
    match trainable {
        Some(true) if is_weight && !suggest => (role, true, format!("a trainable variable of its program ({reason})")),
        Some(false) if suggest => (role, false, format!("its program did not train it ({reason})")),
        _ => (role, suggest, reason),
    }
}

struct Subject<'a> {
    index: &'a Index<'a>,
    payload: &'a Payload,
    uses: &'a [Use],
    /// Where it is used in another form than it is stored in; nothing where that is not looked at.
    other_form: &'a [Use],
    was_variable: bool,
    is_of_dropout: bool,
}

impl Subject<'_> {
    fn judge(&self) -> Judgement {
        let keep = |role: Role, reason: &str| (role, false, reason.to_owned());
        let dtype = self.payload.dtype;
        if !dtype.is_float() {
            return self.not_float();
        }
        let count = self.payload.element_count();
        if count == 0 {
            return keep(Role::Other, "it has no elements");
        }
        if self.payload.shape.is_empty() {
            return keep(
                Role::Scalar,
                if self.is_of_dropout { "a number of a dropout site" } else { "a single number" },
            );
        }
        if let Some(reason) = self.uses.iter().find_map(|u| self.starting_state(u)) {
            return (Role::Other, false, reason);
        }
        let of_uses = |uses: &[Use]| uses.iter().filter_map(|u| self.role(u)).min_by_key(|(r, _)| rank(*r));
        let Some((role, reason)) = of_uses(self.uses).or_else(|| of_uses(self.other_form)) else {
            return self.without_role();
        };
        match role {
            Role::Bias | Role::MatmulWeight | Role::ConvFilter => (role, true, reason),
            _ if count == 1 => keep(Role::Scalar, "a single number"),
            Role::NormStatistic => (role, false, reason),
            Role::Embedding | Role::NormScale | Role::NormShift => self.unless_structure(role, reason),
            Role::Mask | Role::Other => (role, false, reason),
            _ => self.without_role(),
        }
    }

    fn not_float(&self) -> Judgement {
        let dtype = self.payload.dtype;
        let serves_shape = self.uses.iter().any(|u| {
            let family = self.index.instr(u).op().map_or("", |op| op.info().family);
            matches!(family, "shape" | "reduce" | "random") || u.operand > 0 && dtype.is_int()
        });
        let role = if serves_shape && dtype.is_int() { Role::Shape } else { Role::Other };
        (role, false, format!("{dtype} carries no gradient"))
    }

    /// Left factors whose elements are all equal are where a recurrence begins.
    fn starting_state(&self, at: &Use) -> Option<String> {
        let instr = self.index.instr(at);
        let is_left = is_op(instr, MATMUL) && at.operand == 0 && !self.was_variable;
        let is_state = is_left && self.payload.element_count() > 1 && is_uniform(self.payload);
        is_state.then(|| format!("a starting state of {}: all its elements are equal", place(instr)))
    }

    /// What one use says.
    fn role(&self, at: &Use) -> Option<(Role, String)> {
        let instr = self.index.instr(at);
        let program = self.index.programs[at.program];
        let node = place(instr);
        if at.is_stopped {
            return Some((Role::NormStatistic, format!("a statistic of the normalisation {node}")));
        }
        if is_op(instr, MATMUL) && at.operand < 2 {
            let other = behind(program, instr.inputs[1 - at.operand]);
            let is_one_hot = program.producer(other).is_some_and(|(_, p)| p.op_as::<OneHot>().is_some());
            return Some(match is_one_hot {
                true => (Role::Embedding, format!("rows are picked by the one-hot product {node}")),
                false => (Role::MatmulWeight, format!("a factor of the matrix product {node}")),
            });
        }
        if (is_op(instr, CONV) || is_op(instr, CONV_INPUT)) && at.operand == 1 {
            return Some((Role::ConvFilter, format!("the filter of {node}")));
        }
        if (instr.op_as::<Gather>().is_some() || instr.op_as::<GatherNd>().is_some()) && at.operand == 0 {
            return Some((Role::Embedding, format!("rows are looked up by {node}")));
        }
        if let Some(slot) = normalisation::slot(self.index, at) {
            return Some(match slot {
                Slot::Scale => (Role::NormScale, format!("scales the normalised values at {node}")),
                Slot::Shift => (Role::NormShift, format!("shifts the normalised values at {node}")),
                Slot::Mean => (Role::NormStatistic, format!("the mean of the normalisation at {node}")),
                Slot::Variance => (Role::NormStatistic, format!("the variance of the normalisation at {node}")),
            });
        }
        self.arithmetic(at, instr, program, &node)
    }

    fn arithmetic(&self, at: &Use, instr: &Instr, program: &Program, node: &str) -> Option<(Role, String)> {
        let f = instr.op_as::<Binary>()?.f;
        let other = instr.inputs[1 - at.operand.min(1)];
        let from_integers = is_from_integers(program, other, 0);
        match f {
            BinaryFn::Mul if from_integers => Some((Role::Mask, format!("it multiplies a mask at {node}"))),
            BinaryFn::Add if from_integers && !at.is_part => None,
            BinaryFn::Add | BinaryFn::Sub => {
                let after_product = is_product(program, other);
                let is_vector = self.payload.shape.iter().filter(|d| **d != 1).count() <= 1;
                if after_product && (is_vector || self.payload.shape.len() == 1) {
                    Some((Role::Bias, format!("added to the product at {node}")))
                } else if self.payload.element_count() == 1 {
                    None
                } else if is_vector && !at.is_part {
                    Some((Role::Bias, format!("added to each row at {node}")))
                } else {
                    Some((Role::Embedding, format!("positions are taken from it and added at {node}")))
                }
            }
            // A learned scale of features; whether it is one, its elements say.
            BinaryFn::Mul if self.payload.element_count() > 1 => {
                Some((Role::NormScale, format!("scales features at {node}")))
            }
            _ => None,
        }
    }

    /// A place that hardly anything but a weight has: a factor whose elements differ, or what is added to a product.
    fn is_beyond_doubt(&self, role: Role) -> bool {
        match role {
            Role::MatmulWeight | Role::ConvFilter => !is_uniform(self.payload),
            Role::Bias => self.uses.iter().any(|u| {
                let instr = self.index.instr(u);
                let is_sum = instr.op_as::<Binary>().is_some_and(|b| b.f == BinaryFn::Add);
                is_sum && is_product(self.index.programs[u.program], instr.inputs[1 - u.operand.min(1)])
            }),
            _ => false,
        }
    }

    /// A weight by its place, unless its elements show that it is a mask.
    fn unless_structure(&self, role: Role, reason: String) -> Judgement {
        let rank = self.payload.shape.iter().filter(|d| **d != 1).count();
        let is_table = self.uses.iter().any(|u| {
            let instr = self.index.instr(u);
            instr.op_as::<Gather>().is_some() || instr.op_as::<GatherNd>().is_some() || is_op(instr, MATMUL)
        });
        let is_slot = self.uses.iter().any(|u| normalisation::slot(self.index, u).is_some());
        if is_slot && !self.was_variable && is_uniform(self.payload) {
            // What is scaled again right behind it needs no scale of its own: exporters fill in the one that an op wants.
            let again = |u: &&Use| normalisation::is_scaled_again(self.index, u);
            if let Some(again) = self.uses.iter().find(again) {
                let at = place(self.index.instr(again));
                return (
                    Role::Other,
                    false,
                    format!("all its elements are equal, and what {at} gives is scaled again"),
                );
            }
        }
        if role == Role::NormScale && !self.was_variable && is_rotation(self.payload) {
            return (Role::Other, false, format!("sines or cosines of positions ({reason})"));
        }
        if self.was_variable || is_table || is_slot || rank < 2 && role != Role::NormScale {
            return (role, true, reason);
        }
        if is_uniform(self.payload) {
            return (Role::Mask, false, format!("all elements are equal ({reason})"));
        }
        if is_two_level(self.payload) {
            return (Role::Mask, false, format!("its elements have the two levels of a mask ({reason})"));
        }
        (role, true, reason)
    }

    fn without_role(&self) -> Judgement {
        if self.payload.element_count() == 1 {
            return (Role::Scalar, false, "a single number".to_owned());
        }
        if self.uses.is_empty() && !self.was_variable {
            return (Role::Other, false, "nothing reads it".to_owned());
        }
        match self.was_variable {
            true => (Role::Other, true, "it was a variable before the graph was frozen".to_owned()),
            false => (Role::Other, false, "it is used like neither a weight nor a bias".to_owned()),
        }
    }
}

/// Whether a value comes from a matrix product or a convolution.
fn is_product(program: &Program, v: Value) -> bool {
    let source = program.producer(behind(program, v)).map(|(_, p)| p);
    source.is_some_and(|p| [MATMUL, CONV, CONV_INPUT].iter().any(|n| is_op(p, n)))
}

/// Of several uses the first in this order decides.
fn rank(role: Role) -> usize {
    Role::ALL.iter().position(|r| *r == role).unwrap_or(Role::ALL.len())
}

fn place(instr: &Instr) -> String {
    instr.origin.as_ref().map_or_else(|| instr.name().to_owned(), NodeKey::to_string)
}
