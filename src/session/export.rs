//! Writing the tuned model back: the patch of the file that recipe and run amount to, and the proof that it computes the
//! same.

use std::path::Path;
use std::sync::Arc;

use crate::base::Reporter;
use crate::formats;
use crate::graph::{Graph, GraphPatch, NodeKey};
use crate::tensor::{Tensor, io, shape};

use super::compute::{Ask, Mode};
use super::edits;
use super::error::SessionError;
use super::model::Model;
use super::prove::{self, Inputs};
use super::recipe::{EditStep, Recipe, SitePolicy};
use super::session::Session;
use super::understand::Understood;

/// What is written.
#[derive(Debug)]
pub struct Export<'a> {
    pub session: &'a Session,
    /// Tuned constants by name; empty for a model that was not trained.
    pub constants: Vec<(String, Tensor)>,
    /// Take every recognised dropout site out of the graph.
    pub remove_dropout: bool,
    /// Of weights alone (`.safetensors`, `.npz`) write all, not only those that were tuned.
    pub all_weights: bool,
    /// Of weights alone: low-rank adapters go into the weights that they stand beside. A model always has them there.
    pub merge_adapters: bool,
    /// Compare outputs of what was written with what we compute.
    pub verify: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Written {
    pub constants: usize,
    /// Constants of the file that have other values.
    pub tensors_changed: usize,
    pub nodes_removed: usize,
    pub nodes_added: usize,
    /// Inputs of nodes that read something else than in the file.
    pub inputs_rewired: usize,
    /// Largest difference of any output on the compared inputs; `None` where nothing was compared.
    pub largest_difference: Option<f64>,
    /// What was fed for that: `8 rows of train.tsv`.
    pub compared_on: Option<String>,
}

/// Rows of the data that outputs are compared on.
const N_ROWS: usize = 8;

/// Extensions of weight files.
pub fn is_weights(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors") || e.eq_ignore_ascii_case("npz"))
}

/// Writes to `path`: weights alone for `.safetensors` and `.npz`, else the model in its own format.
pub fn write(export: &Export<'_>, path: &Path, reporter: &mut Reporter) -> Result<Written, SessionError> {
    if is_weights(path) {
        return write_weights(export, path);
    }
    let model = &export.session.model;
    let patch = patch(export, reporter)?;
    let fail = |why: String| SessionError::File { path: path.to_owned(), what: "written", why };
    formats::write(&model.imported, &patch, path).map_err(|e| fail(e.to_string()))?;
    let mut written = Written {
        constants: export.constants.len(),
        tensors_changed: patch.constants.len(),
        nodes_removed: patch.removed.len(),
        nodes_added: patch.added.len(),
        inputs_rewired: patch.rewires.len() + patch.redirects.len(),
        ..Written::default()
    };
    // Written in its own format and without changes, it is the same file.
    let is_other_kind = formats::is_other_kind(&model.imported, path);
    // A checkpoint without its folder is no model; its writer has compared the values.
    let is_model = !(model.imported.is_built() && path.extension().is_some_and(|e| e == "ckpt"));
    // What its configuration does not describe stands in a folder as a graph of its own.
    let whole = formats::folders::write::whole_graph(&model.imported, &patch, path);
    if export.verify && is_model && (!patch.is_empty() || is_other_kind) {
        let compared = compare(export, whole.as_deref().unwrap_or(path), reporter)?;
        (written.largest_difference, written.compared_on) = compared.unzip();
    }
    Ok(written)
}

fn patch(export: &Export<'_>, reporter: &mut Reporter) -> Result<GraphPatch, SessionError> {
    let session = export.session;
    let mut steps: Vec<EditStep> =
        session.recipe().edits.iter().filter(|e| e.enabled).map(|e| e.step.clone()).collect();
    if export.remove_dropout {
        let understood = session.understand()?;
        for site in &understood.base.sites {
            let step = EditStep::BypassDropout { output: site.output_key.as_str().to_owned() };
            if !steps.contains(&step) {
                steps.push(step);
            }
        }
    }
    let mut patch = edits::edit(&session.model, &steps, reporter).patch;
    for (name, tensor) in merged(export)? {
        patch.set_constant(NodeKey::new(name), tensor);
    }
    Ok(patch)
}

