//! Which ONNX nodes are structure (aliases, calls, control flow) and which have a rule.

use crate::graph::{Attr, Graph, Node};
use crate::lower::compose::{Composed, NewNode};
use crate::lower::{Dialect, Repeat, RepeatKind, Spelling, Structure};

use super::bodies::SEQUENCES;
use super::build::{BODY, CAPTURED};
use super::{compose, rules};

/// Nodes without a stated op set are read by the newest rules.
const NEWEST: i64 = 28;

#[derive(Debug)]
pub struct Onnx;

pub static ONNX: Onnx = Onnx;

impl Dialect for Onnx {
    fn name(&self) -> &'static str {
        "onnx"
    }

    fn spelling(&self, node: &Node) -> Option<&'static Spelling> {
        rules::find(&node.domain, &node.op)
    }

    fn compose(&self, new: &NewNode<'_>) -> Option<Composed> {
        Some(compose::compose(new))
    }

    fn structure(&self, node: &Node) -> Structure {
        let function = |name: &str| node.attr(name).and_then(Attr::as_str).unwrap_or_default().to_owned();
        if node.attr(BODY).is_some() {
            return Structure::Call { function: function(BODY) };
        }
        if node.domain == "ai.onnx.ml" && node.op == "ZipMap" {
            // A dictionary for each row: the same numbers as the matrix, with the classes' names beside them.
            return Structure::Alias;
        }
        if !node.domain.is_empty() {
            return Structure::Op;
        }
        match node.op.as_str() {
            "Identity" | "OptionalGetElement" => Structure::Alias,
            "Optional" if !node.inputs.is_empty() => Structure::Alias,
            "SequenceMap" if node.attr(SEQUENCES).is_some() => sequence_map(node, function("body")),
            "If" => Structure::If { then_function: function("then_branch"), else_function: function("else_branch") },
            "Loop" => Structure::Repeat(Box::new(Repeat {
                body: function("body"),
                n_captured: n_captured(node),
                kind: RepeatKind::Count,
            })),
            "Scan" if node.opset == 0 || node.opset >= 9 => Structure::Repeat(Box::new(scan(node, function("body")))),
            _ => Structure::Op,
        }
    }

    fn opset(&self, _graph: &Graph, node: &Node) -> i64 {
        if node.opset > 0 { node.opset } else { NEWEST }
    }
}

fn n_captured(node: &Node) -> usize {
    node.attr(CAPTURED).and_then(Attr::as_int).and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
}

/// A scan without state over the sequences; the tensors behind them are the same for every entry.
fn sequence_map(node: &Node, body: String) -> Structure {
    let n = node.attr(SEQUENCES).and_then(Attr::as_int).and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
    let n = n.min(node.inputs.len());
    let kind = RepeatKind::Scan {
        input_axes: vec![0; n],
        is_input_reversed: Vec::new(),
        output_axes: Vec::new(),
        is_output_reversed: Vec::new(),
    };
    Structure::Repeat(Box::new(Repeat { body, n_captured: node.inputs.len() - n, kind }))
}

fn scan(node: &Node, body: String) -> Repeat {
    let ints = |name: &str| node.attr(name).and_then(Attr::as_ints).unwrap_or_default();
    let n =
        node.attr("num_scan_inputs").and_then(Attr::as_int).unwrap_or(0).clamp(0, node.inputs.len() as i64) as usize;
    let flags = |name: &str| ints(name).into_iter().map(|d| d != 0).collect();
    let mut input_axes = ints("scan_input_axes");
    input_axes.resize(n, 0);
    let kind = RepeatKind::Scan {
        input_axes,
        is_input_reversed: flags("scan_input_directions"),
        output_axes: ints("scan_output_axes"),
        is_output_reversed: flags("scan_output_directions"),
    };
    Repeat { body, n_captured: n_captured(node), kind }
}
