//! What can be done with something, as the entries of its right-click menu: the same in the browser and on the canvas.

use std::sync::Arc;

use egui::{RichText, Role, Ui, WidgetInfo};

use crate::session::{Change, EditStep, Overview, SitePolicy};

use super::bulk::{self, Covered};
use super::command::{Action, Command};
use super::ctx::{Ctx, Open};
use super::selection::{How, Selection, Target};
use super::theme::{self, icons};
use super::widgets;

/// A menu entry with how much it covers at its right.
pub fn entry(ui: &mut Ui, enabled: bool, icon: &str, words: &str, covered: Option<Covered>) -> bool {
    let mut button = egui::Button::new(format!("{icon}  {words}")).wrap_mode(egui::TextWrapMode::Extend);
    if let Some(c) = covered {
        button = button.right_text(RichText::new(c.short()).size(theme::CAPTION).weak());
    }
    let r = ui.add_enabled(enabled, button.min_size(egui::vec2(0.0, theme::LIST_ROW_HEIGHT)));
    r.widget_info(|| WidgetInfo::labeled(Role::Button, enabled, words));
    let r = match covered {
        Some(c) => r.on_hover_text(c.exact()),
        None => r,
    };
    let clicked = r.clicked();
    if clicked {
        ui.close();
    }
    clicked
}

/// What was worked out for an open menu, until the model or the selection changes: it may need every constant, and menus
/// are drawn each frame.
fn remembered<T: Clone + Send + Sync + 'static>(
    ui: &Ui,
    open: &Open,
    selection: &Selection,
    what: impl std::hash::Hash + std::fmt::Debug,
    work_out: impl FnOnce() -> T,
) -> T {
    // Held, so that an equal address means equal content.
    type Known<T> = (Arc<Overview>, u64, T);
    let id = egui::Id::unique("offers").with(what);
    let known = ui.memory_mut(|m| m.data.get_temp::<Known<T>>(id));
    match known {
        Some((o, revision, t)) if Arc::ptr_eq(&o, &open.overview) && revision == selection.revision() => t,
        _ => {
            let t = work_out();
            let entry: Known<T> = (open.overview.clone(), selection.revision(), t.clone());
            ui.memory_mut(|m| m.data.insert_temp(id, entry));
            t
        }
    }
}

/// How many constants and parameters a bulk action covers; `None` for other actions.
pub fn covered(ui: &Ui, open: &Open, selection: &Selection, action: Action) -> Option<Covered> {
    if !BULK.iter().any(|group| group.contains(&action)) && action != Action::FreezeSelection {
        return None;
    }
    remembered(ui, open, selection, action, || bulk::covers(open, selection, action))
}

/// What would choose nothing is not offered; adapters ask for their weights where none is selected.
pub fn chooses_something(action: Action, covered: Option<Covered>) -> bool {
    action == Action::AddLora || covered.is_none_or(|c| c.constants > 0)
}

/// An action as an entry, with what it covers.
pub fn action(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, selection: &Selection, action: Action) {
    let info = action.info();
    let covered = covered(ui, open, selection, action);
    if entry(ui, ctx.is_enabled(action) && chooses_something(action, covered), info.icon, info.title, covered) {
        ctx.act(action);
    }
}

/// Everything that is offered for `target`; where it is selected with others, for all of them.
pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, selection: &Selection, target: &Target) {
    ui.set_min_width(250.0);
    let is_many = selection.nodes().len() > 1 && selection.contains(target.name());
    match target {
        _ if is_many => constants_ui(ui, ctx, open, selection),
        Target::Node(n) if open.index.constant(n).is_some() => constants_ui(ui, ctx, open, selection),
        Target::Node(n) | Target::Value(n) => node_ui(ui, ctx, open, n),
        Target::Scope(s) => scope_ui(ui, ctx, open, selection, s),
        Target::Site(s) => site_ui(ui, ctx, open, s),
        // What several values have in common is what lies before them.
        Target::Values(_) => {}
    }
    if !is_many {
        below_ui(ui, ctx, open, selection, target);
    }
    ui.separator();
    for (panel, words, icon) in [("graph", "Show on the graph", icons::GRAPH), ("inspector", "Inspect", icons::INFO)] {
        if entry(ui, true, icon, words, None) {
            ctx.send(Command::Select(target.clone(), How::Replace));
            ctx.send(Command::ShowPanel(panel));
            if panel == "graph" {
                ctx.act(Action::RevealSelection);
            }
        }
    }
    let words = if is_many { "Copy their names" } else { "Copy its name" };
    if entry(ui, true, icons::COPY, words, None) {
        match is_many {
            true => ctx.act(Action::CopyNames),
            false => ctx.send(Command::CopyText(match target {
                Target::Values(all) => all.join("\n"),
                one => one.name().to_owned(),
            })),
        }
    }
}

