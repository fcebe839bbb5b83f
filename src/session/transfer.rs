//! A recipe on another model: every decision is looked up there by its selector or name, and what becomes of it is
//! reported. A name that is not there as it stands is found where exactly one name ends like it (another prefix).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::base::Reporter;

use super::edits;
use super::error::SessionError;
use super::model::Model;
use super::recipe::{EditStep, Objective, Recipe, TrainableChoice};
use super::select::{self, Selector};
use super::understand::{self, Base, Understood};

/// What became of one decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It applies as it stands.
    Taken,
    /// A selector, and how many constants it chooses here.
    Matches(usize),
    /// It applies under another name.
    Renamed(String),
    /// It does not apply, and is left out.
    Dropped(String),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken => f.write_str("as it stands"),
            Self::Matches(1) => f.write_str("1 constant"),
            Self::Matches(n) => write!(f, "{n} constants"),
            Self::Renamed(name) => write!(f, "as {name}"),
            Self::Dropped(why) => write!(f, "left out: {why}"),
        }
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub decision: String,
    pub fate: Fate,
}

/// The recipe as it applies to another model.
#[derive(Clone, Debug, Default)]
pub struct Transferred {
    pub recipe: Recipe,
    pub report: Vec<Line>,
}

impl Transferred {
    pub fn n_dropped(&self) -> usize {
        self.report.iter().filter(|l| matches!(l.fate, Fate::Dropped(_))).count()
    }

    fn line(&mut self, decision: impl Into<String>, fate: Fate) {
        self.report.push(Line { decision: decision.into(), fate });
    }
}

/// Looks every decision of `recipe` up in `model`. Errors only where the model itself cannot be understood.
pub fn transfer(recipe: &Recipe, model: &Arc<Model>) -> Result<Transferred, SessionError> {
    let base = Base::new(model.clone(), &Recipe::default())?;
    let lookup = Lookup::new(&base);
    let mut out = Transferred::default();
    out.recipe.settings.clone_from(&recipe.settings);
    if !recipe.settings.is_empty() {
        out.line(format!("{} settings of training", recipe.settings.len()), Fate::Taken);
    }
    if let Some(name) = &recipe.signature {
        let is_there = model.signature(Some(name)).is_ok();
        out.recipe.signature = is_there.then(|| name.clone());
        out.line(format!("Signature {name}"), taken(is_there, "this model has no such signature"));
    }
    out.recipe.shapes = by_name(&mut out, "Shape of", &recipe.shapes, |n| lookup.value(n));
    out.recipe.pins = by_name(&mut out, "Pin", &recipe.pins, |n| lookup.value(n));
    out.recipe.stand_ins = by_name(&mut out, "Stand-in gradient at", &recipe.stand_ins, |n| lookup.value(n));
    out.recipe.dropout.default = recipe.dropout.default;
    out.recipe.dropout.sites = by_name(&mut out, "Dropout at", &recipe.dropout.sites, |n| lookup.site(n));
    adjustments(&mut out, recipe, model, &lookup);
    out.recipe.trainable = trainable(&mut out, recipe, &base, &lookup);
    data(&mut out, recipe, &lookup);
    objective(&mut out, recipe, model, &lookup)?;
    Ok(out)
}

fn taken(is_taken: bool, why_not: &str) -> Fate {
    if is_taken { Fate::Taken } else { Fate::Dropped(why_not.to_owned()) }
}

/// A name here, where there is one.
enum Found {
    Same,
    Other(String),
    Nowhere(String),
}

/// Names of values and sites of the other model.
struct Lookup {
    values: Names,
    sites: Names,
}

/// Names without `:0`, by their last part.
#[derive(Default)]
struct Names(HashMap<String, Vec<String>>);

fn bare(name: &str) -> &str {
    name.strip_suffix(":0").unwrap_or(name)
}