/// The tuned constants with adapters merged into the weights that they stand beside.
fn merged(export: &Export<'_>) -> Result<Vec<(String, Tensor)>, SessionError> {
    let understood = export.session.understand()?;
    let mut out = export.constants.clone();
    for adapter in &understood.adapters {
        let take = |out: &mut Vec<(String, Tensor)>, node: &NodeKey| {
            let at = out.iter().position(|(n, _)| n == node.as_str())?;
            Some(out.remove(at).1)
        };
        let (Some(a), Some(b)) = (take(&mut out, &adapter.a.0), take(&mut out, &adapter.b.0)) else { continue };
        let weight = match take(&mut out, &adapter.weight) {
            Some(tuned) => tuned,
            None => understood.constant(&adapter.weight)?,
        };
        let merged = adapter.merged(&weight, &a, &b).ok_or_else(|| {
            SessionError::Choice(format!("the adapter of {} does not fit its weight", adapter.weight))
        })?;
        out.push((adapter.weight.as_str().to_owned(), merged));
    }
    Ok(out)
}

fn write_weights(export: &Export<'_>, path: &Path) -> Result<Written, SessionError> {
    let fail = |why: String| SessionError::File { path: path.to_owned(), what: "written", why };
    let constants = match (export.constants.is_empty(), export.all_weights) {
        (true, _) => all_weights(&export.session.understand()?)?,
        (false, false) if export.merge_adapters => merged(export)?,
        (false, false) => export.constants.clone(),
        (false, true) => {
            // As a model has them: adapters are in the weights that they stand beside.
            let mut all: indexmap::IndexMap<String, Tensor> =
                all_weights(&export.session.understand()?)?.into_iter().collect();
            let understood = export.session.understand()?;
            for adapter in &understood.adapters {
                all.shift_remove(adapter.a.0.as_str());
                all.shift_remove(adapter.b.0.as_str());
            }
            all.extend(merged(export)?);
            all.into_iter().collect()
        }
    };
    io::write_checked(path, constants.iter().map(|(n, t)| (n.as_str(), t))).map_err(|e| fail(e.to_string()))?;
    Ok(Written { constants: constants.len(), ..Written::default() })
}

/// What trains, and every other float constant with more than one element, by name.
fn all_weights(understood: &Understood) -> Result<Vec<(String, Tensor)>, SessionError> {
    let mut out: Vec<(String, Tensor)> = understood.parameters()?.into_iter().map(|p| (p.name, p.value)).collect();
    let known: std::collections::HashSet<String> = out.iter().map(|(name, _)| name.clone()).collect();
    for (id, constant) in understood.base.graph.constants() {
        let name = understood.base.graph.node(id).key.as_str();
        let payload = &constant.payload;
        if payload.dtype.is_float() && payload.element_count() > 1 && !known.contains(name) {
            let failed = |e| SessionError::Choice(format!("{name} could not be loaded: {e}"));
            out.push((name.to_owned(), payload.load().map_err(failed)?));
        }
    }
    Ok(out)
}

