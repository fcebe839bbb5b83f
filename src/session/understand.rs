//! What follows from a model and a recipe without running anything: the edited graph, the spelled program, dropout
//! sites, roles, the trainable set, the objective, and where gradient arrives.

use std::sync::{Arc, OnceLock};

use indexmap::IndexMap;

use crate::autodiff::{self, GradReport, reach};
use crate::base::Reporter;
use crate::graph::{Graph, NodeKey};
use crate::lower::{self, Spelled};
use crate::program::{ConstantDef, Def, Program, Value};
use crate::recognize::{self, ConstantRole, DropoutSite};
use crate::train::Parameter;

use super::edits::{Edited, GraftedHead};
use super::error::SessionError;
use super::model::Model;
use super::names::Names;
use super::objective::{self, ObjectiveValues};
use super::recipe::{EditStep, Recipe, SitePolicy};
use super::select::{self, Candidate};
use super::shapes;

/// What depends on the model, the enabled edits and the pinned shapes alone.
#[derive(Debug)]
pub struct Base {
    pub model: Arc<Model>,
    edits: Vec<EditStep>,
    shapes: IndexMap<String, Vec<usize>>,
    stand_ins: Vec<NodeKey>,
    /// The imported graph with the enabled edits applied.
    pub graph: Arc<Graph>,
    pub spelled: Spelled,
    pub sites: Vec<DropoutSite>,
    /// What the edits changed in the file, and the heads that they grafted.
    pub edited: Edited,
    /// One per float constant of the main graph, in file order.
    pub roles: Vec<ConstantRole>,
    pub diagnostics: Vec<crate::base::Diagnostic>,
}

fn enabled(recipe: &Recipe) -> Vec<EditStep> {
    recipe.edits.iter().filter(|e| e.enabled).map(|e| e.step.clone()).collect()
}

impl Base {
    pub fn new(model: Arc<Model>, recipe: &Recipe) -> Result<Self, SessionError> {
        let edits = enabled(recipe);
        let mut reporter = Reporter::default();
        let edited = super::edits::edit(&model, &edits, &mut reporter);
        let graph = edited.graph(&model);
        let dialect = model.imported.dialect();
        let signature = model.signature(recipe.signature.as_deref())?;
        let pinned = shapes::pinned(&graph, signature, &recipe.shapes)?;
        let mut spelled = lower::spell_pinned(&graph, dialect, &pinned);
        if !pinned.is_empty() {
            shapes::settle(&mut spelled.program, &pinned);
        }
        give_values(&mut spelled, recipe, &mut reporter)?;
        let sites = recognize::dropout::find(&spelled.program);
        let roles = recognize::roles::find(&graph, &spelled.program, &sites);
        reporter.extend(spelled.diagnostics.iter().cloned());
        let shapes = recipe.shapes.clone();
        let diagnostics = reporter.into_diagnostics();
        let stand_ins = stood_in(recipe);
        Ok(Self { model, edits, stand_ins, shapes, edited, graph, spelled, sites, roles, diagnostics })
    }

    /// The grafted head of that name; without one the newest.
    pub fn head(&self, name: Option<&str>) -> Option<&GraftedHead> {
        let all = &self.edited.heads;
        match name {
            Some(name) => all.iter().find(|h| h.choice.name == name),
            None => all.last(),
        }
    }

    /// Whether this is what the recipe's edits and pinned shapes lead to.
    pub fn serves(&self, recipe: &Recipe) -> bool {
        self.edits == enabled(recipe) && self.shapes == recipe.shapes && self.stand_ins == stood_in(recipe)
    }
}

/// Nodes with a stand-in: those among them that nobody can compute get a value.
fn stood_in(recipe: &Recipe) -> Vec<NodeKey> {
    recipe.stand_ins.keys().map(NodeKey::new).collect()
}

fn give_values(spelled: &mut Spelled, recipe: &Recipe, reporter: &mut Reporter) -> Result<(), SessionError> {
    if recipe.stand_ins.is_empty() {
        return Ok(());
    }
    let (program, map, replaced) = autodiff::stand_in::substitute(&spelled.program, &recipe.stand_in_map())?;
    spelled.program = program;
    spelled.values.retain(|_, v| map[v.idx()].is_some());
    spelled.values.values_mut().for_each(|v| *v = map[v.idx()].unwrap_or(*v));
    for node in replaced {
        let what = "it cannot be computed; with a stand-in it passes an input on, in everything that is computed here \
                    (the exported file keeps it)";
        reporter.warning("stand-in-value", what, Some(node.as_str().to_owned()));
    }
    Ok(())
}

/// A constant that trains: its node and its value in [`Understood::program`].
#[derive(Clone, Debug)]
pub struct Trainable {
    pub node: NodeKey,
    pub value: Value,
    pub role: &'static str,
}

/// See the module doc.
#[derive(Debug)]
pub struct Understood {
    pub base: Arc<Base>,
    pub recipe: Arc<Recipe>,
    /// The spelled program with the objective's own instructions; values of the spelled program keep their numbers.
    pub program: Program,
    pub objective: ObjectiveValues,
    pub trainable: Vec<Trainable>,
    pub diagnostics: Vec<crate::base::Diagnostic>,
    report: OnceLock<GradReport>,
}

