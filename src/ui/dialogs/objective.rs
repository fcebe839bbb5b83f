//! What training minimises: what the graph itself offers, a scalar of the graph, or a loss on one of its outputs.

use egui::{Role, Ui, WidgetInfo};

use crate::edits::heads::{self, HeadChoice};
use crate::session::Change;
use crate::session::recipe::{EditStep, IGNORE_LABEL, Objective};
use crate::train::losses::{self, LossOptions};
use crate::ui::command::Command;
use crate::ui::ctx::{Ctx, Open};
use crate::ui::theme::{self, icons};
use crate::ui::widgets;

use super::{cancel, heading};

/// Where the loss comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Own,
    Value,
    Attached,
}

/// The choice that is being made.
#[derive(Clone, Debug, PartialEq)]
pub struct LossForm {
    source: Source,
    /// The value that is minimised, or on which the loss is put.
    at: String,
    /// Kind of the loss that is put on it.
    loss: &'static str,
}

impl LossForm {
    /// As the recipe says; else on what is selected, or on the last output.
    pub fn new(open: Option<&Open>, selected: Option<&str>) -> Self {
        let usual = losses::ALL[0].kind;
        let Some(open) = open else { return Self { source: Source::Own, at: String::new(), loss: usual } };
        let found = selected.map(str::to_owned).or_else(|| last_output(open)).unwrap_or_default();
        match &open.recipe().objective {
            Some(Objective::Value { loss }) => Self { source: Source::Value, at: loss.clone(), loss: usual },
            Some(Objective::Attached { loss, on, .. }) => {
                let kind = losses::find(loss).map_or(usual, |l| l.kind);
                Self { source: Source::Attached, at: on.clone(), loss: kind }
            }
            _ => {
                let source = if lacks_loss(open) { Source::Attached } else { Source::Own };
                let loss = if is_probabilities(open, &found) { of_probabilities() } else { usual };
                Self { source, at: found, loss }
            }
        }
    }

    /// The change that it asks for; `None` while a name is missing.
    pub fn change(&self) -> Option<Change> {
        let at = self.at.trim().to_owned();
        let objective = match self.source {
            Source::Own => return Some(Change::SetObjective(None)),
            _ if at.is_empty() => return None,
            Source::Value => Objective::Value { loss: at },
            Source::Attached => Objective::Attached {
                loss: self.loss.to_owned(),
                on: at,
                labels: "labels".to_owned(),
                ignore_label: IGNORE_LABEL,
                options: LossOptions::default(),
            },
        };
        Some(Change::SetObjective(Some(objective)))
    }
}

/// Whether nothing says what training should minimise: no choice, no head, and no scalar at the graph's end.
pub fn lacks_loss(open: &Open) -> bool {
    let recipe = open.recipe();
    let has_head = recipe.edits.iter().any(|e| e.enabled && matches!(e.step, EditStep::GraftHead(_)));
    if recipe.objective.is_some() || recipe.hides_words() || has_head {
        return false;
    }
    open.gradients.as_ref().is_some_and(|g| g.lacks_loss)
}

/// What is minimised now, in words.
pub fn words(open: &Open) -> String {
    match &open.recipe().objective {
        Some(Objective::Attached { loss, on, .. }) => format!("{loss} on {on}"),
        Some(Objective::Head { head, loss, .. }) => of_head(open, Some(head), loss.as_deref()),
        None if newest_head(open, None).is_some() => of_head(open, None, None),
        _ if lacks_loss(open) => "nothing yet".to_owned(),
        _ => open.gradients.as_ref().map(|g| g.objective.clone()).unwrap_or_default(),
    }
}

/// The head of this name; the newest where none is named.
fn newest_head<'a>(open: &'a Open, name: Option<&str>) -> Option<&'a HeadChoice> {
    let heads = open.recipe().edits.iter().filter(|e| e.enabled).filter_map(|e| match &e.step {
        EditStep::GraftHead(head) => Some(head),
        _ => None,
    });
    heads.rev().find(|h| name.is_none_or(|n| n == h.name))
}

