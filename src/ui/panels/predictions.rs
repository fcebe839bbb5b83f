//! What the model says about held-out examples, worst mistakes first, and its confusions.

use egui::{Align2, RichText, Sense, Ui, Vec2, vec2};
use egui_extras::Column;

use crate::train::metrics::PrecisionRecall;
use crate::ui::ctx::Ctx;
use crate::ui::run_view::{Prediction, RunView};
use crate::ui::state::UiState;
use crate::ui::theme::{self, icons, tokens};
use crate::ui::{text, widgets};

pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, _state: &mut UiState) {
    let has_any = |r: &&RunView| !r.predictions.is_empty() || r.confusion.is_some() || !r.curves.is_empty();
    let Some(run) = ctx.run.filter(has_any) else {
        return widgets::empty_state(
            ui,
            icons::PREDICT,
            "No predictions yet",
            "They appear after the first evaluation of a run: what the model says about examples that it does not train on.",
        );
    };
    if run.confusion.is_some() || !run.curves.is_empty() {
        // The examples keep half of the room, however much there is to sum up.
        let most = ui.available_height() * 0.5;
        egui::ScrollArea::vertical().id_salt("summary").auto_shrink([false, true]).max_height(most).show(ui, |ui| {
            summary_ui(ui, ctx, run);
        });
        ui.separator();
    }
    egui::ScrollArea::horizontal().id_salt("examples").show(ui, |ui| examples_ui(ui, ctx, &run.predictions));
}

/// Confusions, scores by class and curves, side by side as far as there is room.
fn summary_ui(ui: &mut Ui, ctx: &Ctx<'_>, run: &RunView) {
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = vec2(theme::GROUPS, theme::RELATED);
        let wide = ui.available_width();
        let mut block = |size: Vec2, add: &mut dyn FnMut(&mut Ui)| {
            let size = vec2(size.x.min(wide), size.y + if size.x > wide { 12.0 } else { 0.0 });
            ui.allocate_ui(size, |ui| {
                ui.spacing_mut().item_spacing = vec2(theme::RELATED, 4.0);
                ui.set_min_size(size);
                ui.push_id(size.x as i32, |ui| egui::ScrollArea::horizontal().show(ui, |ui| ui.vertical(|ui| add(ui))));
            });
        };
        if let Some((classes, counts)) = &run.confusion {
            let n = classes.len().min(MAX_CLASSES);
            block(confusion_size(n), &mut |ui| confusion_ui(ui, ctx, classes, counts));
            block(vec2(CLASSES_WIDTH, (n + 1) as f32 * (theme::ROW_HEIGHT + 2.0)), &mut |ui| {
                classes_ui(ui, classes, counts);
            });
        }
        if !run.curves.is_empty() {
            block(CURVES_SIZE, &mut |ui| curves_ui(ui, ctx, &run.curves));
        }
    });
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
    fn of(rows: &[Prediction]) -> Vec<Self> {
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

fn examples_ui(ui: &mut Ui, ctx: &Ctx<'_>, rows: &[Prediction]) {
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
                let p = &rows[row.index()];
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
        Cell::Mark if p.is_number => {}
        Cell::Mark => {
            let is_right = p.label == p.predicted;
            let (icon, color) =
                if is_right { (icons::CHECK, ctx.tokens.flows) } else { (icons::CLOSE, ctx.tokens.error) };
            ui.label(RichText::new(icon).color(color)).on_hover_text(if is_right { "Right" } else { "Wrong" });
        }
        Cell::Label => words(ui, &p.label),
        Cell::Predicted => words(ui, &p.predicted),
        Cell::Probability if p.probability.is_nan() => widgets::table::number_cell(ui, "–", "none"),
        Cell::Probability => {
            widgets::table::number_cell(ui, &text::percent(p.probability), &p.probability.to_string());
        }
        Cell::Loss => widgets::table::number_cell(ui, &text::number(p.loss, 3), &p.loss.to_string()),
        Cell::Example => words(ui, &p.text),
    }
}

/// Precision, recall and F1 of one class, as scikit-learn defines them (0 where there is nothing to divide by).
#[derive(Clone, Copy, Debug, PartialEq)]
struct ClassScores {
    precision: f64,
    recall: f64,
    f1: f64,
    support: usize,
}

