//! What follows from a model and a recipe without running anything: the edited graph, the spelled program, dropout
//! sites, roles, the trainable set, the objective, and where gradient arrives.

use std::sync::{Arc, OnceLock};

use indexmap::IndexMap;

use crate::autodiff::{self, GradReport, reach};
use crate::base::Reporter;
use crate::graph::{Graph, NodeKey};
use crate::lower::{self, Spelled};
use crate::program::{Def, Program, Value};
use crate::recognize::{self, ConstantRole, DropoutSite, Layers};
use crate::tensor::Tensor;
use crate::train::{Parameter, Rate};

use super::adapters::{self, Adapter};
use super::edits::{Edited, GraftedHead};
use super::error::SessionError;
use super::model::Model;
use super::names::Names;
use super::objective::{self, ObjectiveValues};
use super::recipe::{EditStep, Recipe, SitePolicy};
use super::select::{self, Candidate, Selector};
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
    layers: OnceLock<Layers>,
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
        shapes::settle(&mut spelled.program);
        give_values(&mut spelled, recipe, &mut reporter)?;
        let sites = recognize::dropout::find(&spelled.program);
        let roles = recognize::roles::find(&graph, &spelled.program, &sites);
        reporter.extend(spelled.diagnostics.iter().cloned());
        let shapes = recipe.shapes.clone();
        let diagnostics = reporter.into_diagnostics();
        let stand_ins = stood_in(recipe);
        let layers = OnceLock::new();
        Ok(Self { model, edits, stand_ins, shapes, edited, graph, spelled, sites, roles, diagnostics, layers })
    }

    /// Which layer each weight belongs to.
    pub fn layers(&self) -> &Layers {
        self.layers.get_or_init(|| recognize::layers::find(&self.spelled.program, &self.roles))
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
    pub adapters: Vec<Adapter>,
    /// Dropout of the file, and of adapters.
    pub sites: Vec<DropoutSite>,
    pub diagnostics: Vec<crate::base::Diagnostic>,
    report: OnceLock<GradReport>,
}