/// Runs the written file and the session (with the tuned constants) on the same inputs, in evaluation mode: rows of the
/// chosen data, else made-up ones. `None` where the model cannot be run on either.
fn compare(export: &Export<'_>, path: &Path, reporter: &mut Reporter) -> Result<Option<(f64, String)>, SessionError> {
    let session = export.session;
    let mut ours = Recipe { objective: None, ..(**session.recipe()).clone() };
    ours.data = None;
    ours.edits.clear();
    let mut theirs = ours.clone();
    let other_kind = formats::is_other_kind(&session.model.imported, path);
    if other_kind {
        // A frozen graph has no signatures.
        theirs.signature = None;
    }
    if export.remove_dropout {
        ours.dropout.default = SitePolicy::Off;
    }
    let patched = patched_model(session, &merged(export)?, reporter);
    let a = Session::new(patched, ours).understand()?;
    let b = Session::new(Arc::new(Model::open_choosing(path, theirs.signature.as_deref())?), theirs).understand()?;
    let run = |u: &Understood, inputs: Option<&Inputs>| -> Result<Vec<Tensor>, SessionError> {
        let (fetches, _) = a.fetches(&[])?;
        // Inside a function a value has a name that only this kind of file knows; what the signature calls it stays.
        // A file with variables keeps its signatures: their own words are good for a value that was replaced as well.
        let signature = session.model.graph().signatures.first().filter(|s| !s.outputs.is_empty());
        let names: Vec<String> = match signature {
            Some(s) if !other_kind && session.model.imported.variables().is_some() => {
                s.outputs.iter().map(|(alias, _)| alias.clone()).collect()
            }
            Some(s) if other_kind => s.outputs.iter().map(|(_, key)| key.as_str().to_owned()).collect(),
            _ => fetches.iter().map(|&v| a.program.describe(v)).collect(),
        };
        let fetches = names.iter().map(|n| u.names()?.value(n)).collect::<Result<Vec<_>, _>>()?;
        let names = u.names()?;
        let feeds = match inputs {
            Some(real) => real.feeds.iter().filter_map(|(n, t)| Some((names.find(n)?, t.clone()))).collect(),
            None => probe_feeds(u),
        };
        u.compute(&Ask { mode: Mode::Eval, fetches, feeds, ..Ask::default() }).map(|c| c.outputs)
    };
    let both =
        |inputs: Option<&Inputs>| Ok::<_, SessionError>(largest_difference(&run(&a, inputs)?, &run(&b, inputs)?));
    if let Some((name, batches)) = prove::real_inputs(&session.model, session.recipe(), N_ROWS)
        // A written file may call its placeholders by other names.
        && let Ok(all) = batches.iter().map(|batch| both(Some(batch))).collect::<Result<Vec<f64>, _>>()
    {
        let n: usize = batches.iter().map(|b| b.n).sum();
        return Ok(Some((all.into_iter().fold(0.0, f64::max), format!("{n} {name}"))));
    }
    match both(None) {
        Ok(difference) => Ok(Some((difference, "made-up inputs".to_owned()))),
        Err(e) => {
            reporter.warning("not-compared", format!("the written file was not compared on inputs: {e}"), None);
            Ok(None)
        }
    }
}

/// The session's model with its edits and the tuned constants in place, under its own path.
fn patched_model(session: &Session, constants: &[(String, Tensor)], reporter: &mut Reporter) -> Arc<Model> {
    let mut imported = session.model.imported.clone();
    let steps: Vec<EditStep> = session.recipe().edits.iter().filter(|e| e.enabled).map(|e| e.step.clone()).collect();
    let mut patch = edits::edit(&session.model, &steps, reporter).patch;
    for (name, tensor) in constants {
        patch.set_constant(NodeKey::new(name), tensor.clone());
    }
    let graph: Graph = patch.apply(&imported.graph);
    imported.graph = Arc::new(graph);
    Arc::new(Model { imported })
}

/// Small valid inputs: integers 0 and 1 in turn, floats between 0 and 1; unknown dimensions are 2, the second of two
/// 8.
fn probe_feeds(u: &Understood) -> Vec<(crate::program::Value, Tensor)> {
    let feed = |f: &crate::program::Feed| {
        let fact = u.program.fact(f.value);
        let dims: Vec<usize> =
            fact.shape.partial()?.iter().enumerate().map(|(i, d)| d.unwrap_or(if i == 1 { 8 } else { 2 })).collect();
        let n = shape::element_count(&dims).filter(|n| *n < 1 << 24)?;
        let values = (0..n).map(|i| if fact.dtype.is_float() { (i % 7) as f64 / 7.0 } else { (i % 2) as f64 });
        Some((f.value, Tensor::from_f64s(fact.dtype, &dims, values)))
    };
    u.program.feeds.iter().filter_map(feed).collect()
}

fn largest_difference(a: &[Tensor], b: &[Tensor]) -> f64 {
    let pairs = a.iter().zip(b).filter_map(|(x, y)| Some((x.to_f64s()?, y.to_f64s()?)));
    let difference = |(x, y): (Vec<f64>, Vec<f64>)| {
        if x.len() != y.len() {
            return f64::INFINITY;
        }
        x.iter().zip(&y).filter(|(a, b)| !(a.is_nan() && b.is_nan())).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    pairs.map(difference).fold(0.0, f64::max)
}
