//! Runs of this session side by side: what each was set to and came to, their curves on one plot, and what can be done
//! with each.

use std::collections::BTreeSet;

use egui::{Color32, RichText, Role, Ui, WidgetInfo, vec2};
use egui_extras::{Column, TableBuilder};
use egui_plot::{Line, Plot, PlotPoints};

use crate::session::{Change, runs};
use crate::ui::command::{Action, Command};
use crate::ui::ctx::{Ctx, Open, RunEntry};
use crate::ui::dialogs::Dialog;
use crate::ui::run_view::XAxis;
use crate::ui::state::UiState;
use crate::ui::theme::{self, icons};
use crate::ui::{text, widgets};

/// Which runs are drawn, and which curve.
#[derive(Debug, Default)]
pub struct CompareState {
    /// Names of runs that are not compared.
    left_out: BTreeSet<String>,
    /// What the plot was last fitted to: curve, axis, logarithm, outliers.
    view: Option<(String, XAxis, bool, bool)>,
    curve: Option<String>,
    x: XAxis,
    is_log: bool,
    keeps_outliers: bool,
    /// Epochs or steps that *Extend* adds.
    more: Option<usize>,
}

pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, state: &mut UiState) {
    let Some(open) = ctx.open else { return super::no_model(ui) };
    if open.runs.is_empty() {
        widgets::empty_state(
            ui,
            icons::STACK,
            "No runs yet",
            "Each run of this session is kept in a folder beside it. Train twice with other settings to compare.",
        );
        return;
    }
    let s = &mut state.compare;
    let shown: Vec<(usize, &RunEntry)> =
        open.runs.iter().enumerate().filter(|(_, r)| !s.left_out.contains(&r.name)).collect();
    egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        table_ui(ui, ctx, open, s);
        curves_ui(ui, ctx, &shown, s);
        differences_ui(ui, &shown);
    });
}

fn color(ctx: &Ctx<'_>, i: usize) -> Color32 {
    ctx.tokens.series[i % ctx.tokens.series.len()]
}

/// Measures that the table has columns for, best first: what was validated, else what was trained on.
fn measures(runs: &[RunEntry]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for curve in runs.iter().flat_map(|r| &r.curves) {
        let is_measure = !["train/lr", "train/grad_norm", "train/examples_per_sec"].contains(&curve.name.as_str());
        if is_measure && !names.contains(&curve.name) {
            names.push(curve.name.clone());
        }
    }
    names.sort_by_key(|n| (!n.starts_with("validation/"), !n.ends_with("/loss")));
    names
}

fn table_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, s: &mut CompareState) {
    let measures: Vec<String> = measures(&open.runs).into_iter().take(3).collect();
    ui.horizontal(|ui| {
        if widgets::text_button(ui, icons::WAIT, "Read again").clicked() {
            ctx.send(Command::RefreshRuns);
        }
        let mut more = s.more.unwrap_or(1);
        let label = ui.label("Extend by");
        if ui.add(egui::DragValue::new(&mut more).range(1..=10_000)).labelled_by(label.id).changed() {
            s.more = Some(more);
        }
        ui.label("epochs").on_hover_text("A run whose length is given in steps is extended by steps.");
    });
    let height = (open.runs.len() as f32 + 1.0) * (theme::LIST_ROW_HEIGHT + 3.0) + 12.0;
    ui.push_id("runs", |ui| {
        egui::ScrollArea::horizontal().auto_shrink([false, true]).max_height(height).show(ui, |ui| {
            let mut table = TableBuilder::new(ui)
                .id_salt("runs-table")
                .vscroll(false)
                .cell_layout(egui::Layout::left_to_right(egui::Align::Center))
                .auto_shrink([false, true])
                .max_scroll_height(height)
                .column(Column::exact(26.0))
                .column(Column::initial(80.0).at_least(60.0).clip(true).resizable(true))
                .column(Column::exact(150.0))
                .column(Column::exact(66.0))
                .column(Column::exact(50.0))
                .column(Column::exact(54.0));
            for _ in &measures {
                table = table.column(Column::initial(118.0).at_least(70.0).clip(true));
            }
            table
                .header(theme::ROW_HEIGHT, |mut row| {
                    let fixed = ["", "Run", "", "State", "Steps", "Time"].map(str::to_owned);
                    let measured: Vec<String> = measures.iter().map(|m| crate::train::metrics::title(m)).collect();
                    for title in fixed.iter().chain(&measured) {
                        row.col(|ui| {
                            widgets::caption(ui, title);
                        });
                    }
                })
                .body(|body| {
                    body.rows(theme::LIST_ROW_HEIGHT, open.runs.len(), |mut row| {
                        let i = row.index();
                        run_cells(&mut row, ctx, &open.runs[i], i, &measures, s);
                    });
                });
        });
    });
}

