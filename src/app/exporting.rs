//! Writing the model, as a job: the values of the file or of a run, in the kind of file that the path asks for.

use std::path::PathBuf;

use crate::base::{Reporter, Severity};
use crate::session::export::{self, Export, Written};
use crate::session::{EditStep, Objective, Session, SessionError, beside, run};
use crate::tensor::Tensor;
use crate::ui::ctx::{ExportRequest, Exported};
use crate::ui::text;

use super::App;
use super::jobs::Outcome;

impl App {
    pub(super) fn export(&mut self, request: ExportRequest) {
        let (Some(open), Some(held)) = (&self.open, &self.session) else { return };
        let (model, recipe) = (held.model.clone(), open.history.recipe().clone());
        let name = request.to.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        self.jobs.start(&format!("Exporting {name}"), move |_, _| {
            Outcome::Exported(export(&Session::new(model, (*recipe).clone()), &request))
        });
    }

    pub(super) fn take_exported(&mut self, result: Result<Exported, String>) {
        match &result {
            Ok(e) => self.say(Severity::Info, e.said.clone()),
            Err(text) => self.say(Severity::Error, format!("Not exported: {text}")),
        }
        self.state.exported = Some(result);
        self.state.is_export_new = true;
    }
}

fn export(session: &Session, request: &ExportRequest) -> Result<Exported, String> {
    let constants = match &request.values {
        Some((folder, is_best)) => {
            let which = if *is_best { "best" } else { "last" };
            run::Run::open(folder, which).map_err(|e| e.to_string())?.constants()
        }
        None => Vec::new(),
    };
    let headless = (!request.with_heads).then(|| without_heads(session));
    let session = headless.as_ref().unwrap_or(session);
    let constants = match headless {
        // The weights of heads have no place then.
        Some(_) => known(session, constants).map_err(|e| e.to_string())?,
        None => constants,
    };
    let mut reporter = Reporter::default();
    let what = Export {
        session,
        constants,
        remove_dropout: !request.keep_dropout,
        all_weights: request.all_weights,
        merge_adapters: request.merge_adapters,
        verify: request.verify,
    };
    let written = export::write(&what, &request.to, &mut reporter).map_err(|e| e.to_string())?;
    let beside = match &request.values {
        Some((folder, _)) => {
            beside::write_for_run(folder, session, &request.to, &mut reporter).map_err(|e| e.to_string())?
        }
        None => Vec::new(),
    };
    let is_tuned = request.values.is_some();
    let mut said = summary(request, is_tuned, &written);
    let mut facts = facts(request, is_tuned, &written);
    if !beside.is_empty() {
        let names = names(&beside);
        said.push_str(&format!(". Beside it: {names}"));
        facts.push(("Beside it".to_owned(), names.clone(), names));
    }
    let notes = reporter.diagnostics().iter().filter(|d| d.severity > Severity::Info).map(|d| d.message.clone());
    Ok(Exported { said, facts, notes: notes.collect() })
}

/// What was written and how it differs from the file, line by line.
fn facts(request: &ExportRequest, is_tuned: bool, written: &Written) -> Vec<(String, String, String)> {
    let mut out = Vec::new();
    let mut put = |name: &str, shown: String, exact: String| out.push((name.to_owned(), shown, exact));
    let path = request.to.display().to_string();
    put("File", path.clone(), path);
    let count = |n: usize| (text::count(n), text::exact(n));
    let is_weights = export::is_weights(&request.to);
    let what = if is_tuned && !request.all_weights { "Tuned constants" } else { "Weights" };
    let mut counted = |name: &str, n: usize| {
        let (shown, exact) = count(n);
        put(name, shown, exact);
    };
    if is_weights {
        counted(what, written.constants);
        return out;
    }
    counted("Tensors changed", written.tensors_changed);
    counted("Nodes removed", written.nodes_removed);
    counted("Nodes added", written.nodes_added);
    counted("Inputs that read something else", written.inputs_rewired);
    match (written.largest_difference, &written.compared_on) {
        (Some(d), Some(on)) => {
            put("Read back and compared on", on.clone(), on.clone());
            put("Largest difference of outputs", text::number(d, 3), d.to_string());
        }
        _ => put("Compared", "no".to_owned(), "Its outputs were not compared with what is computed here".to_owned()),
    }
    out
}

/// The session without its grafted heads.
fn without_heads(session: &Session) -> Session {
    let mut recipe = (**session.recipe()).clone();
    let heads = recipe.edits.iter_mut().filter(|e| matches!(e.step, EditStep::GraftHead(_)));
    heads.for_each(|e| e.enabled = false);
    if matches!(recipe.objective, Some(Objective::Head { .. })) {
        recipe.objective = None;
    }
    Session::new(session.model.clone(), recipe)
}

