//! Which TensorFlow nodes are structure (aliases, calls, control flow) and which have a rule.

use crate::graph::{Attr, Node};
use crate::lower::compose::{Composed, NewNode};
use crate::lower::{Dialect, Spelling, Structure};

use super::{compose, rules};

#[derive(Debug)]
pub struct TensorFlow;

pub static TENSORFLOW: TensorFlow = TensorFlow;

impl Dialect for TensorFlow {
    fn name(&self) -> &'static str {
        "tensorflow"
    }

    fn spelling(&self, node: &Node) -> Option<&'static Spelling> {
        if rules::complex::concerns(node) { Some(rules::complex::find(&node.op)) } else { rules::find(&node.op) }
    }

    fn declares_shapes(&self, node: &Node) -> bool {
        // Handles and flows are scalars in the file, dense lists for us; loops hand them on.
        let passes_on = matches!(node.op.as_str(), "Exit" | "RefExit" | "While" | "StatelessWhile" | "_While");
        let is_list = ["TensorArray", "TensorList", "EmptyTensorList"].iter().any(|p| node.op.starts_with(p));
        // Complex numbers have one axis more as pairs.
        !passes_on && !is_list && !rules::complex::concerns(node)
    }

    fn supports(&self, node: &Node) -> bool {
        !matches!(self.structure(node), Structure::Op)
            || if rules::complex::concerns(node) {
                rules::complex::known(&node.op).is_some()
            } else {
                self.spelling(node).is_some()
            }
    }

    fn compose(&self, new: &NewNode<'_>) -> Option<Composed> {
        Some(compose::compose(new))
    }

    fn structure(&self, node: &Node) -> Structure {
        let function = |name: &str| node.attr(name).and_then(Attr::as_str).unwrap_or_default().to_owned();
        match node.op.as_str() {
            "Identity" | "IdentityN" | "Snapshot" | "RefIdentity" | "CheckNumerics" | "CheckNumericsV2" | "Print"
            | "DebugIdentity" | "DebugIdentityV2" | "GuaranteeConst" | "Copy" | "CopyHost" | "EnsureShape"
            | "ReadVariableOp" | "_Retval" | "_DeviceRetval" => Structure::Alias,
            "PlaceholderWithDefault" => Structure::Default,
            "NoOp" | "Assert" | "ControlTrigger" | "SaveV2" | "MergeV2Checkpoints" | "PrintV2" | "Abort"
            | "TensorArrayClose" | "TensorArrayCloseV2" | "TensorArrayCloseV3" => Structure::Effect,
            "Switch" | "RefSwitch" => Structure::Switch,
            "_SwitchN" => Structure::SwitchN,
            "Merge" | "RefMerge" => Structure::Merge,
            "Enter" | "RefEnter" => Structure::Enter {
                frame: function("frame_name"),
                is_constant: node.attr("is_constant").and_then(Attr::as_bool).unwrap_or(false),
            },
            "Exit" | "RefExit" => Structure::Exit,
            "NextIteration" | "RefNextIteration" => Structure::NextIteration,
            "LoopCond" => Structure::LoopCond,
            "PartitionedCall" | "StatefulPartitionedCall" => Structure::Call { function: function("f") },
            "If" | "StatelessIf" | "_If" => {
                Structure::If { then_function: function("then_branch"), else_function: function("else_branch") }
            }
            "Case" | "StatelessCase" => {
                let list = node.attr("branches").and_then(Attr::as_list).unwrap_or_default();
                Structure::Case { functions: list.iter().filter_map(|a| Some(a.as_str()?.to_owned())).collect() }
            }
            "While" | "StatelessWhile" | "_While" => {
                Structure::While { cond: function("cond"), body: function("body") }
            }
            _ => Structure::Op,
        }
    }
}
