//! What is not as in the file: nodes that edits added, rewired or gave other values, and constants that training moved.
//! The query `changed:` asks for it.

use std::collections::HashSet;

use crate::graph::NodeKey;
use crate::tensor::Tensor;

use super::diff::GraphDiff;
use super::error::SessionError;
use super::recipe::Recipe;
use super::session::Session;
use super::understand::Base;

/// Names of nodes and constants of the session's graph that differ from the file; `tuned` are values of a run, which count
/// where an element is another one.
pub fn changed(session: &Session, tuned: &[(String, Tensor)]) -> Result<HashSet<String>, SessionError> {
    let understood = session.understand()?;
    let mut out = HashSet::new();
    if session.recipe().edits.iter().any(|e| e.enabled) {
        let unedited = Recipe { edits: Vec::new(), ..(**session.recipe()).clone() };
        let file = Base::new(session.model.clone(), &unedited)?;
        let diff = GraphDiff::between(&file.graph, &understood.base.graph, &file.sites);
        out.extend(diff.changed().map(str::to_owned));
    }
    for (name, tensor) in tuned {
        // What only the program has (an adapter's factors) is no node of the graph.
        if understood.constant(&NodeKey::new(name.as_str())).is_ok_and(|before| before != *tensor) {
            out.insert(name.clone());
        }
    }
    Ok(out)
}