/// Those constants that the session's graph, or an adapter beside it, has.
fn known(session: &Session, constants: Vec<(String, Tensor)>) -> Result<Vec<(String, Tensor)>, SessionError> {
    let understood = session.understand()?;
    let graph = &understood.base.graph;
    let is_adapter =
        |name: &str| understood.adapters.iter().any(|a| [&a.a.0, &a.b.0].iter().any(|k| k.as_str() == name));
    Ok(constants.into_iter().filter(|(n, _)| graph.node_named(n).is_some() || is_adapter(n)).collect())
}

fn names(paths: &[PathBuf]) -> String {
    let name = |p: &PathBuf| p.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    paths.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// What was written and how it differs from the file.
fn summary(request: &ExportRequest, is_tuned: bool, written: &Written) -> String {
    let path = request.to.display();
    if export::is_weights(&request.to) {
        let what = if is_tuned && !request.all_weights { "tuned constants" } else { "weights" };
        return format!("Exported {path}: {} {what}", written.constants);
    }
    let (n, removed) = (written.constants, written.nodes_removed);
    let mut said = format!("Exported {path}: {n} tuned constants, {removed} nodes removed");
    if written.nodes_added > 0 {
        said.push_str(&format!(", {} added", written.nodes_added));
    }
    if written.inputs_rewired > 0 {
        said.push_str(&format!(", {} read something else", text::plural(written.inputs_rewired, "input", "inputs")));
    }
    if let (Some(d), Some(on)) = (written.largest_difference, &written.compared_on) {
        said.push_str(&format!(
            "; read back and compared on {on}, largest difference of outputs {}",
            text::number(d, 3)
        ));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_summed_up() {
        let request = |to: &str| ExportRequest {
            to: to.into(),
            values: None,
            keep_dropout: false,
            with_heads: true,
            all_weights: false,
            merge_adapters: false,
            verify: true,
        };
        let written = Written {
            constants: 41,
            tensors_changed: 40,
            nodes_removed: 12,
            inputs_rewired: 1,
            largest_difference: Some(0.0),
            compared_on: Some("8 rows of a.tsv".to_owned()),
            ..Written::default()
        };
        let said = summary(&request("m.pb"), true, &written);
        assert_eq!(
            said,
            "Exported m.pb: 41 tuned constants, 12 nodes removed, 1 input read something else; \
             read back and compared on 8 rows of a.tsv, largest difference of outputs 0"
        );
        let lines = |to: &str, is_tuned| -> Vec<String> {
            facts(&request(to), is_tuned, &written)
                .into_iter()
                .map(|(name, shown, _)| format!("{name}: {shown}"))
                .collect()
        };
        assert_eq!(
            lines("m.pb", true),
            [
                "File: m.pb",
                "Tensors changed: 40",
                "Nodes removed: 12",
                "Nodes added: 0",
                "Inputs that read something else: 1",
                "Read back and compared on: 8 rows of a.tsv",
                "Largest difference of outputs: 0",
            ]
        );
        assert_eq!(lines("m.npz", false), ["File: m.npz", "Weights: 41"]);
        assert_eq!(summary(&request("m.npz"), false, &written), "Exported m.npz: 41 weights");
    }

    #[test]
    fn a_head_can_be_left_out() {
        use crate::session::{Change, Model, demo};
        let dir = tempfile::tempdir().unwrap();
        demo::write(dir.path()).unwrap();
        let model = std::sync::Arc::new(Model::open(&dir.path().join("model.pb")).unwrap());
        let mut session = Session::new(model, demo::recipe(dir.path()));
        let plain = session.understand().unwrap().base.graph.nodes.len();
        let head = serde_json::from_str(r#"{"kind": "classifier", "classes": 3}"#).unwrap();
        session.apply(&Change::AddEdits(vec![EditStep::GraftHead(head)]), None);
        let grafted = session.understand().unwrap();
        assert!(grafted.base.graph.nodes.len() > plain);
        let all: Vec<(String, Tensor)> = grafted.parameters().unwrap().into_iter().map(|p| (p.name, p.value)).collect();
        let headless = without_heads(&session);
        assert_eq!(headless.understand().unwrap().base.graph.nodes.len(), plain);
        let kept = known(&headless, all.clone()).unwrap();
        assert!(!kept.is_empty() && kept.len() < all.len(), "{} of {}", kept.len(), all.len());
    }
}