fn run_cells(
    row: &mut egui_extras::TableRow<'_, '_>,
    ctx: &Ctx<'_>,
    r: &RunEntry,
    i: usize,
    measures: &[String],
    s: &mut CompareState,
) {
    row.col(|ui| {
        let was = !s.left_out.contains(&r.name);
        let mut on = was;
        let check = ui.add(egui::Checkbox::without_text(&mut on));
        check.widget_info(|| WidgetInfo::selected(Role::CheckBox, true, was, format!("Compare {}", r.name)));
        if check.changed() && !s.left_out.remove(&r.name) {
            s.left_out.insert(r.name.clone());
        }
    });
    row.col(|ui| {
        ui.add(egui::Label::new(RichText::new(&r.name).color(color(ctx, i)).strong()).truncate())
            .on_hover_text(r.folder.to_string_lossy());
    });
    row.col(|ui| actions_ui(ui, ctx, r, s.more.unwrap_or(1)));
    row.col(|ui| {
        ui.label(r.state.title());
    });
    row.col(|ui| {
        let words = format!("{} of {}", text::exact(r.steps), text::exact(r.total_steps));
        widgets::table::number_cell(ui, &text::count(r.steps), &words);
    });
    row.col(|ui| widgets::table::number_cell(ui, &text::duration(r.elapsed_secs), &r.elapsed_secs.to_string()));
    for name in measures {
        row.col(|ui| {
            if let Some((last, best)) = r.curve(name).and_then(|c| Some((c.last()?, best(name, c)?))) {
                let words = format!("last {last}, best {best}");
                widgets::table::number_cell(ui, &text::number(last, 4), &words);
            }
        });
    }
}

/// The lowest loss, the highest score.
fn best(name: &str, c: &crate::ui::run_view::Series) -> Option<f64> {
    let metric = name.rsplit('/').next().unwrap_or(name);
    let higher = crate::train::metrics::find(metric).is_some_and(|m| m.higher_is_better);
    if higher { c.max() } else { c.min() }
}

/// Whether a run's length is given in steps, which is then what it is extended by.
fn is_counted_in_steps(recipe: &crate::session::Recipe) -> bool {
    recipe.settings.get("training.steps").is_some_and(|s| !s.trim().is_empty())
}

fn actions_ui(ui: &mut Ui, ctx: &Ctx<'_>, r: &RunEntry, more: usize) {
    ui.spacing_mut().item_spacing.x = 2.0;
    let is_free = r.can_resume && ctx.is_enabled(Action::ResumeRun);
    let is_done = r.steps >= r.total_steps;
    let resume = widgets::icon_button_enabled(ui, is_free && !is_done, icons::PLAY, &format!("Resume {}", r.name));
    if resume.clicked() {
        ctx.send(Command::ResumeRun { folder: r.folder.clone(), more: 0 });
    }
    let unit = if is_counted_in_steps(&r.recipe) { ("step", "steps") } else { ("epoch", "epochs") };
    let words = format!("Extend {} by {}", r.name, text::plural(more, unit.0, unit.1));
    if widgets::icon_button_enabled(ui, is_free, icons::PLUS, &words).clicked() {
        ctx.send(Command::ResumeRun { folder: r.folder.clone(), more });
    }
    if widgets::icon_button(ui, icons::RECIPE, &format!("Take the decisions of {}", r.name)).clicked() {
        ctx.change(Change::Replace(Box::new(r.recipe.clone())));
    }
    let (name, folder) = (r.name.clone(), r.folder.clone());
    if widgets::icon_button(ui, icons::NOTE, &format!("Rename {}", r.name)).clicked() {
        ctx.send(Command::ShowDialog(Dialog::RenameRun { name: name.clone(), folder: folder.clone() }));
    }
    if widgets::icon_button(ui, icons::TRASH, &format!("Delete {}", r.name)).clicked() {
        ctx.send(Command::ShowDialog(Dialog::DeleteRun { name, folder }));
    }
}

