//! The only way a recipe changes. The window, the command line and offers all make changes; each has a label for the
//! undo list.

use crate::edits::heads::HeadChoice;

use super::recipe::{
    DataChoice, EditEntry, EditStep, Objective, ParameterGroup, Recipe, SitePolicy, StandIn, TrainableChoice,
};
use super::select::Selector;

/// One change of a recipe.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    SetSignature(Option<String>),
    SetShape {
        name: String,
        dims: Option<Vec<usize>>,
    },
    SetPin {
        name: String,
        value: Option<f64>,
    },
    SetTrainable(TrainableChoice),
    /// Makes constants trainable (`true`) or frozen, by name, keeping the rest of the choice.
    Train {
        names: Vec<String>,
        on: bool,
    },
    SetDropout(SitePolicy),
    SetSiteDropout {
        output: String,
        policy: Option<SitePolicy>,
    },
    SetStandIn {
        node: String,
        stand_in: Option<StandIn>,
    },
    SetObjective(Option<Objective>),
    SetData(Option<DataChoice>),
    /// `None` goes back to the default.
    SetSetting {
        key: String,
        value: Option<String>,
    },
    AddEdits(Vec<EditStep>),
    /// A new head, in the place of one with the same name, and what is minimised with it.
    GraftHead {
        head: HeadChoice,
        objective: Objective,
    },
    /// Parameters with their own learning rate and decay.
    SetGroups(Vec<ParameterGroup>),
    RemoveEdit(usize),
    EnableEdit {
        index: usize,
        enabled: bool,
    },
    MoveEdit {
        from: usize,
        to: usize,
    },
    NoteEdit {
        index: usize,
        note: String,
    },
    /// The whole recipe (pasted, or applied from another session).
    Replace(Box<Recipe>),
}

impl Change {
    /// What the undo list calls it.
    pub fn label(&self) -> String {
        match self {
            Self::SetSignature(s) => format!("Use signature {}", s.as_deref().unwrap_or("default")),
            Self::SetShape { name, .. } => format!("Set shape of {name}"),
            Self::SetPin { name, value: Some(v) } => format!("Pin {name} to {v}"),
            Self::SetPin { name, value: None } => format!("Unpin {name}"),
            Self::SetTrainable(choice) => {
                let what = choice.include.iter().map(Selector::to_string).collect::<Vec<_>>().join(", ");
                format!("Train {}", if what.is_empty() { "nothing".to_owned() } else { what })
            }
            Self::Train { names, on } => {
                let verb = if *on { "Train" } else { "Freeze" };
                match names.as_slice() {
                    [one] => format!("{verb} {one}"),
                    many => format!("{verb} {} constants", many.len()),
                }
            }
            Self::SetDropout(p) => format!("Dropout: {p}"),
            Self::SetSiteDropout { output, policy: Some(p) } => format!("Dropout at {output}: {p}"),
            Self::SetSiteDropout { output, policy: None } => format!("Dropout at {output}: as the others"),
            Self::SetStandIn { node, stand_in: Some(_) } => format!("Stand-in gradient at {node}"),
            Self::SetStandIn { node, stand_in: None } => format!("Own gradient at {node}"),
            Self::SetObjective(_) => "Set the objective".to_owned(),
            Self::SetData(_) => "Set the data".to_owned(),
            Self::SetSetting { key, value: Some(v) } => format!("Set {key} to {v}"),
            Self::SetSetting { key, value: None } => format!("Reset {key}"),
            Self::AddEdits(steps) => match steps.as_slice() {
                [EditStep::BypassDropout { output }] => format!("Bypass dropout at {output}"),
                [one] => {
                    let (kind, what) = one.label();
                    format!("{kind}: {what}")
                }
                many if many.iter().all(|s| matches!(s, EditStep::BypassDropout { .. })) => {
                    format!("Bypass {} dropout sites", many.len())
                }
                many => format!("Add {} adjustments", many.len()),
            },
            Self::GraftHead { head, .. } => format!("Graft a {}", head.kind),
            Self::SetGroups(_) => "Set parameter groups".to_owned(),
            Self::RemoveEdit(_) => "Remove an adjustment".to_owned(),
            Self::EnableEdit { enabled, .. } => {
                format!("Switch an adjustment {}", if *enabled { "on" } else { "off" })
            }
            Self::MoveEdit { .. } => "Reorder adjustments".to_owned(),
            Self::NoteEdit { .. } => "Note on an adjustment".to_owned(),
            Self::Replace(_) => "Replace the recipe".to_owned(),
        }
    }

    /// The recipe after this change.
    pub fn apply(&self, recipe: &Recipe) -> Recipe {
        let mut r = recipe.clone();
        match self.clone() {
            Self::SetSignature(s) => r.signature = s,
            Self::SetShape { name, dims } => set(&mut r.shapes, name, dims),
            Self::SetPin { name, value } => set(&mut r.pins, name, value),
            Self::SetTrainable(choice) => r.trainable = choice,
            Self::Train { names, on } => train(&mut r.trainable, &names, on),
            Self::SetDropout(policy) => r.dropout.default = policy,
            Self::SetSiteDropout { output, policy } => set(&mut r.dropout.sites, output, policy),
            Self::SetStandIn { node, stand_in } => set(&mut r.stand_ins, node, stand_in),
            Self::SetObjective(o) => r.objective = o,
            Self::SetData(d) => r.data = d,
            Self::SetSetting { key, value } => set(&mut r.settings, key, value),
            Self::AddEdits(steps) => add_edits(&mut r.edits, steps),
            Self::GraftHead { head, objective } => {
                let is_old = |e: &EditEntry| matches!(&e.step, EditStep::GraftHead(h) if h.name == head.name);
                r.edits.retain(|e| !is_old(e));
                add_edits(&mut r.edits, vec![EditStep::GraftHead(head)]);
                r.objective = Some(objective);
            }
            Self::SetGroups(groups) => r.groups = groups,
            Self::RemoveEdit(i) => {
                if i < r.edits.len() {
                    r.edits.remove(i);
                }
            }
            Self::EnableEdit { index, enabled } => {
                if let Some(e) = r.edits.get_mut(index) {
                    e.enabled = enabled;
                }
            }
            Self::MoveEdit { from, to } => {
                if from < r.edits.len() && to < r.edits.len() {
                    let e = r.edits.remove(from);
                    r.edits.insert(to, e);
                }
            }
            Self::NoteEdit { index, note } => {
                if let Some(e) = r.edits.get_mut(index) {
                    e.note = note;
                }
            }
            Self::Replace(new) => r = *new,
        }
        r
    }
}

fn set<V>(map: &mut indexmap::IndexMap<String, V>, key: String, value: Option<V>) {
    match value {
        Some(v) => {
            map.insert(key, v);
        }
        None => {
            map.shift_remove(&key);
        }
    }
}

/// Names win over patterns: an exact name in one list leaves the other.
fn train(choice: &mut TrainableChoice, names: &[String], on: bool) {
    let (to, from) =
        if on { (&mut choice.include, &mut choice.exclude) } else { (&mut choice.exclude, &mut choice.include) };
    for name in names {
        let selector = Selector::Name(name.clone());
        from.retain(|s| *s != selector);
        if !to.contains(&selector) {
            to.push(selector);
        }
    }
}

fn add_edits(edits: &mut Vec<EditEntry>, steps: Vec<EditStep>) {
    for step in steps {
        if !edits.iter().any(|e| e.step == step) {
            edits.push(EditEntry { step, enabled: true, note: String::new() });
        }
    }
}
