//! Dialogs that add to the model: a head with its loss, low-rank adapters, weights of another file.

use egui::{RichText, Ui};

use crate::edits::heads::{self, HeadChoice};
use crate::session::recipe::LoraChoice;
use crate::session::weights::{WeightsChoice, parse_map};
use crate::session::{Change, EditStep, Objective, Selector};
use crate::train::losses;
use crate::ui::Open;
use crate::ui::command::Command;
use crate::ui::ctx::Ctx;
use crate::ui::theme::{self, icons};
use crate::ui::widgets;

use super::{cancel, heading};

/// What a person fills in about a new head.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadForm {
    pub choice: HeadChoice,
    /// Empty: found in the graph.
    pub at: String,
    pub classes: usize,
    /// Empty: the kind's own.
    pub loss: String,
}

impl HeadForm {
    /// As many outputs as the data has classes; on the selected value, where one is selected.
    pub fn new(open: Option<&Open>, selected: Option<&str>) -> Self {
        let data = open.and_then(|o| o.data.as_ref()).map_or(0, |d| d.classes.len());
        Self {
            choice: HeadChoice::new(heads::ALL[0].kind),
            at: selected.unwrap_or_default().to_owned(),
            classes: if data == 0 { 2 } else { data },
            loss: String::new(),
        }
    }

    /// The change that it asks for.
    pub fn change(&self) -> Change {
        let mut head = self.choice.clone();
        head.at = Some(self.at.trim().to_owned()).filter(|a| !a.is_empty());
        head.classes = Some(self.classes);
        let objective = Objective::Head {
            head: head.name.clone(),
            loss: Some(self.loss.clone()).filter(|l| !l.is_empty()),
            labels: None,
            ignore_label: -100,
            options: losses::LossOptions::default(),
        };
        Change::GraftHead { head, objective }
    }
}

/// Low-rank adapters beside matrix weights.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraForm {
    pub choice: LoraChoice,
    /// Names of the selected matrix weights; empty: all of them.
    pub selected: Vec<String>,
    pub only_selected: bool,
}

impl LoraForm {
    pub fn new(selected: Vec<String>) -> Self {
        Self { choice: LoraChoice::default(), only_selected: !selected.is_empty(), selected }
    }

    pub fn change(&self) -> Change {
        let mut choice = self.choice.clone();
        if self.only_selected {
            choice.weights = self.selected.iter().cloned().map(Selector::Name).collect();
        }
        Change::AddEdits(vec![EditStep::Lora(choice)])
    }
}

/// Values by name from another file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WeightsForm {
    pub file: String,
    pub map: String,
}

impl WeightsForm {
    /// Errors say which line of the mapping cannot be read.
    pub fn change(&self) -> Result<Change, String> {
        let map = parse_map(&self.map)?;
        let choice = WeightsChoice { file: self.file.trim().to_owned(), map };
        Ok(Change::AddEdits(vec![EditStep::LoadWeights(choice)]))
    }
}

fn row(ui: &mut Ui, name: &str, help: &str, add: impl FnOnce(&mut Ui) -> egui::Response) {
    let label = ui.label(name).on_hover_text(help);
    add(ui).labelled_by(label.id).on_hover_text(help);
    ui.end_row();
}

pub(super) fn head_ui(ui: &mut Ui, ctx: &Ctx<'_>, form: &mut HeadForm) {
    heading(ui, "Graft a head");
    let info = heads::find(&form.choice.kind);
    egui::Grid::new("head").num_columns(2).spacing([24.0, 8.0]).show(ui, |ui| {
        row(ui, "Kind", "What it predicts", |ui| {
            let label = info.map_or(form.choice.kind.as_str(), |i| i.label);
            let combo = egui::ComboBox::from_id_salt("head-kind").width(220.0).selected_text(label);
            combo
                .show_ui(ui, |ui| {
                    for h in heads::ALL {
                        widgets::choose(ui, &mut form.choice.kind, h.kind.to_owned(), h.label).on_hover_text(h.help);
                    }
                })
                .response
        });
        row(ui, "On value", "The value that it reads; empty: the pooled output or the last hidden state", |ui| {
            let edit =
                egui::TextEdit::singleline(&mut form.at).hint_text("found in the graph").font(theme::mono(theme::BODY));
            ui.add(edit.desired_width(220.0))
        });
        row(ui, "Outputs", "Classes, labels or targets", |ui| {
            ui.add(egui::DragValue::new(&mut form.classes).range(1..=1 << 20))
        });
        row(ui, "Name", "What the names of its nodes start with", |ui| {
            ui.add(
                egui::TextEdit::singleline(&mut form.choice.name).font(theme::mono(theme::BODY)).desired_width(220.0),
            )
        });
        row(ui, "Loss", "What is minimised", |ui| {
            let own = info.map_or("its own", |i| i.loss);
            let shown = if form.loss.is_empty() { format!("{own} (usual)") } else { form.loss.clone() };
            let combo = egui::ComboBox::from_id_salt("head-loss").width(220.0).selected_text(shown);
            combo
                .show_ui(ui, |ui| {
                    widgets::choose(ui, &mut form.loss, String::new(), format!("{own} (usual)"));
                    for l in losses::ALL.iter().filter(|l| l.kind != own) {
                        widgets::choose(ui, &mut form.loss, l.kind.to_owned(), l.kind);
                    }
                })
                .response
        });
        row(ui, "Dropout", "Share that is dropped before it while training", |ui| {
            ui.add(egui::DragValue::new(&mut form.choice.dropout).range(0.0..=0.95).speed(0.01))
        });
        row(ui, "Seed", "Of its first weights", |ui| ui.add(egui::DragValue::new(&mut form.choice.seed)));
    });
    if let Some(i) = info {
        widgets::note(ui, i.help);
    }
    let is_whole = !form.choice.name.trim().is_empty();
    buttons_ui(ui, ctx, icons::PLUS, "Graft the head", is_whole.then(|| form.change()));
}