fn curves_ui(ui: &mut Ui, ctx: &Ctx<'_>, shown: &[(usize, &RunEntry)], s: &mut CompareState) {
    let mut names: Vec<String> = Vec::new();
    for c in shown.iter().flat_map(|(_, r)| &r.curves) {
        if !names.contains(&c.name) {
            names.push(c.name.clone());
        }
    }
    let Some(first) = names.first() else { return };
    let preferred = names.iter().find(|n| *n == "validation/loss").unwrap_or(first);
    let chosen = s.curve.clone().filter(|c| names.contains(c)).unwrap_or_else(|| preferred.clone());
    ui.add_space(theme::RELATED);
    let width = ui.available_width();
    ui.horizontal_wrapped(|ui| {
        let combo = egui::ComboBox::from_id_salt("compared-curve")
            .width(160.0)
            .selected_text(crate::train::metrics::title(&chosen));
        let r = combo.show_ui(ui, |ui| {
            for n in &names {
                if ui.selectable_label(*n == chosen, crate::train::metrics::title(n)).clicked() {
                    s.curve = Some(n.clone());
                }
            }
        });
        r.response.accessible_name("Curve");
        for axis in XAxis::ALL {
            let r = ui.selectable_label(s.x == axis, axis.title());
            r.widget_info(|| {
                WidgetInfo::selected(Role::RadioButton, true, s.x == axis, format!("Compare by {}", axis.title()))
            });
            if r.clicked() {
                s.x = axis;
            }
        }
        ui.toggle_value(&mut s.is_log, "Log y");
        ui.toggle_value(&mut s.keeps_outliers, "Outliers").on_hover_text("Show them even where they flatten the rest.");
        if widgets::text_button(ui, icons::TABLE, "Save as CSV").on_hover_text("Every curve of these runs.").clicked() {
            ctx.send(Command::SaveFile { suggested: "runs.csv".to_owned(), bytes: csv(shown).into_bytes() });
        }
    });
    let axis = s.x;
    let is_log = s.is_log;
    let height = (ui.available_height() * 0.5).clamp(150.0, 320.0);
    let plot = Plot::new("compare-plot")
        .width(width)
        .height(height)
        .x_grid_spacer(move |input| super::plots::marks(input, (width / 110.0) as usize))
        .show_background(false)
        .show_grid([false, true])
        .allow_scroll(false)
        .grid_color(ctx.tokens.stroke_subtle)
        .show_x(false)
        .show_y(false)
        .y_axis_min_width(52.0)
        .x_axis_formatter(move |m, _| super::plots::axis_label(m.value, axis))
        .y_axis_formatter(move |m, _| text::number(if is_log { 10f64.powf(m.value) } else { m.value }, 3));
    // Another axis or curve is looked at as a whole.
    let view = (chosen.clone(), axis, is_log, s.keeps_outliers);
    let is_new = s.view.as_ref() != Some(&view);
    s.view = Some(view);
    let ignores = !s.keeps_outliers;
    let response = plot.show(ui, |p| {
        if is_new {
            p.set_auto_bounds(true);
        }
        let all = || shown.iter().filter_map(|(_, r)| r.curve(&chosen));
        let values = all().flat_map(|c| c.values.iter().map(|v| if is_log { super::curves::log10(*v) } else { *v }));
        let ends = |c: &crate::ui::run_view::Series| Some((*c.xs(axis).first()?, *c.xs(axis).last()?));
        let x = all().filter_map(ends).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        if is_new
            && let (Some((low, high)), Some((from, to))) = (super::curves::range(values, ignores), x)
            && to > from
        {
            p.set_plot_bounds(egui_plot::PlotBounds::from_min_max([from, low], [to, high]));
        }
        for (i, r) in shown {
            let Some(c) = r.curve(&chosen) else { continue };
            let width = p.response().rect.width().max(100.0) as usize;
            let xs = c.xs(axis);
            let y = |v: f64| if is_log { super::curves::log10(v) } else { v };
            let points = c.thin(axis, f64::NEG_INFINITY, f64::INFINITY, width).into_iter();
            let points: Vec<[f64; 2]> = points.map(|j| [xs[j], y(c.values[j])]).filter(|p| p[1].is_finite()).collect();
            if points.len() == 1 {
                let point = egui_plot::Points::new(&r.name, PlotPoints::from(points.clone()));
                p.points(point.color(color(ctx, *i)).radius(3.5).allow_hover(false));
            }
            p.line(Line::new(&r.name, PlotPoints::from(points)).color(color(ctx, *i)).width(2.0).allow_hover(false));
        }
    });
    let hovered = response.response;
    hovered.widget_info(|| WidgetInfo::labeled(Role::Image, true, format!("Plot of {chosen} of all runs")));
    if let Some(at) = hovered.hover_pos() {
        let x = response.transform.value_from_position(at).x;
        hovered.on_hover_ui_at_pointer(|ui| tooltip_ui(ui, ctx, shown, &chosen, axis, x));
    }
    extremes_ui(ui, ctx, shown, &chosen);
}

