//! Why a program could not be differentiated; every message names the node, its op and the way to it.

/// See the module doc.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AutodiffError {
    /// A gradient would have to pass an op that has no derivative rule.
    #[error("no gradient passes {node} ({op}): {why}; the path to it is {}", path.join(" → "))]
    Blocked { node: String, op: String, why: String, path: Vec<String> },
    /// An op's own derivative rule failed.
    #[error("the gradient of {node} ({op}) could not be built: {why}")]
    Rule { node: String, op: String, why: String },
    /// A seed or target that cannot carry a gradient.
    #[error("{value} cannot carry a gradient: it is {found}, not a floating-point tensor")]
    NotFloat { value: String, found: String },
    /// A seed's gradient does not have the shape of its value.
    #[error("the gradient given for {value} is {found}, expected {expected}")]
    Seed { value: String, expected: String, found: String },
}