pub(super) fn lora_ui(ui: &mut Ui, ctx: &Ctx<'_>, form: &mut LoraForm) {
    heading(ui, "Low-rank adapters (LoRA)");
    widgets::note(
        ui,
        "The weights stay frozen; a product of two thin matrices beside each of them trains instead. Exported merged.",
    );
    ui.add_space(theme::RELATED);
    egui::Grid::new("lora").num_columns(2).spacing([24.0, 8.0]).show(ui, |ui| {
        row(ui, "Rank", "Inner size of the product", |ui| {
            ui.add(egui::DragValue::new(&mut form.choice.rank).range(1..=4096))
        });
        row(ui, "Alpha", "The product counts alpha / rank times", |ui| {
            ui.add(egui::DragValue::new(&mut form.choice.alpha).range(0.01..=1e6))
        });
        row(ui, "Dropout", "Share of the adapter's input that is dropped while training", |ui| {
            ui.add(egui::DragValue::new(&mut form.choice.dropout).range(0.0..=0.95).speed(0.01))
        });
    });
    let n = form.selected.len();
    ui.add_enabled_ui(n > 0, |ui| {
        let words = crate::ui::text::plural(n, "selected weight", "selected weights");
        ui.checkbox(&mut form.only_selected, format!("Only on {words}"));
    });
    buttons_ui(ui, ctx, icons::PLUS, "Add adapters", Some(form.change()));
}

pub(super) fn weights_ui(ui: &mut Ui, ctx: &Ctx<'_>, form: &mut WeightsForm) {
    heading(ui, "Load weights by name");
    let label = ui.label("File");
    let edit = egui::TextEdit::singleline(&mut form.file)
        .hint_text(".safetensors, .npz, a checkpoint or another model")
        .font(theme::mono(theme::BODY));
    let r = ui.add(edit.desired_width(f32::INFINITY)).labelled_by(label.id);
    if form.file.is_empty() && ui.memory(|m| m.focused().is_none()) {
        r.request_focus();
    }
    ui.add_space(4.0);
    let label = ui.label("Mapping, where names alone do not tell");
    let edit = egui::TextEdit::multiline(&mut form.map)
        .hint_text("constant = array, one a line; * stands for the same text, ^T transposes");
    ui.add(edit.font(theme::mono(theme::BODY)).desired_rows(5).desired_width(f32::INFINITY)).labelled_by(label.id);
    widgets::note(
        ui,
        "Names match as they stand, by this mapping, or by the conventions of PyTorch and TensorFlow; the log says what matched.",
    );
    let change = form.change();
    if let Err(e) = &change {
        ui.label(RichText::new(e).color(ctx.tokens.error));
    }
    buttons_ui(ui, ctx, icons::OPEN, "Load weights", change.ok().filter(|_| !form.file.trim().is_empty()));
}

/// The button that makes the change (greyed out without one), and the way back.
fn buttons_ui(ui: &mut Ui, ctx: &Ctx<'_>, icon: &str, label: &str, change: Option<Change>) {
    ui.add_space(theme::GROUPS);
    ui.horizontal(|ui| {
        let clicked = widgets::answer_button(ui, icon, label, change.is_some()).clicked();
        if let Some(change) = change.filter(|_| clicked) {
            ctx.send(Command::change(change));
            ctx.send(Command::CloseDialog);
        }
        cancel(ui, ctx);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_become_changes() {
        let mut form = HeadForm::new(None, None);
        form.classes = 5;
        let Change::GraftHead { head, objective } = form.change() else { panic!("a head") };
        assert_eq!((head.classes, head.at), (Some(5), None));
        assert!(matches!(objective, Objective::Head { head, loss: None, .. } if head == form.choice.name));
        let lora = LoraForm::new(vec!["w".to_owned()]);
        let Change::AddEdits(steps) = lora.change() else { panic!("an edit") };
        assert!(matches!(&steps[..], [EditStep::Lora(l)] if l.weights == [Selector::Name("w".to_owned())]));
        let mut weights = WeightsForm { file: " a.npz ".to_owned(), map: "x = y^T".to_owned() };
        let Ok(Change::AddEdits(steps)) = weights.change() else { panic!("an edit") };
        assert!(matches!(&steps[..], [EditStep::LoadWeights(w)] if w.file == "a.npz" && w.map["x"] == "y^T"));
        weights.map = "no pair".to_owned();
        assert!(weights.change().is_err());
    }
}
