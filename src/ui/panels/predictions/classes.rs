//! How a classifier does class by class: confusions, precision and recall of each class and each type of entity, curves.

use egui::{Align2, Rect, RichText, Sense, Ui, pos2, vec2};

use crate::train::metrics::{ClassRow, PrecisionRecall};
use crate::ui::ctx::Ctx;
use crate::ui::run_view::RunView;
use crate::ui::theme::{self, Tokens, icons, tokens};
use crate::ui::{text, widgets};

/// Classes that are drawn; more are no picture any more.
const MAX_CLASSES: usize = 40;

/// Whether there is anything to show.
pub(super) fn has_any(run: &RunView) -> bool {
    run.confusion.is_some() || !run.curves.is_empty() || !run.classes.is_empty() || !run.entities.is_empty()
}

pub(super) fn ui(ui: &mut Ui, ctx: &Ctx<'_>, run: &RunView) {
    ui.spacing_mut().item_spacing = vec2(theme::RELATED, 4.0);
    egui::ScrollArea::both().id_salt("classes").auto_shrink(false).show(ui, |ui| {
        if let Some((classes, counts)) = &run.confusion {
            widgets::section(ui, "CONFUSIONS", |ui| confusion_ui(ui, ctx, classes, counts));
            ui.add_space(theme::RELATED);
        }
        let rows = class_rows(run);
        for (title, what, rows) in [("PER CLASS", "Class", &rows), ("PER TYPE OF ENTITY", "Type", &run.entities)] {
            if !rows.is_empty() {
                widgets::section(ui, title, |ui| rows_ui(ui, what, rows));
                ui.add_space(theme::RELATED);
            }
        }
        if !run.curves.is_empty() {
            widgets::section(ui, "PRECISION AND RECALL", |ui| curves_ui(ui, ctx, &run.curves));
            ui.add_space(theme::RELATED);
        }
    });
}

/// What the newest evaluation said of each class; of a run that was read from disk, what its confusions say.
fn class_rows(run: &RunView) -> Vec<ClassRow> {
    let Some((names, counts)) = run.confusion.as_ref().filter(|_| run.classes.is_empty()) else {
        return run.classes.clone();
    };
    let name = |i: usize| names.get(i).cloned().unwrap_or_else(|| i.to_string());
    (0..counts.len()).map(|i| ClassRow { name: name(i), ..class_row(counts, i) }).collect()
}

/// Precision, recall and F1 of one class, as scikit-learn defines them (0 where there is nothing to divide by).
fn class_row(counts: &[Vec<usize>], class: usize) -> ClassRow {
    let hit = counts[class].get(class).copied().unwrap_or(0);
    let support: usize = counts[class].iter().sum();
    let said: usize = counts.iter().filter_map(|row| row.get(class)).sum();
    let ratio = |n: usize, d: usize| if d == 0 { 0.0 } else { n as f64 / d as f64 };
    ClassRow {
        name: String::new(),
        precision: ratio(hit, said),
        recall: ratio(hit, support),
        f1: ratio(2 * hit, said + support),
        support: support as u64,
    }
}

fn rows_ui(ui: &mut Ui, what: &str, rows: &[ClassRow]) {
    egui::Grid::new(("per-class", what)).min_row_height(theme::ROW_HEIGHT).spacing(vec2(theme::GROUPS, 0.0)).show(
        ui,
        |ui| {
            widgets::column_title(ui, what);
            for title in ["Precision", "Recall", "F1", "Examples"] {
                widgets::number_title(ui, title);
            }
            ui.end_row();
            for r in rows.iter().take(MAX_CLASSES) {
                ui.label(text::elide_middle(&r.name, 24)).on_hover_text(&r.name);
                for v in [r.precision, r.recall, r.f1] {
                    widgets::table::number_cell(ui, &text::percent(v), &v.to_string());
                }
                let n = text::exact(usize::try_from(r.support).unwrap_or(usize::MAX));
                widgets::table::number_cell(ui, &n, &n);
                ui.end_row();
            }
        },
    );
    more_note(ui, rows.len());
}

fn more_note(ui: &mut Ui, n: usize) {
    if n > MAX_CLASSES {
        widgets::caption(ui, format!("The first {MAX_CLASSES} of {}.", text::exact(n)));
    }
}