fn class_scores(counts: &[Vec<usize>], class: usize) -> ClassScores {
    let hit = counts[class].get(class).copied().unwrap_or(0);
    let support: usize = counts[class].iter().sum();
    let said: usize = counts.iter().filter_map(|row| row.get(class)).sum();
    let ratio = |n: usize, d: usize| if d == 0 { 0.0 } else { n as f64 / d as f64 };
    ClassScores {
        precision: ratio(hit, said),
        recall: ratio(hit, support),
        f1: ratio(2 * hit, said + support),
        support,
    }
}

fn classes_ui(ui: &mut Ui, classes: &[String], counts: &[Vec<usize>]) {
    egui::Grid::new("per-class").spacing(vec2(16.0, 2.0)).show(ui, |ui| {
        widgets::column_title(ui, "Class");
        for title in ["Precision", "Recall", "F1", "Examples"] {
            widgets::number_title(ui, title);
        }
        ui.end_row();
        for (i, name) in classes.iter().enumerate().take(counts.len()).take(MAX_CLASSES) {
            let s = class_scores(counts, i);
            ui.label(text::elide_middle(name, 18)).on_hover_text(name);
            for v in [s.precision, s.recall, s.f1] {
                widgets::table::number_cell(ui, &text::percent(v), &v.to_string());
            }
            let n = text::exact(s.support);
            widgets::table::number_cell(ui, &n, &n);
            ui.end_row();
        }
    });
}

/// Precision against recall, each class against the rest.
fn curves_ui(ui: &mut Ui, ctx: &Ctx<'_>, curves: &[(String, PrecisionRecall)]) {
    let color = |i: usize| ctx.tokens.series[i % ctx.tokens.series.len()];
    widgets::column_title(ui, "Precision (up) against recall");
    ui.horizontal_top(|ui| {
        let plot = egui_plot::Plot::new("precision-recall")
            .width(200.0)
            .height(150.0)
            .show_background(false)
            .show_grid([false, true])
            .grid_color(ctx.tokens.stroke_subtle)
            .show_x(false)
            .show_y(false)
            .allow_scroll(false)
            .allow_drag(false)
            .allow_zoom(false)
            .allow_boxed_zoom(false)
            .y_axis_min_width(26.0);
        let shown = plot.show(ui, |p| {
            p.set_plot_bounds(egui_plot::PlotBounds::from_min_max([-0.02, -0.02], [1.02, 1.05]));
            for (i, (name, c)) in curves.iter().enumerate().take(MAX_CLASSES) {
                let points: Vec<[f64; 2]> = c.recall.iter().zip(&c.precision).map(|(r, p)| [*r, *p]).collect();
                let line = egui_plot::Line::new(name, egui_plot::PlotPoints::from(points));
                p.line(line.color(color(i)).width(2.0).allow_hover(false));
            }
        });
        let r = shown.response;
        r.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Image, true, "Precision against recall"));
        if let Some(at) = r.hover_pos() {
            let recall = shown.transform.value_from_position(at).x;
            r.on_hover_ui_at_pointer(|ui| {
                widgets::caption(ui, format!("at recall {}", text::percent(recall.clamp(0.0, 1.0))));
                for (i, (name, c)) in curves.iter().enumerate().take(MAX_CLASSES) {
                    let precision = text::percent(precision_at(c, recall));
                    ui.label(RichText::new(format!("{precision}  {name}")).color(color(i)));
                }
            });
        }
        ui.vertical(|ui| {
            for (i, (name, c)) in curves.iter().enumerate().take(MAX_CLASSES) {
                let words = format!("{}  {}", text::number(c.average, 3), text::elide_middle(name, 16));
                let label = ui.label(RichText::new(words).size(theme::CAPTION).color(color(i)));
                label.on_hover_text(format!("{name}: average precision {}", c.average));
            }
        });
    });
}

/// The precision that still reaches a recall.
fn precision_at(c: &PrecisionRecall, recall: f64) -> f64 {
    // Recall falls along the curve; the last point that reaches it has the highest threshold.
    let end = c.recall.partition_point(|r| *r >= recall).max(1);
    c.precision.get(end - 1).copied().unwrap_or(f64::NAN)
}

