//! Bulk choices of what trains: which selectors each stands for, and how many constants and parameters it covers. The
//! numbers come from the selectors that are stored, so that they cannot differ from what will happen.

use crate::session::below::Net;
use crate::session::select;
use crate::session::{Change, Overview, Selector, TrainableChoice};

use super::command::Action;
use super::ctx::Open;
use super::selection::{Selection, Target};
use super::text;

/// Constants and their elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Covered {
    pub constants: usize,
    pub parameters: usize,
}

impl Covered {
    fn of(overview: &Overview, rows: impl IntoIterator<Item = usize>) -> Self {
        rows.into_iter().fold(Self::default(), |c, i| Self {
            constants: c.constants + 1,
            parameters: c.parameters + overview.constants[i].elements,
        })
    }

    /// `16 · 1.2 M`.
    pub fn short(self) -> String {
        format!("{} · {}", text::count(self.constants), text::count(self.parameters))
    }

    /// `16 constants, 1.2 M parameters`.
    pub fn words(self) -> String {
        let n = text::plural(self.constants, "constant", "constants");
        format!("{n}, {} parameters", text::count(self.parameters))
    }

    /// As [`Covered::words`], to the last parameter.
    pub fn exact(self) -> String {
        let n = text::plural(self.constants, "constant", "constants");
        format!("{n}, {}", text::plural(self.parameters, "parameter", "parameters"))
    }
}

/// The rows that selectors take, as indices into the overview's constants.
pub fn chosen(overview: &Overview, include: &[Selector]) -> Vec<usize> {
    let candidates: Vec<_> = overview.constants.iter().map(|c| c.candidate()).collect();
    select::choose(include, &[], &candidates).map(|c| c.chosen).unwrap_or_default()
}

/// How much selectors take.
pub fn covered(overview: &Overview, include: &[Selector]) -> Covered {
    Covered::of(overview, chosen(overview, include))
}

/// What a bulk action trains, for those that name it by selectors.
pub fn selectors(action: Action) -> Option<Vec<Selector>> {
    Some(vec![match action {
        Action::TrainSuggested => Selector::Suggested,
        Action::TrainAllFloat => Selector::All,
        Action::FreezeAll => Selector::None,
        Action::OnlyBiases => Selector::BitFit,
        Action::OnlyNorms => Selector::LayerNorm,
        Action::OnlyHeads => Selector::Heads,
        _ => return None,
    }])
}

/// How many layers a model has, for *Train the last N layers*.
pub fn n_layers(overview: &Overview) -> usize {
    overview.constants.iter().filter(|c| c.suggest == "train").filter_map(|c| c.from_top).max().unwrap_or(0)
}

/// What a bulk action would make trainable; for those that freeze, what they would take away.
pub fn covers(open: &Open, selection: &Selection, action: Action) -> Option<Covered> {
    let o = &*open.overview;
    let trains = |i: &usize| o.constants[*i].trainable;
    Some(match action {
        Action::FreezeAll => Covered::of(o, (0..o.constants.len()).filter(trains)),
        Action::LastLayers => return None,
        Action::TrainSelection | Action::OnlySelection => {
            Covered::of(o, selected(open, selection).into_iter().filter(|&i| o.constants[i].candidate().is_float))
        }
        Action::FreezeSelection => Covered::of(o, selected(open, selection).into_iter().filter(trains)),
        Action::FreezeBelow => Covered::of(o, below(open, selection.focus()?).into_iter().filter(trains)),
        Action::AddLora => {
            let is_weight = |i: &usize| o.constants[*i].role == "matmul-weight";
            Covered::of(o, selected(open, selection).into_iter().filter(is_weight))
        }
        action => covered(o, &selectors(action)?),
    })
}

/// The selected constants.
pub fn selected(open: &Open, selection: &Selection) -> Vec<usize> {
    selection.nodes().iter().filter_map(|n| open.index.constant(n)).collect()
}

/// The place that a target is, as selectors name it.
pub fn place(target: &Target) -> String {
    let name = target.name();
    name.strip_suffix(":0").unwrap_or(name).to_owned()
}