/// Precision against recall, each class against the rest.
fn curves_ui(ui: &mut Ui, ctx: &Ctx<'_>, curves: &[(String, PrecisionRecall)]) {
    let color = |i: usize| ctx.tokens.series[i % ctx.tokens.series.len()];
    let drawn = || curves.iter().enumerate().take(MAX_CLASSES);
    widgets::column_title(ui, "Precision upwards, recall to the right");
    let add = |ui: &mut Ui| {
        let plot = egui_plot::Plot::new("precision-recall")
            .width(280.0)
            .height(200.0)
            .show_background(false)
            .show_grid([false, true])
            .grid_color(ctx.tokens.stroke_subtle)
            .show_x(false)
            .show_y(false)
            .allow_scroll(false)
            .allow_drag(false)
            .allow_zoom(false)
            .allow_boxed_zoom(false)
            .x_grid_spacer(quarters)
            .y_grid_spacer(quarters)
            .x_axis_formatter(|m, _| text::number(m.value, 2))
            .y_axis_formatter(|m, _| text::number(m.value, 2))
            .y_axis_min_width(36.0);
        let shown = crate::ui::panels::plots::frame::with_captions(ui, |ui| {
            plot.show(ui, |p| {
                p.set_plot_bounds(egui_plot::PlotBounds::from_min_max([-0.04, -0.04], [1.08, 1.06]));
                for (i, (name, c)) in drawn() {
                    let points: Vec<[f64; 2]> = c.recall.iter().zip(&c.precision).map(|(r, p)| [*r, *p]).collect();
                    let line = egui_plot::Line::new(name, egui_plot::PlotPoints::from(points));
                    p.line(line.color(color(i)).width(2.0).allow_hover(false));
                }
            })
        });
        let r = shown.response;
        r.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Image, true, "Precision against recall"));
        if let Some(at) = r.hover_pos() {
            let recall = shown.transform.value_from_position(at).x.clamp(0.0, 1.0);
            r.on_hover_ui_at_pointer(|ui| {
                widgets::caption(ui, format!("At recall {}", text::percent(recall)));
                for (i, (name, c)) in drawn() {
                    let precision = text::percent(precision_at(c, recall));
                    ui.label(RichText::new(format!("{precision}  {name}")).color(color(i)));
                }
            });
        }
        ui.vertical(|ui| {
            egui::Grid::new("average-precision").spacing(vec2(theme::RELATED, 0.0)).show(ui, |ui| {
                widgets::column_title(ui, "Class");
                widgets::number_title(ui, "Average precision");
                ui.end_row();
                for (i, (name, c)) in drawn() {
                    ui.label(RichText::new(text::elide_middle(name, 24)).color(color(i))).on_hover_text(name);
                    widgets::table::number_cell(ui, &text::number(c.average, 3), &c.average.to_string());
                    ui.end_row();
                }
            });
            more_note(ui, curves.len());
        });
    };
    // The legend goes below where there is no room beside the plot.
    if ui.clip_rect().width() > 560.0 {
        ui.horizontal_top(add);
    } else {
        ui.vertical(add);
    }
}

fn quarters(_: egui_plot::GridInput) -> Vec<egui_plot::GridMark> {
    [0.0, 0.25, 0.5, 0.75, 1.0].map(|value| egui_plot::GridMark { value, step_size: 0.25 }).to_vec()
}

/// The precision that still reaches a recall.
fn precision_at(c: &PrecisionRecall, recall: f64) -> f64 {
    // Recall falls along the curve; the last point that reaches it has the highest threshold.
    let end = c.recall.partition_point(|r| *r >= recall).max(1);
    c.precision.get(end - 1).copied().unwrap_or(f64::NAN)
}

/// Size of a cell of the confusion matrix, and room for the names before its rows.
const CELL: egui::Vec2 = vec2(56.0, theme::ROW_HEIGHT);
const NAMES: f32 = 120.0;

fn confusion_ui(ui: &mut Ui, ctx: &Ctx<'_>, classes: &[String], counts: &[Vec<usize>]) {
    let n = classes.len().min(counts.len()).min(MAX_CLASSES);
    let size = vec2(NAMES + CELL.x * n as f32, CELL.y * (n + 1) as f32);
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Table, true, "Confusion matrix: true class by row"));
    paint_names(ui, ctx.tokens, rect, &classes[..n]);
    let p = ui.painter();
    for (i, row) in counts.iter().enumerate().take(n) {
        let total: usize = row.iter().sum();
        for (j, &count) in row.iter().enumerate().take(n) {
            let r = cell_rect(rect, i, j).shrink(1.0);
            let share = count as f32 / total.max(1) as f32;
            let color = if i == j { ctx.tokens.flows } else { ctx.tokens.error };
            p.rect_filled(r, 2.0, tokens::mix(ctx.tokens.raised, color, share * 0.6));
            let right = r.right_center() - vec2(6.0, 0.0);
            p.text(right, Align2::RIGHT_CENTER, text::count(count), theme::mono(theme::CAPTION), ctx.tokens.text);
        }
    }
    if let Some((i, j)) = response.hover_pos().and_then(|at| cell_at(rect, n, at))
        && let Some(&count) = counts[i].get(j)
    {
        let total: usize = counts[i].iter().sum();
        let share = text::percent(count as f64 / total.max(1) as f64);
        let words = format!(
            "{} of {} in {} predicted as {}: {share}",
            text::exact(count),
            text::exact(total),
            classes[i],
            classes[j]
        );
        response.on_hover_text_at_pointer(words);
    }
    more_note(ui, classes.len());
}