impl Names {
    fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut by_last: HashMap<String, Vec<String>> = HashMap::new();
        for name in names.map(bare) {
            let last = name.rsplit('/').next().unwrap_or(name);
            let same = by_last.entry(last.to_owned()).or_default();
            if !same.iter().any(|n| n == name) {
                same.push(name.to_owned());
            }
        }
        Self(by_last)
    }

    fn find(&self, name: &str) -> Found {
        let wanted = bare(name);
        let last = wanted.rsplit('/').next().unwrap_or(wanted);
        let near = self.0.get(last).map(Vec::as_slice).unwrap_or_default();
        if near.iter().any(|n| n == wanted) {
            return Found::Same;
        }
        // `a/b/c` is taken for `x/a/b/c` or `b/c`: one must end with the other at a part's border.
        let ends = |long: &str, short: &str| long.strip_suffix(short).is_some_and(|rest| rest.ends_with('/'));
        let alike: Vec<&String> = near.iter().filter(|n| ends(n, wanted) || ends(wanted, n)).collect();
        match alike.as_slice() {
            [one] => Found::Other((*one).clone()),
            [] => Found::Nowhere("no such name in this model".to_owned()),
            many => Found::Nowhere(format!("{} names of this model end like it", many.len())),
        }
    }
}

impl Lookup {
    fn new(base: &Base) -> Self {
        let spelled = base.spelled.values.keys().map(|k| k.as_str());
        let nodes = base.graph.nodes.iter().map(|n| n.key.as_str());
        Self {
            values: Names::new(spelled.chain(nodes)),
            sites: Names::new(base.sites.iter().map(|s| s.output_key.as_str())),
        }
    }

    fn value(&self, name: &str) -> Found {
        self.values.find(name)
    }

    fn site(&self, name: &str) -> Found {
        self.sites.find(name)
    }
}

/// Entries of a map under the names that they have here.
fn by_name<V: Clone>(
    out: &mut Transferred,
    what: &str,
    map: &IndexMap<String, V>,
    find: impl Fn(&str) -> Found,
) -> IndexMap<String, V> {
    let mut here = IndexMap::new();
    for (name, value) in map {
        if let Some(name) = resolve(out, format!("{what} {name}"), name, &find) {
            here.insert(name, value.clone());
        }
    }
    here
}

/// The name here, with its line in the report.
fn resolve(out: &mut Transferred, decision: String, name: &str, find: impl Fn(&str) -> Found) -> Option<String> {
    match find(name) {
        Found::Same => {
            out.line(decision, Fate::Taken);
            Some(name.to_owned())
        }
        Found::Other(other) => {
            out.line(decision, Fate::Renamed(other.clone()));
            Some(other)
        }
        Found::Nowhere(why) => {
            out.line(decision, Fate::Dropped(why));
            None
        }
    }
}

/// Adjustments of the graph, each on those that were taken before it: what applies without a complaint is taken.
fn adjustments(out: &mut Transferred, recipe: &Recipe, model: &Model, lookup: &Lookup) {
    let complaints = |steps: &[EditStep]| {
        let mut reporter = Reporter::default();
        edits::edit(model, steps, &mut reporter);
        let all = reporter.into_diagnostics().into_iter().filter(|d| d.code == "edit-not-applied");
        all.map(|d| d.message).collect::<Vec<_>>()
    };
    let mut steps: Vec<EditStep> = Vec::new();
    for entry in &recipe.edits {
        let mut entry = entry.clone();
        let decision = {
            let (kind, what) = entry.step.label();
            format!("{kind} {what}")
        };
        let mut fate = Fate::Taken;
        let (name, found) = match &mut entry.step {
            EditStep::BypassDropout { output } => (Some(output.clone()), Some(lookup.site(output))),
            EditStep::Bypass { node } => (Some(node.clone()), Some(lookup.value(node))),
            EditStep::GraftHead(head) => (head.at.clone(), head.at.as_deref().map(|at| lookup.value(at))),
            EditStep::Unbake(_) | EditStep::Lora(_) | EditStep::LoadWeights(_) => (None, None),
        };
        match (name, found) {
            (Some(_), Some(Found::Other(other))) => {
                fate = Fate::Renamed(other.clone());
                match &mut entry.step {
                    EditStep::BypassDropout { output } => *output = other,
                    EditStep::Bypass { node } => *node = other,
                    EditStep::GraftHead(head) => head.at = Some(other),
                    EditStep::Unbake(_) | EditStep::Lora(_) | EditStep::LoadWeights(_) => {}
                }
            }
            (Some(name), Some(Found::Nowhere(_))) => {
                out.line(decision, Fate::Dropped(format!("there is no {name} in this model")));
                continue;
            }
            _ => {}
        }
        let before = complaints(&steps).len();
        steps.push(entry.step.clone());
        if let Some(why) = complaints(&steps).into_iter().nth(before) {
            steps.pop();
            out.line(decision, Fate::Dropped(why));
            continue;
        }
        out.recipe.edits.push(entry);
        out.line(decision, fate);
    }
}