/// What every run had at a place of the axis.
fn tooltip_ui(ui: &mut Ui, ctx: &Ctx<'_>, shown: &[(usize, &RunEntry)], curve: &str, axis: XAxis, x: f64) {
    widgets::caption(ui, format!("{} {}", axis.title().to_lowercase(), super::plots::axis_label(x, axis)));
    egui::Grid::new("compare-tooltip").num_columns(2).spacing(vec2(12.0, 2.0)).show(ui, |ui| {
        for (i, r) in shown {
            let value = r.curve(curve).and_then(|c| Some(c.values[super::plots::nearest(c.xs(axis), x)?]));
            let Some(v) = value else { continue };
            ui.label(RichText::new(&r.name).color(color(ctx, *i)));
            ui.label(RichText::new(text::number(v, 8)).monospace());
            ui.end_row();
        }
    });
}

/// Last, lowest and highest value of the chosen curve, run by run.
fn extremes_ui(ui: &mut Ui, ctx: &Ctx<'_>, shown: &[(usize, &RunEntry)], curve: &str) {
    egui::Grid::new("compare-extremes").spacing(vec2(24.0, 2.0)).show(ui, |ui| {
        for title in ["Run", "Last", "Lowest", "Highest", "Points"] {
            widgets::column_title(ui, title);
        }
        ui.end_row();
        for (i, r) in shown {
            let Some(c) = r.curve(curve).filter(|c| !c.values.is_empty()) else { continue };
            ui.label(RichText::new(&r.name).color(color(ctx, *i)));
            for v in [c.last(), c.min(), c.max()] {
                let words = v.map_or_else(|| "–".to_owned(), |v| text::number(v, 4));
                ui.label(RichText::new(words).monospace()).on_hover_text(v.map_or_else(String::new, |v| v.to_string()));
            }
            ui.label(RichText::new(text::exact(c.values.len())).monospace());
            ui.end_row();
        }
    });
}

/// Every curve of the compared runs as one table.
fn csv(shown: &[(usize, &RunEntry)]) -> String {
    let named: Vec<(String, &crate::ui::run_view::Series)> =
        shown.iter().flat_map(|(_, r)| r.curves.iter().map(|c| (format!("{}/{}", r.name, c.name), c))).collect();
    super::curves::csv(&named.iter().map(|(n, c)| (n.as_str(), *c)).collect::<Vec<_>>())
}

fn differences_ui(ui: &mut Ui, shown: &[(usize, &RunEntry)]) {
    let recipes: Vec<&crate::session::Recipe> = shown.iter().map(|(_, r)| &r.recipe).collect();
    let lines = runs::differences(&recipes);
    widgets::section(ui, "WHAT DIFFERS", |ui| {
        if shown.len() < 2 {
            return widgets::note(ui, "Choose two runs or more.");
        }
        if lines.is_empty() {
            return widgets::note(ui, "Nothing: every decision is the same.");
        }
        egui::ScrollArea::horizontal().id_salt("differences").show(ui, |ui| {
            egui::Grid::new("differences").spacing(vec2(20.0, 4.0)).show(ui, |ui| {
                widgets::column_title(ui, "Decision");
                for (_, r) in shown {
                    widgets::column_title(ui, &r.name);
                }
                ui.end_row();
                for (key, values) in &lines {
                    ui.label(key);
                    for v in values {
                        let shown = if v.is_empty() { "default" } else { v };
                        let label = RichText::new(text::elide_middle(shown, 32)).monospace();
                        ui.label(label).on_hover_text(shown);
                    }
                    ui.end_row();
                }
            });
        });
        ui.label("")
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::run_view::{Moment, Series};

    #[test]
    fn curves_of_all_runs_are_one_table() {
        let run = |name: &str| {
            let mut c = Series::new("train/loss");
            c.push(Moment { step: 3.0, epoch: 0.5, seconds: 1.0, wall: 2.0 }, 0.25);
            RunEntry { name: name.to_owned(), curves: vec![c], ..RunEntry::default() }
        };
        let (a, b) = (run("run-1"), run("run-2"));
        let text = csv(&[(0, &a), (1, &b)]);
        assert_eq!(text.lines().nth(2), Some("run-2/train/loss,3,0.5,1,2,0.25"));
    }

    #[test]
    fn what_was_validated_comes_first() {
        let curves = ["train/loss", "train/lr", "train/accuracy", "validation/accuracy", "validation/loss"];
        let run = RunEntry { curves: curves.map(Series::new).to_vec(), ..RunEntry::default() };
        let names = measures(&[run]);
        assert_eq!(names, ["validation/loss", "validation/accuracy", "train/loss", "train/accuracy"]);
        let mut c = Series::new("validation/accuracy");
        for v in [0.5, 0.9, 0.7] {
            c.push(Moment::default(), v);
        }
        assert_eq!(best("validation/accuracy", &c), Some(0.9));
        assert_eq!(best("validation/loss", &c), Some(0.5));
    }
}