fn constants_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, selection: &Selection) {
    for a in [Action::TrainSelection, Action::FreezeSelection, Action::OnlySelection] {
        action(ui, ctx, open, selection, a);
    }
    let weights = covered(ui, open, selection, Action::AddLora).unwrap_or_default();
    if weights.constants > 0 && entry(ui, true, icons::STACK, "LoRA on these matmul weights…", Some(weights)) {
        ctx.act(Action::AddLora);
    }
}

/// An op: its weights, a head on it, and the dropout that it belongs to.
fn node_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, name: &str) {
    let Some(node) = open.index.node_of_value(name) else { return };
    let (o, index) = (&open.overview, &open.index);
    let weights: Vec<usize> = index.inputs[node]
        .iter()
        .filter_map(|&n| super::canvas::fold::constant_behind(o, index, n))
        .filter(|&c| o.constants[c].candidate().is_float && o.constants[c].elements > 1)
        .collect();
    if !weights.is_empty() {
        let names = || weights.iter().map(|&c| o.constants[c].name.clone()).collect::<Vec<_>>();
        let covered =
            Covered { constants: weights.len(), parameters: weights.iter().map(|&c| o.constants[c].elements).sum() };
        for (on, words, icon) in
            [(true, "Train its weights", icons::CHECK), (false, "Freeze its weights", icons::MINUS)]
        {
            let makes_sense = weights.iter().any(|&c| o.constants[c].trainable != on);
            if entry(ui, makes_sense, icon, words, Some(covered)) {
                ctx.change(Change::Train { names: names(), on });
            }
        }
    }
    let is_float = o.nodes[node].outputs.first().is_some_and(|v| v.dtype.contains("float"));
    if is_float && entry(ui, true, icons::PLUS, "Graft a head here…", None) {
        ctx.send(Command::Select(Target::Node(name.to_owned()), How::Replace));
        ctx.act(Action::GraftHead);
    }
    if let Some(&site) = index.site_of.get(&node) {
        ui.separator();
        site_ui(ui, ctx, open, &o.dropout[site].output);
    }
}

fn scope_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, selection: &Selection, scope: &str) {
    if scope.is_empty() {
        return;
    }
    let inside = || bulk::covered(&open.overview, &[crate::session::Selector::inside(scope)]);
    let covered = remembered(ui, open, selection, scope, inside);
    for (on, words, icon) in
        [(true, "Train everything inside", icons::CHECK), (false, "Freeze everything inside", icons::MINUS)]
    {
        if entry(ui, covered.constants > 0, icon, words, Some(covered)) {
            ctx.change(bulk::whole_scope(open, scope, on));
        }
    }
}

fn site_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, output: &str) {
    let policy = open.recipe().dropout.policy(output);
    let is_off = policy == SitePolicy::Off;
    let (words, to) = if is_off { ("Dropout on", SitePolicy::Train) } else { ("Dropout off", SitePolicy::Off) };
    if entry(ui, true, icons::DROP, words, None) {
        ctx.change(Change::SetSiteDropout { output: output.to_owned(), policy: Some(to) });
    }
    if entry(ui, true, icons::PROHIBIT, "Remove this dropout from the graph", None) {
        ctx.change(Change::AddEdits(vec![EditStep::BypassDropout { output: output.to_owned() }]));
    }
    if entry(ui, true, icons::LIST, "Show all dropout sites", None) {
        ctx.send(Command::Select(Target::Site(output.to_owned()), How::Replace));
        ctx.send(Command::ShowPanel("dropout"));
    }
}

fn below_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, selection: &Selection, target: &Target) {
    let covered = remembered(ui, open, selection, ("below", target), || {
        let o = &open.overview;
        let trained = bulk::below(open, target).into_iter().map(|c| &o.constants[c]).filter(|c| c.trainable);
        trained.fold(Covered::default(), |sum, c| Covered {
            constants: sum.constants + 1,
            parameters: sum.parameters + c.elements,
        })
    });
    if entry(ui, covered.constants > 0, icons::CARET_DOWN, "Freeze below here", Some(covered)) {
        ctx.change(bulk::freeze_below(open, target));
    }
}

/// A button that opens the bulk choices.
pub fn bulk_menu(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, selection: &Selection) {
    let words = format!("Choose {}", icons::CARET_DOWN);
    let button = egui::Button::new(words).min_size(egui::vec2(0.0, theme::BUTTON_HEIGHT));
    let (response, _) = egui::containers::menu::MenuButton::from_button(button).ui(ui, |ui| {
        ui.set_min_width(280.0);
        for (i, group) in BULK.iter().enumerate() {
            if i > 0 {
                ui.separator();
            }
            for &a in *group {
                action(ui, ctx, open, selection, a);
            }
        }
    });
    widgets::named(response, "Choose what trains");
}

const BULK: &[&[Action]] = &[
    &[Action::TrainSuggested, Action::TrainAllFloat, Action::FreezeAll],
    &[Action::TrainSelection, Action::OnlySelection, Action::FreezeBelow],
    &[Action::LastLayers, Action::OnlyHeads, Action::OnlyBiases, Action::OnlyNorms],
    &[Action::AddLora],
];