fn trainable(out: &mut Transferred, recipe: &Recipe, base: &Base, lookup: &Lookup) -> TrainableChoice {
    let nodes = understand::named_constants(&base.spelled.program);
    let candidates = understand::candidates(base, &nodes, &base.spelled.program);
    let chosen = |s: &Selector| select::choose_in(Some(&base.graph), std::slice::from_ref(s), &[], &candidates);
    let count = |s: &Selector| chosen(s).map_or(0, |c| c.chosen.len());
    let here = |out: &mut Transferred, verb: &str, selectors: &[Selector]| {
        let mut kept = Vec::new();
        for s in selectors {
            let decision = format!("{verb} {s}");
            let n = count(s);
            match s {
                Selector::Name(name) if n == 0 => {
                    let found = resolve(out, decision, name, |n| lookup.value(n));
                    kept.extend(found.map(Selector::Name).filter(|s| count(s) > 0));
                }
                Selector::Suggested | Selector::All | Selector::None => {
                    out.line(decision, Fate::Matches(n));
                    kept.push(s.clone());
                }
                _ if n == 0 => out.line(decision, Fate::Dropped("it matches no constant of this model".to_owned())),
                _ => {
                    out.line(decision, Fate::Matches(n));
                    kept.push(s.clone());
                }
            }
        }
        kept
    };
    let mut include = here(out, "Train", &recipe.trainable.include);
    let exclude = here(out, "Freeze", &recipe.trainable.exclude);
    if include.is_empty() && !recipe.trainable.include.is_empty() {
        let n = count(&Selector::Suggested);
        out.line("Train suggested, as nothing else is left", Fate::Matches(n));
        include.push(Selector::Suggested);
    }
    TrainableChoice { include, exclude }
}

fn data(out: &mut Transferred, recipe: &Recipe, lookup: &Lookup) {
    let Some(data) = &recipe.data else { return };
    out.line(format!("Data {}", data.train), Fate::Taken);
    let mut here = data.clone();
    here.map = by_name(out, "Placeholder", &data.map, |n| lookup.value(n));
    here.logits =
        data.logits.as_ref().and_then(|n| resolve(out, format!("Predictions from {n}"), n, |n| lookup.value(n)));
    out.recipe.data = Some(here);
}

