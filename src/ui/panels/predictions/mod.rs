//! What the model says about held-out examples, worst mistakes first, and how it does class by class.

mod classes;

use egui::{RichText, Role, Ui, WidgetInfo};
use egui_extras::Column;

use crate::ui::ctx::Ctx;
use crate::ui::run_view::{Prediction, RunView};
use crate::ui::state::UiState;
use crate::ui::theme::{self, icons};
use crate::ui::{text, widgets};

/// What is looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct PredictionsState {
    pub shows_classes: bool,
    pub only_mistakes: bool,
}

pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, state: &mut UiState) {
    let has_any = |r: &&RunView| !r.predictions.is_empty() || classes::has_any(r);
    let Some(run) = ctx.run.filter(has_any) else {
        return widgets::empty_state(
            ui,
            icons::PREDICT,
            "No predictions yet",
            "They appear after the first evaluation of a run: what the model says about examples that it does not train on.",
        );
    };
    let s = &mut state.predictions;
    let has_both = classes::has_any(run) && !run.predictions.is_empty();
    let shows_classes = if has_both { s.shows_classes } else { classes::has_any(run) };
    let has_head = has_both || (!shows_classes && run.predictions.iter().any(|p| !p.is_number));
    if has_head {
        head_ui(ui, ctx, run, (has_both, shows_classes), s);
        ui.add_space(theme::RELATED - 4.0);
    }
    if shows_classes { classes::ui(ui, ctx, run) } else { rows_ui(ui, ctx, run, s.only_mistakes) }
}

fn head_ui(
    ui: &mut Ui,
    ctx: &Ctx<'_>,
    run: &RunView,
    (has_both, shows_classes): (bool, bool),
    s: &mut PredictionsState,
) {
    ui.horizontal_wrapped(|ui| {
        if has_both {
            for (is_classes, words) in [(false, "Examples"), (true, "Classes")] {
                let is_on = shows_classes == is_classes;
                let r = ui.selectable_label(is_on, words);
                r.widget_info(|| {
                    WidgetInfo::selected(Role::RadioButton, true, is_on, format!("Show {}", words.to_lowercase()))
                });
                if r.clicked() {
                    s.shows_classes = is_classes;
                }
            }
            widgets::group_gap(ui);
        }
        if !shows_classes {
            let n = run.predictions.iter().filter(|p| !p.is_number && !p.is_right()).count();
            if run.predictions.iter().any(|p| !p.is_number) {
                ui.checkbox(&mut s.only_mistakes, "Only mistakes");
                widgets::group_gap(ui);
                let words = format!("{} of {} wrong", text::exact(n), text::exact(run.predictions.len()));
                ui.label(RichText::new(words).color(ctx.tokens.text_secondary))
                    .on_hover_text("Of the costliest held-out examples, as the newest evaluation saw them.");
            }
        }
    });
}

fn rows_ui(ui: &mut Ui, ctx: &Ctx<'_>, run: &RunView, only_mistakes: bool) {
    let rows: Vec<&Prediction> =
        run.predictions.iter().filter(|p| !only_mistakes || p.is_number || !p.is_right()).collect();
    if rows.is_empty() {
        widgets::note(ui, "No mistakes among these examples.");
        return;
    }
    egui::ScrollArea::horizontal().id_salt("examples").show(ui, |ui| examples_ui(ui, ctx, &rows));
}

/// A column of the table of examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    /// Whether it is right.
    Mark,
    Label,
    Predicted,
    Probability,
    Loss,
    Example,
}

impl Cell {
    fn title(self) -> &'static str {
        match self {
            Self::Mark => "",
            Self::Label => "Label",
            Self::Predicted => "Predicted",
            Self::Probability => "Probability",
            Self::Loss => "Loss",
            Self::Example => "Example",
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Self::Probability | Self::Loss)
    }

    /// What these predictions have something to say in: numbers are neither right nor wrong, nor probable.
    fn of(rows: &[&Prediction]) -> Vec<Self> {
        let are_classes = rows.iter().any(|p| !p.is_number);
        let has_probability = rows.iter().any(|p| !p.probability.is_nan());
        let all = [Self::Mark, Self::Label, Self::Predicted, Self::Probability, Self::Loss, Self::Example];
        let is_there = |c: &Self| match c {
            Self::Mark => are_classes,
            Self::Probability => has_probability,
            _ => true,
        };
        all.into_iter().filter(is_there).collect()
    }
}

fn examples_ui(ui: &mut Ui, ctx: &Ctx<'_>, rows: &[&Prediction]) {
    let cells = Cell::of(rows);
    let word = (ui.available_width() * 0.16).clamp(64.0, 130.0);
    let mut table = widgets::table::builder(ui).id_salt("predictions");
    for cell in &cells {
        table = table.column(match cell {
            Cell::Mark => Column::exact(20.0),
            Cell::Label | Cell::Predicted => Column::initial(word).at_least(60.0).clip(true),
            Cell::Probability => Column::exact(76.0),
            Cell::Loss => Column::exact(60.0),
            Cell::Example => Column::remainder().at_least(110.0).clip(true),
        });
    }
    table
        .header(theme::ROW_HEIGHT, |mut row| {
            for cell in &cells {
                row.col(|ui| {
                    if cell.is_number() {
                        widgets::number_title(ui, cell.title());
                    } else {
                        widgets::column_title(ui, cell.title());
                    }
                });
            }
        })
        .body(|body| {
            body.rows(theme::ROW_HEIGHT, rows.len(), |mut row| {
                let p = rows[row.index()];
                for cell in &cells {
                    row.col(|ui| example_cell_ui(ui, ctx, p, *cell));
                }
            });
        });
}

fn example_cell_ui(ui: &mut Ui, ctx: &Ctx<'_>, p: &Prediction, cell: Cell) {
    let words = |ui: &mut Ui, words: &str| {
        ui.add(egui::Label::new(words).truncate().show_tooltip_when_elided(false)).on_hover_text(words);
    };
    match cell {
        Cell::Mark => mark_ui(ui, ctx, p),
        Cell::Label => words(ui, &p.label),
        Cell::Predicted => words(ui, &p.predicted),
        Cell::Probability if p.probability.is_nan() => widgets::table::number_cell(ui, "–", "none"),
        Cell::Probability => {
            widgets::table::number_cell(ui, &text::percent(p.probability), &p.probability.to_string());
        }
        Cell::Loss if p.loss.is_nan() => widgets::table::number_cell(ui, "–", "none"),
        Cell::Loss => widgets::table::number_cell(ui, &text::number(p.loss, 3), &p.loss.to_string()),
        Cell::Example => words(ui, &p.text),
    }
}

/// Right or wrong; numbers are neither.
fn mark_ui(ui: &mut Ui, ctx: &Ctx<'_>, p: &Prediction) {
    if p.is_number {
        return;
    }
    let (icon, color, words) = match p.is_right() {
        true => (icons::CHECK, ctx.tokens.flows, "Right"),
        false => (icons::CLOSE, ctx.tokens.error, "Wrong"),
    };
    let r = ui.label(RichText::new(icon).color(color));
    r.widget_info(|| WidgetInfo::labeled(Role::Label, true, words));
    r.on_hover_text(words);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_those_that_say_something() {
        let number = Prediction { is_number: true, probability: f64::NAN, ..Prediction::default() };
        assert_eq!(Cell::of(&[&number]), [Cell::Label, Cell::Predicted, Cell::Loss, Cell::Example]);
        assert_eq!(Cell::of(&[&Prediction { probability: 0.5, ..Prediction::default() }]).len(), 6);
    }
}
