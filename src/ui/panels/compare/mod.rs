//! Runs of this session side by side: what each was set to and came to, their curves on one plot, and what can be done
//! with each.

mod curves;

use std::collections::BTreeSet;
use std::sync::Arc;

use egui::{Color32, RichText, Role, Ui, WidgetInfo, vec2};
use egui_extras::{Column, TableBuilder};

use crate::session::{Change, runs};
use crate::ui::command::{Action, Command};
use crate::ui::ctx::{Ctx, Open, RunEntry};
use crate::ui::dialogs::Dialog;
use crate::ui::run_view::XAxis;
use crate::ui::state::UiState;
use crate::ui::theme::{self, Tokens, icons};
use crate::ui::{text, widgets};

/// What the bounds of the plot were fitted to.
#[derive(Clone, Debug, Default, PartialEq)]
struct View {
    curve: String,
    axis: XAxis,
    /// Logarithms of y and x, outliers.
    flags: [bool; 3],
    runs: Vec<usize>,
    n_points: Vec<usize>,
}

/// Which runs are drawn, and which curve.
#[derive(Clone, Debug, Default)]
pub struct CompareState {
    /// Names of runs that are not compared.
    left_out: BTreeSet<String>,
    /// What the plot was last fitted to.
    view: Option<View>,
    curve: Option<String>,
    x: XAxis,
    is_log: bool,
    is_log_x: bool,
    keeps_outliers: bool,
    /// In what the compared runs differ, worked out once for the runs and those left out.
    differences: Option<(Arc<Vec<RunEntry>>, BTreeSet<String>, Vec<(String, Vec<String>)>)>,
    /// Epochs or steps that *Extend* adds.
    pub more: usize,
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
    let shown = s.shown(&open.runs);
    egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        table_ui(ui, ctx, open, s);
        curves::ui(ui, ctx, &shown, s);
        differences_ui(ui, open, &shown, s);
    });
}

impl CompareState {
    /// The runs that are compared, with their numbers among all of them, which choose their colours.
    fn shown<'a>(&self, runs: &'a [RunEntry]) -> Vec<(usize, &'a RunEntry)> {
        runs.iter().enumerate().filter(|(_, r)| !self.left_out.contains(&r.name)).collect()
    }
}

/// The chosen curve of all compared runs and nothing else, for a picture.
pub fn picture_ui(ui: &mut Ui, runs: &[RunEntry], s: &mut CompareState) {
    curves::picture_ui(ui, Tokens::of(ui.visuals()), &s.shown(runs), s);
}

fn color(t: &Tokens, i: usize) -> Color32 {
    t.series[i % t.series.len()]
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
        let mut more = s.more.max(1);
        let label = ui.label("Extend by");
        if ui.add(egui::DragValue::new(&mut more).range(1..=10_000)).labelled_by(label.id).changed() {
            s.more = more;
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
                    for (i, title) in fixed.iter().chain(&measured).enumerate() {
                        row.col(|ui| match i {
                            0..4 => {
                                widgets::column_title(ui, title);
                            }
                            _ => widgets::number_title(ui, title),
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
        ui.add(egui::Label::new(RichText::new(&r.name).color(color(ctx.tokens, i)).strong()).truncate())
            .on_hover_text(r.folder.to_string_lossy());
    });
    row.col(|ui| actions_ui(ui, ctx, r, s.more.max(1)));
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

fn actions_ui(ui: &mut Ui, ctx: &Ctx<'_>, r: &RunEntry, more: usize) {
    ui.spacing_mut().item_spacing.x = 2.0;
    let is_free = r.can_resume && ctx.is_enabled(Action::ResumeRun);
    let is_done = r.steps >= r.total_steps;
    let resume = widgets::icon_button_enabled(ui, is_free && !is_done, icons::PLAY, &format!("Resume {}", r.name));
    if resume.clicked() {
        ctx.send(Command::ResumeRun { folder: r.folder.clone(), more: 0 });
    }
    let unit = r.unit();
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

fn differences_ui(ui: &mut Ui, open: &Open, shown: &[(usize, &RunEntry)], s: &mut CompareState) {
    let is_known =
        s.differences.as_ref().is_some_and(|(all, out, _)| Arc::ptr_eq(all, &open.runs) && *out == s.left_out);
    if !is_known {
        let recipes: Vec<&crate::session::Recipe> = shown.iter().map(|(_, r)| &r.recipe).collect();
        s.differences = Some((open.runs.clone(), s.left_out.clone(), runs::differences(&recipes)));
    }
    let lines = s.differences.as_ref().map(|d| &d.2[..]).unwrap_or_default();
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
                for (key, values) in lines {
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