/// The objective last, on the adjusted graph: it may read what an adjustment made.
fn objective(out: &mut Transferred, recipe: &Recipe, model: &Arc<Model>, lookup: &Lookup) -> Result<(), SessionError> {
    let Some(objective) = &recipe.objective else { return Ok(()) };
    let mut here = objective.clone();
    let mut renamed = None;
    {
        let mut follow = |name: &mut String| {
            if let Found::Other(other) = lookup.value(name) {
                renamed = Some(other.clone());
                *name = other;
            }
        };
        match &mut here {
            Objective::Value { loss } => follow(loss),
            Objective::Attached { on, labels, .. } => {
                follow(on);
                follow(labels);
            }
            // It reads a head that the adjustments graft.
            Objective::Head { .. } => {}
        }
    }
    let base = Arc::new(Base::new(model.clone(), &out.recipe)?);
    let with = Recipe { objective: Some(here.clone()), ..out.recipe.clone() };
    let fate = match Understood::new(base, Arc::new(with)) {
        Ok(_) => renamed.map_or(Fate::Taken, Fate::Renamed),
        Err(e) => Fate::Dropped(e.to_string()),
    };
    if !matches!(fate, Fate::Dropped(_)) {
        out.recipe.objective = Some(here);
    }
    out.line("Objective", fate);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::recipe::{SitePolicy, StandIn};
    use super::super::{Change, demo};
    use super::*;

    fn demo_model(dir: &std::path::Path) -> (Arc<Model>, Recipe) {
        demo::write(dir).unwrap();
        (Arc::new(Model::open(&dir.join("model.pb")).unwrap()), demo::recipe(dir))
    }

    fn fate<'a>(t: &'a Transferred, decision: &str) -> &'a Fate {
        let line = t.report.iter().find(|l| l.decision == decision);
        &line.unwrap_or_else(|| panic!("no line {decision:?} in {:#?}", t.report)).fate
    }

    #[test]
    fn a_recipe_applies_to_its_own_model_as_it_stands() {
        let dir = tempfile::tempdir().unwrap();
        let (model, recipe) = demo_model(dir.path());
        let base = Base::new(model.clone(), &recipe).unwrap();
        let output = base.sites[0].output_key.as_str().to_owned();
        let edited = Change::AddEdits(vec![EditStep::BypassDropout { output }]).apply(&recipe);
        let t = transfer(&edited, &model).unwrap();
        assert_eq!(t.n_dropped(), 0, "{:#?}", t.report);
        assert_eq!(t.recipe, edited);
    }

    #[test]
    fn names_are_found_under_another_prefix_and_what_is_missing_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let (model, _) = demo_model(dir.path());
        let base = Base::new(model.clone(), &Recipe::default()).unwrap();
        let site = base.sites[0].output_key.as_str().to_owned();
        let mut r = Recipe::default();
        r.dropout.sites.insert(format!("tower/{site}"), SitePolicy::Off);
        r.dropout.sites.insert("nowhere/dropout/mul".to_owned(), SitePolicy::Off);
        r.stand_ins.insert("other/loss/logits".to_owned(), StandIn::Stop);
        r.pins.insert("no_such_input".to_owned(), 0.0);
        r.trainable.include =
            ["glob:bert/*", "role:bias", "gone/kernel", "re:^nothing$"].map(|s| s.parse().unwrap()).to_vec();
        let t = transfer(&r, &model).unwrap();
        let bare_site = bare(&site).to_owned();
        assert_eq!(fate(&t, &format!("Dropout at tower/{site}")), &Fate::Renamed(bare_site.clone()));
        assert_eq!(t.recipe.dropout.sites.keys().collect::<Vec<_>>(), [&bare_site]);
        assert_eq!(fate(&t, "Stand-in gradient at other/loss/logits"), &Fate::Renamed("loss/logits".to_owned()));
        assert!(matches!(fate(&t, "Pin no_such_input"), Fate::Dropped(_)));
        assert!(matches!(fate(&t, "Train role:bias"), Fate::Matches(n) if *n > 3));
        assert!(matches!(fate(&t, "Train gone/kernel"), Fate::Dropped(_)));
        assert!(matches!(fate(&t, "Train re:^nothing$"), Fate::Dropped(_)));
        assert_eq!(t.recipe.trainable.include.len(), 2);
        Understood::new(Arc::new(Base::new(model, &t.recipe).unwrap()), Arc::new(t.recipe)).unwrap();
    }
}
