//! From the recipe's edits to an edited graph.

use std::sync::Arc;

use crate::base::Reporter;
use crate::edits as kinds;
use crate::graph::{Graph, GraphPatch};
use crate::lower;
use crate::recognize::{self, DropoutSite};

use super::error::SessionError;
use super::model::Model;
use super::recipe::EditStep;

/// The imported graph with `edits` applied in order; a step that no longer applies is reported and left out.
pub fn apply(model: &Model, edits: &[EditStep], reporter: &mut Reporter) -> Result<Arc<Graph>, SessionError> {
    if edits.is_empty() {
        return Ok(model.graph().clone());
    }
    let patch = patch(model, edits, reporter);
    Ok(Arc::new(patch.apply(model.graph())))
}

/// The change of the file that `edits` make.
pub fn patch(model: &Model, edits: &[EditStep], reporter: &mut Reporter) -> GraphPatch {
    let graph = model.graph();
    let spelled = lower::spell(graph, model.imported.dialect());
    let sites = recognize::dropout::find(&spelled.program);
    let mut patch = GraphPatch::default();
    let mut bypassed: Vec<&DropoutSite> = Vec::new();
    for edit in edits {
        match edit {
            EditStep::BypassDropout { output } => match sites.iter().find(|s| same(s.output_key.as_str(), output)) {
                Some(site) => bypassed.push(site),
                None => reporter.warning(
                    "edit-not-applied",
                    format!("there is no dropout site with the output {output} in this model; the step is left out"),
                    Some(output.clone()),
                ),
            },
        }
    }
    for site in kinds::bypass_dropout::extend(&mut patch, graph, model.imported.dialect(), &bypassed) {
        reporter.warning(
            "edit-not-applied",
            "this dropout lies in a function that is called several times and cannot be taken out of the file",
            Some(site.output_key.as_str().to_owned()),
        );
    }
    patch
}

fn same(a: &str, b: &str) -> bool {
    a.strip_suffix(":0").unwrap_or(a) == b.strip_suffix(":0").unwrap_or(b)
}
