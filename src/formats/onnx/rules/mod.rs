//! The table of ONNX ops that we can spell, by family. Adding one: a row in its family's `RULES`. Ops of other domains
//! than `ai.onnx` are named `domain.Op`.

mod arrays;
mod attention;
mod boxes;
mod common;
mod contrib;
mod contrib_grouped;
mod contrib_linear;
mod contrib_more;
mod contrib_quantised;
mod conv;
mod deform;
mod flex;
mod images;
mod index;
mod learn;
mod learn_trees;
mod linalg;
mod math;
mod nn;
mod quantised;
mod random;
mod recurrent;
mod reduce;
mod sequences;
mod signal;
mod training;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::lower::Spelling;

/// Every family's rows, in the order of the coverage table.
pub const FAMILIES: &[(&str, &[Spelling])] = &[
    ("math", math::RULES),
    ("arrays", arrays::RULES),
    ("index", index::RULES),
    ("reduce", reduce::RULES),
    ("nn", nn::RULES),
    ("conv", conv::RULES),
    ("deform", deform::RULES),
    ("linalg", linalg::RULES),
    ("sequences", sequences::RULES),
    ("recurrent", recurrent::RULES),
    ("attention", attention::RULES),
    ("flex attention", flex::RULES),
    ("images", images::RULES),
    ("boxes", boxes::RULES),
    ("signal", signal::RULES),
    ("quantised", quantised::RULES),
    ("random", random::RULES),
    ("training", training::RULES),
    ("ml", learn::RULES),
    ("ml trees", learn_trees::RULES),
    ("contrib", contrib::RULES),
    ("contrib grouped", contrib_grouped::RULES),
    ("contrib more", contrib_more::RULES),
    ("contrib quantised", contrib_quantised::RULES),
    ("contrib quantised element by element", contrib_linear::RULES),
];

static BY_OP: LazyLock<HashMap<&'static str, &'static Spelling>> =
    LazyLock::new(|| FAMILIES.iter().flat_map(|(_, rules)| rules.iter()).map(|s| (s.op, s)).collect());

/// The row for an op.
pub fn find(domain: &str, op: &str) -> Option<&'static Spelling> {
    match domain {
        "" => BY_OP.get(op).copied(),
        domain => BY_OP.get(format!("{domain}.{op}").as_str()).copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_op_is_spelled_twice() {
        let rows: usize = FAMILIES.iter().map(|(_, rules)| rules.len()).sum();
        assert_eq!(rows, BY_OP.len());
    }
}