/// The float constants from which the inputs of a target are computed.
pub fn below(open: &Open, target: &Target) -> Vec<usize> {
    let (o, index) = (&*open.overview, &*open.index);
    let here: Vec<usize> = match target {
        Target::Scope(s) => match index.scopes.named(s) {
            Some(s) => {
                let inside = index.scopes.nodes_inside(s).into_iter();
                inside.filter(|n| !index.constant_of_node.contains_key(n)).collect()
            }
            None => return Vec::new(),
        },
        Target::Node(n) | Target::Site(n) | Target::Value(n) => index.node_of_value(n).into_iter().collect(),
        Target::Values(all) => all.iter().filter_map(|n| index.node_of_value(n)).collect(),
    };
    let inputs = |n: usize| index.inputs[n].clone();
    let is_constant = |n: usize| index.constant_of_node.contains_key(&n);
    let net = Net { n: o.nodes.len(), inputs: &inputs, is_constant: &is_constant };
    let rows = net.below(&here).into_iter().filter_map(|n| index.constant_of_node.get(&n).copied());
    rows.filter(|&c| o.constants[c].candidate().is_float).collect()
}

/// The choice as it is, without what lies below a target.
pub fn freeze_below(open: &Open, target: &Target) -> Change {
    let mut choice = open.recipe().trainable.clone();
    let places = match target {
        Target::Values(all) => all.iter().map(|n| place(&Target::Value(n.clone()))).collect(),
        one => vec![place(one)],
    };
    for selector in places.into_iter().map(Selector::Below) {
        if !choice.exclude.contains(&selector) {
            choice.exclude.push(selector);
        }
    }
    Change::SetTrainable(choice)
}

/// Everything in a scope trains, or stays as it is, beside the rest of the choice.
pub fn whole_scope(open: &Open, scope: &str, on: bool) -> Change {
    let mut choice = open.recipe().trainable.clone();
    let selector = Selector::inside(scope);
    let (to, from) =
        if on { (&mut choice.include, &mut choice.exclude) } else { (&mut choice.exclude, &mut choice.include) };
    from.retain(|s| *s != selector);
    if !to.contains(&selector) {
        to.push(selector);
    }
    Change::SetTrainable(choice)
}

/// The last layers with everything after them.
pub fn last_layers(n: usize) -> Change {
    Change::SetTrainable(TrainableChoice { include: vec![Selector::LastLayers(n)], exclude: Vec::new() })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::session::History;
    use crate::ui::sample;

    fn open() -> Open {
        Open::new(Path::new("m.pb"), Arc::new(sample::overview()), History::default())
    }

    #[test]
    fn numbers_are_those_of_the_selectors() {
        let open = open();
        let mut selection = Selection::default();
        let all = covers(&open, &selection, Action::TrainAllFloat).unwrap();
        let biases = covers(&open, &selection, Action::OnlyBiases).unwrap();
        assert!(all.constants > biases.constants && biases.constants > 0, "{all:?} {biases:?}");
        let frozen = covers(&open, &selection, Action::FreezeAll).unwrap();
        assert_eq!(frozen.constants, open.overview.constants.iter().filter(|c| c.trainable).count());
        assert!(covers(&open, &selection, Action::FreezeBelow).is_none(), "nothing is selected");
        selection.set(Target::Node("encoder/dense/kernel".to_owned()));
        assert_eq!(covers(&open, &selection, Action::AddLora).unwrap().constants, 1);
        let covered = Covered { constants: 1, parameters: 24_913 };
        assert_eq!(covered.words(), "1 constant, 24.9 k parameters");
        assert_eq!(covered.exact(), "1 constant, 24\u{202f}913 parameters");
    }

    #[test]
    fn what_lies_below_the_loss_is_everything_that_feeds_it() {
        let open = open();
        let names = |t: Target| {
            below(&open, &t).into_iter().map(|i| open.overview.constants[i].name.clone()).collect::<Vec<_>>()
        };
        let below_loss = names(Target::Node("loss/Mean".to_owned()));
        assert!(below_loss.contains(&"encoder/dense/kernel".to_owned()));
        assert!(!names(Target::Node("encoder/dense/MatMul".to_owned())).contains(&"encoder/dense/kernel".to_owned()));
        assert!(!names(Target::Scope("encoder".to_owned())).contains(&"encoder/dense/kernel".to_owned()));
        let Change::SetTrainable(choice) = freeze_below(&open, &Target::Scope("loss".to_owned())) else { panic!() };
        assert_eq!(choice.exclude, [Selector::Below("loss".to_owned())]);
        let Change::SetTrainable(choice) = whole_scope(&open, "encoder", false) else { panic!() };
        assert_eq!(choice.exclude, [Selector::Glob("encoder/*".to_owned())]);
    }
}