/// The loss of a grafted head: the one that was chosen, or its kind's own.
fn of_head(open: &Open, name: Option<&str>, loss: Option<&str>) -> String {
    let head = newest_head(open, name);
    let own = head.and_then(|h| heads::find(&h.kind)).map_or("loss", |h| h.loss);
    format!("{} on {}", loss.unwrap_or(own), head.map_or(name.unwrap_or("the head"), |h| h.name.as_str()))
}

/// What the file calls its output, or the first value that nothing reads.
fn last_output(open: &Open) -> Option<String> {
    let named = open.overview.signatures.iter().flat_map(|s| &s.outputs).next().cloned();
    named.or_else(|| {
        let ends = &open.gradients.as_ref()?.objective;
        ends.split(" + ").find(|e| open.index.node_of_value(e).is_some()).map(str::to_owned)
    })
}

/// The loss for outputs that went through a softmax already.
fn of_probabilities() -> &'static str {
    losses::find("softmax-cross-entropy-from-probabilities").map_or(losses::ALL[0].kind, |l| l.kind)
}

fn is_probabilities(open: &Open, value: &str) -> bool {
    open.index.node_of_value(value).is_some_and(|n| open.overview.nodes[n].op == "Softmax")
}

pub(super) fn ui(ui: &mut Ui, ctx: &Ctx<'_>, form: &mut LossForm) {
    heading(ui, "What training minimises");
    for (source, label) in [
        (Source::Own, "The graph's own: its last scalar, or the newest head's loss"),
        (Source::Value, "A scalar of the graph"),
        (Source::Attached, "A loss on an output, with labels from the data"),
    ] {
        let is_on = form.source == source;
        let r = ui.add(egui::RadioButton::new(is_on, label));
        r.widget_info(|| WidgetInfo::selected(Role::RadioButton, true, is_on, label));
        if is_on && ui.memory(|m| m.focused().is_none()) {
            r.request_focus();
        }
        if r.clicked() {
            form.source = source;
        }
    }
    ui.add_space(theme::RELATED);
    ui.add_enabled_ui(form.source != Source::Own, |ui| {
        egui::Grid::new("objective").num_columns(2).spacing([24.0, 8.0]).show(ui, |ui| {
            let label = ui.label("Value");
            let edit = egui::TextEdit::singleline(&mut form.at).font(theme::mono(theme::BODY)).desired_width(300.0);
            ui.add(edit).labelled_by(label.id);
            ui.end_row();
            if form.source == Source::Attached {
                loss_row(ui, form);
            }
        });
    });
    if form.source == Source::Attached
        && let Some(l) = losses::find(form.loss)
    {
        widgets::note(ui, l.help);
    }
    if form.source != Source::Own && ctx.open.is_some_and(|o| o.index.node_of_value(form.at.trim()).is_none()) {
        widgets::note(ui, "The graph holds no value of this name. Select a node before, and its name stands here.");
    }
    ui.add_space(theme::GROUPS);
    ui.horizontal(|ui| {
        let change = form.change();
        let clicked = widgets::answer_button(ui, icons::CHECK, "Minimise this", change.is_some()).clicked();
        if let Some(change) = change.filter(|_| clicked) {
            ctx.change(change);
            ctx.send(Command::CloseDialog);
        }
        cancel(ui, ctx);
    });
}

fn loss_row(ui: &mut Ui, form: &mut LossForm) {
    let label = ui.label("Loss");
    let shown = losses::find(form.loss).map_or(form.loss, |l| l.label);
    let combo = egui::ComboBox::from_id_salt("objective-loss").width(300.0).selected_text(shown);
    let r = combo.show_ui(ui, |ui| {
        for l in losses::ALL {
            widgets::choose(ui, &mut form.loss, l.kind, l.label).on_hover_text(l.help);
        }
    });
    r.response.labelled_by(label.id);
    ui.end_row();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_becomes_an_objective() {
        let mut form = LossForm::new(None, None);
        assert_eq!(form.change(), Some(Change::SetObjective(None)));
        form.source = Source::Attached;
        assert_eq!(form.change(), None, "a value is missing");
        form.at = " logits ".to_owned();
        let Some(Change::SetObjective(Some(Objective::Attached { on, loss, .. }))) = form.change() else {
            panic!("a loss on a value")
        };
        assert_eq!((on.as_str(), loss.as_str()), ("logits", losses::ALL[0].kind));
    }
}
