//! Why a program could not be made for given feeds; every message names the place, what was expected and what was found.

/// See the module doc.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpecialiseError {
    /// A placeholder that is needed was not fed.
    #[error("{name} must be fed: expected {expected}")]
    MissingFeed { name: String, expected: String },
    /// A fed or pinned value has another element type or a shape that the graph rules out.
    #[error("{name} does not fit: expected {expected}, found {found}")]
    FeedMismatch { name: String, expected: String, found: String },
    /// An op that is needed could not be understood.
    #[error("{node} ({op}) is needed but cannot be computed: {why}")]
    Opaque { node: String, op: String, why: String },
    /// An op does not accept what reaches it.
    #[error("{node} ({op}): {why}")]
    Misfit { node: String, op: String, why: String },
    /// A constant could not be read.
    #[error("the constant {node} could not be read: {why}")]
    Constant { node: String, why: String },
}