impl Understood {
    pub fn new(base: Arc<Base>, recipe: Arc<Recipe>) -> Result<Self, SessionError> {
        let mut reporter = Reporter::default();
        let mut program = base.spelled.program.clone();
        let adapters = adapt(&base, &recipe, &mut program, &mut reporter)?;
        let sites = if adapters.is_empty() { base.sites.clone() } else { recognize::dropout::find(&program) };
        let objective = objective::resolve(&base, &recipe, &mut program)?;
        let trainable = choose_trainable(&base, &recipe, &program, &adapters, &mut reporter)?;
        warn_of_idle_dropout(&base.sites, &recipe, &mut reporter);
        Ok(Self {
            base,
            recipe,
            program,
            objective,
            trainable,
            adapters,
            sites,
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
            let value = self.constant(&t.node)?;
            Ok(Parameter { name: t.node.as_str().to_owned(), value, role: t.role.to_owned() })
        };
        self.trainable.iter().map(load).collect()
    }

    /// The value of a constant of the program.
    pub fn constant(&self, node: &NodeKey) -> Result<Tensor, SessionError> {
        let found = self.program.constants.iter().find(|c| c.node.as_ref() == Some(node));
        let found = found.ok_or_else(|| SessionError::Choice(format!("{node} is not a constant")))?;
        found.payload.load().map_err(|e| SessionError::Choice(format!("{node} could not be loaded: {e}")))
    }

    /// How many trainable constants and parameters each of the recipe's groups takes, in order: a constant belongs to the
    /// first group that names it. `Err` is what is wrong with the group.
    pub fn group_sizes(&self) -> Vec<Result<(usize, usize), String>> {
        let subjects = self.subjects();
        let candidates = candidates(&self.base, &subjects, &self.program);
        let mut is_taken = vec![false; candidates.len()];
        let mut size = |group: &super::recipe::ParameterGroup| {
            let chosen = select::choose(&group.select, &[], &candidates)?;
            if let Some(s) = chosen.unmatched_include.first() {
                return Err(format!("{s} names nothing that trains"));
            }
            let own: Vec<usize> =
                chosen.chosen.into_iter().filter(|&i| !std::mem::replace(&mut is_taken[i], true)).collect();
            Ok((own.len(), own.iter().map(|&i| candidates[i].elements).sum()))
        };
        self.recipe.groups.iter().map(&mut size).collect()
    }

    /// What selectors of groups look at: an adapter is where its weight is.
    fn subjects(&self) -> Vec<(NodeKey, Value)> {
        let subject = |t: &Trainable| {
            let adapter = self.adapters.iter().find(|a| a.a.0 == t.node || a.b.0 == t.node);
            adapter.map_or_else(|| t.node.clone(), |a| a.weight.clone())
        };
        self.trainable.iter().map(|t| (subject(t), t.value)).collect()
    }

    /// Rates and decays of the recipe's groups and of layer-wise decay, in the order of [`Self::parameters`].
    pub fn rates(&self, lr: f64, layer_decay: f64) -> Result<Vec<Rate>, SessionError> {
        let nodes = self.subjects();
        let candidates = candidates(&self.base, &nodes, &self.program);
        let mut rates = vec![Rate::default(); nodes.len()];
        for (rate, candidate) in rates.iter_mut().zip(&candidates) {
            let distance = if candidate.is_head { 0 } else { candidate.from_top.unwrap_or(0) };
            rate.factor = layer_decay.powi(i32::try_from(distance).unwrap_or(i32::MAX));
        }
        let mut is_taken = vec![false; nodes.len()];
        for group in &self.recipe.groups {
            let chosen = select::choose_in(Some(&self.base.graph), &group.select, &[], &candidates)
                .map_err(SessionError::Choice)?;
            if let Some(s) = chosen.unmatched_include.first() {
                return Err(SessionError::Choice(format!("the group of {s} has no trainable parameter")));
            }
            if group.lr.is_some() && lr <= 0.0 {
                return Err(SessionError::Choice("a group's lr needs optimizer.lr above 0".to_owned()));
            }
            for i in chosen.chosen {
                if !std::mem::replace(&mut is_taken[i], true) {
                    rates[i].factor = match group.lr {
                        Some(own) => own / lr * group.lr_factor.unwrap_or(1.0),
                        None => rates[i].factor * group.lr_factor.unwrap_or(1.0),
                    };
                    rates[i].decay = group.weight_decay;
                }
            }
        }
        Ok(rates)
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

/// What selectors look at: `nodes`, as [`named_constants`] lists them.
pub(super) fn candidates<'b>(base: &'b Base, nodes: &'b [(NodeKey, Value)], program: &Program) -> Vec<Candidate<'b>> {
    let roles: std::collections::HashMap<&str, &ConstantRole> =
        base.roles.iter().map(|r| (r.node.as_str(), r)).collect();
    let layers = base.layers();
    let grafted: Vec<&NodeKey> = base.edited.heads.iter().flat_map(|h| &h.constants).collect();
    let is_own_head = |node: &NodeKey, suggested: bool| {
        let last = if layers.is_stack { 0 } else { 1 };
        suggested && layers.from_top(node) == Some(last)
    };
    let candidate = |(node, value): &'b (NodeKey, Value)| {
        let role = roles.get(node.as_str());
        let suggested = role.is_some_and(|r| r.suggest);
        let (is_float, elements) = match program.def(*value) {
            Def::Constant(i) => {
                let payload = &program.constants[i].payload;
                (payload.dtype.is_float(), payload.element_count())
            }
            _ => (false, 0),
        };
        Candidate {
            name: node.as_str(),
            is_float,
            elements,
            role: role.map_or("other", |r| r.role.name()),
            suggested,
            from_top: layers.from_top(node),
            is_head: if grafted.is_empty() { is_own_head(node, suggested) } else { grafted.contains(&node) },
        }
    };
    nodes.iter().map(candidate).collect()
}

/// Constants of the program that stand in the graph, with their values, in order.
pub(super) fn named_constants(program: &Program) -> Vec<(NodeKey, Value)> {
    program.constants.iter().filter_map(|c| Some((c.node.clone()?, c.value))).collect()
}

/// Adapters of the recipe's edits, put into the program.
fn adapt(
    base: &Base,
    recipe: &Recipe,
    program: &mut Program,
    reporter: &mut Reporter,
) -> Result<Vec<Adapter>, SessionError> {
    let mut out: Vec<Adapter> = Vec::new();
    for entry in recipe.edits.iter().filter(|e| e.enabled) {
        let EditStep::Lora(choice) = &entry.step else { continue };
        // A weight has one adapter; later edits take what is left.
        let mut nodes = named_constants(program);
        nodes.retain(|(n, _)| !out.iter().any(|a| a.weight == *n || a.a.0 == *n || a.b.0 == *n));
        let grafted: Vec<&NodeKey> = base.edited.heads.iter().flat_map(|h| &h.constants).collect();
        let mut candidates = candidates(base, &nodes, program);
        // New heads train as they are.
        candidates.iter_mut().filter(|c| grafted.iter().any(|g| g.as_str() == c.name)).for_each(|c| c.is_float = false);
        out.extend(adapters::insert(program, choice, &candidates, &nodes, reporter)?);
    }
    Ok(out)
}

fn choose_trainable(
    base: &Base,
    recipe: &Recipe,
    program: &Program,
    adapters: &[Adapter],
    reporter: &mut Reporter,
) -> Result<Vec<Trainable>, SessionError> {
    let mut constants = named_constants(program);
    let is_adapter = |n: &NodeKey| adapters.iter().any(|a| a.a.0 == *n || a.b.0 == *n);
    constants.retain(|(n, _)| !is_adapter(n));
    let candidates = candidates(base, &constants, program);
    let mut choice = recipe.trainable.clone();
    if !adapters.is_empty() && choice.include == [Selector::Suggested] {
        // With adapters the rest of the model stays as it is, but for new heads.
        choice.include = if base.edited.heads.is_empty() { vec![Selector::None] } else { vec![Selector::Heads] };
    }
    let chosen = select::choose_in(Some(&base.graph), &choice.include, &choice.exclude, &candidates)
        .map_err(SessionError::Choice)?;
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
    let mut out: Vec<Trainable> = Vec::new();
    for &i in &chosen.chosen {
        let (node, value) = constants[i].clone();
        // What an adapter stands beside trains only where it is named.
        let is_named = choice.include.iter().any(|s| matches!(s, Selector::Name(_)) && s.names(node.as_str()));
        if is_named || !adapters.iter().any(|a| a.weight == node) {
            let role = base.roles.iter().find(|r| r.node == node).map_or("other", |r| r.role.name());
            out.push(Trainable { node, value, role });
        }
    }
    for adapter in adapters {
        for (node, value) in [&adapter.a, &adapter.b] {
            out.push(Trainable { node: node.clone(), value: *value, role: "adapter" });
        }
    }
    Ok(out)
}
