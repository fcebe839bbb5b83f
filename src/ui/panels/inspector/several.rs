//! Several selected things: what they are in all, and what can be done with all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use egui::Ui;

use crate::session::Overview;
use crate::session::overview::ConstantRow;
use crate::ui::command::Action;
use crate::ui::ctx::{Ctx, Open};
use crate::ui::selection::Selection;
use crate::ui::{offers, text, theme, widgets};

use super::title;

/// The totals of the last selection: a selection may hold every constant of a large model.
#[derive(Debug, Default)]
pub struct Cache {
    of: Option<(u64, Arc<Overview>)>,
    totals: Totals,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Totals {
    constants: usize,
    elements: usize,
    bytes: usize,
    trainable: usize,
    roles: Vec<(String, usize)>,
    ops: Vec<(String, usize)>,
}

impl Totals {
    fn new(open: &Open, selection: &Selection) -> Self {
        let names = || selection.nodes().iter();
        let rows: Vec<&ConstantRow> =
            names().filter_map(|n| open.index.constant(n)).map(|c| &open.overview.constants[c]).collect();
        let ops = names().filter_map(|n| open.index.node(n)).map(|n| open.overview.nodes[n].op.as_str());
        Self {
            constants: rows.len(),
            elements: rows.iter().map(|r| r.elements).sum(),
            bytes: rows.iter().map(|r| r.bytes).sum(),
            trainable: rows.iter().filter(|r| r.trainable).count(),
            roles: counted(rows.iter().map(|r| r.role.as_str())),
            ops: counted(ops),
        }
    }
}

/// How often each word comes, most first, for the most common few.
fn counted<'a>(words: impl Iterator<Item = &'a str>) -> Vec<(String, usize)> {
    let mut counts = BTreeMap::new();
    words.for_each(|w| *counts.entry(w).or_insert(0) += 1);
    let mut out: Vec<(String, usize)> = counts.into_iter().map(|(w, n)| (w.to_owned(), n)).collect();
    out.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    out.truncate(6);
    out
}

pub(super) fn ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, selection: &Selection, cache: &mut Cache) {
    let is_known = cache.of.as_ref().is_some_and(|(r, o)| *r == selection.revision() && Arc::ptr_eq(o, &open.overview));
    if !is_known {
        cache.totals = Totals::new(open, selection);
        cache.of = Some((selection.revision(), open.overview.clone()));
    }
    let (t, n) = (&cache.totals, selection.nodes().len());
    title(ui, "Selection", &format!("{n} selected"));
    widgets::fact(ui, "Nodes that compute", &text::exact(n - t.constants.min(n)));
    widgets::fact(ui, "Constants", &text::exact(t.constants));
    widgets::fact_with_exact(ui, "Elements", &text::count(t.elements), Some(&text::exact(t.elements)));
    widgets::fact_with_exact(ui, "Size", &text::bytes(t.bytes as u64), Some(&text::exact(t.bytes)));
    widgets::fact(ui, "Trains", &format!("{} of {}", t.trainable, t.constants));
    ui.add_space(theme::RELATED);
    for (kind, counts) in [("Role", &t.roles), ("Op", &t.ops)] {
        for (what, count) in counts {
            widgets::fact(ui, &format!("{kind} {what}"), &text::exact(*count));
        }
    }
    ui.add_space(theme::RELATED);
    let bulk =
        [Action::TrainSelection, Action::FreezeSelection, Action::OnlySelection, Action::AddLora, Action::CopyNames];
    for action in bulk {
        let info = action.info();
        let covered = offers::covered(ui, open, selection, action);
        let enabled = ctx.is_enabled(action) && offers::chooses_something(action, covered);
        let r = ui.horizontal(|ui| {
            let r = widgets::text_button_enabled(ui, enabled, info.icon, info.title);
            if let Some(c) = covered {
                widgets::caption(ui, c.short()).on_hover_text(c.exact());
            }
            r
        });
        if r.inner.on_hover_text(info.help).clicked() {
            ctx.act(action);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::History;
    use crate::ui::sample;

    #[test]
    fn the_most_common_come_first() {
        assert_eq!(counted(["a", "b", "b"].into_iter()), [("b".to_owned(), 2), ("a".to_owned(), 1)]);
    }

    #[test]
    fn a_selection_is_summed_up() {
        let open = Open::new(std::path::Path::new("m.pb"), Arc::new(sample::overview()), History::default());
        let mut selection = Selection::default();
        let names = ["encoder/dense/kernel", "encoder/dense/bias", "encoder/dense/MatMul"];
        selection.set_many(names.map(str::to_owned), None);
        let t = Totals::new(&open, &selection);
        let own = |n: &str| &open.overview.constants[open.index.constant(n).unwrap()];
        assert_eq!(t.constants, 2);
        assert_eq!(t.elements, own(names[0]).elements + own(names[1]).elements);
        assert!(t.ops.contains(&("MatMul".to_owned(), 1)));
    }
}
