//! The table of TensorFlow ops that we can spell, by family. Adding one: a row in its family's `RULES`.

mod arrays;
mod audio;
mod boxes;
pub mod complex;
mod control;
mod conv;
mod decompose;
mod diagonal;
mod dims;
mod gradients;
mod image;
mod index;
mod linalg;
mod math;
mod matrix;
mod nn;
mod optimised;
mod quantise;
mod quantised;
mod ragged;
mod random;
mod recurrent;
mod reduce;
mod search;
mod sparse;
mod sparse_parts;
mod special;
mod warp;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::lower::Spelling;

/// A table of rows, `"Op" => rule;` each.
macro_rules! rows {
    ($($op:literal => $rule:expr;)*) => { &[$(Spelling { op: $op, rule: $rule }),*] };
}
use rows;

/// Every family's rows, in the order of the coverage table.
pub const FAMILIES: &[(&str, &[Spelling])] = &[
    ("math", math::RULES),
    ("arrays", arrays::RULES),
    ("index", index::RULES),
    ("reduce", reduce::RULES),
    ("nn", nn::RULES),
    ("optimised", optimised::RULES),
    ("conv", conv::RULES),
    ("image", image::RULES),
    ("boxes", boxes::RULES),
    ("linalg", linalg::RULES),
    ("matrix", matrix::RULES),
    ("decompose", decompose::RULES),
    ("random", random::RULES),
    ("recurrent", recurrent::RULES),
    ("control", control::RULES),
    ("quantise", quantise::RULES),
    ("search", search::RULES),
    ("sparse", sparse::RULES),
    ("sparse_parts", sparse_parts::RULES),
    ("gradients", gradients::RULES),
    ("complex", complex::RULES),
    ("audio", audio::RULES),
    ("special", special::RULES),
    ("warp", warp::RULES),
    ("ragged", ragged::RULES),
    ("quantised", quantised::RULES),
];

static BY_OP: LazyLock<HashMap<&'static str, &'static Spelling>> =
    LazyLock::new(|| FAMILIES.iter().flat_map(|(_, rules)| rules.iter()).map(|s| (s.op, s)).collect());

/// All rows.
pub fn all() -> impl Iterator<Item = &'static Spelling> {
    FAMILIES.iter().flat_map(|(_, rules)| rules.iter())
}

/// The row for an op in TensorFlow's words.
pub fn find(op: &str) -> Option<&'static Spelling> {
    BY_OP.get(op).copied()
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