fn cell_rect(rect: Rect, row: usize, column: usize) -> Rect {
    let at = vec2(NAMES + CELL.x * column as f32, CELL.y * (row + 1) as f32);
    Rect::from_min_size(rect.min + at, CELL)
}

/// The cell of a matrix of `n` classes under a point: row, column.
fn cell_at(rect: Rect, n: usize, at: egui::Pos2) -> Option<(usize, usize)> {
    let d = at - rect.min - vec2(NAMES, CELL.y);
    let inside = d.x >= 0.0 && d.y >= 0.0;
    let (row, column) = ((d.y / CELL.y) as usize, (d.x / CELL.x) as usize);
    (inside && row < n && column < n).then_some((row, column))
}

/// Names of the classes before the rows and above the columns.
fn paint_names(ui: &Ui, t: &Tokens, rect: Rect, classes: &[String]) {
    let p = ui.painter();
    let small = egui::FontId::proportional(theme::CAPTION);
    let words = format!("True {}  predicted {}", icons::CARET_DOWN, icons::CARET_RIGHT);
    let corner = rect.left_top() + vec2(0.0, CELL.y / 2.0);
    p.text(corner, Align2::LEFT_CENTER, words, small.clone(), t.text_secondary);
    for (i, name) in classes.iter().enumerate() {
        let row = cell_rect(rect, i, 0);
        let shown = text::elide_middle(name, 18);
        p.text(pos2(rect.left(), row.center().y), Align2::LEFT_CENTER, shown, small.clone(), t.text_secondary);
        let top = pos2(cell_rect(rect, 0, i).right() - 7.0, rect.top() + CELL.y / 2.0);
        let shown = text::elide_middle(name, 8);
        p.text(top, Align2::RIGHT_CENTER, shown, small.clone(), t.text_secondary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_a_class_come_from_its_row_and_column() {
        // scikit-learn 1.3, precision_recall_fscore_support of these counts.
        let counts = [vec![34, 6], vec![4, 76]];
        let s = class_row(&counts, 0);
        assert!((s.precision - 0.894_736_842).abs() < 1e-8 && (s.recall - 0.85).abs() < 1e-12);
        assert!((s.f1 - 0.871_794_871).abs() < 1e-8);
        assert_eq!(s.support, 40);
        assert_eq!(class_row(&[vec![0, 0], vec![0, 3]], 0), ClassRow::default());
        // What an evaluation said counts before what follows from confusions.
        let confusion = Some((vec!["a".to_owned()], counts.to_vec()));
        let mut run = RunView { confusion, ..RunView::default() };
        assert_eq!(class_rows(&run).iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["a", "1"]);
        run.classes = vec![ClassRow { name: "label".to_owned(), ..ClassRow::default() }];
        assert_eq!(class_rows(&run)[0].name, "label");
    }

    #[test]
    fn the_precision_that_reaches_a_recall() {
        let (recall, precision) = (vec![1.0, 0.5, 0.5, 0.0], vec![0.4, 0.6, 0.8, 1.0]);
        let c = PrecisionRecall { recall, precision, ..PrecisionRecall::default() };
        assert_eq!([1.0, 0.7, 0.5, 0.2].map(|r| precision_at(&c, r)), [0.4, 0.4, 0.8, 0.8]);
    }

    #[test]
    fn cells_are_found_where_they_are_drawn() {
        let rect = Rect::from_min_size(pos2(10.0, 20.0), vec2(400.0, 200.0));
        for (row, column) in [(0, 0), (2, 1), (2, 2)] {
            assert_eq!(cell_at(rect, 3, cell_rect(rect, row, column).center()), Some((row, column)));
        }
        assert_eq!(cell_at(rect, 2, cell_rect(rect, 2, 0).center()), None);
        assert_eq!(cell_at(rect, 3, pos2(11.0, 60.0)), None, "on the names");
    }
}