impl Understood {
    pub fn new(base: Arc<Base>, recipe: Arc<Recipe>) -> Result<Self, SessionError> {
        let mut reporter = Reporter::default();
        let mut program = base.spelled.program.clone();
        let objective = objective::resolve(&base, &recipe, &mut program)?;
        let trainable = choose_trainable(&base, &recipe, &program, &mut reporter)?;
        warn_of_idle_dropout(&base.sites, &recipe, &mut reporter);
        Ok(Self {
            base,
            recipe,
            program,
            objective,
            trainable,
            diagnostics: reporter.into_diagnostics(),
            report: OnceLock::new(),
        })
    }

    pub fn names(&self) -> Result<Names<'_>, SessionError> {
        let signature = self.base.model.signature(self.recipe.signature.as_deref())?;
        Ok(Names { spelled: &self.base.spelled, program: &self.program, signature })
    }

    /// Where gradient arrives, structurally: no feeds needed.
    pub fn report(&self) -> &GradReport {
        self.report.get_or_init(|| {
            let wrt: Vec<Value> = self.trainable.iter().map(|t| t.value).collect();
            match autodiff::stand_in::apply(&self.program, &self.recipe.stand_in_map()) {
                Ok((program, map)) if !self.recipe.stand_ins.is_empty() => {
                    let through = |values: &[Value]| values.iter().filter_map(|v| map[v.idx()]).collect::<Vec<_>>();
                    reach::report(&program, &through(&self.objective.values), &through(&wrt))
                }
                // A stand-in that does not fit is an error when gradients are computed; the report shows the plain graph.
                _ => reach::report(&self.program, &self.objective.values, &wrt),
            }
        })
    }

    /// The trainable constants with their values loaded: what a trainer starts from.
    pub fn parameters(&self) -> Result<Vec<Parameter>, SessionError> {
        let load = |t: &Trainable| {
            let Def::Constant(i) = self.program.def(t.value) else {
                return Err(SessionError::Choice(format!("{} is not a constant", t.node)));
            };
            let value = self.program.constants[i].payload.load();
            let value = value.map_err(|e| SessionError::Choice(format!("{} could not be loaded: {e}", t.node)))?;
            Ok(Parameter { name: t.node.as_str().to_owned(), value, role: t.role.to_owned() })
        };
        self.trainable.iter().map(load).collect()
    }

    /// Number of trainable elements.
    pub fn trainable_parameters(&self) -> usize {
        self.trainable
            .iter()
            .filter_map(|t| self.program.fact(t.value).dims())
            .map(|d| d.iter().product::<usize>())
            .sum()
    }
}

/// Sites that would drop nothing in training although they should: their rate is 0 or unknown in the file.
fn warn_of_idle_dropout(sites: &[DropoutSite], recipe: &Recipe, reporter: &mut Reporter) {
    for site in sites {
        let output = site.output_key.as_str();
        if recipe.dropout.policy(output) != SitePolicy::Train {
            continue;
        }
        let why = match (site.rate, site.rate_source) {
            (Some(r), None) if r <= 0.0 => "its rate in the file is 0",
            (Some(r), Some(_)) if r <= 0.0 => "its rate is 0 unless its keep probability is fed",
            (None, None) => "its rate cannot be read from the file",
            _ => continue,
        };
        let bare = output.strip_suffix(":0").unwrap_or(output);
        reporter.warning(
            "idle-dropout",
            format!("the dropout at {bare} drops nothing in training: {why}; set one, for example rate=0.1, or switch it off"),
            Some(bare.to_owned()),
        );
    }
}

/// What selectors look at: every constant of the program that stands in the graph, in order.
pub(super) fn candidates<'a>(base: &'a Base, program: &'a Program) -> Vec<Candidate<'a>> {
    let roles: std::collections::HashMap<&str, &ConstantRole> =
        base.roles.iter().map(|r| (r.node.as_str(), r)).collect();
    let candidate = |c: &'a ConstantDef| {
        let node = c.node.as_ref()?;
        let role = roles.get(node.as_str());
        Some(Candidate {
            name: node.as_str(),
            is_float: c.payload.dtype.is_float(),
            elements: c.payload.element_count(),
            role: role.map_or("other", |r| r.role.name()),
            suggested: role.is_some_and(|r| r.suggest),
        })
    };
    program.constants.iter().filter_map(candidate).collect()
}

fn choose_trainable(
    base: &Base,
    recipe: &Recipe,
    program: &Program,
    reporter: &mut Reporter,
) -> Result<Vec<Trainable>, SessionError> {
    let constants: Vec<_> = program.constants.iter().filter_map(|c| Some((c.node.as_ref()?, c))).collect();
    let candidates = candidates(base, program);
    let choice = &recipe.trainable;
    let chosen = select::choose(&choice.include, &choice.exclude, &candidates).map_err(SessionError::Choice)?;
    if let Some(s) = chosen.unmatched_include.first() {
        return Err(SessionError::Choice(format!(
            "the trainable selector {s} matches no constant of this model; `regraft inspect --constants` lists them"
        )));
    }
    for s in &chosen.unmatched_exclude {
        reporter.warning("exclude-matches-nothing", format!("the exclude selector {s} matches no constant"), None);
    }
    for name in &chosen.not_float {
        reporter.warning("not-float", format!("{name} cannot train: it is not floating-point"), Some(name.clone()));
    }
    let roles: std::collections::HashMap<&str, &'static str> =
        base.roles.iter().map(|r| (r.node.as_str(), r.role.name())).collect();
    let pick = |&i: &usize| {
        let (node, c) = constants[i];
        Trainable { node: node.clone(), value: c.value, role: roles.get(node.as_str()).copied().unwrap_or("other") }
    };
    Ok(chosen.chosen.iter().map(pick).collect())
}