/// Classes that fit beside each other.
const MAX_CLASSES: usize = 12;
/// Room of the scores by class.
const CLASSES_WIDTH: f32 = 400.0;
/// Room of the curves and their legend.
const CURVES_SIZE: Vec2 = vec2(380.0, 176.0);
/// A count of confusions.
const CONFUSION: Vec2 = vec2(52.0, theme::ROW_HEIGHT);
/// Room of the true classes' names.
const CONFUSION_NAMES: f32 = 110.0;

fn confusion_size(n: usize) -> Vec2 {
    vec2(CONFUSION_NAMES + CONFUSION.x * n as f32, CONFUSION.y * (n + 1) as f32)
}

fn confusion_ui(ui: &mut Ui, ctx: &Ctx<'_>, classes: &[String], counts: &[Vec<usize>]) {
    let n = classes.len().min(MAX_CLASSES);
    let (cell, name) = (CONFUSION, CONFUSION_NAMES);
    let (rect, response) = ui.allocate_exact_size(confusion_size(n), Sense::hover());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Table, true, "Confusion matrix: true class by row"));
    let p = ui.painter();
    let small = egui::FontId::proportional(theme::CAPTION);
    let corner = rect.left_top() + vec2(0.0, cell.y / 2.0);
    let words = format!("true {}  predicted {}", icons::CARET_DOWN, icons::CARET_RIGHT);
    p.text(corner, Align2::LEFT_CENTER, words, small.clone(), ctx.tokens.text_secondary);
    for i in 0..n {
        let row_total: usize = counts[i].iter().sum();
        let y = rect.top() + cell.y * (i + 1) as f32;
        let shown = text::elide_middle(&classes[i], 16);
        p.text(
            egui::pos2(rect.left(), y + cell.y / 2.0),
            Align2::LEFT_CENTER,
            shown,
            small.clone(),
            ctx.tokens.text_secondary,
        );
        let x = rect.left() + name + cell.x * i as f32;
        let shown = text::elide_middle(&classes[i], 8);
        p.text(
            egui::pos2(x + cell.x / 2.0, rect.top() + cell.y / 2.0),
            Align2::CENTER_CENTER,
            shown,
            small.clone(),
            ctx.tokens.text_secondary,
        );
        for (j, &count) in counts[i].iter().enumerate().take(n) {
            let r = egui::Rect::from_min_size(egui::pos2(rect.left() + name + cell.x * j as f32, y), cell).shrink(1.0);
            let share = count as f32 / row_total.max(1) as f32;
            let color = if i == j { ctx.tokens.flows } else { ctx.tokens.error };
            p.rect_filled(r, 2.0, tokens::mix(ctx.tokens.raised, color, share * 0.6));
            p.text(r.center(), Align2::CENTER_CENTER, count.to_string(), theme::mono(theme::CAPTION), ctx.tokens.text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_a_class_come_from_its_row_and_column() {
        // scikit-learn 1.3, precision_recall_fscore_support of these counts.
        let counts = [vec![34, 6], vec![4, 76]];
        let s = class_scores(&counts, 0);
        assert!((s.precision - 0.894_736_842).abs() < 1e-8 && (s.recall - 0.85).abs() < 1e-12);
        assert!((s.f1 - 0.871_794_871).abs() < 1e-8);
        assert_eq!(s.support, 40);
        assert_eq!(
            class_scores(&[vec![0, 0], vec![0, 3]], 0),
            ClassScores { precision: 0.0, recall: 0.0, f1: 0.0, support: 0 }
        );
    }

    #[test]
    fn columns_are_those_that_say_something() {
        let number = Prediction { is_number: true, probability: f64::NAN, ..Prediction::default() };
        assert_eq!(Cell::of(&[number]), [Cell::Label, Cell::Predicted, Cell::Loss, Cell::Example]);
        assert_eq!(Cell::of(&[Prediction { probability: 0.5, ..Prediction::default() }]).len(), 6);
    }

    #[test]
    fn the_precision_that_reaches_a_recall() {
        let (recall, precision) = (vec![1.0, 0.5, 0.5, 0.0], vec![0.4, 0.6, 0.8, 1.0]);
        let c = PrecisionRecall { recall, precision, ..PrecisionRecall::default() };
        assert_eq!([1.0, 0.7, 0.5, 0.2].map(|r| precision_at(&c, r)), [0.4, 0.4, 0.8, 0.8]);
    }
}
